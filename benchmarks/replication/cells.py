"""Measure and compare recurrent layers: GRU and LSTM, in one and in two directions."""

import multiprocessing
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from spacy.language import Language
from thinc.api import Config

from bigru_tagger.markdown import markdown_table
from bigru_tagger.plots import save_figure
from bigru_tagger.scoring.loading import setting_paths

from ..speed.passages import Passage
from ..speed.prediction import load_system, measure_prediction, our_shims, parse_system
from ..speed.timing import Timing
from ..speed.training import measure_training
from .report import difference_cell, estimate, mean_cell

_T = TypeVar("_T")
_KIBIBYTES = 2**10  # of a mebibyte
_STATUS = Path("/proc/self/status")
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A kind of recurrent layer.

    name (str): the name in tables.
    cell (str): "gru" or "lstm".
    bidirectional (bool): whether the layer has two directions.
    """

    name: str
    cell: str
    bidirectional: bool

    def overrides(self, config: Config) -> dict[str, Any]:
        """List the overrides that give a config this kind of layer.

        config (Config): a training config.
        RETURNS (dict[str, Any]): settings by their dotted names.
        RAISES (ValueError): no model of the config has a setting `cell`.
        """
        models = [
            f"components.{path.removesuffix('.cell')}"
            for path in setting_paths("cell", config["components"])
        ]
        if not models:
            raise ValueError(
                "the config has no model with a setting `cell`: use a config with a "
                "bigru_tagger.BiGRUTagger.v1 or bigru_tagger.BiGRUTok2Vec.v1"
            )
        settings = {"cell": self.cell, "bidirectional": self.bidirectional}
        return {f"{model}.{name}": value for model in models for name, value in settings.items()}


CELLS = (
    Cell("GRU", "gru", bidirectional=True),
    Cell("LSTM", "lstm", bidirectional=True),
    Cell("GRU, one direction", "gru", bidirectional=False),
    Cell("LSTM, one direction", "lstm", bidirectional=False),
)
BY_TORCH = "GRU, by torch's cells"
"""The first of CELLS, trained by torch's GRU instead of the one of this package.

