"""The kinds of embeddings in saved networks: names, former names, and what a module reads."""

import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import distribution

import pytest
import torch
from torch import nn

from bigru_tagger.network.embeddings.base import EmbeddingModule, build_module, find_module
from bigru_tagger.network.network import Network
from bigru_tagger.runtime.spec import Batch, NetworkSpec
from bigru_tagger.runtime.storage import pack_arrays

EMBEDDINGS = distribution("bigru-tagger").entry_points.select(group="spacy_misc")
# Of each kind, the arguments of its module; and those of version 0.1, where they had other names.
MODULES = {
    "hash": {"rows": [5], "width": 3, "unknown_rate": 0.0},
    "char_cnn": {"rows": 9, "width": 3, "out_channels": 4, "kernel_size": 3},
    "char_gru": {"rows": 9, "width": 3, "hidden": 4},
    "vectors": {"width": 3, "correction_rows": 4},
    "vector_file": {"n_words": 2, "width": 3, "half": True, "correction_rows": 0},
    "clusters": {"n_words": 2, "n_clusters": 1, "n_prefixes": 2, "n_rows": 4, "width": 3},
    "gazetteer": {"lists": ["X"], "n_phrases": 2, "width": 3, "max_words": 4},
    "tok2vec": {"width": 3},
}
FORMER = {
    "characters": ("char_cnn", {"rows": 9, "width": 3, "filters": 4, "window": 3}),
    "character_states": ("char_gru", MODULES["char_gru"]),
    "vector_table": ("vector_file", MODULES["vector_file"]),
    "dense": ("tok2vec", MODULES["tok2vec"]),
}


def network_of(kinds):
    torch.manual_seed(0)
    embed = {f"its_{kind}": {"kind": kind, **settings} for kind, settings in kinds.items()}
    return Network(NetworkSpec(embed, [2], n_tags=2))


# --- names


@pytest.mark.parametrize("point", EMBEDDINGS, ids=lambda point: point.attr)
def test_an_embedding_has_one_name(point):
    name, stem = point.attr.removesuffix("Embed"), point.module.rpartition(".")[2]
    assert point.name == f"bigru_tagger.{name}Embed.v1"
    assert stem.replace("_", "").rstrip("s") == name.lower().rstrip("s")
    assert f"{name}Embedding" in vars(import_module(point.module))
    if stem != "transformer":  # a model of its own, whose vectors the network reads as a tok2vec's
        module = find_module(stem)
        assert (module.kind, module.__name__) == (stem, f"{name}Module")
        assert module.__module__ == f"bigru_tagger.network.embeddings.{stem}"


def test_these_are_all_kinds():
    stems = {point.module.rpartition(".")[2] for point in EMBEDDINGS}
    assert stems == {*MODULES, "transformer"}


@pytest.mark.parametrize("kind", ["", "base", "lookup", "os", "..embed", "bigru_tagger.No.v1"])
def test_an_unknown_kind_is_named(kind):
    with pytest.raises(ValueError, match=f"embedding 'it': there is no .* kind '{kind}': install"):
        build_module("it", {"kind": kind, "width": 2})


def test_a_kind_belongs_to_one_class():
    with pytest.raises(ValueError, match=r"'hash' of .*Other is already .*HashModule: choose"):

        class Other(EmbeddingModule, kind="hash"):
            pass

    assert find_module("hash").__name__ == "HashModule"


def test_a_stored_network_is_found_its_modules_without_spacy(tmp_path):
    network = network_of(MODULES)
    (tmp_path / "network").write_bytes(network.to_bytes())
    program = """
import sys
from pathlib import Path
from bigru_tagger.network.network import Network
imported = {name for name in sys.modules if name.startswith("bigru_tagger.network.embeddings.")}
assert imported == {"bigru_tagger.network.embeddings.base"}, imported
network = Network.from_bytes(Path(sys.argv[1]).read_bytes())
assert "spacy" not in sys.modules
print(*(type(module).__name__ for module in network.embed.values()))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "network"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == [type(module).__name__ for module in network.embed.values()]


# --- former names


@pytest.mark.parametrize("kind", FORMER)
def test_files_of_version_0_1_load(kind):
    now, settings = FORMER[kind]
    network = network_of({now: MODULES[now]})
    (name,) = network.embed
    spec = {**asdict(network.spec), "embed": {name: {"kind": kind, **settings}}}
    data = pack_arrays(network.arrays, "bigru_tagger.network", spec)
    for loaded in (
        Network.from_bytes(data),
        Network.from_bytes(Network.from_bytes(data).to_bytes()),
    ):
        assert type(loaded.embed[name]) is type(network.embed[name])
        assert loaded.state_dict().keys() == network.state_dict().keys()
        for key, tensor in network.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], tensor)


# --- what a module reads


class NeighbourModule(EmbeddingModule, kind="tests.Neighbour.v1"):
    """The sum of two numbers of the token, and those of the token before it in its sequence."""

    reads = "sequences"

    def __init__(self):
        super().__init__()
        self.width = 2

    def forward(self, ones, others, layout):
        sums = ones + others
        before = nn.functional.pad(sums, (0, 0, 1, 0))[:-1]
        starts = layout.sequence != nn.functional.pad(layout.sequence, (1, 0), value=-1)[:-1]
        return torch.cat([sums, before.masked_fill(starts.unsqueeze(1), 0.0)], 1)


def test_a_module_reads_several_arrays_along_the_sequences():
    embed = {"encoder": {"kind": "tests.Neighbour.v1"}, "words": {"kind": "vectors", "width": 1}}
    network = Network(NetworkSpec(embed, [], n_tags=None))
    words = {
        "encoder": (torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]])),
        "words": (torch.tensor([[5.0], [6.0]]), torch.zeros((2, 1), dtype=torch.int64)),
    }
    index = torch.tensor([0, 1, 1, 0])
    expected = [[5.0, 11, 0], [6, 22, 11], [6, 22, 0], [5, 11, 22]]
    assert network(Batch([2, 2], index, words)).tolist() == expected
    prepared = network.prepare(words)
    assert network(Batch([2, 2], index, prepared=prepared)).tolist() == expected
    assert network.width == 3
