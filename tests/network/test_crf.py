import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from readings import (
    LENGTHS,
    SEEDS,
    TAGS,
    TRANSITIONS,
    all_readings,
    make_emissions,
    make_transitions,
    split,
)

from bigru_tagger.network.crf import CRF
from bigru_tagger.network.decoding import decode
from bigru_tagger.network.marginals import span_probabilities
from bigru_tagger.network.transitions import Transitions

FIVE = TAGS[:5]  # O, B, I, L, U
BILUO = Transitions.biluo(FIVE)


def make_crf(seed, n_tags, scale=1.0):
    crf = CRF(n_tags).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for table in crf.parameters():
            table.copy_(scale * torch.randn(table.shape, generator=generator))
    return crf


def make_gold(seed, lengths, emissions, transitions, missing):
    """Take the best legal tags of other emissions as gold, some of them missing."""
    rng = np.random.default_rng(seed)
    gold = decode(rng.normal(size=emissions.shape), np.array(lengths), transitions)
    gold[rng.random(len(gold)) < missing] = -1
    return gold


def log_sum(scores):
    return np.logaddexp.reduce(scores)


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_log_partition_sums_all_readings(kind, n_tags, lengths, seed):
    emissions = make_emissions(seed, sum(lengths), n_tags)
    crf, legal = make_crf(seed, n_tags), make_transitions(seed, n_tags, kind)
    found = crf.log_partition(torch.from_numpy(emissions), lengths, legal)
    expected = [
        log_sum(all_readings(own, crf.transitions(legal))[1]) for own in split(emissions, lengths)
    ]
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-9, atol=1e-9)


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_score_is_that_of_the_definition(kind, n_tags, lengths, seed):
    emissions = make_emissions(seed, sum(lengths), n_tags)
    crf, legal = make_crf(seed, n_tags), make_transitions(seed, n_tags, kind)
    tags = np.random.default_rng(seed).integers(n_tags, size=sum(lengths))  # legal or not
    found = crf.score(torch.from_numpy(emissions), torch.from_numpy(tags), lengths, legal)
    for own, own_tags, score in zip(
        split(emissions, lengths), split(tags, lengths), found, strict=True
    ):
        readings, scores = all_readings(own, crf.transitions(legal))
        (reading,) = np.flatnonzero((readings == own_tags).all(1))
        assert score.item() == pytest.approx(scores[reading], rel=1e-9, abs=1e-9)


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS, missing=st.sampled_from([0.0, 0.3, 1.0]))
def test_nll_is_the_share_of_the_readings_that_agree_with_the_gold(
    kind, n_tags, lengths, seed, missing
):
    emissions = make_emissions(seed, sum(lengths), n_tags)
    crf, legal = make_crf(seed, n_tags), make_transitions(seed, n_tags, kind)
    gold = make_gold(seed, lengths, emissions, crf.transitions(legal), missing)
    found = crf.nll(torch.from_numpy(emissions), torch.from_numpy(gold), lengths, legal)
    for own, own_gold, nll in zip(
        split(emissions, lengths), split(gold, lengths), found, strict=True
    ):
        readings, scores = all_readings(own, crf.transitions(legal))
        agree = ((readings == own_gold) | (own_gold < 0)).all(1)
        expected = log_sum(scores) - log_sum(scores[agree])
        assert nll.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_two_tokens_by_hand():
    crf = CRF(2).double()
    with torch.no_grad():
        crf.between.copy_(torch.tensor([[5.0, 1.0], [1.0, 2.0]]).log())
        crf.first.copy_(torch.tensor([1.0, 0.5]).log())
        crf.last.copy_(torch.tensor([1.0, 2.0]).log())
    # exponentiated: 00 1·3·5·1 = 15, 01 1·4·1·2 = 8, 10 ½·2·3·1·1 = 3, 11 ½·2·4·2·2 = 16
    emissions, free = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).log(), Transitions.free(2)
    assert crf.log_partition(emissions, [2], free).item() == pytest.approx(np.log(42))
    for gold, weight in [([1, 1], 16), ([0, 1], 8), ([-1, 1], 24), ([1, -1], 19), ([-1, -1], 42)]:
        nll = crf.nll(emissions, torch.tensor(gold), [2], free)
        assert nll.item() == pytest.approx(np.log(42 / weight), abs=1e-6)
    never_01 = Transitions(np.array([[0.0, -np.inf], [0.0, 0.0]]), np.zeros(2), np.zeros(2))
    assert crf.log_partition(emissions, [2], never_01).item() == pytest.approx(np.log(34))
    nll = crf.nll(emissions, torch.tensor([-1, 1]), [2], never_01)
    assert nll.item() == pytest.approx(np.log(34 / 16))
    # The best alone: 11, though 10 and 00 have the better start and end by themselves.
    transitions = crf.transitions(free)
    assert decode(emissions.numpy(), np.array([2]), transitions).tolist() == [1, 1]
    spans, tags = np.array([[0, 1], [1, 2], [0, 2]]), np.array([1, 1])
    found = span_probabilities(emissions.numpy(), np.array([2]), transitions, spans, tags)
    assert found.tolist() == pytest.approx([19 / 42, 24 / 42, 16 / 42])


