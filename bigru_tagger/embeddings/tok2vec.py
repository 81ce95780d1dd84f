"""Token vectors from a spaCy `tok2vec`."""

from dataclasses import dataclass

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from .base import Embedding


@registry.misc("bigru_tagger.Tok2VecEmbed.v1")
def Tok2VecEmbed(tok2vec: Model[list[Doc], list[Floats2d]]) -> "Tok2VecEmbedding":  # noqa: N802
    """Embed tokens by a spaCy `tok2vec` model.

    tok2vec (Model[list[Doc], list[Floats2d]]): a listener to a shared `tok2vec`, or a separate
        model, which is trained with the tagger.
    RETURNS (Tok2VecEmbedding): a value for the `embed` section of an architecture.
    """
    return Tok2VecEmbedding(tok2vec)


@dataclass(frozen=True)
class Tok2VecEmbedding(Embedding):
    """Token vectors from a spaCy `tok2vec`.

    tok2vec (Model[list[Doc], list[Floats2d]]): see `Tok2VecEmbed`.
    """

    tok2vec: Model[list[Doc], list[Floats2d]]
