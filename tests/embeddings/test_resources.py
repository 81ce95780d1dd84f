import gzip
import sys
import unicodedata
from pathlib import Path

import datasets
import numpy as np
import pytest
import spacy
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from spacy.strings import get_string_id
from spacy.vocab import Vocab

from bigru_tagger.embeddings.resources import (
    MissingResourceError,
    ResourceError,
    fold,
    phrase_hashes,
    read_clusters,
    read_phrases,
    read_vectors,
)

BASE = 0x9E3779B97F4A7C15
WORDS = ["the", "New York", "a\u00a0b", "\x85", "."]
VECTORS = [[1.0, -2.0], [0.5, 0.25], [3.0, 0.0], [-1.5, 8.0], [0.125, 1e-3]]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def by_word(table, words=WORDS):
    """Return the entries of a table by word."""
    keys, values = table[-2:]
    rows = dict(zip(keys.tolist(), values.tolist(), strict=True))
    assert len(rows) == len(keys), "a word is there twice"
    assert keys.dtype == np.uint64
    return {word: rows[get_string_id(word)] for word in words}


def expected_vectors(dtype="float32"):
    return dict(zip(WORDS, np.array(VECTORS, dtype=dtype).tolist(), strict=True))


# --- text files of vectors

LINES = [f"{word} {' '.join(map(str, row))}" for word, row in zip(WORDS, VECTORS, strict=True)]
TEXT = "\n".join(LINES) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.removesuffix("\n"),
        "5 2\n" + TEXT,  # word2vec
        "5 2\n" + TEXT.replace("\n", " \n"),  # word2vec writes a space after the last number
        TEXT.replace("\n", "\r\n"),
        "\ufeff" + TEXT,
        "\ufeff5 2\r\n" + TEXT.replace("\n", "\r\n"),
        TEXT + "\n\n",
        TEXT.replace("\n", "\n\n"),
        TEXT + "the 7 7\n",  # of a word that is there twice, the first
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_text_formats_give_the_same_vectors(tmp_path, text, packed):
    data = gzip.compress(text.encode()) if packed else text
    table = read_vectors(write(tmp_path / ("v.txt.gz" if packed else "v.txt"), data))
    assert by_word(table) == expected_vectors()
    assert (len(table.keys), table.vectors.dtype) == (5, np.float32)


def test_counts_tell_the_width_where_the_first_word_holds_a_space(tmp_path):
    table = read_vectors(write(tmp_path / "v.txt", "2 2\nat 5 1 2\nx 3 4\n"))
    assert by_word(table, ["at 5", "x"]) == {"at 5": [1.0, 2.0], "x": [3.0, 4.0]}


def test_one_vector_is_enough(tmp_path):
    table = read_vectors(write(tmp_path / "v.vec", "x 0.5"))
    assert by_word(table, ["x"]) == {"x": [0.5]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2\nb 1\n", r"line 2: expected a word and 2 numbers.*got 'b 1'"),
        ("a 1 2\nb 1 2 x\n", r"line 2: expected a word and 2 numbers.*got 'b 1 2 x'"),
        ("a 1 2\n\nb c\n", "line 3: expected a word and 2 numbers"),
        ("a 1 2\n1 2\n", r"line 2: expected a word and 2 numbers.*got '1 2'"),
        ("3 2\na 1\n", "line 2: expected a word and 2 numbers"),
        ("word\n", r"line 1: expected a word and some numbers.*got 'word'"),
        ("a\tb\n", "line 1: expected a word and some numbers"),
        ("1 0\nword\n", "line 2: expected a word and some numbers"),
        ("a b c\n", "line 1: expected a word and 2 numbers"),
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("5 2\n", "the file is empty"),
        ("a 1 2\nb nan 1\n", "the vector of 'b' contains NaN or infinity"),
        ("a 1 -inf\nb 1 1\n", "the vector of 'a' contains"),
        (b"a 1\n\xff 2\n", "line 2: the file is not text in UTF-8.*0xff"),
    ],
)
def test_bad_text_is_named_by_file_and_line(tmp_path, text, message):
    with pytest.raises(ResourceError, match=rf"v\.txt(: |, ){message}"):
        read_vectors(write(tmp_path / "v.txt", text))


