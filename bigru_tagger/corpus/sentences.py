"""Annotated sentences, and the way from them to spaCy's Examples.

Every corpus reader ends here, so that a column file and a `datasets` row with the same content
give the same Example.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from ..schemes import TagError, detect_scheme, entity_spans, to_iob2


class CorpusError(ValueError):
    """Data that cannot be read: the message says what, where, and what to do."""


class Sentence(NamedTuple):
    """One sentence as the source has it: tags in the source's own scheme.

    source (str): The file, or the dataset and its split.
    words (Sequence[str]): The tokens.
    ner (Sequence[str] | None): Entity tags; None where the source has none.
    pos (Sequence[str] | None): Part-of-speech tags.
    chunks (Sequence[str] | None): Chunk tags.
    document (object): What only the sentences of one document share.
    row (int): The row, from 0.
    lines (Sequence[int]): In a column file, the line of each token, from 1.
    """

    source: str
    words: Sequence[str]
    ner: Sequence[str] | None = None
    pos: Sequence[str] | None = None
    chunks: Sequence[str] | None = None
    document: object = None
    row: int = 0
    lines: Sequence[int] = ()

    def place(self, position: int = 0) -> str:
        """Say where a token stands, for messages.

        position (int): The token's place in the sentence.
        RETURNS (str): File and line, or dataset and row.
        """
        if self.lines:
            return f"{self.source}:{self.lines[position]}"
        return f"{self.source}, row {self.row}"


class TagSchemes(NamedTuple):
    """The schemes of a source's tags.

    ner (str): Of its entities, one of `SCHEMES`.
    chunks (str): Of its chunks; "" leaves them out.
    """

    ner: str
    chunks: str


def detect_layer(sentences: Iterable[Sentence], layer: Literal["ner", "chunks"]) -> str:
    """Tell the scheme of one layer of tags.

    sentences (Iterable[Sentence]): All that is known of the source.
    layer (Literal["ner", "chunks"]): The field of `Sentence`.
    RETURNS (str): One of `SCHEMES`.
    RAISES (CorpusError): A tag in no scheme.
    """
    reached: Sentence | None = None

    def sequences() -> Iterator[Sequence[str]]:
        nonlocal reached
        for reached in sentences:
            tags: Sequence[str] | None = getattr(reached, layer)
            if tags is not None:
                yield tags

    try:
        return detect_scheme(sequences())
    except TagError as err:
        place = reached.place(err.position) if reached else layer
        raise CorpusError(f"{place}: {err}") from err


def group_sentences(sentences: Iterable[Sentence], size: int) -> Iterator[list[Sentence]]:
    """Join sentences into Docs, never across the end of a document.

    sentences (Iterable[Sentence]): Sentences in order; those without tokens are left out.
    size (int): Sentences a Doc; 0 for whole documents.
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
    """Build the Doc that holds the gold annotation of some sentences.

    Its spaces are unknown, as in `spacy convert`: spaCy then keeps the corpus's tokens wherever
    it reads the Doc again, instead of tokenizing its text anew.

    vocab (Vocab): The vocabulary.
    group (Sequence[Sentence]): The sentences.
    schemes (TagSchemes): The schemes of their tags.
    spans_key (str): Where in `doc.spans` the chunks go.
    RETURNS (Doc): With `ent_iob`, `tag`, chunks and sentence starts, as far as there are any.
    RAISES (CorpusError): A tag in no scheme; not one tag a token; an empty token.
    """
    words: list[str] = []
    ents: list[str] = []
    tags: list[str] = []
    chunks: list[tuple[str, int, int]] = []
    has_tags = any(sentence.pos is not None for sentence in group)
    for sentence in group:
        offset = len(words)
        words += sentence.words
        if sentence.ner is not None:
            ents += sentence_iob2(sentence, sentence.ner, schemes.ner)
        if sentence.pos is not None:
            _check_length(sentence, sentence.pos)
            tags += sentence.pos
        elif has_tags:
            tags += [""] * len(sentence.words)
        if sentence.chunks is not None and schemes.chunks:
            spans = entity_spans(sentence_iob2(sentence, sentence.chunks, schemes.chunks))
            chunks += [(label, start + offset, end + offset) for label, start, end in spans]
    if "" in words:
        raise CorpusError(f"{_empty_token(group)}: an empty token: take it and its tags out")
    # An empty list counts as annotation, None does not: without an entity column ents stay missing.
    starts = _sentence_starts(group)
    doc = Doc(vocab, words=words, sent_starts=starts, tags=tags or None, ents=ents or None)
    if schemes.chunks and any(sentence.chunks is not None for sentence in group):
        doc.spans[spans_key] = [Span(doc, start, end, label) for label, start, end in chunks]
    return doc


def sentence_iob2(sentence: Sentence, tags: Sequence[str], scheme: str) -> list[str]:
    """Convert one layer of a sentence's tags to IOB2.

    sentence (Sentence): The sentence, for messages.
    tags (Sequence[str]): The layer.
    scheme (str): One of `SCHEMES`.
    RETURNS (list[str]): As many tags.
    RAISES (CorpusError): A tag that the scheme does not have; not one tag a token.
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
            "mend the row, or name the columns that belong together"
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
    """Turn sentences into training examples.

    sentences (Iterable[Sentence]): The sentences in order.
    vocab (Vocab): The vocabulary of the Docs.
    schemes (TagSchemes): The schemes of the tags.
    sentences_per_doc (int): Sentences a Doc; 0 for whole documents.
    given_sentences (bool): Whether the bare Doc of several sentences has sentence starts.
    spans_key (str): Where in `doc.spans` the chunks go.
    limit (int): At most so many examples; 0 for all.
    YIELDS (Example): A bare Doc with the same tokens, and the gold Doc.
    RAISES (CorpusError): See `make_doc`.
    """
    for group in islice(group_sentences(sentences, sentences_per_doc), limit or None):
        reference = make_doc(vocab, group, schemes, spans_key)
        starts = _sentence_starts(group) if given_sentences and len(group) > 1 else None
        words = [word for sentence in group for word in sentence.words]
        yield Example(Doc(vocab, words=words, sent_starts=starts), reference)


def _sentence_starts(group: Sequence[Sentence]) -> list[bool | int | None]:
    # Typed as spaCy's Doc wants it.
    return [position == 0 for sentence in group for position in range(len(sentence.words))]


def sentence_starts(doc: Doc) -> list[int]:
    """List the tokens where the sentences of a document start.

    doc (Doc): gold or predicted.
    RETURNS (list[int]): their numbers; the first alone where the document tells no sentences.
    """
    return [token.i for token in doc if not token.i or token.is_sent_start]


def copy_tokens(vocab: Vocab, doc: Doc, given: Doc | None) -> Doc:
    """Copy what a pipeline may know of a gold Doc.

    vocab (Vocab): The vocabulary of the copy.
    doc (Doc): The tokens, and their spaces if they are known.
    given (Doc | None): A Doc with the same tokens, for the sentence starts if it has any.
    RETURNS (Doc): The copy.
    """
    spaces = None if doc.has_unknown_spaces else [bool(token.whitespace_) for token in doc]
    starts: list[bool | int | None] | None = None
    if given is not None and given.has_annotation("SENT_START"):
        starts = [token.is_sent_start for token in given]
    return Doc(vocab, words=[token.text for token in doc], spaces=spaces, sent_starts=starts)
