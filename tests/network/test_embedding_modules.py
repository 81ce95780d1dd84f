import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bigru_tagger.embeddings.resources import fold, phrase_hashes
from bigru_tagger.network.embeddings.base import build_module
from bigru_tagger.network.embeddings.char_cnn import CharCNNModule
from bigru_tagger.network.embeddings.char_gru import CharGRUModule
from bigru_tagger.network.embeddings.clusters import ClusterModule
from bigru_tagger.network.embeddings.gazetteer import GazetteerModule
from bigru_tagger.network.embeddings.hash import HashModule
from bigru_tagger.network.embeddings.lookup import look_up
from bigru_tagger.network.embeddings.tok2vec import Tok2VecModule
from bigru_tagger.network.embeddings.vector_file import VectorFileModule
from bigru_tagger.network.embeddings.vectors import VectorsModule
from bigru_tagger.network.layout import Layout

# What `CharacterEmbedding.read` returns: 1, the characters, 2.
CHARACTERS = st.lists(
    st.lists(st.integers(3, 11), max_size=6).map(lambda ids: [1, *ids, 2]), min_size=1, max_size=4
)
# What an embedding without corrections reads of two or four words, or any number.
NO_FORMS = torch.zeros(1, 1, dtype=torch.int64)
# Constants, of the code rather than of the model.
NOT_STORED = {f"correction.{name}" for name in ("unknown", "multipliers", "sizes", "offsets")}


def pad(words, n_characters):
    return torch.tensor([word + [0] * (n_characters - len(word)) for word in words])


def make_cnn(window):
    torch.manual_seed(window)
    return CharCNNModule(rows=12, width=4, out_channels=5, kernel_size=window)


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
    """Compute the documented hash of `HashModule` with Python's integers."""
    rows, bits = [], []
    for multiplier in embedding.multipliers[attribute].tolist():
        product = value * multiplier % 2**64
        rows.append((product >> 33) % n_rows + first_row)
        bits.append(product >> 44)
    return rows, bits


@given(value=st.integers(-(2**63), 2**63 - 1))
def test_hashes_are_the_high_bits_of_products(value):
    embedding = HashModule([11, 7], 2, unknown_rate=0.0)
    rows, bits = embedding.hash(torch.tensor([[value, value]]))
    by_hand = [hash_by_hand(value, 0, embedding, 0, 11), hash_by_hand(value, 1, embedding, 11, 7)]
    assert rows[0].tolist() == [hashed for hashed, _ in by_hand]
    assert bits[0].tolist() == [hashed for _, hashed in by_hand]


def test_hashes_do_not_change():
    """Saved models depend on these numbers."""
    rows, bits = HashModule([1000], 2, unknown_rate=0.0).hash(torch.tensor([[1234567890123]]))
    assert rows.tolist() == [[[55, 627, 533, 386]]]
    assert bits.tolist() == [[[723353, 595555, 39603, 132652]]]


def test_hash_embedding_sums_four_rows_of_each_attribute():
    embedding = HashModule([4, 3], 2, unknown_rate=0.0).train()
    values = torch.tensor([[5, 9], [6, 9]])
    rows, _ = embedding.hash(values)
    table = embedding.table.weight.tolist()
    expected = [
        [sum(table[row][unit] for row in four) for four in word for unit in range(2)]
        for word in rows.tolist()
    ]
    np.testing.assert_allclose(embedding(values).tolist(), expected, atol=1e-6)
    assert embedding.width == 4


def test_values_unknown_to_training_share_a_vector():
    embedding = HashModule([50, 50], 2, unknown_rate=0.0)
    embedding.unknown.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    values, other = torch.tensor([[5, 9]]), torch.tensor([[5, 10]])
    assert embedding.eval()(values).tolist() == [[1.0, 2.0, 3.0, 4.0]]
    trained = embedding.train()(values)[0].tolist()
    assert embedding.eval()(values)[0].tolist() == trained
    assert embedding(other)[0].tolist() == [*trained[:2], 3.0, 4.0]


def test_prediction_does_not_make_values_known():
    embedding = HashModule([50], 2, unknown_rate=0.0).eval()
    embedding(torch.tensor([[5]]))
    assert not embedding.seen.any()


def test_some_values_count_as_unknown_in_training():
    torch.manual_seed(0)
    embedding = HashModule([50], 1, unknown_rate=0.25).train()
    embedding.unknown.data.fill_(100.0)
    output = embedding(torch.full((4000, 1), 7))
    assert (output == 100.0).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_the_filter_survives_storage():
    embedding = HashModule([50], 2, unknown_rate=0.0).train()
    values = torch.tensor([[5], [9]])
    embedding(values)
    other = HashModule([50], 2, unknown_rate=0.0)
    other.load_state_dict(embedding.state_dict())
    assert torch.equal(other.eval()(values), embedding.eval()(values))


