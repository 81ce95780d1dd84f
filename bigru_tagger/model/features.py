"""Docs to arrays: what each embedding reads of a batch, every distinct word once."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from spacy.attrs import ID, IDS, IS_PUNCT, LOWER, ORTH, SENT_START
from spacy.pipeline import Sentencizer
from spacy.strings import get_string_id
from spacy.tokens import Doc
from spacy.vectors import Mode, Vectors
from spacy.vocab import Vocab
from thinc.api import Model, get_array_module
from thinc.types import Floats2d

from .cache import cached_property

_FULL_STOPS = frozenset(Sentencizer.default_punct_chars)
_DIGIT = re.compile(r"\d")
# Row 0 of the character table pads, row 1 begins a word and row 2 ends it.
_CHARACTER_OFFSET = 3

# What a lexeme knows: flags, whose symbols are below 64, and these. The other attributes that
# spaCy names, such as POS, belong to a token in its Doc.
_LEXICAL = ("ORTH", "LOWER", "NORM", "SHAPE", "PREFIX", "SUFFIX", "LENGTH", "LANG")


@dataclass(frozen=True, eq=False)
class Words:
    """The distinct words of a batch of Docs, ordered by their hash.

    vocab (Vocab): the vocab of the Docs.
    orths (ndarray): hash of each distinct word, uint64 (n_words,).
    index (ndarray): each token's row among the distinct words, int64 (n_tokens,).
    lengths (ndarray): tokens of each Doc, int64 (n_docs,).
    """

    vocab: Vocab
    orths: np.ndarray
    index: np.ndarray
    lengths: np.ndarray

    @classmethod
    def from_docs(cls, docs: Sequence[Doc]) -> "Words":
        """Collect the distinct words of Docs that share a vocab.

        docs (Sequence[Doc]): at least one Doc; any of them may be empty.
        RETURNS (Words): the words, and where they stand.
        """
        tokens = np.concatenate([doc.to_array(ORTH).reshape(-1) for doc in docs])
        orths, index = np.unique(tokens.astype(np.uint64), return_inverse=True)
        lengths = np.array([len(doc) for doc in docs], dtype=np.int64)
        return cls(docs[0].vocab, orths, index.reshape(-1).astype(np.int64), lengths)

    @cached_property
    def strings(self) -> list[str]:
        """The words' text, (n_words,)."""
        return [self.vocab.strings[orth] for orth in self.orths.tolist()]

    @cached_property
    def candidates(self) -> np.ndarray:
        """Hashes under which a table may list the words, the best first, uint64 (n_words, 4).

        The word as it is, in lower case, with a capital first letter (for words all in capitals),
        and in lower case with every digit read as 0.
        """
        forms = (
            form
            for text, lower in ((text, text.lower()) for text in self.strings)
            for form in (text, lower, lower.capitalize(), _DIGIT.sub("0", lower))
        )
        # Hashed, not added to the string store, which would grow with every text.
        hashes = np.fromiter(map(get_string_id, forms), dtype=np.uint64)
        return hashes.reshape(len(self.orths), 4)

    @cached_property
    def folded(self) -> "Words":
        """The same words with every digit read as 0, so that numbers of a kind are one word."""
        strings = [_DIGIT.sub("0", text) for text in self.strings]
        orths = np.array([self.vocab.strings.add(text) for text in strings], dtype=np.uint64)
        return Words(self.vocab, orths, self.index, self.lengths)

    @cached_property
    def sentence_starts(self) -> np.ndarray:
        """Whether a sentence seems to start at each token, bool (n_tokens,).

        As spaCy's `Sentencizer` has it: at the first token behind a full stop, or its like in any
        script, that is no punctuation. And behind an empty line. Each Doc is looked at by itself.
        """
        stops = np.array([text in _FULL_STOPS for text in self.strings], dtype=bool)
        gaps = np.array([text.count("\n") > 1 for text in self.strings], dtype=bool)
        passive = stops | gaps | self.attributes([IS_PUNCT]).reshape(-1).astype(bool)
        ends, passes = (stops | gaps)[self.index], passive[self.index]
        # A sentence starts at a token if something ended one since the last token like it, or
        # since its Doc began.
        n_ends = np.concatenate([[0], ends.cumsum()])
        tokens = np.flatnonzero(~passes)
        doc_starts = np.repeat(self.lengths.cumsum() - self.lengths, self.lengths)
        since = np.maximum(np.append(0, n_ends[tokens][:-1]), n_ends[doc_starts[tokens]])
        starts = np.zeros(len(self.index), dtype=bool)
        starts[tokens] = n_ends[tokens] > since[: len(tokens)]
        return starts

    @property
    def forms(self) -> np.ndarray:
        """Hash of each distinct word's lower-cased form, int64 (n_words,)."""
        return cast(np.ndarray, self.attributes([LOWER])[:, 0].view(np.int64))

    def subset(self, words: np.ndarray) -> "Words":
        """Give some of the words by themselves, without tokens.

        words (ndarray): their rows, ascending, int (n_words,).
        RETURNS (Words): these words.
        """
        none = np.zeros(0, dtype=np.int64)
        return Words(self.vocab, self.orths[words], none, none)

    def attributes(self, attrs: Sequence[int]) -> np.ndarray:
        """Read lexical attributes, which depend on the word alone.

        attrs (Sequence[int]): symbols of `spacy.attrs`, such as `SHAPE`.
        RETURNS (ndarray): their values, uint64 (n_words, n_attrs).
        """
        values = self._doc.to_array(list(attrs))
        return cast(np.ndarray, values.reshape(len(self.orths), len(attrs)).astype(np.uint64))

    @cached_property
    def _doc(self) -> Doc:
        # A Doc of the words reads any attribute in bulk, at a quarter of the cost of lexemes.
        return Doc(self.vocab, words=self.strings)


