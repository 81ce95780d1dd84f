"""Columns of column files, inferred from their values."""

import bz2
import gzip
import json
from pathlib import Path

import datasets
import pytest
import spacy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bigru_tagger.corpus.corpus import ConllCorpus, open_corpus
from bigru_tagger.corpus.sentences import CorpusError

CONLLU = "# newdoc id = a\n# text = Vamonos a Oslo\n" + "".join(
    "\t".join([index, form, form.lower(), upos, xpos, "_", "0", "_", "_", misc]) + "\n"
    for index, form, upos, xpos, misc in [
        ("1-2", "Vamonos", "_", "_", "_"),
        ("1", "Vamos", "VERB", "V", "_"),
        ("2", "nos", "PRON", "P", "SpaceAfter=No"),
        ("2.1", "ya", "ADV", "R", "_"),
        ("3", "Oslo", "PROPN", "N", "name=B-LOC|SpaceAfter=No"),
    ]
)
# A file, and its tokens, entities and tags. The sentences were written for this test.
FILES = {
    "GermEval": (
        "#\thttp://example.org/a\t[2010-01-02]\n1\tOrtrun\tB-PER\tO\n2\tin\tO\tO\n"
        "3\tFC\tB-ORG\tO\n4\tLinz\tI-ORG\tB-LOC\n\n#\thttp://b\t[x]\n1\tJa\tO\tO\n",
        ["Ortrun", "in", "FC", "Linz", "Ja"],
        ["PER Ortrun", "ORG FC Linz"],
        [],
    ),
    "CoNLL-2002": (
        "Ortrun N B-PER\nvertrok V O\n\nLinz N B-LOC\n",
        ["Ortrun", "vertrok", "Linz"],
        ["PER Ortrun", "LOC Linz"],
        ["N", "V", "N"],
    ),
    "CoNLL-2003": (
        "-DOCSTART- -X- -X- O\n\nOrtrun NNP B-NP B-PER\nleft VBD B-VP O\n",
        ["Ortrun", "left"],
        ["PER Ortrun"],
        ["NNP", "VBD"],
    ),
    "CoNLL-2003 without an entity": (
        "Rain NN I-NP O\nfell VBD I-VP O\n",
        ["Rain", "fell"],
        [],
        ["NN", "VBD"],
    ),
    "CoNLL-2003 with lemmas": (
        "Linz Linz NE I-NC I-LOC\nruft rufen VVFIN I-VC O\n",
        ["Linz", "ruft"],
        ["LOC Linz"],
        [],
    ),
    "Label Studio": (
        "-DOCSTART- -X- O\nOrtrun -X- _ B-PER\nleft -X- _ O\n",
        ["Ortrun", "left"],
        ["PER Ortrun"],
        [],
    ),
    "placeholders": (
        "Ortrun -X- O B-PER\nleft -X- O O\n",
        ["Ortrun", "left"],
        ["PER Ortrun"],
        [],
    ),
    "I-CAB": (
        "il\tRS\tadige_1\tO\nLinz\tSPN\tadige_1\tB-LOC\n\nieri\tB\tadige_2\tO\nva\tV\tadige_2\tO\n",
        ["il", "Linz", "ieri", "va"],
        ["LOC Linz"],
        ["RS", "SPN", "B", "V"],
    ),
    "conlleval": (
        "Ortrun NNP B-PER O\nleft VBD O O\nLinz NNP B-LOC B-PER\n",
        ["Ortrun", "left", "Linz"],
        ["PER Ortrun", "LOC Linz"],
        ["NNP", "VBD", "NNP"],
    ),
    "gold and guess": (
        "Ortrun B-PER B-PER\nleft O B-LOC\nLinz B-LOC O\n",
        ["Ortrun", "left", "Linz"],
        ["PER Ortrun", "LOC Linz"],
        [],
    ),
    "CoNLL-U": (CONLLU, ["Vamos", "nos", "Oslo"], ["LOC Oslo"], ["VERB", "PRON", "PROPN"]),
    "tags first": ("B-PER\tOrtrun\nO\tleft\n", ["Ortrun", "left"], ["PER Ortrun"], []),
    "blanks in tokens": ("New York\tB-LOC\nis\tO\n", ["New York", "is"], ["LOC New York"], []),
    "hashtags": ("#\tO\n#linz\tB-LOC\n", ["#", "#linz"], ["LOC #linz"], []),
    "comments": (
        "# sent_id = 7\nOrtrun\tNNP\tB-NP\tB-PER\nleft\tVBD\tB-VP\tO\n",
        ["Ortrun", "left"],
        ["PER Ortrun"],
        ["NNP", "VBD"],
    ),
    "a comment of two words": ("# newdoc\nOrtrun B-PER\n", ["Ortrun"], ["PER Ortrun"], []),
    "byte-order marks": (
        "\ufeff-DOCSTART- O\n\n\ufeffOrtrun B-PER\n\ufeff\n\ufeffLinz B-LOC\n",
        ["Ortrun", "Linz"],
        ["PER Ortrun", "LOC Linz"],
        [],
    ),
}


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def read(path: str, **options):
    return [eg.reference for eg in open_corpus(path, **options)(spacy.blank("xx"))]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("error")
