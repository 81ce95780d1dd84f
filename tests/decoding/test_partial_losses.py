"""The loss of partial annotation, compared with sums over all tag sequences."""

import numpy as np
import pytest
import torch
from hypotheses import SEEDS, TAGS, all_hypotheses, make_logits, split
from hypothesis import given, settings
from hypothesis import strategies as st

from bigru_tagger.decoding.constrained_softmax import ConstrainedSoftmax
from bigru_tagger.decoding.crf import CRF
from bigru_tagger.decoding.targets import SoftLabels, Targets
from bigru_tagger.decoding.transitions import Transitions
from bigru_tagger.schemes import span_tags

FIVE = TAGS[:5]
LENGTHS = st.lists(st.integers(0, 4), min_size=1, max_size=3)
N_TAGS = st.sampled_from([5, 9])


def log_sum(scores):
    return np.logaddexp.reduce(scores) if len(scores) else -np.inf


def make_paths(rng, lengths, n_tags, n_paths):
    """Draw spans of two or more tokens, which can overlap: (first token, tags)."""
    ends = np.cumsum(lengths)
    found = set()
    for _ in range(n_paths):
        number = rng.integers(len(lengths))
        if lengths[number] < 2:
            continue
        start, end = sorted(rng.choice(lengths[number] + 1, 2, replace=False).tolist())
        label = rng.choice(["PER", "PER-X"][: n_tags // 4])
        if end - start > 1:
            path = tuple(TAGS.index(tag) for tag in span_tags(label, end - start))
            found.add((int(ends[number] - lengths[number]) + start, path))
    return sorted(found)


def make_partial(seed, lengths, n_tags, n_paths):
    """Draw allowed tags for some tokens, a known O for others, and excluded spans."""
    rng = np.random.default_rng(seed)
    n_tokens = sum(lengths)
    tags = np.where(rng.random(n_tokens) < 0.2, 0, -1)
    allowed = rng.random((n_tokens, n_tags)) < 0.7
    allowed[rng.random(n_tokens) < 0.4] = True
    allowed[:, 0] = True  # a valid sequence is left
    return tags, allowed, make_paths(rng, lengths, n_tags, n_paths)


def agreeing(hypotheses, tags, allowed, begin, paths):
    """Find the sequences that agree with the annotation, by its definition."""
    agree = ((hypotheses == tags) | (tags < 0)).all(1)
    known = tags >= 0
    agree &= (allowed[np.arange(len(tags)), hypotheses] | known).all(1)
    for first, path in paths:
        place = slice(first - begin, first - begin + len(path))
        if begin <= first < begin + len(tags):
            agree &= (hypotheses[:, place] != path).any(1)
    return agree


def crf_loss(logits, tags, lengths, allowed, paths, tables, weights=None):  # noqa: PLR0917
    learned = dict(zip(("between", "first", "last"), tables, strict=True))
    targets = Targets(
        torch.from_numpy(tags),
        lengths,
        weights=weights,
        allowed=torch.from_numpy(allowed),
        excluded=paths,
    )
    valid = Transitions.biluo(TAGS[: logits.shape[1]])
    return CRF(logits.shape[1], learned).loss(logits, targets, valid)


def make_tables(seed, n_tags):
    rng = np.random.default_rng(seed)
    return [
        torch.from_numpy(rng.normal(size=shape)) for shape in [(n_tags, n_tags), n_tags, n_tags]
    ]


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS, n_tags=N_TAGS, n_paths=st.integers(0, 5))
def test_crf_sums_all_valid_sequences_that_agree(lengths, seed, n_tags, n_paths):
    logits, tables = make_logits(seed, sum(lengths), n_tags), make_tables(seed, n_tags)
    tags, allowed, paths = make_partial(seed, lengths, n_tags, n_paths)
    found = crf_loss(torch.from_numpy(logits), tags, lengths, allowed, paths, tables)
    valid = Transitions.biluo(TAGS[:n_tags])
    scores_of = CRF(n_tags, dict(zip(("between", "first", "last"), tables, strict=True)))
    begins = np.cumsum(lengths) - lengths
    for own, own_tags, own_allowed, begin, loss in zip(
        split(logits, lengths),
        split(tags, lengths),
        split(allowed, lengths),
        begins,
        found.tolist(),
        strict=True,
    ):
        hypotheses, scores = all_hypotheses(own, scores_of.transitions(valid))
        agree = agreeing(hypotheses, own_tags, own_allowed, begin, paths)
        expected = log_sum(scores) - log_sum(scores[agree])
        # The share s of an excluded span is subtracted from 1, so a rounding error in log s grows
        # by s / (1 − s) in log(1 − s). 1 − s is at least the probability of what remains.
        rounding = 1e-14 * np.exp(expected) if paths else 0.0
        assert loss == pytest.approx(expected, rel=1e-8, abs=1e-8 + rounding)


@settings(max_examples=40, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS, n_tags=N_TAGS)
def test_softmax_sums_the_allowed_tags_of_each_token(lengths, seed, n_tags):
    logits = torch.from_numpy(make_logits(seed, sum(lengths), n_tags))
    tags, allowed, _ = make_partial(seed, lengths, n_tags, 0)
    allowed_of = torch.from_numpy(allowed)
    targets = Targets(torch.from_numpy(tags), lengths, allowed=allowed_of)
    found = ConstrainedSoftmax(n_tags).loss(logits, targets, Transitions.free(n_tags))
    for own, own_tags, own_allowed, loss in zip(
        split(logits.numpy(), lengths),
        split(tags, lengths),
        split(allowed, lengths),
        found.tolist(),
        strict=True,
    ):
        hypotheses, scores = all_hypotheses(own, Transitions.free(n_tags))
        agree = agreeing(hypotheses, own_tags, own_allowed, 0, [])
        expected = log_sum(scores) - log_sum(scores[agree])
        assert loss == pytest.approx(expected, rel=1e-8, abs=1e-8)


@settings(max_examples=40, deadline=None)
@given(length=st.integers(2, 4), seed=SEEDS)
def test_softmax_excludes_a_span(length, seed):
    logits = make_logits(seed, length, 5)
    paths = make_paths(np.random.default_rng(seed), [length], 5, 1)
    tags = np.full(length, -1)
    targets = Targets(torch.from_numpy(tags), [length], excluded=paths)
    loss = ConstrainedSoftmax(5).loss(torch.from_numpy(logits), targets, Transitions.free(5))
    hypotheses, scores = all_hypotheses(logits, Transitions.free(5))
    agree = agreeing(hypotheses, tags, np.ones((length, 5), bool), 0, paths)
    expected = log_sum(scores) - log_sum(scores[agree])
    # A share near 1 is limited, so that the loss stays finite.
    assert loss.item() == pytest.approx(min(expected, -np.log(-np.expm1(-1e-6))), abs=1e-6)


def test_losses_by_hand():
    # One label: O B I L U. All logits are 0, so the 5 tags of a token are equally probable.
    logits = torch.zeros(2, 5)
    unknown, zero = np.array([-1, -1]), [torch.zeros(5, 5), torch.zeros(5), torch.zeros(5)]
    every, some = np.ones((2, 5), bool), np.array([[True, True, False, False, True]] * 2)
    # O O, O U, U O, U U and B L are valid.
    cases = [
        (every, [], 5 / 5, 1.0),
        (every, [(0, [1, 3])], 4 / 5, 24 / 25),  # not B L
        (some, [], 4 / 5, 9 / 25),  # O, B or U
        (some, [(0, [1, 3])], 4 / 5, 9 / 25 * 24 / 25),  # B L is not possible anyway
    ]
    for allowed, paths, in_crf, in_softmax in cases:
        loss = crf_loss(logits, unknown, [2], allowed, paths, zero)
        assert loss.item() == pytest.approx(-np.log(in_crf))
        targets = Targets(
            torch.from_numpy(unknown), [2], allowed=torch.from_numpy(allowed), excluded=paths
        )
        loss = ConstrainedSoftmax(5).loss(logits, targets, Transitions.free(5))
        assert loss.item() == pytest.approx(-np.log(in_softmax), abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS, n_paths=st.integers(0, 3), weight=st.floats(0.1, 3.0))
def test_equal_weights_multiply_the_loss(lengths, seed, n_paths, weight):
    logits, tables = torch.from_numpy(make_logits(seed, sum(lengths), 9)), make_tables(seed, 9)
    tags, allowed, paths = make_partial(seed, lengths, 9, n_paths)
    plain = crf_loss(logits, tags, lengths, allowed, paths, tables)
    weights = torch.full((sum(lengths),), weight, dtype=torch.float64)
    weighted = crf_loss(logits, tags, lengths, allowed, paths, tables, weights)
    torch.testing.assert_close(weighted, weight * plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_gradients_agree_with_finite_differences(seed):
    lengths = [4, 0, 3, 1]
    logits = torch.from_numpy(make_logits(seed, 8, 9)).requires_grad_()
    tags, allowed, _ = make_partial(seed, lengths, 9, 0)
    paths = [(0, (1, 3)), (1, (1, 2, 3)), (2, (5, 7)), (5, (1, 3))]
    tables = [table.requires_grad_() for table in make_tables(seed, 9)]

    def crf(logits, *tables):
        return crf_loss(logits, tags, lengths, allowed, paths, tables)

    assert torch.autograd.gradcheck(crf, (logits, *tables))
    targets = Targets(
        torch.from_numpy(tags), lengths, allowed=torch.from_numpy(allowed), excluded=paths
    )
    softmax = ConstrainedSoftmax(9)
    assert torch.autograd.gradcheck(
        lambda logits: softmax.loss(logits, targets, Transitions.free(9)), (logits,)
    )


def test_peaked_logits_give_finite_losses_and_gradients():
    logits = torch.full((2, 5), -1e4)
    logits[0, 1] = logits[1, 3] = 1e4  # B L
    logits.requires_grad_()
    unknown, tables = np.array([-1, -1]), [torch.zeros(5, 5), torch.zeros(5), torch.zeros(5)]
    every, paths = np.ones((2, 5), bool), [(0, [1, 3])]
    targets = Targets(torch.from_numpy(unknown), [2], excluded=paths)
    for loss in (
        crf_loss(logits, unknown, [2], every, paths, tables),
        ConstrainedSoftmax(5).loss(logits, targets, Transitions.free(5)),
    ):
        assert 10.0 < loss.item() < 3e4
        (gradient,) = torch.autograd.grad(loss.sum(), [logits])
        assert gradient.isfinite().all()


def test_all_allowed_is_the_same_as_unknown():
    logits = torch.from_numpy(make_logits(0, 4, 5))
    tags = torch.tensor([0, -1, 4, -1])
    teacher = torch.from_numpy(make_logits(1, 4, 5)).softmax(1).float()
    soft = SoftLabels(teacher, torch.ones(4), torch.full((4,), 0.3))
    learned = dict(zip(("between", "first", "last"), make_tables(0, 5), strict=True))
    softmax = ConstrainedSoftmax(5)
    every = torch.ones(4, 5, dtype=torch.bool)
    for decoder, outputs in ((CRF(5, learned), None), (softmax, None), (softmax, soft)):
        plain = Targets(tags, [3, 1], soft=outputs)
        partial = Targets(tags, [3, 1], soft=outputs, allowed=every)
        assert partial.n_learned == plain.n_learned
        losses = [decoder.loss(logits, own, Transitions.biluo(FIVE)) for own in (plain, partial)]
        torch.testing.assert_close(*losses)


def test_a_teacher_and_allowed_tags_share_the_loss():
    # Token 0 has allowed tags, token 1 no annotation; (1 − ¼) · 0.75 + ¼ · 1 and 1 in the formula.
    logits = torch.zeros(2, 4)
    allowed = torch.tensor([[True, True, False, False], [True] * 4])
    teacher = torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 2)
    soft = SoftLabels(teacher, torch.ones(2), torch.full((2,), 0.25))
    targets = Targets(torch.tensor([-1, -1]), [1, 1], soft=soft, allowed=allowed)
    losses = ConstrainedSoftmax(4).loss(logits, targets, Transitions.free(4))
    expected = [0.75 * np.log(2) + 0.25 * np.log(4), np.log(4)]
    assert losses.tolist() == pytest.approx(expected)
    assert targets.n_learned == 2
    assert Targets(torch.tensor([-1, -1]), [2], allowed=allowed).n_learned == 1
