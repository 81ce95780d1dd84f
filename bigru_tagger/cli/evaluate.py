"""Scores of a system on gold data, and of two."""

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .app import app, errors_told
from .reading import with_reader_options


@app.command("evaluate")
@with_reader_options
def evaluate_command(  # noqa: PLR0915 - its imports count
    model: Annotated[
        str,
        typer.Argument(
            help="A pipeline: a folder (output/model-best) or a package's name. Or a file of "
            "predictions: a token a line, the predicted tag in its last column."
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(
            help="Gold data: a dataset of the Hugging Face hub, a folder, a column file or .spacy."
        ),
    ],
    *,
    split: Annotated[
        str | None, typer.Option(help="The split of a dataset or folder; else test.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Another pipeline or file of predictions, to compare to.")
    ] = None,
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
    train_split: Annotated[
        str | None, typer.Option(help="The split of the training data; else train.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Documents per batch; else the pipeline's.", min=1)
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(
            help="LABEL=NAME: what a label is called here, whoever has it; LABEL= makes it count "
            "as no entity. Repeatable."
        ),
    ] = None,
    n_sents: Annotated[
        int | None, typer.Option(help="Sentences per document; else as in training.", min=0)
    ] = None,
    spans_key: Annotated[str, typer.Option(help="Where chunks are, in doc.spans.")] = "chunks",
    device: Annotated[
        str | None, typer.Option(help="torch device of the components that have a `device`.")
    ] = None,
    gpu_id: Annotated[int, typer.Option(help="GPU of all components, by CuPy; -1: none.")] = -1,
    reader: dict[str, Any],
) -> None:
    """Score a spaCy pipeline, or a file of predictions, on gold data with seqeval."""
    from ..corpus.corpus import default_split
    from ..report.analysis import analyse_tasks
    from ..report.calibration import confidence_attributes
    from ..report.comparison_text import render_comparison
    from ..report.evaluation_text import label_hint, render
    from ..report.provenance import describe_evaluation
    from ..report.render import check_report_paths, write_reports
    from ..report.system_comparison import compare_systems
    from ..scoring.predictions import write_predictions
    from ..scoring.renaming import parse_names
    from ..scoring.run import replacing
    from ..scoring.systems import (
        GoldData,
        document_lengths,
        evaluate_systems,
        open_system,
        pipeline_of,
        read_examples,
    )

    with errors_told():
        paths = report or []
        check_report_paths(paths)
        if train is not None and not paths and json_path is None:
            raise ValueError("--train tells more in a --report or in --json: ask for one of them.")
        split = split or default_split(data)
        gold = GoldData(data, split, n_sents, spans_key, parse_names(rename or ()), reader)
        systems = {
            name: open_system(name, gpu_id=gpu_id, device=device)
            for name in (model, against)
            if name is not None
        }
        training = None
        if train is not None:
            train_split = train_split or (default_split(train) and "train")
            shown = replace(gold, data=train, split=train_split)
            training = list(read_examples(systems[model], shown))
        evaluations = evaluate_systems(systems, gold, batch_size=batch_size)
        evaluation = evaluations[model]
        typer.echo(render(evaluation))
        for own in evaluations.values():
            hint = label_hint(own)
            if hint is not None:
                typer.echo(f"\nNote: {hint}.", err=True)
        comparison = None
        analysed = bool(paths) or json_path is not None
        lengths = (
            document_lengths(gold, systems[model]) if analysed or against is not None else None
        )
        if against is not None:
            comparison = compare_systems(evaluation, evaluations[against], document_lengths=lengths)
            typer.echo(f"\n{render_comparison(comparison)}")
        command = shlex.join(sys.argv)
        analyses = []
        nlp = pipeline_of(systems[model])
        if analysed:
            names = () if nlp is None else confidence_attributes(nlp)
            analyses = analyse_tasks(
                evaluation, confidence=names, training=training, document_lengths=lengths
            )
        if json_path is not None:
            with replacing(json_path) as file:
                content = {"command": command, **evaluation.to_json()}
                content["analysis"] = {own.task.name: own.to_json() for own in analyses}
                if comparison is not None:
                    content["against"] = comparison.b.to_json()
                    content["comparison"] = comparison.to_json()
                file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        if predictions is not None:
            task = next((own for own in evaluation.tasks if not own.per_token), None)
            if task is None:
                raise ValueError("--predictions: there are only tags, not entities or chunks.")
            write_predictions(predictions, evaluation.examples, task)
        if paths:
            source = None if train is None else (train, train_split or "")
            about = describe_evaluation(nlp, evaluation, command=command, train=source)
            write_reports(paths, evaluation, analyses, about, comparison)
