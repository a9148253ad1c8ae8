"""Features: what a learner is told of a run, a row per run and a column per number.

Weights are told by the numbers that nulls.csv has, so that initial weights are told by the very
same ones. Sizes, as of fan-in and nodes, are not among them: they are the width, not the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from weightscape.claims.comparisons import Numbers
from weightscape.heads import told_layer_measures
from weightscape.measures.runs import nulls
from weightscape.runs.collecting import KEYS
from weightscape.study.widths import width_parts

SIZES = {head.prefix + name for head in told_layer_measures().values() for name in head.sizes or ()}
LAYER_KEYS = (*KEYS, "layer")
NUMBERS = [name for name in nulls.COLUMNS if name not in {*LAYER_KEYS, "weights"} | SIZES]


def initial_weights(table: pd.DataFrame) -> pd.DataFrame:
    """LAYER_KEYS and NUMBERS of the initial weights, a row per run and layer, from nulls.csv."""
    return _describe(table[table["weights"] == "initial"])


def final_weights(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The same of the final weights, from the tables of the measures of one layer."""
    keys = list(LAYER_KEYS)
    parts = []
    for name, head in told_layer_measures().items():
        # without sizes, as of fan-in, which two tables have
        told = [column for column in head.of_nulls if column not in (head.sizes or ())]
        parts.append(tables[name].set_index(keys)[told].add_prefix(head.prefix))
    return _describe(pd.concat(parts, axis=1).reset_index())


def _describe(table: pd.DataFrame) -> pd.DataFrame:
    """Infinite numbers are taken as missing ones."""
    numbers = table[NUMBERS].astype(float).replace([np.inf, -np.inf], np.nan)
    return pd.concat([table[list(LAYER_KEYS)], numbers], axis=1)


def by_layer(described: pd.DataFrame, runs: pd.DataFrame) -> Numbers:
    """(n, layers x numbers) of the runs, without those that no run has."""
    found = _stack(described, runs)
    flat = found.reshape(len(found), -1)
    return flat[:, ~np.isnan(flat).all(0)]


def over_layers(described: pd.DataFrame, runs: pd.DataFrame) -> Numbers:
    """(n, 3 x numbers) of the first layer, of the last, and their means over the layers."""
    found = _stack(described, runs)
    known = ~np.isnan(found)
    mean = np.nansum(found, axis=1) / np.where(known.any(1), known.sum(1), np.nan)
    return np.concatenate([found[:, 0], found[:, -1], mean], axis=1)


def _stack(described: pd.DataFrame, runs: pd.DataFrame) -> Numbers:
    """(n, layers, numbers), in the order of the runs; NaN where a run has no row."""
    layers = described["layer"].unique()
    keyed = described.set_index(list(LAYER_KEYS))
    rows = runs[KEYS].merge(pd.DataFrame({"layer": layers}), how="cross")
    found = keyed.reindex(pd.MultiIndex.from_frame(rows)).to_numpy(float)
    return found.reshape(len(runs), len(layers), keyed.shape[1])


def width_numbers(widths: Iterable[str]) -> Numbers:
    """(n, 1) logarithms of the widths, or (n, 2) where there are some as `20x50`; NaN of names."""
    parts: list[list[float]] = [[*width_parts(width)] or [math.nan] for width in widths]
    most = max(map(len, parts), default=1)
    numbers = [part * most if len(part) < most else part for part in parts]
    result: Numbers = np.log(np.reshape(numbers, (-1, most)))
    return result


def width_names(widths: Iterable[str]) -> Numbers:
    """(n, widths) of zeros and ones, so that each width may have a mean of its own."""
    names = np.array(list(widths))
    result: Numbers = (names[:, None] == np.unique(names)).astype(float)
    return result
