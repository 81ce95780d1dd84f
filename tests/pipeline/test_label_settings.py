"""Settings per label, and weights of examples in the loss."""

import numpy as np
import pytest
import spacy
from samples import CRF, TEXTS, TINY, annotate, build, read_examples, train
from spacy.tokens import Doc, DocBin
from spacy.training import Example

from bigru_tagger.corpus.weights import set_weights
from bigru_tagger.pipeline.soft_targets import SoftTargets
from bigru_tagger.pipeline.spans import bias_for_count

# Of the labels of `SENTENCES`: O, then B-, I-, L- and U- of LOC, ORG and PER.
N_TAGS = 13


def gold_example(vocab, ents, weight=None):
    words = [str(i) for i in range(len(ents))]
    reference = Doc(vocab, words=words, ents=ents)
    if weight is not None:
        reference._.training_weight = weight
    return Example(Doc(vocab, words=words), reference)


def equal_logits(*examples):
    return [np.zeros((len(example.x), N_TAGS), dtype="float32") for example in examples]


# --- weights in the loss


def test_label_weights_by_hand():
    pipe = build("bigru_ner", label_weights={"PER": 3.0, "O": 0.5}).get_pipe("bigru_ner")
    example = gold_example(pipe.vocab, ["B-PER", "I-PER", "O", "B-LOC", ""])
    loss, (gradient,) = pipe.get_loss([example], equal_logits(example))
    # Weights 3, 3, 0.5 and 1 for four tokens with a gold tag, each with a loss of log 13.
    assert loss == pytest.approx(7.5 * np.log(13) / 4, rel=1e-6)
    gold = [pipe.tags.index(tag) for tag in ("B-PER", "L-PER", "O", "U-LOC")]
    expected = np.full((5, N_TAGS), 1 / 13)
    expected[range(4), gold] -= 1.0
    expected *= np.array([3.0, 3.0, 0.5, 1.0, 0.0])[:, None] / 4
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_example_weights_by_hand():
    pipe = build("bigru_ner").get_pipe("bigru_ner")
    examples = [
        gold_example(pipe.vocab, ["O", "O"], 2.0),
        gold_example(pipe.vocab, ["O"]),
        gold_example(pipe.vocab, ["O", "B-ORG"], [0.0, 5.0]),
    ]
    loss, gradients = pipe.get_loss(examples, equal_logits(*examples))
    # Weights 2, 2, 1, 0 and 5 for five tokens.
    assert loss == pytest.approx(10 * np.log(13) / 5, rel=1e-6)
    assert [gradient[:, 0].tolist() for gradient in gradients] == [
        pytest.approx([-2 * 12 / 13 / 5] * 2),
        pytest.approx([-12 / 13 / 5]),
        pytest.approx([0.0, 5 / 13 / 5]),
    ]


def test_both_weights_are_multiplied_also_for_a_crf():
    pipe = build("bigru_ner", model=CRF, label_weights={"PER": 3.0}).get_pipe("bigru_ner")
    example = gold_example(pipe.vocab, ["B-PER"], 2.0)
    loss, _ = pipe.get_loss([example], equal_logits(example))
    # A single token has the valid tags O, U-LOC, U-ORG and U-PER; all scores are 0.
    assert loss == pytest.approx(6 * np.log(4), rel=1e-6)


def test_without_weights_there_are_none(monkeypatch):
    pipe = build("bigru_ner").get_pipe("bigru_ner")
    assert {"label_weights", "learned_labels"}.isdisjoint(pipe.cfg)
    seen = []
    monkeypatch.setattr(
        "bigru_tagger.decoding.constrained_softmax.ConstrainedSoftmax.loss",
        lambda self, logits, targets, valid: seen.append(targets.weights) or logits.sum(1)[:1],
    )
    example = gold_example(pipe.vocab, ["O"])
    pipe.get_loss([example], equal_logits(example))
    assert seen == [None]


@pytest.mark.parametrize("factory", ["bigru_ner", "bigru_chunker", "bigru_tagger"])
def test_an_example_of_weight_zero_is_not_learned(factory):
    nlp = build(factory)
    pipe = nlp.get_pipe(factory)
    examples = read_examples(nlp.vocab)
    for example in examples:
        example.reference._.training_weight = 0.0
    loss, gradients = pipe.get_loss(examples, pipe.model.predict([eg.x for eg in examples]))
    assert loss == 0.0
    assert not any(gradient.any() for gradient in gradients)


def test_weights_survive_a_docbin():
    nlp = build("bigru_ner")
    gold = gold_example(nlp.vocab, ["O", "B-ORG"]).reference
    set_weights(gold, [1.0, 2.5])
    data = DocBin(docs=[gold], store_user_data=True).to_bytes()
    (loaded,) = DocBin().from_bytes(data).get_docs(nlp.vocab)
    assert list(loaded._.training_weight) == [1.0, 2.5]
    set_weights(gold, [2.0, 2.0])
    assert gold._.training_weight == 2.0


