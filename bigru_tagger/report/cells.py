"""Scores as cells of a table: what all sections of a report share."""

from collections.abc import Iterable
from decimal import Decimal

from ..scoring.run import DIGITS
from ..tasks import Task
from .analysis import ModeScores
from .blocks import Cell, Table
from .slices import Interval, Score

MOST_TYPES = 20  # of a matrix, or a plot, that can be taken in
SCORE_COLUMNS = ("precision", "recall", "F1", "gold", "predicted", "correct")


def percent(value: float) -> str:
    """Write a share in percent, with the digits that `bigru-tagger evaluate` prints.

    value (float): from 0 to 1.
    RETURNS (str): such as "89.85" for what it prints as 0.8985.
    """
    return f"{100 * Decimal(f'{value:.{DIGITS}f}'):.{DIGITS - 2}f}"


def percent_interval(interval: Interval) -> str:
    """Write an interval of a share in percent.

    interval (Interval): its ends, from 0 to 1.
    RETURNS (str): such as "[88.9, 90.8]"; nothing where there is none.
    """
    return "" if interval is None else f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def score_name(task: Task, *, alone: bool) -> str:
    """Name the most important score of a task.

    task (Task): the task.
    alone (bool): whether the report has no other task.
    RETURNS (str): such as "F1", "F1 of entities" or "tag accuracy".
    """
    if task.per_token:
        return task.score_title
    return "F1" if alone else f"F1 of {task.name}"


def score_cell(value: float, interval: Interval, bar: bool = False) -> Cell:
    """Show a score with its interval.

    value (float): from 0 to 1.
    interval (Interval): its interval.
    bar (bool): draw it as well.
    RETURNS (Cell): the cell.
    """
    return Cell(percent(value), percent_interval(interval), value if bar else None)


def score_table(title: str, name: str, scores: Iterable[Score], n_totals: int = 0) -> Table:
    """Show scores, a row each.

    title (str): of the table.
    name (str): header of the column of names.
    scores (Iterable[Score]): the rows.
    n_totals (int): how many of them, at the end, sum up the others.
    RETURNS (Table): the table.
    """
    rows = [
        (
            Cell(score.name),
            score_cell(score.precision, score.intervals[0]),
            score_cell(score.recall, score.intervals[1]),
            score_cell(score.f1, score.intervals[2], bar=True),
            *(
                Cell("" if count is None else f"{count:,}")
                for count in (score.gold, score.predicted, score.correct)
            ),
        )
        for score in scores
    ]
    return Table(title, (name, *SCORE_COLUMNS), rows, n_totals=n_totals)


def by_support(scores: ModeScores) -> list[Score]:
    """Order types by their gold entities, the most frequent first.

    scores (ModeScores): the scores of the types.
    RETURNS (list[Score]): in this order.
    """
    return sorted(scores.per_type, key=lambda score: (-score.gold, score.name))
