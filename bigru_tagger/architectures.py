"""The registered architectures: thinc models around the torch network, and its embeddings."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import torch
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, get_array_module
from thinc.types import Floats2d, FloatsXd
from torch import Tensor

from .encoder import Dropout
from .features import (
    Characters,
    Embedding,
    HashedAttributes,
    StaticVectors,
    UpstreamTok2Vec,
    WordEmbedding,
    Words,
)
from .network import Batch, Network, NetworkSpec
from .shim import NetworkShim, to_array, to_torch

Cell = Literal["gru", "lstm"]
_INPUT = "input"  # the one embedding of an encoder that reads vectors


@registry.misc("bigru_tagger.HashEmbed.v1")
def HashEmbed(  # noqa: N802
    attrs: list[str], rows: list[int], width: int, unknown_rate: float
) -> Embedding:
    """Embed hashed lexical attributes; no vocabulary is kept.

    attrs (List[str]): names of lexical attributes, such as NORM, PREFIX or SHAPE.
    rows (List[int]): the size of each attribute's table.
    width (int): width of each attribute's vector.
    unknown_rate (float): chance of a word's attribute to count as unknown in training, so that
        there is a vector for values that training never saw.
    RETURNS (Embedding): for the `embed` block of an architecture.
    """
    return HashedAttributes(attrs, rows, width, unknown_rate)


@registry.misc("bigru_tagger.CharCNNEmbed.v1")
def CharCNNEmbed(  # noqa: N802
    width: int, filters: int, window: int, rows: int, max_length: int
) -> Embedding:
    """Embed the characters of each word by a convolution and a maximum over positions.

    width (int): width of a character's vector.
    filters (int): number of filters, the width of the word's vector.
    window (int): characters that a filter sees at once, odd.
    rows (int): size of the character table; code points beyond share rows.
    max_length (int): characters read of a word; of a longer one, its first and last half.
    RETURNS (Embedding): for the `embed` block of an architecture.
    """
    return Characters(width, filters, window, rows, max_length)


@registry.misc("bigru_tagger.VectorsEmbed.v1")
def VectorsEmbed(fallback: bool) -> Embedding:  # noqa: N802
    """Embed words by the vectors of the vocab, which stay as they are.

    fallback (bool): look a word without a vector up in lower case.
    RETURNS (Embedding): for the `embed` block of an architecture; without vectors in the vocab
        it adds nothing.
    """
    return StaticVectors(fallback)


@registry.misc("bigru_tagger.Tok2VecEmbed.v1")
def Tok2VecEmbed(tok2vec: Model[list[Doc], list[Floats2d]]) -> Embedding:  # noqa: N802
    """Embed tokens by a spaCy `tok2vec`: a listener, or a network of its own, trained along.

    tok2vec (Model[List[Doc], List[Floats2d]]): the network.
    RETURNS (Embedding): for the `embed` block of an architecture.
    """
    return UpstreamTok2Vec(tok2vec)


def standard_embed() -> dict[str, Embedding]:
    """Build the embeddings of an architecture whose `embed` is null.

    RETURNS (Dict[str, Embedding]): words by hashed attributes, their characters, and the vectors
        of the vocab, if it has any.
    """
    attrs = ["NORM", "PREFIX", "SUFFIX", "SHAPE"]
    return {
        "words": HashEmbed(attrs=attrs, rows=[5000, 1000, 2500, 2500], width=64, unknown_rate=0.1),
        "characters": CharCNNEmbed(width=32, filters=64, window=3, rows=2048, max_length=40),
        "vectors": VectorsEmbed(fallback=True),
    }


@dataclass(frozen=True)
class DropoutSettings:
    """Dropout rates of the config; None follows `[training] dropout`."""

    word: float | None
    input: float | None
    hidden: float | None

    def __post_init__(self) -> None:
        """Check the rates.

        RAISES (ValueError): if one is no probability below 1.
        """
        for name, rate in vars(self).items():
            if rate is not None and not 0.0 <= rate < 1.0:
                raise ValueError(f"{name}_dropout has to be at least 0 and below 1; got {rate}")

    def rates(self, training_dropout: float) -> Dropout:
        """Fill the rates in.

        training_dropout (float): the rate that spaCy passes.
        RETURNS (Dropout): the rates of this step.
        """
        filled = {
            name: training_dropout if rate is None else rate for name, rate in vars(self).items()
        }
        return Dropout(**filled)


@registry.architectures("bigru_tagger.BiGRUTagger.v1")
def BiGRUTagger(  # noqa: N802
    embed: dict[str, Any] | None,
    hidden: int | list[int],
    *,
    depth: int | None = None,
    cell: Cell = "gru",
    bidirectional: bool = True,
    word_dropout: float | None = 0.0,
    input_dropout: float | None = None,
    hidden_dropout: float | None = None,
    mixed_precision: bool = False,
    device: str | None = None,
    nO: int | None = None,  # noqa: N803
) -> Model[list[Doc], list[Floats2d]]:
    """Build embedding, stacked bidirectional GRU, and a linear layer per token.

    embed (Optional[Dict[str, Embedding]]): embeddings by name; their vectors are concatenated.
        None for hashed attributes, characters and the vocab's vectors, see `standard_embed`.
    hidden (Union[int, List[int]]): units per direction: one width, or one for each layer.
    depth (Optional[int]): number of layers; None for one, or as many as there are widths. 0 puts
        the linear layer right on the embeddings, say on a shared encoder's listener.
    cell (str): "gru" or "lstm".
    bidirectional (bool): read backwards too.
    word_dropout (Optional[float]): chance that a token's whole input becomes zero in training.
    input_dropout (Optional[float]): locked dropout of what enters the encoder.
    hidden_dropout (Optional[float]): locked dropout of what leaves each of its layers. A dropout
        of null follows `[training] dropout`.
    mixed_precision (bool): compute in bfloat16 where that is safe.
    device (Optional[str]): a device of torch, "auto" for a GPU where there is one, or null to
        follow spaCy (`--gpu-id`). "cuda" needs torch alone, not CuPy.
    nO (Optional[int]): number of tags; set by the component.
    RETURNS (Model[List[Doc], List[Floats2d]]): emissions, (n_tokens, n_tags) for each Doc.
    RAISES (ValueError): if a setting does not fit.
    """
    spec = NetworkSpec({}, _widths(hidden, depth), cell, bidirectional)
    return _docs_model(
        "bigru_tagger",
        embed,
        spec,
        dropout=DropoutSettings(word_dropout, input_dropout, hidden_dropout),
        shim=NetworkShim(device=device, mixed_precision=mixed_precision),
        n_out=nO,
    )


@registry.architectures("bigru_tagger.BiGRUTok2Vec.v1")
def BiGRUTok2Vec(  # noqa: N802
    embed: dict[str, Any] | None,
    hidden: int | list[int],
    *,
    depth: int | None = None,
    cell: Cell = "gru",
    bidirectional: bool = True,
    word_dropout: float | None = 0.0,
    input_dropout: float | None = None,
    hidden_dropout: float | None = None,
    mixed_precision: bool = False,
    device: str | None = None,
) -> Model[list[Doc], list[Floats2d]]:
    """Build embedding and stacked bidirectional GRU, for a `tok2vec` that components share.

    The width that listeners have to name is the last layer's `hidden`, times two if bidirectional.
    The arguments are those of `BiGRUTagger`.

    RETURNS (Model[List[Doc], List[Floats2d]]): hidden states, (n_tokens, width) for each Doc.
    RAISES (ValueError): if a setting does not fit.
    """
    widths = _widths(hidden, depth)
    if not widths:
        raise ValueError("BiGRUTok2Vec needs at least one layer; got depth = 0")
    spec = NetworkSpec({}, widths, cell, bidirectional)
    return _docs_model(
        "bigru_tok2vec",
        embed,
        spec,
        dropout=DropoutSettings(word_dropout, input_dropout, hidden_dropout),
        shim=NetworkShim(device=device, mixed_precision=mixed_precision),
        n_out=widths[-1] * (2 if bidirectional else 1),
    )


@registry.architectures("bigru_tagger.BiGRUEncoder.v1")
def BiGRUEncoder(  # noqa: N802
    width: int,
    *,
    depth: int = 1,
    cell: Cell = "gru",
    bidirectional: bool = True,
    input_dropout: float | None = 0.0,
    hidden_dropout: float | None = None,
    mixed_precision: bool = False,
    device: str | None = None,
) -> Model[list[Floats2d], list[Floats2d]]:
    """Build a stacked bidirectional GRU for the `encode` slot of `spacy.Tok2Vec.v2`.

    width (int): width of input and output, as of spaCy's other encoders; half of it for each
        direction.
    depth (int): number of layers.
    cell (str): "gru" or "lstm".
    bidirectional (bool): read backwards too.
    input_dropout (Optional[float]): locked dropout of the input.
    hidden_dropout (Optional[float]): locked dropout of what leaves each layer. A dropout of null
        follows `[training] dropout`.
    mixed_precision (bool): compute in bfloat16 where that is safe.
    device (Optional[str]): see `BiGRUTagger`.
    RETURNS (Model[List[Floats2d], List[Floats2d]]): vectors in, hidden states out.
    RAISES (ValueError): if a setting does not fit.
    """
    if bidirectional and width % 2:
        raise ValueError(f"BiGRUEncoder: 'width' has to be even for two directions; got {width}")
    if depth < 1:
        raise ValueError(f"BiGRUEncoder: 'depth' has to be at least 1; got {depth}")
    embed = {_INPUT: {"kind": "dense", "width": width}}
    units = width // 2 if bidirectional else width
    spec = NetworkSpec(embed, [units] * depth, cell, bidirectional)
    shim = NetworkShim(device=device, mixed_precision=mixed_precision)
    dropout = DropoutSettings(0.0, input_dropout, hidden_dropout)

    model: Model[list[Floats2d], list[Floats2d]] = Model(
        "bigru_encoder",
        partial(_encode, dropout=dropout),
        init=partial(_initialise_encoder, spec=spec),
        dims={"nI": width, "nO": width},
        attrs={"dropout_rate": 0.0},
        shims=[shim],
    )
    return model


def _widths(hidden: int | list[int], depth: int | None) -> list[int]:
    if depth is not None and depth < 0:
        raise ValueError(f"'depth' has to be at least 0; got {depth}")
    if isinstance(hidden, int):
        return [hidden] * (1 if depth is None else depth)
    if depth is not None and depth != len(hidden):
        raise ValueError(
            f"'hidden' names the widths of {len(hidden)} layers, {hidden}, but 'depth' is {depth}: "
            "leave 'depth' out (null), or give one width"
        )
    return list(hidden)


def _docs_model(
    name: str,
    embed: dict[str, Any] | None,
    spec: NetworkSpec,
    *,
    dropout: DropoutSettings,
    shim: NetworkShim,
    n_out: int | None,
) -> Model[list[Doc], list[Floats2d]]:
    embed = standard_embed() if embed is None else embed
    for block, embedding in embed.items():
        if not isinstance(embedding, Embedding):
            raise ValueError(
                f"[...model.embed.{block}] has to be an embedding, such as @misc = "
                f'"bigru_tagger.HashEmbed.v1"; got {embedding!r}'
            )
    if not embed:
        raise ValueError("'embed' has to hold at least one embedding")
    upstream = {
        name: embedding.tok2vec
        for name, embedding in embed.items()
        if isinstance(embedding, UpstreamTok2Vec)
    }
    words = {
        name: embedding for name, embedding in embed.items() if isinstance(embedding, WordEmbedding)
    }
    model: Model[list[Doc], list[Floats2d]] = Model(
        name,
        partial(_tag, words=words, upstream=list(upstream), dropout=dropout),
        init=partial(_initialise, words=words, upstream=list(upstream), spec=spec),
        dims={"nO": n_out},
        attrs={"dropout_rate": 0.0, "resize_output": resize_output},
        layers=list(upstream.values()),
        shims=[shim],
    )
    if upstream:
        model.set_ref("tok2vec", model.layers[0])
    return model


def network_shim(model: Model[Any, Any]) -> NetworkShim:
    """Give the shim of one of our models.

    model (Model): a model of one of this module's architectures.
    RETURNS (NetworkShim): its shim.
    """
    return cast(NetworkShim, model.shims[0])


def resize_output(model: Model[Any, Any], n_tags: int) -> Model[Any, Any]:
    """Make room for more tags.

    model (Model): a model of `BiGRUTagger`.
    n_tags (int): the new number of tags, the old ones first.
    RETURNS (Model): the model; before initialisation, there is nothing to resize.
    """
    shim = network_shim(model)
    if shim.is_initialised:
        shim.resize(n_tags)
        model.set_dim("nO", n_tags, force=True)
    return model


def _initialise(
    model: Model[list[Doc], list[Floats2d]],
    X: list[Doc] | None = None,  # noqa: N803
    Y: list[Floats2d] | None = None,  # noqa: N803
    *,
    words: dict[str, WordEmbedding],
    upstream: list[str],
    spec: NetworkSpec,
) -> None:
    if not X:
        raise ValueError(
            f"cannot initialise the model {model.name!r} without Docs, which tell the widths of "
            "its input: give nlp.initialize() some examples"
        )
    if Y:
        _set_width(model, Y[0].shape[1])
    embed = {name: embedding.network_spec(X[0].vocab) for name, embedding in words.items()}
    for name, layer in zip(upstream, model.layers, strict=True):
        layer.initialize(X=X)
        embed[name] = {"kind": "dense", "width": int(layer.get_dim("nO"))}
    is_tagger = model.name == "bigru_tagger"
    n_tags = model.get_dim("nO") if is_tagger else None
    network = Network(replace(spec, embed=embed, n_tags=n_tags))
    network_shim(model).network = network


def _set_width(model: Model[Any, Any], width: int) -> None:
    if model.has_dim("nO") and model.get_dim("nO") != width:
        raise ValueError(
            f"the model was made for nO = {model.get_dim('nO')} tags, but the labels make {width}: "
            "leave nO out (null), or build the component anew"
        )
    model.set_dim("nO", width)


def _tag(
    model: Model[list[Doc], list[Floats2d]],
    X: list[Doc],  # noqa: N803
    is_train: bool,
    *,
    words: dict[str, WordEmbedding],
    upstream: list[str],
    dropout: DropoutSettings,
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Doc]]]:
    shim = network_shim(model)
    lengths = [len(doc) for doc in X]
    inputs, backprops = {}, []
    for name, layer in zip(upstream, model.layers, strict=True):
        vectors, backprop_vectors = layer(X, is_train)
        inputs[name] = _join(vectors, shim, layer.get_dim("nO"))
        inputs[name].requires_grad_(is_train)
        backprops.append((name, backprop_vectors))
    batch = read_batch(X, words, shim.device)
    batch.tokens = inputs
    if not is_train:
        return _split(to_array(shim.predict(batch), model.ops), lengths), _no_backprop
    output, backprop_network = shim.begin_update(batch, dropout.rates(model.attrs["dropout_rate"]))

    def backprop(d_output: list[Floats2d]) -> list[Doc]:
        backprop_network(_join(d_output, shim, output.shape[1]))
        for name, backprop_vectors in backprops:
            gradient = inputs[name].grad
            if gradient is not None:
                backprop_vectors(_split(to_array(gradient, model.ops), lengths))
        return []

    return _split(to_array(output, model.ops), lengths), backprop


def read_batch(docs: list[Doc], words: dict[str, WordEmbedding], device: torch.device) -> Batch:
    """Read what the network's word embeddings need of Docs.

    docs (List[Doc]): at least one Doc.
    words (Dict[str, WordEmbedding]): the embeddings by name.
    device (torch.device): where the tensors are needed.
    RETURNS (Batch): the network's input; the other embeddings' part is still empty.
    """
    distinct = Words.from_docs(docs)
    return Batch(
        lengths=[len(doc) for doc in docs],
        index=to_torch(distinct.index, device),
        words={
            name: to_torch(embedding.read(distinct), device) for name, embedding in words.items()
        },
    )


def _initialise_encoder(
    model: Model[list[Floats2d], list[Floats2d]],
    X: list[Floats2d] | None = None,  # noqa: N803
    Y: list[Floats2d] | None = None,  # noqa: N803
    *,
    spec: NetworkSpec,
) -> None:
    network_shim(model).network = Network(spec)


def _encode(
    model: Model[list[Floats2d], list[Floats2d]],
    X: list[Floats2d],  # noqa: N803
    is_train: bool,
    *,
    dropout: DropoutSettings,
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Floats2d]]]:
    shim = network_shim(model)
    lengths = [len(x) for x in X]
    vectors = _join(X, shim, model.get_dim("nI")).requires_grad_(is_train)
    # Every token is a word of its own, and there are no word embeddings to look it up in.
    index = torch.zeros(0, dtype=torch.int64, device=shim.device)
    batch = Batch(lengths, index, tokens={_INPUT: vectors})
    if not is_train:
        return _split(to_array(shim.predict(batch), model.ops), lengths), _no_backprop
    output, backprop_network = shim.begin_update(batch, dropout.rates(model.attrs["dropout_rate"]))

    def backprop(d_output: list[Floats2d]) -> list[Floats2d]:
        backprop_network(_join(d_output, shim, output.shape[1]))
        gradient = torch.zeros_like(vectors) if vectors.grad is None else vectors.grad
        return _split(to_array(gradient, model.ops), lengths)

    return _split(to_array(output, model.ops), lengths), backprop


def _no_backprop(d_output: Any) -> list[Any]:
    raise ValueError("cannot backpropagate through a prediction: call begin_update instead")


def _join(arrays: list[Floats2d], shim: NetworkShim, width: int) -> Tensor:
    if not arrays:
        return torch.zeros((0, width), device=shim.device)
    xp = get_array_module(arrays[0])
    return to_torch(xp.concatenate(arrays).astype("float32"), shim.device)


def _split(array: FloatsXd, lengths: list[int]) -> list[Floats2d]:
    ends = np.cumsum(lengths, dtype=np.int64)
    return [
        cast(Floats2d, array[end - length : end]) for end, length in zip(ends, lengths, strict=True)
    ]
