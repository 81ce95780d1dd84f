"""Predict the texts of concurrent requests in shared batches, in one thread."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Thread
from typing import NamedTuple, TypeAlias

from .prediction import Options, Text

MAX_CHARACTERS = 100_000
"""A batch ends with the text that brings it to this size, so that it takes seconds, not minutes."""

logger = logging.getLogger(__name__)


class PredictionError(Exception):
    """The pipeline raised an exception for a text."""


Answer: TypeAlias = str | PredictionError
Predict: TypeAlias = Callable[[Sequence[Text], Options], Sequence[str]]


class _Item(NamedTuple):
    text: Text
    options: Options
    answer: "asyncio.Future[Answer]"


class Batcher:
    """Collects texts in a queue and predicts them in batches, in a thread of its own.

    A batch starts with the first text in the queue and takes the others that are there. Then it
    waits for a short time, until it has as many texts as the batch before: clients that got their
    answers together send their next requests at about the same time. A single client never waits.
    """

    def __init__(self, predict: Predict, *, batch_size: int, wait: float) -> None:
        """Start the thread.

        predict (Predict): computes one answer per text, from texts and their common options. Only
            the thread calls it.
        batch_size (int): maximum number of texts in a batch.
        wait (float): maximum time to wait for more texts, in seconds.
        """
        self._predict = predict
        self._batch_size = batch_size
        self._wait = wait
        self._queue: deque[_Item] = deque()
        self._stopped = False
        self._changed = Condition()  # of the queue, or stopped
        self._thread = Thread(target=self._run, name="predict", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """RETURNS (bool): whether the thread runs."""
        return self._thread.is_alive()

    @property
    def n_queued(self) -> int:
        """RETURNS (int): number of texts in the queue."""
        return len(self._queue)

    async def submit(self, texts: Sequence[Text], options: Options) -> list[Answer]:
        """Predict texts. If the caller is cancelled, those that are in the queue are removed.

        texts (Sequence[Text]): the texts.
        options (Options): only texts with equal options are predicted together.
        RETURNS (list[Answer]): the answer to each text, or the error that the pipeline raised.
        """
        loop = asyncio.get_running_loop()
        items = [_Item(text, options, loop.create_future()) for text in texts]
        with self._changed:
            self._queue.extend(items)
            self._changed.notify()
        try:
            return await asyncio.gather(*(item.answer for item in items))
        except asyncio.CancelledError:
            # Otherwise, clients that disconnect could fill the queue during a long batch.
            with self._changed:
                self._queue = deque(item for item in self._queue if not item.answer.done())
            raise

    def stop(self) -> None:
        """Answer what is in the queue, then end the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        n_texts = 1
        while batch := self._collect(n_texts):
            n_texts = len(batch)
            groups: dict[Options, list[_Item]] = {}
            for item in batch:
                if not item.answer.done():  # cancelled since it was taken from the queue
                    groups.setdefault(item.options, []).append(item)
            for options, items in groups.items():
                _deliver(items, self._answer([item.text for item in items], options))

    def _collect(self, expected: int) -> list[_Item]:
        """Take a batch from the queue. It is empty if the thread should end."""
        batch: list[_Item] = []
        n_characters = 0
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopped)
            end = time.monotonic() + self._wait
            while len(batch) < self._batch_size and n_characters < MAX_CHARACTERS:
                if not self._queue and len(batch) < expected and not self._stopped:
                    left = end - time.monotonic()
                    self._changed.wait_for(lambda: self._queue or self._stopped, left)
                if not self._queue:
                    break
                batch.append(self._queue.popleft())
                n_characters += sum(map(len, batch[-1].text))
        return batch

    def _answer(self, texts: Sequence[Text], options: Options) -> Sequence[Answer]:
        try:
            return self._predict(texts, options)
        except Exception as error:
            if len(texts) == 1:
                logger.warning("The pipeline raised an exception for a text", exc_info=True)
                return [PredictionError(f"{type(error).__name__}: {error}")]
        # One of them failed. The others get their answers, in few batches.
        middle = len(texts) // 2
        halves = texts[:middle], texts[middle:]
        return [answer for half in halves for answer in self._answer(half, options)]


def _deliver(items: Sequence[_Item], answers: Sequence[Answer]) -> None:
    # All texts of a batch wake the event loop once. It is closed if the server was killed.
    with contextlib.suppress(RuntimeError):
        items[0].answer.get_loop().call_soon_threadsafe(_set_answers, items, answers)


def _set_answers(items: Sequence[_Item], answers: Sequence[Answer]) -> None:
    for item, answer in zip(items, answers, strict=True):
        if not item.answer.done():
            item.answer.set_result(answer)
