"""`.spacy` files whose Docs are divided into sentences."""

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span

from bigru_tagger.corpus.corpus import open_corpus
from bigru_tagger.corpus.sentences import CorpusError
from bigru_tagger.tasks import ENTITIES

NLP = spacy.blank("en")
WORDS = ["Ada", "left", ".", "New", "York", "fell"]


@pytest.fixture
def doc():
    doc = Doc(
        NLP.vocab,
        words=WORDS,
        sent_starts=[True, False, False, True, False, False],
        ents=["B-PER", "O", "O", "B-LOC", "I-LOC", "O"],
    )
    doc.spans["chunks"] = [Span(doc, 0, 1, "NP"), Span(doc, 3, 5, "NP"), Span(doc, 5, 6, "VP")]
    doc.spans["chunks"].attrs["by"] = "Ines"
    doc._.training_weight = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    doc._.document_name = "news"
    ENTITIES.set_annotated_labels(doc, ["PER", "LOC"])
    if not Span.has_extension("odd_note"):
        Span.set_extension("odd_note", default=None)
    doc[3:5]._.odd_note = "a city"
    return doc


def write(path, doc):
    DocBin(docs=[doc], store_user_data=True).to_disk(path)
    return str(path)


@pytest.mark.parametrize("settings", [{"gold_preproc": True}, {"max_length": 4}])
@pytest.mark.parametrize("unknown_spaces", [True, False])
def test_sentences_keep_all_annotation(doc, tmp_path, settings, unknown_spaces):
    doc.has_unknown_spaces = unknown_spaces
    path = write(tmp_path / "x.spacy", doc)
    parts = [example.reference for example in open_corpus(path, **settings)(NLP)]
    assert [[token.text for token in part] for part in parts] == [WORDS[:3], WORDS[3:]]
    assert [[(e.start, e.end, e.label_) for e in part.ents] for part in parts] == [
        [(0, 1, "PER")],
        [(0, 2, "LOC")],
    ]
    chunks = [[(s.start, s.end, s.label_) for s in part.spans["chunks"]] for part in parts]
    assert chunks == [[(0, 1, "NP")], [(0, 2, "NP"), (2, 3, "VP")]]
    assert [part.spans["chunks"].attrs for part in parts] == [{"by": "Ines"}] * 2
    assert [[*part._.training_weight] for part in parts] == [[1, 2, 3], [4, 5, 6]]
    assert [part._.document_name for part in parts] == ["news", "news"]
    assert [ENTITIES.annotated_labels(part) for part in parts] == [{"PER", "LOC"}] * 2
    assert [part.has_unknown_spaces for part in parts] == [unknown_spaces] * 2
    assert parts[1][:2]._.odd_note == "a city"


def test_texts_that_are_too_long_are_counted(doc, tmp_path, caplog):
    path = write(tmp_path / "x.spacy", doc)
    corpus = open_corpus(path, max_length=3)
    assert list(corpus(NLP)) == []
    assert "x.spacy: 2 texts left out: they have max_length = 3 tokens or more" in caplog.text


def test_a_span_across_sentences_is_an_error(doc, tmp_path):
    doc.spans["chunks"] = [Span(doc, 2, 4, "NP")]
    path = write(tmp_path / "x.spacy", doc)
    with pytest.raises(CorpusError, match=r"x.spacy: the span '. New ?' in doc.spans\['chunks'\]"):
        list(open_corpus(path, gold_preproc=True)(NLP))
    assert len(list(open_corpus(path)(NLP))) == 1


@pytest.mark.parametrize("label", ["PER\u200b", " PER", "P\u00adER"])
@pytest.mark.parametrize("layer", ["entities", "spans"])
def test_labels_that_look_like_another_are_errors(doc, tmp_path, label, layer):
    if layer == "entities":
        doc.set_ents([Span(doc, 0, 1, label)])
    else:
        doc.spans["nested"] = [Span(doc, 0, 1, label)]
    path = write(tmp_path / "x.spacy", doc)
    with pytest.raises(CorpusError, match=r"x\.spacy: the label .* of 'Ada' .* cannot be seen"):
        list(open_corpus(path)(NLP))
