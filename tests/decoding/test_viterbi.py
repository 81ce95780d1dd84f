import numpy as np
import pytest
import torch
from hypotheses import (
    LENGTHS,
    SEEDS,
    TAGS,
    TRANSITIONS,
    all_hypotheses,
    make_logits,
    make_transitions,
    split,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import bigru_tagger.decoding.marginals
import bigru_tagger.decoding.transitions
from bigru_tagger.decoding.marginals import span_probabilities, tag_probabilities
from bigru_tagger.decoding.transitions import Transitions
from bigru_tagger.decoding.viterbi import _cut, _viterbi, decode, decode_best

BILUO = Transitions.biluo(TAGS)
MAY_FOLLOW = {
    "O": {"O", "B-PER", "U-PER", "B-PER-X", "U-PER-X"},
    "B-PER": {"I-PER", "L-PER"},
    "I-PER": {"I-PER", "L-PER"},
    "L-PER": {"O", "B-PER", "U-PER", "B-PER-X", "U-PER-X"},
    "U-PER": {"O", "B-PER", "U-PER", "B-PER-X", "U-PER-X"},
    "B-PER-X": {"I-PER-X", "L-PER-X"},
    "I-PER-X": {"I-PER-X", "L-PER-X"},
    "L-PER-X": {"O", "B-PER", "U-PER", "B-PER-X", "U-PER-X"},
    "U-PER-X": {"O", "B-PER", "U-PER", "B-PER-X", "U-PER-X"},
}
MAY_BEGIN = {"O", "B-PER", "U-PER", "B-PER-X", "U-PER-X"}
MAY_END = {"O", "L-PER", "U-PER", "L-PER-X", "U-PER-X"}


def is_valid(tags, transitions=BILUO):
    flat = np.zeros((len(tags), len(transitions.first)))
    return len(tags) == 0 or np.isfinite(score(tags, flat, transitions))


def score(tags, logits, transitions):
    between = transitions.between[tags[:-1], tags[1:]].sum()
    own = logits[np.arange(len(tags)), tags].sum()
    return own + between + transitions.first[tags[0]] + transitions.last[tags[-1]]


def spans_within(lengths):
    """List all spans of a batch, none of them over the end of a sequence."""
    spans = [
        (start + first, start + end)
        for start, length in zip(np.cumsum(lengths) - lengths, lengths, strict=True)
        for first in range(length)
        for end in range(first + 1, length + 1)
    ]
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def test_allowed_transitions_of_two_labels():
    between = {
        tag: {other for j, other in enumerate(TAGS) if BILUO.between[i, j] == 0.0}
        for i, tag in enumerate(TAGS)
    }
    assert between == MAY_FOLLOW
    assert {tag for i, tag in enumerate(TAGS) if BILUO.first[i] == 0.0} == MAY_BEGIN
    assert {tag for i, tag in enumerate(TAGS) if BILUO.last[i] == 0.0} == MAY_END
    for table in (BILUO.between, BILUO.first, BILUO.last):
        assert np.all((table == 0.0) | np.isneginf(table))


def test_free_transitions_allow_all():
    free = Transitions.free(3)
    assert [free.between.shape, free.first.shape, free.last.shape] == [(3, 3), (3,), (3,)]
    assert not any(table.any() for table in (free.between, free.first, free.last))


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_decoding_finds_the_best_of_all_hypotheses(kind, n_tags, lengths, seed):
    logits = make_logits(seed, sum(lengths), n_tags)
    transitions = make_transitions(seed, n_tags, kind)
    tags = decode(logits, np.array(lengths), transitions)
    assert tags.dtype == np.int64
    for own, found in zip(split(logits, lengths), split(tags, lengths), strict=True):
        hypotheses, scores = all_hypotheses(own, transitions)
        assert found.tolist() == hypotheses[scores.argmax()].tolist()


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS, n_best=st.integers(1, 6))
def test_the_best_hypotheses_are_the_first_of_all_by_score(kind, n_tags, lengths, seed, n_best):
    logits = make_logits(seed, sum(lengths), n_tags, impossible=0.2)
    transitions = make_transitions(seed, n_tags, kind)
    found = decode_best(logits, np.array(lengths), transitions, n_best)
    for own, best in zip(split(logits, lengths), found, strict=True):
        hypotheses, scores = all_hypotheses(own, transitions)
        order = scores.argsort()[::-1][: min(n_best, np.isfinite(scores).sum())]
        assert best.tolist() == hypotheses[order].tolist()


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_span_probability_is_the_share_of_the_hypotheses(kind, n_tags, lengths, seed):
    logits = make_logits(seed, sum(lengths), n_tags)
    transitions = make_transitions(seed, n_tags, kind)
    tags = np.random.default_rng(seed).integers(n_tags, size=sum(lengths))
    spans = spans_within(lengths)
    found = span_probabilities(logits, np.array(lengths), transitions, spans, tags)
    starts = np.cumsum(lengths) - lengths
    for (begin, end), probability in zip(spans, found, strict=True):
        row = np.searchsorted(starts, begin, side="right") - 1
        start = starts[row]
        hypotheses, scores = all_hypotheses(logits[start : start + lengths[row]], transitions)
        weights = np.exp(scores - scores.max())
        agree = np.all(hypotheses[:, begin - start : end - start] == tags[begin:end], axis=1)
        expected = weights[agree].sum() / weights.sum()
        assert probability == pytest.approx(expected, rel=1e-9, abs=1e-12)


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_tag_probabilities_are_shares_of_the_hypotheses(kind, n_tags, lengths, seed):
    logits = make_logits(seed, sum(lengths), n_tags)
    transitions = make_transitions(seed, n_tags, kind)
    found = tag_probabilities(logits, np.array(lengths), transitions)
    assert found.shape == logits.shape
    for own, part in zip(split(logits, lengths), split(found, lengths), strict=True):
        if not len(own):
            continue
        hypotheses, scores = all_hypotheses(own, transitions)
        weights = np.exp(scores - scores.max())
        for token in range(len(own)):
            shares = np.bincount(hypotheses[:, token], weights, n_tags) / weights.sum()
            np.testing.assert_allclose(part[token], shares, rtol=1e-7, atol=1e-12)


