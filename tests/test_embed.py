import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bigru_tagger.embed import (
    EMBEDDINGS,
    CharacterCNN,
    DenseEmbedding,
    HashEmbedding,
    VectorEmbedding,
)

# What `Characters.read` gives: 1, the characters, 2.
CHARACTERS = st.lists(
    st.lists(st.integers(3, 11), max_size=6).map(lambda ids: [1, *ids, 2]), min_size=1, max_size=4
)


def pad(words, n_characters):
    return torch.tensor([word + [0] * (n_characters - len(word)) for word in words])


def make_cnn(window):
    torch.manual_seed(window)
    return CharacterCNN(rows=12, width=4, filters=5, window=window)


def convolve(cnn, word, window):
    """Convolve one word and take the maximum, step by step."""
    table, filters, bias = (
        parameter.detach().double().numpy()
        for parameter in (cnn.table.weight, cnn.convolution.weight, cnn.convolution.bias)
    )
    half = window // 2
    beyond = np.zeros((half, table.shape[1]))
    vectors = np.concatenate([beyond, table[word], beyond])
    features = [
        [
            bias[f] + sum(filters[f, :, k] @ vectors[position + k] for k in range(window))
            for f in range(len(bias))
        ]
        for position in range(len(word))
    ]
    return np.max(features, axis=0)


def hash_by_hand(value, attribute, embedding, first_row, n_rows):
    """Hash as `HashEmbedding` says it does, in Python's integers."""
    rows, bits = [], []
    for multiplier in embedding.multipliers[attribute].tolist():
        product = value * multiplier % 2**64
        rows.append((product >> 33) % n_rows + first_row)
        bits.append(product >> 44)
    return rows, bits


@given(value=st.integers(-(2**63), 2**63 - 1))
def test_hashes_are_the_high_bits_of_products(value):
    embedding = HashEmbedding([11, 7], 2, unknown_rate=0.0)
    rows, bits = embedding.hash(torch.tensor([[value, value]]))
    by_hand = [hash_by_hand(value, 0, embedding, 0, 11), hash_by_hand(value, 1, embedding, 11, 7)]
    assert rows[0].tolist() == [hashed for hashed, _ in by_hand]
    assert bits[0].tolist() == [hashed for _, hashed in by_hand]


def test_hashes_do_not_change():
    """Saved models depend on these numbers."""
    rows, bits = HashEmbedding([1000], 2, unknown_rate=0.0).hash(torch.tensor([[1234567890123]]))
    assert rows.tolist() == [[[55, 627, 533, 386]]]
    assert bits.tolist() == [[[723353, 595555, 39603, 132652]]]


def test_hash_embedding_sums_four_rows_of_each_attribute():
    embedding = HashEmbedding([4, 3], 2, unknown_rate=0.0).train()
    values = torch.tensor([[5, 9], [6, 9]])
    rows, _ = embedding.hash(values)
    table = embedding.table.weight.tolist()
    expected = [
        [sum(table[row][unit] for row in four) for four in word for unit in range(2)]
        for word in rows.tolist()
    ]
    np.testing.assert_allclose(embedding(values).tolist(), expected, atol=1e-6)
    assert embedding.width == 4


def test_values_that_training_never_saw_share_a_vector():
    embedding = HashEmbedding([50, 50], 2, unknown_rate=0.0)
    embedding.unknown.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    values, other = torch.tensor([[5, 9]]), torch.tensor([[5, 10]])
    assert embedding.eval()(values).tolist() == [[1.0, 2.0, 3.0, 4.0]]
    trained = embedding.train()(values)[0].tolist()
    assert embedding.eval()(values)[0].tolist() == trained
    assert embedding(other)[0].tolist() == [*trained[:2], 3.0, 4.0]


def test_prediction_does_not_make_values_known():
    embedding = HashEmbedding([50], 2, unknown_rate=0.0).eval()
    embedding(torch.tensor([[5]]))
    assert not embedding.seen.any()


