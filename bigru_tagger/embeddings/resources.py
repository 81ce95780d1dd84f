"""Load word vectors, word clusters and gazetteers from files and packages."""

import gzip
import importlib.util
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from spacy.strings import get_string_id
from spacy.util import load_language_data, registry
from spacy.vocab import Vocab
from tqdm import tqdm

# Odd, so that multiplying by it loses nothing, and no pattern in its bits (2^64 / golden ratio).
_BASE = np.uint64(0x9E3779B97F4A7C15)


class ResourceError(ValueError):
    """A file or package of vectors, clusters or phrases that cannot be used."""


class MissingResourceError(ResourceError):
    """A file or package that does not exist."""


class VectorTable(NamedTuple):
    """Vectors by word.

    keys (ndarray): spaCy's hash of each word, uint64 (n_words,).
    vectors (ndarray): float16 or float32 (n_words, width).
    """

    keys: np.ndarray
    vectors: np.ndarray


class ClusterTable(NamedTuple):
    """Paths of words in a binary tree of clusters, the path's first turn in the lowest bit.

    keys (ndarray): spaCy's hash of each word, uint64 (n_words,).
    paths (ndarray): int64 (n_words,).
    """

    keys: np.ndarray
    paths: np.ndarray


class PhraseTable(NamedTuple):
    """Phrases, and which lists they are on.

    names (list[str]): the name of each list.
    keys (ndarray): hash of each phrase, see `phrase_hashes`, uint64 (n_phrases,).
    lists (ndarray): bit i is set if the phrase is on list i, int64 (n_phrases,).
    """

    names: list[str]
    keys: np.ndarray
    lists: np.ndarray


def read_vectors(source: str) -> VectorTable:
    """Read word vectors.

    source (str): a text file of GloVe or word2vec (a word and its numbers on each line, separated
        by spaces; with or without a line of counts at the top; also `.gz`); a `.npy` file, or a
        folder or installed package that holds one, with the words beside it, one a line in a
        `.txt` file or in a `.parquet` file with a column of strings and, where rows are not in
        the order of the vectors, a column of their numbers.
    RETURNS (VectorTable): the vectors; of a word that is there twice, the first.
    RAISES (ResourceError): if the source does not exist, or is not of that form.
    """
    path = _find(source, "vectors")
    if path.is_dir():
        path = _only(path, "*.npy", "vectors")
    words, vectors = _read_array(path) if path.suffix == ".npy" else _read_text(path)
    finite = np.isfinite(vectors).all(1)
    if not finite.all():
        word = words[int(finite.argmin())]
        raise ResourceError(f"{path}: the vector of {word!r} holds what is no finite number")
    hashes = np.array([get_string_id(word) for word in words], dtype=np.uint64)
    keys, first = np.unique(hashes, return_index=True)
    return VectorTable(keys, vectors[first])


def _find(source: str, what: str) -> Path:
    path = Path(source)
    if source and path.exists():
        return path
    spec = importlib.util.find_spec(source) if source.isidentifier() else None
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    raise ResourceError(
        f"no {what} at {source!r}: there is no such file or folder, nor an installed package of "
        "that name"
    )


def _only(folder: Path, pattern: str, what: str) -> Path:
    found = sorted(folder.rglob(pattern))
    if len(found) != 1:
        raise ResourceError(
            f"{folder}: expected one {pattern} file of {what}, found "
            f"{[str(file.relative_to(folder)) for file in found] or 'none'}: name the file itself"
        )
    return found[0]


