"""Convert Docs to the network's input. In prediction, words come from a cache."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from spacy.attrs import ORTH, SENT_START
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..decoding.transitions import Array, library_of
from ..embeddings.base import UniqueWords, WordEmbedding, estimate_starts
from ..runtime.spec import Batch
from ..stages import EMBED, READ, stage
from ..time_steps import lengths_from
from .devices import to_torch
from .shim import NetworkShim

# In addition to the names used by `Network.prepare`.
_FORMS = "words.forms"
_BOUNDARIES = "words.boundaries"
# New words that are prepared at once, to limit memory. The states of their characters need most.
_WORDS_AT_ONCE = 1024
# Odd, so that multiplication modulo 2^64 is invertible: 2^64 / golden ratio.
_MIX = np.uint64(0x9E3779B97F4A7C15)


class DocReader(NamedTuple):
    """Converts Docs to the network's input.

    words (Mapping[str, WordEmbedding]): the word embeddings by name.
    by_sentence (bool): make each sentence a sequence; otherwise each Doc.
    upstream (Sequence[str]): the names of the embeddings that are layers of the thinc model, in
        order.
    """

    words: Mapping[str, WordEmbedding]
    by_sentence: bool
    upstream: Sequence[str] = ()

    @stage(READ)
    def read(self, docs: Sequence[Doc], shim: NetworkShim) -> Batch:
        """Create the input of the network's word embeddings in training, as tensors.

        The features of a word are cached on the device.

        docs (Sequence[Doc]): at least one Doc; all have the same vocab.
        shim (NetworkShim): the shim of the network.
        RETURNS (Batch): the network's input, without `tokens`, the input of other embeddings.
        """
        tokens = DocTokens.from_docs(docs)
        words = _present(self.words, shim)
        distinct = UniqueWords.from_docs(docs)
        convert = partial(to_torch, device=shim.device)
        read: dict[str, tuple[Array, ...]] = dict.fromkeys(words, ())
        if words and len(distinct.orths):

            def compute(orths: np.ndarray) -> dict[str, Array]:
                new = UniqueWords.from_orths(distinct.vocab, orths)
                return {
                    f"{name}.{number}": tensor
                    for name, embedding in words.items()
                    for number, tensor in enumerate(_read(embedding, new, convert))
                }

            tables, rows = shim.features.look_up(distinct.orths, _version(distinct.vocab), compute)
            index = convert(rows)
            for key, table in tables.items():
                read[key.rpartition(".")[0]] += (table[index],)
        else:
            read = {name: _read(embedding, distinct, convert) for name, embedding in words.items()}
        groups: dict[str, Array] = {}
        if shim.spec.has_context:
            for name, keys in tokens.groups(distinct.forms[distinct.index]).items():
                groups[name] = convert(np.unique(keys, return_inverse=True)[1].reshape(-1))
        return Batch(
            lengths=self._lengths(tokens, distinct.boundaries[distinct.index]),
            index=convert(distinct.index),
            words=read,
            groups=groups,
        )

    @stage(READ)
    def read_prepared(self, docs: Sequence[Doc], shim: NetworkShim) -> Batch:
        """Create the input of the network's word embeddings in prediction.

        Context-independent features are computed once per word and cached.

        docs (Sequence[Doc]): Docs with at least one token in total; all have the same vocab.
        shim (NetworkShim): the shim of the network, with the cache.
        RETURNS (Batch): the network's input, without `tokens`, the input of other embeddings.
        """
        tokens = DocTokens.from_docs(docs)
        words = _present(self.words, shim)
        vocab = docs[0].vocab

        def compute(orths: np.ndarray) -> dict[str, Array]:
            parts = [
                prepare(orths[begin : begin + _WORDS_AT_ONCE])
                for begin in range(0, len(orths), _WORDS_AT_ONCE)
            ]
            if len(parts) == 1:
                return parts[0]
            return {
                name: library_of(rows).concatenate([part[name] for part in parts])
                for name, rows in parts[0].items()
            }

        def prepare(orths: np.ndarray) -> dict[str, Array]:
            new = UniqueWords.from_orths(vocab, orths)
            read = {name: _read(embedding, new, shim.convert) for name, embedding in words.items()}
            prepared = shim.prepare(read) if read else {}
            # These stay in NumPy, where tokens are grouped.
            return {**prepared, _FORMS: new.forms, _BOUNDARIES: new.boundaries}

        version = (*shim.version, *_version(vocab))
        tables, rows = shim.cache.look_up(tokens.orths, version, compute)
        groups: dict[str, Array] = {}
        if shim.spec.has_context:
            for name, keys in tokens.groups(tables[_FORMS][rows]).items():
                groups[name] = shim.convert_groups(keys)
        return Batch(
            lengths=self._lengths(tokens, tables[_BOUNDARIES][rows]),
            index=shim.convert(rows),
            prepared=tables,
            groups=groups,
        )

    def _lengths(self, tokens: "DocTokens", boundaries: np.ndarray) -> np.ndarray:
        return tokens.sentence_lengths(boundaries) if self.by_sentence else tokens.lengths


class DocTokens(NamedTuple):
    """What the network's input needs of the tokens of Docs, concatenated.

    orths (ndarray): hash of each token's word, uint64 (n_tokens,).
    starts (ndarray): spaCy's `SENT_START`: 1 for the start of a sentence, -1 for another token, 0
        if it is not known, int64 (n_tokens,).
    lengths (ndarray): tokens of each Doc, int64 (n_docs,).
    """

    orths: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def from_docs(cls, docs: Sequence[Doc]) -> "DocTokens":
        """Read the attributes of tokens.

        docs (Sequence[Doc]): at least one Doc. Docs may be empty.
        RETURNS (DocTokens): the attributes.
        """
        columns = [doc.to_array([ORTH, SENT_START]).reshape(len(doc), 2) for doc in docs]
        orths, starts = np.concatenate(columns).astype(np.uint64, copy=False).T
        lengths = np.array([len(doc) for doc in docs], dtype=np.int64)
        return cls(orths, starts.view(np.int64), lengths)

    def sentence_lengths(self, boundaries: np.ndarray) -> np.ndarray:
        """Count the tokens of each sentence.

        In a Doc without sentence boundaries, these are estimated, see `estimate_starts`.

        boundaries (ndarray): see `UniqueWords.boundaries`, uint8 (n_tokens,).
        RETURNS (ndarray): tokens of each sentence of all Docs, in order, int64 (n_sentences,). An
            empty Doc has no sentence.
        """
        if not len(self.starts):
            return np.zeros(0, dtype=np.int64)
        used = self.lengths[self.lengths > 0]
        begins = used.cumsum() - used
        # Like `Doc.has_annotation`, ignore first tokens, which always start a sentence.
        given = self.starts != 0
        given[begins] = False
        starts = self.starts == 1
        if not given.any():
            starts = estimate_starts(boundaries, self.lengths)
        else:
            known = np.repeat(np.logical_or.reduceat(given, begins), used)
            if not known.all():
                starts = np.where(known, starts, estimate_starts(boundaries, self.lengths))
        starts[begins] = True
        return lengths_from(starts)

    def groups(self, forms: np.ndarray) -> dict[str, np.ndarray]:
        """Compute keys that the tokens of a group share.

        forms (ndarray): the hash of each token's lower-cased form, int64 (n_tokens,).
        RETURNS (dict[str, ndarray]): keys that are not consecutive, int64 (n_tokens,):
            "occurrences" is the same for all occurrences of a word in a Doc, "global_context" for
            all tokens of a Doc.
        """
        docs = np.repeat(np.arange(len(self.lengths), dtype=np.int64), self.lengths)
        # Differs between Docs. Two words of a batch get the same key as rarely as two words have
        # the same hash: one pair in 2^64.
        keys = (forms.view(np.uint64) ^ (docs.view(np.uint64) * _MIX)) * _MIX
        return {"occurrences": keys.view(np.int64), "global_context": docs}


def _present(words: Mapping[str, WordEmbedding], shim: NetworkShim) -> dict[str, WordEmbedding]:
    # With `embed = null`, the embeddings of a saved network depend on its language and on the
    # version that trained it. Only those are used.
    embed = shim.spec.embed
    return {name: embedding for name, embedding in words.items() if name in embed}


def _version(vocab: Vocab) -> tuple[Any, ...]:
    # The features of a word depend on these.
    vectors = vocab.vectors
    return (
        vocab,
        vectors,
        getattr(vectors, "data", None),  # custom vectors need not have a table
        getattr(vectors, "n_keys", 0),
    )


@stage(EMBED)
def _read(
    embedding: WordEmbedding, words: UniqueWords, convert: Callable[[Any], Array]
) -> tuple[Array, ...]:
    arrays = embedding.read(words)
    return tuple(map(convert, arrays if isinstance(arrays, tuple) else (arrays,)))
