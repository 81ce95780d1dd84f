"""Tests of the labels of a corpus: `annotated_labels`, `rename`, and several corpora in one."""

import json

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.util import registry
from thinc.api import Config

from bigru_tagger.corpus.corpus import AnyCorpus, JoinedCorpus, open_corpus
from bigru_tagger.scoring.scoring import make_seqeval_scorer, tag_example
from bigru_tagger.tasks import CHUNKS, ENTITIES, TAGS

NLP = spacy.blank("en")


def write_data(folder, kind):
    """Write "Ada met Bob" with two persons."""
    path = folder / f"train.{kind}"
    if kind == "tsv":
        path.write_text("Ada\tB-PER\nmet\tO\nBob\tB-PER\n")
    elif kind == "jsonl":
        path.write_text(
            json.dumps({"tokens": ["Ada", "met", "Bob"], "ner_tags": ["B-PER", "O", "B-PER"]})
        )
    elif kind == "json":
        path = folder / "train.jsonl"
        entities = [[0, 3, "PER"], [8, 11, "PER"]]
        path.write_text(json.dumps({"text": "Ada met Bob", "label": entities}))
    else:
        doc = Doc(NLP.vocab, words=["Ada", "met", "Bob"], ents=["B-PER", "O", "B-PER"])
        DocBin(docs=[doc]).to_disk(path)
    return str(path)


@pytest.mark.parametrize("kind", ["tsv", "jsonl", "json", "spacy"])
@pytest.mark.parametrize("read", [open_corpus, AnyCorpus])
def test_all_readers_mark_their_docs(kind, read, tmp_path):
    path = write_data(tmp_path, kind)
    (plain,) = read(path)(NLP)
    assert ENTITIES.annotated_labels(plain.reference) is None
    (example,) = read(path, annotated_labels=["PER"])(NLP)
    assert ENTITIES.annotated_labels(example.reference) == {"PER"}
    assert [ent.text for ent in example.reference.ents] == ["Ada", "Bob"]
    assert TAGS.annotated_labels(example.reference) is None
    layers = {"ner": ["PER"], "pos": ["NOUN"]}
    with pytest.warns(UserWarning, match=r"contain no tag 'NOUN'\. Check"):
        (example,) = read(path, annotated_labels=layers)(NLP)
    assert TAGS.annotated_labels(example.reference) == {"NOUN"}
    assert ENTITIES.annotated_labels(example.reference) == {"PER"}


def test_chunks_have_the_key_of_the_reader(tmp_path):
    (tmp_path / "a.tsv").write_text("Ada\tB-NP\nmet\tO\n")
    layers = {"chunk": ["NP"]}
    columns = ["tokens", "chunk"]
    (example,) = open_corpus(
        str(tmp_path / "a.tsv"), annotated_labels=layers, spans_key="x", columns=columns
    )(NLP)
    assert CHUNKS.with_key("x").annotated_labels(example.reference) == {"NP"}
    assert CHUNKS.annotated_labels(example.reference) is None


@pytest.mark.parametrize("labels", [{"entities": ["PER"]}, {"ner": []}, [], "PER", {"ner": "PER"}])
def test_bad_settings(labels, tmp_path):
    path = write_data(tmp_path, "tsv")
    with pytest.raises(ValueError, match="annotated_labels must list labels, or labels by layer"):
        open_corpus(path, annotated_labels=labels)


@pytest.mark.parametrize("kind", ["tsv", "jsonl", "json", "spacy"])
@pytest.mark.parametrize("read", [open_corpus, AnyCorpus])
def test_all_readers_rename_labels(kind, read, tmp_path):
    path = write_data(tmp_path, kind)
    (example,) = read(path, rename={"PER": "person"}, annotated_labels=["person"])(NLP)
    assert [(ent.text, ent.label_) for ent in example.reference.ents] == [
        ("Ada", "person"),
        ("Bob", "person"),
    ]
    assert ENTITIES.annotated_labels(example.reference) == {"person"}
    assert not example.predicted.ents
    (example,) = read(path, rename={"PER": ""})(NLP)
    assert [token.ent_iob_ for token in example.reference] == ["O", "O", "O"]


def test_chunks_are_renamed_under_the_key_of_the_reader(tmp_path):
    (tmp_path / "a.tsv").write_text("Ada\tB-NP\nmet\tB-VP\n")
    columns = ["tokens", "chunk"]
    (example,) = open_corpus(
        str(tmp_path / "a.tsv"), columns=columns, spans_key="x", rename={"NP": "N", "VP": ""}
    )(NLP)
    assert [(span.text, span.label_) for span in example.reference.spans["x"]] == [("Ada", "N")]


