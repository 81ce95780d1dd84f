import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from samples import TEXTS
from tiny_transformer import byte_pairs, save_bert, save_roberta
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import AutoModel, AutoTokenizer

import bigru_tagger.network.transformer
from bigru_tagger.network.transformer import (
    LayerMix,
    TransformerSpec,
    WordTransformer,
    split_windows,
)
from bigru_tagger.network.transformer_loading import PretrainedTransformer
from bigru_tagger.runtime.storage import pack_arrays

WORDS = [text.split() for text in TEXTS]


def load(folder, **settings):
    defaults = {"pooling": "mean", "layers": 1, "window": None, "overlap": 4}
    return PretrainedTransformer(folder, None, **{**defaults, **settings}).load().eval()


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_bert(tmp_path_factory.mktemp("bert"))


class Places(nn.Module):
    """Return each sub-word and its place in the window, times 1, 10, and 100 for three layers."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.windows = []

    def forward(self, input_ids, attention_mask, output_hidden_states, return_dict):
        rows = zip(input_ids, attention_mask, strict=True)
        self.windows += [row[mask == 1].tolist() for row, mask in rows]
        places = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        states = torch.stack([input_ids, places], 2) * self.weight
        layers = (states, 10 * states, 100 * states)
        return SimpleNamespace(
            last_hidden_state=layers[-1], hidden_states=layers if output_hidden_states else None
        )


class Neighbours(Places):
    """Return the sum of the sub-words up to two places away, and whether the window cuts them."""

    def forward(self, input_ids, attention_mask, output_hidden_states, return_dict):
        inside = nn.functional.pad(torch.stack([input_ids, attention_mask], 2), (0, 0, 2, 2))
        return SimpleNamespace(last_hidden_state=inside.unfold(1, 5, 1).sum(3) * self.weight)


VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "aa", "bb", "cd", "##a", "##b"]
CLS, SEP, A, AA, BB, CD, B_ = (
    VOCABULARY.index(name) for name in ("[CLS]", "[SEP]", "a", "aa", "bb", "cd", "##b")
)


def stub(encoder, *, pooling="mean", layers=1, window=64, overlap=0):
    vocabulary = {name: number for number, name in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    spec = TransformerSpec({}, 2, pooling, layers, window, overlap)
    return WordTransformer(encoder, tokenizer, spec).requires_grad_(False)


# --- windows


@st.composite
def texts_to_split(draw):
    size = draw(st.integers(1, 30))
    return draw(st.integers(0, 200)), size, draw(st.integers(0, size - 1))


@given(texts_to_split())
def test_windows_lose_no_sub_word_and_no_context(text):
    n_sub_words, size, overlap = text
    windows = split_windows(*text)
    taken = [i for window in windows for i in range(window.first, window.stop)]
    assert taken == list(range(n_sub_words))
    assert all(0 <= window.begin <= window.end <= n_sub_words for window in windows)
    assert all(window.end - window.begin <= size for window in windows)
    shared = [one.end - other.begin for one, other in itertools.pairwise(windows)]
    assert all(common >= overlap for common in shared)
    for window in windows:
        for i in range(window.first, window.stop):
            assert i - window.begin >= min(overlap // 2, i)
            assert window.end - 1 - i >= min(overlap // 2, n_sub_words - 1 - i)


@given(texts_to_split())
def test_a_sub_word_is_taken_where_it_is_farthest_from_a_cut(text):
    n_sub_words = text[0]
    windows = split_windows(*text)

    def distance(window, i):
        if not window.begin <= i < window.end:
            return -1
        left = i - window.begin if window.begin else n_sub_words
        right = window.end - 1 - i if window.end < n_sub_words else n_sub_words
        return min(left, right)

    for window in windows:
        for i in range(window.first, window.stop):
            assert distance(window, i) == max(distance(other, i) for other in windows)


@given(texts_to_split())
def test_there_are_as_few_windows_as_can_be(text):
    n_sub_words, size, overlap = text
    n_windows = len(split_windows(*text))
    assert (n_windows == 1) == (n_sub_words <= size)
    # One window less could not reach the end with that overlap.
    assert n_windows == 1 or size + (n_windows - 2) * (size - overlap) < n_sub_words


def test_windows_worked_out():
    assert split_windows(5, 5, 2) == [(0, 5, 0, 5)]
    assert split_windows(8, 5, 2) == [(0, 5, 0, 4), (3, 8, 4, 8)]
    assert split_windows(10, 5, 1) == [(0, 5, 0, 3), (2, 7, 3, 6), (5, 10, 6, 10)]
    assert split_windows(0, 5, 1) == [(0, 0, 0, 0)]


# --- from sub-words to words


@pytest.mark.parametrize(
    ("pooling", "sub_word", "place"),
    [("first", AA, 1.0), ("last", B_, 3.0), ("mean", (AA + 2 * B_) / 3, 2.0)],
)
def test_pooling_worked_out(pooling, sub_word, place):
    # The first text is [CLS] aa ##b ##b bb [SEP].
    vectors = stub(Places(), pooling=pooling)([["aabb", " ", "bb"], [], ["\u200b"], ["AA"]])
    expected = [[sub_word, place], [0, 0], [BB, 4], [0, 0], [AA, 1]]
    torch.testing.assert_close(vectors, torch.tensor(expected, dtype=torch.float32) * 100)


def test_windows_worked_out_on_a_text():
    encoder = Places()
    vectors = stub(encoder, pooling="last", window=5, overlap=1)([["aabb", "bb", "aa", "bb"]])
    assert encoder.windows == [
        [CLS, AA, B_, B_, SEP],
        [CLS, B_, B_, BB, SEP],
        [CLS, BB, AA, BB, SEP],
    ]
    # Windows of the sub-words 0 to 2, 1 to 3 and 3 to 5. The vectors of 0 and 1 are taken from the
    # first, that of 2 from the second, and those of 3 to 5 from the third.
    expected = [[B_, 2], [BB, 1], [AA, 2], [BB, 3]]
    torch.testing.assert_close(vectors, torch.tensor(expected, dtype=torch.float32) * 100)


@pytest.mark.parametrize("n_layers", [2, 3])
def test_layers_are_mixed_by_their_weights(n_layers):
    transformer = stub(Places(), pooling="first", layers=n_layers)
    factors = [1.0, 10.0, 100.0][-n_layers:]
    vectors = transformer([["aa"]])
    expected = sum(factors) / n_layers * torch.tensor([[float(AA), 1.0]])
    torch.testing.assert_close(vectors, expected)
    with torch.no_grad():  # softmax of logarithms: 1/6, 2/6, 3/6, or 1/3, 2/3
        transformer.mix.weights.copy_(torch.arange(1.0, n_layers + 1).log())
        transformer.mix.scale.fill_(0.5)
    total = sum(range(1, n_layers + 1))
    mixed = sum(weight * factor for weight, factor in enumerate(factors, start=1)) / total
    torch.testing.assert_close(
        transformer([["aa"]]), 0.5 * mixed * torch.tensor([[float(AA), 1.0]])
    )


def test_gradients_of_the_mix_are_those_of_finite_differences():
    mix = LayerMix(3).double()
    states = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda weights, scale, states: torch.func.functional_call(
            mix, {"weights": weights, "scale": scale}, (states,)
        ),
        (torch.randn(3, dtype=torch.float64, requires_grad=True), mix.scale, states),
    )


@pytest.mark.parametrize("n_words", [3, 6, 12, 40, 101])
def test_windows_do_not_change_words_whose_context_is_not_cut(n_words):
    words = [["a", "bb", "aabb", "cd"][i % 4] for i in range(n_words)]
    whole = stub(Neighbours(), window=1000)([words])
    torch.testing.assert_close(stub(Neighbours(), window=11, overlap=4)([words]), whole)
    without_overlap = stub(Neighbours(), window=11, overlap=0)([words])
    assert torch.equal(without_overlap, whole) == (n_words <= 6)  # of nine sub-words


def test_a_word_longer_than_a_window_is_read_whole():
    encoder = Places()
    transformer = stub(encoder, window=6, overlap=2)
    vectors = transformer([["a" + "b" * 20, "cd"]])
    assert vectors[:, 0].tolist() == pytest.approx([100 * (A + 20 * B_) / 21, 100 * CD])
    assert max(map(len, encoder.windows)) == 6


# --- transformers


def reference(folder, words, before=""):
    """The mean states of words that are tokenized separately, computed with `transformers`."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    parts = [tokenizer(before + word, add_special_tokens=False)["input_ids"] for word in words]
    ids = tokenizer.backend_tokenizer.encode("").ids
    begin, end = ids  # a special one at either side
    with torch.no_grad():
        output = AutoModel.from_pretrained(folder).eval()(
            input_ids=torch.tensor([[begin, *itertools.chain(*parts), end]]),
            output_hidden_states=True,
        )
    sizes = [1, *map(len, parts), 1]
    return [
        torch.stack([part.mean(0) for part in layer[0].split(sizes)[1:-1]])
        for layer in output.hidden_states
    ]


