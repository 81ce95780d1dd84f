"""Logits to tags: the best valid tag sequence, or several best ones.

A sequence's score is the sum of its logits and of its transitions. Transitions that the tag scheme
forbids score minus infinity, so no invalid sequence can win. Time is linear in the number of
tokens. Where transitions only forbid, it is also linear in the number of tags as far as the scheme
allows: tags that may follow the same tags share one maximum.
"""

import numpy as np

from .time_steps import TimeSteps
from .transitions import (
    CELLS,
    Array,
    Transitions,
    array_like,
    chunks,
    library_of,
    to_double,
    to_numpy,
)

# Logits below this count as this much, so that transitions stay the only thing that forbids: of
# readings that the logits all rule out, the best is still valid.
_LOWEST = -1e12


def decode(logits: Array, lengths: np.ndarray, transitions: Transitions) -> Array:
    """Find the best tag sequences.

    logits (Array): log scores, not necessarily normalised, float (n_tokens, n_tags).
    lengths (ndarray): tokens of each sequence, zeros allowed, int (n_sequences,).
    transitions (Transitions): scores of tag pairs.
    RETURNS (Array): tag of each token, int64 (n_tokens,). Viterbi 1967.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    if not len(logits):
        return array_like(np.zeros(0, dtype=np.int64), logits)
    if not transitions.only_forbids:
        return _search(logits, lengths, transitions)
    # Where transitions only forbid, the best tags of all are the answer if they happen to be
    # valid, which in a trained model most are; only the rest needs the full search.
    tags = logits.argmax(1)
    invalid = _are_invalid(tags, lengths, transitions)
    if invalid.any():
        tokens = array_like(np.flatnonzero(np.repeat(invalid, lengths)), logits)
        # On the CPU: few sequences, of which few tokens are left.
        scores = np.maximum(to_numpy(to_double(logits[tokens])), _LOWEST)
        best = to_numpy(tags[tokens])
        lengths = _cut(scores, best, lengths[invalid], transitions)
        invalid = _are_invalid(best, lengths, transitions)
        again = np.repeat(invalid, lengths)
        best[again] = _search(scores[again], lengths[invalid], transitions)
        tags[tokens] = array_like(best, logits)
    return tags


def _are_invalid(tags: Array, lengths: np.ndarray, transitions: Transitions) -> np.ndarray:
    # Of sequences, bool (n_sequences,).
    used = lengths > 0
    ends = lengths.cumsum()[used]
    begins = ends - lengths[used]
    between, first, last = (
        array_like(table < 0.0, tags)
        for table in (transitions.between, transitions.first, transitions.last)
    )
    at_begin, at_end = array_like(begins, tags), array_like(ends - 1, tags)
    broken = last[tags]  # by what a token's tag may follow, and at the end by being last
    broken[:-1] = False
    broken[1:] |= between[tags[:-1], tags[1:]]
    broken[at_begin] = first[tags[at_begin]]
    broken[at_end] |= last[tags[at_end]]
    invalid = np.zeros(len(lengths), dtype=bool)
    if len(begins):
        invalid[used] = np.logical_or.reduceat(to_numpy(broken), begins)
    return invalid


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
    alone, before, behind = transitions.replaceable
    if not len(scores) or not alone.any() or before.has_empty or behind.has_empty:
        return lengths
    starts = np.zeros(len(scores), dtype=bool)
    starts[(lengths.cumsum() - lengths)[lengths > 0]] = True
    loss = np.zeros((2, len(scores) + 2))  # of the token itself, with a token on either side
    for row, sets in zip(loss, (before, behind), strict=True):
        row[1:-1] = (scores - sets.reduce(scores, "amax", -np.inf)).max(1).clip(0.0)
    loss_before = np.where(starts, 0.0, loss[0, :-2])
    loss_behind = np.where(np.append(starts[1:], True), 0.0, loss[1, 2:])
    top = scores[np.arange(len(best)), best]
    others = scores.copy()
    others[np.arange(len(best)), best] = -np.inf
    certain = alone[best] & (top - others.max(1) > loss_before + loss_behind)
    starts[1:] |= certain[:-1]
    return np.diff(np.append(np.flatnonzero(starts), len(scores)))


def _search(logits: Array, lengths: np.ndarray, transitions: Transitions) -> Array:
    # The full search for the best tags, (n_tokens,), by Viterbi's algorithm.
    library = library_of(logits)
    found = [
        _viterbi(to_double(logits[tokens]), lengths[sequences], transitions)
        for sequences, tokens in chunks(lengths, logits)
    ]
    return library.concatenate([array_like(np.zeros(0, dtype=np.int64), logits), *found])


def _viterbi(logits: Array, lengths: np.ndarray, transitions: Transitions) -> Array:
    if not len(logits):
        return array_like(np.zeros(0, dtype=np.int64), logits)
    steps = TimeSteps(lengths)
    scores = logits[array_like(steps.order, logits)].clip(_LOWEST)  # of the best way to each tag
    into = array_like(transitions.between.T, logits)  # (to, from)
    scores[steps.slices[0]] += array_like(transitions.first, logits)
    for before, here in steps:
        if transitions.only_forbids:
            scores[here] += transitions.into.reduce(scores[before], "amax", -np.inf)
        else:
            scores[here] += _best_into(scores[before], into)
    tags = (scores + array_like(transitions.last, logits)).argmax(1)  # right where a sequence ends
    for before, here in reversed(list(steps)):
        tags[before] = (scores[before] + into[tags[here]]).argmax(1)
    return tags[array_like(steps.place, logits)]


def _best_into(scores: Array, into: Array) -> Array:
    # The score of the best way into each tag, (n_sequences, n_tags).
    library = library_of(scores)
    n_rows = max(CELLS // len(into) ** 2, 1)
    best = [
        library.amax(scores[begin : begin + n_rows, None] + into, 2)  # of (rows, to, from)
        for begin in range(0, len(scores), n_rows)
    ]
    return library.concatenate(best)


def decode_best(
    logits: Array, lengths: np.ndarray, transitions: Transitions, n_best: int
) -> list[np.ndarray]:
    """Find several best tag sequences.

    logits (Array): log scores, not necessarily normalised, float (n_tokens, n_tags).
    lengths (ndarray): tokens of each sequence, zeros allowed, int (n_sequences,).
    transitions (Transitions): scores of tag pairs.
    n_best (int): how many.
    RETURNS (list[ndarray]): for each sequence the tags of its tokens, the best first, int64
        (n_found, n_tokens): fewer than asked for, if no more are valid and not ruled out. The list
        Viterbi algorithm, Seshadri and Sundberg 1994.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    logits = to_numpy(to_double(logits))
    n_tags = len(transitions.first)
    steps = TimeSteps(lengths)
    # By place, tag and rank: the scores of the best ways to a tag; and where each comes from, as
    # tag * n_best + rank.
    scores = np.full((len(logits), n_tags, n_best), -np.inf)
    origins = np.zeros((len(logits), n_tags, n_best), dtype=np.int64)
    own = logits[steps.order][:, :, None]
    if len(logits):
        scores[steps.slices[0], :, 0] = own[steps.slices[0], :, 0] + transitions.first
    for before, here in steps:
        ways, origins[here] = _ways_into(scores[before], transitions)
        scores[here] = ways + own[here]
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