def _read_array(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        vectors = np.load(path, mmap_mode="r")
    except (EOFError, ValueError) as error:
        raise ResourceError(f"{path}: expected an array of floats: {error}") from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or not vectors.size:
        raise ResourceError(
            f"{path}: expected an array of floats, one row per word; it is "
            f"{vectors.dtype} {vectors.shape}"
        )
    lists = sorted(path.parent.glob("*.txt")) + sorted(path.parent.glob("*.parquet"))
    if len(lists) != 1:
        raise ResourceError(
            f"{path}: expected one list of its words beside it, a .txt or .parquet file; found "
            f"{[file.name for file in lists] or 'none'}"
        )
    words = list(_lines(lists[0])) if lists[0].suffix == ".txt" else _read_words(lists[0])
    if len(words) != len(vectors):
        raise ResourceError(f"{lists[0]} has {len(words)} words, but {path} {len(vectors)} rows")
    half = vectors.dtype == np.float16
    return words, np.asarray(vectors, dtype=np.float16 if half else np.float32)


def _read_words(path: Path) -> list[str]:
    from datasets import load_dataset  # type: ignore[import-untyped]  # noqa: PLC0415 - takes seconds
    from datasets.exceptions import DatasetGenerationError  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        columns = load_dataset("parquet", data_files=str(path), split="train")
    except (DatasetGenerationError, ValueError) as error:
        raise ResourceError(f"{path}: the file cannot be read as parquet: {error}") from error
    kinds = {name: str(getattr(kind, "dtype", kind)) for name, kind in columns.features.items()}
    strings = [name for name, kind in kinds.items() if kind in ("string", "large_string")]
    numbers = [name for name, kind in kinds.items() if kind.lstrip("u").startswith("int")]
    if len(strings) != 1 or len(numbers) > 1:
        raise ResourceError(
            f"{path}: expected one column of words, and at most one of row numbers; it has {kinds}"
        )
    column: list[str | None] = columns[strings[0]][:]
    words = [word for word in column if word is not None]
    if len(words) < len(column):
        raise ResourceError(f"{path}: row {column.index(None)} has no word")
    if numbers:
        rows = np.asarray(columns[numbers[0]][:])
        if not np.array_equal(np.sort(rows), np.arange(len(words))):
            raise ResourceError(
                f"{path}: the column {numbers[0]!r} does not number the words from 0"
            )
        words = [words[i] for i in np.argsort(rows)]
    return words


def _read_text(path: Path) -> tuple[list[str], np.ndarray]:
    words: list[str] = []
    rows: list[np.ndarray] = []
    width = 0
    for number, line in enumerate(_lines(path), 1):
        fields = line.rstrip(" ").split(" ")
        if number == 1 and len(fields) == 2 and all(field.isdecimal() for field in fields):
            width = int(fields[1])  # word2vec's counts: of words, and of numbers a word
            continue
        if fields == [""]:
            continue
        if not width:
            width = len(fields) - 1
        # Words of GloVe 840B hold spaces: the numbers are the last fields.
        try:
            row = np.array([float(field) for field in fields[-width:]], dtype=np.float32)
        except ValueError:
            row = None
        if row is None or len(fields) <= width or not width:
            raise ResourceError(
                f"{path}, line {number}: expected a word and {width or 'some'} numbers, separated "
                f"by spaces; got {line[:60]!r}"
            )
        words.append(" ".join(fields[:-width]))
        rows.append(row)
    if not rows:
        raise ResourceError(f"{path}: the file is empty")
    return words, np.stack(rows)


def _lines(path: Path) -> Iterator[str]:
    number = 0
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            # Read as bytes, since text may hold what Python takes for the end of a line.
            for line in tqdm(file, desc=path.name, unit=" lines", disable=None, leave=False):
                number += 1
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                yield text.removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise ResourceError(
                f"{path}, line {number}: the file is not text in UTF-8: {error}"
            ) from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ResourceError(f"{path}: the file is damaged, or not gzip: {error}") from error


def read_clusters(source: str, vocab: Vocab) -> ClusterTable:
    """Read hierarchical word clusters, such as those of Brown et al. 1992.

    source (str): the name of a table of spaCy's lookups, `lexeme_cluster`, taken from the vocab if
        it was loaded there, otherwise from the package `spacy-lookups-data`; or a file with a path
        of the digits 0 and 1, a tab, a word, and possibly more columns on each line, as Liang's
        `brown-cluster` writes them.
    vocab (Vocab): the vocab, for its lookups and its language.
    RETURNS (ClusterTable): the clusters.
    RAISES (MissingResourceError): if there are none of that name.
    RAISES (ResourceError): if the file or table is not of that form.
    """
    if Path(source).is_file():
        return _read_paths(Path(source))
    if source in vocab.lookups:
        return _read_table(vocab.lookups.get_table(source), source, vocab.lang)
    return _read_package(source, vocab.lang)


@lru_cache(maxsize=1)  # for pipelines of several components; the table takes 16 bytes per word
def _read_package(source: str, lang: str) -> ClusterTable:
    tables = registry.lookups.get(lang) if lang in registry.lookups else {}
    try:
        # `load_lookups` makes a spaCy table of all entries, at six times the cost.
        table: Any = load_language_data(tables[source])
    except (KeyError, ValueError) as error:
        raise MissingResourceError(
            f"no word clusters: there is no file {source!r}, and no such table in spaCy's "
            f"lookups for {lang!r}. Give the path of a file of clusters, install the "
            "tables by `pip install spacy-lookups-data`, or leave the embedding out"
        ) from error
    return _read_table(table, source, lang)


def _read_table(table: Mapping[int | str, Any], source: str, lang: str) -> ClusterTable:
    # Four of five words of spaCy's own tables have the number 0, which stands for no cluster.
    clusters = {get_string_id(word): path for word, path in table.items() if path != 0}
    if not clusters or not all(isinstance(path, int) for path in clusters.values()):
        raise ResourceError(
            f"no word clusters: the table {source!r} of spaCy's lookups for {lang!r} "
            + ("holds other things than numbers of clusters" if clusters else "holds none")
        )
    return _cluster_table(clusters)


def _read_paths(path: Path) -> ClusterTable:
    paths: dict[int, int] = {}
    for number, line in enumerate(_lines(path), 1):
        bits, _, rest = line.partition("\t")
        word = rest.split("\t")[0]
        if not line:
            continue
        if not word or not bits or len(bits) > 62 or bits.strip("01"):
            raise ResourceError(
                f"{path}, line {number}: expected a path of at most 62 digits 0 and 1, a tab and "
                f"a word; got {line[:60]!r}"
            )
        # As spaCy numbers clusters: then a prefix of the path is a mask of low bits.
        paths.setdefault(get_string_id(word), int(bits[::-1], 2))
    if not paths:
        raise ResourceError(f"{path}: the file is empty")
    return _cluster_table(paths)


def _cluster_table(paths: Mapping[int, int]) -> ClusterTable:
    keys = np.fromiter(paths.keys(), dtype=np.uint64, count=len(paths))
    return ClusterTable(keys, np.fromiter(paths.values(), dtype=np.int64, count=len(paths)))


def read_phrases(source: str | Mapping[str, str | Sequence[str]]) -> PhraseTable:
    """Read lists of phrases, one phrase a line.

    source (str | dict[str, str | list[str]]): a folder, whose `.txt` files are a list
        each; or for each list its name, and its file or files.
    RETURNS (PhraseTable): the phrases. Case, and where spaces stand, make no difference.
    RAISES (ResourceError): if a file is missing, there are no phrases, or too many lists.
    """
    if isinstance(source, str):
        files = {file.stem: [file] for file in sorted(_find(source, "phrases").glob("*.txt"))}
        if not files:
            raise ResourceError(f"{source}: expected a folder of .txt files, one phrase a line")
    else:
        files = {
            name: [Path(file) for file in ([given] if isinstance(given, str) else given)]
            for name, given in source.items()
        }
    if len(files) > 62:
        raise ResourceError(f"at most 62 lists of phrases; got {len(files)}")
    lists: dict[str, int] = {}
    for bit, (name, paths) in enumerate(files.items()):
        for path in paths:
            if not path.is_file():
                raise ResourceError(f"no file {str(path)!r} of phrases (list {name!r})")
            for line in _lines(path):
                phrase = fold(line)
                if phrase:
                    lists[phrase] = lists.get(phrase, 0) | 1 << bit
    if not lists:
        raise ResourceError(f"the lists of phrases {list(files)} are empty")
    keys, first = np.unique(phrase_hashes(list(lists))[:, 0], return_index=True)
    bits = np.fromiter(lists.values(), dtype=np.int64, count=len(lists))
    return PhraseTable(list(files), keys, bits[first])


def fold(text: str) -> str:
    """Make alike what counts as the same in a phrase.

    text (str): a phrase, or a word of a text.
    RETURNS (str): composed, without case, without white space.
    """
    # Unlike lower case, folded case does not depend on neighbours, which a tokenizer may cut off.
    return "".join(unicodedata.normalize("NFC", text).casefold().split())


def phrase_hashes(texts: Sequence[str]) -> np.ndarray:
    """Hash texts so that the hash of a phrase follows from those of its words.

    The hash of a text is the polynomial of its code points at a fixed base, modulo 2^64. With the
    power of the base to a word's length, hash(ab) = hash(a) * power(b) + hash(b): so phrases are
    found however a tokenizer cuts them (Karp and Rabin 1987).

    texts (Sequence[str]): folded texts, see `fold`.
    RETURNS (ndarray): hash and power of each text, uint64 (n_texts, 2).
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    code_points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    powers = np.full(int(lengths.max(initial=0)) + 1, _BASE)
    powers[0] = 1
    powers = np.multiply.accumulate(powers)
    ends = lengths.cumsum()
    following = np.repeat(ends, lengths) - np.arange(1, len(code_points) + 1)
    # 0 would make leading characters of that code point invisible.
    terms = (code_points.astype(np.uint64) + np.uint64(1)) * powers[following]
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), terms.cumsum()])
    # Sums wrap around at 2^64, and so do their differences: these are those of each text alone.
    return np.stack([sums[ends] - sums[ends - lengths], powers[lengths]], 1)
