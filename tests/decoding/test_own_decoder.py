"""Custom decoders: the documented example, and two more."""

from dataclasses import replace

import numpy as np
import pytest
import spacy
import torch
from examples.own_decoder import Margin
from samples import TASKS, TEXTS, TINY, build, read_examples, set_logits, train

from bigru_tagger.decoding.constrained_softmax import ConstrainedSoftmax
from bigru_tagger.decoding.crf import CRF
from bigru_tagger.decoding.decoders import decoder_class, decoders
from bigru_tagger.decoding.targets import Targets
from bigru_tagger.decoding.transitions import Transitions, to_numpy


@decoders.register("tests.greedy")
class Greedy(ConstrainedSoftmax):
    """The best tag of each token, whether the sequence is valid or not."""

    def transitions(self, valid):
        return Transitions.free(len(valid.first))


@decoders.register("tests.biased")
class Biased(ConstrainedSoftmax):
    """A learned score for each tag that begins a sequence."""

    @classmethod
    def shapes(cls, n_tags):
        return {"first": (n_tags,)}

    def loss(self, logits, targets, valid):
        begins = np.cumsum([0, *targets.lengths[:-1]])
        biased = logits.clone()
        biased[begins] = biased[begins] + self.parameters["first"]
        return super().loss(biased, targets, valid)

    def transitions(self, valid):
        first = valid.first + to_numpy(self.parameters["first"])
        return Transitions(valid.between, first, valid.last)


def test_classes_are_found_by_name():
    assert decoder_class("constrained") is ConstrainedSoftmax
    assert decoder_class("legal") is ConstrainedSoftmax  # of earlier versions' configs
    assert decoder_class("crf") is CRF
    assert decoder_class("margin") is Margin


def test_the_error_for_an_unknown_name_lists_the_registered_ones():
    with pytest.raises(ValueError, match=r"'constrained', 'crf', 'margin'.*got 'marginal'.*--code"):
        decoder_class("marginal")


def test_the_margin_loss_by_hand():
    logits = torch.tensor([[2.0, 0.5, 0.0], [1.0, 1.0, 3.0], [0.0, 4.0, 1.0], [9.0, 0.0, 0.0]])
    # 1 + 0.5 - 2 < 0; 1 + 3 - 1 = 3; no gold; 1 + 9 - 0 = 10
    targets = Targets(torch.tensor([0, 1, -1, 2]), [2, 0, 2])
    assert Margin(3).loss(logits, targets, Transitions.free(3)).tolist() == [3.0, 0.0, 10.0]
    weighted = replace(targets, weights=torch.tensor([1.0, 2.0, 5.0, 0.5]))
    assert Margin(3).loss(logits, weighted, Transitions.free(3)).tolist() == [6.0, 0.0, 5.0]


@decoders.register("tests.unweighted")
class Unweighted(Margin):
    weighted = False


def test_weights_are_an_error_for_a_decoder_that_ignores_them():
    model = {**TINY, "decode": "tests.unweighted"}
    nlp = build("bigru_ner", model=model, label_weights={"PER": 2.0})
    with pytest.raises(ValueError, match=r'"tests\.unweighted" does not support weights'):
        train(nlp, steps=1)


@pytest.mark.parametrize(
    ("task", "decode"),
    [*((task, "margin") for task in TASKS), (TASKS[0], "tests.greedy"), (TASKS[1], "tests.biased")],
    ids=lambda value: getattr(value, "factory", value),
)
def test_training_and_serialization(task, decode, tmp_path):
    nlp = build(task.factory, model={**TINY, "decode": decode})
    first = train(nlp, steps=1)[task.factory]
    assert train(nlp)[task.factory] < 0.02 < first
    docs = list(nlp.pipe(TEXTS))
    gold = [task.read(example.reference) for example in read_examples(nlp.vocab)]
    assert [task.read(doc) for doc in docs] == gold
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    network = loaded.get_pipe(task.factory).model.shims[0].network
    assert type(network.decoder) is decoder_class(decode)
    assert network.spec.decode == decode
    assert [task.read(doc) for doc in loaded.pipe(TEXTS)] == gold
    texts = [*TEXTS, "Eve met London daily ."]
    for pipe in (nlp.get_pipe(task.factory), loaded.get_pipe(task.factory)):
        found = pipe.predict([nlp.make_doc(text) for text in texts])
        expected = nlp.get_pipe(task.factory).predict([nlp.make_doc(text) for text in texts])
        assert str(found) == str(expected)


def test_without_constraints_tags_are_read_as_by_conlleval(monkeypatch):
    pipe = build("bigru_ner", model={**TINY, "decode": "tests.greedy"}).get_pipe("bigru_ner")
    tags = ["I-PER", "I-PER", "O", "L-LOC", "U-LOC", "I-LOC", "B-ORG"]
    logits = np.zeros((7, len(pipe.tags)), dtype=np.float32)
    logits[np.arange(7), [pipe.tags.index(tag) for tag in tags]] = 5.0
    set_logits(monkeypatch, pipe, logits)
    (found,) = pipe.predict([spacy.blank("en").make_doc("a b c d e f g")])
    assert [span[:3] for span in found] == [
        (0, 2, "PER"),
        (3, 4, "LOC"),
        (4, 5, "LOC"),
        (5, 6, "LOC"),
        (6, 7, "ORG"),
    ]
    # Tokens are independent: a softmax over 13 tags at each.
    single = np.exp(5.0) / (np.exp(5.0) + 12)
    probabilities = [span.probability for span in found]
    assert probabilities == pytest.approx([single**2, *[single] * 4], rel=1e-6)


def test_parameters_of_a_decoder_are_saved_and_resized():
    nlp = build("bigru_ner", model={**TINY, "decode": "tests.biased"})
    train(nlp)
    pipe = nlp.get_pipe("bigru_ner")
    network = pipe.model.shims[0].network
    assert network.state_dict()["decoding.first"].abs().max() > 0.01
    before = pipe.predict([nlp.make_doc(text) for text in TEXTS])
    pipe.add_label("NEW")
    first = network.decoder.parameters["first"]
    assert first.shape == (17,)
    assert torch.equal(first[13:], first[:1].expand(4))
    after = pipe.predict([nlp.make_doc(text) for text in TEXTS])
    for own, others in zip(after, before, strict=True):
        assert [span[:3] for span in own] == [span[:3] for span in others]
        for one, other in zip(own, others, strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-5)
    train(nlp, steps=2)


def test_soft_labels_are_for_decoders_that_take_them():
    with pytest.raises(
        ValueError, match=r'label_smoothing = 0\.1 is not supported by decode = "margin"'
    ):
        build("bigru_ner", model={**TINY, "decode": "margin"}, label_smoothing=0.1)
    build("bigru_ner", model={**TINY, "decode": "tests.biased"}, label_smoothing=0.1)
