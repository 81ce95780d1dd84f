"""Columns of column files, inferred from their values."""

import bz2
import gzip
import json
import re
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
        ("a N x (X)\nb N y Z\n", ":1: 4 columns .*a N x .*but no column has a tag"),
        ("a N x (X*)\nb N y *\n", r":1: brackets such as '\(X\*\)', as in CoNLL-2012"),
        (
            "S1 Ada B-X\nS1 ran O\nS2 It O\nS2 fell O\n",
            ":3: column 1 changes from 'S1' to 'S2' within",
        ),
        ("0 Ada B-X\n0 ran O\n1 It O\n1 fell O\n", ":3: column 1 changes from '0' to '1' within"),
        ("1 Ada B-X\n1 ran O\n2 It O\n2 fell O\n", ":3: column 1 changes from '1' to '2' within"),
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
    # An index starts with 0 or 1, so 7 may be an id.
    message = r"the first may number|column 1 holds '7', which may be an id"
    with pytest.raises(CorpusError, match=rf"x.conll:1: .*({message})"):
        read(path)
    columns = ["tokens", "pos", *["_"] * (len(text.split("\n")[0].split()) - 3), "ner"]
    words = [line.split()[0] for line in text.splitlines() if line]
    assert [token.text for doc in read(path, columns=columns) for token in doc] == words


@pytest.mark.parametrize(
    "text",
    ["1 Ja O\n2 Linz B-X\n", "1 JA O\n2 JA O\n\n1 JA B-X\n", "0 ja O\n1 JA O\n2 x B-X\n"],
)
def test_an_index_of_three_columns(tmp_path, text):
    docs = read(write(tmp_path / "x.conll", text))
    words = [line.split()[1] for line in text.splitlines() if line]
    assert [token.text for doc in docs for token in doc] == words


@pytest.mark.parametrize(
    "text",
    [
        "1\tAda\tB-PER\n1\tleft\tO\n\n2\tRome\tB-LOC\n2\tfell\tO\n",  # the number of the sentence
        "doc7\tAda\tNNP\tB-PER\ndoc7\tleft\tVBD\tO\n",
        "doc7\t1\tAda\tB-PER\ndoc7\t2\tleft\tO\n",
        "0\t3\tAda\tB-PER\n4\t8\tleft\tO\n",  # offsets
        "1-1\t0-3\tAda\tB-PER\n1-2\t4-8\tleft\tO\n",  # WebAnno
        "1.1\tAda\tB-PER\n1.2\tleft\tO\n",
    ],
)
def test_a_first_column_of_ids_is_not_read_as_tokens(tmp_path, text):
    path = write(tmp_path / "x.tsv", text)
    with pytest.raises(CorpusError, match=r"x.tsv:1: column 1 .* may be an id or a position"):
        read(path)
    names = ["_"] * len(text.split("\n")[0].split("\t"))
    names[next(i for i, field in enumerate(text.split("\t")) if field == "Ada")] = "tokens"
    names[-1] = "ner"
    docs = read(path, columns=names)
    assert next(str(ent) for doc in docs for ent in doc.ents) == "Ada"


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("Ada\tada\tNNP\tB-PER\nruns\trun\tVBZ\tO\nhome\thome\tNN\tO\n", ["NNP", "VBZ", "NN"]),
        ("Ada ada B-PER\nran run O\nhome home O\n", []),
        ("Ada\t0\t3\tB-PER\nran\t4\t7\tO\n", []),
        (
            "Ada Ada PROPN B-PER\nasuu asua VERB O\nihmisiä ihminen NOUN O\n",
            ["PROPN", "VERB", "NOUN"],
        ),
        ("Ada Ada B-PER\nasuu asua O\nihmisiä ihminen O\n", []),
        (
            "1\tAda\tada\tNNP\tB-PER\n2\tran\trun\tVBD\tO\n3\tfar\tfar\tRB\tO\n",
            ["NNP", "VBD", "RB"],
        ),
    ],
)
def test_lemmas_and_offsets_are_no_part_of_speech_tags(tmp_path, text, tags):
    [doc] = read(write(tmp_path / "x.conll", text))
    assert [token.tag_ for token in doc if token.tag_] == tags
    assert [str(ent) for ent in doc.ents] == ["Ada"]


