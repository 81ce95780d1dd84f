from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import TINY, read_examples
from spacy.attrs import IS_ALPHA, IS_TITLE, LENGTH, LOWER, NORM, ORTH, PREFIX, SHAPE, SUFFIX
from spacy.pipeline import Sentencizer
from spacy.strings import StringStore, get_string_id
from spacy.tokens import Doc
from spacy.vectors import BaseVectors, Vectors

from bigru_tagger.embeddings.base import UniqueWords
from bigru_tagger.embeddings.char_cnn import CharCNNEmbed, CharCNNEmbedding
from bigru_tagger.embeddings.char_gru import CharGRUEmbed, CharGRUEmbedding
from bigru_tagger.embeddings.hash import HashEmbedding
from bigru_tagger.embeddings.vectors import VectorsEmbedding
from bigru_tagger.errors import ModelError

VOCAB = spacy.blank("en").vocab
WORD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
TEXTS = st.lists(st.lists(st.sampled_from(["a", "A", "the", " ", "😀"]) | WORD, max_size=6))


def make_words(*texts, vocab=VOCAB):
    return UniqueWords.from_docs([Doc(vocab, words=words) for words in texts])


def read(embedding, words):
    """Return the rows of words; of several arrays, the rows of the first."""
    arrays = embedding.read(words)
    rows = arrays[0] if isinstance(arrays, tuple) else arrays
    return dict(zip(words.strings, rows.tolist(), strict=True))


def read_characters(embedding, words):
    """Read the characters of the words, without padding."""
    rows = read(embedding, words)
    assert all(len(row) == embedding.max_length + 2 for row in rows.values())
    return {word: row[: row.index(2) + 1] for word, row in rows.items()}


def make_attributes(*attrs, fold_digits=False):
    rows = [9] * len(attrs)
    return HashEmbedding(attrs, rows, 4, unknown_rate=0.1, fold_digits=fold_digits)


def make_characters(rows=2048, max_length=20, fold_digits=False):
    return CharCNNEmbedding(
        **{"width": 4, "out_channels": 5, "kernel_size": 3, "rows": rows},
        **{"max_length": max_length, "fold_digits": fold_digits},
    )


@settings(max_examples=50, deadline=None)
@given(TEXTS.filter(bool))
def test_index_maps_the_distinct_words_back_to_the_tokens(texts):
    words = make_words(*texts)
    tokens = [token for text in texts for token in text]
    assert [words.strings[row] for row in words.index] == tokens
    assert sorted(words.strings) == sorted(set(tokens))
    assert words.orths.tolist() == sorted(VOCAB.strings[token] for token in set(tokens))
    assert (words.orths.dtype, words.index.dtype) == (np.uint64, np.int64)


def test_each_distinct_word_is_looked_up_once():
    looked_up = Counter()

    class CountingStrings:
        def __getitem__(self, orth):
            looked_up[VOCAB.strings[orth]] += 1
            return VOCAB.strings[orth]

    known = make_words(["the", "cat", "the"], [], ["cat", "The"])
    words = UniqueWords(
        SimpleNamespace(strings=CountingStrings()), known.orths, known.index, known.lengths
    )
    for _ in range(2):
        make_characters().read(words)
    assert looked_up == {"the": 1, "cat": 1, "The": 1}


@settings(max_examples=50, deadline=None)
@given(TEXTS.filter(bool))
def test_attributes_are_those_of_the_lexemes(texts):
    words = make_words(*texts)
    attrs = [ORTH, NORM, LOWER, PREFIX, SUFFIX, SHAPE, LENGTH, IS_ALPHA, IS_TITLE]
    lexemes = [VOCAB[text] for text in words.strings]
    expected = [
        [
            lexeme.orth,
            lexeme.norm,
            lexeme.lower,
            lexeme.prefix,
            lexeme.suffix,
            VOCAB.strings[lexeme.shape_],
            len(lexeme.text),
            lexeme.is_alpha,
            lexeme.is_title,
        ]
        for lexeme in lexemes
    ]
    values = words.attributes(attrs)
    assert values.dtype == np.uint64
    assert values.tolist() == expected


def test_a_norm_that_the_vocab_was_given_is_read():
    vocab = spacy.blank("en").vocab
    vocab["gonna"].norm_ = "going to"
    values = make_words(["gonna"], vocab=vocab).attributes([NORM, SHAPE])
    assert [vocab.strings[value] for value in values[0].tolist()] == ["going to", "xxxx"]


