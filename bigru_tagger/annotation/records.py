"""Convert annotated Docs to plain values."""

from collections.abc import Sequence
from typing import Any

from spacy.tokens import Doc

from ..tasks import CHUNKS, ENTITIES, Task, span_key


def doc_record(doc: Doc, attributes: Sequence[str]) -> dict[str, Any]:
    """Convert a Doc with `Doc.to_json`, and add the probabilities of its entities and spans.

    doc (Doc): The Doc.
    attributes (Sequence[str]): The extension attributes of spans that hold the probability of an
        entity, see `confidence_attributes`.
    RETURNS (dict[str, Any]): `Doc.to_json()`, with a "score" for each entity and span that has a
        probability.
    """
    content: dict[str, Any] = doc.to_json()
    rows: list[tuple[Task, list[dict[str, Any]]]] = [(ENTITIES, content.get("ents", []))]
    rows += [(CHUNKS.with_key(key), content["spans"][key]) for key in doc.spans]
    for task, entries in rows:
        probabilities = task.probabilities(doc, attributes)
        for span, entry in zip(task.stored(doc), entries, strict=True):
            if span_key(span) in probabilities:
                entry["score"] = probabilities[span_key(span)]
    return content
