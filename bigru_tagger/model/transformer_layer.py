"""The thinc model of a transformer, from Docs to word vectors."""

import itertools
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from spacy.attrs import ORTH
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d
from torch import Tensor

from ..decoding.transitions import to_numpy
from ..embeddings.transformer import TransformerEmbedding
from ..network.transformer import WordTransformer
from .cache import TextCache
from .devices import join_arrays, split_array, to_array, to_torch
from .module_shim import ModuleShim, no_backprop
from .shim import NetworkShim
from .trainer import Trainer

# Steps of a schedule that are searched for its highest rate, as many as spaCy's configs train for.
_STEPS_AHEAD = 20_000


class TransformerShim(ModuleShim):
    """The shim of a `WordTransformer`. The output of a frozen transformer is cached in training."""

    def __init__(
        self,
        embedding: TransformerEmbedding,
        **settings: Any,
    ) -> None:
        """Create a shim without a transformer.

        embedding (TransformerEmbedding): the transformer and its settings.
        **settings: the arguments of `ModuleShim`.
        RAISES (ValueError): if a setting is not valid.
        """
        super().__init__(**settings)
        self.embedding = embedding
        # Enabled by training: a pipeline that only predicts rarely processes a text twice.
        self.cache = TextCache(0)

    @property
    def transformer(self) -> WordTransformer:
        """The transformer.

        RAISES (ValueError): before initialisation.
        """
        return cast(WordTransformer, self.module)

    def predict(self, docs: list[Doc]) -> Tensor:
        """Embed Docs in evaluation mode, without gradient.

        docs (list[Doc]): Docs.
        RETURNS (Tensor): vectors, (n_tokens, width).
        """
        transformer = self.transformer
        if transformer.training:  # `eval` visits all modules
            transformer.eval()
        with torch.no_grad():
            if not self.embedding.trainable:
                return transformer.mix_layers(self._frozen_states(docs))
            with self._predict_autocast():
                return transformer.mix_layers(transformer.pooled_states(_texts(docs)))

    def begin_update(self, docs: list[Doc]) -> tuple[Tensor, Callable[[Tensor], None]]:
        """Embed Docs in training mode.

        docs (list[Doc]): Docs.
        RETURNS (tuple[Tensor, Callable]): vectors, (n_tokens, width), and a callback that receives
            their gradient and accumulates the gradients of the parameters.
        """
        transformer = self.transformer.train()
        if self.embedding.trainable:
            with self._autocast(self.mixed_precision):
                states = transformer.pooled_states(_texts(docs))
        else:
            self.cache.max_bytes = self.embedding.cache_bytes
            states = self._frozen_states(docs)
        vectors = transformer.mix_layers(states)
        return vectors, self._backprop(vectors)

    def _frozen_states(self, docs: list[Doc]) -> Tensor:
        # See `WordTransformer.pooled_states`. The states are identical in training and prediction.
        transformer = self.transformer
        if not docs:
            return transformer.pooled_states([])

        def compute(places: list[int]) -> list[Tensor]:
            chosen = [docs[place] for place in places]
            with torch.no_grad(), self._predict_autocast():
                states = transformer.pooled_states(_texts(chosen))
            return list(states.split([len(doc) for doc in chosen]))

        # Hashes of words do not depend on the vocab.
        keys = [doc.to_array(ORTH).tobytes() for doc in docs]
        changes = sum(tensor._version for tensor in self._encoder_tensors)
        version = (transformer, changes, int(self.predicts_in_bfloat16))
        kept = self.cache.look_up(keys, version, compute)
        return torch.cat([states.to(self.device) for states in kept])

    def _set_module(self, module: torch.nn.Module) -> None:
        super()._set_module(module)
        if not self.embedding.trainable:
            self.transformer.freeze()
        encoder = self.transformer.encoder
        self._encoder_tensors = [*encoder.parameters(), *encoder.buffers()]
        self.cache.clear()

    def _make_trainer(self) -> Trainer:
        return Trainer(self.module, self.optimizer_key, self._parameter_groups)

    def _parameter_groups(self, module: torch.nn.Module, optimizer: Any) -> list[dict[str, Any]]:
        rate = self.embedding.learn_rate
        scale = 1.0 if rate is None else rate / _highest_rate(optimizer)
        encoder = list(self.transformer.encoder.parameters()) if self.embedding.trainable else []
        mix = [] if self.transformer.mix is None else list(self.transformer.mix.parameters())
        groups = [{"params": mix, "rate_scale": 1.0}, {"params": encoder, "rate_scale": scale}]
        return [group for group in groups if group["params"]]

    def settings(self) -> dict[str, Any]:  # noqa: D102
        return {"embedding": self.embedding, **super().settings()}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """See `ModuleShim.arrays`."""
        return {name: to_numpy(tensor) for name, tensor in self.module.state_dict().items()}

    def _write(self) -> bytes:
        return self.transformer.to_bytes()

    def _read(self, data: bytes) -> None:
        self.module = WordTransformer.from_bytes(data)


def transformer_model(
    embedding: TransformerEmbedding, network: NetworkShim
) -> Model[list[Doc], list[Floats2d]]:
    """Build a model from Docs to the vectors of their tokens.

    embedding (TransformerEmbedding): the transformer and its settings.
    network (NetworkShim): the shim of the network that reads the vectors. Its device and precision
        are used.
    RETURNS (Model[list[Doc], list[Floats2d]]): the model, not initialised.
    """
    shim = TransformerShim(embedding, **network.settings())
    return Model("bigru_transformer", _embed, init=_initialise, dims={"nO": None}, shims=[shim])


def _initialise(
    model: Model[list[Doc], list[Floats2d]],
    X: list[Doc] | None = None,  # noqa: N803
    Y: list[Floats2d] | None = None,  # noqa: N803
) -> None:
    shim = cast(TransformerShim, model.shims[0])
    shim.module = shim.embedding.source.load()
    model.set_dim("nO", shim.transformer.width, force=True)


def _embed(
    model: Model[list[Doc], list[Floats2d]],
    X: list[Doc],  # noqa: N803
    is_train: bool,
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Doc]]]:
    shim = cast(TransformerShim, model.shims[0])
    lengths = [len(doc) for doc in X]
    if not is_train:
        vectors = shim.predict(X)
        return split_array(to_array(vectors, model.ops), lengths), no_backprop
    vectors, backprop_vectors = shim.begin_update(X)

    def backprop(d_vectors: list[Floats2d]) -> list[Doc]:
        joined = join_arrays(d_vectors, vectors.shape[1])
        backprop_vectors(to_torch(joined, shim.device))
        return []

    return split_array(to_array(vectors, model.ops), lengths), backprop


def _texts(docs: list[Doc]) -> list[list[str]]:
    return [[token.text for token in doc] for doc in docs]


def _highest_rate(optimizer: Any) -> float:
    # The highest upcoming rate of the schedule of thinc's optimizer. The schedule does not advance.
    schedules = getattr(optimizer, "schedules", {})
    if "learn_rate" not in schedules:
        return float(optimizer.learn_rate) or 1.0
    schedules["learn_rate"], ahead = itertools.tee(schedules["learn_rate"])
    rates = itertools.islice(ahead, _STEPS_AHEAD)
    return float(max(optimizer.learn_rate, max(rates, default=0.0))) or 1.0
