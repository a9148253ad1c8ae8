"""The table of runs: one row per run of a population; and, apart from it, the group of each."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weightscape.errors import WeightscapeError
from weightscape.heads import RUN_KEYS, MeasureHead, Table
from weightscape.runs.groups import (
    Baseline,
    assign,
    choose_edges,
    choose_other_edges,
    is_non,
    summarise,
)
from weightscape.storage.images import open_dataset
from weightscape.storage.shards import CURVES, Shard, read_population
from weightscape.study.population import Population
from weightscape.study.sections import Bounds, Groups

HEAD = MeasureHead(
    reads=(),
    tables={
        "runs": Table(
            row="run: final losses and accuracies, group, share of dead units",
            keys=("model", "dataset", "width", "seed", "group"),
            columns={
                "shard": "path of the HDF5 file that holds the run's weights",
                "train_loss": (
                    "mean cross-entropy of the final weights over all training images (nats "
                    "per image)"
                ),
                "train_accuracy": "accuracy of the final weights on all training images (%)",
                "test_loss": (
                    "mean cross-entropy of the final weights over all test images (nats per image)"
                ),
                "test_accuracy": "accuracy of the final weights on all test images (%)",
                "n_classes_predicted": (
                    "classes that the final weights predict for at least one test image; empty "
                    "where predictions are not known"
                ),
                "dead_unit_share": (
                    "share of the network's ReLU units that are zero for every test image "
                    "after the last epoch; empty without ReLU units and for imports"
                ),
                "init_seed": (
                    "seed of the initial weights; the run's seed, unless seeds are crossed"
                ),
                "shuffle_seed": (
                    "seed of the order of the training images and of dropout; the run's seed, "
                    "unless seeds are crossed"
                ),
            },
            texts=("shard",),
        ),
        "grouping": Table(
            row="run: its group",
            keys=("model", "dataset", "width", "seed"),
            columns={
                "group": (
                    "non (did not converge), low, mid or high by final accuracy; ungrouped "
                    "where it lies in none of them"
                ),
                "other_group": (
                    "group by other edges: quantiles in place of the paper's or the config's, the "
                    "paper's in place of quantiles; empty where the paper has none"
                ),
            },
            texts=("other_group",),
            joined=False,
        ),
        "groups": Table(
            row=(
                "population and group: n, and minimum, median and maximum of accuracy, beside "
                "the paper's median. split says which accuracy sorted the runs"
            ),
            keys=("model", "dataset", "group"),
            columns={
                "n": "runs in the group",
                "min": "lowest final accuracy of these runs on the split (%)",
                "median": "median final accuracy of these runs on the split (%)",
                "max": "highest final accuracy of these runs on the split (%)",
                "edge_low": (
                    "lower edge of the group (%), included; of non the majority class's share "
                    "less 0.5 points; empty for ungrouped"
                ),
                "edge_high": (
                    "upper edge (%), excluded unless it is the highest; of non the majority "
                    "class's share plus 0.5 points; empty for ungrouped"
                ),
                "split": "split whose final accuracy sorts the runs: train or test",
                "edges": (
                    "where the edges of low, mid and high come from: config, paper (its Table "
                    "2), or quantiles of the converged runs' accuracies"
                ),
                "paper_median": (
                    "median accuracy of the group in the paper's Table 2 (%); empty where it "
                    "has none"
                ),
            },
            texts=("split", "edges"),
        ),
    },
)

KEYS = list(RUN_KEYS)


def collect(population: Population, shards: list[str], has_all: bool = True) -> pd.DataFrame | None:
    """Final losses, accuracies (%) and dead-unit share of the population's runs, no group yet.

    None if it has no runs, because every checkpoint of its import is bad.

    Shards may hold runs that the study does not ask for; those are left out. The dead-unit share
    is that of all ReLU units that are zero for every image of the test split, after the last epoch.
    Raises WeightscapeError if a run is there twice or, where the population `has_all`, missing.
    """
    tables = [_rows(shard) for shard in read_population(shards)]
    if not tables:
        return None
    runs = pd.concat(tables, ignore_index=True)
    wanted = (runs["seed"] < population.n_seeds) & runs["width"].isin(population.widths)
    found = runs[wanted].reset_index(drop=True)
    _check_once(found)
    if has_all:
        _check_all(population, found)
    return found


def _check_all(population: Population, runs: pd.DataFrame) -> None:
    there = set(zip(runs["width"], runs["seed"], strict=True))
    asked = [(width, seed) for width in population.widths for seed in range(population.n_seeds)]
    if missing := [run for run in asked if run not in there]:
        width, seed = missing[0]
        raise WeightscapeError(
            f"{len(missing)} of the {len(asked)} runs of {population.model} on "
            f"{population.dataset} are in no shard, the first of them seed {seed} of width "
            f"{width}; run again to train them"
        )


def _check_once(runs: pd.DataFrame) -> None:
    twice = runs[runs.duplicated(KEYS, keep=False)]
    if len(twice):
        run = twice.iloc[0]
        one, other = twice.loc[(twice[KEYS] == run[KEYS]).all(axis=1), "shard"].iloc[:2]
        raise WeightscapeError(
            f"the seed {run['seed']} of width {run['width']} is in {one} and in {other}; "
            "delete one of the two and run again"
        )


def _rows(shard: Shard) -> pd.DataFrame:
    header = shard.header
    return pd.DataFrame(
        {
            "model": header.model,
            "dataset": header.dataset,
            "width": header.width,
            "seed": shard.seeds,
            "shard": str(shard.path),
            **{name: shard.read(f"final/{name}").astype(float) for name in CURVES},
            "n_classes_predicted": _count_classes(shard),
            "dead_unit_share": _dead_unit_share(shard),
            "init_seed": shard.stream_seeds["init"],
            "shuffle_seed": shard.stream_seeds["shuffle"],
        }
    )


def _count_classes(shard: Shard) -> np.ndarray:
    """Classes that each run predicts for some test image, (R,); NaN without predictions."""
    predictions = shard.predictions()
    if predictions is None:
        return np.full(len(shard.seeds), np.nan)
    return np.array([len(np.unique(row)) for row in predictions], float)


def _dead_unit_share(shard: Shard) -> np.ndarray:
    """Dead units of all layers over units of all layers, (R,)."""
    dead = shard.telemetry("dead_units")
    if not dead:  # a model without ReLU layers
        return np.full(len(shard.seeds), np.nan)
    epoch = f"epochs/{shard.header.final_epoch}"
    units = [shard.read(f"{epoch}/{layer}/bias", 0).size for layer in dead]
    return np.average([share[:, -1] for share in dead.values()], axis=0, weights=units)


def group(
    runs: pd.DataFrame,
    baseline: Baseline,
    settings: Groups,
    own_edges: Bounds | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The group of each run, that by other edges, and Table 2 of the former.

    `settings` is the section `groups`; `baseline` is of the split that it names.
    """
    split = settings["accuracy"]
    accuracy = runs[f"{split}_accuracy"].to_numpy()
    n_classes = runs["n_classes_predicted"].to_numpy()
    non = is_non(runs[f"{split}_loss"].to_numpy(), accuracy, n_classes, baseline)
    model, name = runs["model"].iloc[0], runs["dataset"].iloc[0]
    edges, source = choose_edges(model, name, settings, own_edges, accuracy[~non])
    groups = assign(accuracy, non, edges)
    table = summarise(runs.assign(group=groups), edges, split, source, baseline)
    other = choose_other_edges(model, name, settings, source, accuracy[~non])
    other_groups = "" if other is None else assign(accuracy, non, other)
    return runs[KEYS].assign(group=groups, other_group=other_groups), table


