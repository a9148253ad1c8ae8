"""Groups: sorting the runs of a population into non, low, mid, high and ungrouped.

Edges are in percent, [low, high) with the top edge inclusive (paper, Table 2). `non` is decided by
whether a run learned anything, since the printed edges are inconsistent (see docs/paper.md).
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from weightscape.heads import WAYS
from weightscape.study.sections import GROUPS, Bounds, Edged, Groups
from weightscape.study.widths import width_order

EDGED: tuple[Edged, ...] = ("low", "mid", "high")

LOSS_TOLERANCE = 0.01  # of ln(classes)
ACCURACY_TOLERANCE = 0.5  # percentage points around the majority class's share

Edges = dict[str, tuple[float, float]]

PAPER_EDGES: dict[tuple[str, str], Edges] = {
    ("dnn", "mnist"): {"low": (30, 55), "mid": (80, 82), "high": (95, 100)},
    ("dnn", "fmnist"): {"low": (30, 75), "mid": (83.5, 84), "high": (95, 100)},
    ("dnn", "cifar10"): {"low": (20, 32), "mid": (45, 55), "high": (75, 100)},
    ("cnn", "mnist"): {"low": (0, 95), "mid": (96, 98), "high": (99.5, 100)},
    ("cnn", "fmnist"): {"low": (0, 90), "mid": (96, 98), "high": (99.5, 100)},
    ("cnn", "cifar10"): {"low": (0, 55), "mid": (55, 75), "high": (80, 100)},
    ("vit", "mnist"): {"low": (0, 30), "mid": (70, 85), "high": (85, 100)},
    ("vit", "fmnist"): {"low": (0, 40), "mid": (65, 72), "high": (74, 100)},
    # printed as mid 0-40, which contains low: read 20-40
    ("vit", "cifar10"): {"low": (0, 20), "mid": (20, 40), "high": (40, 100)},
}


PAPER_MEDIANS: dict[tuple[str, str], dict[str, float]] = {
    ("dnn", "mnist"): {"non": 11.35, "low": 39.33, "mid": 80.91, "high": 98.55},
    ("dnn", "fmnist"): {"non": 10.00, "low": 72.90, "mid": 83.67, "high": 95.88},
    ("dnn", "cifar10"): {"non": 11.35, "low": 30.94, "mid": 52.29, "high": 77.80},
    ("cnn", "mnist"): {"low": 93.77, "mid": 97.68, "high": 99.87},
    ("cnn", "fmnist"): {"low": 85.93, "mid": 97.71, "high": 99.95},
    ("cnn", "cifar10"): {"low": 40.39, "mid": 63.36, "high": 88.91},
    ("vit", "mnist"): {"low": 22.11, "mid": 74.58, "high": 90.71},
    ("vit", "fmnist"): {"low": 30.40, "mid": 69.59, "high": 74.59},
    ("vit", "cifar10"): {"low": 17.50, "mid": 38.18, "high": 44.56},
}
"""Medians of final accuracy (%) in the paper's Table 2."""


class Baseline(NamedTuple):
    """What a network scores that ignores its input."""

    classes: int
    majority_share: float
    """Share of the most frequent class in the split, in percent."""
    imported: bool = False
    """Whether the networks were trained elsewhere, and some of their losses may not be known."""


def is_non(
    loss: np.ndarray, accuracy: np.ndarray, n_classes: np.ndarray, baseline: Baseline
) -> np.ndarray:
    """Which runs did not converge, (n,) bool.

    Those whose final loss is within 1 % of ln(classes) and whose accuracy is within 0.5 points of
    the majority class's share (see docs/paper.md), those whose loss is not finite, and those that
    predict one class for every test image: `n_classes` is how many they predict, NaN where that
    is not known. A NaN loss of networks that are imported is one that is not known: there accuracy
    and predictions decide alone.
    """
    chance = math.log(baseline.classes)
    is_unknown = np.isnan(loss) & baseline.imported
    is_chance = np.abs(loss - chance) <= LOSS_TOLERANCE * chance
    is_majority = np.abs(accuracy - baseline.majority_share) <= ACCURACY_TOLERANCE
    is_broken = ~(np.isfinite(loss) | is_unknown)
    non: np.ndarray = (is_unknown | is_chance) & is_majority | is_broken | (n_classes == 1)
    return non


