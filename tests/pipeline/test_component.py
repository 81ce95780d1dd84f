"""Tests of all three components."""

import copy
import pickle

import numpy as np
import pytest
import spacy
import torch
from hypotheses import all_hypotheses
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import CRF, NARROW, TEXTS, TINY, annotate, build, parameters, read_examples, train
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vectors import Vectors
from thinc.api import SGD, Adam

from bigru_tagger.decoding.likelihood import nll as likelihood_nll
from bigru_tagger.decoding.likelihood import score_tables
from bigru_tagger.model.thinc_model import decoder_of
from bigru_tagger.pipeline.component import SequenceTagger

DECODERS = pytest.mark.parametrize("model", [TINY, CRF], ids=["constrained", "crf"])


def pipe_of(nlp) -> SequenceTagger:
    return nlp.pipeline[0][1]


def tagged(nlp, words):
    doc = Doc(nlp.vocab, words=words)
    return pipe_of(nlp)(doc)


def confidences(doc):
    by_entity = [ent._.confidence for ent in doc.ents]
    return by_entity or list(doc.spans["chunks"].attrs["scores"] if "chunks" in doc.spans else [])


def through_disk(nlp, other, path):
    nlp.to_disk(path)
    return other.from_disk(path)


STORAGE = {
    "to_disk, from_disk": through_disk,
    "to_disk, spacy.load": lambda nlp, other, path: (nlp.to_disk(path), spacy.load(path))[1],
    "to_bytes": lambda nlp, other, path: other.from_bytes(nlp.to_bytes()),
    "pickle": lambda nlp, other, path: pickle.loads(pickle.dumps(nlp)),
    "deepcopy": lambda nlp, other, path: copy.deepcopy(nlp),
}


@pytest.mark.parametrize("store", STORAGE.values(), ids=STORAGE)
def test_overfitting_io(task, trained, store, tmp_path):
    gold = [task.read(example.reference) for example in read_examples(trained.vocab)]
    docs = [tagged(trained, text.split()) for text in TEXTS]
    assert [task.read(doc) for doc in docs] == gold

    other = build(task.factory, model=NARROW, seed=1)
    before = pipe_of(other).logits(docs)
    loaded = store(trained, other, tmp_path)
    again = [tagged(loaded, text.split()) for text in TEXTS]
    assert [task.read(doc) for doc in again] == gold
    assert pipe_of(loaded).labels == pipe_of(trained).labels == tuple(task.labels)
    for doc, doc_again, untrained in zip(docs, again, before, strict=True):
        (expected,) = pipe_of(trained).logits([doc])
        np.testing.assert_allclose(pipe_of(loaded).logits([doc])[0], expected, atol=1e-6)
        assert not np.allclose(untrained, expected, atol=0.1)
        assert confidences(doc_again) == pytest.approx(confidences(doc), abs=1e-6)


def test_from_bytes_adds_the_labels_to_the_string_store(task, trained):
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(task.factory, config={"model": NARROW})
    pipe.from_bytes(pipe_of(trained).to_bytes(exclude=["vocab"]), exclude=["vocab"])
    assert "VBD" not in spacy.blank("en").vocab.strings
    assert task.read(tagged(nlp, TEXTS[0].split())) == task.read(tagged(trained, TEXTS[0].split()))


def test_the_default_config_overfits(task):
    nlp = spacy.blank("en")
    nlp.add_pipe(task.factory)
    nlp.initialize(lambda: read_examples(nlp.vocab))
    losses = train(nlp, steps=20)
    assert losses[task.factory] < 0.15  # not zero, because of word dropout
    doc = Doc(nlp.vocab, words=TEXTS[0].split())
    assert task.read(nlp(doc)) == task.read(read_examples(nlp.vocab)[0].reference)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_pipe_equals_call_at_any_batch_size(task, trained, batch_size):
    texts = [*TEXTS, "", "Ada", *reversed(TEXTS)]
    one_by_one = [trained(text) for text in texts]
    piped = list(trained.pipe(texts, batch_size=batch_size))
    assert [task.read(doc) for doc in piped] == [task.read(doc) for doc in one_by_one]
    for doc, alone in zip(piped, one_by_one, strict=True):
        assert confidences(doc) == pytest.approx(confidences(alone), abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_two_processes_make_the_same_predictions_as_one(task, trained):
    texts = TEXTS * 2
    docs = list(trained.pipe(texts, n_process=2, batch_size=2))
    expected = [trained(text) for text in texts]
    assert [task.read(doc) for doc in docs] == [task.read(doc) for doc in expected]
    for doc, alone in zip(docs, expected, strict=True):
        assert confidences(doc) == pytest.approx(confidences(alone), abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_logits_do_not_depend_on_the_batch(trained, data):
    words = st.sampled_from([*" ".join(TEXTS).split(), "unseen", "x" * 60, "\n", "é", "日本"])
    lengths = data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=5))
    picks = data.draw(st.lists(words, min_size=20, max_size=20))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    docs = [Doc(trained.vocab, words=rng.choice(picks, size=n).tolist()) for n in lengths]
    together = pipe_of(trained).logits(docs)
    for doc, scores in zip(docs, together, strict=True):
        np.testing.assert_allclose(scores, pipe_of(trained).logits([doc])[0], atol=1e-5)


