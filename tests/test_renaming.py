import re

import pytest
from samples import annotate
from spacy.lang.en import English
from spacy.tokens import Doc, Span, SpanGroup

from bigru_tagger.cli.options import parse_renaming
from bigru_tagger.tasks import CHUNKS, ENTITIES, TAGS, rename_labels

NAMES = {"PERSON": "PER", "DATE": "", "NP": "NOUN", "VP": ""}


@pytest.fixture
def doc():
    """A Doc with three entities (PERSON, LOC, DATE), a token without annotation, and chunks."""
    doc = Doc(English().vocab, words=["Ada", "saw", "Rome", "in", "1843", "the", "end"])
    annotate(doc, [(0, 1, "PERSON"), (2, 3, "LOC"), (4, 5, "DATE")], missing=[5])
    chunks = [Span(doc, 0, 1, "NP"), Span(doc, 1, 2, "VP"), Span(doc, 2, 3, "X")]
    doc.spans["chunks"] = SpanGroup(
        doc, name="chunks", attrs={"scores": [0.1, 0.2, 0.3], "other": 1}, spans=chunks
    )
    return doc


def test_entities_are_renamed(doc):
    rename_labels(doc, NAMES)
    assert [(ent.start, ent.end, ent.label_) for ent in doc.ents] == [(0, 1, "PER"), (2, 3, "LOC")]
    # Tokens of removed entities are outside. Missing annotation stays missing.
    assert [token.ent_iob_ for token in doc] == ["B", "O", "B", "O", "O", "", "O"]


def test_other_attributes_of_entities_are_kept(doc):
    if not Span.has_extension("confidence"):
        Span.set_extension("confidence", default=None)
    ada = Span(doc, 0, 1, "PERSON", kb_id="Q7259", span_id="ada")
    doc.set_ents([ada], default="unmodified")
    doc.ents[0]._.confidence = 0.7
    rename_labels(doc, NAMES)
    (found,) = (ent for ent in doc.ents if ent.label_ == "PER")
    assert (found.kb_id_, found.id_, found._.confidence) == ("Q7259", "ada", 0.7)


def test_spans_keep_their_scores(doc):
    rename_labels(doc, NAMES)
    group = doc.spans["chunks"]
    assert [(span.start, span.end, span.label_) for span in group] == [(0, 1, "NOUN"), (2, 3, "X")]
    assert group.attrs == {"scores": [0.1, 0.3], "other": 1}
    assert group.name == "chunks"


def test_without_new_names_nothing_changes(doc):
    before = doc.to_bytes()
    for names in ({}, {"GPE": "LOC"}):
        rename_labels(doc, names)
    assert doc.to_bytes() == before


def test_all_groups_of_spans_are_renamed(doc):
    doc.spans["incorrect"] = [Span(doc, 4, 5, "PERSON")]
    rename_labels(doc, {"PERSON": "LOC", "LOC": "PERSON"})  # all at once
    assert [ent.label_ for ent in doc.ents] == ["LOC", "PERSON", "DATE"]
    assert [span.label_ for span in doc.spans["incorrect"]] == ["LOC"]


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (["PER"], {"PER": "person"}, {"person"}),
        (["PER", "LOC"], {"PER": "person"}, {"person", "LOC"}),
        (["PER", "LOC"], {"LOC": ""}, {"PER"}),
        (["A"], {"A": "B", "B": "A"}, {"B"}),
        (["A", "B"], {"A": "X", "B": "X"}, {"X"}),
        # Spans that were B are not annotated, and have the same name now.
        (["A"], {"A": "X", "B": "X"}, set()),
        # The label of another system, which the data do not have.
        (["LOC", "PER"], {"GPE": "LOC"}, {"LOC", "PER"}),
    ],
)
@pytest.mark.parametrize("task", [ENTITIES, CHUNKS.with_key("other")], ids=["ents", "spans"])
def test_the_annotated_labels_are_renamed(task, labels, names, expected, doc):
    doc.spans["other"] = []
    task.set_annotated_labels(doc, labels)
    rename_labels(doc, names)
    assert task.annotated_labels(doc) == expected


def test_annotated_tags_keep_their_names(doc):
    TAGS.set_annotated_labels(doc, ["NNP"])
    rename_labels(doc, {"NNP": "X"})
    assert TAGS.annotated_labels(doc) == {"NNP"}


def test_names_are_parsed():
    pairs = ["PERSON=PER", "DATE=", "A=B=C", "PERSON=PER"]
    assert parse_renaming(pairs) == {"PERSON": "PER", "DATE": "", "A": "B=C"}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["GPE"], "--rename GPE: the value must be LABEL=NAME"),
        (["=LOC"], "--rename =LOC: the value must be LABEL=NAME"),
        (["GPE=LOC", "GPE=ORG"], "--rename GPE=ORG: GPE already has the name 'LOC'"),
    ],
)
def test_invalid_names_raise(pairs, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_renaming(pairs)
