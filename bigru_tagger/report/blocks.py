"""The content of a report, independent of its format."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from .matching import Kind


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    text (str): the text.
    note (str): a note in small print.
    share (float | None): a number from 0 to 1 that is also drawn, see `Table.heat`.
    find (str): a text to look up in the list of errors when the cell is clicked.
    """

    text: str
    note: str = ""
    share: float | None = None
    find: str = ""


@dataclass(frozen=True)
class Paragraph:
    """Plain text.

    text (str): the text.
    small (bool): whether it is set in small print.
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

    title (str): the heading.
    header (tuple[str, ...]): the names of the columns.
    rows (Sequence[tuple[Cell, ...]]): the cells.
    n_names (int): number of text columns, from the left; the others are numbers.
    n_totals (int): number of rows with totals, from the bottom.
    heat (bool): whether shares are drawn as colours of the cells instead of bars.
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

    title (str): the caption.
    svg (str): the image.
    alt (str): a description of the image for readers who cannot see it.
    """

    title: str
    svg: str
    alt: str


@dataclass(frozen=True)
class Piece:
    """A part of a sentence.

    text (str): the text.
    label (str | None): the type, if the part is an entity.
    focus (bool): whether the part is the error.
    """

    text: str
    label: str | None = None
    focus: bool = False


@dataclass(frozen=True)
class Excerpt:
    """An error in its sentence.

    place (str): the position in the data.
    gold, predicted (list[Piece]): the sentence, or a part of a long one, with the gold and with the
        predicted entities.
    probability (float | None): the probability of the prediction.
    """

    place: str
    gold: list[Piece]
    predicted: list[Piece]
    probability: float | None


@dataclass(frozen=True)
class ErrorGroup:
    """Errors of one kind with the same types.

    kind (Kind): the kind of error.
    gold, predicted (str | None): the types; `None` where that side has no entity.
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
        also = ", with wrong boundaries" if "boundaries" in self.kind else ""
        return f"{self.gold} predicted as {self.predicted}{also}"


@dataclass(frozen=True)
class ErrorList:
    """All errors.

    groups (list[ErrorGroup]): the errors, the largest group first.
    types (list[str]): all types, including those without errors, in the order of their colours.
    """

    groups: list[ErrorGroup]
    types: list[str]

    @property
    def has_probabilities(self) -> bool:
        """Whether any prediction has a probability."""
        excerpts = (excerpt for group in self.groups for excerpt in group.excerpts)
        return any(excerpt.probability is not None for excerpt in excerpts)


@dataclass(frozen=True)
class VersionList:
    """Sentences, each with annotations of several sources.

    title (str): the heading.
    sentences (list[dict[str, list[Piece]]]): for each sentence, the parts by the name of the
        source, such as "gold" or "A".
    types (list[str]): all types, in the order of their colours.
    """

    title: str
    sentences: list[dict[str, list[Piece]]]
    types: list[str]


Block: TypeAlias = Paragraph | Code | Table | Figure | ErrorList | VersionList


@dataclass(frozen=True)
class Section:
    """A part of a report.

    name (str): the anchor: letters and hyphens.
    title (str): the heading.
    blocks (list[Block]): the content.
    """

    name: str
    title: str
    blocks: list[Block]


@dataclass(frozen=True)
class Report:
    """A report.

    title (str): the model.
    subtitle (str): the data that it was evaluated on.
    facts (list[tuple[str, Cell]]): the most important numbers, with their names.
    sections (list[Section]): all other content.
    """

    title: str
    subtitle: str
    facts: list[tuple[str, Cell]]
    sections: list[Section] = field(default_factory=list)
