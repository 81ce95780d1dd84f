import numpy as np
import pytest
import spacy
from device_arrays import DeviceArray, DeviceOps, move_to_device
from samples import NARROW, TEXTS, TINY, WORDS, annotate, read_examples
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vectors import Vectors
from thinc.api import Adam, fix_random_seed
from tiny_transformer import save_bert

from bigru_tagger.pipeline.soft_targets import SoftTargets

VECTORS = {"@misc": "bigru_tagger.VectorsEmbed.v1", "fallback": True, "correction_rows": 8}
MODELS = {
    "vectors": {**TINY, "embed": {"words": WORDS, "vectors": VECTORS}},
    "floret": {**TINY, "embed": {"vectors": VECTORS}},
    "all": {"hidden": [16, 8], "occurrences": 8, "global_context": 4},
    "crf": {**TINY, "decode": "crf"},
    "lstm": {**NARROW, "cell": "lstm"},
}
FACTORIES = ["bigru_ner", "bigru_tagger", "bigru_chunker"]


@pytest.fixture
def place(monkeypatch):
    return lambda nlp: move_to_device(nlp, monkeypatch)


def make_pipeline(model, factories=("bigru_ner",), floret=False):
    fix_random_seed(0)
    nlp = spacy.blank("en")
    data = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    if floret:
        settings = {"mode": "floret", "hash_count": 2, "minn": 2, "maxn": 3, "bow": "<", "eow": ">"}
        nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, **settings)
    else:
        keys = ["Ada", "london", "saw", "Acme", "in", "the"]
        nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, keys=keys)
    for factory in factories:
        nlp.add_pipe(factory, config={"model": model})
    nlp.initialize(lambda: read_examples(nlp.vocab))
    return nlp


def find(nlp):
    docs = [Doc(nlp.vocab, words=text.split()) for text in TEXTS]
    return [
        (
            [(ent.start, ent.end, ent.label_, ent._.confidence) for ent in doc.ents],
            [token.tag_ for token in doc],
            [(span.start, span.end, span.label_) for span in doc.spans.get("chunks", ())],
        )
        for doc in nlp.pipe(docs)
    ]


def learn(nlp):
    optimizer = Adam(0.01, L2=0.0, use_averages=False)
    losses = {}
    for _ in range(6):
        losses = nlp.update(read_examples(nlp.vocab), sgd=optimizer, drop=0.0)
    optimizer = nlp.resume_training(sgd=optimizer)
    rehearsed = nlp.rehearse(read_examples(nlp.vocab), sgd=optimizer)
    return losses, rehearsed, find(nlp)


def test_the_arrays_refuse_what_those_of_cupy_refuse():
    array = DeviceArray(np.arange(3.0))
    for refused in (np.asarray, np.array, lambda own: np.zeros(3) + own):
        with pytest.raises(TypeError):
            refused(array)
    with pytest.raises(TypeError):
        array[np.array([0, 2])] = 1.0
    assert isinstance(array * 2.0 + array, DeviceArray)
    assert (array * 2.0 + array).get().tolist() == [0.0, 3.0, 6.0]
    assert isinstance(DeviceOps().xp.exp(array), DeviceArray)


@pytest.mark.parametrize("name", MODELS)
def test_training_rehearsal_and_prediction_are_those_of_numpy(name, place):
    factories = FACTORIES if name == "vectors" else ["bigru_ner"]
    expected = learn(make_pipeline(MODELS[name], factories, floret=name == "floret"))
    nlp = make_pipeline(MODELS[name], factories, floret=name == "floret")
    place(nlp)
    losses, rehearsed, found = learn(nlp)
    assert losses == pytest.approx(expected[0], rel=1e-5)
    assert rehearsed == pytest.approx(expected[1], rel=1e-5)
    assert found == [
        ([(*ent[:3], pytest.approx(ent[3], rel=1e-4)) for ent in ents], *rest)
        for ents, *rest in expected[2]
    ]


def test_learning_from_a_teacher_is_that_of_numpy(place):
    def run(move):
        nlp = make_pipeline(MODELS["vectors"])
        move(nlp)
        tags = tuple(nlp.get_pipe("bigru_ner").tags)
        columns = np.array([[0, 1], [0, 4], [0, 2]])
        probabilities = np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]], dtype=np.float32)
        reference = annotate(Doc(nlp.vocab, words=["Ada", "saw", "it"]))
        SoftTargets(tags, columns, probabilities, temperature=2.0, weight=0.5).attach(reference)
        example = Example(Doc(nlp.vocab, words=["Ada", "saw", "it"]), reference)
        optimizer = Adam(0.01, L2=0.0, use_averages=False)
        return [nlp.update([example], sgd=optimizer, drop=0.0)["bigru_ner"] for _ in range(3)]

    expected = run(lambda nlp: None)
    assert expected[2] < expected[0]
    assert run(place) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("trainable", [False, True])
def test_a_transformer_learns_and_predicts_as_with_numpy(trainable, place, tmp_path):
    folder = save_bert(tmp_path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    block = {
        "@misc": "bigru_tagger.TransformerEmbed.v1",
        "name": str(folder),
        "revision": None,
        "pooling": "mean",
        "layers": 2,
        "window": None,
        "overlap": 4,
        "trainable": trainable,
        "learn_rate": None,
        "cache_mb": 1,
    }
    model = {"hidden": 16, "embed": {"transformer": block, "words": WORDS}}
    expected = learn(make_pipeline(model))
    nlp = make_pipeline(model)
    place(nlp)
    losses, rehearsed, found = learn(nlp)
    assert losses == pytest.approx(expected[0], rel=1e-4)
    assert rehearsed == pytest.approx(expected[1], rel=1e-3)
    assert [ents for ents, *_ in found] == [
        [(*ent[:3], pytest.approx(ent[3], rel=1e-3)) for ent in ents] for ents, *_ in expected[2]
    ]
