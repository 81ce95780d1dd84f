"""Holding out documents, and whether sentences are in order."""

from collections import Counter

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, Span

from bigru_tagger.corpus.holdout import are_in_order, hold_out

NLP = spacy.blank("xx")


def make_docs(labels):
    """One Doc of two tokens for each string; its letters are the labels of entities."""
    docs = []
    for number, names in enumerate(labels):
        doc = Doc(NLP.vocab, words=[str(number), *names])
        doc.set_ents([Span(doc, i, i + 1, name) for i, name in enumerate(names, 1)])
        docs.append(doc)
    return docs


def numbers(docs):
    return [int(doc[0].text) for doc in docs]


def labels_of(docs):
    return Counter(ent.label_ for doc in docs for ent in doc.ents)


def test_each_label_has_the_same_share():
    # 20 Docs with A, 10 with B, 10 without entities: a fifth of each is 4, 2 and 2.
    docs = make_docs(["A"] * 20 + ["B"] * 10 + [""] * 10)
    train, dev = hold_out(docs, 0.2)
    assert labels_of(dev) == {"A": 4, "B": 2}
    assert len(dev) == 8
    assert len(train) == 32


def test_the_only_document_of_a_label_is_trained_on():
    docs = make_docs(["A", "A", "A", "AB"])
    for seed in range(20):
        train, dev = hold_out(docs, 0.25, seed)
        assert len(dev) == 1
        assert 3 in numbers(train)


@given(st.lists(st.text("ABC", max_size=3), min_size=2, max_size=30), st.integers(0, 5))
def test_documents_are_divided(labels, seed):
    docs = make_docs(labels)
    try:
        train, dev = hold_out(docs, 0.3, seed)
    except ValueError:
        # Every Doc has a label that no other has.
        counts = Counter(name for names in labels for name in set(names))
        assert all(any(counts[name] == 1 for name in names) for names in labels)
        return
    assert sorted([*numbers(train), *numbers(dev)]) == list(range(len(docs)))
    assert numbers(train) == sorted(numbers(train))
    assert numbers(dev) == sorted(numbers(dev))
    assert train
    assert dev
    assert hold_out(docs, 0.3, seed)[1] == dev


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_the_share_is_checked(share):
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        hold_out(make_docs(["A", "A"]), share)


def test_one_document_cannot_be_divided():
    with pytest.raises(ValueError, match="no document of 1 can be held out"):
        hold_out(make_docs(["A"]), 0.5)


def test_all_documents_of_a_label_are_not_held_out():
    # Two thirds of three Docs are two, and only those with A can be held out.
    train, dev = hold_out(make_docs(["A", "A", "B"]), 0.67)
    assert labels_of(train) == {"A": 1, "B": 1}
    assert labels_of(dev) == {"A": 1}


def test_words_that_come_again_show_the_order():
    # 120 texts of 5 sentences; each text has a word of its own in every sentence.
    text = [[f"word{i // 5}", "the", f"rare{i}"] for i in range(600)]
    assert are_in_order(text)
    # The same sentences, with those of a text as far apart as possible.
    assert not are_in_order([text[i * 5 + k] for k in range(5) for i in range(120)])


def test_a_few_sentences_do_not_show_the_order():
    assert not are_in_order([["a", "b"]] * 3)
    assert not are_in_order([])
