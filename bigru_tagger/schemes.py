"""Tag schemes: detection, conversion to IOB2, and conversion between tags and spans.

| Scheme | An entity of three tokens, of one token, and two adjacent entities of one token |
|---|---|
| IOB1   | `I-X I-X I-X`, `I-X`, `I-X B-X`: `B-` only directly after an entity with the same label |
| IOB2   | `B-X I-X I-X`, `B-X`, `B-X B-X` |
| IOBES  | `B-X I-X E-X`, `S-X`, `S-X S-X` (BMES and BMEWO write `M-` for `I-`, and `S-` or `W-`) |
| BILUO  | `B-X I-X L-X`, `U-X`, `U-X U-X` (also written BILOU) |
| IO     | `I-X I-X I-X`, `I-X`, or labels without prefix (`X X X`, `X`); adjacent entities merge |

Prefixes can be in lower case (`b-X`, `b`, `o`), joined with `_` (`B_X`), or follow the label
(`X-B`). Prefixes without a label, such as `B` and `I`, are tags with the label `BARE_LABEL`.

Corpora and scores use IOB2 tags. The components that predict spans use BILUO tags, which mark the
ends of spans. `tag_arrays` has the same conversions for arrays of tag indices.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from .errors import ConfigError, DataError

SCHEMES = ("IOB1", "IOB2", "IOBES", "BILUO", "IO")
"""The names of the schemes. `check_scheme` also accepts aliases such as BIO and BMES."""

OUTSIDE = "O"
UNKNOWN = "-"
"""The tag of a token without annotation, in every scheme."""

LABELS_ALONE = "IO"
"""The scheme in which labels can have no prefix."""

BARE_LABEL = "ENTITY"
"""The label of tags without a label, such as `B` and `I`."""

CHUNK_LABELS = frozenset(
    ("ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP")
) | {"NC", "PC", "VC"}
"""The labels of chunks in CoNLL-2000 and in the German files of CoNLL-2003."""

SEVERAL_TAGS = (
    "several tags of one token. Keep one of them, or read nested spans as in docs/spans.md"
)
"""The problem and its solutions, for messages."""

_BILUO, _IOB2 = "BILU", "BI"  # the order of prefixes in `biluo_tags` and `iob2_tags`
_ALIASES = {
    "BILOU": "BILUO",
    "BIO": "IOB2",
    "BIO2": "IOB2",
    **dict.fromkeys(("BIOES", "BMEO", "BMES", "BMESO", "BMEWO"), "IOBES"),
}
_STARTS = frozenset("BSUW")
_ENDS = frozenset("ESLUW")
_ALL_PREFIXES = "BIESLUMW"
_PREFIXES = {
    "IOB1": frozenset("IB"),
    "IOB2": frozenset("IB"),
    "IOBES": frozenset(_ALL_PREFIXES),
    "BILUO": frozenset(_ALL_PREFIXES),
    "IO": frozenset("IB"),
}
_PREFIXED = re.compile(rf"([{_ALL_PREFIXES}])[-_](.+)", re.IGNORECASE | re.DOTALL)
_SUFFIXED = re.compile(rf"(.+)[-_]([{_ALL_PREFIXES}])", re.DOTALL)
# "B-ORG|O" and "ORG-B|O", but not "B-A|B", whose label is "A|B".
_SEVERAL_TAGS = re.compile(
    "|".join(
        rf"(?:[O-]|{tag})(?:\s*[|,;]\s*(?:[O-]|{tag}))+"
        for tag in (rf"[{_ALL_PREFIXES}][-_][^|,;]+", rf"[^|,;]+[-_][{_ALL_PREFIXES}]")
    )
)


class TagError(DataError):
    """A tag is invalid in the given scheme, or in all schemes.

    tag (object): the tag.
    position (int): the index of the tag in the sentence, from 0.
    scheme (str | None): the scheme, None for all schemes.
    """

    def __init__(self, tag: object, position: int, scheme: str | None = None) -> None:
        self.position = position
        if isinstance(tag, str) and are_several_tags(tag):
            super().__init__(f"tag {tag!r} at position {position}: {SEVERAL_TAGS}")
            return
        prefixes = "BIESLU" if scheme is None else sorted(_PREFIXES[scheme] - {"M", "W"})
        valid = ", ".join(f"'{prefix}-LABEL'" for prefix in sorted(prefixes))
        parts = _split(tag)
        unprefixed = isinstance(tag, str) and (parts is None or parts.notation == "suffix")
        advice = '. If the labels have no prefixes, set scheme = "io"' if unprefixed else ""
        super().__init__(f"tag {tag!r} at position {position}: valid tags are 'O', {valid}{advice}")


class _Tag(NamedTuple):
    """The parts of a tag. `notation` is "prefix", "suffix", "bare", "label", or "" for O and -."""

    prefix: str
    label: str
    notation: str


@lru_cache(maxsize=65536)
def _split(tag: object) -> _Tag | None:
    """Split a tag into prefix and label. Labels can contain hyphens.

    tag (object): the tag; a value that is not a string is invalid.
    RETURNS (_Tag | None): the parts, ("O", "", "") for O and ("-", "", "") for an unknown tag; None
        for an invalid tag.
    """
    if not isinstance(tag, str) or are_several_tags(tag):
        return None
    if tag in (OUTSIDE, "o", UNKNOWN):
        return _Tag(tag.upper(), "", "")
    if len(tag) == 1 and tag.upper() in _ALL_PREFIXES:
        return _Tag(tag.upper(), BARE_LABEL, "bare")
    if match := _PREFIXED.fullmatch(tag):
        return _Tag(match[1].upper(), match[2], "prefix")
    if match := _SUFFIXED.fullmatch(tag):
        return _Tag(match[2], match[1], "suffix")
    return None


@lru_cache(maxsize=65536)
def _split_io(tag: object) -> _Tag | None:
    """Split a tag of the scheme IO, in which labels can have no prefix.

    `e-mail` and `s_bend` are labels. `E-MAIL`, `E_MAIL` and `e-Mail` are split, because they can be
    tags of another scheme.
    """
    if not isinstance(tag, str) or tag in (OUTSIDE, UNKNOWN, "o", *"BIbi"):
        return _split(tag)
    if (match := _PREFIXED.fullmatch(tag)) and not (match[1] in "esluwm" and match[2].islower()):
        return _split(tag)
    return _Tag("I", tag, "label") if tag.strip("-_") else None


def is_tag(text: str, *, bare: bool = True) -> bool:
    """Check whether a text is a tag of any scheme.

    text (str): the text.
    bare (bool): whether prefixes without a label are valid. These can also be one-letter words.
    RETURNS (bool): True if the text is a tag. "-" is not, since it can also be a word.
    """
    parts = _split(text)
    return parts is not None and text != UNKNOWN and (bare or parts.notation != "bare")


def are_several_tags(text: str) -> bool:
    """Check whether a text is several tags, as in "B-ORG|O" or "B-ORG,B-LOC".

    text (str): the text.
    RETURNS (bool): True if it is. False for a tag whose label contains such a character ("B-A|B").
    """
    return bool(_SEVERAL_TAGS.fullmatch(text))


def tag_label(text: str) -> str:
    """Return the label of a tag of any scheme.

    text (str): the tag.
    RETURNS (str): the label; "" for O and - and for a text that is not a tag.
    """
    parts = _split(text)
    return parts.label if parts is not None else ""


def column_labels(values: Collection[str]) -> set[str] | None:
    """Find the labels of a column of tags.

    values (Collection[str]): the values of the column, with or without duplicates.
    RETURNS (set[str] | None): the labels, empty if all tags are O. None if the column is empty,
        a value is not a tag, or the tags use more than one notation.
    """
    tags = [_split(value) for value in values]
    if not tags or None in tags:
        return None
    found = [tag for tag in tags if tag is not None and tag.label]
    if not found and UNKNOWN in values:  # a column of placeholders
        return None
    if len({tag.notation for tag in found}) > 1:
        return None
    if found and found[0].notation == "suffix" and not _suffixes_are_certain(found):
        return None
    return {tag.label for tag in found}


def _suffixes_are_certain(tags: Iterable[_Tag]) -> bool:
    """Check whether a label has two different suffixes: `X-B X-I`, but not `vitamin-B`."""
    pairs = {(tag.prefix, tag.label) for tag in tags}
    return len(pairs) > len({label for _, label in pairs})


def check_scheme(scheme: str) -> str:
    """Normalize the name of a scheme.

    scheme (str): one of `SCHEMES` or an alias such as BMES, in any case.
    RETURNS (str): one of `SCHEMES`.
    RAISES (ValueError): if the name is unknown.
    """
    name = _ALIASES.get(scheme.upper(), scheme.upper())
    if name not in SCHEMES:
        raise ConfigError(
            f"unknown tag scheme {scheme!r}: use one of {', '.join((*SCHEMES, *_ALIASES))}"
        )
    return name


def detect_scheme(sequences: Iterable[Sequence[str]]) -> str:
    """Detect the scheme from the tags of all sequences.

    1. If there is an `L-` or `U-`: BILUO. Otherwise, if there is an `E-`, `S-`, `M-` or `W-`:
       IOBES.
    2. If there is no `B-`: IO if there is an `I-`, otherwise IOB2.
    3. If more entities start with `I-` than with a `B-` that does not directly follow a tag with
       the same label: IOB1.
    4. Otherwise: IOB2.

    Rule 3 counts entities because real data contain errors. For example, the training file of
    CoNLL-2003 is IOB1 except for two entities. `to_iob2` converts such errors in the same way in
    both schemes.

    sequences (Iterable[Sequence[str]]): the tags, one sequence per sentence.
    RETURNS (str): one of `SCHEMES`.
    RAISES (TagError): if a tag is invalid in all schemes, if the tags use more than one notation
        (such as `B` and `B-X`), or if it is unclear whether suffixes are part of the labels.
    """
    prefixes: set[str] = set()
    notation = ""
    suffixed: dict[_Tag, tuple[object, int]] = {}
    inside_starts = ordinary_begins = 0
    for tags in sequences:
        previous = ""
        for position, tag in enumerate(tags):
            if tag == OUTSIDE:  # most tags are
                previous = ""
                continue
            parts = _split(tag)
            if parts is None or parts.notation not in ("", notation or parts.notation):
                raise TagError(tag, position)
            prefix, label, _ = parts
            notation = notation or parts.notation
            if parts.notation == "suffix":
                suffixed.setdefault(parts, (tag, position))
            prefixes.add(prefix)
            if label and label != previous:
                inside_starts += prefix == "I"
                ordinary_begins += prefix == "B"
            previous = label
    if suffixed and not _suffixes_are_certain(suffixed):
        raise TagError(*next(iter(suffixed.values())))
    if prefixes & {"L", "U"}:
        return "BILUO"
    if prefixes & {"E", "S", "M", "W"}:
        return "IOBES"
    if "B" not in prefixes:
        return "IO" if "I" in prefixes else "IOB2"
    return "IOB1" if inside_starts > ordinary_begins else "IOB2"


def to_iob2(tags: Sequence[str], scheme: str) -> list[str]:
    """Convert the tags of one sentence to IOB2.

    Invalid tag sequences follow conlleval's rules: an `I-` (or `E-`, `L-`) that does not continue
    an entity with the same label starts a new one. The result is always valid IOB2.

    tags (Sequence[str]): the tags of one sentence.
    scheme (str): the scheme, see `check_scheme`. IOBES and BILUO accept each other's prefixes.
    RETURNS (list[str]): the IOB2 tags, one per input tag; "-" for unknown tags.
    RAISES (TagError): if a tag is invalid in the scheme.
    RAISES (ValueError): if the scheme is unknown.
    """
    scheme = check_scheme(scheme)
    valid = _PREFIXES[scheme]
    split = _split_io if scheme == LABELS_ALONE else _split
    iob2 = []
    open_label = ""  # the label of the entity that can continue at this token
    for position, tag in enumerate(tags):
        if tag == OUTSIDE:  # most tags are
            iob2.append(OUTSIDE)
            open_label = ""
            continue
        parts = split(tag)
        if parts is None or (parts.label and parts.prefix not in valid):
            raise TagError(tag, position, scheme)
        prefix, label, _ = parts
        if not label:
            iob2.append(UNKNOWN if prefix == UNKNOWN else OUTSIDE)
        elif prefix in _STARTS or label != open_label:
            iob2.append(f"B-{label}")
        else:
            iob2.append(f"I-{label}")
        open_label = "" if prefix in _ENDS else label
    return iob2


def entity_spans(tags_iob2: Sequence[str]) -> list[tuple[str, int, int]]:
    """List the entities of one sentence.

    tags_iob2 (Sequence[str]): the IOB2 tags of one sentence.
    RETURNS (list[tuple[str, int, int]]): for each entity, the label, the index of the first token,
        and the index after the last token.
    RAISES (TagError): if a tag is invalid in IOB2.
    """
    spans: list[tuple[str, int, int]] = []
    for position, tag in enumerate(to_iob2(tags_iob2, "IOB2")):
        if tag in (OUTSIDE, UNKNOWN):
            continue
        label = label_of(tag)
        if tag[0] == "B":
            spans.append((label, position, position + 1))
        else:
            spans[-1] = (label, spans[-1][1], position + 1)
    return spans


# --- the tags of labels and spans


def biluo_tags(labels: Iterable[str]) -> list[str]:
    """List the tags of the BILUO scheme.

    labels (Iterable[str]): the labels.
    RETURNS (list[str]): O, followed by B-, I-, L- and U- for each label.
    """
    return [OUTSIDE, *(f"{part}-{label}" for label in labels for part in _BILUO)]


def iob2_tags(labels: Iterable[str]) -> list[str]:
    """List the tags of the IOB2 scheme.

    labels (Iterable[str]): the labels.
    RETURNS (list[str]): O, followed by B- and I- for each label.
    """
    return [OUTSIDE, *(f"{part}-{label}" for label in labels for part in _IOB2)]


def iob2_labels(tags: Collection[str]) -> list[str] | None:
    """Find the labels of a complete set of IOB2 tags.

    tags (Collection[str]): the tags in any order.
    RETURNS (list[str] | None): the labels, in the order of their B- tags. None if the tags are not
        exactly O and, for each label, B- and I-.
    """
    labels = [label_of(tag) for tag in tags if tag.startswith("B-")]
    return labels if "" not in labels and sorted(iob2_tags(labels)) == sorted(tags) else None


def label_of(tag: str) -> str:
    """Return the label of a tag of `biluo_tags` or `iob2_tags`; "" for O and ""."""
    return tag[2:]


def goes_on(tag: str) -> bool:
    """Check whether an IOB2 tag continues the entity of the previous token."""
    return tag.startswith("I-")


def biluo_tag(label: str, *, first: bool, last: bool) -> str:
    """Return the BILUO tag of one token of a span.

    label (str): the label of the span.
    first (bool): whether the token is the first of the span.
    last (bool): whether the token is the last of the span.
    RETURNS (str): the tag.
    """
    return f"{'ILBU'[2 * first + last]}-{label}"


def span_tags(label: str, length: int) -> list[str]:
    """Return the BILUO tags of one span.

    label (str): the label.
    length (int): the number of tokens.
    RETURNS (list[str]): one tag per token.
    """
    last = length - 1
    return [biluo_tag(label, first=i == 0, last=i == last) for i in range(length)]


def iob2_span_tags(label: str, length: int) -> list[str]:
    """Return the IOB2 tags of one span.

    label (str): the label.
    length (int): the number of tokens, at least 1.
    RETURNS (list[str]): one tag per token.
    """
    return [f"B-{label}", *[f"I-{label}"] * (length - 1)]


def biluo_to_iob2(tag: str) -> str:
    """Convert one BILUO tag to IOB2."""
    if tag == OUTSIDE:
        return tag
    return f"{'B' if tag[0] in _STARTS else 'I'}{tag[1:]}"


def biluo_spans(tags: Sequence[str | None]) -> Iterator[tuple[str, int, int]]:
    """List the spans of BILUO tags, some of which can be unknown.

    tags (Sequence[str | None]): the tags of one text, None for unknown tags.
    YIELDS (tuple[str, int, int]): for each span without unknown tags, the label, the index of the
        first token, and the index after the last token.
    """
    start = None
    for position, tag in enumerate(tags):
        prefix = tag[0] if tag else ""
        if prefix in ("B", "U"):
            start = position
        if tag is not None and start is not None and prefix in ("L", "U"):
            yield label_of(tag), start, position + 1
        if prefix not in ("B", "I"):
            start = None
