"""Density: histogram and Gaussian kernel density estimate of a layer's weights, by group.

The run is the unit: each run's weights are estimated with a bandwidth of their own by one rule, and
a group's density is the mean over its runs on a grid that all groups of the layer share.

A run is estimated in standard units u = (w - mean) / std: its weights are counted in CELLS fine
cells of [-REACH, REACH], and the cosine transform of the counts is damped by that of the Gaussian.
A change of units changes the estimate exactly as it changes the weights, so the curve in standard
units holds the one in the weights' own. Against the exact estimator the error is below 0.5 % of the
peak (tests/unit/test_density.py).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import h5py
import numpy as np
import scipy

from weightscape.measures.layer import LayerWeights
from weightscape.study.sections import GROUPS

RULES = ("silverman", "scott", "isj")

REACH = 8.0  # standard deviations
CELLS, POINTS = 40960, 1024  # cells that weights are counted in, points that a curve is kept at
FINEST = 4 * REACH / POINTS  # bandwidth in standard deviations that the points still show: 1/32
GRID_POINTS = 512
BINS = 2**16  # fine bins of a layer's histograms, before they are joined to about SHOWN_BINS
SHOWN_BINS = 100
COVERED = 0.999  # central share of the layer's weights that grid and histogram show
BLOCK = 64  # runs whose curves are written at once, a chunk of the file
BAND = (0.05, 0.95)  # quantiles over runs


class Curve(NamedTuple):
    """The density of one run's weights in standard units, at `standard_grid()`."""

    density: np.ndarray
    """(POINTS,) float32, per standard deviation"""
    mean: float
    std: float
    bandwidth: float
    """in the weights' own units"""


NUMBERS = ("mean", "std", "bandwidth")
NO_CURVE = Curve(np.full(POINTS, np.nan, np.float32), math.nan, math.nan, math.nan)


def standard_grid() -> np.ndarray:
    """(POINTS,) places in standard units: the centres of equal cells of [-REACH, REACH]."""
    return (np.arange(POINTS) + 0.5) * (2 * REACH / POINTS) - REACH


def estimate(layer: LayerWeights, rule: str) -> Curve | None:
    """The density of a layer's weights; None if they are all equal or not finite.

    The bandwidth is at least FINEST standard deviations. Weights beyond REACH standard deviations
    are left out of the curve, which then integrates to less than 1 by their share.
    """
    if not (layer.is_finite and layer.std > 0):
        return None
    places = (layer.deviations / layer.std + REACH) * (CELLS / (2 * REACH))
    if max(-layer.deviations.min(), layer.deviations.max()) >= REACH * layer.std:
        places = places[(places >= 0) & (places < CELLS)]
    counts = np.bincount(places.astype(np.int32), minlength=CELLS)
    # the series of cosines of the density on [0, 1], which stands for [-REACH, REACH]
    series = scipy.fft.dct(counts / layer.size, overwrite_x=True)[:POINTS]
    bandwidth = max(_bandwidth(layer, series, rule), FINEST)
    orders = np.arange(POINTS) * (math.pi * bandwidth / (2 * REACH))
    density = scipy.fft.idct(series * np.exp(-0.5 * orders**2)) * (POINTS / (2 * REACH))
    np.maximum(density, 0, out=density)  # the transform leaves some -1e-18
    return Curve(density.astype(np.float32), layer.mean, layer.std, bandwidth * layer.std)


def _bandwidth(layer: LayerWeights, series: np.ndarray, rule: str) -> float:
    """The bandwidth of N weights in standard deviations.

    silverman: 0.9 min(1, IQR / 1.34) N^-1/5 (Silverman 1986, eq. 3.31); scott: 1.06 N^-1/5 (Scott
    1992); isj: improved Sheather-Jones (Botev, Grotowski, Kroese 2010, Annals of Statistics 38).
    """
    if rule == "isj":
        return _improved_sheather_jones(series, layer.size)
    if rule == "scott":
        return float(1.06 * layer.size**-0.2)
    return layer.bandwidth / layer.std


