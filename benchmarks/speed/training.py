"""Measure the speed of training, side by side."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training.initialize import init_nlp
from spacy.training.loop import create_train_batches, train_while_improving
from spacy.util import load_config, registry, resolve_dot_names
from thinc.api import Config

from .timing import Clock, Task, Timing, time_in_turn

_NEVER = sys.maxsize  # steps between evaluations


def parse_training(text: str) -> tuple[str, Path]:
    """Parse NAME=CONFIG.

    text (str): the text.
    RETURNS (tuple[str, Path]): the name, and the file of the config.
    RAISES (ValueError): the text has another form, or the file does not exist.
    """
    name, _, config = text.partition("=")
    if not name or not config:
        raise ValueError(f"--train {text}: write NAME=CONFIG")
    if not Path(config).is_file():
        raise ValueError(f"--train {text}: {config}: no such config")
    return name, Path(config)


def read_configs(configs: Mapping[str, Path], overrides: Mapping[str, Any]) -> dict[str, Config]:
    """Read training configs, and apply overrides to the configs that have the setting.

    configs (Mapping[str, Path]): the files by name.
    overrides (Mapping[str, Any]): settings by their dotted names. With the name of a config as a
        prefix, an override applies only to that config.
    RETURNS (dict[str, Config]): the configs by name.
    RAISES (ValueError): a setting exists in none of the configs.
    """
    found: dict[str, Config] = {}
    used: set[str] = set()
    for name, path in configs.items():
        config = load_config(path)
        settings = {}
        for prefix in ("", f"{name}."):  # overrides of only this config come last, and win
            for setting, value in overrides.items():
                own = setting.removeprefix(prefix)
                if setting.startswith(prefix) and _has_setting(config, own):
                    settings[own] = value
                    used.add(setting)
        found[name] = load_config(path, overrides=settings)
    unknown = [setting for setting in overrides if setting not in used]
    if unknown:
        raise ValueError(
            f"--{unknown[0]}: none of the configs {', '.join(map(str, configs.values()))} has this "
            "setting. Write the full name of the setting, such as --paths.data. For only one "
            "config, prefix it with the name in --train, such as --NAME.paths.data"
        )
    return found


def _has_setting(config: Mapping[str, Any], setting: str) -> bool:
    *sections, option = setting.split(".")
    block: Any = config
    for section in sections:
        block = block.get(section) if isinstance(block, Mapping) else None
    return isinstance(block, Mapping) and option in block


def measure_training(
    configs: Mapping[str, Config],
    rounds: int,
    *,
    n_words: int,
    from_step: int = 0,
    prepare: Mapping[str, Callable[[Language], None]] | None = None,
    clock: Clock = time.perf_counter,
) -> list[Timing]:
    """Time the training steps of `spacy train`, without evaluations.

    configs (Mapping[str, Config]): the configs by name.
    rounds (int): number of timed rounds.
    n_words (int): the least number of words in a round.
    from_step (int): number of batches to skip, because batches of some batchers grow at first.
    prepare (Mapping[str, Callable[[Language], None]] | None): functions that change the initialised
        pipelines of some configs.
    clock (Clock): the clock.
    RETURNS (list[Timing]): the times, with amounts in words.
    """
    prepare = prepare or {}
    tasks = {
        (name, ""): _training(_steps(config, from_step, prepare.get(name)), n_words)
        for name, config in configs.items()
    }
    return time_in_turn(tasks, rounds, title="training", clock=clock)


def _steps(
    config: Config, from_step: int, prepare: Callable[[Language], None] | None
) -> Iterator[int]:
    # Yields the number of words after each step of spaCy's training loop, without end.
    nlp = init_nlp(config)
    if prepare is not None:
        prepare(nlp)
    filled = nlp.config.interpolate()
    settings = registry.resolve(filled["training"], schema=ConfigSchemaTraining)
    (corpus,) = resolve_dot_names(filled, [settings["train_corpus"]])
    batches = create_train_batches(nlp, corpus, settings["batcher"], min(settings["max_epochs"], 0))
    steps = train_while_improving(
        nlp,
        settings["optimizer"],
        itertools.islice(batches, from_step, None),
        lambda: (0.0, {}),
        dropout=settings["dropout"],
        accumulate_gradient=settings["accumulate_gradient"],
        patience=0,
        max_steps=0,
        eval_frequency=_NEVER,
        exclude=settings["frozen_components"],
        annotating_components=settings["annotating_components"],
        before_update=settings["before_update"],
    )
    for batch, _, _ in steps:
        yield sum(len(eg) for eg in batch)


def _training(steps: Iterator[int], n_words: int) -> Task:
    def work() -> int:
        done = 0
        while done < n_words:
            done += next(steps)
        return done

    return lambda: work