def test_each_doc_is_read_with_its_own_vocab(trained):
    words = ["Nobody", "left", "London", "yesterday"]
    docs = [Doc(vocab, words=words) for vocab in (trained.vocab, spacy.blank("en").vocab) * 2]
    docs[1].vocab["London"].norm_ = "nothing"
    alone = [pipe_of(trained).logits([doc])[0] for doc in docs]
    assert np.abs(alone[0] - alone[1]).max() > 1e-3
    for scores, expected in zip(pipe_of(trained).logits(docs), alone, strict=True):
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    # A word that the first vocab does not know.
    other = Doc(spacy.blank("en").vocab, words=["Zyxwabc", "slept"])
    assert len(list(trained.pipe([docs[0], other]))) == 2


def test_training_needs_docs_of_one_vocab(task):
    nlp = build(task.factory)
    examples = [*read_examples(nlp.vocab), *read_examples(spacy.blank("en").vocab)]
    with pytest.raises(ValueError, match="the Docs of a batch have different vocabs"):
        nlp.update(examples)


def test_predicting_does_not_modify_docs(task, trained):
    docs = [Doc(trained.vocab, words=text.split()) for text in TEXTS]
    before = [doc.to_bytes() for doc in docs]
    pipe_of(trained).predict(docs)
    assert [doc.to_bytes() for doc in docs] == before


def test_empty_and_one_token_docs(task, trained):
    assert list(trained.pipe([])) == []
    assert pipe_of(trained).predict([]) == []
    docs = [Doc(trained.vocab), Doc(trained.vocab, words=["Ada"]), Doc(trained.vocab)]
    found = [task.read(doc) for doc in pipe_of(trained).pipe(docs)]
    assert found[0] == found[2] == []
    assert found[1] == task.read(tagged(trained, ["Ada"]))
    assert task.read(trained("")) == []


@DECODERS
def test_update_with_empty_docs_only_changes_nothing(task, model):
    nlp = build(task.factory, model=model)
    before = parameters(pipe_of(nlp))
    empty = [Example(Doc(nlp.vocab), Doc(nlp.vocab)) for _ in range(2)]
    assert nlp.update(empty, sgd=Adam(0.1)) == {task.factory: 0.0}
    after = parameters(pipe_of(nlp))
    assert all(value.equal(after[name]) for name, value in before.items())


@DECODERS
def test_update_with_some_empty_docs(task, model):
    nlp = build(task.factory, model=model)
    empty = Example(Doc(nlp.vocab), Doc(nlp.vocab))
    examples = [empty, *read_examples(nlp.vocab), empty]
    # The loss is a mean over tokens, so Docs without tokens do not change it.
    losses = nlp.update(examples, sgd=SGD(0.0))
    alone = nlp.update(read_examples(nlp.vocab), sgd=SGD(0.0))
    assert losses[task.factory] == pytest.approx(alone[task.factory], rel=1e-5)


@DECODERS
def test_examples_without_annotation_do_not_change_the_weights(task, model):
    nlp = build(task.factory, model=model)
    before = parameters(pipe_of(nlp))
    bare = [Example.from_dict(nlp.make_doc(text), {}) for text in TEXTS]
    assert pipe_of(nlp).gold_tags(bare[0]) == [None] * 8
    assert nlp.update(bare, sgd=SGD(1.0, L2=0.0))[task.factory] == 0.0
    after = parameters(pipe_of(nlp))
    assert all(value.equal(after[name]) for name, value in before.items())


