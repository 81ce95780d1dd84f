"""Convert rows of spaCy and Label Studio to a text and its entities."""

from collections.abc import Mapping
from typing import Any

from .offsets import STUDIO_LABELS
from .sentences import CorpusError


def unify_row(row: Any, place: str) -> Mapping[str, Any]:
    """Convert rows of spaCy and Label Studio to a mapping with "text" and "entities".

    row (Any): The row.
    place (str): The location of the row, for messages.
    RETURNS (Mapping[str, Any]): The converted row. Other mappings are returned unchanged.
    RAISES (CorpusError): The row has none of these formats, or has several annotations.
    """
    if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str):
        text, annotation = row
        entities = annotation.get("entities") if isinstance(annotation, Mapping) else annotation
        return {"text": text, "entities": entities}
    if not isinstance(row, Mapping):
        raise CorpusError(
            f"{place}: {str(row)[:40]!r} is not a row: use an object, or "
            '[text, {"entities": [[start, end, label]]}]'
        )
    if isinstance(row.get("data"), Mapping) and "annotations" in row:
        return _unify_label_studio(row["data"], row["annotations"], place)
    return row


def _unify_label_studio(data: Mapping[str, Any], annotations: Any, place: str) -> dict[str, Any]:
    texts = [value for value in data.values() if isinstance(value, str)]
    text = data.get("text", texts[0] if len(texts) == 1 else None)
    if not isinstance(text, str):
        raise CorpusError(
            f"{place}: 'data' must hold one text, or several with one of them named 'text'"
        )
    done = [
        one for one in _objects(annotations, place, "annotations") if not one.get("was_cancelled")
    ]
    if len(done) > 1:
        raise CorpusError(
            f"{place}: {len(done)} annotations: keep the right one and remove the others"
        )
    if not done:
        return {"text": text, "entities": [], "answer": "ignore"}
    results = _objects(done[0].get("result"), place, "result")
    labelled = [result for result in results if _has_labels(result)]
    entities = [result["value"] for result in labelled]
    regions = {_studio_region(value) for value in entities}
    for result in results:
        region = _studio_region(result.get("value"))
        lacks_labels = result.get("type") in STUDIO_LABELS and not _has_labels(result)
        if lacks_labels or (region and region not in regions):
            raise CorpusError(
                f"{place}: a result of the type {result.get('type')!r} without labels: "
                f"{str(result)[:160]}: fix the row; labels are read from "
                f"{' and '.join(STUDIO_LABELS)}"
            )
    names = {str(result.get("to_name")) for result in labelled}
    if len(names) > 1:
        raise CorpusError(
            f"{place}: labels of several texts ('to_name' is {', '.join(sorted(names))}): use a "
            "row for each text"
        )
    return {"text": text, "entities": entities}


def _has_labels(result: Mapping[str, Any]) -> bool:
    """Check whether a result has labels. Relations have no value, and choices have no labels."""
    value = result.get("value")
    return isinstance(value, Mapping) and any(key in value for key in STUDIO_LABELS)


def _studio_region(value: Any) -> tuple[str, ...] | None:
    """Get the offsets of a result of Label Studio that classifies a part of the text."""
    if not isinstance(value, Mapping) or value.get("start") is None or value.get("end") is None:
        return None
    # The list "text" is a note about the part.
    classes = any(isinstance(item, list) for key, item in value.items() if key != "text")
    places = ("start", "end", "startOffset", "endOffset")
    return tuple(str(value.get(key)) for key in places) if classes else None


def _objects(value: Any, place: str, key: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise CorpusError(
            f"{place}: {key!r} holds {str(value)[:80]}, not a list of objects: use [] if there "
            "are none, or drop the rows without annotation"
        )
    return value
