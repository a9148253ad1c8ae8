"""Effects: how a number of each run goes with its accuracy, pooled and with width held fixed.

The run is the unit. A pooled effect is over all runs, given the widths of the study. A within-width
effect is the mean of the effects in each width, weighted by information: sum_w v_w e_w / sum_w v_w,
where v_w is one over the variance of e_w if there is nothing to find, times the square root of the
reliability of accuracy in that width, where it is known. A between-width effect is that of the
widths' medians, and its n is the number of widths.

Intervals are 95 % jackknife intervals (Tukey 1958) with Student's t, runs left out within each
width: on Fisher's z scale, but for mean rank correlations, which are biased in few runs, about the
effect less its bias. p is two-sided. Within width it is (1 + permutations at least as far from 0) /
(1 + permutations), where permutations within each width make an exact test; otherwise it is by the
same t as the interval, so that the two agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc, ndtri, stdtr, stdtrit

from weightscape.claims.comparisons import (
    Array,
    Comparison,
    Contrast,
    Correlation,
    Difference,
    Numbers,
    Scatter,
    rows_of,
)
from weightscape.measures.resampling import LEVEL, blocks

ROUNDING = 1e-12  # of an effect that is zero
FEWEST_OF_WIDTH = 4  # runs of a width from which it has an effect of its own
FEWEST_WIDTHS = 3  # that a between-width effect is of
MOST_LEFT_OUT = 50  # parts of a width that a jackknife leaves out, each by itself
LEAST_RELIABLE = 0.01  # no width has less information by its reliability than a tenth
POWER = 2.8016  # normal quantiles of 0.975 and 0.8, added: what 80 % of studies find


class Draws(NamedTuple):
    """How many permutations to draw, and from which seed."""

    permutations: int
    seed: int = 0


@dataclass(frozen=True)
class Effect:
    """An effect with its interval; NaN where there are too few runs or no variation."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    n: int = 0
    """runs that it rests on"""
    n_of_width: dict[str, int] = field(default_factory=dict)
    """of them by width"""
    of_width: dict[str, float] = field(default_factory=dict)
    """the effect in each of these widths"""
    centre: float = math.nan
    """the effect less its bias"""
    error: float = math.nan
    """its standard error"""
    freedom: float = math.inf
    """degrees of freedom of the error"""
    limit: float = 1.0
    """the largest effect that there can be"""
    attenuation: float = math.nan
    """what unreliable accuracies leave of it, from 0 to 1; NaN where that is not known"""
    detectable: float = math.nan
    """effect that 80 % of such studies would tell from 0 at p < 0.05"""
    heterogeneity: float = math.nan
    """I2, the share of the scatter of the widths' effects that is no noise"""
    heterogeneity_p: float = math.nan

    def columns(self, name: str) -> dict[str, float]:
        """The effect and its interval, as columns of a table."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def corrected(self) -> tuple[float, float, float]:
        """The effect and its interval, as they would be if accuracies were reliable."""
        ends = np.array([self.value, self.low, self.high]) / self.attenuation
        value, low, high = np.clip(ends, -self.limit, self.limit)
        return float(value), float(low), float(high)

    def negligible_p(self, smallest: float) -> float:
        """p of an effect of at least `smallest` in size, by two one-sided tests (Schuirmann 1987).

        Of the effect as it would be if accuracies were reliable, where that is known.
        """
        kept = 1.0 if math.isnan(self.attenuation) else self.attenuation
        if not self.error > 0:
            return math.nan
        return float(stdtr(self.freedom, (abs(self.centre) - smallest * kept) / self.error))


NOTHING = Effect()


def from_interval(value: float, low: float, high: float) -> Effect:
    """An effect of which no more is known than its 95 % interval.

    An interval without a width, of too few runs to differ, tells nothing and is left out.
    """
    if not high > low:
        return Effect(value)
    error = float((high - low) / (2 * ndtri((1 + LEVEL) / 2)))
    return Effect(value, low, high, centre=value, error=error, detectable=min(1.0, POWER * error))


class Pair(NamedTuple):
    """The pooled and the within-width effect of the same columns, and that between widths."""

    pooled: Effect
    within: Effect
    between: Effect = NOTHING
    """its n counts widths"""

    @property
    def sign_flip(self) -> bool:
        """Whether the two point in opposite directions, and neither is zero but for rounding."""
        values = self.pooled.value, self.within.value
        return min(values) < -ROUNDING and max(values) > ROUNDING

    def columns(self) -> dict[str, float]:
        """Both effects with n, intervals and p, as columns of a table."""
        pooled, within, _ = self
        return {
            "n": pooled.n,
            **pooled.columns("pooled"),
            "pooled_p": pooled.p,
            "n_within": within.n,
            **within.columns("within"),
            "within_p": within.p,
        }


Reliability = Mapping[str, float] | None
"""Width -> reliability of its runs' accuracies, from 0 to 1."""