@pytest.mark.parametrize(
    "data",
    [
        b"a 1 2\n",
        # With a time in it, all processes that run tests would call the test by another name.
        gzip.compress(b"a 1 2\n" * 99, mtime=0)[:-9],
        b"\x1f\x8b\x08\x00" + b"\xff" * 40,
    ],
    ids=["text", "cut", "damaged"],
)
def test_what_is_no_whole_gzip_is_named(tmp_path, data):
    with pytest.raises(ResourceError, match=r"v\.gz: the file is damaged, or not gzip"):
        read_vectors(write(tmp_path / "v.gz", data))


@settings(max_examples=30, deadline=None)
@given(
    entries=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5),
        st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3),
        min_size=1,
    )
)
def test_any_words_are_read(tmp_path_factory, entries):
    assume(not any(" " in word or "\ufeff" in word for word in entries))
    text = "".join(f"{word} {' '.join(map(repr, row))}\n" for word, row in entries.items())
    table = read_vectors(write(tmp_path_factory.mktemp("v") / "v.txt", text))
    assert by_word(table, entries) == entries


# --- arrays of vectors


def write_array(folder: Path, dtype="float32", vectors=VECTORS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", np.array(vectors, dtype=dtype))
    return folder


def write_parquet(path: Path, **columns) -> None:
    datasets.Dataset.from_dict(columns).to_parquet(path)


ORDER = [3, 0, 4, 2, 1]
PARQUETS = [
    {"word": WORDS},
    {"word": WORDS, "row": list(range(5))},
    {"i": ORDER, "token": [WORDS[i] for i in ORDER], "weight": [0.5] * 5},
]


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_array_with_words_in_a_text_file(tmp_path, dtype, ending):
    folder = write_array(tmp_path / "v", dtype)
    write(folder / "words.txt", (ending or "\n").join(WORDS) + ending)
    for source in (folder, folder / "vectors.npy", tmp_path):
        table = read_vectors(str(source))
        assert table.vectors.dtype == (np.float16 if dtype == "float16" else np.float32)
        assert by_word(table) == expected_vectors(table.vectors.dtype)


@pytest.mark.parametrize("columns", PARQUETS)
def test_array_with_words_in_a_parquet_file(tmp_path, columns):
    folder = write_array(tmp_path / "v")
    write_parquet(folder / "words.parquet", **columns)
    assert by_word(read_vectors(str(folder))) == expected_vectors()


def test_package_is_found_by_its_import_name_and_not_imported(tmp_path, monkeypatch):
    package = tmp_path / "some_vectors"
    write(package / "__init__.py", "raise RuntimeError('imported')")
    write(write_array(package / "data") / "words.txt", "\n".join(WORDS))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(write_array(tmp_path / "elsewhere"))
    assert by_word(read_vectors("some_vectors")) == expected_vectors()
    assert "some_vectors" not in sys.modules


@pytest.mark.parametrize("source", ["", "none", "none/v.txt", "no-package", "gzip"])
def test_sources_that_are_not_there(source):
    with pytest.raises(ResourceError, match=f"no vectors at {source!r}: there is no such file"):
        read_vectors(source)


def test_bad_arrays_are_named(tmp_path):
    def refused(message, source=tmp_path):
        with pytest.raises(ResourceError, match=message):
            read_vectors(str(source))

    refused(r"expected one \*.npy file of vectors, found none: use the path")
    for bad in (np.zeros(3), np.zeros((3, 2), dtype="int64"), np.zeros((2, 2, 2)), np.ones((3, 0))):
        np.save(tmp_path / "a.npy", bad)
        refused(r"a\.npy: expected an array of floats")
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    refused(r"a\.npy: expected an array of floats: .*objects")
    for garbage in ("", "garbage"):
        write(tmp_path / "a.npy", garbage)
        refused(r"a\.npy: expected an array of floats")
    np.save(tmp_path / "a.npy", np.ones((3, 2)))
    refused(r"a\.npy: expected one list of its words in the same folder.*found none")
    write(tmp_path / "words.txt", "a\nb\n")
    refused(r"words\.txt has 2 words, but .*a\.npy 3 rows")
    write(tmp_path / "words.txt", b"a\nb\n\xe9\n")
    refused(r"words\.txt, line 3: the file is not text in UTF-8")
    write(tmp_path / "words.txt", "a\nb\nc\n")
    assert len(read_vectors(str(tmp_path)).keys) == 3
    np.save(tmp_path / "a.npy", np.array([[1, 1], [1, np.inf], [0, 0]]))
    refused(r"a\.npy: the vector of 'b' contains NaN or infinity")
    write(tmp_path / "other.txt", "a\nb\nc\n")
    refused(r"found \['other.txt', 'words.txt'\]")
    write(tmp_path / "b.npy", "")
    refused(r"found \['a.npy', 'b.npy'\]")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1, 2]}, r"expected one column of words.*\{'x': 'int64'\}"),
        ({"x": ["a", "b"], "y": ["a", "b"]}, "expected one column of words"),
        ({"x": ["a", "b"], "y": [0, 1], "z": [0, 1]}, "expected .* at most one of row numbers"),
        ({"x": [["a"], ["b"]]}, "expected one column of words"),
        ({"x": ["a", "b"], "row": [1, 2]}, "the column 'row' does not number the words from 0"),
        ({"x": ["a", "b"], "row": [0, 0]}, "the column 'row' does not number the words from 0"),
        ({"x": ["a", None]}, "row 1 has no word"),
        ({"x": ["a"]}, "has 1 words, but .* 2 rows"),
    ],
)
def test_bad_parquet_is_named(tmp_path, columns, message):
    folder = write_array(tmp_path, vectors=VECTORS[:2])
    write_parquet(folder / "words.parquet", **columns)
    with pytest.raises(ResourceError, match=rf"words\.parquet(: | ){message}"):
        read_vectors(str(folder))


