import copy
import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import spacy
import torch
from samples import TEXTS, WORDS, build, read_examples, train
from spacy.cli.package import get_meta
from spacy.tokens import Doc
from thinc.api import SGD, Adam
from thinc.api import registry as thinc_registry
from tiny_transformer import save_bert

from bigru_tagger.embeddings.transformer import TransformerEmbed
from bigru_tagger.model.cache import TextCache
from bigru_tagger.model.shim import NetworkShim
from bigru_tagger.model.transformer_layer import transformer_model
from bigru_tagger.network.transformer import WordTransformer

SETTINGS = {
    "revision": None,
    "pooling": "mean",
    "layers": 1,
    "window": None,
    "overlap": 4,
    "trainable": False,
    "learn_rate": None,
    "cache_mb": 10,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_bert(
        tmp_path_factory.mktemp("bert"), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )


def block(folder, **settings):
    return {"@misc": "bigru_tagger.TransformerEmbed.v1", "name": str(folder)} | SETTINGS | settings


def pipeline(folder, *, words=False, seed=0, model=None, **settings):
    embed = {"transformer": block(folder, **settings), **({"words": WORDS} if words else {})}
    model = {"hidden": 16, "input_dropout": 0.0, "embed": embed, **(model or {})}
    return build("bigru_ner", model=model, seed=seed)


def layer_of(nlp):
    return nlp.get_pipe("bigru_ner").model.layers[0]


def shim_of(nlp):
    return layer_of(nlp).shims[0]


def layer(folder, **settings):
    embedding = TransformerEmbed(name=folder, **{**SETTINGS, **settings})
    model = transformer_model(embedding, NetworkShim())
    model.initialize(X=[])
    return model, model.shims[0]


def docs(vocab=None):
    vocab = vocab or spacy.blank("en").vocab
    return [Doc(vocab, words=text.split()) for text in TEXTS]


def logits(nlp):
    return np.concatenate(nlp.get_pipe("bigru_ner").logits(docs(nlp.vocab)))


def states(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def changed(module, before):
    return {name for name, value in module.state_dict().items() if not value.equal(before[name])}


def update(model, batch, optimizer):
    vectors, backprop = model.begin_update(batch)
    backprop([np.ones_like(array) for array in vectors])
    model.finish_update(optimizer)


@pytest.fixture
def calls(monkeypatch):
    """The words of each text that a transformer read."""
    read = []
    pooled_states = WordTransformer.pooled_states

    def spy(self, texts):
        read.extend(" ".join(words) for words in texts)
        return pooled_states(self, texts)

    monkeypatch.setattr(WordTransformer, "pooled_states", spy)
    return read


# --- in a pipeline


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (True, {"trainable": False, "layers": 1}),
        (False, {"trainable": False, "layers": 3}),
        (False, {"trainable": True, "layers": 2}),
        (True, {"trainable": True, "layers": 1, "pooling": "first", "window": 9}),
    ],
    ids=str,
)
def test_a_pipeline_learns_and_is_stored_with_all_that_it_needs(
    words, settings, folder, tmp_path, monkeypatch
):
    settings = {"learn_rate": 0.002, **settings} if settings["trainable"] else settings
    source = tmp_path / "source"
    shutil.copytree(folder, source)
    nlp = pipeline(source, words=words, **settings)
    assert train(nlp, steps=60, sgd=Adam(0.02, L2=0.0))["bigru_ner"] < 0.05
    gold = [[str(ent) for ent in example.reference.ents] for example in read_examples(nlp.vocab)]
    assert [[str(ent) for ent in doc.ents] for doc in nlp.pipe(docs(nlp.vocab))] == gold
    nlp.to_disk(tmp_path / "stored")

    other = pipeline(source, words=words, seed=1, **settings)
    train(other, steps=2, sgd=Adam(0.01, L2=0.0))
    assert np.abs(logits(other) - logits(nlp)).max() > 0.1
    shutil.rmtree(source)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for loaded in (spacy.load(tmp_path / "stored"), other.from_disk(tmp_path / "stored")):
        np.testing.assert_allclose(logits(loaded), logits(nlp), atol=1e-5)


