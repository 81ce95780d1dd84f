"""The content of a report, independent of its format."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from .matching import Kind


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    text (str): its text.
    note (str): a note in small print.
    share (float | None): a number from 0 to 1 that is drawn as well.
    find (str): a text that the cell links to in the list of errors.
    """

    text: str
    note: str = ""
    share: float | None = None
    find: str = ""


@dataclass(frozen=True)
class Paragraph:
    """Plain text.

    text (str): the text.
    small (bool): small print.
    """

    text: str
    small: bool = False


@dataclass(frozen=True)
class Code:
    """A code block."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table.

    title (str): what it shows.
    header (tuple[str, ...]): the names of its columns.
    rows (Sequence[tuple[Cell, ...]]): its cells.
    n_names (int): how many columns, from the left, are text; the others are numbers.
    n_totals (int): how many rows, from the bottom, sum up the others.
    heat (bool): shares are colours of the cells; they are bars otherwise.
    """

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    n_names: int = 1
    n_totals: int = 0
    heat: bool = False


@dataclass(frozen=True)
class Figure:
    """A plot.

    title (str): what it shows.
    svg (str): the image.
    alt (str): a description of it.
    """

    title: str
    svg: str
    alt: str


@dataclass(frozen=True)
class Piece:
    """A part of a sentence.

    text (str): the text.
    label (str | None): its type, if it is an entity.
    focus (bool): whether it is what is wrong.
    """

    text: str
    label: str | None = None
    focus: bool = False


@dataclass(frozen=True)
class Excerpt:
    """An error in its sentence.

    place (str): where that stands in the data.
    gold, predicted (list[Piece]): the sentence, or a part of a long one, with the entities of
        either side.
    probability (float | None): the probability of the prediction.
    """

    place: str
    gold: list[Piece]
    predicted: list[Piece]
    probability: float | None


@dataclass(frozen=True)
class ErrorGroup:
    """Errors of one kind with the same types.

    kind (Kind): what is wrong.
    gold, predicted (str | None): the types; `None` where that side has nothing.
    excerpts (list[Excerpt]): the errors, the most probable predictions first.
    """

    kind: Kind
    gold: str | None
    predicted: str | None
    excerpts: list[Excerpt]

    @property
    def types(self) -> list[str]:
        """The types of both sides, sorted."""
        return sorted({label for label in (self.gold, self.predicted) if label is not None})

    @property
    def title(self) -> str:
        """The error in words."""
        if self.gold is None:
            return f"{self.predicted} spurious"
        if self.predicted is None:
            return f"{self.gold} missing"
        if self.kind == "wrong boundaries":
            return f"{self.gold} with wrong boundaries"
        also = ", and wrong boundaries" if "boundaries" in self.kind else ""
        return f"{self.gold} called {self.predicted}{also}"


@dataclass(frozen=True)
class ErrorList:
    """All errors.

    groups (list[ErrorGroup]): the largest first.
    types (list[str]): all types, also those without errors, in the order of their colours.
    """

    groups: list[ErrorGroup]
    types: list[str]

    @property
    def has_probabilities(self) -> bool:
        """Whether any prediction has a probability."""
        return any(own.probability is not None for group in self.groups for own in group.excerpts)


@dataclass(frozen=True)
class VersionList:
    """Sentences, each with the annotation of several sides.

    title (str): what they have in common.
    sentences (list[dict[str, list[Piece]]]): each sentence by the name of the side.
    types (list[str]): all types, in the order of their colours.
    """

    title: str
    sentences: list[dict[str, list[Piece]]]
    types: list[str]


Block: TypeAlias = Paragraph | Code | Table | Figure | ErrorList | VersionList


@dataclass(frozen=True)
class Section:
    """A part of a report.

    name (str): the end of its address: letters and hyphens.
    title (str): its heading.
    blocks (list[Block]): its content.
    """

    name: str
    title: str
    blocks: list[Block]


@dataclass(frozen=True)
class Report:
    """A report.

    title (str): what was evaluated.
    subtitle (str): on what.
    facts (list[tuple[str, Cell]]): the most important numbers, by their names.
    sections (list[Section]): everything else.
    """

    title: str
    subtitle: str
    facts: list[tuple[str, Cell]]
    sections: list[Section] = field(default_factory=list)
