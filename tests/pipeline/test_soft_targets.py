"""Tests of soft targets and the loss of a student."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import CRF, TINY, annotate, build, read_examples, train
from spacy.tokens import Doc
from spacy.training import Example

from bigru_tagger.pipeline.soft_targets import SoftTargets
from bigru_tagger.pipeline.training import join
from bigru_tagger.schemes import biluo_tags

LABELS = ["LOC", "ORG", "PER"]
TAGS = tuple(biluo_tags(LABELS))


def make_example(vocab, words, targets, ents=None):
    reference = Doc(vocab, words=words, ents=ents)
    targets.attach(reference)
    return Example(Doc(vocab, words=words), reference)


def make_targets(rows, **settings):
    """Create targets from the probabilities by tag, with the same number of tags per token."""
    columns = np.array([[TAGS.index(tag) for tag in row] for row in rows])
    probabilities = np.array([list(row.values()) for row in rows], dtype=np.float32)
    return SoftTargets(TAGS, columns, probabilities, **settings)


def test_loss_of_two_tokens_by_hand():
    pipe = build("bigru_ner").get_pipe("bigru_ner")
    targets = make_targets(
        [{"O": 0.64, "U-PER": 0.36}, {"U-LOC": 0.5, "O": 0.0}], temperature=2.0, weight=0.25
    )
    # The gold tag of the first token is O. The second token has none.
    example = make_example(pipe.vocab, ["a", "b"], targets, ents=["O", ""])
    scores = np.zeros((2, 13), dtype="float32")  # equal logits for all 13 tags
    loss, (gradient,) = pipe.get_loss([example], [scores])
    assert loss == pytest.approx((0.75 + 0.25 * 4 + 4) * np.log(13) / 2, rel=1e-6)
    # The ratio of the square roots of 0.64 and 0.36 is 4 to 3.
    expected = np.full((2, 13), 1 / 13)
    expected[0] *= 0.75 + 0.25 * 2
    expected[0, TAGS.index("O")] -= 0.75 + 0.25 * 2 * 4 / 7
    expected[0, TAGS.index("U-PER")] -= 0.25 * 2 * 3 / 7
    expected[1] *= 2
    expected[1, TAGS.index("U-LOC")] -= 2
    np.testing.assert_allclose(gradient, expected / 2, atol=1e-7)


def test_tokens_without_a_teachers_output_use_only_gold():
    pipe = build("bigru_ner").get_pipe("bigru_ner")
    no_output = make_targets([{"O": 0.0}, {"O": 0.0}], temperature=3.0, weight=0.9)
    words, ents = ["a", "b"], ["B-PER", "I-PER"]
    with_targets = make_example(pipe.vocab, words, no_output, ents)
    plain = Example(Doc(pipe.vocab, words=words), Doc(pipe.vocab, words=words, ents=ents))
    scores = [np.random.default_rng(0).normal(size=(2, 13)).astype("float32")]
    loss, (gradient,) = pipe.get_loss([with_targets], scores)
    expected, (expected_gradient,) = pipe.get_loss([plain], scores)
    assert loss == pytest.approx(expected)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-7)
    neither = make_example(pipe.vocab, words, no_output)
    loss, (gradient,) = pipe.get_loss([neither], scores)
    assert loss == 0.0
    assert not gradient.any()


@pytest.fixture(scope="module")
def pipe():
    return build("bigru_ner", label_smoothing=0.1).get_pipe("bigru_ner")


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kinds=st.lists(st.sampled_from(["both", "teacher", "gold", "nothing"]), min_size=1, max_size=5),
    temperatures=st.tuples(st.floats(0.5, 5.0), st.floats(0.5, 5.0)),
    weight=st.floats(0.0, 1.0),
)
def test_loss_and_gradient_against_autograd(pipe, seed, kinds, temperatures, weight):
    rng = np.random.default_rng(seed)
    n, n_tags, k = len(kinds), len(TAGS), 4
    examples, scores, expected = [], [], []
    for temperature in (*temperatures, None):  # the last example has no soft targets
        gold = rng.integers(0, 2, n)  # O or U-PER
        has_gold = np.array([kind in ("both", "gold") for kind in kinds])
        has_soft = np.array([kind in ("both", "teacher") for kind in kinds]) & (
            temperature is not None
        )
        columns = np.stack([rng.permutation(n_tags)[:k] for _ in kinds])
        probabilities = rng.dirichlet(np.ones(k), n).astype("float32") * has_soft[:, None]
        words = [str(i) for i in range(n)]
        ents = [
            ("B-PER" if g else "O") if has else "" for g, has in zip(gold, has_gold, strict=True)
        ]
        reference = Doc(pipe.vocab, words=words, ents=ents)
        if temperature is not None:
            targets = SoftTargets(TAGS, columns, probabilities, temperature, weight)
            targets.attach(reference)
        examples.append(Example(Doc(pipe.vocab, words=words), reference))
        own = torch.tensor(rng.normal(scale=3.0, size=(n, n_tags)), dtype=torch.float32)
        scores.append(own.requires_grad_())
        hard = torch.full((n, n_tags), 0.1 / (n_tags - 1))
        hard[range(n), np.where(gold, TAGS.index("U-PER"), 0)] = 0.9
        loss = -(own.log_softmax(1) * hard).sum(1)
        if temperature is not None:
            teacher = torch.zeros(n, n_tags)
            teacher.scatter_(1, torch.tensor(columns), torch.tensor(probabilities))
            softened = (teacher.log() / temperature).softmax(1).nan_to_num()
            soft = -((own / temperature).log_softmax(1) * softened).sum(1) * temperature**2
            share = np.where(has_soft, np.where(has_gold, weight, 1.0), 0.0)
            share = torch.tensor(share, dtype=torch.float32)
            loss = (1 - share) * loss * torch.tensor(has_gold) + share * soft
        else:
            loss = loss * torch.tensor(has_gold)
        expected.append(loss[torch.tensor(has_gold | has_soft)])
    total = torch.cat(expected).sum() / max(len(torch.cat(expected)), 1)
    arrays = [own.detach().numpy() for own in scores]
    loss, gradients = pipe.get_loss(examples, arrays)
    assert loss == pytest.approx(total.item(), rel=1e-4, abs=1e-5)
    if total.requires_grad:
        total.backward()
    for own, gradient in zip(scores, gradients, strict=True):
        grad = torch.zeros_like(own) if own.grad is None else own.grad
        np.testing.assert_allclose(gradient, grad.numpy(), atol=1e-5)


def test_top_tags_are_normalized_and_mapped_to_the_students_tags():
    targets = make_targets([{"O": 0.3, "U-PER": 0.1}, {"U-PER": 0.0, "O": 0.0}])
    column = {tag: index for index, tag in enumerate([*reversed(TAGS), "U-NEW"])}
    rows = targets.soften(column)
    assert rows[0, column["O"]] == pytest.approx(0.75)
    assert rows[0, column["U-PER"]] == pytest.approx(0.25)
    assert rows.sum(1).tolist() == [pytest.approx(1.0), 0.0]
    labels = join([None, targets], [1, 2], column, "cpu")
    assert labels.known.tolist() == [False, True, False]
    assert labels.share(torch.tensor([True, False, True])).tolist() == [0.0, 1.0, 0.0]
    assert labels.share(torch.tensor([True, True, True])).tolist() == [0.0, 0.5, 0.0]


def test_a_student_collects_labels_from_soft_targets_and_learns_without_gold():
    nlp = build("bigru_ner")  # for `gold_tags`
    pipe = nlp.get_pipe("bigru_ner")
    gold = read_examples(nlp.vocab)
    examples = [
        make_example(
            nlp.vocab,
            [token.text for token in example.reference],
            make_targets(
                [{tag: 0.9, "U-LOC" if tag == "O" else "O": 0.1} for tag in pipe.gold_tags(example)]
            ),
        )
        for example in gold
    ]
    student = build("bigru_ner")
    student.initialize(lambda: examples)
    assert student.get_pipe("bigru_ner").labels == ("LOC", "ORG", "PER")
    optimizer = student.create_optimizer()
    optimizer.learn_rate = 0.01
    for _ in range(40):
        student.update(examples, sgd=optimizer, drop=0.0)
    for example in gold:
        doc = student(Doc(student.vocab, words=[token.text for token in example.reference]))
        assert [(e.start, e.end, e.label_) for e in doc.ents] == [
            (e.start, e.end, e.label_) for e in example.reference.ents
        ]


def test_a_teachers_label_that_the_student_lacks_raises():
    nlp = build("bigru_ner")
    targets = SoftTargets(("O", "U-DRUG"), np.zeros((1, 1), dtype=int), np.ones((1, 1), "float32"))
    with pytest.raises(ValueError, match=r"does not have these labels of the teacher: DRUG\."):
        nlp.update([make_example(nlp.vocab, ["a"], targets)])


def test_soft_targets_of_other_tokens_raise():
    nlp = build("bigru_ner")
    example = make_example(nlp.vocab, ["ab"], make_targets([{"O": 1.0}]))
    with pytest.raises(ValueError, match=r"'ab ' has a teacher's outputs, but .* other tokens"):
        nlp.update([Example(Doc(nlp.vocab, words=["a", "b"]), example.reference)])
    with pytest.raises(ValueError, match="2 tokens, but the teacher's outputs are for 1"):
        make_targets([{"O": 1.0}]).attach(Doc(nlp.vocab, words=["a", "b"]))


def test_soft_targets_with_a_crf_raise():
    nlp = build("bigru_ner", model=CRF)
    with pytest.raises(ValueError, match='set decode = "constrained"'):
        nlp.update([make_example(nlp.vocab, ["a"], make_targets([{"O": 1.0}]))])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0; got 0.0"),
        ({"temperature": float("nan")}, "temperature must be above 0; got nan"),
        ({"weight": 1.5}, "weight must be between 0 and 1; got 1.5"),
    ],
)
def test_settings_out_of_range(setting, message):
    with pytest.raises(ValueError, match=message):
        make_targets([{"O": 1.0}], **setting)


def test_other_components_ignore_soft_targets_of_entities():
    nlp = build("bigru_tagger", model=TINY)
    pipe = nlp.get_pipe("bigru_tagger")
    example = make_example(nlp.vocab, ["a"], make_targets([{"O": 1.0}]))
    annotate(example.reference, tags=["NN"])
    assert pipe.soft_targets(example) is None
    assert train(nlp, steps=1)["bigru_tagger"] > 0.0
    assert nlp.update([example])["bigru_tagger"] > 0.0
