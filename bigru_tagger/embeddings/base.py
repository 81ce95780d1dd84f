"""The base classes of embeddings, and the distinct words of a batch."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from spacy.attrs import IS_PUNCT, LOWER, ORTH
from spacy.pipeline import Sentencizer
from spacy.strings import get_string_id
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..lazy import cached_property

_FULL_STOPS = frozenset(Sentencizer.default_punct_chars)
_DIGIT = re.compile(r"\d")
_PASSES, _ENDS = 1, 2  # values of `UniqueWords.boundaries`


@dataclass(frozen=True, eq=False)
class UniqueWords:
    """The distinct words of a batch of Docs, ordered by their hash.

    vocab (Vocab): the vocab of the Docs.
    orths (ndarray): hash of each distinct word, uint64 (n_words,).
    index (ndarray): index of each token's word in `orths`, int64 (n_tokens,).
    lengths (ndarray): tokens of each Doc, int64 (n_docs,).
    """

    vocab: Vocab
    orths: np.ndarray
    index: np.ndarray
    lengths: np.ndarray

    @classmethod
    def from_orths(cls, vocab: Vocab, orths: np.ndarray) -> "UniqueWords":
        """Select words, without tokens.

        vocab (Vocab): the vocab.
        orths (ndarray): hashes of distinct words, ascending, uint64 (n_words,).
        RETURNS (UniqueWords): the words.
        """
        none = np.zeros(0, dtype=np.int64)
        return cls(vocab, orths, none, none)

    @classmethod
    def from_docs(cls, docs: Sequence[Doc]) -> "UniqueWords":
        """Collect the distinct words of Docs that share a vocab.

        docs (Sequence[Doc]): at least one Doc. Docs may be empty.
        RETURNS (UniqueWords): the words and their positions.
        """
        tokens = np.concatenate([doc.to_array(ORTH).reshape(-1) for doc in docs])
        orths, index = np.unique(tokens.astype(np.uint64), return_inverse=True)
        lengths = np.array([len(doc) for doc in docs], dtype=np.int64)
        return cls(docs[0].vocab, orths, index.reshape(-1).astype(np.int64), lengths)

    @cached_property
    def strings(self) -> list[str]:
        """The text of each word, (n_words,)."""
        return [self.vocab.strings[orth] for orth in self.orths.tolist()]

    @cached_property
    def candidates(self) -> np.ndarray:
        """Hashes to look up each word in a table, best first, uint64 (n_words, 4).

        The hashes of four forms of the word: unchanged, in lower case, capitalised (for words in
        upper case), and in lower case with every digit replaced by 0.
        """
        forms = (
            form
            for text, lower in ((text, text.lower()) for text in self.strings)
            for form in (text, lower, lower.capitalize(), _DIGIT.sub("0", lower))
        )
        # Not added to the string store, which would grow with every text.
        hashes = np.fromiter(map(get_string_id, forms), dtype=np.uint64)
        return hashes.reshape(len(self.orths), 4)

    @cached_property
    def folded(self) -> "UniqueWords":
        """The words with every digit replaced by 0, so that numbers of one format are equal."""
        strings = [_DIGIT.sub("0", text) for text in self.strings]
        orths = np.array([self.vocab.strings.add(text) for text in strings], dtype=np.uint64)
        return UniqueWords(self.vocab, orths, self.index, self.lengths)

    @cached_property
    def sentence_starts(self) -> np.ndarray:
        """Estimated sentence starts, see `estimate_starts`, bool (n_tokens,)."""
        return estimate_starts(self.boundaries[self.index], self.lengths)

    @cached_property
    def boundaries(self) -> np.ndarray:
        """How each word marks boundaries of sentences, for `estimate_starts`, uint8 (n_words,)."""
        is_end = [text in _FULL_STOPS or text.count("\n") > 1 for text in self.strings]
        punctuation = self.attributes([IS_PUNCT]).reshape(-1) != 0
        return np.where(is_end, _ENDS, np.where(punctuation, _PASSES, 0)).astype(np.uint8)

    @property
    def forms(self) -> np.ndarray:
        """Hash of each distinct word's lower-cased form, int64 (n_words,)."""
        return cast(np.ndarray, self.attributes([LOWER])[:, 0].view(np.int64))

    def attributes(self, attrs: Sequence[int]) -> np.ndarray:
        """Read lexical attributes of the words.

        attrs (Sequence[int]): symbols of `spacy.attrs`, such as `SHAPE`.
        RETURNS (ndarray): the values, uint64 (n_words, n_attrs).
        """
        values = self._doc.to_array(list(attrs))
        return cast(np.ndarray, values.reshape(len(self.orths), len(attrs)).astype(np.uint64))

    @cached_property
    def _doc(self) -> Doc:
        # Reading attributes of a Doc takes a quarter of the time of reading them from lexemes.
        return Doc(self.vocab, words=self.strings)


def estimate_starts(boundaries: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Estimate where sentences start.

    As in spaCy's `Sentencizer`, a sentence starts at the first token after a full stop (or its
    equivalent in any script) that is not punctuation. A sentence also starts after an empty line.
    Docs do not affect each other.

    boundaries (ndarray): see `UniqueWords.boundaries`, uint8 (n_tokens,).
    lengths (ndarray): tokens of each Doc, int64 (n_docs,).
    RETURNS (ndarray): whether each token starts a sentence, bool (n_tokens,). The first token of a
        Doc does not count.
    """
    is_end = boundaries == _ENDS
    if not is_end[:-1].any():
        return np.zeros(len(boundaries), dtype=bool)
    # Ends of sentences are counted. A token that is neither an end nor punctuation starts a
    # sentence if there was an end since the previous such token or the start of its Doc.
    n_ends = np.concatenate([[0], is_end.cumsum()])
    tokens = np.flatnonzero(boundaries == 0)
    doc_starts = np.repeat(lengths.cumsum() - lengths, lengths)
    since = np.maximum(np.append(0, n_ends[tokens][:-1]), n_ends[doc_starts[tokens]])
    starts = np.zeros(len(boundaries), dtype=bool)
    starts[tokens] = n_ends[tokens] > since[: len(tokens)]
    return starts


class Embedding:
    """A word representation: one block in the `embed` section of an architecture."""


class WordEmbedding(Embedding, ABC):
    """An embedding of context-independent features, which are read once per distinct word."""

    @abstractmethod
    def network_spec(self, vocab: Vocab) -> dict[str, Any] | None:
        """Return the spec of the torch module that embeds the output of `read`.

        vocab (Vocab): the vocab, for widths that depend on it.
        RETURNS (dict[str, Any] | None): `kind`, which selects the module's class (see
            `bigru_tagger.network.embeddings.base.find_module`), and the keyword arguments of the
            class. All values must be valid in JSON. None leaves out the embedding.
        """

    def tensors(self, vocab: Vocab) -> dict[str, np.ndarray]:
        """Return the values of the module's buffers, such as a table of vectors.

        This is called once, before training. The buffers are saved with the network.

        vocab (Vocab): the vocab.
        RETURNS (dict[str, ndarray]): values by the names of the module's buffers.
        """
        return {}

    @abstractmethod
    def read(self, words: UniqueWords) -> np.ndarray | tuple[np.ndarray, ...]:
        """Compute the input of the torch module.

        words (UniqueWords): the words of a batch.
        RETURNS (ndarray | tuple[ndarray, ...]): one row per word, (n_words, ...); or several such
            arrays, one per argument of the module.
        """