def choose_edges(
    model: str,
    dataset: str,
    settings: Groups,
    own: Bounds | None,
    converged: np.ndarray,
) -> tuple[Edges, str]:
    """The edges of a population and where they come from: config, paper or quantiles.

    `converged` holds the accuracies (%) of the runs that are not non; quantiles are taken of them.
    """
    if own is not None:
        return {name: (own[name][0], own[name][1]) for name in EDGED}, "config"
    if settings["edges"] == "paper" and (model, dataset) in PAPER_EDGES:
        return PAPER_EDGES[model, dataset], "paper"
    if not len(converged):
        return dict.fromkeys(EDGED, (math.nan, math.nan)), "quantiles"
    low_high = {name: np.quantile(converged, settings["quantiles"][name]) for name in EDGED}
    return {name: (float(low), float(high)) for name, (low, high) in low_high.items()}, "quantiles"


def choose_other_edges(
    model: str, dataset: str, settings: Groups, source: str, converged: np.ndarray
) -> Edges | None:
    """Edges that an analyst could have chosen in place of those that come from `source`.

    Quantiles in place of the config's or the paper's; the paper's in place of quantiles, if it has
    the pair, else None.
    """
    other: Groups = {**settings, "edges": "paper" if source == "quantiles" else "quantiles"}
    edges, of_other = choose_edges(model, dataset, other, None, converged)
    return None if of_other == source else edges


def assign(accuracy: np.ndarray, non: np.ndarray, edges: Edges) -> np.ndarray:
    """The group of each run, (n,) str. Of groups whose edges overlap the higher one wins."""
    group = np.full(len(accuracy), "ungrouped", dtype=object)
    top = max(high for _, high in edges.values())
    for name in EDGED:
        low, high = edges[name]
        below = accuracy <= high if high == top else accuracy < high
        group[(accuracy >= low) & below] = name
    group[non] = "non"
    return group


def groups_in(runs: pd.DataFrame, edges: str, widths: str) -> pd.Series:
    """The groups of a table of runs, in a way of heads.WAYS; runs that it leaves out are ungrouped.

    The table has `group` and `other_group`, of the edges that are set and of the others, which are
    empty texts where there are no others.
    """
    as_set, without_smallest = WAYS["edges"][0], WAYS["widths"][1]
    groups = runs["group" if edges == as_set else "other_group"]
    if widths == without_smallest and (groups != "").any():
        return groups.where(runs["width"] != find_smallest(runs), "ungrouped")
    return groups


def find_smallest(runs: pd.DataFrame) -> str:
    """The smallest width of a table of runs."""
    return str(min(runs["width"].unique(), key=width_order))


def summarise(
    runs: pd.DataFrame, edges: Edges, split: str, source: str, baseline: Baseline
) -> pd.DataFrame:
    """Table 2 of one population: a row per group, empty ones and ungrouped too.

    n runs with their minimum, median and maximum of final accuracy (%) on `split`, beside the
    paper's median where it has the group.
    """
    share = baseline.majority_share
    bounds = {"non": (share - ACCURACY_TOLERANCE, share + ACCURACY_TOLERANCE), **edges}
    rows = []
    for name in GROUPS:
        accuracy = runs.loc[runs["group"] == name, f"{split}_accuracy"]
        low, high = bounds.get(name, (math.nan, math.nan))
        rows.append(
            {
                "group": name,
                "n": len(accuracy),
                "min": accuracy.min(),
                "median": accuracy.median(),
                "max": accuracy.max(),
                "edge_low": low,
                "edge_high": high,
            }
        )
    table = pd.DataFrame(rows)
    model, dataset = runs["model"].iloc[0], runs["dataset"].iloc[0]
    table.insert(0, "model", model)
    table.insert(1, "dataset", dataset)
    paper = PAPER_MEDIANS.get((model, dataset), {})
    medians = [paper.get(name, math.nan) for name in GROUPS]
    return table.assign(split=split, edges=source, paper_median=medians)
