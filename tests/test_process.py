"""What the package and its pipelines do to the process around them: imports, chance, forks."""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading

import numpy as np
import pytest
import spacy
import torch
from samples import NARROW, TEXTS, TINY, build

from bigru_tagger import __version__
from bigru_tagger.embeddings.base import cached_property
from bigru_tagger.model.cache import TextCache, WordCache

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def run(script, *args, **env):
    """Run a script in a new process: the JSON of its last line of output."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, args)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A pipeline of all components, and of all embeddings that need no file."""
    embed = {
        **TINY["embed"],
        "characters": {
            "@misc": "bigru_tagger.CharCNNEmbed.v1",
            **{"width": 4, "filters": 6, "window": 3, "rows": 90, "max_length": 9},
            "fold_digits": True,
        },
        "states": {
            "@misc": "bigru_tagger.CharGRUEmbed.v1",
            **{"width": 4, "hidden": 3, "rows": 90, "max_length": 9, "fold_digits": True},
        },
    }
    model = {**NARROW, "embed": embed, "decode": "crf"}
    nlp = build("bigru_ner", "bigru_tagger", "bigru_chunker", model=model)
    folder = tmp_path_factory.mktemp("process") / "model"
    nlp.to_disk(folder)
    return folder


# --- imports


def test_a_pipeline_of_others_imports_only_the_factories_and_needs_no_torch():
    script = """
import json, sys
sys.modules["torch"] = None  # as if it were not installed
import spacy
before = set(sys.modules)
nlp = spacy.blank("en")
imported = sorted(name for name in set(sys.modules) - before if "spacy" not in name)
found = [nlp.has_factory(f"bigru_{name}") for name in ("ner", "tagger", "chunker")]
print(json.dumps([imported, found]))
"""
    names = ["bigru_tagger", "bigru_tagger.pipeline", "bigru_tagger.pipeline.factories"]
    assert run(script) == [names, [True, True, True]]


def test_prediction_needs_no_torch(saved):
    script = """
import json, sys
for name in ("torch", "datasets", "scipy", "seqeval", "tokenizers", "transformers"):
    sys.modules[name] = None  # as if it were not installed
import spacy
nlp = spacy.load(sys.argv[1])
doc = nlp(sys.argv[2])
print(json.dumps([[entity.text for entity in doc.ents], [token.tag_ for token in doc]]))
"""
    doc = spacy.load(saved)(TEXTS[0])
    expected = [[entity.text for entity in doc.ents], [token.tag_ for token in doc]]
    assert run(script, saved, TEXTS[0]) == expected


def test_what_loading_and_running_a_pipeline_imports(saved):
    # Not datasets, pyarrow, pandas, seqeval, sklearn, scipy, transformers, tokenizers, matplotlib,
    # which take seconds; nor torch's compiler, and with it sympy.
    script = """
import json, sys, spacy
before = set(sys.modules)
nlp = spacy.load(sys.argv[1])
assert nlp(sys.argv[2]).has_annotation("TAG")
new = set(sys.modules) - before
packages = {name.partition(".")[0] for name in new} - set(sys.stdlib_module_names)
print(json.dumps([sorted(packages), sorted(new & {"torch._dynamo", "torch._inductor"})]))
"""
    packages, compiler = run(script, saved, TEXTS[0])
    # NumPy imports parts of itself, and these import no other package.
    assert set(packages) <= {"bigru_tagger", "numpy", "safetensors", "spacy", "threadpoolctl"}
    assert compiler == []


def test_the_command_line_imports_what_a_command_needs():
    script = """
import json, sys
from bigru_tagger.cli import app
from typer.testing import CliRunner
outputs = [CliRunner().invoke(app, [option]).output for option in ("--help", "--version")]
print(json.dumps([outputs, sorted({"datasets", "numpy", "spacy", "torch"} & set(sys.modules))]))
"""
    (shown, version), imported = run(script)
    assert "evaluate" in shown
    assert version == f"bigru-tagger {__version__}\n"
    assert imported == []


# --- chance


def test_loading_and_running_leave_random_numbers_alone(saved):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before = states()
    nlp = spacy.load(saved)
    list(nlp.pipe(TEXTS))
    assert states() == before


# --- memory zones


def test_a_memory_zone_frees_what_prediction_added_to_the_vocabulary(saved):
    nlp = spacy.load(saved)
    expected = [[(ent.text, ent.label_) for ent in nlp(text).ents] for text in TEXTS]
    n_strings = len(nlp.vocab.strings)
    for number in range(3):
        with nlp.memory_zone():
            docs = list(nlp.pipe([*TEXTS, f"Unheard{number} word{number}s 1{number}7"]))
            found = [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs[:-1]]
        assert found == expected
        assert f"Unheard{number}" not in nlp.vocab
    assert len(nlp.vocab.strings) == n_strings
    assert [[(ent.text, ent.label_) for ent in nlp(text).ents] for text in TEXTS] == expected


# --- forks


class Slow:
    """Waits within its computations, in the thread that began first."""

    def __init__(self):
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.words, self.texts = WordCache(1 << 10), TextCache(1 << 10)

    def wait(self):
        if not self.begun.is_set():
            self.begun.set()
            assert self.go_on.wait(60)

    def look_up_words(self):
        def compute(positions):
            self.wait()
            return {"row": torch.full((len(positions), 1), 7.0)}

        tables, rows = self.words.look_up(np.array([1, 2]), (), compute)
        return tables["row"][rows].sum().item()

    def look_up_texts(self):
        def compute(places):
            self.wait()
            return [torch.full((1,), 7.0) for _ in places]

        return sum(row.item() for row in self.texts.look_up([b"a", b"b"], (), compute))

    @cached_property
    def value(self):
        self.wait()
        return 14.0

    def read_value(self):
        return self.value


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("name", ["look_up_words", "look_up_texts", "read_value"])
def test_no_lock_of_another_thread_hangs_a_forked_child(name):
    slow = Slow()
    compute = getattr(slow, name)
    thread = threading.Thread(target=compute)
    thread.start()
    assert slow.begun.wait(60)
    child = multiprocessing.get_context("fork").Process(
        target=lambda: os._exit(0 if compute() == 14.0 else 1)
    )
    try:
        child.start()
        child.join(30)
        if child.is_alive():
            child.kill()
    finally:
        slow.go_on.set()
        thread.join()
    assert child.exitcode == 0


WORKERS = """
import json, multiprocessing, sys
import spacy, torch

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[2])
    torch.set_num_threads(4)
    torch.ones(512, 512) @ torch.ones(512, 512)  # which starts the threads
    nlp = spacy.load(sys.argv[1])
    texts = sys.argv[3:]
    long = " ".join(texts * 200)  # so long that torch divides the work
    alone = [nlp(text).to_json() for text in (*texts, long)]
    workers = [doc.to_json() for doc in nlp.pipe((*texts, long), n_process=2, batch_size=2)]
    print(json.dumps([torch.get_num_threads(), alone == workers]))
"""


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("fork", marks=forks),
        pytest.param("forkserver", marks=[forks, pytest.mark.slow]),
        pytest.param("spawn", marks=pytest.mark.slow),
    ],
)
def test_workers_of_a_process_that_ran_torch_on_threads(saved, tmp_path, method):
    path = tmp_path / "workers.py"
    path.write_text(WORKERS, encoding="utf8")
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", path, saved, method, *TEXTS],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [4, True]
