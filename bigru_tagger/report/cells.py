"""Scores as table cells, for all sections of a report."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from ..scoring.run import DIGITS
from ..tasks import Task
from .blocks import Cell, Table
from .slices import Interval, Score

MOST_TYPES = 20  # a larger matrix or plot is hard to read
SCORE_COLUMNS = ("precision", "recall", "F1", "gold", "predicted", "correct")


def percent(value: float) -> str:
    """Format a share in percent, with the digits that `bigru-tagger evaluate` prints.

    value (float): the share, from 0 to 1.
    RETURNS (str): the text, such as "89.85" for 0.8985.
    """
    return f"{100 * Decimal(f'{value:.{DIGITS}f}'):.{DIGITS - 2}f}"


def signed(value: float) -> str:
    """Format a difference of shares in percentage points, with its sign.

    value (float): the difference, from -1 to 1.
    RETURNS (str): the text, such as "−0.25" for -0.0025.
    """
    return f"{100 * value:+.{DIGITS - 2}f}".replace("-", "−")


def percent_interval(interval: Interval) -> str:
    """Format an interval of a share in percent.

    interval (Interval): the ends, from 0 to 1.
    RETURNS (str): the text, such as "[88.9, 90.8]"; "" for `None`.
    """
    return "" if interval is None else f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def score_name(task: Task, *, only_task: bool) -> str:
    """Name the most important score of a task.

    task (Task): the task.
    only_task (bool): whether the report has no other task.
    RETURNS (str): the name, such as "F1", "F1 of entities" or "tag accuracy".
    """
    if task.per_token:
        return task.score_title
    return "F1" if only_task else f"F1 of {task.name}"


def score_cell(value: float, interval: Interval, bar: bool = False) -> Cell:
    """Make a cell of a score with its interval.

    value (float): the score, from 0 to 1.
    interval (Interval): the interval of the score.
    bar (bool): whether to draw a bar.
    RETURNS (Cell): the cell.
    """
    return Cell(percent(value), percent_interval(interval), value if bar else None)


def score_table(title: str, name: str, scores: Iterable[Score], n_totals: int = 0) -> Table:
    """Make a table of scores, with one row per score.

    title (str): the heading of the table.
    name (str): the header of the column of names.
    scores (Iterable[Score]): the rows.
    n_totals (int): number of rows with totals, from the bottom.
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


def first_of(title: str, rows: Sequence[object], most: int) -> str:
    """Make the title of a table that is cut if it is long.

    title (str): the title of the whole table.
    rows (Sequence[object]): all rows.
    most (int): the most rows to show.
    RETURNS (str): the title, with the numbers of rows if the table is cut.
    """
    return f"{title} (the first {most} of {len(rows):,})" if len(rows) > most else title
