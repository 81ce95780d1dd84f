"""Markdown: escaped text and tables."""

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&])")


def escape_markdown(text: str) -> str:
    """Escape the special characters of Markdown.

    text (str): plain text.
    RETURNS (str): the escaped text on one line.
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def code_span(text: str) -> str:
    """Render text as code, so that it has no markup.

    text (str): plain text.
    RETURNS (str): the code span on one line.
    """
    text = " ".join(text.split())
    # A span ends at as many backticks as it starts with (https://spec.commonmark.org, code spans).
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    padding = " " if len(fence) > 1 or not text else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], aligns: str) -> str:
    """Render a table.

    header (Sequence[str]): the names of the columns, in Markdown.
    rows (Iterable[Sequence[str]]): the cells of each row, in Markdown.
    aligns (str): "l" or "r" for each column. The last letter also applies to all further columns.
    RETURNS (str): the table, without a final newline.
    """
    aligns = aligns.ljust(len(header), aligns[-1])
    rule = ["---:" if align == "r" else "---" for align in aligns[: len(header)]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
