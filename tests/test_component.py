"""What holds for all three components."""

import copy
import pickle

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import NARROW, TEXTS, TINY, annotate, build, parameters, read_examples, train
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import SGD, Adam

from bigru_tagger.component import SequenceTagger


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
    before = pipe_of(other).emissions(docs)
    loaded = store(trained, other, tmp_path)
    again = [tagged(loaded, text.split()) for text in TEXTS]
    assert [task.read(doc) for doc in again] == gold
    assert pipe_of(loaded).labels == pipe_of(trained).labels == tuple(task.labels)
    for doc, doc_again, untrained in zip(docs, again, before, strict=True):
        (expected,) = pipe_of(trained).emissions([doc])
        np.testing.assert_allclose(pipe_of(loaded).emissions([doc])[0], expected, atol=1e-6)
        assert not np.allclose(untrained, expected, atol=0.1)
        assert confidences(doc_again) == pytest.approx(confidences(doc), abs=1e-6)


def test_a_component_alone_brings_the_strings_of_its_labels(task, trained):
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(task.factory, config={"model": NARROW})
    pipe.from_bytes(pipe_of(trained).to_bytes(exclude=["vocab"]), exclude=["vocab"])
    assert "VBD" not in spacy.blank("en").vocab.strings
    assert task.read(tagged(nlp, TEXTS[0].split())) == task.read(tagged(trained, TEXTS[0].split()))


def test_learns_with_no_config_at_all(task):
    nlp = spacy.blank("en")
    nlp.add_pipe(task.factory)
    nlp.initialize(lambda: read_examples(nlp.vocab))
    losses = train(nlp, steps=15)
    assert losses[task.factory] < 0.15  # word dropout keeps it off zero
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
def test_two_processes_predict_what_one_does(task, trained):
    texts = TEXTS * 2
    docs = list(trained.pipe(texts, n_process=2, batch_size=2))
    expected = [trained(text) for text in texts]
    assert [task.read(doc) for doc in docs] == [task.read(doc) for doc in expected]
    for doc, alone in zip(docs, expected, strict=True):
        assert confidences(doc) == pytest.approx(confidences(alone), abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_emissions_do_not_depend_on_the_batch(trained, data):
    words = st.sampled_from([*" ".join(TEXTS).split(), "unseen", "x" * 60, "\n", "é", "日本"])
    lengths = data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=5))
    picks = data.draw(st.lists(words, min_size=20, max_size=20))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    docs = [Doc(trained.vocab, words=rng.choice(picks, size=n).tolist()) for n in lengths]
    together = pipe_of(trained).emissions(docs)
    for doc, scores in zip(docs, together, strict=True):
        np.testing.assert_allclose(scores, pipe_of(trained).emissions([doc])[0], atol=1e-5)


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


def test_update_with_empty_docs_only_changes_nothing(task):
    nlp = build(task.factory)
    before = parameters(pipe_of(nlp))
    empty = [Example(Doc(nlp.vocab), Doc(nlp.vocab)) for _ in range(2)]
    assert nlp.update(empty, sgd=Adam(0.1)) == {task.factory: 0.0}
    after = parameters(pipe_of(nlp))
    assert all(value.equal(after[name]) for name, value in before.items())


def test_update_with_some_empty_docs(task):
    nlp = build(task.factory)
    empty = Example(Doc(nlp.vocab), Doc(nlp.vocab))
    examples = [empty, *read_examples(nlp.vocab), empty]
    # The loss is a mean over tokens: Docs without any leave it as it is.
    losses = nlp.update(examples, sgd=SGD(0.0))
    alone = nlp.update(read_examples(nlp.vocab), sgd=SGD(0.0))
    assert losses[task.factory] == pytest.approx(alone[task.factory], rel=1e-5)


def test_examples_without_annotation_teach_nothing(task):
    nlp = build(task.factory)
    before = parameters(pipe_of(nlp))
    bare = [Example.from_dict(nlp.make_doc(text), {}) for text in TEXTS]
    assert pipe_of(nlp).gold_tags(bare[0]) == [None] * 8
    assert nlp.update(bare, sgd=SGD(1.0, L2=0.0))[task.factory] == 0.0
    after = parameters(pipe_of(nlp))
    assert all(value.equal(after[name]) for name, value in before.items())


def test_loss_is_the_mean_cross_entropy_over_annotated_tokens():
    nlp = build("bigru_tagger")
    pipe = pipe_of(nlp)
    doc = annotate(Doc(nlp.vocab, words=["a", "b", "c"]), tags=["NN", "", "."])
    example = Example(Doc(nlp.vocab, words=["a", "b", "c"]), doc)
    scores = np.zeros((3, len(pipe.tags)), dtype="float32")  # all nine tags alike
    loss, (gradient,) = pipe.get_loss([example], [scores])
    assert loss == pytest.approx(np.log(9))
    expected = np.full((3, 9), 1 / 18)  # a ninth each, over two tokens
    expected[0, pipe.tags.index("NN")] -= 1 / 2
    expected[2, pipe.tags.index(".")] -= 1 / 2
    expected[1] = 0.0  # without a gold tag
    np.testing.assert_allclose(gradient, expected, atol=1e-7)


def one_label(doc, tag="NEW"):
    return annotate(doc, [(0, 1, tag)], [(0, 1, tag)], [tag] * len(doc))


