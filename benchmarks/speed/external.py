"""Taggers outside spaCy, each in a separate process, timed in turn with pipelines.

The command of a tagger may run another Python, or no Python, so its requirements may contradict
those of this package. It reads requests from standard input and answers on standard output, one
line of JSON each. When it is ready, it first names itself:

    {"about": "flair 0.15.1"}

These are the requests:

    {"sentences": [["Ada", "left", "."]]}      keep these sentences; not timed
    {"tag": "sentences"}                       tag the sentences that were kept last
    {"text": "Ada left."}                      tokenize a text, and tag it

The answer is the number of tokens:

    {"words": 3}

`scripts/flair_tagger serve` is such a command.
"""

import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .passages import Passage, part
from .timing import Task, Work


@dataclass(frozen=True)
class ExternalCommand:
    """The command that starts a tagger.

    name (str): its name in the results.
    command (str): the command, split as by a shell, without expansion of variables.
    """

    name: str
    command: str


def parse_peer(text: str) -> ExternalCommand:
    """Read NAME=COMMAND.

    text (str): the text.
    RETURNS (ExternalCommand): the command.
    RAISES (ValueError): it is something else.
    """
    name, _, command = text.partition("=")
    if not name or not command.strip():
        raise ValueError(f"--peer {text}: write NAME=COMMAND")
    return ExternalCommand(name, command)


class ExternalTagger:
    """A tagger in a separate process, which ends with the context."""

    def __init__(self, peer: ExternalCommand, threads: int) -> None:
        """Start the tagger, and wait until it is ready.

        peer (ExternalCommand): what starts it.
        threads (int): its `OMP_NUM_THREADS`.
        RAISES (ValueError): it cannot be started, or gives another answer.
        """
        self.command = peer
        try:
            self._process = subprocess.Popen(
                shlex.split(peer.command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf8",
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            )
        except (OSError, ValueError) as error:
            raise ValueError(f"--peer {peer.name}: cannot run {peer.command}: {error}") from error
        self.about = str(self._read("about"))

    def __enter__(self) -> "ExternalTagger":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the tagger."""
        self._process.communicate()

    def prediction(self, passages: Sequence[Passage]) -> Task:
        """Make the task of tagging the sentences of the data, whose tokens are given.

        passages (Sequence[Passage]): the data.
        RETURNS (Task): the task, in words.
        """
        sentences = [sentence.words for sentence in part(passages)]
        n_words = sum(map(len, sentences))

        def tag() -> int:
            words = self._ask({"tag": "sentences"})
            if words != n_words:
                raise ValueError(
                    f"--peer {self.command.name}: it was given {n_words:,} tokens, and tagged "
                    f"{words:,}"
                )
            return words

        def prepare() -> Work:
            self._ask({"sentences": sentences})
            return tag

        return prepare

    def call(self, text: str) -> Task:
        """Make the task of tagging one text.

        text (str): the text.
        RETURNS (Task): the task, in words.
        """
        return lambda: lambda: self._ask({"text": text})

    def _ask(self, request: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended: the read below raises
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return int(self._read("words"))

    def _read(self, key: str) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            return json.loads(line)[key]
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            said = f"said {line.strip()!r}" if line else f"ended ({self._process.returncode})"
            raise ValueError(
                f"--peer {self.command.name}: {self.command.command} {said} where it should have "
                f'answered {{"{key}": …}}: see benchmarks/speed/external.py for what is asked '
                "of it, and above for what it wrote to standard error"
            ) from error