def test_lemmas_that_start_with_other_letters(tmp_path):
    lines = [f"ku{i} {'abcdefgh'[i % 8]}{i} {'NV'[i % 2]} O\n" for i in range(1001)]
    [doc] = read(write(tmp_path / "x.conll", "".join(["Ada Ada N B-PER\n", *lines])))
    assert {token.tag_ for token in doc} == {"N", "V"}


@pytest.mark.parametrize("name", ["steph", "b-x"])
def test_a_column_of_placeholders_with_names(tmp_path, name):
    """Universal NER has the name of an annotator in the lines of entities."""
    rows = ["1\tThe\tO\t-\t-", "2\tother\tO\t-\t-", f"3\tBush\tB-PER\t-\t{name}"]
    rows += ["4\tleft\tO\t-\t-"]
    path = write(tmp_path / "x.iob2", "# sent_id = s-1\n" + "\n".join(rows) + "\n")
    [doc] = read(path)
    assert [(str(ent), ent.label_) for ent in doc.ents] == [("Bush", "PER")]


@pytest.mark.parametrize(
    "cell", ["B-ORG|O", "B-ORG|B-LOC", "I-ORG|U-LOC", "I-ORG,B-LOC", "ORG-B|O"]
)
def test_several_tags_in_one_cell(tmp_path, cell):
    message = rf"x.conll:2: .*{re.escape(repr(cell))}.*: several tags of one token.*docs/spans.md"
    for text in (f"Ada O\nBank {cell}\n", f"Ada NN O\nBank NN {cell}\nof NN O\n"):
        with pytest.raises(CorpusError, match=message):
            read(write(tmp_path / "x.conll", text))
    rows = conllu(("Ada", "_"), ("Bank", cell))
    if cell[1] == "-" and "|" in cell:
        with pytest.raises(CorpusError, match=message.replace(".conll", ".conllu")):
            read(write(tmp_path / "x.conllu", rows))


def test_labels_with_bars_and_commas(tmp_path):
    [doc] = read(write(tmp_path / "x.conll", "Ada NN B-A|B\nBank NN I-A|B\nof NN B-x,y\n"))
    assert [ent.label_ for ent in doc.ents] == ["A|B", "x,y"]


def conllu(*tokens):
    lines = (
        "\t".join([str(i), form, form.lower(), "X", *"__0__", misc])
        for i, (form, misc) in enumerate(tokens, start=1)
    )
    return "\n".join(lines) + "\n\n"


@pytest.mark.parametrize(
    "misc",
    [
        "B-PER",
        "B-PER|SpaceAfter=No",
        "SpaceAfter=No|Entity=B-PER",
        "NER=B-PER",
        "ne=B-PER|Gloss=e-x",
    ],
)
def test_tags_of_conllu_in_any_spelling(tmp_path, misc):
    path = write(tmp_path / "x.conllu", conllu(("Ada", misc), ("left", "Gloss=go-PST|Ref=B-7")))
    [doc] = read(path)
    assert [(str(ent), ent.label_) for ent in doc.ents] == [("Ada", "PER")]


