"""A logger for `spacy train` that shows a progress bar."""

import sys
from collections.abc import Callable
from typing import IO, Any

from spacy.language import Language
from spacy.util import registry

Info = dict[str, Any]
Setup = Callable[
    [Language, IO[str], IO[str]], tuple[Callable[[Info | None], None], Callable[[], None]]
]


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
