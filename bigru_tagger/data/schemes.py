"""Tag schemes: which one a corpus is written in, and the way from each to IOB2.

| Scheme | An entity of three tokens, one of one token, two that touch |
|---|---|
| IOB1   | `I-X I-X I-X`, `I-X`, `I-X B-X`: `B-` only right behind its own type |
| IOB2   | `B-X I-X I-X`, `B-X`, `B-X B-X` |
| IOBES  | `B-X I-X E-X`, `S-X`, `S-X S-X` |
| BILUO  | `B-X I-X L-X`, `U-X`, `U-X U-X` (also written BILOU) |
| IO     | `I-X I-X I-X`, `I-X`; entities that touch are one |

Everything else in the package speaks IOB2 only.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

SCHEMES = ("IOB1", "IOB2", "IOBES", "BILUO", "IO")
"""What `detect_scheme` returns and `to_iob2` takes, besides the alias BILOU."""

OUTSIDE = "O"
_STARTS = frozenset("BSU")
_ENDS = frozenset("ESLU")
_PREFIXES = {
    "IOB1": frozenset("IB"),
    "IOB2": frozenset("IB"),
    "IOBES": frozenset("BIESLU"),
    "BILUO": frozenset("BIESLU"),
    "IO": frozenset("IB"),
}


class TagError(ValueError):
    """A tag that belongs to no scheme, or not to the scheme asked for.

    tag (object): The tag.
    position (int): Its place in the sentence, from 0.
    prefixes (Iterable[str]): The prefixes that would have been legal.
    """

    def __init__(self, tag: object, position: int, prefixes: Iterable[str]) -> None:
        legal = ", ".join(f"'{prefix}-LABEL'" for prefix in sorted(prefixes))
        super().__init__(f"tag {tag!r} at position {position}: legal are 'O', {legal}")
        self.position = position


@lru_cache(maxsize=65536)
def _split(tag: object) -> tuple[str, str] | None:
    """Split a tag into prefix and label, at the first hyphen: labels may hold hyphens.

    tag (object): What the data hold, which need not be a string.
    RETURNS (tuple[str, str] | None): ("O", "") outside entities, None for a tag in no scheme.
    """
    if tag == OUTSIDE:
        return (OUTSIDE, "")
    if not isinstance(tag, str):
        return None
    prefix, _, label = tag.partition("-")
    if prefix not in _PREFIXES["IOBES"] or not label:
        return None
    return prefix, label


def is_tag(text: str) -> bool:
    """Tell whether a text is a tag of any scheme.

    text (str): The text.
    RETURNS (bool): True for "O", and for a prefix and a label.
    """
    return _split(text) is not None


def check_scheme(scheme: str) -> str:
    """Normalise the name of a scheme.

    scheme (str): One of `SCHEMES`, or BILOU; case does not matter.
    RETURNS (str): One of `SCHEMES`.
    RAISES (ValueError): For any other name.
    """
    name = scheme.upper()
    if name == "BILOU":
        return "BILUO"
    if name not in SCHEMES:
        raise ValueError(f"unknown tag scheme {scheme!r}: use one of {', '.join(SCHEMES)}")
    return name


def detect_scheme(sequences: Iterable[Sequence[str]]) -> str:
    """Tell the scheme from the evidence of all sequences.

    1. Any `L-` or `U-`: BILUO. Otherwise any `E-` or `S-`: IOBES.
    2. No `B-` at all: IO if there is an `I-`, which converts as IOB1 does.
    3. More entities start with `I-` than with a `B-` that does not stand right behind a tag of its
       own type: IOB1.
    4. Otherwise IOB2, also where there are no entities.

    Counting, instead of asking for a clean corpus, is for real data: the training file of
    CoNLL-2003 is IOB1 but for two entities. `to_iob2` reads slips of either kind alike.

    sequences (Iterable[Sequence[str]]): The tags, one sequence a sentence.
    RETURNS (str): One of `SCHEMES`.
    RAISES (TagError): A tag in no scheme.
    """
    prefixes: set[str] = set()
    inside_starts = ordinary_begins = 0
    for tags in sequences:
        previous = ""
        for position, tag in enumerate(tags):
            parts = _split(tag)
            if parts is None:
                raise TagError(tag, position, _PREFIXES["IOBES"])
            prefix, label = parts
            prefixes.add(prefix)
            if label and label != previous:
                inside_starts += prefix == "I"
                ordinary_begins += prefix == "B"
            previous = label
    if prefixes & {"L", "U"}:
        return "BILUO"
    if prefixes & {"E", "S"}:
        return "IOBES"
    if "B" not in prefixes:
        return "IO" if "I" in prefixes else "IOB2"
    return "IOB1" if inside_starts > ordinary_begins else "IOB2"


def to_iob2(tags: Sequence[str], scheme: str) -> list[str]:
    """Convert the tags of one sentence to IOB2.

    What a scheme forbids but conlleval reads is read as conlleval does: an `I-` (or `E-`, `L-`)
    with no entity of its type before it starts one. The result is always legal IOB2.

    tags (Sequence[str]): The tags of one sentence.
    scheme (str): One of `SCHEMES`, or BILOU. IOBES and BILUO take each other's letters.
    RETURNS (list[str]): As many tags, in IOB2.
    RAISES (TagError): A tag that the scheme does not have. (ValueError): An unknown scheme.
    """
    legal = _PREFIXES[check_scheme(scheme)]
    iob2 = []
    open_label = ""  # the type of the entity that the token before leaves open
    for position, tag in enumerate(tags):
        parts = _split(tag)
        if parts is None or not (parts[1] == "" or parts[0] in legal):
            raise TagError(tag, position, legal)
        prefix, label = parts
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
