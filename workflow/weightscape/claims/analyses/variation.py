"""Where variation comes from: width, initialisation, order of the images, or both together.

Within a width y_ij = m + a_i + b_j + e_ij for the initialisation i and the order j: a crossed
layout with one run in each cell. A run is deterministic given both, so e is no noise but their
interaction: what an order does to one initialisation and not to another. Networks of two widths
share neither initialisation nor order, so both are nested in width.

Components of variance come from mean squares by the method of moments (Searle, Casella and
McCulloch 1992, chapter 4): they are unbiased whatever the distributions are, and may be negative.
Those within widths are the mean over widths, each weighing the same; that of width is the variance
of the widths' means over the study's widths, less what the runs' own variation adds to it. Together
they are the variance of a run of a width drawn from the study's. With plain seeds an
initialisation comes with one order, and all within widths is the residual.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy

from weightscape.claims.comparisons import Numbers
from weightscape.heads import MeasureHead, Table, layer_measures, told_layer_measures
from weightscape.measures.job import Job
from weightscape.measures.resampling import LEVEL
from weightscape.runs.collecting import KEYS

HEAD = MeasureHead(
    reads=("runs", "grouping", "layers"),
    tables={
        "variation": Table(
            row=(
                "number of a run: what its variance is made of: width, initialisation, order "
                "of the images"
            ),
            keys=("model", "dataset", "layer", "statistic"),
            columns={
                "n": "runs used",
                "n_left_out": (
                    "runs left out: of an initialisation with a value that is not finite, or "
                    "of a width with fewer than two complete ones"
                ),
                "n_widths": "widths used",
                "n_init": "initialisations used, summed over the widths",
                "n_shuffle": (
                    "orders of the training images used, summed over the widths; with plain "
                    "seeds each run has its own"
                ),
                "variance": (
                    "sum of the variance_ columns that are not empty: variance of a run of a "
                    "width drawn from the study's (statistic's unit squared)"
                ),
                "variance_width": (
                    "component of width: variance of the widths' means less what runs' scatter "
                    "adds to it, may be negative; empty with one width"
                ),
                "variance_init": (
                    "component of the initialisation, (MS_init - MS_residual) / orders, mean "
                    "over widths, may be negative; empty with plain seeds"
                ),
                "variance_shuffle": (
                    "component of the images' order, (MS_shuffle - MS_residual) / "
                    "initialisations, mean over widths; empty with plain seeds"
                ),
                "variance_residual": (
                    "interaction of initialisation and order, MS_residual, mean over widths; "
                    "with plain seeds the variance of a width's runs"
                ),
                "share_width": (
                    "share of width in the variance, from 0 to 1: variance_width over the sum, "
                    "negative components taken for 0"
                ),
                "share_width_low": (
                    "lower end of the 95 % jackknife interval of share_width; empty with fewer "
                    "than three initialisations or orders"
                ),
                "share_width_high": "upper end of the 95 % jackknife interval of share_width",
                "share_init": (
                    "share of the initialisation in the variance, from 0 to 1: variance_init "
                    "over the sum, negative components taken for 0"
                ),
                "share_init_low": "lower end of the 95 % jackknife interval of share_init",
                "share_init_high": "upper end of the 95 % jackknife interval of share_init",
                "share_shuffle": (
                    "share of the order of the training images in the variance, from 0 to 1: "
                    "variance_shuffle over the sum, negative components taken for 0"
                ),
                "share_shuffle_low": "lower end of the 95 % jackknife interval of share_shuffle",
                "share_shuffle_high": "upper end of the 95 % jackknife interval of share_shuffle",
                "share_residual": (
                    "share of the residual in the variance, from 0 to 1: variance_residual "
                    "over the sum, negative components taken for 0"
                ),
                "share_residual_low": "lower end of the 95 % jackknife interval of share_residual",
                "share_residual_high": "upper end of the 95 % jackknife interval of share_residual",
                "p_width": (
                    "p of Welch's test that all widths have the same mean; empty with one width"
                ),
                "p_init": (
                    "p of the initialisation's F tests in each width, combined by Fisher's "
                    "method; empty with plain seeds"
                ),
                "p_shuffle": (
                    "p of the order's F tests in each width, combined by Fisher's method; "
                    "empty with plain seeds"
                ),
            },
        ),
        "variation_widths": Table(
            row="number of a run and width: the same within each width",
            keys=("model", "dataset", "width", "layer", "statistic"),
            columns={
                "n": "runs of the width used",
                "n_init": "initialisations used",
                "n_shuffle": (
                    "orders of the training images used; with plain seeds each run has its own"
                ),
                "mean": "mean of the statistic over these runs, in its unit",
                "variance": (
                    "sum of the variance_ columns that are not empty (statistic's unit squared)"
                ),
                "variance_init": (
                    "component of the initialisation, (MS_init - MS_residual) / orders, may be "
                    "negative; empty with plain seeds"
                ),
                "variance_shuffle": (
                    "component of the images' order, (MS_shuffle - MS_residual) / "
                    "initialisations, may be negative; empty with plain seeds"
                ),
                "variance_residual": (
                    "interaction of initialisation and order, MS_residual; with plain seeds "
                    "the sample variance of the runs"
                ),
                "share_init": (
                    "share of the initialisation in the variance, from 0 to 1, negative "
                    "components taken for 0; empty with plain seeds"
                ),
                "share_shuffle": (
                    "share of the order of the training images in the variance, from 0 to 1, "
                    "likewise"
                ),
                "share_residual": (
                    "share of the residual in the variance, from 0 to 1, likewise; 1 with "
                    "plain seeds"
                ),
                "f_init": (
                    "F statistic of the initialisation, MS_init / MS_residual; empty with "
                    "plain seeds"
                ),
                "p_init": "p of f_init",
                "f_shuffle": (
                    "F statistic of the order of the training images, MS_shuffle / "
                    "MS_residual; empty with plain seeds"
                ),
                "p_shuffle": "p of f_shuffle",
            },
        ),
    },
)

PARTS = ("width", "init", "shuffle", "residual")
SEEDS = ["init_seed", "shuffle_seed"]
ACCURACIES = ("test_accuracy", "train_accuracy")
CHOSEN = {name: head.variation for name, head in told_layer_measures().items() if head.variation}
"""table -> its columns whose variation is told, beside the accuracies"""

COLUMNS = tuple(HEAD.tables["variation"].names)
WIDTH_COLUMNS = tuple(HEAD.tables["variation_widths"].names)


def make(job: Job) -> None:
    pooled, by_width = measure(job.runs, job.layers())
    job.write(variation=pooled, variation_widths=by_width)


def measure(runs: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, ...]:
    """COLUMNS and WIDTH_COLUMNS of one population; `tables` are by layer, each of CHOSEN."""
    runs = runs.reset_index(drop=True)
    layouts = find_layouts(runs)
    pair = dict(zip(KEYS[:2], runs[KEYS[:2]].iloc[0], strict=True))
    pooled, by_width = [], []
    for layer, statistic, values in _quantities(runs, tables):
        what = pair | {"layer": layer, "statistic": statistic}
        grids = {width: complete(values[rows]) for width, rows in layouts.items()}
        grids = {width: grid for width, grid in grids.items() if len(grid) > 1}
        left_out = {"n_left_out": len(runs) - sum(grid.size for grid in grids.values())}
        pooled.append(what | left_out | describe(list(grids.values())))
        by_width += [what | {"width": w} | describe_width(grid) for w, grid in grids.items()]
    return pd.DataFrame(pooled, columns=COLUMNS), pd.DataFrame(by_width, columns=WIDTH_COLUMNS)


def _quantities(
    runs: pd.DataFrame, tables: dict[str, pd.DataFrame]
) -> Iterator[tuple[str, str, Numbers]]:
    """Layer, name and (n,) values of each quantity; a run that a table lacks is NaN."""
    for name in ACCURACIES:
        yield "", name, runs[name].to_numpy(float)
    keys = pd.MultiIndex.from_frame(runs[KEYS])
    for layer in dict.fromkeys(tables["statistics"]["layer"]):
        for table, columns in CHOSEN.items():
            rows, prefix = tables[table], layer_measures()[table].prefix
            found = rows[rows["layer"] == layer].set_index(KEYS).reindex(keys)
            for column in columns:
                yield layer, prefix + column, found[column].to_numpy(float)


def find_layouts(runs: pd.DataFrame) -> dict[str, np.ndarray]:
    """Width -> the rows of its runs: (init, shuffle) if seeds are crossed, else (n, 1)."""
    layouts: dict[str, np.ndarray] = {}
    for width, own in runs.sort_values(SEEDS, kind="stable").groupby("width", sort=False):
        n_init, n_shuffle = own["init_seed"].nunique(), own["shuffle_seed"].nunique()
        crossed = min(n_init, n_shuffle) > 1 and n_init * n_shuffle == len(own)
        layouts[str(width)] = own.index.to_numpy().reshape(-1, n_shuffle if crossed else 1)
    return layouts


def complete(values: Numbers) -> Numbers:
    """The initialisations (rows) all of whose runs have a finite value."""
    return values[np.isfinite(values).all(axis=1)]


class Squares(NamedTuple):
    """Mean squares of grids (..., a, b), each (...)."""

    mean: Numbers
    init: Numbers
    shuffle: Numbers
    residual: Numbers


@np.errstate(all="ignore")  # one order has no mean square of orders, and huge values no squares
def mean_squares(values: Numbers) -> Squares:
    """Of crossed grids (..., a, b); of plain runs (..., n, 1) `init` is their sample variance."""
    *_, a, b = values.shape
    start = values[..., :1, :1]  # equal values have no variation, not that of rounding
    values = values - start
    mean = values.mean((-2, -1), keepdims=True)
    rows = values.mean(-1, keepdims=True) - mean
    columns = values.mean(-2, keepdims=True) - mean
    rest = values - mean - rows - columns
    return Squares(
        (mean + start)[..., 0, 0],
        b * (rows**2).sum((-2, -1)) / np.float64(a - 1),
        a * (columns**2).sum((-2, -1)) / np.float64(b - 1),
        (rest**2).sum((-2, -1)) / np.float64((a - 1) * (b - 1)),
    )


@np.errstate(all="ignore")
def components(values: Numbers) -> Numbers:
    """Of grids (..., a, b): mean, variance of that mean, init, shuffle and residual; (5, ...).

    E[init] = s_e + b s_a, E[shuffle] = s_e + a s_b, E[residual] = s_e for the mean squares, so that
    s_a/a + s_b/b + s_e/(a b), the variance of the mean, is (init + shuffle - residual)/(a b).
    """
    *_, a, b = values.shape
    mean, init, shuffle, residual = mean_squares(values)
    if b == 1:
        unknown = np.full_like(mean, math.nan)
        return np.stack([mean, init / a, unknown, unknown, init])
    return np.stack(
        [
            mean,
            (init + shuffle - residual) / (a * b),
            (init - residual) / b,
            (shuffle - residual) / a,
            residual,
        ]
    )


def pool(found: Numbers) -> Numbers:
    """The variance of PARTS, (4, ...), of the components of widths, (5, widths, ...).

    That of width is 1/W sum (m_w - m)^2 less (1 - 1/W) of the means' own variance; NaN of one.
    """
    mean, of_mean, *within = found
    n = len(mean)
    between = (
        mean.var(0) - (1 - 1 / n) * of_mean.mean(0) if n > 1 else np.full(mean[0].shape, np.nan)
    )
    return np.stack([between, *(part.mean(0) for part in within)])


def shares(variances: Numbers) -> Numbers:
    """Of the parts (4, ...) in their sum, those that are estimated below 0 taken for 0.

    Parts that are not told apart stay NaN; all are where nothing varies.
    """
    return _over_sum(np.maximum(variances, 0))


@np.errstate(invalid="ignore", divide="ignore")
def _over_sum(variances: Numbers) -> Numbers:
    total = np.nansum(variances, axis=0)
    return np.where(np.isfinite(total) & (total > 0), variances / total, np.nan)


def intervals(grids: list[Numbers]) -> tuple[Numbers, Numbers]:
    """Low and high ends, each (4,), of 95 % intervals of the shares of PARTS.

    The delete-one jackknife over initialisations and orders, each of them with all its runs
    (Arvesen 1969), with Student's t of the fewest levels less one. The sum of both sides' variances
    counts the interaction twice, and so errs to the wide side. NaN from fewer than three levels.
    """
    found = np.stack([components(grid) for grid in grids], axis=1)
    variance = np.zeros(len(PARTS))
    levels = [n for grid in grids for n in grid.shape if n > 1]
    if min(levels) < 3:
        return variance * np.nan, variance * np.nan
    for number, grid in enumerate(grids):
        for axis, n in enumerate(grid.shape):
            if n > 1:
                shortened = np.stack([np.delete(grid, level, axis) for level in range(n)])
                replicas = np.repeat(found[..., np.newaxis], n, axis=2)
                replicas[:, number] = components(shortened)
                variance += (n - 1) * _over_sum(pool(replicas)).var(axis=1)
    middle = shares(pool(found))
    reach = scipy.special.stdtrit(min(levels) - 1, (1 + LEVEL) / 2) * np.sqrt(variance)
    return np.clip(middle - reach, 0, 1), np.clip(middle + reach, 0, 1)


@np.errstate(all="ignore")  # what overflows, or does not vary, is NaN
def describe(grids: list[Numbers]) -> dict[str, float]:
    """COLUMNS of one quantity, of the grids (init, shuffle) of its widths."""
    counts: dict[str, float] = {
        "n": sum(grid.size for grid in grids),
        "n_widths": len(grids),
        "n_init": sum(len(grid) for grid in grids),
        "n_shuffle": sum(_n_shuffle(grid) for grid in grids),
    }
    if not grids:
        return counts
    low, high = intervals(grids)
    variances = pool(np.stack([components(grid) for grid in grids], axis=1))
    tests = [f_tests(grid) for grid in grids]
    return {
        **counts,
        **_parts(variances),
        **_named("share", low, "_low"),
        **_named("share", high, "_high"),
        "p_width": welch(grids),
        **{p: combine([test[p] for test in tests]) for p in ("p_init", "p_shuffle")},
    }


@np.errstate(all="ignore")
def describe_width(grid: Numbers) -> dict[str, float]:
    """WIDTH_COLUMNS of one quantity in one width."""
    found = components(grid)
    return {
        "n": grid.size,
        "n_init": len(grid),
        "n_shuffle": _n_shuffle(grid),
        "mean": found[0],
        **_parts(pool(found[:, np.newaxis])),
        **f_tests(grid),
    }


def _n_shuffle(grid: Numbers) -> int:
    """Orders: a column each, or one for each plain run."""
    return grid.shape[1] if grid.shape[1] > 1 else len(grid)


def _parts(variances: Numbers) -> dict[str, float]:
    """Variances of PARTS, as estimated, their sum, and the shares of it."""
    named = _named("variance", variances) | _named("share", shares(variances))
    return {"variance": float(np.nansum(variances)), **named}


def _named(what: str, values: Numbers, end: str = "") -> dict[str, float]:
    return {f"{what}_{part}{end}": float(v) for part, v in zip(PARTS, values, strict=True)}


@np.errstate(invalid="ignore", divide="ignore")
def f_tests(grid: Numbers) -> dict[str, float]:
    """Of one width: the mean squares of initialisations and of orders over the residual's, and p.

    F has a - 1 or b - 1 and (a - 1)(b - 1) degrees of freedom; NaN of plain runs.
    """
    a, b = grid.shape
    squares = mean_squares(grid)
    found: dict[str, float] = {}
    for side, degrees in (("init", a - 1), ("shuffle", b - 1)):
        f = getattr(squares, side) / squares.residual
        p = scipy.special.fdtrc(degrees, (a - 1) * (b - 1), f)
        found |= {f"f_{side}": float(f), f"p_{side}": float(p)}
    return found


def combine(p_values: list[float]) -> float:
    """Fisher's p of the widths' own, exact however differently they scatter; NaN of none.

    One F of all widths' squares would be that of the widths that scatter most, at the degrees of
    freedom of all.
    """
    known = [p for p in p_values if math.isfinite(p)]
    if not known:
        return math.nan
    with np.errstate(divide="ignore"):  # p below the smallest number
        return float(scipy.special.chdtrc(2 * len(known), -2 * np.log(known).sum()))


@np.errstate(invalid="ignore", divide="ignore")
def welch(grids: list[Numbers]) -> float:
    """p of Welch's (1951) test that all widths have one mean, however differently they scatter.

    The variance of a crossed width's mean is taken for (init + shuffle)/(a b) of the mean squares
    with Satterthwaite's degrees of freedom: too large by s_e/(a b), so p errs to the large side.
    """
    if len(grids) < 2:
        return math.nan
    found = [mean_squares(grid) for grid in grids]
    sides = np.array(
        [(s.init, s.shuffle if g.shape[1] > 1 else 0.0) for s, g in zip(found, grids, strict=True)]
    )
    shapes = np.array([grid.shape for grid in grids])
    means, total, k = np.array([s.mean for s in found]), sides.sum(1), len(grids)
    degrees = total**2 / (sides**2 / np.maximum(shapes - 1, 1)).sum(1)
    weights = shapes.prod(1) / total
    weights, sum_of_weights = weights / weights.sum(), weights.sum()
    spread = sum_of_weights * (weights * (means - weights @ means) ** 2).sum() / (k - 1)
    loss = ((1 - weights) ** 2 / degrees).sum()
    f = spread / (1 + 2 * (k - 2) / (k**2 - 1) * loss)
    return float(scipy.special.fdtrc(k - 1, (k**2 - 1) / (3 * loss), f))
