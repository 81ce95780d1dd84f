"""Convert Docs to the network's input. In prediction, words come from a cache."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
from spacy.attrs import SENT_START
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..decoding.transitions import Array, library_of
from ..embeddings.base import UniqueWords, WordEmbedding
from ..runtime.spec import Batch
from ..stages import EMBED, READ, stage
from .devices import to_torch
from .shim import NetworkShim

_FORMS = "words.forms"  # in addition to the names used by `Network.prepare`
# New words that are prepared at once, to limit memory. The states of their characters need most.
_WORDS_AT_ONCE = 1024


@stage(READ)
def read_batch(
    docs: list[Doc],
    words: dict[str, WordEmbedding],
    shim: NetworkShim,
    *,
    by_sentence: bool,
    with_groups: bool,
) -> Batch:
    """Create the input of the network's word embeddings in training, as tensors.

    The features of a word are cached on the device.

    docs (list[Doc]): at least one Doc.
    words (dict[str, WordEmbedding]): the embeddings by name.
    shim (NetworkShim): the shim of the network.
    by_sentence (bool): make each sentence a sequence; otherwise each Doc.
    with_groups (bool): set the groups of tokens in `Batch.groups`.
    RETURNS (Batch): the network's input, without `tokens`, the input of other embeddings.
    """
    words = _present(words, shim)
    distinct = UniqueWords.from_docs(docs)
    convert = partial(to_torch, device=shim.device)
    read: dict[str, tuple[Array, ...]] = dict.fromkeys(words, ())
    if words and len(distinct.orths):

        def compute(rows: np.ndarray) -> dict[str, Array]:
            new = distinct.subset(rows)
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
    return Batch(
        lengths=_lengths(docs, distinct, by_sentence),
        index=convert(distinct.index),
        words=read,
        groups=_group(distinct, distinct.forms, convert) if with_groups else {},
    )


@stage(READ)
def read_prepared(
    docs: list[Doc],
    words: dict[str, WordEmbedding],
    shim: NetworkShim,
    *,
    by_sentence: bool,
    with_groups: bool,
) -> Batch:
    """Create the input of the network's word embeddings in prediction.

    Context-independent features are computed once per word and cached.

    docs (list[Doc]): at least one Doc.
    words (dict[str, WordEmbedding]): the embeddings by name.
    shim (NetworkShim): the shim of the network, with the cache.
    by_sentence (bool): see `read_batch`.
    with_groups (bool): see `read_batch`.
    RETURNS (Batch): the network's input, without `tokens`, the input of other embeddings.
    """
    words = _present(words, shim)
    distinct = UniqueWords.from_docs(docs)
    lengths = _lengths(docs, distinct, by_sentence)
    if not words or not len(distinct.orths):
        groups = _group(distinct, distinct.forms, shim.convert) if with_groups else {}
        return Batch(lengths, shim.convert(distinct.index), groups=groups)

    def compute(rows: np.ndarray) -> dict[str, Array]:
        parts = [
            prepare(rows[begin : begin + _WORDS_AT_ONCE])
            for begin in range(0, len(rows), _WORDS_AT_ONCE)
        ]
        if len(parts) == 1:
            return parts[0]
        return {
            name: library_of(rows).concatenate([part[name] for part in parts])
            for name, rows in parts[0].items()
        }

    def prepare(rows: np.ndarray) -> dict[str, Array]:
        new = distinct.subset(rows)
        read = {name: _read(embedding, new, shim.convert) for name, embedding in words.items()}
        # Forms stay in NumPy, where tokens are grouped.
        return {**shim.prepare(read), _FORMS: new.forms}

    version = (*shim.version, *_version(distinct.vocab))
    tables, rows = shim.cache.look_up(distinct.orths, version, compute)
    groups = _group(distinct, tables[_FORMS][rows], shim.convert) if with_groups else {}
    return Batch(lengths, shim.convert(rows[distinct.index]), groups=groups, prepared=tables)


def sentence_lengths(docs: Sequence[Doc], words: UniqueWords) -> list[int]:
    """Count the tokens of each sentence.

    docs (Sequence[Doc]): Docs. In a Doc without sentence boundaries, these are estimated, see
        `UniqueWords.sentence_starts`.
    words (UniqueWords): the words of these Docs.
    RETURNS (list[int]): tokens of each sentence of all Docs, in order. An empty Doc has no
        sentence.
    """
    if not len(words.index):
        return []
    given = np.concatenate([doc.to_array(SENT_START).reshape(-1) for doc in docs]).view(np.int64)
    begins = (words.lengths.cumsum() - words.lengths)[words.lengths > 0]
    # Like `Doc.has_annotation`, ignore first tokens, which always start a sentence.
    later = given != 0
    later[begins] = False
    known = np.repeat(np.logical_or.reduceat(later, begins), words.lengths[words.lengths > 0])
    starts = given == 1
    if not known.all():
        starts = np.where(known, starts, words.sentence_starts)
    starts[begins] = True
    lengths: list[int] = np.diff(np.append(np.flatnonzero(starts), len(starts))).tolist()
    return lengths


def occurrence_keys(words: UniqueWords, forms: np.ndarray) -> np.ndarray:
    """Compute a number for each token that the occurrences of its word in the Doc share.

    words (UniqueWords): the words of a batch.
    forms (ndarray): a key for each distinct word, such as the hash of its lower-cased form, int64
        (n_words,). Words with the same key count as one word.
    RETURNS (ndarray): numbers, not consecutive, int64 (n_tokens,).
    """
    kinds, kind = np.unique(forms, return_inverse=True)
    docs = np.repeat(np.arange(len(words.lengths)), words.lengths)
    return cast(np.ndarray, docs * len(kinds) + kind.reshape(-1)[words.index])


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


def _lengths(docs: Sequence[Doc], words: UniqueWords, by_sentence: bool) -> Sequence[int]:
    return sentence_lengths(docs, words) if by_sentence else words.lengths.tolist()


def _group(
    words: UniqueWords, forms: np.ndarray, convert: Callable[[np.ndarray], Array]
) -> dict[str, Array]:
    docs = np.repeat(np.arange(len(words.lengths), dtype=np.int64), words.lengths)
    occurrences = np.unique(occurrence_keys(words, forms), return_inverse=True)[1]
    return {"occurrences": convert(occurrences.reshape(-1)), "global_context": convert(docs)}


@stage(EMBED)
def _read(
    embedding: WordEmbedding, words: UniqueWords, convert: Callable[[Any], Array]
) -> tuple[Array, ...]:
    arrays = embedding.read(words)
    return tuple(map(convert, arrays if isinstance(arrays, tuple) else (arrays,)))
