"""One pass over a population's shards, for every measure that looks at one run at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from weightscape.heads import MeasureHead, Table, layer_measures, tables_of
from weightscape.measures import convergence, density
from weightscape.measures.job import Job
from weightscape.measures.layer import describe, trained_layers
from weightscape.messages.progress import Progress
from weightscape.runs.collecting import KEYS, check_found
from weightscape.storage.densities import DENSITIES_VERSION
from weightscape.storage.hdf5 import write_file
from weightscape.storage.shards import Shard, read_population
from weightscape.storage.tables import grow_table

HEAD = MeasureHead(
    reads=("runs", "shards"),
    tables={
        "convergence": Table(
            row="run and epoch: losses and accuracies",
            keys=("model", "dataset", "width", "seed", "group", "epoch"),
            columns={
                "train_loss": (
                    "mean cross-entropy over the epoch's training images as they were trained "
                    "on (nats per image); epoch 0: before training"
                ),
                "train_accuracy": (
                    "accuracy over the epoch's training images as they were trained on (%); "
                    "epoch 0: before training"
                ),
                "test_loss": (
                    "mean cross-entropy over the test images after the epoch (nats per image); "
                    "of imports only the last epoch is known"
                ),
                "test_accuracy": "accuracy on the test images after the epoch (%)",
            },
            joined=False,
        ),
        "telemetry": Table(
            row="run, layer and epoch: dead units and the norm of the gradient",
            keys=("model", "dataset", "width", "seed", "group", "layer", "epoch"),
            columns={
                "dead_units": (
                    "share of the layer's ReLU units (channels) that are zero for every test "
                    "image, after the epoch, from 0 to 1; empty without ReLU"
                ),
                "gradient_norm": (
                    "Euclidean norm of the loss gradient with respect to the layer's weights, "
                    "on the first 1,000 training images, after the epoch"
                ),
            },
            joined=False,
        ),
    },
    files=("densities.h5",),
    settings={
        "bandwidth": "density.bandwidth",
    },
    cost="shards",
    layers=True,
)

LAYER_KEYS = (*KEYS, "group", "layer")
COLUMNS = {name: tuple(table.names) for name, table in tables_of(HEAD).items()}
"""Of each table that the pass writes."""


def make(job: Job) -> None:
    outputs = {name: job.output(name) for name in (*COLUMNS, "densities.h5")}
    measure(job.shards, job.runs, job.settings["bandwidth"], outputs)


def measure(shards: Iterable[str], runs: pd.DataFrame, rule: str, outputs: dict[str, Path]) -> None:
    """Measure the runs of the table `runs`, which has their groups, and write `outputs`.

    Final weights are described, and initial ones beside them; `rule` is the bandwidth's. One run is
    in memory at a time, apart from a layer's densities at the end, 2 kB a run.
    """
    groups = runs.set_index(KEYS)["group"].to_dict()
    with ExitStack() as stack, Progress("measuring", len(runs)) as progress:
        add = {
            name: stack.enter_context(grow_table(outputs[name], columns))
            for name, columns in COLUMNS.items()
        }
        pair = {key: runs[key].iloc[0] for key in ("model", "dataset")}
        attributes = {"format_version": DENSITIES_VERSION, "rule": rule, **pair}
        file = stack.enter_context(write_file(outputs["densities.h5"], attributes))
        densities: density.Densities | None = None
        for shard in read_population(shards):
            keys = [(*shard.key, seed) for seed in shard.seeds]
            rows = [row for row, key in enumerate(keys) if key in groups]
            if not rows:
                continue
            if densities is None:
                densities = density.Densities(file, shard.header.layers, len(runs), rule)
            own = [groups[keys[row]] for row in rows]
            add["convergence"](convergence.curves(shard, rows, own))
            add["telemetry"](convergence.telemetry(shard, rows, own))
            for row, group in zip(rows, own, strict=True):
                _measure_run(shard, row, group, add, densities)
                progress.add()
        check_found(progress.done, runs)
        if densities is not None:
            densities.finish()


def _measure_run(
    shard: Shard,
    row: int,
    group: str,
    add: dict[str, Callable[..., None]],
    densities: density.Densities,
) -> None:
    run = {**dict(zip(KEYS, (*shard.key, shard.seeds[row]), strict=True)), "group": group}
    layers = trained_layers(shard, row)
    for name in layer_measures():
        found = {layer: describe(name, weights) for layer, weights in layers.items()}
        add[name]([run | {"layer": layer} | told for layer, told in found.items() if told])
    densities.add(shard.header.width, shard.seeds[row], group, layers)
