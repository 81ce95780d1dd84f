"""Tests of the setting `annotated_labels` of the readers, and of scores with it."""

import json

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from bigru_tagger.corpus.corpus import AnyCorpus, open_corpus
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