def test_hash_embedding_starts_with_the_variance_of_an_ordinary_table():
    torch.manual_seed(0)
    values = torch.randint(2**62, (1000, 1))
    vectors = HashModule([5000], 64, unknown_rate=0.0).train()(values)
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


def make_character_gru():
    torch.manual_seed(0)
    gru = CharGRUModule(rows=12, width=4, hidden=3)
    for parameter in gru.parameters():  # biases too
        nn.init.normal_(parameter, std=0.5)
    return gru


def run_word_by_word(gru, words):
    """Run torch's bidirectional GRU over each word separately, and return its last states."""
    reference = nn.GRU(4, 3, bidirectional=True, batch_first=True)
    directions = zip(("", "_reverse"), gru.encoder.layers[0].values(), strict=True)
    reference.load_state_dict(
        {
            f"{name}{suffix}": value
            for suffix, direction in directions
            for name, value in direction.state_dict().items()
        }
    )
    last = [reference(gru.table(torch.tensor([word])))[1] for word in words]
    return torch.stack([torch.cat([forward[0], backward[0]]) for forward, backward in last])


@settings(max_examples=25, deadline=None)
@given(words=CHARACTERS, further=st.integers(0, 5))
def test_character_gru_is_torchs_over_each_word_alone(words, further):
    gru = make_character_gru()
    vectors = gru(pad(words, max(map(len, words)) + further))
    torch.testing.assert_close(vectors, run_word_by_word(gru, words), atol=1e-6, rtol=0)
    assert gru.width == 6


def test_gradient_of_the_character_gru_is_torchs():
    gru, words = make_character_gru(), [[1, 5, 2], [1, 5, 6, 7, 2], [1, 2]]
    loss = gru(pad(words, 7)).square().sum()
    expected = torch.autograd.grad(
        run_word_by_word(gru, words).square().sum(), gru.table.weight, retain_graph=True
    )
    torch.testing.assert_close(torch.autograd.grad(loss, gru.table.weight), expected)
    assert not expected[0][0].any()


def test_padding_row_of_the_character_table_is_zero_and_gets_no_gradient():
    cnn = make_cnn(3)
    cnn(pad([[1, 5, 2], [1, 5, 6, 7, 2]], 9)).sum().backward()
    assert not cnn.table.weight[0].any()
    assert not cnn.table.weight.grad[0].any()
    assert cnn.table.weight.grad[5].any()


def test_unknown_vector_stands_for_rows_of_zeros_and_no_others():
    embedding = VectorsModule(3)
    nn.init.constant_(embedding.unknown, 9.0)
    vectors = torch.tensor(
        [[1.0, -1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1e-30, 0.0], [-0.0, 0.0, -0.0]]
    )
    output = embedding(vectors, NO_FORMS)
    unknown = torch.full((3,), 9.0)
    assert torch.equal(output, torch.stack([vectors[0], unknown, vectors[2], unknown]))
    output.sum().backward()
    assert embedding.unknown.grad.tolist() == [2.0, 2.0, 2.0]


def test_unknown_vector_starts_at_zero():
    assert not VectorsModule(4)(torch.zeros(2, 4), NO_FORMS).any()


def test_tok2vec_embedding_returns_its_input():
    vectors = torch.randn(3, 4)
    assert Tok2VecModule(4)(vectors) is vectors


@pytest.mark.parametrize(
    ("kind", "arguments", "shape", "width"),
    [
        ("hash", {"rows": [5, 5], "width": 3, "unknown_rate": 0.1}, (0, 2), 6),
        ("char_cnn", {"rows": 9, "width": 3, "out_channels": 4, "kernel_size": 3}, (0, 2), 4),
        ("vectors", {"width": 3}, (0, 3), 3),
        ("vectors", {"width": 0}, (5, 0), 0),
        ("vectors", {"width": 0, "correction_rows": 4}, (5, 0), 0),
        ("vectors", {"width": 3, "correction_rows": 4}, (0, 3), 3),
        ("char_gru", {"rows": 9, "width": 3, "hidden": 4}, (0, 2), 8),
        ("vector_file", {"n_words": 2, "width": 3, "half": True}, (0, 4), 3),
        (
            "vector_file",
            {"n_words": 2, "width": 3, "half": True, "correction_rows": 4},
            (0, 4),
            3,
        ),
        (
            "clusters",
            {"n_words": 2, "n_clusters": 1, "n_prefixes": 2, "n_rows": 4, "width": 3},
            (0, 4),
            6,
        ),
        ("tok2vec", {"width": 3}, (0, 3), 3),
    ],
)
def test_no_words_and_no_width_are_embedded(kind, arguments, shape, width):
    dtype = torch.float32 if kind in ("vectors", "tok2vec") else torch.int64
    embedding = build_module("it", {"kind": kind, **arguments})
    forms = [torch.zeros((shape[0], 1), dtype=torch.int64)] if kind == "vectors" else []
    assert embedding(torch.zeros(shape, dtype=dtype), *forms).shape == (shape[0], width)
    assert embedding.width == width


