"""Training of the thinc models: forward passes with a gradient, and losses of logits."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d
from torch import Tensor

from ..errors import DataError
from ..network.dropout import Dropout
from ..network.network import Network
from ..runtime.spec import Batch, NetworkSpec
from .batches import DocReader
from .devices import join_arrays, split_array, to_array, to_torch
from .shim import NetworkShim
from .thinc_model import INPUT, decoder_of, join_vectors, network_shim


def initialise(
    shim: NetworkShim, spec: NetworkSpec, tables: Mapping[str, Mapping[str, Any]]
) -> None:
    """Build a network with fresh parameters.

    shim (NetworkShim): the shim, which receives the network.
    spec (NetworkSpec): the structure of the network.
    tables (Mapping[str, Mapping[str, ndarray]]): see `Network.fill`.
    RAISES (ValueError): see `Network`.
    """
    network = Network(spec)
    network.fill(tables)
    shim.network = network


def begin_update(
    model: Model[list[Doc], list[Floats2d]], docs: list[Doc], reader: DocReader, dropout: Dropout
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Doc]]]:
    """Run a model of Docs in training.

    model (Model[list[Doc], list[Floats2d]]): an initialised model built by `docs_model`.
    docs (list[Doc]): the Docs.
    reader (DocReader): converts them.
    dropout (Dropout): dropout rates.
    RETURNS (tuple[list[Floats2d], Callable]): the output for each Doc, (n_tokens, width), and a
        callback that receives its gradient.
    RAISES (DataError): if the Docs have different vocabs.
    """
    if any(doc.vocab is not docs[0].vocab for doc in docs):
        raise DataError(
            "the Docs of a batch have different vocabs: make all of them with nlp.make_doc or "
            "Doc(nlp.vocab, ...)"
        )
    shim = network_shim(model)
    lengths = [len(doc) for doc in docs]
    inputs: dict[str, Tensor] = {}
    backprops = []
    for name, layer in zip(reader.upstream, model.layers, strict=True):
        vectors, backprop_vectors = layer(docs, True)
        inputs[name] = to_torch(join_vectors(layer, vectors), shim.device).requires_grad_()
        backprops.append((name, backprop_vectors))
    batch = reader.read(docs, shim)
    batch.tokens = inputs
    output, backprop_network = shim.begin_update(batch, dropout)

    def backprop(d_output: list[Floats2d]) -> list[Doc]:
        backprop_network(_to_tensor(d_output, output.shape[1], shim))
        for name, backprop_vectors in backprops:
            gradient = inputs[name].grad
            if gradient is not None:
                backprop_vectors(split_array(to_array(gradient, model.ops), lengths))
        return []

    return split_array(to_array(output, model.ops), lengths), backprop


def begin_encoding(
    model: Model[list[Floats2d], list[Floats2d]], vectors: list[Floats2d], dropout: Dropout
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Floats2d]]]:
    """Run a model of vectors in training.

    model (Model[list[Floats2d], list[Floats2d]]): an initialised model built by `vectors_model`.
    vectors (list[Floats2d]): its input, (n_tokens, width) for each Doc.
    dropout (Dropout): dropout rates.
    RETURNS (tuple[list[Floats2d], Callable]): the output for each Doc, (n_tokens, width), and a
        callback that receives its gradient and returns that of the input.
    """
    shim = network_shim(model)
    lengths = [len(part) for part in vectors]
    joined = _to_tensor(vectors, model.get_dim("nI"), shim).requires_grad_()
    # There are no word embeddings, so no rows of words.
    index = torch.zeros(0, dtype=torch.int64, device=shim.device)
    output, backprop_network = shim.begin_update(
        Batch(lengths, index, tokens={INPUT: joined}), dropout
    )

    def backprop(d_output: list[Floats2d]) -> list[Floats2d]:
        backprop_network(_to_tensor(d_output, output.shape[1], shim))
        gradient = torch.zeros_like(joined) if joined.grad is None else joined.grad
        return split_array(to_array(gradient, model.ops), lengths)

    return split_array(to_array(output, model.ops), lengths), backprop


def differentiate(
    model: Model[Any, Any], logits: list[Floats2d], loss: Callable[[Tensor], Tensor]
) -> tuple[np.ndarray, list[Floats2d], Callable[[], None]]:
    """Compute losses of logits, and the gradients of their sum.

    model (Model): an initialised model built by `BiGRUTagger`. It is not changed.
    logits (list[Floats2d]): logits of each Doc, (n_tokens, n_tags).
    loss (Callable[[Tensor], Tensor]): computes losses, (n_losses,), from the logits of all tokens,
        (n_tokens, n_tags).
    RETURNS (tuple[ndarray, list[Floats2d], Callable]): the losses; the gradients of the logits of
        each Doc; and a callback that accumulates the gradients of the decoder's parameters.
    """
    shim, decoder = network_shim(model), decoder_of(model)
    joined = _to_tensor(logits, shim.network.width, shim).requires_grad_()
    losses = loss(joined)
    parameters = list(decoder.parameters.values())
    # `materialize_grads` returns zeros for parameters that a batch does not use.
    gradient, *d_parameters = torch.autograd.grad(
        losses.sum(), [joined, *parameters], materialize_grads=True
    )

    def backprop() -> None:
        for parameter, d_parameter in zip(parameters, d_parameters, strict=True):
            before = parameter.grad
            parameter.grad = d_parameter if before is None else before + d_parameter

    parts = split_array(to_array(gradient, model.ops), [len(part) for part in logits])
    return losses.detach().cpu().numpy(), parts, backprop


def _to_tensor(arrays: list[Floats2d], width: int, shim: NetworkShim) -> Tensor:
    return to_torch(join_arrays(arrays, width), shim.device)