@pytest.mark.parametrize("text", WORDS, ids=" ".join)
def test_a_text_that_fits_into_a_window_agrees_with_transformers(bert, text):
    layers = reference(bert, text)
    torch.testing.assert_close(load(bert)([text]), layers[-1], atol=1e-5, rtol=1e-5)
    mixed = load(bert, layers=4)([text])
    torch.testing.assert_close(mixed, torch.stack(layers).mean(0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("text", WORDS, ids=" ".join)
def test_byte_pairs_have_a_space_before_each_word(tmp_path, text):
    folder = save_roberta(tmp_path)
    transformer = load(folder)
    assert transformer.spec.window == 32
    expected = reference(folder, text, before=" ")[-1]
    torch.testing.assert_close(transformer([text]), expected, atol=1e-5, rtol=1e-5)
    spaced = byte_pairs().backend_tokenizer.encode(" " + " ".join(text)).ids
    split = transformer.split_words(text)
    assert [*split.before, *split.ids, *split.after] == spaced
    assert np.bincount(split.words).tolist() == [
        len(byte_pairs().backend_tokenizer.encode(" " + word).ids) - 2 for word in text
    ]


def test_white_space_has_no_vector_with_byte_pairs_either(tmp_path):
    vectors = load(save_roberta(tmp_path))([["Ada", "\n\n", " ", "wrote", "\u00a0"]])
    assert vectors.any(1).tolist() == [True, False, False, True, False]


def test_vectors_do_not_depend_on_the_batch(bert, monkeypatch):
    transformer = load(bert, layers=2, overlap=10)
    texts = [*WORDS, [], ["\u200b"], " ".join(TEXTS).split() * 3, ["Ada"], [" "]]
    together = transformer(texts)
    alone = torch.cat([transformer([text]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    backwards = transformer(texts[::-1]).split([len(text) for text in texts[::-1]])
    torch.testing.assert_close(torch.cat(backwards[::-1]), alone, atol=1e-5, rtol=1e-5)
    for at_once in (1, 50, 100):
        monkeypatch.setattr(bigru_tagger.network.transformer, "_AT_ONCE", at_once)
        torch.testing.assert_close(transformer(texts), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("at_once", [1, 30, 64, 4096])
def test_the_number_of_sub_words_at_once_is_limited(bert, at_once, monkeypatch):
    monkeypatch.setattr(bigru_tagger.network.transformer, "_AT_ONCE", at_once)
    transformer, sizes = load(bert), []
    forward = transformer.encoder.forward
    monkeypatch.setattr(
        transformer.encoder,
        "forward",
        lambda **batch: sizes.append(batch["input_ids"].shape) or forward(**batch),
    )
    transformer([*WORDS, " ".join(TEXTS).split() * 2])
    assert all(n_rows == 1 or n_rows * longest <= at_once for n_rows, longest in sizes)
    assert (len(sizes) == 1) == (at_once == 4096)


@pytest.mark.parametrize("texts", [[], [[]], [[], []], [[" "]], [["\u200b"], []]])
def test_texts_without_words(bert, texts):
    n_words = sum(map(len, texts))
    vectors = load(bert, layers=2)(texts)
    assert vectors.shape == (n_words, 8)
    assert not vectors.any()


def test_a_frozen_encoder_has_no_dropout_in_training(bert):
    transformer = load(bert, layers=2)
    expected = transformer(WORDS)
    transformer.train()
    assert not torch.equal(transformer(WORDS), expected)
    transformer.freeze()
    transformer.train()
    assert torch.equal(transformer(WORDS), expected)
    trained = {name for name, value in transformer.named_parameters() if value.requires_grad}
    assert trained == {"mix.weights", "mix.scale"}


# --- storage


def pack(tensors, key, spec):
    return pack_arrays({name: tensor.numpy() for name, tensor in tensors.items()}, key, spec)


@pytest.mark.parametrize("save", [save_bert, save_roberta])
def test_bytes_contain_everything(save, tmp_path):
    transformer = load(save(tmp_path), layers=2, window=20, pooling="last")
    with torch.no_grad():
        transformer.mix.weights += torch.tensor([0.5, -0.5])
    again = WordTransformer.from_bytes(transformer.to_bytes()).eval()
    assert again.spec == transformer.spec
    assert torch.equal(again(WORDS), transformer(WORDS))


def test_tied_weights_are_stored(bert):
    transformer = load(bert)
    layers = transformer.encoder.encoder.layer
    layers[0].output.dense.weight = layers[1].output.dense.weight
    again = WordTransformer.from_bytes(transformer.to_bytes()).eval()
    assert torch.equal(again(WORDS), transformer(WORDS))


def damaged(bert):
    transformer = load(bert)
    data = transformer.to_bytes()
    tensors = {name: value.clone() for name, value in transformer.state_dict().items()}
    spec = {**vars(transformer.spec)}
    text = np.frombuffer(transformer.tokenizer.to_str().encode(), dtype=np.uint8).copy()
    key = "bigru_tagger.transformer"
    yield b""
    yield b"nonsense"
    yield data[:-10]
    yield pack(tensors, key, spec)  # no tokenizer
    tensors["tokenizer"] = torch.from_numpy(text)
    yield pack(tensors, "bigru_tagger.network", spec)
    yield pack(tensors, key, {**spec, "more": 1})
    yield pack(tensors, key, {**spec, "encoder": {"model_type": "none such"}})
    yield pack(tensors, key, {**spec, "encoder": {**spec["encoder"], "hidden_size": 16}})
    yield pack({**tensors, "tokenizer": torch.from_numpy(text[:50])}, key, spec)
    del tensors["encoder.embeddings.word_embeddings.weight"]
    yield pack(tensors, key, spec)


def test_other_bytes_are_no_transformer(bert):
    for data in damaged(bert):
        with pytest.raises(ValueError, match="cannot read the saved transformer: "):
            WordTransformer.from_bytes(data)


def test_storage_is_json_and_tensors(bert):
    data = load(bert).to_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    spec = json.loads(header["__metadata__"]["bigru_tagger.transformer"])
    assert (spec["width"], spec["window"], spec["encoder"]["model_type"]) == (8, 32, "bert")
    assert header["tokenizer"]["dtype"] == "U8"
