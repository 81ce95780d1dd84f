"""Emissions to tags: the best legal tag sequence, and the probability of entities and of tags.

A sequence's score is the sum of its emissions, and of its transitions. Transitions that the tag
scheme forbids score minus infinity, so no illegal sequence can win or hold any probability. All
functions work on many sequences at once and take time linear in the number of tokens; sequences
lie in one array, one after the other.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np

# Probabilities below this count as this much, so that a sequence whose legal readings are all
# very unlikely can still be normalised.
_SMALLEST = 1e-100

# Emissions below this count as this much, so that transitions stay the only thing that forbids: of
# readings that the emissions all rule out, the best is still legal.
_LOWEST = -1e12

# Tokens of a long sequence that are one piece of it: all pieces are worked on side by side.
_PIECE = 24
# How often pieces are gone over until each begins as the one before it ends; and how near, in
# relative terms, that has to be.
_PASSES = 4
_SAME = 1e-9


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

    def scaled(self, factor: float) -> "Transitions":
        """Multiply all scores.

        factor (float): above zero, so that what is forbidden stays so.
        RETURNS (Transitions): the products.
        """
        return Transitions(self.between * factor, self.first * factor, self.last * factor)

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
    if not _only_forbids(transitions):
        return _viterbi(np.maximum(emissions, _LOWEST), lengths, transitions)
    # Where transitions only forbid, the best tags of all are the answer if they happen to be
    # legal, which in a trained model most are; only the rest needs the full search.
    tags = emissions.argmax(1) if len(emissions) else np.zeros(0, dtype=np.int64)
    illegal = _are_illegal(tags, lengths, transitions)
    if illegal.any():
        tokens = np.repeat(illegal, lengths)
        scores, best = np.maximum(emissions[tokens], _LOWEST), tags[tokens]
        lengths = _cut(scores, best, lengths[illegal], transitions)
        illegal = _are_illegal(best, lengths, transitions)
        again = np.repeat(illegal, lengths)
        best[again] = _viterbi(scores[again], lengths[illegal], transitions)
        tags[tokens] = best
    return tags


def _only_forbids(transitions: Transitions) -> bool:
    tables = (transitions.between, transitions.first, transitions.last)
    return not any((table[np.isfinite(table)] != 0.0).any() for table in tables)


def _are_illegal(tags: np.ndarray, lengths: np.ndarray, transitions: Transitions) -> np.ndarray:
    # Of sequences, bool (n_sequences,).
    nonempty = lengths > 0
    ends = lengths.cumsum()
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    illegal = np.zeros(len(lengths), dtype=bool)
    inner = np.flatnonzero(sequence[1:] == sequence[:-1])
    broken = transitions.between[tags[inner], tags[inner + 1]] < 0.0
    illegal[sequence[inner[broken]]] = True
    illegal[nonempty] |= transitions.first[tags[(ends - lengths)[nonempty]]] < 0.0
    illegal[nonempty] |= transitions.last[tags[ends[nonempty] - 1]] < 0.0
    return illegal


def _cut(
    scores: np.ndarray, best: np.ndarray, lengths: np.ndarray, transitions: Transitions
) -> np.ndarray:
    # Cut sequences behind tokens whose tag is certain, and give the lengths of what is left.
    #
    # Say that a token's best tag stands by itself, as O and U do: before it, a sequence may end,
    # and behind it, one may begin. Any reading without it turns into one with it: give the token
    # that tag, the token before one that may end a sequence there, and the token behind one that
    # may begin it. If the first of these wins more than the others can lose, the best reading has
    # this tag, and either side of it can be searched alone.
    legal, first, last = (
        np.isfinite(table) for table in (transitions.between, transitions.first, transitions.last)
    )
    alone = first & last & (first == legal).all(1) & (last == legal.T).all(1)
    if not len(scores) or not alone.any():
        return lengths
    before = np.concatenate([legal, first[None]])  # what each tag may follow, (from, to)
    behind = np.concatenate([legal.T, last[None]])  # what may follow each tag, (to, from)
    ends = np.array([last & ~(before[:, [tag]] & ~before).any(0) for tag in range(len(first))])
    begins = np.array([first & ~(behind[:, [tag]] & ~behind).any(0) for tag in range(len(first))])
    starts = np.zeros(len(scores), dtype=bool)
    starts[(lengths.cumsum() - lengths)[lengths > 0]] = True
    loss = np.zeros((2, len(scores) + 2))  # of the token itself, with a token on either side
    for row, others in zip(loss, (ends, begins), strict=True):
        for tag, may_replace in enumerate(others):
            if not may_replace.any():
                return lengths
            kept = scores[:, may_replace].max(1)
            np.maximum(row[1:-1], scores[:, tag] - kept, out=row[1:-1])
    loss_before = np.where(starts, 0.0, loss[0, :-2])
    loss_behind = np.where(np.append(starts[1:], True), 0.0, loss[1, 2:])
    top = scores[np.arange(len(best)), best]
    others = scores.copy()
    others[np.arange(len(best)), best] = -np.inf
    certain = alone[best] & (top - others.max(1) > loss_before + loss_behind)
    starts[1:] |= certain[:-1]
    return np.diff(np.append(np.flatnonzero(starts), len(scores)))


def _viterbi(emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions) -> np.ndarray:
    if not len(emissions):
        return np.zeros(0, dtype=np.int64)
    steps = _Steps(lengths)
    scores = emissions[steps.order]  # of the best way to each tag
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


def decode_best(
    emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions, n_best: int
) -> list[np.ndarray]:
    """Find several best tag sequences.

    emissions (ndarray): log scores, not necessarily normalised, float (n_tokens, n_tags).
    lengths (ndarray): tokens of each sequence, zeros allowed, int (n_sequences,).
    transitions (Transitions): scores of tag pairs.
    n_best (int): how many.
    RETURNS (List[ndarray]): for each sequence the tags of its tokens, the best first, int64
        (n_found, n_tokens): fewer than asked for, if no more are legal and not ruled out. The list
        Viterbi algorithm, Seshadri and Sundberg 1994.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    n_tags = len(transitions.first)
    steps = _Steps(lengths)
    # By place, tag and rank: the scores of the best ways to a tag; and where each comes from, as
    # tag * n_best + rank.
    scores = np.full((len(emissions), n_tags, n_best), -np.inf)
    origins = np.zeros((len(emissions), n_tags, n_best), dtype=np.int64)
    own = emissions[steps.order][:, :, None]
    if len(emissions):
        scores[steps.slices[0], :, 0] = own[steps.slices[0], :, 0] + transitions.first
    into = transitions.between.T[:, :, None]  # (to, from, 1)
    for before, here in steps:
        ways = (scores[before, None] + into).reshape(here.stop - here.start, n_tags, -1)
        best = np.argsort(-ways, axis=2, kind="stable")[:, :, :n_best]
        origins[here] = best
        scores[here] = np.take_along_axis(ways, best, 2) + own[here]
    found = []
    for begin, length in zip((lengths.cumsum() - lengths).tolist(), lengths.tolist(), strict=True):
        places = steps.place[begin : begin + length]
        if not length:
            found.append(np.zeros((1, 0), dtype=np.int64))
            continue
        final = (scores[places[-1]] + transitions.last[:, None]).reshape(-1)
        way = np.argsort(-final, kind="stable")[:n_best]
        way = way[np.isfinite(final[way])]
        tags = np.empty((len(way), length), dtype=np.int64)
        for position in reversed(range(length)):
            tags[:, position] = way // n_best
            way = origins[places[position]].reshape(-1)[way]
        found.append(tags)
    return found


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
    messages = _send_messages(emissions, lengths, transitions)
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
    messages = _send_messages(emissions, lengths, transitions)
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


