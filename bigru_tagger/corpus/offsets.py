"""Texts with entities by character offsets, as annotation tools write them.

| Source | A row |
|---|---|
| spaCy | `["text", {"entities": [[0, 3, "PER"]]}]` |
| Prodigy | `{"text": "", "spans": [{"start": 0, "end": 3, "label": "PER"}], "answer": "accept"}` |
| doccano | `{"text": "", "label": [[0, 3, "PER"]]}`, or `labels` |
| doccano | `{"text": "", "entities": [{"start_offset": 0, "end_offset": 3, "label": "PER"}]}` |
| Label Studio, JSON | `{"data": {"text": ""}, "annotations": [{"result": [{"value": {...}}]}]}` |
| Label Studio, JSON-MIN | `{"text": "", "label": [{"start": 0, "end": 3, "labels": ["PER"]}]}` |

An end is the position behind the last character.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from .sentences import CorpusError

logger = logging.getLogger(__name__)

Alignment: TypeAlias = Literal["strict", "expand", "contract"]
Entity: TypeAlias = tuple[int, int, str]

_STARTS = ("start", "start_offset", "start_char", "begin")
_ENDS = ("end", "end_offset", "end_char")
_STUDIO_LABELS = ("labels", "hypertextlabels")
_LABELS = ("label", *_STUDIO_LABELS, "type", "tag")
_SHOWN = 10


class AnnotatedText(NamedTuple):
    """A text with its entities.

    place (str): File and line, or dataset and row, for messages.
    text (str): The text.
    entities (Sequence[Entity] | None): Start, end and label of each; None where nobody annotated.
    """

    place: str
    text: str
    entities: Sequence[Entity] | None


class Misaligned(NamedTuple):
    """An entity whose ends are not the ends of tokens.

    place (str): Where its text stands.
    entity (Entity): The entity.
    text (str): Its characters.
    tokens (str): The tokens that it touches.
    """

    place: str
    entity: Entity
    text: str
    tokens: str

    def __str__(self) -> str:
        """Describe the entity and its place."""
        start, end, label = self.entity
        return (
            f"{self.place}: {self.text!r} ({start}, {end}, {label}) in the tokens {self.tokens!r}"
        )


def check_alignment(alignment: str) -> None:
    """Check the name of an alignment.

    alignment (str): The name.
    RAISES (ValueError): It is none of "strict", "expand" and "contract".
    """
    if alignment not in get_args(Alignment):
        raise ValueError(
            f"alignment must be one of {', '.join(get_args(Alignment))}, not {alignment!r}"
        )


def unify_row(row: Any, place: str) -> Mapping[str, Any]:
    """Bring spaCy's and Label Studio's rows into the form of the others.

    row (Any): The row.
    place (str): Where it stands, for messages.
    RETURNS (Mapping[str, Any]): A row with "text" and "entities", or the row as it is.
    RAISES (CorpusError): It is no row, or has the annotations of several annotators.
    """
    if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str):
        text, annotation = row
        entities = annotation.get("entities") if isinstance(annotation, Mapping) else annotation
        return {"text": text, "entities": entities}
    if not isinstance(row, Mapping):
        raise CorpusError(
            f"{place}: {str(row)[:40]!r} is no row: expected is an object, or a text with "
            '{"entities": [[start, end, label]]}'
        )
    if isinstance(row.get("data"), Mapping) and "annotations" in row:
        return _unify_label_studio(row["data"], row["annotations"], place)
    return row


def _unify_label_studio(data: Mapping[str, Any], annotations: Any, place: str) -> dict[str, Any]:
    texts = [value for value in data.values() if isinstance(value, str)]
    text = data.get("text", texts[0] if len(texts) == 1 else None)
    if not isinstance(text, str):
        raise CorpusError(f"{place}: no text in 'data', or several, none of which is 'text'")
    done = [
        one for one in _objects(annotations, place, "annotations") if not one.get("was_cancelled")
    ]
    if len(done) > 1:
        raise CorpusError(
            f"{place}: {len(done)} annotations: keep one of them, by whichever annotator is right"
        )
    if not done:
        return {"text": text, "entities": [], "answer": "ignore"}
    # Relations have no value, and a region may have results of its own, such as a choice.
    values = [one.get("value") for one in _objects(done[0].get("result", []), place, "result")]
    entities = [
        value
        for value in values
        if isinstance(value, Mapping) and any(key in value for key in _STUDIO_LABELS)
    ]
    return {"text": text, "entities": entities}


def _objects(value: Any, place: str, key: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise CorpusError(
            f"{place}: {key!r} holds {str(value)[:80]}, no list of objects: give [] where there "
            "are none, or drop the rows that nobody annotated"
        )
    return value


def read_entities(
    text: str, value: Any, place: str, column: str, names: Mapping[int, str] | None
) -> list[Entity]:
    """Read the entities of one text.

    text (str): The text.
    value (Any): The entities, in any of the forms above.
    place (str): Where the row stands, for messages.
    column (str): The column of the entities, for messages.
    names (Mapping[int, str] | None): The labels by their numbers, where labels are numbers.
    RETURNS (list[Entity]): Start, end and label, in order, without white space at their ends and
        without repetitions.
    RAISES (CorpusError): Another form; an offset outside of the text; other characters than the
        entity's own text; entities that overlap.
    """
    if isinstance(value, Mapping):  # as `datasets` once kept a list of objects
        keys = list(value)
        value = [dict(zip(keys, item, strict=True)) for item in zip(*value.values(), strict=True)]
    if not isinstance(value, list):
        raise CorpusError(
            f"{place}: {column!r} holds {value!r}, no list of entities: give [] where there "
            "are none, or drop the rows that nobody annotated"
        )
    entities = set()
    for item in value:
        start, end, label = _parse(item, place, column, names)
        if not 0 <= start < end <= len(text) or not text[start:end].strip():
            raise CorpusError(
                f"{place}: {column!r} holds an entity from {start} to {end}, where the text has "
                f"{len(text)} characters, {text[max(start, 0) : end]!r} in between"
            )
        own = item.get("text") if isinstance(item, Mapping) else None
        if isinstance(own, str) and own != text[start:end]:
            raise CorpusError(
                f"{place}: {column!r} holds an entity {own!r} from {start} to {end}, but the text "
                f"has {text[start:end]!r} there: an end is the position behind the last character"
            )
        entities.add((start, end, label))
    trimmed = sorted({(*_trim(text, start, end), label) for start, end, label in entities})
    for before, entity in pairwise(trimmed):
        if entity[0] < before[1]:
            raise CorpusError(
                f"{place}: {column!r} holds entities that overlap: {_show(text, before)} and "
                f"{_show(text, entity)}: keep one of them"
            )
    return trimmed


def _parse(
    item: Any, place: str, column: str, names: Mapping[int, str] | None
) -> tuple[int, int, str]:
    if isinstance(item, Mapping):
        # Label Studio's places in HTML are paths beside the offsets in its text.
        offsets = item.get("globalOffsets")
        places = offsets if isinstance(offsets, Mapping) else item
        start, end, label = _first(places, _STARTS), _first(places, _ENDS), _first(item, _LABELS)
    elif isinstance(item, list | tuple) and len(item) >= 3:
        start, end, label, *_ = item
    else:
        start = end = label = None
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if names is not None and isinstance(label, int):
        label = names.get(label)
    if not (_is_position(start) and _is_position(end) and isinstance(label, str) and label):
        raise CorpusError(
            f"{place}: {column!r} holds {str(item)[:80]}, no start, end and label of an entity"
        )
    return int(start), int(end), label


def _is_position(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()  # infinity and NaN are not
    return isinstance(value, int) and not isinstance(value, bool)


def _first(item: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((item[key] for key in keys if item.get(key) is not None), None)


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())


def _show(text: str, entity: Entity) -> str:
    start, end, label = entity
    return f"{text[start:end]!r} ({start}, {end}, {label})"


def annotate(
    nlp: Language, own: AnnotatedText, alignment: Alignment
) -> tuple[Doc, list[Misaligned]]:
    """Tokenize a text, and set its entities.

    nlp (Language): Its tokenizer decides.
    own (AnnotatedText): The text.
    alignment (Alignment): What becomes of entities that start or end within a token: "expand" takes
        all tokens that they touch, "contract" those that they cover, "strict" leaves them out.
    RETURNS (tuple[Doc, list[Misaligned]]): The Doc, and the entities that start or end within a
        token. Nothing is set where nobody annotated.
    RAISES (CorpusError): Entities overlap, once expanded.
    """
    doc = nlp.make_doc(own.text)
    if own.entities is None:
        return doc, []
    spans: list[Span] = []
    misaligned = []
    for start, end, label in own.entities:
        span = doc.char_span(start, end, label)
        if span is None:
            touched = doc.char_span(start, end, label, alignment_mode="expand")
            misaligned.append(
                Misaligned(own.place, (start, end, label), own.text[start:end], str(touched))
            )
            if alignment != "strict":
                span = doc.char_span(start, end, label, alignment_mode=alignment)
        if span is not None and len(span):
            if spans and span.start < spans[-1].end:
                raise CorpusError(
                    f"{own.place}: {spans[-1].text!r} and {span.text!r} overlap once they are "
                    f'whole tokens (alignment = "{alignment}"): correct their offsets'
                )
            spans.append(span)
    doc.set_ents(spans, default="outside")
    return doc, misaligned


def make_text_examples(
    texts: Iterable[AnnotatedText], nlp: Language, *, alignment: Alignment, limit: int
) -> Iterator[Example]:
    """Turn texts into training examples, a Doc each.

    texts (Iterable[AnnotatedText]): The texts; those without tokens are left out.
    nlp (Language): Its tokenizer cuts them.
    alignment (Alignment): See `annotate`.
    limit (int): At most so many examples; 0 for all.
    YIELDS (Example): A bare Doc, and the gold Doc.
    RAISES (CorpusError): In strict alignment, all entities that start or end within a token, once
        all texts are read.
    """
    misaligned: list[Misaligned] = []
    made = 0
    for own in texts:
        doc, strange = annotate(nlp, own, alignment)
        misaligned += strange
        if not len(doc) or (misaligned and alignment == "strict"):
            continue
        yield Example(nlp.make_doc(own.text), doc)
        made += 1
        if made == limit:
            break
    if not misaligned:
        return
    shown = "; ".join(str(entity) for entity in misaligned[:_SHOWN])
    more = f"; and {len(misaligned) - _SHOWN} more" if len(misaligned) > _SHOWN else ""
    problem = f"entities that start or end within a token, {len(misaligned)}: {shown}{more}"
    if alignment == "strict":
        raise CorpusError(
            f'{problem}. Correct their offsets, or give alignment = "expand" (all tokens that they '
            'touch) or "contract" (those that they cover)'
        )
    logger.warning('%s. They are changed: alignment = "%s"', problem, alignment)
