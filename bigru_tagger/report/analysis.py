"""The analysis of a task's predictions: all numbers of a report, without a layout."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from spacy.training import Example

from ..corpus.sentences import sentence_starts
from ..schemes import OUTSIDE
from ..scoring.run import Average, Evaluation, macro_average
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
from .surface_forms import (
    Confusion,
    SurfaceForm,
    find_surface_forms,
    frequent_confusions,
    inconsistent,
)

# JSON keeps the names of its keys.
_JSON_KINDS: dict[str, str] = {"missing": "missed", "spurious": "invented"}
_JSON_MUC: dict[str, str] = {"missing": "missed"}


@dataclass(frozen=True)
class ModeScores:
    """Scores in one mode of seqeval.

    per_type (list[Score]): of each type, sorted.
    micro, macro (Score): over all entities, and the mean over types.
    """

    per_type: list[Score]
    micro: Score
    macro: Score


@dataclass(frozen=True)
class Accuracy:
    """A share of tokens, and how far it could be off; see `Score`."""

    value: float
    correct: int
    tokens: int
    interval: Interval


@dataclass(frozen=True)
class Analysis:
    """All numbers of one task.

    task (Task): the task. "Entities" below are its spans; a tagged token is one of one token.
    documents (int): annotated documents, which intervals resample: those that the data tell, or
        else the Docs.
    sentences (int): sentences that the gold data tell of them; a Doc without any is one.
    default (ModeScores): in seqeval's default mode.
    strict (ModeScores | None): in its strict mode; `None` where both agree.
    accuracy (Accuracy): the share of tokens whose IOB2 tag is right, as seqeval counts it; of tags,
        without the tokens that have none.
    docs (list[MatchedDoc]): all entities, matched.
    kinds (dict[str, Counter[Kind]]): by type, of the gold entity or else of the prediction: how
        many matches are of each kind.
    beside (Counter[Kind]): of the missing and spurious ones, those that are the rest of a merge or
        split, see `matching.Match`.
    confusions (Counter[tuple[str | None, str | None]]): matches by gold and predicted type, `None`
        where that side has nothing.
    moved (Counter[tuple[str | None, str | None]]): of these, those with other boundaries.
    lengths, sentence_lengths (list[Score]): by tokens of the entity, and of its sentence.
    positions (list[Score] | None): by the sentence of the document; `None` where none has two.
    novelty (list[Score] | None): by what training has shown; only recall means anything. `None`
        without training data.
    training (Training | None): what training has shown.
    confidences (Confidences | None): `None` where no prediction has a probability.
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
    beside: Counter[Kind]
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
        """What the documents are: a "document" that the data tell, or a "Doc"."""
        return "Doc" if self.documents == len(self.docs) else "document"

    @property
    def all_kinds(self) -> Counter[Kind]:
        """Matches by kind, of all types."""
        return count_kinds(self.docs)

    @property
    def types(self) -> list[str]:
        """All types, those with the most gold entities first."""
        rows = sorted(self.default.per_type, key=lambda score: (-score.gold, score.name))
        return [score.name for score in rows]

    @property
    def frequent(self) -> list[Confusion]:
        """Errors that occur several times."""
        return frequent_confusions(self.docs)

    def divided(self, side: str) -> list[SurfaceForm]:
        """List the texts that have several types, see `surface_forms.inconsistent`."""
        return inconsistent(self.forms, side)

    def to_json(self) -> dict[str, Any]:
        """Give all numbers, but for single entities, as JSON-serialisable values."""
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
                schema: {_JSON_MUC.get(name, name): n for name, n in asdict(own).items()}
                for schema, own in self.muc.items()
            },
            "confusions": [
                {"gold": gold, "predicted": predicted, "count": n, "other_boundaries": moved}
                for (gold, predicted), n in sorted(self.confusions.items(), key=lambda c: -c[1])
                for moved in [self.moved[gold, predicted]]
            ],
            "by_length": [asdict(own) for own in self.lengths],
            "by_sentence_length": [asdict(own) for own in self.sentence_lengths],
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

    evaluation (Evaluation): predictions beside their references, and seqeval's numbers of them.
    task (Task): one that the evaluation has scored.
    confidence (Iterable[str]): see `Task.probabilities`.
    training (Training | None): what the training data have shown.
    document_lengths (Sequence[int] | None): tokens of each document; `None` for the Docs.
    RETURNS (Analysis): the numbers.
    RAISES (ValueError): the documents have not as many tokens as the gold data.
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
    of_docs = _number_documents(evaluation.examples, document_lengths)
    _, documents = np.unique(of_docs[[doc.number - 1 for doc in docs]], return_inverse=True)
    n_documents = int(documents.max()) + 1
    by_type, confusions, moved, beside = _count_matches(docs)
    agree = report.default == report.strict
    return Analysis(
        task=task,
        documents=n_documents,
        sentences=sentences,
        default=_mode_scores(report.default, tagged, documents, "default"),
        strict=None if agree else _mode_scores(report.strict, tagged, documents, "strict"),
        accuracy=_accuracy(tagged, documents, outside=not task.per_token),
        docs=docs,
        kinds=by_type,
        beside=beside,
        confusions=confusions,
        moved=moved,
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
    """Analyse the predictions of all tasks that are scored.

    evaluation (Evaluation): see `analyse`.
    confidence (Iterable[str]): see `analyse`.
    training (Sequence[Example] | None): the training data, if they are given.
    document_lengths (Sequence[int] | None): see `analyse`.
    RETURNS (list[Analysis]): in the order of `TASKS`.
    RAISES (ValueError): the training data have no annotation of a task; or see `analyse`.
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


def _number_documents(examples: Sequence[Example], lengths: Sequence[int] | None) -> np.ndarray:
    """Tell which document each Doc is of. RETURNS: its number, int64 (n_docs,)."""
    doc_ends = np.cumsum([len(eg.reference) for eg in examples])
    return np.searchsorted(document_ends([doc_ends.tolist()], lengths), doc_ends)


def _sentences_before(examples: Sequence[Example], documents: np.ndarray) -> list[int]:
    """Count the sentences of a document before each of its Docs."""
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
    average: Average = macro_average(per_type)
    return ModeScores(
        scores_of(labels, counts),
        score_of("micro", micro_counts(per_type), of_micro),
        Score(
            "macro",
            average.precision,
            average.recall,
            average.f1,
            average.support,
            None,
            None,
            of_macro,
        ),
    )


def _accuracy(tagged: Sequence[TaggedDoc], documents: np.ndarray, *, outside: bool) -> Accuracy:
    pairs = []
    for doc in tagged:
        tags = [
            (gold, predicted)
            for gold, predicted in zip(doc.gold, doc.predicted, strict=True)
            if outside or (gold, predicted) != (OUTSIDE, OUTSIDE)
        ]
        pairs.append((sum(gold == predicted for gold, predicted in tags), len(tags)))
    correct, tokens = (sum(column) for column in zip(*pairs, strict=True))
    # Of gold and predicted tags there are as many, so the share of correct ones is their recall.
    counts = sum_documents(np.array([[[n, n, own]] for own, n in pairs]), documents)
    (intervals,) = intervals_of(counts, micro, 1)
    return Accuracy(correct / tokens, correct, tokens, intervals[1])


def _slices(
    docs: Sequence[MatchedDoc], documents: np.ndarray, names: Sequence[str], slice_of: Slice
) -> list[Score]:
    return scores_of(names, sum_documents(count_slices(docs, len(names), slice_of), documents))


def _novelty(docs: Sequence[MatchedDoc], documents: np.ndarray, training: Training) -> list[Score]:
    # To say of a prediction that it is new tells nothing of the gold data.
    return [own for own in _slices(docs, documents, NOVELTY, by_novelty(training)) if own.gold]


def _count_matches(
    docs: Iterable[MatchedDoc],
) -> tuple[
    dict[str, Counter[Kind]],
    Counter[tuple[str | None, str | None]],
    Counter[tuple[str | None, str | None]],
    Counter[Kind],
]:
    by_type: dict[str, Counter[Kind]] = {}
    confusions: Counter[tuple[str | None, str | None]] = Counter()
    moved: Counter[tuple[str | None, str | None]] = Counter()
    beside: Counter[Kind] = Counter()
    for match in (match for doc in docs for match in doc.matches):
        gold, predicted = (
            None if side is None else side.label for side in (match.gold, match.predicted)
        )
        of_both = [by_type.setdefault(label, Counter()) for label in (gold, predicted) if label]
        of_both[0][match.kind] += 1
        confusions[gold, predicted] += 1
        moved[gold, predicted] += "boundaries" in match.kind
        beside[match.kind] += match.beside
    return by_type, confusions, moved, beside


def _dicts(scores: list[Score] | None) -> list[dict[str, Any]] | None:
    return None if scores is None else [asdict(own) for own in scores]
