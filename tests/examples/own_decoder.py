"""A custom decoder: the logit of the gold tag must exceed all others by a margin.

`spacy train my.cfg --code own_decoder.py` registers it. A config selects it by name:

    [components.ner.model]
    @architectures = "bigru_tagger.BiGRUTagger.v1"
    decode = "margin"
"""

from typing import TYPE_CHECKING

from bigru_tagger.decoding.decoder import Decoder
from bigru_tagger.decoding.decoders import decoders
from bigru_tagger.decoding.transitions import Transitions

if TYPE_CHECKING:  # prediction needs no PyTorch
    from torch import Tensor

    from bigru_tagger.decoding.targets import Targets


@decoders.register("margin")
class Margin(Decoder):
    """The multiclass hinge loss (Crammer and Singer 2001). The best valid sequence wins."""

    weighted = True  # sum_by_sequence multiplies by the weights of tokens

    def loss(self, logits: "Tensor", targets: "Targets", valid: Transitions) -> "Tensor":
        """Compute max(0, 1 + highest other logit - gold logit) at each token with a gold tag.

        logits (Tensor): (n_tokens, n_tags).
        targets (Targets): gold tags, and the tokens of each sequence.
        valid (Transitions): what the tag scheme allows, which this loss ignores.
        RETURNS (Tensor): the sum over each sequence, (n_sequences,).
        """
        has_gold = targets.tags >= 0
        tags = targets.tags.clamp(min=0)[:, None]
        gold = logits.gather(1, tags)[:, 0]
        others = logits.scatter(1, tags, float("-inf")).amax(1)
        return targets.sum_by_sequence((1.0 + others - gold).clamp(min=0.0) * has_gold)
