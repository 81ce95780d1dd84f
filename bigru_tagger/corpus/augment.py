"""Augmentation of training examples, with annotation that stays complete."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example
from spacy.util import registry

from ..errors import ConfigError
from ..tasks import LABELS_MARK
from .sentences import CorpusError, copy_tokens
from .weights import spread_weights

Augmenter: TypeAlias = Callable[[Language, Example], Iterable[Example]]
"""The type of the functions in spaCy's registry `augmenters`."""

_ATTRIBUTES = ("ENT_IOB", "ENT_TYPE", "ENT_KB_ID", "ENT_ID", "TAG", "POS", "MORPH", "LEMMA")


def _title(word: str) -> str:
    # Not `word.title()`, which changes "don't" to "Don'T" and "NATO" to "Nato". The title case of a
    # letter differs from its upper case in "ǆ", or if it is several letters, as in "ﬁ".
    return word[:1].title() + word[1:]


CASES: dict[str, Callable[[str], str]] = {"lower": str.lower, "upper": str.upper, "title": _title}
"""The changes of the case of a word, by name."""


def change_words(doc: Doc, words: list[str]) -> Doc:
    """Replace the words of a Doc, and keep its tokens and their annotation.

    doc (Doc): the Doc, which is not modified.
    words (list[str]): the new words, one per token. Their lengths may differ.
    RETURNS (Doc): a Doc with the annotation of the tokens, `cats`, `spans` and `user_data`.
    """
    spaces = None if doc.has_unknown_spaces else [bool(token.whitespace_) for token in doc]
    changed = Doc(doc.vocab, words=words, spaces=spaces)
    if not len(doc):
        return changed
    # A parse implies the sentence starts, and spaCy does not accept both.
    structure = ("HEAD", "DEP") if doc.has_annotation("DEP") else ("SENT_START",)
    attributes: list[Any] = [*structure, *_ATTRIBUTES]
    changed.from_array(attributes, cast(Any, doc.to_array(attributes)))
    changed.cats = dict(doc.cats)
    for key, group in doc.spans.items():
        spans = [
            Span(changed, span.start, span.end, span.label, kb_id=span.kb_id, span_id=span.id)
            for span in group
        ]
        changed.spans[key] = SpanGroup(
            changed, name=group.name, attrs=dict(group.attrs), spans=spans
        )
    _copy_user_data(doc, changed)
    return changed


def change_example(example: Example, case: str) -> Example:
    """Change the case of both Docs of an example.

    Tokens are kept: each word is changed by itself, and may get longer, such as "ß" in upper case.

    example (Example): the example, which is not modified.
    case (str): "lower" or "upper"; or "title", which changes the first letter of each word to upper
        case and keeps the others.
    RETURNS (Example): the new example.
    """
    predicted, reference = (
        change_words(doc, [CASES[case](token.text) for token in doc])
        for doc in (example.predicted, example.reference)
    )
    return Example(predicted, reference)


def _copy_user_data(source: Doc, target: Doc) -> None:
    """Copy `user_data` between Docs with the same number of tokens, whose words may differ.

    The attributes of tokens and spans have keys with character offsets, which are replaced.
    """
    starts = {old.idx: new.idx for old, new in zip(source, target, strict=True)}
    ends = {old.idx + len(old): new.idx + len(new) for old, new in zip(source, target, strict=True)}
    data = cast(dict[Any, Any], target.user_data)
    for key, value in cast(dict[Any, Any], source.user_data).items():
        if isinstance(key, tuple) and len(key) == 4 and key[2] is not None:
            prefix, name, start, end = key
            new_key = (prefix, name, starts.get(start), None if end is None else ends.get(end))
            if new_key[2] is not None and (end is None or new_key[3] is not None):
                data[new_key] = value
        else:
            data[key] = value