def test_tags_of_conllu_under_another_key(tmp_path):
    path = tmp_path / "x.conllu"
    rows = [("Ada", "NamedEntity=B-PER|Gloss=e-x"), ("Lee", "NamedEntity=I-PER"), ("ran", "_")]
    write(path, conllu(*rows))
    write(tmp_path / "y.conllu", conllu(("It", "_"), ("fell", "Gloss=fall-PST")))
    docs = read(tmp_path)
    assert [[token.ent_iob_ for token in doc] for doc in docs] == [["B", "I", "O"], ["O", "O"]]
    write(path, conllu(("Ada", "Entities=B-PER|Chunk=B-NP|Ref=B-7"), ("ran", "Chunk=B-VP")))
    assert [str(ent) for ent in read(path)[0].ents] == ["Ada"]
    write(path, conllu(("Ada", "Inner=B-PER|Outer=B-ORG"), ("ran", "_")))
    message = r"x.conllu:1: column 10 \(MISC\) .* tags under Inner, Outer, .*: rename the key"
    with pytest.raises(CorpusError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (4, ["B-PER", "O"], r"column 5 \(XPOS\) .*, such as 'B-PER'"),
        (5, ["NER=B-PER|Case=Nom", "Tense=Past"], r"column 6 \(FEATS\) .* under NER, such as"),
        (8, ["B-PER", "_"], r"column 9 \(DEPS\)"),
        (9, ["b_PER", "_"], r"column 10 \(MISC\)"),
    ],
)
def test_tags_of_conllu_in_another_column(tmp_path, column, values, message):
    lines = [row.split("\t") for row in conllu(("Ada", "_"), ("ran", "_")).strip().split("\n")]
    for line, value in zip(lines, values, strict=True):
        line[column] = value
    path = write(tmp_path / "x.conllu", "\n".join(map("\t".join, lines)) + "\n")
    with pytest.raises(CorpusError, match=rf"x.conllu:1: {message}.*name the columns"):
        read(path)
    if column in (4, 5, 8):
        names = ["_", "tokens", *"_" * 8]
        names[column] = "ner"
        [doc] = read(path, columns=names)
        assert [(str(ent), ent.label_) for ent in doc.ents] == [("Ada", "PER")]


def test_the_names_of_columns_in_conllu_plus(tmp_path):
    header = "# global.columns = ID FORM UPOS XPOS APP:NER MISC\n"
    rows = "1\tAda\tPROPN\tNNP\tB-PER\t_\n2\tran\tVERB\tVBD\tO\t_\n"
    [doc] = read(write(tmp_path / "x.conllup", f"{header}# text = Ada ran\n{rows}"))
    assert [(token.text, token.tag_, token.ent_type_) for token in doc] == [
        ("Ada", "PROPN", "PER"),
        ("ran", "VERB", ""),
    ]


def test_a_conllu_column_in_lower_case_that_is_named(tmp_path):
    lines = [row.split("\t") for row in conllu(("Ada", "b_PER"), ("ran", "o")).strip().split("\n")]
    path = write(tmp_path / "x.conllu", "\n".join(map("\t".join, lines)) + "\n")
    [doc] = read(path, columns=["_", "tokens", *"_" * 7, "ner"])
    assert [(str(ent), ent.label_) for ent in doc.ents] == [("Ada", "PER")]


def test_conllu_with_labels_alone(tmp_path):
    path = write(tmp_path / "x.conllu", conllu(("Ada", "NER=PERSON"), ("left", "_")))
    with pytest.raises(CorpusError, match=r"x.conllu:1: .* 'PERSON': .* set scheme = .io"):
        read(path)
    [doc] = read(path, scheme="io")
    assert [(str(ent), ent.label_) for ent in doc.ents] == [("Ada", "PERSON")]


def test_an_error_in_conllu_is_that_of_the_first_line(tmp_path):
    path = write(tmp_path / "x.conllu", conllu(*[("Ada", "name=PER"), ("left", "_")] * 2))
    with pytest.raises(CorpusError, match=r"x\.conllu:1: .* 'PER'"):
        read(path)


@pytest.mark.parametrize("gloss", ["-S", "dog-S"])
def test_other_features_of_conllu_are_no_tags(tmp_path, gloss):
    [doc] = read(write(tmp_path / "x.conllu", conllu(("dogs", f"Gloss={gloss}"), ("ran", "_"))))
    assert [token.text for token in doc] == ["dogs", "ran"]
    assert not doc.ents


