"""Pairs of runs: means over the pairs of two groups, with intervals over runs, not over pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from weightscape.measures.resampling import interval, resamples
from weightscape.study.sections import GROUPS

ALL_WIDTHS = "all"
RELATIONS = ("same", "other", ALL_WIDTHS)
RESAMPLES = 1000
FEWEST_RESAMPLED = 5  # runs of a group; an interval from fewer says nothing


class Pairs(NamedTuple):
    """The pairs of two runs, one of each of two groups, whose widths have a relation."""

    groups: tuple[str, str]
    widths: str
    """of RELATIONS"""
    rows: np.ndarray
    """the runs of one group"""
    columns: np.ndarray
    """the runs of the other"""
    mask: np.ndarray
    """(rows, columns) bool: which are pairs"""
    counts: np.ndarray
    """(RESAMPLES, n) float32: how often each of all runs is drawn"""

    @property
    def sides(self) -> tuple[int, int]:
        """Runs of each group that are in at least one pair."""
        return int(self.mask.any(1).sum()), int(self.mask.any(0).sum())

    @property
    def names(self) -> dict[str, Any]:
        """Groups, relation of widths, n_runs and n_pairs, as tables have them."""
        (a, b), (mine, theirs), n_pairs = self.groups, self.sides, int(self.mask.sum())
        counts = (mine, n_pairs // 2) if a == b else (mine + theirs, n_pairs)
        of = {"group_a": a, "group_b": b, "widths": self.widths}
        return of | dict(zip(("n_runs", "n_pairs"), counts, strict=True))

    def mean(self, between: np.ndarray) -> tuple[float, np.ndarray]:
        """Of numbers of all pairs (n, n), the mean over these, and in each resample, where a pair
        counts as often as both of its runs are drawn.

        Pairs without a number are left out. There are no resamples of fewer than FEWEST_RESAMPLED
        runs of a group.
        """
        values = between[np.ix_(self.rows, self.columns)]
        known = self.mask & ~np.isnan(values)
        mean = float(values[known].mean(dtype=np.float64)) if known.any() else math.nan
        if min(self.sides) < FEWEST_RESAMPLED:
            return mean, np.zeros(0)
        mine, theirs = self.counts[:, self.rows], self.counts[:, self.columns]
        sums, weights = (
            np.einsum("dr,dr->d", mine @ matrix.astype(np.float32), theirs, dtype=np.float64)
            for matrix in (np.where(known, values, 0), known)
        )
        with np.errstate(invalid="ignore"):
            return mean, sums / weights

    def mean_with_interval(self, name: str, between: np.ndarray) -> dict[str, float]:
        """The mean as `name`, and its 95 % bootstrap interval as `name`_low and `name`_high."""
        mean, draws = self.mean(between)
        return {name: mean, **with_ends(name, draws)}


def with_ends(name: str, draws: np.ndarray) -> dict[str, float]:
    """The 95 % interval of resamples as `name`_low and `name`_high."""
    return dict(zip((f"{name}_low", f"{name}_high"), interval(draws), strict=True))


def pairs_of_groups(runs: pd.DataFrame) -> Iterator[Pairs]:
    """Of each two groups and relation of widths that have pairs; `runs` has `width` and `group`.

    Runs are drawn within each width.
    """
    width, group = runs["width"].to_numpy(), runs["group"].to_numpy()
    counts = _resample(width)
    for groups in combinations_with_replacement(GROUPS, 2):
        rows, columns = (np.flatnonzero(group == name) for name in groups)
        is_pair = rows[:, None] != columns
        is_same = width[rows][:, None] == width[columns]
        relations = (is_pair & is_same, is_pair & ~is_same, is_pair)
        for name, mask in zip(RELATIONS, relations, strict=True):
            if mask.any():
                yield Pairs(groups, name, rows, columns, mask, counts)


def _resample(strata: np.ndarray) -> np.ndarray:
    """(RESAMPLES, n) float32: how often each run is drawn, in draws within each stratum."""
    cells = [np.flatnonzero(strata == name) for name in dict.fromkeys(strata)]
    drawn = resamples(cells, len(strata), RESAMPLES, np.random.default_rng(0))
    return np.concatenate(list(drawn), dtype=np.float32)
