"""Texts with entities by character offsets, in the formats of annotation tools.

| Source | Row |
|---|---|
| spaCy | `["text", {"entities": [[0, 3, "PER"]]}]` |
| Prodigy | `{"text": "", "spans": [{"start": 0, "end": 3, "label": "PER"}], "answer": "accept"}` |
| doccano | `{"text": "", "label": [[0, 3, "PER"]]}`, or `labels` |
| doccano | `{"text": "", "entities": [{"start_offset": 0, "end_offset": 3, "label": "PER"}]}` |
| Label Studio, JSON | `{"data": {"text": ""}, "annotations": [{"result": [{"value": {...}}]}]}` |
| Label Studio, JSON-MIN | `{"text": "", "label": [{"start": 0, "end": 3, "labels": ["PER"]}]}` |

An end is the position after the last character.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from ..errors import ConfigError
from .sentences import CorpusError, is_label, set_document_name
from .weights import set_weights

logger = logging.getLogger(__name__)

Alignment: TypeAlias = Literal["strict", "expand", "contract"]
Entity: TypeAlias = tuple[int, int, str]

_STARTS = ("start", "start_offset", "start_char", "begin")
_ENDS = ("end", "end_offset", "end_char")
STUDIO_LABELS = ("labels", "hypertextlabels")
"""The keys of the labels of a result of Label Studio."""
LABELS = ("label", *STUDIO_LABELS, "type", "tag")
"""The keys of an entity's label."""
# Keys of an entity's own text. Values of all but the first may also be other names of it.
_TEXTS = ("text", "word", "entity", "value", "mention", "surface", "content")
_SHOWN = 10


class AnnotatedText(NamedTuple):
    """A text with its entities.

    place (str): File and line, or dataset and row, for messages.
    text (str): The text.
    entities (Sequence[Entity] | None): Start, end and label of each entity; None if the text is
        not annotated.
    weight (float): The weight of the text in the training loss.
    complete (bool): Whether there are no other entities. If not, the other tokens are unknown.
    """

    place: str
    text: str
    entities: Sequence[Entity] | None
    weight: float = 1.0
    complete: bool = True


class Misaligned(NamedTuple):
    """An entity that starts or ends within a token.

    place (str): File and line, or dataset and row, of its text.
    entity (Entity): Its start, end and label.
    text (str): The text of the entity.
    tokens (str): The text of all tokens that it overlaps.
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
    RAISES (ValueError): The name is not "strict", "expand" or "contract".
    """
    if alignment not in get_args(Alignment):
        raise ConfigError(
            f"alignment must be one of {', '.join(get_args(Alignment))}, not {alignment!r}"
        )


def read_entities(
    text: str, value: Any, place: str, column: str, names: Mapping[int, str] | None
) -> list[Entity]:
    """Read the entities of one text.

    text (str): The text.
    value (Any): The entities, in one of the formats above.
    place (str): The location of the row, for messages.
    column (str): The column of the entities, for messages.
    names (Mapping[int, str] | None): The label for each number, if labels are stored as numbers.
    RETURNS (list[Entity]): Start, end and label of each entity, sorted, without whitespace at the
        ends and without duplicates.
    RAISES (CorpusError): The format is unknown, an offset is outside the text, the entity's own
        text differs from the text at its offsets, or entities overlap.
    """
    value = _as_list(value)
    if not isinstance(value, list):
        raise CorpusError(
            f"{place}: {column!r} holds {value!r}, not a list of entities: use [] if there are "
            "none, or drop the rows without annotation"
        )
    entities = set()
    for item in value:
        if isinstance(item, Mapping) and item.get("answer") in ("reject", "ignore"):
            continue  # in Prodigy, a span that is none
        start, end, label = _parse(item, place, column, names)
        if not 0 <= start < end <= len(text) or not text[start:end].strip():
            raise CorpusError(
                f"{place}: {column!r} holds an entity from {start} to {end}, but the text has "
                f"{len(text)} characters, and {text[max(start, 0) : end]!r} at these offsets: fix "
                "the offsets"
            )
        entity_text = _other_text(item, text, start, end, label)
        if entity_text is not None:
            raise CorpusError(
                f"{place}: {column!r} holds an entity {entity_text!r} from {start} to {end}, but "
                f"the text has {text[start:end]!r} there: fix the offsets; an end is the position "
                "after the last character"
            )
        entities.add((start, end, label))
    trimmed = sorted({(*_trim(text, start, end), label) for start, end, label in entities})
    for previous, entity in pairwise(trimmed):
        if entity[0] < previous[1]:
            raise CorpusError(
                f"{place}: {column!r} holds entities that overlap: {_show(text, previous)} and "
                f"{_show(text, entity)}: keep one of them"
            )
    return trimmed


