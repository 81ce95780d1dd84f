"""Compute means, intervals and differences over several seeds, and format them as a table."""

import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev, variance
from typing import NamedTuple

from scipy.special import stdtrit

from bigru_tagger.files import replacing
from bigru_tagger.markdown import markdown_table
from bigru_tagger.tasks import TASKS, Task

from .runs import AS_CONFIGURED, Recipe, Run

CONFIDENCE = 0.95
_BLOCK_END = "<!-- /results -->"


class Estimate(NamedTuple):
    """A mean or a difference of means, with its interval.

    value (float): the mean, or the difference.
    sd (float | None): the standard deviation of the values, with n − 1; `None` for one value and
        for a difference.
    interval (tuple[float, float] | None): the 95 % confidence interval, for normally distributed
        values; `None` if there are too few values.
    """

    value: float
    sd: float | None
    interval: tuple[float, float] | None


def estimate(values: Sequence[float]) -> Estimate:
    """Estimate a mean by Student's t.

    values (Sequence[float]): independent values, at least one.
    RETURNS (Estimate): the mean ± t · sd / √n, with n − 1 degrees of freedom.
    """
    mean = fmean(values)
    if len(values) < 2:
        return Estimate(mean, None, None)
    sd = stdev(values)
    margin = _quantile(len(values) - 1) * sd / math.sqrt(len(values))
    return Estimate(mean, sd, (mean - margin, mean + margin))


def difference(values: Sequence[float], baseline: Sequence[float]) -> Estimate:
    """Estimate the difference of two means by Welch's t, which allows different variances.

    values, baseline (Sequence[float]): independent values, at least one each.
    RETURNS (Estimate): the mean of `values` minus the mean of `baseline`, with the degrees of
        freedom of Welch (1947) and Satterthwaite (1946).
    """
    value = fmean(values) - fmean(baseline)
    sides = (values, baseline)
    if min(map(len, sides)) < 2:
        return Estimate(value, None, None)
    squares = [variance(side) / len(side) for side in sides]  # squared standard errors
    if not sum(squares):
        return Estimate(value, None, (value, value))
    freedom = sum(squares) ** 2 / sum(
        square**2 / (len(side) - 1) for square, side in zip(squares, sides, strict=True)
    )
    margin = _quantile(freedom) * math.sqrt(sum(squares))
    return Estimate(value, None, (value - margin, value + margin))


def results_table(runs: Iterable[Run], *, baseline: str | None = None) -> str:
    """Format results as a Markdown table, with one row per recipe and task.

    If a seed has several runs, the last one counts. Scores are in percent. Warns if the runs of a
    row were made with different code.

    runs (Iterable[Run]): the results, in any order.
    baseline (str | None): the name of the variant to compare with. Variants are compared on the
        test data, if they have the same config and test data.
    RETURNS (str): the lines of the table.
    RAISES (ValueError): there are no results, or there is no variant with the name of the baseline,
        or there are several different ones.
    """
    groups: dict[tuple[str, str, str], dict[int, Run]] = {}
    for run in runs:
        recipe = run.recipe
        groups.setdefault((recipe.config, recipe.name, recipe.key), {})[run.seed] = run
    variants = [list(seeds.values()) for seeds in groups.values()]
    if not variants:
        raise ValueError("There are no results: check the file, or train first.")
    if baseline is not None and not any(name == baseline for _, name, _ in groups):
        names = ", ".join(repr(name) for name in dict.fromkeys(name for _, name, _ in groups))
        raise ValueError(f"There is no variant {baseline!r}; the variants are {names}")
    for variant in variants:
        if len({run.versions.get("source") for run in variant}) > 1:
            warnings.warn(
                f"{variant[0].recipe.config}, {variant[0].recipe.name}: the code has changed "
                "between the runs. To train these seeds again, delete the older lines.",
                UserWarning,
                stacklevel=2,
            )
    header = ["config", "variant", "score", "seeds", "dev", "test", "seconds"]
    if baseline is not None:
        header.insert(-1, f"test − {baseline}")
    labels = [_label(variant[0].recipe, groups) for variant in variants]
    rows = []
    for label, variant in zip(labels, variants, strict=True):
        reference = _find_baseline(variant[0], variants, baseline)
        for i, (target, task) in enumerate(found_targets(variant).items()):
            dev, test = (score_values(variant, side, target) for side in ("dev", "test"))
            cells = [
                f"`{variant[0].recipe.config}`",
                label,
                task.score_title,
                str(len(variant)),
                mean_cell(dev),
                mean_cell(test, with_interval=True),
                f"{median(run.seconds for run in variant):.0f}",
            ]
            if baseline is not None:
                cells.insert(-1, difference_cell(test, score_values(reference, "test", target)))
            if i:  # columns that are the same for all targets are filled only once
                cells = [
                    "" if name in ("config", "variant", "seeds", "seconds") else cell
                    for name, cell in zip(header, cells, strict=True)
                ]
            rows.append(cells)
    if set(labels) == {AS_CONFIGURED}:
        header, *rows = [[*row[:1], *row[2:]] for row in (header, *rows)]
    aligns = "".join("r" if name in ("seeds", "seconds") else "l" for name in header)
    return markdown_table(header, rows, aligns)


