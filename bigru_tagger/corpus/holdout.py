"""Hold out documents as development data."""

import random
from collections import Counter
from collections.abc import Hashable, Sequence, Set
from itertools import pairwise
from math import sqrt

from spacy.tokens import Doc

from ..errors import ConfigError, DataError
from ..tasks import annotated_tasks


def hold_out(docs: Sequence[Doc], share: float, seed: int = 0) -> tuple[list[Doc], list[Doc]]:
    """Divide Docs into training and development data, with similar labels in both.

    This is systematic sampling: Docs are sorted by their rarest label, in random order for each
    label, and taken at regular intervals. Docs stay whole. Every label of spans stays in the
    training data: a Doc is not held out if it is the last Doc there with one of its labels.

    docs (Sequence[Doc]): gold Docs.
    share (float): the share of the Docs to hold out, above 0 and below 1. At least one is held out.
    seed (int): the seed of the random order.
    RETURNS (tuple[list[Doc], list[Doc]]): training and development data, in the order of `docs`.
    RAISES (ValueError): `share` is not between 0 and 1, or fewer than two Docs can be divided.
    """
    if not 0 < share < 1:
        raise ConfigError(f"the share of development data must be between 0 and 1, not {share}")
    labels = [_labels(doc) for doc in docs]
    n_docs = Counter(label for found in labels for label in found)
    rarest = [
        min(((n_docs[label], str(label)) for label in found), default=None) for found in labels
    ]
    movable = [i for i, rare in enumerate(rarest) if rare is None or rare[0] > 1]
    if len(docs) < 2 or not movable:
        raise DataError(
            f"no document of {len(docs)} can be held out as development data without removing a "
            "label from the training data: annotate more documents, or set development data"
        )
    random.Random(seed).shuffle(movable)
    movable.sort(key=lambda i: rarest[i] or (len(docs) + 1, ""))  # stable: keeps the random order
    n_dev = min(max(1, round(share * len(docs))), len(movable), len(docs) - 1)
    step = len(movable) / n_dev
    held_out = set()
    for position in range(n_dev):
        chosen = movable[int((position + 0.5) * step)]
        if all(n_docs[label] > 1 for label in labels[chosen]):
            held_out.add(chosen)
            n_docs.subtract(labels[chosen])
    return (
        [doc for i, doc in enumerate(docs) if i not in held_out],
        [doc for i, doc in enumerate(docs) if i in held_out],
    )


def _labels(doc: Doc) -> Set[Hashable]:
    return {
        (task.name, span.label_)
        for task in annotated_tasks(doc)
        if not task.per_token
        for span in task.stored(doc)
    }


def are_in_order(sentences: Sequence[Sequence[str]], *, window: int = 16) -> bool:
    """Estimate whether neighbouring sentences belong together, or are in random order.

    In a text, a rare word often comes again a few sentences later. This compares how often that
    happens with its expectation for a random order.

    sentences (Sequence[Sequence[str]]): the words of each sentence.
    window (int): how many sentences are near.
    RETURNS (bool): whether words come again at least four times as often as expected, from at least
        20 occurrences.
    """
    n = len(sentences)
    places: dict[str, list[int]] = {}
    for position, words in enumerate(sentences):
        for word in set(words):
            places.setdefault(word, []).append(position)
    near = 0
    expected = 0.0
    for found in places.values():
        if 2 <= len(found) <= max(2, sqrt(n) / 2):
            near += sum(right - left <= window for left, right in pairwise(found))
            further = len(found) - 1
            expected += further * (1 - (1 - min(window / n, 1)) ** further)
    return near >= 20 and near >= 4 * expected
