"""The command `calibrate`: fit the temperature of a component's probabilities."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, report_errors
from .options import Device, GpuId, Model, SpansKey, sentences_per_doc_option, with_reader_options

if TYPE_CHECKING:
    from ..pipeline.component import SequenceTagger


@app.command("calibrate")
@with_reader_options
def calibrate_command(
    model: Model,
    data: Annotated[
        str,
        typer.Argument(
            help="Gold data that the pipeline was not trained on: a dataset on the Hugging Face "
            "hub, a folder, or a file (column file, JSON, parquet, .spacy)."
        ),
    ],
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
    component: Annotated[str, typer.Option(help="The name of the component.")] = "ner",
    sentences_per_doc: Annotated[int | None, sentences_per_doc_option("as in training")] = None,
    spans_key: SpansKey = "chunks",
    output: Annotated[
        Path | None,
        typer.Option(help="Output folder of the calibrated pipeline. Default: modify MODEL."),
    ] = None,
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
    from ..files import atomic_folder
    from ..report.calibration import Calibrator, expected_calibration_error
    from ..scoring.loading import load_pipeline, read_gold

    with report_errors():
        folder = Path(model) / component
        _check_target(folder, output)
        nlp = load_pipeline(model, gpu_id=gpu_id, device=device)

        def read(part: str | None) -> Calibrator:
            gold = read_gold(
                nlp,
                data,
                split=part,
                n_sents=sentences_per_doc,
                spans_key=spans_key,
                options=reader,
            )
            return Calibrator(nlp, component, gold)

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
        if output is None:
            _store_settings(calibrator.pipe, folder)
        else:
            with atomic_folder(output) as temporary:
                load_pipeline(model).to_disk(temporary)  # not `nlp`, whose config has `device`
                _store_settings(calibrator.pipe, temporary / component)
    typer.echo(f"Temperature of {component}: {temperature:.3f} (was {before:.3f})")
    header = ("", "spans found", "calibration error before", "after")
    typer.echo(table(rows, header=header, aligns=("l", "r", "r", "r")).rstrip("\n"))
    typer.echo(f"Stored in {output or folder}")


def _check_target(folder: Path, output: Path | None) -> None:
    """Check where to store the temperature, before the pipeline runs."""
    if output is None and not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder to store the temperature in. Set --component to a component "
            "of the pipeline. If MODEL is an installed package, set --output to a new folder"
        )
    if output is not None and output.exists():
        raise ValueError(f"--output: {output} already exists: remove it, or choose another folder")


def _store_settings(pipe: "SequenceTagger", folder: Path) -> None:
    """Replace only the settings of a stored component."""
    with TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        pipe.to_disk(temporary, exclude=["model", "vocab"])
        (Path(temporary) / "cfg").replace(folder / "cfg")
