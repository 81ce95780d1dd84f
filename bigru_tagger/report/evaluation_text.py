"""Render an evaluation as text, for `bigru-tagger evaluate`."""

from collections.abc import Mapping

from seqeval.reporters import StringReporter
from wasabi.tables import table

from ..scoring.run import DIGITS, Evaluation, macro_average, weighted_average
from ..scoring.scoring import Counts, micro_counts


def render(evaluation: Evaluation) -> str:
    """Render an evaluation as text: a header, then seqeval's reports and the counts.

    evaluation (Evaluation): the scores.
    RETURNS (str): the text that the command prints.
    """
    source = (
        f"{evaluation.data} (split {evaluation.split})" if evaluation.split else evaluation.data
    )
    header = {
        "model": evaluation.model,
        "pipes": ", ".join(evaluation.pipes),
        "data": source,
        "Docs": evaluation.documents,
        "tokens": evaluation.tokens,
    }
    if evaluation.words_per_second is None:
        del header["pipes"]  # a file of predictions has no components
    else:
        header["words/s"] = f"{evaluation.words_per_second:.0f}"
    for task in evaluation.tasks:
        accuracy = evaluation.scores[task.name].accuracy
        if accuracy is not None:
            header[task.score_title] = f"{accuracy:.{DIGITS}f}"
    width = max(map(len, header))
    blocks = ["\n".join(f"{name:<{width}}  {value}" for name, value in header.items())]
    for task in evaluation.tasks:
        report = evaluation.scores[task.name]
        if task.per_token:
            blocks += [f"{task.title}, token by token", _render_scores(report.default)]
        else:
            blocks += [
                f"{task.title}, seqeval's default mode (as conlleval)",
                _render_scores(report.default),
                f"{task.title}, seqeval's strict mode (IOB2)",
                _render_scores(report.strict),
                f"{task.title}, counted (default mode)",
                _render_counts(report.default),
            ]
    return "\n\n".join(blocks)


def label_hint(evaluation: Evaluation) -> str | None:
    """Suggest `--rename` if gold data and predictions seem to name the same types differently.

    evaluation (Evaluation): the scores.
    RETURNS (str | None): the hint; `None` unless each side has labels that the other lacks.
    """
    rows = [
        row
        for task in evaluation.tasks
        if not task.per_token
        for row in evaluation.scores[task.name].default.items()
    ]
    spurious = [label for label, counts in rows if counts.predicted and not counts.gold]
    missing = [label for label, counts in rows if counts.gold and not counts.predicted]
    if not spurious or not missing:
        return None
    return (
        f"{evaluation.model} predicts the labels {', '.join(spurious)}, which are not in the gold "
        f"data. The gold data have the labels {', '.join(missing)}, which are never predicted. If "
        "two of these mean the same type, use --rename LABEL=NAME"
    )


def _render_scores(per_type: Mapping[str, Counts]) -> str:
    """Format like seqeval's `classification_report`, from counts that are known already."""
    width = max(len("weighted avg"), *map(len, per_type))
    reporter = StringReporter(width=width, digits=DIGITS)
    for label, counts in per_type.items():
        reporter.write(label, counts.precision, counts.recall, counts.f1, counts.gold)
    reporter.write_blank()
    micro = micro_counts(per_type)
    reporter.write("micro avg", micro.precision, micro.recall, micro.f1, micro.gold)
    for name, row in (("macro", macro_average(per_type)), ("weighted", weighted_average(per_type))):
        reporter.write(f"{name} avg", row.precision, row.recall, row.f1, row.support)
    return str(reporter.report())


def _render_counts(per_type: Mapping[str, Counts]) -> str:
    rows = [*per_type.items(), ("all", micro_counts(per_type))]
    return table(
        [(label, counts.gold, counts.predicted, counts.correct) for label, counts in rows],
        header=("", "gold", "predicted", "correct"),
        aligns=("r", "r", "r", "r"),
    ).strip("\n")