def test_some_values_count_as_unknown_in_training():
    torch.manual_seed(0)
    embedding = HashEmbedding([50], 1, unknown_rate=0.25).train()
    embedding.unknown.data.fill_(100.0)
    output = embedding(torch.full((4000, 1), 7))
    assert (output == 100.0).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_the_filter_survives_storage():
    embedding = HashEmbedding([50], 2, unknown_rate=0.0).train()
    values = torch.tensor([[5], [9]])
    embedding(values)
    other = HashEmbedding([50], 2, unknown_rate=0.0)
    other.load_state_dict(embedding.state_dict())
    assert torch.equal(other.eval()(values), embedding.eval()(values))


def test_hash_embedding_starts_with_the_variance_of_an_ordinary_table():
    torch.manual_seed(0)
    values = torch.randint(2**62, (1000, 1))
    vectors = HashEmbedding([5000], 64, unknown_rate=0.0).train()(values)
    assert vectors.std().item() == pytest.approx(64**-0.5, rel=0.02)


@pytest.mark.parametrize("window", [1, 3, 5])
@settings(max_examples=25, deadline=None)
@given(words=CHARACTERS)
def test_character_cnn_is_the_maximum_of_a_convolution(window, words):
    cnn = make_cnn(window)
    vectors = cnn(pad(words, max(map(len, words)))).detach().numpy()
    expected = [convolve(cnn, word, window) for word in words]
    np.testing.assert_allclose(vectors, expected, atol=1e-5, rtol=0)


@settings(max_examples=25, deadline=None)
@given(words=CHARACTERS, further=st.integers(1, 10))
def test_character_cnn_does_not_depend_on_padding(words, further):
    cnn, longest = make_cnn(3), max(map(len, words))
    batched, padded = cnn(pad(words, longest)), cnn(pad(words, longest + further))
    alone = torch.cat([cnn(torch.tensor([word])) for word in words])
    torch.testing.assert_close(padded, batched, atol=1e-6, rtol=0)
    torch.testing.assert_close(alone, batched, atol=1e-6, rtol=0)


def test_padding_row_of_the_character_table_is_zero_and_gets_no_gradient():
    cnn = make_cnn(3)
    cnn(pad([[1, 5, 2], [1, 5, 6, 7, 2]], 9)).sum().backward()
    assert not cnn.table.weight[0].any()
    assert not cnn.table.weight.grad[0].any()
    assert cnn.table.weight.grad[5].any()


def test_unknown_vector_stands_for_rows_of_zeros_and_no_others():
    embedding = VectorEmbedding(3)
    nn.init.constant_(embedding.unknown, 9.0)
    vectors = torch.tensor(
        [[1.0, -1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1e-30, 0.0], [-0.0, 0.0, -0.0]]
    )
    output = embedding(vectors)
    unknown = torch.full((3,), 9.0)
    assert torch.equal(output, torch.stack([vectors[0], unknown, vectors[2], unknown]))
    output.sum().backward()
    assert embedding.unknown.grad.tolist() == [2.0, 2.0, 2.0]


def test_unknown_vector_starts_at_zero():
    assert not VectorEmbedding(4)(torch.zeros(2, 4)).any()


def test_dense_embedding_passes_vectors_on():
    vectors = torch.randn(3, 4)
    assert DenseEmbedding(4)(vectors) is vectors


@pytest.mark.parametrize(
    ("kind", "arguments", "shape", "width"),
    [
        ("hash", {"rows": [5, 5], "width": 3, "unknown_rate": 0.1}, (0, 2), 6),
        ("characters", {"rows": 9, "width": 3, "filters": 4, "window": 3}, (0, 2), 4),
        ("vectors", {"width": 3}, (0, 3), 3),
        ("vectors", {"width": 0}, (5, 0), 0),
        ("dense", {"width": 3}, (0, 3), 3),
    ],
)
def test_no_words_and_no_width_are_embedded(kind, arguments, shape, width):
    dtype = torch.int64 if kind in ("hash", "characters") else torch.float32
    embedding = EMBEDDINGS[kind](**arguments)
    assert embedding(torch.zeros(shape, dtype=dtype)).shape == (shape[0], width)
    assert embedding.width == width


def test_every_kind_of_embedding_is_tested_here():
    assert set(EMBEDDINGS.values()) == {
        HashEmbedding,
        CharacterCNN,
        VectorEmbedding,
        DenseEmbedding,
    }
