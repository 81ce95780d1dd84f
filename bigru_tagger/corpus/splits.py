"""Find the splits of a corpus by file names, such as "dev.conll" and "NER-de-test.tsv"."""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from .sentences import CorpusError

logger = logging.getLogger(__name__)

_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development", "testa"),
    "test": ("test", "testing", "testb", "eval", "evaluation"),
}
_CANONICAL = {
    word + ending: split
    for split, words in _WORDS.items()
    for word in words
    for ending in ("", "set", "data")
}
# "NERTest17" has the words NER and Test. "latest", "contest" and "detrain" do not name a split.
_NAME_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# The number after the split: "train-00000-of-00002-0123456789abcdef", "train_1".
_PART_NUMBER = re.compile(r"(?<=[a-z])[-_. ]?\d+(-of-\d+)?(-[0-9a-f]{16})?(?=\.|$)", re.IGNORECASE)


def base_split(split: str) -> str:
    """Remove the slice from a split.

    split (str): A split, or slices of one: "train[:10%]", "train[:5]+train[9:]".
    RETURNS (str): The split, such as "train". A sum of different splits is returned unchanged.
    """
    names = {part.partition("[")[0].strip() for part in split.split("+")}
    return names.pop() if len(names) == 1 else split


def canonical_split(split: str) -> str:
    """Normalize the name of a split.

    split (str): A split or slices of one: "dev", "testa", "train[:10%]".
    RETURNS (str): "train", "validation" or "test"; any other name in lower case.
    """
    name = base_split(split).lower()
    return _CANONICAL.get(name, name)


def split_words(name: str) -> list[str]:
    """Find the words in the name of a file or folder that name splits.

    name (str): The name, such as "NER-de-Test.tsv".
    RETURNS (list[str]): The words in lower case, such as ["test"].
    """
    words = (word.lower() for word in _NAME_PARTS.findall(name))
    return [word for word in words if word in _CANONICAL]


def named_splits(name: str) -> set[str]:
    """Find the splits that the name of a file or folder contains.

    name (str): The name, such as "eng.testa".
    RETURNS (set[str]): A subset of "train", "validation" and "test".
    """
    return {_CANONICAL[word] for word in split_words(name)}


def check_split(name: str, split: str) -> None:
    """Check that the name of a file or folder does not contradict the requested split.

    The folder of a file without a split in its name may be called "test" or "dev" for any reason.
    If it contradicts the requested split, a warning is logged.

    name (str): The path of the file or folder.
    split (str): The requested split.
    RAISES (CorpusError): The name contains a different split, and not this one.
    """
    path, requested = Path(name), canonical_split(split)
    named = named_splits(path.name)
    folder = canonical_split(path.parent.name)
    if not named and folder in _WORDS and requested in _WORDS and folder != requested:
        logger.warning(
            "%s: read as the split %r, but its folder is named %r", name, split, path.parent.name
        )
    if named and requested not in named:
        raise CorpusError(
            f"{name}: its name contains {' and '.join(sorted(named))}, but the split {split!r} was "
            "requested: request the split in its name, or rename it"
        )


def files_by_split(folder: Path, files: Iterable[Path]) -> dict[str, list[Path]]:
    """Group the files of a folder by the splits in their names.

    A file whose name contains no split belongs to the split of its closest parent folder named
    after one. If files of a split are at several depths, only those closest to `folder` are used.
    A file named after several splits belongs to none, unless its folder is named after a split.

    folder (Path): The folder.
    files (Iterable[Path]): Files in it, at any depth.
    RETURNS (dict[str, list[Path]]): The files for "train", "validation" and "test", in this order.
        Splits without files are left out.
    RAISES (CorpusError): A file is named after another split than its folder.
    """
    by_depth: dict[str, dict[int, list[Path]]] = {split: {} for split in _WORDS}
    for file in sorted(files):
        parts = file.relative_to(folder).parts
        named = next((names for part in reversed(parts) if (names := named_splits(part))), set())
        inside = {split for part in parts[:-1] if (split := canonical_split(part)) in _WORDS}
        if named and inside and not inside <= named:
            raise CorpusError(
                f"{file}: named after the split {' and '.join(sorted(named))}, but in a folder of "
                f"the split {' and '.join(sorted(inside))}: rename it, or use it as the path"
            )
        named = inside if len(inside) == 1 else named
        if len(named) == 1:
            by_depth[named.pop()].setdefault(len(parts), []).append(file)
    return {split: levels[min(levels)] for split, levels in by_depth.items() if levels}