def test_marks_that_are_stored_have_the_new_names(tmp_path):
    doc = Doc(NLP.vocab, words=["Ada", "met", "Bob"], ents=["B-PER", "O", "O"])
    doc.spans["sc"] = [Span(doc, 2, 3, "PER")]
    ENTITIES.set_annotated_labels(doc, ["PER"])
    DocBin(docs=[doc], store_user_data=True).to_disk(tmp_path / "a.spacy")
    read = AnyCorpus(
        str(tmp_path / "a.spacy"),
        rename={"PER": "person"},
        spans_key="sc",
        annotated_labels={"chunk": ["person"]},
    )
    (example,) = read(NLP)
    assert ENTITIES.annotated_labels(example.reference) == {"person"}
    assert [span.label_ for span in example.reference.spans["sc"]] == ["person"]
    assert CHUNKS.with_key("sc").annotated_labels(example.reference) == {"person"}


def test_a_label_to_rename_that_does_not_occur(tmp_path):
    path = write_data(tmp_path, "tsv")
    read = open_corpus(path, rename={"PER": "person", "PRE": "x"})
    with pytest.warns(UserWarning, match=r"train.tsv: rename: .* no entity or span 'PRE'\."):
        list(read(NLP))
    # With a limit, it may occur later.
    assert len(list(open_corpus(path, rename={"LOC": "place"}, limit=1)(NLP))) == 1


@pytest.mark.parametrize(
    "names", [["PER"], "PER=person", {"PER": None}, {"": "person"}, {"PER": "person "}]
)
def test_bad_names(names, tmp_path):
    path = write_data(tmp_path, "tsv")
    with pytest.raises(ValueError, match="rename must have a new name for each label"):
        open_corpus(path, rename=names)


def test_a_block_for_each_of_several_corpora(tmp_path):
    (tmp_path / "posts.tsv").write_text("Rome\tB-place\nis\tO\n\nPixar\tB-firm\n")
    (tmp_path / "news.tsv").write_text("Ada\tB-PER\n\nRome\tB-LOC\nPixar\tO\n")
    config = Config().from_str(f"""
        [train]
        @readers = "bigru_tagger.JoinedCorpus.v1"

        [train.corpora]

        [train.corpora.posts]
        @readers = "bigru_tagger.Corpus.v1"
        path = {json.dumps(str(tmp_path / "posts.tsv"))}

        [train.corpora.news]
        @readers = "bigru_tagger.Corpus.v1"
        path = {json.dumps(str(tmp_path / "news.tsv"))}
        annotated_labels = ["place"]
        rename = {{"LOC": "place", "PER": ""}}
        """)
    reader = registry.resolve(config)["train"]
    for _ in range(2):  # each call starts at the beginning
        docs = [example.reference for example in reader(NLP)]
        assert [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs] == [
            [("Rome", "place")],
            [("Pixar", "firm")],
            [],
            [("Rome", "place")],
        ]
        assert [ENTITIES.annotated_labels(doc) for doc in docs] == [
            None,
            None,
            {"place"},
            {"place"},
        ]


def test_no_corpora():
    message = r"needs a block with a reader for each corpus, .*\. "
    for nothing in ({}, [], None):
        with pytest.raises(ValueError, match=f"{message}It has no block$"):
            JoinedCorpus(nothing)
    with pytest.raises(ValueError, match=f"{message}Without a reader: news$"):
        JoinedCorpus({"posts": lambda nlp: [], "news": {"path": "news.tsv"}})


def test_hyphens_are_missing_annotation(tmp_path):
    (tmp_path / "a.tsv").write_text("Ada\tB-PER\nmet\tO\nBob\t-\nin\tO\nNew\tB-LOC\nYork\tI-LOC\n")
    (example,) = open_corpus(str(tmp_path / "a.tsv"))(NLP)
    assert [token.ent_iob_ for token in example.reference] == ["B", "O", "", "O", "B", "I"]


def test_unknown_chunks_are_an_error(tmp_path):
    (tmp_path / "a.tsv").write_text("Ada\tB-NP\nmet\t-\n")
    read = open_corpus(str(tmp_path / "a.tsv"), columns=["tokens", "chunk"])
    with pytest.raises(ValueError, match=r"a.tsv:2: the chunk tag '-'"):
        list(read(NLP))


def test_scores_ignore_labels_that_are_not_annotated():
    words = ["Ada", "met", "Bob", "in", "New", "York"]

    def make(*spans):
        doc = Doc(NLP.vocab, words=words)
        doc.set_ents([Span(doc, *span) for span in spans], default="outside")
        return doc

    gold = make((0, 1, "PER"), (2, 3, "PER"))
    predicted = make((0, 1, "PER"), (2, 3, "LOC"), (3, 4, "PER"), (4, 6, "LOC"))
    score = make_seqeval_scorer("ents")
    plain = score([Example(predicted, gold)])
    assert (plain["ents_p"], plain["ents_r"]) == (1 / 4, 1 / 2)
    # New York may be a LOC. Bob is a PER and cannot be one, and "in" is not a PER.
    ENTITIES.set_annotated_labels(gold, ["PER"])
    marked = score([Example(predicted, gold)])
    assert (marked["ents_p"], marked["ents_r"]) == (1 / 3, 1 / 2)
    tagged = tag_example(Example(predicted, gold))
    assert tagged.predicted == ["B-PER", "O", "B-LOC", "B-PER", "O", "O"]