@DECODERS  # with transition scores of zero, the loss of a CRF is the cross-entropy
def test_loss_is_the_mean_cross_entropy_over_annotated_tokens(model):
    nlp = build("bigru_tagger", model=model)
    pipe = pipe_of(nlp)
    doc = annotate(Doc(nlp.vocab, words=["a", "b", "c"]), tags=["NN", "", "."])
    example = Example(Doc(nlp.vocab, words=["a", "b", "c"]), doc)
    scores = np.zeros((3, len(pipe.tags)), dtype="float32")  # equal logits for nine tags
    loss, (gradient,) = pipe.get_loss([example], [scores])
    assert loss == pytest.approx(np.log(9))
    expected = np.full((3, 9), 1 / 18)  # probabilities of 1 / 9, mean over two tokens
    expected[0, pipe.tags.index("NN")] -= 1 / 2
    expected[2, pipe.tags.index(".")] -= 1 / 2
    expected[1] = 0.0  # without a gold tag
    np.testing.assert_allclose(gradient, expected, atol=1e-7)


# --- label smoothing


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_label_smoothing_by_hand(smoothing):
    nlp = build("bigru_tagger", label_smoothing=smoothing)
    pipe = pipe_of(nlp)
    doc = annotate(Doc(nlp.vocab, words=["a", "b", "c"]), tags=["NN", "", "."])
    example = Example(Doc(nlp.vocab, words=["a", "b", "c"]), doc)
    scores = np.zeros((3, 9), dtype="float32")
    noun, stop = pipe.tags.index("NN"), pipe.tags.index(".")
    # Probabilities of the first token: 8 / 16 for the gold tag, 1 / 16 for each other tag.
    scores[0, noun] = np.log(8)
    loss, (gradient,) = pipe.get_loss([example], [scores])
    first = (1 - smoothing) * np.log(2) + smoothing * np.log(16)
    assert loss == pytest.approx((first + np.log(9)) / 2, rel=1e-6)
    expected = np.zeros((3, 9))
    expected[0], expected[0, noun] = 1 / 16, 8 / 16
    expected[2] = 1 / 9
    for row, gold in ((0, noun), (2, stop)):
        expected[row] -= smoothing / 8
        expected[row, gold] -= 1 - smoothing - smoothing / 8
    np.testing.assert_allclose(gradient, expected / 2, atol=1e-7)


def test_label_smoothing_bounds_the_loss_and_is_saved(task, tmp_path):
    nlp = build(task.factory, label_smoothing=0.2)
    losses = train(nlp, steps=40, sgd=Adam(0.03, L2=0.0))
    n_tags = len(pipe_of(nlp).tags)
    least = -0.8 * np.log(0.8) - 0.2 * np.log(0.2 / (n_tags - 1))  # the entropy of the targets
    assert least < losses[task.factory] < least + 0.02
    gold = [task.read(example.reference) for example in read_examples(nlp.vocab)]
    assert [task.read(tagged(nlp, text.split())) for text in TEXTS] == gold
    nlp.to_disk(tmp_path)
    assert pipe_of(spacy.load(tmp_path)).cfg["label_smoothing"] == 0.2


def test_label_smoothing_has_no_effect_with_a_single_tag():
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("bigru_tagger", config={"model": TINY, "label_smoothing": 0.2})
    gold = one_label(Doc(nlp.vocab, words=["a", "b"]))
    examples = [Example(Doc(nlp.vocab, words=["a", "b"]), gold)]
    nlp.initialize(lambda: examples)
    loss, (gradient,) = pipe.get_loss(examples, [np.ones((2, 1), dtype="float32")])
    assert loss == 0.0
    assert not gradient.any()


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_label_smoothing_out_of_range(task, smoothing):
    with pytest.raises(ValueError, match=rf"label_smoothing .* below 1; got {smoothing}"):
        spacy.blank("en").add_pipe(task.factory, config={"label_smoothing": smoothing})


def test_label_smoothing_with_a_crf_raises(task):
    with pytest.raises(ValueError, match=r"label_smoothing = 0\.1 .*decode = \"constrained\""):
        build(task.factory, model=CRF, label_smoothing=0.1)
    nlp = build(task.factory, model=CRF)
    pipe_of(nlp).cfg["label_smoothing"] = 0.1
    with pytest.raises(ValueError, match=r"label_smoothing = 0\.1 is not supported by decode"):
        nlp.update(read_examples(nlp.vocab))


# --- the CRF


@pytest.fixture(scope="session")
def trained_crf(task):
    """A pipeline with one trained component with a CRF. Tests must not modify it."""
    nlp = build(task.factory, model=CRF)
    assert train(nlp)[task.factory] < 0.02
    return nlp


