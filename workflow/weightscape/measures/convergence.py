"""Convergence: the curves and the telemetry of each run, by epoch (paper, Figure 1)."""

import numpy as np
import pandas as pd

from weightscape import heads
from weightscape.storage.shards import CURVES, Shard

TELEMETRY = ("dead_units", "gradient_norm")
CURVE_COLUMNS = tuple(heads.tables()["convergence"].written)
TELEMETRY_COLUMNS = tuple(heads.tables()["telemetry"].written)


def curves(shard: Shard, rows: list[int]) -> pd.DataFrame:
    """CURVE_COLUMNS: a row per run and epoch, for the shard's `rows`.

    Losses are means in nats per image, accuracies in percent. Epoch 0 is before training; from 1
    on, train columns are means over the epoch as it was trained, test columns are after it.
    """
    columns = {name: shard.read(f"curves/{name}")[rows] for name in CURVES}
    return _by_epoch(shard, rows, columns)[list(CURVE_COLUMNS)]


def telemetry(shard: Shard, rows: list[int]) -> pd.DataFrame:
    """TELEMETRY_COLUMNS: a row per run, layer and epoch.

    dead_units is the share of a layer's ReLU units that are zero for every test image (NaN for a
    layer without ReLU), gradient_norm the L2 norm of its weights' gradient on a part of the
    training images; both after the epoch.
    """
    kinds = {kind: shard.telemetry(kind) for kind in TELEMETRY}
    missing = np.full((len(shard.seeds), shard.header.final_epoch + 1), np.nan, np.float32)
    parts = []
    for layer in shard.header.layers:
        columns = {kind: kinds[kind].get(layer, missing)[rows] for kind in TELEMETRY}
        parts.append(_by_epoch(shard, rows, columns).assign(layer=layer))
    return pd.concat(parts, ignore_index=True)[list(TELEMETRY_COLUMNS)]


def _by_epoch(shard: Shard, rows: list[int], columns: dict[str, np.ndarray]) -> pd.DataFrame:
    """A row per run and epoch of arrays (runs, epochs + 1), with the keys of the runs."""
    header, epochs = shard.header, shard.header.final_epoch + 1
    return pd.DataFrame(
        {
            "model": header.model,
            "dataset": header.dataset,
            "width": header.width,
            "seed": np.repeat([shard.seeds[row] for row in rows], epochs),
            "epoch": np.tile(np.arange(epochs), len(rows)),
            **{name: values.ravel() for name, values in columns.items()},
        }
    )
