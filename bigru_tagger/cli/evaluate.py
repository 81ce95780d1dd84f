"""The command `evaluate`: score one system, or compare two, on gold data."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..files import write_json
from .app import app, report_errors
from .options import (
    BatchSize,
    Device,
    GpuId,
    SpansKey,
    parse_renaming,
    sentences_per_doc_option,
    with_reader_options,
)

if TYPE_CHECKING:
    from ..report.analysis import Analysis
    from ..report.system_comparison import SystemComparison
    from ..scoring.run import Evaluation


@app.command("evaluate")
@with_reader_options
def evaluate_command(
    model: Annotated[
        str,
        typer.Argument(
            help="A pipeline: a folder (output/model-best) or the name of a package. Or a file of "
            "predictions with one token per line and the predicted tag in the last column."
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(
            help="Gold data: a dataset on the Hugging Face hub, a folder, or a file (column file, "
            "JSON, parquet, .spacy)."
        ),
    ],
    *,
    split: Annotated[
        str | None, typer.Option(help="The split of a dataset or folder. Default: test.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="A second pipeline or file of predictions to compare with.")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write all numbers to this file.", dir_okay=False)
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Write the columns token, gold tag and predicted tag to this file, for conlleval. "
            "The tags are those of the entities, or of the chunks if there are no entities.",
            dir_okay=False,
        ),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            help="Write a report with confidence intervals, error types and all errors to this "
            "file (.html or .md); repeatable.",
            dir_okay=False,
        ),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(
            help="The training data. The report then has separate scores for entities that do not "
            "occur in training."
        ),
    ] = None,
    train_split: Annotated[
        str | None, typer.Option(help="The split of the training data. Default: train.")
    ] = None,
    batch_size: BatchSize = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(
            help="LABEL=NAME: rename a label in gold data and predictions; LABEL= removes its "
            "entities. Repeatable."
        ),
    ] = None,
    case: Annotated[
        Literal["lower", "upper", "title"] | None,
        typer.Option(
            help="Change the texts to this case; title: the first letter of each word to upper "
            "case. Default: as they are."
        ),
    ] = None,
    sentences_per_doc: Annotated[int | None, sentences_per_doc_option("as in training")] = None,
    spans_key: SpansKey = "chunks",
    device: Device = None,
    gpu_id: GpuId = -1,
    reader: dict[str, Any],
) -> None:
    """Score a spaCy pipeline, or a file of predictions, on gold data with seqeval."""
    from ..corpus.corpus import default_split
    from ..report.analysis import analyse_tasks
    from ..report.comparison_text import render_comparison
    from ..report.evaluation_text import label_hint, render
    from ..report.provenance import describe_evaluation
    from ..report.render import check_report_paths, write_reports
    from ..report.system_comparison import compare_systems
    from ..scoring.loading import confidence_attributes
    from ..scoring.systems import (
        GoldData,
        document_lengths,
        evaluate_systems,
        open_system,
        pipeline_of,
        read_examples,
    )

    with report_errors():
        paths = report or []
        check_report_paths(paths)
        if train is not None and not paths and json_path is None:
            raise ValueError("--train only affects --report and --json: add one of them.")
        split = split or default_split(data)
        names = parse_renaming(rename or ())
        gold = GoldData(data, split, sentences_per_doc, spans_key, names, reader, case)
        systems = {
            name: open_system(name, gpu_id=gpu_id, device=device)
            for name in (model, against)
            if name is not None
        }
        training = None
        if train is not None:
            train_split = train_split or (default_split(train) and "train")
            train_data = replace(gold, data=train, split=train_split, case=None)
            training = list(read_examples(systems[model], train_data))
        evaluations = evaluate_systems(systems, gold, batch_size=batch_size)
        evaluation = evaluations[model]
        typer.echo(render(evaluation))
        for hint in filter(None, map(label_hint, evaluations.values())):
            typer.echo(f"\nNote: {hint}.", err=True)
        analysed = bool(paths) or json_path is not None
        lengths = None
        if analysed or against is not None:
            lengths = document_lengths(gold, systems[model])
        comparison = None
        if against is not None:
            comparison = compare_systems(evaluation, evaluations[against], document_lengths=lengths)
            typer.echo(f"\n{render_comparison(comparison)}")
        nlp = pipeline_of(systems[model])
        analyses: list[Analysis] = []
        if analysed:
            analyses = analyse_tasks(
                evaluation,
                confidence=() if nlp is None else confidence_attributes(nlp),
                training=training,
                document_lengths=lengths,
            )
        command = shlex.join(sys.argv)
        if json_path is not None:
            write_json(json_path, _to_json(command, evaluation, analyses, comparison))
        if predictions is not None:
            _write_predictions(predictions, evaluation)
        if paths:
            source = None if train is None else (train, train_split or "")
            about = describe_evaluation(nlp, evaluation, command=command, train=source)
            write_reports(paths, evaluation, analyses, about, comparison)


def _to_json(
    command: str,
    evaluation: "Evaluation",
    analyses: "Sequence[Analysis]",
    comparison: "SystemComparison | None",
) -> dict[str, Any]:
    content = {"command": command, **evaluation.to_json()}
    content["analysis"] = {analysis.task.name: analysis.to_json() for analysis in analyses}
    if comparison is not None:
        content["against"] = comparison.b.to_json()
        content["comparison"] = comparison.to_json()
    return content


def _write_predictions(path: Path, evaluation: "Evaluation") -> None:
    from ..scoring.predictions import write_predictions

    task = next((task for task in evaluation.tasks if not task.per_token), None)
    if task is None:
        raise ValueError("--predictions: there are only tags, not entities or chunks: leave it out")
    write_predictions(path, evaluation.examples, task)
