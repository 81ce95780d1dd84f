"""The search for words in a table."""

import torch
from torch import Tensor


def look_up(keys: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Find each word's first candidate that is a key.

    keys (Tensor): keys in ascending order, at least one, int64 (n_keys,).
    candidates (Tensor): int64 (n_words, n_candidates).
    RETURNS (tuple[Tensor, Tensor]): the row of the key, int64 (n_words,), and whether there is
        one, bool (n_words,).
    """
    rows = torch.searchsorted(keys, candidates.contiguous()).clamp_(max=len(keys) - 1)
    hits = keys[rows] == candidates
    first = hits.to(torch.uint8).argmax(1, keepdim=True)
    return rows.gather(1, first).squeeze(1), hits.any(1)
