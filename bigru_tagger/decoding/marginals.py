"""Marginal probabilities of spans and of tags.

The probability of a tag sequence is its exponentiated score, divided by the sum over all sequences.
Scores are defined in `bigru_tagger.decoding.viterbi`. Invalid sequences have a probability of zero.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from ..stages import MARGINALS, stage
from ..time_steps import TimeSteps
from .transitions import (
    Array,
    TagSets,
    Transitions,
    array_like,
    chunks,
    library_of,
    to_double,
    to_numpy,
)

# Lower bound for exponentiated logits. A sequence can still be normalised if all of its valid
# hypotheses are very unlikely.
_SMALLEST = 1e-100

# Long sequences are divided into pieces of this many tokens, which are processed in parallel.
_PIECE = 24
# Number of passes in which the messages between neighbouring pieces must converge, and the relative
# tolerance.
_PASSES = 4
_SAME = 1e-9

# For fewer tags, one matrix product is faster than several sums.
_MANY_TAGS = 48


@stage(MARGINALS)
def span_probabilities(
    logits: Array,
    lengths: np.ndarray,
    transitions: Transitions,
    spans: np.ndarray,
    tags: Array,
) -> np.ndarray:
    """Compute the probability that all tokens of a span have the given tags.

    This is the marginal of the span over all tag sequences, by the forward-backward algorithm with
    the scaling of Rabiner 1989. In the BILUO scheme, the tags of a span identify one entity, so the
    marginal is the probability of this entity.

    logits (Array): log scores, need not be normalised, float (n_tokens, n_tags).
    lengths (ndarray): tokens of each sequence, zeros allowed, int (n_sequences,).
    transitions (Transitions): scores of tag pairs.
    spans (ndarray): start and end of each span as rows of `logits`, end exclusive, int
        (n_spans, 2). A span must be within one sequence.
    tags (Array): tag of each token, int (n_tokens,).
    RETURNS (ndarray): probabilities, float64 (n_spans,).
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    probabilities = np.zeros(len(spans))
    for sequences, tokens in chunks(lengths, logits):
        chosen = (spans[:, 0] >= tokens.start) & (spans[:, 0] < tokens.stop)
        if chosen.any():
            messages = _send_messages(logits[tokens], lengths[sequences], transitions)
            here = spans[chosen] - tokens.start
            probabilities[chosen] = _span_marginals(messages, transitions, here, tags[tokens])
    return probabilities


def _span_marginals(
    messages: "_Messages", transitions: Transitions, spans: np.ndarray, tags: Array
) -> np.ndarray:
    library = library_of(tags)
    place = messages.place
    with np.errstate(divide="ignore"):
        own = library.log(messages.arriving[place, tags])
        entering = library.log(messages.entering[place, tags])
        backward = library.log(messages.backward[place, tags])
    inner = library.zeros_like(own)
    inner[1:] = array_like(transitions.between, tags)[tags[:-1], tags[1:]]
    begin, end = array_like(spans[:, 0], tags), array_like(spans[:, 1] - 1, tags)
    # Sums over the tokens of a span are differences of running sums. Transitions count from the
    # second token of the span.
    own_sum = own.cumsum(0)
    forbidden = library.isneginf(inner)
    inner[forbidden] = 0.0
    inner_sum = inner.cumsum(0)
    forbidden_sum = forbidden.cumsum(0)
    total = own_sum[end] - own_sum[begin] + own[begin] + inner_sum[end] - inner_sum[begin]
    total += entering[begin] + backward[end]
    total[forbidden_sum[end] > forbidden_sum[begin]] = -np.inf
    return to_numpy(library.exp(total).clip(0.0, 1.0))