def test_a_stored_pipeline_needs_neither_folder_nor_network(folder, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(folder, source)
    nlp = pipeline(source, layers=2)
    nlp.to_disk(tmp_path / "stored")
    shutil.rmtree(source)
    program = (
        "import sys, socket, spacy\n"
        "def refuse(*arguments, **settings): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "nlp = spacy.load(sys.argv[1])\n"
        "doc = spacy.tokens.Doc(nlp.vocab, words=sys.argv[2].split())\n"
        "print(nlp.get_pipe('bigru_ner').logits([doc])[0].ravel().tolist())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "stored", TEXTS[0]],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = nlp.get_pipe("bigru_ner").logits(docs(nlp.vocab)[:1])[0].ravel().tolist()
    assert eval(ran.stdout) == pytest.approx(expected, abs=1e-5)


def share(transformer, factories):
    """A pipeline whose components share an encoder with a transformer."""
    encoder = {
        "@architectures": "bigru_tagger.BiGRUTok2Vec.v1",
        "hidden": 8,
        "embed": {"transformer": transformer},
    }
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16, "upstream": "*"}
    shared = {"@misc": "bigru_tagger.Tok2VecEmbed.v1", "tok2vec": listener}
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": encoder})
    for factory in factories:
        nlp.add_pipe(factory, config={"model": {"hidden": 8, "embed": {"shared": shared}}})
    nlp.initialize(lambda: read_examples(nlp.vocab))
    return nlp


def test_components_share_a_transformer(folder, tmp_path, calls):
    factories = ["bigru_ner", "bigru_tagger"]
    nlp = share(block(folder, trainable=True, learn_rate=0.002), factories)
    shim = nlp.get_pipe("tok2vec").model.layers[0].shims[0]
    before = states(shim.transformer)
    calls.clear()
    train(nlp, steps=2)
    assert len(calls) == 2 * len(TEXTS)
    assert "encoder.embeddings.LayerNorm.weight" in changed(shim.transformer, before)
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    for factory in factories:
        first, second = (
            [pipe.logits([one.get_pipe("tok2vec")(doc)])[0] for doc in docs(one.vocab)]
            for one in (nlp, loaded)
            for pipe in [one.get_pipe(factory)]
        )
        for one, other in zip(first, second, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (pipeline, ["bigru-tagger[transformers]>=0.2.0"]),
        (lambda folder: share(block(folder), ["bigru_ner"]), ["bigru-tagger[transformers]>=0.2.0"]),
        (lambda _: build("bigru_ner"), ["bigru-tagger>=0.2.0,<0.3.0"]),
    ],
    ids=["own", "shared", "none"],
)
def test_a_package_requires_the_extra_of_a_transformer(make, expected, folder, tmp_path):
    nlp = make(folder)
    nlp.initialize(lambda: read_examples(nlp.vocab))  # as often as one likes
    nlp.to_disk(tmp_path)
    saved = json.loads((tmp_path / "meta.json").read_text(encoding="utf8"))
    assert get_meta(tmp_path, saved)["requirements"] == expected  # as `spacy package` does


def test_the_vectors_stand_beside_those_of_the_other_embeddings(folder):
    nlp = pipeline(folder, words=True)
    network = nlp.get_pipe("bigru_ner").model.shims[0].network
    assert {name: module.width for name, module in network.embed.items()} == {
        "words": 32,
        "transformer": 8,
    }
    assert layer_of(nlp).get_dim("nO") == 8
    assert nlp.get_pipe("bigru_ner").model.get_ref("tok2vec") is layer_of(nlp)


