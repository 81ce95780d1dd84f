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

from ..errors import DataError
from ..extras import require

# 2^64 / golden ratio. It is odd, so multiplication is invertible, and its bits have no pattern.
_BASE = np.uint64(0x9E3779B97F4A7C15)


class ResourceError(DataError):
    """Raised if a file or package of vectors, clusters or phrases cannot be used."""


class MissingResourceError(ResourceError):
    """Raised if a file or package does not exist."""


class VectorTable(NamedTuple):
    """A table of word vectors.

    keys (ndarray): spaCy's hash of each word, uint64 (n_words,).
    vectors (ndarray): float16 or float32 (n_words, width).
    """

    keys: np.ndarray
    vectors: np.ndarray


class ClusterTable(NamedTuple):
    """A table of word clusters.

    keys (ndarray): spaCy's hash of each word, uint64 (n_words,).
    paths (ndarray): path of each word in a binary tree of clusters, int64 (n_words,). The first
        step of the path is the lowest bit.
    """

    keys: np.ndarray
    paths: np.ndarray


class PhraseTable(NamedTuple):
    """A table of phrases and their lists.

    names (list[str]): the name of each list.
    keys (ndarray): hash of each phrase, see `phrase_hashes`, uint64 (n_phrases,).
    lists (ndarray): bit i is set if the phrase is on list i, int64 (n_phrases,).
    """

    names: list[str]
    keys: np.ndarray
    lists: np.ndarray


def read_vectors(source: str) -> VectorTable:
    """Read word vectors.

    source (str): a text file in the format of GloVe or word2vec, also compressed as `.gz`: a word
        and its numbers on each line, separated by spaces, with an optional first line of counts.
        Or a `.npy` file with the vectors, or a folder or installed package that contains one. The
        words must be in the same folder: a `.txt` file with one word per line, or a `.parquet` file
        with a column of strings and an optional column of row numbers.
    RETURNS (VectorTable): the vectors. If a word occurs twice, its first vector is used.
    RAISES (ResourceError): if the source does not exist, or has another format.
    """
    path = _find(source, "vectors")
    if path.is_dir():
        path = _only(path, "*.npy", "vectors")
    words, vectors = _read_array(path) if path.suffix == ".npy" else _read_text(path)
    finite = np.isfinite(vectors).all(1)
    if not finite.all():
        word = words[int(finite.argmin())]
        raise ResourceError(f"{path}: the vector of {word!r} contains NaN or infinity")
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
        f"no {what} at {source!r}: there is no such file or folder, and no installed package of "
        "that name"
    )


def _only(folder: Path, pattern: str, what: str) -> Path:
    found = sorted(folder.rglob(pattern))
    if len(found) != 1:
        raise ResourceError(
            f"{folder}: expected one {pattern} file of {what}, found "
            f"{[str(file.relative_to(folder)) for file in found] or 'none'}: use the path of the "
            "file"
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
            f"{path}: expected one list of its words in the same folder, a .txt or .parquet file; "
            f"found {[file.name for file in lists] or 'none'}"
        )
    words = list(_lines(lists[0])) if lists[0].suffix == ".txt" else _read_words(lists[0])
    if len(words) != len(vectors):
        raise ResourceError(f"{lists[0]} has {len(words)} words, but {path} {len(vectors)} rows")
    half = vectors.dtype == np.float16
    return words, np.asarray(vectors, dtype=np.float16 if half else np.float32)


