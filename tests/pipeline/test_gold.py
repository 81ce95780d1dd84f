"""Tests of gold spans that the decoder can never predict."""

import warnings

import pytest
import spacy
from samples import CRF, TINY
from spacy.tokens import Doc, Span
from spacy.training import Example

from bigru_tagger.pipeline.gold import Correction, correct_gold

SPACES = {"_": " ", "~": "\n\n"}


def make_doc(words, starts=()):
    """Create a Doc. The words "_" and "~" are white space; `starts` are sentence starts."""
    words = [SPACES.get(word, word) for word in words.split()]
    sent_starts = [i in starts or i == 0 for i in range(len(words))] if starts else None
    return Doc(spacy.blank("en").vocab, words=words, sent_starts=sent_starts)


@pytest.mark.parametrize(
    ("words", "starts", "gold", "expected", "problems"),
    [
        ("a b c", (), "B-X L-X O", "B-X L-X O", []),
        ("a _ c", (), "B-X L-X O", "U-X O O", [(0, 2, "X", "space")]),
        ("_ b c", (), "B-X I-X L-X", "O B-X L-X", [(0, 3, "X", "space")]),
        (
            "_ ~ c d ~ _ g",
            (),
            "B-X I-X I-X I-X I-X L-X O",
            "O O B-X L-X O O O",
            [(0, 6, "X", "space")],
        ),
        ("a _ c", (), "B-X I-X L-X", "B-X I-X L-X", []),  # white space inside is valid
        ("a _ c", (), "U-X U-Y U-X", "U-X O U-X", [(1, 2, "Y", "space")]),
        ("_ ~", (), "B-X L-X", "O O", [(0, 2, "X", "space")]),
        ("_ ~", (), "O - ", "O -", []),
        ("a b c d", (2,), "O B-X L-X U-Y", "O - - U-Y", [(1, 3, "X", "sentence")]),
        ("a b c d", (1, 3), "U-X B-X L-X U-Y", "U-X B-X L-X U-Y", []),
        # The sentence starts with the white space that is removed from the span.
        ("a b _ d", (2,), "B-X I-X L-X O", "B-X L-X O O", [(0, 3, "X", "space")]),
        # Both problems: white space is removed, and the rest crosses a sentence boundary.
        (
            "a b c _",
            (1,),
            "B-X I-X I-X L-X",
            "- - - O",
            [(0, 4, "X", "space"), (0, 4, "X", "sentence")],
        ),
        # Spans with unknown tags are not corrected.
        ("a _ c d", (), "B-X - L-X U-Y", "B-X - L-X U-Y", []),
    ],
)
def test_corrections_worked_out(words, starts, gold, expected, problems):
    gold = [None if tag == "-" else tag for tag in gold.split()]
    expected = [None if tag == "-" else tag for tag in expected.split()]
    before = list(gold)
    found, corrections = correct_gold(gold, make_doc(words, starts), cut_at_sentences=True)
    assert (found, corrections) == (expected, [Correction(*fields) for fields in problems])
    assert gold == before
    if not any(problem == "space" for *_, problem in problems):
        # If the decoder processes whole Docs, spans can cross sentence boundaries.
        doc = make_doc(words, starts)
        assert correct_gold(gold, doc, cut_at_sentences=False) == (gold, [])


def annotate(doc, factory, spans):
    spans = [Span(doc, start, end, label="PER") for start, end in spans]
    if factory == "bigru_ner":
        doc.set_ents(spans, default="outside")
    else:
        doc.spans["chunks"] = spans
    return doc


def learn(factory, model, docs, steps=60):
    nlp = spacy.blank("en")
    nlp.add_pipe(factory, config={"model": model})
    examples = [
        Example(Doc(nlp.vocab, words=[t.text for t in doc], sent_starts=starts(doc)), doc)
        for doc in docs
    ]
    sgd = nlp.initialize(lambda: examples)
    sgd.learn_rate = 0.01
    for _ in range(steps):
        nlp.update(examples, sgd=sgd)
    found = [nlp(example.predicted.copy()) for example in examples]
    return [
        [span.text for span in (doc.ents if factory == "bigru_ner" else doc.spans["chunks"])]
        for doc in found
    ]


def starts(doc):
    return [t.is_sent_start for t in doc] if doc.has_annotation("SENT_START") else None


FACTORIES = pytest.mark.parametrize("factory", ["bigru_ner", "bigru_chunker"])


@FACTORIES
@pytest.mark.parametrize("model", [TINY, CRF], ids=["constrained", "crf"])
def test_white_space_at_the_ends_is_trimmed_and_reported_once(factory, model):
    docs = [
        annotate(make_doc("_ Vogt _ left Linz"), factory, [(0, 3)]),
        annotate(make_doc("Then Vogt _ came"), factory, [(1, 3)]),
    ]
    with pytest.warns(UserWarning, match=rf"{factory}: .*Vogt  ' \(PER\).*white space") as caught:
        found = learn(factory, model, docs)
    assert found == [["Vogt"], ["Vogt"]]
    assert len(caught) == 1


@FACTORIES
def test_spans_across_a_sentence_boundary_are_not_learned_and_reported(factory):
    docs = [
        annotate(make_doc("then Anna Vogt came", starts=(2,)), factory, [(1, 3)]),
        annotate(make_doc("Anna came", starts=(0,)), factory, [(0, 1)]),
    ]
    with pytest.warns(
        UserWarning, match=r"'Anna Vogt' \(PER\).*crosses a sentence boundary"
    ) as caught:
        found = learn(factory, TINY, docs)
    assert found[1] == ["Anna"]
    assert len(caught) == 1


@FACTORIES
def test_a_crf_learns_and_predicts_spans_across_sentence_boundaries(factory):
    docs = [annotate(make_doc("then Anna Vogt came", starts=(2,)), factory, [(1, 3)])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert learn(factory, CRF, docs) == [["Anna Vogt"]]
