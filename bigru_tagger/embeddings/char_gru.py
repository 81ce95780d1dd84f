"""Character embeddings by a bidirectional GRU."""

from typing import Any

from spacy.util import registry
from spacy.vocab import Vocab

from ..errors import ConfigError
from .characters import CharacterEmbedding


@registry.misc("bigru_tagger.CharGRUEmbed.v1")
def CharGRUEmbed(  # noqa: N802
    *, width: int, hidden: int, rows: int, max_length: int, fold_digits: bool
) -> "CharGRUEmbedding":
    """Embed the characters of each word by the last states of a bidirectional GRU.

    Lample et al. 2016, arXiv 1603.01360; with GRUs: Yang et al. 2017, arXiv 1703.06345.

    width (int): width of a character's vector.
    hidden (int): units of each direction. The width of the word's vector is twice this number.
    rows (int): size of the character table. Code points from `rows` on share rows with others.
    max_length (int): maximum number of characters per word. Of a longer word, the first and the
        last half of this number are used.
    fold_digits (bool): replace every digit by 0.
    RETURNS (CharGRUEmbedding): a value for the `embed` section of an architecture.
    RAISES (ValueError): if a setting is out of range.
    """
    return CharGRUEmbedding(
        width=width, hidden=hidden, rows=rows, max_length=max_length, fold_digits=fold_digits
    )


class CharGRUEmbedding(CharacterEmbedding):
    """Character embeddings by a bidirectional GRU."""

    def __init__(self, *, hidden: int, **settings: Any) -> None:
        """Set and check the settings.

        hidden (int): units of each direction.
        **settings: the arguments of `CharacterEmbedding`.
        RAISES (ValueError): if a setting is out of range.
        """
        super().__init__(**settings)
        if hidden < 1:
            raise ConfigError(f"CharGRUEmbed: 'hidden' must be positive; got hidden = {hidden}")
        self.hidden = hidden

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:  # noqa: D102
        return {"kind": "char_gru", **super().network_spec(vocab), "hidden": self.hidden}