An LSTM is always trained by torch. Prediction runs in NumPy, see `scripts/compare_runtimes`."""


@dataclass(frozen=True)
class Measured:
    """The measurements of one kind of layer.

    name (str): the name of the layer.
    parameters (int): number of trainable parameters of the whole network.
    recurrent (int): number of parameters of the recurrent layers.
    training, prediction (Timing | None): the times, with amounts in words; `None` for a layer that
        predicts in the same way as another one.
    training_mebibytes, prediction_mebibytes (float | None): the peak memory of a separate process,
        in MiB; `None` except on Linux.
    dev, test (Sequence[float]): F1 or accuracy of each seed, in percent. `test` is empty without
        test data. Both are empty for a layer that computes the same as another one.
    """

    name: str
    parameters: int
    recurrent: int
    training: Timing
    prediction: Timing | None
    training_mebibytes: float | None
    prediction_mebibytes: float | None
    dev: Sequence[float]
    test: Sequence[float]


def count_parameters(nlp: Language) -> tuple[int, int]:
    """Count trainable parameters.

    nlp (Language): a pipeline with networks of this package.
    RETURNS (tuple[int, int]): number of parameters of the networks, and of their recurrent layers.
    """
    networks = [shim.network for shim in our_shims(nlp)]
    counts = [
        sum(parameter.numel() for module in modules for parameter in module.parameters())
        for modules in (networks, [network.encoder for network in networks])
    ]
    return counts[0], counts[1]


def use_torch_gru(nlp: Language) -> None:
    """Train by torch's GRU instead of the one of this package.

    nlp (Language): a pipeline with networks of this package, which has not been trained yet.
    """
    for shim in our_shims(nlp):
        shim.network.encoder.own_gru = False


def time_cells(
    configs: Mapping[str, Config],
    models: Mapping[str, Path],
    passages: Sequence[Passage],
    rounds: int,
    *,
    train_words: int,
    prepare: Mapping[str, Callable[[Language], None]] | None = None,
) -> tuple[list[Timing], list[Timing]]:
    """Time training and prediction, each in turn.

    configs (Mapping[str, Config]): the training configs by name.
    models (Mapping[str, Path]): the trained pipelines by name.
    passages (Sequence[Passage]): the texts to predict.
    rounds (int): number of timed rounds.
    train_words (int): the least number of words in a round of training.
    prepare (Mapping[str, Callable[[Language], None]] | None): functions that change the pipelines
        of some configs before they are trained.
    RETURNS (tuple[list[Timing], list[Timing]]): the times of training and of prediction, with
        amounts in words. Prediction is timed with words in the cache.
    """
    training = measure_training(configs, rounds, n_words=train_words, prepare=prepare)
    pipelines = {name: load_system(parse_system(f"{name}={path}")) for name, path in models.items()}
    prediction = measure_prediction(pipelines, passages, rounds)
    return training, [timing for timing in prediction if not timing.variant]


def peak_of_training(config: Config, n_words: int) -> float | None:
    """Measure the peak memory of training.

    config (Config): a training config.
    n_words (int): training stops after this number of words.
    RETURNS (float | None): MiB of a separate process; `None` except on Linux.
    """
    return _in_own_process(_train, config, n_words)


def peak_of_prediction(model: Path, passages: Sequence[Passage]) -> float | None:
    """Measure the peak memory of prediction.

    model (Path): a trained pipeline.
    passages (Sequence[Passage]): the texts.
    RETURNS (float | None): MiB of a separate process; `None` except on Linux.
    """
    return _in_own_process(_predict, model, passages)


def _in_own_process(function: Callable[..., _T], *arguments: Any) -> _T:
    # Not forked: the memory of this process would be included.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def _train(config: Config, n_words: int) -> float | None:
    measure_training({"": config}, 1, n_words=n_words)
    return _peak()


def _predict(model: Path, passages: Sequence[Passage]) -> float | None:
    nlp = load_system(parse_system(f"model={model}"))
    for _ in nlp.pipe([passage.doc(nlp.vocab) for passage in passages]):
        pass
    return _peak()


def _peak() -> float | None:
    # In kB, see https://man7.org/linux/man-pages/man5/proc_pid_status.5.html. The peak of
    # `getrusage` would include the memory of the parent process.
    if not _STATUS.exists():
        return None
    found = _PEAK.search(_STATUS.read_text(encoding="ascii"))
    return None if found is None else int(found[1]) / _KIBIBYTES


def cells_table(measured: Sequence[Measured]) -> str:
    """Format measurements as a Markdown table, with ratios to the first.

    measured (Sequence[Measured]): at least one measurement.
    RETURNS (str): the lines of the table.
    """
    first = measured[0]
    header = [
        "",
        "parameters (recurrent)",
        "training words/s",
        "prediction words/s",
        "MiB of training, prediction",
        "dev",
        "test",
        f"test − {first.name}",
    ]
    rows = [
        [
            each.name,
            f"{each.parameters:,} ({each.recurrent:,})",
            _speed(each.training, first.training),
            "" if each.prediction is None else _speed(each.prediction, first.prediction),
            *_memory_and_scores(each, first),
        ]
        for each in measured
    ]
    return markdown_table(header, rows, "lrrrrl")


def _memory_and_scores(each: Measured, first: Measured) -> list[str]:
    if not each.dev:  # computes the same as another one
        return [""] * 4
    return [
        f"{_mebibytes(each.training_mebibytes)}, {_mebibytes(each.prediction_mebibytes)}",
        mean_cell(each.dev),
        mean_cell(each.test, with_interval=True),
        "" if each is first else difference_cell(each.test, first.test),
    ]


def _speed(timing: Timing, first: Timing | None) -> str:
    assert first is not None
    return f"{timing.speed:,.0f} ({timing.speed / first.speed:.2f})"


def _mebibytes(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"


def plot_cells(measured: Sequence[Measured], path: Path) -> None:
    """Draw scores by speed of training and of prediction.

    measured (Sequence[Measured]): at least one measurement; those without scores are left out.
    path (Path): the image, .svg or .png, written atomically.
    RAISES (OSError): the image cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional dependency

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    measured = [each for each in measured if each.dev]
    on_test = all(each.test for each in measured)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, kind in zip(panels, ("training", "prediction"), strict=True):
        for each in measured:
            value, _, interval = estimate(each.test if on_test else each.dev)
            low, high = interval or (value, value)
            speed = getattr(each, kind).speed
            errors = [[value - low], [high - value]]
            axes.errorbar(speed, value, errors, fmt="o", capsize=4, label=each.name)
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel(f"words/s of {kind}")
        axes.grid(alpha=0.3)
    panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    panels[0].set_ylabel(f"{'test' if on_test else 'dev'} score, mean and 95 % interval")
    save_figure(figure, path)
