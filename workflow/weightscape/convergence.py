"""Convergence: the curves of each run, by epoch (paper, Figure 1)."""

import numpy as np
import pandas as pd

from weightscape.runs import KEYS
from weightscape.shards import Shard, read_population
from weightscape.study import CURVES


def measure(shards: list[str], runs: pd.DataFrame) -> pd.DataFrame:
    """A row per run and epoch with the curves and the run's group.

    Losses are means in nats per image, accuracies in percent. Epoch 0 is before training; from 1
    on, train columns are means over the epoch as it was trained, test columns are after it.
    """
    curves = pd.concat([_curves(shard) for shard in read_population(shards)], ignore_index=True)
    return curves.merge(runs[[*KEYS, "group"]], on=KEYS, validate="many_to_one")


def _curves(shard: Shard) -> pd.DataFrame:
    header, n_runs = shard.header, len(shard.seeds)
    epochs = header.final_epoch + 1
    return pd.DataFrame(
        {
            "model": header.model,
            "dataset": header.dataset,
            "width": header.width,
            "seed": np.repeat(shard.seeds, epochs),
            "epoch": np.tile(np.arange(epochs), n_runs),
            **{name: shard.read(f"curves/{name}").ravel() for name in CURVES},
        }
    )