@pytest.mark.parametrize("attrs", [[NORM], [NORM, SHAPE]])
@pytest.mark.parametrize("texts", [[[]], [[], []]])
def test_empty_docs_have_no_words(texts, attrs):
    words = make_words(*texts)
    assert words.strings == []
    assert words.index.shape == (0,)
    assert words.attributes(attrs).shape == (0, len(attrs))
    assert words.candidates.shape == (0, 4)
    assert words.forms.shape == (0,)
    assert make_attributes("NORM", "SHAPE").read(words).shape == (0, 2)
    assert make_characters().read(words).shape == (0, 22)


def test_attributes_are_read_as_signed_numbers_of_64_bits():
    words = make_words(["The", "cat"])
    values = make_attributes("ORTH", "SHAPE").read(words)
    assert values.dtype == np.int64
    expected = [[VOCAB[text].orth, VOCAB[text].shape] for text in words.strings]
    assert (values.astype(np.uint64)).tolist() == expected


def test_digits_are_folded_where_the_config_says_so():
    words = make_words(["1996-08-31", "1987-12-06", "B2B", "٣", "cat"])
    attrs = ("NORM", "SHAPE", "PREFIX")
    for reader in (make_attributes(*attrs), make_attributes(*attrs, fold_digits=True)):
        values = dict(zip(words.strings, reader.read(words).tolist(), strict=True))
        assert (values["1996-08-31"] == values["1987-12-06"]) is reader.fold_digits
    zeros = make_words(["0000-00-00", "B0B", "0", "cat"])
    expected = dict(zip(zeros.strings, make_attributes(*attrs).read(zeros).tolist(), strict=True))
    folded = {"1996-08-31": "0000-00-00", "B2B": "B0B", "٣": "0", "cat": "cat"}
    assert {text: values[text] for text in folded} == {
        text: expected[zero] for text, zero in folded.items()
    }
    characters = make_characters(fold_digits=True).read(words)[:, 1:4] - 3
    by_word = dict(zip(words.strings, characters.tolist(), strict=True))
    assert by_word["B2B"] == [ord("B"), ord("0"), ord("B")]
    assert by_word["cat"] == [ord("c"), ord("a"), ord("t")]


@pytest.mark.parametrize(
    ("attrs", "rows", "width", "rate", "named"),
    [
        (["NORM", "NROM"], [5, 5], 4, 0.1, r"'attrs'.*\['NROM'\]"),
        ([""], [5], 4, 0.1, "'attrs'"),
        ([], [], 4, 0.1, "'attrs'"),
        (["POS"], [5], 4, 0.1, r"'attrs'.*\['POS'\]"),  # of the token: always empty here
        (["IDX"], [5], 4, 0.1, r"'attrs'.*\['IDX'\]"),  # of the token: would depend on the batch
        (["NORM", "SHAPE"], [5], 4, 0.1, "'rows'.*"),
        (["NORM"], [0], 4, 0.1, "'rows'.*"),
        (["NORM"], [5], 0, 0.1, "'width'.* width = 0"),
        (["NORM"], [5], 4, 1.0, "'unknown_rate'"),
    ],
)
def test_bad_settings_of_hashed_attributes_are_named(attrs, rows, width, rate, named):
    with pytest.raises(ValueError, match=named):
        HashEmbedding(attrs, rows, width, unknown_rate=rate, fold_digits=False)


@pytest.mark.parametrize("attr", ["ORTH", "NORM", "LOWER", "SHAPE", "LENGTH", "IS_ALPHA"])
def test_lexical_attributes_are_accepted(attr):
    spec = make_attributes(attr).network_spec(VOCAB)
    assert spec == {"kind": "hash", "rows": [9], "width": 4, "unknown_rate": 0.1}


def test_characters_stand_between_marks_with_zeros_behind():
    words = make_words(["ab", "é", "\n\n\n"], ["Ж😀"])
    assert make_characters().read(words).shape == (4, 22)
    assert read_characters(make_characters(), words) == {
        "ab": [1, 97 + 3, 98 + 3, 2],
        "é": [1, 233 + 3, 2],
        "\n\n\n": [1, 10 + 3, 10 + 3, 10 + 3, 2],
        # 1046 has a row of its own, 128512 = 62 * 2048 + 1536 shares one
        "Ж😀": [1, 1046 + 3, 1536 + 3, 2],
    }