def _improved_sheather_jones(series: np.ndarray, size: int, stages: int = 7) -> float:
    """Botev's fixed point t = xi gamma^[6](t), for the cosine series of the density on [0, 1].

    Without a root, as for very few weights, the rule of Scott.
    """
    orders = (np.arange(1, len(series)) * math.pi) ** 2
    powers = (series[1:] / 2) ** 2

    def roughness(order: int, time: float) -> float:
        """|| d^order/dx^order of the density ||^2 after smoothing by `time` = bandwidth^2."""
        return 2 * float(orders**order * powers @ np.exp(-orders * time))

    def excess(time: float) -> float:
        norm = roughness(stages, time)
        for order in range(stages - 1, 1, -1):
            odd = math.prod(range(1, 2 * order, 2)) / math.sqrt(2 * math.pi)
            constant = (1 + 0.5 ** (order + 0.5)) / 3
            norm = roughness(order, (2 * constant * odd / (size * norm)) ** (2 / (3 + 2 * order)))
        return float(time - (2 * size * math.sqrt(math.pi) * norm) ** -0.4)

    least, most = (FINEST / (2 * REACH)) ** 2, (1 / (2 * REACH)) ** 2
    with np.errstate(all="ignore"):
        if excess(least) >= 0:
            return FINEST
        if not excess(most) > 0:
            return float(1.06 * size**-0.2)
        return 2 * REACH * math.sqrt(scipy.optimize.brentq(excess, least, most, rtol=1e-4))