def runs_in(
    shards: Iterable[str], runs: pd.DataFrame
) -> Iterator[tuple[Shard, int, dict[str, Any]]]:
    """Each run of the table `runs`: its shard, open, its row there, and its keys.

    Shards may hold others, which are passed over. Raises WeightscapeError if one is in no shard.
    """
    wanted = set(runs[KEYS].itertuples(index=False, name=None))
    n = 0
    for shard in read_population(shards):
        for row, seed in enumerate(shard.seeds):
            key = (*shard.key, seed)
            if key in wanted:
                n += 1
                yield shard, row, dict(zip(KEYS, key, strict=True))
    check_found(n, runs)


def check_found(n: int, runs: pd.DataFrame) -> None:
    """Raises WeightscapeError unless the shards held as many runs as the table names."""
    if n < len(runs):
        model, dataset = runs[KEYS[:2]].iloc[0]
        raise WeightscapeError(
            f"{len(runs) - n} of the {len(runs)} runs in the table of runs of {model} on {dataset} "
            f"are in no shard; delete measures/{model}/{dataset}/runs.csv in the study's results "
            "and run again"
        )


def read_baseline(dataset: Path, split: str) -> Baseline:
    """Number of classes, and share of the most frequent one in a split."""
    with open_dataset(dataset) as file:
        labels = file[f"{split}/labels"][()]
        return Baseline(int(file.attrs["classes"]), 100 * np.bincount(labels).max() / len(labels))
