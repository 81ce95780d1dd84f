"""Find words in a table of hashes."""

import torch
from torch import Tensor


def look_up(keys: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Find the first candidate of each word that is a key.

    keys (Tensor): at least one key, in ascending order, int64 (n_keys,).
    candidates (Tensor): hashes of each word, best first, int64 (n_words, n_candidates).
    RETURNS (tuple[Tensor, Tensor]): the row of the key, int64 (n_words,), and whether there is
        one, bool (n_words,).
    """
    rows = torch.searchsorted(keys, candidates.contiguous()).clamp_(max=len(keys) - 1)
    hits = keys[rows] == candidates
    first = hits.to(torch.uint8).argmax(1, keepdim=True)
    return rows.gather(1, first).squeeze(1), hits.any(1)
