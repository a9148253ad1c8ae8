"""A population of DNNs on MNIST with drawn weights in real shards, to measure the measures on."""

from pathlib import Path

import numpy as np
import pandas as pd

from weightscape import models
from weightscape.storage.images import write_dataset
from weightscape.storage.shards import CURVES, Header, RunRecord, write_shard
from weightscape.study.paths import seeds_text
from weightscape.study.sections import GROUPS

EPOCHS = 20
RUNS_PER_SHARD = 50


def make_population(
    folder: Path, n_runs: int, width: str = "200"
) -> tuple[list[str], pd.DataFrame]:
    """Shards of `n_runs` runs and their table of runs; shards that are there are kept."""
    network = models.build("dnn", width, (1, 28, 28), 10, {})
    header = Header(
        "dnn",
        "mnist",
        width,
        {"version": 0, "options": {}},
        "drawn",
        {},
        "cpu",
        EPOCHS,
        [layer.name for layer in network.layers],
    )
    paths, tables = [], []
    for first in range(0, n_runs, RUNS_PER_SHARD):
        seeds = range(first, min(first + RUNS_PER_SHARD, n_runs))
        path = folder / f"seeds-{seeds_text(seeds)}.h5"
        if not path.exists():
            write_shard(path, header, len(seeds), [], (_run(network, seed) for seed in seeds))
        paths.append(str(path))
        tables.append(pd.DataFrame({"seed": seeds, "shard": str(path)}))
    runs = pd.concat(tables, ignore_index=True).assign(model="dnn", dataset="mnist", width=width)
    quality = np.array([_quality(seed) for seed in runs["seed"]])
    accuracy = 90 + 10 * quality
    groups = np.array(GROUPS[1:4])[(3 * quality).astype(int)]
    runs = runs.assign(group=groups, other_group=groups)
    return paths, runs.assign(train_accuracy=accuracy, test_accuracy=accuracy - 1)


def make_images(folder: Path) -> Path:
    """A dataset of 10,000 drawn test images like MNIST's; one that is there is kept."""
    path = folder / "images.h5"
    if not path.exists():
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (10_000, 1, 28, 28)).astype(np.uint8)
        split = images, random.integers(0, 10, len(images))
        write_dataset("drawn", path, {"train": split, "test": split}, {})
    return path


def _quality(seed: int) -> float:
    return float(np.random.default_rng([seed, 0]).uniform())


def _run(network: models.Model, seed: int) -> RunRecord:
    """Weights N(0, sigma^2) beside their start, sigma falling with the run's drawn quality."""
    random = np.random.default_rng([seed, 1])
    sigma = np.float32(0.12 - 0.06 * _quality(seed))
    first, last = {}, {}
    for layer in network.layers:
        for name, shape in (("weight", layer.shape), ("bias", layer.shape[:1])):
            start = random.standard_normal(shape, dtype=np.float32) * np.float32(0.05)
            step = random.standard_normal(shape, dtype=np.float32) * sigma
            first[f"{layer.name}.{name}"], last[f"{layer.name}.{name}"] = start, start + step
    curves = {name: random.uniform(0, 1, EPOCHS + 1) for name in CURVES}
    telemetry = {
        f"{kind}/{layer.name}": random.uniform(0, 1, EPOCHS + 1)
        for kind in ("dead_units", "gradient_norm")
        for layer in network.layers
    }
    final = {name: float(curve[-1]) for name, curve in curves.items()}
    return RunRecord(seed, {0: first, EPOCHS: last}, curves, final, telemetry)
