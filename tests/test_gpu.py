import numpy as np
import pytest
import spacy
import torch
from samples import CRF, TEXTS, TINY, build, parameters, read_examples, train
from spacy.tokens import Doc
from thinc.api import NumpyOps

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CONFIGS = {
    "hash": TINY,
    "all": {"hidden": [16, 8], "word_dropout": 0.0},
    "crf": CRF,
    "mixed": {**TINY, "mixed_precision": True},
    "recurrent": {**TINY, "recurrent_dropout": 0.1},
}


def emissions(nlp):
    pipe = nlp.get_pipe("bigru_ner")
    assert isinstance(pipe.model.ops, NumpyOps)
    lengths = [1, 3, 0, 200, 7]
    words = (" ".join(TEXTS).split() * 10)[:200]
    return np.concatenate(pipe.emissions([Doc(nlp.vocab, words=words[:n]) for n in lengths]))


@pytest.mark.parametrize("name", ["hash", "all", "crf"])
def test_predictions_are_those_of_the_cpu(name):
    cpu = build("bigru_ner", model=CONFIGS[name])
    gpu = build("bigru_ner", model={**CONFIGS[name], "device": "cuda"}, seed=1)
    gpu.from_bytes(cpu.to_bytes())
    assert all(value.is_cuda for value in parameters(gpu.get_pipe("bigru_ner")).values())
    np.testing.assert_allclose(emissions(gpu), emissions(cpu), atol=1e-4)


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
    np.testing.assert_allclose(emissions(loaded), emissions(nlp), atol=tolerance, rtol=tolerance)
    for example in read_examples(loaded.vocab):
        doc = loaded.get_pipe("bigru_ner")(example.predicted)
        assert [str(ent) for ent in doc.ents] == [str(ent) for ent in example.reference.ents]


def test_auto_means_the_gpu():
    nlp = build("bigru_ner", model={**TINY, "device": "auto"})
    assert nlp.get_pipe("bigru_ner").model.shims[0].device.type == "cuda"
