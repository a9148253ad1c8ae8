"""Ranks, by numpy alone: scipy.stats takes most of a second to import."""

import numpy as np


def average_ranks(values: np.ndarray) -> np.ndarray:
    """(n,) ranks from 1 on, float64; equal values share the mean of theirs. All NaN if one is."""
    if np.isnan(values).any():
        return np.full(len(values), np.nan)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    is_new = np.append(True, ordered[1:] != ordered[:-1])
    # places of the first of each value, and of the first of the next
    first = np.append(np.flatnonzero(is_new), len(values))
    number = np.cumsum(is_new)
    ranks = np.empty(len(values))
    ranks[order] = (first[number] + first[number - 1] + 1) / 2
    return ranks