def test_a_crf_overfits_and_is_saved(task, trained_crf, tmp_path):
    gold = [task.read(example.reference) for example in read_examples(trained_crf.vocab)]
    docs = [tagged(trained_crf, text.split()) for text in TEXTS]
    assert [task.read(doc) for doc in docs] == gold
    transitions = pipe_of(trained_crf).transitions
    assert np.abs(transitions.between[np.isfinite(transitions.between)]).max() > 0.1

    trained_crf.to_disk(tmp_path)
    other = build(task.factory, model=CRF, seed=1)
    for loaded in (spacy.load(tmp_path), other.from_disk(tmp_path)):
        again = [tagged(loaded, text.split()) for text in TEXTS]
        assert [task.read(doc) for doc in again] == gold
        for doc, doc_again in zip(docs, again, strict=True):
            assert confidences(doc_again) == pytest.approx(confidences(doc), abs=1e-6)
        for name in ("between", "first", "last"):
            expected = getattr(transitions, name)
            np.testing.assert_array_equal(getattr(pipe_of(loaded).transitions, name), expected)
    assert [task.read(doc) for doc in trained_crf.pipe(TEXTS)] == gold


def test_a_crf_predicts_the_best_sequence_and_its_marginals(task, trained_crf):
    pipe = pipe_of(trained_crf)
    doc = tagged(trained_crf, ["Ada", "wrote", "daily"])
    hypotheses, scores = all_hypotheses(pipe.logits([doc])[0].astype("float64"), pipe.transitions)
    probabilities = np.exp(scores - np.logaddexp.reduce(scores))
    best = hypotheses[scores.argmax()]
    if task.factory == "bigru_tagger":
        assert task.read(doc) == [pipe.labels[tag] for tag in best]
        return
    gold = Example(Doc(doc.vocab, words=[t.text for t in doc]), doc)
    assert pipe.gold_tags(gold) == [pipe.tags[tag] for tag in best]
    spans = task.read(doc)
    expected = [
        probabilities[(hypotheses[:, start:end] == best[start:end]).all(1)].sum()
        for start, end, _ in spans
    ]
    assert confidences(doc) == pytest.approx(expected, rel=1e-6)


def test_get_loss_of_a_crf_has_no_side_effects(task, trained_crf):
    pipe = pipe_of(trained_crf)
    examples, before = read_examples(trained_crf.vocab), parameters(pipe)
    scores = pipe.model.predict([example.predicted for example in examples])
    first, second = (pipe.get_loss(examples, scores) for _ in range(2))
    assert first[0] == second[0]
    assert all(parameter.grad is None for parameter in decoder_of(pipe.model).parameters.values())
    assert all(value.equal(before[name]) for name, value in parameters(pipe).items())


def test_an_update_adds_the_gradient_of_the_transitions_once(task):
    nlp = build(task.factory, model=CRF)
    train(nlp, steps=3)
    pipe, examples = pipe_of(nlp), read_examples(nlp.vocab)
    scores = pipe.model.predict([example.predicted for example in examples])
    loss, d_scores = pipe.get_loss(examples, scores)
    learned = decoder_of(pipe.model).parameters.items()
    learned = {name: table.detach().clone().requires_grad_() for name, table in learned}
    column = {tag: index for index, tag in enumerate(pipe.tags)}
    gold = torch.tensor([column[tag] for eg in examples for tag in pipe.gold_tags(eg)])
    logits = torch.from_numpy(np.concatenate(scores))
    tables = score_tables(learned, pipe.valid_transitions)
    nll = likelihood_nll(logits, gold, [len(part) for part in scores], tables)
    (nll.sum() / len(gold)).backward()
    assert nll.sum().item() / len(gold) == pytest.approx(loss, rel=1e-6)

    for times in (1, 2):  # accumulated, as with [training] accumulate_gradient
        losses = nlp.update(examples, sgd=False, drop=0.0)
        assert losses[task.factory] == pytest.approx(loss, rel=1e-5)
        for ours, expected in zip(
            decoder_of(pipe.model).parameters.values(), learned.values(), strict=True
        ):
            torch.testing.assert_close(ours.grad, times * expected.grad, atol=1e-6, rtol=1e-4)
        bias = pipe.model.shims[0].network.linear.bias
        np.testing.assert_allclose(
            bias.grad, times * np.concatenate(d_scores).sum(0), atol=1e-6, rtol=1e-4
        )
    pipe.finish_update(SGD(0.1))
    assert all(parameter.grad is None for parameter in decoder_of(pipe.model).parameters.values())