def _read_words(path: Path) -> list[str]:
    datasets = require("datasets", "reading parquet")  # takes seconds to import

    try:
        columns = datasets.load_dataset("parquet", data_files=str(path), split="train")
    except (datasets.exceptions.DatasetGenerationError, ValueError) as error:
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
        # Words of GloVe 840B can contain spaces, so the numbers are the last fields.
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
            # Read as bytes, since words can contain characters that end a line in text mode.
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

    source (str): a table of spaCy's lookups, such as "lexeme_cluster", from the vocab or else from
        the package `spacy-lookups-data`. Or a file in the format of Liang's `brown-cluster`, with
        a path of digits 0 and 1, a tab, a word, and optional further columns on each line.
    vocab (Vocab): the vocab, for its lookups and its language.
    RETURNS (ClusterTable): the clusters.
    RAISES (MissingResourceError): if there is no such file or table.
    RAISES (ResourceError): if the file or table has another format.
    """
    if Path(source).is_file():
        return _read_paths(Path(source))
    if source in vocab.lookups:
        return _read_table(vocab.lookups.get_table(source), source, vocab.lang)
    return _read_package(source, vocab.lang)


@lru_cache(maxsize=1)  # for pipelines with several components; 16 bytes per word
def _read_package(source: str, lang: str) -> ClusterTable:
    tables = registry.lookups.get(lang) if lang in registry.lookups else {}
    try:
        # `load_lookups` would build a spaCy table, which takes six times as long.
        table: Any = load_language_data(tables[source])
    except (KeyError, ValueError) as error:
        raise MissingResourceError(
            f"no word clusters: there is no file {source!r}, and no such table in spaCy's "
            f"lookups for {lang!r}. Use the path of a file of clusters, install the "
            "tables with `pip install spacy-lookups-data`, or leave out the embedding (in the "
            "configs of this package: --paths.clusters null)"
        ) from error
    return _read_table(table, source, lang)


def _read_table(table: Mapping[int | str, Any], source: str, lang: str) -> ClusterTable:
    # In spaCy's tables, 0 means no cluster, which is the case for four of five words.
    clusters = {get_string_id(word): path for word, path in table.items() if path != 0}
    if not clusters or not all(isinstance(path, int) for path in clusters.values()):
        raise ResourceError(
            f"no word clusters: the table {source!r} of spaCy's lookups for {lang!r} "
            + ("contains values that are not integers" if clusters else "is empty")
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
        # Like spaCy's cluster numbers, so that the low bits are a prefix of the path.
        paths.setdefault(get_string_id(word), int(bits[::-1], 2))
    if not paths:
        raise ResourceError(f"{path}: the file is empty")
    return _cluster_table(paths)


def _cluster_table(paths: Mapping[int, int]) -> ClusterTable:
    keys = np.fromiter(paths.keys(), dtype=np.uint64, count=len(paths))
    return ClusterTable(keys, np.fromiter(paths.values(), dtype=np.int64, count=len(paths)))


def read_phrases(source: str | Mapping[str, str | Sequence[str]]) -> PhraseTable:
    """Read lists of phrases with one phrase per line.

    source (str | dict[str, str | list[str]]): a folder of `.txt` files, where each file is a list;
        or a dictionary from the name of each list to its file or files.
    RETURNS (PhraseTable): the phrases, without case and white space, see `fold`.
    RAISES (ResourceError): if a file is missing, there are no phrases, or more than 62 lists.
    """
    if isinstance(source, str):
        files = {file.stem: [file] for file in sorted(_find(source, "phrases").glob("*.txt"))}
        if not files:
            raise ResourceError(f"{source}: expected a folder of .txt files, one phrase per line")
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
    """Normalise a text for the comparison with phrases.

    text (str): a phrase, or a word of a text.
    RETURNS (str): the text in Unicode form NFC, case-folded, without white space.
    """
    # Unlike lower-casing, case folding does not depend on adjacent characters, which can be in
    # another token.
    return "".join(unicodedata.normalize("NFC", text).casefold().split())


def phrase_hashes(texts: Sequence[str]) -> np.ndarray:
    """Hash texts so that the hash of a phrase can be computed from the hashes of its tokens.

    The hash of a text is the polynomial of its code points at a fixed base, modulo 2^64 (Karp and
    Rabin 1987). The power of a text is the base to the power of its length. As hash(ab) =
    hash(a) * power(b) + hash(b), phrases are found however they are tokenized.

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
    # Plus one, since leading characters with a value of 0 would not change the hash.
    terms = (code_points.astype(np.uint64) + np.uint64(1)) * powers[following]
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), terms.cumsum()])
    # Sums wrap around at 2^64, but differences modulo 2^64 are still the sums of each text.
    return np.stack([sums[ends] - sums[ends - lengths], powers[lengths]], 1)