def test_files_without_entities_are_annotated_if_the_corpus_is(tmp_path):
    write(tmp_path / "a.conllu", conllu(("Ada", "name=B-PER"), ("left", "_")))
    write(tmp_path / "b.conllu", conllu(("It", "_"), ("rained", "SpaceAfter=No")))
    write(tmp_path / "c.conllu", conllu(("It", "name=O"), ("snowed", "name=O")))
    assert [[token.ent_iob_ for token in doc] for doc in read(tmp_path)] == [
        ["B", "O"],
        ["O", "O"],
        ["O", "O"],
    ]
    [doc] = read(tmp_path / "b.conllu")  # alone, it is not known to be annotated
    assert [token.ent_iob_ for token in doc] == ["", ""]


def test_the_entities_are_in_the_same_column_of_all_files(tmp_path):
    write(tmp_path / "a.conll", "Ada NNP B-PER B-PER\nleft VBD O O\n")  # gold, and a prediction
    write(tmp_path / "b.conll", "It PRP O B-LOC\nfell VBD O O\n")
    with pytest.raises(CorpusError, match=r"a.conll and .*b.conll: .* columns 3 and 4: name"):
        read(tmp_path)
    docs = read(tmp_path, columns=["tokens", "pos", "ner", "_"])
    assert [str(ent) for doc in docs for ent in doc.ents] == ["Ada"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1 Ada B-PER\n2 left O\n1 Rome B-LOC\n2 fell O\n\n1 It O\n2 was O\n",
            "x.tsv:3: .* 1 after 2: add a blank",
        ),
        (
            "1 Ada B-PER\n\n2 Lo I-PER\n3 left O\n\n1 It O\n2 fell O\n\n1 So O\n2 so O\n",
            "x.tsv:3: .* starts with the token 2",
        ),
        (
            conllu(("Ada", "name=B-PER"), ("left", "_")).strip() + "\n" + conllu(("It", "_")),
            "x.tsv:3: .* 1 after 2",
        ),
    ],
)
def test_blank_lines_that_the_numbers_contradict(tmp_path, text, message):
    with pytest.raises(CorpusError, match=message):
        read(write(tmp_path / "x.tsv", text))


def test_tokens_may_be_numbered_through_a_document(tmp_path):
    docs = read(write(tmp_path / "x.tsv", "1 Ada B-PER\n2 left O\n\n3 It O\n4 fell O\n"))
    assert [[token.text for token in doc] for doc in docs] == [["Ada", "left"], ["It", "fell"]]


def test_numbers_with_labels_alone_are_tokens(tmp_path):
    path = write(tmp_path / "x.conll", "1984 DATE\n1985 DATE\n\n7 O\n7 O\n")
    words = [[token.text for token in doc] for doc in read(path, scheme="io")]
    assert words == [["1984", "1985"], ["7", "7"]]


