"""Character embeddings by a convolution."""

from typing import Any

from spacy.util import registry
from spacy.vocab import Vocab

from ..errors import ConfigError
from .characters import CharacterEmbedding


@registry.misc("bigru_tagger.CharCNNEmbed.v1")
def CharCNNEmbed(  # noqa: N802
    *, width: int, filters: int, window: int, rows: int, max_length: int, fold_digits: bool
) -> "CharCNNEmbedding":
    """Embed the characters of each word by a convolution with max-pooling over positions.

    Ma and Hovy 2016, arXiv 1603.01354.

    width (int): width of a character's vector.
    filters (int): output channels of the convolution, which is the width of the word's vector.
    window (int): kernel size of the convolution in characters; must be odd.
    rows (int): size of the character table. Code points from `rows` on share rows with others.
    max_length (int): maximum number of characters per word. Of a longer word, the first and the
        last half of this number are used.
    fold_digits (bool): replace every digit by 0.
    RETURNS (CharCNNEmbedding): a value for the `embed` section of an architecture.
    RAISES (ValueError): if a setting is out of range.
    """
    return CharCNNEmbedding(
        width=width,
        out_channels=filters,
        kernel_size=window,
        rows=rows,
        max_length=max_length,
        fold_digits=fold_digits,
    )


class CharCNNEmbedding(CharacterEmbedding):
    """Character embeddings by a convolution."""

    def __init__(self, *, out_channels: int, kernel_size: int, **settings: Any) -> None:
        """Set and check the settings.

        out_channels (int): output channels of the convolution; `filters` in a config.
        kernel_size (int): kernel size in characters, odd; `window` in a config.
        **settings: the arguments of `CharacterEmbedding`.
        RAISES (ValueError): if a setting is out of range.
        """
        super().__init__(**settings)
        if out_channels < 1 or kernel_size < 1 or kernel_size % 2 == 0:
            raise ConfigError(
                "CharCNNEmbed: 'filters' must be positive and 'window' odd; got "
                f"filters = {out_channels}, window = {kernel_size}"
            )
        self.out_channels = out_channels
        self.kernel_size = kernel_size

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:  # noqa: D102
        return {
            "kind": "char_cnn",
            **super().network_spec(vocab),
            "out_channels": self.out_channels,
            "kernel_size": self.kernel_size,
        }