def test_what_is_no_parquet_is_named(tmp_path):
    write(write_array(tmp_path) / "words.parquet", "garbage")
    with pytest.raises(
        ResourceError, match=r"words\.parquet: the file cannot be read as parquet: "
    ):
        read_vectors(str(tmp_path))


# --- clusters


def test_paths_are_numbered_as_spacy_does(tmp_path):
    text = "0\tthe\t900\n10\tdog\t3\n110\tcat\t2\n111\tNew York\n0011\tx\t1\textra\n"
    table = read_clusters(write(tmp_path / "paths", text), Vocab())
    expected = {"the": 0b0, "dog": 0b01, "cat": 0b011, "New York": 0b111, "x": 0b1100}
    assert by_word(table, expected) == expected
    assert table.paths.dtype == np.int64


@pytest.mark.parametrize(
    "text",
    [
        "01\ta\t5\n11\tb\t5",
        "01\ta\t5\n11\tb\t5\n\n",
        "\ufeff01\ta\r\n11\tb\r\n",
        "01\ta\n11\tb\n10\ta\n",  # of a word that is there twice, the first
    ],
)
def test_paths_in_any_file(tmp_path, text):
    for name, data in (("paths", text), ("paths.gz", gzip.compress(text.encode()))):
        table = read_clusters(write(tmp_path / name, data), Vocab())
        assert by_word(table, "ab") == {"a": 0b10, "b": 0b11}
        assert len(table.keys) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("01\ta\n12\tb\n", r", line 2: expected a path .* got '12\\tb'"),
        ("01 a\n", ", line 1: expected a path"),
        ("\ta\n", ", line 1: expected a path"),
        ("01\t\n", ", line 1: expected a path"),
        ("01\t\t5\n", ", line 1: expected a path"),
        ("\n01\n", ", line 2: expected a path"),
        ("0" * 63 + "\ta\n", ", line 1: expected a path of at most 62 digits"),
        ("", ": the file is empty"),
        (b"01\t\xff\n", ", line 1: the file is not text in UTF-8"),
    ],
)
def test_bad_paths_are_named_by_file_and_line(tmp_path, text, message):
    with pytest.raises(ResourceError, match=f"paths{message}"):
        read_clusters(write(tmp_path / "paths", text), Vocab())


