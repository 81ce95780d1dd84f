import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bigru_tagger.network import encoder as encoder_module
from bigru_tagger.network import layout as layout_module
from bigru_tagger.network.encoder import BiGRUEncoder, Dropout, locked_dropout
from bigru_tagger.network.gru import SharedInput, run_gru
from bigru_tagger.network.layout import Layout, plan_blocks

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(0, 8) | st.integers(1, 200), min_size=1, max_size=6)


def make_encoder(*args, **kwargs):
    """Make an encoder whose biases are not zero, so that their places matter."""
    torch.manual_seed(0)
    encoder = BiGRUEncoder(*args, **kwargs)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return encoder


def make_sequences(lengths, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, width, generator=generator) for length in lengths]


def encode(encoder, sequences, dropout=encoder_module.NO_DROPOUT):
    lengths = [len(sequence) for sequence in sequences]
    output = encoder(torch.cat(sequences), Layout(lengths, CPU), dropout)
    return output.split(lengths)


def use_path(patch, path):
    """Run layers by `path` where a CPU would run them otherwise; None leaves all as it is."""

    def run_gru_by_path(layer, vectors, layout, rate, shared):
        assert shared is None
        return path(layer, vectors, layout)

    if path is not None:
        patch.setattr(encoder_module, "_run_packed", path)
        patch.setattr(encoder_module, "_run_gru", run_gru_by_path)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gates(rnn, vector, state):
    """Compute W_i x + b_i and W_h h + b_h, gate by gate."""
    parameters = {name: value.detach().double().numpy() for name, value in rnn.named_parameters()}
    from_input = parameters["weight_ih_l0"] @ vector + parameters["bias_ih_l0"]
    from_state = parameters["weight_hh_l0"] @ state + parameters["bias_hh_l0"]
    return from_input.reshape(-1, rnn.hidden_size), from_state.reshape(-1, rnn.hidden_size)


def gru(rnn, vectors):
    state, states = np.zeros(rnn.hidden_size), []
    for vector in vectors:
        (ir, iz, i_n), (hr, hz, hn) = gates(rnn, vector, state)
        r, z = sigmoid(ir + hr), sigmoid(iz + hz)
        n = np.tanh(i_n + r * hn)
        state = (1 - z) * n + z * state
        states.append(state)
    return np.array(states)


def lstm(rnn, vectors):
    state, memory, states = np.zeros(rnn.hidden_size), np.zeros(rnn.hidden_size), []
    for vector in vectors:
        i, f, g, o = np.add(*gates(rnn, vector, state))
        memory = sigmoid(f) * memory + sigmoid(i) * np.tanh(g)
        state = sigmoid(o) * np.tanh(memory)
        states.append(state)
    return np.array(states)


