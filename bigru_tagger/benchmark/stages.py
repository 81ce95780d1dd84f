"""What each stage of prediction takes."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from spacy.language import Language

from ..model import batches, thinc_model
from ..model.shim import NetworkShim
from ..network.context import ContextPooling
from ..network.encoder import BiGRUEncoder
from ..network.network import Network
from ..pipeline.chunker import BiGRUChunker
from ..pipeline.component import SequenceTagger
from ..pipeline.ner import BiGRUNer
from ..pipeline.spans import SpanTagger
from ..pipeline.tagger import BiGRUTokenTagger
from .passages import Passage
from .prediction import COLD, our_shims, prediction_task, variants
from .timing import Clock, StageClock, Task, Work, replaced, time_in_turn

# By stage, whose time is its. A function counts without the functions in here that it calls, so
# the last but one holds what is left of the model: the output layer, and the way through thinc.
STAGES: Mapping[str, Sequence[tuple[Any, str]]] = {
    "features": [(thinc_model, "read_prepared"), (thinc_model, "read_batch")],
    "embedding": [(batches, "_read"), (NetworkShim, "prepare"), (Network, "_embed_tokens")],
    "encoder": [(BiGRUEncoder, "forward")],
    "context": [(ContextPooling, "forward")],
    "rest of the model": [(SequenceTagger, "logits"), (NetworkShim, "predict")],
    "decoding": [(SpanTagger, "decode"), (BiGRUTokenTagger, "decode")],
    "writing to Docs": [
        (BiGRUNer, "set_annotations"),
        (BiGRUTokenTagger, "set_annotations"),
        (BiGRUChunker, "set_annotations"),
    ],
}


@dataclass(frozen=True)
class StageTimes:
    """What the stages of prediction took.

    system, variant (str): see `Timing`.
    words (int): in each round.
    rounds (tuple[dict[str, float], ...]): seconds by stage, of each round.
    """

    system: str
    variant: str
    words: int
    rounds: tuple[dict[str, float], ...]

    @property
    def seconds(self) -> dict[str, float]:
        """The median of each stage over the rounds."""
        return {
            stage: float(np.median([r[stage] for r in self.rounds])) for stage in self.rounds[0]
        }


def measure_stages(
    pipelines: Mapping[str, Language],
    passages: Sequence[Passage],
    rounds: int,
    *,
    clock: Clock = time.perf_counter,
) -> list[StageTimes]:
    """Time the stages of prediction, of the pipelines that have a component of ours.

    pipelines (Mapping[str, Language]): the pipelines by name.
    passages (Sequence[Passage]): the data.
    rounds (int): how often.
    clock (Clock): the clock.
    RETURNS (list[StageTimes]): with the word cache as it is, and cold.
    RAISES (AttributeError): a function that belongs to a stage is not there any more.
    """
    tasks: dict[tuple[str, str], Task] = {}
    stages: dict[tuple[str, str], list[dict[str, float]]] = {}
    for name, nlp in pipelines.items():
        for variant in variants(nlp) if our_shims(nlp) else ():
            key = (name, variant)
            stages[key] = []
            predict = prediction_task(nlp, passages, cold=variant == COLD)
            tasks[key] = _by_stage(predict, stages[key], clock)
    words = sum(map(len, passages))
    time_in_turn(tasks, rounds, title="stages", clock=clock)
    # The first is the warm-up.
    return [StageTimes(*key, words, tuple(times[1:])) for key, times in stages.items()]


def _by_stage(task: Task, times: list[dict[str, float]], clock: Clock) -> Task:
    def prepare() -> Work:
        work = task()

        def run() -> int:
            with ExitStack() as stack:
                stages = StageClock(STAGES, clock)
                for stage, functions in STAGES.items():
                    for owner, name in functions:
                        wrap = _wrapper(stages, stage)
                        stack.enter_context(replaced(owner, name, wrap))
                words = work()
                stages.stop()
            times.append(stages.seconds)
            return words

        return run

    return prepare


def _wrapper(stages: StageClock, stage: str) -> Callable[..., Callable[..., Any]]:
    return lambda function: stages.wrap(stage, function)
