"""Run a pipeline over gold data, and count: seqeval's numbers and speed."""

import platform
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import starmap
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example
from tqdm import tqdm

from ..corpus.sentences import copy_tokens
from ..files import atomic_path
from ..tasks import CHUNKS, Task, list_tasks
from .renaming import rename_labels
from .scoring import Counts, count_tagged, micro_counts, same_words, tag_examples

WARM_UP_DOCS = 8  # enough to load kernels and fill first caches, too few to matter in time
DIGITS = 4
PACKAGES = ("bigru-tagger", "spacy", "thinc", "torch", "seqeval", "datasets", "numpy")
_CPU_NAME = re.compile(r"^model name\s*: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Average:
    """An average over types, by seqeval's definitions. Support is the number of gold entities."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class SpanReport:
    """Counts of a task per type, as seqeval reads them from IOB2 tags.

    default (dict[str, Counts]): in seqeval's default mode, which follows conlleval's rules.
    strict (dict[str, Counts]): in its strict mode with the scheme IOB2.
    accuracy (float | None): the share of right labels, as spaCy's scorer counts it, of a task that
        gives each token a label.
    """

    default: dict[str, Counts]
    strict: dict[str, Counts]
    accuracy: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Give all numbers per mode: `per_type`, and the micro, macro and weighted `averages`."""
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
    """The numbers of one evaluation.

    model, data, split (str): what was evaluated, in the caller's words.
    pipes (tuple[str, ...]): names of the components that ran; none for a file of predictions.
    documents, tokens (int): the size of the gold data.
    seconds (float | None): what `nlp.pipe` took over them, after a warm-up; `None` for a file of
        predictions.
    spans_key (str): where chunks are, in `doc.spans`.
    scores (dict[str, SpanReport]): by the name of the task, for those that both the gold data and
        the predictions hold.
    versions (dict[str, str]): of Python and of the packages that the numbers depend on.
    examples (tuple[Example, ...]): the predictions beside their references.
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
        """Tokens per second of `nlp.pipe`; `None` for a file of predictions."""
        return None if self.seconds is None else self.tokens / self.seconds

    @property
    def tasks(self) -> list[Task]:
        """What was scored, in the order of `TASKS`."""
        return [task for task in list_tasks(self.spans_key) if task.name in self.scores]

    def to_json(self) -> dict[str, Any]:
        """Give all numbers as JSON-serialisable values."""
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
    """Run a pipeline over gold data and score all that both of them hold.

    The pipeline gets new documents with the tokens of the references, so its tokeniser has no part
    in the scores, and the sentence starts that the examples' own documents have, if any. Nothing
    else, and so no gold annotation, can reach it.

    nlp (Language): the pipeline, with any components.
    examples (Iterable[Example]): the gold data: the references, and of `predicted` sentence starts.
    spans_key (str): where chunks are, in `doc.spans`.
    rename (Mapping[str, str] | None): other names of the labels that are predicted, "" for what
        is to count as no entity; those of the gold data stay.
    batch_size (int | None): documents per batch; `None` takes the pipeline's.
    model, data, split (str): names for the report; the model's defaults to the pipeline's own.
    RETURNS (Evaluation): the numbers and the predictions.
    RAISES (ValueError): there are no examples with tokens, or gold data and predictions have no
        annotation in common.
    """
    examples = list(examples)
    references = [eg.reference for eg in examples]
    if not any(map(len, references)):
        raise ValueError("There are no gold examples with tokens: check the data and the split.")
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
    """Score predictions, wherever they come from: what `evaluate` does once a pipeline has run.

    examples (Iterable[Example]): predictions beside their references.
    spans_key (str): where chunks are, in `doc.spans`.
    rename (Mapping[str, str] | None): see `evaluate`; the predictions are changed in place.
    model, data, split (str): names for the report.
    pipes (Iterable[str]): the components that predicted; none for a file of predictions.
    seconds (float | None): what they took, if that is known.
    RETURNS (Evaluation): the numbers.
    RAISES (ValueError): gold data and predictions have no annotation in common.
    """
    examples = tuple(examples)
    pipes = tuple(pipes)
    references = [eg.reference for eg in examples]
    if rename:
        for eg in examples:
            rename_labels(eg.predicted, rename, spans_key=spans_key)
    source = f"pipeline ({', '.join(pipes) or 'no components'})"
    if seconds is None:
        source = f"file {model}"
    tasks = _common_tasks(examples, spans_key, source)
    return Evaluation(
        model=model,
        pipes=pipes,
        data=data,
        split=split,
        documents=len(references),
        tokens=sum(map(len, references)),
        seconds=seconds,
        spans_key=spans_key,
        scores={task.name: _report(examples, task) for task in tasks},
        versions=package_versions(),
        examples=examples,
    )


def package_versions() -> dict[str, str]:
    """Name the versions of Python and of the packages that scores depend on."""
    return {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}


def describe_machine(threads: int | None = None) -> dict[str, Any]:
    """Name what numbers of speed depend on.

    threads (int | None): how many cores are used; `None` for as many as torch uses.
    RETURNS (dict[str, Any]): `cpu`, `cores` and `gpu`, which is `None` where there is none.
    """
    info = Path("/proc/cpuinfo")
    found = _CPU_NAME.search(info.read_text(encoding="utf8")) if info.exists() else None
    return {
        "cpu": found[1] if found else platform.processor() or platform.machine(),
        "cores": threads or torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _predict(
    nlp: Language, examples: Sequence[Example], batch_size: int | None
) -> tuple[list[Doc], float]:
    """Run the pipeline over the references' tokens. RETURNS: predictions, seconds."""
    warm_up = [bare_copy(nlp, eg) for eg in examples[:WARM_UP_DOCS]]
    docs = [bare_copy(nlp, eg) for eg in examples]
    for _ in nlp.pipe(warm_up, batch_size=batch_size):
        pass
    start = time.perf_counter()
    # `disable=None`: no bar where standard error is not a terminal.
    progress = tqdm(total=len(docs), unit="doc", disable=None)
    predictions = []
    with progress:
        for doc in nlp.pipe(docs, batch_size=batch_size):
            predictions.append(doc)
            progress.update()
    return predictions, time.perf_counter() - start


def bare_copy(nlp: Language, eg: Example) -> Doc:
    """Copy what a pipeline may know of an example, and no annotation by which it is judged.

    nlp (Language): the pipeline.
    eg (Example): the example.
    RETURNS (Doc): the reference's words, and the sentence starts of `predicted`, if it has any.
    """
    return copy_tokens(nlp.vocab, eg.reference, eg.predicted if same_words(eg) else None)


def _common_tasks(examples: Sequence[Example], spans_key: str, source: str) -> list[Task]:
    """Find what gold data and predictions both hold. RAISES (ValueError): nothing."""
    tasks = list_tasks(spans_key)
    # Where no entity is gold, recall has no meaning: nothing but outside tags is no gold data.
    gold = [task for task in tasks if any(task.stored(eg.reference) for eg in examples)]
    predicted = [task for task in tasks if any(task.is_annotated(eg.predicted) for eg in examples)]
    common = [task for task in gold if task in predicted]
    if not common:
        what = [
            " and ".join(task.name for task in side) or "nothing to score"
            for side in (gold, predicted)
        ]
        *names, last = (f"{task.name} ({task.place})" for task in tasks)
        raise ValueError(
            f"The gold data hold {what[0]}, the {source} gives {what[1]}. Both must hold "
            f"{', '.join(names)} or {last}: check the model, the data and its split, and "
            "--spans-key."
        )
    return common


def _report(examples: Sequence[Example], task: Task) -> SpanReport:
    docs = tag_examples(examples, task)
    default = count_tagged(docs)
    if task.per_token:
        # Both modes agree on spans of one token, and seqeval is slow in strict mode.
        scores = Scorer.score_token_attr(examples, task.score_prefix)
        return SpanReport(default, default, scores[f"{task.score_prefix}_acc"])
    return SpanReport(default, count_tagged(docs, mode="strict"))


def macro_average(per_type: Mapping[str, Counts]) -> Average:
    """Average over types, all with the same weight; see `Average`."""
    return _average(per_type, weights=None)


def weighted_average(per_type: Mapping[str, Counts]) -> Average:
    """Average over types, weighted by their gold entities; see `Average`."""
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


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a text file that takes the place of `path` once all is written.

    path (Path): the file to write or replace.
    YIELDS (TextIO): the open file.
    """
    with atomic_path(path) as place, place.open("w", encoding="utf-8", newline="\n") as file:
        yield file