def spearman(
    x: Numbers, y: Numbers, widths: Array, draws: Draws, reliability: Reliability = None
) -> Pair:
    """Spearman's rank correlation of x and y, each (n,); runs where one is not finite are left out.

    Permutations shuffle y, of which `reliability` is.
    """
    pair = _pair(Correlation(x, y), widths, draws, reliability)
    return pair._replace(between=_between(x, y, widths, draws))


def spearman_difference(
    x: Numbers,
    other: Numbers,
    y: Numbers,
    widths: Array,
    draws: Draws,
    reliability: Reliability = None,
) -> Pair:
    """Spearman's correlation of x with y less that of `other` with y; p is by the jackknife."""
    return _pair(Difference(x, other, y), widths, draws, reliability)


def cliffs_delta(x: Numbers, upper: Array, lower: Array, widths: Array, draws: Draws) -> Pair:
    """Cliff's delta of x, P(upper > lower) - P(upper < lower), over the pairs of two sets of runs.

    `upper` and `lower` are (n,) bool. Within widths only pairs of one width count. Permutations
    shuffle who is upper and who is lower.
    """
    return _pair(Contrast(x, upper, lower), widths, draws, None)


def scatter(points: Numbers, accuracy: Numbers, widths: Array, draws: Draws) -> Pair:
    """Cliff's delta of the distances of points (2, n) from those alike in accuracy (Scatter)."""
    return _pair(Scatter(points, accuracy), widths, draws, None)


def _pair(comparison: Comparison, widths: Array, draws: Draws, reliability: Reliability) -> Pair:
    widths = np.asarray(widths)
    by_width = rows_of(widths, comparison.valid)
    enough = {name: rows for name, rows in by_width.items() if len(rows) >= FEWEST_OF_WIDTH}
    within = _within(comparison, enough, widths, draws, reliability)
    if len(by_width) == len(enough) == 1:
        return Pair(within, within)
    pooled = _pooled(comparison, np.flatnonzero(comparison.valid), widths)
    n_of_width = {name: len(rows) for name, rows in by_width.items()}
    return Pair(replace(pooled, n_of_width=n_of_width), within)


def _pooled(comparison: Comparison, rows: Array, widths: Array) -> Effect:
    """Over all runs, given their widths."""
    known = Effect(_value(comparison, rows), n=comparison.used(rows), limit=comparison.limit)
    if math.isnan(known.value):
        return known
    quiet = math.sqrt(comparison.noise(rows))
    return _with_interval(known, _jackknife(comparison, rows, widths), quiet, on_z=True)


def _within(
    comparison: Comparison,
    strata: dict[str, Array],
    widths: Array,
    draws: Draws,
    reliability: Reliability,
) -> Effect:
    """The mean over widths of their effects, by information."""
    of_width = {name: _value(comparison, rows) for name, rows in strata.items()}
    of_width = {name: value for name, value in of_width.items() if math.isfinite(value)}
    n_of_width = {name: comparison.used(strata[name]) for name in of_width}
    if not of_width:
        return NOTHING
    values = np.array(list(of_width.values()))
    noise = np.array([comparison.noise(strata[name]) for name in of_width])
    kept = np.array([_kept(reliability, name) for name in of_width])
    weights = kept / noise / (kept / noise).sum()
    value = float(weights @ values)
    used = [strata[name] for name in of_width]
    drawn = _permuted(comparison, used, weights, draws)
    if drawn is not None and comparison.is_permuted_error:
        whole = _Part(0.0, float(drawn.std()), math.inf)
        quiet = whole.error
    else:
        whole = _together([_jackknife(comparison, rows, widths) for rows in used], weights)
        quiet = math.sqrt(weights**2 @ noise)  # the error if there is nothing to find
    share, share_p = math.nan, math.nan
    if comparison.is_noise_known:
        share, share_p = _heterogeneity(values, noise, kept)
    known = Effect(
        value,
        n=sum(n_of_width.values()),
        n_of_width=n_of_width,
        of_width=of_width,
        limit=comparison.limit,
        attenuation=float(weights @ kept) if reliability else math.nan,
        detectable=min(
            comparison.limit, POWER * (quiet if comparison.is_noise_known else whole.error)
        ),
        heterogeneity=share,
        heterogeneity_p=share_p,
    )
    found = _with_interval(known, whole, quiet, on_z=comparison.is_unbiased)
    return found if drawn is None else replace(found, p=_p_of(drawn, value))


