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

from bigru_tagger.decoding import likelihood
from bigru_tagger.decoding.crf import CRF
from bigru_tagger.decoding.marginals import span_probabilities
from bigru_tagger.decoding.transitions import Transitions
from bigru_tagger.decoding.viterbi import decode

FIVE = TAGS[:5]  # O, B, I, L, U
BILUO = Transitions.biluo(FIVE)


def trainable(**tables):
    """A CRF with learned scores."""
    tensors = {name: torch.as_tensor(table).requires_grad_() for name, table in tables.items()}
    return CRF(len(tensors["first"]), tensors)


def make_crf(seed, n_tags, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return trainable(
        **{
            name: scale * torch.randn(shape, generator=generator, dtype=torch.float64)
            for name, shape in CRF.shapes(n_tags).items()
        }
    )


def zeros(n_tags):
    shapes = CRF.shapes(n_tags).items()
    return trainable(**{name: torch.zeros(shape) for name, shape in shapes})


def compute(function, crf, *args):
    """Call a function of the likelihood with the scores of a CRF."""
    *args, valid = args
    return getattr(likelihood, function)(*args, likelihood.score_tables(crf.parameters, valid))


def make_gold(seed, lengths, logits, transitions, missing):
    """Take the best valid tags of other logits as gold, some of them missing."""
    rng = np.random.default_rng(seed)
    gold = decode(rng.normal(size=logits.shape), np.array(lengths), transitions)
    gold[rng.random(len(gold)) < missing] = -1
    return gold


def log_sum(scores):
    return np.logaddexp.reduce(scores)


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_log_partition_sums_all_hypotheses(kind, n_tags, lengths, seed):
    logits = make_logits(seed, sum(lengths), n_tags)
    crf, valid = make_crf(seed, n_tags), make_transitions(seed, n_tags, kind)
    found = compute("log_partition", crf, torch.from_numpy(logits), lengths, valid)
    expected = [
        log_sum(all_hypotheses(own, crf.transitions(valid))[1]) for own in split(logits, lengths)
    ]
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-9, atol=1e-9)


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_score_agrees_with_the_definition(kind, n_tags, lengths, seed):
    logits = make_logits(seed, sum(lengths), n_tags)
    crf, valid = make_crf(seed, n_tags), make_transitions(seed, n_tags, kind)
    tags = np.random.default_rng(seed).integers(n_tags, size=sum(lengths))  # valid or not
    found = compute("score", crf, torch.from_numpy(logits), torch.from_numpy(tags), lengths, valid)
    for own, own_tags, score in zip(
        split(logits, lengths), split(tags, lengths), found, strict=True
    ):
        hypotheses, scores = all_hypotheses(own, crf.transitions(valid))
        (hypothesis,) = np.flatnonzero((hypotheses == own_tags).all(1))
        assert score.item() == pytest.approx(scores[hypothesis], rel=1e-9, abs=1e-9)


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS, missing=st.sampled_from([0.0, 0.3, 1.0]))
def test_nll_is_the_share_of_the_hypotheses_that_agree_with_the_gold(
    kind, n_tags, lengths, seed, missing
):
    logits = make_logits(seed, sum(lengths), n_tags)
    crf, valid = make_crf(seed, n_tags), make_transitions(seed, n_tags, kind)
    gold = make_gold(seed, lengths, logits, crf.transitions(valid), missing)
    found = compute("nll", crf, torch.from_numpy(logits), torch.from_numpy(gold), lengths, valid)
    for own, own_gold, nll in zip(split(logits, lengths), split(gold, lengths), found, strict=True):
        hypotheses, scores = all_hypotheses(own, crf.transitions(valid))
        agree = ((hypotheses == own_gold) | (own_gold < 0)).all(1)
        expected = log_sum(scores) - log_sum(scores[agree])
        assert nll.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_two_tokens_by_hand():
    crf = trainable(
        between=torch.tensor([[5.0, 1.0], [1.0, 2.0]]).double().log(),
        first=torch.tensor([1.0, 0.5]).double().log(),
        last=torch.tensor([1.0, 2.0]).double().log(),
    )
    # exponentiated: 00 1·3·5·1 = 15, 01 1·4·1·2 = 8, 10 ½·2·3·1·1 = 3, 11 ½·2·4·2·2 = 16
    logits, free = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).log(), Transitions.free(2)
    assert compute("log_partition", crf, logits, [2], free).item() == pytest.approx(np.log(42))
    for gold, weight in [([1, 1], 16), ([0, 1], 8), ([-1, 1], 24), ([1, -1], 19), ([-1, -1], 42)]:
        nll = compute("nll", crf, logits, torch.tensor(gold), [2], free)
        assert nll.item() == pytest.approx(np.log(42 / weight), abs=1e-6)
    never_01 = Transitions(np.array([[0.0, -np.inf], [0.0, 0.0]]), np.zeros(2), np.zeros(2))
    assert compute("log_partition", crf, logits, [2], never_01).item() == pytest.approx(np.log(34))
    nll = compute("nll", crf, logits, torch.tensor([-1, 1]), [2], never_01)
    assert nll.item() == pytest.approx(np.log(34 / 16))
    # The best sequence is 11, with a weight of 16.
    transitions = crf.transitions(free)
    assert decode(logits.numpy(), np.array([2]), transitions).tolist() == [1, 1]
    spans, tags = np.array([[0, 1], [1, 2], [0, 2]]), np.array([1, 1])
    found = span_probabilities(logits.numpy(), np.array([2]), transitions, spans, tags)
    assert found.tolist() == pytest.approx([19 / 42, 24 / 42, 16 / 42])


