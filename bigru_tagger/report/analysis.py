"""Analyse the predictions of a task: all numbers of a report, without a layout."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from spacy.training import Example

from ..corpus.sentences import sentence_starts
from ..scoring.run import Evaluation, macro_average
from ..scoring.scoring import (
    Counts,
    Mode,
    TaggedDoc,
    count_documents,
    micro_counts,
    tag_examples,
)
from ..tasks import ENTITIES, Task
from .calibration import Confidences, measure_confidences
from .matching import (
    ERROR_KINDS,
    Kind,
    Match,
    MatchedDoc,
    MucCounts,
    Schema,
    count_kinds,
    match_example,
    muc_counts,
)
from .resampling import document_ends, macro, micro, sum_documents
from .slices import (
    LENGTHS,
    NOVELTY,
    SENTENCE_LENGTHS,
    SENTENCE_NUMBERS,
    Interval,
    Score,
    Slice,
    Training,
    by_length,
    by_novelty,
    by_sentence_length,
    by_sentence_number,
    count_slices,
    intervals_of,
    range_names,
    read_training,
    score_of,
    scores_of,
)
from .surface_forms import Confusion, SurfaceForm, find_surface_forms, frequent_confusions

# The keys of the JSON keep their first names, so that its readers keep working.
_JSON_KINDS: dict[str, str] = {"missing": "missed", "spurious": "invented"}
_JSON_MUC: dict[str, str] = {"missing": "missed"}


@dataclass(frozen=True)
class ModeScores:
    """Scores in one of seqeval's modes.

    per_type (list[Score]): the scores of each type, sorted by name.
    micro (Score): the scores over the entities of all types.
    macro (Score): the mean over types.
    """

    per_type: list[Score]
    micro: Score
    macro: Score

    @property
    def by_support(self) -> list[Score]:
        """The scores of each type, by falling number of gold entities."""
        return sorted(self.per_type, key=lambda score: (-score.gold, score.name))


@dataclass(frozen=True)
class Accuracy:
    """Token accuracy.

    value (float): correct / tokens, from 0 to 1.
    correct (int): tokens with the correct tag.
    tokens (int): all tokens that count.
    interval (Interval): the 95 % interval of the value, see `Score`.
    """

    value: float
    correct: int
    tokens: int
    interval: Interval


@dataclass(frozen=True)
class Analysis:
    """All numbers of one task.

    task (Task): the task. Below, "entities" are the spans of the task. A tagged token counts as an
        entity of one token.
    documents (int): annotated documents, the units that intervals resample. These are the documents
        that the data mark, or the Docs if the data mark none.
    sentences (int): sentences in these documents. A Doc without sentence boundaries counts as one.
    default (ModeScores): scores in seqeval's default mode.
    strict (ModeScores | None): scores in seqeval's strict mode; `None` where both modes agree.
    accuracy (Accuracy): the share of tokens with the correct IOB2 tag, as seqeval counts it. Tokens
        without gold annotation do not count.
    docs (list[MatchedDoc]): all entities, matched.
    kinds (dict[str, Counter[Kind]]): number of matches of each kind, by the type of the gold entity
        or, if there is none, of the prediction.
    remainders (Counter[Kind]): missing and spurious entities that remain from a merge or a split,
        see `matching.Match`.
    confusions (Counter[tuple[str | None, str | None]]): number of matches by gold and predicted
        type; `None` where that side has no entity.
    moved (Counter[tuple[str | None, str | None]]): those of these matches whose boundaries differ.
    lengths (list[Score]): scores by the number of tokens of the entity.
    sentence_lengths (list[Score]): scores by the number of tokens of the entity's sentence.
    positions (list[Score] | None): scores by the position of the sentence in its document; `None`
        where no document has two sentences.
    novelty (list[Score] | None): scores by what occurs in the training data. Only recall is
        meaningful. `None` without training data.
    training (Training | None): what occurs in the training data.
    confidences (Confidences | None): calibration; `None` where no prediction has a probability.
    forms (list[SurfaceForm]): how often each text has which type.
    """

    task: Task
    documents: int
    sentences: int
    default: ModeScores
    strict: ModeScores | None
    accuracy: Accuracy
    docs: list[MatchedDoc]
    kinds: dict[str, Counter[Kind]]
    remainders: Counter[Kind]
    confusions: Counter[tuple[str | None, str | None]]
    moved: Counter[tuple[str | None, str | None]]
    lengths: list[Score]
    sentence_lengths: list[Score]
    positions: list[Score] | None
    novelty: list[Score] | None
    training: Training | None
    confidences: Confidences | None
    forms: list[SurfaceForm]

    @property
    def unit(self) -> str:
        """What is resampled: "Doc" if each document is one Doc, "document" otherwise."""
        return "Doc" if self.documents == len(self.docs) else "document"

    @property
    def all_kinds(self) -> Counter[Kind]:
        """Matches by kind, of all types."""
        return count_kinds(self.docs)

    @property
    def types(self) -> list[str]:
        """All types, by falling number of gold entities."""
        return [score.name for score in self.default.by_support]

    @property
    def frequent(self) -> list[Confusion]:
        """Errors that occur at least twice."""
        return frequent_confusions(self.docs)

    def to_json(self) -> dict[str, Any]:
        """Return all numbers as JSON-serialisable values, without single entities."""
        return {
            "documents": self.documents,
            "docs": len(self.docs),
            "sentences": self.sentences,
            "default": asdict(self.default),
            "strict": asdict(self.strict or self.default),
            "token_accuracy": asdict(self.accuracy),
            "kinds": {
                label: {
                    _JSON_KINDS.get(kind, kind): kinds[kind] for kind in ("correct", *ERROR_KINDS)
                }
                for label, kinds in self.kinds.items()
            },
            "muc": {
                schema: {_JSON_MUC.get(name, name): n for name, n in asdict(counts).items()}
                for schema, counts in self.muc.items()
            },
            "confusions": [
                {"gold": gold, "predicted": predicted, "count": n, "other_boundaries": moved}
                for (gold, predicted), n in sorted(self.confusions.items(), key=lambda c: -c[1])
                for moved in [self.moved[gold, predicted]]
            ],
            "by_length": [asdict(score) for score in self.lengths],
            "by_sentence_length": [asdict(score) for score in self.sentence_lengths],
            "by_sentence_number": _dicts(self.positions),
            "by_novelty": _dicts(self.novelty),
            "confidence": self.confidences and self.confidences.to_json(),
        }

    @property
    def muc(self) -> dict[Schema, MucCounts]:
        """The five categories of MUC-5 by schema, see `matching.muc_counts`."""
        return muc_counts(self.all_kinds)


def analyse(
    evaluation: Evaluation,
    task: Task = ENTITIES,
    *,
    confidence: Iterable[str] = (),
    training: Training | None = None,
    document_lengths: Sequence[int] | None = None,
) -> Analysis:
    """Analyse the predictions of one task.

    evaluation (Evaluation): predictions with their references, and seqeval's scores.
    task (Task): a task that the evaluation has scored.
    confidence (Iterable[str]): see `Task.probabilities`.
    training (Training | None): what occurs in the training data.
    document_lengths (Sequence[int] | None): number of tokens of each document; `None` to
        take each Doc as a document.
    RETURNS (Analysis): the numbers.
    RAISES (ValueError): the documents and the gold data differ in their number of tokens.
    """
    report = evaluation.scores[task.name]
    names = tuple(confidence)
    tagged = tag_examples(evaluation.examples, task)
    matched = (
        match_example(eg, task, confidence=names, number=number)
        for number, eg in enumerate(evaluation.examples, start=1)
    )
    docs = [doc for doc in matched if doc is not None]
    sentences = sum(len(doc.starts) for doc in docs)
    of_docs = number_documents(evaluation.examples, document_lengths)
    _, documents = np.unique(of_docs[[doc.number - 1 for doc in docs]], return_inverse=True)
    n_documents = int(documents.max()) + 1
    matches = [match for doc in docs for match in doc.matches]
    agree = report.default == report.strict
    return Analysis(
        task=task,
        documents=n_documents,
        sentences=sentences,
        default=_mode_scores(report.default, tagged, documents, "default"),
        strict=None if agree else _mode_scores(report.strict, tagged, documents, "strict"),
        accuracy=_accuracy(tagged, docs, documents),
        docs=docs,
        kinds=_kinds_by_type(matches),
        remainders=Counter(match.kind for match in matches if match.remainder),
        confusions=Counter(match.types for match in matches),
        moved=Counter(match.types for match in matches if "boundaries" in match.kind),
        lengths=_slices(docs, documents, range_names(LENGTHS), by_length),
        sentence_lengths=_slices(
            docs, documents, range_names(SENTENCE_LENGTHS), by_sentence_length
        ),
        positions=_slices(
            docs,
            documents,
            range_names(SENTENCE_NUMBERS),
            by_sentence_number(_sentences_before(evaluation.examples, of_docs)),
        )
        if sentences > n_documents
        else None,
        novelty=None if training is None else _novelty(docs, documents, training),
        training=training,
        confidences=measure_confidences(docs),
        forms=find_surface_forms(docs),
    )


def analyse_tasks(
    evaluation: Evaluation,
    *,
    confidence: Iterable[str] = (),
    training: Sequence[Example] | None = None,
    document_lengths: Sequence[int] | None = None,
) -> list[Analysis]:
    """Analyse the predictions of all tasks that the evaluation has scored.

    evaluation (Evaluation): see `analyse`.
    confidence (Iterable[str]): see `analyse`.
    training (Sequence[Example] | None): the training data; `None` if there are none.
    document_lengths (Sequence[int] | None): see `analyse`.
    RETURNS (list[Analysis]): one analysis per task, in the order of `TASKS`.
    RAISES (ValueError): the training data have no annotation for one of the tasks; or see
        `analyse`.
    """
    names = tuple(confidence)
    return [
        analyse(
            evaluation,
            task,
            confidence=names,
            training=None if training is None else read_training(training, task),
            document_lengths=document_lengths,
        )
        for task in evaluation.tasks
    ]


def number_documents(examples: Sequence[Example], lengths: Sequence[int] | None) -> np.ndarray:
    """Find the document of each Doc.

    examples (Sequence[Example]): the Docs, in the order of the data.
    lengths (Sequence[int] | None): see `document_ends`.
    RETURNS (ndarray): document numbers from 0, int64 (n_docs,).
    RAISES (ValueError): see `document_ends`.
    """
    doc_ends = np.cumsum([len(eg.reference) for eg in examples])
    return np.searchsorted(document_ends([doc_ends.tolist()], lengths), doc_ends)


def _sentences_before(examples: Sequence[Example], documents: np.ndarray) -> list[int]:
    """For each Doc, count the sentences of its document that come before it."""
    before: list[int] = []
    seen: Counter[int] = Counter()
    for eg, document in zip(examples, documents.tolist(), strict=True):
        before.append(seen[document])
        seen[document] += len(sentence_starts(eg.reference))
    return before


def _mode_scores(
    per_type: dict[str, Counts], tagged: Sequence[TaggedDoc], documents: np.ndarray, mode: Mode
) -> ModeScores:
    labels = list(per_type)
    counts = sum_documents(count_documents(tagged, labels, mode=mode), documents)

    def averages(sums: np.ndarray) -> np.ndarray:
        return np.stack([micro(sums), macro(sums)], -2)

    of_micro, of_macro = intervals_of(counts, averages, 2)
    mean = macro_average(per_type)
    return ModeScores(
        scores_of(labels, counts),
        score_of("micro", micro_counts(per_type), of_micro),
        Score("macro", mean.precision, mean.recall, mean.f1, mean.support, None, None, of_macro),
    )


def _accuracy(
    tagged: Sequence[TaggedDoc], docs: Sequence[MatchedDoc], documents: np.ndarray
) -> Accuracy:
    pairs = []
    for tags, doc in zip(tagged, docs, strict=True):
        same = [
            gold == predicted
            for i, (gold, predicted) in enumerate(zip(tags.gold, tags.predicted, strict=True))
            if i not in doc.unknown
        ]
        pairs.append((sum(same), len(same)))
    correct, tokens = (sum(column) for column in zip(*pairs, strict=True))
    # There are as many gold as predicted tags, so recall equals the share of correct tags.
    counts = sum_documents(np.array([[[n, n, same]] for same, n in pairs]), documents)
    (intervals,) = intervals_of(counts, micro, 1)
    return Accuracy(correct / tokens, correct, tokens, intervals[1])


def _slices(
    docs: Sequence[MatchedDoc], documents: np.ndarray, names: Sequence[str], slice_of: Slice
) -> list[Score]:
    return scores_of(names, sum_documents(count_slices(docs, len(names), slice_of), documents))


def _novelty(docs: Sequence[MatchedDoc], documents: np.ndarray, training: Training) -> list[Score]:
    # Slices with predictions only are left out: recall is undefined there.
    scores = _slices(docs, documents, NOVELTY, by_novelty(training))
    return [score for score in scores if score.gold]


def _kinds_by_type(matches: Iterable[Match]) -> dict[str, Counter[Kind]]:
    # All types have a key, also if they are only predicted, and for gold entities of other types.
    by_type: dict[str, Counter[Kind]] = {}
    for match in matches:
        of_types = [by_type.setdefault(label, Counter()) for label in match.types if label]
        of_types[0][match.kind] += 1
    return by_type


def _dicts(scores: list[Score] | None) -> list[dict[str, Any]] | None:
    return None if scores is None else [asdict(score) for score in scores]
