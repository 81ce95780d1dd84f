"""Dropout rates."""

from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True)
class Dropout:
    """Dropout rates of one forward pass in training.

    word (float): probability that a token's whole vector is set to zero.
    input (float): locked dropout of the encoder's input, with one mask per sequence.
        Context-independent features have one mask per distinct word of the batch instead.
    hidden (float): locked dropout of the output of each layer.
    recurrent (float): locked dropout of the states h_{t-1} in the recurrent products of a GRU,
        with one mask per sequence and direction.
    """

    word: float = 0.0
    input: float = 0.0
    hidden: float = 0.0
    recurrent: float = 0.0

    def __post_init__(self) -> None:
        """Check the rates.

        RAISES (ValueError): if a rate is negative, or 1 or more.
        """
        for name, rate in vars(self).items():
            if not 0.0 <= rate < 1.0:
                raise ConfigError(f"{name} dropout must be at least 0 and below 1; got {rate}")


NO_DROPOUT = Dropout()
