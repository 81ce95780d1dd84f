"""The default embeddings."""

from .base import Embedding
from .char_cnn import CharCNNEmbed
from .clusters import ClusterEmbedding
from .hash import HashEmbed
from .vectors import VectorsEmbed


def standard_embed() -> dict[str, Embedding]:
    """Build the default embeddings, for an architecture with `embed = null`.

    RETURNS (dict[str, Embedding]): hashed attributes, characters, the vectors of the vocab, if it
        has any, and the clusters of `spacy-lookups-data`, if it is installed and has them for the
        language (English, German and Spanish).
    """
    return {
        "words": HashEmbed(
            attrs=["NORM", "PREFIX", "SUFFIX", "SHAPE"],
            rows=[5000, 1000, 2500, 2500],
            width=64,
            unknown_rate=0.3,
            fold_digits=True,
        ),
        "characters": CharCNNEmbed(
            width=32, filters=64, window=3, rows=2048, max_length=40, fold_digits=True
        ),
        "clusters": ClusterEmbedding(
            "lexeme_cluster", prefixes=[4, 6, 8, 10, 12, 16, 24], width=32, required=False
        ),
        "vectors": VectorsEmbed(fallback=True, correction_rows=0),
    }
