"""Emissions to tags: the best legal tag sequence, and the probability of each entity in it.

A sequence's score is the sum of its emissions, and of its transitions. Transitions that the tag
scheme forbids score minus infinity, so no illegal sequence can win or hold any probability. All
functions work on many sequences at once and take time linear in the number of tokens; sequences
lie in one array, one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Probabilities below this count as this much, so that a sequence whose legal readings are all
# very unlikely can still be normalised.
_SMALLEST = 1e-100

# Emissions below this count as this much, so that transitions stay the only thing that forbids: of
# readings that the emissions all rule out, the best is still legal.
_LOWEST = -1e12


@dataclass(frozen=True, eq=False)
class Transitions:
    """Scores of going from tag to tag, in log space; minus infinity forbids.

    between (ndarray): score of tag j right after tag i, float64 (n_tags, n_tags).
    first (ndarray): score of a sequence's first tag, float64 (n_tags,).
    last (ndarray): score of a sequence's last tag, float64 (n_tags,).
    """

    between: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def free(cls, n_tags: int) -> "Transitions":
        """Allow all tag sequences, for tags that do not depend on one another.

        n_tags (int): number of tags.
        RETURNS (Transitions): zeros.
        """
        return cls(np.zeros((n_tags, n_tags)), np.zeros(n_tags), np.zeros(n_tags))

    @classmethod
    def biluo(cls, tags: Sequence[str]) -> "Transitions":
        """Allow the legal sequences of the BILUO scheme (IOBES with other letters), and no more.

        tags (Sequence[str]): O, and for each label B-label, I-label, L-label and U-label.
        RETURNS (Transitions): zero where legal, minus infinity elsewhere.
        """
        legal = np.array([[_may_follow(tag, following) for following in tags] for tag in tags])
        first = np.array([_may_follow("O", tag) for tag in tags])
        last = np.array([_may_follow(tag, "O") for tag in tags])
        return cls(*(np.where(allowed, 0.0, -np.inf) for allowed in (legal, first, last)))


def _may_follow(tag: str, following: str) -> bool:
    if tag[0] in "BI":  # an open entity goes on, or ends, with the same label
        return following[0] in "IL" and following[1:] == tag[1:]
    return following[0] in "OBU"


class _Steps:
    """The tokens of a batch by time step, so that each step handles all its sequences at once.

    Sequences are ordered by length, longest first; at each step, those still running come first.
    """

    def __init__(self, lengths: np.ndarray) -> None:
        starts = lengths.cumsum() - lengths
        by_length = np.argsort(-lengths, kind="stable")
        self.starts = starts[by_length]
        self.ends = self.starts + lengths[by_length]
        ascending = np.sort(lengths)
        n_steps = int(lengths.max(initial=0))
        self.counts = len(lengths) - np.searchsorted(ascending, np.arange(n_steps), side="right")

    def __iter__(self) -> "zip[tuple[int, np.ndarray]]":
        tokens = (self.starts[:count] + step for step, count in enumerate(self.counts))
        return zip(range(len(self.counts)), tokens, strict=True)


def decode(emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions) -> np.ndarray:
    """Find the best tag sequences.

    emissions (ndarray): log scores, not necessarily normalised, float (n_tokens, n_tags).
    lengths (ndarray): tokens of each sequence, zeros allowed, int (n_sequences,).
    transitions (Transitions): scores of tag pairs.
    RETURNS (ndarray): tag of each token, int64 (n_tokens,). Viterbi 1967.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    tags = emissions.argmax(1) if len(emissions) else np.zeros(0, dtype=np.int64)
    # Where transitions only forbid, the best tags of all are the answer if they happen to be
    # legal, which in a trained model most are; only the other sequences need the full search.
    again = _sequences_to_search(tags, lengths, transitions)
    if again.any():
        tokens = np.repeat(again, lengths)
        tags[tokens] = _viterbi(emissions[tokens], lengths[again], transitions)
    return tags


def _sequences_to_search(
    tags: np.ndarray, lengths: np.ndarray, transitions: Transitions
) -> np.ndarray:
    nonempty = lengths > 0
    scores = (transitions.between, transitions.first, transitions.last)
    if any((table[np.isfinite(table)] != 0.0).any() for table in scores):
        return nonempty
    ends = lengths.cumsum()
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    illegal = np.zeros(len(lengths), dtype=bool)
    inner = np.flatnonzero(sequence[1:] == sequence[:-1])
    broken = transitions.between[tags[inner], tags[inner + 1]] < 0.0
    illegal[sequence[inner[broken]]] = True
    illegal[nonempty] |= transitions.first[tags[(ends - lengths)[nonempty]]] < 0.0
    illegal[nonempty] |= transitions.last[tags[ends[nonempty] - 1]] < 0.0
    return illegal


