"""The table of runs: one row per run of a population, with its group."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weightscape.errors import WeightscapeError
from weightscape.runs.groups import Baseline, assign, choose_edges, is_non, summarise
from weightscape.storage.images import open_dataset
from weightscape.storage.shards import CURVES, Shard, read_population
from weightscape.study.population import Population

KEYS = ["model", "dataset", "width", "seed"]


def collect(population: Population, shards: list[str]) -> pd.DataFrame:
    """Final losses, accuracies (%) and dead-unit share of the population's runs, no group yet.

    Shards may hold runs that the study does not ask for; those are left out. The dead-unit share
    is that of all ReLU units that are zero for every image of the test split, after the last epoch.
    """
    tables = [_rows(shard) for shard in read_population(shards)]
    if not tables:
        raise WeightscapeError(
            f"{population.model} on {population.dataset} has no runs: every checkpoint of its "
            "import is bad; the logs of import_runs say why"
        )
    runs = pd.concat(tables, ignore_index=True)
    wanted = (runs["seed"] < population.seeds) & runs["width"].isin(population.widths)
    return runs[wanted].reset_index(drop=True)


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
            "dead_unit_share": _dead_unit_share(shard),
            "init_seed": shard.stream_seeds["init"],
            "shuffle_seed": shard.stream_seeds["shuffle"],
        }
    )


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
    config: dict[str, Any],
    own_edges: dict[str, Any] | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs with their group, and Table 2 of them.

    `config` is the section `groups`; `baseline` is of the split that it names.
    """
    split = config["accuracy"]
    accuracy = runs[f"{split}_accuracy"].to_numpy()
    non = is_non(runs[f"{split}_loss"].to_numpy(), accuracy, baseline)
    model, name = runs["model"].iloc[0], runs["dataset"].iloc[0]
    edges, source = choose_edges(model, name, config, own_edges, accuracy[~non])
    groups = assign(accuracy, non, edges)
    grouped = runs.copy()
    grouped.insert(list(runs.columns).index("dead_unit_share"), "group", groups)
    return grouped, summarise(grouped, edges, split, source, baseline)


def check_found(n: int, runs: pd.DataFrame) -> None:
    """Raises WeightscapeError unless the shards held as many runs as the table names."""
    if n < len(runs):
        raise WeightscapeError(
            f"{len(runs) - n} of the {len(runs)} runs in the table of runs of "
            f"{' on '.join(runs[KEYS[:2]].iloc[0])} are in no shard; delete the table and run again"
        )


def read_baseline(dataset: Path, split: str) -> Baseline:
    """Number of classes, and share of the most frequent one in a split."""
    with open_dataset(dataset) as file:
        labels = file[f"{split}/labels"][()]
        return Baseline(int(file.attrs["classes"]), 100 * np.bincount(labels).max() / len(labels))
