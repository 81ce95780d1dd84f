"""Decoders: the loss for logits, the search for the best tags, and marginal probabilities.

Prediction needs NumPy only. The loss is computed by PyTorch, which only training imports.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .marginals import span_probabilities, tag_probabilities
from .transitions import Array, Transitions
from .viterbi import decode, decode_best

if TYPE_CHECKING:
    from torch import Tensor

    from .targets import Targets


class Decoder(ABC):
    """The base class of decoders: a training loss for logits, and the prediction of tags.

    The arguments of all methods describe a batch of sequences, whose tokens are concatenated:
    `logits` are float (n_tokens, n_tags), and `lengths` are the tokens of each sequence, zeros
    allowed. `valid` are the transitions of the tag scheme: zero for valid transitions, minus
    infinity for the others.

    A subclass must define `loss`. By default, the score of a tag sequence is the sum of its logits
    and of its `transitions`, and the best tags and all probabilities follow from these scores.
    """

    soft_labels: ClassVar[bool] = False
    """Whether `loss` supports label smoothing and soft labels, which apply to single tokens."""

    weighted: ClassVar[bool] = False
    """Whether `loss` uses the weights of tokens, `Targets.weights`."""

    cut_at_sentences: ClassVar[bool] = True
    """Whether each sentence of a Doc is a sequence, so that no span crosses a sentence boundary."""

    stored_as: ClassVar[str] = "decoding"
    """Prefix of the parameters' names in saved files."""

    def __init__(self, n_tags: int, parameters: Mapping[str, Array] | None = None) -> None:
        """Create a decoder.

        n_tags (int): number of tags.
        parameters (Mapping[str, Array] | None): the learned parameters by name, see `shapes`:
            tensors in training, NumPy arrays in prediction. None for parameters of zero.
        """
        self.n_tags = n_tags
        if parameters is None:
            shapes = self.shapes(n_tags)
            parameters = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self.parameters = parameters

    @classmethod
    def shapes(cls, n_tags: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the decoder's learned parameters, which start at zero.

        n_tags (int): number of tags.
        RETURNS (dict[str, tuple[int, ...]]): shapes by name; empty by default.
        """
        return {}

    @abstractmethod
    def loss(self, logits: "Tensor", targets: "Targets", valid: Transitions) -> "Tensor":
        """Compute the loss of each sequence.

        logits (Tensor): (n_tokens, n_tags).
        targets (Targets): the training targets.
        valid (Transitions): the transitions of the tag scheme.
        RETURNS (Tensor): the sum over the tokens of each sequence, (n_sequences,). Infinity means
            that the gold tags are not valid and cannot be learned.
        """

    def transitions(self, valid: Transitions) -> Transitions:
        """Score the transitions between tags.

        valid (Transitions): the transitions of the tag scheme.
        RETURNS (Transitions): the scores; by default those of `valid`.
        """
        return valid

    def decode(self, logits: Array, lengths: np.ndarray, valid: Transitions) -> Array:
        """Find the best tags.

        RETURNS (Array): tag of each token, int64 (n_tokens,).
        """
        return decode(logits, lengths, self.transitions(valid))

    def decode_best(
        self, logits: Array, lengths: np.ndarray, valid: Transitions, n_best: int
    ) -> list[np.ndarray]:
        """Find the best tag sequences.

        n_best (int): number of hypotheses per sequence.
        RETURNS (list[ndarray]): the hypotheses of each sequence, best first, int64
            (n_found, n_tokens).
        """
        return decode_best(logits, lengths, self.transitions(valid), n_best)

    def marginals(
        self, logits: Array, lengths: np.ndarray, valid: Transitions, temperature: float = 1.0
    ) -> np.ndarray:
        """Compute the probability of each tag at each token.

        temperature (float): divisor of logits and transition scores.
        RETURNS (ndarray): float64 (n_tokens, n_tags).
        """
        return tag_probabilities(*self._tempered(logits, lengths, valid, temperature))

    def span_marginals(  # noqa: PLR0917
        self,
        logits: Array,
        lengths: np.ndarray,
        valid: Transitions,
        spans: np.ndarray,
        tags: Array,
        temperature: float = 1.0,
    ) -> np.ndarray:
        """Compute the probability that all tokens of a span have the given tags.

        spans (ndarray): start and end token of each span, end exclusive, int (n_spans, 2). A span
            must be within one sequence.
        tags (Array): tag of each token, int (n_tokens,).
        temperature (float): divisor of logits and transition scores.
        RETURNS (ndarray): float64 (n_spans,).
        """
        return span_probabilities(*self._tempered(logits, lengths, valid, temperature), spans, tags)

    def _tempered(
        self, logits: Array, lengths: np.ndarray, valid: Transitions, temperature: float
    ) -> tuple[Array, np.ndarray, Transitions]:
        transitions = self.transitions(valid)
        if temperature == 1.0:
            return logits, lengths, transitions
        return logits / temperature, lengths, transitions.scaled(1.0 / temperature)

    def resize(self, n_tags: int) -> dict[str, Array]:
        """Return the parameters for more tags. New tags have the scores of the first tag.

        n_tags (int): the new number of tags, the old ones first.
        RETURNS (dict[str, Array]): copies of the parameters by name, with the shapes of `shapes`.
        """
        source = np.arange(n_tags)
        source[self.n_tags :] = 0
        old, new = self.shapes(self.n_tags), self.shapes(n_tags)
        resized = {}
        for name, table in self.parameters.items():
            for axis, sizes in enumerate(zip(old[name], new[name], strict=True)):
                if sizes[0] != sizes[1]:
                    table = table.swapaxes(0, axis)[source].swapaxes(0, axis)  # noqa: PLW2901
            resized[name] = table
        return resized