def sentence_lengths(docs: Sequence[Doc], words: Words) -> list[int]:
    """Count the tokens of each sentence.

    docs (Sequence[Doc]): Docs; the sentences of one without sentence starts are guessed, see
        `Words.sentence_starts`.
    words (Words): their words.
    RETURNS (list[int]): tokens of the sentences of all Docs, in order; none for Docs without
        tokens.
    """
    if not len(words.index):
        return []
    given = np.concatenate([doc.to_array(SENT_START).reshape(-1) for doc in docs]).view(np.int64)
    begins = (words.lengths.cumsum() - words.lengths)[words.lengths > 0]
    # As `Doc.has_annotation` has it: the first token always starts a sentence.
    later = given != 0
    later[begins] = False
    known = np.repeat(np.logical_or.reduceat(later, begins), words.lengths[words.lengths > 0])
    starts = given == 1
    if not known.all():
        starts = np.where(known, starts, words.sentence_starts)
    starts[begins] = True
    lengths: list[int] = np.diff(np.append(np.flatnonzero(starts), len(starts))).tolist()
    return lengths


def occurrence_keys(words: Words, forms: np.ndarray) -> np.ndarray:
    """Give tokens a number that those of the same word in the same Doc share.

    words (Words): the words of a batch.
    forms (ndarray): what makes two distinct words the same, such as the hash of the lower-cased
        form, int64 (n_words,).
    RETURNS (ndarray): numbers, with gaps, int64 (n_tokens,).
    """
    kinds, kind = np.unique(forms, return_inverse=True)
    docs = np.repeat(np.arange(len(words.lengths)), words.lengths)
    return cast(np.ndarray, docs * len(kinds) + kind.reshape(-1)[words.index])


class Embedding:
    """A choice of word representation, for the `embed` block of an architecture."""


class WordEmbedding(Embedding, ABC):
    """An embedding of what depends on the word alone: computed once per distinct word."""

    @abstractmethod
    def network_spec(self, vocab: Vocab) -> dict[str, Any] | None:
        """Describe the network's half, the module that embeds what `read` returns.

        vocab (Vocab): the vocab, for widths that depend on it.
        RETURNS (Optional[dict]): `kind`, a key of `bigru_tagger.network.embed.EMBEDDINGS`, and the
            keyword arguments of that class; plain JSON. None leaves the embedding out.
        """

    def tensors(self, vocab: Vocab) -> dict[str, np.ndarray]:
        """Give what the module holds that is not learned, such as a table of vectors.

        vocab (Vocab): the vocab.
        RETURNS (Dict[str, ndarray]): values of the module's buffers by name. They are saved with
            the network, so this is asked for once, before training.
        """
        return {}

    @abstractmethod
    def read(self, words: Words) -> np.ndarray | tuple[np.ndarray, ...]:
        """Read the distinct words.

        words (Words): the words of a batch.
        RETURNS (Union[ndarray, Tuple[ndarray, ...]]): one row per word, (n_words, ...); or several
            such arrays, if the module takes as many.
        """


@dataclass(frozen=True)
class UpstreamTok2Vec(Embedding):
    """The vectors of a spaCy `tok2vec`, one per token.

    tok2vec (Model[List[Doc], List[Floats2d]]): a listener, or a network that is trained along.
    """

    tok2vec: Model[list[Doc], list[Floats2d]]


