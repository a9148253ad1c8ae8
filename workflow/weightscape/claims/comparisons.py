"""Comparisons: a number of each run beside another of them, as an effect in any set of runs.

Each gives the effect in some runs that count as often as told, which is what a jackknife needs; the
effects under permutations of the runs, where those make an exact test; and the variance of the
effect if there is nothing to find, whose inverse is the information of a width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightscape.measures.ranks import average_ranks
from weightscape.measures.resampling import blocks

FEWEST_OF_THIRD = 3  # of two, one is as far from the other as the other from it

Numbers = NDArray[np.float64]
Array = NDArray[Any]


class Comparison:
    """Of n runs; `rows` are the (k,) places of the runs that are compared."""

    limit = 1.0
    """the largest effect that there can be"""
    is_unbiased = False
    """whether the effect in few runs is on average that in many"""
    is_noise_known = True
    """whether `noise` is the variance, and not only a bound of it"""
    is_permuted_error = False
    """whether the error within width is the spread of the permutations, and not a jackknife's"""
    valid: Array
    """(n,) bool: the runs that it can use"""

    def effects(self, rows: Array, counts: Array) -> Numbers:
        """(d,) effects in the runs `rows`, each counted `counts` (d, k) times; NaN without one."""
        raise NotImplementedError

    def noise(self, rows: Array) -> float:
        """The variance of the effect in the runs `rows` if there is nothing to find."""
        raise NotImplementedError

    def permuted(self, rows: Array, size: int, random: np.random.Generator) -> Iterator[Numbers]:
        """Blocks of `size` effects in all, runs permuted; none where no permutation is a test."""
        return iter(())

    def cells(self, rows: Array, widths: Array) -> list[Array]:
        """Parts of `rows`, as places in it: within each, runs are drawn alike."""
        return [np.flatnonzero(widths[rows] == width) for width in dict.fromkeys(widths[rows])]

    def used(self, rows: Array) -> int:
        """The runs that the effect rests on."""
        return len(rows)


class Correlation(Comparison):
    """Spearman's rank correlation of x and y, each (n,)."""

    def __init__(self, x: Numbers, y: Numbers):
        self.x, self.y = np.asarray(x, float), np.asarray(y, float)
        self.valid = np.isfinite(self.x) & np.isfinite(self.y)

    def effects(self, rows: Array, counts: Array) -> Numbers:
        return _correlate(_Ranks(self.x[rows]), _Ranks(self.y[rows]), counts)

    def noise(self, rows: Array) -> float:
        """Kendall and Gibbons 1990."""
        return 1 / (len(rows) - 1)

    def permuted(self, rows: Array, size: int, random: np.random.Generator) -> Iterator[Numbers]:
        x, y = (_standard_ranks(column[rows]) for column in (self.x, self.y))
        yield from _inner_products(x, y, size, random)

    def of_all_orders(self, rows: Array) -> Numbers:
        """(k!,) effects of a few runs, y in every order."""
        x, y = (_standard_ranks(column[rows]) for column in (self.x, self.y))
        return np.array(list(itertools.permutations(y))) @ x


class Difference(Comparison):
    """Spearman's correlation of x with y less that of `other` with y."""

    limit = 2.0
    is_noise_known = False

    def __init__(self, x: Numbers, other: Numbers, y: Numbers):
        self.x, self.other, self.y = (np.asarray(column, float) for column in (x, other, y))
        self.valid = np.isfinite(self.x) & np.isfinite(self.other) & np.isfinite(self.y)

    def effects(self, rows: Array, counts: Array) -> Numbers:
        y = _Ranks(self.y[rows])
        first = _correlate(_Ranks(self.x[rows]), y, counts)
        return first - _correlate(_Ranks(self.other[rows]), y, counts)

    def noise(self, rows: Array) -> float:
        """Of two correlations of columns that have nothing to do with each other: at most that."""
        return 2 / (len(rows) - 1)