@pytest.mark.parametrize(("cell", "equations"), [("gru", gru), ("lstm", lstm)])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("hidden", [[5], [6, 3, 4]])
def test_encoder_follows_the_equations(cell, equations, bidirectional, hidden):
    encoder = make_encoder(4, hidden, cell, bidirectional)
    for sequence, output in zip(
        sequences := make_sequences([7, 0, 1, 12], 4), encode(encoder, sequences), strict=True
    ):
        if not len(sequence):
            assert output.shape == (0, encoder.width)
            continue
        expected = sequence.double().numpy()
        for layer in encoder.layers:
            states = [equations(layer["forward_layer"], expected)]
            if bidirectional:
                states.append(equations(layer["backward_layer"], expected[::-1])[::-1])
            expected = np.concatenate(states, 1)
        np.testing.assert_allclose(output.detach().numpy(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_backward_half_is_a_forward_layer_over_the_reversed_sequence(cell):
    both = make_encoder(3, [5], cell)
    forward = BiGRUEncoder(3, [5], cell, bidirectional=False)
    forward.layers[0]["forward_layer"].load_state_dict(
        both.layers[0]["backward_layer"].state_dict()
    )
    sequences = make_sequences([4, 9, 1], 3)
    reversed_outputs = encode(forward, [sequence.flip(0) for sequence in sequences])
    for output, expected in zip(encode(both, sequences), reversed_outputs, strict=True):
        torch.testing.assert_close(output[:, 5:], expected.flip(0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("path", [None, encoder_module._run_padded], ids=["cpu", "gpu"])
@pytest.mark.parametrize(("cell", "bidirectional"), [("gru", True), ("gru", False), ("lstm", True)])
@settings(max_examples=15, deadline=None)
@given(lengths=LENGTHS, order=st.randoms(use_true_random=False))
def test_states_do_not_depend_on_the_batch(path, cell, bidirectional, lengths, order):
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        use_path(patch, path)
        encoder = make_encoder(3, [6, 4], cell, bidirectional)
        sequences = make_sequences(lengths, 3, seed=len(lengths))
        alone = [encode(encoder, [sequence])[0] for sequence in sequences]
        places = order.sample(range(len(lengths)), len(lengths))
        shuffled = encode(encoder, [sequences[place] for place in places])
        for place, output in zip(places, shuffled, strict=True):
            torch.testing.assert_close(output, alone[place], atol=1e-5, rtol=0)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("cells", [1, 7, 1 << 16])
@settings(max_examples=8, deadline=None)
@given(lengths=st.lists(st.integers(0, 8) | st.integers(1, 40), min_size=1, max_size=6))
def test_padded_and_packed_paths_agree_in_states_and_gradients(cell, cells, lengths):
    def run(path):
        encoder = make_encoder(3, [5, 4], cell)
        vectors = torch.cat(make_sequences(lengths, 3)).requires_grad_()
        with pytest.MonkeyPatch.context() as patch:
            use_path(patch, path)
            patch.setattr(layout_module, "_BLOCK_CELLS", cells)
            patch.setattr(layout_module, "_PADDED_CELLS", cells // 4)
            states = encoder(vectors, Layout(lengths, CPU))
        weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(1))
        loss = (states * weights).sum() / max(len(states), 1)
        leaves = [vectors, *encoder.parameters()] if len(states) else []
        return states, torch.autograd.grad(loss, leaves) if leaves else ()

    packed, packed_gradients = run(None)
    padded, padded_gradients = run(encoder_module._run_padded)
    torch.testing.assert_close(packed, padded, atol=1e-6, rtol=0)
    torch.testing.assert_close(packed_gradients, padded_gradients, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("backward", "order", "places"),
    [
        (False, [2, 0, 3, 1, 4], [1, 3, 0, 2, 4]),
        (True, [4, 1, 3, 0, 2], [3, 1, 4, 2, 0]),
    ],
)
def test_layout_of_two_no_and_three_tokens(backward, order, places):
    layout = Layout([2, 0, 3], CPU)
    assert layout.n_sequences == 3
    assert layout.sequence.tolist() == [0, 0, 2, 2, 2]
    assert [array.tolist() for array in layout.pack(backward)] == [order, places, [2, 2, 1]]
    blocks, cells, places_of_tokens = layout.pad(backward)
    assert blocks == [(3, 2)]
    assert cells.tolist() == [*order, 0]  # the last cell pads
    assert places_of_tokens.tolist() == places


def test_blocks_end_where_too_many_cells_would_pad(monkeypatch):
    monkeypatch.setattr(layout_module, "_BLOCK_CELLS", 12)
    monkeypatch.setattr(layout_module, "_PADDED_CELLS", 1)
    # Rows that are running at steps 0 to 5: 4, 3, 2, 2, 1, 1. Two steps of four rows pad one cell,
    # a third would pad three. Three steps of two rows pad one cell; a fourth would pad two.
    assert plan_blocks(np.array([6, 4, 2, 1])) == [(2, 4), (3, 2), (1, 1)]
    # No more than 12 cells, but one step at least.
    assert plan_blocks(np.array([30])) == [(12, 1), (12, 1), (6, 1)]
    monkeypatch.setattr(layout_module, "_BLOCK_STEPS", 7)
    assert plan_blocks(np.array([15])) == [(7, 1), (7, 1), (1, 1)]
    assert plan_blocks(np.array([2] * 13)) == [(1, 13), (1, 13)]
    assert plan_blocks(np.zeros(0, dtype=np.int64)) == []


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=300),
    long=st.lists(st.integers(1, 200_000), max_size=2),
)
def test_padding_is_bounded_by_tokens_for_hostile_lengths(lengths, long):
    sizes = -np.sort(-np.array([*lengths, *long]))
    blocks = plan_blocks(sizes)
    cells = [n_steps * n_rows for n_steps, n_rows in blocks]
    assert sum(n_steps for n_steps, _ in blocks) == sizes[0]
    assert max(cells) <= 1 << 16
    # A quarter of the tokens may pad, and in each block 4,096 cells.
    assert sizes.sum() <= sum(cells) <= 1.25 * sizes.sum() + 4096 * len(blocks)
    # A block that ends before it is full leaves the next at most 4 of 5 rows.
    n_full = sum(cells) / (1 << 15) + sizes[0] / 1024
    assert len(blocks) <= 2 + np.log(len(sizes)) / np.log(1.25) + n_full


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_no_tokens_give_no_states(lengths):
    encoder = make_encoder(3, [4, 2])
    output = encoder(torch.zeros(0, 3), Layout(lengths, CPU), Dropout(input=0.5, hidden=0.5))
    assert output.shape == (0, 4)


@pytest.mark.parametrize(
    ("hidden", "bidirectional", "inputs", "width"),
    [
        ([128, 64], True, [100, 256], 128),
        ([128, 64], False, [100, 128], 64),
        ([32, 48, 16], True, [100, 64, 96], 32),
        ([], True, [], 100),
    ],
)
def test_each_layer_reads_the_output_of_the_one_below(hidden, bidirectional, inputs, width):
    encoder = BiGRUEncoder(100, hidden, bidirectional=bidirectional)
    assert [layer["forward_layer"].input_size for layer in encoder.layers] == inputs
    assert encoder.width == width
    assert encode(encoder, make_sequences([3], 100))[0].shape == (3, width)


def test_no_layers_pass_the_vectors_on():
    sequences = make_sequences([3, 0, 2], 4)
    assert torch.equal(torch.cat(encode(BiGRUEncoder(4, []), sequences)), torch.cat(sequences))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_initial_recurrent_matrices_are_orthogonal_and_biases_zero(cell):
    for name, parameter in BiGRUEncoder(3, [5], cell).named_parameters():
        if "weight_hh" in name:
            for gate in parameter.detach().split(5):
                torch.testing.assert_close(gate @ gate.T, torch.eye(5), atol=1e-5, rtol=0)
        elif "bias" in name:
            assert not parameter.any()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"hidden": [4], "cell": "rnn"}, "'cell'.*'rnn'"),
        ({"hidden": [4, 0]}, r"hidden.*\[4, 0\]"),
        ({"hidden": [-1]}, r"hidden.*\[-1\]"),
    ],
)
def test_bad_settings_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        BiGRUEncoder(3, **arguments)


