import numpy as np
import pytest
import spacy
import torch
from samples import CRF, TEXTS, TINY, WORDS, build, parameters, read_examples, train
from spacy.tokens import Doc
from spacy.vectors import Vectors
from thinc.api import Adam, NumpyOps, get_current_ops

from bigru_tagger.model.training_state import pack_state, restore_state
from bigru_tagger.recipes.combining import combine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
FACTORIES = ["bigru_ner", "bigru_tagger", "bigru_chunker"]
CONFIGS = {
    "hash": TINY,
    "all": {"hidden": [16, 8], "word_dropout": 0.0},
    "crf": CRF,
    "mixed": {**TINY, "mixed_precision": True},
    "recurrent": {**TINY, "recurrent_dropout": 0.1},
}


def logits(nlp):
    pipe = nlp.get_pipe("bigru_ner")
    assert isinstance(pipe.model.ops, NumpyOps)
    lengths = [1, 3, 0, 200, 7]
    words = (" ".join(TEXTS).split() * 10)[:200]
    return np.concatenate(pipe.logits([Doc(nlp.vocab, words=words[:n]) for n in lengths]))


@pytest.mark.parametrize("name", ["hash", "all", "crf"])
def test_predictions_are_those_of_the_cpu(name):
    cpu = build("bigru_ner", model=CONFIGS[name])
    gpu = build("bigru_ner", model={**CONFIGS[name], "device": "cuda"}, seed=1)
    gpu.from_bytes(cpu.to_bytes())
    assert all(value.is_cuda for value in parameters(gpu.get_pipe("bigru_ner")).values())
    np.testing.assert_allclose(logits(gpu), logits(cpu), atol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_trains_on_the_gpu_and_loads_on_the_cpu(name, tmp_path):
    nlp = build("bigru_ner", model={**CONFIGS[name], "device": "cuda"})
    assert train(nlp)["bigru_ner"] < 0.05
    nlp.to_disk(tmp_path)
    overrides = {
        "components.bigru_ner.model.device": "cpu",
        "components.bigru_ner.model.mixed_precision": False,
    }
    loaded = spacy.load(tmp_path, config=overrides)
    tolerance = 0.1 if name == "mixed" else 1e-4
    np.testing.assert_allclose(logits(loaded), logits(nlp), atol=tolerance, rtol=tolerance)
    for example in read_examples(loaded.vocab):
        doc = loaded.get_pipe("bigru_ner")(example.predicted)
        assert [str(ent) for ent in doc.ents] == [str(ent) for ent in example.reference.ents]


def test_auto_means_the_gpu():
    nlp = build("bigru_ner", model={**TINY, "device": "auto"})
    assert nlp.get_pipe("bigru_ner").model.shims[0].device == "cuda"


def losses_in_evaluation(nlp):
    """The losses without dropout and unknown words, so that they do not depend on chance."""
    examples = list(read_examples(nlp.vocab))
    docs = [example.predicted for example in examples]
    pipes = {name: nlp.get_pipe(name) for name in FACTORIES}
    return {
        name: pipe.get_loss(examples, pipe.model.predict(docs))[0] for name, pipe in pipes.items()
    }


@pytest.fixture
def spacy_on_gpu():
    pytest.importorskip("cupy")
    spacy.require_gpu()
    yield
    spacy.require_cpu()


VECTORS = {"@misc": "bigru_tagger.VectorsEmbed.v1", "fallback": True, "correction_rows": 8}


@pytest.mark.parametrize(
    "model",
    [
        {**TINY, "embed": {"words": WORDS, "vectors": VECTORS}},
        {"hidden": [16, 8], "occurrences": 8, "global_context": 4},
        CRF,
    ],
    ids=["vectors", "all", "crf"],
)
def test_learns_by_spacys_own_way_to_a_gpu(model, spacy_on_gpu, tmp_path):
    nlp = spacy.blank("en")
    data = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    keys = ["Ada", "london", "saw", "Acme", "in", "the"]
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, keys=keys)
    nlp.vocab.vectors.to_ops(get_current_ops())
    for factory in FACTORIES:
        nlp.add_pipe(factory, config={"model": model})
    optimizer = nlp.initialize(lambda: read_examples(nlp.vocab))
    assert all(value.is_cuda for value in parameters(nlp.get_pipe("bigru_ner")).values())
    first = losses_in_evaluation(nlp)
    train(nlp, steps=100)
    last = losses_in_evaluation(nlp)
    assert all(last[name] < 0.1 * first[name] for name in FACTORIES)
    assert nlp.evaluate(read_examples(nlp.vocab))["ents_f"] == 1.0
    optimizer = nlp.resume_training(sgd=optimizer)
    assert set(nlp.rehearse(read_examples(nlp.vocab), sgd=optimizer)) == set(FACTORIES)
    nlp.to_disk(tmp_path)
    spacy.require_cpu()
    loaded = spacy.load(tmp_path)
    for example in read_examples(loaded.vocab):
        doc = loaded(example.predicted)
        assert [str(ent) for ent in doc.ents] == [str(ent) for ent in example.reference.ents]


