"""Docs to the network's input: for training as they are, for prediction by way of the cache."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from spacy.attrs import SENT_START
from spacy.tokens import Doc
from spacy.vocab import Vocab
from torch import Tensor

from ..embeddings.base import UniqueWords, WordEmbedding
from ..network.network import Batch
from ..stages import EMBED, READ, stage
from .devices import to_torch
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
    distinct = UniqueWords.from_docs(docs)
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
    distinct = UniqueWords.from_docs(docs)

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


def sentence_lengths(docs: Sequence[Doc], words: UniqueWords) -> list[int]:
    """Count the tokens of each sentence.

    docs (Sequence[Doc]): Docs; the sentences of one without sentence starts are guessed, see
        `UniqueWords.sentence_starts`.
    words (UniqueWords): their words.
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


def occurrence_keys(words: UniqueWords, forms: np.ndarray) -> np.ndarray:
    """Give tokens a number that those of the same word in the same Doc share.

    words (UniqueWords): the words of a batch.
    forms (ndarray): what makes two distinct words the same, such as the hash of the lower-cased
        form, int64 (n_words,).
    RETURNS (ndarray): numbers, with gaps, int64 (n_tokens,).
    """
    kinds, kind = np.unique(forms, return_inverse=True)
    docs = np.repeat(np.arange(len(words.lengths)), words.lengths)
    return cast(np.ndarray, docs * len(kinds) + kind.reshape(-1)[words.index])


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


def _lengths(docs: Sequence[Doc], words: UniqueWords, by_sentence: bool) -> Sequence[int]:
    return sentence_lengths(docs, words) if by_sentence else words.lengths.tolist()


def _group(words: UniqueWords, forms: np.ndarray, device: torch.device) -> dict[str, Tensor]:
    docs = np.repeat(np.arange(len(words.lengths), dtype=np.int64), words.lengths)
    keys = to_torch(occurrence_keys(words, forms), device)
    return {
        "occurrences": torch.unique(keys, return_inverse=True)[1],
        "global_context": to_torch(docs, device),
    }


@stage(EMBED)
def _read(embedding: WordEmbedding, words: UniqueWords, device: torch.device) -> tuple[Tensor, ...]:
    arrays = embedding.read(words)
    if not isinstance(arrays, tuple):
        arrays = (arrays,)
    return tuple(to_torch(array, device) for array in arrays)