def test_a_crf_marginalizes_over_tokens_without_gold():
    nlp = build("bigru_tagger", model=CRF)
    train(nlp, steps=10)
    pipe, words = pipe_of(nlp), ["Bob", "met", "Eve"]
    doc = annotate(Doc(nlp.vocab, words=words), tags=["NNP", "", "NN"])
    scores = pipe.logits([doc])
    loss, _ = pipe.get_loss([Example(Doc(nlp.vocab, words=words), doc)], scores)
    hypotheses, sums = all_hypotheses(scores[0].astype("float64"), pipe.transitions)
    ends = [pipe.tags.index("NNP"), pipe.tags.index("NN")]
    agree = (hypotheses[:, [0, 2]] == ends).all(1)
    expected = np.logaddexp.reduce(sums) - np.logaddexp.reduce(sums[agree])
    assert loss == pytest.approx(expected / 2, rel=1e-6)


@pytest.mark.parametrize("factory", ["bigru_ner", "bigru_chunker"])
def test_invalid_gold_tags_raise_with_the_text(factory, monkeypatch):
    nlp = build(factory, model=CRF)
    pipe = pipe_of(nlp)
    label = pipe.labels[0]
    monkeypatch.setattr(
        pipe, "gold_tags", lambda eg: [f"B-{label}", *["O"] * (len(eg.predicted) - 1)]
    )
    with pytest.raises(
        ValueError, match=rf"'Ada Lovelace .* not a valid sequence: \['B-{label}', "
    ):
        nlp.update(read_examples(nlp.vocab))
    assert all(parameter.grad is None for parameter in decoder_of(pipe.model).parameters.values())


def test_adding_a_label_to_a_trained_crf_keeps_the_old_scores(task, trained_crf):
    nlp = copy.deepcopy(trained_crf)
    pipe = pipe_of(nlp)
    docs = [Doc(nlp.vocab, words=text.split()) for text in TEXTS]
    scores, before = pipe.logits(docs), pipe.transitions
    n_old = len(pipe.tags)
    pipe.add_label("NEW")
    after = pipe.transitions
    np.testing.assert_array_equal(after.between[:n_old, :n_old], before.between)
    np.testing.assert_array_equal(after.first[:n_old], before.first)
    np.testing.assert_array_equal(after.last[:n_old], before.last)
    assert np.isin(after.first[n_old:], [before.first[0], -np.inf]).all()
    for old, new in zip(scores, pipe.logits(docs), strict=True):
        np.testing.assert_allclose(new[:, :n_old], old, atol=1e-6)
    words = ["Ships", "sink"]
    gold = one_label(Doc(nlp.vocab, words=words))
    examples = [*read_examples(nlp.vocab), Example(Doc(nlp.vocab, words=words), gold)]
    optimizer = Adam(0.03)
    for _ in range(30):
        nlp.update(examples, sgd=optimizer)
    assert task.read(tagged(nlp, words)) == task.read(gold)
    with nlp.use_params(optimizer.averages):
        assert not np.array_equal(pipe.transitions.first, after.first)


def test_the_transitions_of_a_crf_are_averaged(task):
    nlp = build(task.factory, model=CRF)
    optimizer = Adam(0.01, use_averages=True)
    train(nlp, steps=10, sgd=optimizer)
    pipe = pipe_of(nlp)
    current = pipe.transitions.first
    with nlp.use_params(optimizer.averages):
        average = pipe.transitions.first
    finite = np.isfinite(current)
    assert np.abs(average[finite] - current[finite]).max() > 0.001
    np.testing.assert_array_equal(pipe.transitions.first, current)


def test_rehearsal_with_a_crf_restores_the_distributions(task, trained_crf):
    nlp = copy.deepcopy(trained_crf)
    pipe = pipe_of(nlp)
    docs = [Doc(nlp.vocab, words=text.split()) for text in TEXTS]

    def distributions():
        scores = np.exp(np.concatenate(pipe.logits(docs)))
        return scores / scores.sum(1, keepdims=True)

    original = distributions()
    optimizer = nlp.resume_training(sgd=Adam(0.01, L2=0.0))
    wrong = [
        Example(Doc(nlp.vocab, words=text.split()), one_label(nlp(text), pipe.labels[0]))
        for text in TEXTS
    ]
    for _ in range(10):
        nlp.update(wrong, sgd=optimizer)
    changed, transitions = np.abs(distributions() - original), pipe.transitions
    for _ in range(20):
        nlp.rehearse([Example(doc, doc.copy()) for doc in docs], sgd=optimizer)
    assert np.abs(distributions() - original).mean() < 0.5 * changed.mean()
    np.testing.assert_array_equal(pipe.transitions.between, transitions.between)


