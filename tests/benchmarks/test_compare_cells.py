"""The comparison of GRU and LSTM, in one and in two directions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import ROOT, TINY, build, train
from spacy.util import load_config
from thinc.api import Config, set_dropout_rate

from benchmarks import compare_cells
from benchmarks.replication.cells import (
    BY_TORCH,
    CELLS,
    Measured,
    cells_table,
    count_parameters,
    peak_of_prediction,
    plot_cells,
    time_cells,
    use_torch_gru,
)
from benchmarks.replication.runs import Run, append_run, make_recipe
from benchmarks.speed.passages import Passage
from benchmarks.speed.prediction import our_shims
from benchmarks.speed.timing import Timing

CONFIGS = ROOT / "configs"
PASSAGES = [Passage(["Bob", "met", "Eve", "."], [True, True, False, False], None)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cells") / "model"
    build("bigru_ner").to_disk(path)
    return path


def test_a_kind_of_layer_as_settings() -> None:
    config = load_config(CONFIGS / "conll2003.cfg")
    assert CELLS[3].name == "LSTM, one direction"
    assert CELLS[3].overrides(config) == {
        "components.ner.model.cell": "lstm",
        "components.ner.model.bidirectional": False,
    }
    changed = load_config(CONFIGS / "conll2003.cfg", overrides=CELLS[1].overrides(config))
    assert changed["components"]["ner"]["model"]["cell"] == "lstm"
    assert changed["components"]["ner"]["model"]["bidirectional"] is True


def test_a_shared_encoder_gets_the_settings_too() -> None:
    settings = CELLS[1].overrides(load_config(CONFIGS / "conll2003_multitask.cfg"))
    assert settings["components.tok2vec.model.cell"] == "lstm"


def test_a_config_without_such_layers_is_an_error() -> None:
    with pytest.raises(ValueError, match="no model with a setting `cell`"):
        CELLS[0].overrides(Config({"components": {"ner": {"factory": "ner"}}}))


def test_parameters_are_those_of_the_equations() -> None:
    # Each gate has, for each of 16 units, weights of 32 inputs and 16 states, and two biases.
    gate = 16 * (32 + 16 + 2)
    embedding = (201 + 101) * 16  # each table has one extra row for unknown values
    for cell in CELLS:
        network = {**TINY, "cell": cell.cell, "bidirectional": cell.bidirectional}
        n_gates = {"gru": 3, "lstm": 4}[cell.cell]
        directions = 1 + cell.bidirectional
        recurrent = directions * n_gates * gate
        output = 13 * (directions * 16 + 1)  # 4 tags for each of 3 labels, and O
        nlp = build("bigru_ner", model=network)
        assert count_parameters(nlp) == (embedding + recurrent + output, recurrent), cell.name


def make_measured(name: str, training: float, prediction: float, test: list[float]) -> Measured:
    def timing(speed: float) -> Timing:
        return Timing(name, "", (100,) * 3, (100 / speed,) * 3)

    return Measured(
        name, 1500, 1000, timing(training), timing(prediction), 2048.0, None, [90.0, 92.0], test
    )


def test_the_table_compares_with_the_first() -> None:
    first = make_measured("GRU", 1000.0, 8000.0, [89.0, 91.0, 90.0])
    second = make_measured("LSTM", 750.0, 2000.0, [88.0, 90.0, 89.0])
    _, _, one, other = cells_table([first, second]).splitlines()
    # sd of 89, 90, 91 is 1; t with 2 degrees of freedom is 4.303; divided by the root of 3.
    assert one == (
        "| GRU | 1,500 (1,000) | 1,000 (1.00) | 8,000 (1.00) | 2,048, ? | 91.00 ± 1.41 | "
        "90.00 ± 1.00 [87.52, 92.48] |  |"
    )
    # The squared standard error of the difference is 2/3; t with 4 degrees of freedom is 2.776.
    assert other == (
        "| LSTM | 1,500 (1,000) | 750 (0.75) | 2,000 (0.25) | 2,048, ? | 91.00 ± 1.41 | "
        "89.00 ± 1.00 [86.52, 91.48] | −1.00 [−3.27, +1.27] |"
    )


def test_a_layer_that_computes_the_same_has_no_scores() -> None:
    first = make_measured("GRU", 1000.0, 8000.0, [89.0, 91.0, 90.0])
    again = replace(make_measured(BY_TORCH, 800.0, 1.0, []), dev=(), prediction=None)
    row = cells_table([first, again]).splitlines()[-1]
    assert row == "| GRU, by torch's cells | 1,500 (1,000) | 800 (0.80) |  |  |  |  |  |"


def test_torch_trains_the_same_gru() -> None:
    nlp = build("bigru_ner")
    train(nlp, steps=5)  # logits of a new network are near zero
    model = nlp.get_pipe("bigru_ner").model
    set_dropout_rate(model, 0.0)
    docs = list(map(nlp.make_doc, ("Bob met Eve .", "Ada Lovelace wrote to Babbage from London .")))
    (shim,) = our_shims(nlp)
    calls: list[int] = []
    for rnn in shim.network.encoder.modules():
        if isinstance(rnn, torch.nn.GRU):
            rnn.register_forward_hook(lambda *_: calls.append(1))
    ours = np.concatenate(model.begin_update(docs)[0])
    assert calls == []
    use_torch_gru(nlp)
    theirs = np.concatenate(model.begin_update(docs)[0])
    assert len(calls) == 2  # one per direction
    assert np.abs(ours).max() > 0.01
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_plot_names_all(tmp_path: Path) -> None:
    measured = [make_measured(cell.name, 1000.0, 8000.0, [89.0, 90.0]) for cell in CELLS]
    measured.append(replace(make_measured(BY_TORCH, 800.0, 2000.0, []), dev=()))
    plot_cells(measured, tmp_path / "cells.svg")
    text = (tmp_path / "cells.svg").read_text(encoding="utf8")
    assert all(f"<!-- {cell.name} -->" in text for cell in CELLS)
    assert BY_TORCH not in text


@pytest.mark.slow
def test_amounts_are_the_number_of_words(model: Path) -> None:
    config = load_config(CONFIGS / "sample.cfg", overrides={"paths.clusters": None})
    prepared = []
    ((trained,), (predicted,)) = time_cells(
        {"GRU": config},
        {"GRU": model},
        PASSAGES,
        2,
        train_words=5,
        prepare={"GRU": lambda nlp: prepared.append(nlp.pipe_names)},
    )
    assert prepared == [["ner"]]  # in training
    assert (trained.system, predicted.system, predicted.variant) == ("GRU", "GRU", "")
    assert predicted.amounts == (4, 4)
    assert min(trained.amounts) >= 5


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.slow
def test_the_peak_is_that_of_a_separate_process(model: Path) -> None:
    ballast = np.ones(2**27)  # 1,024 MiB: more than a process that only loads torch and spaCy
    peak = peak_of_prediction(model, PASSAGES)
    assert ballast.nbytes == 1024 * 2**20
    assert peak is not None
    assert 100 < peak < 1024


def make_line(plan: object, name: str, seed: int, f: float) -> Run:
    recipe = make_recipe(
        plan.config, plan.settings[name], name=name, test=("bigru_tagger/sample", "test")
    )
    scores = {"entities": {"p": f, "r": f, "f": f, "per_type": {}}}
    run = Run(recipe, seed, scores, scores, 1.0, 1, 1, 1, 1.0, {}, {}, "2024-01-01T00:00:00+00:00")
    append_run(plan.results, run)
    return run


@pytest.fixture
def plan(tmp_path: Path):
    config = CONFIGS / "sample.cfg"
    return compare_cells.Plan(
        config=config,
        settings={cell.name: cell.overrides(load_config(config)) for cell in CELLS[:2]},
        seeds="0-1",
        test="bigru_tagger/sample:test",
        results=tmp_path / "runs.jsonl",
        output=tmp_path / "output",
    )


def test_only_the_given_seeds_are_used(plan: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, first in (("GRU", 0.5), ("LSTM", 0.25)):
        for seed in range(3):  # one more than given
            run = make_line(plan, name, seed, first + seed / 8)
            folder = plan.output / f"{run.recipe.config}-{run.recipe.key}" / f"seed-{seed}"
            (folder / "model-best").parent.mkdir(parents=True)
            cell = {"cell": name.lower()}
            build("bigru_ner", model={**TINY, **cell}).to_disk(folder / "model-best")
    timing = Timing("", "", (1,), (1.0,))
    monkeypatch.setattr(compare_cells, "time_cells", lambda *_, **__: ([timing] * 3, [timing] * 2))
    monkeypatch.setattr(compare_cells, "peak_of_training", lambda *_: 1.0)
    monkeypatch.setattr(compare_cells, "peak_of_prediction", lambda *_: 2.0)
    gru, lstm, again = compare_cells.measure(plan, compare_cells.QUICK)
    assert (gru.name, gru.test, lstm.name, lstm.dev) == ("GRU", [50.0, 62.5], "LSTM", [25.0, 37.5])
    assert lstm.recurrent * 3 == gru.recurrent * 4
    assert (again.name, again.recurrent, again.dev) == (BY_TORCH, gru.recurrent, ())
    assert (again.training, again.prediction) == (timing, None)


def test_a_missing_model_is_an_error(plan: object) -> None:
    make_line(plan, "GRU", 0, 0.5)
    with pytest.raises(ValueError, match=r"model-best no longer exists.*delete the line"):
        compare_cells.measure(plan, compare_cells.QUICK)
