"""thinc models of the network. What only training needs is in `bigru_tagger.model.training`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from ..decoding.decoder import Decoder
from ..decoding.transitions import Array, to_numpy
from ..embeddings.base import Embedding, WordEmbedding
from ..embeddings.tok2vec import Tok2VecEmbedding
from ..embeddings.transformer import TransformerEmbedding
from ..errors import ConfigError, DataError
from ..extras import require
from ..network.dropout import Dropout
from ..runtime.spec import NEW_TAG_MARGIN, Batch, NetworkSpec
from ..stages import EMBED, stage
from .batches import DocReader
from .devices import join_arrays, split_array, to_array, to_torch
from .module_shim import no_backprop
from .shim import NetworkShim

if TYPE_CHECKING:
    from ..network.network import NetworkTrace

INPUT = "input"
"""The name of the only embedding of an encoder that reads vectors."""
# Tokens that are predicted at once, so that memory does not grow with the batch. More are needed to
# use a GPU fully.
_TOKENS_AT_ONCE = 16_384
_GPU_TOKENS_AT_ONCE = 65_536


@dataclass(frozen=True)
class DropoutSettings:
    """Dropout rates of the config. None uses `[training] dropout`."""

    word: float | None
    input: float | None
    hidden: float | None
    recurrent: float | None = 0.0

    def __post_init__(self) -> None:
        """Check the rates.

        RAISES (ValueError): if a rate is negative, or 1 or more.
        """
        for name, rate in vars(self).items():
            if rate is not None and not 0.0 <= rate < 1.0:
                raise ConfigError(f"{name}_dropout must be at least 0 and below 1; got {rate}")

    def rates(self, training_dropout: float) -> Dropout:
        """Return the rates of a training step.

        training_dropout (float): the rate that spaCy passes.
        RETURNS (Dropout): the rates, where `training_dropout` replaces None.
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
    """Build a model from Docs to logits, or to hidden states.

    name (str): "bigru_tagger" for logits. Models with other names return hidden states.
    embed (dict[str, Embedding | None]): embeddings by name. None is ignored.
    spec (NetworkSpec): the network's structure. Initialisation sets `embed` and `n_tags`.
    dropout (DropoutSettings): dropout rates.
    shim (NetworkShim): an empty shim for the network.
    by_sentence (bool): encode each sentence separately; otherwise each Doc.
    n_out (int | None): width of the output, if known.
    RETURNS (Model[list[Doc], list[Floats2d]]): the model, not initialised.
    RAISES (ValueError): if `embed` has no embedding, or a value that is not an embedding; or if
        recurrent dropout is set for an LSTM.
    """
    _check_recurrent_dropout(spec, dropout)
    embed = {block: embedding for block, embedding in embed.items() if embedding is not None}
    for block, embedding in embed.items():
        if not isinstance(embedding, Embedding):
            raise ConfigError(
                f"[...model.embed.{block}] must be an embedding, such as @misc = "
                f'"bigru_tagger.HashEmbed.v1"; got {embedding!r}'
            )
    if not embed:
        raise ConfigError("'embed' must contain at least one embedding")
    upstream = {}
    for block, embedding in embed.items():
        if isinstance(embedding, Tok2VecEmbedding):
            upstream[block] = embedding.tok2vec
        elif isinstance(embedding, TransformerEmbedding):
            from .transformer_layer import transformer_model  # noqa: PLC0415 - imports torch

            upstream[block] = transformer_model(embedding, shim)
    words = {
        name: embedding for name, embedding in embed.items() if isinstance(embedding, WordEmbedding)
    }
    reader = DocReader(words, by_sentence, tuple(upstream))
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
    spec (NetworkSpec): the network's structure. `embed` is replaced.
    dropout (DropoutSettings): dropout rates.
    shim (NetworkShim): an empty shim for the network.
    RETURNS (Model[list[Floats2d], list[Floats2d]]): the model, not initialised.
    RAISES (ValueError): if recurrent dropout is set for an LSTM.
    """
    _check_recurrent_dropout(spec, dropout)
    spec = replace(spec, embed={INPUT: {"kind": "tok2vec", "width": width}})
    return Model(
        name,
        partial(_encode, dropout=dropout),
        init=partial(_initialise_encoder, spec=spec),
        dims={"nI": width, "nO": width},
        attrs={"dropout_rate": 0.0},
        shims=[shim],
    )


def network_shim(model: Model[Any, Any]) -> NetworkShim:
    """Return the shim of a model.

    model (Model): a model built by `docs_model` or `vectors_model`.
    RETURNS (NetworkShim): its shim.
    """
    return cast(NetworkShim, model.shims[0])


def network_shims(nlp: Language) -> dict[str, NetworkShim]:
    """Find the networks of this package in a pipeline.

    nlp (Language): the pipeline.
    RETURNS (dict[str, NetworkShim]): their shims, by the name of the component.
    """
    models = {name: getattr(pipe, "model", None) for name, pipe in nlp.pipeline}
    return {
        name: network_shim(model)
        for name, model in models.items()
        if model is not None and "trace" in model.attrs
    }


def resize_output(
    model: Model[Any, Any], n_tags: int, margin: float = NEW_TAG_MARGIN
) -> Model[Any, Any]:
    """Add tags, see `Network.resize`. A model that is not initialised does not change.

    model (Model): a model built by `BiGRUTagger`.
    n_tags (int): the new number of tags. New tags follow the old ones.
    margin (float): see `Network.resize`.
    RETURNS (Model): the model.
    """
    shim = network_shim(model)
    if shim.is_initialised:
        shim.resize(n_tags, margin)
        model.set_dim("nO", n_tags, force=True)
    return model


def trace(model: Model[list[Doc], list[Floats2d]], docs: list[Doc]) -> "NetworkTrace":
    """Compute the gates of the network and the parts of its logits, for each token.

    model (Model[list[Doc], list[Floats2d]]): an initialised model built by `docs_model`.
    docs (list[Doc]): at least one Doc.
    RETURNS (NetworkTrace): the values for all tokens of the concatenated Docs.
    RAISES (ValueError): if the cell is not a GRU.
    """
    return cast("NetworkTrace", model.attrs["trace"](model, docs))


def predict_runs(
    model: Model[list[Doc], list[Floats2d]], docs: list[Doc]
) -> Iterator[tuple[list[Doc], Array]]:
    """Predict Docs in runs with a limited number of tokens, to limit memory.

    model (Model[list[Doc], list[Floats2d]]): an initialised model built by `docs_model`.
    docs (list[Doc]): the Docs.
    YIELDS (tuple[list[Doc], Array]): the Docs of a run, and the output for all of their tokens,
        float32 (n_tokens, width): a tensor on a CUDA device, otherwise a NumPy array.
    """
    for run, output in model.attrs["predict_runs"](model, docs):
        on_gpu = getattr(output, "is_cuda", False)
        yield run, output if on_gpu else to_numpy(output)


def decoder_of(model: Model[Any, Any]) -> Decoder:
    """Return the decoder of a model.

    model (Model): an initialised model built by `BiGRUTagger`.
    RETURNS (Decoder): the decoder.
    RAISES (ValueError): if the model is not initialised.
    """
    return network_shim(model).decoder


def _check_recurrent_dropout(spec: NetworkSpec, dropout: DropoutSettings) -> None:
    # Checked when the model is built. The network would only fail at the first training step.
    if spec.cell != "gru" and dropout.recurrent != 0.0:
        raise ConfigError(
            f'recurrent_dropout needs cell = "gru": with cell = "{spec.cell}", set '
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
        raise DataError(
            f"cannot initialise the model {model.name!r} without Docs, which determine the width "
            "of its input: pass examples to nlp.initialize()"
        )
    require("torch", "training", "train")
    from .training import initialise  # noqa: PLC0415 - imports torch

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
    tables = {name: embedding.tensors(X[0].vocab) for name, embedding in present.items()}
    initialise(network_shim(model), replace(spec, embed=embed, n_tags=n_tags), tables)


def _set_width(model: Model[Any, Any], width: int) -> None:
    if model.has_dim("nO") and model.get_dim("nO") != width:
        raise ConfigError(
            f"the model was built for nO = {model.get_dim('nO')} tags, but the labels need "
            f"{width}: set nO to null, or create a new component"
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
    if not is_train:
        outputs = [
            array
            for docs, output in _predict_runs(model, X, reader=reader)
            for array in split_array(to_array(output, model.ops), [len(doc) for doc in docs])
        ]
        return outputs, no_backprop
    from .training import begin_update  # noqa: PLC0415 - imports torch

    return begin_update(model, X, reader, dropout.rates(model.attrs["dropout_rate"]))


def _predict_runs(
    model: Model[list[Doc], list[Floats2d]], docs: list[Doc], *, reader: DocReader
) -> Iterator[tuple[list[Doc], Array]]:
    shim = network_shim(model)
    n_tokens = _TOKENS_AT_ONCE if shim.device == "cpu" else _GPU_TOKENS_AT_ONCE
    for run in _runs(docs, n_tokens):
        if not any(map(len, run)):
            yield run, np.zeros((0, model.get_dim("nO")), np.float32)
            continue
        batch = reader.read_prepared(run, shim)
        batch.tokens = _predict_upstream(model, run, reader, shim.convert)
        yield run, shim.predict(batch)


@stage(EMBED)
def _predict_upstream(
    model: Model[list[Doc], list[Floats2d]],
    docs: list[Doc],
    reader: DocReader,
    convert: Callable[[Any], Array],
) -> dict[str, Array]:
    # The vectors of all tokens, (n_tokens, width), by the embedding's name.
    return {
        name: convert(join_vectors(layer, layer.predict(docs)))
        for name, layer in zip(reader.upstream, model.layers, strict=True)
    }


def join_vectors(layer: Model[list[Doc], list[Floats2d]], vectors: list[Floats2d]) -> np.ndarray:
    """Concatenate the output of an encoder.

    layer (Model[list[Doc], list[Floats2d]]): the encoder, or the listener of one.
    vectors (list[Floats2d]): its output, (n_tokens, width) for each Doc.
    RETURNS (ndarray): float32 (n_tokens, width).
    RAISES (ValueError): if the width is not the one that the layer declares.
    """
    width = layer.get_dim("nO")
    other = next((part.shape[1] for part in vectors if len(part) and part.shape[1] != width), None)
    if other is not None:
        raise ConfigError(
            f"the encoder's output has the width {other}, but {layer.name} has width = {width}: "
            f"set `width` of the listener to {other}. The width of a bigru_tagger.BiGRUTok2Vec.v1 "
            "with two directions is twice its `hidden`"
        )
    return join_arrays(vectors, width)


def _trace(
    model: Model[list[Doc], list[Floats2d]], docs: list[Doc], *, reader: DocReader
) -> "NetworkTrace":
    shim = network_shim(model)
    batch = reader.read(docs, shim)
    batch.tokens = _predict_upstream(model, docs, reader, partial(to_torch, device=shim.device))
    return shim.trace(batch)


def _runs(docs: list[Doc], n_tokens: int) -> Iterator[list[Doc]]:
    # Consecutive Docs of one vocab, which defines the features of words, with at most `n_tokens`
    # tokens in total, unless a single Doc has more.
    run: list[Doc] = []
    size = 0
    for doc in docs:
        if run and (size + len(doc) > n_tokens or doc.vocab is not run[0].vocab):
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
    require("torch", "training", "train")
    from .training import initialise  # noqa: PLC0415 - imports torch

    initialise(network_shim(model), spec, {})


def _encode(
    model: Model[list[Floats2d], list[Floats2d]],
    X: list[Floats2d],  # noqa: N803
    is_train: bool,
    *,
    dropout: DropoutSettings,
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Floats2d]]]:
    if not is_train:
        shim = network_shim(model)
        lengths = [len(x) for x in X]
        vectors = shim.convert(join_arrays(X, model.get_dim("nI")))
        # There are no word embeddings, so no rows of words.
        index = shim.convert(np.zeros(0, dtype=np.int64))
        output = shim.predict(Batch(lengths, index, tokens={INPUT: vectors}))
        return split_array(to_array(output, model.ops), lengths), no_backprop
    from .training import begin_encoding  # noqa: PLC0415 - imports torch

    return begin_encoding(model, X, dropout.rates(model.attrs["dropout_rate"]))