def test_tag_probabilities_of_two_tokens_by_hand():
    # Of one label, two tokens have five valid hypotheses: OO, OU, UO, UU, BL.
    biluo = Transitions.biluo(["O", "B-X", "I-X", "L-X", "U-X"])
    logits = np.log(np.array([[1, 5, 1, 1, 2], [1, 1, 1, 3, 4]]))
    found = tag_probabilities(logits, np.array([2]), biluo)
    total = 1 * 1 + 1 * 4 + 2 * 1 + 2 * 4 + 5 * 3
    expected = np.array([[5, 15, 0, 0, 10], [3, 0, 0, 15, 12]]) / total
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_probabilities_of_two_tokens_by_hand():
    tags = ["O", "B-X", "I-X", "L-X", "U-X"]
    # exponentiated: O 2, U 3; O 1, U 4; B 5, L 1; I scores highest, but is never valid
    logits = np.log([[2.0, 5.0, 1e6, 7.0, 3.0], [1.0, 7.0, 1e6, 1.0, 4.0]])
    # OO 2·1, OU 2·4, UO 3·1, UU 3·4, BL 5·1: 30 in all
    transitions, lengths = Transitions.biluo(tags), np.array([2])
    assert decode(logits, lengths, transitions).tolist() == [4, 4]
    entity = span_probabilities(logits, lengths, transitions, np.array([[0, 2]]), np.array([1, 3]))
    assert entity.tolist() == pytest.approx([5 / 30])
    single = np.array([[0, 1], [1, 2], [0, 2]])
    found = span_probabilities(logits, lengths, transitions, single, np.array([4, 4]))
    assert found.tolist() == pytest.approx([15 / 30, 20 / 30, 12 / 30])


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 5), seed=SEEDS, scale=st.sampled_from([1.0, 30.0]))
def test_probabilities_of_all_entities_and_o_at_a_token_sum_to_one(length, seed, scale):
    logits, lengths = make_logits(seed, length, len(TAGS), scale), np.array([length])

    def probability(span, tags):
        padded = np.zeros(length, dtype=np.int64)
        padded[slice(*span)] = tags
        return span_probabilities(logits, lengths, BILUO, np.array([span]), padded)[0]

    total = np.zeros(length)
    for begin, end in spans_within([length]):
        inside = end - begin - 2
        for first in (1, 5):  # the B- tag of each label; I-, L- and U- follow it
            tags = [first + 3] if inside < 0 else [first, *[first + 1] * inside, first + 2]
            total[begin:end] += probability((begin, end), tags)
    for token in range(length):
        total[token] += probability((token, token + 1), [0])
    np.testing.assert_allclose(total, 1.0, rtol=1e-9)