class Contrast(Comparison):
    """Cliff's delta of x, P(upper > lower) - P(upper < lower), over pairs of two sets of runs."""

    is_unbiased = True

    def __init__(self, x: Numbers, upper: Array, lower: Array):
        self.x, self.upper = np.asarray(x, float), np.asarray(upper, bool)
        self.valid = np.isfinite(self.x) & (self.upper ^ np.asarray(lower, bool))

    def effects(self, rows: Array, counts: Array) -> Numbers:
        """delta = 2 (mean rank of upper - mean rank of lower) / n."""
        if np.ptp(self.x[rows]) == 0:
            return np.full(len(counts), np.nan)
        ranks, upper = _Ranks(self.x[rows])(counts), self.upper[rows]
        n_upper, n_lower = counts[:, upper].sum(1), counts[:, ~upper].sum(1)
        with np.errstate(all="ignore"):
            above = (ranks * counts)[:, upper].sum(1) / n_upper
            below = (ranks * counts)[:, ~upper].sum(1) / n_lower
            result: Numbers = 2 * (above - below) / (n_upper + n_lower)
            return result

    def noise(self, rows: Array) -> float:
        """Mann and Whitney 1947."""
        upper = int(self.upper[rows].sum())
        lower = len(rows) - upper
        return (upper + lower + 1) / (3 * upper * lower) if upper and lower else math.inf

    def permuted(self, rows: Array, size: int, random: np.random.Generator) -> Iterator[Numbers]:
        upper = self.upper[rows]
        label = np.where(upper, 1 / upper.sum(), -1 / (~upper).sum())
        scores = 2 * average_ranks(self.x[rows]) / len(rows)
        yield from _inner_products(scores, label, size, random)

    def cells(self, rows: Array, widths: Array) -> list[Array]:
        """The two sets."""
        upper = self.upper[rows]
        return [np.flatnonzero(upper), np.flatnonzero(~upper)]


class Scatter(Comparison):
    """Cliff's delta, upper against lower third by accuracy, of how far runs are from their like.

    A run's distance is that from the median of the *other* runs of its third, each axis of `points`
    (2, n) scaled by its median absolute deviation over the runs compared. Permutations assign runs
    to thirds anew, and with them the medians: so the test holds its level for any number of runs,
    and their spread tells the error, which a jackknife of medians does not.
    """

    is_noise_known = False
    is_permuted_error = True

    def __init__(self, points: Numbers, accuracy: Numbers):
        self.points, self.accuracy = np.asarray(points, float), np.asarray(accuracy, float)
        self.valid = np.isfinite(self.points).all(0) & np.isfinite(self.accuracy)

    def effects(self, rows: Array, counts: Array) -> Numbers:
        split = self._split(rows)
        if split is None:
            return np.full(len(counts), np.nan)
        points, upper, lower = split
        away = np.zeros(len(rows))
        for third in (upper, lower):
            away[third] = _from_others(points[:, None, third])[0]
        used = np.flatnonzero(upper | lower)
        return Contrast(away, upper, lower).effects(used, counts[:, used])

    def noise(self, rows: Array) -> float:
        """As of a contrast; that the runs of a third share their median is not in it."""
        sizes = [len(third) for third in self.cells(rows, rows)]
        return (sum(sizes) + 1) / (3 * math.prod(sizes)) if sizes else math.inf

    def permuted(self, rows: Array, size: int, random: np.random.Generator) -> Iterator[Numbers]:
        split = self._split(rows)
        assert split is not None
        points, upper, lower = split
        n_upper, n_used = int(upper.sum()), int(upper.sum() + lower.sum())
        for block in blocks(size, max(n_upper * (n_used - n_upper), len(rows))):
            orders = np.broadcast_to(np.arange(len(rows)), (block, len(rows)))
            drawn = points[:, random.permuted(orders, axis=1)[:, :n_used]]
            above, below = (_from_others(part) for part in np.split(drawn, [n_upper], axis=2))
            yield np.sign(above[:, :, None] - below[:, None, :]).mean((1, 2))

    def cells(self, rows: Array, widths: Array) -> list[Array]:
        """The two thirds."""
        split = self._split(rows)
        return [] if split is None else [np.flatnonzero(third) for third in split[1:]]

    def used(self, rows: Array) -> int:
        return sum(map(len, self.cells(rows, rows)))

    def _split(self, rows: Array) -> tuple[Numbers, Array, Array] | None:
        """The points (2, k), scaled, and (k,) which are in the upper and in the lower third."""
        upper, lower = thirds(self.accuracy[rows])
        if min(upper.sum(), lower.sum()) < FEWEST_OF_THIRD:
            return None
        return _scaled(self.points[:, rows]), upper, lower