def _as_list(value: Any) -> Any:
    # Some versions of `datasets` convert a list of objects to an object of lists.
    if isinstance(value, Mapping):
        lists = [part for part in value.values() if isinstance(part, list)]
        if len(lists) == len(value) and len(set(map(len, lists))) == 1:
            return [dict(zip(value, item, strict=True)) for item in zip(*lists, strict=True)]
    return value


def _own_texts(item: Any) -> list[Any]:
    return [item.get(key) for key in _TEXTS] if isinstance(item, Mapping) else [None, *item[3:4]]


def _other_text(item: Any, text: str, start: int, end: int, label: str) -> str | None:
    """Get the entity's own text if it differs from the text at its offsets."""
    own = _own_texts(item)
    if isinstance(own[0], str) and own[0] != text[start:end]:
        return own[0]
    shown = text[start:end].strip()
    for name in own[1:]:
        if not isinstance(name, str) or not name.strip() or name == label:
            continue
        # A part of the entity, or a longer name, may be another name of it.
        is_other = name.strip() not in shown and shown not in name
        if name == text[start : end + 1] != shown or (
            is_other and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
        ):
            return name
    return None


def holds_entities(value: Any) -> bool:
    """Check whether a value is a list of entities: objects or lists with start, end and label.

    value (Any): The value of any column.
    RETURNS (bool): True if it is, and not empty.
    """
    value = _as_list(value)
    return isinstance(value, list) and value != [] and all(map(_is_entity, value))


def holds_regions(value: Any) -> bool:
    """Check whether a value is a list of parts of a text, with or without labels.

    value (Any): The value of any column.
    RETURNS (bool): True if it is, and not empty.
    """
    return isinstance(value, list) and any(
        isinstance(item, Mapping) and all(_first(item, k) is not None for k in (_STARTS, _ENDS))
        for item in value
    )


def _is_entity(item: Any) -> bool:
    if isinstance(item, Mapping):
        return all(_first(item, keys) is not None for keys in (_STARTS, _ENDS, LABELS))
    if not isinstance(item, list | tuple) or len(item) < 3:
        return False
    start, end, label, *_ = item
    return _is_position(start) and _is_position(end) and start < end and isinstance(label, str)


def find_ends(value: Any) -> list[int]:
    """List the ends of entities.

    value (Any): The value of any column.
    RETURNS (list[int]): The ends; empty if the value does not hold entities.
    """
    items = _as_list(value) if holds_entities(value) else []
    return [_first(item, _ENDS) if isinstance(item, Mapping) else item[1] for item in items]


def may_be_of_tokens(text: str, tokens: Any, value: Any, entities: Sequence[Entity]) -> bool:
    """Check whether offsets can be those of tokens, and then mean something else.

    text (str): The text.
    tokens (Any): Its tokens. Those of Prodigy are objects, with offsets of their own.
    value (Any): The entities as they are stored. The own text of an entity shows what its offsets
        are.
    entities (Sequence[Entity]): The entities, with offsets of characters.
    RETURNS (bool): True if they can.
    """
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        return False
    shown = {text[start:end] for start, end, _ in entities}
    own = (name for item in _as_list(value) for name in _own_texts(item))
    if any(isinstance(name, str) and name in shown for name in own):
        return False
    return all(end <= len(tokens) for _, end, _ in entities) and any(
        "".join(tokens[start:end]) != "".join(text[start:end].split()) for start, end, _ in entities
    )


