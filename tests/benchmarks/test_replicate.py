"""Several seeds of a recipe: statistics on made-up results, and one real run of the script."""

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from click.testing import Result
from samples import ROOT
from typer.testing import CliRunner

from benchmarks import replicate as command
from benchmarks.replication import runs, training
from benchmarks.replication.report import difference, estimate, replace_block, results_table
from benchmarks.replication.runs import (
    Recipe,
    Run,
    append_run,
    choose_part,
    make_recipe,
    parse_seeds,
    read_runs,
    split_source,
)

SAMPLE = ROOT / "configs" / "sample.cfg"


def entities(f: float) -> dict[str, dict[str, object]]:
    return {"entities": {"p": f, "r": f, "f": f, "per_type": {}}}


def make_run(
    seed: int, dev: float, test: float | None, *, name: str = "as configured", **fields: object
) -> Run:
    settings = {
        "recipe": Recipe("tiny", name, name[:4], {"test": "0 [test]"}, {}),
        "dev": entities(dev),
        "test": None if test is None else entities(test),
        "words_per_second": 1000.0,
        "steps": 10,
        "best_step": 5,
        "best_epoch": 1,
        "seconds": 60.0 + seed,
        "machine": {"cpu": "Z80", "cores": 1, "gpu": None},
        "versions": {"python": "3"},
        "date": "2024-01-01T00:00:00+00:00",
    }
    return Run(seed=seed, **{**settings, **fields})  # type: ignore[arg-type]


def test_the_interval_is_students() -> None:
    # The sum of squares is 10; t(0.975, 4) is 2.7764 in any table.
    mean, sd, interval = estimate([88, 89, 90, 91, 92])
    assert mean == 90
    assert sd == pytest.approx(2.5**0.5)
    margin = 2.7764451 * (2.5 / 5) ** 0.5
    assert interval == pytest.approx((90 - margin, 90 + margin))
    assert estimate([88.5]) == (88.5, None, None)


def test_the_difference_is_welchs() -> None:
    # Both squared standard errors are 1/3, so the degrees of freedom are 4.
    value, _, interval = difference([1, 2, 3], [2, 3, 4])
    margin = 2.7764451 * (2 / 3) ** 0.5
    assert value == -1
    assert interval == pytest.approx((-1 - margin, -1 + margin))
    # If one side has no variance, the degrees of freedom are those of the other side: 2.
    margin = 4.3026527 * (1 / 3) ** 0.5
    assert difference([1, 2, 3], [1, 1]).interval == pytest.approx((1 - margin, 1 + margin))
    assert difference([2, 2], [1, 1]).interval == (1, 1)
    assert difference([2], [1, 1]) == (1, None, None)


def test_a_recipe_is_the_same_on_any_machine(tmp_path: Path) -> None:
    for place, content in (("here", "a"), ("there", "a"), ("elsewhere", "b")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "train.jsonl").write_text(content)
    here, there, elsewhere = (
        make_recipe(SAMPLE, {"paths.data": str(tmp_path / place), "training.dropout": 0.1})
        for place in ("here", "there", "elsewhere")
    )
    assert here == there
    assert (here.config, here.name) == ("sample", "training.dropout=0.1")
    assert here.overrides == {"training.dropout": 0.1}
    assert str(tmp_path) not in repr(here)
    assert here.hash == elsewhere.hash
    assert here.key != elsewhere.key


