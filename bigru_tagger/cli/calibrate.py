"""The temperature of a component's probabilities."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, errors_told
from .reading import with_reader_options

if TYPE_CHECKING:
    from ..pipeline.component import SequenceTagger


@app.command("calibrate")
@with_reader_options
def calibrate_command(
    model: Annotated[str, typer.Argument(help="A pipeline: a folder, or a package's name.")],
    data: Annotated[
        str,
        typer.Argument(
            help="Gold data that the pipeline was not trained on: a dataset of the Hugging Face "
            "hub, a folder, a column file or .spacy."
        ),
    ],
    *,
    split: Annotated[
        str | None,
        typer.Option(help="The split to calibrate on, not the test data; else validation."),
    ] = None,
    report: Annotated[
        list[str] | None,
        typer.Option(help="Another split to report the error on; repeatable."),
    ] = None,
    component: Annotated[str, typer.Option(help="The component.")] = "ner",
    n_sents: Annotated[
        int | None, typer.Option(help="Sentences per document; else as in training.", min=0)
    ] = None,
    spans_key: Annotated[str, typer.Option(help="Where chunks are, in doc.spans.")] = "chunks",
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for the calibrated pipeline; else MODEL itself is changed."),
    ] = None,
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

    with errors_told():
        folder = Path(model) / component
        _check_target(folder, output)
        nlp = load_pipeline(model)

        def read(part: str | None) -> Calibrator:
            gold = read_gold(
                nlp, data, split=part, n_sents=n_sents, spans_key=spans_key, options=reader
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
            with atomic_folder(output) as place:
                nlp.to_disk(place)
    typer.echo(f"Temperature of {component}: {temperature:.3f} (was {before:.3f})")
    header = ("", "spans found", "calibration error before", "after")
    typer.echo(table(rows, header=header, aligns=("l", "r", "r", "r")).rstrip("\n"))
    typer.echo(f"Stored in {output or folder}")


def _check_target(folder: Path, output: Path | None) -> None:
    """Check where to store the temperature, before the pipeline runs."""
    if output is None and not folder.is_dir():
        raise ValueError(
            f"{folder}: there is no such folder to store the temperature in. Name the component by "
            "--component, or, if MODEL is an installed package, a new folder by --output"
        )
    if output is not None and output.exists():
        raise ValueError(f"--output: {output} already exists; it is not overwritten")


def _store_settings(pipe: "SequenceTagger", folder: Path) -> None:
    """Replace the settings of a stored component, and nothing else."""
    with TemporaryDirectory(dir=folder.parent, prefix=".") as place:
        pipe.to_disk(place, exclude=["model", "vocab"])
        (Path(place) / "cfg").replace(folder / "cfg")
