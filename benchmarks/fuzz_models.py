"""Load damaged and hostile copies of saved models: `scripts/fuzz_models --help`."""

import copy
import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import spacy
import srsly
import transformers
import typer
from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from thinc.api import fix_random_seed
from wasabi.tables import table

from bigru_tagger.corpus.hub import SAMPLE
from bigru_tagger.errors import ModelError
from bigru_tagger.huggingface.exchange import load_transformers, save_transformers
from bigru_tagger.recipes.configs import find_config

from .speed.passages import read_passages

MEBIBYTE = 1 << 20
# The promise: memory for a file, and CPU time for a file of a few megabytes.
SPARE_BYTES = 200 * MEBIBYTE
MAX_SECONDS = 2.0
_TIMEOUT = 60.0  # wall time after which a child process is killed
_ADDRESS_SPACE = 4 << 30  # so that a mutation cannot exhaust the machine

SMALL = {
    "training.max_steps": 60,
    "training.eval_frequency": 30,
    "components.ner.model.hidden": 32,
    "components.ner.model.embed.words.rows": [500, 250],
    "components.ner.model.embed.words.width": 16,
    "components.ner.model.embed.clusters": None,
}


@dataclass(frozen=True)
class Outcome:
    """What loading a mutated copy did.

    kind (str): "same" predictions; "error", the error of the promise; "raw" for other exceptions;
        "silent" for other predictions; "died" for a process that was killed.
    detail (str): the exception, if there is one.
    seconds (float): CPU time of loading and predicting.
    n_bytes (int): growth of the peak memory.
    """

    kind: str
    detail: str
    seconds: float = 0.0
    n_bytes: int = 0


@dataclass(frozen=True)
class Format:
    """A saved model.

    folder (Path): the model.
    load (Callable): loads a copy of the folder as a pipeline.
    owned (Callable): whether the package writes this file, and not spaCy. It gets the path within
        the folder.
    """

    folder: Path
    load: Callable[[Path], Language]
    owned: Callable[[Path], bool]

    def files(self, folder: Path, *, ours: bool) -> list[Path]:
        """List files.

        folder (Path): a copy of the model.
        ours (bool): the files that the package writes; otherwise those that spaCy writes.
        RETURNS (list[Path]): the files, sorted.
        """
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [path for path in files if self.owned(path.relative_to(folder)) == ours]


def fuzz_models(
    n: Annotated[int, typer.Option(help="Number of mutations.", min=1)] = 2000,
    seed: Annotated[int, typer.Option(help="The seed of the first mutation.")] = 0,
    *,
    spacy_files: Annotated[
        bool, typer.Option("--spacy-files", help="Mutate the files of spaCy's own parts instead.")
    ] = False,
    only: Annotated[str | None, typer.Option(help="Only this kind of mutation.")] = None,
    examples: Annotated[int, typer.Option(help="Examples to print of each problem.")] = 3,
) -> None:
    """Train a small pipeline, and load copies of it with one mutation each.

    The pipeline is saved by spaCy and in Hugging Face's format. Each copy is loaded in a process of
    its own. The seed of a mutation is `seed` plus its number, so that one mutation can be repeated:
    `--seed SEED --n 1`. Exits with status 1 if an exception is not the package's error, if
    predictions change without an error, or if memory or time exceed the limits.
    """
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    counts: dict[tuple[str, str], Counter[str]] = {}
    problems: dict[tuple[str, str, str], list[str]] = {}
    with TemporaryDirectory() as place:
        formats = save_formats(Path(place))
        expected = {name: predict(form.load(form.folder)) for name, form in formats.items()}
        typer.echo(f"seeds {seed} to {seed + n - 1}")
        copied = Path(place) / "copy"
        for number in range(seed, seed + n):
            rng = random.Random(number)
            name = rng.choice(sorted(formats))
            form = formats[name]
            kind = rng.choice(sorted(MUTATIONS)) if only is None else only
            shutil.copytree(form.folder, copied)
            change = MUTATIONS[kind](rng, copied, form.files(copied, ours=not spacy_files))
            if change is not None:
                outcome = load_copy(form, copied, expected[name])
                limit = SPARE_BYTES + 2 * sum(path.stat().st_size for path in _files(copied))
                found = [outcome.kind]
                found += ["memory"] * (outcome.n_bytes > limit)
                found += ["time"] * (outcome.seconds > MAX_SECONDS)
                counts.setdefault((name, kind), Counter()).update(found)
                for problem in set(found) - {"same", "error"}:
                    line = (
                        f"{number}: {change}: {outcome.detail} ({outcome.seconds:.1f} s, "
                        f"{outcome.n_bytes / MEBIBYTE:.0f} MiB)"
                    )
                    problems.setdefault((problem, name, kind), []).append(line)
            shutil.rmtree(copied)
    columns = ("error", "same", "raw", "silent", "died", "memory", "time")
    rows = [(*key, *(found[column] for column in columns)) for key, found in sorted(counts.items())]
    total = sum(counts.values(), Counter())
    rows.append(("", "all", *(total[column] for column in columns)))
    header = ("format", "mutation", *columns)
    typer.echo(table(rows, header=header, divider=True, aligns=(*"ll", *"rrrrrrr")))
    for key, lines in sorted(problems.items()):
        typer.echo(f"{' / '.join(key)}: {len(lines)}")
        typer.echo("".join(f"  {line}\n" for line in lines[:examples]), nl=False)
    raise typer.Exit(1 if problems else 0)


