"""What the explorer shows: a row per run, and numbers of each run by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.heads import RUN_KEYS
from weightscape.measures.density import shares
from weightscape.storage.densities import open_densities
from weightscape.study.widths import width_number, width_order

OF_RUNS = {
    "test accuracy (%)": "test_accuracy",
    "train accuracy (%)": "train_accuracy",
    "test loss (nats)": "test_loss",
    "train loss (nats)": "train_loss",
    "dead units (share)": "dead_unit_share",
}
"""What the page calls columns of the table of runs."""

WEIGHT_BINS = 48
"""Of the densities of weights: over the central 99.9 % of all weights of the layer."""
WHOLE = 2**16 - 1
"""What a share of 1 is as a whole number."""

Numbers = dict[str, np.ndarray]
"""Name -> (runs of a population,) float32."""


class Weights(NamedTuple):
    """How the weights of a layer are distributed in each run of a population."""

    edges: np.ndarray
    """(WEIGHT_BINS + 1,) of bins of equal width"""
    shares: np.ndarray
    """(runs, WEIGHT_BINS) uint16: share of the run's weights in the bin, by its kernel density
    estimate, in units of 1 / WHOLE; all 0 for a run without one"""


class Explored(NamedTuple):
    """The runs of a study, population after population, and what is known of them."""

    runs: pd.DataFrame
    """RUN_KEYS, group, shard, the columns of OF_RUNS, and `size`: the width as a number"""
    numbers: list[Numbers]
    """of each population: statistics of its layers, as `fc1: std`"""
    maps: list[Numbers]
    """of each population: coordinates of t-SNE, as `fc1, quantiles: x` and `: y`"""
    curves: np.ndarray
    """(runs, epochs + 1) float32: test accuracy (%), NaN beyond a run's last epoch"""
    weights: list[dict[str, Weights]]
    """of each population, as `dnn on mnist: fc1`"""


def gather(
    runs: pd.DataFrame,
    layers: dict[str, pd.DataFrame],
    maps: pd.DataFrame,
    curves: pd.DataFrame,
    densities: Iterable[Path | str],
) -> Explored:
    """From tables of all populations: of runs, of the measures of one layer by name, `projection`,
    and `convergence`; and from each population's file of densities.

    Raises WeightscapeError if there are no runs, or such a file is damaged.
    """
    pairs = [*runs.groupby(["model", "dataset"], sort=False)]
    if not pairs:
        raise WeightscapeError(
            "the study has no runs to show, because every checkpoint is bad; tables/imports.csv "
            "says why"
        )
    parts = [_in_order(own) for _, own in pairs]
    of_measures = {
        name: table.melt([*RUN_KEYS, "layer"], _shown(name, table), "number", "value")
        for name, table in layers.items()
    }
    numbers, coordinates = [], []
    for (model, dataset), own in zip((pair for pair, _ in pairs), parts, strict=True):
        of = {"model": model, "dataset": dataset}
        numbers.append(
            {
                name: column
                for measure, table in of_measures.items()
                for name, column in _columns(_of(table, of), own, measure).items()
            }
        )
        coordinates.append(_coordinates(_of(maps, of), own))
    whole = pd.concat(parts, ignore_index=True)
    by_pair = dict(zip((pair for pair, _ in pairs), parts, strict=True))
    weights: dict[object, dict[str, Weights]] = {}
    for path in densities:
        with open_densities(Path(path)) as file:
            pair = file.attrs["model"], file.attrs["dataset"]
            if pair in by_pair:
                weights[pair] = _weights(file, by_pair[pair])
    return Explored(
        whole, numbers, coordinates, _curves(curves, whole), [weights.get(p, {}) for p in by_pair]
    )


def _of(table: pd.DataFrame, pair: dict[str, str]) -> pd.DataFrame:
    return table[(table["model"] == pair["model"]) & (table["dataset"] == pair["dataset"])]


def _in_order(runs: pd.DataFrame) -> pd.DataFrame:
    """By width and seed; a width that is a name has its place among the widths as its number."""
    ordered = sorted(set(runs["width"]), key=width_order)
    place = runs["width"].map({width: place for place, width in enumerate(ordered)})
    size = runs["width"].map(width_number).fillna(place + 1)
    rows = runs.assign(size=size, place=place).sort_values(["place", "seed"])
    return rows.drop(columns="place").reset_index(drop=True)


def _shown(name: str, table: pd.DataFrame) -> list[str]:
    """The numbers of a measure of one layer; each is told by its name and its layer's."""
    texts = {*RUN_KEYS, "group", "layer", *heads.layer_measures()[name].texts}
    return [str(column) for column in table if column not in texts]


def _columns(table: pd.DataFrame, runs: pd.DataFrame, measure: str) -> Numbers:
    """Each number of each layer, as `fc1: std`, in the order of the runs."""
    if not len(table):
        return {}
    wide = table.pivot(index=["width", "seed"], columns=["layer", "number"], values="value")
    ordered = wide.reindex(pd.MultiIndex.from_frame(runs[["width", "seed"]]))
    columns: Numbers = {}
    for key in ordered.columns.to_flat_index():
        layer, number = tuple(key)
        columns[f"{layer}: {number} ({measure})"] = ordered[key].to_numpy(np.float32)
    return {name: values for name, values in columns.items() if np.isfinite(values).any()}


def _coordinates(maps: pd.DataFrame, runs: pd.DataFrame) -> Numbers:
    """Of the first repeat of each map, at the largest perplexity that it has."""
    found: Numbers = {}
    first = maps[maps["repeat"] == 0]
    for (layer, embedding), own in first.groupby(["layer", "embedding"], sort=False):
        last = own.sort_values("perplexity").drop_duplicates(["width", "seed"], keep="last")
        placed = last.set_index(["width", "seed"])[["x", "y"]]
        ordered = placed.reindex(pd.MultiIndex.from_frame(runs[["width", "seed"]]))
        for axis in ("x", "y"):
            found[f"{layer}, {embedding}: {axis}"] = ordered[axis].to_numpy(np.float32)
    return found


def _curves(table: pd.DataFrame, runs: pd.DataFrame) -> np.ndarray:
    wide = table.pivot(index=list(RUN_KEYS), columns="epoch", values="test_accuracy")
    return wide.reindex(pd.MultiIndex.from_frame(runs[list(RUN_KEYS)])).to_numpy(np.float32)


def _weights(file: h5py.File, runs: pd.DataFrame) -> dict[str, Weights]:
    """Of each layer that has a density in some run, in the order of the runs."""
    found = {}
    for layer in file.attrs["layers"]:
        edges = next((group["edges"] for group in file[layer].values() if "edges" in group), None)
        if edges is None:
            continue
        bins = np.linspace(edges[0], edges[-1], WEIGHT_BINS + 1)
        of = file[f"{layer}/runs"]
        keys = zip(of["width"].asstr()[:], of["seed"][:], strict=True)
        rows = {(width, int(seed)): row for row, (width, seed) in enumerate(keys)}
        densities, means, stds = (of[key][:] for key in ("standard_density", "mean", "std"))
        told = np.zeros((len(runs), WEIGHT_BINS), np.uint16)
        for place, key in enumerate(runs[["width", "seed"]].itertuples(index=False, name=None)):
            row = rows.get(key)
            if row is not None and np.isfinite(stds[row]):
                told[place] = np.rint(shares(densities[row], means[row], stds[row], bins) * WHOLE)
        found[f"{file.attrs['model']} on {file.attrs['dataset']}: {layer}"] = Weights(bins, told)
    return found
