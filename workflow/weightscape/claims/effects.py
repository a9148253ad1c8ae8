"""Effects: how a number of each run goes with its accuracy, pooled and with width held fixed.

The run is the unit. A pooled effect is over all runs. A within-width effect is the mean of the
effects in each width, weighted by their runs: sum_w n_w e_w / sum_w n_w. An effect is a rank
statistic, so no unit and no monotone change of scale matters.

Intervals are percentile bootstrap intervals over runs, drawn within each width, since a study fixes
its widths and not its runs. p is two-sided, (1 + permutations at least as far from 0) / (1 +
permutations), over all runs or within each width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weightscape.measures.ranks import average_ranks
from weightscape.measures.resampling import blocks, interval, resamples

ROUNDING = 1e-12  # of an effect that is zero
FEWEST_OF_WIDTH = 8  # runs of a width from which it has an effect of its own

Numbers = NDArray[np.float64]
Array = NDArray[Any]


class Draws(NamedTuple):
    """How many resamples and permutations to draw, and from which seed."""

    resamples: int
    permutations: int
    seed: int = 0


class Effect(NamedTuple):
    """An effect in [-1, 1] with its interval; NaN where there are too few runs or no variation."""

    value: float
    low: float
    high: float
    p: float
    n: int
    """runs that it rests on"""
    n_of_width: dict[str, int]
    """of them by width"""
    of_width: dict[str, float]
    """the effect in each of these widths"""

    def columns(self, name: str) -> dict[str, float]:
        """The effect and its interval, as columns of a table."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


class Pair(NamedTuple):
    """The pooled and the within-width effect of the same columns."""

    pooled: Effect
    within: Effect

    @property
    def sign_flip(self) -> bool:
        """Whether the two point in opposite directions, and neither is zero but for rounding."""
        values = self.pooled.value, self.within.value
        return min(values) < -ROUNDING and max(values) > ROUNDING

    def columns(self) -> dict[str, float]:
        """Both effects with n, intervals and p, as columns of a table."""
        pooled, within = self
        return {
            "n": pooled.n,
            **pooled.columns("pooled"),
            "pooled_p": pooled.p,
            "n_within": within.n,
            **within.columns("within"),
            "within_p": within.p,
        }


def spearman(x: Numbers, y: Numbers, widths: Array, draws: Draws) -> Pair:
    """Spearman's rank correlation of x and y, each (n,); runs where one is not finite are left out.

    Permutations shuffle y.
    """
    return _pair(_Correlation(x, y), widths, draws)


def cliffs_delta(x: Numbers, upper: Array, lower: Array, widths: Array, draws: Draws) -> Pair:
    """Cliff's delta of x, P(upper > lower) - P(upper < lower), over the pairs of two sets of runs.

    `upper` and `lower` are (n,) bool. Within widths only pairs of one width count. Permutations
    shuffle who is upper and who is lower.
    """
    return _pair(_Contrast(x, upper, lower), widths, draws)


def spearman_difference(
    x: Numbers, other: Numbers, y: Numbers, widths: Array, draws: Draws
) -> Pair:
    """Spearman's correlation of x with y less that of `other` with y.

    Permutations swap a run's ranks in x and in `other`, which are alike if the two go with y alike.
    """
    return _pair(_Difference(x, other, y), widths, draws)


def thirds(accuracy: Numbers, widths: Array | None = None) -> tuple[Array, Array]:
    """The upper and the lower third of the runs by accuracy, over all or in each width, (n,) bool.

    Of n runs each third has n // 3, more where accuracies at its edge are equal and fewer where
    the same accuracy reaches into both: such runs are in neither.
    """
    upper, lower = np.zeros(len(accuracy), bool), np.zeros(len(accuracy), bool)
    strata = np.zeros(len(accuracy)) if widths is None else widths
    for rows in _rows_of(strata, np.isfinite(accuracy)).values():
        third = len(rows) // 3
        if third:
            ordered = np.sort(accuracy[rows])
            upper[rows] = accuracy[rows] >= ordered[-third]
            lower[rows] = accuracy[rows] <= ordered[third - 1]
    return upper & ~lower, lower & ~upper