@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_decoding_finds_the_sequence_of_the_highest_likelihood(lengths, seed):
    emissions = make_emissions(seed, sum(lengths), 5)
    crf = make_crf(seed, 5)
    tags = decode(emissions, np.array(lengths), crf.transitions(BILUO))
    for own, found in zip(split(emissions, lengths), split(tags, lengths), strict=True):
        readings, scores = all_readings(own, crf.transitions(BILUO))
        assert found.tolist() == readings[scores.argmax()].tolist()


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_the_gradient_of_log_z_holds_the_marginals(kind, n_tags, lengths, seed):
    # A property of the exponential family, and two implementations: one by autograd, one not.
    lengths = [*lengths, 2]
    emissions = torch.from_numpy(make_emissions(seed, sum(lengths), n_tags)).requires_grad_()
    crf, legal = make_crf(seed, n_tags), make_transitions(seed, n_tags, kind)
    crf.log_partition(emissions, lengths, legal).sum().backward()
    tokens = np.arange(len(emissions))
    for tag in range(n_tags):
        marginals = span_probabilities(
            emissions.detach().numpy(),
            np.array(lengths),
            crf.transitions(legal),
            np.stack([tokens, tokens + 1], 1),
            np.full(len(tokens), tag),
        )
        np.testing.assert_allclose(emissions.grad[:, tag], marginals, atol=1e-9)


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=8),
    seed=SEEDS,
    missing=st.sampled_from([0.0, 0.3]),
)
def test_a_sequence_is_scored_the_same_alone_and_in_a_batch(kind, n_tags, lengths, seed, missing):
    emissions = make_emissions(seed, sum(lengths), n_tags)
    crf, legal = make_crf(seed, n_tags), make_transitions(seed, n_tags, kind)
    gold = make_gold(seed, lengths, emissions, crf.transitions(legal), missing)
    batched = crf.nll(torch.from_numpy(emissions), torch.from_numpy(gold), lengths, legal)
    alone = [
        crf.nll(torch.from_numpy(own), torch.from_numpy(tags), [len(own)], legal).item()
        for own, tags in zip(split(emissions, lengths), split(gold, lengths), strict=True)
    ]
    np.testing.assert_allclose(batched.detach(), alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("missing", [0.0, 0.4], ids=["all gold", "some missing"])
@pytest.mark.parametrize("lengths", [[3, 0, 1, 4], [1, 1]], ids=str)
@pytest.mark.parametrize(("kind", "n_tags"), [("free", 3), ("biluo", 5), ("partly forbidden", 4)])
def test_gradients_are_those_of_finite_differences(kind, n_tags, lengths, missing):
    emissions = torch.from_numpy(make_emissions(0, sum(lengths), n_tags)).requires_grad_()
    crf, legal = make_crf(1, n_tags), make_transitions(2, n_tags, kind)
    gold = make_gold(3, lengths, emissions, crf.transitions(legal), missing)

    def nll(emissions, *tables):
        for name, table in zip(("between", "first", "last"), tables, strict=True):
            delattr(crf, name)
            setattr(crf, name, table)
        return crf.nll(emissions, torch.from_numpy(gold), lengths, legal)

    tables = [table.detach().clone().requires_grad_() for table in crf.parameters()]
    assert torch.autograd.gradcheck(nll, (emissions, *tables))


@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_without_transitions_the_nll_is_the_cross_entropy(lengths, seed):
    emissions = torch.from_numpy(make_emissions(seed, sum(lengths), 4))
    gold = torch.from_numpy(np.random.default_rng(seed).integers(4, size=sum(lengths)))
    found = CRF(4).nll(emissions, gold, lengths, Transitions.free(4))
    losses = torch.nn.functional.cross_entropy(emissions, gold, reduction="none")
    expected = [part.sum().item() for part in losses.split(lengths)]
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_no_score_can_make_the_illegal_possible(lengths, seed):
    lengths = [*lengths, 2]
    emissions = make_emissions(seed, sum(lengths), 5)
    crf = CRF(5).double()
    with torch.no_grad():  # all that is illegal is learned to be very good
        for name, table in crf.named_parameters():
            table.copy_(torch.from_numpy(np.where(np.isneginf(getattr(BILUO, name)), 1e4, 0.0)))
    total = crf.log_partition(torch.from_numpy(emissions), lengths, BILUO)
    plain = CRF(5).log_partition(torch.from_numpy(emissions), lengths, BILUO)
    assert torch.equal(total, plain)
    total.sum().backward()
    for name, table in crf.named_parameters():
        assert not table.grad[torch.from_numpy(np.isneginf(getattr(BILUO, name)))].any()
    tags = torch.from_numpy(decode(emissions, np.array(lengths), crf.transitions(BILUO)))
    assert crf.score(torch.from_numpy(emissions), tags, lengths, BILUO).isfinite().all()


@pytest.mark.parametrize("gold", [[1, 0], [2, 3], [0, 1], [-1, 1], [-1, 2, 0], [1, 3, 2]], ids=str)
def test_gold_that_is_illegal_has_an_infinite_nll_and_no_nan(gold):
    emissions = torch.zeros(len(gold) + 2, 5, requires_grad=True)
    crf = CRF(5)
    tags = torch.tensor([*gold, 0, 0])
    nll = crf.nll(emissions, tags, [len(gold), 2], BILUO)
    assert nll[0] == torch.inf
    # O O, U O, O U, U U and B L are legal
    assert nll[1].item() == pytest.approx(np.log(5))
    nll[1].backward()
    assert all(x.grad.isfinite().all() for x in [emissions, *crf.parameters()])


def test_where_nothing_is_legal_log_z_is_minus_infinity():
    nothing = Transitions(np.zeros((2, 2)), np.full(2, -np.inf), np.zeros(2))
    assert CRF(2).log_partition(torch.zeros(3, 2), [3], nothing).tolist() == [-np.inf]


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]], ids=str)
def test_no_tokens_are_certain(lengths):
    emissions, tags = torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)
    zeros = [0.0] * len(lengths)
    assert CRF(5).log_partition(emissions, lengths, BILUO).tolist() == zeros
    assert CRF(5).score(emissions, tags, lengths, BILUO).tolist() == zeros
    assert CRF(5).nll(emissions, tags, lengths, BILUO).tolist() == zeros


