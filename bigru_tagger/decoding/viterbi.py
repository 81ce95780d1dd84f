"""Constrained decoding: find the best valid tag sequence, or the n best ones, by logits.

The score of a tag sequence is the sum of its logits and of its transition scores. A forbidden
transition scores minus infinity, so an invalid sequence is never the best. Time is linear in the
number of tokens. If transitions only forbid, tags with the same valid predecessors share one
maximum. In the BILUO scheme, time is then also linear in the number of tags.
"""

import numpy as np

from ..time_steps import TimeSteps, lengths_from
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

# Lower bound for logits. Only transitions can forbid a hypothesis: the best one is valid even if
# all valid ones have a logit of minus infinity.
_LOWEST = -1e12


def decode(logits: Array, lengths: np.ndarray, transitions: Transitions) -> Array:
    """Find the best tag sequences.

    logits (Array): log scores, need not be normalised, float (n_tokens, n_tags).
    lengths (ndarray): tokens of each sequence, zeros allowed, int (n_sequences,).
    transitions (Transitions): scores of tag pairs.
    RETURNS (Array): tag of each token, int64 (n_tokens,), by the algorithm of Viterbi 1967.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    if not len(logits):
        return array_like(np.zeros(0, dtype=np.int64), logits)
    if not transitions.only_forbids:
        return _search(logits, lengths, transitions)
    # If transitions only forbid and the best tags of all tokens form a valid sequence, it is the
    # result. With a trained model this is true of most sequences. The others need a search.
    tags = logits.argmax(1)
    invalid = _are_invalid(tags, lengths, transitions)
    if invalid.any():
        tokens = array_like(np.flatnonzero(np.repeat(invalid, lengths)), logits)
        # On the CPU, as only few tokens remain.
        scores = np.maximum(to_numpy(to_double(logits[tokens])), _LOWEST)
        best = to_numpy(tags[tokens])
        lengths = _cut(scores, best, lengths[invalid], transitions)
        invalid = _are_invalid(best, lengths, transitions)
        again = np.repeat(invalid, lengths)
        best[again] = _search(scores[again], lengths[invalid], transitions)
        tags[tokens] = array_like(best, logits)
    return tags


def _are_invalid(tags: Array, lengths: np.ndarray, transitions: Transitions) -> np.ndarray:
    # Whether each sequence of tags is invalid, bool (n_sequences,).
    used = lengths > 0
    ends = lengths.cumsum()[used]
    begins = ends - lengths[used]
    between, first, last = (array_like(table, tags) for table in transitions.forbidden)
    at_begin, at_end = array_like(begins, tags), array_like(ends - 1, tags)
    broken = last[tags]  # an invalid transition into the token, or out of the last token
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
    # Split sequences after tokens whose tag is certain, and return the lengths of the parts.
    #
    # Let the best tag of a token be independent, like O and U: the tag before it may end a
    # sequence, and the tag after it may begin one. Any hypothesis with another tag at the token
    # can be changed into a valid one with this tag. The token before it gets a tag that may end a
    # sequence, and the token after it a tag that may begin one. If the gain at the token exceeds
    # the largest possible loss at its neighbours, the best hypothesis has this tag, and the parts
    # on both sides can be searched separately.
    independent, before, after = transitions.replaceable
    if not len(scores) or not independent.any() or before.has_empty or after.has_empty:
        return lengths
    starts = np.zeros(len(scores), dtype=bool)
    starts[(lengths.cumsum() - lengths)[lengths > 0]] = True
    loss = np.zeros((2, len(scores) + 2))  # of each token, padded by one token on both sides
    for row, sets in zip(loss, (before, after), strict=True):
        row[1:-1] = (scores - sets.reduce(scores, "amax", -np.inf)).max(1).clip(0.0)
    loss_before = np.where(starts, 0.0, loss[0, :-2])
    loss_after = np.where(np.append(starts[1:], True), 0.0, loss[1, 2:])
    top = scores[np.arange(len(best)), best]
    others = scores.copy()
    others[np.arange(len(best)), best] = -np.inf
    certain = independent[best] & (top - others.max(1) > loss_before + loss_after)
    starts[1:] |= certain[:-1]
    return lengths_from(starts)


def _search(logits: Array, lengths: np.ndarray, transitions: Transitions) -> Array:
    # The best tags by Viterbi's algorithm, (n_tokens,).
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
    scores = logits[array_like(steps.order, logits)].clip(_LOWEST)  # of the best path to each tag
    into = array_like(transitions.between.T, logits)  # (to, from)
    scores[steps.slices[0]] += array_like(transitions.first, logits)
    for before, here in steps:
        if transitions.only_forbids:
            scores[here] += transitions.into.reduce(scores[before], "amax", -np.inf)
        else:
            scores[here] += _best_into(scores[before], into)
    tags = (scores + array_like(transitions.last, logits)).argmax(1)  # correct for last tokens
    for before, here in reversed(list(steps)):
        tags[before] = (scores[before] + into[tags[here]]).argmax(1)
    return tags[array_like(steps.place, logits)]


def _best_into(scores: Array, into: Array) -> Array:
    # The score of the best path into each tag, (n_sequences, n_tags).
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
    """Find the n best tag sequences by the list Viterbi algorithm (Seshadri and Sundberg 1994).

    logits (Array): log scores, need not be normalised, float (n_tokens, n_tags).
    lengths (ndarray): tokens of each sequence, zeros allowed, int (n_sequences,).
    transitions (Transitions): scores of tag pairs.
    n_best (int): number of hypotheses per sequence.
    RETURNS (list[ndarray]): the hypotheses of each sequence, best first, int64
        (n_found, n_tokens). There are fewer than `n_best` if fewer have a score above minus
        infinity.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    logits = to_numpy(to_double(logits))
    n_tags = len(transitions.first)
    steps = TimeSteps(lengths)
    # By place, tag and rank: the scores of the best paths to a tag, and the origin of each path
    # as tag * n_best + rank.
    scores = np.full((len(logits), n_tags, n_best), -np.inf)
    origins = np.zeros((len(logits), n_tags, n_best), dtype=np.int64)
    own = logits[steps.order][:, :, None]
    if len(logits):
        scores[steps.slices[0], :, 0] = own[steps.slices[0], :, 0] + transitions.first
    for before, here in steps:
        paths, origins[here] = _paths_into(scores[before], transitions)
        scores[here] = paths + own[here]
    found = []
    for begin, length in zip((lengths.cumsum() - lengths).tolist(), lengths.tolist(), strict=True):
        places = steps.place[begin : begin + length]
        if not length:
            found.append(np.zeros((1, 0), dtype=np.int64))
            continue
        final = (scores[places[-1]] + transitions.last[:, None]).reshape(-1)
        path = np.argsort(-final, kind="stable")[:n_best]
        path = path[np.isfinite(final[path])]
        tags = np.empty((len(path), length), dtype=np.int64)
        for position in reversed(range(length)):
            tags[:, position] = path // n_best
            path = origins[places[position]].reshape(-1)[path]
        found.append(tags)
    return found


