"""Save a training so that nothing is lost if it stops, and go on with it.

spaCy's loop deletes `model-best` and copies `model-last` to it, so a training that is killed can
lose both. The logger `Checkpoints` writes models beside the old ones and exchanges them.
With them, it writes the state of the training.

To go on with a training, spaCy's loop starts again. Up to the stored step, its updates and
evaluations do nothing and return what was stored. So the order of the data, the schedules and the
evaluations are those of the first run. Then the stored state replaces that of the pipeline.
"""

import io
import json
import os
import random
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, TypeVar

from spacy.language import Language
from spacy.training.loop import create_before_to_disk_callback
from spacy.training.loop import train as run_loop
from spacy.util import is_package, registry
from thinc.api import Config, Model

from ..corpus.fingerprint import fingerprint
from ..errors import ConfigError
from ..files import atomic_folder, atomic_path, remove_unfinished, write_json
from ..model.training_state import (
    cannot_be_stored,
    find_optimizer,
    pack_state,
    read_progress,
    restore_state,
)
from .progress import CHECKPOINTS, Info

BEST, LAST = "model-best", "model-last"
_Result = TypeVar("_Result")

_FOLDER = "checkpoint"
_STATE = "training.safetensors"
_SETTINGS = "settings.json"
# The sections of a config that name files with data.
_DATA_SECTIONS = ("paths", "corpora", "initialize", "components")
_N_DIFFERENCES = 3

# The output folder of `train_pipeline`, whose models the logger writes. spaCy writes none then.
_OUTPUT: ContextVar[Path | None] = ContextVar("output", default=None)


class TrainingStopped(KeyboardInterrupt):
    """A training was stopped by SIGINT (Ctrl+C) or SIGTERM. The message is how to go on."""


def use_checkpoints(config: Config) -> None:
    """Set the logger of a training config, around the config's own.

    config (Config): the config, modified in place.
    """
    logger = config["training"].get("logger")
    if logger is None or logger["@loggers"] != CHECKPOINTS:
        config["training"]["logger"] = {"@loggers": CHECKPOINTS, "logger": logger}


def is_unfinished(output: Path) -> bool:
    """Check whether a folder has a training that was stopped.

    output (Path): the output folder.
    RETURNS (bool): whether it can be continued.
    """
    return (output / _FOLDER).exists()


