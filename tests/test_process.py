"""What the package and its pipelines do to the process around them: imports, chance, threads."""

import asyncio
import inspect
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import spacy
import torch
from samples import CRF, NARROW, TEXTS, TINY, build, train

from bigru_tagger import __version__
from bigru_tagger.lazy import cached_property
from bigru_tagger.model.cache import TextCache, WordCache
from bigru_tagger.model.devices import use_threads
from bigru_tagger.model.shim import NetworkShim

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


def annotations(docs):
    """Spans and tags of each Doc, and the confidences of all entities. Scripts run its source."""
    found, confidences = [], []
    for doc in docs:
        spans = [*doc.ents, *doc.spans.get("chunks", [])]
        tags = [token.tag_ for token in doc]
        found.append([[[span.start, span.end, span.label_] for span in spans], tags])
        confidences += [entity._.confidence for entity in doc.ents]
    return [found, confidences]


def check_same(ours, theirs):
    """Compare the results of `annotations`."""
    assert ours[0] == theirs[0]
    assert ours[1] == pytest.approx(theirs[1], abs=1e-6)
    assert ours[1]  # else nothing was compared


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
    train(nlp, steps=15)
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
other = ("_cython_", "spacy")  # the first are added by compiled modules on Python 3.14
imported = sorted(m for m in set(sys.modules) - before if not any(part in m for part in other))
found = [nlp.has_factory(f"bigru_{name}") for name in ("ner", "tagger", "chunker")]
print(json.dumps([imported, found]))
"""
    names = ["bigru_tagger", "bigru_tagger.pipeline", "bigru_tagger.pipeline.factories"]
    # spaCy also imports all loggers.
    names += ["bigru_tagger.recipes", "bigru_tagger.recipes.progress"]
    assert run(script) == [names, [True, True, True]]


NO_TORCH = """
import json, sys
for name in ("torch", "datasets", "scipy", "seqeval", "tokenizers", "transformers"):
    sys.modules[name] = None  # as if it were not installed
import spacy
"""


@pytest.fixture(scope="module")
def saved_kinds(saved, tmp_path_factory):
    """One pipeline for each kind of network."""
    context = {"occurrences": 4, "global_context": 3}
    kinds = {
        "ner": build("bigru_ner", model={**CRF, **context, "context_width": 5, "hidden": [8, 6]}),
        "tagger": build("bigru_tagger", model={**TINY, **context, "cell": "lstm"}),
        "chunker": build("bigru_chunker", model={**TINY, "by_sentence": True}),
    }
    paths = [saved]
    for name, nlp in kinds.items():
        train(nlp, steps=15)
        paths.append(tmp_path_factory.mktemp("process") / name)
        nlp.to_disk(paths[-1])
    return paths


def test_prediction_needs_no_torch_and_equals_it(saved_kinds, monkeypatch):
    script = """
found = []
for path in json.loads(sys.argv[1]):
    nlp = spacy.load(path)
    docs = list(nlp.pipe(sys.argv[2:]))
    logits = [[array.tolist() for array in pipe.model.predict(docs)] for _, pipe in nlp.pipeline]
    found.append([annotations(docs), logits])
print(json.dumps(found))
"""
    paths = json.dumps([str(path) for path in saved_kinds])
    ours = run(NO_TORCH + inspect.getsource(annotations) + script, paths, *TEXTS)
    monkeypatch.setattr(NetworkShim, "uses_numpy", False)
    for path, (found, logits) in zip(saved_kinds, ours, strict=True):
        nlp = spacy.load(path)
        docs = list(nlp.pipe(TEXTS))
        theirs = annotations(docs)
        assert found[0] == theirs[0]
        assert found[1] == pytest.approx(theirs[1], abs=1e-5)
        for (_, pipe), arrays in zip(nlp.pipeline, logits, strict=True):
            assert pipe.model.shims[0]._model is not None  # torch was used
            for array, expected in zip(arrays, pipe.model.predict(docs), strict=True):
                assert np.abs(expected).max() > 1.0
                np.testing.assert_allclose(array, expected, atol=1e-5)


def test_what_loading_and_running_a_pipeline_imports(saved):
    # Not datasets, pyarrow, pandas, seqeval, sklearn, scipy, transformers, tokenizers, matplotlib,
    # which take seconds; nor torch's compiler, and with it sympy.
    script = """
