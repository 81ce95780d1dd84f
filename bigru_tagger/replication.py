"""Several seeds of one recipe: what was trained, a file of results, and a table of statistics."""

import json
import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from glob import glob
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median, stdev, variance
from typing import Any, NamedTuple, TypeAlias

from scipy.special import stdtrit
from spacy.util import is_package, load_config

from .evaluation import replacing
from .hub import SAMPLE, DatasetSource

AS_CONFIGURED = "as configured"
"""The label of a recipe without overrides."""

CONFIDENCE = 0.95
HASH_DIGITS = 12
_PROBE = -1  # no config has this seed
_SEEDS = ("system.seed", "training.seed")
_BLOCK_END = "<!-- /results -->"

Scores: TypeAlias = dict[str, dict[str, Any]]
"""By target: `p`, `r`, `f` and `per_type` of "entities" and "chunks", `accuracy` of "tags"."""

# By target: what its row in a table is called, and its score there.
_TARGETS = {
    "tags": ("part-of-speech accuracy", "accuracy"),
    "chunks": ("chunk F1", "f"),
    "entities": ("entity F1", "f"),
}


@dataclass(frozen=True)
class Recipe:
    """What is trained on what, without the seed and without the places on one machine.

    config (str): the config's file name, without its ending.
    name (str): the variant, in the user's words.
    hash (str): of the config after all overrides, without `[paths]` and the seed.
    inputs (dict[str, str]): a fingerprint of what each of `[paths]` names, and of the test data.
    overrides (dict[str, Any]): the settings that differ from the config's, without `[paths]`.
    """

    config: str
    name: str
    hash: str
    inputs: dict[str, str]
    overrides: dict[str, Any]

    @property
    def key(self) -> str:
        """What recipes have in common that give the same scores, whatever they are called."""
        return _hash(json.dumps([self.hash, self.inputs], sort_keys=True).encode())


