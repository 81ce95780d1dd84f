from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigru_tagger.report import resampling
from bigru_tagger.report.resampling import (
    bootstrap_difference,
    bootstrap_interval,
    document_ends,
    macro,
    micro,
    per_type,
    prf,
    randomization_test,
    sum_documents,
)
from bigru_tagger.scoring.run import macro_average
from bigru_tagger.scoring.scoring import (
    Counts,
    TaggedDoc,
    count_documents,
    count_tagged,
    micro_counts,
)

# Gold, predicted and correct entities of two types in four documents.
COUNTS = np.array(
    [
        [[2, 3, 1], [0, 0, 0]],
        [[1, 1, 1], [0, 1, 0]],
        [[0, 0, 0], [2, 1, 1]],
        [[3, 2, 2], [0, 0, 0]],
    ]
)
OTHER = np.array(
    [
        [[2, 2, 2], [0, 0, 0]],
        [[1, 1, 1], [0, 0, 0]],
        [[0, 0, 0], [2, 2, 2]],
        [[3, 1, 0], [0, 0, 0]],
    ]
)


@pytest.mark.parametrize(
    ("docs", "lengths", "expected"),
    [
        ([[2, 5, 9]], None, [2, 5, 9]),
        # Docs that are sentences of two documents; Docs that cross the end of the first document.
        ([[2, 5, 9]], [5, 4], [5, 9]),
        ([[3, 6, 9]], [5, 4], [9]),
        # A document without tokens, and a Doc without tokens.
        ([[0, 2, 5, 5, 9]], [0, 5, 0, 4], [0, 5, 9]),
        # Two systems: one read sentences, the other windows.
        ([[2, 5, 9], [5, 9]], None, [5, 9]),
        ([[2, 5, 9], [2, 9]], [5, 4], [9]),
    ],
)
def test_documents_are_units_that_no_doc_crosses(docs, lengths, expected):
    assert document_ends(docs, lengths) == expected


def test_documents_of_other_data_are_an_error():
    with pytest.raises(ValueError, match="have 8 tokens, but the gold data have 9"):
        document_ends([[2, 9]], [4, 4])


def test_counts_of_docs_become_counts_of_their_document():
    found = sum_documents(COUNTS, np.array([0, 0, 1, 0]))
    assert found.tolist() == [[[6, 6, 4], [0, 1, 0]], [[0, 0, 0], [2, 1, 1]]]


def share(sums):
    """Compute the share of the first of two counts, whose distribution is known."""
    return sums[:, 0] / sums.sum(1)


def test_scores_of_a_worked_example():
    # Type A: 6 gold, 6 predicted, 4 correct. Type B: 2 gold, 2 predicted, 1 correct.
    sums = COUNTS.sum(0)
    assert per_type(sums) == pytest.approx(np.array([[2 / 3] * 3, [0.5] * 3]))
    assert micro(sums) == pytest.approx(np.array([5 / 8] * 3))
    assert macro(sums) == pytest.approx(np.array([(2 / 3 + 1 / 2) / 2] * 3))
    assert prf(np.array([4, 2, 1])) == pytest.approx(np.array([0.5, 0.25, 1 / 3]))


def test_a_type_that_does_not_occur_has_no_score_and_no_part_in_macro():
    sums = np.array([[4, 2, 1], [0, 0, 0], [1, 0, 0]])
    assert np.isnan(per_type(sums)[1]).all()
    assert per_type(sums)[2].tolist() == [0.0, 0.0, 0.0]
    assert macro(sums) == pytest.approx(np.array([0.25, 0.125, 1 / 6]))
    assert macro(np.zeros((2, 3))).tolist() == micro(np.zeros((2, 3))).tolist() == [0.0, 0.0, 0.0]


COUNT = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)).map(
    lambda c: (c[0], c[1], min(c))
)


@given(st.lists(COUNT.filter(any), min_size=1, max_size=7))
def test_scores_are_those_of_scoring(rows):
    counts = np.array(rows)
    named = {str(i): Counts(*row) for i, row in enumerate(rows)}
    for row, own in zip(prf(counts), named.values(), strict=True):
        assert tuple(row) == (own.precision, own.recall, own.f1)
    total = micro_counts(named)
    assert tuple(micro(counts)) == (total.precision, total.recall, total.f1)
    average = macro_average({k: c for k, c in named.items() if c.gold or c.predicted} or named)
    assert macro(counts) == pytest.approx(
        np.array([average.precision, average.recall, average.f1]), abs=1e-15
    )


def test_the_distribution_of_two_documents_is_known():
    # A resample has both documents or one of them twice: the share is 1/2 with probability 1/2,
    # and 0 or 1 with probability 1/4 each.
    counts = np.array([[1, 0], [0, 1]])
    assert bootstrap_interval(counts, share).tolist() == [0.0, 1.0]
    assert bootstrap_interval(counts, share, confidence=0.4).tolist() == [0.5, 0.5]
    assert bootstrap_interval(counts, share, confidence=0.6).tolist() == [0.0, 1.0]


def test_the_interval_of_many_documents_is_that_of_the_normal_distribution():
    # A share of 300 in 400 independent documents: sd = sqrt(.75 * .25 / 400).
    counts = np.repeat([[1, 0], [0, 1]], [300, 100], axis=0)
    low, high = bootstrap_interval(counts, share, n_resamples=20_000)
    sd = (0.75 * 0.25 / 400) ** 0.5
    assert low == pytest.approx(0.75 - 1.96 * sd, abs=0.002)
    assert high == pytest.approx(0.75 + 1.96 * sd, abs=0.002)


