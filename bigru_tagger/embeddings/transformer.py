"""The token vectors of a transformer of Hugging Face's `transformers`."""

from dataclasses import dataclass

from spacy.util import registry

from ..network.transformer import Pooling
from ..network.transformer_loading import PretrainedTransformer
from .base import Embedding


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
    """Embed tokens by a transformer of Hugging Face's `transformers`.

    Weights, configuration and tokenizer become part of the trained model, which needs neither the
    folder nor the internet. Device and precision are those of the model that has the `embed` block.
    White space, and words of which the tokenizer leaves nothing, have a vector of zeros.

    name (str): an encoder of the hub, or a folder that `save_pretrained` wrote.
    revision (str | None): a branch, tag or commit of the hub; null for the newest.
    pooling (str): which of its sub-words make a word's vector: "first", "last", or the "mean".
    layers (int): how many of the last layers are mixed, by weights that are learned; 1 for the
        last layer alone.
    window (int | None): sub-words that are read at once, with the special ones; null for the
        model's maximum. Longer texts are read in overlapping windows.
    overlap (int): sub-words that two windows share, at least: half of it is the least context that
        a word has on the side of a cut.
    trainable (bool): train the transformer too; otherwise only the mix of its layers is learned.
    learn_rate (float | None): the transformer's own learn rate where that of the optimizer is
        highest (within its next 20,000 steps); it follows the optimizer's schedule in proportion.
        null for the optimizer's.
    cache_mb (int): MiB of memory for the output of a frozen transformer for each Doc in training,
        so that it runs once per Doc, not once per epoch: 4 bytes * width * layers per token. 0
        keeps nothing. Without effect where the transformer is trained.
    RETURNS (TransformerEmbedding): for the `embed` block of an architecture.
    RAISES (ValueError): if a setting does not fit.
    """
    if cache_mb < 0 or (learn_rate is not None and learn_rate <= 0.0):
        raise ValueError(
            "TransformerEmbed: 'cache_mb' has to be at least 0, and 'learn_rate' positive, or "
            f"null; got cache_mb = {cache_mb}, learn_rate = {learn_rate}"
        )
    if learn_rate is not None and not trainable:
        raise ValueError(
            f"TransformerEmbed: learn_rate = {learn_rate} is for a transformer that is trained: "
            "set trainable = true, or learn_rate = null"
        )
    source = PretrainedTransformer(name, revision, pooling, layers, window, overlap)
    return TransformerEmbedding(source, trainable, learn_rate, cache_mb << 20)


@dataclass(frozen=True)
class TransformerEmbedding(Embedding):
    """The vectors of a transformer, one per token.

    source (PretrainedTransformer): what initialisation loads.
    trainable (bool): train the encoder too, not only the mix of its layers.
    learn_rate (float | None): the encoder's own highest learn rate; None for that of the
        optimizer.
    cache_bytes (int): size of the cache of a frozen encoder's states.
    """

    source: PretrainedTransformer
    trainable: bool
    learn_rate: float | None
    cache_bytes: int
