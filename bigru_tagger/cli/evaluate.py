"""Scores of a pipeline on gold data."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..analysis import Analysis, analyse, confidence_attributes
from ..evaluation import Evaluation, evaluate, replacing, write_predictions
from ..loading import load_pipeline, read_gold
from ..plots import can_plot
from ..provenance import describe_evaluation
from ..report import render
from ..report_markdown import render_markdown
from ..report_page import render_page
from ..report_sections import make_report
from ..slices import read_training
from .app import app, errors_told


@app.command("evaluate")
def evaluate_command(
    model: Annotated[
        str, typer.Argument(help="A pipeline: a folder (output/model-best) or a package's name.")
    ],
    data: Annotated[
        str,
        typer.Argument(
            help="Gold data: a dataset of the Hugging Face hub, a folder, a column file or .spacy."
        ),
    ],
    *,
    split: Annotated[str, typer.Option(help="The split of a dataset.")] = "test",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write all numbers to this file.", dir_okay=False)
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Write the columns token, gold, predicted to this file, for conlleval: of "
            "entities, or of chunks where there are no entities.",
            dir_okay=False,
        ),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            help="Write a report with intervals, kinds of error and all errors to this file, .html "
            "or .md; repeatable.",
            dir_okay=False,
        ),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(help="The training data: tells how new entities fare, in the report."),
    ] = None,
    train_split: Annotated[str, typer.Option(help="The split of the training data.")] = "train",
    batch_size: Annotated[
        int | None, typer.Option(help="Documents per batch; else the pipeline's.", min=1)
    ] = None,
    n_sents: Annotated[
        int | None, typer.Option(help="Sentences per document; else as in training.", min=0)
    ] = None,
    spans_key: Annotated[str, typer.Option(help="Where chunks are, in doc.spans.")] = "chunks",
    device: Annotated[
        str | None, typer.Option(help="torch device of the components that have a `device`.")
    ] = None,
    gpu_id: Annotated[int, typer.Option(help="GPU of all components, by CuPy; -1: none.")] = -1,
) -> None:
    """Score a spaCy pipeline on gold data with seqeval."""
    with errors_told():
        reports = report or []
        _check_reports(reports)
        nlp = load_pipeline(model, gpu_id=gpu_id, device=device)
        data_of_training = None
        if train is not None:
            data_of_training = _Training(train, train_split, n_sents, spans_key)
        evaluation = evaluate(
            nlp,
            read_gold(nlp, data, split=split, n_sents=n_sents, spans_key=spans_key),
            spans_key=spans_key,
            batch_size=batch_size,
            model=model,
            data=data,
            split=split,
        )
        typer.echo(render(evaluation))
        command = shlex.join(sys.argv)
