import copy
import pickle
import pickletools

import numpy as np
import pytest
import safetensors.torch
import spacy
import torch
from samples import TEXTS, TINY, build, parameters, read_examples, train
from spacy.tokens import Doc
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_loop
from spacy.util import registry
from thinc.api import SGD, Adam, NumpyOps, RAdam

from bigru_tagger import extras
from bigru_tagger.embeddings.standard import standard_embed
from bigru_tagger.model.batches import DocReader
from bigru_tagger.model.devices import choose_device
from bigru_tagger.model.shim import NetworkShim
from bigru_tagger.network.network import Network
from bigru_tagger.runtime.spec import NetworkSpec


def linear_shim(weight=(1.0, 2.0), bias=0.5):
    """A shim around a network of three parameters: two weights and a bias."""
    network = Network(NetworkSpec({"x": {"kind": "tok2vec", "width": 2}}, [], n_tags=1))
    with torch.no_grad():
        network.linear.weight.copy_(torch.tensor([weight]))
        network.linear.bias.fill_(bias)
    return NetworkShim(network)


def step(shim, optimizer, weight=(3.0, 0.0), bias=4.0):
    shim.network.linear.weight.grad = torch.tensor([weight])
    shim.network.linear.bias.grad = torch.tensor([bias])
    shim.finish_update(optimizer)


def values(shim):
    linear = shim.network.linear
    return [*linear.weight.detach().flatten().tolist(), linear.bias.item()]


def logits(nlp):
    (pipe,) = (pipe for _, pipe in nlp.pipeline)
    docs = [Doc(nlp.vocab, words=text.split()) for text in TEXTS]
    return np.concatenate(pipe.logits(docs))


# --- the step

DECAY = {"L2": 0.1, "L2_is_weight_decay": True}
PENALTY = {"L2": 0.1, "L2_is_weight_decay": False}
OURS = {"@optimizers": "Adam.v1", "learn_rate": 0.05, "beta1": 0.8, "beta2": 0.99, "eps": 1e-6}
TORCHS = {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1}