def _parse(
    item: Any, place: str, column: str, names: Mapping[int, str] | None
) -> tuple[int, int, str]:
    if isinstance(item, Mapping):
        # For HTML, Label Studio also stores paths; globalOffsets are the offsets in the text.
        offsets = item.get("globalOffsets")
        if not isinstance(offsets, Mapping):
            offsets = item
        start, end, label = _first(offsets, _STARTS), _first(offsets, _ENDS), _first(item, LABELS)
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
            f"{place}: {column!r} holds {str(item)[:80]}, not the start, end and label of an "
            "entity: use one of the formats of annotation tools, such as "
            '{"start": 0, "end": 3, "label": "PER"}'
        )
    if not is_label(label):
        raise CorpusError(
            f"{place}: {column!r} holds the label {label!r}, which starts or ends with white "
            "space, or contains a character that cannot be seen: fix the label"
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
    nlp: Language, annotated: AnnotatedText, alignment: Alignment
) -> tuple[Doc, list[Misaligned]]:
    """Tokenize a text and set its entities.

    nlp (Language): The pipeline whose tokenizer is used.
    annotated (AnnotatedText): The text.
    alignment (Alignment): How to treat entities that start or end within a token: "expand" extends
        them to all tokens that they overlap, "contract" shrinks them to the tokens that they cover
        completely, "strict" leaves them out.
    RETURNS (tuple[Doc, list[Misaligned]]): The Doc, and the entities that start or end within a
        token. Tokens that are not annotated stay missing in the Doc.
    RAISES (CorpusError): Entities overlap after alignment.
    """
    doc = nlp.make_doc(annotated.text)
    if annotated.entities is None:
        return doc, []
    spans: list[Span] = []
    misaligned = []
    for start, end, label in annotated.entities:
        span = doc.char_span(start, end, label)
        if span is None:
            tokens = str(doc.char_span(start, end, label, alignment_mode="expand"))
            entity_text = annotated.text[start:end]
            misaligned.append(Misaligned(annotated.place, (start, end, label), entity_text, tokens))
            if alignment != "strict":
                span = doc.char_span(start, end, label, alignment_mode=alignment)
        if span is not None and len(span):
            if spans and span.start < spans[-1].end:
                raise CorpusError(
                    f"{annotated.place}: {spans[-1].text!r} and {span.text!r} overlap after "
                    f'alignment to tokens (alignment = "{alignment}"): fix their offsets'
                )
            spans.append(span)
    doc.set_ents(spans, default="outside" if annotated.complete else "missing")
    return doc, misaligned


def make_text_examples(
    texts: Iterable[AnnotatedText], nlp: Language, *, alignment: Alignment, limit: int
) -> Iterator[Example]:
    """Convert texts to training examples, one per text.

    texts (Iterable[AnnotatedText]): The texts; those without tokens are left out.
    nlp (Language): The pipeline whose tokenizer is used.
    alignment (Alignment): See `annotate`.
    limit (int): The maximum number of examples; 0 for no limit.
    YIELDS (Example): The Doc without annotation as `predicted`, the gold Doc as `reference`.
    RAISES (CorpusError): With "strict", entities start or end within a token. The error is raised
        after all texts are read, and lists the first ten.
    """
    misaligned: list[Misaligned] = []
    made = 0
    for annotated in texts:
        doc, new = annotate(nlp, annotated, alignment)
        misaligned += new
        if not len(doc) or (misaligned and alignment == "strict"):
            continue
        set_weights(doc, [annotated.weight] * len(doc))
        set_document_name(doc, annotated.place)
        yield Example(nlp.make_doc(annotated.text), doc)
        made += 1
        if made == limit:
            break
    if not misaligned:
        return
    shown = "; ".join(str(entity) for entity in misaligned[:_SHOWN])
    more = f"; and {len(misaligned) - _SHOWN} more" if len(misaligned) > _SHOWN else ""
    problem = f"entities start or end within a token ({len(misaligned)}): {shown}{more}"
    if alignment == "strict":
        raise CorpusError(
            f'{problem}. Fix their offsets, or set alignment = "expand" (to all tokens that they '
            'overlap) or "contract" (to the tokens that they cover completely)'
        )
    logger.warning('%s. They are aligned to tokens: alignment = "%s"', problem, alignment)
