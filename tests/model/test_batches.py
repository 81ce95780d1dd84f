"""What a batch is made of besides the words: sentences, and occurrences of a word in its Doc."""

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc

from bigru_tagger.embeddings.base import UniqueWords
from bigru_tagger.model.batches import DocTokens

VOCAB = spacy.blank("en").vocab
WORD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
TEXTS = st.lists(st.lists(st.sampled_from(["a", "A", "the", " ", "😀"]) | WORD, max_size=6))


def group(docs):
    words = UniqueWords.from_docs(docs)
    return DocTokens.from_docs(docs).groups(words.forms[words.index])


def sentence_lengths(docs):
    words = UniqueWords.from_docs(docs)
    return DocTokens.from_docs(docs).sentence_lengths(words.boundaries[words.index]).tolist()


@settings(max_examples=50, deadline=None)
@given(TEXTS.filter(bool))
def test_groups_are_the_words_of_a_doc_whatever_their_case(texts):
    groups = group([Doc(VOCAB, words=words) for words in texts])
    keys = groups["occurrences"].tolist()
    tokens = [(i, token.lower()) for i, text in enumerate(texts) for token in text]
    assert len(keys) == len(tokens)
    assert len(set(keys)) == len(set(tokens)) == len(set(zip(keys, tokens, strict=True)))
    assert groups["global_context"].tolist() == [i for i, _ in tokens]


def test_no_tokens_have_no_groups():
    assert [keys.shape for keys in group([Doc(VOCAB), Doc(VOCAB)]).values()] == [(0,), (0,)]


def make_doc(*sentences):
    starts = [i == 0 for words in sentences for i in range(len(words))]
    return Doc(VOCAB, words=[word for words in sentences for word in words], sent_starts=starts)


@pytest.mark.parametrize(
    ("docs", "expected"),
    [
        ([Doc(VOCAB)], []),
        ([Doc(VOCAB, words=["a"])], [1]),
        ([Doc(VOCAB, words=["a", "b", "c"])], [3]),
        ([make_doc(["a"])], [1]),
        ([make_doc("ab", "c", "def")], [2, 1, 3]),
        ([make_doc("ab", "c"), Doc(VOCAB), Doc(VOCAB, words=["a", "b"])], [2, 1, 2]),
        # Where some starts are known, the unknown ones are none; nor is one twice at the beginning.
        ([Doc(VOCAB, words="abcd", sent_starts=[None, None, True, None])], [2, 2]),
        ([Doc(VOCAB, words="abc", sent_starts=[False, False, False])], [3]),
        # A parse sets sentence boundaries too.
        ([Doc(VOCAB, words="abc", heads=[0, 0, 2], deps=["ROOT", "x", "ROOT"])], [2, 1]),
        # Without starts, they are guessed: a sentence ends in one Doc only.
        ([Doc(VOCAB, words="a."), Doc(VOCAB, words="b.c"), make_doc("d.e")], [2, 2, 1, 3]),
    ],
)
def test_sentence_lengths(docs, expected):
    assert sentence_lengths(docs) == expected


BOUNDARIES = st.sampled_from(["a", "B", ".", "!", "。", "؟", ",", '"', "(", ")", "…", "\n\n", " "])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(BOUNDARIES, max_size=6), min_size=1, max_size=5))
def test_sentence_lengths_do_not_depend_on_the_docs_before(texts):
    docs = [Doc(VOCAB, words=words, spaces=[False] * len(words)) for words in texts]
    alone = [sentence_lengths([doc]) for doc in docs]
    together = sentence_lengths(docs)
    assert together == [length for lengths in alone for length in lengths]
