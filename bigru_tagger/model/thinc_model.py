"""thinc models around the torch network: arrays in, arrays out, gradients back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import Model, Ops
from thinc.types import Floats2d
from torch import Tensor

from ..network.crf import CRF
from ..network.encoder import Dropout
from ..network.network import NEW_TAG_MARGIN, Batch, Network, NetworkSpec, NetworkTrace
from ..network.transitions import Array, Transitions
from ..stages import EMBED, stage
from .batches import read_batch, read_prepared
from .devices import join_arrays, split_array, to_array, to_torch
from .features import Embedding, UpstreamTok2Vec, WordEmbedding
from .shim import NetworkShim, no_backprop
from .transformer_layer import TransformerShim

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
    """Build a model from Docs to emissions, or to hidden states.

    name (str): "bigru_tagger" for emissions; other models put out hidden states.
    embed (Dict[str, Optional[Embedding]]): embeddings by name; None leaves one out.
    spec (NetworkSpec): the network's shape but for `embed` and `n_tags`, which initialisation adds.
    dropout (DropoutSettings): dropout rates.
    shim (NetworkShim): holds the network.
    by_sentence (bool): encode sentence by sentence.
    n_out (Optional[int]): width of the output where it is known.
    RETURNS (Model[List[Doc], List[Floats2d]]): the model, not initialised.
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
    upstream = {
        name: embedding.tok2vec
        for name, embedding in embed.items()
        if isinstance(embedding, UpstreamTok2Vec)
    }
    for layer in upstream.values():
        for upstream_shim in layer.shims:
            if isinstance(upstream_shim, TransformerShim):
                upstream_shim.follow(shim)
    words = {
        name: embedding for name, embedding in embed.items() if isinstance(embedding, WordEmbedding)
    }
    reading: dict[str, Any] = {
        "words": words,
        "upstream": list(upstream),
        "by_sentence": by_sentence,
        "with_groups": spec.occurrences > 0 or spec.global_context > 0,
    }
    model: Model[list[Doc], list[Floats2d]] = Model(
        name,
        partial(_tag, dropout=dropout, **reading),
        init=partial(_initialise, words=words, upstream=list(upstream), spec=spec),
        dims={"nO": n_out},
        attrs={
            "dropout_rate": 0.0,
            "resize_output": resize_output,
            "trace": partial(_trace, **reading),
            "predict_runs": partial(_predict_runs, **reading),
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
    RETURNS (Model[List[Floats2d], List[Floats2d]]): the model, not initialised.
    RAISES (ValueError): if an LSTM is asked for recurrent dropout.
    """
    _check_recurrent_dropout(spec, dropout)
    spec = replace(spec, embed={_INPUT: {"kind": "dense", "width": width}})
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

    model (Model[List[Doc], List[Floats2d]]): a model of `docs_model`, initialised.
    docs (List[Doc]): at least one Doc.
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


def crf_of(model: Model[Any, Any]) -> CRF | None:
    """Give the CRF of a model's network.

    model (Model): a model of `BiGRUTagger`.
    RETURNS (Optional[CRF]): the CRF; None without one, as before initialisation.
    """
    shim = network_shim(model)
    return shim.network.crf if shim.is_initialised else None


def crf_loss(
    crf: CRF, scores: list[Floats2d], tags: np.ndarray, legal: Transitions, ops: Ops
) -> tuple[np.ndarray, list[Floats2d], Callable[[], None]]:
    """Compute the negative log likelihood of gold tags, divided by the number of gold tags.

    crf (CRF): the network's CRF, which is left as it is.
    scores (List[Floats2d]): emissions of each Doc.
    tags (ndarray): gold tag of each token, -1 where it is missing, int64 (n_tokens,).
    legal (Transitions): scores to add to the learned transitions.
    ops (Ops): thinc's operations.
    RETURNS (Tuple[ndarray, List[Floats2d], Callable]): each Doc's share in the loss, infinite if
        its gold tags are illegal; the gradient of their sum with respect to the emissions; and a
        function that adds the one with respect to the transitions to the network's gradients.
    """
    lengths = [len(part) for part in scores]
    # On the CPU, since this is in double precision, and a long chain of small steps.
    cpu = torch.device("cpu")
    emissions = to_torch(ops.xp.concatenate(scores), cpu).requires_grad_()
    losses = crf.nll(emissions, to_torch(tags, cpu), lengths, legal) / max(
        int((tags >= 0).sum()), 1
    )
    parameters = list(crf.parameters())
    # One-token sequences have no transition between tags: materialised, its gradient is zero.
    gradient, *d_parameters = torch.autograd.grad(
        losses.sum(), [emissions, *parameters], materialize_grads=True
    )

    def backprop() -> None:
        for parameter, d_parameter in zip(parameters, d_parameters, strict=True):
            before = parameter.grad
            parameter.grad = d_parameter if before is None else before + d_parameter

    return losses.detach().numpy(), split_array(to_array(gradient, ops), lengths), backprop


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
    specs = {name: embedding.network_spec(X[0].vocab) for name, embedding in words.items()}
    embed = {name: described for name, described in specs.items() if described is not None}
    present = {name: words[name] for name in embed}
    for name, layer in zip(upstream, model.layers, strict=True):
        layer.initialize(X=X)
        embed[name] = {"kind": "dense", "width": int(layer.get_dim("nO"))}
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
    words: dict[str, WordEmbedding],
    upstream: list[str],
    dropout: DropoutSettings,
    by_sentence: bool,
    with_groups: bool,
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Doc]]]:
    shim = network_shim(model)
    settings: dict[str, Any] = {"by_sentence": by_sentence, "with_groups": with_groups}
    if not is_train:
        runs = _predict_runs(model, X, words=words, upstream=upstream, **settings)
        outputs = [
            own
            for docs, output in runs
            for own in split_array(to_array(output, model.ops), [len(doc) for doc in docs])
        ]
        return outputs, no_backprop
    lengths = [len(doc) for doc in X]
    inputs, backprops = {}, []
    for name, layer in zip(upstream, model.layers, strict=True):
        vectors, backprop_vectors = layer(X, True)
        inputs[name] = join_arrays(vectors, shim.device, layer.get_dim("nO")).requires_grad_()
        backprops.append((name, backprop_vectors))
    batch = read_batch(X, words, shim, **settings)
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
    model: Model[list[Doc], list[Floats2d]],
    docs: list[Doc],
    *,
    words: dict[str, WordEmbedding],
    upstream: list[str],
    by_sentence: bool,
    with_groups: bool,
) -> Iterator[tuple[list[Doc], Tensor]]:
    shim = network_shim(model)
    n_tokens = _TOKENS_AT_ONCE if shim.device.type == "cpu" else _GPU_TOKENS_AT_ONCE
    for run in _runs(docs, n_tokens):
        batch = read_prepared(run, words, shim, by_sentence=by_sentence, with_groups=with_groups)
        batch.tokens = _predict_upstream(model, run, upstream)
        yield run, shim.predict(batch).float()


def _trace(
    model: Model[list[Doc], list[Floats2d]],
    docs: list[Doc],
    *,
    words: dict[str, WordEmbedding],
    upstream: list[str],
    by_sentence: bool,
    with_groups: bool,
) -> NetworkTrace:
    shim = network_shim(model)
    batch = read_batch(docs, words, shim, by_sentence=by_sentence, with_groups=with_groups)
    batch.tokens = _predict_upstream(model, docs, upstream)
    return shim.trace(batch)


@stage(EMBED)
def _predict_upstream(
    model: Model[list[Doc], list[Floats2d]], docs: list[Doc], upstream: list[str]
) -> dict[str, Tensor]:
    return {
        name: join_arrays(layer.predict(docs), network_shim(model).device, layer.get_dim("nO"))
        for name, layer in zip(upstream, model.layers, strict=True)
    }


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
