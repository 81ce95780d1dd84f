"""Pipelines that are combined into an ensemble."""

import json

import numpy as np
import pytest
import spacy
from samples import CRF, TEXTS, TINY, WORDS, build, read_examples, train
from spacy.tokens import DocBin
from typer.testing import CliRunner

from bigru_tagger import combine
from bigru_tagger.cli import app
from bigru_tagger.distill.teachers import SoftTeacher
from bigru_tagger.errors import ConfigError, ModelError
from bigru_tagger.huggingface.parts import checked_component
from bigru_tagger.model.thinc_model import network_shim
from bigru_tagger.report.gates import components_with_gates, read_gates

NAME = "bigru_ner"


def save(folder, steps=10, seed=0, factories=(NAME,), vectors=None, **config):
    nlp = build(*factories, seed=seed, **config)
    train(nlp, steps)
    if vectors is not None:
        nlp.vocab.set_vector("London", np.asarray(vectors, dtype=np.float32))
    nlp.to_disk(folder)
    return str(folder)


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    folder = tmp_path_factory.mktemp("members")
    return [
        save(folder / str(seed), seed=seed, factories=(NAME, "bigru_tagger")) for seed in (1, 2, 3)
    ]


@pytest.fixture
def ensemble(members):
    return combine(members)


def logits(nlp, name=NAME):
    docs = [nlp.make_doc(text) for text in TEXTS]
    return np.concatenate(nlp.get_pipe(name).logits(docs))


def test_each_component_averages_the_logits(members, ensemble):
    for name in (NAME, "bigru_tagger"):
        parts = [logits(spacy.load(member), name) for member in members]
        assert not np.allclose(parts[0], parts[1], atol=0.01)
        np.testing.assert_allclose(logits(ensemble, name), np.mean(parts, axis=0), atol=1e-5)


def test_a_crf_averages_its_transitions(tmp_path):
    members = [save(tmp_path / str(seed), seed=seed, model=CRF) for seed in (1, 2)]
    pipes = [nlp.get_pipe(NAME) for nlp in (*map(spacy.load, members), combine(members))]
    one, two, both = (network_shim(pipe.model).decoder.parameters for pipe in pipes)
    assert one
    for name, scores in one.items():
        assert not np.array_equal(scores, two[name])
        np.testing.assert_allclose(both[name], (scores + two[name]) / 2, atol=1e-6)


def test_an_ensemble_is_saved_and_loaded(ensemble, tmp_path):
    ensemble.to_disk(tmp_path / "ensemble")
    loaded = spacy.load(tmp_path / "ensemble")
    np.testing.assert_array_equal(logits(loaded), logits(ensemble))
    meta = json.loads((tmp_path / "ensemble" / "meta.json").read_text())
    assert meta["performance"] == {}
    texts = list(ensemble.pipe(TEXTS, n_process=1))
    for doc, other in zip(texts, loaded.pipe(TEXTS, batch_size=1), strict=True):
        assert [(e.text, e.label_) for e in doc.ents] == [(e.text, e.label_) for e in other.ents]


def test_an_ensemble_in_bfloat16(ensemble, members):
    shim = network_shim(ensemble.get_pipe(NAME).model)
    expected = logits(ensemble)
    shim.predicts_in_bfloat16 = True  # then torch predicts
    assert not shim.uses_numpy
    np.testing.assert_allclose(logits(ensemble), expected, atol=0.1)


def test_an_ensemble_gets_labels_but_no_training(ensemble):
    before = logits(ensemble)
    pipe = ensemble.get_pipe(NAME)
    pipe.add_label("SHIP")
    np.testing.assert_allclose(logits(ensemble)[:, : before.shape[1]], before, atol=1e-5)
    with pytest.raises(ModelError, match="cannot be trained"):
        ensemble.update(read_examples(ensemble.vocab))


def test_an_ensemble_has_neither_gates_nor_a_hugging_face_format(ensemble):
    assert components_with_gates(ensemble) == []
    with pytest.raises(ModelError, match="the gates of several networks"):
        read_gates(ensemble, TEXTS[0], component=NAME)
    with pytest.raises(ModelError, match="ensemble"):
        checked_component(ensemble, NAME)


def test_biases_are_averaged(tmp_path):
    members = [
        save(tmp_path / str(seed), seed=seed, recall_bias=bias)
        for seed, bias in enumerate([1.0, 4.0, 1.0])
    ]
    assert combine(members).get_pipe(NAME).cfg["recall_bias"] == 2.0


