"""Densities: how the weights of each layer are distributed, by group (paper, Figures 5-7).

A pass of its own, since it alone of those that look at one run at a time asks for the groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from weightscape.heads import MeasureHead
from weightscape.measures.density import Densities
from weightscape.measures.job import Job
from weightscape.measures.layer import LayerWeights
from weightscape.messages.progress import Progress
from weightscape.runs.collecting import KEYS, runs_in
from weightscape.storage.densities import DENSITIES_VERSION
from weightscape.storage.hdf5 import write_file

HEAD = MeasureHead(
    reads=("runs", "grouping", "shards"),
    tables={},
    files=("densities.h5",),
    settings={
        "bandwidth": "density.bandwidth",
    },
    cost="shards",
)


def make(job: Job) -> None:
    measure(job.shards, job.runs, job.settings["bandwidth"], job.output("densities.h5"))


def measure(shards: Iterable[str], runs: pd.DataFrame, rule: str, target: Path) -> None:
    """Estimate the final weights of the runs of the table `runs`, by the bandwidth's `rule`.

    One run is in memory at a time, apart from a layer's densities at the end, 2 kB a run.
    """
    groups = runs.set_index(KEYS)["group"].to_dict()
    attributes = {"format_version": DENSITIES_VERSION, "rule": rule, **runs[KEYS[:2]].iloc[0]}
    densities: Densities | None = None
    with write_file(target, attributes) as file, Progress("densities", len(runs)) as progress:
        for shard, row, run in runs_in(shards, runs):
            header = shard.header
            if densities is None:
                densities = Densities(file, header.layers, len(runs), rule)
            layers = {
                layer: LayerWeights(shard.weight(header.final_epoch, layer, row))
                for layer in header.layers
            }
            densities.add(run["width"], run["seed"], groups[tuple(run.values())], layers)
            progress.add()
        if densities is not None:
            densities.finish()
