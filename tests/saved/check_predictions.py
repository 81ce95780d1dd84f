"""Compare the predictions of a saved pipeline with recorded ones:

    python tests/saved/check_predictions.py MODEL PREDICTIONS.json

It needs what prediction needs: no pytest, no PyTorch.
"""

import json
import math
import sys
from pathlib import Path

import spacy
from spacy.tokens import Doc


def differences(model: Path, predictions: Path) -> list[str]:
    """Find texts whose predictions differ from the recorded ones.

    model (Path): the folder of the pipeline.
    predictions (Path): a JSON file.
    RETURNS (list[str]): one line per difference.
    """
    nlp = spacy.load(model)
    expected = json.loads(predictions.read_text(encoding="utf8"))
    docs = list(nlp.pipe(Doc(nlp.vocab, words=recorded["words"]) for recorded in expected))
    found = []
    for doc, recorded in zip(docs, expected, strict=True):
        ents = [[e.start, e.end, e.label_] for e in doc.ents]
        chunks = [[c.start, c.end, c.label_] for c in doc.spans.get("chunks", [])]
        tags = [token.tag_ for token in doc]
        if [ents, tags, chunks] != [
            [entity[:3] for entity in recorded["ents"]],
            recorded["tags"],
            recorded["chunks"],
        ]:
            found.append(f"{doc.text[:60]!r}: {ents}, {tags}, {chunks}")
            continue
        for entity, (*_, confidence) in zip(doc.ents, recorded["ents"], strict=True):
            if not math.isclose(entity._.confidence, confidence, abs_tol=1e-5):
                found.append(f"{doc.text[:60]!r}: {entity} has {entity._.confidence}")
    return found


if __name__ == "__main__":
    lines = differences(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.exit("\n".join(["The predictions differ:", *lines]) if lines else 0)