@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_decoding_finds_the_sequence_of_the_highest_likelihood(lengths, seed):
    logits = make_logits(seed, sum(lengths), 5)
    crf = make_crf(seed, 5)
    tags = decode(logits, np.array(lengths), crf.transitions(BILUO))
    for own, found in zip(split(logits, lengths), split(tags, lengths), strict=True):
        hypotheses, scores = all_hypotheses(own, crf.transitions(BILUO))
        assert found.tolist() == hypotheses[scores.argmax()].tolist()


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_the_gradient_of_log_z_are_the_marginals(kind, n_tags, lengths, seed):
    # A property of the exponential family, and two implementations: one by autograd, one not.
    lengths = [*lengths, 2]
    logits = torch.from_numpy(make_logits(seed, sum(lengths), n_tags)).requires_grad_()
    crf, valid = make_crf(seed, n_tags), make_transitions(seed, n_tags, kind)
    compute("log_partition", crf, logits, lengths, valid).sum().backward()
    tokens = np.arange(len(logits))
    for tag in range(n_tags):
        marginals = span_probabilities(
            logits.detach().numpy(),
            np.array(lengths),
            crf.transitions(valid),
            np.stack([tokens, tokens + 1], 1),
            np.full(len(tokens), tag),
        )
        np.testing.assert_allclose(logits.grad[:, tag], marginals, atol=1e-9)


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=8),
    seed=SEEDS,
    missing=st.sampled_from([0.0, 0.3]),
)
def test_scores_do_not_depend_on_the_batch(kind, n_tags, lengths, seed, missing):
    logits = make_logits(seed, sum(lengths), n_tags)
    crf, valid = make_crf(seed, n_tags), make_transitions(seed, n_tags, kind)
    gold = make_gold(seed, lengths, logits, crf.transitions(valid), missing)
    batched = compute("nll", crf, torch.from_numpy(logits), torch.from_numpy(gold), lengths, valid)
    alone = [
        compute("nll", crf, torch.from_numpy(own), torch.from_numpy(tags), [len(own)], valid).item()
        for own, tags in zip(split(logits, lengths), split(gold, lengths), strict=True)
    ]
    np.testing.assert_allclose(batched.detach(), alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("missing", [0.0, 0.4], ids=["all gold", "some missing"])
@pytest.mark.parametrize("lengths", [[3, 0, 1, 4], [1, 1]], ids=str)
@pytest.mark.parametrize(("kind", "n_tags"), [("free", 3), ("biluo", 5), ("partly forbidden", 4)])
def test_gradients_agree_with_finite_differences(kind, n_tags, lengths, missing):
    logits = torch.from_numpy(make_logits(0, sum(lengths), n_tags)).requires_grad_()
    crf, valid = make_crf(1, n_tags), make_transitions(2, n_tags, kind)
    gold = make_gold(3, lengths, logits, crf.transitions(valid), missing)

    def nll(logits, *tables):
        learned = dict(zip(("between", "first", "last"), tables, strict=True))
        return compute("nll", CRF(n_tags, learned), logits, torch.from_numpy(gold), lengths, valid)

    tables = [table.detach().clone().requires_grad_() for table in crf.parameters.values()]
    assert torch.autograd.gradcheck(nll, (logits, *tables))


@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_without_transitions_the_nll_is_the_cross_entropy(lengths, seed):
    logits = torch.from_numpy(make_logits(seed, sum(lengths), 4))
    gold = torch.from_numpy(np.random.default_rng(seed).integers(4, size=sum(lengths)))
    found = compute("nll", zeros(4), logits, gold, lengths, Transitions.free(4))
    losses = torch.nn.functional.cross_entropy(logits, gold, reduction="none")
    expected = [part.sum().item() for part in losses.split(lengths)]
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS)
def test_no_score_allows_invalid_transitions(lengths, seed):
    lengths = [*lengths, 2]
    logits = make_logits(seed, sum(lengths), 5)
    # very high learned scores for invalid transitions
    crf = trainable(
        **{name: np.where(np.isneginf(getattr(BILUO, name)), 1e4, 0.0) for name in CRF.shapes(5)}
    )
    total = compute("log_partition", crf, torch.from_numpy(logits), lengths, BILUO)
    plain = compute("log_partition", zeros(5), torch.from_numpy(logits), lengths, BILUO)
    assert torch.equal(total, plain)
    total.sum().backward()
    for name, table in crf.parameters.items():
        assert not table.grad[torch.from_numpy(np.isneginf(getattr(BILUO, name)))].any()
    tags = torch.from_numpy(decode(logits, np.array(lengths), crf.transitions(BILUO)))
    assert compute("score", crf, torch.from_numpy(logits), tags, lengths, BILUO).isfinite().all()


