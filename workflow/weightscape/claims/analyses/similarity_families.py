"""Similarity across families: whether accurate networks represent images as another family's do.

A run is told by its mean CKA with the high runs of another family on the same dataset, layer by
layer, over one minibatch of test images that `similarity` has kept of all runs. If all of the
paper's claims held alike for the families (C7), accurate runs would be more like these than others.

The mean of CKA over some runs is the inner product of a run's direction with the mean of theirs
(see `measures.runs.similarity`), so no pair of runs is held.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri

from weightscape.claims.effects import Draws, spearman
from weightscape.errors import WeightscapeError
from weightscape.heads import MeasureHead, Table
from weightscape.measures.job import Job
from weightscape.measures.pairs import FEWEST_RESAMPLED
from weightscape.measures.resampling import LEVEL
from weightscape.runs.collecting import KEYS
from weightscape.storage.directions import WEIGHTS, open_directions, read_directions, read_runs

HEAD = MeasureHead(
    reads=("runs", "grouping", "similarity.h5"),
    tables={
        "similarity_families": Table(
            row=(
                "two families on a dataset, and a layer of each: how alike their runs represent "
                "test images (linear CKA), and whether those that are like the other family's "
                "high runs are accurate"
            ),
            keys=(),
            columns={
                "reference_model": "model family whose high runs are compared with",
                "reference_layer": "their layer",
                "n_reference": "high runs of the reference family",
                "model": "model family of the runs that are compared with them",
                "dataset": "name of the dataset",
                "layer": "their layer",
                "is_last": "True where both layers are the last of their family",
                "weights": "final weights of both families, or initial ones, which are the null",
                "n_high": "high runs of the model",
                "cka": (
                    "debiased linear CKA of a high run of the model with a high run of the "
                    "reference family, mean over all such pairs"
                ),
                "cka_low": (
                    "lower end of its 95 % interval, over the runs of both families; empty with "
                    "fewer than 5 on a side"
                ),
                "cka_high": "upper end of that interval",
                "cka_others": "the same mean of the model's low and mid runs with those high runs",
                "n": "runs of the model, of any group, those left out that claims.non excludes",
                "pooled": (
                    "Spearman's rank correlation of final accuracy and a run's mean CKA with the "
                    "high runs of the reference family, over all n runs"
                ),
                "pooled_low": (
                    "lower end of the 95 % jackknife interval of pooled, given the study's widths"
                ),
                "pooled_high": "upper end of the 95 % jackknife interval of pooled",
                "pooled_p": "two-sided p of pooled, by the same error as its interval",
                "n_within": "runs that within rests on, from widths of 4 runs or more",
                "within": (
                    "that correlation with width held fixed: mean of each width's, weighted by "
                    "information"
                ),
                "within_low": "lower end of the 95 % jackknife interval of within",
                "within_high": "upper end of the 95 % jackknife interval of within",
                "within_p": "two-sided p of within, from permutations within each width",
                "sign_flip": "True where pooled and within differ in sign, whatever their p",
            },
            texts=("reference_model", "reference_layer", "weights"),
        ),
    },
    settings={
        "accuracy": "claims.accuracy",
        "non": "claims.non",
        "permutations": "claims.permutations",
    },
    each="study",
    report="Claims",
)

COLUMNS = tuple(HEAD.tables["similarity_families"].names)
MOST_PERMUTATIONS = 999  # of a pair of layers, of which two families have dozens
FEWEST_HIGH = 3  # high runs of a family that others are compared with


class Family(NamedTuple):
    """The runs of a population, and the file of what similarity has kept of them."""

    model: str
    dataset: str
    runs: pd.DataFrame
    """with `group` and `accuracy`"""
    directions: Path

    @property
    def is_high(self) -> np.ndarray:
        """(n,) bool"""
        found: np.ndarray = (self.runs["group"] == "high").to_numpy()
        return found


Place = tuple[str, str]
"""A family and a layer of it."""


def make(job: Job) -> None:
    settings = job.settings
    families = [
        make_family(runs, path, settings["accuracy"], settings["non"])
        for runs, path in zip(job.tables("runs"), job.paths("similarity.h5"), strict=True)
    ]
    draws = Draws(min(settings["permutations"], MOST_PERMUTATIONS))
    job.write(similarity_families=measure(families, draws))


def make_family(runs: pd.DataFrame, directions: Path, split: str, non: str) -> Family:
    """Of a table of runs with their groups; non ones are left out if `non` is exclude."""
    kept = runs if non == "include" else runs[runs["group"] != "non"]
    kept = kept.assign(accuracy=kept[f"{split}_accuracy"].astype(float))
    model, dataset = runs[KEYS[:2]].iloc[0]
    return Family(model, dataset, kept.reset_index(drop=True), directions)


def measure(families: list[Family], draws: Draws) -> pd.DataFrame:
    """COLUMNS, a row for each ordered pair of families on a dataset, weights, and two layers.

    Runs whose weights are not finite or huge have no CKA and are left out. In memory are the
    directions of a block of runs, and the mean of each layer's high runs. Raises WeightscapeError
    if two families were shown other images.
    """
    rows: list[dict[str, Any]] = []
    by_dataset: dict[str, list[Family]] = {}
    for family in families:
        by_dataset.setdefault(family.dataset, []).append(family)
    for of_dataset, weights in itertools.product(by_dataset.values(), WEIGHTS):
        if len(of_dataset) > 1:
            found = {family.model: family for family in of_dataset}
            likeness, n_high = compare(of_dataset, weights)
            last = dict(n_high.keys())  # of each family, the layer that comes last
            for one, other in likeness:
                both = found[one[0]], found[other[0]]
                of = {
                    "reference_model": other[0],
                    "reference_layer": other[1],
                    "n_reference": n_high[other],
                    "model": one[0],
                    "dataset": both[0].dataset,
                    "layer": one[1],
                    "is_last": last[one[0]] == one[1] and last[other[0]] == other[1],
                    "weights": weights,
                    "n_high": n_high[one],
                }
                told = _describe(*both, likeness[one, other], likeness[other, one], draws)
                rows.append(of | told)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def compare(
    families: list[Family], weights: str
) -> tuple[dict[tuple[Place, Place], np.ndarray], dict[Place, int]]:
    """(n,) of the runs of one place, the mean CKA with the high runs of another family's place.

    NaN where those are fewer than FEWEST_HIGH. And the number of high runs of each place.
    """
    found = {
        (family.model, layer): _mean_of_high(family, blocks)
        for family in families
        for layer, blocks in _layers(family, weights)
    }
    likeness: dict[tuple[Place, Place], np.ndarray] = {}
    for family in families:
        others = {place: mean for place, (mean, _) in found.items() if place[0] != family.model}
        for layer, blocks in _layers(family, weights):
            own = {place: np.full(len(family.runs), np.nan) for place in others}
            for rows, block in blocks:
                for place, mean in others.items():
                    if len(mean) != block.shape[1]:
                        raise WeightscapeError(
                            f"{family.directions} is of other test images than that of "
                            f"{place[0]}; delete both and run again"
                        )
                    own[place][rows] = block @ mean
            likeness |= {((family.model, layer), place): of for place, of in own.items()}
    return likeness, {place: n for place, (_, n) in found.items()}


def _layers(
    family: Family, weights: str
) -> Iterator[tuple[str, Iterator[tuple[np.ndarray, np.ndarray]]]]:
    """Each layer, and blocks of rows of the family's runs and their directions."""
    with open_directions(family.directions) as file:
        keys = zip(family.runs["width"], family.runs["seed"], strict=True)
        row_of = {key: row for row, key in enumerate(keys)}
        places = np.array([row_of.get(key, -1) for key in read_runs(file)])
        for layer in map(str, file.attrs["layers"]):
            yield layer, _blocks(read_directions(file, weights, layer), places)


