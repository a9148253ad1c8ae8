"""Null models: the same numbers of weights that hold less of what training made.

- `initial`: the layer before training;
- `shuffled`: its final weights in random order, so their distribution without their places;
- `gaussian`: normal weights of the final ones' mean and standard deviation, so not even that.

What a figure shows of the final weights and of a null model alike is no more than the model keeps:
the start, the distribution, or two numbers of it.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weightscape.heads import MeasureHead, Table, tables, told_layer_measures
from weightscape.measures.job import Job
from weightscape.measures.layer import LayerWeights, describe, linked
from weightscape.messages.progress import Progress
from weightscape.runs.collecting import runs_in
from weightscape.storage.shards import Shard
from weightscape.storage.tables import grow_table
from weightscape.study.recipes import canonical_json

HEAD = MeasureHead(
    reads=("runs", "shards"),
    tables={
        "nulls": Table(
            row=(
                "run, layer and null model: the numbers of statistics, strength and spectra, "
                "of initial, shuffled and Gaussian weights"
            ),
            keys=("model", "dataset", "width", "seed", "group", "layer"),
            columns={
                "weights": "null model of the weights: initial, shuffled or gaussian",
            },
            texts=("weights",),
            of_layers=True,
        ),
    },
    cost="shards",
)

FINAL = "final"
KINDS = ("initial", "shuffled", "gaussian")

COLUMNS = tuple(tables()["nulls"].written)


def make(job: Job) -> None:
    measure(job.shards, job.runs, job.output("nulls"))


def weights_of(kind: str, shard: Shard, layer: str, row: int) -> np.ndarray:
    """One run's weights of a layer, as they are (FINAL) or by a null model of KINDS; float32.

    What is drawn follows from the run's keys, the layer and the kind alone.
    """
    if kind == "initial":
        return shard.weight(0, layer, row)
    final = shard.weight(shard.header.final_epoch, layer, row)
    if kind == FINAL:
        return final
    random = stream([*shard.key, shard.seeds[row], layer, kind])
    return shuffled(final, random) if kind == "shuffled" else gaussian(final, random)


def stream(key: list[Any]) -> np.random.Generator:
    """A random stream of its own for `key`, whatever is drawn elsewhere."""
    digest = hashlib.sha256(canonical_json(key).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))


def shuffled(weight: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """All weights of a layer, over all of its nodes, in random order."""
    return random.permutation(weight.ravel()).reshape(weight.shape)


@np.errstate(all="ignore")  # of weights that are not finite NaN come
def gaussian(weight: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Independent N(mean, std^2) with the mean and standard deviation of `weight`."""
    layer = LayerWeights(weight)
    return layer.mean + layer.std * random.standard_normal(weight.shape, dtype=np.float32)


def measure(shards: list[str], runs: pd.DataFrame, table: Path) -> None:
    """Write COLUMNS of the runs of the table `runs` to `table`.

    A row per run, null model and layer, one run in memory at a time.
    """
    with grow_table(table, COLUMNS) as add, Progress("null models", len(runs)) as progress:
        for shard, row, run in runs_in(shards, runs):
            add([run | found for found in describe_run(shard, row)])
            progress.add()


def describe_run(shard: Shard, row: int) -> Iterator[dict[str, Any]]:
    """The columns of the table but the run's own: what the measures of one layer find."""
    for kind in KINDS:
        layers = {
            name: LayerWeights(weights_of(kind, shard, name, row)) for name in shard.header.layers
        }
        for name, layer in linked(layers, shard.links).items():
            found: dict[str, Any] = {"layer": name, "weights": kind}
            for measure, head in told_layer_measures().items():
                told = describe(measure, layer) or {}
                found |= {head.prefix + column: told[column] for column in head.of_nulls}
            yield found
