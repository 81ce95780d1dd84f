"""Tests of training on partial annotation."""

import numpy as np
import pytest
import spacy
from samples import CRF, SENTENCES, TASKS, TEXTS, TINY, annotate, build, read_examples, train
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from thinc.api import Adam

from bigru_tagger.pipeline.partial import partial_gold
from bigru_tagger.pipeline.soft_targets import SoftTargets
from bigru_tagger.schemes import biluo_tags
from bigru_tagger.tasks import CHUNKS, ENTITIES, TAGS

NER_TAGS = biluo_tags(["LOC", "ORG", "PER"])
TASK_OF = {"bigru_ner": ENTITIES, "bigru_chunker": CHUNKS, "bigru_tagger": TAGS}


def only(labels, factory, examples):
    """Keep the annotation of some labels, and mark the references."""
    task = TASK_OF[factory]
    for example in examples:
        reference = example.reference
        task.write(reference, [s for s in task.stored(reference) if s.label_ in labels])
        task.set_annotated_labels(reference, labels)
    return examples


def columns(pipe, examples):
    gold = [tag for example in examples for tag in pipe.gold_tags(example)]
    return np.array([-1 if tag is None else pipe.tags.index(tag) for tag in gold])


def test_allowed_tags_of_entities_worked_out():
    pipe = build("bigru_ner").get_pipe("bigru_ner")
    words = ["Ada", "met", "Bob", "X"]
    reference = Doc(pipe.vocab, words=words, ents=["B-PER", "O", "", "B-LOC"])
    example = Example(Doc(pipe.vocab, words=words), reference)
    assert partial_gold(pipe, [example], columns(pipe, [example])).allowed is None
    ENTITIES.set_annotated_labels(reference, ["PER"])
    gold = partial_gold(pipe, [example], columns(pipe, [example]))
    # An annotated entity is known, whatever its label. A missing tag can be any tag.
    assert gold.tags.tolist() == [NER_TAGS.index("U-PER"), -1, -1, NER_TAGS.index("U-LOC")]
    allowed = [tag for tag in NER_TAGS if not tag.endswith("PER")]
    assert [NER_TAGS[i] for i in np.flatnonzero(gold.allowed[1])] == allowed
    assert gold.allowed[2].all()
    # Equal logits: one of 13 tags, and 9 of 13. The missing tag does not count.
    loss, (gradient,) = pipe.get_loss([example], [np.zeros((4, 13), np.float32)])
    assert loss == pytest.approx((2 * np.log(13) + np.log(13 / 9)) / 3)
    expected = np.full(13, 1 / 13) - np.isin(NER_TAGS, allowed) / 9
    np.testing.assert_allclose(gradient[1], expected / 3, atol=1e-7)
    assert not gradient[2].any()


def test_a_mark_with_all_labels_changes_nothing():
    pipe = build("bigru_ner").get_pipe("bigru_ner")
    scores = [np.random.default_rng(0).normal(size=(n, 13)).astype("f") for n in (8, 7, 4, 8)]
    plain, (gradient, *_) = pipe.get_loss(read_examples(pipe.vocab), scores)
    marked = only(["LOC", "ORG", "PER"], "bigru_ner", read_examples(pipe.vocab))
    loss, (found, *_) = pipe.get_loss(marked, scores)
    assert loss == pytest.approx(plain)
    np.testing.assert_allclose(found, gradient, atol=1e-7)


def test_a_missing_part_of_speech_is_not_an_annotated_one():
    pipe = build("bigru_tagger").get_pipe("bigru_tagger")
    (example, *_) = only(["NNP", "VBD"], "bigru_tagger", read_examples(pipe.vocab))
    gold = partial_gold(pipe, [example], columns(pipe, [example]))
    nnp, vbd = pipe.tags.index("NNP"), pipe.tags.index("VBD")
    assert gold.tags.tolist() == [nnp, nnp, vbd, -1, nnp, -1, nnp, -1]
    for token in (3, 5, 7):
        assert np.flatnonzero(~gold.allowed[token]).tolist() == [nnp, vbd]