def test_docs_without_tokens_or_without_anything_to_read(folder):
    nlp = pipeline(folder, layers=2, trainable=True)
    batch = [Doc(nlp.vocab), *docs(nlp.vocab), Doc(nlp.vocab, words=["\n", "\u200b"])]
    together = nlp.get_pipe("bigru_ner").logits(batch)
    alone = [nlp.get_pipe("bigru_ner").logits([doc])[0] for doc in batch[1:]]
    for one, other in zip(together[1:], alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    model = layer_of(nlp)
    for empty in ([], batch[:1], [batch[0], batch[-1]]):
        vectors, backprop = model.begin_update(empty)
        assert [array.shape for array in vectors] == [(len(doc), 8) for doc in empty]
        backprop(vectors)
        assert not any(array.any() for array in model.predict(empty))


def test_a_prediction_cannot_be_backpropagated(folder):
    model, _ = layer(folder)
    vectors, backprop = model(docs(), is_train=False)
    with pytest.raises(ValueError, match="begin_update instead"):
        backprop(vectors)


def test_the_encoder_follows_device_and_precision_of_its_model(folder):
    model = {"device": "cpu", "mixed_precision": True, "predict_precision": "bfloat16"}
    nlp = pipeline(folder, trainable=True, model=model)
    shim = shim_of(nlp)
    assert (shim.device_name, shim.mixed_precision) == ("cpu", True)
    assert shim.predict_precision == "bfloat16"
    batch = docs(nlp.vocab)
    low = np.concatenate(layer_of(nlp).predict(batch))
    shim.predicts_in_bfloat16 = False
    full = np.concatenate(layer_of(nlp).predict(batch))
    assert low.dtype == np.float32
    assert 0.0 < np.abs(low - full).max() < 0.5
    assert train(nlp, steps=2)["bigru_ner"] > 0.0


# --- training


@pytest.mark.parametrize("layers", [1, 3])
def test_gradients_are_those_of_autograd(layers, folder):
    model, shim = layer(folder, trainable=True, layers=layers, window=12)
    reference = copy.deepcopy(shim.transformer).eval()
    batch = docs()
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=(len(doc), 8)).astype("float32") for doc in batch]
    _, backprop = model.begin_update(batch)
    backprop(gradients)
    loss = sum(
        (reference([[token.text for token in doc]]) * torch.from_numpy(gradient)).sum()
        for doc, gradient in zip(batch, gradients, strict=True)
    )
    loss.backward()
    found = {name for name, p in shim.transformer.named_parameters() if p.grad is not None}
    assert found == {name for name, p in reference.named_parameters() if p.grad is not None}
    assert len(found) > 40
    assert ("mix.weights" in found) == (layers > 1)
    for name, parameter in shim.transformer.named_parameters():
        if name in found:
            expected = reference.get_parameter(name).grad
            torch.testing.assert_close(parameter.grad, expected, atol=1e-3, rtol=1e-3)


def test_a_frozen_encoder_stays_and_the_mix_of_its_layers_learns(folder):
    nlp = pipeline(folder, layers=3)
    transformer = shim_of(nlp).transformer
    before = states(transformer)
    train(nlp, steps=5, sgd=Adam(0.01, L2=0.1, use_averages=True))
    assert changed(transformer, before) == {"mix.weights", "mix.scale"}


def test_a_frozen_encoder_without_a_mix_has_nothing_to_learn(folder):
    model, shim = layer(folder)
    before = states(shim.transformer)
    optimizer = Adam(0.01, use_averages=True)
    update(model, docs(), optimizer)
    assert changed(shim.transformer, before) == set()
    assert optimizer.averages == {}


def test_a_trained_encoder_changes_as_a_whole(folder):
    model, shim = layer(folder, trainable=True, layers=2)
    before = states(shim.transformer)
    optimizer = Adam(0.01, L2=0.0)
    rng = np.random.default_rng(0)
    _, backprop = model.begin_update(docs())
    backprop([rng.normal(size=(len(doc), 8)).astype("float32") for doc in docs()])
    model.finish_update(optimizer)
    stayed = set(before) - changed(shim.transformer, before)
    # The pooler is not used; keys' biases cancel in the softmax, up to rounding.
    assert not {name for name in stayed if "pooler" not in name and "key.bias" not in name}


def moves(folder, learn_rate, optimizer, steps=1):
    """How far the first steps move a weight of the encoder, and one of the mix."""
    model, shim = layer(folder, trainable=True, layers=2, learn_rate=learn_rate)
    weights = shim.transformer.encoder.embeddings.LayerNorm.weight, shim.transformer.mix.scale
    found = []
    for _ in range(steps):
        before = [weight.detach().clone() for weight in weights]
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        model.shims[0].finish_update(optimizer)
        optimizer.step_schedules()
        found.append(
            [
                float((old - new.detach()).abs().max())
                for old, new in zip(before, weights, strict=True)
            ]
        )
    return found