def one_label(doc, tag="NEW"):
    return annotate(doc, [(0, 1, tag)], [(0, 1, tag)], [tag] * len(doc))


def test_an_unknown_label_in_update_raises(task):
    nlp = build(task.factory)
    doc = one_label(Doc(nlp.vocab, words=["Ada", "wrote"]))
    example = Example(Doc(nlp.vocab, words=["Ada", "wrote"]), doc)
    with pytest.raises(
        ValueError, match=r"NEW.*'Ada wrote '.* unknown label\. The component's labels are"
    ):
        nlp.update([example])


def test_initialize_without_labels_raises(task):
    nlp = spacy.blank("en")
    nlp.add_pipe(task.factory, config={"model": TINY})
    bare = [Example.from_dict(nlp.make_doc("Ada wrote"), {})]
    with pytest.raises(
        ValueError, match=rf"{task.factory}: the training examples contain no labels"
    ):
        nlp.initialize(lambda: bare)


def test_initialize_with_examples_without_tokens_raises(task):
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(task.factory, config={"model": TINY})
    pipe.add_label("X")
    with pytest.raises(ValueError, match="the first 10 training examples have no tokens"):
        nlp.initialize(lambda: [Example(Doc(nlp.vocab), Doc(nlp.vocab))])


def test_docs_without_tokens_need_no_initialized_model(task):
    nlp = spacy.blank("en")
    nlp.add_pipe(task.factory)
    assert pipe_of(nlp).predict([nlp.make_doc(""), nlp.make_doc("")]) == [[], []]
    assert task.read(nlp("")) == []


def test_use_before_initialization_raises(task):
    nlp = spacy.blank("en")
    nlp.add_pipe(task.factory, config={"model": TINY})
    with pytest.raises(ValueError, match=r"call nlp\.initialize\(\), or load a trained"):
        nlp("Ada wrote")


@pytest.mark.parametrize("label", [3, None, "", b"PER", ["PER"]])
def test_a_label_that_is_not_a_string_or_empty_raises(task, label):
    pipe = spacy.blank("en").add_pipe(task.factory)
    with pytest.raises(ValueError, match="non-empty string"):
        pipe.add_label(label)
    assert pipe.labels == ()


def test_labels_added_before_initialization_come_first(task):
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(task.factory, config={"model": TINY})
    assert [pipe.add_label("NEW"), pipe.add_label("NEW")] == [1, 0]
    nlp.initialize(lambda: read_examples(nlp.vocab))
    assert pipe.labels == ("NEW", *task.labels)
    assert pipe.model.get_dim("nO") == len(pipe.tags)
    assert "NEW" in nlp.vocab.strings


def test_adding_a_label_to_a_trained_pipe_keeps_the_old_scores(task, trained):
    nlp = copy.deepcopy(trained)
    pipe = pipe_of(nlp)
    docs = [Doc(nlp.vocab, words=text.split()) for text in TEXTS]
    before = pipe.logits(docs)
    n_old = before[0].shape[1]
    assert pipe.add_label("NEW") == 1
    assert pipe.model.get_dim("nO") == len(pipe.tags) > n_old
    for old, new in zip(before, pipe.logits(docs), strict=True):
        np.testing.assert_allclose(new[:, :n_old], old, atol=1e-6)
        assert new.shape[1] == len(pipe.tags)
        np.testing.assert_allclose(
            new[:, n_old:] + 16.0, np.repeat(old[:, :1], len(pipe.tags) - n_old, 1), atol=1e-5
        )
    # The label can be learned with an optimizer that has already updated the smaller network.
    optimizer = Adam(0.03)
    nlp.update(read_examples(nlp.vocab), sgd=optimizer)
    pipe.add_label("NEWER")
    example = Example(
        Doc(nlp.vocab, words=["Ships", "sink"]),
        one_label(Doc(nlp.vocab, words=["Ships", "sink"]), "NEWER"),
    )
    for _ in range(30):
        nlp.update([*read_examples(nlp.vocab), example], sgd=optimizer)
    doc = tagged(nlp, ["Ships", "sink"])
    assert task.read(doc) == task.read(example.reference)
    # The averaged weights include the new outputs.
    with nlp.use_params(optimizer.averages):
        assert pipe.logits([doc])[0].shape == (2, len(pipe.tags))


