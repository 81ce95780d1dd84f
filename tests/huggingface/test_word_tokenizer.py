import json

import numpy as np
import pytest
import spacy
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc

from bigru_tagger.errors import ModelError
from bigru_tagger.huggingface.word_tokenizer import (
    WordTokenizer,
    decode_characters,
    encode_characters,
)

NLP = spacy.blank("en")
TEXT = "Ada  isn't here\n"
TOKENS = ["Ada", " ", "is", "n't", "here", "\n"]


@pytest.fixture(scope="module")
def tokenizer():
    return WordTokenizer()


@given(words=st.lists(st.text(min_size=1)), padding=st.integers(0, 3))
def test_words_are_restored_from_their_characters(words, padding):
    numbers = np.array([0] * padding + encode_characters(words) + [0] * padding, dtype=np.int64)
    assert decode_characters(numbers) == words


def test_characters_are_code_points_plus_one_with_a_zero_after_each_word():
    assert encode_characters(["ab", "\x00", "😀"]) == [98, 99, 0, 1, 0, 0x1F601, 0]


@settings(max_examples=75, deadline=None)
@given(text=st.text(max_size=40))
@example(text="")
@example(text="  \n ")
@example(text="Ana 👩‍👩‍👧  \u200b\x00don't U.S. \ufeff https://a.b/c?d=e")
def test_tokens_and_offsets_are_spacys(tokenizer, text):
    doc = NLP(text)
    encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    words = [token.text for token in doc]
    assert encoded["offset_mapping"] == [(t.idx, t.idx + len(t)) for t in doc]
    assert decode_characters(np.array(encoded["characters"], dtype=np.int64)) == words
    assert encoded["attention_mask"] == [1] * len(doc)
    assert encoded["special_tokens_mask"] == [0] * len(doc)
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"]) == words
    assert encoded.tokens() == words == tokenizer.tokenize(text)
    assert encoded.word_ids() == list(range(len(doc)))


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_is_padded_on_either_side(tokenizer, side):
    batch = tokenizer(
        [TEXT, "", "Ada"],
        padding=True,
        padding_side=side,
        return_tensors="pt",
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    one = slice(5, 6) if side == "left" else slice(0, 1)
    mask = torch.zeros(3, 6, dtype=torch.int64)
    mask[0], mask[2, one] = 1, 1
    assert torch.equal(batch["attention_mask"], mask)
    assert torch.equal(batch["special_tokens_mask"], 1 - mask)
    assert torch.equal(batch["input_ids"] == tokenizer.pad_token_id, mask == 0)
    assert batch["offset_mapping"][2, one].tolist() == [[0, 3]]
    assert not batch["offset_mapping"][mask == 0].any()
    assert [decode_characters(row) for row in batch["characters"].numpy()] == [TOKENS, [], ["Ada"]]
    expected = [None] * 6
    expected[one] = [0]
    assert batch.word_ids(2) == expected
    assert batch.word_ids(1) == [None] * 6
    assert all(values.dtype == torch.int64 for values in batch.values())


def test_no_text_makes_tensors_of_numbers(tokenizer):
    batch = tokenizer("", return_tensors="pt", return_offsets_mapping=True)
    assert {name: tuple(values.shape) for name, values in batch.items()} == {
        "input_ids": (1, 0),
        "attention_mask": (1, 0),
        "characters": (1, 0),
        "offset_mapping": (1, 0, 2),
    }
    assert all(values.dtype == torch.int64 for values in batch.values())
    padded = tokenizer.pad([dict(tokenizer("")), dict(tokenizer(""))], return_tensors="pt")
    assert all(values.dtype == torch.int64 for values in padded.values())


def test_all_columns_of_dataset_rows_are_padded(tokenizer):
    rows = [
        {**tokenizer(["Ada", "slept"], is_split_into_words=True), "sentence_starts": [1, 0]},
        {**tokenizer(["Well"], is_split_into_words=True), "sentence_starts": [1]},
    ]
    batch = tokenizer.pad(rows, padding=True, pad_to_multiple_of=3, return_tensors="pt")
    assert batch["sentence_starts"].tolist() == [[1, 0, 0], [1, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 0, 0]]
    assert decode_characters(batch["characters"][1].numpy()) == ["Well"]


def test_given_words_are_not_split(tokenizer):
    encoded = tokenizer(
        ["isn't", " ", "New York"], is_split_into_words=True, return_offsets_mapping=True
    )
    assert encoded.tokens() == ["isn't", " ", "New York"]
    assert encoded["offset_mapping"] == [
        (0, 5),
        (0, 1),
        (0, 8),
    ]  # relative to each word, as in other tokenizers
    several = tokenizer([["a"], ["b", "c"]], is_split_into_words=True)
    assert [len(row) for row in several["input_ids"]] == [1, 2]
    with pytest.raises(ValueError, match="none of them empty"):
        tokenizer(["a", ""], is_split_into_words=True)


@pytest.mark.parametrize(("side", "kept"), [("right", ["Ada", "saw"]), ("left", ["saw", "Eve"])])
def test_texts_are_truncated_only_on_request(tokenizer, monkeypatch, side, kept):
    monkeypatch.setattr(tokenizer, "truncation_side", side)
    text = "Ada saw Eve"
    assert tokenizer(text, max_length=2, truncation=True).tokens() == kept
    assert len(tokenizer(text, truncation=False)["input_ids"]) == 3
    long = "a " * 3000
    assert len(tokenizer(long, truncation=True)["input_ids"]) == 3000


def test_ids_are_words(tokenizer):
    ids = tokenizer("Ada saw Eve")["input_ids"]
    assert tokenizer.decode(ids) == "Ada saw Eve"
    assert tokenizer.decode([*ids, 0], skip_special_tokens=True) == "Ada saw Eve"
    assert tokenizer.convert_tokens_to_ids(["Ada", "[PAD]"]) == [ids[0], 0]
    assert tokenizer.encode("Ada saw Eve") == ids
    with pytest.raises(KeyError):
        WordTokenizer().convert_ids_to_tokens(ids[0])
    assert tokenizer.get_vocab()["Ada"] == ids[0]
    assert len(tokenizer) == tokenizer.vocab_size > 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": "a", "text_pair": "b"},
        {"text": "a", "return_overflowing_tokens": True},
        {"text": ["a", "b c"], "return_tensors": "pt"},
        {"text": "a", "is_split_into_words": True},
    ],
)
def test_unsupported_arguments_are_refused(tokenizer, wrong):
    with pytest.raises(ValueError, match=r"pairs|overlapping|padding|lists of words"):
        tokenizer(**wrong)


