"""The token vectors of a spaCy `tok2vec`."""

from dataclasses import dataclass

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from .base import Embedding


@registry.misc("bigru_tagger.Tok2VecEmbed.v1")
def Tok2VecEmbed(tok2vec: Model[list[Doc], list[Floats2d]]) -> "Tok2VecEmbedding":  # noqa: N802
    """Embed tokens by a spaCy `tok2vec`: a listener, or a network of its own, trained along.

    tok2vec (Model[list[Doc], list[Floats2d]]): the network.
    RETURNS (Tok2VecEmbedding): for the `embed` block of an architecture.
    """
    return Tok2VecEmbedding(tok2vec)


@dataclass(frozen=True)
class Tok2VecEmbedding(Embedding):
    """The vectors of a spaCy `tok2vec`, one per token.

    tok2vec (Model[list[Doc], list[Floats2d]]): a listener, or a network that is trained along.
    """

    tok2vec: Model[list[Doc], list[Floats2d]]