def test_the_encoder_has_a_learn_rate_of_its_own(folder):
    settings = {"L2": 0.0, "grad_clip": 0.0, "use_averages": False}
    assert moves(folder, None, SGD(0.5, **settings)) == [pytest.approx([0.5, 0.5])]
    assert moves(folder, 0.02, SGD(0.5, **settings)) == [pytest.approx([0.02, 0.5])]
    # Adam's first step is the rate, for any gradient.
    adam = Adam(0.5, eps=1e-12, **settings)
    assert moves(folder, 0.02, adam) == [pytest.approx([0.02, 0.5], rel=1e-4)]


@pytest.mark.parametrize(
    ("schedule", "course"),
    [
        (
            {
                "@schedules": "warmup_linear.v1",
                "initial_rate": 0.5,
                "warmup_steps": 2,
                "total_steps": 6,
            },
            [0.0, 0.5, 1.0, 0.75, 0.5, 0.25],
        ),
        (
            {"@schedules": "decaying.v1", "base_rate": 0.5, "decay": 1.0},
            [1.0, 1 / 2, 1 / 3, 1 / 4],
        ),
        ([0.25, 0.5, 0.125], [0.5, 1.0, 0.25, 0.25]),
    ],
    ids=["warm-up", "decaying", "list"],
)
def test_the_learn_rate_follows_the_optimizers_schedule_in_proportion(schedule, course, folder):
    if isinstance(schedule, dict):
        schedule = thinc_registry.resolve({"schedule": schedule})["schedule"]
    optimizer = SGD(schedule, L2=0.0, grad_clip=0.0, use_averages=False)
    found = moves(folder, 0.02, optimizer, steps=len(course))
    expected = [[0.02 * part, 0.5 * part] for part in course]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_averages_are_put_in_place_and_taken_back(folder):
    nlp = pipeline(folder, trainable=True, layers=2)
    optimizer = Adam(0.01, L2=0.0, use_averages=True)
    train(nlp, steps=5, sgd=optimizer)
    shim, before = shim_of(nlp), states(shim_of(nlp).transformer)
    now = logits(nlp)
    with nlp.use_params(optimizer.averages):
        moved = changed(shim.transformer, before)
        assert {"mix.scale", "encoder.embeddings.LayerNorm.weight"} <= moved
        averaged = logits(nlp)
        stored = nlp.to_bytes()
    assert np.abs(averaged - now).max() > 1e-4
    np.testing.assert_allclose(logits(nlp), now, atol=1e-6)
    again = pipeline(folder, trainable=True, layers=2, seed=1).from_bytes(stored)
    np.testing.assert_allclose(logits(again), averaged, atol=1e-5)