@pytest.mark.parametrize("weight", [-1.0, np.inf, "heavy", [1.0, np.nan], [[1.0, 1.0]]])
def test_an_invalid_weight_is_an_error(weight):
    pipe = build("bigru_ner").get_pipe("bigru_ner")
    example = gold_example(pipe.vocab, ["O", "O"], weight)
    with pytest.raises(ValueError, match="training_weight of the training text '0 1 '"):
        pipe.get_loss([example], equal_logits(example))


def test_a_list_of_the_wrong_length_is_an_error():
    pipe = build("bigru_ner").get_pipe("bigru_ner")
    example = gold_example(pipe.vocab, ["O", "O"], [1.0])
    with pytest.raises(ValueError, match="1 weights, but the Doc has 2 tokens"):
        pipe.get_loss([example], equal_logits(example))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"label_weights": {"PRE": 2.0}}, "label_weights has the unknown label 'PRE': choose from"),
        (
            {"label_weights": {"PER": -1.0}},
            "label_weights must have a number of at least 0",
        ),
        ({"recall_bias": {"PER": 1.0, "GPE": 2.0}}, "recall_bias has the unknown label 'GPE'"),
        (
            {"recall_bias": {"O": 1.0}},
            "recall_bias has the unknown label 'O': choose from LOC",
        ),
        ({"labels": []}, "must be null or name at least one label"),
    ],
)
def test_wrong_settings_are_an_error(config, message):
    with pytest.raises(ValueError, match=message):
        build("bigru_ner", **config)


# --- recall_bias


def test_recall_bias_by_label():
    pipe = build("bigru_ner", recall_bias={"PER": np.log(3.0)}).get_pipe("bigru_ner")
    doc = Doc(pipe.vocab, words=["Ada"])
    logits = np.zeros((1, N_TAGS), dtype=np.float32)
    ((found,),) = pipe.find_spans([doc], logits, with_probabilities=True)
    # O, U-LOC and U-ORG have a weight of 1, U-PER one of 3.
    assert found.label == "PER"
    assert found.probability == pytest.approx(3 / 6)
    same = dict.fromkeys(pipe.labels, 0.7)
    pipe.cfg["recall_bias"] = same
    by_label, _ = pipe._sequences([doc], logits)
    pipe.cfg["recall_bias"] = 0.7
    number, _ = pipe._sequences([doc], logits)
    assert by_label.tolist() == number.tolist()


@pytest.mark.parametrize(
    ("n_spans", "bias"),
    # Half of ln (1000 / 30), and of ln 10 and ln 4.
    [(1, 1.753279), (30, 1.753279), (100, 1.151293), (250, 0.693147), (1000, 0.0)],
)
def test_the_recall_bias_for_a_number_of_spans(n_spans, bias):
    assert bias_for_count(n_spans) == pytest.approx(bias, abs=1e-6)
    assert bias_for_count(n_spans + 1000) == 0.0
    assert bias_for_count(0) is None


@pytest.mark.parametrize(
    ("factory", "config", "counts"),
    [
        ("bigru_ner", {}, (7, 4)),
        ("bigru_ner", {"labels": ["LOC", "PER"]}, (6, 4)),
        ("bigru_chunker", {}, (18, 10)),
    ],
)
def test_the_recall_bias_is_chosen_by_the_spans_that_are_learned(factory, config, counts, tmp_path):
    nlp = build(factory, recall_bias=None, **config)
    chosen = nlp.get_pipe(factory).cfg
    assert (chosen["n_spans"], chosen["recall_bias"]) == (counts[0], bias_for_count(counts[0]))
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert loaded.config["components"][factory]["recall_bias"] is None
    pipe = loaded.get_pipe(factory)
    assert pipe.cfg == chosen
    # Further training adds its spans. Initialization counts anew.
    pipe.count_spans(lambda: read_examples(loaded.vocab)[:2] * 50, add=True)
    n_spans = counts[0] + 50 * counts[1]
    assert (pipe.cfg["n_spans"], pipe.cfg["recall_bias"]) == (n_spans, bias_for_count(n_spans))
    loaded.initialize(lambda: read_examples(loaded.vocab)[:2])
    assert pipe.cfg["n_spans"] == counts[1]


@pytest.mark.parametrize(("config", "bias"), [(0.0, 0.0), (1.5, 1.5), (None, -0.5), (None, 0.0)])
def test_a_recall_bias_that_was_set_is_kept(config, bias):
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("bigru_ner", config={"model": TINY, "recall_bias": config})
    if config is None:
        pipe.cfg["recall_bias"] = bias
    pipe.count_spans(lambda: read_examples(nlp.vocab))
    nlp.initialize(lambda: read_examples(nlp.vocab))
    assert pipe.cfg["recall_bias"] == bias