@settings(max_examples=75, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    seed=SEEDS,
    impossible=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    order=st.permutations(range(len(TAGS))),
)
def test_decoding_is_always_valid(lengths, seed, impossible, order):
    transitions = Transitions.biluo([TAGS[tag] for tag in order])
    logits = make_logits(seed, sum(lengths), len(TAGS), impossible=impossible)
    for tags in split(decode(logits, np.array(lengths), transitions), lengths):
        assert is_valid(tags, transitions)


def test_logits_of_minus_infinity_still_give_a_valid_sequence():
    logits = np.full((3, 5), -np.inf)
    logits[:, 2] = 5.0  # O, B, I, L, U: only inside, but nothing begins or ends
    assert decode(logits, np.array([3]), Transitions.biluo(TAGS[:5])).tolist() == [1, 2, 3]


@settings(max_examples=50, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS, impossible=st.sampled_from([0.3, 0.8]))
def test_tags_of_minus_infinity_are_avoided_and_have_no_probability(lengths, seed, impossible):
    transitions, lengths = Transitions.biluo(TAGS[:5]), np.array(lengths)
    logits = make_logits(seed, lengths.sum(), 5, impossible=impossible)
    logits[:, 0] = 0.0  # so that there is a way through
    tags = decode(logits, lengths, transitions)
    for own, found in zip(split(logits, lengths), split(tags, lengths), strict=True):
        hypotheses, scores = all_hypotheses(own, transitions)
        assert found.tolist() == hypotheses[scores.argmax()].tolist()
    tokens, ruled_out = np.nonzero(np.isneginf(logits))
    any_tags = np.zeros(len(logits), dtype=np.int64)
    any_tags[tokens] = ruled_out  # one of them where a token has several
    spans = np.stack([tokens, tokens + 1], 1)
    assert np.all(span_probabilities(logits, lengths, transitions, spans, any_tags) < 1e-90)


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    seed=SEEDS,
    bonus=st.sampled_from([0.0, 6.0, 100.0]),
)
def test_shortcut_and_full_search_agree(lengths, seed, bonus):
    rng, lengths = np.random.default_rng(seed), np.array(lengths)
    logits = rng.normal(size=(lengths.sum(), len(TAGS)))
    # With a bonus for some valid sequence, the best tags of all are valid in many sequences.
    valid = _viterbi(rng.normal(size=logits.shape), lengths, BILUO)
    logits[np.arange(len(valid)), valid] += bonus
    expected = _viterbi(logits, lengths, BILUO)
    np.testing.assert_array_equal(decode(logits, lengths, BILUO), expected)
    if bonus == 100.0:
        np.testing.assert_array_equal(expected, logits.argmax(1))


@settings(max_examples=50, deadline=None)
@given(
    length=st.integers(1, 80),
    n_tags=st.integers(1, 6),
    rate=st.sampled_from([0.1, 0.4, 0.7]),
    bonus=st.sampled_from([0.0, 3.0, 6.0]),
    seed=SEEDS,
)
def test_shortcut_and_full_search_agree_with_forbidden_transitions(
    length, n_tags, rate, bonus, seed
):
    rng, lengths = np.random.default_rng(seed), np.array([length])
    forbidden = [rng.random(shape) < rate for shape in ((n_tags, n_tags), n_tags, n_tags)]
    for table in forbidden:
        table[0] = False
    forbidden[0][:, 0] = False  # the first tag is a way through
    transitions = Transitions(*(np.where(table, -np.inf, 0.0) for table in forbidden))
    logits = rng.normal(size=(length, n_tags))
    logits[:, 0] += bonus
    expected = _viterbi(logits, lengths, transitions)
    np.testing.assert_array_equal(decode(logits, lengths, transitions), expected)


