"""Docs to the network's input: for training as they are, for prediction by way of the cache."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from spacy.tokens import Doc
from spacy.vocab import Vocab
from torch import Tensor

from ..network.network import Batch
from ..stages import EMBED, READ, stage
from .devices import to_torch
from .features import WordEmbedding, Words, occurrence_keys, sentence_lengths
from .shim import NetworkShim

_FORMS = "words.forms"  # beside what `Network.prepare` names
# New words that prediction prepares at once: what that takes meanwhile, above all the states of
# their characters, grows with them.
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
    """Read what the network's word embeddings need of Docs.

    What they read of a word is kept on the device from batch to batch.

    docs (list[Doc]): at least one Doc.
    words (dict[str, WordEmbedding]): the embeddings by name.
    shim (NetworkShim): holds the network.
    by_sentence (bool): make a sequence of each sentence, not of each Doc.
    with_groups (bool): find the tokens of the same Doc, and of the same word in it.
    RETURNS (Batch): the network's input; the other embeddings' part is still empty.
    """
    words = _present(words, shim)
    distinct = Words.from_docs(docs)
    read: dict[str, tuple[Tensor, ...]] = dict.fromkeys(words, ())
    if words and len(distinct.orths):

        def compute(rows: np.ndarray) -> dict[str, Tensor]:
            new = distinct.subset(rows)
            return {
                f"{name}.{number}": tensor
                for name, embedding in words.items()
                for number, tensor in enumerate(_read(embedding, new, shim.device))
            }

        tables, rows = shim.features.look_up(distinct.orths, _version(distinct.vocab), compute)
        index = to_torch(rows, shim.device)
        for key, table in tables.items():
            read[key.rpartition(".")[0]] += (table[index],)
    else:
        read = {name: _read(embedding, distinct, shim.device) for name, embedding in words.items()}
    return Batch(
        lengths=_lengths(docs, distinct, by_sentence),
        index=to_torch(distinct.index, shim.device),
        words=read,
        groups=_group(distinct, distinct.forms, shim.device) if with_groups else {},
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
    """Read what prediction needs of Docs; what depends on the word alone comes from the cache.

    docs (list[Doc]): at least one Doc.
    words (dict[str, WordEmbedding]): the embeddings by name.
    shim (NetworkShim): holds the network, and the cache.
    by_sentence (bool): see `read_batch`.
    with_groups (bool): see `read_batch`.
    RETURNS (Batch): the network's input; the other embeddings' part is still empty.
    """
    words = _present(words, shim)
    if not words or not any(map(len, docs)):
        return read_batch(docs, words, shim, by_sentence=by_sentence, with_groups=with_groups)
    distinct = Words.from_docs(docs)

    def compute(rows: np.ndarray) -> dict[str, Tensor]:
        parts = [
            prepare(rows[begin : begin + _WORDS_AT_ONCE])
            for begin in range(0, len(rows), _WORDS_AT_ONCE)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def prepare(rows: np.ndarray) -> dict[str, Tensor]:
        new = distinct.subset(rows)
        read = {name: _read(embedding, new, shim.device) for name, embedding in words.items()}
        # Forms stay on the CPU, where they are grouped.
        return {**shim.prepare(read), _FORMS: torch.from_numpy(new.forms)}

    version = (*shim.version, *_version(distinct.vocab))
    tables, rows = shim.cache.look_up(distinct.orths, version, compute)
    forms = tables[_FORMS].numpy()[rows]
    return Batch(
        lengths=_lengths(docs, distinct, by_sentence),
        index=to_torch(rows[distinct.index], shim.device),
        prepared=tables,
        groups=_group(distinct, forms, shim.device) if with_groups else {},
    )


def _present(words: Mapping[str, WordEmbedding], shim: NetworkShim) -> dict[str, WordEmbedding]:
    # A config with `embed = null` does not fix the embeddings: which ones the network has depends
    # on its language, and on the version that trained it.
    embed = shim.network.embed
    return {name: embedding for name, embedding in words.items() if name in embed}


def _version(vocab: Vocab) -> tuple[Any, ...]:
    # What embeddings read of a word depends on these.
    vectors = vocab.vectors
    return (
        vocab,
        vectors,
        getattr(vectors, "data", None),  # what a user registers as vectors may do without a table
        getattr(vectors, "n_keys", 0),
    )


def _lengths(docs: Sequence[Doc], words: Words, by_sentence: bool) -> Sequence[int]:
    return sentence_lengths(docs, words) if by_sentence else words.lengths.tolist()


def _group(words: Words, forms: np.ndarray, device: torch.device) -> dict[str, Tensor]:
    docs = np.repeat(np.arange(len(words.lengths), dtype=np.int64), words.lengths)
    keys = to_torch(occurrence_keys(words, forms), device)
    return {
        "occurrences": torch.unique(keys, return_inverse=True)[1],
        "global_context": to_torch(docs, device),
    }


@stage(EMBED)
def _read(embedding: WordEmbedding, words: Words, device: torch.device) -> tuple[Tensor, ...]:
    arrays = embedding.read(words)
    if not isinstance(arrays, tuple):
        arrays = (arrays,)
    return tuple(to_torch(array, device) for array in arrays)
