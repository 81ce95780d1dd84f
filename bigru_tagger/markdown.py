"""Markdown: escaped text and tables."""

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&])")


def escape_markdown(text: str) -> str:
    """Escape what has a meaning in Markdown.

    text (str): plain text.
    RETURNS (str): the text on one line.
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], aligns: str) -> str:
    """Lay out a table.

    header (Sequence[str]): names of the columns, in Markdown.
    rows (Iterable[Sequence[str]]): the cells, in Markdown.
    aligns (str): "l" or "r" for each column; the last one holds for all that follow.
    RETURNS (str): the table's lines.
    """
    aligns = aligns.ljust(len(header), aligns[-1])
    rule = ["---:" if align == "r" else "---" for align in aligns[: len(header)]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