def _send_messages(
    emissions: np.ndarray, lengths: np.ndarray, transitions: Transitions
) -> _Messages:
    # Pieces of a long sequence are worked on side by side, first as if nothing were known of what
    # is around them, then from where their neighbours have ended, until that changes no more. What
    # is far away hardly matters, so two passes are the rule; if it does, a sequence is one piece.
    potentials = emissions.astype(np.float64) - emissions.max(1, keepdims=True)
    np.maximum(np.exp(potentials, out=potentials), _SMALLEST, out=potentials)
    lengths = np.asarray(lengths, dtype=np.int64)
    n_pieces = -(-lengths // _PIECE)
    found = _send_in_pieces(potentials, lengths, n_pieces, transitions)
    if found is None:
        found = _send_in_pieces(potentials, lengths, np.minimum(n_pieces, 1), transitions)
    assert found is not None  # a piece that is a sequence has no neighbours
    return found


def _send_in_pieces(
    potentials: np.ndarray, lengths: np.ndarray, n_pieces: np.ndarray, transitions: Transitions
) -> _Messages | None:
    # None if the pieces do not agree after some passes.
    sequence = np.repeat(np.arange(len(lengths)), n_pieces)
    number = np.arange(len(sequence)) - np.repeat(n_pieces.cumsum() - n_pieces, n_pieces)
    sizes, longer = np.divmod(lengths[sequence], n_pieces[sequence])
    sizes += number < longer
    later = np.flatnonzero(number)  # pieces with one before them
    steps = _Steps(sizes)
    ends = steps.place[sizes.cumsum() - 1]
    begins = steps.place[sizes.cumsum() - sizes]
    potentials = potentials[steps.order]
    between, first, last = (
        np.exp(table) for table in (transitions.between, transitions.first, transitions.last)
    )
    n_tags = len(first)

    entering = np.empty_like(potentials)
    forward = np.empty_like(potentials)
    scale = np.empty((len(potentials), 1))
    start = np.tile(first, (len(sizes), 1))
    start[later] = np.full(n_tags, 1.0 / n_tags) @ between

    def go_forward() -> np.ndarray:
        entering[begins] = start
        for before, here in [(None, steps.slices[0]), *steps]:
            if before is not None:
                np.matmul(forward[before], between, out=entering[here])
            mass = np.multiply(entering[here], potentials[here], out=forward[here])
            np.add.reduce(mass, axis=1, out=scale[here], keepdims=True)
            mass /= scale[here]
        return cast(np.ndarray, forward[ends[later - 1]] @ between)

    if not _agree(go_forward, start, later):
        return None
    backward = np.empty_like(potentials)
    arriving = potentials / scale
    back = np.ascontiguousarray(between.T)
    end = last / (forward[ends] @ last)[:, None]
    end[later - 1] = 1.0  # as all ways together have a mass of 1

    def go_backward() -> np.ndarray:
        backward[ends] = end
        for before, here in reversed(list(steps)):
            np.matmul(arriving[here] * backward[here], back, out=backward[before])
        return cast(np.ndarray, (arriving[begins[later]] * backward[begins[later]]) @ back)

    if not _agree(go_backward, end, later - 1):
        return None
    return _Messages(steps.place, entering, forward, arriving, backward)


def _agree(go: Callable[[], np.ndarray], given: np.ndarray, pieces: np.ndarray) -> bool:
    # Go over all pieces until what some of them are given is what their neighbours come to.
    for _ in range(_PASSES):
        found = go()
        if np.allclose(found, given[pieces], rtol=_SAME, atol=0.0):
            return True
        given[pieces] = found
    return False
