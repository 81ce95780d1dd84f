"""Any Unicode text: right offsets, and the same annotation alone, in any batch and any order."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import build, train
from spacy.tokens import Span

from benchmarks.fuzz_texts import compare, longest_texts, problems_of, random_text, read_doc


@pytest.fixture(scope="module")
def nlp():
    nlp = build("bigru_ner", "bigru_tagger", "bigru_chunker")
    train(nlp, steps=15)
    return nlp


SEEDS = st.integers(0, 2**32 - 1)
# What spaCy accepts is what UTF-8 can encode: anything but halves of surrogate pairs.
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ODD = st.builds(lambda seed: random_text(random.Random(seed)), SEEDS)


@settings(deadline=None, max_examples=30)
@given(texts=st.lists(ANY | ODD, min_size=1, max_size=12), seed=SEEDS)
def test_any_texts(nlp, texts, seed):
    problems, difference = compare(nlp, texts, random.Random(seed))
    assert problems == []
    assert difference <= 1e-5  # float32: sums in another order


def test_long_tokens(nlp):
    for text in (longest_texts()[0], "\u0301" * 200_000):
        doc = nlp(text)
        assert len(doc) == 1
        assert list(problems_of(doc, text)) == []


def test_the_texts_are_what_they_should_be():
    rng = random.Random(0)
    texts = [random_text(rng) for _ in range(2000)]
    assert "" in texts
    assert any(text.isspace() for text in texts)
    assert max(map(len, texts)) > 200
    joined = "".join(texts)
    assert all(char in joined for char in "\0\u200b\u202e\u0301\u2028👩\U000f0000א")
    joined.encode()  # no halves of surrogate pairs


def test_problems_are_found(nlp):
    text = "Ada met Bob"
    doc = nlp(text)
    assert list(problems_of(doc, text)) == []
    assert next(problems_of(doc, "Ada met Eve")) == "the Doc has another text"
    doc[1].tag_ = ""
    assert "a token has no tag" in problems_of(doc, text)
    doc = nlp(text)
    doc.spans["chunks"] = [Span(doc, 0, 2, "NP"), Span(doc, 1, 3, "NP")]
    found = list(problems_of(doc, text))
    assert "chunk 1:3 overlaps, or is not in the Doc" in found
    assert "a confidence is missing, or is not between 0 and 1" in found


def test_differences_are_found(nlp, monkeypatch):
    monkeypatch.setattr(nlp, "pipe", lambda texts, batch_size: map(nlp, reversed(list(texts))))
    problems, _ = compare(nlp, ["Ada met Bob", "It rained in London today"], random.Random(0))
    assert len(problems) == 2
    assert read_doc(nlp("")) == ([], [])
