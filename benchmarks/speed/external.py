"""Run taggers outside spaCy in separate processes, to time them in turn with pipelines.

The command of a tagger can use another Python or another language, so its requirements do not
affect this package. It reads requests from standard input and writes answers to standard output,
one line of JSON each. When it is ready, it writes its name and version:

    {"about": "flair 0.15.1"}

The requests are:

    {"sentences": [["Ada", "left", "."]]}      store these sentences; not timed
    {"tag": "sentences"}                       tag the stored sentences
    {"text": "Ada left."}                      tokenize and tag a text

The answer to each request is the number of tokens:

    {"words": 3}

`scripts/flair_tagger serve` is an example.
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


def parse_external(text: str) -> ExternalCommand:
    """Parse NAME=COMMAND.

    text (str): the text.
    RETURNS (ExternalCommand): the command.
    RAISES (ValueError): the text has another form.
    """
    name, _, command = text.partition("=")
    if not name or not command.strip():
        raise ValueError(f"--peer {text}: write NAME=COMMAND")
    return ExternalCommand(name, command)


class ExternalTagger:
    """A tagger in a separate process. The process ends with the context."""

    def __init__(self, command: ExternalCommand, threads: int) -> None:
        """Start the tagger, and wait until it is ready.

        command (ExternalCommand): the command that starts the tagger.
        threads (int): the value of `OMP_NUM_THREADS` for the process.
        RAISES (ValueError): the command cannot be run, or its answer has another form.
        """
        self.command = command
        try:
            self._process = subprocess.Popen(
                shlex.split(command.command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf8",
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            )
        except (OSError, ValueError) as error:
            raise ValueError(
                f"--peer {command.name}: cannot run {command.command}: {error}"
            ) from error
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
        """Stop the process."""
        self._process.communicate()

    def prediction(self, passages: Sequence[Passage]) -> Task:
        """Make a task that tags the sentences of the data, without tokenizing them.

        passages (Sequence[Passage]): the data.
        RETURNS (Task): the task. Its amount is in words.
        """
        sentences = [sentence.words for sentence in part(passages)]
        n_words = sum(map(len, sentences))

        def tag() -> int:
            words = self._request({"tag": "sentences"})
            if words != n_words:
                raise ValueError(
                    f"--peer {self.command.name}: the tagger got {n_words:,} tokens, but tagged "
                    f"{words:,}"
                )
            return words

        def prepare() -> Work:
            self._request({"sentences": sentences})
            return tag

        return prepare

    def call(self, text: str) -> Task:
        """Make a task that tokenizes and tags one text.

        text (str): the text.
        RETURNS (Task): the task. Its amount is in words.
        """
        return lambda: lambda: self._request({"text": text})

    def _request(self, request: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        with suppress(OSError):  # the process has ended: the read below raises
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return int(self._read("words"))

    def _read(self, key: str) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            return json.loads(line)[key]
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            status = self._process.returncode
            answer = f"answered {line.strip()!r}" if line else f"ended with status {status}"
            raise ValueError(
                f"--peer {self.command.name}: {self.command.command} {answer} instead of "
                f'{{"{key}": …}}. The answers are described in benchmarks/speed/external.py; '
                "errors of the command are above, if it wrote any"
            ) from error