def test_a_sequence_is_split_after_tokens_with_a_certain_tag():
    # First token: another tag than O costs 1, and O requires no change of the second token, so O is
    # certain. Second token: another tag than O costs 4. With O, an L at the third token would have
    # to become U. This costs 3 here, so O is certain. If it costs 5, O is not certain.
    logits = np.array(
        [
            [0.0, -1.0, -9.0, -9.0, -9.0],
            [4.0, 0.0, 0.0, 0.0, 0.0],
            [-9.0, -9.0, -9.0, 3.0, 0.0],
        ]
    )
    transitions, lengths = Transitions.biluo(["O", "B-X", "I-X", "L-X", "U-X"]), np.array([3])
    best = logits.argmax(1)
    assert _cut(logits, best, lengths, transitions).tolist() == [1, 1, 1]
    assert decode(logits, lengths, transitions).tolist() == [0, 0, 4]
    logits[2, 3] = 5.0
    assert _cut(logits, best, lengths, transitions).tolist() == [1, 2]
    assert decode(logits, lengths, transitions).tolist() == [0, 1, 3]


def test_transition_scores_that_forbid_nothing_count_too():
    transitions = Transitions(np.array([[0.0, -3.0], [-3.0, 0.0]]), np.zeros(2), np.zeros(2))
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    assert decode(logits, np.array([3]), transitions).tolist() == [0, 0, 0]
    last = Transitions(np.zeros((2, 2)), np.zeros(2), np.array([0.0, 5.0]))
    assert decode(logits, np.array([3]), last).tolist() == [0, 1, 1]


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=8), seed=SEEDS)
def test_decoding_does_not_depend_on_the_batch(kind, n_tags, lengths, seed):
    logits = make_logits(seed, sum(lengths), n_tags)
    transitions = make_transitions(seed, n_tags, kind)
    tags = decode(logits, np.array(lengths), transitions)
    spans = np.array([(0, length) for length in lengths if length]).reshape(-1, 2)
    starts = (np.cumsum(lengths) - lengths)[np.array(lengths) > 0]
    batched = span_probabilities(
        logits, np.array(lengths), transitions, spans + starts[:, None], tags
    )
    alone = []
    for own, found in zip(split(logits, lengths), split(tags, lengths), strict=True):
        length = np.array([len(own)])
        np.testing.assert_array_equal(decode(own, length, transitions), found)
        if len(own):
            whole = np.array([[0, len(own)]])
            alone.extend(span_probabilities(own, length, transitions, whole, found))
    np.testing.assert_allclose(batched, alone, rtol=1e-9)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_no_tokens_have_no_tags_and_no_spans(lengths):
    logits, lengths = np.zeros((0, len(TAGS))), np.array(lengths, dtype=np.int64)
    tags = decode(logits, lengths, BILUO)
    assert tags.shape == (0,)
    no_spans = np.zeros((0, 2), dtype=np.int64)
    assert span_probabilities(logits, lengths, BILUO, no_spans, tags).shape == (0,)
    assert tag_probabilities(logits, lengths, BILUO).shape == (0, len(TAGS))


def test_single_precision_logits_are_summed_in_double_precision():
    logits = make_logits(0, 40, len(TAGS)).astype("float32")
    lengths, double = np.array([25, 15]), logits.astype("float64")
    tags = decode(logits, lengths, BILUO)
    np.testing.assert_array_equal(tags, decode(double, lengths, BILUO))
    spans = np.array([[0, 25], [25, 40]])
    np.testing.assert_array_equal(
        span_probabilities(logits, lengths, BILUO, spans, tags),
        span_probabilities(double, lengths, BILUO, spans, tags),
    )


