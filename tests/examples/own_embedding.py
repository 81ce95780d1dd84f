"""A custom embedding: the numbers of characters, capitals and digits of each word."""

from contextlib import suppress
from typing import Any

import numpy as np
from spacy.util import registry
from spacy.vocab import Vocab

from bigru_tagger.embeddings.base import UniqueWords, WordEmbedding
from bigru_tagger.runtime.embeddings.base import ArrayEmbedding, register
from bigru_tagger.runtime.storage import Weights


# 1. The registered function, for the config block [components.ner.model.embed.counts]
@registry.misc("example.CountsEmbed.v1")
def counts_embed(width: int) -> "CountsEmbedding":
    """Embed the numbers of characters, capitals and digits of each word.

    width (int): width of the word's vector.
    RETURNS (CountsEmbedding): for the `embed` block of an architecture.
    """
    return CountsEmbedding(width)


# 2. The class that reads words: it returns arrays with one row per distinct word.
class CountsEmbedding(WordEmbedding):
    """Counts the characters, capitals and digits of each word."""

    def __init__(self, width: int) -> None:
        self.width = width

    def network_spec(self, vocab: Vocab) -> dict[str, Any]:
        # The kind of the torch module, and the arguments of its class.
        return {"kind": "example.CountsEmbed.v1", "width": self.width}

    def read(self, words: UniqueWords) -> np.ndarray:
        counts = [
            [len(text), sum(map(str.isupper, text)), sum(map(str.isdigit, text))]
            for text in words.strings
        ]
        return np.array(counts, dtype=np.float32).reshape(-1, 3)  # (n_words, 3)


# 3. The torch module, which training needs. A saved network finds it by its kind: the name of the
# entry point.
with suppress(ImportError):  # prediction needs no PyTorch
    import torch
    from torch import Tensor, nn

    from bigru_tagger.network.embeddings.base import EmbeddingModule

    class CountsModule(EmbeddingModule, kind="example.CountsEmbed.v1"):
        """A linear layer over the logarithms of counts."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.linear = nn.Linear(3, width)
            self.width = width

        def forward(self, counts: Tensor) -> Tensor:
            vectors: Tensor = self.linear(torch.log1p(counts))
            return vectors  # (n_words, width)


# 4. The same in NumPy, for prediction on a CPU. This part is optional: without it, the torch module
# is used, and prediction needs PyTorch.
@register("example.CountsEmbed.v1")
class CountsArrays(ArrayEmbedding):
    """A linear layer over the logarithms of counts."""

    def __init__(self, weights: Weights, width: int) -> None:
        linear = weights.under("linear")  # the parameters of the torch module, by their names
        self.weight, self.bias = linear.take("weight", width, 3), linear.take("bias", width)
        self.width = width

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        vectors: np.ndarray = np.log1p(counts) @ self.weight.T + self.bias
        return vectors  # float32 (n_words, width)
