"""Token vectors from a Hugging Face transformer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spacy.util import registry

from ..errors import ConfigError
from ..extras import require
from ..runtime.spec import Pooling
from .base import Embedding

if TYPE_CHECKING:
    from ..network.transformer_loading import PretrainedTransformer


@registry.misc("bigru_tagger.TransformerEmbed.v1")
def TransformerEmbed(  # noqa: N802
    *,
    name: str,
    revision: str | None,
    pooling: Pooling,
    layers: int,
    window: int | None,
    overlap: int,
    trainable: bool,
    learn_rate: float | None,
    cache_mb: int,
) -> "TransformerEmbedding":
    """Embed tokens by a transformer from the Hugging Face hub or a folder.

    Weights, configuration and tokenizer are saved in the trained model, which does not need the
    folder or the internet. Device and precision are those of the architecture. The vectors of
    white space and of words without sub-words are zero.

    name (str): an encoder on the hub, or a folder written by `save_pretrained`.
    revision (str | None): a branch, tag or commit on the hub; null for the newest.
    pooling (str): how a word's vector is computed from its sub-words: the "first", the "last", or
        the "mean" of all.
    layers (int): number of layers, counted from the last, that are mixed with learned weights. 1
        uses only the last layer.
    window (int | None): number of sub-words per window, including special tokens; null for the
        model's maximum. Longer texts are split into overlapping windows.
    overlap (int): minimum number of sub-words that neighbouring windows share. A sub-word is taken
        from the window in which it is farthest from an edge, so that it has at least half of this
        number as context on each side, or all up to the end of the text.
    trainable (bool): fine-tune the transformer. Otherwise it is frozen, and only the weights of
        the mix of layers are trained.
    learn_rate (float | None): maximum learn rate of the transformer. Its rate follows the schedule
        of the optimizer, scaled so that the highest rate within the next 20,000 steps is this
        value. null for the rate of the optimizer.
    cache_mb (int): size in MiB of a cache for the output of a frozen transformer in training, so
        that it runs once per Doc, not once per epoch. A token takes 4 bytes * width * layers. 0
        for no cache. Not used if `trainable` is true.
    RETURNS (TransformerEmbedding): a value for the `embed` section of an architecture.
    RAISES (ValueError): if a setting is not valid.
    """
    if cache_mb < 0 or (learn_rate is not None and learn_rate <= 0.0):
        raise ConfigError(
            "TransformerEmbed: 'cache_mb' must be at least 0, and 'learn_rate' positive, or "
            f"null; got cache_mb = {cache_mb}, learn_rate = {learn_rate}"
        )
    if learn_rate is not None and not trainable:
        raise ConfigError(
            f"TransformerEmbed: learn_rate = {learn_rate} needs a trainable transformer: "
            "set trainable = true, or learn_rate = null"
        )
    require("torch", "a transformer", "transformers")
    from ..network.transformer_loading import (  # noqa: PLC0415 - imports torch
        PretrainedTransformer,
    )

    source = PretrainedTransformer(name, revision, pooling, layers, window, overlap)
    return TransformerEmbedding(source, trainable, learn_rate, cache_mb << 20)


@dataclass(frozen=True)
class TransformerEmbedding(Embedding):
    """Token vectors from a Hugging Face transformer.

    source (PretrainedTransformer): the transformer that initialisation loads.
    trainable (bool): see `TransformerEmbed`.
    learn_rate (float | None): see `TransformerEmbed`.
    cache_bytes (int): size of the cache for the states of a frozen encoder.
    """

    source: "PretrainedTransformer"
    trainable: bool
    learn_rate: float | None
    cache_bytes: int