def test_one_label_in_update_is_named(task):
    nlp = build(task.factory)
    doc = one_label(Doc(nlp.vocab, words=["Ada", "wrote"]))
    example = Example(Doc(nlp.vocab, words=["Ada", "wrote"]), doc)
    with pytest.raises(ValueError, match=r"NEW.*'Ada wrote '.*does not know; known are"):
        nlp.update([example])


def test_no_labels_is_an_error(task):
    nlp = spacy.blank("en")
    nlp.add_pipe(task.factory, config={"model": TINY})
    bare = [Example.from_dict(nlp.make_doc("Ada wrote"), {})]
    with pytest.raises(ValueError, match=rf"{task.factory}: the training examples hold no labels"):
        nlp.initialize(lambda: bare)


def test_examples_without_tokens_cannot_initialise(task):
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(task.factory, config={"model": TINY})
    pipe.add_label("X")
    with pytest.raises(ValueError, match="no tokens at all"):
        nlp.initialize(lambda: [Example(Doc(nlp.vocab), Doc(nlp.vocab))])


def test_use_before_initialisation_says_what_to_do(task):
    nlp = spacy.blank("en")
    nlp.add_pipe(task.factory, config={"model": TINY})
    with pytest.raises(ValueError, match=r"call nlp\.initialize\(\), or load a trained"):
        nlp("Ada wrote")


@pytest.mark.parametrize("label", [3, None, "", b"PER", ["PER"]])
def test_label_that_is_no_string_is_an_error(task, label):
    pipe = spacy.blank("en").add_pipe(task.factory)
    with pytest.raises(ValueError, match="non-empty string"):
        pipe.add_label(label)
    assert pipe.labels == ()


def test_labels_added_before_initialisation_come_first(task):
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(task.factory, config={"model": TINY})
    assert [pipe.add_label("NEW"), pipe.add_label("NEW")] == [1, 0]
    nlp.initialize(lambda: read_examples(nlp.vocab))
    assert pipe.labels == ("NEW", *task.labels)
    assert pipe.model.get_dim("nO") == len(pipe.tags)
    assert "NEW" in nlp.vocab.strings


def test_label_added_to_a_trained_pipe_leaves_the_old_scores(task, trained):
    nlp = copy.deepcopy(trained)
    pipe = pipe_of(nlp)
    docs = [Doc(nlp.vocab, words=text.split()) for text in TEXTS]
    before = pipe.emissions(docs)
    n_old = before[0].shape[1]
    assert pipe.add_label("NEW") == 1
    assert pipe.model.get_dim("nO") == len(pipe.tags) > n_old
    for old, new in zip(before, pipe.emissions(docs), strict=True):
        np.testing.assert_allclose(new[:, :n_old], old, atol=1e-6)
        assert new.shape[1] == len(pipe.tags)
        assert not new[:, n_old:].any()
    # It can be learned, also by an optimizer that has stepped the narrower network, ...
    optimizer = Adam(0.01)
    nlp.update(read_examples(nlp.vocab), sgd=optimizer)
    pipe.add_label("NEWER")
    example = Example(
        Doc(nlp.vocab, words=["Ships", "sink"]),
        one_label(Doc(nlp.vocab, words=["Ships", "sink"]), "NEWER"),
    )
    for _ in range(40):
        nlp.update([*read_examples(nlp.vocab), example], sgd=optimizer)
    doc = tagged(nlp, ["Ships", "sink"])
    assert task.read(doc) == task.read(example.reference)
    # ... and its average takes part.
    with nlp.use_params(optimizer.averages):
        assert pipe.emissions([doc])[0].shape == (2, len(pipe.tags))


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


def test_rehearsal_pulls_back_to_what_the_pipe_once_predicted(task, trained):
    nlp = copy.deepcopy(trained)
    pipe = pipe_of(nlp)
    docs = [Doc(nlp.vocab, words=text.split()) for text in TEXTS]

    def differences():
        scores = np.exp(np.concatenate(pipe.emissions(docs)))
        return np.abs(scores / scores.sum(1, keepdims=True) - original).max(1)

    original = np.exp(np.concatenate(pipe.emissions(docs)))
    original /= original.sum(1, keepdims=True)
    optimizer = nlp.resume_training(sgd=Adam(0.01, L2=0.0))
    wrong = [
        Example(Doc(nlp.vocab, words=text.split()), one_label(nlp(text), pipe.labels[0]))
        for text in TEXTS
    ]
    for _ in range(10):
        nlp.update(wrong, sgd=optimizer)
    astray = differences()
    assert astray.max() > 0.5

    before = parameters(pipe)
    for _ in range(60):
        losses = nlp.rehearse([Example(doc, doc.copy()) for doc in docs], sgd=optimizer)
    after = parameters(pipe)
    assert any(not value.equal(after[name]) for name, value in before.items())
    assert 0.0 < losses[task.factory] < 0.5
    assert differences().mean() < 0.5 * astray.mean()


def test_rehearsal_has_dropout_of_its_own(task):
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


def test_error_handler_gets_the_docs_that_fail(task, trained, monkeypatch):
    nlp = copy.deepcopy(trained)
    pipe, failed = pipe_of(nlp), []

    def fail(docs):
        raise RuntimeError("no")

    monkeypatch.setattr(pipe, "predict", fail)
    pipe.set_error_handler(lambda name, proc, docs, error: failed.append((name, len(docs))))
    assert list(nlp.pipe(TEXTS)) == []
    assert failed == [(task.factory, len(TEXTS))]
