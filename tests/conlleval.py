"""An implementation of conlleval.pl, written from its published rules.

The rules are those of the CoNLL-2000 shared task (Tjong Kim Sang and Buchholz 2000; the script's
revision of 1998-12-22 and later): whether a chunk starts or ends between two tokens depends only on
their two tags. The code is independent of seqeval, so that tests can compare the two.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

# Pairs of prefixes (previous, next) between which a chunk always ends or starts.
ENDS = {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O")}
STARTS = {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I")}


@dataclass
class Result:
    gold: Counter[str] = field(default_factory=Counter)
    predicted: Counter[str] = field(default_factory=Counter)
    correct: Counter[str] = field(default_factory=Counter)
    tokens: int = 0

    def prf(self, label: str | None = None) -> tuple[float, float, float]:
        gold, predicted, correct = (
            counter.total() if label is None else counter[label]
            for counter in (self.gold, self.predicted, self.correct)
        )
        precision = correct / predicted if predicted else 0.0
        recall = correct / gold if gold else 0.0
        total = precision + recall
        return precision, recall, 2 * precision * recall / total if total else 0.0


def conlleval(lines: Iterable[str]) -> Result:
    """Score lines with the gold and the predicted tag in the last two columns."""
    result = Result()
    before = ("O", ""), ("O", "")
    in_correct = False
    for line in [*lines, ""]:
        columns = line.split()
        if columns and columns[0] != "-X-":
            result.tokens += 1
            after = _split(columns[-2]), _split(columns[-1])
        else:
            after = ("O", ""), ("O", "")
        gold_ends, predicted_ends = (_ends(b, a) for b, a in zip(before, after, strict=True))
        gold_starts, predicted_starts = (_starts(b, a) for b, a in zip(before, after, strict=True))
        gold_type, predicted_type = after[0][1], after[1][1]
        if in_correct and gold_ends and predicted_ends and before[0][1] == before[1][1]:
            in_correct = False
            result.correct[before[0][1]] += 1
        elif in_correct and (gold_ends != predicted_ends or gold_type != predicted_type):
            in_correct = False
        if gold_starts and predicted_starts and gold_type == predicted_type:
            in_correct = True
        result.gold[gold_type] += gold_starts
        result.predicted[predicted_type] += predicted_starts
        before = after
    return result


def _split(tag: str) -> tuple[str, str]:
    prefix, _, label = tag.partition("-")
    return prefix, label


def _ends(before: tuple[str, str], after: tuple[str, str]) -> bool:
    return (before[0], after[0]) in ENDS or (before[0] != "O" and before[1] != after[1])


def _starts(before: tuple[str, str], after: tuple[str, str]) -> bool:
    return (before[0], after[0]) in STARTS or (after[0] != "O" and before[1] != after[1])