def check_unfinished(output: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise an error if a folder has a training, unless it is continued or replaced.

    output (Path): the output folder.
    resume (bool): whether to go on with an unfinished training.
    overwrite (bool): whether to replace the models.
    RAISES (ValueError): it is neither, or both.
    """
    if resume and overwrite:
        raise ConfigError("set `resume` to go on with a training, or `overwrite` to replace it")
    if is_unfinished(output) and not (resume or overwrite):
        raise ConfigError(
            f"{output} has an unfinished training: set `resume` to go on with it, or `overwrite` "
            "to replace it"
        )
    models = [folder for name in (BEST, LAST) if (folder := output / name).exists()]
    if models and not (overwrite or is_unfinished(output)):
        raise ConfigError(f"{models[0]} already exists: choose another output, or set `overwrite`")


def stored_steps(output: Path) -> dict[str, Any]:
    """Get the number of steps of an unfinished training, which `minutes` may have chosen.

    output (Path): the output folder.
    RETURNS (dict[str, Any]): the settings by their path in the config.
    """
    config = json.loads((output / _FOLDER / _SETTINGS).read_text("utf8"))["config"]
    return {name: config[name] for name in ("training.max_steps", "training.eval_frequency")}


def train_pipeline(
    nlp: Language, output: Path, *, finish: Callable[[], _Result], resume: bool = False
) -> _Result:
    """Train a pipeline with spaCy's loop, and save it safely.

    The models `model-best` and `model-last` are written to temporary folders and exchanged with
    those in the output folder, so both are complete whenever the process is killed.

    nlp (Language): the initialised pipeline. The logger in its config is `Checkpoints`.
    output (Path): the output folder.
    finish (Callable[[], Any]): what changes the best model at the end. If it is stopped, the
        training is unfinished.
    resume (bool): whether to go on with an unfinished training. Otherwise it is discarded.
    RETURNS (Any): the result of `finish`.
    RAISES (ValueError): the unfinished training has another config or other data. (OSError): a file
        cannot be written. (TrainingStopped): the process got SIGINT or SIGTERM.
    """
    if not resume:
        _remove(output / _FOLDER)
    token = _OUTPUT.set(output)
    try:
        with _stopped_by_sigterm():
            run_loop(nlp, None, stdout=io.StringIO())
            result = finish()
            _remove(output / _FOLDER)
            return result
    except KeyboardInterrupt as stop:
        raise TrainingStopped(_how_to_go_on(output)) from stop
    finally:
        _OUTPUT.reset(token)


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Raise a KeyboardInterrupt at SIGTERM. Only the main thread of a process can do so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _how_to_go_on(output: Path) -> str:
    state = output / _FOLDER / _STATE
    if not state.exists():
        return f"Stopped before the first evaluation: {output} has no new model"
    evaluations = read_progress(state)["evaluations"]
    best = max(evaluations, key=lambda found: float(found["score"]))
    return (
        f"Stopped. {output / BEST} is of step {best['step']} (score {best['score']:.1%}). To go on "
        f"after step {evaluations[-1]['step']}, repeat the command with --resume"
    )


def _remove(folder: Path) -> None:
    """Remove a folder, in one step for other processes."""
    if folder.exists():
        shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}.{os.getpid()}.part")))


class Saver:
    """Writes the models and the state of a training, and restores them at its start."""

    def __init__(self, nlp: Language, log: Any, close: Any, *, stdout: IO[str]) -> None:
        self._nlp = nlp
        self._log = log
        self._close = close
        self._stdout = stdout
        self._output = _OUTPUT.get()
        self._own = self._output is not None  # spaCy's loop writes no models then
        self._evaluations: list[dict[str, Any]] = []
        self._coming: list[dict[str, Any]] = []  # those of the first run that are to be repeated
        self._random = _DataRandomness()
        self._replays = False
        self._handled = sys.exc_info()[1]
        if self._output is not None:
            self._start(self._output)
        # On the instance, whose methods spaCy's loop calls.
        vars(nlp).update(update=self._update, evaluate=self._evaluate)

    def log_step(self, info: Info | None) -> None:
        """Save the training after an evaluation.

        info (dict[str, Any] | None): see spaCy's `train_while_improving`; None without evaluation.
        """
        if self._output is None:
            assert info is not None  # spaCy evaluates after the first step
            if "output_path" not in info:
                raise ConfigError(f"{CHECKPOINTS} needs an output folder: set the option --output")
            self._start(Path(info["output_path"]).parent)
        if info is not None:
            if not self._replays:
                self._save(info)
            elif info["step"] == self._evaluations[-1]["step"]:
                self._end_replay()
        self._log(info)
        self._random.end_step(replay=self._replays)

    def _update(self, *args: Any, losses: dict[str, float], **settings: Any) -> Any:
        if not self._replays:
            self._random.begin_step()
            return type(self._nlp).update(self._nlp, *args, losses=losses, **settings)
        losses.update(self._coming[0]["losses"])
        return losses

    def _evaluate(self, *args: Any, **settings: Any) -> Any:
        if not self._replays:
            return type(self._nlp).evaluate(self._nlp, *args, **settings)
        return self._coming.pop(0)["other_scores"]

    def finalize(self) -> None:
        """Write the last model, and remove the state, unless an error ended the training."""
        self._close()
        for name in ("update", "evaluate"):
            del vars(self._nlp)[name]
        if self._output is None:
            return
        if sys.exc_info()[1] is self._handled and not self._replays:
            if self._own:
                self._write_last()  # `train_pipeline` removes the state
            else:
                _remove(self._folder)
        elif self._evaluations and self._can_be_stored and not self._own:
            self._stdout.write("To go on with this training, repeat the command.\n")

    @property
    def _folder(self) -> Path:
        assert self._output is not None
        return self._output / _FOLDER

    @property
    def _best(self) -> Path:
        # spaCy's loop deletes its own folder, so the safe copy is elsewhere.
        return (self._folder.parent if self._own else self._folder) / BEST

    @property
    def _models(self) -> dict[str, Model[Any, Any]]:
        frozen = self._nlp.config["training"]["frozen_components"]
        found = ((name, getattr(pipe, "model", None)) for name, pipe in self._nlp.components)
        return {
            name: model for name, model in found if isinstance(model, Model) and name not in frozen
        }

    def _start(self, output: Path) -> None:
        self._output = output
        for folder in (output, self._folder):
            remove_unfinished(folder)
        reason = cannot_be_stored(self._models)
        if reason:
            warnings.warn(f"This training cannot be continued if it stops: {reason}", stacklevel=2)
        self._can_be_stored = not reason
        settings = _describe_settings(self._nlp)
        path = self._folder / _SETTINGS
        if (self._folder / _STATE).exists():
            _check_settings(path, settings)
            progress = read_progress(self._folder / _STATE)
            self._evaluations, self._random.stored = progress["evaluations"], progress["random"]
            # Without an output folder of our own, the first step is over.
            self._coming = self._evaluations[0 if self._own else 1 :]
            self._replays = True
        else:
            write_json(path, settings)

    def _save(self, info: Info) -> None:
        self._evaluations.append(
            {name: info[name] for name in ("step", "score", "other_scores", "losses")}
        )
        if self._own:
            self._write_last()
        if info["score"] == max(info["checkpoints"])[0]:
            self._copy_last(self._best)
        # The state comes last: with an older one, the best model is found again.
        if self._can_be_stored:
            progress = {"evaluations": self._evaluations, "random": self._random.stored}
            state = pack_state(self._models, self._optimizer, progress)
            path = self._folder / _STATE
            with self._explained(path), atomic_path(path) as temporary:
                temporary.write_bytes(state)

    def _write_last(self) -> None:
        path = self._folder.parent / LAST
        optimizer = self._optimizer
        if optimizer is None:
            raise ConfigError(
                f"no component of bigru-tagger is trained, but {', '.join(self._models)}: use "
                "`spacy train`"
            )
        callback = self._nlp.config.interpolate()["training"]["before_to_disk"]
        change = create_before_to_disk_callback(
            registry.resolve({"callback": callback})["callback"] if callback else None
        )
        with (
            self._explained(path),
            atomic_folder(path, replace=True) as temporary,
            self._nlp.use_params(optimizer.averages),
        ):
            change(self._nlp).to_disk(temporary)

    def _copy_last(self, path: Path) -> None:
        with self._explained(path), atomic_folder(path, replace=True) as temporary:
            shutil.copytree(self._folder.parent / LAST, temporary, dirs_exist_ok=True)

    @property
    def _optimizer(self) -> Any:
        return find_optimizer(self._models)

    @contextmanager
    def _explained(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            how = "set `resume`" if self._own else "repeat the command"
            reason = error.strerror or str(error)
            if isinstance(error, shutil.Error):  # one tuple for each file
                reason = str(error.args[0][0][2])
            complete = ""
            if self._best.exists():
                complete = " The models of the last evaluation are complete."
            raise OSError(
                error.errno or 0,
                f"{reason}, while writing {path}.{complete} To go on when it can be written, {how}",
            ) from error

    def _end_replay(self) -> None:
        restore_state(self._folder / _STATE, self._models, self._optimizer)
        self._replays = False
        if not self._own:  # spaCy's loop has written other weights
            self._write_last()
            with atomic_folder(self._folder.parent / BEST, replace=True) as temporary:
                shutil.copytree(self._best, temporary, dirs_exist_ok=True)


class _DataRandomness:
    """Python's random numbers, which order the training data, and which components may use too.

    In a replay, components use none. So if they used any since the data did, the state after that
    step is stored.

    stored (dict[str, Any]): states by the number of the step before the data were shuffled.
    """

    def __init__(self) -> None:
        self.stored: dict[str, Any] = {}
        self._step = -1
        self._began: Any = None  # the state at the start of a step
        self._ended: Any = None  # and at its end
        self._used = False  # whether components used random numbers since the data did

    def begin_step(self) -> None:
        """Note the state before an update. Later updates of the same step have no effect."""
        if self._began is not None:
            return
        self._began = random.getstate()
        if self._used and self._began != self._ended:
            self.stored[str(self._step)] = self._ended
            self._used = False

    def end_step(self, *, replay: bool) -> None:
        """Note the state after a step.

        replay (bool): whether the step was not computed. Then its state is restored.
        """
        self._step += 1
        if replay:
            self._used = True  # perhaps
            if str(self._step) in self.stored:
                version, numbers, gauss = self.stored[str(self._step)]
                random.setstate((version, tuple(numbers), gauss))
        self._ended = random.getstate()
        self._used = self._used or self._ended != self._began
        self._began = None


def _describe_settings(nlp: Language) -> dict[str, Any]:
    """Describe what determines a training: the config, and the contents of the files in it."""
    config = nlp.config.interpolate()
    del config["training"]["logger"]
    settings = _flatten(config)
    files = {
        value: fingerprint(value)
        for name, value in settings.items()
        if name.split(".")[0] in _DATA_SECTIONS
        and not name.rpartition(".")[2].startswith(("@", "split"))
        and isinstance(value, str)
        and value  # an empty path would be the working folder
        and (os.path.exists(value) or is_package(value))
    }
    return {"config": settings, "files": files}


def _flatten(values: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(values, dict) or not values:
        return {name: values}
    return {
        full: setting
        for key, value in values.items()
        for full, setting in _flatten(value, f"{name}.{key}" if name else key).items()
    }


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    stored = json.loads(path.read_text("utf8"))
    settings = json.loads(json.dumps(settings))
    old, new = stored["config"], settings["config"]
    changes = [
        f"{name} is {json.dumps(new.get(name))} and was {json.dumps(old.get(name))}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if not changes:
        files = {*stored["files"], *settings["files"]}
        changes = [
            f"{name} has other contents"
            for name in sorted(files)
            if stored["files"].get(name) != settings["files"].get(name)
        ]
    if changes:
        more = [f"{len(changes) - _N_DIFFERENCES} more"] if len(changes) > _N_DIFFERENCES else []
        raise ConfigError(
            f"{path.parent} is of a training with another config or other data: "
            f"{'; '.join([*changes[:_N_DIFFERENCES], *more])}. Go on with the same, or replace the "
            f"training: with `overwrite`, or by removing {path.parent}"
        )