@pytest.mark.parametrize("name", ["word", "input", "hidden", "recurrent"])
@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_dropout_rates_below_zero_or_from_one_are_refused(name, rate):
    with pytest.raises(ValueError, match=f"{name}.*{rate}"):
        Dropout(**{name: rate})


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=5),
    rate=st.floats(0.05, 0.95),
    seed=st.integers(0, 99),
)
def test_locked_dropout_uses_one_mask_for_all_steps_of_a_sequence(lengths, rate, seed):
    torch.manual_seed(seed)
    dropped = locked_dropout(torch.ones(sum(lengths), 7), Layout(lengths, CPU), rate)
    for rows in dropped.split(lengths):
        assert torch.equal(rows, rows[:1].expand_as(rows))
    scaled = torch.tensor(1 / (1 - rate))
    assert torch.all((dropped == 0) | torch.isclose(dropped, scaled))


def test_locked_dropout_draws_a_mask_for_each_sequence_and_keeps_the_expectation():
    torch.manual_seed(0)
    width, rate = 100_000, 0.3
    dropped = locked_dropout(torch.full((3, width), 2.0), Layout([1, 1, 1], CPU), rate)
    # five standard deviations of the mean of a scaled Bernoulli variable
    tolerance = 5 * 2.0 * (rate / (1 - rate) / width) ** 0.5
    assert torch.all((dropped.mean(1) - 2.0).abs() < tolerance)
    agree = (dropped[0] == dropped[1]).double().mean().item()  # by chance: 0.3² + 0.7²
    assert agree == pytest.approx(0.58, abs=0.01)


def test_zero_dropout_is_the_identity():
    vectors = torch.randn(5, 3)
    assert torch.equal(locked_dropout(vectors, Layout([2, 3], CPU), 0.0), vectors)
    encoder, sequences = make_encoder(3, [4]), make_sequences([2, 3], 3)
    without = torch.cat(encode(encoder, sequences))
    assert torch.equal(torch.cat(encode(encoder, sequences, Dropout(word=0.9))), without)