@dataclass(frozen=True)
class Run:
    """One seed of a recipe, trained and scored: a line in a file of results.

    recipe (Recipe): what was trained.
    seed (int): its seed.
    dev (Scores): of the best model on the development data, as its training found them.
    test (Scores | None): the same model's on the test data, `None` where there are none.
    words_per_second (float | None): of tagging the test data.
    steps, best_step, best_epoch (int): how long it trained, and when the model was best.
    seconds (float): what the training took, on the clock.
    machine (dict[str, Any]): its processor, the cores that were used, its GPU.
    versions (dict[str, str]): of Python and of the packages that the numbers depend on, and a
        fingerprint of this one's `source`.
    date (str): when it ended, in ISO 8601 and UTC.
    """

    recipe: Recipe
    seed: int
    dev: Scores
    test: Scores | None
    words_per_second: float | None
    steps: int
    best_step: int
    best_epoch: int
    seconds: float
    machine: dict[str, Any]
    versions: dict[str, str]
    date: str

    def to_json(self) -> str:
        """Give the run as one line, without its end."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "Run":
        """Read what `to_json` wrote.

        line (str): one line.
        RETURNS (Run): the run.
        RAISES (ValueError, TypeError): it is no whole line, or lacks a field.
        """
        fields = json.loads(line)
        if not isinstance(fields, dict) or not isinstance(fields.get("recipe"), dict):
            raise ValueError("there is no recipe")
        return cls(**{**fields, "recipe": Recipe(**fields["recipe"])})


class Estimate(NamedTuple):
    """A mean, or a difference of means, and how sure it is.

    value (float): the mean.
    sd (float | None): the standard deviation of a single value, by n − 1; `None` for one value,
        and for a difference.
    interval (tuple[float, float] | None): where the true mean lies with 95 % confidence, if single
        values are normally distributed; `None` where there are too few values to tell.
    """

    value: float
    sd: float | None
    interval: tuple[float, float] | None


def make_recipe(
    config: Path,
    overrides: Mapping[str, Any],
    *,
    name: str | None = None,
    test: tuple[str, str] | None = None,
) -> Recipe:
    """Describe what `spacy train` will do, in a way that is the same on any machine.

    config (Path): the config's file.
    overrides (Mapping[str, Any]): settings by their dotted names.
    name (str | None): what to call the variant; `None` takes the overrides themselves.
    test (tuple[str, str] | None): the test data and their split.
    RETURNS (Recipe): the description.
    RAISES (OSError): there is no such config.
    RAISES (ValueError): the config does not take the overrides, its seed is not that of
        `[system]`, or there is an absolute path where it would not stay on this machine.
    """
    for setting, value in overrides.items():
        if setting in _SEEDS:
            raise ValueError(f"--{setting}: each run gets a seed of its own; say which by --seeds")
        if not _is_path(setting) and any(Path(text).is_absolute() for text in _texts(value)):
            raise ValueError(
                f"--{setting}: {value!r} is a path of this machine, which has no place in the "
                f"results. Write {setting.rpartition('.')[2]} = ${{paths.…}} in the config, and "
                "override that"
            )
    given = dict(overrides)
    content = load_config(config, overrides=given, interpolate=False)
    seeded = load_config(config, overrides={**given, "system.seed": _PROBE}, interpolate=True)
    if seeded["training"]["seed"] != _PROBE:
        raise ValueError(
            f"{config}: all seeds would train the same, since training.seed is "
            f"{seeded['training']['seed']}: write seed = ${{system.seed}} in [training]"
        )
    content["system"].pop("seed", None)
    paths = content.pop("paths", {})
    inputs = {f"paths.{key}": fingerprint(str(path)) for key, path in paths.items() if path}
    if test is not None:
        data, split = test
        inputs["test"] = f"{fingerprint(data)} [{split}]"
    settings = {key: value for key, value in overrides.items() if not _is_path(key)}
    described = " ".join(f"{key}={json.dumps(value)}" for key, value in settings.items())
    return Recipe(
        config=config.stem,
        name=name or described or AS_CONFIGURED,
        hash=_hash(json.dumps(content, sort_keys=True).encode()),
        inputs=inputs,
        overrides=settings,
    )


def fingerprint(source: str) -> str:
    """Tell data and vectors apart by what they hold, not by where they lie.

    source (str): a file, a folder, a glob pattern, an installed package, or an id of the hub.
    RETURNS (str): a hash of names within a folder and of contents; of a package its name and
        version; the id of anything else.
    RAISES (ValueError): an absolute path with nothing there.
    """
    place = Path(DatasetSource(SAMPLE).resolve().path if source == SAMPLE else source)
    found = [place] if place.exists() else [Path(path) for path in sorted(glob(source))]
    if found:
        digest = sha256()
        for root in found:
            for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
                name = file.relative_to(root)
                if file.is_file() and not any(part.startswith(".") for part in name.parts):
                    content = sha256(file.read_bytes()).hexdigest()
                    digest.update(f"{name.as_posix()}\n{content}\n".encode())
        return digest.hexdigest()[:HASH_DIGITS]
    if place.is_absolute():
        raise ValueError(f"{source}: there is nothing; check the path")
    return f"{source} {version(source)}" if is_package(source) else source


def append_run(path: Path, run: Run) -> None:
    """Add a line to a file of results, without touching those before it.

    path (Path): the file; it and its folders are made.
    run (Run): what to add.
    RAISES (OSError): the line cannot be written, or only a part of it.
    """
    line = (run.to_json() + "\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # of a stop in the middle: it must not take ours with it
                line = b"\n" + line
        # In one piece, so that others may append at the same time.
        if file.write(line) != len(line):
            raise OSError(f"{path}: the disk took only a part of the last line")
        os.fsync(file.fileno())


def read_runs(path: Path) -> list[Run]:
    """Read a file of results. A damaged line is passed over with a warning.

    path (Path): the file.
    RETURNS (list[Run]): the runs in the order of the lines; none where there is no file.
    RAISES (OSError): the file cannot be read.
    """
    if not path.exists():
        return []
    runs = []
    lines = path.read_text(encoding="utf8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            runs.append(Run.from_json(line))
        except (ValueError, TypeError) as error:
            warnings.warn(
                f"{path}, line {number}: no result can be read, perhaps since writing it was cut "
                f"short: {error}. It is passed over, and that seed is trained again; delete it.",
                UserWarning,
                stacklevel=2,
            )
    return runs


def estimate(values: Sequence[float]) -> Estimate:
    """Estimate a mean by Student's t.

    values (Sequence[float]): independent values, at least one.
    RETURNS (Estimate): their mean ± t · sd / √n, with n − 1 degrees of freedom.
    """
    mean = fmean(values)
    if len(values) < 2:
        return Estimate(mean, None, None)
    sd = stdev(values)
    margin = _quantile(len(values) - 1) * sd / math.sqrt(len(values))
    return Estimate(mean, sd, (mean - margin, mean + margin))


def difference(values: Sequence[float], baseline: Sequence[float]) -> Estimate:
    """Estimate by how much one mean is above another, by Welch's t.

    values, baseline (Sequence[float]): independent values, at least one each; their variances
        need not be alike.
    RETURNS (Estimate): the difference of their means, with the degrees of freedom of Welch (1947)
        and Satterthwaite (1946).
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
    """Lay results out as a Markdown table: a row per recipe, or one per target where it has more.

    Of several runs of a seed, the last counts. Scores are in percent. Where the runs of a row were
    not made by the same code of ours, a warning says so.

    runs (Iterable[Run]): the results, in any order.
    baseline (str | None): the name of the variant to which others of its config and inputs are
        compared, on the test data.
    RETURNS (str): the table's lines.
    RAISES (ValueError): there are no results, or no variant has the baseline's name, or several
        that differ have it.
    """
    groups: dict[tuple[str, str, str], dict[int, Run]] = {}
    for run in runs:
        recipe = run.recipe
        groups.setdefault((recipe.config, recipe.name, recipe.key), {})[run.seed] = run
    variants = [list(seeds.values()) for seeds in groups.values()]
    if not variants:
        raise ValueError("There are no results to lay out: check the file, or train first.")
    if baseline is not None and not any(name == baseline for _, name, _ in groups):
        names = ", ".join(repr(name) for name in dict.fromkeys(name for _, name, _ in groups))
        raise ValueError(f"No variant is called {baseline!r}; there are {names}")
    for variant in variants:
        if len({run.versions.get("source") for run in variant}) > 1:
            warnings.warn(
                f"{variant[0].recipe.config}, {variant[0].recipe.name}: the code has changed "
                "between the runs. Delete the older lines to train these seeds again.",
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
        for i, (target, (title, _)) in enumerate(_found_targets(variant).items()):
            dev, test = (_values(variant, side, target) for side in ("dev", "test"))
            cells = [
                f"`{variant[0].recipe.config}`",
                label,
                title,
                str(len(variant)),
                _mean_cell(dev),
                _mean_cell(test, with_interval=True),
                f"{median(run.seconds for run in variant):.0f}",
            ]
            if baseline is not None:
                cells.insert(-1, _difference_cell(test, _values(reference, "test", target)))
            if i:  # what holds for all targets stands once
                cells = [
                    "" if name in ("config", "variant", "seeds", "seconds") else cell
                    for name, cell in zip(header, cells, strict=True)
                ]
            rows.append(cells)
    if set(labels) == {AS_CONFIGURED}:
        header, *rows = [[*row[:1], *row[2:]] for row in (header, *rows)]
    rule = ["---:" if name in ("seeds", "seconds") else "---" for name in header]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def replace_block(path: Path, name: str, text: str) -> None:
    """Replace what stands in a file between `<!-- results:NAME -->` and `<!-- /results -->`.

    path (Path): the file, which is replaced only when all is written.
    name (str): the block's name.
    text (str): what to put there.
    RAISES (OSError): the file cannot be read or written.
    RAISES (ValueError): there is not exactly one such block.
    """
    content = path.read_text(encoding="utf8")
    start = f"<!-- results:{name} -->"
    block = re.compile(f"{re.escape(start)}.*?{re.escape(_BLOCK_END)}", re.DOTALL)
    replaced, n = block.subn(lambda _: f"{start}\n{text}\n{_BLOCK_END}", content)
    if n != 1:
        raise ValueError(
            f"{path}: there are {n} blocks of this name. Put the lines {start} and {_BLOCK_END} "
            "once where the table belongs"
        )
    with replacing(path) as file:
        file.write(replaced)


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()[:HASH_DIGITS]


def _is_path(setting: str) -> bool:
    return setting.startswith("paths.")


def _texts(value: Any) -> Iterator[str]:
    """Find the strings in a value of a config."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for part in value.values() for text in _texts(part))
    elif isinstance(value, Sequence):
        yield from (text for part in value for text in _texts(part))


def _quantile(freedom: float) -> float:
    """Student's t that CONFIDENCE of the values lie within, on both sides of zero."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _values(runs: Iterable[Run], side: str, target: str) -> list[float]:
    """List a target's scores in percent, of the runs that have one."""
    scored = (getattr(run, side) or {} for run in runs)
    _, score = _TARGETS[target]
    return [100 * scores[target][score] for scores in scored if target in scores]


def _found_targets(runs: Sequence[Run]) -> dict[str, tuple[str, str]]:
    found = {target for run in runs for scores in (run.dev, run.test or {}) for target in scores}
    return {target: names for target, names in _TARGETS.items() if target in found}


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
    """Find the runs to compare a variant to; none for the baseline itself."""
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
            f"{len(found)} variants of {run.recipe.config} are called {baseline!r} and differ in "
            "settings or inputs: train them under names of their own (--name)"
        )
    return found[0] if found else []


def _mean_cell(values: Sequence[float], *, with_interval: bool = False) -> str:
    if not values:
        return ""
    value, sd, interval = estimate(values)
    cell = f"{value:.2f}" if sd is None else f"{value:.2f} ± {sd:.2f}"
    if with_interval and interval is not None:
        cell += f" [{interval[0]:.2f}, {interval[1]:.2f}]"
    return cell


def _difference_cell(values: Sequence[float], baseline: Sequence[float]) -> str:
    if not values or not baseline:
        return ""
    value, _, interval = difference(values, baseline)
    cell = f"{value:+.2f}"
    if interval is not None:
        cell += f" [{interval[0]:+.2f}, {interval[1]:+.2f}]"
    return cell.replace("-", "−")
