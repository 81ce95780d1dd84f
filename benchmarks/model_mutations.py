"""Mutations of saved models, for `benchmarks.fuzz_models`.

Each changes one thing in a copy of a model, and returns its description, or None if it found
nothing to change. The arguments are a random generator, the copy, and the files to choose from.
"""

import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import srsly

Mutation: TypeAlias = Callable[[random.Random, Path, list[Path]], str | None]


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
    files = [path for path in files if _is_readable(path)]
    if not files:
        return None
    with _edited(rng, folder, files) as (place, document):
        return f"{place}: {_change(rng, document)}"


def claim_much(rng: random.Random, folder: Path, files: list[Path]) -> str | None:
    """Replace a number by a huge one, in a file without checksums."""
    files = [path for path in files if _is_readable(path)]
    if not files:
        return None
    with _edited(rng, folder, files) as (place, document):
        remove_checksums(folder, document)
        paths = [path for path in _paths(document) if type(_get(document, path)) is int]
        if not paths:
            return None
        path = rng.choice(paths)
        value = rng.choice(HUGE)
        _get(document, path[:-1])[path[-1]] = value
        return f"{place}: {path} = {value}"


def change_shape(rng: random.Random, folder: Path, files: list[Path]) -> str | None:
    """Change the shape or type of an array, in a file without checksums."""
    files = [path for path in files if _has_arrays(path)]
    if not files:
        return None
    with _edited(rng, folder, files, arrays_only=True) as (place, document):
        header = document["header"]
        remove_checksums(folder, document)
        name = rng.choice([name for name in header if name != "__metadata__"])
        entry = header[name]
        shape = entry["shape"]
        choice = rng.randrange(3)
        if choice == 0:
            types = ("I32", "F16", "BF16", "F64", "U8", "BOOL", "F8_E5M2", "?")
            entry["dtype"] = rng.choice([dtype for dtype in types if dtype != entry["dtype"]])
        elif choice == 1:
            entry["shape"] = shape[::-1] if len(set(shape)) > 1 else [1, *shape]
        else:
            other = rng.choice([other for other in header if other not in (name, "__metadata__")])
            if header[other]["dtype"] == entry["dtype"] and header[other]["shape"] == shape:
                return None  # still a valid network
            header[name], header[other] = header[other], entry
        return f"{place}: {name} = {header[name]}"


def set_out_of_range(rng: random.Random, folder: Path, files: list[Path]) -> str | None:
    """Set a setting of the component to an invalid value, in a file without checksums."""
    files = [path for path in files if path.name in ("cfg", "config.json")]
    if not files:
        return None
    with _edited(rng, folder, files) as (place, document):
        remove_checksums(folder, document)
        name = rng.choice(sorted(OUT_OF_RANGE))
        value = rng.choice(OUT_OF_RANGE[name])
        if name == "labels" and "settings" in document:
            name, value = "id2label", {0: "O", 1: rng.choice(("B-X", "", 7, None, "O"))}
            document[name] = value
        else:
            document.get("settings", document)[name] = value
        return f"{place}: {name} = {value!r}"


MUTATIONS: dict[str, Mutation] = {
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


def _is_readable(path: Path) -> bool:
    return _has_arrays(path) or path.suffix == ".json" or path.name in ("cfg", "checksums")


def remove_checksums(folder: Path, document: Any) -> None:
    """Remove all checksums, as in files of earlier versions.

    folder (Path): the copy of the model.
    document (Any): the content of one of its files, which is modified.
    """
    for file in folder.glob("*/checksums"):
        file.unlink()
    for file in folder.glob("*config.json"):
        content = json.loads(file.read_text(encoding="utf8"))
        file.write_text(json.dumps({key: content[key] for key in content if "checksum" not in key}))
    for path in _paths(document):
        if path and "checksum" in str(path[-1]):
            _get(document, path[:-1]).pop(path[-1])


@contextmanager
def _edited(
    rng: random.Random, folder: Path, files: list[Path], *, arrays_only: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    # The content of a file, or with `arrays_only` its header, which is written back with changes.
    path = rng.choice(files)
    place = str(path.relative_to(folder))
    if path.name == "model":
        message = srsly.msgpack_loads(path.read_bytes())
        if not arrays_only and rng.random() < 0.3:
            yield place, message
        else:
            ((shim,), *_) = message["shims"]
            document, arrays = _read_header(shim)
            yield f"{place}, header", document
            message["shims"][0][0] = _write_header(document, arrays)
        # msgpack holds no surrogates and no larger integers: the file stays as it is.
        with suppress(UnicodeEncodeError, OverflowError):
            path.write_bytes(srsly.msgpack_dumps(message))
    elif path.suffix == ".safetensors":
        document, arrays = _read_header(path.read_bytes())
        yield f"{place}, header", document
        path.write_bytes(_write_header(document, arrays))
    else:
        document = json.loads(path.read_text(encoding="utf8"))
        yield place, document
        path.write_text(json.dumps(document), encoding="utf8")


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


def _change(rng: random.Random, document: Any) -> str:
    path = rng.choice(_paths(document))
    parent, key = _get(document, path[:-1]), path[-1]
    choice = rng.randrange(4)
    if choice == 0:
        del parent[key]
        return f"{path} removed"
    if choice == 1 and isinstance(parent, dict):
        parent[f"{key}_"] = parent.pop(key)
        return f"{path} renamed"
    parent[key] = rng.choice(VALUES)
    return f"{path} = {str(parent[key])[:60]!r}"