@registry.augmenters("bigru_tagger.CaseAugmenter.v1")
@dataclass(frozen=True)
class CaseAugmenter:
    """Change the case of a share of the training texts, so that the model learns other cases, too.

    Tokens and annotation are kept. The choice is random for each text and each pass over the data,
    and reproducible with `[training] seed`.

    level_lower (float): the share of texts that are changed to lower case, from 0 to 1.
    level_upper (float): the share of texts that are changed to upper case.
    level_title (float): the share of texts in which the first letter of each word is changed to
        upper case, as in headlines. Other texts are not changed.
    """

    level_lower: float = 0.0
    level_upper: float = 0.0
    level_title: float = 0.0

    def __post_init__(self) -> None:
        levels = (self.level_lower, self.level_upper, self.level_title)
        if min(levels) < 0.0 or sum(levels) > 1.0:
            raise ConfigError(
                "level_lower, level_upper and level_title must be at least 0, and their sum at "
                f"most 1; got {', '.join(map(str, levels))}"
            )

    def __call__(self, nlp: Language, example: Example) -> Iterator[Example]:
        """Augment an example.

        nlp (Language): the pipeline, which is not used.
        example (Example): the example, which is not modified.
        YIELDS (Example): the example itself, or a copy in another case.
        """
        drawn = random.random()  # spaCy sets the seed of this module
        for case in CASES:
            drawn -= getattr(self, f"level_{case}")
            if drawn < 0.0:
                yield change_example(example, case)
                return
        yield example


def augment(
    examples: Iterable[Example], nlp: Language, augmenter: Augmenter | None
) -> Iterator[Example]:
    """Augment the examples of a reader.

    spaCy's own augmenters tokenize texts again, and drop sentence starts and `user_data`. Here,
    only the words are taken from them, and the annotation is kept. If they insert white space, the
    entities and tags are theirs. Other augmenters are responsible for the annotation.

    examples (Iterable[Example]): the examples.
    nlp (Language): the pipeline.
    augmenter (Augmenter | None): a function of spaCy's registry `augmenters`; None for none.
    YIELDS (Example): the examples that the augmenter yields.
    RAISES (CorpusError): an augmenter inserts tokens into a Doc that has data per token.
    """
    if augmenter is None:
        yield from examples
        return
    # spaCy's augmenters are partial functions.
    function = getattr(augmenter, "func", augmenter)
    is_spacys = getattr(function, "__module__", "") == "spacy.training.augment"
    for example in examples:
        if not is_spacys:
            yield from augmenter(nlp, example)
            continue
        # spaCy fails if a word with a span gets longer.
        given = _without_spans(example)
        for variant in augmenter(nlp, given):
            if variant is given or (given is not example and _differ(variant, example)):
                yield example
            else:
                yield _complete(variant, example)


def _without_spans(example: Example) -> Example:
    reference = example.reference
    if not reference.spans and not any(ent.kb_id for ent in reference.ents):
        return example
    bare = copy_tokens(reference.vocab, reference, None)
    for token, source in zip(bare, reference, strict=True):
        token.tag_ = source.tag_  # which spaCy's orth variants depend on
    return Example(example.predicted, bare)


def _differ(variant: Example, example: Example) -> bool:
    return len(variant.reference) != len(example.reference)


def _complete(variant: Example, example: Example) -> Example:
    """Complete the result of an augmenter of spaCy's by what it drops."""
    original, reference = example.reference, variant.reference
    if _differ(variant, example):
        _set_starts(reference, original)
        data = cast(dict[Any, Any], original.user_data)
        if not all(
            key[2:] == (None, None) if isinstance(key, tuple) else str(key).startswith(LABELS_MARK)
            for key in data
        ):
            raise CorpusError(
                f"the augmenter inserts tokens into the text {original.text[:60]!r}, but "
                "doc.user_data has data of its tokens, such as a teacher's outputs: use an "
                "augmenter that keeps the tokens"
            )
        reference.user_data.update(data)  # of the whole Doc
        spread_weights(original, reference)
    else:
        reference = change_words(original, [token.text for token in reference])
    given = example.predicted
    if _words(given) != _words(original):
        return Example(variant.predicted, reference)
    starts = reference if given.has_annotation("SENT_START") else None
    return Example(copy_tokens(reference.vocab, reference, starts), reference)


def _set_starts(reference: Doc, original: Doc) -> None:
    """Copy the sentence starts to a Doc into which white space was inserted."""
    starts = iter([token.is_sent_start for token in original if not token.is_space])
    for token in reference:
        token.is_sent_start = False if token.is_space else next(starts, None)


def _words(doc: Doc) -> list[str]:
    return [token.text for token in doc]
