"""Load damaged and hostile copies of saved models: `scripts/fuzz_models --help`."""

import multiprocessing
import os
import random
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import spacy
import transformers
import typer
from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from thinc.api import fix_random_seed
from tqdm import tqdm
from wasabi.tables import table

from bigru_tagger.corpus.sources import SAMPLE
from bigru_tagger.errors import ModelError
from bigru_tagger.huggingface.exchange import load_transformers, save_transformers
from bigru_tagger.recipes.combining import combine
from bigru_tagger.recipes.configs import find_config

from .model_mutations import MUTATIONS
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
    """Train small pipelines, and load copies of them with one mutation each.

    A pipeline is saved by spaCy, in Hugging Face's format, and as a member of an ensemble. Each
    copy is loaded in a process of its own. The seed of a mutation is `seed` plus its number, so
    that one mutation can be repeated: `--seed SEED --n 1`. Exits with status 1 if an exception is
    not the package's error, if predictions change without an error, or if memory or time exceed the
    limits.
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
        for number in tqdm(range(seed, seed + n), disable=None):
            rng = random.Random(number)
            # spaCy writes no file of the other format.
            name = "spacy" if spacy_files else rng.choice(sorted(formats))
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
    """Train small pipelines and save them in all formats.

    place (Path): an existing folder.
    RETURNS (dict[str, Format]): the formats by name.
    """
    members = [_train(place / f"seed-{seed}", seed) for seed in (0, 1)]
    nlp = spacy.load(members[0])
    nlp.to_disk(place / "spacy")
    save_transformers(nlp, "ner", place / "huggingface")
    combine(members).to_disk(place / "ensemble")
    return {
        **{
            name: Format(place / name, spacy.load, lambda path: path.parts[0] == "ner")
            for name in ("spacy", "ensemble")
        },
        "huggingface": Format(
            place / "huggingface",
            lambda path: load_transformers(str(path)),
            lambda path: path.name != "README.md",
        ),
    }


def _train(folder: Path, seed: int) -> Path:
    fix_random_seed(seed)
    config = spacy.util.load_config(find_config("sample"), overrides=SMALL | {"system.seed": seed})
    folder.mkdir()
    with open(os.devnull, "w", encoding="utf8") as nowhere:
        train(init_nlp(config), folder, stdout=nowhere, stderr=nowhere)
    return folder / "model-best"


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


def main() -> None:
    """Run the command line."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(fuzz_models)
    app()


if __name__ == "__main__":
    main()
