"""Evaluation of a pipeline: seqeval's scores and speed."""

import platform
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example
from threadpoolctl import threadpool_info
from tqdm import tqdm

from ..corpus.sentences import copy_tokens
from ..errors import DataError
from ..tasks import CHUNKS, Task, list_tasks, rename_labels
from .scoring import Counts, count_tagged, micro_counts, same_words, tag_examples

WARM_UP_DOCS = 8  # loads kernels and fills caches before the timed run
DIGITS = 4
PACKAGES = ("bigru-tagger", "spacy", "thinc", "torch", "seqeval", "datasets", "numpy")
_CPU_NAME = re.compile(r"^model name\s*: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Average:
    """An average over labels, as defined by seqeval.

    precision, recall, f1 (float): the scores, from 0 to 1.
    support (int): the number of gold entities.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class SpanReport:
    """The counts of a task per label, as seqeval computes them from IOB2 tags.

    default (dict[str, Counts]): counts in seqeval's default mode, which follows conlleval's rules.
    strict (dict[str, Counts]): counts in seqeval's strict mode with the scheme IOB2.
    accuracy (float | None): the share of correct labels, computed by spaCy's scorer. None for
        tasks that do not label single tokens.
    """

    default: dict[str, Counts]
    strict: dict[str, Counts]
    accuracy: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON-serializable scores by mode: `per_type`, `micro`, `macro` and `weighted`."""
        return {
            mode: {
                "per_type": {label: _numbers(counts) for label, counts in per_type.items()},
                "micro": _numbers(micro_counts(per_type)),
                "macro": asdict(macro_average(per_type)),
                "weighted": asdict(weighted_average(per_type)),
            }
            for mode, per_type in (("default", self.default), ("strict", self.strict))
        }


@dataclass(frozen=True)
class Evaluation:
    """The results of one evaluation.

    model, data, split (str): the caller's names of the model, the data and the split.
    pipes (tuple[str, ...]): names of the pipeline's components; empty for a file of predictions.
    documents, tokens (int): the number of Docs and tokens of the gold data.
    seconds (float | None): the time of `nlp.pipe` in seconds, without the warm-up. None for a file
        of predictions.
    spans_key (str): the key of `doc.spans` for chunks.
    scores (dict[str, SpanReport]): the scores by task name, for the tasks that are annotated in
        both the gold data and the predictions.
    versions (dict[str, str]): the versions of Python and the packages that scores depend on.
    examples (tuple[Example, ...]): the predictions and their references.
    """

    model: str
    pipes: tuple[str, ...]
    data: str
    split: str
    documents: int
    tokens: int
    seconds: float | None
    spans_key: str
    scores: dict[str, SpanReport]
    versions: dict[str, str]
    examples: tuple[Example, ...] = field(repr=False, compare=False)

    @property
    def words_per_second(self) -> float | None:
        """Tokens per second of `nlp.pipe`, None for a file of predictions."""
        return None if self.seconds is None else self.tokens / self.seconds

    @property
    def tasks(self) -> list[Task]:
        """The scored tasks, in the order of `TASKS`."""
        return [task for task in list_tasks(self.spans_key) if task.name in self.scores]

    def to_json(self) -> dict[str, Any]:
        """Return all results, except for the examples, as JSON-serializable values."""
        return {
            "model": self.model,
            "pipes": list(self.pipes),
            "data": self.data,
            "split": self.split,
            "documents": self.documents,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "words_per_second": self.words_per_second,
            "spans_key": self.spans_key,
            **self._scores_to_json(),
            "versions": self.versions,
        }

    def _scores_to_json(self) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for task in list_tasks(self.spans_key):
            report = self.scores.get(task.name)
            content[task.name] = report and report.to_json()
            if task.per_token:
                content[f"{task.score_prefix}_accuracy"] = report and report.accuracy
        return content


def evaluate(
    nlp: Language,
    examples: Iterable[Example],
    *,
    spans_key: str = CHUNKS.key,
    rename: Mapping[str, str] | None = None,
    batch_size: int | None = None,
    model: str = "",
    data: str = "",
    split: str = "",
) -> Evaluation:
    """Run a pipeline on gold data and score all tasks that are annotated in both.

    The input of the pipeline is new Docs with the tokens of the references, so the pipeline's
    tokenizer does not affect the scores. The new Docs have the sentence boundaries of the examples'
    `predicted` Docs, if these are set. They have no gold annotation.

    nlp (Language): the pipeline, with any components.
    examples (Iterable[Example]): the gold data. The gold annotation is in `reference`, and
        `predicted` can set sentence boundaries.
    spans_key (str): the key of `doc.spans` for chunks.
    rename (Mapping[str, str] | None): new names of predicted labels. Spans with the new name ""
        are removed. Gold labels are not renamed.
    batch_size (int | None): Docs per batch, None for the pipeline's setting.
    model, data, split (str): names for the report. The default for `model` is the pipeline's name.
    RETURNS (Evaluation): the scores and the predictions.
    RAISES (ValueError): if no example has tokens, or no task is annotated in both the gold data
        and the predictions.
    """
    examples = list(examples)
    references = [eg.reference for eg in examples]
    if not any(map(len, references)):
        raise DataError("No gold example has tokens: check the data and the split.")
    predictions, seconds = _predict(nlp, examples, batch_size)
    return score_predictions(
        starmap(Example, zip(predictions, references, strict=True)),
        spans_key=spans_key,
        rename=rename,
        model=model or f"{nlp.meta['lang']}_{nlp.meta['name']}",
        data=data,
        split=split,
        pipes=nlp.pipe_names,
        seconds=seconds,
    )


def score_predictions(
    examples: Iterable[Example],
    *,
    spans_key: str = CHUNKS.key,
    rename: Mapping[str, str] | None = None,
    model: str,
    data: str = "",
    split: str = "",
    pipes: Iterable[str] = (),
    seconds: float | None = None,
) -> Evaluation:
    """Score existing predictions.

    examples (Iterable[Example]): the predictions and their references.
    spans_key (str): the key of `doc.spans` for chunks.
    rename (Mapping[str, str] | None): see `evaluate`. The predictions are modified in place.
    model, data, split (str): names for the report.
    pipes (Iterable[str]): names of the pipeline's components; empty for a file of predictions.
    seconds (float | None): the time of the prediction in seconds, None if unknown.
    RETURNS (Evaluation): the scores and the predictions.
    RAISES (ValueError): if no task is annotated in both the gold data and the predictions.
    """
    examples = tuple(examples)
    pipes = tuple(pipes)
    if rename:
        for eg in examples:
            rename_labels(eg.predicted, rename)
    source = f"pipeline ({', '.join(pipes) or 'no components'})"
    if seconds is None:
        source = f"file {model}"
    tasks = _common_tasks(examples, spans_key, source)
    return Evaluation(
        model=model,
        pipes=pipes,
        data=data,
        split=split,
        documents=len(examples),
        tokens=sum(len(eg.reference) for eg in examples),
        seconds=seconds,
        spans_key=spans_key,
        scores={task.name: _report(examples, task) for task in tasks},
        versions=package_versions(),
        examples=examples,
    )


def package_versions() -> dict[str, str]:
    """Return the versions of Python and the packages that scores depend on."""
    return {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}


def describe_machine(threads: int | None = None) -> dict[str, Any]:
    """Describe the hardware, for speed measurements.

    threads (int | None): the number of threads; None for those of matrix products.
    RETURNS (dict[str, Any]): `cpu` (model name), `cores` (number of threads) and `gpu` (name, None
        without a GPU).
    """
    info = Path("/proc/cpuinfo")
    torch = sys.modules.get("torch")
    found = _CPU_NAME.search(info.read_text(encoding="utf8")) if info.exists() else None
    return {
        "cpu": found[1] if found else platform.processor() or platform.machine(),
        "cores": threads or max(pool["num_threads"] for pool in threadpool_info()),
        "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
    }


def _predict(
    nlp: Language, examples: Sequence[Example], batch_size: int | None
) -> tuple[list[Doc], float]:
    """Run the pipeline on the references' tokens. RETURNS: predictions, seconds."""
    warm_up = [bare_copy(nlp, eg) for eg in examples[:WARM_UP_DOCS]]
    docs = [bare_copy(nlp, eg) for eg in examples]
    for _ in nlp.pipe(warm_up, batch_size=batch_size):
        pass
    start = time.perf_counter()
    # `disable=None`: no progress bar if standard error is not a terminal.
    progress = tqdm(total=len(docs), unit="doc", disable=None)
    predictions = []
    with progress:
        for doc in nlp.pipe(docs, batch_size=batch_size):
            predictions.append(doc)
            progress.update()
    return predictions, time.perf_counter() - start


def bare_copy(nlp: Language, eg: Example) -> Doc:
    """Copy the input of an example without gold annotation.

    nlp (Language): the pipeline.
    eg (Example): the example.
    RETURNS (Doc): a Doc with the reference's tokens. It has the sentence boundaries of `predicted`
        if that Doc has the same tokens.
    """
    return copy_tokens(nlp.vocab, eg.reference, eg.predicted if same_words(eg) else None)


def _common_tasks(examples: Sequence[Example], spans_key: str, source: str) -> list[Task]:
    """Find the tasks annotated in both gold data and predictions. RAISES (ValueError): if none."""
    tasks = list_tasks(spans_key)
    # Recall is undefined without gold spans, so a task needs at least one.
    gold = [
        task
        for task in tasks
        if any(len(span) for eg in examples for span in task.stored(eg.reference))
    ]
    predicted = [task for task in tasks if any(task.is_annotated(eg.predicted) for eg in examples)]
    common = [task for task in gold if task in predicted]
    if not common:
        what = [
            " and ".join(task.name for task in side) or "nothing to score"
            for side in (gold, predicted)
        ]
        *names, last = (f"{task.name} ({task.place})" for task in tasks)
        raise DataError(
            f"The gold data contain {what[0]}, but the {source} predicts {what[1]}. Both must have "
            f"{', '.join(names)} or {last}: check the model, the data, the split and `spans_key`."
        )
    return common


def _report(examples: Sequence[Example], task: Task) -> SpanReport:
    docs = tag_examples(examples, task)
    default = count_tagged(docs)
    if task.per_token:
        # Both modes agree on spans of one token, and strict mode is slow.
        scores = Scorer.score_token_attr(examples, task.score_prefix)
        return SpanReport(default, default, scores[f"{task.score_prefix}_acc"])
    return SpanReport(default, count_tagged(docs, mode="strict"))


def macro_average(per_type: Mapping[str, Counts]) -> Average:
    """Average over labels with equal weights."""
    return _average(per_type, weights=None)


def weighted_average(per_type: Mapping[str, Counts]) -> Average:
    """Average over labels, weighted by the number of gold entities."""
    return _average(per_type, weights=[counts.gold for counts in per_type.values()])


def _average(per_type: Mapping[str, Counts], weights: list[int] | None) -> Average:
    rows = [(counts.precision, counts.recall, counts.f1) for counts in per_type.values()]
    precision, recall, f1 = (
        float(np.average(column, weights=weights)) for column in zip(*rows, strict=True)
    )
    return Average(precision, recall, f1, micro_counts(per_type).gold)


def _numbers(counts: Counts) -> dict[str, float]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "support": counts.gold,
        "predicted": counts.predicted,
        "correct": counts.correct,
    }