class HashedAttributes(WordEmbedding):
    """Lexical attributes hashed into tables of a fixed size: no vocabulary is kept."""

    def __init__(
        self,
        attrs: Sequence[str],
        rows: Sequence[int],
        width: int,
        *,
        unknown_rate: float,
        fold_digits: bool,
    ) -> None:
        """Check the settings.

        attrs (Sequence[str]): names of lexical attributes, such as NORM, PREFIX or SHAPE.
        rows (Sequence[int]): the size of each attribute's table.
        width (int): width of each attribute's vector.
        unknown_rate (float): chance of an attribute to count as unknown in training.
        fold_digits (bool): read every digit as 0.
        RAISES (ValueError): if a name is no lexical attribute's or the numbers do not fit.
        """
        unknown = [attr for attr in attrs if attr not in _LEXICAL and not 0 < IDS.get(attr, 0) < ID]
        if unknown or not attrs:
            raise ValueError(
                f"HashEmbed: 'attrs' has to name lexical attributes, such as NORM, PREFIX, SUFFIX "
                f"or SHAPE; got {list(attrs)}"
                + (f", of which {unknown} are none" if unknown else "")
            )
        if len(attrs) != len(rows) or min(rows) < 1 or width < 1:
            raise ValueError(
                f"HashEmbed: 'rows' has to give one positive table size for each of {list(attrs)}, "
                f"and 'width' has to be positive; got rows = {list(rows)}, width = {width}"
            )
        if not 0.0 <= unknown_rate < 1.0:
            raise ValueError(
                f"HashEmbed: 'unknown_rate' has to be at least 0 and below 1; got {unknown_rate}"
            )
        self.attrs = [IDS[attr] for attr in attrs]
        self.rows = list(rows)
        self.width = width
        self.unknown_rate = unknown_rate
        self.fold_digits = fold_digits

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:
        """See `WordEmbedding.network_spec`."""
        return {
            "kind": "hash",
            "rows": self.rows,
            "width": self.width,
            "unknown_rate": self.unknown_rate,
        }

    def read(self, words: Words) -> np.ndarray:
        """Read the attributes.

        words (Words): the words of a batch.
        RETURNS (ndarray): their values, which are hashes already, int64 (n_words, n_attrs).
        """
        source = words.folded if self.fold_digits else words
        return source.attributes(self.attrs).view(np.int64)


class Characters(WordEmbedding):
    """The characters of each word."""

    def __init__(self, *, width: int, rows: int, max_length: int, fold_digits: bool) -> None:
        """Check the settings.

        width (int): width of a character's vector.
        rows (int): size of the character table. A code point has a row of its own up to
            `rows` and shares one beyond: 2048 tells apart all of Latin, Greek, Cyrillic,
            Armenian, Hebrew and Arabic.
        max_length (int): characters read of a word; of a longer one, its first and last half.
        fold_digits (bool): read every digit as 0.
        RAISES (ValueError): if a number does not fit.
        """
        if min(width, rows) < 1 or max_length < 2:
            raise ValueError(
                "characters: 'width' and 'rows' have to be positive and 'max_length' at least 2; "
                f"got width = {width}, rows = {rows}, max_length = {max_length}"
            )
        self.width = width
        self.rows = rows
        self.max_length = max_length
        self.fold_digits = fold_digits

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:
        """See `WordEmbedding.network_spec`; what all networks over characters need."""
        return {"rows": self.rows + _CHARACTER_OFFSET, "width": self.width}

    def read(self, words: Words) -> np.ndarray:
        """Read the characters between a mark of the beginning and one of the end.

        words (Words): the words of a batch.
        RETURNS (ndarray): rows of the character table, 0 behind the end, int64
            (n_words, max_length + 2).
        """
        strings = words.folded.strings if self.fold_digits else words.strings
        texts = [self._shorten(text) for text in strings]
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        code_points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
        characters = np.zeros((len(texts), self.max_length + 2), dtype=np.int64)
        word = np.repeat(np.arange(len(texts)), lengths)
        position = np.arange(len(word)) - np.repeat(lengths.cumsum() - lengths, lengths)
        characters[:, 0] = 1
        characters[word, position + 1] = code_points % self.rows + _CHARACTER_OFFSET
        characters[np.arange(len(texts)), lengths + 1] = 2
        return characters

    def _shorten(self, text: str) -> str:
        if len(text) <= self.max_length:
            return text
        half = self.max_length // 2
        return text[:half] + text[len(text) - (self.max_length - half) :]