@pytest.mark.parametrize("gold", [[1, 0], [2, 3], [0, 1], [-1, 1], [-1, 2, 0], [1, 3, 2]], ids=str)
def test_invalid_gold_has_an_infinite_nll_and_no_nan(gold):
    logits = torch.zeros(len(gold) + 2, 5, requires_grad=True)
    crf = zeros(5)
    tags = torch.tensor([*gold, 0, 0])
    nll = compute("nll", crf, logits, tags, [len(gold), 2], BILUO)
    assert nll[0] == torch.inf
    # O O, U O, O U, U U and B L are valid
    assert nll[1].item() == pytest.approx(np.log(5))
    nll[1].backward()
    assert all(x.grad.isfinite().all() for x in [logits, *crf.parameters.values()])


def test_log_z_is_minus_infinity_if_no_sequence_is_valid():
    nothing = Transitions(np.zeros((2, 2)), np.full(2, -np.inf), np.zeros(2))
    assert compute("log_partition", zeros(2), torch.zeros(3, 2), [3], nothing).tolist() == [-np.inf]


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]], ids=str)
def test_empty_sequences_have_a_probability_of_one(lengths):
    logits, tags = torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)
    ones = [0.0] * len(lengths)  # log 1
    assert compute("log_partition", zeros(5), logits, lengths, BILUO).tolist() == ones
    assert compute("score", zeros(5), logits, tags, lengths, BILUO).tolist() == ones
    assert compute("nll", zeros(5), logits, tags, lengths, BILUO).tolist() == ones


@pytest.mark.parametrize("missing", [0.0, 0.5])
@pytest.mark.parametrize("values", [(-1e4, 1e4), (-1e4, -300.0, 0.0)], ids=str)
def test_very_peaked_logits_give_finite_losses_and_gradients(values, missing):
    rng, lengths = np.random.default_rng(0), [7, 1, 0, 12]
    chosen = rng.choice(values, size=(20, 5)).astype("float32")
    crf, logits = zeros(5), torch.from_numpy(chosen).requires_grad_()
    gold = make_gold(0, lengths, chosen, BILUO, missing)
    nll = compute("nll", crf, logits, torch.from_numpy(gold), lengths, BILUO)
    nll.sum().backward()
    assert nll.isfinite().all()
    assert (nll >= 0.0).all()
    assert all(x.grad.isfinite().all() for x in [logits, *crf.parameters.values()])


def test_very_long_sequences_are_exact_in_single_precision_too():
    n_tokens = 20_000
    logits = torch.from_numpy(make_logits(0, n_tokens, 3)).float().requires_grad_()
    total = compute("log_partition", zeros(3), logits, [n_tokens], Transitions.free(3))
    assert total.item() == pytest.approx(logits.double().logsumexp(1).sum().item(), rel=1e-12)
    total.backward()
    torch.testing.assert_close(logits.grad, logits.detach().softmax(1), atol=1e-6, rtol=0)


def test_transitions_are_learned_scores_where_they_are_valid():
    crf = make_crf(0, 5)
    transitions = crf.transitions(BILUO)
    for name, table in crf.parameters.items():
        valid, found = getattr(BILUO, name), getattr(transitions, name)
        allowed = np.isfinite(valid)
        np.testing.assert_array_equal(found[allowed], table.detach().numpy()[allowed])
        assert np.isneginf(found[~allowed]).all()