def save_formats(place: Path) -> dict[str, Format]:
    """Train a small pipeline and save it in all formats.

    place (Path): an existing folder.
    RETURNS (dict[str, Format]): the formats by name.
    """
    config = spacy.util.load_config(find_config("sample"), overrides=SMALL)
    fix_random_seed(0)
    nlp = init_nlp(config)
    (place / "trained").mkdir()
    with open(os.devnull, "w", encoding="utf8") as nowhere:
        train(nlp, place / "trained", stdout=nowhere, stderr=nowhere)
    nlp = spacy.load(place / "trained" / "model-best")
    nlp.to_disk(place / "spacy")
    save_transformers(nlp, "ner", place / "huggingface")
    return {
        "spacy": Format(place / "spacy", spacy.load, lambda path: path.parts[0] == "ner"),
        "huggingface": Format(
            place / "huggingface",
            lambda path: load_transformers(str(path)),
            lambda path: path.name != "README.md",
        ),
    }


# --- loading


@cache
def texts() -> list[str]:
    """Read texts of the sample.

    RETURNS (list[str]): the texts.
    """
    passages = read_passages(SAMPLE, split="test", sentences_per_doc=1, limit=100)
    return ["".join(w + " " * s for w, s in zip(p.words, p.spaces, strict=True)) for p in passages]


def predict(nlp: Language) -> list[Any]:
    """Predict entities.

    nlp (Language): a pipeline.
    RETURNS (list[Any]): the entities of the texts with their probabilities.
    """
    return [
        [(ent.start_char, ent.end_char, ent.label_, ent._.confidence) for ent in doc.ents]
        for doc in nlp.pipe(texts())
    ]


def load_copy(form: Format, folder: Path, expected: list[Any]) -> Outcome:
    """Load a mutated copy in a process of its own.

    form (Format): the format.
    folder (Path): the copy.
    expected (list[Any]): the predictions of the model without mutation.
    RETURNS (Outcome): the outcome.
    """
    # A fork has imported everything, so that its time and memory are those of loading.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, form, folder, expected))
    process.start()
    sender.close()
    try:
        outcome: Outcome = receiver.recv() if receiver.poll(_TIMEOUT) else Outcome("died", "killed")
    except EOFError:
        outcome = Outcome("died", "no answer")
    process.kill()
    process.join()
    return outcome


def _report(sender: Connection, form: Format, folder: Path, expected: list[Any]) -> None:
    used = _address_space()
    resource.setrlimit(resource.RLIMIT_AS, (used + _ADDRESS_SPACE, used + _ADDRESS_SPACE))
    peak = _peak()
    begin = time.process_time()
    kind, detail = "same", ""
    try:
        if predict(form.load(folder)) != expected:
            kind, detail = "silent", "other predictions"
    except Exception as error:  # what is raised is what is measured
        kind = "error" if is_promised(error) else "raw"
        detail = f"{type(error).__name__}: {error}"[:300]
    sender.send(Outcome(kind, detail, time.process_time() - begin, _peak() - peak))


def is_promised(error: Exception) -> bool:
    """Check whether an exception is the documented error of a damaged model.

    error (Exception): the exception.
    RETURNS (bool): whether it is.
    """
    return isinstance(error, ModelError)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# --- mutations: each changes one thing, and returns its description, or None if there is none