def thirds(accuracy: Numbers, widths: Array | None = None) -> tuple[Array, Array]:
    """The upper and the lower third of the runs by accuracy, over all or in each width, (n,) bool.

    Of n runs each third has n // 3, more where accuracies at its edge are equal and fewer where
    the same accuracy reaches into both: such runs are in neither.
    """
    upper, lower = np.zeros(len(accuracy), bool), np.zeros(len(accuracy), bool)
    strata = np.zeros(len(accuracy)) if widths is None else widths
    for rows in rows_of(strata, np.isfinite(accuracy)).values():
        third = len(rows) // 3
        if third:
            ordered = np.sort(accuracy[rows])
            upper[rows] = accuracy[rows] >= ordered[-third]
            lower[rows] = accuracy[rows] <= ordered[third - 1]
    return upper & ~lower, lower & ~upper


def rows_of(strata: Array, valid: Array) -> dict[str, Array]:
    """The valid runs of each stratum, by its name."""
    return {
        str(name): np.flatnonzero((strata == name) & valid) for name in dict.fromkeys(strata[valid])
    }


def _scaled(points: Numbers) -> Numbers:
    """Points (2, k) by their median absolute deviation; an axis on which most are the same tells
    nothing of how they scatter, and is zero."""
    off = points - np.median(points, axis=1, keepdims=True)
    scale = np.median(np.abs(off), axis=1, keepdims=True)
    return np.divide(off, scale, out=np.zeros_like(off), where=scale > 0)


def _from_others(points: Numbers) -> Numbers:
    """(d, k) distances of points (2, d, k) from the median of the k - 1 others."""
    k = points.shape[-1]
    order = np.argsort(points, axis=-1, kind="stable")
    ordered = np.take_along_axis(points, order, -1)
    place = np.arange(k)
    # without the point at a place, those above it move down by one
    middles = [
        np.where(place > at, ordered[..., at, None], ordered[..., at + 1, None])
        for at in ((k - 2) // 2, (k - 1) // 2)
    ]
    middle = np.empty_like(ordered)
    np.put_along_axis(middle, order, (middles[0] + middles[1]) / 2, -1)
    away: Numbers = np.hypot(*(points - middle))
    return away


def _inner_products(
    a: Numbers, b: Numbers, size: int, random: np.random.Generator
) -> Iterator[Numbers]:
    """Blocks of `size` inner products in all of a and of b permuted."""
    for block in blocks(size, len(a)):
        yield random.permuted(np.broadcast_to(b, (block, len(b))), axis=1) @ a


class _Ranks:
    """Mean ranks of values that count as often as told, without sorting each time: (d, k)."""

    def __init__(self, values: Numbers):
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        is_new = np.append(True, ordered[1:] != ordered[:-1])
        self.first, self.group = np.flatnonzero(is_new), np.cumsum(is_new) - 1
        self.back = np.argsort(self.order)

    def __call__(self, counts: Array) -> Numbers:
        of_value = np.add.reduceat(counts[:, self.order], self.first, axis=1)
        ranks = np.cumsum(of_value, axis=1) - (of_value - 1) / 2
        return ranks[:, self.group[self.back]]


def _correlate(x: _Ranks, y: _Ranks, counts: Array) -> Numbers:
    """(d,) correlations of ranks; NaN where one is constant."""
    middle = (counts.sum(1, keepdims=True) + 1) / 2
    a, b = x(counts) - middle, y(counts) - middle
    weighted = a * counts
    product, squares = (weighted * b).sum(1), (weighted * a).sum(1)
    with np.errstate(all="ignore"):
        result: Numbers = product / np.sqrt(squares * (counts * b * b).sum(1))
        return result


def _standard_ranks(values: Numbers) -> Numbers:
    """Ranks with mean 0 and length 1, so that inner products are correlations; zero if constant."""
    centred = average_ranks(values) - (len(values) + 1) / 2
    length = math.sqrt(centred @ centred)
    return centred / length if length else centred
