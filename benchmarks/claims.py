"""What the claims cost on the paper's 6,090 runs, given the measures; `make bench-claims` calls it.

python -m benchmarks.claims OUT.csv

The measures are drawn: each number is noise with a trend by width, in tables of the real columns.
Snakemake makes of them what the claims are made of, on two cores, in a copy of the workflow.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.scale import STUDIES, Copy
from weightscape import heads
from weightscape.measures import convergence
from weightscape.measures.layers import spectra, statistics, strength
from weightscape.measures.runs import nulls
from weightscape.measures.runs.function import CLASSES_COLUMNS
from weightscape.measures.runs.purity import COLUMNS as PURITY_COLUMNS
from weightscape.models import layer_names
from weightscape.runs.collecting import KEYS
from weightscape.runs.groups import EDGED, PAPER_EDGES, assign
from weightscape.storage.directions import WEIGHTS, add_directions, add_runs, write_directions
from weightscape.storage.shards import CURVES
from weightscape.storage.tables import write_table
from weightscape.study.config import check
from weightscape.study.population import Population, populations

CORES = 2
PAIRS = 2016  # of 64 images
RULES = (
    "measure_claims",
    "judge_claims",
    "measure_null_effects",
    "measure_variation",
    "measure_causes",
    "measure_accuracy_from_weights",
    "measure_transfer",
    "measure_similarity_families",
)
OF_POPULATION = ("null_effects", "variation", "failures", "accuracy_from_weights")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="CSV file to write")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as scratch:
        copy = Copy(Path(scratch, "paper"), STUDIES["paper"], 50)
        drawn = populations(check(copy.study))
        for population in drawn:
            draw(population, copy.folder / "results/paper/measures")
        n = sum(population.n_runs for population in drawn)
        print(f"measures of n = {n} runs are drawn", flush=True)
        started = time.monotonic()
        used = copy.snakemake(*_targets(drawn), "--allowed-rules", *RULES, "--cores", str(CORES))
        wall = time.monotonic() - started
        rows = pd.DataFrame(
            [
                *_benchmarks(copy.folder / "results/paper/benchmarks"),
                {
                    "rule": "all",
                    "jobs": "",
                    "cpu_s": used.cpu,
                    "wall_s": wall,
                    "peak_mb": used.peak_mb,
                },
            ]
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_table(rows, out)
    print(rows.to_string(index=False, float_format="%.1f"))


def _targets(drawn: list[Population]) -> list[str]:
    of_each = [
        f"results/paper/measures/{population.model}/{population.dataset}/{name}.csv"
        for population in drawn
        for name in OF_POPULATION
    ]
    return ["results/paper/tables/claims.csv", *of_each]


def _benchmarks(folder: Path) -> list[dict[str, object]]:
    """Jobs, seconds and the largest memory of each rule, from Snakemake's own records."""
    rows: list[dict[str, object]] = []
    for rule in RULES:
        files = [*folder.glob(f"{rule}/*/*.jsonl"), *folder.glob(f"{rule}.jsonl")]
        records = [json.loads(file.read_text().splitlines()[-1]) for file in files]
        if records:
            seconds, peaks = zip(
                *((float(r["s"]), float(r["max_rss"])) for r in records), strict=True
            )
            rows.append(
                {
                    "rule": rule,
                    "jobs": len(records),
                    "cpu_s": None,
                    "wall_s": sum(seconds),
                    "peak_mb": max(peaks),
                }
            )
    return rows


def draw(population: Population, folder: Path) -> None:
    """The measures of one population, in `folder`/model/dataset."""
    random = np.random.default_rng(0)
    own = folder / population.model / population.dataset
    own.mkdir(parents=True)
    runs = _runs(population, random)
    step = runs["width"].map({w: place for place, w in enumerate(population.widths)}).to_numpy()
    layers = layer_names(population.model, population.widths[0], population.options)
    keys = runs[KEYS]

    def by(columns: dict[str, list], names: tuple[str, ...]) -> pd.DataFrame:
        """A row for each run and each of the columns' values, with drawn numbers."""
        every = keys.assign(step=step)
        for name, values in columns.items():
            every = every.merge(pd.DataFrame({name: values}), how="cross")
        numbers = random.normal(size=(len(every), len(names))) + every[["step"]].to_numpy() / 4
        table = pd.DataFrame(numbers, columns=list(names), index=every.index)
        return pd.concat([every.drop(columns="step"), table], axis=1)

    similarity_purity = heads.tables()["similarity_purity"].names
    of_nulls = tuple(name for name in nulls.COLUMNS if name not in {*KEYS, "layer", "weights"})
    epochs = list(range(21))
    tables = {
        "runs": runs.drop(columns=["group", "other_group"]),
        "grouping": runs[[*KEYS, "group", "other_group"]],
        "statistics": by({"layer": layers}, statistics.COLUMNS),
        "strength": _linked(by({"layer": layers}, strength.COLUMNS), layers),
        "spectra": by({"layer": layers}, spectra.COLUMNS),
        "nulls": by({"layer": layers, "weights": list(nulls.KINDS)}, of_nulls),
        "convergence": by({"epoch": epochs}, CURVES),
        "telemetry": by({"layer": layers, "epoch": epochs}, convergence.TELEMETRY),
        "predicted_classes": by({}, CLASSES_COLUMNS[-2:]),
        "purity": _purity(runs, layers, random),
        "similarity_purity": _purity(runs, layers, random, similarity_purity),
        "reliability": _reliability(runs, random),
    }
    for name, table in tables.items():
        write_table(table, own / f"{name}.csv")
    _draw_directions(own / "similarity.h5", runs, layers[:-1], random)


