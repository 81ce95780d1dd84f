import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import CRF, TEXTS, TINY, build, train
from spacy.tokens import Doc
from typer.testing import CliRunner

from bigru_tagger.cli import app
from bigru_tagger.network.encoder import BiGRUEncoder
from bigru_tagger.network.layout import Layout
from bigru_tagger.report.gates import gates_table, read_gates

CONTEXT = {**TINY, "occurrences": 5, "global_context": 3, "context_width": 7, "depth": 2}


def sigmoid(values):
    return 1.0 / (1.0 + np.exp(-values))


def run_gru(rnn, inputs):
    """Compute the GRU's equations token by token: r, z, n and h, each (n_tokens, units)."""
    units = rnn.hidden_size
    weights = {name: value.detach().numpy() for name, value in rnn.named_parameters()}
    w_ir, w_iz, w_in = weights["weight_ih_l0"].reshape(3, units, -1)
    w_hr, w_hz, w_hn = weights["weight_hh_l0"].reshape(3, units, units)
    b_ir, b_iz, b_in = weights["bias_ih_l0"].reshape(3, units)
    b_hr, b_hz, b_hn = weights["bias_hh_l0"].reshape(3, units)
    h = np.zeros(units)
    steps = []
    for x in inputs:
        r = sigmoid(w_ir @ x + b_ir + w_hr @ h + b_hr)
        z = sigmoid(w_iz @ x + b_iz + w_hz @ h + b_hz)
        n = np.tanh(w_in @ x + b_in + r * (w_hn @ h + b_hn))
        h = (1.0 - z) * n + z * h
        steps.append((r, z, n, h))
    return [np.array(values).reshape(-1, units) for values in zip(*steps, strict=True)]


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    bidirectional=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_gates_and_states_are_those_of_the_equations(lengths, bidirectional, seed):
    torch.manual_seed(seed)
    encoder = BiGRUEncoder(5, [4, 3], bidirectional=bidirectional).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter)  # biases are zero otherwise
    vectors = torch.randn(sum(lengths), 5)
    layout = Layout(lengths, torch.device("cpu"))
    traces, hidden = encoder.trace(vectors, layout)
    directions = ["forward", "backward"] if bidirectional else ["forward"]
    assert [(each.layer, each.direction) for each in traces] == [
        (layer, direction) for layer in (0, 1) for direction in directions
    ]
    inputs = vectors.numpy()
    for number, layer in enumerate(encoder.layers.children()):
        outputs = []
        for direction, rnn in zip(directions, layer.children(), strict=True):
            expected = []
            for own in np.split(inputs, np.cumsum(lengths)[:-1]):
                if direction == "backward":  # a forward GRU over the reversed text, reversed back
                    expected.append([values[::-1] for values in run_gru(rnn, own[::-1])])
                else:
                    expected.append(run_gru(rnn, own))
            trace = next(t for t in traces if (t.layer, t.direction) == (number, direction))
            found = (trace.reset, trace.update, trace.candidate, trace.states)
            for values, parts in zip(found, zip(*expected, strict=True), strict=True):
                np.testing.assert_allclose(values, np.concatenate(parts), atol=1e-5)
            outputs.append(trace.states)
        inputs = np.concatenate(outputs, 1)
    with torch.no_grad():
        np.testing.assert_allclose(encoder(vectors, layout), inputs, atol=1e-5)
    np.testing.assert_array_equal(hidden, inputs)


def test_the_backward_half_is_a_forward_gru_over_the_reversed_text():
    torch.manual_seed(0)
    both, forward = BiGRUEncoder(5, [4]).eval(), BiGRUEncoder(5, [4], bidirectional=False).eval()
    weights = both.layers[0]["backward_layer"].state_dict()
    forward.layers[0]["forward_layer"].load_state_dict(weights)
    vectors, layout = torch.randn(7, 5), Layout([7], torch.device("cpu"))
    with torch.no_grad():
        backward_half = both(vectors, layout)[:, 4:]
        np.testing.assert_allclose(
            backward_half.flip(0), forward(vectors.flip(0), layout), atol=1e-6
        )


