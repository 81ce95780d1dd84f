"""Describe recipes and runs, and read and write files of results."""

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from spacy.util import load_config

import bigru_tagger
from bigru_tagger.corpus.fingerprint import HASH_DIGITS, fingerprint
from bigru_tagger.scoring.run import describe_machine, package_versions
from bigru_tagger.tasks import TASKS

AS_CONFIGURED = "as configured"
"""The label of a recipe without overrides."""

_SOURCE = Path(bigru_tagger.__file__).parent / "*" / "*.py"
_PROBE = -1  # no config has this seed
_SEEDS = ("system.seed", "training.seed")

Item = TypeVar("Item")

Scores: TypeAlias = dict[str, dict[str, Any]]
"""By task: `p`, `r`, `f` and `per_type` for "entities" and "chunks", `accuracy` for "tags"."""


@dataclass(frozen=True)
class Recipe:
    """The config and the data of a training, without the seed and without local paths.

    config (str): the file name of the config, without its ending.
    name (str): the name of the variant.
    hash (str): the hash of the config with all overrides, without `[paths]` and the seed.
    inputs (dict[str, str]): the fingerprints of the files in `[paths]` and of the test data.
    overrides (dict[str, Any]): the overrides of the config, without `[paths]`.
    """

    config: str
    name: str
    hash: str
    inputs: dict[str, str]
    overrides: dict[str, Any]

    @property
    def key(self) -> str:
        """The hash of config and inputs. Recipes with the same key give the same scores."""
        return _hash(json.dumps([self.hash, self.inputs], sort_keys=True).encode())


@dataclass(frozen=True)
class Run:
    """A trained and scored seed of a recipe: one line in a file of results.

    recipe (Recipe): the recipe.
    seed (int): the seed.
    dev (Scores): the scores of the best model on the development data, from its training.
    test (Scores | None): the scores of the best model on the test data; `None` without test data.
    words_per_second (float | None): the speed of prediction on the test data.
    steps, best_step, best_epoch (int): number of steps, and the step and epoch of the best model.
    seconds (float): the duration of the training.
    machine (dict[str, Any]): the processor, the number of cores that were used, and the GPU.
    versions (dict[str, str]): the versions of Python and of packages, and the fingerprint of the
        code of this package as `source`.
    date (str): the end of the run, in ISO 8601 and UTC.
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
        """Return the run as one line of JSON, without a newline."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "Run":
        """Read what `to_json` wrote.

        line (str): one line.
        RETURNS (Run): the run.
        RAISES (ValueError, TypeError): the line is not complete, or a field is missing.
        """
        fields = json.loads(line)
        if not isinstance(fields, dict) or not isinstance(fields.get("recipe"), dict):
            raise ValueError("the recipe is missing")
        return cls(**{**fields, "recipe": Recipe(**fields["recipe"])})


def make_recipe(
    config: Path,
    overrides: Mapping[str, Any],
    *,
    name: str | None = None,
    test: tuple[str, str] | None = None,
) -> Recipe:
    """Describe a training, independent of the machine.

    config (Path): the file of the config.
    overrides (Mapping[str, Any]): settings by their dotted names.
    name (str | None): the name of the variant; `None` to name it by its overrides.
    test (tuple[str, str] | None): the test data and their split.
    RETURNS (Recipe): the recipe.
    RAISES (OSError): the config does not exist.
    RAISES (ValueError): an override does not fit the config, `training.seed` is not that of
        `[system]`, or an override outside `[paths]` is an absolute path.
    """
    for setting, value in overrides.items():
        if setting in _SEEDS:
            raise ValueError(f"--{setting}: each run has its own seed; set them by --seeds")
        if not _is_path(setting) and any(Path(text).is_absolute() for text in _texts(value)):
            raise ValueError(
                f"--{setting}: {value!r} is a local path, which must not be part of the results. "
                f"Write {setting.rpartition('.')[2]} = ${{paths.…}} in the config, and override "
                "that setting of [paths]"
            )
    given = dict(overrides)
    content = load_config(config, overrides=given, interpolate=False)
    seeded = load_config(config, overrides={**given, "system.seed": _PROBE}, interpolate=True)
    if seeded["training"]["seed"] != _PROBE:
        raise ValueError(
            f"{config}: all seeds would give the same model, because training.seed is "
            f"{seeded['training']['seed']}. Write seed = ${{system.seed}} in [training]"
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


def source_fingerprint() -> str:
    """Compute the fingerprint of the code of `bigru_tagger`.

    RETURNS (str): the fingerprint, see `fingerprint`.
    """
    return fingerprint(str(_SOURCE))


def parse_seeds(text: str) -> list[int]:
    """Parse a list of seeds.

    text (str): the list, such as "0-4" or "0,2,7-9".
    RETURNS (list[int]): the seeds, sorted.
    RAISES (ValueError): the text has another form.
    """
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        raise ValueError(f"--seeds {text}: write a list such as 0-4 or 0,2,7-9")
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    if not seeds:
        raise ValueError(f"--seeds {text}: this range is empty; write the smaller number first")
    return sorted(set(seeds))


def choose_part(items: Sequence[Item], part: str) -> list[Item]:
    """Choose one of several parts of a list, for one of several machines.

    items (Sequence[Item]): the list.
    part (str): part i of n, as "i/n", with i from 1. Each item is in one part.
    RETURNS (list[Item]): every n-th item, from the i-th.
    RAISES (ValueError): the text has another form, or i is not from 1 to n.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", part)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"--shard {part}: write i/n, such as 1/4 for the first of four parts")
    return list(items[int(found[1]) - 1 :: int(found[2])])


def split_source(text: str) -> tuple[str, str]:
    """Parse DATA or DATA:SPLIT. The default split is "test".

    text (str): the text.
    RETURNS (tuple[str, str]): data and split.
    """
    # The colons of C:\data and of slices such as test[:10%] do not separate.
    found = re.fullmatch(r"(.+):(\w+(\[[^]]*\])?)", text)
    if found is None or Path(text).exists():
        return text, "test"
    return found[1], found[2]


def append_run(path: Path, run: Run) -> None:
    """Append a line to a file of results.

    path (Path): the file. It and its folders are created if necessary.
    run (Run): the run to append.
    RAISES (OSError): the line cannot be written completely.
    """
    line = (run.to_json() + "\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # the last write was interrupted: start a new line
                line = b"\n" + line
        # One write, so that other processes can append at the same time.
        if file.write(line) != len(line):
            raise OSError(f"{path}: only a part of the last line was written; is the disk full?")
        os.fsync(file.fileno())


def read_runs(path: Path) -> list[Run]:
    """Read a file of results. Damaged lines are skipped with a warning.

    path (Path): the file.
    RETURNS (list[Run]): the runs, in the order of the lines; empty if the file does not exist.
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
                f"{path}, line {number}: skipped, because it is not a complete result ({error}). "
                "Its seed will be trained again. Delete the line to remove this warning.",
                UserWarning,
                stacklevel=2,
            )
    return runs