@DECODERS
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_adding_labels_changes_no_prediction(task, model, temperature, tmp_path):
    nlp = build(task.factory, model=model)
    train(nlp, steps=8)  # so few that the probabilities are far from 1
    pipe_of(nlp).cfg["temperature"] = temperature  # not used by the tagger
    words = [*" ".join(TEXTS).split(), "unseen", "12", "\n"]
    rng = np.random.default_rng(0)
    texts = [rng.choice(words, size=n).tolist() for n in range(1, 31)]

    def predict(nlp):
        docs = [tagged(nlp, text) for text in texts]
        return [task.read(doc) for doc in docs], [x for doc in docs for x in confidences(doc)]

    found, probabilities = predict(nlp)
    assert any(found)
    for label in ("A", "B", "C"):
        pipe_of(nlp).add_label(label)
    nlp.to_disk(tmp_path)
    for again in (nlp, spacy.load(tmp_path)):
        assert predict(again) == (found, pytest.approx(probabilities, abs=1e-6))
    if temperature != 1.0:
        return
    # The loaded pipeline can learn the new labels.
    texts = {"A": ["Ships", "sink"], "C": ["Rain", "fell"]}
    gold = [one_label(Doc(again.vocab, words=words), label) for label, words in texts.items()]
    examples = [Example(Doc(again.vocab, words=[t.text for t in doc]), doc) for doc in gold]
    optimizer = Adam(0.03)
    for _ in range(30):
        again.update([*read_examples(again.vocab), *examples], sgd=optimizer)
    for doc in gold:
        assert task.read(tagged(again, [token.text for token in doc])) == task.read(doc)


# --- NaN and infinity


@DECODERS
def test_a_loss_that_is_not_finite_raises_with_component_batch_and_learn_rate(task, model):
    nlp = build(task.factory, model=model)
    optimizer = nlp.resume_training(sgd=Adam(0.25))
    train(nlp, steps=2, sgd=optimizer)
    before = parameters(pipe_of(nlp))
    with torch.no_grad():
        pipe_of(nlp).model.shims[0].network.linear.bias[1] = float("nan")
    message = (
        rf"{task.factory}: the loss is nan after an update at learn rate 0\.25, for a batch of 4 "
        r"texts that starts with 'Ada Lovelace .*lower \[training\.optimizer\.learn_rate\]"
    )
    for learn in (nlp.update, nlp.rehearse):
        with pytest.raises(ValueError, match=message):
            learn(read_examples(nlp.vocab), sgd=optimizer)
    after = parameters(pipe_of(nlp))  # the finite weights have not been updated
    assert all(torch.equal(after[name], before[name]) for name in before if name != "linear.bias")


@DECODERS
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(task, model, value, tmp_path):
    nlp = build(task.factory, model=model)
    data = nlp.to_bytes()
    network = pipe_of(nlp).model.shims[0].network
    with torch.no_grad():
        network.embed["words"].table.weight[3, 2] = value  # a row that no batch uses
    message = rf"{task.factory}: NaN or infinite weights cannot be {{}}: embed\.words\.table"
    for save in (lambda: nlp.to_disk(tmp_path), nlp.to_bytes):
        with pytest.raises(ValueError, match=message.format("saved")):
            save()
    assert not list(tmp_path.rglob("model"))
    stored = network.to_bytes()
    assert nlp.from_bytes(data)
    pipe_of(nlp).model.shims[0].to_bytes = lambda: stored
    folder = tmp_path / "component"
    pipe_of(nlp).to_disk(folder)
    with pytest.raises(ValueError, match=message.format("loaded")):
        pipe_of(build(task.factory, model=model)).from_disk(folder)


VECTORS = {"@misc": "bigru_tagger.VectorsEmbed.v1", "fallback": True, "correction_rows": 0}


def test_vectors_that_are_not_finite_raise_with_the_word(task):
    vectors = np.ones((70_000, 2), dtype="float32")
    vectors[69_999, 1] = np.nan
    keys = [f"w{row}" for row in range(len(vectors))]
    model = {**NARROW, "embed": {"vectors": VECTORS}}

    def initialize_with(model):
        nlp = spacy.blank("en")
        nlp.vocab.strings.add(keys[-1])
        nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=vectors, keys=keys)
        nlp.add_pipe(task.factory, config={"model": model})
        nlp.initialize(lambda: read_examples(nlp.vocab))

    with pytest.raises(ValueError, match=rf"{task.factory}: the vector in row 69999 .*'w69999'"):
        initialize_with(model)
    initialize_with(TINY)  # this model does not use vectors