def _paths_into(scores: np.ndarray, transitions: Transitions) -> tuple[np.ndarray, np.ndarray]:
    # The best paths into each tag, from the scores of the paths one step before, (n_sequences,
    # n_tags, n_best): their scores, and their origins as tag * n_best + rank.
    n_best = scores.shape[2]
    if not transitions.only_forbids:
        # One sequence at a time, as all pairs of tags take n_tags ** 2 * n_best numbers.
        into = transitions.between.T[:, :, None]
        ranked = [_rank((own + into).reshape(len(into), -1), n_best) for own in scores]
        paths, origins = (np.stack(parts) for parts in zip(*ranked, strict=True))
        return paths, origins
    sets = transitions.into
    best = []
    for members in sets.groups:
        paths, places = _rank(scores[:, members].reshape(len(scores), len(members), -1), n_best)
        tags = members[np.arange(len(members))[:, None], places // n_best]
        best.append((paths, tags * n_best + places % n_best))
    if sets.has_empty:
        nothing = np.full((len(scores), 1, n_best), -np.inf)
        best.append((nothing, np.zeros_like(nothing, dtype=np.int64)))
    paths, origins = (np.concatenate(parts, 1) for parts in zip(*best, strict=True))
    return paths[:, sets.kind], origins[:, sets.kind]


def _rank(scores: np.ndarray, n_best: int) -> tuple[np.ndarray, np.ndarray]:
    # The highest scores along the last axis, and their places.
    places = np.argsort(-scores, axis=-1, kind="stable")[..., :n_best]
    return np.take_along_axis(scores, places, -1), places