def test_input_dropout_acts_below_the_layers_and_hidden_dropout_above_each():
    torch.manual_seed(0)
    sequences = make_sequences([6, 4], 8)
    encoder = make_encoder(8, [8])
    plain = encode(encoder, sequences)
    for dropped, states in zip(encode(encoder, sequences, Dropout(hidden=0.5)), plain, strict=True):
        mask = dropped[0] != 0
        assert 0 < mask.sum() < len(mask)
        torch.testing.assert_close(dropped, 2 * states * mask)
    for dropped, vectors in zip(
        encode(BiGRUEncoder(8, []), sequences, Dropout(input=0.5)), sequences, strict=True
    ):
        mask = dropped[0] != 0
        assert 0 < mask.sum() < len(mask)
        torch.testing.assert_close(dropped, 2 * vectors * mask)
    assert torch.all(torch.cat(encode(encoder, sequences, Dropout(input=0.5))) != 0)
    between = encode(make_encoder(8, [8, 4]), sequences, Dropout(hidden=0.5))
    assert not torch.equal(torch.cat(between) != 0, torch.ones(10, 8, dtype=torch.bool))


def test_recurrent_dropout_worked_out():
    # One unit, z = 0.5 and r = 1, so that h_t = tanh(x_t + m h_{t-1}) / 2 + h_{t-1} / 2. With a
    # rate of 0.5, m is 0 or 2, at all steps, and the second term has none.
    encoder = BiGRUEncoder(1, [1])
    for rnn in encoder.layers[0].values():
        own = dict(rnn.named_parameters())
        with torch.no_grad():
            own["weight_ih_l0"].copy_(torch.tensor([[0.0], [0.0], [1.0]]))
            own["weight_hh_l0"].copy_(torch.tensor([[0.0], [0.0], [1.0]]))
            own["bias_ih_l0"].copy_(torch.tensor([50.0, 0.0, 0.0]))
    x = [0.5, -0.25, 1.0]

    def states(mask, inputs):
        h, found = 0.0, []
        for value in inputs:
            h = math.tanh(value + mask * h) / 2 + h / 2
            found.append(h)
        return found

    forward = torch.tensor([states(mask, x) for mask in (0.0, 2.0)])
    backward = torch.tensor([states(mask, x[::-1])[::-1] for mask in (0.0, 2.0)])
    torch.manual_seed(0)
    sequences = [torch.tensor(x)[:, None]] * 400
    kinds = torch.zeros(2, 2)
    for output in encode(encoder, sequences, Dropout(recurrent=0.5)):
        choices = [
            (output[:, direction] - expected).abs().amax(1)
            for direction, expected in enumerate((forward, backward))
        ]
        assert all(choice.min() < 1e-6 for choice in choices)
        kinds[choices[0].argmin(), choices[1].argmin()] += 1
    # Both directions draw their own: a quarter of the sequences each, by five standard deviations.
    assert torch.all((kinds - 100).abs() < 5 * (400 * 0.25 * 0.75) ** 0.5)


def test_recurrent_masks_keep_the_expectation(monkeypatch):
    seen = []

    def spy(directions, vectors, orders, counts, masks, **settings):
        seen.append(masks)
        return run_gru(directions, vectors, orders, counts, masks, **settings)

    monkeypatch.setattr(encoder_module, "run_gru", spy)
    torch.manual_seed(0)
    encoder, rate = make_encoder(3, [400, 200]), 0.3
    encode(encoder, make_sequences([2, 0, 5] * 20, 3), Dropout(recurrent=rate))
    assert [tuple(masks.shape) for masks in seen] == [(2, 40, 400), (2, 40, 200)]
    for masks in seen:
        scaled = torch.tensor(1 / (1 - rate))
        assert torch.all((masks == 0) | torch.isclose(masks, scaled))
        tolerance = 5 * (rate / (1 - rate) / masks.numel()) ** 0.5
        assert masks.mean().item() == pytest.approx(1.0, abs=tolerance)
        assert not torch.equal(masks[0], masks[1])


def test_recurrent_dropout_follows_the_seed_and_leaves_single_tokens_alone():
    encoder, sequences = make_encoder(3, [8]), make_sequences([1, 6], 3)
    plain = encode(encoder, sequences)
    seeded = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        seeded.append(encode(encoder, sequences, Dropout(recurrent=0.5)))
        torch.testing.assert_close(seeded[-1][0], plain[0])  # there is no state before it
    assert torch.equal(seeded[0][1], seeded[1][1])
    assert not torch.allclose(seeded[0][1], seeded[2][1])
    assert not torch.allclose(seeded[0][1], plain[1])