import json, sys, spacy
before = set(sys.modules)
nlp = spacy.load(sys.argv[1])
assert nlp(sys.argv[2]).has_annotation("TAG")
# Compiled modules add _cython_ on Python 3.14.
new = {name for name in set(sys.modules) - before if not name.startswith("_cython_")}
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

path, method, precision, is_used, *texts = sys.argv[1:]
if precision == "float32":
    sys.modules["torch"] = None  # in spawned workers too
import spacy

if __name__ == "__main__":
    multiprocessing.set_start_method(method)
    if precision == "bfloat16":
        import torch
        torch.set_num_threads(4)
        torch.ones(512, 512) @ torch.ones(512, 512)  # which starts the threads
    settings = {"predict_precision": precision}
    nlp = spacy.load(path, config={"components": {"bigru_ner": {"model": settings}}})
    texts.append(" ".join(texts * 200))  # so long that a library could divide the work
    alone = annotations(nlp.pipe(texts, batch_size=2)) if is_used == "True" else None
    workers = annotations(nlp.pipe(texts, batch_size=2, n_process=2))
    print(json.dumps([alone or annotations(nlp.pipe(texts, batch_size=2)), workers]))
"""


@pytest.mark.parametrize(
    ("method", "precision", "is_used"),
    [
        pytest.param("fork", "float32", False, marks=forks),
        pytest.param("fork", "float32", True, marks=forks),
        pytest.param("fork", "bfloat16", True, marks=[forks, pytest.mark.slow]),
        pytest.param("forkserver", "float32", True, marks=[forks, pytest.mark.slow]),
        pytest.param("spawn", "float32", True, marks=pytest.mark.slow),
    ],
)
def test_workers_predict_the_same(saved, tmp_path, method, precision, is_used):
    path = tmp_path / "workers.py"
    path.write_text(inspect.getsource(annotations) + WORKERS, encoding="utf8")
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", path, saved, method, precision, str(is_used), *TEXTS],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    check_same(*json.loads(ended.stdout))


@forks
@pytest.mark.parametrize("children", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_a_fork_during_a_prediction_of_another_thread(saved, children):
    script = """
import os, signal, threading, time
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.pop(name, None)  # so that the number of BLAS threads is limited and restored
nlp = spacy.load(sys.argv[1])
children, *texts = sys.argv[2:]
expected = annotations(nlp.pipe(texts))
assert expected[1]
is_done = threading.Event()

def predict():
    while not is_done.is_set():
        for _ in nlp.pipe([" ".join(texts * 20), f"new{time.monotonic()}"]):
            pass

thread = threading.Thread(target=predict)
thread.start()
ended = []
for _ in range(int(children)):
    child = os.fork()
    if child == 0:
        os._exit(0 if annotations(nlp.pipe(texts)) == expected else 1)
    until = time.monotonic() + 20
    while (status := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        time.sleep(0.01)
    if status[0] == 0:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)
    ended.append(os.waitstatus_to_exitcode(status[1]))
is_done.set()
thread.join()
print(json.dumps(ended))
"""
    ended = run(NO_TORCH + inspect.getsource(annotations) + script, saved, children, *TEXTS)
    assert ended == [0] * children


@pytest.mark.parametrize(("precision", "n_threads"), [("float32", None), ("bfloat16", 2)])
def test_threads_share_a_pipeline(saved, precision, n_threads):
    config = {"components": {"bigru_ner": {"model": {"predict_precision": precision}}}}
    texts = [f"{text} Unheard{number}" for number in range(10) for text in TEXTS]
    texts.append(" ".join(TEXTS * 50))  # so long that torch divides the work
    with use_threads(n_threads):
        expected = annotations(spacy.load(saved, config=config).pipe(texts, batch_size=3))
        nlp = spacy.load(saved, config=config)
        start = threading.Barrier(8)

        def predict(_):
            start.wait(60)
            return annotations(nlp.pipe(texts, batch_size=3))

        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(predict, range(8)):
                check_same(found, expected)


def test_asyncio_shares_a_pipeline(saved):
    texts = [f"{text} Unheard{number}" for number in range(10) for text in TEXTS]
    expected = annotations(map(spacy.load(saved), texts))
    nlp = spacy.load(saved)

    async def predict():
        return await asyncio.gather(*(asyncio.to_thread(nlp, text) for text in texts))

    check_same(annotations(asyncio.run(predict())), expected)
