"""Other names of entity types, so that systems and data with other labels can be compared."""

from collections.abc import Iterable, Mapping

from spacy.tokens import Doc, Span, SpanGroup


def parse_names(pairs: Iterable[str]) -> dict[str, str]:
    """Read names as a command is given them.

    pairs (Iterable[str]): "LABEL=NAME", or "LABEL=" for what is to count as no entity.
    RETURNS (dict[str, str]): names by label.
    RAISES (ValueError): one is not of this form, or a label has two names.
    """
    names: dict[str, str] = {}
    for pair in pairs:
        label, equals, name = pair.partition("=")
        if not label or not equals:
            raise ValueError(f"--rename {pair}: write LABEL=NAME")
        if names.setdefault(label, name) != name:
            raise ValueError(f"--rename {pair}: {label} has the name {names[label]!r} already")
    return names


def rename_labels(doc: Doc, names: Mapping[str, str], *, spans_key: str) -> None:
    """Give the entities of a document, and its spans under a key, other labels.

    Probabilities stay with them. Tokens of what gets the name "" are outside of entities.

    doc (Doc): gold or predicted; changed in place.
    names (Mapping[str, str]): new names by label.
    spans_key (str): see above.
    """
    if any(ent.label_ in names for ent in doc.ents):
        new = {ent: names.get(ent.label_, ent.label_) for ent in doc.ents}
        doc.set_ents(
            [_relabelled(doc, ent, name) for ent, name in new.items() if name],
            outside=[ent for ent, name in new.items() if not name],
            default="unmodified",
        )
    if spans_key in doc.spans and any(span.label_ in names for span in doc.spans[spans_key]):
        doc.spans[spans_key] = _renamed_group(doc.spans[spans_key], names)


def _renamed_group(group: SpanGroup, names: Mapping[str, str]) -> SpanGroup:
    new = [names.get(span.label_, span.label_) for span in group]
    attrs = dict(group.attrs)
    # Of a group that somebody changed, nobody knows which score is whose.
    if len(attrs.get("scores", ())) == len(group):
        attrs["scores"] = [score for score, name in zip(attrs["scores"], new, strict=True) if name]
    spans = [
        _relabelled(group.doc, span, name) for span, name in zip(group, new, strict=True) if name
    ]
    return SpanGroup(group.doc, name=group.name, attrs=attrs, spans=spans)


def _relabelled(doc: Doc, span: Span, label: str) -> Span:
    return Span(doc, span.start, span.end, label, kb_id=span.kb_id, span_id=span.id)
