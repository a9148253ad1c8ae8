"""One pass over a population's shards, for every measure that looks at one run at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from weightscape.heads import MeasureHead, Table, layer_measures, tables_of
from weightscape.measures import convergence
from weightscape.measures.job import Job
from weightscape.measures.layer import describe, trained_layers
from weightscape.messages.progress import Progress
from weightscape.runs.collecting import KEYS, check_found
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
                    "of imports some epochs are known, often the last alone"
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
    cost="shards",
    layers=True,
)

COLUMNS = {name: tuple(table.written) for name, table in tables_of(HEAD).items()}
"""Of each table that the pass writes."""


def make(job: Job) -> None:
    measure(job.shards, job.runs, {name: job.output(name) for name in COLUMNS})


def measure(shards: Iterable[str], runs: pd.DataFrame, outputs: dict[str, Path]) -> None:
    """Measure the runs of the table `runs`, and write `outputs`.

    Final weights are described, and initial ones beside them. One run is in memory at a time.
    """
    wanted = set(runs[KEYS].itertuples(index=False, name=None))
    with ExitStack() as stack, Progress("measuring", len(runs)) as progress:
        add = {
            name: stack.enter_context(grow_table(outputs[name], columns))
            for name, columns in COLUMNS.items()
        }
        for shard in read_population(shards):
            keys = [(*shard.key, seed) for seed in shard.seeds]
            rows = [row for row, key in enumerate(keys) if key in wanted]
            if not rows:
                continue
            add["convergence"](convergence.curves(shard, rows))
            add["telemetry"](convergence.telemetry(shard, rows))
            for row in rows:
                _measure_run(shard, row, add)
                progress.add()
        check_found(progress.done, runs)


def _measure_run(shard: Shard, row: int, add: dict[str, Callable[..., None]]) -> None:
    run = dict(zip(KEYS, (*shard.key, shard.seeds[row]), strict=True))
    layers = trained_layers(shard, row)
    for name in layer_measures():
        found = {layer: describe(name, weights) for layer, weights in layers.items()}
        add[name]([run | {"layer": layer} | told for layer, told in found.items() if told])
