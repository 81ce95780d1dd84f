"""The commands `calibrate` and `tune`: fit settings of a component on gold data."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from .app import app, report_errors
from .options import Device, GpuId, Model, SpansKey, sentences_per_doc_option, with_reader_options

if TYPE_CHECKING:
    from spacy.language import Language

    from ..pipeline.component import SequenceTagger
    from ..scoring.systems import GoldData
    from ..tuning.settings_trial import SettingsTrial

Data = Annotated[
    str,
    typer.Argument(
        help="Gold data that the pipeline was not trained on: a dataset on the Hugging Face hub, a "
        "folder, or a file (column file, JSON, parquet, .spacy)."
    ),
]
Split = Annotated[
    str | None,
    typer.Option(help="The split to fit on. Do not use the test data. Default: validation."),
]
Report = Annotated[
    list[str] | None, typer.Option(help="Another split to report the effect on; repeatable.")
]
Component = Annotated[
    str | None,
    typer.Option(help="The component. Default: the only one that finds spans, or ner."),
]
SentencesPerDoc = Annotated[int | None, sentences_per_doc_option("as in training")]
Output = Annotated[
    Path | None,
    typer.Option(help="Output folder of the changed pipeline. Default: modify MODEL."),
]
Trial = TypeVar("Trial", bound="SettingsTrial")


@app.command("calibrate")
@with_reader_options
def calibrate_command(
    model: Model,
    data: Data,
    *,
    split: Split = None,
    report: Report = None,
    component: Component = None,
    sentences_per_doc: SentencesPerDoc = None,
    spans_key: SpansKey = "chunks",
    output: Output = None,
    device: Device = None,
    gpu_id: GpuId = -1,
    reader: dict[str, Any],
) -> None:
    """Fit the temperature of a component's probabilities on gold data, and store it.

    The temperature minimizes the cross-entropy of the probabilities. Prints the expected
    calibration error before and after, which can rise if there are few spans. Calibration changes
    no predictions unless a threshold is set.
    """
    from wasabi.tables import table

    from ..report.calibration import expected_calibration_error
    from ..scoring.loading import load_pipeline
    from ..scoring.systems import GoldData
    from ..tuning.calibrator import Calibrator

    with report_errors():
        _check_target(model, component, output)
        nlp = load_pipeline(model, gpu_id=gpu_id, device=device)
        gold = GoldData(data, split, sentences_per_doc, spans_key, options=reader)
        trials = _trials(Calibrator, nlp, component, gold, report)
        first = next(trials)
        pipe = first[2].pipe
        before, temperature = pipe.temperature, first[2].fit()
        rows = []
        for name, _, trial in chain([first], trials):
            judged = [trial.outcomes(value) for value in (before, temperature)]
            errors = [f"{expected_calibration_error(each):.4f}" for each in judged]
            rows.append((name, len(judged[0].correct), *errors))
        pipe.temperature = temperature
        stored = _store(pipe, model, output)
    typer.echo(f"Temperature of {pipe.name}: {temperature:.3f} (was {before:.3f})")
    if pipe.cfg["threshold"]:
        typer.echo(
            f"Note: with the new probabilities, the threshold of {pipe.cfg['threshold']:g} keeps "
            "other spans: set it again, for example with `bigru-tagger tune`",
            err=True,
        )
    header = ("", "spans found", "calibration error before", "after")
    typer.echo(table(rows, header=header, aligns=("l", "r", "r", "r")).rstrip("\n"))
    typer.echo(f"Stored in {stored}")


@app.command("tune")
@with_reader_options
def tune_command(
    model: Model,
    data: Data,
    *,
    split: Split = None,
    report: Report = None,
    component: Component = None,
    sentences_per_doc: SentencesPerDoc = None,
    spans_key: SpansKey = "chunks",
    output: Output = None,
    device: Device = None,
    gpu_id: GpuId = -1,
    reader: dict[str, Any],
) -> None:
    """Find the `recall_bias` of each label and the `threshold` with the best F1, and store them.

    The network runs once. Calibrate first: a new temperature changes the meaning of a threshold.
    Prints F1 before and after. On the data of the search, F1 after is too high, because the
    settings were chosen for them.
    """
    from tqdm import tqdm
    from wasabi.tables import table

    from ..report.cells import percent, signed
    from ..scoring.loading import load_pipeline
    from ..scoring.systems import GoldData, document_lengths
    from ..tuning.tuner import Tuner

    with report_errors():
        _check_target(model, component, output)
        nlp = load_pipeline(model, gpu_id=gpu_id, device=device)
        gold = GoldData(data, split, sentences_per_doc, spans_key, options=reader)
        trials = _trials(Tuner, nlp, component, gold, report)
        first = next(trials)
        pipe = first[2].pipe
        before = {name: pipe.cfg[name] for name in ("recall_bias", "threshold")}
        with tqdm(desc="Tuning", unit=" trials", disable=None) as progress:
            tuned = first[2].search(progress.update)
        rows = []
        for name, part, trial in chain([first], trials):
            change = trial.compare(tuned.settings, document_lengths(part, nlp))
            interval = change.interval
            rows.append(
                (
                    name,
                    percent(change.before.f1),
                    percent(change.after.f1),
                    signed(change.difference),
                    "" if interval is None else f"[{signed(interval[0])}, {signed(interval[1])}]",
                )
            )
        pipe.cfg.update(tuned.settings)
        stored = _store(pipe, model, output)
    for name, value in tuned.settings.items():
        typer.echo(f"{name} of {pipe.name}: {_show(value)} (was {_show(before[name])})")
    header = ("", "F1 before", "after", "difference", "95 % interval")
    typer.echo(table(rows, header=header, aligns=("l", *"r" * 4)).rstrip("\n"))
    typer.echo(
        f"The settings were chosen on {rows[0][0]} among {tuned.trials} biases, so F1 after is too "
        "high there. Use --report with another split to see what they bring."
    )
    typer.echo(f"Stored in {stored}")


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{label} {number:g}" for label, number in value.items())
    return f"{value:g}"


def _check_target(model: str, component: str | None, output: Path | None) -> None:
    """Check where to store the settings, before the pipeline runs."""
    folder = Path(model) / (component or "")
    if output is None and not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder to store the settings in. Set --component to a component "
            "of the pipeline. If MODEL is an installed package, set --output to a new folder"
        )
    if output is not None and output.exists():
        raise ValueError(f"--output: {output} already exists: remove it, or choose another folder")


def _trials(
    kind: type[Trial],
    nlp: "Language",
    component: str | None,
    gold: "GoldData",
    report: list[str] | None,
) -> "Iterator[tuple[str, GoldData, Trial]]":
    """Run a component on the split to fit on, and then on those to report on."""
    from ..corpus.corpus import default_split
    from ..scoring.systems import read_examples

    first = gold.split or (default_split(gold.data) and "validation")
    for split in dict.fromkeys([first, *(report or [])]):
        part = replace(gold, split=split)
        yield split or gold.data, part, kind(nlp, component, read_examples(nlp, part))


def _store(pipe: "SequenceTagger", model: str, output: Path | None) -> Path:
    """Store the settings of a component in its pipeline, or in a copy of the pipeline."""
    from ..files import atomic_folder
    from ..scoring.loading import load_pipeline

    if output is None:
        _replace_settings(pipe, Path(model))
        return Path(model) / pipe.name
    with atomic_folder(output) as temporary:
        # Not the pipeline that was used, whose config has `device`.
        load_pipeline(model).to_disk(temporary)
        _replace_settings(pipe, temporary)
    return output


def _replace_settings(pipe: "SequenceTagger", folder: Path) -> None:
    from ..files import atomic_folder

    # Not the settings alone, since there is a checksum of settings and weights.
    with atomic_folder(folder / pipe.name, replace=True) as temporary:
        pipe.to_disk(temporary, exclude=["vocab"])