def _blocks(
    blocks: Iterator[tuple[int, np.ndarray]], places: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for first, block in blocks:
        rows = places[first : first + len(block)]
        yield rows[rows >= 0], block[rows >= 0]


def _mean_of_high(
    family: Family, blocks: Iterator[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, int]:
    """(pairs of images,), NaN of fewer than FEWEST_HIGH runs; and how many there are."""
    total, n = np.zeros(1), 0
    for rows, block in blocks:
        high = block[family.is_high[rows] & ~np.isnan(block[:, 0])]
        total, n = total + high.sum(0, dtype=np.float64), n + len(high)
    return total / (n if n >= FEWEST_HIGH else np.nan), n


def _describe(
    family: Family, reference: Family, like: np.ndarray, back: np.ndarray, draws: Draws
) -> dict[str, Any]:
    """Columns but for names, of the likeness of the family's runs with the reference's high runs,
    and of the reference's runs with the family's."""
    runs = family.runs
    pair = spearman(like, runs["accuracy"].to_numpy(), runs["width"].to_numpy(str), draws)
    others = like[runs["group"].isin(("low", "mid")).to_numpy()]
    cka, low, high = _mean_with_interval(like[family.is_high], back[reference.is_high])
    return {
        "cka": cka,
        "cka_low": low,
        "cka_high": high,
        "cka_others": _mean(others),
        **pair.columns(),
        "sign_flip": pair.sign_flip,
    }


def _mean_with_interval(mine: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """The mean over all pairs of two sets of runs, by each run's mean over the other set; and its
    95 % interval, of a two-sample U statistic, whose variance is that of these means."""
    sides = [values[~np.isnan(values)] for values in (mine, theirs)]
    mean = _mean(sides[0])
    if min(map(len, sides)) < FEWEST_RESAMPLED:
        return mean, math.nan, math.nan
    half = ndtri((1 + LEVEL) / 2) * math.sqrt(sum(side.var(ddof=1) / len(side) for side in sides))
    return mean, mean - half, mean + half


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