class CharacterFilters(Characters):
    """The characters of each word, for a convolution over them."""

    def __init__(self, *, filters: int, window: int, **settings: Any) -> None:
        """Check the settings.

        filters (int): number of filters, the width of the word's vector.
        window (int): characters that a filter sees at once, odd.
        **settings: those of `Characters`.
        RAISES (ValueError): if a number does not fit.
        """
        super().__init__(**settings)
        if filters < 1 or window < 1 or window % 2 == 0:
            raise ValueError(
                "CharCNNEmbed: 'filters' has to be positive and 'window' odd; got "
                f"filters = {filters}, window = {window}"
            )
        self.filters = filters
        self.window = window

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:
        """See `WordEmbedding.network_spec`."""
        shape = super().network_spec(vocab)
        return {"kind": "characters", **shape, "filters": self.filters, "window": self.window}


class CharacterStates(Characters):
    """The characters of each word, for a bidirectional GRU over them."""

    def __init__(self, *, hidden: int, **settings: Any) -> None:
        """Check the settings.

        hidden (int): units of each direction, half the width of the word's vector.
        **settings: those of `Characters`.
        RAISES (ValueError): if a number does not fit.
        """
        super().__init__(**settings)
        if hidden < 1:
            raise ValueError(f"CharGRUEmbed: 'hidden' has to be positive; got hidden = {hidden}")
        self.hidden = hidden

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:
        """See `WordEmbedding.network_spec`."""
        return {"kind": "character_states", **super().network_spec(vocab), "hidden": self.hidden}


class StaticVectors(WordEmbedding):
    """The vectors of the vocab."""

    def __init__(self, fallback: bool, correction_rows: int) -> None:
        """Check the settings.

        fallback (bool): look a word without a vector up by its other forms, see
            `Words.candidates`.
        correction_rows (int): size of the table of corrections, see
            `bigru_tagger.network.embed.StaticEmbedding`; 0 for none.
        RAISES (ValueError): if the number does not fit.
        """
        self.fallback = fallback
        self.correction_rows = check_correction_rows("VectorsEmbed", correction_rows)

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:
        """See `WordEmbedding.network_spec`; the width is that of the vectors, possibly 0."""
        return {
            "kind": "vectors",
            "width": int(vocab.vectors_length),
            "correction_rows": self.correction_rows,
        }

    def read(self, words: Words) -> tuple[np.ndarray, np.ndarray]:
        """Look the words up by the attribute that the vectors are keyed by.

        words (Words): the words of a batch.
        RETURNS (Tuple[ndarray, ndarray]): their vectors, float32 (n_words, width), an array of
            CuPy where spaCy holds the table on a GPU, zeros for a word without one; and the hashes
            of their lower-cased forms, int64 (n_words, 1).
        """
        return self._look_up(words), words.forms[:, None]

    def _look_up(self, words: Words) -> np.ndarray:
        vectors = words.vocab.vectors
        attr = getattr(vectors, "attr", ORTH)
        keys = words.attributes([attr])[:, 0]
        if not isinstance(vectors, Vectors) or vectors.mode == Mode.floret:
            return cast(np.ndarray, vectors.get_batch(keys).astype("float32", copy=False))
        rows = _find_rows(vectors, keys)
        if self.fallback and attr == ORTH:
            for form in words.candidates.T[1:]:
                missing = rows < 0
                rows[missing] = _find_rows(vectors, form[missing])
        xp = get_array_module(vectors.data)
        found = xp.asarray(rows >= 0)
        table = xp.zeros((len(rows), vectors.shape[1]), dtype="float32")
        table[found] = vectors.data[xp.asarray(rows[rows >= 0])]
        return cast(np.ndarray, table)


def _find_rows(vectors: Vectors, keys: np.ndarray) -> np.ndarray:
    # The row of each key, -1 for none. `Vectors.find` would take them to the device of the table.
    key2row = vectors.key2row
    return np.array([key2row.get(key, -1) for key in keys.tolist()], dtype=np.int64)


def check_correction_rows(embedding: str, rows: int) -> int:
    """Check the size of a table of corrections.

    embedding (str): the embedding's name, for the message.
    rows (int): the size; 0 for no table.
    RETURNS (int): the size.
    RAISES (ValueError): if it is negative.
    """
    if rows < 0:
        raise ValueError(f"{embedding}: 'correction_rows' has to be at least 0; got {rows}")
    return rows
