"""The learning curve: data and configs, the table, and one real training."""

import pytest
import spacy
from spacy.tokens import DocBin

from benchmarks import learning_curve
from benchmarks.replication.runs import Recipe, Run, append_run, read_runs

SAMPLE = "bigru_tagger/sample"


def plan(folder, sizes, seeds, systems=None, **settings):
    settings = {"vectors": None, "dev": 20, "max_steps": None, **settings}
    systems = learning_curve.SYSTEMS[:2] if systems is None else systems
    return learning_curve.plan(SAMPLE, systems, sizes, seeds, folder=folder, **settings)


def texts(path):
    return [doc.text for doc in DocBin().from_disk(path).get_docs(spacy.blank("en").vocab)]


def make_run(data, size, name, seed, test):
    scores = {"entities": {"p": test, "r": test, "f": test, "per_type": {}}}
    return Run(
        recipe=Recipe(f"{data}-{size}", name, name, {}, {}),
        seed=seed,
        dev=scores,
        test=scores,
        words_per_second=1000.0,
        steps=10,
        best_step=5,
        best_epoch=1,
        seconds=60.0,
        machine={},
        versions={},
        date="2024-01-01T00:00:00+00:00",
    )


@pytest.mark.slow
def test_systems_of_a_seed_share_their_sentences(tmp_path):
    jobs = plan(tmp_path, [10, 30, 9999], [0, 1])
    assert len(jobs) == 12
    files = {}
    for job in jobs:
        files.setdefault((job.recipe.config, job.seed), set()).add(job.train)
    assert all(len(of_point) == 1 for of_point in files.values())
    small, large, everything = (
        texts(files[f"sample-{size}", 0].copy().pop()) for size in (10, 30, 616)
    )
    assert (len(small), len(large), len(everything)) == (10, 30, 616)
    assert everything[:10] == large[:10] == small
    assert texts(files["sample-10", 1].pop()) != small
    assert len({job.dev for job in jobs}) == 1
    assert len(texts(jobs[0].dev)) == 20
    assert len(texts(jobs[0].test)) == 130


def test_seeds_share_a_recipe_and_systems_do_not(tmp_path):
    jobs = plan(tmp_path, [10, 30], [0, 1])
    assert len({(job.recipe.config, job.recipe.name, job.recipe.key) for job in jobs}) == 4
    longer = plan(tmp_path, [10, 30], [0], max_steps=5)
    assert {job.recipe.key for job in jobs}.isdisjoint(job.recipe.key for job in longer)


def test_configs_are_those_of_init_config(tmp_path):
    (job,) = plan(tmp_path, [10], [0], learning_curve.SYSTEMS[:1])
    config = spacy.util.load_config(job.config, interpolate=True)
    given = learning_curve.init_config(lang="en", pipeline=["bigru_ner"], optimize="efficiency")
    given = given.interpolate()
    assert config["training"] == given["training"]
    assert config["components"] == given["components"]


def test_vectors_are_for_the_systems_with_vectors(tmp_path):
    jobs = plan(tmp_path, [10], [0], learning_curve.SYSTEMS, vectors="some_vectors")
    with_vectors = {
        job.recipe.name
        for job in jobs
        if spacy.util.load_config(job.config)["paths"]["vectors"] == "some_vectors"
    }
    assert with_vectors == {"bigru_ner with vectors", "ner with vectors"}


def test_the_table():
    runs = [
        *(make_run("a", 50, "bigru_ner", seed, f) for seed, f in enumerate([0.5, 0.6, 0.1])),
        *(make_run("a", 50, "ner", seed, f) for seed, f in enumerate([0.3, 0.42])),
        make_run("a", 250, "bigru_ner", 0, 0.5),
        make_run("a", 250, "ner", 1, 0.4),
        make_run("a", 1000, "ner with vectors", 0, 0.75),
    ]
    lines = learning_curve.curve_table(runs).splitlines()
    assert lines[0].startswith("| data | sentences | seeds | bigru_ner | ner | difference | ")
    # The differences of seeds 0 and 1 are 20 and 18. Their standard error is 1, and t has
    # 1 degree of freedom: 12.7062.
    assert (
        lines[2]
        == "| a | 50 | 3 | 40.00 ± 26.46 | 36.00 ± 8.49 | +19.00 [+6.29, +31.71] |  |  |  |"
    )
    assert lines[3] == "| a | 250 | 2 | 50.00 | 40.00 |  |  |  |  |"
    assert lines[4] == "| a | 1,000 | 1 |  |  |  |  | 75.00 |  |"


def test_the_plot(tmp_path):
    runs = [make_run(data, size, "ner", 0, 0.5) for data in "ab" for size in (50, 100)]
    learning_curve.plot_curve(runs, tmp_path / "curve.svg")
    assert "<svg" in (tmp_path / "curve.svg").read_text(encoding="utf8")


@pytest.mark.slow
def test_a_training_is_not_repeated(tmp_path, monkeypatch):
    (job,) = plan(tmp_path, [10], [0], learning_curve.SYSTEMS[:1], max_steps=2)
    run = learning_curve.run_job(job)
    assert (run.steps, run.seed, run.recipe) == (0, 0, job.recipe)
    assert run.test is not None
    assert 0.0 <= run.test["entities"]["f"] <= 1.0
    assert list(job.folder.glob("model-*")) == []
    results = tmp_path / "results.jsonl"
    append_run(results, run)
    monkeypatch.setattr(learning_curve, "run_job", lambda job: pytest.fail("trained again"))
    learning_curve.run_all([job], 1, results)
    assert read_runs(results) == [run]