# --- corrections


def sums_of_rows(embedding, values):
    """Sum the rows of the table that values of one attribute are hashed to."""
    table = embedding.table.weight.tolist()
    rows, _ = embedding.hash(torch.tensor(values).unsqueeze(1))
    return [
        pytest.approx([sum(table[row][unit] for row in four) for unit in range(2)], abs=1e-6)
        for four in rows.squeeze(1).tolist()
    ]


def test_corrections_are_zero_at_first_and_for_unknown_values():
    embedding = HashModule([50], 2, unknown_rate=0.0, correction=True)
    seen, unseen = torch.tensor([[5], [9]]), torch.tensor([[6], [7]])
    assert not embedding.train()(seen).any()
    nn.init.normal_(embedding.table.weight)
    assert embedding.eval()(seen).tolist() == sums_of_rows(embedding, [5, 9])
    assert embedding(unseen).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_gradient_reaches_the_corrections_of_values_in_the_batch_and_no_others():
    embedding = HashModule([1000], 2, unknown_rate=0.0, correction=True)
    values = torch.tensor([[5], [9], [5]])
    embedding.train()(values).sum().backward()
    rows, _ = embedding.hash(values)
    reached = embedding.table.weight.grad.any(1).nonzero().flatten().tolist()
    assert reached == sorted(set(rows.flatten().tolist()))
    assert [name for name, _ in embedding.named_parameters()] == ["table.weight"]


STATIC = torch.tensor([[1.0, 2.0], [0.1, -0.3], [0.0, 0.0], [0.0, 0.0]])


def corrected_vectors():
    embedding = VectorsModule(2, correction_rows=100)
    return embedding, (STATIC, torch.tensor([[11], [12], [13], [14]]))


def corrected_table():
    embedding = VectorFileModule(n_words=2, width=2, half=False, correction_rows=100)
    embedding.keys.copy_(torch.tensor([12, 21]))
    embedding.table.copy_(STATIC[[1, 0]])
    # The first word is in the table by its last form, and is corrected by its second all the same.
    return embedding, (torch.tensor([[10, 11, 21], [22, 12, 0], [23, 13, 0], [24, 14, 0]]),)


@pytest.mark.parametrize("make", [corrected_vectors, corrected_table])
def test_static_vectors_are_corrected_for_words_that_training_saw(make):
    embedding, words = make()
    nn.init.constant_(embedding.unknown, 4.0)
    nn.init.normal_(embedding.correction.table.weight)
    before = embedding.eval()(*words)
    assert torch.equal(before[:2], STATIC[:2])
    assert (before[2:] == 4.0).all()
    embedding.train()(*(array[::2] for array in words))  # the first and the third
    after = embedding.eval()(*words)
    assert torch.equal(after[1::2], before[1::2])
    corrections = (after - before)[::2].tolist()
    assert corrections == sums_of_rows(embedding.correction, [11, 13])


# --- tables

KEYS = st.sets(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(st.data(), KEYS)
def test_first_candidate_that_is_a_key_is_found(data, keys):
    keys = sorted(keys)
    candidate = st.sampled_from(keys) | st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)
    words = data.draw(st.lists(st.lists(candidate, min_size=3, max_size=3)))
    rows, known = look_up(torch.tensor(keys), torch.tensor(words).reshape(len(words), 3))
    hits = [next((c for c in candidates if c in keys), None) for candidates in words]
    assert known.tolist() == [hit is not None for hit in hits]
    found = [keys[row] for row, is_known in zip(rows.tolist(), known, strict=True) if is_known]
    assert found == [hit for hit in hits if hit is not None]


