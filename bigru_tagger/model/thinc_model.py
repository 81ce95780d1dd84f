"""thinc models around the torch network: arrays in, arrays out, gradients back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d
from torch import Tensor

from ..embeddings.base import Embedding, WordEmbedding
from ..embeddings.tok2vec import Tok2VecEmbedding
from ..embeddings.transformer import TransformerEmbedding
from ..network.decoder import Decoder
from ..network.encoder import Dropout
from ..network.network import NEW_TAG_MARGIN, Batch, Network, NetworkSpec, NetworkTrace
from ..network.transitions import Array
from ..stages import EMBED, stage
from .batches import read_batch, read_prepared
from .devices import join_arrays, split_array, to_array
from .shim import NetworkShim, no_backprop
from .transformer_layer import transformer_model

_INPUT = "input"  # the one embedding of an encoder that reads vectors
# Tokens that prediction handles at once: memory does not grow with the batch, and is used again
# from run to run. A GPU needs more of them to be busy.
_TOKENS_AT_ONCE = 16_384
_GPU_TOKENS_AT_ONCE = 65_536


@dataclass(frozen=True)
class DropoutSettings:
    """Dropout rates of the config; None follows `[training] dropout`."""

    word: float | None
    input: float | None
    hidden: float | None
    recurrent: float | None = 0.0

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


@dataclass(frozen=True)
class DocReader:
    """What a model reads of Docs.

    words (dict[str, WordEmbedding]): the embeddings of words by name.
    upstream (list[str]): the names of the embeddings that are layers of the model, in their order.
    by_sentence (bool): see `read_batch`.
    with_groups (bool): see `read_batch`.
    """

    words: dict[str, WordEmbedding]
    upstream: list[str]
    by_sentence: bool
    with_groups: bool

    def read(self, docs: list[Doc], shim: NetworkShim) -> Batch:
        """Read Docs for training or a trace, see `read_batch`."""
        settings = {"by_sentence": self.by_sentence, "with_groups": self.with_groups}
        return read_batch(docs, self.words, shim, **settings)

    def read_prepared(self, docs: list[Doc], shim: NetworkShim) -> Batch:
        """Read Docs for prediction, see `read_prepared`."""
        settings = {"by_sentence": self.by_sentence, "with_groups": self.with_groups}
        return read_prepared(docs, self.words, shim, **settings)

    @stage(EMBED)
    def predict_upstream(
        self, model: Model[list[Doc], list[Floats2d]], docs: list[Doc]
    ) -> dict[str, Tensor]:
        """Run the layers of the model over Docs.

        model (Model[list[Doc], list[Floats2d]]): the model.
        docs (list[Doc]): the Docs.
        RETURNS (dict[str, Tensor]): the vectors of all tokens, by name of the embedding.
        """
        device = network_shim(model).device
        return {
            name: join_arrays(layer.predict(docs), device, layer.get_dim("nO"))
            for name, layer in zip(self.upstream, model.layers, strict=True)
        }


def docs_model(
    name: str,
    embed: dict[str, Any],
    spec: NetworkSpec,
    *,
    dropout: DropoutSettings,
    shim: NetworkShim,
    by_sentence: bool,
    n_out: int | None,
) -> Model[list[Doc], list[Floats2d]]:
    """Build a model from Docs to logits, or to hidden states.

    name (str): "bigru_tagger" for logits; other models put out hidden states.
    embed (dict[str, Embedding | None]): embeddings by name; None leaves one out.
    spec (NetworkSpec): the network's shape but for `embed` and `n_tags`, which initialisation adds.
    dropout (DropoutSettings): dropout rates.
    shim (NetworkShim): holds the network.
    by_sentence (bool): encode sentence by sentence.
    n_out (int | None): width of the output where it is known.
    RETURNS (Model[list[Doc], list[Floats2d]]): the model, not initialised.
    RAISES (ValueError): if `embed` holds anything else, or nothing; or if an LSTM is asked for
        recurrent dropout.
    """
    _check_recurrent_dropout(spec, dropout)
    embed = {block: embedding for block, embedding in embed.items() if embedding is not None}
    for block, embedding in embed.items():
        if not isinstance(embedding, Embedding):
            raise ValueError(
                f"[...model.embed.{block}] has to be an embedding, such as @misc = "
                f'"bigru_tagger.HashEmbed.v1"; got {embedding!r}'
            )
    if not embed:
        raise ValueError("'embed' has to hold at least one embedding")
    upstream = {}
    for block, embedding in embed.items():
        if isinstance(embedding, Tok2VecEmbedding):
            upstream[block] = embedding.tok2vec
        elif isinstance(embedding, TransformerEmbedding):
            upstream[block] = transformer_model(embedding, shim)
    words = {
        name: embedding for name, embedding in embed.items() if isinstance(embedding, WordEmbedding)
    }
    with_groups = spec.occurrences > 0 or spec.global_context > 0
    reader = DocReader(words, list(upstream), by_sentence, with_groups)
    model: Model[list[Doc], list[Floats2d]] = Model(
        name,
        partial(_tag, dropout=dropout, reader=reader),
        init=partial(_initialise, reader=reader, spec=spec),
        dims={"nO": n_out},
        attrs={
            "dropout_rate": 0.0,
            "resize_output": resize_output,
            "trace": partial(_trace, reader=reader),
            "predict_runs": partial(_predict_runs, reader=reader),
        },
        layers=list(upstream.values()),
        shims=[shim],
    )
    if upstream:
        model.set_ref("tok2vec", model.layers[0])
    return model


def vectors_model(
    name: str, width: int, spec: NetworkSpec, *, dropout: DropoutSettings, shim: NetworkShim
) -> Model[list[Floats2d], list[Floats2d]]:
    """Build a model from vectors to hidden states of the same width.

    name (str): name of the model.
    width (int): width of input and output.
    spec (NetworkSpec): the network's shape but for `embed`.
    dropout (DropoutSettings): dropout rates.
    shim (NetworkShim): holds the network.
    RETURNS (Model[list[Floats2d], list[Floats2d]]): the model, not initialised.
    RAISES (ValueError): if an LSTM is asked for recurrent dropout.
    """
    _check_recurrent_dropout(spec, dropout)
    spec = replace(spec, embed={_INPUT: {"kind": "tok2vec", "width": width}})
    return Model(
        name,
        partial(_encode, dropout=dropout),
        init=partial(_initialise_encoder, spec=spec),
        dims={"nI": width, "nO": width},
        attrs={"dropout_rate": 0.0},
        shims=[shim],
    )


def network_shim(model: Model[Any, Any]) -> NetworkShim:
    """Give the shim of one of our models.

    model (Model): a model of one of this module's architectures.
    RETURNS (NetworkShim): its shim.
    """
    return cast(NetworkShim, model.shims[0])


def resize_output(
    model: Model[Any, Any], n_tags: int, margin: float = NEW_TAG_MARGIN
) -> Model[Any, Any]:
    """Make room for more tags.

    model (Model): a model of `BiGRUTagger`.
    n_tags (int): the new number of tags, the old ones first.
    margin (float): see `Network.resize`.
    RETURNS (Model): the model; before initialisation, there is nothing to resize.
    """
    shim = network_shim(model)
    if shim.is_initialised:
        shim.resize(n_tags, margin)
        model.set_dim("nO", n_tags, force=True)
    return model


def trace(model: Model[list[Doc], list[Floats2d]], docs: list[Doc]) -> NetworkTrace:
    """Tell what the network of a model does at each token.

    model (Model[list[Doc], list[Floats2d]]): a model of `docs_model`, initialised.
    docs (list[Doc]): at least one Doc.
    RETURNS (NetworkTrace): of all tokens, one Doc after the other.
    RAISES (ValueError): if the cell is no GRU.
    """
    return cast(NetworkTrace, model.attrs["trace"](model, docs))


def predict_runs(
    model: Model[list[Doc], list[Floats2d]], docs: list[Doc]
) -> Iterator[tuple[list[Doc], Array]]:
    """Predict Docs in runs of a limited number of tokens, so that memory does not grow with them.

    model (Model[list[Doc], list[Floats2d]]): a model of `docs_model`, initialised.
    docs (list[Doc]): the Docs.
    YIELDS (tuple[list[Doc], Array]): some Docs, and the output for all their tokens, float32
        (n_tokens, width): a tensor where it lies on a GPU that has float64, else a NumPy array.
    """
    for run, output in model.attrs["predict_runs"](model, docs):
        yield run, output if output.is_cuda else output.cpu().numpy()


def decoder_of(model: Model[Any, Any]) -> Decoder:
    """Give the way of decoding of a model's network.

    model (Model): a model of `BiGRUTagger`, initialised.
    RETURNS (Decoder): the way of decoding.
    RAISES (ValueError): before initialisation.
    """
    return network_shim(model).network.decoder


def differentiate(
    model: Model[Any, Any], logits: list[Floats2d], loss: Callable[[Tensor], Tensor]
) -> tuple[np.ndarray, list[Floats2d], Callable[[], None]]:
    """Compute losses of logits, and the gradients of their sum.

    model (Model): a model of `BiGRUTagger`, initialised; it is left as it is.
    logits (list[Floats2d]): those of each Doc, (n_tokens, n_tags).
    loss (Callable[[Tensor], Tensor]): from the logits of all tokens to the losses, (n_losses,).
    RETURNS (tuple[ndarray, list[Floats2d], Callable]): the losses; the gradient with respect to the
        logits; and a function that adds the one with respect to the parameters of the way of
        decoding to the network's gradients.
    """
    shim, decoder = network_shim(model), decoder_of(model)
    joined = join_arrays(logits, shim.device, shim.network.width).requires_grad_()
    losses = loss(joined)
    parameters = list(decoder.parameters())
    # Not all of them take part in every batch: materialised, their gradient is zero.
    gradient, *d_parameters = torch.autograd.grad(
        losses.sum(), [joined, *parameters], materialize_grads=True
    )

    def backprop() -> None:
        for parameter, d_parameter in zip(parameters, d_parameters, strict=True):
            before = parameter.grad
            parameter.grad = d_parameter if before is None else before + d_parameter

    parts = split_array(to_array(gradient, model.ops), [len(part) for part in logits])
    return losses.detach().cpu().numpy(), parts, backprop


def _check_recurrent_dropout(spec: NetworkSpec, dropout: DropoutSettings) -> None:
    # Here too, since the network itself would find out at the first step of training only.
    if spec.cell != "gru" and dropout.recurrent != 0.0:
        raise ValueError(
            f'recurrent_dropout is for cell = "gru" alone: with cell = "{spec.cell}", set '
            "recurrent_dropout = 0.0"
        )


def _initialise(
    model: Model[list[Doc], list[Floats2d]],
    X: list[Doc] | None = None,  # noqa: N803
    Y: list[Floats2d] | None = None,  # noqa: N803
    *,
    reader: DocReader,
    spec: NetworkSpec,
) -> None:
    if not X:
        raise ValueError(
            f"cannot initialise the model {model.name!r} without Docs, which tell the widths of "
            "its input: give nlp.initialize() some examples"
        )
    if Y:
        _set_width(model, Y[0].shape[1])
    specs = {name: embedding.network_spec(X[0].vocab) for name, embedding in reader.words.items()}
    embed = {name: described for name, described in specs.items() if described is not None}
    present = {name: reader.words[name] for name in embed}
    for name, layer in zip(reader.upstream, model.layers, strict=True):
        layer.initialize(X=X)
        embed[name] = {"kind": "tok2vec", "width": int(layer.get_dim("nO"))}
    is_tagger = model.name == "bigru_tagger"
    n_tags = model.get_dim("nO") if is_tagger else None
    network = Network(replace(spec, embed=embed, n_tags=n_tags))
    network.fill({name: embedding.tensors(X[0].vocab) for name, embedding in present.items()})
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
    reader: DocReader,
    dropout: DropoutSettings,
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Doc]]]:
    shim = network_shim(model)
    if not is_train:
        outputs = [
            own
            for docs, output in _predict_runs(model, X, reader=reader)
            for own in split_array(to_array(output, model.ops), [len(doc) for doc in docs])
        ]
        return outputs, no_backprop
    lengths = [len(doc) for doc in X]
    inputs, backprops = {}, []
    for name, layer in zip(reader.upstream, model.layers, strict=True):
        vectors, backprop_vectors = layer(X, True)
        inputs[name] = join_arrays(vectors, shim.device, layer.get_dim("nO")).requires_grad_()
        backprops.append((name, backprop_vectors))
    batch = reader.read(X, shim)
    batch.tokens = inputs
    output, backprop_network = shim.begin_update(batch, dropout.rates(model.attrs["dropout_rate"]))

    def backprop(d_output: list[Floats2d]) -> list[Doc]:
        backprop_network(join_arrays(d_output, shim.device, output.shape[1]))
        for name, backprop_vectors in backprops:
            gradient = inputs[name].grad
            if gradient is not None:
                backprop_vectors(split_array(to_array(gradient, model.ops), lengths))
        return []

    return split_array(to_array(output, model.ops), lengths), backprop


def _predict_runs(
    model: Model[list[Doc], list[Floats2d]], docs: list[Doc], *, reader: DocReader
) -> Iterator[tuple[list[Doc], Tensor]]:
    shim = network_shim(model)
    n_tokens = _TOKENS_AT_ONCE if shim.device.type == "cpu" else _GPU_TOKENS_AT_ONCE
    for run in _runs(docs, n_tokens):
        batch = reader.read_prepared(run, shim)
        batch.tokens = reader.predict_upstream(model, run)
        yield run, shim.predict(batch).float()


def _trace(
    model: Model[list[Doc], list[Floats2d]], docs: list[Doc], *, reader: DocReader
) -> NetworkTrace:
    shim = network_shim(model)
    batch = reader.read(docs, shim)
    batch.tokens = reader.predict_upstream(model, docs)
    return shim.trace(batch)


def _runs(docs: list[Doc], n_tokens: int) -> Iterator[list[Doc]]:
    # Docs in their order, so many at once that they have no more than these tokens, if they can.
    run: list[Doc] = []
    size = 0
    for doc in docs:
        if run and size + len(doc) > n_tokens:
            yield run
            run, size = [], 0
        run.append(doc)
        size += len(doc)
    if run:
        yield run


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
    vectors = join_arrays(X, shim.device, model.get_dim("nI")).requires_grad_(is_train)
    # Every token is a word of its own, and there are no word embeddings to look it up in.
    index = torch.zeros(0, dtype=torch.int64, device=shim.device)
    batch = Batch(lengths, index, tokens={_INPUT: vectors})
    if not is_train:
        return split_array(to_array(shim.predict(batch), model.ops), lengths), no_backprop
    output, backprop_network = shim.begin_update(batch, dropout.rates(model.attrs["dropout_rate"]))

    def backprop(d_output: list[Floats2d]) -> list[Floats2d]:
        backprop_network(join_arrays(d_output, shim.device, output.shape[1]))
        gradient = torch.zeros_like(vectors) if vectors.grad is None else vectors.grad
        return split_array(to_array(gradient, model.ops), lengths)

    return split_array(to_array(output, model.ops), lengths), backprop