@stage(MARGINALS)
def tag_probabilities(logits: Array, lengths: np.ndarray, transitions: Transitions) -> np.ndarray:
    """Compute the marginal probability of each tag at each token, see `span_probabilities`.

    logits (Array): log scores, need not be normalised, float (n_tokens, n_tags).
    lengths (ndarray): tokens of each sequence, zeros allowed, int (n_sequences,).
    transitions (Transitions): scores of tag pairs.
    RETURNS (ndarray): probabilities, float64 (n_tokens, n_tags). Each row sums to 1.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    probabilities = np.zeros(tuple(logits.shape))
    for sequences, tokens in chunks(lengths, logits):
        if tokens.start < tokens.stop:
            messages = _send_messages(logits[tokens], lengths[sequences], transitions)
            marginals = (messages.forward * messages.backward)[messages.place]
            marginals /= marginals.sum(1)[:, None]  # differs from 1 by rounding
            probabilities[tokens] = to_numpy(marginals)
    return probabilities


class _Messages(NamedTuple):
    """The messages of the forward-backward algorithm, ordered by place, (n_tokens, n_tags) each.

    place (Array): the place of each token, int64 (n_tokens,).
    entering (Array): the mass that enters each tag, before the token's logit is applied.
    forward (Array): probability of each tag, given all tokens up to this one.
    arriving (Array): exponentiated logits, divided by the scale of `forward` at this token.
    backward (Array): the mass of all continuations, divided by the scales of the later tokens.
    """

    place: Array
    entering: Array
    forward: Array
    arriving: Array
    backward: Array


def _send_messages(logits: Array, lengths: np.ndarray, transitions: Transitions) -> _Messages:
    # The pieces of a long sequence are processed in parallel. The first pass starts each piece
    # from a uniform message, the next ones from the messages of its neighbours, until these no
    # longer change. Distant tokens have little influence, so two passes are usually enough. If
    # the messages do not converge, each sequence is one piece.
    library = library_of(logits)
    logits = to_double(logits)
    potentials = library.exp(logits - library.amax(logits, 1)[:, None])
    potentials[potentials < _SMALLEST] = _SMALLEST
    n_pieces = -(-lengths // _PIECE)
    found = _send_in_pieces(potentials, lengths, n_pieces, transitions)
    if found is None:
        found = _send_in_pieces(potentials, lengths, np.minimum(n_pieces, 1), transitions)
    assert found is not None  # a whole sequence has no neighbours to agree with
    return found


def _send_in_pieces(
    potentials: Array, lengths: np.ndarray, n_pieces: np.ndarray, transitions: Transitions
) -> _Messages | None:
    # None if the messages between pieces do not converge.
    library = library_of(potentials)
    sizes, later = _divide(lengths, n_pieces)
    steps = TimeSteps(sizes)
    ends = array_like(steps.place[sizes.cumsum() - 1], potentials)
    begins = array_like(steps.place[sizes.cumsum() - sizes], potentials)
    n_tags = len(transitions.first)
    between, _, first, last = transitions.exponentials
    unknown = np.tile(first, (len(sizes), 1))
    unknown[later] = np.full(n_tags, 1.0 / n_tags) @ between
    start = array_like(unknown, potentials)
    later, sooner = array_like(later, potentials), array_like(later - 1, potentials)
    go_on, go_back = _flows(transitions, potentials)
    last = array_like(last, potentials)

    potentials = potentials[array_like(steps.order, potentials)]
    entering = library.empty_like(potentials)
    forward = library.empty_like(potentials)
    scale = library.empty_like(potentials[:, 0])

    def go_forward() -> None:
        entering[begins] = start
        for before, here in [(None, steps.slices[0]), *steps]:
            if before is not None:
                go_on(forward[before], entering[here])
            mass = library.multiply(entering[here], potentials[here], out=forward[here])
            scale[here] = mass.sum(1)
            mass /= scale[here][:, None]

    def send_on() -> Array:
        mass = forward[ends[sooner]]
        return go_on(mass, library.empty_like(mass))

    if not _agree(go_forward, send_on, start, later):
        return None
    backward = library.empty_like(potentials)
    arriving = potentials / scale[:, None]
    end = last / (forward[ends] @ last)[:, None]
    end[sooner] = 1.0  # the initial message of a piece with a successor

    def go_backward() -> None:
        backward[ends] = end
        for before, here in reversed(list(steps)):
            go_back(arriving[here] * backward[here], backward[before])

    def send_back() -> Array:
        mass = arriving[begins[later]] * backward[begins[later]]
        return go_back(mass, library.empty_like(mass))

    if not _agree(go_backward, send_back, end, sooner):
        return None
    place = array_like(steps.place, potentials)
    return _Messages(place, entering, forward, arriving, backward)


_Flow: TypeAlias = Callable[[Array, Array], Array]


def _divide(lengths: np.ndarray, n_pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # The tokens of each piece, and which pieces have one before them in the same sequence.
    if n_pieces.max(initial=0) <= 1:
        return lengths[n_pieces > 0], np.zeros(0, dtype=np.int64)
    sequence = np.repeat(np.arange(len(lengths)), n_pieces)
    number = np.arange(len(sequence)) - np.repeat(n_pieces.cumsum() - n_pieces, n_pieces)
    sizes, longer = np.divmod(lengths[sequence], n_pieces[sequence])
    sizes += number < longer
    return sizes, np.flatnonzero(number)


def _flows(transitions: Transitions, like: Array) -> tuple[_Flow, _Flow]:
    # Functions that propagate mass, (n_rows, n_tags), over one transition into an output array:
    # forward and backward.
    library = library_of(like)
    n_tags = len(transitions.first)
    if isinstance(like, np.ndarray) and n_tags > _MANY_TAGS and transitions.only_forbids:

        def by(sets: TagSets) -> _Flow:
            def carry(mass: Array, out: Array) -> Array:
                out[:] = sets.reduce(mass, "sum", 0.0)
                return out

            return carry

        return by(transitions.into), by(transitions.onward)
    between, back = (array_like(table, like) for table in transitions.exponentials[:2])
    return (
        lambda mass, out: library.matmul(mass, between, out=out),
        lambda mass, out: library.matmul(mass, back, out=out),
    )


def _agree(go: Callable[[], None], send: Callable[[], Array], given: Array, pieces: Array) -> bool:
    # Repeat passes until the messages that pieces receive equal those that their neighbours send.
    for _ in range(_PASSES):
        go()
        if not len(pieces):
            return True
        found = send()
        if (abs(found - given[pieces]) <= _SAME * abs(given[pieces])).all():
            return True
        given[pieces] = found
    return False