@pytest.mark.parametrize("missing", [0.0, 0.5])
@pytest.mark.parametrize("values", [(-1e4, 1e4), (-1e4, -300.0, 0.0)], ids=str)
def test_very_peaked_emissions_give_finite_losses_and_gradients(values, missing):
    rng, lengths = np.random.default_rng(0), [7, 1, 0, 12]
    chosen = rng.choice(values, size=(20, 5)).astype("float32")
    crf, emissions = CRF(5), torch.from_numpy(chosen).requires_grad_()
    gold = make_gold(0, lengths, chosen, BILUO, missing)
    nll = crf.nll(emissions, torch.from_numpy(gold), lengths, BILUO)
    nll.sum().backward()
    assert nll.isfinite().all()
    assert (nll >= 0.0).all()
    assert all(x.grad.isfinite().all() for x in [emissions, *crf.parameters()])


def test_very_long_sequences_are_exact_in_single_precision_too():
    n_tokens = 20_000
    emissions = torch.from_numpy(make_emissions(0, n_tokens, 3)).float().requires_grad_()
    total = CRF(3).log_partition(emissions, [n_tokens], Transitions.free(3))
    assert total.item() == pytest.approx(emissions.double().logsumexp(1).sum().item(), rel=1e-12)
    total.backward()
    torch.testing.assert_close(emissions.grad, emissions.detach().softmax(1), atol=1e-6, rtol=0)


def test_transitions_are_learned_scores_where_they_are_legal():
    crf = make_crf(0, 5)
    transitions = crf.transitions(BILUO)
    for name, table in crf.named_parameters():
        legal, found = getattr(BILUO, name), getattr(transitions, name)
        allowed = np.isfinite(legal)
        np.testing.assert_array_equal(found[allowed], table.detach().numpy()[allowed])
        assert np.isneginf(found[~allowed]).all()


def test_new_tags_have_the_transitions_of_the_first():
    crf = CRF(2)
    with torch.no_grad():
        crf.between.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        crf.first.copy_(torch.tensor([5.0, 6.0]))
        crf.last.copy_(torch.tensor([7.0, 8.0]))
    crf.resize(4)
    assert crf.between.tolist() == [[1, 2, 1, 1], [3, 4, 3, 3], [1, 2, 1, 1], [1, 2, 1, 1]]
    assert crf.first.tolist() == [5, 6, 5, 5]
    assert crf.last.tolist() == [7, 8, 7, 7]


@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS, scale=st.sampled_from([0.1, 1.0, 10.0]))
def test_no_emissions_let_a_new_label_into_the_best_sequence(lengths, seed, scale):
    crf = make_crf(seed, 5, scale)
    emissions = scale * make_emissions(seed, sum(lengths), 5)
    before = decode(emissions, np.array(lengths), crf.transitions(BILUO))
    crf.resize(13)
    wider = np.concatenate([emissions, np.repeat(emissions[:, :1] - 0.01, 8, axis=1)], axis=1)
    labels = [f"{part}-{label}" for label in "XYZ" for part in "BILU"]
    after = decode(wider, np.array(lengths), crf.transitions(Transitions.biluo(["O", *labels])))
    np.testing.assert_array_equal(after, before)


def test_the_module_imports_no_spacy():
    program = "import sys, bigru_tagger.network.crf; sys.exit('spacy' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