def test_code_points_beyond_the_table_share_its_rows():
    assert read_characters(make_characters(rows=100), make_words(["caé"])) == {
        "caé": [1, 99 + 3, 97 + 3, 33 + 3, 2]
    }


@pytest.mark.parametrize(
    ("max_length", "kept"), [(2, "ah"), (3, "agh"), (5, "abfgh"), (7, "abcefgh"), (8, "abcdefgh")]
)
def test_of_a_long_word_the_first_and_the_last_half_are_read(max_length, kept):
    rows = read_characters(make_characters(max_length=max_length), make_words(["abcdefgh"]))
    assert rows == {"abcdefgh": [1, *(ord(character) + 3 for character in kept), 2]}


def test_lone_surrogates_are_characters_like_others():
    # spaCy refuses such words, but a reader of broken text should not be what fails
    words = SimpleNamespace(strings=["\ud800x", "\udfff"])
    assert read_characters(make_characters(), words) == {
        "\ud800x": [1, 3, 120 + 3, 2],
        "\udfff": [1, 2047 + 3, 2],
    }


@settings(max_examples=50, deadline=None)
@given(TEXTS.filter(bool), st.integers(1, 3000), st.integers(2, 5))
def test_characters_of_any_word_follow_the_rule(texts, rows, max_length):
    words = make_words(*texts)
    table = make_characters(rows, max_length).read(words)
    assert table.dtype == np.int64
    for text, row in zip(words.strings, table.tolist(), strict=True):
        half = max_length // 2
        kept = text if len(text) <= max_length else text[:half] + text[-(max_length - half) :]
        expected = [1, *(ord(character) % rows + 3 for character in kept), 2]
        assert row == expected + [0] * (table.shape[1] - len(expected))


def test_spec_of_characters_counts_the_marks_and_the_padding():
    assert make_characters(rows=100).network_spec(VOCAB) == {
        "kind": "char_cnn",
        "rows": 103,
        "width": 4,
        "out_channels": 5,
        "kernel_size": 3,
    }


def test_a_gru_over_characters_reads_the_same_as_a_convolution():
    states = CharGRUEmbedding(width=4, hidden=6, rows=2048, max_length=20, fold_digits=False)
    words = make_words(["ab", "é", "\n\n\n"], ["Ж😀"])
    np.testing.assert_array_equal(states.read(words), make_characters().read(words))
    spec = {"kind": "char_gru", "rows": 2051, "width": 4, "hidden": 6}
    assert states.network_spec(VOCAB) == spec


CHARACTERS = {"width": 4, "rows": 100, "max_length": 20, "fold_digits": False}
FILTERS, STATES = {"filters": 5, "window": 3}, {"hidden": 6}


@pytest.mark.parametrize(
    ("embedding", "settings", "setting", "value"),
    [
        (CharCNNEmbed, FILTERS, "width", 0),
        (CharCNNEmbed, FILTERS, "filters", 0),
        (CharCNNEmbed, FILTERS, "rows", 0),
        (CharCNNEmbed, FILTERS, "window", 0),
        (CharCNNEmbed, FILTERS, "window", 4),
        (CharCNNEmbed, FILTERS, "max_length", 1),
        (CharGRUEmbed, STATES, "width", 0),
        (CharGRUEmbed, STATES, "rows", 0),
        (CharGRUEmbed, STATES, "max_length", 1),
        (CharGRUEmbed, STATES, "hidden", 0),
    ],
)
def test_bad_settings_of_characters_are_named(embedding, settings, setting, value):
    with pytest.raises(ValueError, match=f"'{setting}'.*{setting} = {value}"):
        embedding(**{**CHARACTERS, **settings, setting: value})


@settings(max_examples=50, deadline=None)
@given(TEXTS.filter(bool))
def test_candidates_are_forms_of_the_word(texts):
    words = make_words(*texts)
    assert words.candidates.dtype == np.uint64
    for text, candidates in zip(words.strings, words.candidates.tolist(), strict=True):
        lower = text.lower()
        zeros = "".join("0" if character.isdecimal() else character for character in lower)
        forms = [text, lower, lower.capitalize(), zeros]
        assert candidates == [get_string_id(form) for form in forms]


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("LONDON", ["LONDON", "london", "London", "london"]),
        ("McDonald", ["McDonald", "mcdonald", "Mcdonald", "mcdonald"]),
        ("B2B-٣", ["B2B-٣", "b2b-٣", "B2b-٣", "b0b-0"]),
        ("NOUN", ["NOUN", "noun", "Noun", "noun"]),  # spaCy has a number of its own for it
    ],
)
def test_candidates_of_a_word(text, forms):
    words = make_words([text])
    strings = StringStore(forms)
    assert words.candidates.tolist() == [[strings[form] for form in forms]]


