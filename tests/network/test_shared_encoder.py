"""Three components over one encoder: a BiGRUTok2Vec and listeners."""

import numpy as np
import pytest
import spacy
from samples import TASKS, TEXTS, TINY, WORDS, parameters, read_examples, train
from spacy.tokens import Doc
from thinc.api import SGD, Adam, fix_random_seed

from bigru_tagger.report.gates import plot_gates, read_gates

FACTORIES = [task.factory for task in TASKS]
ENCODER = {
    "@architectures": "bigru_tagger.BiGRUTok2Vec.v1",
    "hidden": 8,
    "embed": {"words": WORDS},
}
LISTENER = {
    "@architectures": "spacy.Tok2VecListener.v1",
    "width": 16,
    "upstream": "encoder",
}
HEAD = {
    **TINY,
    "depth": 0,
    "embed": {"shared": {"@misc": "bigru_tagger.Tok2VecEmbed.v1", "tok2vec": LISTENER}},
}


def build_shared(factories=FACTORIES, seed=0, **head):
    fix_random_seed(seed)
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", name="encoder", config={"model": ENCODER})
    for factory in factories:
        nlp.add_pipe(factory, config={"model": {**HEAD, **head}})
    nlp.initialize(lambda: read_examples(nlp.vocab))
    return nlp


def annotations(nlp):
    docs = list(nlp.pipe([Doc(nlp.vocab, words=text.split()) for text in TEXTS]))
    return [[task.read(doc) for task in TASKS] for doc in docs]


def confidences(nlp):
    docs = nlp.pipe([Doc(nlp.vocab, words=text.split()) for text in TEXTS])
    return [
        [*(ent._.confidence for ent in doc.ents), *doc.spans["chunks"].attrs["scores"]]
        for doc in docs
    ]


@pytest.fixture(scope="module")
def shared():
    """A trained pipeline. Tests must not change it."""
    nlp = build_shared()
    losses = train(nlp, steps=50, sgd=Adam(0.02, L2=0.0))
    assert all(losses[factory] < 0.05 for factory in FACTORIES)
    return nlp


def test_a_listener_of_another_width_is_an_error():
    listener = {**LISTENER, "width": 12}
    embed = {"shared": {"@misc": "bigru_tagger.Tok2VecEmbed.v1", "tok2vec": listener}}
    nlp = build_shared(["bigru_ner"], embed=embed)
    message = "the encoder's output has the width 16, but .* has width = 12: set `width`"
    with pytest.raises(ValueError, match=message):
        nlp.update(read_examples(nlp.vocab))
    with pytest.raises(ValueError, match=message):
        list(nlp.pipe(["", "Ada left"]))


def same_confidences(one, other):
    for ours, theirs in zip(confidences(one), confidences(other), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)


def test_all_three_learn_together_and_are_stored(shared, tmp_path):
    gold = [[task.read(eg.reference) for task in TASKS] for eg in read_examples(shared.vocab)]
    assert annotations(shared) == gold
    shared.to_disk(tmp_path)
    for loaded in (spacy.load(tmp_path), build_shared(seed=1).from_disk(tmp_path)):
        assert annotations(loaded) == gold
        same_confidences(loaded, shared)


def test_the_gates_are_those_of_the_encoder_which_has_no_tags(shared, tmp_path):
    gates = read_gates(shared, TEXTS[0])
    assert (gates.component, gates.tags, dict(gates.shares)) == ("encoder", (), {})
    assert [(layer.layer, layer.direction) for layer in gates.layers] == [
        (0, "forward"),
        (0, "backward"),
    ]
    plot_gates(gates, tmp_path / "gates.svg")
    assert (tmp_path / "gates.svg").read_text(encoding="utf8").count("backward") == 2
    with pytest.raises(ValueError, match="the GRU belongs to the encoder's component"):
        read_gates(shared, TEXTS[0], "bigru_ner")


def test_all_three_learn_together_with_a_crf(tmp_path):
    nlp = build_shared(decode="crf")
    losses = train(nlp, steps=50, sgd=Adam(0.02, L2=0.0))
    assert all(losses[factory] < 0.05 for factory in FACTORIES)
    gold = [[task.read(eg.reference) for task in TASKS] for eg in read_examples(nlp.vocab)]
    assert annotations(nlp) == gold
    nlp.to_disk(tmp_path)
    for loaded in (spacy.load(tmp_path), build_shared(seed=1, decode="crf").from_disk(tmp_path)):
        assert annotations(loaded) == gold
        same_confidences(loaded, nlp)


