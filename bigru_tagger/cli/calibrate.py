"""The commands `calibrate` and `tune`: fit settings of a component on gold data."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, report_errors
from .options import Device, GpuId, Model, SpansKey, sentences_per_doc_option, with_reader_options

if TYPE_CHECKING:
    from ..pipeline.component import SequenceTagger

Data = Annotated[
    str,
    typer.Argument(
        help="Gold data that the pipeline was not trained on: a dataset on the Hugging Face hub, a "
        "folder, or a file (column file, JSON, parquet, .spacy)."
    ),
]
Component = Annotated[str, typer.Option(help="The name of the component.")]
Output = Annotated[
    Path | None,
    typer.Option(help="Output folder of the changed pipeline. Default: modify MODEL."),
]


@app.command("calibrate")
@with_reader_options
def calibrate_command(
    model: Model,
    data: Data,
    *,
    split: Annotated[
        str | None,
        typer.Option(
            help="The split to calibrate on. Do not use the test data. Default: validation."
        ),
    ] = None,
    report: Annotated[
        list[str] | None,
        typer.Option(help="Another split to report the error on; repeatable."),
    ] = None,
    component: Component = "ner",
    sentences_per_doc: Annotated[int | None, sentences_per_doc_option("as in training")] = None,
    spans_key: SpansKey = "chunks",
    output: Output = None,
    device: Device = None,
    gpu_id: GpuId = -1,
    reader: dict[str, Any],
) -> None:
    """Fit the temperature of a component's probabilities on gold data, and store it.

    Prints the expected calibration error before and after. Calibration changes no predictions
    unless a threshold is set.
    """
    from wasabi.tables import table

    from ..corpus.corpus import default_split
    from ..report.calibration import Calibrator, expected_calibration_error
    from ..scoring.loading import load_pipeline
    from ..scoring.systems import GoldData, read_examples

    with report_errors():
        folder = Path(model) / component
        _check_target(folder, output)
        nlp = load_pipeline(model, gpu_id=gpu_id, device=device)

        def read(part: str | None) -> Calibrator:
            gold = GoldData(data, part, sentences_per_doc, spans_key, options=reader)
            return Calibrator(nlp, component, read_examples(nlp, gold))

        split = split or (default_split(data) and "validation")
        calibrator = read(split)
        before, temperature = calibrator.pipe.temperature, calibrator.fit()
        rows = []
        for part in dict.fromkeys([split, *(report or [])]):
            spans = calibrator if part == split else read(part)
            judged = [spans.outcomes(value) for value in (before, temperature)]
            errors = [f"{expected_calibration_error(each):.4f}" for each in judged]
            rows.append((part or data, len(judged[0].correct), *errors))
        calibrator.pipe.temperature = temperature
        _store(calibrator.pipe, model, folder, output)
    typer.echo(f"Temperature of {component}: {temperature:.3f} (was {before:.3f})")
    header = ("", "spans found", "calibration error before", "after")
    typer.echo(table(rows, header=header, aligns=("l", "r", "r", "r")).rstrip("\n"))
    typer.echo(f"Stored in {output or folder}")


@app.command("tune")
@with_reader_options
def tune_command(
    model: Model,
    data: Data,
    *,
    split: Annotated[
        str | None,
        typer.Option(help="The split to tune on. Do not use the test data. Default: validation."),
    ] = None,
    report: Annotated[
        list[str] | None,
        typer.Option(help="Another split to report F1 on; repeatable."),
    ] = None,
    component: Component = "ner",
    sentences_per_doc: Annotated[int | None, sentences_per_doc_option("as in training")] = None,
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

    from ..corpus.corpus import default_split
    from ..report.cells import percent, signed
    from ..report.tuning import Tuner
    from ..scoring.loading import load_pipeline
    from ..scoring.systems import GoldData, document_lengths, read_examples

    with report_errors():
        folder = Path(model) / component
        _check_target(folder, output)
        nlp = load_pipeline(model, gpu_id=gpu_id, device=device)

        def open_gold(part: str | None) -> GoldData:
            return GoldData(data, part, sentences_per_doc, spans_key, options=reader)

        split = split or (default_split(data) and "validation")
        tuner = Tuner(nlp, component, read_examples(nlp, open_gold(split)))
        old = tuner.pipe.cfg
        before = {name: old[name] for name in ("recall_bias", "threshold")}
        with tqdm(desc="Tuning", unit=" trials", disable=None) as progress:
            tuned = tuner.search(progress.update)
        rows = []
        for part in dict.fromkeys([split, *(report or [])]):
            gold = open_gold(part)
            trial = tuner if part == split else Tuner(nlp, component, read_examples(nlp, gold))
            change = trial.compare(tuned.settings, document_lengths(gold, nlp))
            interval = change.interval
            rows.append(
                (
                    part or data,
                    percent(change.before.f1),
                    percent(change.after.f1),
                    signed(change.difference),
                    "" if interval is None else f"[{signed(interval[0])}, {signed(interval[1])}]",
                )
            )
        tuner.pipe.cfg.update(tuned.settings)
        _store(tuner.pipe, model, folder, output)
    for name, value in tuned.settings.items():
        typer.echo(f"{name} of {component}: {_show(value)} (was {_show(before[name])})")
    header = ("", "F1 before", "after", "difference", "95 % interval")
    typer.echo(table(rows, header=header, aligns=("l", *"r" * 4)).rstrip("\n"))
    typer.echo(
        f"The settings were chosen on {rows[0][0]} among {tuned.trials} biases, so F1 after is too "
        "high there. Use --report with another split to see what they bring."
    )
    typer.echo(f"Stored in {output or folder}")


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{label} {number:g}" for label, number in value.items())
    return f"{value:g}"


def _check_target(folder: Path, output: Path | None) -> None:
    """Check where to store the settings, before the pipeline runs."""
    if output is None and not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder to store the settings in. Set --component to a component "
            "of the pipeline. If MODEL is an installed package, set --output to a new folder"
        )
    if output is not None and output.exists():
        raise ValueError(f"--output: {output} already exists: remove it, or choose another folder")


def _store(pipe: "SequenceTagger", model: str, folder: Path, output: Path | None) -> None:
    """Store the settings of a component in its pipeline, or in a copy of the pipeline."""
    from ..files import atomic_folder
    from ..scoring.loading import load_pipeline

    if output is None:
        _replace_settings(pipe, folder)
        return
    with atomic_folder(output) as temporary:
        # Not the pipeline that was used, whose config has `device`.
        load_pipeline(model).to_disk(temporary)
        _replace_settings(pipe, temporary / folder.name)


def _replace_settings(pipe: "SequenceTagger", folder: Path) -> None:
    with TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        pipe.to_disk(temporary, exclude=["model", "vocab"])
        (Path(temporary) / "cfg").replace(folder / "cfg")