def _runs(population: Population, random: np.random.Generator) -> pd.DataFrame:
    """Accuracies rise with width from 30 to 95 %, and groups are those of Table 2's edges."""
    widths = np.repeat(population.widths, population.n_seeds)
    place = np.repeat(np.linspace(0, 1, len(population.widths)), population.n_seeds)
    n = len(widths)
    accuracy = np.clip(30 + 65 * place**0.5 + 3 * random.normal(size=n), 10, 100)
    pair = population.model, population.dataset
    non = np.zeros(n, bool)
    groups = assign(accuracy, non, PAPER_EDGES[pair])
    quantiles = np.quantile(accuracy, [0, 0.25, 0.375, 0.625, 0.75, 1]).reshape(3, 2)
    others = dict(zip(EDGED, map(tuple, quantiles), strict=True))
    seeds = np.tile(np.arange(population.n_seeds), len(population.widths))
    return pd.DataFrame(
        {
            "model": pair[0],
            "dataset": pair[1],
            "width": widths,
            "seed": seeds,
            "shard": "none",
            "train_loss": 0.5,
            "train_accuracy": accuracy,
            "test_loss": 0.5,
            "test_accuracy": accuracy + random.normal(size=n),
            "group": groups,
            "other_group": assign(accuracy, non, others),
            "n_classes_predicted": 10,
            "dead_unit_share": 0.1,
            "init_seed": seeds,
            "shuffle_seed": seeds,
        }
    )


def _draw_directions(
    path: Path, runs: pd.DataFrame, layers: list[str], random: np.random.Generator
) -> None:
    """Of PAIRS pairs of images; a study keeps those of 256 images, which are read in blocks."""
    names = {key: runs[key].iloc[0] for key in KEYS[:2]}
    with write_directions(path, *names.values(), layers) as file:
        add_runs(file, runs.to_dict("records"))
        for layer, weights in product(layers, WEIGHTS):
            drawn = random.normal(size=(len(runs), PAIRS)).astype(np.float32) / PAIRS**0.5
            add_directions(file, weights, layer, drawn, np.ones(len(runs), bool))


def _linked(strengths: pd.DataFrame, layers: list[str]) -> pd.DataFrame:
    """With each layer read by the next."""
    return strengths.assign(target=strengths["layer"].map(dict(pairwise(layers))))


def _purity(
    runs: pd.DataFrame,
    layers: list[str],
    random: np.random.Generator,
    columns: Sequence[str] = PURITY_COLUMNS,
) -> pd.DataFrame:
    told = {
        "layer": layers,
        "embedding": ("padded", "quantiles"),
        "groups": ("all", "high"),
        "edges": heads.WAYS["edges"],
        "widths": heads.WAYS["widths"],
        "weights": (nulls.FINAL, *nulls.KINDS),
    }
    names = [name for name in told if name in columns]
    every = pd.MultiIndex.from_product([told[name] for name in names], names=names)
    table = every.to_frame(index=False)
    for name in columns[columns.index("purity") :]:
        table[name] = random.random(len(table))
    pair = {key: runs[key].iloc[0] for key in KEYS[:2]}
    return table.assign(**pair, width="all", n=len(runs), neighbours=10)[list(columns)]


def _reliability(runs: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    names = heads.tables()["reliability"].names
    table = runs[["model", "dataset", "width"]].drop_duplicates()
    table = table.merge(pd.DataFrame({"runs": ["all", "converged"]}), how="cross")
    return table.assign(reliability=random.random(len(table))).reindex(columns=names)


if __name__ == "__main__":
    main()
