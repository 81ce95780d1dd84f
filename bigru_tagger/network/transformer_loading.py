"""Load a transformer from the Hugging Face hub or from a folder.

`transformers` is only imported where it is needed, since the import takes seconds.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from ..errors import ConfigError, ModelError
from ..runtime.spec import Pooling
from .transformer import TransformerSpec, WordTransformer

# If neither the model nor its tokenizer has a maximum, as with relative positions.
_DEFAULT_WINDOW = 512
# Tokenizers without a maximum report a number of thirty digits.
_NO_MAXIMUM = 10**9


@dataclass(frozen=True)
class PretrainedTransformer:
    """The name of a transformer, and the settings of its `WordTransformer`.

    name (str): an encoder on the hub, or a folder written by `save_pretrained`.
    revision (str | None): a branch, tag or commit on the hub; None for the newest.
    pooling (str): see `TransformerSpec`.
    layers (int): see `TransformerSpec`.
    window (int | None): see `TransformerSpec`; None for the model's maximum.
    overlap (int): see `TransformerSpec`.
    """

    name: str
    revision: str | None
    pooling: Pooling
    layers: int
    window: int | None
    overlap: int

    def __post_init__(self) -> None:
        """Check the settings.

        RAISES (ValueError): if a setting is out of range.
        """
        if self.pooling not in get_args(Pooling):
            raise ConfigError(
                f"TransformerEmbed: 'pooling' must be one of {list(get_args(Pooling))}; got "
                f"{self.pooling!r}"
            )
        if self.layers < 1 or self.overlap < 0 or (self.window is not None and self.window < 1):
            raise ConfigError(
                "TransformerEmbed: 'layers' must be at least 1, 'overlap' at least 0, and "
                f"'window' positive, or null; got layers = {self.layers}, overlap = "
                f"{self.overlap}, window = {self.window}"
            )

    def load(self) -> WordTransformer:
        """Load the model and its tokenizer: from a folder, the local cache, or the hub.

        RETURNS (WordTransformer): the transformer, in float32 on the CPU.
        RAISES (ValueError): if the model or tokenizer cannot be loaded, the tokenizer is not a
            fast one, the model is not an encoder, or a setting does not fit the model.
        """
        with quiet_unless_terminal():
            tokenizer = self._load_tokenizer()
            encoder = self._load_encoder()
        n_states, width = self._probe(encoder)
        if self.layers > n_states:
            raise ConfigError(
                f"TransformerEmbed: layers = {self.layers}, but {self.name} has {n_states - 1} "
                f"layers and an embedding layer: 'layers' can be at most {n_states}"
            )
        n_rows = encoder.get_input_embeddings().weight.shape[0]
        backend = tokenizer.backend_tokenizer
        highest = max(backend.get_vocab(with_added_tokens=True).values())
        if highest >= n_rows:
            raise ConfigError(
                f"{self.name}: the tokenizer has sub-words up to number {highest}, but the model "
                f"has vectors for {n_rows}: they do not belong together"
            )
        # Files often contain the truncation and padding of some application.
        backend.no_truncation()
        backend.no_padding()
        spec = TransformerSpec(
            encoder=json.loads(encoder.config.to_json_string(use_diff=False)),
            width=width,
            pooling=self.pooling,
            layers=self.layers,
            window=self._choose_window(encoder, tokenizer),
            overlap=self.overlap,
        )
        return WordTransformer(encoder, backend, spec)

    def _load_tokenizer(self) -> Any:
        from transformers import AutoTokenizer  # noqa: PLC0415 - takes seconds

        with self._explained("tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(
                self.name, revision=self.revision, trust_remote_code=False, use_fast=True
            )
        if not getattr(tokenizer, "is_fast", False):
            raise ConfigError(
                f"{self.name}: its tokenizer, {type(tokenizer).__name__}, is not a fast tokenizer "
                "and cannot map sub-words to words: use a transformer that has a tokenizer.json"
            )
        if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
            raise ConfigError(
                f"{self.name}: there is no tokenizer in the folder of the model. Write it there "
                "with tokenizer.save_pretrained(folder)"
            )
        return tokenizer

    def _load_encoder(self) -> Any:
        from transformers import AutoModel  # noqa: PLC0415 - takes seconds

        with self._explained("model"):
            encoder, loaded = AutoModel.from_pretrained(
                self.name,
                revision=self.revision,
                trust_remote_code=False,
                output_loading_info=True,
            )
        # The pooler is not used, and many folders do not contain its weights.
        missing = [name for name in loaded["missing_keys"] if not name.startswith("pooler.")]
        if missing or loaded["mismatched_keys"]:
            raise ConfigError(
                f"{self.name}: the weights do not fit the model {type(encoder).__name__}; there "
                f"are none for {', '.join(sorted(missing)[:5]) or loaded['mismatched_keys']}"
            )
        return encoder.float()

    def _probe(self, encoder: Any) -> tuple[int, int]:
        # The number of states per sub-word and their width, from a forward pass.
        if getattr(encoder.config, "is_encoder_decoder", False):
            raise ConfigError(
                f"{self.name} is an encoder with a decoder ({type(encoder).__name__}): use a "
                "transformer that is only an encoder, such as BERT"
            )
        ids = torch.zeros((1, 2), dtype=torch.int64)
        try:
            with torch.inference_mode():
                output = encoder.eval()(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    output_hidden_states=True,
                    return_dict=True,
                )
            states = [*output.hidden_states[:-1], output.last_hidden_state]
        except Exception as error:  # any error of any kind of model, such as one for images
            raise ModelError(
                f"{self.name}: a {type(encoder).__name__} returns no hidden states for text: "
                f"{error}"
            ) from error
        shapes = {tuple(layer.shape) for layer in states[-self.layers :]}
        width = states[-1].shape[-1]
        if shapes != {(1, 2, width)}:
            raise ModelError(
                f"{self.name}: a {type(encoder).__name__} does not return one vector of one width "
                f"per sub-word and layer; for two sub-words, it returned {sorted(shapes)}"
            )
        return len(states), width

    def _choose_window(self, encoder: Any, tokenizer: Any) -> int:
        limit = max_sub_words(encoder, tokenizer)
        if limit is not None and self.window is not None and self.window > limit:
            raise ConfigError(
                f"TransformerEmbed: window = {self.window}, but {self.name} reads at most "
                f"{limit} sub-words at once: set 'window' to that, or to null"
            )
        window = self.window or limit or _DEFAULT_WINDOW
        n_special = tokenizer.backend_tokenizer.num_special_tokens_to_add(is_pair=False)
        if self.overlap >= window - n_special:
            raise ConfigError(
                f"TransformerEmbed: an 'overlap' of {self.overlap} is too large for a window of "
                f"{window} sub-words with {n_special} special tokens: make 'window' larger or "
                "'overlap' smaller"
            )
        return window

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # tokenizers raises plain exceptions
            raise ModelError(
                f"cannot load the {what} of {self.name!r}: {reason_of(error)}. {self._advice()}"
            ) from error

    def _advice(self) -> str:
        folder = Path(self.name)
        if folder.is_dir():
            files = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
            return (
                f"The folder contains {files}. It needs a config.json, the weights and a "
                "tokenizer.json, as written by model.save_pretrained(folder) and "
                "tokenizer.save_pretrained(folder)"
            )
        return (
            "There is no such folder, and the model cannot be loaded from the hub. Check the "
            "spelling and the network connection, or download the model elsewhere (hf download "
            "NAME --local-dir FOLDER) and use the path of that folder"
        )


def max_sub_words(encoder: Any, tokenizer: Any) -> int | None:
    """Find the maximum number of sub-words that a transformer can read at once.

    encoder (Any): a model of `transformers`, with or without a head.
    tokenizer (Any): its tokenizer.
    RETURNS (int | None): the number, including special tokens; None if neither has a maximum.
    """
    positions = getattr(encoder.config, "max_position_embeddings", None) or 0
    for name, module in encoder.named_modules():
        # RoBERTa and related models number positions from the one after the padding's.
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            positions -= 0 if module.padding_idx is None else module.padding_idx + 1
    limits = [positions, tokenizer.model_max_length]
    return min((limit for limit in limits if 0 < limit < _NO_MAXIMUM), default=None)


def reason_of(error: Exception) -> str:
    """Describe why `transformers` could not load something.

    error (Exception): the error that it raised.
    RETURNS (str): one line without a final full stop.
    """
    if "trust_remote_code" in str(error):
        return (
            "it contains its own code, which is never run: use a model type that is built into "
            "transformers"
        )
    return " ".join(str(error).split()).rstrip(".")


@contextmanager
def quiet_unless_terminal() -> Iterator[None]:
    """Disable the progress bars of `transformers` if standard error is not a terminal."""
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415 - takes seconds

    if sys.stderr.isatty() or not transformers_logging.is_progress_bar_enabled():
        yield
        return
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.enable_progress_bar()
