import spacy
from samples import TEXTS, annotate
from spacy.tokens import Doc, Span

from bigru_tagger.annotation.records import doc_record


def test_record_has_the_scores_that_are_known():
    nlp = spacy.blank("en")
    Span.set_extension("certainty", default=None, force=True)
    doc = annotate(
        Doc(nlp.vocab, words=TEXTS[0].split()),
        ents=[(0, 2, "PER"), (6, 7, "LOC")],
        chunks=[(0, 2, "NP"), (2, 3, "VP")],
    )
    doc.ents[0]._.certainty = 0.75
    doc.spans["chunks"].attrs["scores"] = [0.5, 0.25]
    record = doc_record(doc, ["certainty"])
    assert record["ents"] == [
        {"start": 0, "end": 12, "label": "PER", "score": 0.75},
        {"start": 35, "end": 41, "label": "LOC"},
    ]
    assert [(span["label"], span["score"]) for span in record["spans"]["chunks"]] == [
        ("NP", 0.5),
        ("VP", 0.25),
    ]
    for entry in (*record["ents"], *record["spans"]["chunks"]):
        entry.pop("score", None)
    assert record == doc.to_json()
