"""Docs to the network's input: for training as they are, for prediction by way of the cache."""

from collections.abc import Sequence

import numpy as np
import torch
from spacy.tokens import Doc
from torch import Tensor

from ..network.network import Batch
from .devices import to_torch
from .features import WordEmbedding, Words, group_occurrences, sentence_lengths
from .shim import NetworkShim

_FORMS = "words.forms"  # beside what `Network.prepare` names
# New words that prediction prepares at once: what that takes meanwhile, above all the states of
# their characters, grows with them.
_WORDS_AT_ONCE = 1024


def read_batch(
    docs: list[Doc],
    words: dict[str, WordEmbedding],
    device: torch.device,
    *,
    by_sentence: bool,
    with_groups: bool,
) -> Batch:
    """Read what the network's word embeddings need of Docs.

    docs (List[Doc]): at least one Doc.
    words (Dict[str, WordEmbedding]): the embeddings by name.
    device (torch.device): where the tensors are needed.
    by_sentence (bool): make a sequence of each sentence, not of each Doc.
    with_groups (bool): tell which tokens are of the same Doc, and the same word in it.
    RETURNS (Batch): the network's input; the other embeddings' part is still empty.
    """
    distinct = Words.from_docs(docs)
    lengths = [len(doc) for doc in docs]
    return Batch(
        lengths=sentence_lengths(docs, distinct) if by_sentence else lengths,
        index=to_torch(distinct.index, device),
        words={name: _read(embedding, distinct, device) for name, embedding in words.items()},
        groups=_group(distinct.forms[distinct.index], lengths, device) if with_groups else {},
    )


def read_prepared(
    docs: list[Doc],
    words: dict[str, WordEmbedding],
    shim: NetworkShim,
    *,
    by_sentence: bool,
    with_groups: bool,
) -> Batch:
    """Read what prediction needs of Docs; what depends on the word alone comes from the cache.

    docs (List[Doc]): at least one Doc.
    words (Dict[str, WordEmbedding]): the embeddings by name.
    shim (NetworkShim): holds the network, and the cache.
    by_sentence (bool): see `read_batch`.
    with_groups (bool): see `read_batch`.
    RETURNS (Batch): the network's input; the other embeddings' part is still empty.
    """
    lengths = [len(doc) for doc in docs]
    if not words or not any(lengths):
        return read_batch(
            docs, words, shim.device, by_sentence=by_sentence, with_groups=with_groups
        )
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

    vectors = distinct.vocab.vectors
    version = (
        *shim.version,
        distinct.vocab,
        vectors,
        getattr(vectors, "data", None),  # what a user registers as vectors may do without a table
        getattr(vectors, "n_keys", 0),
    )
    tables, rows = shim.cache.look_up(distinct.orths, version, compute)
    index = rows[distinct.index]
    forms = tables[_FORMS].numpy()
    return Batch(
        lengths=sentence_lengths(docs, distinct) if by_sentence else lengths,
        index=to_torch(index, shim.device),
        prepared=tables,
        groups=_group(forms[index], lengths, shim.device) if with_groups else {},
    )


def _group(forms: np.ndarray, lengths: Sequence[int], device: torch.device) -> dict[str, Tensor]:
    docs = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    return {
        "occurrences": to_torch(group_occurrences(forms, lengths), device),
        "global_context": to_torch(docs, device),
    }


def _read(embedding: WordEmbedding, words: Words, device: torch.device) -> tuple[Tensor, ...]:
    arrays = embedding.read(words)
    if not isinstance(arrays, tuple):
        arrays = (arrays,)
    return tuple(to_torch(array, device) for array in arrays)