def split_names(folder: Path, files: Iterable[Path]) -> list[str]:
    """List the splits of a folder, named as in its files.

    folder (Path): The folder.
    files (Iterable[Path]): Files in it, at any depth.
    RETURNS (list[str]): The names, such as "train", "testa" and "testb".
    """
    words: dict[str, None] = {}
    for chosen in files_by_split(folder, files).values():
        for file in chosen:
            parts = reversed(file.relative_to(folder).parts)
            words[next(named[0] for part in parts if (named := split_words(part)))] = None
    return list(words)


def choose_files(folder: Path, files: Sequence[Path], split: str) -> list[Path]:
    """Choose the files of one split.

    folder (Path): The folder.
    files (Sequence[Path]): Files in it, at any depth.
    split (str): The split: "train", or another word in the name of a file.
    RETURNS (list[Path]): The files of the split. If no file is named after a split and `folder` is
        named after this one, all files.
    RAISES (CorpusError): There is no file of this split, or there are several that may belong to
        different corpora.
    """
    exact = [file for file in files if _has_word(file, base_split(split))]
    chosen = exact
    if canonical_split(split) in _WORDS:
        chosen = files_by_split(folder, files).get(canonical_split(split), [])
        # Prefer the exact word: a folder may contain both "dev.conll" and "valid.conll".
        chosen = [file for file in chosen if file in exact] or chosen
    if not chosen:
        names = ", ".join(str(file.relative_to(folder)) for file in files) or "none"
        if any(named_splits(str(file.relative_to(folder))) for file in files):
            raise CorpusError(
                f"{folder}: no file of the split {split!r}: the files are {names}: choose the "
                "split of one of them, or use one as the path"
            )
        if canonical_split(folder.name) == canonical_split(split):
            return list(files)
        raise CorpusError(
            f"{folder}: no file is named after a split, but {split!r} was requested: use a file as "
            f"the path, or leave the split out; the files are {names}"
        )
    numbered = {_PART_NUMBER.search(file.name) is not None for file in chosen}
    if len({_series(file, folder) for file in chosen}) > 1 or (
        len(numbered) > 1 and all(named_splits(file.name) for file in chosen)
    ):
        names = ", ".join(str(file.relative_to(folder)) for file in chosen)
        raise CorpusError(
            f"{folder}: several files may be the split {split!r}: {names}: use one as the path"
        )
    _check_parts(folder, chosen)
    return chosen


def _check_parts(folder: Path, files: Sequence[Path]) -> None:
    """Check files such as "train-00000-of-00002". RAISES (CorpusError): One of them is missing."""
    numbers = {
        (int(found[1]), int(found[2]))
        for file in files
        if (found := re.search(r"[-_](\d+)-of-(\d+)", file.name))
    }
    for total in {total for _, total in numbers}:
        present = {number for number, of in numbers if of == total}
        # Hugging Face counts from 0, other programs from 1.
        missing = set(range(total)) - present, set(range(1, total + 1)) - present
        if all(missing):
            raise CorpusError(
                f"{folder}: {len(present)} of the {total} files of a split: get the others, too"
            )


def _has_word(file: Path, word: str) -> bool:
    return bool(re.search(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])", file.name, re.IGNORECASE))


def _series(file: Path, folder: Path) -> tuple[Path, str]:
    """Get the folder and name that all parts of one split share, without their numbers."""
    if not named_splits(file.name) and file.parent != folder:
        return file.parent, ""
    return file.parent, _PART_NUMBER.sub("", file.name)