def encoder_change(original, factories):
    """How one step of SGD on some of the components changes the encoder's parameters."""
    nlp = build_shared(factories)
    for name in ["encoder", *factories]:
        nlp.get_pipe(name).from_bytes(original.get_pipe(name).to_bytes())
    before = parameters(nlp.get_pipe("encoder"))
    # As in spaCy's training loop. A plain `nlp.update` would update the encoder before its gradient
    # is complete.
    nlp.update(read_examples(nlp.vocab), sgd=False, drop=0.0)
    nlp.get_pipe("encoder").finish_update(SGD(1.0, L2=0.0, grad_clip=0.0))
    after = parameters(nlp.get_pipe("encoder"))
    return {name: (after[name] - value).numpy() for name, value in before.items()}


def test_gradients_reach_the_encoder_from_each_component_and_add_up():
    nlp = build_shared()
    single = [encoder_change(nlp, [factory]) for factory in FACTORIES]
    together = encoder_change(nlp, FACTORIES)
    unknown = together.pop("embed.words.unknown")  # that no word counts as, in training
    assert not unknown.any()
    for name, change in together.items():
        assert all(one[name].any() for one in single)
        np.testing.assert_allclose(change, sum(one[name] for one in single), atol=1e-6)


def test_without_layers_of_its_own_a_component_is_linear_in_the_encoder(shared):
    doc = Doc(shared.vocab, words=TEXTS[0].split())
    shared.get_pipe("encoder")(doc)
    for factory in FACTORIES:
        pipe = shared.get_pipe(factory)
        named = parameters(pipe)
        assert set(named) == {"linear.weight", "linear.bias"}
        expected = doc.tensor @ named["linear.weight"].numpy().T + named["linear.bias"].numpy()
        np.testing.assert_allclose(pipe.logits([doc])[0], expected, atol=1e-5)


def test_replacing_listeners_keeps_the_predictions(shared, tmp_path):
    nlp = spacy.blank("en").from_config(shared.config).from_bytes(shared.to_bytes())
    for factory in FACTORIES:
        nlp.replace_listeners("encoder", factory, ["model.embed.shared.tok2vec"])
    nlp.remove_pipe("encoder")
    assert annotations(nlp) == annotations(shared)
    same_confidences(nlp, shared)
    # Each has an encoder of its own now, ...
    shims = [nlp.get_pipe(factory).model.layers[0].shims[0] for factory in FACTORIES]
    assert len({shim.id for shim in shims}) == 3
    nlp.update(read_examples(nlp.vocab), sgd=SGD(0.1), exclude=FACTORIES[1:])
    weights = [shim.network.embed["words"].table.weight for shim in shims]
    assert not weights[0].equal(weights[1])
    assert weights[1].equal(weights[2])
    # ... and is stored with it.
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert loaded.pipe_names == FACTORIES
    assert annotations(loaded) == annotations(nlp)
    same_confidences(loaded, nlp)


def test_sourced_from_a_trained_pipeline(shared):
    nlp = spacy.blank("en")
    for name in ["encoder", "bigru_ner"]:
        nlp.add_pipe(name, source=shared)
    doc = nlp(Doc(nlp.vocab, words=TEXTS[0].split()))
    assert TASKS[0].read(doc) == annotations(shared)[0][0]


def test_empty_docs_among_others(shared):
    docs = list(shared.pipe([Doc(shared.vocab), Doc(shared.vocab, words=TEXTS[0].split())]))
    assert [task.read(docs[0]) for task in TASKS] == [[], [], []]
    assert [task.read(docs[1]) for task in TASKS] == annotations(shared)[0]


def test_rehearsal_with_a_listener_is_an_error(shared):
    nlp = spacy.blank("en").from_config(shared.config).from_bytes(shared.to_bytes())
    optimizer = nlp.resume_training()
    with pytest.raises(ValueError, match=r"with a listener.*call nlp\.replace_listeners"):
        nlp.rehearse(read_examples(nlp.vocab), sgd=optimizer)
    for factory in FACTORIES:
        nlp.replace_listeners("encoder", factory, ["model.embed.shared.tok2vec"])
    nlp.remove_pipe("encoder")
    nlp.resume_training(sgd=optimizer)
    assert set(nlp.rehearse(read_examples(nlp.vocab), sgd=optimizer)) == set(FACTORIES)
