"""Read the entity tags of CoNLL-U, which are among other features of the tokens."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ..schemes import CHUNK_LABELS, OUTSIDE, SEVERAL_TAGS, are_several_tags, is_tag, tag_label
from .sentences import CorpusError

EXAMPLE = 'columns = ["tokens", "pos", "ner"], with "_" for a column to skip'
"""An example of the setting that names columns, for messages."""
N_CONLLU_COLUMNS = 10
"""The number of columns of a CoNLL-U file."""
_NAMES = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
_GLOBAL_COLUMNS = re.compile(r"#\s*global\.columns\s*=")
_CONTENT = {"FORM": "tokens", "UPOS": "pos", "NER": "ner", "NE": "ner"}
# The features of CoNLL-U's last column that hold entity tags.
_MISC_KEYS = frozenset(("name", "ne", "ner"))
_PLAIN_TAG = re.compile("O|[BIESLUMW]-.+")
# A label starts with a letter: "B-12" may be something else.
_CERTAIN_TAG = re.compile(r"[BIESLUMW]-[^\W\d_].*")
_TAG_AMONG_FEATURES = re.compile(
    r"(?:^|\|)(?:name|NE|NER)=|^[BIESLU]-[^|=]+\|(?:[^|=]+=[^|]*(?:\||$))+$", re.IGNORECASE
)


def columns_of_header(comments: Iterable[str]) -> list[str] | None:
    """Read the names of the columns from CoNLL-U Plus' comment "# global.columns = …".

    comments (Iterable[str]): The comments of a file.
    RETURNS (list[str] | None): The content of each column. None if there is no such comment, or
        not exactly one column of tokens (FORM) and one of entities (NER or NE) in it. Namespaces of
        names are ignored.
    """
    header = next((text for text in comments if _GLOBAL_COLUMNS.match(text)), "")
    given = [name.rpartition(":")[2].upper() for name in header.partition("=")[2].split()]
    names = [_CONTENT.get(name, "_") for name in given]
    return names if names.count("ner") == names.count("tokens") == 1 else None


def has_misc_tags(values: Iterable[str]) -> bool:
    """Check whether a column holds tags among other features, as in "name=B-PER|SpaceAfter=No".

    values (Iterable[str]): The column.
    RETURNS (bool): True if at least one value contains such a tag.
    """
    return any(map(_TAG_AMONG_FEATURES.search, set(values)))


def misc_tag(value: str, key: str = "") -> str:
    """Extract the tag from the features of a token.

    value (str): The features, such as "name=B-PER|SpaceAfter=No" or "B-PER".
    key (str): The key of the tags, see `find_key`; "" for the usual ones.
    RETURNS (str): The tag, or "O" if there is none. Several tags without a key are joined by "|".
    """
    return _find_tag(value, key) or OUTSIDE


def _find_tag(value: str, key: str = "") -> str | None:
    without_key = []
    for feature in value.split("|"):
        name, _, tag = feature.rpartition("=")
        if name.lower() in _MISC_KEYS or (name and name == key):
            return tag
        # CorefUD's Entity and a feature without a key may hold other things than tags.
        if name in ("Entity", "") and _PLAIN_TAG.fullmatch(tag):
            without_key.append(tag)
    return "|".join(without_key) or None


def find_key(values: Collection[str]) -> str:
    """Find the key of the tags among the features of the tokens.

    values (Collection[str]): The features of each token.
    RETURNS (str): The key; "" if it is one of the usual keys, or if not exactly one key has tags.
    """
    keys = [] if any(map(_find_tag, values)) else _keys_of_tags(values)
    return keys[0] if len(keys) == 1 else ""


def _keys_of_tags(values: Iterable[str]) -> list[str]:
    """List the keys of features that are mostly tags with a prefix, and not those of chunks."""
    by_key = defaultdict(list)
    for value in values:
        for feature in value.split("|"):
            key, _, tag = feature.rpartition("=")
            by_key[key].append(tag)
    return [key for key, found in by_key.items() if key and _are_entities(found)]


def _are_entities(values: Iterable[str]) -> bool:
    """Check whether values are mostly tags, of which some have a prefix.

    Words such as "E-mail" and "S-Bahn" are no tags, so a tag with B or O must be among them.
    """
    known = list(values)
    tags = [value for value in known if _CERTAIN_TAG.fullmatch(value)]
    labels = [tag_label(tag) for tag in tags]
    n_tags = len(tags) + known.count(OUTSIDE)
    return (
        2 * n_tags > len(known)
        and (n_tags > len(tags) or any(tag.startswith("B") for tag in tags))
        and not any(label[0].islower() for label in labels)
        and 2 * sum(map(CHUNK_LABELS.__contains__, labels)) < len(labels)
    )


def conllu_layout(
    file: Path, columns: Sequence[Sequence[str]], lines: Sequence[int], *, labels_alone: bool
) -> tuple[str, ...]:
    """Name CoNLL-U's columns: ID, FORM, LEMMA, UPOS, XPOS, FEATS, HEAD, DEPREL, DEPS, MISC.

    file (Path): The file, for messages.
    columns (Sequence[Sequence[str]]): The values of each column.
    lines (Sequence[int]): The line number of each value, for messages.
    labels_alone (bool): Whether tags may be labels without prefixes.
    RETURNS (tuple[str, ...]): The content of each column.
    RAISES (CorpusError): The last column holds entities without prefixes and `labels_alone` is
        False, it holds several tags of one token, or the tags are in another place.
    """
    names = ["_", "tokens", *"_" * 8]
    pos = next((i for i in (3, 4) if set(columns[i]) != {"_"}), None)
    if pos is not None:
        names[pos] = "pos"
    key = find_key(columns[-1])
    found: dict[str, int] = {}  # the first line of each tag
    for value, line in zip(columns[-1], lines, strict=True):
        if tag := _find_tag(value, key):
            found.setdefault(tag, line)
    if not found:
        _check_other_places(file, columns, lines)
        return tuple(names)
    names[-1] = "ner"
    wrong = next((tag for tag in found if not is_tag(tag)), None)
    if wrong is not None and (not labels_alone or are_several_tags(wrong)):
        advice = (
            SEVERAL_TAGS
            if are_several_tags(wrong)
            else 'use tags such as B-PER, or set scheme = "io" for labels without prefixes'
        )
        raise CorpusError(
            f"{file}:{found[wrong]}: the last column has the entity tag {wrong!r}: {advice}"
        )
    return tuple(names)


def _check_other_places(file: Path, columns: Sequence[Sequence[str]], lines: Sequence[int]) -> None:
    """Check that no entity tags are in a place that is not read.

    RAISES (CorpusError): Another column than the last holds tags with prefixes, or several keys do.
    """
    for i, column in enumerate(columns[3:], start=3):
        keys = _keys_of_tags(column)
        known = [value for value in column if value != "_"]
        # Tags in lower case, or with "_", are certain only where no other column could be.
        n_tags = sum("=" not in value and is_tag(value, bare=False) for value in known)
        in_misc = i == len(columns) - 1 and 2 * n_tags > len(known)
        if not keys and not in_misc and not _are_entities(known):
            continue
        place = next(
            (value, line)
            for value, line in zip(column, lines, strict=True)
            if any(is_tag(part, bare=False) and part != OUTSIDE for part in re.split("[=|]", value))
        )
        where = f" under {', '.join(keys)}" if keys else ""
        advice = (
            "rename the key of the entities to name"
            if len(keys) > 1
            else f"write name=B-PER in the last column, or name the columns, as in {EXAMPLE}"
        )
        raise CorpusError(
            f"{file}:{place[1]}: column {i + 1} ({_NAMES[i]}) seems to hold entity tags{where}, "
            f"such as {place[0]!r}: {advice}"
        )
