"""Make the first section of a report: the result in a sentence, and examples of errors."""

from collections.abc import Sequence

from .analysis import Analysis
from .blocks import Block, Cell, ErrorGroup, Paragraph, Table
from .cells import first_of, percent
from .excerpts import shorten_excerpt

_MOST_EXAMPLES = 5


def summary_blocks(analysis: Analysis, groups: Sequence[ErrorGroup]) -> list[Block]:
    """Describe the result in a sentence, and list the most frequent errors with an example each.

    analysis (Analysis): the analysis of a task.
    groups (Sequence[ErrorGroup]): its errors, see `group_errors`.
    RETURNS (list[Block]): the sentence, and the table if there are errors.
    """
    task, score = analysis.task, analysis.default.micro
    if task.per_token:
        accuracy = analysis.accuracy
        text = (
            f"The system gives {accuracy.correct:,} of {accuracy.tokens:,} tokens the right tag "
            f"({percent(accuracy.value)} %)."
        )
    else:
        text = (
            f"The system finds {score.correct:,} of {score.gold:,} {task.name} "
            f"({percent(score.recall)} %)"
        )
        right = f", and {percent(score.precision)} % of its predictions are right."
        text += right if score.predicted else ". It predicts none."
    if not groups:
        return [Paragraph(text)]
    most = groups[0]
    text += f" Its most frequent error is “{most.title}”, {_times(len(most.excerpts))}."
    rows = [
        (
            Cell(group.title),
            Cell(shorten_excerpt(group.excerpts[0]), group.excerpts[0].place),
            Cell(f"{len(group.excerpts):,}"),
        )
        for group in groups[:_MOST_EXAMPLES]
    ]
    title = first_of("The most frequent errors", groups, _MOST_EXAMPLES)
    return [Paragraph(text), Table(title, ("error", "example", "times"), rows, n_names=2)]


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n:,} times")
