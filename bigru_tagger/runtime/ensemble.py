"""Networks whose logits are averaged, and the arrays that they share."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ..decoding.decoder import Decoder
from ..errors import ModelError
from .network import BAD_SPEC, ArrayNetwork
from .spec import SPEC_KEY, Batch, NetworkSpec
from .storage import unpack_arrays

_SHARED = "shared."
_Row = TypeVar("_Row")


class ArrayEnsemble(ArrayNetwork):
    """Networks of the same structure, whose logits and transition scores are averaged.

    The mean of logits is the logarithm of the geometric mean of the members' distributions, but
    for a constant.

    members (list[ArrayNetwork]): the networks.
    """

    def __init__(self, spec: NetworkSpec, arrays: Mapping[str, np.ndarray]) -> None:
        """Build the networks.

        spec (NetworkSpec): the structure of the ensemble.
        arrays (Mapping[str, ndarray]): the output of `join_members`.
        RAISES (ValueError): if an array belongs to no member, or those of a member do not fit the
            spec.
        """
        self.spec = spec
        self.arrays = arrays
        single = replace(spec, members=1)
        self.members = [
            ArrayNetwork(single, of_member) for of_member in split_members(arrays, spec.members)
        ]
        self.width = self.members[0].width

    @property
    def decoder(self) -> Decoder:
        """See `ArrayNetwork.decoder`."""
        return mean_decoder([member.decoder for member in self.members])

    def prepare(self, words: Mapping[str, tuple[np.ndarray, ...]]) -> dict[str, np.ndarray]:
        """See `ArrayNetwork.prepare`. Each name starts with the number of the member."""
        return name_prepared([member.prepare(words) for member in self.members])

    def __call__(self, batch: Batch) -> np.ndarray:
        """See `ArrayNetwork.__call__`."""
        total = self.members[0](batch_of_member(batch, 0))
        for number, member in enumerate(self.members[1:], 1):
            total += member(batch_of_member(batch, number))
        total /= len(self.members)
        return total


def build_arrays(spec: NetworkSpec, arrays: Mapping[str, np.ndarray]) -> ArrayNetwork:
    """Build a network, or an ensemble.

    spec (NetworkSpec): its structure.
    arrays (Mapping[str, ndarray]): its parameters and buffers by name.
    RETURNS (ArrayNetwork): the network.
    RAISES (ValueError): see `ArrayNetwork`.
    """
    return (ArrayNetwork if spec.members == 1 else ArrayEnsemble)(spec, arrays)


def load_arrays(data: bytes) -> ArrayNetwork:
    """Load a network, or an ensemble.

    data (bytes): the output of `ArrayNetwork.to_bytes`.
    RETURNS (ArrayNetwork): the network.
    RAISES (ModelError): if the data is not a saved network.
    """
    try:
        arrays, settings = unpack_arrays(data, SPEC_KEY)
        return build_arrays(NetworkSpec.read(settings), arrays)
    except BAD_SPEC as error:
        raise ModelError(f"not a saved bigru_tagger network: {error}") from error


def split_members(arrays: Mapping[str, np.ndarray], n: int) -> list[dict[str, np.ndarray]]:
    """Get the arrays of each member of an ensemble.

    arrays (Mapping[str, ndarray]): the output of `join_members`.
    n (int): the number of members.
    RETURNS (list[dict[str, ndarray]]): the arrays by name, not copied.
    RAISES (ModelError): if an array belongs to no member.
    """
    # Checked first, since a million members would take much memory even without arrays.
    if not 1 < n <= len(arrays):
        raise ModelError(f"its spec requires {n} members, the file contains {len(arrays)} arrays")
    members: list[dict[str, np.ndarray]] = [{} for _ in range(n)]
    places = {_member_prefix(number): [member] for number, member in enumerate(members)}
    places[_SHARED] = members
    for name, array in arrays.items():
        prefix = name[: name.find(".") + 1]
        if prefix not in places:
            raise ModelError(f"its array {name!r} belongs to none of its {n} members")
        for member in places[prefix]:
            member[name.removeprefix(prefix)] = array
    return members


def join_members(members: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Name the arrays of an ensemble. Arrays that are equal in all members are stored once.

    members (Sequence[Mapping[str, ndarray]]): the arrays of each member, with the same names.
    RETURNS (dict[str, ndarray]): the arrays by name, not copied.
    """
    joined = {}
    for name, first in members[0].items():
        others = [member[name] for member in members[1:]]
        if all(other is first or np.array_equal(first, other) for other in others):
            joined[_SHARED + name] = first
        else:
            for number, array in enumerate([first, *others]):
                joined[_member_prefix(number) + name] = array
    return joined


def mean_decoder(decoders: Sequence[Decoder]) -> Decoder:
    """Average the parameters of decoders.

    decoders (Sequence[Decoder]): decoders of the same class.
    RETURNS (Decoder): a decoder with the mean of each parameter.
    """
    first = decoders[0]
    means = {
        name: sum(decoder.parameters[name] for decoder in decoders) / len(decoders)
        for name in first.parameters
    }
    return type(first)(first.n_tags, means)


def name_prepared(prepared: Sequence[Mapping[str, _Row]]) -> dict[str, _Row]:
    """Name the features of words of all members, see `Batch.prepared`.

    prepared (Sequence[Mapping[str, Array]]): the features of each member by name.
    RETURNS (dict[str, Array]): all features; each name starts with the number of the member.
    """
    return {
        _member_prefix(number) + name: rows
        for number, features in enumerate(prepared)
        for name, rows in features.items()
    }


def batch_of_member(batch: Batch, number: int) -> Batch:
    """Select the input of a member.

    batch (Batch): the input of the ensemble.
    number (int): the number of the member, from 0.
    RETURNS (Batch): its input.
    """
    if batch.prepared is None:
        return batch
    prefix = _member_prefix(number)
    selected = {
        name.removeprefix(prefix): rows
        for name, rows in batch.prepared.items()
        if name.startswith(prefix)
    }
    return replace(batch, prepared=selected)


def _member_prefix(number: int) -> str:
    return f"member-{number}."
