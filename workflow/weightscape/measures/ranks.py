"""Ranks, by pandas, which measures have at hand: scipy.stats takes most of a second to import."""

import numpy as np
import pandas as pd


def average_ranks(values: np.ndarray) -> np.ndarray:
    """(n,) ranks from 1 on, float64; equal values share the mean of theirs. All NaN if one is."""
    ranks = pd.Series(values).rank().to_numpy(float, copy=True)
    return np.full_like(ranks, np.nan) if np.isnan(ranks).any() else ranks