@pytest.mark.parametrize(
    ("lines", "advice"),
    [
        (["word tag", "Ada B-PER", "left O", "Rome B-LOC"], "tags: remove this line if it is a "),
        (["Ada B-PER", "left tag", "Rome B-LOC", "fell O"], "tags: fix this one, or name the col"),
    ],
)
def test_a_first_line_that_may_be_a_header(tmp_path, lines, advice):
    path = tmp_path / "x.conll"
    path.write_text("\n".join(lines))
    number = next(i for i, line in enumerate(lines, 1) if line.endswith("tag"))
    with pytest.raises(CorpusError, match=rf"x\.conll:{number}: column 2: tag 'tag'.*{advice}"):
        list(ConllCorpus(path).sentences())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#FORMAT=WebAnno TSV 3.2\n\n\n#Text=Ada ran\n1-1\t0-3\tAda\tPER\t\n", ": WebAnno TSV"),
        ("Ada|NNP|I-PER lived|VBD|O .|.|O\nIt|PRP|O\n", r":1: each line .*\('Ada\|NNP\|I-PER'\)"),
        ("Ada/B-PER lives/O\n\nIt/O was/O so/O\n", ":1: each line seems to be a sentence of"),
        ("中/B-NR 国/I-NR\n人/O\n", ":1: each line seems to be a sentence of words joined"),
        ("Ada lived here .\nShe left\n\nIt rained all day\nSo\n", ":1: a text and not a column"),
        ("123|t|Gene of mice\n123|a|We found\n123\t0\t4\tGene\tX\t1\n", ":1: '123.t.Gene of m"),
        ('<?xml version="1.0"?>\n<doc>\n<p>Ada ran</p>\n</doc>\n', ":1: '<.xml .* XML, and not"),
        (
            "#begin document (bc/x); part 000\n"
            "bc/x 0 0 In IN (TOP(S(PP* - - - A * -\n"
            "bc/x 0 1 Oslo NNP (NP*))) oslo - 1 A (GPE) (3)\n\n"
            "bc/x 0 0 It PRP (TOP(S(NP*) - - - A * (ARG0*) -\n"
            "bc/x 0 1 fell V (VP*))) fall 1 1 A * (V*) -\n\n"
            "bc/x 0 0 No UH (TOP* - - - A * * * -\n",
            r":2: brackets such as .*, as in CoNLL-2012, are not read: convert",
        ),
    ],
)
def test_files_that_are_no_column_files(tmp_path, text, message):
    path = tmp_path / "x.conll"
    with pytest.raises(CorpusError, match=f"x.conll{message}") as error:
        list(ConllCorpus(write(path, text)).sentences())
    assert "name the columns" not in str(error.value)


def test_a_text_with_brat_annotation(tmp_path):
    path = write(tmp_path / "x.txt", "Ada lived in Oslo .\n")
    write(tmp_path / "x.ann", "T1\tPER 0 3\tAda\n")
    with pytest.raises(CorpusError, match=r"x.txt: a text .* brat's standoff format \(x.ann\)"):
        list(ConllCorpus(path).sentences())


@pytest.mark.parametrize(("n_tokens", "warnings"), [(1000, 0), (1001, 1)])
def test_a_file_without_empty_lines(tmp_path, caplog, n_tokens, warnings):
    path = write(tmp_path / "x.conll", "Ada B-PER\n" + "ran O\n" * (n_tokens - 1))
    corpus = ConllCorpus(path)
    assert len(list(corpus.sentences())) == len(list(corpus.sentences())) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"] * warnings
    assert ("one sentence of 1001 tokens: add an empty line" in caplog.text) == bool(warnings)


@pytest.mark.parametrize(
    ("lemma", "misc"), [("_", "CorrectForm=E-mail"), ("_", "Lemma=U-Bahn"), ("E-Mail", "_")]
)
def test_words_with_a_hyphen_in_conllu_are_no_tags(tmp_path, lemma, misc):
    path = tmp_path / "x.conllu"
    path.write_text(f"1\tE-Mails\t{lemma}\tNOUN\t_\t_\t0\troot\t_\t{misc}\n", encoding="utf8")
    [sentence] = open_corpus(str(path)).sentences()
    assert [*sentence.words] == ["E-Mails"]
    assert sentence.ner is None
    assert [*sentence.pos] == ["NOUN"]


def test_tags_with_the_first_letter_of_names_are_no_lemmas(tmp_path):
    path = tmp_path / "x.conll"
    path.write_text("Nina NNP B-PER\nvisited VBD O\nNantes NNP B-LOC\n", encoding="utf8")
    [sentence] = open_corpus(str(path)).sentences()
    assert [*sentence.pos] == ["NNP", "VBD", "NNP"]


def test_markup_as_the_first_token(tmp_path):
    path = tmp_path / "x.conll"
    path.write_text("<br> SYM O _\nAda NNP B-PER _\n", encoding="utf8")
    [sentence] = open_corpus(str(path), columns=["tokens", "pos", "ner", "_"]).sentences()
    assert [*sentence.words] == ["<br>", "Ada"]
    [sentence] = open_corpus(str(path)).sentences()
    assert [*sentence.ner] == ["O", "B-PER"]