def _viterbi(emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions) -> np.ndarray:
    steps = _Steps(lengths)
    emissions = np.maximum(emissions, _LOWEST)
    n_tags = emissions.shape[1]
    into = np.ascontiguousarray(transitions.between.T)  # (to, from)
    best_previous = np.zeros((len(emissions), n_tags), dtype=np.int32)
    last_tag = np.zeros(len(lengths), dtype=np.int64)
    scores = np.zeros((len(lengths), n_tags))
    for step, tokens in steps:
        if step == 0:
            scores = transitions.first + emissions[tokens]
            continue
        ended = slice(len(tokens), len(scores))
        last_tag[ended] = (scores[ended] + transitions.last).argmax(1)
        candidates = scores[: len(tokens), None, :] + into  # (n_sequences, to, from)
        best = candidates.argmax(2)
        best_previous[tokens] = best
        highest = np.take_along_axis(candidates, best[:, :, None], 2)[:, :, 0]
        scores = highest + emissions[tokens]
    last_tag[: len(scores)] = (scores + transitions.last).argmax(1)
    tags = np.zeros(len(emissions), dtype=np.int64)
    current = last_tag
    for step in range(len(steps.counts) - 1, -1, -1):
        count = steps.counts[step]
        tokens = steps.starts[:count] + step
        following = steps.counts[step + 1] if step + 1 < len(steps.counts) else 0
        current[:following] = best_previous[tokens[:following] + 1, current[:following]]
        tags[tokens] = current[:count]
    return tags


def span_probabilities(
    emissions: np.ndarray,
    lengths: np.ndarray,
    transitions: Transitions,
    spans: np.ndarray,
    tags: np.ndarray,
) -> np.ndarray:
    """Compute the probability that all tokens of a span have given tags.

    That is the share of the sequences with these tags among all sequences, by their exponentiated
    scores: the marginal of the span, by the forward-backward algorithm. In the BILUO scheme, the
    tags of an entity's tokens say exactly that there is this entity, so this is the entity's
    probability.

    emissions (ndarray): log scores, not necessarily normalised, float (n_tokens, n_tags).
    lengths (ndarray): tokens of each sequence, zeros allowed, int (n_sequences,).
    transitions (Transitions): scores of tag pairs.
    spans (ndarray): first token and token behind the last, as rows of `emissions`, each span
        within one sequence, int (n_spans, 2).
    tags (ndarray): tag of each token, as rows of `emissions`, int (n_tokens,).
    RETURNS (ndarray): probabilities, float64 (n_spans,). Rabiner 1989, with his scaling.
    """
    if not len(spans):
        return np.zeros(0)
    steps = _Steps(np.asarray(lengths, dtype=np.int64))
    shifted = emissions.astype(np.float64) - emissions.max(1, keepdims=True)
    potentials = np.maximum(np.exp(shifted), _SMALLEST)  # (n_tokens, n_tags)
    between, first, last = (
        np.exp(table) for table in (transitions.between, transitions.first, transitions.last)
    )
    # forward[t, y]: probability of y at t given all up to t; scale[t]: what normalised it.
    # entering[t, y]: the mass that reaches y at t, before the emission of t.
    entering = np.empty_like(potentials)
    forward = np.empty_like(potentials)
    scale = np.empty(len(potentials))
    for step, tokens in steps:
        entering[tokens] = forward[tokens - 1] @ between if step else first
        forward[tokens] = entering[tokens] * potentials[tokens]
        scale[tokens] = forward[tokens].sum(1)
        forward[tokens] /= scale[tokens, None]
    # backward[t, y]: the mass of all ways on from y at t, in the units of the scales behind t.
    backward = np.empty_like(potentials)
    final = steps.ends[steps.ends > steps.starts] - 1
    backward[final] = last / (forward[final] @ last)[:, None]
    for step in range(len(steps.counts) - 2, -1, -1):
        following = steps.starts[: steps.counts[step + 1]] + step + 1
        ahead = potentials[following] * backward[following] / scale[following, None]
        backward[following - 1] = ahead @ between.T
    rows = np.arange(len(tags))
    own = np.log(potentials[rows, tags]) - np.log(scale)
    inner = np.zeros(len(tags))
    inner[1:] = transitions.between[tags[:-1], tags[1:]]
    begin, end = spans[:, 0], spans[:, 1] - 1
    # Sums over the tokens of a span, as differences of running sums; a transition counts from
    # the span's second token on.
    own_sum = own.cumsum()
    forbidden = np.isneginf(inner)
    inner_sum = np.where(forbidden, 0.0, inner).cumsum()
    forbidden_sum = forbidden.cumsum()
    total = own_sum[end] - own_sum[begin] + own[begin] + inner_sum[end] - inner_sum[begin]
    total[forbidden_sum[end] > forbidden_sum[begin]] = -np.inf
    with np.errstate(divide="ignore"):
        total += np.log(entering[begin, tags[begin]]) + np.log(backward[end, tags[end]])
    probabilities: np.ndarray = np.exp(total).clip(0.0, 1.0)
    return probabilities