class _Measure:
    """An effect as a sum over runs of a product of scores, and as a function of resamples."""

    valid: Array
    """(n,) bool: the runs that it can use"""
    counted: Array
    """(n,) bool: the runs that are counted to see whether a width has enough"""

    def scores(self, rows: Array) -> tuple[Numbers, Numbers] | None:
        """(k,) and (k,) whose inner product is the effect in the runs `rows`; None without one.

        Permutations reorder the second.
        """
        raise NotImplementedError

    def permute(self, a: Numbers, b: Numbers, size: int, random: np.random.Generator) -> Numbers:
        """(size,) inner products of the scores of a stratum, under permutations."""
        return random.permuted(np.broadcast_to(b, (size, len(b))), axis=1) @ a

    def resampled(self, rows: Array, counts: Array) -> Numbers:
        """(draws,) effects in the runs `rows`, each drawn as often as `counts` (draws, k) says."""
        raise NotImplementedError


class _Correlation(_Measure):
    def __init__(self, x: Numbers, y: Numbers):
        self.x, self.y = np.asarray(x, float), np.asarray(y, float)
        self.valid = self.counted = np.isfinite(self.x) & np.isfinite(self.y)

    def scores(self, rows: Array) -> tuple[Numbers, Numbers] | None:
        pair = _standard_ranks(self.x[rows]), _standard_ranks(self.y[rows])
        return None if pair[0] is None or pair[1] is None else pair  # type: ignore[return-value]

    def resampled(self, rows: Array, counts: Array) -> Numbers:
        return _correlate(_Ranks(self.x[rows]), _Ranks(self.y[rows]), counts)


class _Difference(_Measure):
    def __init__(self, x: Numbers, other: Numbers, y: Numbers):
        self.x, self.other, self.y = (np.asarray(column, float) for column in (x, other, y))
        there = np.isfinite(self.x) & np.isfinite(self.other) & np.isfinite(self.y)
        self.valid = self.counted = there

    def scores(self, rows: Array) -> tuple[Numbers, Numbers] | None:
        ranks = [_standard_ranks(column[rows]) for column in (self.x, self.other, self.y)]
        if any(rank is None for rank in ranks):
            return None
        x, other, y = ranks
        return (x - other) * y, np.ones(len(rows))  # type: ignore[operator]

    def permute(self, a: Numbers, b: Numbers, size: int, random: np.random.Generator) -> Numbers:
        """The same where permutations change signs, in place of the order."""
        flips = random.integers(0, 2, (size, len(a)), np.int8)
        return (2.0 * flips - 1) @ a

    def resampled(self, rows: Array, counts: Array) -> Numbers:
        y = _Ranks(self.y[rows])
        first = _correlate(_Ranks(self.x[rows]), y, counts)
        return first - _correlate(_Ranks(self.other[rows]), y, counts)


class _Contrast(_Measure):
    def __init__(self, x: Numbers, upper: Array, lower: Array):
        self.x, self.upper = np.asarray(x, float), np.asarray(upper, bool)
        self.valid = np.isfinite(self.x) & (self.upper ^ np.asarray(lower, bool))
        self.counted = np.ones(len(self.x), bool)  # those between upper and lower too

    def scores(self, rows: Array) -> tuple[Numbers, Numbers] | None:
        """delta = 2 (mean rank of upper - mean rank of lower) / n."""
        upper = self.upper[rows]
        if upper.all() or not upper.any():
            return None
        label = np.where(upper, 1 / upper.sum(), -1 / (~upper).sum())
        return 2 * average_ranks(self.x[rows]) / len(rows), label

    def resampled(self, rows: Array, counts: Array) -> Numbers:
        ranks, upper = _Ranks(self.x[rows])(counts), self.upper[rows]
        n_upper, n_lower = counts[:, upper].sum(1), counts[:, ~upper].sum(1)
        with np.errstate(all="ignore"):
            above = (ranks * counts)[:, upper].sum(1) / n_upper
            below = (ranks * counts)[:, ~upper].sum(1) / n_lower
            result: Numbers = 2 * (above - below) / (n_upper + n_lower)
            return result