def change_bytes(rng: random.Random, folder: Path, files: list[Path]) -> str | None:
    """Flip bits, or overwrite a run of bytes."""
    path = rng.choice(files)
    data = bytearray(path.read_bytes())
    if not data:
        return None
    # Half of them near the beginning, where the headers are.
    place = rng.randrange(min(len(data), 4096) if rng.random() < 0.5 else len(data))
    if rng.random() < 0.5:
        data[place] ^= 1 << rng.randrange(8)
        change = f"bit of byte {place} flipped"
    else:
        length = min(rng.choice((1, 4, 16, 256)), len(data) - place)
        filler = rng.choice((b"\0", b"\xff", None))
        data[place : place + length] = rng.randbytes(length) if filler is None else filler * length
        change = f"bytes {place} to {place + length} overwritten"
    path.write_bytes(data)
    return f"{path.relative_to(folder)}: {change}"


def truncate(rng: random.Random, folder: Path, files: list[Path]) -> str | None:
    """Cut a file, or append to it."""
    path = rng.choice(files)
    data = path.read_bytes()
    if rng.random() < 0.7:
        length = rng.randrange(len(data) + 1)
        path.write_bytes(data[:length])
        return f"{path.relative_to(folder)}: cut to {length} bytes"
    path.write_bytes(data + rng.randbytes(rng.choice((1, 100, 10_000))))
    return f"{path.relative_to(folder)}: bytes appended"


def change_files(rng: random.Random, folder: Path, files: list[Path]) -> str | None:
    """Remove, empty, swap or add a file."""
    path, other = rng.choice(files), rng.choice(files)
    change = rng.choice(("removed", "emptied", "replaced by a folder", "swapped", "added"))
    if change == "added":
        path = path.with_name(
            rng.choice(("pytorch_model.bin", "model.pkl", "extra.json", "modeling_x.py"))
        )
        path.write_bytes(b"cos\nsystem\n(S'exit 7'\ntR.")  # a pickle that runs a command
    elif change == "emptied":
        path.write_bytes(b"")
    elif change == "swapped":
        first, second = path.read_bytes(), other.read_bytes()
        path.write_bytes(second)
        other.write_bytes(first)
        change = f"swapped with {other.relative_to(folder)}"
    else:
        path.unlink()
        if change != "removed":
            path.mkdir()
    return f"{path.relative_to(folder)}: {change}"


VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 10**6, 2**31, 2**40, 2**63, 10**30, 0.5, -0.5, 1e308),
    *(math.nan, math.inf, "", "x", "O", "\ud800", "__class__", [], [1], {}, {"a": 1}),
)
HUGE = (10**6, 10**9, 2**31, 2**33, 2**40, 2**62)
OUT_OF_RANGE: dict[str, tuple[Any, ...]] = {
    "threshold": (-0.1, 1.5, math.nan, math.inf, "0.5", None, [], True),
    "temperature": (0.0, -1.0, math.nan, math.inf, "1", None, {}, False),
    "recall_bias": (math.nan, math.inf, "x", None, [1.0], {"NOPE": 1.0}, {"PER": None}),
    "labels": ([], None, "PER", ["PER"], [1, 2, 3], ["", "A", "B"], ["PER"] * 50, {"PER": 1}),
    "label_smoothing": (-0.1, 1.0, math.nan, "x", None),
    "label_weights": ({"PER": -1.0}, {"PER": math.nan}, {"NOPE": 1.0}, 3, "x"),
    "learned_labels": ([], "PER", [1]),
    "incorrect_spans_key": (1, [], {}),
}


def change_value(rng: random.Random, folder: Path, files: list[Path]) -> str | None:
    """Replace, remove or rename a value in JSON, in msgpack or in the header of the weights."""
    with _edited(rng, folder, files) as (place, document):
        return f"{place}: {_change(rng, document, lambda value: rng.choice(VALUES))}"


def claim_much(rng: random.Random, folder: Path, files: list[Path]) -> str | None:
    """Replace a number by a huge one, in a file without checksums."""
    with _edited(rng, folder, files) as (place, document):
        remove_checksums(document)
        paths = [path for path in _paths(document) if type(_get(document, path)) is int]
        if not paths:
            return None
        path = rng.choice(paths)
        value = rng.choice(HUGE)
        _get(document, path[:-1])[path[-1]] = value
        return f"{place}: {path} = {value}"


def change_shape(rng: random.Random, folder: Path, files: list[Path]) -> str | None:
    """Change the shape or type of an array, in a file without checksums."""
    with _edited(rng, folder, [path for path in files if _has_arrays(path)]) as (place, document):
        header = document.get("header")
        if header is None:
            return None
        remove_checksums(document)
        name = rng.choice([name for name in header if name != "__metadata__"])
        entry = header[name]
        shape = entry["shape"]
        choice = rng.randrange(3)
        if choice == 0:
            entry["dtype"] = rng.choice(("I32", "F16", "BF16", "F64", "U8", "BOOL", "F8_E5M2", "?"))
        elif choice == 1 and len(set(shape)) > 1:
            entry["shape"] = shape[::-1]
        elif choice == 1:
            entry["shape"] = [1, *shape]
        else:
            other = rng.choice([other for other in header if other not in (name, "__metadata__")])
            if (header[other]["dtype"], header[other]["shape"]) == (entry["dtype"], shape):
                return None
            header[name], header[other] = header[other], entry
        return f"{place}: {name} = {header[name]}"