def test_resamples_are_sums_of_documents_that_are_drawn():
    drawn = np.random.default_rng(7).integers(4, size=(50, 4))
    values = np.array([micro(COUNTS[documents].sum(0)) for documents in drawn])
    interval = bootstrap_interval(COUNTS, micro, n_resamples=50, seed=7)
    assert interval == pytest.approx(np.quantile(values, [0.025, 0.975], axis=0))


def test_a_difference_is_taken_within_each_resample():
    drawn = np.random.default_rng(3).integers(4, size=(80, 4))
    values = [macro(COUNTS[own].sum(0)) - macro(OTHER[own].sum(0)) for own in drawn]
    interval = bootstrap_difference(COUNTS, OTHER, macro, n_resamples=80, seed=3)
    assert interval == pytest.approx(np.quantile(values, [0.025, 0.975], axis=0))
    assert bootstrap_difference(COUNTS, COUNTS, micro).tolist() == [[0.0] * 3, [0.0] * 3]


def test_nan_values_are_left_out():
    # A resample of only the first document has no second type.
    counts = np.array([[[1, 1, 1], [0, 0, 0]], [[1, 1, 1], [2, 2, 1]]])
    low, high = bootstrap_interval(counts, per_type)
    assert (low[1].tolist(), high[1].tolist()) == ([0.5] * 3, [0.5] * 3)
    nowhere = np.zeros((2, 1, 3))
    assert np.isnan(bootstrap_interval(nowhere, per_type)).all()


def test_memory_is_bounded_without_changing_the_numbers(monkeypatch):
    before = bootstrap_interval(COUNTS, micro, seed=5), randomization_test(COUNTS, OTHER, micro)
    monkeypatch.setattr(resampling, "_CELLS", 64)
    sizes = []
    after = (
        bootstrap_interval(COUNTS, lambda s: sizes.append(len(s)) or micro(s), seed=5),
        randomization_test(COUNTS, OTHER, micro),
    )
    assert max(sizes) == 16
    assert before[0].tolist() == after[0].tolist()
    assert before[1].tolist() == after[1].tolist()


def exact_p(counts, other, statistic):
    """The share of all ways to swap documents that are as extreme as no swap."""
    found = []
    for swaps in product([False, True], repeat=len(counts)):
        swap = np.array(swaps).reshape(-1, *[1] * (counts.ndim - 1))
        sides = np.where(swap, other, counts), np.where(swap, counts, other)
        found.append(np.subtract(*(statistic(side.sum(0)[None])[0] for side in sides)))
    return np.mean(np.abs(found) >= np.abs(found[0]) - 1e-9, axis=0)


def test_randomization_of_worked_documents():
    # Six documents with 1 against 0: two of 64 ways to swap keep the absolute difference of 6.
    counts = np.stack([np.ones(6), np.zeros(6)], 1)
    p = randomization_test(counts, 1 - counts, lambda s: s[:, 0], n_trials=50_000)
    assert p == pytest.approx(2 / 64, abs=0.003)
    # Five against one: as extreme are also the ways that swap one of the six, or all except one.
    counts[0] = 0, 1
    p = randomization_test(counts, 1 - counts, lambda s: s[:, 0], n_trials=50_000)
    assert p == pytest.approx((2 + 12) / 64, abs=0.007)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
        min_size=2,
        max_size=6,
    )
)
def test_randomization_approximates_all_ways_to_swap(rows):
    predicted = np.array(rows)
    gold = np.full(len(rows), 3)
    systems = [
        np.stack([gold, predicted[:, i], np.minimum(predicted[:, i], predicted[:, i + 1])], 1)
        for i in (0, 2)
    ]
    counts, other = (system[:, None, :] for system in systems)
    p = randomization_test(counts, other, micro, n_trials=4000)
    # Within five standard deviations of a share of 4,000 trials.
    assert p == pytest.approx(exact_p(counts, other, micro), abs=5 * 0.5 / 4000**0.5)


def test_systems_that_agree_do_not_differ():
    assert randomization_test(COUNTS, COUNTS, micro, n_trials=99).tolist() == [1.0, 1.0, 1.0]


def test_the_lowest_p_is_one_in_n_trials_plus_one():
    counts = np.stack([np.ones(60), np.zeros(60)], 1)
    assert randomization_test(counts, 1 - counts, lambda s: s[:, 0], n_trials=99) == 0.01


def test_counts_of_other_shapes_are_an_error():
    for compare in (bootstrap_difference, randomization_test):
        with pytest.raises(ValueError, match=r"\(4, 2, 3\) and \(3, 2, 3\): they must be"):
            compare(COUNTS, OTHER[:3], micro)
        with pytest.raises(ValueError, match="at least 2 documents, and there are 1"):
            compare(COUNTS[:1], OTHER[:1], micro)
    with pytest.raises(ValueError, match="at least 2 documents, and there are 0"):
        bootstrap_interval(COUNTS[:0], micro)


@pytest.mark.parametrize("mode", ["default", "strict"])
def test_counts_of_documents(mode):
    docs = [
        TaggedDoc(["Ada", "met", "Eve"], ["B-PER", "O", "B-PER"], ["B-PER", "O", "B-LOC"]),
        TaggedDoc(["Kew", "fell"], ["B-LOC", "O"], ["B-LOC", "O"]),
        TaggedDoc(["Nothing"], ["O"], ["O"]),
    ]
    counts = count_documents(docs, ["LOC", "PER", "ORG"], mode=mode)
    assert counts.tolist() == [
        [[0, 1, 0], [2, 1, 1], [0, 0, 0]],
        [[1, 1, 1], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
    ]
    whole = count_tagged(docs, mode=mode)
    for label, sums in zip(["LOC", "PER"], counts.sum(0), strict=False):
        assert Counts(*sums) == whole[label]
