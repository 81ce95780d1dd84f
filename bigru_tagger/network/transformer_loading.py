"""Load a transformer of the hub or of a folder, and say plainly what is wrong where that fails.

`transformers` is imported where it is needed, not before: that takes seconds.
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

from .transformer import Pooling, TransformerSpec, WordTransformer

# Where neither the model nor its tokenizer names a maximum, as with relative positions.
_DEFAULT_WINDOW = 512
# Tokenizers that know no maximum give a number with thirty digits for it.
_NO_MAXIMUM = 10**9


@dataclass(frozen=True)
class PretrainedTransformer:
    """A transformer by name, and how to read it.

    name (str): an encoder of the hub, or a folder that `save_pretrained` wrote.
    revision (str | None): a branch, tag or commit of the hub; None for the newest.
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

        RAISES (ValueError): if one does not fit.
        """
        if self.pooling not in get_args(Pooling):
            raise ValueError(
                f"TransformerEmbed: 'pooling' has to be one of {list(get_args(Pooling))}; got "
                f"{self.pooling!r}"
            )
        if self.layers < 1 or self.overlap < 0 or (self.window is not None and self.window < 1):
            raise ValueError(
                "TransformerEmbed: 'layers' has to be at least 1, 'overlap' at least 0, and "
                f"'window' positive, or null; got layers = {self.layers}, overlap = "
                f"{self.overlap}, window = {self.window}"
            )

    def load(self) -> WordTransformer:
        """Load model and tokenizer, from the network only if they are in no folder or cache.

        RETURNS (WordTransformer): the transformer, in float32 on the CPU.
        RAISES (ValueError): if the name cannot be reached, the folder lacks something, the
            tokenizer is none of the fast ones, the model is no encoder, or a setting does not fit
            it.
        """
        with quiet_unless_terminal():
            tokenizer = self._load_tokenizer()
            encoder = self._load_encoder()
        n_states, width = self._probe(encoder)
        if self.layers > n_states:
            raise ValueError(
                f"TransformerEmbed: layers = {self.layers}, but {self.name} has {n_states - 1} "
                f"layers and what it reads at the bottom: 'layers' can be up to {n_states}"
            )
        n_rows = encoder.get_input_embeddings().weight.shape[0]
        backend = tokenizer.backend_tokenizer
        highest = max(backend.get_vocab(with_added_tokens=True).values())
        if highest >= n_rows:
            raise ValueError(
                f"{self.name}: the tokenizer has sub-words up to number {highest}, but the model "
                f"has vectors for {n_rows}: they do not belong together"
            )
        # Files often come with the limits of some use of theirs.
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
            raise ValueError(
                f"{self.name}: its tokenizer, {type(tokenizer).__name__}, is none of the fast ones "
                "and cannot tell which sub-words belong to which word: take a transformer that "
                "has a tokenizer.json"
            )
        if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
            raise ValueError(
                f"{self.name}: there is no tokenizer beside the model. Write it there with "
                "tokenizer.save_pretrained(folder)"
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
        # The pooler is for the first sub-word alone, and many folders come without.
        missing = [name for name in loaded["missing_keys"] if not name.startswith("pooler.")]
        if missing or loaded["mismatched_keys"]:
            raise ValueError(
                f"{self.name}: the weights do not fit the model {type(encoder).__name__}; there "
                f"are none for {', '.join(sorted(missing)[:5]) or loaded['mismatched_keys']}"
            )
        return encoder.float()

    def _probe(self, encoder: Any) -> tuple[int, int]:
        # How many states there are of a sub-word, and how wide; the model tells by itself.
        if getattr(encoder.config, "is_encoder_decoder", False):
            raise ValueError(
                f"{self.name} is an encoder with a decoder ({type(encoder).__name__}): take a "
                "transformer that is an encoder alone, such as those of BERT's kind"
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
        except Exception as error:  # of models of any kind, such as those of images
            raise ValueError(
                f"{self.name}: a {type(encoder).__name__} puts out no hidden states for text: "
                f"{error}"
            ) from error
        shapes = {tuple(layer.shape) for layer in states[-self.layers :]}
        width = states[-1].shape[-1]
        if shapes != {(1, 2, width)}:
            raise ValueError(
                f"{self.name}: a {type(encoder).__name__} does not put out one vector of one width "
                f"per sub-word and layer; for two sub-words, it gave {sorted(shapes)}"
            )
        return len(states), width

    def _choose_window(self, encoder: Any, tokenizer: Any) -> int:
        limit = max_sub_words(encoder, tokenizer)
        if limit is not None and self.window is not None and self.window > limit:
            raise ValueError(
                f"TransformerEmbed: window = {self.window}, but {self.name} reads no more than "
                f"{limit} sub-words at once: set 'window' to that, or null"
            )
        window = self.window or limit or _DEFAULT_WINDOW
        n_special = tokenizer.backend_tokenizer.num_special_tokens_to_add(is_pair=False)
        if self.overlap >= window - n_special:
            raise ValueError(
                f"TransformerEmbed: a window of {window} sub-words, {n_special} of them special "
                f"ones of the model, has no room for an 'overlap' of {self.overlap} and more: make "
                "'window' larger or 'overlap' smaller"
            )
        return window

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # tokenizers raises nothing more special
            raise ValueError(
                f"cannot load the {what} of {self.name!r}: {reason_of(error)}. {self._advice()}"
            ) from error

    def _advice(self) -> str:
        folder = Path(self.name)
        if folder.is_dir():
            files = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
            return (
                f"The folder holds {files}. It needs a config.json, the weights and a "
                "tokenizer.json, as model.save_pretrained(folder) and "
                "tokenizer.save_pretrained(folder) write them"
            )
        return (
            "It is no folder here, and as a name of the hub it cannot be reached. Check the "
            "spelling and the network, or download it elsewhere (hf download NAME --local-dir "
            "FOLDER), and give that folder"
        )


def max_sub_words(encoder: Any, tokenizer: Any) -> int | None:
    """Find the number of sub-words that a transformer reads at once.

    encoder (Any): a model of `transformers`, with a head or without.
    tokenizer (Any): its tokenizer.
    RETURNS (int | None): the number, with the special ones; None where neither has a maximum.
    """
    positions = getattr(encoder.config, "max_position_embeddings", None) or 0
    for name, module in encoder.named_modules():
        # RoBERTa and its like count positions from behind that of the padding.
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            positions -= 0 if module.padding_idx is None else module.padding_idx + 1
    limits = [positions, tokenizer.model_max_length]
    return min((limit for limit in limits if 0 < limit < _NO_MAXIMUM), default=None)


def reason_of(error: Exception) -> str:
    """Describe why `transformers` could not load something.

    error (Exception): what it raised.
    RETURNS (str): one line, without a full stop at its end.
    """
    if "trust_remote_code" in str(error):
        return (
            "it brings code of its own, which is never run: take a model of a kind that "
            "transformers has itself"
        )
    return " ".join(str(error).split()).rstrip(".")


@contextmanager
def quiet_unless_terminal() -> Iterator[None]:
    """Switch the progress bars of `transformers` off where standard error is not a terminal."""
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415 - takes seconds

    if sys.stderr.isatty() or not transformers_logging.is_progress_bar_enabled():
        yield
        return
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.enable_progress_bar()