def test_arguments_are_not_changed():
    logits = make_logits(0, 9, len(TAGS))
    before = logits.copy()
    tags = decode(logits, np.array([5, 4]), BILUO)
    tags_before = tags.copy()
    span_probabilities(logits, np.array([5, 4]), BILUO, spans_within([5, 4]), tags)
    np.testing.assert_array_equal(logits, before)
    np.testing.assert_array_equal(tags, tags_before)


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 10), min_size=1, max_size=4),
    seed=SEEDS,
    values=st.sampled_from([(-1e4, 1e4), (-1e4, 0.0, 1e4), (-np.inf, 1e4), (-1e4, -300.0, 0.0)]),
)
def test_very_peaked_logits_give_finite_probabilities(lengths, seed, values):
    rng, lengths = np.random.default_rng(seed), np.array(lengths)
    logits = rng.choice(values, size=(lengths.sum(), len(TAGS)))
    logits[:, 0] = np.maximum(logits[:, 0], -1e4)  # so that there is a way through
    spans = spans_within(lengths)
    tags = decode(logits, lengths, BILUO)
    found = span_probabilities(logits, lengths, BILUO, spans, tags)
    assert np.all((found >= 0.0) & (found <= 1.0))


def test_a_peaked_valid_hypothesis_is_certain():
    tags = np.array([0, 1, 2, 3, 8, 0])  # O B I L U O
    logits = np.full((6, len(TAGS)), -1e4)
    logits[np.arange(6), tags] = 1e4
    spans = np.array([[0, 1], [1, 4], [4, 5], [0, 6]])
    found = span_probabilities(logits, np.array([6]), BILUO, spans, tags)
    np.testing.assert_array_equal(found, 1.0)


def test_probabilities_if_all_valid_hypotheses_are_very_unlikely():
    # The best tags B-PER I-PER I-PER-X L-PER-X are invalid. Valid hypotheses agree with two of
    # them at most:
    # BILO, BILU (two labels) and BIIL from the front, OBIL, UBIL (two labels) and BIIL from the
    # back, and BL twice.
    logits = np.full((4, len(TAGS)), -1e4)
    logits[np.arange(4), [1, 2, 6, 7]] = 1e4
    whole, lengths = np.array([[0, 4]]), np.array([4])
    for tags in ([1, 2, 2, 3], [5, 6, 6, 7], [1, 2, 3, 0], [4, 5, 6, 7], [1, 3, 5, 7]):
        found = span_probabilities(logits, lengths, BILUO, whole, np.array(tags))
        assert found.tolist() == pytest.approx([1 / 9])


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(0, 60), min_size=1, max_size=4), seed=SEEDS)
def test_results_do_not_depend_on_the_size_of_pieces(kind, n_tags, lengths, seed):
    logits = make_logits(seed, sum(lengths), n_tags)
    transitions = make_transitions(seed, n_tags, kind)
    tags = decode(logits, np.array(lengths), transitions)
    spans = spans_within(lengths)
    arguments = (logits, np.array(lengths), transitions, spans, tags)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigru_tagger.decoding.marginals, "_PIECE", 1000)
        whole = span_probabilities(*arguments)
        patch.setattr(bigru_tagger.decoding.marginals, "_PIECE", 3)
        in_pieces = span_probabilities(*arguments)
    np.testing.assert_allclose(in_pieces, whole, rtol=1e-7, atol=1e-300)


def test_evidence_counts_over_long_distances():
    # Of 500 tokens, the first has odds of 3 to 1 for PER against PER-X, and the last has odds of 1
    # to 2. The tokens between them are neutral: 3 to 2.
    logits = np.full((500, len(TAGS)), -np.inf)
    logits[0, [1, 5]] = np.log([3.0, 1.0])
    logits[1:-1, [2, 6]] = 0.0
    logits[-1, [3, 7]] = np.log([1.0, 2.0])
    tags = np.array([1, *[2] * 498, 3])
    found = span_probabilities(logits, np.array([500]), BILUO, np.array([[0, 500]]), tags)
    assert found.tolist() == pytest.approx([3 / 5])


