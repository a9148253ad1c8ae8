"""Resampling: bootstrap draws of the runs, and intervals of what they give."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95  # of all intervals
CELLS = 2**22  # numbers of a block of draws: memory is bounded by it, not by the runs


def resamples(
    cells: Sequence[NDArray[np.intp]], n_runs: int, draws: int, random: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Blocks of (draws, n_runs) how often each run is drawn, as many in each cell as it has.

    `cells` are the rows of the runs of each stratum; runs of no cell are never drawn.
    """
    for size in blocks(draws, n_runs):
        counts = np.zeros((size, n_runs))
        for rows in cells:
            shares = np.full(len(rows), 1 / len(rows))
            counts[:, rows] = random.multinomial(len(rows), shares, size)
        yield counts


def blocks(total: int, length: int) -> Iterator[int]:
    """Sizes of blocks of draws of `length` numbers each."""
    size = max(1, CELLS // max(length, 1))
    for first in range(0, total, size):
        yield min(size, total - first)


def interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    """The percentile interval of the draws that are finite; NaN without any."""
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return math.nan, math.nan
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