def _ways_into(scores: np.ndarray, transitions: Transitions) -> tuple[np.ndarray, np.ndarray]:
    # The best ways into each tag, from those to the tags before, (n_sequences, n_tags, n_best):
    # their scores, and their origins as tag * n_best + rank.
    n_best = scores.shape[2]
    if not transitions.only_forbids:
        # A sequence at a time: all pairs of tags take n_tags ** 2 * n_best numbers.
        into = transitions.between.T[:, :, None]
        ranked = [_rank((own + into).reshape(len(into), -1), n_best) for own in scores]
        ways, origins = (np.stack(parts) for parts in zip(*ranked, strict=True))
        return ways, origins
    sets = transitions.into
    best = []
    for members in sets.groups:
        ways, places = _rank(scores[:, members].reshape(len(scores), len(members), -1), n_best)
        tags = members[np.arange(len(members))[:, None], places // n_best]
        best.append((ways, tags * n_best + places % n_best))
    if sets.has_empty:
        nothing = np.full((len(scores), 1, n_best), -np.inf)
        best.append((nothing, np.zeros_like(nothing, dtype=np.int64)))
    ways, origins = (np.concatenate(parts, 1) for parts in zip(*best, strict=True))
    return ways[:, sets.kind], origins[:, sets.kind]


def _rank(scores: np.ndarray, n_best: int) -> tuple[np.ndarray, np.ndarray]:
    # The highest scores along the last axis, and their places.
    places = np.argsort(-scores, axis=-1, kind="stable")[..., :n_best]
    return np.take_along_axis(scores, places, -1), places
