"""Convert annotated sentences to spaCy Examples.

All corpus readers of tokenized text use these functions, so a column file and a `datasets` row with
the same content give the same Example.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, NamedTuple
from unicodedata import category

from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from ..errors import DataError
from ..schemes import UNKNOWN, TagError, detect_scheme, entity_spans, to_iob2
from .weights import set_weights

# The key of `doc._.document_name` in `doc.user_data`.
_NAME_KEY: Any = ("._.", "document_name", None, None)

# Some scripts need these between the letters of a word.
_JOINERS = "\u200c\u200d"
# Letters and marks that are shown as nothing. Others are found by their category.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0")
_AROUND_LABEL = re.compile(r"^\w[-_]|[-_]\w$")

if not Doc.has_extension("document_name"):
    Doc.set_extension("document_name", default=None)


class CorpusError(DataError):
    """Data that cannot be read. The message names the problem, its location and a solution."""


class Sentence(NamedTuple):
    """One sentence of a corpus, with tags in the scheme of the source.

    source (str): The file, or the dataset and its split.
    words (Sequence[str]): The tokens.
    ner (Sequence[str] | None): Entity tags, one per token; None if the source has none.
    pos (Sequence[str] | None): Part-of-speech tags, one per token; None if the source has none.
    chunks (Sequence[str] | None): Chunk tags, one per token; None if the source has none.
    document (object): An identifier of the document: sentences of one document have equal values.
    row (int): The number of the row, from 0.
    lines (Sequence[int]): The line number of each token, from 1; empty unless the source is a
        column file.
    weight (float): The weight of the sentence in the training loss.
    """

    source: str
    words: Sequence[str]
    ner: Sequence[str] | None = None
    pos: Sequence[str] | None = None
    chunks: Sequence[str] | None = None
    document: object = None
    row: int = 0
    lines: Sequence[int] = ()
    weight: float = 1.0

    @property
    def document_name(self) -> str:
        """RETURNS (str): The name of the document; "" if the source numbers documents only."""
        value = self.document
        if isinstance(value, tuple):  # of a column file: the file, the number, and the name if any
            value = value[2] if len(value) > 2 else None
        return "" if value is None else str(value)

    def place(self, position: int = 0) -> str:
        """Describe the location of a token, for messages.

        position (int): The index of the token in the sentence.
        RETURNS (str): File and line, or dataset and row.
        """
        if self.lines:
            return f"{self.source}:{self.lines[position]}"
        return f"{self.source}, row {self.row}"


class TagSchemes(NamedTuple):
    """The tag schemes of a source.

    ner (str): The scheme of the entity tags, one of `SCHEMES`.
    chunks (str): The scheme of the chunk tags, one of `SCHEMES`; "" ignores chunks.
    """

    ner: str
    chunks: str


def detect_layer(sentences: Iterable[Sentence], layer: Literal["ner", "chunks"]) -> str:
    """Detect the scheme of one layer of tags.

    sentences (Iterable[Sentence]): The sentences whose tags are used.
    layer (Literal["ner", "chunks"]): The field of `Sentence`.
    RETURNS (str): One of `SCHEMES`.
    RAISES (CorpusError): A tag belongs to no scheme.
    """
    current: Sentence | None = None

    def sequences() -> Iterator[Sequence[str]]:
        nonlocal current
        for current in sentences:
            tags: Sequence[str] | None = getattr(current, layer)
            if tags is not None:
                yield tags

    try:
        return detect_scheme(sequences())
    except TagError as err:
        place = current.place(err.position) if current else layer
        raise CorpusError(f"{place}: {err}") from err


def group_sentences(sentences: Iterable[Sentence], size: int) -> Iterator[list[Sentence]]:
    """Group sentences into Docs. No group crosses a document boundary.

    sentences (Iterable[Sentence]): Sentences in order; those without tokens are left out.
    size (int): The maximum number of sentences per Doc; 0 for whole documents.
    YIELDS (list[Sentence]): The sentences of one Doc.
    """
    group: list[Sentence] = []
    for sentence in sentences:
        if not sentence.words:
            continue
        if group and (len(group) == size or sentence.document != group[0].document):
            yield group
            group = []
        group.append(sentence)
    if group:
        yield group


def make_doc(vocab: Vocab, group: Sequence[Sentence], schemes: TagSchemes, spans_key: str) -> Doc:
    """Build the gold Doc of a group of sentences.

    Its spaces are marked as unknown, as in `spacy convert`. When spaCy reads the Doc again, it then
    keeps the tokens of the corpus and does not retokenize the text.

    vocab (Vocab): The vocabulary.
    group (Sequence[Sentence]): The sentences.
    schemes (TagSchemes): The schemes of their tags.
    spans_key (str): The key of the chunks in `doc.spans`.
    RETURNS (Doc): The Doc with sentence starts, and with `ent_iob`, `tag`, chunks and weights if
        the sentences have them.
    RAISES (CorpusError): A tag does not belong to the scheme, the number of tags is not the number
        of tokens, or a token is empty.
    """
    words: list[str] = []
    ents: list[str] = []
    tags: list[str] = []
    chunks: list[tuple[str, int, int]] = []
    has_tags = any(sentence.pos is not None for sentence in group)
    for sentence in group:
        offset = len(words)
        words += sentence.words
        for layer in (sentence.ner, sentence.pos, sentence.chunks if schemes.chunks else None):
            _check_characters(sentence, layer or ())
        if sentence.ner is not None:
            iob2 = sentence_iob2(sentence, sentence.ner, schemes.ner)
            ents += ("" if tag == UNKNOWN else tag for tag in iob2)  # "": no annotation
        if sentence.pos is not None:
            _check_length(sentence, sentence.pos)
            tags += sentence.pos
        elif has_tags:
            tags += [""] * len(sentence.words)
        if sentence.chunks is not None and schemes.chunks:
            if UNKNOWN in sentence.chunks:
                raise CorpusError(
                    f"{sentence.place(list(sentence.chunks).index(UNKNOWN))}: the chunk tag "
                    f"{UNKNOWN!r}: spans in doc.spans cannot be unknown. Remove the sentence, or "
                    "set annotated_labels"
                )
            spans = entity_spans(sentence_iob2(sentence, sentence.chunks, schemes.chunks))
            chunks += [(label, start + offset, end + offset) for label, start, end in spans]
    if "" in words:
        raise CorpusError(f"{_empty_token(group)}: an empty token: remove it and its tags")
    # An empty list is annotation, None is not: without an entity column, entities stay missing.
    starts = _sentence_starts(group)
    doc = Doc(vocab, words=words, sent_starts=starts, tags=tags or None, ents=ents or None)
    if schemes.chunks and any(sentence.chunks is not None for sentence in group):
        doc.spans[spans_key] = [Span(doc, start, end, label) for label, start, end in chunks]
    if any(sentence.weight != 1.0 for sentence in group):
        set_weights(doc, [sentence.weight for sentence in group for _ in sentence.words])
    set_document_name(doc, group[0].document_name)
    return doc


def sentence_iob2(sentence: Sentence, tags: Sequence[str], scheme: str) -> list[str]:
    """Convert one layer of a sentence's tags to IOB2.

    sentence (Sentence): The sentence.
    tags (Sequence[str]): The tags, one per token.
    scheme (str): Their scheme, one of `SCHEMES`.
    RETURNS (list[str]): The IOB2 tags, one per token.
    RAISES (CorpusError): A tag does not belong to the scheme, or the number of tags is not the
        number of tokens.
    """
    _check_length(sentence, tags)
    try:
        return to_iob2(tags, scheme)
    except TagError as err:
        raise CorpusError(f"{sentence.place(err.position)}: {err}") from err


def _check_length(sentence: Sentence, tags: Sequence[str]) -> None:
    if len(tags) != len(sentence.words):
        raise CorpusError(
            f"{sentence.place()}: {len(sentence.words)} tokens but {len(tags)} tags: "
            "fix the row, or set the column options to columns that belong together"
        )


def is_label(text: str) -> bool:
    """Check the characters of a label.

    White space and control characters are left in a label if line endings or separators are not
    those that the reader expects. With characters that cannot be seen, two labels would look the
    same.

    text (str): the label.
    RETURNS (bool): False if the text has white space at its ends, or a character that cannot be
        seen.
    """
    return text == text.strip().strip(_JOINERS) and not any(
        char in _BLANKS or (category(char) in ("Cc", "Cf", "Zl", "Zp") and char not in _JOINERS)
        for char in text
    )


@lru_cache(maxsize=10_000)
def _is_tag(text: str) -> bool:
    # The label of a tag is checked by itself, too.
    return is_label(text) and all(map(is_label, _AROUND_LABEL.split(text)))


def _check_characters(sentence: Sentence, tags: Sequence[str]) -> None:
    if all(map(_is_tag, tags)):
        return
    position, wrong = next((i, tag) for i, tag in enumerate(tags) if not _is_tag(tag))
    raise CorpusError(
        f"{sentence.place(position)}: the tag {wrong!r} starts or ends with white space, or "
        "contains a character that cannot be seen: fix the tag, or the line endings"
    )


def _empty_token(group: Sequence[Sentence]) -> str:
    sentence = next(sentence for sentence in group if "" in sentence.words)
    return sentence.place(list(sentence.words).index(""))


def make_examples(
    sentences: Iterable[Sentence],
    vocab: Vocab,
    *,
    schemes: TagSchemes,
    sentences_per_doc: int,
    given_sentences: bool,
    spans_key: str,
    limit: int,
) -> Iterator[Example]:
    """Convert sentences to training examples.

    sentences (Iterable[Sentence]): The sentences in order.
    vocab (Vocab): The vocabulary of the Docs.
    schemes (TagSchemes): The schemes of the tags.
    sentences_per_doc (int): The maximum number of sentences per Doc; 0 for whole documents.
    given_sentences (bool): Whether `predicted` has the gold sentence starts. Docs of one sentence
        never have them.
    spans_key (str): The key of the chunks in `doc.spans`.
    limit (int): The maximum number of examples; 0 for no limit.
    YIELDS (Example): A Doc with the gold tokens as `predicted`, the gold Doc as `reference`.
    RAISES (CorpusError): See `make_doc`.
    """
    for group in islice(group_sentences(sentences, sentences_per_doc), limit or None):
        reference = make_doc(vocab, group, schemes, spans_key)
        starts = _sentence_starts(group) if given_sentences and len(group) > 1 else None
        words = [word for sentence in group for word in sentence.words]
        yield Example(Doc(vocab, words=words, sent_starts=starts), reference)


def _sentence_starts(group: Sequence[Sentence]) -> list[bool | int | None]:
    # The return type is the parameter type of spaCy's Doc.
    return [position == 0 for sentence in group for position in range(len(sentence.words))]


def set_document_name(doc: Doc, name: str) -> None:
    """Store the name of the document on a gold Doc, in `doc._.document_name`.

    doc (Doc): The Doc, which is modified.
    name (str): The name; "" for none.
    """
    if name:
        doc.user_data[_NAME_KEY] = name


def document_name(doc: Doc) -> str:
    """Get the name of a gold Doc's document.

    doc (Doc): The Doc.
    RETURNS (str): The name that a reader stored; "" if there is none.
    """
    return str(doc.user_data.get(_NAME_KEY, ""))


def sentence_starts(doc: Doc) -> list[int]:
    """List the tokens at which the sentences of a Doc start.

    doc (Doc): A gold or predicted Doc.
    RETURNS (list[int]): The indices of the tokens; only the first token if the Doc has no sentence
        boundaries.
    """
    return [token.i for token in doc if not token.i or token.is_sent_start]


def copy_tokens(vocab: Vocab, doc: Doc, given: Doc | None) -> Doc:
    """Copy the tokens of a Doc, without its annotation.

    vocab (Vocab): The vocabulary of the copy.
    doc (Doc): The Doc whose tokens are copied, with their spaces if these are known.
    given (Doc | None): A Doc with the same tokens, whose sentence starts are copied if it has any.
    RETURNS (Doc): The copy.
    """
    spaces = None if doc.has_unknown_spaces else [bool(token.whitespace_) for token in doc]
    starts: list[bool | int | None] | None = None
    if given is not None and given.has_annotation("SENT_START"):
        starts = [token.is_sent_start for token in given]
    return Doc(vocab, words=[token.text for token in doc], spaces=spaces, sent_starts=starts)
