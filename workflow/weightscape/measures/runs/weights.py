"""One pass over a population's shards, for every measure that looks at one run at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

import h5py
import pandas as pd

from weightscape.measures import convergence, density
from weightscape.measures.layer import LayerWeights
from weightscape.measures.layers import spectra, statistics, strength
from weightscape.messages.progress import Progress
from weightscape.runs.collecting import KEYS, check_found
from weightscape.runs.groups import GROUPS
from weightscape.storage.hdf5 import read_file, write_file
from weightscape.storage.shards import Shard, read_population
from weightscape.storage.tables import grow_table

DENSITIES_VERSION = 1
LAYER_KEYS = (*KEYS, "group", "layer")


class Outputs(NamedTuple):
    """The files that the pass writes."""

    statistics: Path
    strength: Path
    strength_heads: Path
    spectra: Path
    convergence: Path
    telemetry: Path
    densities: Path


COLUMNS: dict[str, tuple[str, ...]] = {
    "statistics": (*LAYER_KEYS, *statistics.COLUMNS),
    "strength": (*LAYER_KEYS, *strength.COLUMNS),
    "strength_heads": (*LAYER_KEYS, *strength.COLUMNS),
    "spectra": (*LAYER_KEYS, *spectra.COLUMNS),
    "convergence": convergence.CURVE_COLUMNS,
    "telemetry": convergence.TELEMETRY_COLUMNS,
}
"""Of each table that the pass writes."""


def measure(shards: Iterable[str], runs: pd.DataFrame, rule: str, outputs: Outputs) -> None:
    """Measure the runs of the table `runs`, which has their groups, and write `outputs`.

    Final weights are described, and initial ones beside them; `rule` is the bandwidth's. One run is
    in memory at a time, apart from a layer's densities at the end, 2 kB a run.
    """
    groups = runs.set_index(KEYS)["group"].to_dict()
    with ExitStack() as stack, Progress("measuring", len(runs)) as progress:
        add = {
            name: stack.enter_context(grow_table(getattr(outputs, name), columns))
            for name, columns in COLUMNS.items()
        }
        pair = {key: runs[key].iloc[0] for key in ("model", "dataset")}
        attributes = {"format_version": DENSITIES_VERSION, "rule": rule, **pair}
        file = stack.enter_context(write_file(outputs.densities, attributes))
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
    shard: Shard, row: int, group: str, add: dict[str, Callable], densities: density.Densities
) -> None:
    header, last = shard.header, shard.header.final_epoch
    run = {**dict(zip(KEYS, (*shard.key, shard.seeds[row]), strict=True)), "group": group}
    layers = {name: LayerWeights(shard.weight(last, name, row)) for name in header.layers}
    described = {
        name: statistics.describe(layer, shard.weight(0, name, row), shard.bias(last, name, row))
        for name, layer in layers.items()
    }
    strengths = {name: strength.strengths(layer.weight) for name, layer in layers.items()}
    stds = {name: layer.std for name, layer in layers.items()}
    for table, by_layer in (
        ("statistics", described),
        ("strength", strength.describe_layers(strengths, stds, shard.links)),
        ("strength_heads", strength.describe_heads(strengths, stds, shard.links)),
        ("spectra", {name: spectra.describe(layer.weight) for name, layer in layers.items()}),
    ):
        add[table]([run | {"layer": name} | found for name, found in by_layer.items()])
    densities.add(header.width, shard.seeds[row], group, layers)


def join_densities(parts: list[Path], target: Path) -> None:
    """The groups' densities of several populations, under /<model>/<dataset>/<layer>/<group>."""
    with write_file(target, {"format_version": DENSITIES_VERSION}) as joined:
        for part in parts:
            with open_densities(part) as file:
                population = joined.create_group(f"{file.attrs['model']}/{file.attrs['dataset']}")
                population.attrs.update(file.attrs)
                for layer in file.attrs["layers"]:
                    population.create_group(layer)
                    for group in filter(file[layer].__contains__, GROUPS):
                        file.copy(file[layer][group], population[layer])


def open_densities(path: Path) -> AbstractContextManager[h5py.File]:
    """The densities of one population, for reading; WeightscapeError if the file is damaged."""
    return read_file(path, "the densities", DENSITIES_VERSION, "delete it and run again")
