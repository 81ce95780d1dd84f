"""Several seeds of one recipe: what was trained, and a file of results."""

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

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

Scores: TypeAlias = dict[str, dict[str, Any]]
"""By target: `p`, `r`, `f` and `per_type` of "entities" and "chunks", `accuracy` of "tags"."""


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
    RAISES (OSError): the config does not exist.
    RAISES (ValueError): the config does not take the overrides, its seed is not that of
        `[system]`, or there is an absolute path where it would not stay on this machine.
    """
    for setting, value in overrides.items():
        if setting in _SEEDS:
            raise ValueError(f"--{setting}: each run gets its own seed; choose them by --seeds")
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


def source_fingerprint() -> str:
    """Fingerprint the code of `bigru_tagger`.

    RETURNS (str): see `fingerprint`.
    """
    return fingerprint(str(_SOURCE))


def parse_seeds(text: str) -> list[int]:
    """Read which seeds to train.

    text (str): such as "0-4" or "0,2,7-9".
    RETURNS (list[int]): the seeds, ascending.
    RAISES (ValueError): it is neither.
    """
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        raise ValueError(f"--seeds {text}: write 0-4, or 0,2,7-9")
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    if not seeds:
        raise ValueError(f"--seeds {text}: there is none; write the smaller number first")
    return sorted(set(seeds))


def split_source(text: str) -> tuple[str, str]:
    """Part DATA:SPLIT, where the split is "test" if it is left out.

    text (str): what a user gave.
    RETURNS (tuple[str, str]): data and split.
    """
    # No colon of C:\data, nor that of a slice such as test[:10%].
    found = re.fullmatch(r"(.+):(\w+(\[[^]]*\])?)", text)
    if found is None or Path(text).exists():
        return text, "test"
    return found[1], found[2]


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
    """Collect what training and evaluation left.

    recipe (Recipe): what was trained.
    seed (int): its seed.
    model (Path): the best model.
    history (Path): the file of steps that `spacy.ConsoleLogger.v3` wrote.
    evaluation (Mapping[str, Any] | None): what `Evaluation.to_json` returned; `None` without test
        data.
    seconds (float): the duration of training.
    threads (int | None): see `describe_machine`.
    source (str): the fingerprint of the code that trained.
    RETURNS (Run): the run.
    RAISES (OSError): a file is missing.
    """
    rows = [json.loads(line) for line in history.read_text(encoding="utf8").splitlines()]
    # Of equal scores `spacy train` keeps the last.
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
    """Take the scores that training left in a pipeline's meta.json.

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
    """Take the scores in seqeval's strict mode from an evaluation.

    evaluation (Mapping[str, Any]): what `Evaluation.to_json` returned.
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
    # The names that spaCy has for precision, recall and F1.
    return {"p": numbers["precision"], "r": numbers["recall"], "f": numbers["f1"]}


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