def test_rehearsal_reaches_the_encoder(folder):
    nlp = pipeline(folder, trainable=True)
    optimizer = nlp.resume_training(sgd=Adam(0.01))
    train(nlp, steps=3, sgd=optimizer)
    before = states(shim_of(nlp).transformer)
    nlp.rehearse(read_examples(nlp.vocab), sgd=optimizer)
    assert "encoder.embeddings.LayerNorm.weight" in changed(shim_of(nlp).transformer, before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_is_like_the_original_and_apart_from_it(copied, folder):
    model, shim = layer(folder, trainable=True, layers=2, learn_rate=0.01, cache_mb=3)
    expected = np.concatenate(model.predict(docs()))
    clone = copied(shim)
    assert clone.id != shim.id
    assert clone.settings() == shim.settings()
    np.testing.assert_array_equal(clone.predict(docs()).detach().numpy(), expected)
    clone.transformer.encoder.embeddings.LayerNorm.weight.data += 1.0
    np.testing.assert_array_equal(np.concatenate(model.predict(docs())), expected)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_several_processes_predict_the_same(folder):
    nlp = pipeline(folder)
    expected = [doc.to_json() for doc in nlp.pipe(docs(nlp.vocab))]
    assert [doc.to_json() for doc in nlp.pipe(docs(nlp.vocab), n_process=2)] == expected


# --- what a frozen encoder put out is kept in training


def test_a_frozen_encoder_reads_each_distinct_doc_once(folder, calls):
    nlp = pipeline(folder, layers=2)
    calls.clear()
    train(nlp, steps=3)
    assert sorted(calls) == sorted(TEXTS)
    # By the words, not the objects; a vocab of its own makes no difference.
    layer_of(nlp).predict(docs())
    assert len(calls) == len(TEXTS)
    # Twice in a batch is once, too.
    new = Doc(nlp.vocab, words=["Nobody", "left"])
    layer_of(nlp).begin_update([new, *docs(nlp.vocab), copy.copy(new)])
    assert calls[len(TEXTS) :] == ["Nobody left"]


def test_what_is_kept_is_what_would_be_computed(folder):
    model, shim = layer(folder, layers=3)
    expected = model.predict(docs())
    for _ in range(2):
        trained, _ = model.begin_update(docs())
        for one, other in zip(trained, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(shim.cache) == len(TEXTS)


def test_a_pipeline_that_only_predicts_keeps_nothing(folder, calls):
    model, shim = layer(folder)
    for _ in range(2):
        model.predict(docs())
    assert len(calls) == 2 * len(TEXTS)
    assert len(shim.cache) == 0


def test_none_is_kept_without_room_or_where_the_encoder_learns(folder, calls):
    for settings in ({"cache_mb": 0}, {"trainable": True}):
        model, shim = layer(folder, **settings)
        calls.clear()
        for _ in range(2):
            model.begin_update(docs())
        assert len(calls) == 2 * len(TEXTS)
        assert len(shim.cache) == 0


def retrain(shim):
    with torch.no_grad():
        shim.transformer.encoder.embeddings.LayerNorm.weight += 1.0


def load_others(shim):
    other = copy.deepcopy(shim.transformer)
    other.encoder.embeddings.LayerNorm.weight.data += 1.0
    shim.from_bytes(other.to_bytes())


@pytest.mark.parametrize("change", [retrain, load_others])
def test_what_is_kept_goes_when_the_weights_change(change, folder):
    model, shim = layer(folder)
    before, _ = model.begin_update(docs())
    assert len(shim.cache) == len(TEXTS)
    change(shim)
    after = model.predict(docs())
    shim.cache.clear()
    fresh = model.predict(docs())
    for one, two, three in zip(before, after, fresh, strict=True):
        assert np.abs(one - two).max() > 0.1
        np.testing.assert_array_equal(two, three)


def test_a_step_of_the_mix_keeps_what_the_encoder_put_out(folder, calls):
    model, shim = layer(folder, layers=3)
    for _ in range(3):
        update(model, docs(), Adam(0.01))
    assert len(calls) == len(TEXTS)
    assert not shim.transformer.mix.weights.equal(torch.zeros(3))


def test_the_cache_is_bounded_and_keeps_what_came_first():
    asked = []

    def compute(places):
        asked.append(places)
        # Parts of one tensor, as the states of a batch are.
        return torch.arange(10.0).expand(len(places), 10).contiguous().unbind()

    cache = TextCache(100)  # room for two: 40 bytes each, and a byte for the key
    keys = [b"a", b"b", b"a", b"c"]
    for _ in range(3):
        found = cache.look_up(keys, (1,), compute)
        assert all(values.equal(torch.arange(10.0)) for values in found)
    assert asked == [[2, 1, 3], [3], [3]]
    assert (len(cache), cache.n_bytes) == (2, 82)
    kept = cache.look_up([b"a"], (1,), compute)[0]
    assert kept.untyped_storage().nbytes() == 40
    cache.look_up([b"a"], (2,), compute)
    assert (asked[-1], len(cache)) == ([0], 1)


# --- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cache_mb": -1}, "'cache_mb' must be at least 0.*cache_mb = -1"),
        ({"learn_rate": 0.0}, "'learn_rate' positive, or null.*learn_rate = 0.0"),
        ({"learn_rate": 1e-5}, "needs a trainable transformer: set trainable = true"),
        ({"pooling": "max"}, "'pooling' must be one of"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        TransformerEmbed(name="any", **{**SETTINGS, **settings})


def test_before_initialisation_there_is_no_transformer():
    model = transformer_model(TransformerEmbed(name="any", **SETTINGS), NetworkShim())
    assert model.shims[0].to_bytes() == b""
    assert not model.shims[0].from_bytes(b"").is_initialised
    with pytest.raises(ValueError, match="no parameters yet"):
        model.predict(docs())
