"""Networks whose logits are averaged, in PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NoReturn, cast

import numpy as np
from torch import Tensor, nn

from ..decoding.decoder import Decoder
from ..errors import ModelError
from ..runtime.ensemble import (
    batch_of_member,
    join_members,
    mean_decoder,
    name_prepared,
    split_members,
)
from ..runtime.spec import NEW_TAG_MARGIN, Batch, NetworkSpec
from .dropout import NO_DROPOUT, Dropout
from .network import Network


class NetworkEnsemble(Network):
    """See `bigru_tagger.runtime.ensemble.ArrayEnsemble`. It predicts only."""

    def __init__(self, members: Sequence[Network]) -> None:
        """Combine networks.

        members (Sequence[Network]): networks of the same structure.
        """
        nn.Module.__init__(self)
        self.members = nn.ModuleList(members)
        self.spec = replace(members[0].spec, members=len(members))

    @property
    def _networks(self) -> list[Network]:
        return cast(list[Network], list(self.members))

    @property
    def decoder(self) -> Decoder:
        """See `Network.decoder`."""
        return mean_decoder([member.decoder for member in self._networks])

    @property
    def width(self) -> int:
        """See `Network.width`."""
        return self._networks[0].width

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """See `Network.arrays`."""
        return join_members([member.arrays for member in self._networks])

    def forward(self, batch: Batch, dropout: Dropout = NO_DROPOUT) -> Tensor:
        """See `Network.forward`.

        RAISES (ModelError): in training mode.
        """
        if self.training:
            raise ModelError(
                "an ensemble cannot be trained: train its members, and combine them again"
            )
        logits = [
            member(batch_of_member(batch, number)) for number, member in enumerate(self._networks)
        ]
        total: Tensor = sum(logits[1:], logits[0])
        return total / len(logits)

    def trace(self, batch: Batch) -> NoReturn:
        """See `Network.trace`.

        RAISES (ModelError): always.
        """
        raise ModelError("an ensemble has the gates of several networks: read those of a member")

    def prepare(self, words: Mapping[str, tuple[Tensor, ...]]) -> dict[str, Tensor]:
        """See `ArrayEnsemble.prepare`."""
        return name_prepared([member.prepare(words) for member in self._networks])

    def resize(self, n_tags: int, margin: float = NEW_TAG_MARGIN) -> None:
        """See `Network.resize`."""
        for member in self._networks:
            member.resize(n_tags, margin)
        self.spec = replace(self.spec, n_tags=n_tags)


def build_network(spec: NetworkSpec, arrays: Mapping[str, np.ndarray]) -> Network:
    """Build a network, or an ensemble, from saved parameters.

    spec (NetworkSpec): its structure.
    arrays (Mapping[str, ndarray]): its parameters and buffers, see `Network.from_arrays`.
    RETURNS (Network): the network, on the CPU.
    RAISES (ValueError): if the arrays do not fit the spec.
    """
    if spec.members == 1:
        return Network.from_arrays(spec, arrays)
    single = replace(spec, members=1)
    members = split_members(arrays, spec.members)
    return NetworkEnsemble([Network.from_arrays(single, member) for member in members])
