"""Models that earlier versions saved: they load, and predict what they predicted then."""

import json
import tarfile
from pathlib import Path

import pytest
import spacy
from samples import ROOT
from spacy.tokens import Doc

# Made by the version in the name: three components with all embeddings that need no transformer,
# the chunker with a CRF.
ARCHIVES = sorted((ROOT / "tests" / "saved").glob("*.tar.xz"))


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_a_saved_model_predicts_as_before(archive: Path, tmp_path: Path) -> None:
    # Python 3.14 has this filter by default; 3.11.3 and older do not have it.
    options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as files:
        files.extractall(tmp_path, **options)
    nlp = spacy.load(tmp_path / "model")
    expected = json.loads((tmp_path / "predictions.json").read_text(encoding="utf8"))
    docs = list(nlp.pipe(Doc(nlp.vocab, words=own["words"]) for own in expected))
    for doc, own in zip(docs, expected, strict=True):
        assert [[e.start, e.end, e.label_] for e in doc.ents] == [e[:3] for e in own["ents"]]
        confidences = [entity._.confidence for entity in doc.ents]
        assert confidences == pytest.approx([e[3] for e in own["ents"]], abs=1e-5)
        assert [token.tag_ for token in doc] == own["tags"]
        chunks = [[c.start, c.end, c.label_] for c in doc.spans.get("chunks", [])]
        assert chunks == own["chunks"]