def collect_run(
    recipe: Recipe,
    seed: int,
    *,
    model: Path,
    history: Path,
    evaluation: Mapping[str, Any] | None,
    seconds: float,
    threads: int | None,
    source: str,
) -> Run:
    """Collect the results of a training and its evaluation.

    recipe (Recipe): the recipe.
    seed (int): the seed.
    model (Path): the folder of the best model.
    history (Path): the file of steps that `spacy.ConsoleLogger.v3` wrote.
    evaluation (Mapping[str, Any] | None): the result of `Evaluation.to_json`; `None` without test
        data.
    seconds (float): the duration of the training.
    threads (int | None): see `describe_machine`.
    source (str): the fingerprint of the code used for training.
    RETURNS (Run): the run.
    RAISES (OSError): a file is missing.
    """
    rows = [json.loads(line) for line in history.read_text(encoding="utf8").splitlines()]
    # If scores are equal, `spacy train` keeps the last model.
    best = max(rows, key=lambda row: (row["score"], row["step"]))
    meta = json.loads((model / "meta.json").read_text(encoding="utf8"))
    return Run(
        recipe=recipe,
        seed=seed,
        dev=dev_scores(meta["performance"]),
        test=None if evaluation is None else test_scores(evaluation),
        words_per_second=None if evaluation is None else round(evaluation["words_per_second"], 1),
        steps=rows[-1]["step"],
        best_step=best["step"],
        best_epoch=best["epoch"],
        seconds=round(seconds, 1),
        machine=describe_machine(threads),
        versions={**package_versions(), "source": source},
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def dev_scores(performance: Mapping[str, Any]) -> Scores:
    """Read the development scores from the meta.json of a pipeline.

    performance (Mapping[str, Any]): the block `performance` of meta.json.
    RETURNS (Scores): the scores of the tasks that were trained.
    """
    scores: Scores = {}
    for task in TASKS.values():
        prefix = task.score_prefix
        if performance.get(next(iter(task.scores))) is None:
            continue
        if task.per_token:
            scores[task.name] = {"accuracy": performance[f"{prefix}_acc"]}
        else:
            names = ("p", "r", "f", "per_type")
            scores[task.name] = {name: performance.get(f"{prefix}_{name}") for name in names}
    return scores


def test_scores(evaluation: Mapping[str, Any]) -> Scores:
    """Read the scores in seqeval's strict mode from an evaluation.

    evaluation (Mapping[str, Any]): the result of `Evaluation.to_json`.
    RETURNS (Scores): the scores of the tasks that were evaluated.
    """
    scores: Scores = {}
    for task in TASKS.values():
        accuracy = evaluation.get(f"{task.score_prefix}_accuracy")
        if accuracy is not None:
            scores[task.name] = {"accuracy": accuracy}
        elif evaluation.get(task.name) is not None:
            counted = evaluation[task.name]["strict"]
            per_type = {label: _shorten(numbers) for label, numbers in counted["per_type"].items()}
            scores[task.name] = {**_shorten(counted["micro"]), "per_type": per_type}
    return scores


def _shorten(numbers: Mapping[str, float]) -> dict[str, float]:
    # spaCy's names for precision, recall and F1.
    return {"p": numbers["precision"], "r": numbers["recall"], "f": numbers["f1"]}


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()[:HASH_DIGITS]


def _is_path(setting: str) -> bool:
    return setting.startswith("paths.")


def _texts(value: Any) -> Iterator[str]:
    """Yield all strings in a value of a config."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for part in value.values() for text in _texts(part))
    elif isinstance(value, Sequence):
        yield from (text for part in value for text in _texts(part))