@pytest.mark.parametrize("model", [TINY, CRF], ids=["constrained", "crf"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.factory)
def test_two_half_annotated_corpora_teach_all_labels(task, model):
    first, second = task.labels[::2], task.labels[1::2]
    nlp = build(task.factory, model=model)
    halves = [only(own, task.factory, read_examples(nlp.vocab)) for own in (first, second)]
    train(nlp, steps=80, examples=[*halves[0], *halves[1]])
    for example in read_examples(nlp.vocab):
        assert task.read(nlp(example.reference.text)) == task.read(example.reference)


@pytest.mark.parametrize("model", [TINY, CRF], ids=["constrained", "crf"])
@pytest.mark.parametrize("marked", [True, False])
def test_other_spans_are_kept_in_further_training(model, marked):
    nlp = build("bigru_ner", model=model)
    train(nlp, steps=60)
    nlp.get_pipe("bigru_ner").add_label("VERB")
    words = TEXTS[0].split()
    reference = annotate(Doc(nlp.vocab, words=words), [(2, 3, "VERB")])
    if marked:
        ENTITIES.set_annotated_labels(reference, ["VERB"])
    train(nlp, steps=30, examples=[Example(Doc(nlp.vocab, words=words), reference)])
    found = {(ent.start, ent.end) for ent in nlp(TEXTS[0]).ents}
    assert (2, 3) in found
    # Nothing keeps the labels of the other spans, which are unknown.
    assert found & {(0, 2), (4, 5), (6, 7)} == ({(0, 2), (4, 5), (6, 7)} if marked else set())


def test_a_doc_bin_can_keep_the_mark(tmp_path):
    doc = Doc(spacy.blank("en").vocab, words=["a"])
    CHUNKS.with_key("other").set_annotated_labels(doc, ["NP"])
    DocBin(store_user_data=True, docs=[doc]).to_disk(tmp_path / "x.spacy")
    (loaded,) = DocBin().from_disk(tmp_path / "x.spacy").get_docs(doc.vocab)
    assert CHUNKS.with_key("other").annotated_labels(loaded) == {"NP"}
    assert CHUNKS.annotated_labels(loaded) is None
    assert ENTITIES.annotated_labels(loaded) is None


def test_a_teacher_knows_the_other_labels():
    # The gold annotates PER only. The teacher's LOC is learned where the gold is not sure.
    nlp = build("bigru_ner")
    examples = only(["PER"], "bigru_ner", read_examples(nlp.vocab))
    full = nlp.get_pipe("bigru_ner")
    for example, complete in zip(examples, read_examples(nlp.vocab), strict=True):
        tags = columns(full, [complete])[:, None]
        SoftTargets(tuple(full.tags), tags, np.ones(tags.shape, np.float32)).attach(
            example.reference
        )
    train(nlp, steps=60, examples=examples)
    for text, spans, *_ in SENTENCES:
        assert [(ent.start, ent.end, ent.label_) for ent in nlp(text).ents] == spans


def test_rehearsal_does_not_use_the_mark():
    losses = []
    for labels in ([], ["PER"]):
        nlp = build("bigru_ner")
        train(nlp, steps=20)
        nlp.resume_training()
        examples = read_examples(nlp.vocab)
        for example in examples:
            if labels:
                ENTITIES.set_annotated_labels(example.reference, labels)
        train(nlp, steps=1)
        losses.append(nlp.rehearse(examples, sgd=Adam(0.01)))
    assert losses[0] == losses[1]
    assert losses[0]["bigru_ner"] > 0.0


# --- spans that are known to be incorrect


def incorrect(vocab, words, spans, ents=None, predicted=None):
    reference = Doc(vocab, words=words, ents=ents)
    reference.spans["wrong"] = [Span(reference, *span) for span in spans]
    return Example(Doc(vocab, words=predicted or words), reference)


def test_incorrect_spans_worked_out():
    pipe = build("bigru_ner", incorrect_spans_key="wrong").get_pipe("bigru_ner")
    unknown = [""] * 4
    spans = [(0, 1, "PER"), (1, 3, "LOC"), (1, 3, "LOC"), (3, 4, ""), (2, 4, "OTHER")]
    example = incorrect(pipe.vocab, [*"abcd"], spans, unknown)
    gold = partial_gold(pipe, [example, example], columns(pipe, [example, example]))
    assert (gold.tags == -1).all()
    wrong = [[NER_TAGS[i] for i in np.flatnonzero(~row)] for row in gold.allowed]
    assert wrong == [["U-PER"], [], [], ["U-LOC", "U-ORG", "U-PER"]] * 2
    path = [NER_TAGS.index("B-LOC"), NER_TAGS.index("L-LOC")]
    assert gold.excluded == [(1, path), (5, path)]
    # Equal logits. All four tokens count.
    loss, _ = pipe.get_loss([example], [np.zeros((4, 13), np.float32)])
    expected = -np.log(12 / 13) - np.log(1 - 1 / 169) - np.log(10 / 13)
    assert loss == pytest.approx(expected / 4)


def test_incorrect_spans_that_the_gold_excludes_anyway_have_no_effect():
    pipe = build("bigru_ner", incorrect_spans_key="wrong").get_pipe("bigru_ner")
    example = incorrect(pipe.vocab, [*"abc"], [(0, 2, "PER"), (2, 3, "LOC")], ["O", "", "B-ORG"])
    gold = partial_gold(pipe, [example], columns(pipe, [example]))
    assert gold.excluded == []
    assert gold.allowed.all()
    ENTITIES.set_annotated_labels(example.reference, ["PER"])
    example.reference.spans["wrong"] = [Span(example.reference, 0, 2, "LOC")]
    gold = partial_gold(pipe, [example], columns(pipe, [example]))
    assert gold.excluded == [(0, [NER_TAGS.index("B-LOC"), NER_TAGS.index("L-LOC")])]


def test_a_span_cannot_be_right_and_wrong():
    pipe = build("bigru_ner", incorrect_spans_key="wrong").get_pipe("bigru_ner")
    example = incorrect(pipe.vocab, [*"ab"], [(0, 2, "PER")], ["B-PER", "I-PER"])
    with pytest.raises(ValueError, match=r"a b \(PER\) in the training text 'a b ' is annotated"):
        pipe.get_loss([example], [np.zeros((2, 13), np.float32)])


def test_incorrect_spans_are_aligned():
    pipe = build("bigru_chunker", incorrect_spans_key="wrong").get_pipe("bigru_chunker")
    vocab = pipe.vocab
    reference = Doc(vocab, words=["do", "n't", "go"], spaces=[False, True, False])
    reference.spans["wrong"] = [Span(reference, 0, 2, "VP"), Span(reference, 1, 3, "NP")]
    example = Example(Doc(vocab, words=["don't", "go"]), reference)
    assert pipe.incorrect_spans(example) == [(0, 1, "VP")]
    assert build("bigru_chunker").get_pipe("bigru_chunker").incorrect_spans(example) == []


@pytest.mark.parametrize("model", [TINY, CRF], ids=["constrained", "crf"])
def test_a_model_unlearns_incorrect_spans(model, tmp_path):
    nlp = build("bigru_ner", model=model, incorrect_spans_key="wrong")
    train(nlp, steps=40)
    assert [ent.text for ent in nlp(TEXTS[1]).ents] == ["New York City"]
    words = TEXTS[1].split()
    examples = [incorrect(nlp.vocab, words, [(2, 5, "LOC")])]
    train(nlp, steps=30, examples=examples)
    found = [(ent.start, ent.end, ent.label_) for ent in nlp(TEXTS[1]).ents]
    assert (2, 5, "LOC") not in found
    nlp.to_disk(tmp_path)
    assert spacy.load(tmp_path).get_pipe("bigru_ner").cfg["incorrect_spans_key"] == "wrong"
