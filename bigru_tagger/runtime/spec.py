"""The structure of a network and its input."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from ..decoding.transitions import Array

# A key in saved files. It does not change when a module is renamed.
SPEC_KEY = "bigru_tagger.network"
# The logit of a new tag is that of the first tag minus this margin. Confidences change by about
# exp(-16) = 1e-7. Learning the new tag takes about 1.5 times as long as with a margin of 8.
NEW_TAG_MARGIN = 16.0

Pooling = Literal["first", "last", "mean"]
"""How a word's vector is computed from its sub-words."""
# Keys of `Batch.prepared`. They cannot collide with embeddings, as torch allows no full stop in the
# name of a module.
PREPARED_INPUT = "encoder.input"
_PREPARED_SEQUENCES = "embed.sequences"


@dataclass(frozen=True)
class NetworkSpec:
    """The structure of a network.

    embed (Mapping[str, Mapping[str, Any]]): the embeddings by name: `kind`, see
        `bigru_tagger.runtime.embeddings.base`, and the keyword arguments of the class.
    hidden (Sequence[int]): units of each layer and direction; empty for no encoder.
    cell (str): "gru" or "lstm".
    bidirectional (bool): whether the encoder has a backward direction.
    n_tags (int | None): outputs per token; None to return the hidden states.
    occurrences (int): width of the mean over a word's occurrences, see `ContextPooling`; 0 for
        none.
    global_context (int): width of the mean over a document, see `ContextPooling`; 0 for none.
    context_width (int | None): units of the layer that combines these means with a token's state;
        None for the width of the state.
    decode (str): name of the decoder, see `bigru_tagger.decoding.decoders.decoders`; ignored
        without tags.
    members (int): number of networks of this structure whose logits are averaged, see
        `bigru_tagger.runtime.ensemble`.
    """

    embed: Mapping[str, Mapping[str, Any]]
    hidden: Sequence[int]
    cell: str = "gru"
    bidirectional: bool = True
    n_tags: int | None = None
    occurrences: int = 0
    global_context: int = 0
    context_width: int | None = None
    decode: str = "constrained"
    members: int = 1

    @property
    def has_context(self) -> bool:
        """Whether the network needs `Batch.groups`."""
        return self.occurrences > 0 or self.global_context > 0

    def to_json(self) -> dict[str, Any]:
        """Convert the spec to JSON values.

        RETURNS (dict[str, Any]): the fields by name. `members` is left out if it is 1, so that
            earlier versions can read the file.
        """
        fields = asdict(self)
        if self.members == 1:
            del fields["members"]
        return fields

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "NetworkSpec":
        """Read the spec of a saved file. Earlier versions had `crf` instead of `decode`.

        settings (Mapping[str, Any]): the fields by name.
        RETURNS (NetworkSpec): the spec.
        RAISES (TypeError): if there are unknown fields.
        """
        named = dict(settings)
        if named.pop("crf", False):
            named["decode"] = "crf"
        return cls(**named)


@dataclass
class Batch:
    """The input of the network, as NumPy arrays or tensors.

    The tokens of all sequences are concatenated.

    lengths (Sequence[int] | ndarray): tokens of each sequence.
    index (Array): each token's row in the arrays of `words` or `prepared`, int64 (n_tokens,).
    words (Mapping[str, tuple[Array, ...]]): for each word embedding the arguments of its module,
        with one row per distinct word.
    tokens (Mapping[str, Array]): for each embedding that reads vectors, one row per token.
    groups (Mapping[str, Array]): number of each token's group, int64 (n_tokens,); from 0 and
        without gaps for PyTorch. The key "occurrences" groups the occurrences of a word in a
        document, the key "global_context" the tokens of a document. Needed by networks with these
        settings.
    prepared (Mapping[str, Array] | None): the output of `Network.prepare`, with one row per word;
        replaces `words` in prediction.
    """

    lengths: Sequence[int] | np.ndarray
    index: Array
    words: Mapping[str, tuple[Array, ...]] = field(default_factory=dict)
    tokens: Mapping[str, Array] = field(default_factory=dict)
    groups: Mapping[str, Array] = field(default_factory=dict)
    prepared: Mapping[str, Array] | None = None

    def arrays_of(self, name: str) -> list[Array]:
        """Return the arrays of an embedding that reads sequences.

        name (str): the name of the embedding.
        RETURNS (list[Array]): its arrays in `prepared` or `words`, one row per word.
        """
        if self.prepared is None:
            return list(self.words[name])
        prefix = f"{_PREPARED_SEQUENCES}.{name}."
        return [rows for key, rows in self.prepared.items() if key.startswith(prefix)]


def prepared_arrays(name: str, arrays: Sequence[Array]) -> dict[str, Array]:
    """Name the arrays of an embedding that reads sequences for `Batch.prepared`.

    name (str): the name of the embedding.
    arrays (Sequence[Array]): its arrays, one row per word.
    RETURNS (dict[str, Array]): the arrays by key, see `Batch.arrays_of`.
    """
    prefix = f"{_PREPARED_SEQUENCES}.{name}."
    return {f"{prefix}{number}": array for number, array in enumerate(arrays)}