def test_label_data_recreates_the_labels(task, trained):
    label_data = pipe_of(trained).label_data
    assert label_data == task.labels
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(task.factory, config={"model": TINY})
    nlp.config["initialize"]["components"][task.factory] = {"labels": label_data}
    sample = read_examples(nlp.vocab)[2:3]  # lacks most labels
    nlp.initialize(lambda: sample)
    assert pipe.label_data == label_data
    assert pipe.tags == pipe_of(trained).tags


@pytest.mark.parametrize("label", ["Größe", "work-of-art", "B-LOC", "組織", "a b", "O", "-"])
def test_unusual_labels(task, label):
    nlp = spacy.blank("en")
    nlp.add_pipe(task.factory, config={"model": TINY})
    words = ["one", "two", "three"]
    gold = one_label(Doc(nlp.vocab, words=words), label)
    examples = [Example(Doc(nlp.vocab, words=words), gold)]
    nlp.initialize(lambda: examples)
    assert pipe_of(nlp).labels == (label,)
    optimizer = Adam(0.02)
    for _ in range(25):
        nlp.update(examples, sgd=optimizer)
    assert task.read(tagged(nlp, words)) == task.read(gold)


def test_rehearsal_restores_the_earlier_predictions(task, trained):
    nlp = copy.deepcopy(trained)
    pipe = pipe_of(nlp)
    docs = [Doc(nlp.vocab, words=text.split()) for text in TEXTS]

    def differences():
        scores = np.exp(np.concatenate(pipe.logits(docs)))
        return np.abs(scores / scores.sum(1, keepdims=True) - original).max(1)

    original = np.exp(np.concatenate(pipe.logits(docs)))
    original /= original.sum(1, keepdims=True)
    optimizer = nlp.resume_training(sgd=Adam(0.01, L2=0.0))
    wrong = [
        Example(Doc(nlp.vocab, words=text.split()), one_label(nlp(text), pipe.labels[0]))
        for text in TEXTS
    ]
    for _ in range(10):
        nlp.update(wrong, sgd=optimizer)
    changed = differences()
    assert changed.max() > 0.5

    before = parameters(pipe)
    for _ in range(60):
        losses = nlp.rehearse([Example(doc, doc.copy()) for doc in docs], sgd=optimizer)
    after = parameters(pipe)
    assert any(not value.equal(after[name]) for name, value in before.items())
    assert 0.0 < losses[task.factory] < 0.5
    assert differences().mean() < 0.5 * changed.mean()


def test_rehearsal_uses_its_dropout_rate(task):
    nlp = build(task.factory, model=TINY)
    pipe = pipe_of(nlp)
    nlp.resume_training()
    examples = read_examples(nlp.vocab)
    losses = {
        drop: {pipe.rehearse(examples, drop=drop)[task.factory] for _ in range(3)}
        for drop in (0.9, 0.0)
    }
    assert len(losses[0.9]) == 3
    assert len(losses[0.0]) == 1


def test_rehearsal_before_resuming_does_nothing(task, trained):
    nlp = copy.deepcopy(trained)
    example = Example(nlp.make_doc("Ada wrote"), nlp.make_doc("Ada wrote"))
    assert nlp.rehearse([example]) == {}


@pytest.mark.parametrize("factory", ["bigru_ner", "bigru_chunker"])
def test_very_long_doc(factory):
    nlp = build(factory)
    train(nlp, steps=20)
    words = TEXTS[0].split() * 6250
    doc = tagged(nlp, words)
    spans = doc.ents if factory == "bigru_ner" else doc.spans["chunks"]
    assert len(doc) == 50_000
    assert len(spans) > 6250
    assert all(0.0 <= probability <= 1.0 for probability in confidences(doc))


def test_error_handler_receives_the_failed_docs(task, trained, monkeypatch):
    nlp = copy.deepcopy(trained)
    pipe, failed = pipe_of(nlp), []

    def fail(docs):
        raise RuntimeError("no")

    monkeypatch.setattr(pipe, "predict", fail)
    pipe.set_error_handler(lambda name, proc, docs, error: failed.append((name, len(docs))))
    assert list(nlp.pipe(TEXTS)) == []
    assert failed == [(task.factory, len(TEXTS))]