def replace_block(path: Path, name: str, text: str) -> None:
    """Replace the text of a file between `<!-- results:NAME -->` and `<!-- /results -->`.

    path (Path): the file, written atomically.
    name (str): the name of the block.
    text (str): the new text.
    RAISES (OSError): the file cannot be read or written.
    RAISES (ValueError): there is not exactly one such block.
    """
    content = path.read_text(encoding="utf8")
    start = f"<!-- results:{name} -->"
    block = re.compile(f"{re.escape(start)}.*?{re.escape(_BLOCK_END)}", re.DOTALL)
    replaced, n = block.subn(lambda _: f"{start}\n{text}\n{_BLOCK_END}", content)
    if n != 1:
        raise ValueError(
            f"{path}: there are {n} blocks with this name. Write the lines {start} and "
            f"{_BLOCK_END} exactly once, at the position of the table"
        )
    with replacing(path) as file:
        file.write(replaced)


def _quantile(freedom: float) -> float:
    """Compute the two-sided quantile of Student's t at CONFIDENCE."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def score_values(runs: Iterable[Run], side: str, target: str) -> list[float]:
    """List the scores of runs for one task.

    runs (Iterable[Run]): the runs. Those without this score are left out.
    side (str): "dev" or "test".
    target (str): the name of the task, one of `found_targets`.
    RETURNS (list[float]): F1 or accuracy, in percent.
    """
    scored = (getattr(run, side) or {} for run in runs)
    score = "accuracy" if TASKS[target].per_token else "f"
    return [100 * scores[target][score] for scores in scored if target in scores]


def found_targets(runs: Sequence[Run]) -> dict[str, Task]:
    """List the tasks that runs were scored on.

    runs (Sequence[Run]): the runs.
    RETURNS (dict[str, Task]): the tasks by name, tags first.
    """
    found = {target for run in runs for scores in (run.dev, run.test or {}) for target in scores}
    return {name: task for name, task in reversed(TASKS.items()) if name in found}


def _label(recipe: Recipe, keys: Iterable[tuple[str, str, str]]) -> str:
    name = recipe.name.replace("|", "\\|")
    same = [key for config, other, key in keys if (config, other) == (recipe.config, recipe.name)]
    if len(same) == 1:
        return name
    inputs = ", ".join(f"{key} {value}" for key, value in sorted(recipe.inputs.items()))
    return f"{name} ({recipe.hash}; {inputs})"


def _find_baseline(
    run: Run, variants: Iterable[Sequence[Run]], baseline: str | None
) -> Sequence[Run]:
    """Find the runs to compare a variant with; none for the baseline itself."""
    if baseline is None or run.recipe.name == baseline:
        return []
    test = run.recipe.inputs.get("test")
    found = [
        runs
        for runs in variants
        if (runs[0].recipe.config, runs[0].recipe.name) == (run.recipe.config, baseline)
        and runs[0].recipe.inputs.get("test") == test
    ]
    if len(found) > 1:
        raise ValueError(
            f"{len(found)} variants of {run.recipe.config} have the name {baseline!r} and differ "
            "in settings or inputs: train them with different names (--name)"
        )
    return found[0] if found else []


def mean_cell(values: Sequence[float], *, with_interval: bool = False) -> str:
    """Format a mean for a table.

    values (Sequence[float]): the values, see `estimate`; may be empty.
    with_interval (bool): whether to add the interval.
    RETURNS (str): mean ± standard deviation; the mean for one value, and "" without values.
    """
    if not values:
        return ""
    value, sd, interval = estimate(values)
    cell = f"{value:.2f}" if sd is None else f"{value:.2f} ± {sd:.2f}"
    if with_interval and interval is not None:
        cell += f" [{interval[0]:.2f}, {interval[1]:.2f}]"
    return cell


def difference_cell(values: Sequence[float], baseline: Sequence[float]) -> str:
    """Format a difference of means for a table.

    values, baseline (Sequence[float]): the values, see `difference`; may be empty.
    RETURNS (str): the difference, with its interval if there are enough values; "" without values.
    """
    return _signed_cell(difference(values, baseline)) if values and baseline else ""


def paired_difference_cell(values: Mapping[int, float], baseline: Mapping[int, float]) -> str:
    """Format the mean difference of runs that belong together, for a table.

    values, baseline (Mapping[int, float]): the values by seed. Other seeds are left out.
    RETURNS (str): the mean difference, with its interval by Student's t if there are several
        seeds; "" without seeds.
    """
    pairs = [value - baseline[seed] for seed, value in values.items() if seed in baseline]
    return _signed_cell(estimate(pairs)) if pairs else ""


def _signed_cell(found: Estimate) -> str:
    value, _, interval = found
    cell = f"{value:+.2f}"
    if interval is not None:
        cell += f" [{interval[0]:+.2f}, {interval[1]:+.2f}]"
    return cell.replace("-", "−")