def test_clusters_of_the_vocab_are_taken_first():
    vocab = spacy.blank("en").vocab
    vocab.lookups.add_table("lexeme_cluster", {"the": 0b1011, "dog": 1, "Dog": 0})
    table = read_clusters("lexeme_cluster", vocab)
    assert by_word(table, ["the", "dog"]) == {"the": 0b1011, "dog": 1}
    assert len(table.keys) == 2  # 0 means that the word has none
    assert (table.keys.dtype, table.paths.dtype) == (np.uint64, np.int64)


def test_clusters_of_spacys_package():
    pytest.importorskip("spacy_lookups_data")
    table = read_clusters("lexeme_cluster", spacy.blank("en").vocab)
    clusters = by_word(table, ["London", "Paris", "seven"])
    assert len(table.keys) > 100_000
    assert table.paths.all()
    # Cities share most of their path, a numeral does not.
    shared = [clusters["London"] ^ clusters[word] for word in ("Paris", "seven")]
    assert shared[0] & 0b111111 == 0
    assert shared[1] & 0b111111 != 0


@pytest.mark.parametrize(("source", "lang"), [("no_such_table", "en"), ("lexeme_cluster", "xx")])
def test_clusters_that_are_not_there(source, lang):
    with pytest.raises(
        MissingResourceError, match=rf"no file '{source}'.*for '{lang}'.*spacy-lookups"
    ):
        read_clusters(source, spacy.blank(lang).vocab)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "is empty"),
        ({"the": 0}, "is empty"),
        ({"the": -3.5}, "contains values that are not integers"),
        ({"the": "der"}, "contains values that are not integers"),
    ],
)
def test_lookups_tables_without_clusters(entries, message):
    vocab = spacy.blank("en").vocab
    vocab.lookups.add_table("some_table", entries)
    with pytest.raises(ResourceError, match=f"'some_table'.*{message}"):
        read_clusters("some_table", vocab)


# --- phrases


def on_lists(table):
    """Return the lists by the hash of the phrase."""
    keys = table.keys.tolist()
    assert len(set(keys)) == len(keys)
    return {
        key: {name for i, name in enumerate(table.names) if bits >> i & 1}
        for key, bits in zip(keys, table.lists.tolist(), strict=True)
    }


def hashed(phrases):
    return {hash_by_hand(fold(phrase)): names for phrase, names in phrases.items()}


def test_folder_of_lists(tmp_path):
    write(tmp_path / "PER.txt", "Ada Lovelace\nVictoria\n")
    write(tmp_path / "LOC.txt", "\ufeffNew  York\r\n\r\n  \r\nvictoria\r\nVICTORIA\r\nU. S.\r\n")
    write(tmp_path / "empty.txt", "")
    write(tmp_path / "README.md", "not a list")
    table = read_phrases(str(tmp_path))
    assert table.names == ["LOC", "PER", "empty"]
    assert (table.keys.dtype, table.lists.dtype) == (np.uint64, np.int64)
    assert on_lists(table) == hashed(
        {
            "newyork": {"LOC"},
            "victoria": {"LOC", "PER"},
            "u.s.": {"LOC"},
            "adalovelace": {"PER"},
        }
    )


def test_files_by_name_of_the_list(tmp_path):
    one = write(tmp_path / "one", "a\nb")
    two = write(tmp_path / "two.gz", gzip.compress(b"b\nc\n"))
    table = read_phrases({"X": [one, two], "Y": two, "Z": []})
    assert table.names == ["X", "Y", "Z"]
    assert on_lists(table) == hashed({"a": {"X"}, "b": {"X", "Y"}, "c": {"X", "Y"}})