def _with_interval(known: Effect, part: _Part, quiet: float, on_z: bool) -> Effect:
    """With its interval and p by the error: on Fisher's z scale, where the ends stay within the
    limits, or about the effect less its bias, as the mean of effects in few runs has one.

    `quiet` is the error if there is nothing to find.
    """
    value, limit = known.value, known.limit
    share = value / limit
    if abs(share) > 1 - ROUNDING:
        return _of_all_alike(known, quiet)
    reach = _reach(part.freedom)
    if on_z:
        centre, z, error = value, math.atanh(share), part.error / limit / (1 - share**2)
        t = abs(z) / error
        low, high = (limit * math.tanh(end) for end in (z - reach * error, z + reach * error))
    else:
        centre = value - part.bias
        t = abs(centre) / part.error
        low = max(min(centre - reach * part.error, value), -limit)
        high = min(max(centre + reach * part.error, value), limit)
    p = float(2 * stdtr(part.freedom, -t))
    found = replace(known, low=low, high=high, p=p)
    return replace(found, centre=centre, error=part.error, freedom=part.freedom)


def _between(x: Numbers, y: Numbers, widths: Array, draws: Draws) -> Effect:
    """Spearman's correlation of the widths' medians; p of all orders, or of orders drawn."""
    rows = rows_of(np.asarray(widths), np.isfinite(x) & np.isfinite(y))
    if len(rows) < FEWEST_WIDTHS:
        return Effect(n=len(rows))
    middles = Correlation(*(np.array([np.median(c[of]) for of in rows.values()]) for c in (x, y)))
    everyone = np.arange(len(rows))
    value = _value(middles, everyone)
    if math.isnan(value):
        return Effect(n=len(rows))
    if math.factorial(len(rows)) > draws.permutations:
        drawn = _permuted(middles, [everyone], np.ones(1), draws)
        assert drawn is not None
        return Effect(value, p=_p_of(drawn, value), n=len(rows))
    drawn = middles.of_all_orders(everyone)
    return Effect(value, p=float((np.abs(drawn) >= abs(value) - ROUNDING).mean()), n=len(rows))


def _value(comparison: Comparison, rows: Array) -> float:
    """NaN where there is none."""
    if len(rows) < 2:
        return math.nan
    return float(comparison.effects(rows, np.ones((1, len(rows))))[0])


def _kept(reliability: Reliability, width: str) -> float:
    """Of a correlation with accuracy in a width, by how reliable the accuracies are there."""
    if not reliability:
        return 1.0
    known = reliability.get(width, math.nan)
    return math.sqrt(min(max(known, LEAST_RELIABLE), 1)) if math.isfinite(known) else 1.0


class _Part(NamedTuple):
    """What leaving runs out tells of an effect in some runs."""

    bias: float
    error: float
    freedom: float


