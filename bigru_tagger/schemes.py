"""Tag schemes: which one a corpus is written in, and the way from each to IOB2.

| Scheme | An entity of three tokens, one of one token, two that touch |
|---|---|
| IOB1   | `I-X I-X I-X`, `I-X`, `I-X B-X`: `B-` only right behind its own type |
| IOB2   | `B-X I-X I-X`, `B-X`, `B-X B-X` |
| IOBES  | `B-X I-X E-X`, `S-X`, `S-X S-X` (BMES and BMEWO write `M-` for `I-`, and `S-` or `W-`) |
| BILUO  | `B-X I-X L-X`, `U-X`, `U-X U-X` (also written BILOU) |
| IO     | `I-X I-X I-X`, `I-X`, or labels alone (`X X X`, `X`); entities that touch are one |

Prefixes may be in lower case (`b-X`, `b`, `o`), joined by `_` (`B_X`), or stand behind the label
(`X-B`). `B`, `I` and the other prefixes without a label are tags of the one label `BARE_LABEL`.

Everything else in the package speaks IOB2 only.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

SCHEMES = ("IOB1", "IOB2", "IOBES", "BILUO", "IO")
"""What `detect_scheme` returns and `to_iob2` takes, besides the aliases."""

OUTSIDE = "O"
LABELS_ALONE = "IO"
"""The scheme in which a label may stand without a prefix."""

BARE_LABEL = "ENTITY"
"""The label of tags that have none: `B`, `I`, `E`, `S` ..."""

CHUNK_LABELS = frozenset(
    ("ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP")
) | {"NC", "PC", "VC"}
"""Labels of chunks: CoNLL-2000's, and those of CoNLL-2003's German files."""

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


class TagError(ValueError):
    """A tag that belongs to no scheme, or not to the scheme asked for.

    tag (object): The tag.
    position (int): Its place in the sentence, from 0.
    scheme (str | None): The scheme that was asked for.
    """

    def __init__(self, tag: object, position: int, scheme: str | None = None) -> None:
        prefixes = "BIESLU" if scheme is None else sorted(_PREFIXES[scheme] - {"M", "W"})
        valid = ", ".join(f"'{prefix}-LABEL'" for prefix in sorted(prefixes))
        parts = _split(tag)
        unprefixed = isinstance(tag, str) and (parts is None or parts.notation == "suffix")
        advice = '. If labels have no prefixes here, give scheme = "io"' if unprefixed else ""
        super().__init__(f"tag {tag!r} at position {position}: legal are 'O', {valid}{advice}")
        self.position = position


class _Tag(NamedTuple):
    """A tag in parts. notation: how it is written: "", "prefix", "suffix" or "bare"."""

    prefix: str
    label: str
    notation: str


@lru_cache(maxsize=65536)
def _split(tag: object) -> _Tag | None:
    """Split a tag into prefix and label, at the first hyphen: labels may contain hyphens.

    tag (object): What the data hold, which need not be a string.
    RETURNS (_Tag | None): ("O", "", "") outside entities, None for a tag in no scheme.
    """
    if not isinstance(tag, str):
        return None
    if tag in (OUTSIDE, "o"):
        return _Tag(OUTSIDE, "", "")
    if len(tag) == 1 and tag.upper() in _ALL_PREFIXES:
        return _Tag(tag.upper(), BARE_LABEL, "bare")
    if match := _PREFIXED.fullmatch(tag):
        return _Tag(match[1].upper(), match[2], "prefix")
    if match := _SUFFIXED.fullmatch(tag):
        return _Tag(match[2], match[1], "suffix")
    return None


@lru_cache(maxsize=65536)
def _split_io(tag: object) -> _Tag | None:
    """Split a tag of IO, in which a label may stand without a prefix.

    `e-mail` and `s_bend` are labels; `E-MAIL`, `E_MAIL` and `e-Mail` may be tags of another scheme.
    """
    if not isinstance(tag, str) or tag in (OUTSIDE, "o", *"BIbi"):
        return _split(tag)
    if (match := _PREFIXED.fullmatch(tag)) and not (match[1] in "esluwm" and match[2].islower()):
        return _split(tag)
    return _Tag("I", tag, "label") if tag.strip("-_") else None


def is_tag(text: str, *, bare: bool = True) -> bool:
    """Tell whether a text is a tag of any scheme.

    text (str): The text.
    bare (bool): Whether a prefix without a label counts, which may be a word of one letter.
    RETURNS (bool): True for "O", and for a prefix and a label.
    """
    parts = _split(text)
    return parts is not None and (bare or parts.notation != "bare")


def column_labels(values: Collection[str]) -> set[str] | None:
    """Find the labels of a column, if it is a column of tags.

    values (Collection[str]): What stands in the column, each value once or more often.
    RETURNS (set[str] | None): The labels, none where all is outside of entities; None where a value
        is no tag, or where tags are written in several ways.
    """
    tags = [_split(value) for value in values]
    if not tags or None in tags:
        return None
    found = [tag for tag in tags if tag is not None and tag.label]
    if len({tag.notation for tag in found}) > 1:
        return None
    if found and found[0].notation == "suffix" and not _suffixes_are_certain(found):
        return None
    return {tag.label for tag in found}


def _suffixes_are_certain(tags: Iterable[_Tag]) -> bool:
    """Whether a label occurs with two prefixes: `X-B X-I`, but not `vitamin-B`."""
    pairs = {(tag.prefix, tag.label) for tag in tags}
    return len(pairs) > len({label for _, label in pairs})


def check_scheme(scheme: str) -> str:
    """Normalise the name of a scheme.

    scheme (str): One of `SCHEMES`, or another name of one, such as BMES; case does not matter.
    RETURNS (str): One of `SCHEMES`.
    RAISES (ValueError): For any other name.
    """
    name = _ALIASES.get(scheme.upper(), scheme.upper())
    if name not in SCHEMES:
        raise ValueError(
            f"unknown tag scheme {scheme!r}: use one of {', '.join((*SCHEMES, *_ALIASES))}"
        )
    return name


def detect_scheme(sequences: Iterable[Sequence[str]]) -> str:
    """Tell the scheme from the evidence of all sequences.

    1. Any `L-` or `U-`: BILUO. Otherwise any `E-`, `S-`, `M-` or `W-`: IOBES.
    2. No `B-` at all: IO if there is an `I-`, which converts as IOB1 does.
    3. More entities start with `I-` than with a `B-` that does not stand right behind a tag of its
       own type: IOB1.
    4. Otherwise IOB2, also where there are no entities.

    Counting, instead of asking for a clean corpus, is for real data: the training file of
    CoNLL-2003 is IOB1 but for two entities. `to_iob2` reads slips of either kind alike.

    sequences (Iterable[Sequence[str]]): The tags, one sequence a sentence.
    RETURNS (str): One of `SCHEMES`.
    RAISES (TagError): A tag in no scheme, or written in another way than those before it, as `B`
        among `B-X`; suffixes that may belong to labels.
    """
    prefixes: set[str] = set()
    notation = ""
    suffixed: dict[_Tag, tuple[object, int]] = {}
    inside_starts = ordinary_begins = 0
    for tags in sequences:
        previous = ""
        for position, tag in enumerate(tags):
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

    What a scheme forbids but conlleval reads is read as conlleval does: an `I-` (or `E-`, `L-`)
    with no entity of its type before it starts one. The result is always legal IOB2.

    tags (Sequence[str]): The tags of one sentence.
    scheme (str): What `check_scheme` takes. IOBES and BILUO take each other's letters.
    RETURNS (list[str]): As many tags, in IOB2.
    RAISES (TagError): A tag that the scheme does not have. (ValueError): An unknown scheme.
    """
    scheme = check_scheme(scheme)
    valid = _PREFIXES[scheme]
    split = _split_io if scheme == LABELS_ALONE else _split
    iob2 = []
    open_label = ""  # the type of the entity that the token before leaves open
    for position, tag in enumerate(tags):
        parts = split(tag)
        if parts is None or (parts.label and parts.prefix not in valid):
            raise TagError(tag, position, scheme)
        prefix, label, _ = parts
        if not label:
            iob2.append(OUTSIDE)
        elif prefix in _STARTS or label != open_label:
            iob2.append(f"B-{label}")
        else:
            iob2.append(f"I-{label}")
        open_label = "" if prefix in _ENDS else label
    return iob2


def entity_spans(tags_iob2: Sequence[str]) -> list[tuple[str, int, int]]:
    """List the entities of one sentence.

    tags_iob2 (Sequence[str]): The tags of one sentence, in IOB2.
    RETURNS (list[tuple[str, int, int]]): Label, first token, and the token behind the last.
    RAISES (TagError): A tag that IOB2 does not have.
    """
    spans: list[tuple[str, int, int]] = []
    for position, tag in enumerate(to_iob2(tags_iob2, "IOB2")):
        if tag == OUTSIDE:
            continue
        label = tag[2:]
        if tag[0] == "B":
            spans.append((label, position, position + 1))
        else:
            spans[-1] = (label, spans[-1][1], position + 1)
    return spans