def test_candidates_are_not_added_to_the_string_store():
    vocab = spacy.blank("en").vocab
    words = make_words(["Zyxwv"], vocab=vocab)
    before = len(vocab.strings)
    assert words.candidates.shape == (1, 4)
    assert len(vocab.strings) == before


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("He left . She stayed .", [0, 3]),
        # Punctuation after the full stop belongs to the sentence, even if it opens the next one.
        ("He said : ' No ! ' She left ?!", [0, 7]),
        ("Wait . . . what ?", [0, 4]),
        (". a", [0, 1]),
        ("a ( b . )", [0]),
        ("Mr. Smith costs 1.5 , they say", [0]),
        ("他 走 了 。 她 留下 。", [0, 4]),
        ("वह गया । वह रुकी", [0, 3]),
        ("Title \n\n Text goes \n on", [0, 2]),
        ("Title . \n\n Text", [0, 3]),
    ],
)
def test_sentence_starts_are_guessed(tokens, expected):
    words = UniqueWords.from_docs([Doc(VOCAB, words=tokens.split(" "))])
    starts = words.sentence_starts
    starts[0] = True
    assert np.flatnonzero(starts).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", ".", "!", "。", ",", '"', "("]), min_size=1))
def test_sentence_starts_are_those_of_spacys_sentencizer(tokens):
    starts = UniqueWords.from_docs([Doc(VOCAB, words=tokens)]).sentence_starts
    expected = Sentencizer()(Doc(VOCAB, words=tokens))
    assert starts[1:].tolist() == [token.is_sent_start for token in expected][1:]


BOUNDARIES = st.sampled_from(["a", "B", ".", "!", "。", "؟", ",", '"', "(", ")", "…", "\n\n", " "])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(BOUNDARIES, max_size=6), min_size=1, max_size=5))
def test_sentence_starts_do_not_depend_on_the_docs_before(texts):
    docs = [Doc(VOCAB, words=words, spaces=[False] * len(words)) for words in texts]
    alone = [UniqueWords.from_docs([doc]).sentence_starts.tolist() for doc in docs]
    together = UniqueWords.from_docs(docs).sentence_starts.tolist()
    assert together == [start for starts in alone for start in starts]


def make_vocab(keys=None, data=None, **settings):
    vocab = spacy.blank("en").vocab
    if data is None:
        data = np.arange(1, 2 * len(keys) + 1, dtype="float32").reshape(len(keys), 2)
    vocab.vectors = Vectors(strings=vocab.strings, data=data, keys=keys, **settings)
    return vocab


@pytest.mark.parametrize("fallback", [True, False])
def test_vectors_keyed_by_the_text(fallback):
    vocab = make_vocab(["the", "Apple", "apple"])
    words = make_words(["the", "Apple", "APPLE"], ["THE", "zebra", "the"], vocab=vocab)
    assert read(VectorsEmbedding(fallback, 0), words) == {
        "the": [1.0, 2.0],
        "Apple": [3.0, 4.0],
        "APPLE": [5.0, 6.0] if fallback else [0.0, 0.0],
        "THE": [1.0, 2.0] if fallback else [0.0, 0.0],
        "zebra": [0.0, 0.0],
    }


@pytest.mark.parametrize("fallback", [True, False])
def test_vectors_of_other_forms_stand_in(fallback):
    vocab = make_vocab(["London", "00-00", "Un", "un"])
    words = make_words(["LONDON", "31-08", "UN", "Un"], vocab=vocab)
    none = [0.0, 0.0]
    assert read(VectorsEmbedding(fallback, 0), words) == {
        "LONDON": [1.0, 2.0] if fallback else none,
        "31-08": [3.0, 4.0] if fallback else none,
        "UN": [7.0, 8.0] if fallback else none,  # in lower case rather than capitalised
        "Un": [5.0, 6.0],
    }


@pytest.mark.parametrize("fallback", [True, False])
@pytest.mark.parametrize(
    ("attr", "keys", "found"),
    [("LOWER", ["the", "Apple"], {"the", "The"}), ("SHAPE", ["xxx", "apple"], {"the"})],
)
def test_vectors_keyed_by_another_attribute(attr, keys, found, fallback):
    vocab = make_vocab(keys, attr=attr)
    rows = read(VectorsEmbedding(fallback, 0), make_words(["the", "The", "Apple"], vocab=vocab))
    assert rows == {
        word: [1.0, 2.0] if word in found else [0.0, 0.0] for word in ("the", "The", "Apple")
    }


