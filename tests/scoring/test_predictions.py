"""Tests of reading and writing files of predictions."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from conlleval import conlleval
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from bigru_tagger.corpus.sentences import CorpusError
from bigru_tagger.scoring.columns import escape
from bigru_tagger.scoring.predictions import (
    align_predictions,
    read_predictions,
    write_predictions,
)
from bigru_tagger.scoring.run import score_predictions
from bigru_tagger.scoring.scoring import Counts, count_tagged, make_seqeval_scorer, tag_examples

VOCAB = Vocab()
N = 8
ENTS = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(1, 4), st.sampled_from(["PER", "work of art"])),
    max_size=4,
)

ANNOTATION = {
    "gold": st.lists(ENTS, min_size=1, max_size=3),
    "predicted": ENTS,
    "starts": st.sets(st.integers(1, N - 1)),
    "missing": st.sets(st.integers(0, N - 1), max_size=2),
}


def random_doc(ents, words, starts=(), missing=()):
    doc = Doc(VOCAB, words=words, sent_starts=[i == 0 or i in starts for i in range(len(words))])
    spans, taken = [], set()
    for start, length, label in ents:
        tokens = set(range(start, min(start + length, len(words))))
        if tokens and not tokens & taken:
            taken |= tokens
            spans.append(Span(doc, start, max(tokens) + 1, label))
    missing = [doc[i : i + 1] for i in missing if i not in taken]
    doc.set_ents(spans, missing=missing, default="outside")
    return doc


@settings(max_examples=150, deadline=None)
@given(
    **ANNOTATION,
    split_token=st.booleans(),
)
def test_conlleval_agrees_on_the_predictions_file(
    tmp_path_factory, *, gold, predicted, starts, missing, split_token
):
    words = ["-X-", "two words", "\u00a0", *"defg", "hi"]
    other = [*words[:-1], "h", "i"] if split_token else words
    examples = [
        Example(random_doc(predicted, other), random_doc(ents, words, starts, missing))
        for ents in gold
    ]
    path = tmp_path_factory.mktemp("predictions") / "predictions.txt"
    write_predictions(path, examples)
    result = conlleval(path.read_text(encoding="utf-8").splitlines())
    counts = count_tagged(tag_examples(examples))
    assert counts == {
        label: Counts(*(side[column] for side in (result.gold, result.predicted, result.correct)))
        for label in counts
        for column in [label.replace(" ", "\u2423")]
    }
    scores = make_seqeval_scorer()(examples)
    assert (scores["ents_p"], scores["ents_r"], scores["ents_f"]) == result.prf()


def test_predictions_file(tmp_path):
    words = ["New", "York", "won", "Paris", "\n", "fell"]
    reference = Doc(
        VOCAB,
        words=words,
        sent_starts=[True, True, False, True, False, False],
        ents=["B-LOC", "I-LOC", "O", "B-LOC", "O", "O"],
    )
    predicted = Doc(VOCAB, words=words, ents=["B-LOC", "I-LOC", "O", "O", "O", "O"])
    unannotated = Doc(VOCAB, words=["nobody", "looked"])
    second = Doc(VOCAB, words=["Go", "on"], ents=["O", "O"])
    path = tmp_path / "new" / "predictions.txt"
    write_predictions(
        path,
        [
            Example(predicted, reference),
            Example(unannotated, unannotated),
            Example(second, second),
        ],
    )
    # The sentence boundary before "York" is inside an entity.
    assert path.read_text(encoding="utf-8").split("\n") == [
        "New B-LOC B-LOC",
        "York I-LOC I-LOC",
        "won O O",
        "",
        "Paris B-LOC O",
        "\u2423 O O",
        "fell O O",
        "",
        "Go O O",
        "on O O",
        "",
        "",
    ]
    assert list(path.parent.iterdir()) == [path]


def test_predictions_file_is_written_atomically(tmp_path):
    path = tmp_path / "predictions.txt"
    path.write_text("before")
    doc = Doc(VOCAB, words=["a"], ents=["O"])
    other = Doc(VOCAB, words=["b"], ents=["B-PER"])
    with pytest.raises(ValueError, match="Unable to align"):
        write_predictions(path, [Example(doc, doc), Example(other, doc)])
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_device_files_are_not_replaced():
    doc = Doc(VOCAB, words=["a"], ents=["B-PER"])
    write_predictions(os.devnull, [Example(doc, doc)])
    assert not Path(os.devnull).is_file()


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def gold_doc(words, *spans):
    doc = Doc(VOCAB, words=words.split())
    doc.set_ents([Span(doc, *span) for span in spans], default="outside")
    return doc


def entities(examples):
    return [[(e.start, e.end, e.label_) for e in eg.predicted.ents] for eg in examples]


@settings(max_examples=150, deadline=None)
@given(
    **ANNOTATION,
    unannotated=st.integers(0, 3),
)
def test_predictions_round_trip(tmp_path_factory, *, gold, predicted, starts, missing, unannotated):
    words = ["-X-", "two words", "\u00a0", "-DOCSTART-", "#", "\u2423", "g", "hi"]
    references = [random_doc(ents, words, starts, missing) for ents in gold]
    references.insert(unannotated, Doc(VOCAB, words=["nobody", "looked"]))
    examples = [Example(random_doc(predicted, [t.text for t in doc]), doc) for doc in references]
    path = tmp_path_factory.mktemp("predictions") / "predictions.txt"
    write_predictions(path, examples)
    again = align_predictions(read_predictions(path), references)
    assert [eg.reference for eg in again] == references
    assert tag_examples(again) == tag_examples(examples)


ANY_WORD = st.one_of(
    st.sampled_from(
        ["#", "-X-", "-DOCSTART-", "\ufeff", "\ufeffLinz", "\0", "\u200b", "␣1␣a", "O"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
)
ANY_LABEL = st.one_of(
    st.sampled_from(
        ["#", "_", "-", "B-PER", "O", "a b", "a␣b", "a\u00a0b", "\\u00a0", "\ufeff", "\0"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4),
)


def labels_differ(examples):
    # "a␣b" in a file is unescaped to "a b", unless the gold data contain "a␣b" and not "a b".
    gold = {ent.label_ for eg in examples for ent in eg.reference.ents}
    found = {ent.label_ for eg in examples for ent in eg.predicted.ents}
    return not gold & {escape(label) for label in found - gold}


@st.composite
def annotated_docs(draw, words):
    """Generate a Doc with the given words and any entities."""
    doc = Doc(VOCAB, words=words, spaces=draw(st.none() | st.just([False] * len(words))))
    ends = sorted(draw(st.sets(st.integers(0, len(words)), max_size=6)))
    kept = [pair for pair in pairwise(ends) if draw(st.booleans())]
    spans = [Span(doc, start, end, draw(ANY_LABEL)) for start, end in kept]
    doc.set_ents(spans, default="outside")
    return doc


@st.composite
def any_examples(draw):
    """Generate gold Docs with any words, and predictions with the same tokens."""
    texts = draw(st.lists(st.lists(ANY_WORD, min_size=1, max_size=6), min_size=1, max_size=3))
    examples = [Example(draw(annotated_docs(text)), draw(annotated_docs(text))) for text in texts]
    assume(labels_differ(examples))
    return examples


@settings(max_examples=75, deadline=None)
@given(any_examples())
def test_any_words_and_labels_round_trip(tmp_path_factory, examples):
    path = tmp_path_factory.mktemp("predictions") / "predictions.txt"
    write_predictions(path, examples)
    assert {len(line.split()) for line in path.read_text("utf-8").split("\n")} == {0, 3}
    again = align_predictions(read_predictions(path), [eg.reference for eg in examples])
    assert entities(again) == entities(examples)
    result = conlleval(path.read_text(encoding="utf-8").split("\n"))
    counts = count_tagged(tag_examples(examples)).values()
    assert result.gold.total() == sum(count.gold for count in counts)
    assert result.predicted.total() == sum(count.predicted for count in counts)
    assert result.correct.total() == sum(count.correct for count in counts)


@st.composite
def examples_of_other_tokens(draw):
    """Generate gold Docs, and predictions with other tokens."""
    examples = []
    for text in draw(st.lists(st.text("aB.#é漢", min_size=1, max_size=10), min_size=1, max_size=3)):
        docs = []
        for _ in range(2):
            cuts = sorted({0, len(text), *draw(st.sets(st.integers(0, len(text))))})
            words = [text[start:end] for start, end in pairwise(cuts)]
            for position in draw(st.lists(st.integers(0, len(words)), max_size=2)):
                space = draw(st.sampled_from(["\n", " ", "\u00a0\n"]))
                if draw(st.booleans()):
                    words.insert(position, space)
                elif position < len(words):
                    words[position] = words[position][:1] + space + words[position][1:]
            docs.append(draw(annotated_docs(words)))
        examples.append(Example(*docs))
    assume(labels_differ(examples))
    return examples


def space_before_the_entity():
    """A predicted entity that starts with white space inside a gold token."""
    predicted = Doc(VOCAB, words=["B", " ", "B", "BBB"])
    predicted.set_ents([Span(predicted, 1, 3, "PER")], default="outside")
    gold = Doc(VOCAB, words=["B ", "B", "BBB"])
    gold.set_ents([], default="outside")
    return [Example(predicted, gold)]


@settings(max_examples=75, deadline=None)
@example(space_before_the_entity())
@given(examples_of_other_tokens())
def test_entities_on_other_tokens_round_trip(tmp_path_factory, examples):
    path = tmp_path_factory.mktemp("predictions") / "predictions.txt"
    write_predictions(path, examples)
    again = align_predictions(read_predictions(path), [eg.reference for eg in examples])
    for written, read in zip(tag_examples(examples), tag_examples(again), strict=True):
        assert read.gold == written.gold
        # Sorted, because entities of only white space are read last.
        assert sorted(zip(read.words, read.predicted, strict=True)) == sorted(
            zip(written.words, written.predicted, strict=True)
        )
    assert len(again) <= len(examples)


def test_entities_that_do_not_align(tmp_path):
    gold = [gold_doc("to New-York", (1, 2, "LOC")), gold_doc("by Jet-Blue now")]
    predicted = [
        Doc(VOCAB, words=["to", "New", "-", "York"], ents=["O", "O", "O", "B-a b"]),
        Doc(VOCAB, words=["by", "Jet", "-Blue\u00a0now"], ents=["B-PER", "B-ORG", "B-ORG"]),
    ]
    examples = [Example(*docs) for docs in zip(predicted, gold, strict=True)]
    path = tmp_path / "p.txt"
    write_predictions(path, examples)
    assert path.read_text("utf-8").split("\n") == [
        "to O O",
        "New-York B-LOC O",
        "␣4␣York O B-a␣b",
        "",
        "by O B-PER",
        "Jet-Blue O O",
        "now O O",
        "␣11␣Jet O B-ORG",
        "␣8␣-Blue\\u00a0now O B-ORG",
        "",
        "",
    ]
    # The gold data can be split into other documents.
    single = [gold_doc("to"), gold_doc("New-York"), gold_doc("by Jet-Blue"), gold_doc("now")]
    first, second, third = align_predictions(read_predictions(path), single)
    assert [token.text for token in first.predicted] == ["to"]
    assert [token.text for token in second.predicted] == ["New-", "York"]
    assert [token.text for token in third.predicted] == ["by", "Jet", "-Blue\u00a0now"]
    assert entities([first, second, third]) == [
        [],
        [(1, 2, "a b")],
        [(0, 1, "PER"), (1, 2, "ORG"), (2, 3, "ORG")],
    ]
    assert third.reference.text == "by Jet-Blue now "


def test_an_entity_whose_text_is_not_in_the_gold_data_raises(tmp_path):
    lines = ["to O O", "New-York O O", "␣4␣Pork O B-LOC", ""]
    predictions = read_predictions(write(tmp_path / "p.txt", "\n".join(lines)))
    with pytest.raises(
        CorpusError, match=r"p\.txt:2: after this line is the entity 'Pork', but the gold text 4"
    ):
        align_predictions(predictions, [gold_doc("to New-York")])


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        ("# O\n", ["#"]),
        ("# O O\n# # O\n", ["#", "#"]),
        ("# of two words\n#a x O\nb x O\n", ["#a", "b"]),
        ("# three O\na O\n# 3\n#b O\n", ["a", "#b"]),
        ("\ufeffa O\n\n\ufeffb O\n\ufeff\n\ufeff# no tag\n", ["a", "b"]),
    ],
)
def test_lines_that_start_with_a_hash(tmp_path, content, tokens):
    predictions = read_predictions(write(tmp_path / "p.txt", content))
    assert [token.text for token in predictions.tokens] == tokens


N_TOKENS = 10


@settings(max_examples=50, deadline=None)
@given(
    ENTS,
    st.lists(
        st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]),
        min_size=N_TOKENS,
        max_size=N_TOKENS,
    ),
    st.sets(st.integers(1, N_TOKENS - 1)),
    st.sets(st.integers(1, N_TOKENS - 1)),
)
def test_conlleval_agrees_with_any_sentences_and_documents(
    tmp_path_factory, ents, tags, doc_ends, sentence_ends
):
    words = [f"w{i}" for i in range(N_TOKENS)]
    whole = random_doc([(start, length, "LOC") for start, length, _ in ents], words)
    gold = [f"{token.ent_iob_}-{token.ent_type_}".rstrip("-") for token in whole]
    inside = {i for i, tag in enumerate(gold) if tag.startswith("I-")}
    ends = [0, *sorted(doc_ends - inside), N_TOKENS]
    references = [whole[start:end].as_doc() for start, end in pairwise(ends)]
    lines = []
    for i, columns in enumerate(zip(words, gold, tags, strict=True)):
        lines += [""] * (i in sentence_ends - inside) + [" ".join(columns)]
    path = write(tmp_path_factory.mktemp("predictions") / "predictions.txt", "\n".join(lines))
    examples = align_predictions(read_predictions(path), references)
    assert [token.text for eg in examples for token in eg.predicted] == words
    assert [token.text for eg in examples for token in eg.reference] == words
    counts = count_tagged(tag_examples(examples))
    result = conlleval(lines)
    assert counts == {
        label: Counts(result.gold[label], result.predicted[label], result.correct[label])
        for label in counts
    }
    assert result.gold.total() == sum(count.gold for count in counts.values())
    assert result.predicted.total() == sum(count.predicted for count in counts.values())


SCHEMES = [
    ("IOB1", "I-PER I-PER B-PER O I-LOC"),
    ("IOB2", "B-PER I-PER B-PER O B-LOC"),
    ("IOBES", "B-PER E-PER S-PER O S-LOC"),
    ("BILOU", "B-PER L-PER U-PER O U-LOC"),
]


@pytest.mark.parametrize(("scheme", "tags"), SCHEMES, ids=[scheme for scheme, _ in SCHEMES])
def test_schemes_are_detected(tmp_path, scheme, tags):
    words = ["Ada", "Lovelace", "Babbage", "left", "London"]
    lines = [f"{word}\tx \t{tag}" for word, tag in zip(words, tags.split(), strict=True)]
    path = write(tmp_path / "predictions.txt", "\r\n".join(lines))
    (eg,) = align_predictions(read_predictions(path), [gold_doc(" ".join(words))])
    assert entities([eg]) == [[(0, 2, "PER"), (2, 3, "PER"), (4, 5, "LOC")]]


def test_the_lines_of_a_file(tmp_path):
    path = write(
        tmp_path / "predictions.txt",
        "\ufeff# made by hand\n-DOCSTART- -X- O\n\nKew NNP B-LOC\n# # O\n\n\n"
        "-DOCSTART- x\nfell VBD O\n -DOCSTART-\u00a0y z\tI-LOC\n",
    )
    found = read_predictions(path)
    assert found.path == path
    assert [tuple(token) for token in found.tokens] == [
        ("-DOCSTART-", "O", 2),
        ("Kew", "B-LOC", 4),
        ("#", "O", 5),
        ("-DOCSTART-", "O", 8),
        ("fell", "O", 9),
        ("-DOCSTART-\u00a0y", "B-LOC", 10),
    ]


def test_document_boundaries_are_tokens_only_if_the_gold_data_contain_them(tmp_path):
    path = write(tmp_path / "p.txt", "-DOCSTART- O\n\nKew B-LOC\n\n-DOCSTART- B-ORG\n\nfell O\n")
    predictions = read_predictions(path)
    found = align_predictions(predictions, [gold_doc("Kew fell")])
    assert entities(found) == [[(0, 1, "LOC")]]
    found = align_predictions(predictions, [gold_doc("-DOCSTART- Kew -DOCSTART- fell")])
    assert entities(found) == [[(1, 2, "LOC"), (2, 3, "ORG")]]


def test_documents_are_joined_if_an_entity_crosses_their_end(tmp_path):
    path = write(tmp_path / "p.txt", "in O\nNew B-LOC\nYork I-LOC\nCity I-LOC\nwon O\nKew B-LOC\n")
    references = [
        gold_doc("in New", (1, 2, "LOC")),
        gold_doc("York", (0, 1, "LOC")),
        gold_doc("City won"),
        gold_doc("Kew", (0, 1, "LOC")),
    ]
    for doc in references:
        doc.spans["chunks"] = [Span(doc, 0, 1, "NP")]
        doc.user_data["of the Doc"] = 1
    found = align_predictions(read_predictions(path), references)
    assert entities(found) == [[(1, 4, "LOC")], [(0, 1, "LOC")]]
    joined = found[0].reference
    assert [(e.start, e.end, e.label_) for e in joined.ents] == [(1, 2, "LOC"), (2, 3, "LOC")]
    assert [span.start for span in joined.spans["chunks"]] == [0, 2, 3]
    assert [token.i for token in joined if token.is_sent_start] == [0, 2, 3]
    assert found[1].reference is references[3]
    # Two gold entities are replaced by one prediction; "Kew" is correct.
    assert count_tagged(tag_examples(found)) == {"LOC": Counts(3, 2, 1)}


@pytest.mark.parametrize(
    ("tags", "key"),
    [
        ("B-PER O", None),
        ("B-NP B-VP", "chunks"),
        ("B-NP B-PER", None),
        ("B-X O", None),
        ("O O", None),
    ],
)
def test_the_labels_decide_between_chunks_and_entities(tmp_path, tags, key):
    gold = gold_doc("Ada left", (0, 1, "PER"))
    gold.spans["chunks"] = [Span(gold, 0, 1, "NP"), Span(gold, 1, 2, "VP")]
    lines = [" ".join(columns) for columns in zip(("Ada", "left"), tags.split(), strict=True)]
    predictions = read_predictions(write(tmp_path / "p.txt", "\n".join(lines)))
    (eg,) = align_predictions(predictions, [gold])
    assert ("chunks" in eg.predicted.spans) == (key == "chunks")
    assert eg.predicted.has_annotation("ENT_IOB") == (key is None)
    evaluation = score_predictions([eg], model="p.txt")
    assert list(evaluation.scores) == [key or "entities"]
    assert (evaluation.seconds, evaluation.words_per_second, evaluation.pipes) == (None, None, ())


def test_gold_data_with_only_chunks(tmp_path):
    gold = Doc(VOCAB, words=["Ada", "left"])
    gold.spans["chunks"] = [Span(gold, 0, 1, "NP")]
    predictions = read_predictions(write(tmp_path / "p.txt", "Ada O\nleft O\n"))
    (eg,) = align_predictions(predictions, [gold])
    assert score_predictions([eg], model="p.txt").scores["chunks"].default == {
        "NP": Counts(1, 0, 0)
    }


def test_white_space_in_labels_is_unescaped(tmp_path):
    gold = gold_doc("Hamlet is long", (0, 1, "work of art"))
    predictions = read_predictions(
        write(tmp_path / "p.txt", "Hamlet B-work\u2423of\u2423art\nis O\nlong B-very\u2423long\n")
    )
    assert entities(align_predictions(predictions, [gold])) == [
        [(0, 1, "work of art"), (2, 3, "very long")]
    ]
    # Gold data that were read from a file of predictions contain the escaped label.
    gold = gold_doc("Hamlet is long", (0, 1, "work\u2423of\u2423art"))
    assert entities(align_predictions(predictions, [gold])) == [
        [(0, 1, "work\u2423of\u2423art"), (2, 3, "very long")]
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "p.txt: the file contains no tokens"),
        ("\n# nothing\n-DOCSTART- O\n", "p.txt: the file contains no tokens"),
        ("\nAda\n", "p.txt:2: only one column: a line must contain a token and"),
        ("Ada x O\nmet O\n", "p.txt:2: 2 columns, but line 1 has 3: correct the line"),
        ("Ada O\n\nmet x O\n", "p.txt:3: 3 columns, but line 1 has 2"),
        ("Ada O\n\nmet 0.9\n", "p.txt:3: tag '0.9' at position 0: .* last column"),
        ("Ada B-\n", "p.txt:1: tag 'B-' at position 0"),
        ("Ada O\nZürich B-LOC\n".encode("latin-1"), "p.txt:2: 'utf-8' codec can't decode"),
        ("Ada O\n".encode("utf-16"), "p.txt:1: 'utf-8' codec can't decode"),
        (b"PK\x03\x04\x14\x00\x00\x00", "p.txt:1: a zero byte: predictions must be text"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, content, message):
    with pytest.raises(CorpusError, match=message):
        read_predictions(write(tmp_path / "p.txt", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "Ada O\nmeets O\nEve O\n",
            "p.txt:2: the token is 'meets', but the token of the gold data is 'met'",
        ),
        (
            "Ada O\n\nEve O\n",
            "p.txt:3: the token is 'Eve', but the token of the gold data is 'met'",
        ),
        (
            "Ada O\nmet O\n\n",
            "p.txt:2: the file ends after 2 tokens. The gold data have 3 tokens, and the next one "
            "is 'Eve'",
        ),
        (
            "-DOCSTART- O\n␣4␣York B-LOC\n",
            "p.txt: the file ends after 0 tokens. .* next one is 'Ada'",
        ),
        ("Ada O\nmet O\nEve O\n. O\n! O", "p.txt:4: extra token '.'. .* after 3 tokens"),
    ],
)
def test_tokens_that_differ_from_the_gold_data_raise(tmp_path, content, message):
    predictions = read_predictions(write(tmp_path / "p.txt", content))
    with pytest.raises(CorpusError, match=message):
        align_predictions(predictions, [gold_doc("Ada met"), gold_doc("Eve")])