def test_columns_are_found(tmp_path, name):
    text, tokens, entities, tags = FILES[name]
    docs = read(write(tmp_path / "x.conll", text))
    assert [token.text for doc in docs for token in doc] == tokens
    assert [f"{ent.label_} {ent.text.strip()}" for doc in docs for ent in doc.ents] == entities
    assert [token.tag_ for doc in docs for token in doc if token.tag_] == tags


def test_a_file_with_only_chunks_has_no_entities(tmp_path):
    [doc] = read(write(tmp_path / "x.conll", "Rain NN B-NP\nfell VBD B-VP\n"))
    assert not doc.has_annotation("ENT_IOB")
    assert [span.label_ for span in doc.spans["chunks"]] == ["NP", "VP"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a B-X B-Y\nb O O\n", ":1: columns 2, 3 hold tags: name the one"),
        ("\na O B-X\nb O O\n", ":2: columns 2, 3 hold tags: name the one"),
        ("a N B-X B-Y\n", ":1: columns 3, 4 hold tags: name the one"),
        ("a N x (X*)\nb N y *\n", ":1: 4 columns .*a N x .*but no column has a tag"),
        ("a\nb\n", ":1: one column"),
    ],
)
def test_ambiguous_columns_are_an_error(tmp_path, text, message):
    with pytest.raises(CorpusError, match=rf"x.conll{message}"):
        read(write(tmp_path / "x.conll", text))


def test_columns_resolve_ambiguity(tmp_path):
    path = write(tmp_path / "x.conll", "a B-X B-Y\nb O O\n")
    [doc] = read(path, columns=["tokens", "_", "ner"])
    assert [ent.label_ for ent in doc.ents] == ["Y"]
    labels = write(tmp_path / "y.conll", "a x PER\nb x O\n")
    [doc] = read(labels, scheme="io")
    assert [(ent.label_, ent.text.strip()) for ent in doc.ents] == [("PER", "a")]


def test_invalid_chunks_are_an_error_only_in_a_named_column(tmp_path, caplog):
    path = write(tmp_path / "x.conll", "a NN B-NP B-X\nb NN B-NP O\n\nc NN B-NP O\n")
    with pytest.raises(CorpusError, match="tag 'NN'"):
        read(path, columns=["tokens", "chunk", "_", "ner"])
    rows = tmp_path / "x.jsonl"
    rows.write_text(
        '{"tokens": ["a"], "ner_tags": ["B-X"], "chunk_tags": ["_"], "pos": [1]}\n'
        '{"tokens": ["c"], "ner_tags": ["O"], "chunk_tags": ["_"], "pos": null}\n'
    )
    docs = read(str(rows))
    assert [[ent.label_ for ent in doc.ents] for doc in docs] == [["X"], []]
    assert not any(doc.has_annotation("TAG") or doc.spans for doc in docs)
    assert "'pos' holds 1, not a string: set tag_names" in caplog.text
    assert 'pos_column = "" to ignore the column' in caplog.text
    assert "tag '_' at position 0" in caplog.text
    for options in ({"pos_column": "pos"}, {"chunk_column": "chunk_tags"}):
        with pytest.raises(CorpusError, match=r"x.jsonl:1, row 0: "):
            read(str(rows), **options)


@pytest.mark.parametrize("odd", ["B-X", {"a": 1}, [{"a": 1}], None, 3])
def test_a_row_of_another_type_is_named(tmp_path, odd):
    rows = [{"tokens": ["a"], "ner_tags": ["O"], "pos": ["N"]} for _ in range(4)]
    rows[2]["ner_tags"] = odd
    path = write(tmp_path / "x.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(CorpusError, match=r"x.jsonl:3, row 2: 'ner_tags' holds"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b'{"tokens": ["a"]}\n{"tokens": ["Z\xfc"]}\n', r"x.jsonl:2: 'utf-8' codec"),
        ("x.jsonl", b'{"tokens": ["a"]}\n{"tokens": ["b"\n', r"x.jsonl:2: not valid JSON"),
        (
            "x.jsonl.gz",
            gzip.compress(b'{"tokens": ["a"]}', mtime=0)[:-9],
            r"x.jsonl.gz: damaged or incomplete",
        ),
        ("x.jsonl.gz", b"no archive", r"x.jsonl.gz: damaged or incomplete .*Not a gzipped file"),
        ("x.parquet", b"PAR1 and no more", r"x.parquet"),
        ("x.zip", b"PK", r"x.zip: an archive: unpack it"),
        ("x.conll", "Zürich B-LOC\n".encode("utf-16"), r"x.conll:1: 'utf-8' codec"),
    ],
)
def test_damaged_files_are_named(tmp_path, monkeypatch, name, content, message):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read(str(tmp_path / name))