def set_out_of_range(rng: random.Random, folder: Path, files: list[Path]) -> str | None:
    """Set a setting of the component to an invalid value, in a file without checksums."""
    path = next((path for path in files if path.name in ("cfg", "config.json")), None)
    if path is None:
        return None
    with _edited(rng, folder, [path]) as (place, document):
        remove_checksums(document)
        name = rng.choice(sorted(OUT_OF_RANGE))
        settings = document.get("settings", document)
        if name == "labels" and "settings" in document:
            document["id2label"] = {0: "O", 1: rng.choice(("B-X", "", 7, None, "O"))}
            return f"{place}: id2label = {document['id2label']}"
        settings[name] = rng.choice(OUT_OF_RANGE[name])
        return f"{place}: {name} = {settings[name]!r}"


MUTATIONS: dict[str, Callable[[random.Random, Path, list[Path]], str | None]] = {
    "bytes": change_bytes,
    "files": change_files,
    "huge": claim_much,
    "settings": set_out_of_range,
    "shapes": change_shape,
    "truncation": truncate,
    "values": change_value,
}


def _has_arrays(path: Path) -> bool:
    return path.name in ("model", "model.safetensors")


def remove_checksums(document: Any) -> None:
    """Remove all checksums, as in files of earlier versions.

    document (Any): the content of a file, which is modified.
    """
    for path in _paths(document):
        if path and "checksum" in str(path[-1]):
            _get(document, path[:-1]).pop(path[-1])


@contextmanager
def _edited(
    rng: random.Random, folder: Path, files: list[Path]
) -> Iterator[tuple[str, dict[str, Any]]]:
    # The content of a file, which is written back with its changes.
    readable = [
        path
        for path in files
        if _has_arrays(path) or path.suffix == ".json" or path.name in ("cfg", "meta.json")
    ]
    path = rng.choice(readable)
    place = str(path.relative_to(folder))
    if path.name == "model":
        message = srsly.msgpack_loads(path.read_bytes())
        if rng.random() < 0.3:
            yield place, message
        else:
            ((shim,), *_) = message["shims"]
            document, arrays = _read_header(shim)
            yield f"{place}, header", document
            message["shims"][0][0] = _write_header(document, arrays)
        path.write_bytes(srsly.msgpack_dumps(message))
    elif path.suffix == ".safetensors":
        document, arrays = _read_header(path.read_bytes())
        yield f"{place}, header", document
        path.write_bytes(_write_header(document, arrays))
    else:
        document = json.loads(path.read_text(encoding="utf8"))
        yield place, document
        path.write_text(json.dumps(document))


def _read_header(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    document: dict[str, Any] = {"header": header}
    for key, value in list(header.get("__metadata__", {}).items()):
        if value.startswith("{"):
            document[key] = json.loads(header["__metadata__"].pop(key))
    return document, data[8 + length :]


def _write_header(document: dict[str, Any], arrays: bytes) -> bytes:
    document = copy.deepcopy(document)
    header = document.pop("header", {})
    if document and isinstance(header, dict):
        metadata = header.setdefault("__metadata__", {})
        if isinstance(metadata, dict):
            metadata.update({key: json.dumps(value) for key, value in document.items()})
    data = json.dumps(header).encode()
    return len(data).to_bytes(8, "little") + data + arrays


def _paths(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    keys: Any = ()
    if isinstance(document, dict):
        keys = list(document)
    elif isinstance(document, list):
        keys = range(len(document))
    for key in keys:
        found += _paths(document[key], (*path, key))
    return found


def _get(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def _change(rng: random.Random, document: Any, value: Callable[[Any], Any]) -> str:
    path = rng.choice(_paths(document))
    parent, key = _get(document, path[:-1]), path[-1]
    choice = rng.randrange(4)
    if choice == 0:
        del parent[key]
        return f"{path} removed"
    if choice == 1 and isinstance(parent, dict):
        parent[f"{key}_"] = parent.pop(key)
        return f"{path} renamed"
    parent[key] = value(parent[key])
    return f"{path} = {str(parent[key])[:60]!r}"


def main() -> None:
    """Run the command line."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(fuzz_models)
    app()


if __name__ == "__main__":
    main()
