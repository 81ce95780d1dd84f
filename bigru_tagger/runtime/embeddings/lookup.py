"""Find words in a table of hashes."""

import numpy as np


def look_up(keys: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the first candidate of each word that is a key.

    keys (ndarray): at least one key, in ascending order, int64 (n_keys,).
    candidates (ndarray): hashes of each word, best first, int64 or uint64 (n_words, n_candidates).
    RETURNS (tuple[ndarray, ndarray]): the row of the key, int64 (n_words,), and whether there is
        one, bool (n_words,).
    """
    candidates = signed(candidates)
    rows = np.minimum(np.searchsorted(keys, candidates), len(keys) - 1)
    hits = keys[rows] == candidates
    first = hits.argmax(1)
    return rows[np.arange(len(rows)), first], hits.any(1)


def signed(hashes: np.ndarray) -> np.ndarray:
    """Convert hashes to signed numbers of the same bits.

    hashes (ndarray): int64 or uint64.
    RETURNS (ndarray): int64.
    """
    return hashes.astype(np.int64, copy=False)