class Histogram:
    """Counts of weights in BINS equal bins of [-reach, reach], for each group, and their shares.

    The reach is a power of two and doubles as weights come that lie beyond it: then neighbouring
    bins join, so the counts are exact and do not depend on the order of the runs. A share is the
    mean over runs of the part of a run's weights in the bin: each run weighs the same.
    """

    def __init__(self) -> None:
        self.reach = 2.0**-10
        self.counts = {group: np.zeros(BINS, np.int64) for group in GROUPS}
        self.shares = {group: np.zeros(BINS) for group in GROUPS}

    def add(self, group: str, layer: LayerWeights) -> None:
        largest = max(abs(float(layer.sorted[0])), abs(float(layer.sorted[-1])))
        while largest >= self.reach:
            self._double()
        # a product with a power of two is exact, a sum with the reach is not
        places = np.floor(layer.values * (BINS / (2 * self.reach))).astype(np.int32)
        counts = np.bincount(places + BINS // 2, minlength=BINS)
        self.counts[group] += counts
        self.shares[group] += counts / layer.size

    def _double(self) -> None:
        self.reach *= 2
        quarter = BINS // 4
        for bins in (*self.counts.values(), *self.shares.values()):
            joined = bins.reshape(-1, 2).sum(1)
            bins[:] = 0
            bins[quarter : 3 * quarter] = joined

    def shown(self) -> tuple[int, int, int]:
        """(first fine bin, fine bins a shown bin, shown bins) that cover COVERED of all shares."""
        mixture = np.cumsum(sum(self.shares.values()))
        tail = (1 - COVERED) / 2 * mixture[-1]
        first = int(np.searchsorted(mixture, tail))
        last = int(np.searchsorted(mixture, mixture[-1] - tail)) + 1
        joined = max(1, (last - first) // SHOWN_BINS)
        return first, joined, -(-(last - first) // joined)

    def edges(self) -> np.ndarray:
        """(bins + 1,) edges of the shown bins."""
        first, joined, n = self.shown()
        return (first + joined * np.arange(n + 1)) * (2 * self.reach / BINS) - self.reach

    def join(self, bins: np.ndarray) -> np.ndarray:
        """Fine counts or shares as those of the shown bins."""
        first, joined, n = self.shown()
        covered = bins[first : first + joined * n]  # the last shown bin may end beyond the reach
        result: np.ndarray = (
            np.pad(covered, (0, joined * n - len(covered))).reshape(n, joined).sum(1)
        )
        return result


class Densities:
    """Collects the curves of all runs in an HDF5 file, and at the end the groups' densities.

    The file, open for writing, takes for each layer `runs/` with each run's curve, and per group
    grid (G,), density (G,), band (2, G), standard_grid (P,), standard_density (P,), edges (B + 1,),
    counts (B,) and share (B,); attribute n is its number of runs. Curves are written BLOCK at once.
    """

    def __init__(self, file: h5py.File, layers: list[str], n_runs: int, rule: str):
        self.file, self.rule, self.n = file, rule, 0
        self.histograms = {layer: Histogram() for layer in layers}
        self.groups: list[str] = []
        self.keys: list[tuple[str, int]] = []
        self.kept: dict[str, list[Curve]] = {layer: [] for layer in layers}
        """of the runs that are not written yet"""
        file.attrs["layers"] = layers
        for layer in layers:
            runs = file.create_group(f"{layer}/runs")
            shape, chunks = (n_runs, POINTS), (min(n_runs, BLOCK), POINTS)
            runs.create_dataset("standard_density", shape, "f4", chunks=chunks, fillvalue=np.nan)
            for name in NUMBERS:
                runs.create_dataset(name, (n_runs,), "f8", fillvalue=np.nan)
            runs.create_dataset("width", (n_runs,), h5py.string_dtype())
            runs.create_dataset("seed", (n_runs,), "i8")

    def add(self, width: str, seed: int, group: str, layers: dict[str, LayerWeights]) -> None:
        """The layers of one run; a layer that has no density keeps NaN and counts for no group."""
        self.n += 1
        self.keys.append((width, seed))
        self.groups.append(group)
        for name, layer in layers.items():
            curve = estimate(layer, self.rule)
            self.kept[name].append(curve or NO_CURVE)
            if curve is not None:
                self.histograms[name].add(group, layer)
        if len(self.keys) == BLOCK:
            self._write()

    def _write(self) -> None:
        """The curves that are kept, and whose they are."""
        if not self.keys:
            return
        rows = slice(self.n - len(self.keys), self.n)
        widths, seeds = zip(*self.keys, strict=True)
        self.keys.clear()
        for name, curves in self.kept.items():
            runs = self.file[f"{name}/runs"]
            runs["width"][rows], runs["seed"][rows] = widths, seeds
            runs["standard_density"][rows] = [curve.density for curve in curves]
            for number in NUMBERS:
                runs[number][rows] = [getattr(curve, number) for curve in curves]
            curves.clear()

    def finish(self) -> None:
        """Writes what is left, and the groups' densities."""
        self._write()
        groups = np.array(self.groups)
        for name, histogram in self.histograms.items():
            runs = self.file[f"{name}/runs"]
            is_there = np.isfinite(runs["std"][: self.n])
            if not is_there.any():
                continue
            edges = histogram.edges()
            grid = np.linspace(edges[0], edges[-1], GRID_POINTS)
            for group in GROUPS:
                rows = np.flatnonzero((groups == group) & is_there)
                if len(rows):
                    self._write_group(f"{name}/{group}", runs, rows, grid, histogram)

    def _write_group(
        self, name: str, runs: h5py.Group, rows: np.ndarray, grid: np.ndarray, histogram: Histogram
    ) -> None:
        group = name.rsplit("/", 1)[1]
        curves, standard = np.empty((len(rows), len(grid)), np.float32), np.zeros(POINTS)
        means, stds = runs["mean"][()], runs["std"][()]
        place = 0
        for first in range(0, self.n, BLOCK):
            block = runs["standard_density"][first : first + BLOCK]
            for row in rows[(rows >= first) & (rows < first + BLOCK)]:
                standard += block[row - first]
                curves[place] = on_grid(block[row - first], means[row], stds[row], grid)
                place += 1
        written = self.file.create_group(name)
        written.attrs["n"] = len(rows)
        written.attrs["bandwidth"] = np.median(runs["bandwidth"][: self.n][rows])
        written["grid"], written["density"] = grid, curves.mean(0, dtype=np.float64)
        written["band"] = np.quantile(curves, BAND, axis=0)
        written["standard_grid"], written["standard_density"] = (
            standard_grid(),
            standard / len(rows),
        )
        written["edges"] = histogram.edges()
        written["counts"] = histogram.join(histogram.counts[group])
        written["share"] = histogram.join(histogram.shares[group]) / len(rows)


def shares(density: np.ndarray, mean: float, std: float, edges: np.ndarray) -> np.ndarray:
    """(bins,) share of a run's weights between neighbouring edges, by its curve in standard units;
    the edges are in the weights' own."""
    borders = np.linspace(-REACH, REACH, POINTS + 1)
    below = np.concatenate([[0], np.cumsum(density, dtype=np.float64) * (2 * REACH / POINTS)])
    return np.diff(np.interp((edges - mean) / std, borders, below))


def on_grid(density: np.ndarray, mean: float, std: float, grid: np.ndarray) -> np.ndarray:
    """A curve in standard units as a density of the weights themselves at `grid`."""
    places = (grid - mean) / std
    spline = scipy.interpolate.CubicSpline(standard_grid(), density)
    return np.where(np.abs(places) < REACH, spline(np.clip(places, -REACH, REACH)), 0) / std
