"""The registered decoders.

The setting `decode` of `bigru_tagger.BiGRUTagger.v1` is the name of a decoder. To add a decoder,
subclass `bigru_tagger.decoding.decoder.Decoder` and register the class:

    @decoders.register("my_decoder")
    class MyDecoder(Decoder): ...
"""

from typing import cast

import catalogue  # type: ignore[import-untyped]

from ..errors import ConfigError
from .constrained_softmax import ConstrainedSoftmax
from .crf import CRF
from .decoder import Decoder

decoders = catalogue.create("bigru_tagger", "decoders", entry_points=True)
"""Subclasses of `Decoder` by name. A package can register its own with an entry point in the group
`bigru_tagger_decoders`."""

decoders.register("constrained", func=ConstrainedSoftmax)
decoders.register("crf", func=CRF)

_ALIASES = {"legal": "constrained"}  # the name in configs of earlier versions


def check_decoder(name: str) -> str:
    """Normalise the name of a decoder.

    name (str): a registered name, or "legal" for "constrained".
    RETURNS (str): a registered name.
    RAISES (ValueError): if no decoder is registered under this name.
    """
    name = _ALIASES.get(name, name)
    if name not in decoders:
        raise ConfigError(
            f"'decode' must be one of {sorted(decoders.get_all())}; got {name!r}. Register a "
            "custom decoder first: pass its file with --code, or import it"
        )
    return name


def decoder_class(name: str) -> type[Decoder]:
    """Return the class of a decoder.

    name (str): see `check_decoder`.
    RETURNS (type[Decoder]): the class.
    RAISES (ValueError): if no decoder is registered under this name.
    """
    return cast(type[Decoder], decoders.get(check_decoder(name)))