def test_the_key_of_a_recipe_depends_on_config_and_inputs() -> None:
    plain = make_recipe(SAMPLE, {})
    assert plain.name == "as configured"
    assert make_recipe(SAMPLE, {"training.dropout": 0.5}, name="other").key == plain.key
    assert make_recipe(SAMPLE, {"training.dropout": 0.4}).hash != plain.hash
    assert make_recipe(SAMPLE, {"paths.vectors": "some_vectors"}).key != plain.key
    tested = make_recipe(SAMPLE, {}, test=("bigru_tagger/sample", "test"))
    assert tested.hash == plain.hash
    assert tested.inputs["test"] == f"{tested.inputs['paths.data']} [test]"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training.seed": 3}, "--training.seed: each run has its own seed"),
        ({"corpora.dev.path": "/data"}, "--corpora.dev.path: '/data' is a local path"),
        ({"initialize.lookups": [{"path": "/data"}]}, "is a local path"),
        ({"paths.data": "/not/there"}, "/not/there: no such file or folder"),
    ],
)
def test_wrong_overrides_are_errors(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_recipe(SAMPLE, overrides)


def test_a_config_with_a_fixed_seed_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "fixed.cfg"
    config.write_text(SAMPLE.read_text(encoding="utf8").replace("${system.seed}", "7"))
    with pytest.raises(ValueError, match=r"training\.seed is 7\. Write seed = \$\{system\.seed\}"):
        make_recipe(config, {})


def test_results_are_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "results" / "tiny.jsonl"
    runs = [make_run(0, 0.9, 0.8), make_run(1, 0.9, None)]
    assert read_runs(path) == []
    for run in runs:
        append_run(path, run)
    assert read_runs(path) == runs
    for line in path.read_text(encoding="utf8").splitlines():
        assert list(json.loads(line)) == sorted(json.loads(line))


@pytest.mark.parametrize("damage", ['{"recipe": {"conf', '{"seed": 1}', '{"recipe": {}}', "\xff"])
def test_a_damaged_line_is_skipped(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "tiny.jsonl"
    append_run(path, make_run(0, 0.9, 0.8))
    with path.open("a", encoding="latin1") as file:
        file.write(damage)
    with pytest.warns(
        UserWarning, match=r"tiny\.jsonl, line 2: skipped, because it is not a complete result"
    ):
        assert [run.seed for run in read_runs(path)] == [0]
    append_run(path, make_run(2, 0.9, 0.8))
    with pytest.warns(UserWarning, match="line 2"):
        assert [run.seed for run in read_runs(path)] == [0, 2]


def test_the_table() -> None:
    runs = [make_run(seed, 0.93, 0.88 + seed / 100) for seed in range(5)]
    assert results_table(runs) == (
        "| config | score | seeds | dev | test | seconds |\n"
        "| --- | --- | ---: | --- | --- | ---: |\n"
        "| `tiny` | entity F1 | 5 | 93.00 ± 0.00 | 90.00 ± 1.58 [88.04, 91.96] | 62 |"
    )
    other = [make_run(seed, 0.9, 0.89, name="a|b") for seed in range(2)]
    alone = [make_run(0, 0.9, 0.5, name="alone"), make_run(0, 0.5, 0.8, name="alone")]
    assert results_table([*runs, *other, *alone], baseline="as configured") == (
        "| config | variant | score | seeds | dev | test | test − as configured | seconds |\n"
        "| --- | --- | --- | ---: | --- | --- | --- | ---: |\n"
        "| `tiny` | as configured | entity F1 | 5 | 93.00 ± 0.00 | 90.00 ± 1.58 [88.04, 91.96] |"
        "  | 62 |\n"
        "| `tiny` | a\\|b | entity F1 | 2 | 90.00 ± 0.00 | 89.00 ± 0.00 [89.00, 89.00] |"
        " −1.00 [−2.96, +0.96] | 60 |\n"
        "| `tiny` | alone | entity F1 | 1 | 50.00 | 80.00 | −10.00 | 60 |"
    )


def test_the_table_of_several_targets() -> None:
    scores = {**entities(0.9), "tags": {"accuracy": 0.96}}
    rows = results_table([replace(make_run(0, 0, None), dev=scores)]).splitlines()[2:]
    assert rows == [
        "| `tiny` | tag accuracy | 1 | 96.00 |  | 60 |",
        "|  | entity F1 |  | 90.00 |  |  |",
    ]


def test_recipes_with_the_same_name_are_distinguished() -> None:
    recipes = [Recipe("tiny", "as configured", digest, {"test": "0"}, {}) for digest in "ab"]
    runs = [make_run(0, 0.9, 0.8, recipe=recipe) for recipe in recipes]
    table = results_table(runs)
    assert "as configured (a; test 0)" in table
    assert "as configured (b; test 0)" in table
    other = make_run(0, 0.9, 0.8, recipe=Recipe("tiny", "x", "c", {"test": "0"}, {}))
    with pytest.raises(ValueError, match="2 variants of tiny have the name 'as configured'"):
        results_table([*runs, other], baseline="as configured")


def test_no_table() -> None:
    with pytest.raises(ValueError, match="no results"):
        results_table([])
    with pytest.raises(
        ValueError, match="There is no variant 'x'; the variants are 'as configured'"
    ):
        results_table([make_run(0, 0.9, 0.8)], baseline="x")


def test_runs_of_different_code_give_a_warning() -> None:
    runs = [make_run(seed, 0.9, 0.8, versions={"source": str(seed)}) for seed in range(2)]
    with pytest.warns(UserWarning, match="tiny, as configured: the code has changed"):
        results_table(runs)


def test_a_block_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    block = "a\n<!-- results:{0} -->\n{1}\n<!-- /results -->\n"
    path.write_text(block.format("x", "old\nold") + block.format("y", "kept"))
    replace_block(path, "x", "new \\1")
    assert path.read_text() == block.format("x", "new \\1") + block.format("y", "kept")
    with pytest.raises(ValueError, match=r"README\.md: there are 0 blocks .* <!-- results:z -->"):
        replace_block(path, "z", "new")


def test_seeds() -> None:
    assert parse_seeds("0-4") == [0, 1, 2, 3, 4]
    assert parse_seeds("7,0,2-3,3") == [0, 2, 3, 7]
    for text in ("", "a", "1-", "-3", "3-1"):
        with pytest.raises(ValueError, match="--seeds"):
            parse_seeds(text)


def test_shards_divide_the_seeds() -> None:
    assert choose_part([0, 1, 2, 3, 4], "1/1") == [0, 1, 2, 3, 4]
    assert [choose_part([0, 1, 2, 3, 4], f"{i}/3") for i in (1, 2, 3)] == [[0, 3], [1, 4], [2]]
    assert choose_part([0], "2/2") == []
    for text in ("", "1", "0/2", "3/2", "1/0", "a/2", "-1/2"):
        with pytest.raises(ValueError, match="--shard"):
            choose_part([0, 1], text)


def test_test_data(tmp_path: Path) -> None:
    assert split_source("data/conll") == ("data/conll", "test")
    assert split_source("data/conll:dev") == ("data/conll", "dev")
    assert split_source("data:test[:10%]") == ("data", "test[:10%]")
    assert split_source("C:\\data") == ("C:\\data", "test")
    (tmp_path / "a:b").mkdir()
    assert split_source(f"{tmp_path}/a:b") == (f"{tmp_path}/a:b", "test")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="pinning is for Linux")
def test_cores() -> None:
    assert training.choose_cores(1).get() is None
    with pytest.raises(ValueError, match="--jobs 10000: this process can use only"):
        training.choose_cores(10000)


def test_scores_of_all_targets() -> None:
    performance = {"ents_f": None, "spans_chunks_f": 0.5, "spans_chunks_p": 1.0, "tag_acc": 0.9}
    chunks = {"p": 1.0, "r": None, "f": 0.5, "per_type": None}
    assert runs.dev_scores(performance) == {"chunks": chunks, "tags": {"accuracy": 0.9}}
    numbers = {"precision": 1.0, "recall": 0.5, "f1": 0.75, "support": 4}
    report = {"strict": {"micro": numbers, "per_type": {"NP": numbers}}, "default": {}}
    found = runs.test_scores({"entities": None, "chunks": report, "tag_accuracy": 0.9})
    short = {"p": 1.0, "r": 0.5, "f": 0.75}
    assert found == {"chunks": {**short, "per_type": {"NP": short}}, "tags": {"accuracy": 0.9}}


def test_a_stop_ends_the_running_process(tmp_path: Path) -> None:
    recipe = make_recipe(SAMPLE, {})
    plan = training.Plan(
        SAMPLE, [], recipe, 0, None, tmp_path, False, -1, training.choose_cores(1), None
    )
    threading.Timer(1, plan.stop.set).start()
    start = time.monotonic()
    with pytest.raises(
        training.RunError, match=r"status -15\. The last lines of its log, .*log\.txt"
    ):
        training.execute(["-c", "import time; time.sleep(60)"], tmp_path / "log.txt", plan, None)
    assert time.monotonic() - start < 30
    with pytest.raises(training.RunError, match="stopped before the start"):
        training.execute(["-c", ""], tmp_path / "log.txt", plan, None)


@pytest.fixture
def replicate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, in a temporary folder."""
    app = typer.Typer()
    app.command()(command.replicate)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


SMALL = {
    "--paths.data": "bigru_tagger/sample",
    "--paths.clusters": "null",
    "--components.ner.model.hidden": "8",
    "--corpora.train.limit": "40",
    "--corpora.dev.limit": "20",
    "--training.max_steps": "4",
    "--training.eval_frequency": "2",
}


@pytest.mark.slow
def test_two_seeds_a_resume_and_a_failure(replicate: Callable[..., Result], tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    arguments = [str(SAMPLE), "--seeds", "0-1", "--jobs", str(min(2, cores)), "--name", "tiny"]
    arguments += ["--test", "bigru_tagger/sample:test", "--"]
    arguments += [part for setting in SMALL.items() for part in setting]
    first = replicate(*arguments)
    assert first.exit_code == 0, first.output
    assert "| `sample` | tiny | entity F1 | 2 |" in first.stdout

    path = tmp_path / "results" / "sample.jsonl"
    written = path.read_text(encoding="utf8")
    assert str(tmp_path) not in written
    assert str(ROOT) not in written
    runs = read_runs(path)
    assert sorted(run.seed for run in runs) == [0, 1]
    assert runs[0].dev != runs[1].dev
    for run in runs:
        assert run.steps == 4
        assert run.best_step in (0, 2, 4)
        assert set(run.dev["entities"]) == {"p", "r", "f", "per_type"}
        assert run.test is not None
        assert set(run.test["entities"]["per_type"]) == {"LOC", "MISC", "ORG", "PER"}
        assert run.recipe.overrides["components.ner.model.hidden"] == 8
        assert "paths.data" not in run.recipe.overrides
        assert run.machine["cpu"]
    assert not list(tmp_path.rglob("model-*"))  # no --keep
    logs = set(tmp_path.rglob("log.txt"))
    assert len(logs) == 2

    again = replicate(*arguments)
    assert again.exit_code == 0, again.output
    assert again.output.count("already in results/sample.jsonl as “tiny”") == 2
    assert "code has changed" not in again.output
    assert path.read_text(encoding="utf8") == written

    failing = replicate(*arguments[:2], "0", *arguments[3:], "--training.optimizer.beta1", "much")
    assert failing.exit_code == 1
    (log,) = set(tmp_path.rglob("log.txt")) - logs
    assert (
        "Error: seed 0: ended with status 1. The last lines of its log, "
        f"{log.relative_to(tmp_path)}:" in failing.stderr
    )
    assert "beta1" in failing.stderr
    assert path.read_text(encoding="utf8") == written


@pytest.mark.slow
def test_a_training_is_not_repeated_if_scoring_fails(
    replicate: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = [str(SAMPLE), "--seeds", "0", "--test", "bigru_tagger/sample:test", "--"]
    arguments += [part for setting in SMALL.items() for part in setting]
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no scores today')", encoding="utf8")
    with monkeypatch.context() as patch:
        patch.setattr(training, "EVALUATE", broken)
        failed = replicate(*arguments)
    assert failed.exit_code == 1
    assert "no scores today" in failed.stderr
    assert replicate(*arguments).exit_code == 0
    (log,) = tmp_path.rglob("log.txt")
    lines = log.read_text(encoding="utf8").splitlines()
    commands = [line for line in lines if line.startswith("$ ")]
    for part, line in zip(("spacy train", "broken.py", "evaluate.py"), commands, strict=True):
        assert part in line
    (run,) = read_runs(tmp_path / "results" / "sample.jsonl")
    assert run.seconds > 1.0
    assert not list(tmp_path.rglob("trained.json"))


def test_table_into_a_file(replicate: Callable[..., Result], tmp_path: Path) -> None:
    append_run(tmp_path / "tiny.jsonl", make_run(0, 0.9, 0.8))
    page = tmp_path / "README.md"
    page.write_text("<!-- results:tiny --><!-- /results -->")
    assert replicate("--table", "tiny.jsonl", "--into", "README.md").exit_code == 0
    table = results_table(read_runs(tmp_path / "tiny.jsonl"))
    assert page.read_text() == f"<!-- results:tiny -->\n{table}\n<!-- /results -->"
    assert table in replicate("--table", "tiny.jsonl").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "none.jsonl"], "none.jsonl: no such file of results"),
        (["none.cfg"], "none.cfg"),
        ([SAMPLE, "--baseline", "x"], "--baseline, --into and --block need --table"),
        ([SAMPLE, "--seeds", "x"], "--seeds x: write a list such as 0-4"),
    ],
)
def test_wrong_options_are_errors(
    replicate: Callable[..., Result], arguments: list[object], message: str
) -> None:
    result = replicate(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
