"""The measures of DNNs of width 200, beside the plain way; `make bench-measures` calls it.

python -m benchmarks.measures FOLDER OUT.csv [--runs 1000 10000]

Each measure is a process of its own on one thread; the layers of the projection run two at a time,
as a workflow on two cores does. FOLDER keeps the drawn shards: 1.6 MB a run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.population import make_images, make_population
from weightscape.measures import density
from weightscape.measures.runs import (
    barrier,
    densities,
    matching,
    nulls,
    projection,
    purity,
    similarity,
    weights,
)
from weightscape.storage.shards import read_population
from weightscape.storage.tables import write_table

LAYERS = ("fc1", "fc2", "fc3")
# the config's defaults
OF_MAPS, OF_GROUPS = projection.Settings([10, 30], 2, 10), purity.Settings(10, 1000)
PLAIN_RUNS = 10  # of which the plain estimate takes all weights
CHILD = "from benchmarks.measures import child; child({name!r}, {folder!r}, {n!r})"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def one_pass(shards: list[str], runs: pd.DataFrame, out: Path) -> None:
    weights.measure(shards, runs, {name: out / f"{name}.csv" for name in weights.COLUMNS})
    densities.measure(shards, runs, "silverman", out / "densities.h5")


def null_models(shards: list[str], runs: pd.DataFrame, out: Path) -> None:
    nulls.measure(shards, runs, out / "nulls.csv")


def match(shards: list[str], runs: pd.DataFrame, out: Path) -> None:
    matching.measure(shards, runs, out / "matching.csv", out / "matching.h5")


def project(layer: str) -> Callable[[list[str], pd.DataFrame, Path], None]:
    def run(shards: list[str], runs: pd.DataFrame, out: Path) -> None:
        projection.measure(
            shards,
            runs,
            out / "matching.h5",
            layer,
            OF_MAPS,
            out / f"{layer}.csv",
        )

    return run


def compare_groups(shards: list[str], runs: pd.DataFrame, out: Path) -> None:
    purity.measure(shards, runs, out / "matching.h5", OF_GROUPS, out / "purity.csv")


def compare_layers(shards: list[str], runs: pd.DataFrame, out: Path) -> None:
    similarity.measure(shards, runs, make_images(out), OF_GROUPS, out / "similarity.h5")


def cross(shards: list[str], runs: pd.DataFrame, out: Path) -> None:
    barrier.measure(shards, runs, make_images(out), out / "matching.h5")


def plain_kde(shards: list[str], runs: pd.DataFrame, out: Path) -> None:
    """scipy's estimator on all weights of PLAIN_RUNS runs: its time is linear in runs."""
    from scipy.stats import gaussian_kde

    for layer in LAYERS:
        values = _matrix(shards, layer, PLAIN_RUNS).ravel()
        grid = np.linspace(values.min(), values.max(), density.GRID_POINTS)
        gaussian_kde(values, "silverman")(grid)


def plain_tsne(shards: list[str], runs: pd.DataFrame, out: Path) -> None:
    """scikit-learn's t-SNE on the raw matrix of fc1, once."""
    from sklearn.manifold import TSNE

    TSNE(perplexity=30, random_state=0).fit_transform(_matrix(shards, "fc1", len(runs)))


def _matrix(shards: list[str], layer: str, n: int) -> np.ndarray:
    rows: list[np.ndarray] = []
    for shard in read_population(shards):
        final = shard.header.final_epoch
        rows += [shard.weight(final, layer, row).ravel() for row in range(len(shard.seeds))]
        if len(rows) >= n:
            break
    return np.array(rows[:n])


MEASURES: dict[str, Callable[[list[str], pd.DataFrame, Path], None]] = {
    "statistics, strength, spectra, curves; densities": one_pass,
    "null models": null_models,
    "matching": match,
    "purity of groups": compare_groups,
    "similarity": compare_layers,
    "barriers": cross,
    **{f"projection, {layer}": project(layer) for layer in LAYERS},
    f"plain: scipy KDE, {PLAIN_RUNS} runs": plain_kde,
    "plain: scikit-learn t-SNE, fc1, once": plain_tsne,
}


def child(name: str, folder: str, n: int) -> None:
    """Measures once, and prints its seconds and its peak of memory."""
    shards, runs = make_population(Path(folder), n)
    out = Path(folder) / "out"
    out.mkdir(exist_ok=True)
    started = time.perf_counter()
    MEASURES[name](shards, runs, out)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"seconds": round(seconds, 1), "peak_mb": round(peak)}))


def measure(name: str, folder: Path, n: int) -> dict[str, object]:
    """A row: a measure of a population of n runs, in a process of its own."""
    command = [sys.executable, "-c", CHILD.format(name=name, folder=str(folder), n=n)]
    environment = os.environ | ONE_THREAD
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    row = {"measure": name, "n": n, **json.loads(done.stdout.splitlines()[-1])}
    print(f"{n} runs, {name}: {row['seconds']} s, {row['peak_mb']} MB", flush=True)
    return row


def benchmark(folder: Path, n: int, plain: bool) -> list[dict[str, object]]:
    make_population(folder, n)
    rows = [measure(name, folder, n) for name in list(MEASURES)[:6]]
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as two:
        rows += two.map(lambda layer: measure(f"projection, {layer}", folder, n), LAYERS)
    seconds = round(time.perf_counter() - started, 1)
    peak = max(row["peak_mb"] for row in rows[6:])  # type: ignore[type-var]
    rows.append(
        {"measure": "projection, two at a time", "n": n, "seconds": seconds, "peak_mb": peak}
    )
    print(f"{n} runs, projection of all layers, two at a time: {seconds} s", flush=True)
    return rows + [measure(name, folder, n) for name in MEASURES if plain and "plain" in name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, nargs="+", default=[1000])
    arguments = parser.parse_args()
    rows = []
    for n in arguments.runs:
        rows += benchmark(arguments.folder, n, plain=n == min(arguments.runs))
        write_table(pd.DataFrame(rows), arguments.out)


if __name__ == "__main__":
    main()