def test_a_damaged_file_of_several_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = datasets.Dataset.from_dict({"tokens": [["a"]], "ner_tags": [["O"]]})
    for part in (0, 1):
        rows.to_parquet(tmp_path / f"train-0000{part}-of-00002.parquet")
    (tmp_path / "train-00001-of-00002.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match=r": .*train-00001-of-00002.parquet: "):
        read(str(tmp_path), split="train")


@pytest.mark.parametrize(
    "boundary",
    ["-DOCSTART- O", "# newdoc id = b", "#begin document (b); part 000", "#end document"],
)
def test_boundaries_of_documents(tmp_path, boundary):
    path = write(tmp_path / "x.conll", f"a B-X\n\nb O\n\n{boundary}\nc O\n")
    docs = read(path, sentences_per_doc=0)
    assert [[token.text for token in doc] for doc in docs] == [["a", "b"], ["c"]]


def test_a_column_of_documents(tmp_path):
    path = write(tmp_path / "x.conll", "a d1 B-X\nb d1 O\n\nc d2 O\n")
    docs = read(path, sentences_per_doc=0, columns=["tokens", "document", "ner"])
    assert [[token.text for token in doc] for doc in docs] == [["a", "b"], ["c"]]


@pytest.mark.parametrize("line", ["#Porto", "# Porto", "#Porto is fine", "#"])
def test_a_hash_within_a_sentence_is_never_dropped(tmp_path, line):
    path = write(tmp_path / "x.conll", f"See\tO\n{line}\nnow\tO\n")
    with pytest.raises(CorpusError, match=r"x.conll:2: '#.*starts with '#' within a sentence"):
        read(path)


@pytest.mark.parametrize(("ending", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed_files(tmp_path, ending, compress):
    data = compress(b"Ortrun B-PER\n" + b"left O\n" * 5000)
    path = tmp_path / f"test.conll{ending}"
    path.write_bytes(data)
    [doc] = read(str(path), split="test")
    assert [ent.label_ for ent in doc.ents] == ["PER"]
    path.write_bytes(data[:-20])
    with pytest.raises(CorpusError, match=rf"test.conll{ending}: damaged or incomplete"):
        read(str(path))


words = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs"]), min_size=1, max_size=5)
token = st.tuples(
    words.filter(lambda w: w[0] not in "#-" and "\ufeff" not in w and not w.isdigit()),
    st.sampled_from(["O", "B-X", "I-X"]),
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(sentences=st.lists(st.lists(token, min_size=1, max_size=5), min_size=1, max_size=3))
def test_any_words_have_the_same_tags_in_any_layout(sentences, tmp_path):
    """The layouts: tokens and tags, with part-of-speech tags, with CoNLL-U's index."""
    nlp = spacy.blank("xx")
    found = []
    for layout in ("{w}\t{t}", "{w}\tN\t{t}", "{i}\t{w}\tl\tN\tX\tf\t0\tr\td\tname={t}"):
        text = "\n\n".join(
            "\n".join(layout.format(i=i, w=word, t=tag) for i, (word, tag) in enumerate(s, start=1))
            for s in sentences
        )
        path = write(tmp_path / "x.conllu", text)
        if all(tag == "O" for s in sentences for _, tag in s) and "name" in layout:
            continue  # a CoNLL-U file without tags has no entity column
        docs = [eg.reference for eg in ConllCorpus(path)(nlp)]
        found.append([([t.text for t in d], [t.ent_iob_ + t.ent_type_ for t in d]) for d in docs])
    assert [words for words, _ in found[0]] == [[word for word, _ in s] for s in sentences]
    assert all(other == found[0] for other in found)


@pytest.mark.parametrize(
    "text",
    [
        "1 CD O\n2 CD O\n3 CD B-X\n",
        "1 CD O\n2 NN O\n3 CD B-X\n",
        "1 CD B-NP O\n2 CD I-NP B-X\n",
        "7 CD O\n\n1 _ O\n2 _ B-X\n",
    ],
)
def test_numbers_that_may_be_tokens(tmp_path, text):
    path = write(tmp_path / "x.conll", text)
    if text.startswith("7"):  # an index starts with 0 or 1
        assert [token.text for doc in read(path) for token in doc] == ["7", "1", "2"]
        return
    with pytest.raises(CorpusError, match=r"x.conll:1: . columns \(1 CD .*: the first may number"):
        read(path)
    columns = ["tokens", "pos", *["_"] * (len(text.split("\n")[0].split()) - 3), "ner"]
    [doc] = read(path, columns=columns)
    assert [token.text for token in doc] == [line.split()[0] for line in text.splitlines()]


@pytest.mark.parametrize(
    "text",
    ["1 Ja O\n2 Linz B-X\n", "1 JA O\n2 JA O\n\n1 JA B-X\n", "0 ja O\n1 JA O\n2 x B-X\n"],
)
def test_an_index_of_three_columns(tmp_path, text):
    docs = read(write(tmp_path / "x.conll", text))
    words = [line.split()[1] for line in text.splitlines() if line]
    assert [token.text for doc in docs for token in doc] == words