def test_a_sequence_of_fifty_thousand_tokens():
    # Blocks of five tokens that end in a certain O are independent of each other.
    n_blocks, length = 10_000, 5
    block = make_logits(4, length, len(TAGS), scale=1.0)
    block[-1, 0] = 100.0
    logits, lengths = np.tile(block, (n_blocks, 1)), np.array([n_blocks * length])
    hypotheses, scores = all_hypotheses(block[:-1], BILUO)
    tags = decode(logits, lengths, BILUO)
    best = [*hypotheses[scores.argmax()].tolist(), 0]
    np.testing.assert_array_equal(tags, np.tile(best, n_blocks))
    starts = np.array([0, 3 * length, (n_blocks // 2) * length, (n_blocks - 1) * length])
    spans = np.stack([starts, starts + length], 1)
    expected = 1 / np.exp(scores - scores.max()).sum()
    found = span_probabilities(logits, lengths, BILUO, spans, tags)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


KINDS_AND_TAGS = st.sampled_from([("free", 3), ("biluo", 9), ("real", 4), ("partly forbidden", 5)])


@settings(max_examples=60, deadline=None)
@given(
    case=KINDS_AND_TAGS, lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5), seed=SEEDS
)
def test_tensors_and_arrays_give_the_same_results(case, lengths, seed):
    kind, n_tags = case
    logits = make_logits(seed, sum(lengths), n_tags).astype("float32")
    transitions, sizes = make_transitions(seed, n_tags, kind), np.array(lengths)
    tags = decode(logits, sizes, transitions)
    tensor_tags = decode(torch.from_numpy(logits), sizes, transitions)
    np.testing.assert_array_equal(tensor_tags.numpy(), tags)
    spans = spans_within(lengths)
    found = span_probabilities(
        torch.from_numpy(logits), sizes, transitions, spans, torch.from_numpy(tags)
    )
    expected = span_probabilities(logits, sizes, transitions, spans, tags)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(
        tag_probabilities(torch.from_numpy(logits), sizes, transitions),
        tag_probabilities(logits, sizes, transitions),
        rtol=1e-9,
        atol=1e-300,
    )


@settings(max_examples=40, deadline=None)
@given(
    n_labels=st.integers(1, 6),
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=5),
    seed=SEEDS,
)
def test_sums_over_sets_and_small_chunks_agree_with_matrix_products(n_labels, lengths, seed):
    tags_of_labels = [f"{part}-{label}" for label in range(n_labels) for part in "BILU"]
    transitions = Transitions.biluo(["O", *tags_of_labels])
    logits = make_logits(seed, sum(lengths), 4 * n_labels + 1)
    sizes, spans = np.array(lengths), spans_within(lengths)

    def run():
        tags = decode(logits, sizes, transitions)
        return (
            tags,
            span_probabilities(logits, sizes, transitions, spans, tags),
            tag_probabilities(logits, sizes, transitions),
        )

    expected = run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigru_tagger.decoding.marginals, "_MANY_TAGS", 0)
        patch.setattr(bigru_tagger.decoding.transitions, "CELLS", 40)
        for found, value in zip(run(), expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-300)


def test_sets_of_the_biluo_scheme_have_as_many_members_as_there_are_tags():
    tags = ["O", *(f"{part}-{label}" for label in "XYZ" for part in "BILU")]
    transitions = Transitions.biluo(tags)
    for sets in (transitions.into, transitions.onward):
        # One set for tags outside of spans, and one for each label.
        assert sorted(members.shape for members in sets.groups) == [(1, 7), (3, 2)]
    assert transitions.into.reduce(np.ones((1, 13)), "sum", 0.0).tolist() == [
        [7, 7, 2, 2, 7, 7, 2, 2, 7, 7, 2, 2, 7]
    ]


@pytest.mark.parametrize("tensor", [False, True])
def test_a_tag_without_valid_predecessors_is_never_found(tensor):
    # There is no B-X before L-X, and L-X cannot begin a sequence.
    transitions = Transitions.biluo(["O", "L-X"])
    logits = np.array([[0.0, 5.0], [0.0, 5.0]])
    array = torch.from_numpy(logits) if tensor else logits
    assert decode(array, np.array([2]), transitions).tolist() == [0, 0]
    assert [tags.tolist() for tags in decode_best(array, np.array([2]), transitions, 3)] == [
        [[0, 0]]
    ]
    probabilities = tag_probabilities(array, np.array([2]), transitions)
    np.testing.assert_allclose(probabilities, [[1.0, 0.0], [1.0, 0.0]], atol=1e-12)
