"""The registered ways of decoding.

`decode` in the config of `bigru_tagger.BiGRUTagger.v1` names one of them. To add one, derive a
class from `bigru_tagger.network.decoder.Decoder` and register it under a name:

    @decoders.register("my_decoder")
    class MyDecoder(Decoder): ...
"""

from typing import cast

import catalogue  # type: ignore[import-untyped]

from .constrained_softmax import ConstrainedSoftmax
from .crf import CRF
from .decoder import Decoder

decoders = catalogue.create("bigru_tagger", "decoders", entry_points=True)
"""Classes derived from `Decoder` by name. A package can register its own by an entry point of the
group `bigru_tagger_decoders`."""

decoders.register("constrained", func=ConstrainedSoftmax)
decoders.register("crf", func=CRF)

_ALIASES = {"legal": "constrained"}  # a name in configs of earlier versions


def check_decoder(name: str) -> str:
    """Normalise the name of a way of decoding.

    name (str): a registered name, or "legal" for "constrained".
    RETURNS (str): a registered name.
    RAISES (ValueError): if no class is registered by that name.
    """
    name = _ALIASES.get(name, name)
    if name not in decoders:
        raise ValueError(
            f"'decode' has to be one of {sorted(decoders.get_all())}; got {name!r}. A decoder of "
            "your own has to be registered first: give its file by --code, or import it"
        )
    return name


def decoder_class(name: str) -> type[Decoder]:
    """Find a way of decoding.

    name (str): see `check_decoder`.
    RETURNS (type[Decoder]): its class.
    RAISES (ValueError): if no class is registered by that name.
    """
    return cast(type[Decoder], decoders.get(check_decoder(name)))
