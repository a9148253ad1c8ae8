"""Statistics: what describes the weights of one layer of one run (paper, section 3)."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from weightscape.runs import KEYS
from weightscape.shards import Shard, read_population

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def describe(weight: np.ndarray) -> dict[str, float]:
    """Statistics of one layer's weights (out, in, ...), biases apart; in float64.

    mean = 1/N sum w and std = sqrt(1/N sum (w - mean)^2), the population standard deviation
    (paper, section 3); fan_in is the number of weights of a node, n_weights is N.
    """
    values = weight.astype(np.float64).ravel()
    quantiles = np.quantile(values, QUANTILES)
    return {
        "fan_in": weight[0].size,
        "n_weights": weight.size,
        "mean": values.mean(),
        "std": values.std(),
        "min": values.min(),
        **{f"q{round(100 * q):02d}": v for q, v in zip(QUANTILES, quantiles, strict=True)},
        "max": values.max(),
    }


def measure(shards: list[str], runs: pd.DataFrame) -> pd.DataFrame:
    """A row per run and layer, for the runs of the table `runs`; final weights.

    One layer of one run is in memory at a time.
    """
    wanted = set(runs[KEYS].itertuples(index=False, name=None))
    groups = runs.set_index(KEYS)["group"]
    rows = [
        {**dict(zip(KEYS, key, strict=True)), "group": groups[key], "layer": layer, **statistics}
        for shard in read_population(shards)
        for key, layer, statistics in _measure_shard(shard, wanted)
    ]
    return pd.DataFrame(rows)


def _measure_shard(shard: Shard, wanted: set) -> Iterator[tuple[tuple, str, dict[str, float]]]:
    header = shard.header
    for row, seed in enumerate(shard.seeds):
        key = (header.model, header.dataset, header.width, seed)
        if key in wanted:
            for layer in header.layers:
                yield key, layer, describe(shard.weight(header.final_epoch, layer, row))
