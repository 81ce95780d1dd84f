"""Render a corpus check as text, for `bigru-tagger check`."""

from collections.abc import Callable, Iterable, Mapping

from wasabi.tables import table

from ..tasks import TASKS
from .corpus_check import LEVELS, N_CASES, CorpusCheck, Finding, SplitCounts


def render_check(check: CorpusCheck, *, n_cases: int = N_CASES) -> str:
    """Render a check as text: counts by split, then errors, warnings and notes.

    check (CorpusCheck): the check.
    n_cases (int): number of cases to show for each finding.
    RETURNS (str): the text that the command prints.
    """
    blocks = [_render_sizes(check.splits)]
    layers = dict.fromkeys(layer for split in check.splits.values() for layer in split.layers)
    blocks += [_render_layer(check.splits, layer) for layer in layers]
    for level in LEVELS:
        findings = check.level(level)
        if findings:
            title = f"{level.capitalize()}s"
            blocks.append(f"{title}\n{render_findings(findings, n_cases=n_cases)}")
    counts = [(len(check.level(level)), level) for level in LEVELS]
    blocks.append(", ".join(f"{n} {level}{'' if n == 1 else 's'}" for n, level in counts))
    return "\n\n".join(blocks)


def render_findings(findings: Iterable[Finding], *, n_cases: int = N_CASES) -> str:
    """Render findings as a list.

    findings (Iterable[Finding]): the findings.
    n_cases (int): number of cases to show for each finding.
    RETURNS (str): the lines.
    """
    return "\n".join(line for found in findings for line in _render_finding(found, n_cases))


def _render_sizes(splits: Mapping[str, SplitCounts]) -> str:
    rows: dict[str, Callable[[SplitCounts], int]] = {
        "Docs": lambda split: split.documents,
        "sentences": lambda split: split.sentences,
        "tokens": lambda split: split.tokens,
        "longest Doc (tokens)": lambda split: split.longest_document,
        "longest sentence (tokens)": lambda split: split.longest_sentence,
    }
    numbers = {
        name: [f"{count(split):,}" for split in splits.values()] for name, count in rows.items()
    }
    return _table(splits, numbers)


def _render_layer(splits: Mapping[str, SplitCounts], layer: str) -> str:
    layers = [split.layers.get(layer) for split in splits.values()]
    task = TASKS.get(layer)
    title = f"spans {layer!r}" if task is None or task.assigns == "doc.spans" else layer
    rows = {title: ["-" if counts is None else f"{counts.labels.total():,}" for counts in layers]}
    labels = sorted({label for counts in layers if counts is not None for label in counts.labels})
    for label in labels:
        rows[f"  {label}"] = ["" if c is None else f"{c.labels[label]:,}" for c in layers]
    if task is None or not task.per_token:
        rows["  Docs without any"] = ["" if c is None else f"{c.without:,}" for c in layers]
        rows["  longest (tokens)"] = ["" if c is None else f"{c.longest:,}" for c in layers]
    return _table(splits, rows)


def _table(splits: Mapping[str, SplitCounts], rows: Mapping[str, list[str]]) -> str:
    text = table(
        [(name, *numbers) for name, numbers in rows.items()],
        header=("", *splits),
        aligns=("l", *"r" * len(splits)),
    )
    return text.strip("\n")


def _render_finding(finding: Finding, n_cases: int) -> list[str]:
    place = ", ".join(part for part in (finding.split, finding.layer) if part)
    lines = [f"- {f'{place}: ' if place else ''}{finding.text}"]
    lines += [f"    {case}" for case in finding.cases[:n_cases]]
    if len(finding.cases) > n_cases:
        lines.append(f"    and {len(finding.cases) - n_cases:,} more")
    return lines
