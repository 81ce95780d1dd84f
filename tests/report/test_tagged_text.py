from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from bigru_tagger.report.tagged_text import join_examples
from bigru_tagger.scoring.scoring import TaggedDoc, count_tagged, tag_examples

VOCAB = Vocab()
TAG = st.sampled_from(["O", "B-PER", "B-LOC", ""])
TAGS = st.lists(st.tuples(TAG, TAG), min_size=1, max_size=5)


def make(tags, *, split=False):
    """Make an example of gold and predicted tags; the last token may be split in the prediction."""
    words = [f"w{i}" for i in range(len(tags))]
    gold = Doc(VOCAB, words=words)
    spans = [Span(gold, i, i + 1, tag[2:]) for i, (tag, _) in enumerate(tags) if tag[2:]]
    missing = [gold[i : i + 1] for i, (tag, _) in enumerate(tags) if not tag]
    gold.set_ents(spans, missing=missing, default="outside")
    spaces = [True] * len(words)
    if split:
        words, spaces = [*words[:-1], "w", words[-1][1:]], [*spaces[:-1], False, True]
    predicted = Doc(VOCAB, words=words, spaces=spaces)
    spans = [Span(predicted, i, i + 1, tag[2:]) for i, (_, tag) in enumerate(tags) if tag[2:]]
    predicted.set_ents(spans, default="outside")
    return Example(predicted, gold)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(TAGS, st.booleans()), min_size=1, max_size=4), st.data())
def test_documents_have_the_tokens_and_tags_of_the_examples(docs, data):
    examples = [make(tags, split=split) for tags, split in docs]
    text = join_examples(examples)
    assert text.documents(text.doc_ends) == tag_examples(examples)
    kept = data.draw(st.sets(st.sampled_from(text.doc_ends)))
    joined = text.documents(sorted({*kept, text.doc_ends[-1]}))
    assert count_tagged(joined) == count_tagged(tag_examples(examples))


def test_unaligned_entities_are_appended_to_their_document():
    examples = [
        make([("B-LOC", "O"), ("B-PER", "B-PER")], split=True),
        make([("", "B-LOC")]),
        Example(Doc(VOCAB), Doc(VOCAB)),
        make([("O", "B-LOC"), ("O", "O")]),
    ]
    text = join_examples(examples)
    assert text.words == ["w0", "w1", "w0", "w0", "w1"]
    assert (text.doc_ends, text.sentence_starts) == ([2, 3, 5], [0, 2, 3])
    assert (text.annotated, text.unaligned) == ([0, 3], [(1, "w", "B-PER")])
    assert text.documents([2, 5]) == [
        TaggedDoc(["w0", "w1", "w"], ["B-LOC", "B-PER", "O"], ["O", "O", "B-PER"]),
        TaggedDoc(["w0", "w0", "w1"], ["O", "O", "O"], ["O", "B-LOC", "O"]),
    ]
    assert text.documents([5]) == [
        TaggedDoc(
            ["w0", "w1", "w0", "w0", "w1", "w"],
            ["B-LOC", "B-PER", "O", "O", "O", "O"],
            ["O", "O", "O", "B-LOC", "O", "B-PER"],
        )
    ]


def test_sentences_around_tokens():
    doc = Doc(VOCAB, words=list("abcdef"), sent_starts=[True, False, True, False, False, True])
    doc.set_ents([Span(doc, 0, 1, "PER")], default="outside")
    text = join_examples([Example(doc, doc), make([("O", "O")])])
    assert text.sentence_starts == [0, 2, 5, 6]
    assert text.sentence(0, 1, 9) == (0, 2)
    assert text.sentence(2, 3, 9) == (2, 5)
    assert text.sentence(1, 3, 9) == (0, 5)
    assert text.sentence(3, 4, 1) == (2, 5)
    assert text.sentence(4, 5, 1) == (3, 5)
    assert text.sentence(6, 7, 9) == (6, 7)