def test_floret_vectors_are_those_of_the_vocab():
    data = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    vocab = make_vocab(data=data, mode="floret", minn=2, maxn=3, hash_count=2)
    texts = ["unseen", "words", "Ünseen", "😀", "  "]
    for text, row in read(
        VectorsEmbedding(fallback=True, correction_rows=0), make_words(texts, vocab=vocab)
    ).items():
        np.testing.assert_array_equal(row, vocab[text].vector)
        assert any(row)


def test_vectors_of_a_class_of_ones_own_are_asked_in_a_batch():
    class Lengths(BaseVectors):
        vectors_length = 1

        def __init__(self, strings):
            self.strings = strings

        def __len__(self):
            return 1

        def get_batch(self, keys):
            return np.array([[len(self.strings[key])] for key in keys], dtype="float64")

    vocab = spacy.blank("en").vocab
    vocab.vectors = Lengths(vocab.strings)
    words = make_words(["the", "zebra"], vocab=vocab)
    assert read(VectorsEmbedding(fallback=True, correction_rows=0), words) == {
        "the": [3.0],
        "zebra": [5.0],
    }
    assert VectorsEmbedding(fallback=True, correction_rows=0).read(words)[0].dtype == np.float32


@pytest.mark.parametrize("words", [["the", "zebra"], []])
@pytest.mark.parametrize(
    ("vocab", "width"),
    [
        (spacy.blank("en").vocab, 0),
        (make_vocab(["the"]), 2),
        (make_vocab(["the"], np.ones((1, 2), dtype="float16")), 2),
        (make_vocab(data=np.ones((9, 3), "float32"), mode="floret", minn=1, maxn=2), 3),
    ],
    ids=["none", "table", "half precision", "floret"],
)
def test_vectors_are_float32_of_the_width_in_the_spec(vocab, width, words):
    for fallback in (True, False):
        vectors, _ = VectorsEmbedding(fallback, 0).read(make_words(words, vocab=vocab))
        assert (vectors.dtype, vectors.shape) == (np.float32, (len(words), width))
        spec = VectorsEmbedding(fallback, 0).network_spec(vocab)
        assert spec == {"kind": "vectors", "width": width, "correction_rows": 0}


@settings(max_examples=50, deadline=None)
@given(TEXTS.filter(bool))
def test_vectors_come_with_the_hashes_of_lower_cased_forms(texts):
    words = make_words(*texts)
    _, forms = VectorsEmbedding(fallback=True, correction_rows=5).read(words)
    assert (forms.dtype, forms.shape) == (np.int64, (len(words.strings), 1))
    assert forms.view(np.uint64)[:, 0].tolist() == [
        StringStore([text.lower()])[text.lower()] for text in words.strings
    ]


def test_bad_settings_of_vectors_are_named():
    with pytest.raises(ValueError, match=r"VectorsEmbed: 'correction_rows' .* 0; got -3"):
        VectorsEmbedding(fallback=True, correction_rows=-3)


def test_a_subset_of_the_words_reads_the_same():
    words = make_words(["the", "cat", "sat", "Cats", "the"])
    some = UniqueWords.from_orths(words.vocab, words.orths[[1, 3]])
    assert some.strings == [words.strings[1], words.strings[3]]
    assert len(some.index) == 0
    embedding = make_attributes("NORM", "SHAPE")
    assert np.array_equal(embedding.read(some), embedding.read(words)[[1, 3]])


_VECTORS = {"@misc": "bigru_tagger.VectorsEmbed.v1", "fallback": True, "correction_rows": 0}


def test_vectors_of_another_width_than_in_training_are_an_error():
    model = {**TINY, "embed": {"vectors": _VECTORS}}
    nlp = spacy.blank("en")
    nlp.vocab.set_vector("Ada", np.ones(3, dtype=np.float32))
    nlp.add_pipe("bigru_ner", config={"model": model})
    nlp.initialize(lambda: read_examples(nlp.vocab))
    nlp("Ada")
    other = spacy.blank("en")
    with pytest.warns(UserWarning, match="W113"):
        other.add_pipe("bigru_ner", source=nlp)
    with pytest.raises(ModelError, match="have 0 dimensions, but the network was trained with 3"):
        other("Ada")
