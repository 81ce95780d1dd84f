"""Loggers for `spacy train`: a progress bar, and checkpoints."""

import sys
from collections.abc import Callable
from typing import IO, Any

from spacy.language import Language
from spacy.util import registry

Info = dict[str, Any]
Setup = Callable[
    [Language, IO[str], IO[str]], tuple[Callable[[Info | None], None], Callable[[], None]]
]
CHECKPOINTS = "bigru_tagger.Checkpoints.v1"


@registry.loggers("bigru_tagger.ProgressLogger.v1")
def ProgressLogger() -> Setup:  # noqa: N802
    """Show a progress bar with the score on the development data and the time left.

    The bar is written to standard error, and only on a terminal. The setting `max_steps` of the
    config must be set.

    RETURNS (Callable): the logger, for `[training.logger]`.
    """

    def setup(
        nlp: Language, stdout: IO[str] = sys.stdout, stderr: IO[str] = sys.stderr
    ) -> tuple[Callable[[Info | None], None], Callable[[], None]]:
        from tqdm import tqdm  # noqa: PLC0415 - spaCy imports this module in every process

        total = nlp.config["training"]["max_steps"] or None
        bar = tqdm(total=total, desc="Training", unit=" steps", file=stderr, disable=None)

        def log_step(info: Info | None) -> None:
            # spaCy counts an evaluation before the first update as step 0.
            if info is None or info["step"]:
                bar.update()
            if info is not None:
                best = max(score for score, _ in info["checkpoints"])
                bar.set_postfix_str(f"dev {info['score']:.1%}, best {best:.1%}")

        return log_step, bar.close

    return setup


@registry.loggers(CHECKPOINTS)
def Checkpoints(logger: Setup | None = None) -> Setup:  # noqa: N802
    """Keep a copy of the best model and of the training's state, and go on if it was stopped.

    After each evaluation, the folder `checkpoint` in the output folder of `spacy train` gets the
    best model as `model-best`, and the state of the training. Both are written to temporary files
    and renamed, so they are complete whenever the process is killed. If the folder exists already,
    a training with the same config and data continues from there, and ends with the same weights
    as without the stop, on a CPU bit for bit. When the training ends, the folder is removed.

    logger (Callable | None): the logger that shows the progress. None for spaCy's ConsoleLogger.
    RETURNS (Callable): the logger, for `[training.logger]`.
    RAISES (ValueError): in training, if the folder has the state of a training with another config
        or other data, or if `spacy train` has no output folder.
    """

    def setup(
        nlp: Language, stdout: IO[str] = sys.stdout, stderr: IO[str] = sys.stderr
    ) -> tuple[Callable[[Info | None], None], Callable[[], None]]:
        from spacy.training.loggers import console_logger_v3  # noqa: PLC0415 - as above

        from .checkpoints import Saver  # noqa: PLC0415 - imports PyTorch

        log_step, close = (logger or console_logger_v3())(nlp, stdout, stderr)
        saver = Saver(nlp, log_step, close, stdout=stdout)
        return saver.log_step, saver.finalize

    return setup
