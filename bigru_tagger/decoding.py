"""Emissions to tags: the best legal tag sequence, and the probability of entities and of tags.

A sequence's score is the sum of its emissions, and of its transitions. Transitions that the tag
scheme forbids score minus infinity, so no illegal sequence can win or hold any probability. All
functions work on many sequences at once and take time linear in the number of tokens; sequences
lie in one array, one after the other.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

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
    So a step's tokens follow, one by one, the first of the tokens of the step before.

    order (ndarray): the token at each place of this order, int64 (n_tokens,).
    place (ndarray): the place of each token, int64 (n_tokens,).
    slices (list[slice]): the places of each step.
    """

    def __init__(self, lengths: np.ndarray) -> None:
        by_length = np.argsort(-lengths, kind="stable")
        ascending = lengths[by_length][::-1]
        steps = np.arange(int(lengths.max(initial=0)))
        counts = len(lengths) - np.searchsorted(ascending, steps, side="right")
        begins = counts.cumsum() - counts
        row = np.arange(int(counts.sum())) - np.repeat(begins, counts)
        first = (lengths.cumsum() - lengths)[by_length]
        self.order = first[row] + np.repeat(steps, counts)
        self.place = np.empty_like(self.order)
        self.place[self.order] = np.arange(len(self.order))
        bounds = zip(begins.tolist(), counts.tolist(), strict=True)
        self.slices = [slice(begin, begin + count) for begin, count in bounds]

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        """Give the places of each step but the first, and before them those that they follow."""
        for before, here in itertools.pairwise(self.slices):
            yield slice(before.start, before.start + here.stop - here.start), here


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
    scores = np.maximum(emissions, _LOWEST)[steps.order]  # of the best way to each tag
    into = np.ascontiguousarray(transitions.between.T)  # (to, from)
    best_previous = np.empty(scores.shape, dtype=np.intp)
    rows = np.arange(len(lengths) * len(into))
    scores[steps.slices[0]] += transitions.first
    for before, here in steps:
        candidates = scores[before, None, :] + into  # (n_sequences, to, from)
        best = candidates.argmax(2, out=best_previous[here])
        ways = candidates.reshape(-1, len(into))
        scores[here] += ways[rows[: len(ways)], best.reshape(-1)].reshape(best.shape)
    tags = (scores + transitions.last).argmax(1)  # right where a sequence ends
    for before, here in reversed(list(steps)):
        tags[before] = best_previous[here][np.arange(here.stop - here.start), tags[here]]
    return cast(np.ndarray, tags[steps.place])


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
    messages = _forward_backward(emissions, lengths, transitions)
    place = messages.place
    own = np.log(messages.arriving[place, tags])
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
        total += np.log(messages.entering[place[begin], tags[begin]])
        total += np.log(messages.backward[place[end], tags[end]])
    probabilities: np.ndarray = np.exp(total).clip(0.0, 1.0)
    return probabilities


def tag_probabilities(
    emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions
) -> np.ndarray:
    """Compute the probability of each tag at each token: the marginals of single tokens.

    As `span_probabilities`, over all sequences of tags by their exponentiated scores.

    emissions (ndarray): log scores, not necessarily normalised, float (n_tokens, n_tags).
    lengths (ndarray): tokens of each sequence, zeros allowed, int (n_sequences,).
    transitions (Transitions): scores of tag pairs.
    RETURNS (ndarray): probabilities, which sum to 1 over each token's tags, float64
        (n_tokens, n_tags).
    """
    if not len(emissions):
        return np.zeros(emissions.shape)
    messages = _forward_backward(emissions, lengths, transitions)
    marginals: np.ndarray = (messages.forward * messages.backward)[messages.place]
    marginals /= marginals.sum(1, keepdims=True)  # which differs from 1 by rounding
    return marginals


class _Messages(NamedTuple):
    """What the forward-backward algorithm sends along sequences, by place, (n_tokens, n_tags) each.

    place (ndarray): the place of each token, int64 (n_tokens,).
    entering (ndarray): the mass that reaches a tag, before the emission of its token.
    forward (ndarray): probability of a tag given all tokens up to its own.
    arriving (ndarray): exponentiated emissions, in the units that normalised `forward`.
    backward (ndarray): the mass of all ways on from a tag, in the units of the tokens behind.
    """

    place: np.ndarray
    entering: np.ndarray
    forward: np.ndarray
    arriving: np.ndarray
    backward: np.ndarray


def _forward_backward(
    emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions
) -> _Messages:
    lengths = np.asarray(lengths, dtype=np.int64)
    steps = _Steps(lengths)
    shifted = emissions.astype(np.float64) - emissions.max(1, keepdims=True)
    np.maximum(np.exp(shifted, out=shifted), _SMALLEST, out=shifted)
    potentials = shifted[steps.order]
    between, first, last = (
        np.exp(table) for table in (transitions.between, transitions.first, transitions.last)
    )
    entering = np.empty_like(potentials)
    forward = np.empty_like(potentials)
    scale = np.empty((len(potentials), 1))
    entering[steps.slices[0]] = first
    for before, here in [(None, steps.slices[0]), *steps]:
        if before is not None:
            np.matmul(forward[before], between, out=entering[here])
        mass = np.multiply(entering[here], potentials[here], out=forward[here])
        np.add.reduce(mass, axis=1, out=scale[here], keepdims=True)
        mass /= scale[here]
    backward = np.empty_like(potentials)
    final = steps.place[(lengths.cumsum() - 1)[lengths > 0]]
    backward[final] = last / (forward[final] @ last)[:, None]
    arriving = potentials / scale
    back = np.ascontiguousarray(between.T)
    for before, here in reversed(list(steps)):
        np.matmul(arriving[here] * backward[here], back, out=backward[before])
    return _Messages(steps.place, entering, forward, arriving, backward)
