"""Characters of each word, by the last states of a bidirectional GRU."""

from typing import Any

from spacy.util import registry
from spacy.vocab import Vocab

from .characters import CharacterEmbedding


@registry.misc("bigru_tagger.CharGRUEmbed.v1")
def CharGRUEmbed(  # noqa: N802
    *, width: int, hidden: int, rows: int, max_length: int, fold_digits: bool
) -> "CharGRUEmbedding":
    """Embed the characters of each word by the last states of a bidirectional GRU over them.

    width (int): width of a character's vector.
    hidden (int): units of each direction; the word's vector is twice as wide.
    rows (int): size of the character table; code points beyond share rows.
    max_length (int): characters read of a word; of a longer one, its first and last half.
    fold_digits (bool): read every digit as 0.
    RETURNS (CharGRUEmbedding): for the `embed` block of an architecture.
    RAISES (ValueError): if a number does not fit.
    """
    return CharGRUEmbedding(
        width=width, hidden=hidden, rows=rows, max_length=max_length, fold_digits=fold_digits
    )


class CharGRUEmbedding(CharacterEmbedding):
    """Reads the characters of each word, for a bidirectional GRU."""

    def __init__(self, *, hidden: int, **settings: Any) -> None:
        """Check the settings.

        hidden (int): units of each direction, half the width of the word's vector.
        **settings: the arguments of `CharacterEmbedding`.
        RAISES (ValueError): if a number does not fit.
        """
        super().__init__(**settings)
        if hidden < 1:
            raise ValueError(f"CharGRUEmbed: 'hidden' has to be positive; got hidden = {hidden}")
        self.hidden = hidden

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:  # noqa: D102
        return {"kind": "char_gru", **super().network_spec(vocab), "hidden": self.hidden}