def _jackknife(comparison: Comparison, rows: Array, widths: Array) -> _Part:
    """Runs are left out of one cell at a time, whose others then count for more.

    A cell of many runs is cut into MOST_LEFT_OUT parts at random, which are left out in one piece.
    Where a cell has one run only, or leaving runs out changes nothing, the error is that of an
    effect of nothing.
    """
    cells = comparison.cells(rows, widths)
    if min(map(len, cells)) < 2:
        return _Part(0.0, math.sqrt(comparison.noise(rows)), len(rows) - 1)
    whole = _value(comparison, rows)
    bias, parts, random = 0.0, [], np.random.default_rng(0)
    for cell in cells:
        n_parts = min(len(cell), MOST_LEFT_OUT)
        part_of = random.permutation(np.arange(len(cell)) % n_parts)
        found = []
        first = 0
        for size in blocks(n_parts, len(rows)):
            counts = np.ones((size, len(rows)))
            is_out = part_of == np.arange(first, first + size)[:, None]
            n_left = len(cell) - is_out.sum(1, keepdims=True)
            counts[:, cell] = np.where(is_out, 0, len(cell) / n_left)
            found.append(comparison.effects(rows, counts))
            first += size
        left_out = np.concatenate(found)
        left_out = np.where(np.isfinite(left_out), left_out, whole)  # nothing varies without it
        variance = (n_parts - 1) ** 2 / n_parts * left_out.var(ddof=1)
        parts.append((float(variance), float(n_parts - 1)))
        bias += (n_parts - 1) * (left_out.mean() - whole)
    error, freedom = _add(parts)
    if error < ROUNDING:  # as of an effect that is as large as it can be
        error, freedom = math.sqrt(comparison.noise(rows)), len(rows) - 1
    return _Part(bias, error, freedom)


def _add(parts: list[tuple[float, float]]) -> tuple[float, float]:
    """The standard error of a sum, and its degrees of freedom (Satterthwaite 1946), of the
    variances of its terms and their degrees of freedom."""
    variances, freedoms = np.array(parts).T
    total = float(variances.sum())
    if not total > 0:
        return 0.0, float(freedoms.sum())
    return math.sqrt(total), float(total**2 / (variances**2 / freedoms).sum())


def _together(parts: list[_Part], weights: Numbers) -> _Part:
    """The weighted sum of independent effects."""
    scaled = zip(weights, parts, strict=True)
    error, freedom = _add([((w * part.error) ** 2, part.freedom) for w, part in scaled])
    bias = sum(w * part.bias for w, part in zip(weights, parts, strict=True))
    return _Part(float(bias), error, freedom)


def _of_all_alike(known: Effect, quiet: float) -> Effect:
    """An effect as large as it can be, of which leaving runs out tells no error.

    Its variance falls with its size e as 1 - e^2, from that of nothing to find: the interval has
    all e that are within the reach of their own error (Wilson 1927).
    """
    error = quiet / known.limit
    far = (_reach(math.inf) * error) ** 2
    end = known.limit * (1 - far) / (1 + far)
    low, high = (end, known.value) if known.value > 0 else (known.value, -end)
    p = float(2 * stdtr(math.inf, -1 / error))
    return replace(known, low=low, high=high, p=p, centre=known.value, error=quiet)


def _reach(freedom: float) -> float:
    """Standard errors on either side of a 95 % interval."""
    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _permuted(
    comparison: Comparison, strata: list[Array], weights: Numbers, draws: Draws
) -> Numbers | None:
    """Weighted sums over strata of effects, runs permuted in each; None where that is no test."""
    random = np.random.default_rng([draws.seed, 0])
    total = np.zeros(draws.permutations)
    for rows, weight in zip(strata, weights, strict=True):
        blocks_of = list(comparison.permuted(rows, draws.permutations, random))
        if not blocks_of:
            return None
        total += weight * np.concatenate(blocks_of)
    return total


def _p_of(drawn: Numbers, value: float) -> float:
    """Two-sided."""
    far = np.count_nonzero(np.abs(drawn) >= abs(value) - ROUNDING)
    return float((1 + far) / (1 + len(drawn)))


def _heterogeneity(values: Numbers, noise: Numbers, kept: Numbers) -> tuple[float, float]:
    """I2 (Higgins and Thompson 2002) and p of Cochran's Q, of the effects of several widths.

    What is expected of a width is the corrected effect times what its accuracies keep of it. The
    variance falls with that size, as a rank correlation's does (Bonett and Wright 2000).
    """
    if len(values) < 2:
        return math.nan, math.nan
    expected = kept * float(np.clip((kept * values / noise).sum() / (kept**2 / noise).sum(), -1, 1))
    variances = noise * np.maximum((1 - expected**2) ** 2 * (1 + expected**2 / 2), ROUNDING)
    q, freedom = float(((values - expected) ** 2 / variances).sum()), len(values) - 1
    return max(0.0, 1 - freedom / q) if q > 0 else 0.0, float(chdtrc(freedom, q))