@pytest.mark.parametrize("half", [True, False])
def test_vector_table_gives_the_vectors_of_the_best_candidate(half):
    table = VectorFileModule(n_words=3, width=2, half=half)
    table.keys.copy_(torch.tensor([-7, 4, 9]))
    table.table.copy_(torch.tensor([[1.0, 2.0], [0.0, 0.0], [0.1, -5.0]]))
    nn.init.constant_(table.unknown, 8.0)
    vectors = table(torch.tensor([[4, 9], [9, 4], [0, -7], [1, 2], [10, -8]]))
    tenth = torch.tensor(0.1, dtype=torch.float16 if half else torch.float32).item()
    assert vectors.dtype == torch.float32
    assert vectors.tolist() == [
        [0.0, 0.0],  # a vector of zeros is known too
        pytest.approx([tenth, -5.0], abs=0),
        [1.0, 2.0],
        [8.0, 8.0],
        [8.0, 8.0],
    ]
    vectors.sum().backward()
    assert table.unknown.grad.tolist() == [2.0, 2.0]


def test_table_of_one_word_and_all_words_unknown():
    table = VectorFileModule(n_words=1, width=2, half=False)
    table.keys.fill_(5)
    table.table.fill_(1.0)
    assert table(torch.tensor([[5], [4], [6]])).tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]


def test_tables_are_stored_but_not_trained():
    for module, learned in (
        (VectorFileModule(2, 3, half=True), {"unknown"}),
        (
            VectorFileModule(2, 3, half=True, correction_rows=4),
            {"unknown", "correction.table.weight"},
        ),
        (ClusterModule(2, 1, 2, 4, 3), {"table.weight"}),
        (GazetteerModule(["X"], 2, 3, 4), {"linear.weight", "linear.bias"}),
    ):
        buffers = {name for name, _ in module.named_buffers()} - NOT_STORED
        assert {name for name, _ in module.named_parameters()} == learned
        assert module.state_dict().keys() == buffers | learned
        assert "keys" in buffers


def test_cluster_embedding_concatenates_the_rows_of_the_prefixes():
    embedding = ClusterModule(n_words=3, n_clusters=2, n_prefixes=2, n_rows=5, width=1)
    embedding.keys.copy_(torch.tensor([-1, 3, 8]))
    embedding.clusters.copy_(torch.tensor([1, 0, 1]))
    embedding.rows.copy_(torch.tensor([[1, 3], [1, 4], [0, 2]]))
    embedding.table.weight.data = torch.tensor([[0.0], [10.0], [20.0], [30.0], [40.0]])
    vectors = embedding(torch.tensor([[3, -1], [-1, 3], [7, 8], [7, 7]]))
    assert vectors.tolist() == [[10.0, 30.0], [10.0, 40.0], [10.0, 40.0], [0.0, 20.0]]


# --- phrases


def make_gazetteer(lists, max_words=8):
    """Make the module of lists of phrases, in an order of its own."""
    phrases = sorted({phrase for phrases in lists.values() for phrase in phrases})
    bits = [
        sum(1 << i for i, on_list in enumerate(lists.values()) if phrase in on_list)
        for phrase in phrases
    ]
    keys = phrase_hashes([fold(phrase) for phrase in phrases])[:, 0].view(np.int64)
    embedding = GazetteerModule(list(lists), len(phrases), width=3, max_words=max_words)
    embedding.keys.copy_(torch.from_numpy(np.sort(keys)))
    embedding.lists.copy_(torch.tensor(bits)[torch.from_numpy(np.argsort(keys))])
    return embedding


def mark(embedding, *sequences):
    """Write the marks of each token on each list as letters."""
    words = [word for words in sequences for word in words]
    hashes = torch.from_numpy(phrase_hashes([fold(word) for word in words]).view(np.int64))
    marks = embedding.mark(hashes, Layout([len(words) for words in sequences], hashes.device))
    assert (marks.dtype, marks.shape) == (torch.bool, (len(words), embedding.n_lists, 4))
    return [
        ["".join(np.array(list("BIES"))[token]) for token in marks[:, i].numpy()]
        for i in range(embedding.n_lists)
    ]


def mark_slowly(phrases, max_words, *sequences):
    """Mark the phrases of one list, the longest first, on words."""
    phrases = {fold(phrase) for phrase in phrases}
    marks = []
    for words in sequences:
        letters = [set() for _ in words]
        for n_words in range(max_words, 0, -1):
            spans = [range(i, i + n_words) for i in range(len(words) - n_words + 1)]
            free = [span for span in spans if not any(letters[i] for i in span)]
            for span in free:
                first, last = words[span[0]], words[span[-1]]
                text = "".join(fold(words[i]) for i in span)
                if text in phrases and first.strip() and last.strip():
                    for i in span:
                        letters[i].add("B" if i == span[0] else "E" if i == span[-1] else "I")
                    if n_words == 1:
                        letters[span[0]] = {"S"}
        marks += ["".join(letter for letter in "BIES" if letter in token) for token in letters]
    return marks