def test_spans_on_tokens_without_gold_do_not_count_for_the_recall_bias():
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("bigru_ner", config={"model": TINY})
    assert pipe.cfg["recall_bias"] is None
    example = gold_example(nlp.vocab, ["B-PER", "I-PER", "O", "B-LOC", "", "O"])
    nlp.initialize(lambda: [example])
    assert pipe.cfg["n_spans"] == 2


# --- the setting `labels`


def test_gold_spans_with_other_labels_count_as_o():
    pipe = build("bigru_ner", labels=["PER"]).get_pipe("bigru_ner")
    example = gold_example(pipe.vocab, ["B-PER", "B-LOC", "I-LOC", "", "O"])
    assert pipe.labels == ("PER",)
    assert pipe.gold_tags(example) == ["U-PER", "O", "O", None, "O"]


def test_a_label_that_is_added_later_is_learned_too():
    pipe = build("bigru_ner", labels=["PER"]).get_pipe("bigru_ner")
    assert pipe.add_label("LOC") == 1
    example = gold_example(pipe.vocab, ["B-PER", "B-LOC", "B-ORG"])
    assert pipe.gold_tags(example) == ["U-PER", "U-LOC", "O"]


def test_tokens_with_other_gold_tags_are_not_used():
    nlp = build("bigru_tagger", labels=["VBD", "NNP"])
    pipe = nlp.get_pipe("bigru_tagger")
    assert pipe.labels == ("VBD", "NNP")
    example = read_examples(nlp.vocab)[0]
    expected = ["NNP", "NNP", "VBD", None, "NNP", None, "NNP", None]
    assert pipe.gold_tags(example) == expected


def test_a_selected_label_that_does_not_occur_is_a_warning():
    with pytest.warns(UserWarning, match=r"do not contain GPE of the setting `labels`. They con"):
        build("bigru_ner", labels=["PER", "GPE"])


def test_two_components_with_different_labels_learn_from_one_corpus(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("bigru_ner", "people", config={"model": TINY, "labels": ["PER"]})
    nlp.add_pipe("bigru_ner", "places", config={"model": TINY, "labels": ["LOC", "ORG"]})
    nlp.initialize(lambda: read_examples(nlp.vocab))
    train(nlp, steps=40)
    scores = nlp.evaluate(read_examples(nlp.vocab))
    assert scores["ents_f"] == 1.0
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    labels = [pipe.labels for _, pipe in loaded.pipeline]
    assert labels == [("PER",), ("LOC", "ORG")]
    people = [(ent.text, ent.label_) for ent in loaded(TEXTS[3], disable=["places"]).ents]
    assert people == [("Bob", "PER"), ("Eve", "PER")]
    everything = [(ent.text, ent.label_) for ent in loaded(TEXTS[3]).ents]
    assert everything == [*people, ("Royal Museum of Oslo", "ORG")]


def test_two_chunkers_write_overlapping_spans_to_one_key():
    nlp = spacy.blank("en")
    for name, labels in [("outer", ["PHRASE"]), ("inner", ["NAME"])]:
        nlp.add_pipe("bigru_chunker", name, config={"model": TINY, "labels": labels})

    def read():
        examples = read_examples(nlp.vocab)
        for example in examples:
            doc = example.reference
            names = [(ent.start, ent.end, "NAME") for ent in doc.ents]
            annotate(doc, chunks=[(0, 3, "PHRASE"), *names])
        return examples

    nlp.initialize(read)
    train(nlp, steps=40, examples=read())
    for example in read():
        doc = nlp(example.x)
        group = doc.spans["chunks"]
        expected = {(s.start, s.end, s.label_) for s in example.reference.spans["chunks"]}
        assert {(s.start, s.end, s.label_) for s in group} == expected
        assert len(group.attrs["scores"]) == len(group)
    # Without `labels`, all spans of the key are learned, and these overlap.
    pipe = nlp.get_pipe("inner")
    del pipe.cfg["learned_labels"]
    with pytest.raises(ValueError, match="overlap: BILUO tags cannot represent"):
        pipe.gold_tags(read()[0])


def test_a_teachers_other_labels_count_as_o():
    tags = ("O", "U-PER", "U-LOC", "B-LOC")
    targets = SoftTargets(
        tags,
        np.array([[1, 2, 3], [0, 2, 1]]),
        np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]], dtype=np.float32),
    )
    selected = targets.select(["PER"])
    assert selected.labels == ["PER"]
    rows = selected.soften({"O": 0, "U-PER": 1, "B-PER": 2})
    np.testing.assert_allclose(rows, [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], atol=1e-7)
