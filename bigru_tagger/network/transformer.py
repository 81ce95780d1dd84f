"""Word vectors from a transformer, in plain PyTorch: windows, layers, pooling. No spaCy.

`transformers` and `tokenizers` are only imported to load a saved transformer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..decoding.transitions import to_numpy
from ..errors import ModelError
from ..runtime.spec import Pooling
from ..runtime.storage import Weights, pack_arrays, unpack_arrays
from .meta import on_meta

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# A key in saved files. It does not change when this module is renamed.
_SPEC = "bigru_tagger.transformer"
_TOKENIZER = "tokenizer"
# Sub-words per call of the encoder, with padding, so that memory does not grow with the batch.
_AT_ONCE = 4096


@dataclass(frozen=True)
class TransformerSpec:
    """The structure of a `WordTransformer`.

    encoder (Mapping[str, Any]): the configuration of the transformer, in the format of
        `transformers`.
    width (int): width of its hidden states.
    pooling (str): how a word's vector is computed from its sub-words: the "first", the "last", or
        the "mean" of all.
    layers (int): number of layers to mix, counted from the last.
    window (int): number of sub-words per window, including special tokens.
    overlap (int): minimum number of sub-words that neighbouring windows share.
    """

    encoder: Mapping[str, Any]
    width: int
    pooling: Pooling
    layers: int
    window: int
    overlap: int


class Window(NamedTuple):
    """A window of a text. Ends are exclusive.

    begin (int): start of the window.
    end (int): end of the window.
    first (int): start of the sub-words whose vectors are taken from this window.
    stop (int): end of these sub-words.
    """

    begin: int
    end: int
    first: int
    stop: int


class SubWords(NamedTuple):
    """The sub-words of a text.

    before (list[int]): special tokens at the start of each window, such as `[CLS]`.
    ids (list[int]): the sub-words.
    words (list[int]): index of each sub-word's word, ascending.
    after (list[int]): special tokens at the end of each window, such as `[SEP]`.
    """

    before: list[int]
    ids: list[int]
    words: list[int]
    after: list[int]

    @classmethod
    def of(cls, ids: list[int], words: Sequence[int | None]) -> "SubWords":
        """Split the output of a tokenizer.

        ids (list[int]): the sub-words, with special tokens at both ends.
        words (Sequence[int | None]): index of each sub-word's word, None for a special token.
        RETURNS (SubWords): the parts. All are empty if no sub-word belongs to a word.
        """
        places = [place for place, word in enumerate(words) if word is not None]
        if not places:
            return cls([], [], [], [])
        begin, end = places[0], places[-1] + 1
        owners = [word for word in words if word is not None]
        return cls(ids[:begin], ids[begin:end], owners, ids[end:])


def split_windows(n_sub_words: int, size: int, overlap: int) -> list[Window]:
    """Split a text into the smallest number of overlapping windows, evenly spaced.

    The vector of a sub-word is taken from the window where it is farthest from the edge. So its
    context on each side is at least half of the overlap, or extends to the end of the text.

    n_sub_words (int): length of the text.
    size (int): number of sub-words per window.
    overlap (int): minimum number of sub-words that neighbouring windows share, below `size`.
    RETURNS (list[Window]): the windows; a single one if the text fits into it.
    """
    gaps = max(-(-(n_sub_words - size) // (size - overlap)), 0)
    begins = [0, *(i * (n_sub_words - size) // gaps for i in range(1, gaps + 1))]
    ends = [min(begin + size, n_sub_words) for begin in begins]
    # All windows have the same length, so the middle of an overlap is equally far from both edges.
    middles = [(begin + end) // 2 for begin, end in zip(begins[1:], ends, strict=False)]
    bounds = zip([0, *middles], [*middles, n_sub_words], strict=True)
    return [
        Window(begin, end, first, stop)
        for begin, end, (first, stop) in zip(begins, ends, bounds, strict=True)
    ]


class LayerMix(nn.Module):
    """A learned weighted mean of layers, times a learned scale.

    The initial weights are equal, and the initial scale is 1 (Peters et al. 2018, arXiv
    1802.05365).
    """

    def __init__(self, n_layers: int) -> None:
        """Allocate the weights.

        n_layers (int): number of layers.
        """
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(n_layers))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, states: Tensor) -> Tensor:
        """Mix layers.

        states (Tensor): (n_words, n_layers, width).
        RETURNS (Tensor): (n_words, width).
        """
        return self.scale * torch.einsum("l,nlw->nw", self.weights.softmax(0), states)


class WordTransformer(nn.Module):
    """A transformer and its tokenizer, with one output vector per word."""

    def __init__(self, encoder: nn.Module, tokenizer: "Tokenizer", spec: TransformerSpec) -> None:
        """Create a module from an encoder and its tokenizer.

        encoder (Module): a model of `transformers`, without a head.
        tokenizer (Tokenizer): its tokenizer, with truncation and padding disabled.
        spec (TransformerSpec): settings for windows, layers and pooling.
        """
        super().__init__()
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.spec = spec
        self.mix: LayerMix | None = LayerMix(spec.layers) if spec.layers > 1 else None
        self.width = spec.width
        self.trainable = True
        # Byte-level tokenizers mark the start of a word by a preceding space.
        before = tokenizer.pre_tokenizer
        by_bytes = before is not None and b"ByteLevel" in before.__getstate__()
        self._before_word = " " if by_bytes else ""

    def freeze(self) -> None:
        """Exclude the encoder from training. The mix of layers is still trained."""
        self.trainable = False
        self.encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "WordTransformer":
        """See `Module.train`. A frozen encoder stays in evaluation mode, without dropout."""
        super().train(mode)
        self.encoder.train(mode and self.trainable)
        return self

    def forward(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Embed words.

        texts (Sequence[Sequence[str]]): the words of each text.
        RETURNS (Tensor): vectors of the words of all texts, (n_words, width); zeros for white
            space and for words without sub-words.
        """
        return self.mix_layers(self.pooled_states(texts))

    def mix_layers(self, states: Tensor) -> Tensor:
        """Mix the layers' states of each word.

        states (Tensor): see `pooled_states`.
        RETURNS (Tensor): (n_words, width).
        """
        return states[:, 0] if self.mix is None else self.mix(states)

    def pooled_states(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Compute the states of each word in each of the layers to mix.

        texts (Sequence[Sequence[str]]): the words of each text.
        RETURNS (Tensor): (n_words, layers, width), float32.
        """
        sub_words = [self.split_words(words) for words in texts]
        states = self._encode(sub_words)
        n_before = np.cumsum([0, *map(len, texts)])
        words = torch.tensor(
            [
                begin + word
                for begin, text in zip(n_before.tolist(), sub_words, strict=False)
                for word in text.words
            ],
            dtype=torch.int64,
            device=states.device,
        )
        return self._pool(states, words, int(n_before[-1]))

    def split_words(self, words: Sequence[str]) -> SubWords:
        """Split the words of a text into sub-words.

        words (Sequence[str]): the words. White space is allowed.
        RETURNS (SubWords): the sub-words. White space has none.
        """
        visible = [i for i, word in enumerate(words) if word and not word.isspace()]
        encoding = self.tokenizer.encode(
            [self._before_word + words[i] for i in visible], is_pretokenized=True
        )
        words_of = [None if i is None else visible[i] for i in encoding.word_ids]
        return SubWords.of(encoding.ids, words_of)

    def _encode(self, texts: Sequence[SubWords]) -> Tensor:
        # The states of all sub-words, in order, (n_sub_words, layers, width).
        device = next(self.encoder.parameters()).device
        shape = (self.spec.layers, self.spec.width)
        rows, offset = [], 0
        for text in texts:
            size = self.spec.window - len(text.before) - len(text.after)
            for window in split_windows(len(text.ids), size, self.spec.overlap):
                ids = [*text.before, *text.ids[window.begin : window.end], *text.after]
                place = len(text.before) + window.first - window.begin
                rows.append((ids, place, offset + window.first, window.stop - window.first))
            offset += len(text.ids)
        if not offset:
            return torch.zeros((0, *shape), device=device)
        states, order = [], []
        for batch in _batches([row for row in rows if row[3]]):
            longest = max(len(ids) for ids, *_ in batch)
            padded = np.full((len(batch), longest), self._padding, dtype=np.int64)
            mask = np.zeros_like(padded)
            for row, (ids, *_) in enumerate(batch):
                padded[row, : len(ids)] = ids
                mask[row, : len(ids)] = 1
            layers = self._layers(
                torch.from_numpy(padded).to(device), torch.from_numpy(mask).to(device)
            )
            at = np.concatenate(
                [row * longest + place + np.arange(n) for row, (_, place, _, n) in enumerate(batch)]
            )
            places = torch.from_numpy(at).to(device)
            states.append(torch.stack([layer.flatten(0, 1)[places] for layer in layers], 1))
            order += [np.arange(begin, begin + n) for _, _, begin, n in batch]
        back = torch.from_numpy(np.argsort(np.concatenate(order))).to(device)
        return torch.cat(states)[back].float()

    @property
    def _padding(self) -> int:
        padding = self.spec.encoder.get("pad_token_id")
        return 0 if padding is None else int(padding)

    def _layers(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        # The states of the layers to mix, from the bottom up, (n_windows, longest, width) each.
        several = self.spec.layers > 1
        output = self.encoder(
            input_ids=ids, attention_mask=mask, output_hidden_states=several, return_dict=True
        )
        below = output.hidden_states[-self.spec.layers : -1] if several else ()
        # In some models, the last of `hidden_states` is not normalised yet.
        return [*below, output.last_hidden_state]

    def _pool(self, states: Tensor, words: Tensor, n_words: int) -> Tensor:
        pooled = states.new_zeros((n_words, *states.shape[1:]))
        if self.spec.pooling == "mean":
            counts = torch.bincount(words, minlength=n_words).clamp_(min=1)
            return pooled.index_add(0, words, states) / counts[:, None, None]
        change = words[1:] != words[:-1]
        edge = change.new_ones(min(len(words), 1))
        ends = torch.cat([edge, change] if self.spec.pooling == "first" else [change, edge])
        return pooled.index_copy(0, words[ends], states[ends])

    def to_bytes(self) -> bytes:
        """Serialise weights, configuration and tokenizer.

        RETURNS (bytes): a safetensors file.
        """
        # Copies, since safetensors rejects tensors that share memory, such as tied weights.
        arrays = {name: to_numpy(tensor) for name, tensor in self.state_dict().items()}
        arrays[_TOKENIZER] = np.frombuffer(self.tokenizer.to_str().encode("utf-8"), np.uint8)
        return pack_arrays(arrays, _SPEC, asdict(self.spec))

    @classmethod
    def from_bytes(cls, data: bytes) -> "WordTransformer":
        """Load a transformer. Neither its folder nor the internet is needed.

        data (bytes): the output of `to_bytes`.
        RETURNS (WordTransformer): the transformer, on the CPU.
        RAISES (ValueError): if the data is not a saved transformer, or the installed version of
            `transformers` does not support the model.
        """
        from tokenizers import Tokenizer  # noqa: PLC0415 - few pipelines have a transformer
        from transformers import AutoConfig, AutoModel  # noqa: PLC0415 - takes seconds

        try:
            arrays, settings = unpack_arrays(data, _SPEC)
            spec = TransformerSpec(**settings)
            text = arrays.pop(_TOKENIZER).tobytes().decode("utf-8")
            encoder = dict(spec.encoder)
            config = type(AutoConfig.for_model(encoder["model_type"])).from_dict(encoder)
            tokenizer = Tokenizer.from_str(text)
            if getattr(config, "num_hidden_layers", 0) > len(arrays):
                raise ModelError(f"the file contains {len(arrays)} arrays, too few for all layers")

            make = AutoModel.from_config

            def build() -> WordTransformer:
                return cls(make(config, trust_remote_code=False).float(), tokenizer, spec)

            # Check the arrays against a module without memory. Then build a real one, for the
            # buffers that are not saved.
            with on_meta():
                expected = build().state_dict()
            weights = Weights(arrays)
            for name, tensor in expected.items():
                weights.take(name, *tensor.shape, dtype=str(tensor.dtype).removeprefix("torch."))
            weights.check_all_taken()
            with torch.random.fork_rng(devices=[]):
                transformer = build()
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            transformer.load_state_dict(tensors)
        except Exception as error:  # tokenizers raises plain exceptions
            raise ModelError(f"cannot read the saved transformer: {error}") from error
        return transformer


def _batches(rows: list[Any]) -> Iterator[list[Any]]:
    # Batches of windows of similar length, with at most `_AT_ONCE` sub-words including padding.
    batch: list[Any] = []
    for row in sorted(rows, key=lambda row: len(row[0]), reverse=True):
        if batch and len(batch[0][0]) * (len(batch) + 1) > _AT_ONCE:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