def test_no_recurrent_dropout_draws_nothing():
    encoder, sequences = make_encoder(3, [4, 4]), make_sequences([2, 3], 3)
    before = torch.get_rng_state()
    dropped = encode(encoder, sequences, Dropout(recurrent=0.0))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.cat(dropped), torch.cat(encode(encoder, sequences)))


def test_an_lstm_cannot_do_recurrent_dropout():
    with pytest.raises(ValueError, match=r"a rate of 0\.25 for cell = 'lstm'"):
        encode(make_encoder(3, [4], "lstm"), make_sequences([2], 3), Dropout(recurrent=0.25))


@pytest.mark.parametrize("n_own", [0, 2])
@pytest.mark.parametrize("dropout", [encoder_module.NO_DROPOUT, Dropout(hidden=0.5)])
@pytest.mark.parametrize(("cell", "hidden"), [("gru", [4, 3]), ("lstm", [4]), ("gru", [])])
def test_shared_columns_are_columns_like_the_others(cell, hidden, dropout, n_own):
    """Three rows that six tokens share, with and without columns of their own."""
    encoder = make_encoder(3 + n_own, hidden, cell)
    rows = torch.randn(3, 3, requires_grad=True)
    own, row = torch.randn(6, n_own), torch.tensor([2, 0, 2, 1, 1, 0])
    layout = Layout([4, 0, 2], CPU)
    outputs, d_rows = [], []
    for shared in (True, False):
        torch.manual_seed(0)
        if shared:
            output = encoder(own, layout, dropout, SharedInput(rows, row))
        else:
            output = encoder(torch.cat([rows[row], own], 1), layout, dropout)
        output.square().sum().backward()
        outputs.append(output.detach())
        d_rows.append(rows.grad)
        rows.grad = None
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*d_rows)


def test_shared_columns_are_projected_once_per_row(monkeypatch):
    sizes = []
    linear = torch.nn.functional.linear

    def spy(vectors, *parameters):
        sizes.append(tuple(vectors.shape))
        return linear(vectors, *parameters)

    monkeypatch.setattr(torch.nn.functional, "linear", spy)
    encoder = make_encoder(3, [4])
    encoder(
        torch.zeros(50, 0),
        Layout([50], CPU),
        shared=SharedInput(torch.randn(2, 3), torch.arange(50) % 2),
    )
    assert sizes == [(2, 3), (2, 3)]


def test_prediction_follows_changes_of_the_recurrent_weights():
    encoder, sequences = make_encoder(3, [4, 2]), make_sequences([3, 5], 3)
    for change in (
        lambda rnn: None,
        lambda rnn: rnn.weight_hh_l0.mul_(-2.0),
        lambda rnn: rnn.bias_hh_l0.add_(1.0),
        lambda rnn: setattr(rnn, "weight_hh_l0", torch.nn.Parameter(rnn.weight_hh_l0 * 3.0)),
    ):
        with torch.no_grad():
            change(encoder.layers[1]["backward_layer"])
            predicted = torch.cat(encode(encoder, sequences))
        torch.testing.assert_close(predicted, torch.cat(encode(encoder, sequences)).detach())


def test_weights_cached_for_prediction_are_not_saved():
    encoder, sequences = make_encoder(3, [4]), make_sequences([3, 5], 3)
    size = len(pickle.dumps(encoder))
    with torch.no_grad():
        expected = torch.cat(encode(encoder, sequences))
        stored = pickle.dumps(encoder)
        assert len(stored) == size
        torch.testing.assert_close(torch.cat(encode(pickle.loads(stored), sequences)), expected)


def test_autocast_changes_the_type_of_products_in_prediction():
    encoder, sequences = make_encoder(3, [40]), make_sequences([30], 3)
    with torch.no_grad():
        full = torch.cat(encode(encoder, sequences))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = torch.cat(encode(encoder, sequences))
        assert low.dtype == torch.float32
        assert 0.0 < (low - full).abs().max() < 0.03
        assert torch.equal(torch.cat(encode(encoder, sequences)), full)


def test_prediction_follows_fused_optimizers():
    """They do not raise the versions of parameters."""
    encoder, sequences = make_encoder(3, [4]), make_sequences([3, 5], 3)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.1, fused=True)
    for _ in range(2):
        encoder.eval()
        with torch.no_grad():
            predicted = torch.cat(encode(encoder, sequences))
        torch.testing.assert_close(predicted, torch.cat(encode(encoder, sequences)).detach())
        encoder.train()
        torch.cat(encode(encoder, sequences)).square().sum().backward()
        optimizer.step()
