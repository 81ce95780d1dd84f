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

Corpora and scores hold IOB2 tags. The tags of the components that find spans are BILUO, by which
each tag shows whether its span ends. No other module knows what the letters mean: tags become
spans, and spans tags, here.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

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

BILUO_PARTS = {"B": 0, "I": 1, "L": 2, "U": 3, "E": 2, "S": 3}
"""The place of each prefix among the four tags of a label in `biluo_tags`; E and S are IOBES's."""

BEGIN, INSIDE, LAST, UNIT = range(4)
"""The values of `BILUO_PARTS`."""

_BILUO, _IOB2 = "BILU", "BI"  # the order of a label's tags in `biluo_tags` and `iob2_tags`
_N_PARTS = {"BILUO": 4, "IOB2": 2}
_PART = np.array([INSIDE, LAST, BEGIN, UNIT])  # at 2, if a token is its span's first, + 1, if last
_BEGINS_BY_ITSELF = np.array([True, False, False, True])
_ENDS_BY_ITSELF = np.array([False, False, True, True])

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
        super().__init__(f"tag {tag!r} at position {position}: valid are 'O', {valid}{advice}")
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
    with no entity of its type before it starts one. The result is always valid IOB2.

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
        label = label_of(tag)
        if tag[0] == "B":
            spans.append((label, position, position + 1))
        else:
            spans[-1] = (label, spans[-1][1], position + 1)
    return spans


# --- the tags of one label, and of one span


def biluo_tags(labels: Iterable[str]) -> list[str]:
    """List the tags of the BILUO scheme.

    labels (Iterable[str]): the labels.
    RETURNS (list[str]): O, and B-, I-, L- and U- of each label.
    """
    return [OUTSIDE, *(f"{part}-{label}" for label in labels for part in _BILUO)]


def iob2_tags(labels: Iterable[str]) -> list[str]:
    """List the tags of the IOB2 scheme.

    labels (Iterable[str]): the labels.
    RETURNS (list[str]): O, and B- and I- of each label.
    """
    return [OUTSIDE, *(f"{part}-{label}" for label in labels for part in _IOB2)]


def iob2_labels(tags: Collection[str]) -> list[str] | None:
    """Find the labels of which `iob2_tags` lists the tags, in whatever order these are.

    tags (Collection[str]): the tags.
    RETURNS (list[str] | None): the labels, in the order of their B-; None where the tags are not O,
        and B- and I- of each label.
    """
    labels = [label_of(tag) for tag in tags if tag.startswith("B-")]
    return labels if "" not in labels and sorted(iob2_tags(labels)) == sorted(tags) else None


def label_of(tag: str) -> str:
    """Find the label of a tag of `biluo_tags` or `iob2_tags`; "" for O and for no tag."""
    return tag[2:]


def goes_on(tag: str) -> bool:
    """Whether the token of an IOB2 tag belongs to the entity of the token before it."""
    return tag.startswith("I-")


def biluo_tag(label: str, *, first: bool, last: bool) -> str:
    """Write one token of a span as a BILUO tag, by whether it is the span's first, and last."""
    return f"{'ILBU'[2 * first + last]}-{label}"


def span_tags(label: str, length: int) -> list[str]:
    """Write one span as BILUO tags.

    label (str): its label.
    length (int): its tokens.
    RETURNS (list[str]): as many tags.
    """
    last = length - 1
    return [biluo_tag(label, first=i == 0, last=i == last) for i in range(length)]


def iob2_span_tags(label: str, length: int) -> list[str]:
    """Write one span as IOB2 tags.

    label (str): its label.
    length (int): its tokens, at least one.
    RETURNS (list[str]): as many tags.
    """
    return [f"B-{label}", *[f"I-{label}"] * (length - 1)]


def biluo_to_iob2(tag: str) -> str:
    """Convert one BILUO tag to IOB2, for which no other tag is needed."""
    if tag == OUTSIDE:
        return tag
    return f"{'B' if tag[0] in _STARTS else 'I'}{tag[1:]}"


def biluo_spans(tags: Sequence[str | None]) -> Iterator[tuple[str, int, int]]:
    """List the spans of BILUO tags of which some are unknown.

    tags (Sequence[str | None]): the tags of one text, None where a token's tag is unknown.
    YIELDS (tuple[str, int, int]): label, first token, and the token behind the last, of each span
        all of whose tags are known.
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


# --- tags as numbers, of many texts at once


class TagParts(NamedTuple):
    """The parts of some BILUO tags, (n_tags,) each.

    label (ndarray): number of the tag's label, the same for equal labels, int64.
    continues (ndarray): whether the tag's span began before its token, bool.
    opens (ndarray): whether the tag's span goes on behind its token, bool.
    bounds (ndarray): whether the tag's span begins or ends with its token, bool.
    """

    label: np.ndarray
    continues: np.ndarray
    opens: np.ndarray
    bounds: np.ndarray

    @classmethod
    def of(cls, tags: Sequence[str]) -> "TagParts":
        """Split BILUO tags, in any order."""
        numbers: dict[str, int] = {}
        label = [numbers.setdefault(label_of(tag), len(numbers)) for tag in tags]
        held = [[tag[0] in prefixes for tag in tags] for prefixes in ("IL", "BI", "BLU")]
        return cls(np.array(label), *np.array(held))


class Spans(NamedTuple):
    """Spans over tokens that lie one after the other, in their order, int64 (n_spans,) each.

    start (ndarray): first token.
    end (ndarray): the token behind the last.
    label (ndarray): number of the label.
    """

    start: np.ndarray
    end: np.ndarray
    label: np.ndarray

    @classmethod
    def read(cls, columns: np.ndarray, lengths: Iterable[int], scheme: str = "BILUO") -> "Spans":
        """Read spans from tags. Invalid sequences are read as by conlleval, see `to_iob2`.

        columns (ndarray): the place of each token's tag in `biluo_tags` or `iob2_tags`, -1 where it
            is unknown, int64 (n_tokens,).
        lengths (Iterable[int]): tokens of each sequence, over whose ends no span goes.
        scheme (str): "BILUO" or "IOB2".
        RETURNS (Spans): the spans.
        """
        label, part = np.divmod(columns - 1, _N_PARTS[scheme])
        inside = columns > 0
        opens = inside & ~_ENDS_BY_ITSELF[part]
        continues = inside & ~_BEGINS_BY_ITSELF[part]
        continues[1:] &= opens[:-1] & (label[1:] == label[:-1])
        sizes = np.array([*lengths], dtype=np.int64)
        continues[(sizes.cumsum() - sizes)[sizes > 0]] = False
        start = np.flatnonzero(inside & ~continues)
        end = np.flatnonzero(inside & ~np.append(continues[1:], False)) + 1
        return cls(start, end, label[start])

    def write(self, n_tokens: int, scheme: str = "BILUO") -> np.ndarray:
        """Write the spans as tags.

        n_tokens (int): how many tokens there are.
        scheme (str): "BILUO" or "IOB2".
        RETURNS (ndarray): the place of each token's tag in `biluo_tags` or `iob2_tags`, int64
            (n_tokens,).
        """
        columns = np.zeros(n_tokens, dtype=np.int64)
        sizes = self.end - self.start
        span = np.repeat(np.arange(len(sizes)), sizes)
        within = np.arange(len(span)) - (sizes.cumsum() - sizes)[span]
        first, last = within == 0, within == sizes[span] - 1
        part = _PART[2 * first + last] if scheme == "BILUO" else np.where(first, BEGIN, INSIDE)
        columns[self.start[span] + within] = 1 + _N_PARTS[scheme] * self.label[span] + part
        return columns
