"""An embedding from outside of the package: the example of the documentation, step by step."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import spacy
import torch
from samples import NARROW, ROOT, TEXTS, build, train
from spacy.tokens import Doc
from spacy.util import import_file

from bigru_tagger.embeddings.base import UniqueWords
from bigru_tagger.network.network import Network

NAME = "example.CountsEmbed.v1"
FILE = ROOT / "tests" / "examples" / "own_embedding.py"
MODEL = {**NARROW, "embed": {"counts": {"@misc": NAME, "width": 8}}}

# What a process prints about a saved pipeline: whether its network loads without a config, the
# error without the code, and its predictions.
LOAD = """
import json, sys
from pathlib import Path
folder, code, *texts = sys.argv[1:]
data = Path(folder, "network").read_bytes()
from bigru_tagger.network.network import Network
try:
    alone = sorted(Network.from_bytes(data).state_dict())
except ValueError as error:
    alone = str(error)
import spacy
missing = None
if code:
    try:
        spacy.load(folder)
    except ValueError as error:
        missing = str(error)
    spacy.util.import_file("python_code", code)
pipe = spacy.load(folder).get_pipe("bigru_ner")
logits = [pipe.model.predict([spacy.blank("en")(text)])[0].tolist() for text in texts]
print(json.dumps([alone, missing, logits]))
"""


@pytest.fixture(scope="module")
def example():
    return import_file("own_embedding", FILE)


@pytest.fixture(scope="module")
def trained(example):
    nlp = build("bigru_ner", model=MODEL)
    first = train(nlp, steps=1)["bigru_ner"]
    assert train(nlp, steps=20)["bigru_ner"] < first
    return nlp


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "model"
    trained.to_disk(folder)
    (folder / "network").write_bytes(trained.get_pipe("bigru_ner").model.shims[0].to_bytes())
    return folder


def load_elsewhere(folder, code="", path=""):
    """Load a pipeline in a new process, with the packages in `path`, or without and with `code`."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, folder, code, *TEXTS],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def logits(nlp):
    return [nlp.get_pipe("bigru_ner").model.predict([nlp.make_doc(text)])[0] for text in TEXTS]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_words_are_counted_once(example):
    doc = Doc(spacy.blank("en").vocab, words=["Ada", "B2B", "Ada", " ", "17"])
    words = UniqueWords.from_docs([doc])
    read = dict(zip(words.strings, example.CountsEmbedding(8).read(words).tolist(), strict=True))
    assert read == {"Ada": [3, 1, 0], "B2B": [3, 2, 1], " ": [1, 0, 0], "17": [2, 0, 2]}
    none = example.CountsEmbedding(8).read(UniqueWords.from_docs([doc[:0].as_doc()]))
    assert none.shape == (0, 3)


def test_the_module_is_linear_in_the_logarithms(example):
    module = example.CountsModule(2)
    module.linear.weight.data = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])
    module.linear.bias.data = torch.tensor([0.0, 10.0])
    vectors = module(torch.tensor([[0.0, 0.0, 0.0], [3.0, 1.0, 0.0]]))
    expected = [[0.0, 10.0], [np.log(4.0), 10.0 + np.log(2.0)]]
    np.testing.assert_allclose(vectors.tolist(), expected, atol=1e-6)


def test_training_reaches_the_module(trained):
    fresh = build("bigru_ner", model=MODEL)
    networks = [nlp.get_pipe("bigru_ner").model.shims[0].network for nlp in (fresh, trained)]
    before, after = (network.embed["counts"].linear.weight for network in networks)
    assert not torch.allclose(before, after, atol=1e-3)


@pytest.mark.slow
def test_an_installed_embedding_loads_by_its_entry_point(trained, folder, tmp_path):
    (tmp_path / "own_embedding.py").write_bytes(FILE.read_bytes())
    installed = tmp_path / "own_embedding-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: own-embedding\nVersion: 1.0")
    (installed / "entry_points.txt").write_text(
        f"[spacy_misc]\n{NAME} = own_embedding:counts_embed\n"
    )
    alone, _, found = load_elsewhere(folder, path=tmp_path)
    assert "embed.counts.linear.weight" in alone
    assert_same(found, logits(trained))


def test_an_embedding_of_a_file_loads_by_code(trained, folder):
    alone, missing, found = load_elsewhere(folder, code=FILE)
    assert f"embedding 'counts': there is no embedding of the kind '{NAME}'" in alone
    assert "--code" in alone
    assert NAME in missing
    assert_same(found, logits(trained))


WITHOUT_TORCH = """
import json, sys
sys.modules["torch"] = None  # as if it were not installed
import spacy
folder, code, decoder, *texts = sys.argv[1:]
spacy.util.import_file("own_decoder", decoder)
spacy.util.import_file("python_code", code)
pipe = spacy.load(folder).get_pipe("bigru_ner")
print(json.dumps([pipe.model.predict([spacy.blank("en")(text)])[0].tolist() for text in texts]))
"""


def test_prediction_needs_no_torch(trained, folder):
    decoder = FILE.with_name("own_decoder.py")
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_TORCH, folder, FILE, decoder, *TEXTS]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert_same(json.loads(ended.stdout), logits(trained))


def test_a_file_that_is_imported_again_replaces_its_classes(folder):
    for name in ("one", "two"):
        module = import_file(name, FILE)
        network = Network.from_bytes((folder / "network").read_bytes())
        assert type(network.embed["counts"]) is module.CountsModule