class _Ranks:
    """Mean ranks of values in resamples, without sorting each: (draws, k) of counts (draws, k)."""

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
    """(draws,) correlations of ranks in resamples; NaN where one is constant."""
    middle = (counts.sum(1, keepdims=True) + 1) / 2
    a, b = x(counts) - middle, y(counts) - middle
    weighted = a * counts
    product, squares = (weighted * b).sum(1), (weighted * a).sum(1)
    with np.errstate(all="ignore"):
        result: Numbers = product / np.sqrt(squares * (counts * b * b).sum(1))
        return result


def _standard_ranks(values: Numbers) -> Numbers | None:
    """Ranks with mean 0 and length 1, so that inner products are correlations; None if constant."""
    centred = average_ranks(values) - (len(values) + 1) / 2
    length = math.sqrt(centred @ centred)
    return centred / length if length else None


def _rows_of(strata: Array, valid: Array) -> dict[str, Array]:
    """The valid runs of each stratum, by its name."""
    return {
        str(name): np.flatnonzero((strata == name) & valid) for name in dict.fromkeys(strata[valid])
    }


def _pair(measure: _Measure, widths: Array, draws: Draws) -> Pair:
    widths = np.asarray(widths)
    by_width = _rows_of(widths, measure.valid)
    everywhere = np.flatnonzero(measure.valid)
    counts_of_width = {name: len(rows) for name, rows in by_width.items()}
    pooled = _effect(measure, {"": everywhere}, list(by_width.values()), draws)
    pooled = pooled._replace(n_of_width=counts_of_width)
    counted = _rows_of(widths, measure.counted)
    enough = {
        name: rows for name, rows in by_width.items() if len(counted[name]) >= FEWEST_OF_WIDTH
    }
    return Pair(pooled, _effect(measure, enough, list(enough.values()), draws))


def _effect(
    measure: _Measure, strata: dict[str, Array], cells: list[Array], draws: Draws
) -> Effect:
    """The mean effect over strata of runs; resamples are drawn within `cells`."""
    scores = {name: measure.scores(rows) for name, rows in strata.items()}
    used = {name: pair for name, pair in scores.items() if pair is not None}
    n_of = {name: len(strata[name]) for name in used}
    n = sum(n_of.values())
    if not n or all(len(rows) < 2 for rows in cells):
        return Effect(math.nan, math.nan, math.nan, math.nan, n, {}, {})
    of_width = {name: float(a @ b) for name, (a, b) in used.items()}
    value = sum(n_of[name] * effect for name, effect in of_width.items()) / n
    weighted = [(a * n_of[name] / n, b) for name, (a, b) in used.items()]
    far = sum(
        np.count_nonzero(np.abs(found) >= abs(value) - 1e-12)
        for found in _permuted(measure, weighted, draws)
    )
    low, high = interval(_resampled(measure, [strata[name] for name in used], cells, draws))
    p = (1 + far) / (1 + draws.permutations)
    return Effect(value, low, high, float(p), n, n_of, of_width)


def _permuted(
    measure: _Measure, scores: list[tuple[Numbers, Numbers]], draws: Draws
) -> Iterator[Numbers]:
    """Blocks of sums over strata of inner products, the scores permuted in each stratum."""
    random = np.random.default_rng([draws.seed, 0])
    for size in blocks(draws.permutations, max(len(a) for a, _ in scores)):
        total = np.zeros(size)
        for a, b in scores:
            total += measure.permute(a, b, size, random)
        yield total


def _resampled(measure: _Measure, strata: list[Array], cells: list[Array], draws: Draws) -> Numbers:
    """(draws,) mean effects over strata, each resample drawn anew within the cells."""
    random = np.random.default_rng([draws.seed, 1])
    found = []
    for counts in resamples(cells, len(measure.valid), draws.resamples, random):
        effects = np.stack([measure.resampled(rows, counts[:, rows]) for rows in strata])
        # a resample without variation in a stratum has no effect there
        weights = np.where(np.isfinite(effects), [[len(rows)] for rows in strata], 0)
        with np.errstate(invalid="ignore"):
            found.append(np.nansum(np.where(weights > 0, effects, 0) * weights, 0) / weights.sum(0))
    return np.concatenate(found)