WIDE = {**TINY, "hidden": 24}
NO_SHAPE = {**TINY, "embed": {"words": {**WORDS, "attrs": ["NORM", "PREFIX"]}}}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"model": WIDE}, "network: .*hidden"),
        ({"model": NO_SHAPE}, "differs in embed"),
        ({"model": {**TINY, "by_sentence": False}}, "by_sentence: True and False"),
        ({"model": CRF}, "decode"),
        ({"threshold": 0.5}, "threshold: 0.0 and 0.5. Train them with one config"),
        ({"recall_bias": {"PER": 1.0}}, "recall_bias"),
        ({"factories": ("bigru_chunker",)}, r"components: \['bigru_ner'\] and \['bigru_chunker'\]"),
        ({"factories": (NAME, "bigru_tagger")}, r"and \['bigru_ner', 'bigru_tagger'\]"),
        ({"vectors": [1.0, 2.0]}, "different word vectors"),
    ],
)
def test_pipelines_that_differ(other, message, tmp_path):
    members = [save(tmp_path / "one", steps=1), save(tmp_path / "two", steps=1, **other)]
    with pytest.raises(ModelError, match=message):
        combine(members)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_members_with_other_temperatures(order, tmp_path):
    members = [save(tmp_path / "one", steps=1), str(tmp_path / "two")]
    nlp = spacy.load(members[0])
    nlp.get_pipe(NAME).cfg["temperature"] = 1.5
    nlp.to_disk(members[1])
    with pytest.raises(ModelError, match=r"differs in temperature: 1\.[05] and 1\.[05]\. Train"):
        combine([members[i] for i in order])
    both = combine([members[1], members[1]])
    assert both.get_pipe(NAME).cfg["temperature"] == 1.5


def test_pipelines_that_differ_in_what_surrounds_the_networks(tmp_path):
    member = save(tmp_path / "one", steps=1)
    other = spacy.load(member)
    other.rename_pipe(NAME, "other")
    other.add_pipe("bigru_chunker", name=NAME, config={"model": TINY})
    other.remove_pipe("other")
    other.initialize(lambda: read_examples(other.vocab))
    other.to_disk(tmp_path / "type")
    with pytest.raises(ModelError, match="'bigru_ner' is not of the same type"):
        combine([member, tmp_path / "type"])
    german = spacy.blank("de")
    german.add_pipe(NAME, config={"model": TINY})
    german.initialize(lambda: read_examples(german.vocab))
    german.to_disk(tmp_path / "language")
    with pytest.raises(ModelError, match="different languages: en and de"):
        combine([member, tmp_path / "language"])


@pytest.mark.parametrize("command", ["calibrate", "tune"])
def test_the_settings_of_an_ensemble_are_fitted(command, ensemble, tmp_path):
    ensemble.to_disk(tmp_path / "ensemble")
    gold = [example.reference for example in read_examples(ensemble.vocab)]
    gold[0].ents = []  # else the best settings are those of the start
    DocBin(docs=gold).to_disk(tmp_path / "validation.spacy")
    model, data, output = (tmp_path / name for name in ("ensemble", "validation.spacy", "fitted"))
    arguments = [command, model, data, "--component", NAME, "--output", output]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    fitted = spacy.load(output)
    assert fitted.get_pipe(NAME).cfg != ensemble.get_pipe(NAME).cfg
    np.testing.assert_array_equal(logits(fitted), logits(ensemble))


def test_an_ensemble_is_a_teacher(ensemble):
    docs = [ensemble.make_doc(text) for text in TEXTS]
    expected = ensemble.get_pipe(NAME).tag_probabilities(docs)
    for rows, probabilities in zip(SoftTeacher(ensemble, NAME)(docs), expected, strict=True):
        np.testing.assert_allclose(rows, probabilities, atol=1e-6)
        np.testing.assert_allclose(rows.sum(1), 1.0, atol=1e-5)


def test_pipelines_that_are_no_members(members, ensemble, tmp_path):
    with pytest.raises(ConfigError, match="at least two pipelines; got 1"):
        combine(members[:1])
    ensemble.to_disk(tmp_path / "ensemble")
    with pytest.raises(ModelError, match="is an ensemble: combine its members"):
        combine([tmp_path / "ensemble", members[0]])
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(ModelError, match="to combine: it has no components"):
        combine([tmp_path / "blank", members[0]])


def test_components_with_an_encoder_of_spacy(tmp_path):
    embedding = {
        "@misc": "bigru_tagger.Tok2VecEmbed.v1",
        "tok2vec": {
            "@architectures": "spacy.HashEmbedCNN.v2",
            **{"width": 8, "depth": 1, "embed_size": 50, "window_size": 1, "maxout_pieces": 2},
            **{"subword_features": False, "pretrained_vectors": None},
        },
    }
    member = save(tmp_path / "one", steps=1, model={**TINY, "embed": {"shared": embedding}})
    with pytest.raises(ModelError, match="bigru_ner reads the output of a spaCy encoder"):
        combine([member, member])


def test_the_command(members, tmp_path):
    runner = CliRunner()
    result = runner.invoke(app, ["combine", *members, "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert network_shim(spacy.load(tmp_path / "out").get_pipe(NAME).model).spec.members == 3
    result = runner.invoke(app, ["combine", members[0], "-o", str(tmp_path / "other")])
    assert result.exit_code == 1
    assert "at least two" in result.output
    assert not (tmp_path / "other").exists()