def test_new_tags_have_the_transitions_of_the_first():
    crf = trainable(between=[[1.0, 2.0], [3.0, 4.0]], first=[5.0, 6.0], last=[7.0, 8.0])
    resized = crf.resize(4)
    assert resized["between"].tolist() == [[1, 2, 1, 1], [3, 4, 3, 3], [1, 2, 1, 1], [1, 2, 1, 1]]
    assert resized["first"].tolist() == [5, 6, 5, 5]
    assert resized["last"].tolist() == [7, 8, 7, 7]


@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS, scale=st.sampled_from([0.1, 1.0, 10.0]))
def test_new_tags_are_never_in_the_best_sequence(lengths, seed, scale):
    crf = make_crf(seed, 5, scale)
    logits = scale * make_logits(seed, sum(lengths), 5)
    before = decode(logits, np.array(lengths), crf.transitions(BILUO))
    crf = CRF(13, crf.resize(13))
    wider = np.concatenate([logits, np.repeat(logits[:, :1] - 0.01, 8, axis=1)], axis=1)
    labels = [f"{part}-{label}" for label in "XYZ" for part in "BILU"]
    after = decode(wider, np.array(lengths), crf.transitions(Transitions.biluo(["O", *labels])))
    np.testing.assert_array_equal(after, before)


# --- weights of tokens


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS, missing=st.sampled_from([0.0, 0.3, 1.0]))
def test_weighted_nll_follows_the_chain_rule(kind, n_tags, lengths, seed, missing):
    logits = make_logits(seed, sum(lengths), n_tags)
    crf, valid = make_crf(seed, n_tags), make_transitions(seed, n_tags, kind)
    gold = make_gold(seed, lengths, logits, crf.transitions(valid), missing)
    weights = np.random.default_rng(seed).choice([0.0, 0.5, 1.0, 3.0], size=len(gold))
    tensors = [torch.from_numpy(array) for array in (logits, gold, weights)]
    found = compute("weighted_nll", crf, *tensors, lengths, valid)
    parts = (split(array, lengths) for array in (logits, gold, weights))
    for own, own_gold, own_weights, loss in zip(*parts, found, strict=True):
        hypotheses, scores = all_hypotheses(own, crf.transitions(valid))
        agree = (hypotheses == own_gold) | (own_gold < 0)
        # log p(the first t tags), for t from 0
        upto = [log_sum(scores[agree[:, :t].all(1)]) for t in range(len(own_gold) + 1)]
        expected = -(own_weights * np.diff(upto)).sum()
        assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@TRANSITIONS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS, seed=SEEDS, missing=st.sampled_from([0.0, 0.3]))
def test_equal_weights_multiply_the_nll_and_its_gradients(kind, n_tags, lengths, seed, missing):
    valid, gradients = make_transitions(seed, n_tags, kind), []
    for function in ("nll", "weighted_nll"):
        crf = make_crf(seed, n_tags)
        logits = torch.from_numpy(make_logits(seed, sum(lengths), n_tags)).requires_grad_()
        gold = make_gold(seed, lengths, logits.detach().numpy(), crf.transitions(valid), missing)
        args = [logits, torch.from_numpy(gold)]
        if function == "weighted_nll":
            args.append(torch.full((len(gold),), 2.5))
        losses = compute(function, crf, *args, lengths, valid)
        parameters = [logits, *crf.parameters.values()]
        found = torch.autograd.grad(losses.sum(), parameters, materialize_grads=True)
        gradients.append([losses.detach(), *found])
    for plain, weighted in zip(*gradients, strict=True):
        torch.testing.assert_close(weighted, 2.5 * plain, rtol=1e-8, atol=1e-8)


def test_the_weights_of_two_tokens_by_hand():
    crf = trainable(
        between=torch.tensor([[5.0, 1.0], [1.0, 2.0]]).double().log(),
        first=torch.tensor([1.0, 0.5]).double().log(),
        last=torch.tensor([1.0, 2.0]).double().log(),
    )
    logits, free = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).log(), Transitions.free(2)
    # As above, the weights of 00, 01, 10 and 11 are 15, 8, 3 and 16, so p(0) = 23/42 for the first
    # tag, and p(1 | 0) = 8/23 for the second.
    loss = compute(
        "weighted_nll", crf, logits, torch.tensor([0, 1]), torch.tensor([3.0, 0.5]), [2], free
    )
    assert loss.item() == pytest.approx(3 * np.log(42 / 23) + 0.5 * np.log(23 / 8))
    never_01 = Transitions(np.array([[0.0, -np.inf], [0.0, 0.0]]), np.zeros(2), np.zeros(2))
    invalid = torch.tensor([0, 1])
    loss = compute("weighted_nll", crf, logits, invalid, torch.tensor([1.0, 0.0]), [2], never_01)
    assert loss.item() == np.inf
