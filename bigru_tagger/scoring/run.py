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
from ..files import beside
from .renaming import rename_labels
from .scoring import (
    TAGS,
    Counts,
    SpansKey,
    count_tagged,
    is_annotated,
    micro_counts,
    same_words,
    tag_examples,
)

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
    """Counts of entities or chunks per type, as seqeval reads them from IOB2 tags.

    default (dict[str, Counts]): in seqeval's default mode, which is conlleval's reading.
    strict (dict[str, Counts]): in its strict mode with the scheme IOB2.
    """

    default: dict[str, Counts]
    strict: dict[str, Counts]

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
    entities (SpanReport | None): `doc.ents`, `None` where the gold data have no entities or no
        component sets them. So, too, the other scores:
    chunks (SpanReport | None): `doc.spans[spans_key]`.
    tags (SpanReport | None): `token.tag`, each tagged token as an entity of one token.
    tag_accuracy (float | None): the share of right tags, as spaCy's scorer counts it.
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
    entities: SpanReport | None
    spans_key: str
    chunks: SpanReport | None
    tags: SpanReport | None
    tag_accuracy: float | None
    versions: dict[str, str]
    examples: tuple[Example, ...] = field(repr=False, compare=False)

    @property
    def words_per_second(self) -> float | None:
        """Tokens per second of `nlp.pipe`; `None` for a file of predictions."""
        return None if self.seconds is None else self.tokens / self.seconds

    @property
    def layers(self) -> dict[str, tuple[SpansKey, SpanReport]]:
        """What was scored: entities, chunks and tags, with the place where each is."""
        keys: dict[str, SpansKey] = {"entities": None, "chunks": self.spans_key, "tags": TAGS}
        reports = {name: getattr(self, name) for name in keys}
        return {name: (key, reports[name]) for name, key in keys.items() if reports[name]}

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
            "entities": self.entities.to_json() if self.entities else None,
            "spans_key": self.spans_key,
            "chunks": self.chunks.to_json() if self.chunks else None,
            "tags": self.tags.to_json() if self.tags else None,
            "tag_accuracy": self.tag_accuracy,
            "versions": self.versions,
        }


def evaluate(
    nlp: Language,
    examples: Iterable[Example],
    *,
    spans_key: str = "chunks",
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
    spans_key: str = "chunks",
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
    layers = _common_layers(examples, spans_key, source)
    tag_scores = Scorer.score_token_attr(examples, "tag") if "tags" in layers else {}
    return Evaluation(
        model=model,
        pipes=pipes,
        data=data,
        split=split,
        documents=len(references),
        tokens=sum(map(len, references)),
        seconds=seconds,
        entities=_report(examples) if "entities" in layers else None,
        spans_key=spans_key,
        chunks=_report(examples, spans_key) if "spans" in layers else None,
        tags=_report(examples, TAGS) if "tags" in layers else None,
        tag_accuracy=tag_scores.get("tag_acc"),
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


def _common_layers(examples: Sequence[Example], spans_key: str, source: str) -> set[str]:
    """Find what gold data and predictions both hold. RAISES (ValueError): nothing."""
    references = [eg.reference for eg in examples]
    predictions = [eg.predicted for eg in examples]
    predicted = {
        "entities": any(map(is_annotated, predictions)),
        "tags": any(is_annotated(doc, TAGS) for doc in predictions),
        "spans": any(is_annotated(doc, spans_key) for doc in predictions),
    }
    # Where no entity is gold, recall has no meaning: nothing but outside tags is no gold data.
    gold = {
        "entities": any(doc.ents for doc in references),
        "tags": any(is_annotated(doc, TAGS) for doc in references),
        "spans": any(doc.spans.get(spans_key) for doc in references),
    }
    held = [{layer for layer, present in side.items() if present} for side in (gold, predicted)]
    if not held[0] & held[1]:
        what = [" and ".join(sorted(layers)) or "nothing to score" for layers in held]
        raise ValueError(
            f"The gold data hold {what[0]}, the {source} gives {what[1]}. Both must hold entities "
            f"(doc.ents), tags (token.tag) or spans (doc.spans[{spans_key!r}]): check the model, "
            "the data and its split, and --spans-key."
        )
    return held[0] & held[1]


def _report(examples: Iterable[Example], spans_key: SpansKey = None) -> SpanReport:
    docs = tag_examples(examples, spans_key=spans_key)
    default = count_tagged(docs)
    # Of entities of one token each there are no two readings, and seqeval takes its time.
    return SpanReport(default, default if spans_key is TAGS else count_tagged(docs, mode="strict"))


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
    with beside(path) as place, place.open("w", encoding="utf-8", newline="\n") as file:
        yield file