@pytest.mark.parametrize("model", [TINY, CRF, CONTEXT, {**TINY, "bidirectional": False}])
@pytest.mark.parametrize("factory", ["bigru_ner", "bigru_chunker", "bigru_tagger"])
def test_shares_add_up_to_the_logits(factory, model):
    nlp = build(factory, model=model)
    train(nlp, steps=20)
    pipe = nlp.get_pipe(factory)
    doc = nlp.make_doc(" ".join(TEXTS))
    gates = read_gates(nlp, doc)
    (logits,) = pipe.logits([doc])
    columns = [pipe.tags.index(tag) for tag in gates.tags]
    predicted = logits[np.arange(len(doc)), columns]
    np.testing.assert_allclose(sum(gates.shares.values()), predicted, atol=1e-4)
    directions = {"forward", "backward"} if model.get("bidirectional", True) else {"forward"}
    context = {"context"} if model is CONTEXT else set()
    assert set(gates.shares) == directions | context | {"bias"}
    assert gates.tokens == tuple(token.text for token in doc)
    assert len(gates.layers) == len(directions) * model.get("depth", 1)


@pytest.fixture(scope="module")
def ner():
    nlp = build("bigru_ner")
    train(nlp)
    return nlp


def test_tags_are_the_predictions_of_the_component(ner):
    gates = read_gates(ner, "Ada Lovelace wrote to Babbage from London .")
    assert gates.component == "bigru_ner"
    assert gates.tags == ("B-PER", "L-PER", "O", "O", "U-PER", "O", "U-LOC", "O")


def test_the_doc_is_not_modified(ner):
    doc = ner.make_doc(TEXTS[0])
    before = doc.to_bytes()
    read_gates(ner, doc)
    assert doc.to_bytes() == before


def test_units_are_ordered_by_how_far_their_states_are_from_zero(ner):
    layer = read_gates(ner, TEXTS[0]).layers[0]
    units = layer.most_active(3).tolist()
    activity = np.abs(layer.states).mean(0).tolist()
    assert [activity[unit] for unit in units] == sorted(activity, reverse=True)[:3]


def test_the_table_has_means_and_shares(ner):
    gates = read_gates(ner, "Ada wrote .")
    lines = gates_table(gates).splitlines()
    assert lines[0].split() == ["z", "1→", "r", "1→", "z", "1←", "r", "1←", *gates.shares]
    token, tag, update, reset, *_ = lines[1].split()
    assert (token, tag) == ("Ada", gates.tags[0])
    assert update == f"{gates.layers[0].update[0].mean():.2f}"
    assert reset == f"{gates.layers[0].reset[0].mean():.2f}"


def test_an_lstm_is_an_error():
    nlp = build("bigru_ner", model={**TINY, "cell": "lstm"})
    with pytest.raises(ValueError, match=r"only a GRU has .* cell = 'lstm'"):
        read_gates(nlp, TEXTS[0])


def test_components_without_a_gru_are_an_error(ner):
    with pytest.raises(ValueError, match=r"no component 'ner' .* one are: bigru_ner"):
        read_gates(ner, TEXTS[0], "ner")
    with pytest.raises(ValueError, match="the text has no tokens"):
        read_gates(ner, Doc(ner.vocab))


def test_command_prints_a_table_and_draws_a_figure(ner, tmp_path):
    ner.to_disk(tmp_path / "model")
    arguments = ["gates", str(tmp_path / "model"), TEXTS[0]]
    result = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "gates.png")])
    assert result.exit_code == 0, result.output
    assert gates_table(read_gates(ner, TEXTS[0])) in result.output
    assert (tmp_path / "gates.png").read_bytes().startswith(b"\x89PNG")
    result = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "gates.txt")])
    assert result.exit_code == 1
    assert "must end in .svg or .png" in result.output