def test_as_many_lists_as_fit(tmp_path):
    files = {str(i): write(tmp_path / str(i), f"phrase{i}\nall\n") for i in range(62)}
    table = read_phrases(files)
    expected = {f"phrase{i}": {str(i)} for i in range(62)} | {"all": set(files)}
    assert on_lists(table) == hashed(expected)
    with pytest.raises(ResourceError, match="at most 62 lists of phrases; got 63"):
        read_phrases({**files, "more": files["0"]})


def test_package_of_lists(tmp_path, monkeypatch):
    write(tmp_path / "some_phrases" / "__init__.py", "")
    write(tmp_path / "some_phrases" / "X.txt", "a")
    monkeypatch.syspath_prepend(tmp_path)
    assert on_lists(read_phrases("some_phrases")) == hashed({"a": {"X"}})


def test_bad_lists_are_named(tmp_path):
    def refused(message, source):
        with pytest.raises(ResourceError, match=message):
            read_phrases(source)

    empty = write(tmp_path / "empty" / "X.txt", "\n \n")
    refused("no phrases at 'none': there is no such", "none")
    refused("no phrases at ''", "")
    refused("empty: expected a folder of .txt files", write(tmp_path / "folder" / "empty", ""))
    refused("folder: expected a folder of .txt files", str(tmp_path / "folder"))
    refused(r"the lists of phrases \['X'\] are empty", str(tmp_path / "empty"))
    refused(r"the lists of phrases \['Y'\] are empty", {"Y": [empty]})
    refused(r"the lists of phrases \[\] are empty", {})
    refused(r"no file 'none/a.txt' of phrases \(list 'Y'\)", {"Y": [empty, "none/a.txt"]})
    broken = write(tmp_path / "broken.txt", b"a\nb\n\xffc\n")
    refused(r"broken\.txt, line 3: the file is not text in UTF-8", {"Y": broken})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("New York", "NEW\u00a0york"),
        ("Straße", "STRASSE"),
        ("ΟΣ", "\u03bf\u03c2"),  # a final sigma
        ("Zürich", unicodedata.normalize("NFD", "Zürich")),
        ("U.S.", " u. s. "),
    ],
)
def test_what_counts_as_the_same_in_a_phrase(one, other):
    assert fold(one) == fold(other)


def hash_by_hand(text):
    total = 0
    for character in text:
        total = (total * BASE + ord(character) + 1) % 2**64
    return total


TEXT_OF_ANY_KIND = st.text(max_size=8)


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXT_OF_ANY_KIND))
def test_phrase_hashes_are_polynomials(texts):
    hashes = phrase_hashes(texts)
    assert (hashes.dtype, hashes.shape) == (np.uint64, (len(texts), 2))
    assert hashes.tolist() == [[hash_by_hand(text), pow(BASE, len(text), 2**64)] for text in texts]


def test_phrase_hashes_do_not_change():
    """Saved models depend on these numbers."""
    assert phrase_hashes(["", "a", "newyork"])[:, 0].tolist() == [0, 98, 14592426993978712122]


@settings(max_examples=50, deadline=None)
@given(TEXT_OF_ANY_KIND, TEXT_OF_ANY_KIND)
def test_hash_of_two_texts_follows_from_theirs(first, second):
    (a, _), (b, power), (both, _) = phrase_hashes([first, second, first + second]).tolist()
    assert both == (a * power + b) % 2**64


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=8), st.text(max_size=8))
def test_folding_does_not_depend_on_where_a_text_is_cut(first, second):
    composed = unicodedata.normalize("NFC", first + second)
    assume(composed == unicodedata.normalize("NFC", first) + unicodedata.normalize("NFC", second))
    assert fold(first + second) == fold(first) + fold(second)


def test_a_text_as_long_as_a_file_is_hashed_at_once():
    text = "abc" * 300_000
    assert phrase_hashes([text, "abc"])[0, 0] == hash_by_hand(text)
