import numpy as np
import pytest
import torch
from samples import CRF, TEXTS, annotate, build, read_examples, set_logits, train
from spacy.tokens import Doc
from spacy.training import Example


@pytest.fixture(scope="module")
def tagger():
    nlp = build("bigru_tagger")
    assert train(nlp)["bigru_tagger"] < 0.02
    return nlp


def tags(doc):
    return [token.tag_ for token in doc]


def test_the_tag_of_a_token_has_the_highest_logit(tagger, monkeypatch):
    pipe = tagger.get_pipe("bigru_tagger")
    scores = np.zeros((3, 9), dtype=np.float32)
    scores[[0, 1, 2], [3, 0, 8]] = 1.0
    set_logits(monkeypatch, pipe, scores)
    assert tags(pipe(Doc(tagger.vocab, words=["a", "b", "c"]))) == ["NNP", ".", "VBP"]


def test_a_crf_predicts_the_best_tag_sequence(monkeypatch):
    nlp = build("bigru_tagger", model=CRF)
    pipe = nlp.get_pipe("bigru_tagger")
    scores = np.zeros((3, 9), dtype=np.float32)
    scores[[0, 1, 2], [3, 0, 8]] = 1.0
    set_logits(monkeypatch, pipe, scores)
    words = ["a", "b", "c"]
    assert tags(pipe(Doc(nlp.vocab, words=words))) == ["NNP", ".", "VBP"]
    with torch.no_grad():  # 1 + 1.5 + 1.5 + 1 is more than 3, the sum of the highest logits
        between = pipe.model.shims[0].network.decoder.parameters["between"]
        between[3, 2] = between[2, 8] = 1.5
    assert tags(pipe(Doc(nlp.vocab, words=words))) == ["NNP", "NN", "VBP"]


def test_white_space_is_tagged(tagger):
    doc = tagger.get_pipe("bigru_tagger")(Doc(tagger.vocab, words=["Ada", "\n", " ", "wrote"]))
    assert doc.has_annotation("TAG", require_complete=True)


@pytest.mark.parametrize(("overwrite", "first"), [(True, "NNP"), (False, "FW")])
def test_overwrite(overwrite, first, tmp_path):
    nlp = build("bigru_tagger", overwrite=overwrite)
    train(nlp)
    nlp.to_disk(tmp_path)
    # The setting is also saved with the component.
    for pipeline in (nlp, build("bigru_tagger", overwrite=overwrite, seed=1).from_disk(tmp_path)):
        doc = Doc(pipeline.vocab, words=TEXTS[0].split())
        doc[0].tag_ = "FW"
        assert tags(pipeline(doc)) == [first, "NNP", "VBD", "TO", "NNP", "IN", "NNP", "."]


def test_other_annotation_is_kept(tagger):
    doc = annotate(Doc(tagger.vocab, words=TEXTS[0].split()), [(0, 2, "PER")], [(2, 3, "VP")])
    doc[0].pos_, doc[1].lemma_, doc[2].is_sent_start = "PROPN", "love", True
    tagger(doc)
    assert doc[0].tag_ == "NNP"
    assert (doc[0].pos_, doc[1].lemma_, doc[2].is_sent_start) == ("PROPN", "love", True)
    assert [ent.text for ent in doc.ents] == ["Ada Lovelace"]
    assert [span.text for span in doc.spans["chunks"]] == ["wrote"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["New", "York", "waits", "."], ["NNP", "NNP", None, "."]),
        (["NewYork", "waits", "."], ["NNP", None, "."]),  # one token for two with the same tag
        (["New", "Yorkwaits", "."], ["NNP", None, "."]),
        (["New", "Yo", "rk", "waits."], ["NNP", "NNP", "NNP", None]),
    ],
)
def test_gold_is_aligned_with_the_predicted_tokens(tagger, words, expected):
    reference = Doc(tagger.vocab, words=["New", "York", "waits", "."])
    annotate(reference, tags=["NNP", "NNP", "", "."])
    example = Example(Doc(tagger.vocab, words=words), reference)
    assert tagger.get_pipe("bigru_tagger").gold_tags(example) == expected


def test_score_is_spacys_tag_accuracy(tagger):
    examples = read_examples(tagger.vocab)
    for example in examples[:2]:
        example.reference[0].tag_ = "XX"
    assert tagger.evaluate(examples)["tag_acc"] == pytest.approx(25 / 27)