@pytest.mark.parametrize(
    ("config", "build_torchs"),
    [
        ({**OURS, **DECAY}, lambda p: torch.optim.AdamW(p, **TORCHS)),
        ({**OURS, **PENALTY}, lambda p: torch.optim.Adam(p, **TORCHS)),
        (
            {**OURS, **DECAY, "@optimizers": "RAdam.v1"},
            lambda p: torch.optim.RAdam(p, **TORCHS, decoupled_weight_decay=True),
        ),
        ({**OURS, **PENALTY, "@optimizers": "RAdam.v1"}, lambda p: torch.optim.RAdam(p, **TORCHS)),
        (
            {"@optimizers": "SGD.v1", "learn_rate": 0.05, **PENALTY},
            lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=0.1),
        ),
        (
            {
                "@optimizers": "bigru_tagger.SGD.v1",
                "learn_rate": 0.05,
                "momentum": 0.8,
                **PENALTY,
            },
            lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.1),
        ),
    ],
    ids=["AdamW", "Adam", "RAdamW", "RAdam", "SGD", "momentum"],
)
def test_the_step_is_that_of_torchs_optimizer(config, build_torchs):
    optimizer = registry.resolve({"o": {**config, "grad_clip": 0.0}})["o"]
    shim = NetworkShim(Network(NetworkSpec({"x": {"kind": "tok2vec", "width": 3}}, [4], n_tags=2)))
    reference = copy.deepcopy(shim.network)
    torchs = build_torchs(reference.parameters())
    for _ in range(8):  # RAdam changes its formula at its sixth step
        for ours, theirs in zip(shim.network.parameters(), reference.parameters(), strict=True):
            ours.grad = torch.randn_like(ours)
            theirs.grad = ours.grad.clone()
        shim.finish_update(optimizer)
        torchs.step()
        for ours, theirs in zip(shim.network.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
            assert ours.grad is None


def test_sgd_worked_out():
    shim = linear_shim()
    step(shim, SGD(0.1, L2=0.0, grad_clip=0.0))
    assert values(shim) == pytest.approx([1 - 0.1 * 3, 2.0, 0.5 - 0.1 * 4])
    step(shim, SGD(0.1, L2=0.5, grad_clip=0.0))  # both kinds of L2 are one without moments
    assert values(shim) == pytest.approx([0.7 - 0.3 - 0.035, 2.0 - 0.1, 0.1 - 0.4 - 0.005])


def test_adams_first_step_worked_out():
    # Bias correction makes the first step the learn rate, by the gradient's sign.
    shim = linear_shim()
    step(shim, Adam(0.1, L2=0.5, grad_clip=0.0, eps=1e-12))
    # Decay first, by 0.1 * 0.5, as torch does.
    assert values(shim) == pytest.approx([0.95 - 0.1, 1.9, 0.475 - 0.1])


@pytest.mark.parametrize(("clip", "scale"), [(0.0, 1.0), (1.0, 1 / 5), (4.0, 4 / 5), (5.5, 1.0)])
def test_gradients_are_clipped_by_their_norm_over_the_whole_network(clip, scale):
    shim = linear_shim()
    step(shim, SGD(0.1, L2=0.0, grad_clip=clip))  # (3, 0) and 4: a norm of 5
    assert values(shim) == pytest.approx([1 - 0.3 * scale, 2.0, 0.5 - 0.4 * scale], rel=1e-5)


def test_settings_follow_their_schedules():
    rates = [0.1, 0.2, 0.4]
    optimizer = SGD(list(rates), L2=0.0, grad_clip=[0.0, 1.0, 0.0])
    shim = linear_shim()
    expected = 0.5
    for rate, scale in zip([*rates, 0.4], [1, 1 / 5, 1, 1], strict=True):  # the last one stays
        step(shim, optimizer)
        expected -= rate * 4 * scale
        assert values(shim)[2] == pytest.approx(expected, rel=1e-5)
        optimizer.step_schedules()


WARM_UP = {
    "@schedules": "warmup_linear.v1",
    "initial_rate": 0.1,
    "warmup_steps": 2,
    "total_steps": 6,
}
STEPS = {
    "@schedules": "constant_then.v1",
    "rate": 0.1,
    "steps": 2,
    "schedule": {
        "@schedules": "constant_then.v1",
        "rate": 0.01,
        "steps": 3,
        "schedule": {"@schedules": "constant.v1", "rate": 0.001},
    },
}


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (WARM_UP, [0.0, 0.05, 0.1, 0.075, 0.05, 0.025]),
        ({**WARM_UP, "warmup_steps": 0, "total_steps": 5}, [0.1, 0.08, 0.06, 0.04, 0.02, 0.0]),
        (
            {"@schedules": "decaying.v1", "base_rate": 0.1, "decay": 0.25},
            [0.1, 0.08, 0.2 / 3, 0.4 / 7, 0.05, 0.4 / 9],
        ),
        (STEPS, [0.1, 0.1, 0.01, 0.01, 0.01, 0.001]),
    ],
    ids=["warm-up", "linear", "decaying", "steps"],
)
@pytest.mark.parametrize("optimizer", ["Adam.v1", "bigru_tagger.SGD.v1"])
def test_schedules_act_in_spacys_training_loop(optimizer, schedule, rates, monkeypatch):
    seen = []
    finish_update = NetworkShim.finish_update

    def spy(self, sgd):
        finish_update(self, sgd)
        seen.append(self.trainer._optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(NetworkShim, "finish_update", spy)
    spacy.registry.readers("test_shim.v1", func=lambda: lambda nlp: iter(read_examples(nlp.vocab)))
    config = build("bigru_tagger").config.copy()
    for name in ("train", "dev"):
        config["corpora"][name] = {"@readers": "test_shim.v1"}
    config["training"] |= {
        "max_steps": len(rates) - 1,  # spaCy makes one more
        "eval_frequency": 3,
        "optimizer": {"@optimizers": optimizer, "learn_rate": schedule},
        "logger": {"@loggers": "spacy.ConsoleLogger.v1", "progress_bar": False},
    }
    train_loop(init_nlp(config))
    assert seen == pytest.approx(rates)


def test_a_schedule_does_not_reset_the_moments():
    optimizer = Adam([0.1, 0.01], L2=0.0, grad_clip=0.0)
    shim = linear_shim()
    reference = copy.deepcopy(shim.network)
    torchs = torch.optim.Adam(reference.parameters(), lr=0.1)
    for bias in (4.0, -1.0, 2.0):
        reference.linear.weight.grad = torch.tensor([[3.0, 0.0]])
        reference.linear.bias.grad = torch.tensor([bias])
        torchs.step()
        torchs.param_groups[0]["lr"] = 0.01
        step(shim, optimizer, bias=bias)
        optimizer.step_schedules()
    torch.testing.assert_close(shim.network.linear.bias, reference.linear.bias)


def test_another_optimizer_starts_with_fresh_moments():
    shim, fresh = linear_shim(), linear_shim()
    step(shim, Adam(0.1))
    fresh.network = copy.deepcopy(shim.network)
    for one in (shim, fresh):
        step(one, RAdam(0.1), bias=-1.0)
    assert values(shim) == values(fresh)


def test_parameters_without_gradient_are_not_stepped():
    shim, optimizer = linear_shim(), Adam(0.1)
    shim.finish_update(optimizer)
    assert values(shim) == [1.0, 2.0, 0.5]
    assert optimizer.averages == {}


def test_the_commands_default_optimizer_works():
    shim = linear_shim()
    step(shim, spacy.util.create_default_optimizer())
    assert values(shim) != [1.0, 2.0, 0.5]


# --- averages


def averaged(shim, optimizer):
    with shim.use_params(optimizer.averages):
        return values(shim)


def test_averages_follow_thincs_formula_from_the_first_step_on():
    shim, optimizer = linear_shim(), SGD(0.1, L2=0.0, grad_clip=0.0)
    biases = []
    for _ in range(3):
        step(shim, optimizer)
        biases.append(values(shim)[2])
    assert biases == pytest.approx([0.1, -0.3, -0.7])
    # The rate of step t is (1 + t) / (10 + t); thinc starts at zero, we at the first weights.
    second = 3 / 12 * 0.1 + 9 / 12 * -0.3
    assert averaged(shim, optimizer)[2] == pytest.approx(4 / 13 * second + 9 / 13 * -0.7)
    thincs = np.array([0.1], dtype="float32")
    for t, bias in enumerate(biases[1:], start=2):
        NumpyOps().update_averages(thincs, np.array([bias], dtype="float32"), t)
    assert averaged(shim, optimizer)[2] == pytest.approx(float(thincs[0]), rel=1e-6)


def test_averages_move_slowly_after_many_steps():
    shim, optimizer = linear_shim(bias=0.0), SGD(0.1, L2=0.0, grad_clip=0.0)
    step(shim, optimizer, bias=0.0)
    (clock,) = [key for key in optimizer.nr_update if "network" in key]
    optimizer.nr_update[clock] = 10**6
    step(shim, optimizer, bias=10.0)
    assert averaged(shim, optimizer)[2] == pytest.approx(-1e-4)  # of a way of one


def test_no_averages_where_the_config_wants_none():
    shim, optimizer = linear_shim(), SGD(0.1, use_averages=False)
    step(shim, optimizer)
    assert optimizer.averages is None


def test_use_params_restores_exactly_also_after_an_exception():
    shim, optimizer = linear_shim(), Adam(0.1)
    for _ in range(3):
        step(shim, optimizer)
    before = values(shim)
    assert averaged(shim, optimizer) != before

    def fail():
        with shim.use_params(optimizer.averages):
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert values(shim) == before


def test_use_params_leaves_the_parameters_of_others_alone():
    shim, other, optimizer = linear_shim(), linear_shim(), Adam(0.1)
    for _ in range(3):
        step(shim, optimizer)
    with other.use_params(optimizer.averages):
        assert values(other) == [1.0, 2.0, 0.5]


def test_a_pipeline_saved_under_use_params_holds_the_averages(tmp_path):
    nlp = build("bigru_ner")
    optimizer = Adam(0.01, use_averages=True)
    train(nlp, steps=10, sgd=optimizer)
    current = logits(nlp)
    with nlp.use_params(optimizer.averages):
        nlp.to_disk(tmp_path)
        average = logits(nlp)
    np.testing.assert_array_equal(logits(nlp), current)
    assert np.abs(average - current).max() > 0.01
    np.testing.assert_allclose(logits(spacy.load(tmp_path)), average, atol=1e-6)


def test_averages_from_before_a_new_label_are_left_out():
    nlp = build("bigru_ner")
    optimizer = Adam(0.01, use_averages=True)
    train(nlp, steps=5, sgd=optimizer)
    nlp.get_pipe("bigru_ner").add_label("NEW")
    network = nlp.get_pipe("bigru_ner").model.shims[0].network
    before, recurrent = network.linear.weight.clone(), network.encoder.layers[0]["forward_layer"]
    moving = recurrent.weight_hh_l0.clone()
    with nlp.use_params(optimizer.averages):
        assert torch.equal(network.linear.weight, before)
        assert not torch.equal(recurrent.weight_hh_l0, moving)
    assert torch.equal(recurrent.weight_hh_l0, moving)


def test_a_copy_has_an_id_and_averages_of_its_own():
    shim, optimizer = linear_shim(), SGD(0.1, L2=0.0, grad_clip=0.0)
    for clone in (shim.copy(), copy.deepcopy(shim), pickle.loads(pickle.dumps(shim))):
        assert clone.id != shim.id
        assert values(clone) == values(shim) == [1.0, 2.0, 0.5]
        step(clone, optimizer)
        assert averaged(clone, optimizer)[2] == pytest.approx(0.1)
        assert averaged(shim, optimizer) == values(shim) == [1.0, 2.0, 0.5]


def test_a_copy_keeps_its_settings_and_leaves_the_moments():
    shim = NetworkShim(linear_shim().network, device="cpu", mixed_precision=True)
    optimizer = Adam(0.1)
    step(shim, optimizer)
    clone = copy.deepcopy(shim)
    assert (clone.device_name, clone.mixed_precision) == ("cpu", True)
    fresh = linear_shim(values(shim)[:2], values(shim)[2])
    step(clone, optimizer, bias=-1.0)
    step(fresh, Adam(0.1), bias=-1.0)
    assert values(clone) == pytest.approx(values(fresh))


# --- NumPy and torch


def torch_logits(pipe):
    """The logits by torch's network, in the order of `logits`."""
    model = pipe.model
    shim = model.shims[0]
    docs = [Doc(pipe.vocab, words=text.split()) for text in TEXTS]
    batch = DocReader(standard_embed(), by_sentence=True).read(docs, shim)
    with torch.no_grad():
        return shim.network.eval()(batch).numpy()


def test_a_loaded_pipeline_predicts_without_torchs_network(tmp_path):
    nlp = build("bigru_ner", model=TINY)
    train(nlp, steps=3)
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    pipe = loaded.get_pipe("bigru_ner")
    shim = pipe.model.shims[0]
    found = logits(loaded)
    loaded.to_bytes()
    pickle.loads(pickle.dumps(loaded))
    assert shim._model is None
    np.testing.assert_allclose(found, logits(nlp), atol=1e-5)
    network = shim.network  # built now, on the same memory
    assert np.shares_memory(network.linear.weight.detach().numpy(), shim.arrays["linear.weight"])
    np.testing.assert_allclose(logits(loaded), found, atol=1e-6)


def test_numpy_follows_the_training_of_torchs_network(tmp_path):
    nlp = build("bigru_ner", model={"hidden": 8})
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    pipe = loaded.get_pipe("bigru_ner")
    before = logits(loaded)
    loaded.resume_training()
    optimizer = Adam(0.05, use_averages=True)
    for _ in range(3):
        train(loaded, steps=1, sgd=optimizer)
        now = logits(loaded)
        assert abs(now - before).max() > 0.01
        np.testing.assert_allclose(now, torch_logits(pipe), atol=1e-5)
        with loaded.use_params(optimizer.averages):
            np.testing.assert_allclose(logits(loaded), torch_logits(pipe), atol=1e-5)
        before = now
    pipe.add_label("NEW")
    np.testing.assert_allclose(logits(loaded), torch_logits(pipe), atol=1e-5)


def test_what_torch_is_needed_for_says_so(tmp_path, monkeypatch):
    nlp = build("bigru_ner", model=TINY)
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    loaded(TEXTS[0])
    message = (
        r"needs the package torch, which is not installed: pip install 'bigru-tagger\[torch\]'"
    )
    with pytest.raises(ImportError, match=f"training, a GPU or bfloat16 {message}"):
        loaded.get_pipe("bigru_ner").model.shims[0].network  # noqa: B018 - a property
    for setting in ({"device": "cuda"}, {"predict_precision": "bfloat16"}):
        with pytest.raises(ImportError, match=message):
            build("bigru_ner", model={**TINY, **setting})


# --- storage


def test_storage_is_safetensors():
    nlp = build("bigru_tagger")
    pipe = nlp.get_pipe("bigru_tagger")
    data = pipe.model.shims[0].to_bytes()
    stored = safetensors.torch.load(data)
    assert all(value.equal(stored[name]) for name, value in parameters(pipe).items())
    assert data in pipe.to_bytes()  # as it is, within thinc's message
    with pytest.raises(ValueError, match="opcode"):
        pickletools.dis(data)


@pytest.mark.parametrize("data", [b"nonsense", pickle.dumps({"a": 1}), b"\x00" * 100])
def test_other_bytes_are_no_network(data):
    with pytest.raises(ValueError, match="not a saved bigru_tagger network"):
        NetworkShim().from_bytes(data)


def test_before_initialisation_there_is_nothing_to_store_and_nothing_to_run():
    shim = NetworkShim()
    assert shim.to_bytes() == b""
    assert not shim.from_bytes(b"").is_initialised
    assert not copy.deepcopy(shim).is_initialised
    with shim.use_params({}):
        pass
    with pytest.raises(ValueError, match="no parameters yet"):
        _ = shim.network


def test_an_uninitialised_pipeline_can_be_stored(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("bigru_ner", config={"model": TINY})
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    loaded.initialize(lambda: read_examples(loaded.vocab))
    assert logits(loaded).shape == (27, 13)


# --- devices


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_a_device_can_be_overridden_when_loading(device, tmp_path):
    nlp = build("bigru_ner")
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path, config={"components.bigru_ner.model.device": device})
    assert loaded.get_pipe("bigru_ner").model.shims[0].device == choose_device(device)
    np.testing.assert_allclose(logits(loaded), logits(nlp), atol=1e-5)


# --- precision, processes


def test_mixed_precision_trains_in_bfloat16_and_learns():
    full = build("bigru_ner")
    train(full, steps=5)
    mixed = build("bigru_ner", model={**TINY, "mixed_precision": True})
    mixed.from_bytes(full.to_bytes())
    np.testing.assert_array_equal(logits(mixed), logits(full))
    docs = [example.reference for example in read_examples(full.vocab)]
    scores = [pipe.model.begin_update(docs)[0] for _, pipe in (*full.pipeline, *mixed.pipeline)]
    ours, others = (np.concatenate(score) for score in scores)
    assert ours.dtype == others.dtype == np.float32
    assert 0.0 < np.abs(ours - others).max() < 0.03
    assert train(mixed)["bigru_ner"] < 0.02
    assert all(value.dtype == torch.float32 for value in parameters(mixed.pipeline[0][1]).values())


@pytest.mark.parametrize("depth", [1, 2])
def test_prediction_in_bfloat16_is_close_to_float32(depth, tmp_path):
    model = {**TINY, "hidden": 16, "depth": depth, "occurrences": 4}
    nlp = build("bigru_ner", model=model)
    train(nlp, steps=10)
    nlp.to_disk(tmp_path)
    path = "components.bigru_ner.model.predict_precision"
    low = spacy.load(tmp_path, config={path: "bfloat16"})
    assert logits(low).dtype == np.float32
    assert 0.0 < np.abs(logits(low) - logits(nlp)).max() < 0.05
    same = spacy.load(tmp_path, config={path: "float32"})
    np.testing.assert_array_equal(logits(same), logits(nlp))
    low.get_pipe("bigru_ner").model.shims[0].cache.clear()
    copy = low.get_pipe("bigru_ner").model.copy()
    assert copy.shims[0].predict_precision == "bfloat16"
