"""A transformer that puts out word vectors, in plain PyTorch: windows, layers, pooling. No spaCy.

`transformers` and `tokenizers` are imported where a stored transformer is read, not before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .storage import check_tensors, on_meta, pack_tensors, unpack_tensors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Pooling = Literal["first", "last", "mean"]

# A name in files, which stays wherever this module goes.
_SPEC = "bigru_tagger.transformer"
_TOKENIZER = "tokenizer"
# Sub-words, with padding, that go through the encoder at once: memory does not grow with the batch.
_AT_ONCE = 4096


@dataclass(frozen=True)
class TransformerSpec:
    """All that fixes the shape of a `WordTransformer`.

    encoder (Mapping[str, Any]): the configuration of the transformer, as `transformers` has it.
    width (int): width of its hidden states.
    pooling (str): which sub-words make the vector of a word: the "first", the "last", or the "mean"
        of all.
    layers (int): how many of the last layers are mixed.
    window (int): sub-words that the transformer reads at once, with those that it adds itself.
    overlap (int): sub-words that neighbouring windows share, at least.
    """

    encoder: Mapping[str, Any]
    width: int
    pooling: Pooling
    layers: int
    window: int
    overlap: int


class Window(NamedTuple):
    """A part of a text that is read at once.

    begin (int): the first sub-word that it reads.
    end (int): the one behind the last.
    first (int): the first sub-word whose vector is taken from it.
    stop (int): the one behind the last.
    """

    begin: int
    end: int
    first: int
    stop: int


class SubWords(NamedTuple):
    """The sub-words of a text.

    before (list[int]): what the tokenizer puts before each window, such as `[CLS]`.
    ids (list[int]): the sub-words.
    words (list[int]): number of each sub-word's word, ascending.
    behind (list[int]): what the tokenizer puts behind each window, such as `[SEP]`.
    """

    before: list[int]
    ids: list[int]
    words: list[int]
    behind: list[int]

    @classmethod
    def of(cls, ids: list[int], words: Sequence[int | None]) -> "SubWords":
        """Split the output of a tokenizer.

        ids (list[int]): the sub-words, with those that the tokenizer adds at both ends.
        words (Sequence[int | None]): number of each sub-word's word, None for an added one.
        RETURNS (SubWords): the parts; all empty if no sub-word belongs to a word.
        """
        places = [place for place, word in enumerate(words) if word is not None]
        if not places:
            return cls([], [], [], [])
        begin, end = places[0], places[-1] + 1
        owners = [word for word in words if word is not None]
        return cls(ids[:begin], ids[begin:end], owners, ids[end:])


def split_windows(n_sub_words: int, size: int, overlap: int) -> list[Window]:
    """Split a text into overlapping windows, as few as can be, at even distances.

    Each sub-word is taken from the window where it is farthest from a cut, so that it has at least
    half of the overlap as its context on either side, or all that the text has there.

    n_sub_words (int): length of the text.
    size (int): sub-words of a window.
    overlap (int): sub-words that neighbours share, at least; below `size`.
    RETURNS (list[Window]): the windows; one for a text that needs no cut.
    """
    gaps = max(-(-(n_sub_words - size) // (size - overlap)), 0)
    begins = [0, *(i * (n_sub_words - size) // gaps for i in range(1, gaps + 1))]
    ends = [min(begin + size, n_sub_words) for begin in begins]
    # Windows are of one length: the middle of what two share is as far from the one's cut as from
    # the other's.
    middles = [(begin + end) // 2 for begin, end in zip(begins[1:], ends, strict=False)]
    bounds = zip([0, *middles], [*middles, n_sub_words], strict=True)
    return [
        Window(begin, end, first, stop)
        for begin, end, (first, stop) in zip(begins, ends, bounds, strict=True)
    ]


class LayerMix(nn.Module):
    """A learned mean of layers, and a learned scale (Peters et al. 2018, arXiv 1802.05365)."""

    def __init__(self, n_layers: int) -> None:
        """Begin with the mean of the layers.

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
    """A transformer and its tokenizer: words in, one vector per word out."""

    def __init__(self, encoder: nn.Module, tokenizer: "Tokenizer", spec: TransformerSpec) -> None:
        """Hold a transformer.

        encoder (Module): a model of `transformers`, without a head.
        tokenizer (Tokenizer): its tokenizer; it must neither truncate nor pad.
        spec (TransformerSpec): how to read the words and the encoder's states.
        """
        super().__init__()
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.spec = spec
        self.mix: LayerMix | None = LayerMix(spec.layers) if spec.layers > 1 else None
        self.width = spec.width
        self.trainable = True
        # Sub-words over bytes tell a word's beginning by the space before it.
        before = tokenizer.pre_tokenizer
        by_bytes = before is not None and b"ByteLevel" in before.__getstate__()
        self._before_word = " " if by_bytes else ""

    def freeze(self) -> None:
        """Keep training from changing the encoder; the mix of layers is still learned."""
        self.trainable = False
        self.encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "WordTransformer":
        """See `Module.train`; a frozen encoder has no dropout in training either."""
        super().train(mode)
        self.encoder.train(mode and self.trainable)
        return self

    def forward(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Embed words.

        texts (Sequence[Sequence[str]]): the words of each text.
        RETURNS (Tensor): a vector for each word of all texts, (n_words, width); zeros for white
            space, and for words of which the tokenizer leaves nothing.
        """
        return self.mix_layers(self.pooled_states(texts))

    def mix_layers(self, states: Tensor) -> Tensor:
        """Mix the layers' states of each word.

        states (Tensor): see `pooled_states`.
        RETURNS (Tensor): (n_words, width).
        """
        return states[:, 0] if self.mix is None else self.mix(states)

    def pooled_states(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Give the states of each word in each of the layers that are mixed.

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

        words (Sequence[str]): the words; there may be white space among them.
        RETURNS (SubWords): the sub-words; none of white space.
        """
        solid = [i for i, word in enumerate(words) if word and not word.isspace()]
        encoding = self.tokenizer.encode(
            [self._before_word + words[i] for i in solid], is_pretokenized=True
        )
        words_of = [None if i is None else solid[i] for i in encoding.word_ids]
        return SubWords.of(encoding.ids, words_of)

    def _encode(self, texts: Sequence[SubWords]) -> Tensor:
        # The states of all sub-words in their order, (n_sub_words, layers, width).
        device = next(self.encoder.parameters()).device
        shape = (self.spec.layers, self.spec.width)
        rows, offset = [], 0
        for text in texts:
            size = self.spec.window - len(text.before) - len(text.behind)
            for window in split_windows(len(text.ids), size, self.spec.overlap):
                ids = [*text.before, *text.ids[window.begin : window.end], *text.behind]
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
        # The states of the layers to mix, the last one last, (n_windows, longest, width) each.
        several = self.spec.layers > 1
        output = self.encoder(
            input_ids=ids, attention_mask=mask, output_hidden_states=several, return_dict=True
        )
        below = output.hidden_states[-self.spec.layers : -1] if several else ()
        # Some models normalise the last layer's states only outside of `hidden_states`.
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
        # Copies, since safetensors refuses tensors that share memory, as tied weights do.
        tensors = {name: tensor.clone() for name, tensor in self.state_dict().items()}
        text = bytearray(self.tokenizer.to_str().encode("utf-8"))
        tensors[_TOKENIZER] = torch.frombuffer(text, dtype=torch.uint8)
        return pack_tensors(tensors, _SPEC, asdict(self.spec))

    @classmethod
    def from_bytes(cls, data: bytes) -> "WordTransformer":
        """Build the transformer that `to_bytes` described, from these bytes alone.

        data (bytes): what `to_bytes` returned.
        RETURNS (WordTransformer): the transformer, on the CPU.
        RAISES (ValueError): if the data is nothing of the kind, or the installed `transformers`
            has no such model.
        """
        from tokenizers import Tokenizer  # noqa: PLC0415 - few pipelines have a transformer
        from transformers import AutoConfig, AutoModel  # noqa: PLC0415 - takes seconds

        try:
            tensors, settings = unpack_tensors(data, _SPEC)
            spec = TransformerSpec(**settings)
            text = tensors.pop(_TOKENIZER).numpy().tobytes().decode("utf-8")
            encoder = dict(spec.encoder)
            config = type(AutoConfig.for_model(encoder["model_type"])).from_dict(encoder)
            tokenizer = Tokenizer.from_str(text)
            if getattr(config, "num_hidden_layers", 0) > len(tensors):
                raise ValueError(f"the file holds {len(tensors)} tensors, not those of all layers")

            make = AutoModel.from_config

            def build() -> WordTransformer:
                return cls(make(config, trust_remote_code=False).float(), tokenizer, spec)

            # First without memory: buffers that no file stores need the second.
            with on_meta():
                expected = build().state_dict()
            check_tensors(tensors, expected)
            with torch.random.fork_rng(devices=[]):
                transformer = build()
            transformer.load_state_dict(tensors)
        except Exception as error:  # tokenizers raises nothing more special
            raise ValueError(f"cannot read the stored transformer: {error}") from error
        return transformer


def _batches(rows: list[Any]) -> Iterator[list[Any]]:
    # Rows of about the same length, so many that they hold no more than `_AT_ONCE` with padding.
    batch: list[Any] = []
    for row in sorted(rows, key=lambda row: len(row[0]), reverse=True):
        if batch and len(batch[0][0]) * (len(batch) + 1) > _AT_ONCE:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