def test_custom_rules_are_kept(tmp_path):
    nlp = spacy.blank("de")
    nlp.tokenizer.add_special_case("Adagio", [{"ORTH": "Ada"}, {"ORTH": "gio"}])
    nlp.tokenizer.infix_finditer = None
    text = "Adagio, z.B. links/rechts"
    words = [token.text for token in nlp(text)]
    assert words[:2] == ["Ada", "gio"]
    tokenizer = WordTokenizer.from_spacy(nlp)
    assert tokenizer.tokenize(text) == words
    tokenizer.save_pretrained(tmp_path)
    loaded = WordTokenizer.from_pretrained(tmp_path)
    assert loaded.tokenize(text) == words
    assert (loaded.lang, loaded.model_max_length) == ("de", tokenizer.model_max_length)
    loaded.save_pretrained(tmp_path / "again")
    rules = [folder / "spacy_tokenizer" for folder in (tmp_path, tmp_path / "again")]
    assert rules[0].read_bytes() == rules[1].read_bytes()


def test_a_damaged_file_is_refused(tmp_path):
    WordTokenizer().save_pretrained(tmp_path)
    (tmp_path / "spacy_tokenizer").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="the tokenizer has changed since it was saved"):
        WordTokenizer.from_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf8"))
    del config["checksum"]  # as in a model of version 0.2
    path.write_text(json.dumps(config), encoding="utf8")
    with pytest.raises(ModelError, match="not a file of a spaCy tokenizer"):
        WordTokenizer.from_pretrained(tmp_path)


def test_a_tokenizer_that_cannot_be_saved_is_refused():
    nlp = spacy.blank("en")
    nlp.tokenizer = lambda text: Doc(nlp.vocab, words=text.split())
    with pytest.raises(ValueError, match="a function, cannot be saved"):
        WordTokenizer.from_spacy(nlp)