def test_memory_is_bounded_by_tokens_and_not_by_the_batch():
    model = {"hidden": 192, "occurrences": 128, "context_width": 128, "device": "cuda"}
    nlp = build("bigru_ner", model=model)
    words = (" ".join(TEXTS).split() * 20_000)[:100_000]
    docs = [Doc(nlp.vocab, words=words[:200]) for _ in range(5_000)]
    starts = [True] + [False] * (len(words) - 1)
    docs.insert(2_500, Doc(nlp.vocab, words=words, sent_starts=starts))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    assert sum(1 for _ in nlp.pipe(docs, batch_size=len(docs))) == len(docs)
    assert torch.cuda.max_memory_allocated() < 2 << 30


@pytest.mark.parametrize("name", ["hash", "crf"])
def test_entities_and_probabilities_are_those_of_the_cpu(name):
    cpu = build("bigru_ner", model=CONFIGS[name])
    train(cpu, steps=15)
    gpu = build("bigru_ner", model={**CONFIGS[name], "device": "cuda"}, seed=1)
    gpu.from_bytes(cpu.to_bytes())
    texts = [text.split() for text in TEXTS] * 3 + [(" ".join(TEXTS).split() * 9)[:300]]

    def read(nlp):
        docs = nlp.pipe([Doc(nlp.vocab, words=words) for words in texts])
        return [
            [(ent.start, ent.end, ent.label_, ent._.confidence) for ent in doc.ents] for doc in docs
        ]

    assert read(gpu) == [
        [(*ent[:3], pytest.approx(ent[3], abs=1e-4)) for ent in ents] for ents in read(cpu)
    ]


def test_tf32_is_off_only_while_our_layers_run():
    flags = torch.backends.cudnn.rnn
    before = flags.fp32_precision
    nlp = build("bigru_ner", model={**TINY, "device": "cuda"})
    shim = nlp.get_pipe("bigru_ner").model.shims[0]
    with shim._recurrent_precision():
        assert flags.fp32_precision == "ieee"
    assert flags.fp32_precision == before


def test_a_restored_training_takes_the_same_steps(tmp_path):
    """Up to rounding, since not all of cuDNN's sums have a fixed order."""

    def start(seed):
        nlp = build("bigru_ner", model={**CONFIGS["all"], "device": "cuda"}, seed=seed)
        return nlp, Adam(0.01)

    def steps(nlp, optimizer):
        for _ in range(5):
            nlp.update(read_examples(nlp.vocab), sgd=optimizer, drop=0.5)
            optimizer.step_schedules()
        return parameters(nlp.get_pipe("bigru_ner"))

    nlp, optimizer = start(0)
    before = steps(nlp, optimizer)
    file = tmp_path / "state.safetensors"
    models = {"bigru_ner": nlp.get_pipe("bigru_ner").model}
    file.write_bytes(pack_state(models, optimizer, None))
    expected = steps(nlp, optimizer)

    nlp, optimizer = start(1)
    for _ in range(5):
        optimizer.step_schedules()
    models = {"bigru_ner": nlp.get_pipe("bigru_ner").model}
    restore_state(file, models, optimizer)
    restored = parameters(nlp.get_pipe("bigru_ner"))
    assert all(torch.equal(value, before[name]) for name, value in restored.items())
    after = steps(nlp, optimizer)
    for name, value in after.items():
        torch.testing.assert_close(value, expected[name], atol=1e-4, rtol=1e-3)

    restore_state(file, models, optimizer)
    torch.cuda.manual_seed(1)
    other = steps(nlp, optimizer)
    assert not all(torch.allclose(other[name], expected[name], atol=1e-3) for name in other)


def test_an_ensemble_predicts_as_on_the_cpu(tmp_path):
    for seed in (0, 1):
        nlp = build("bigru_ner", model=CONFIGS["crf"], seed=seed)
        train(nlp, steps=15)
        nlp.to_disk(tmp_path / str(seed))
    nlp = combine([tmp_path / "0", tmp_path / "1"])
    nlp.to_disk(tmp_path / "both")
    gpu = spacy.load(tmp_path / "both", config={"components.bigru_ner.model.device": "cuda"})
    np.testing.assert_allclose(logits(gpu), logits(nlp), atol=1e-4)