@pytest.mark.parametrize(
    ("words", "marks"),
    [
        (["in", "New", "York", "."], ["", "B", "E", ""]),
        (["NEW", "york"], ["B", "E"]),
        (["NewYork"], ["S"]),
        (["New", "Yo", "rk", "City"], ["B", "I", "I", "E"]),
        (["York", "City"], ["S", ""]),
        (["New", "New", "York"], ["", "B", "E"]),
        (["U.S.", "U", ".", "S.", "US"], ["S", "B", "I", "E", ""]),
        (["New", "\n", "York", "\n"], ["B", "I", "E", ""]),
        (["\n", " ", "York", "\n", "\n"], ["", "", "S", "", ""]),
        (["\n"], [""]),
        # Phrases of the same length are both marked where they overlap; a shorter one is not.
        (["York", "City", "Hall", "York", "City"], ["S", "B", "BE", "E", ""]),
        ([], []),
    ],
)
def test_phrases_are_found_for_any_tokenization(words, marks):
    lists = {"LOC": ["New York", "New York City", "U.S.", "York", "City Hall", "Hall York"]}
    assert mark(make_gazetteer(lists), words) == [marks]
    assert mark_slowly(lists["LOC"], 8, words) == marks


def test_phrases_do_not_run_across_sequences():
    embedding = make_gazetteer({"LOC": ["New York"]})
    assert mark(embedding, ["New"], ["York", "New", "York"], [], ["New"]) == [
        ["", "", "B", "E", ""]
    ]


def test_lists_are_marked_independently():
    embedding = make_gazetteer({"A": ["x y"], "B": ["x", "x y z"], "C": ["nothing"], "D": ["y"]})
    assert mark(embedding, ["x", "y", "z"]) == [
        ["B", "E", ""],
        ["B", "I", "E"],
        ["", "", ""],
        ["", "S", ""],
    ]


def test_phrases_of_more_words_than_allowed_are_not_found():
    lists = {"A": ["a b c", "c"]}
    assert mark(make_gazetteer(lists, max_words=2), ["a", "b", "c"]) == [["", "", "S"]]
    assert mark(make_gazetteer(lists, max_words=2), ["ab", "c"]) == [["B", "E"]]
    assert mark(make_gazetteer(lists, max_words=1), ["a", "b", "c", "abc"]) == [["", "", "S", "S"]]


@pytest.mark.parametrize("n_lists", [1, 62])
def test_the_last_of_many_lists_is_marked(n_lists):
    lists = {str(i): ["a"] if i == n_lists - 1 else ["b"] for i in range(n_lists)}
    found = mark(make_gazetteer(lists), ["a"])
    assert found == [[""]] * (n_lists - 1) + [["S"]]


SOME_WORDS = st.lists(st.sampled_from(["a", "b", "ab", "B", "c", " ", "bc"]), max_size=7)


@settings(max_examples=75, deadline=None)
@given(
    lists=st.lists(
        st.sets(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=6),
        min_size=1,
        max_size=3,
    ),
    sequences=st.lists(SOME_WORDS, min_size=1, max_size=3),
    max_words=st.integers(1, 5),
)
def test_marks_are_those_of_a_slow_search(lists, sequences, max_words):
    named = {str(i): phrases for i, phrases in enumerate(lists)}
    assert mark(make_gazetteer(named, max_words), *sequences) == [
        mark_slowly(phrases, max_words, *sequences) for phrases in lists
    ]


def test_gazetteer_is_linear_in_the_marks():
    embedding = make_gazetteer({"A": ["a b"], "B": ["b"]})
    hashes = torch.from_numpy(phrase_hashes(["a", "b", "c"]).view(np.int64))
    vectors = embedding(hashes, Layout([3], hashes.device))
    weight, bias = embedding.linear.weight, embedding.linear.bias
    # Of four marks a list: `a` begins on A; `b` ends on A, and is a phrase of B.
    expected = [weight[:, 0] + bias, weight[:, 2] + weight[:, 7] + bias, bias]
    torch.testing.assert_close(vectors, torch.stack(expected))
    assert embedding.width == 3


def test_gazetteer_embeds_no_tokens():
    embedding = make_gazetteer({"A": ["a"]})
    hashes = torch.zeros((0, 2), dtype=torch.int64)
    assert embedding(hashes, Layout([0, 0], hashes.device)).shape == (0, 3)
