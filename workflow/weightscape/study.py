"""A study's populations and the shards that hold them. Imports nothing heavy."""

import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from weightscape.config import Config

RECIPE_VERSION = 2

CURVES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")

SHARD_NAME = re.compile(r"seeds-(\d{4,})(?:-(\d{4,}))?\.h5")


class Population(NamedTuple):
    """All runs of a model on a dataset: seeds 0, ..., seeds - 1 at each width.

    Where seeds are crossed, `shuffle_seeds` says how many runs share an initialisation.
    """

    model: str
    dataset: str
    widths: tuple[str, ...]
    seeds: int
    edges: dict[str, list[float]] | None = None
    options: dict[str, Any] = {}
    shuffle_seeds: int | None = None

    @property
    def n_runs(self) -> int:
        return len(self.widths) * self.seeds


def populations(config: Config) -> list[Population]:
    """The populations of a checked config, in its order."""
    return [_population(item) for item in config["populations"]]


def find_population(config: Config, model: str, dataset: str) -> Population:
    """The population of a model on a dataset; the config has each pair once."""
    pair = (model, dataset)
    items = config["populations"]
    return _population(next(p for p in items if (p["model"], p["dataset"]) == pair))


def _population(item: dict[str, Any]) -> Population:
    seeds, shuffle_seeds = item["seeds"], None
    if isinstance(seeds, dict):
        seeds, shuffle_seeds = seeds["init"] * seeds["shuffle"], seeds["shuffle"]
    return Population(
        item["model"], item["dataset"], tuple(map(str, item["widths"])), seeds,
        item.get("edges"), item["options"], shuffle_seeds,
    )  # fmt: skip


def stream_seeds(seed: int, shuffle_seeds: int | None) -> tuple[int, int]:
    """Initialisation and shuffle seed of a run; both are its seed unless seeds are crossed."""
    return (seed, seed) if shuffle_seeds is None else divmod(seed, shuffle_seeds)


def canonical_json(value: Any) -> str:
    """JSON in one spelling only, for digests, rule parameters and attributes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def recipe(config: Config, population: Population) -> dict[str, Any]:
    """All that determines a run's weights besides model, dataset, width and seed."""
    training = config["training"]
    keys = ("epochs", "batch_size", "optimiser", "learning_rate", "initialisation")
    crossed = population.shuffle_seeds
    return {
        "version": RECIPE_VERSION,
        "options": population.options,
        **{key: training[key] for key in keys},
        **({} if crossed is None else {"shuffle_seeds": crossed}),
    }


def snapshots(config: Config) -> list[int]:
    """Epochs whose weights are kept: 0, the last, and those named in training.snapshots."""
    last = config["training"]["epochs"]
    named = [last if epoch == "last" else epoch for epoch in config["training"]["snapshots"]]
    return sorted({0, last, *named})


def weights_folder(study: str, model: str, dataset: str, width: str) -> Path:
    return Path("results", study, "weights", model, dataset, f"width-{width}")


def unfinished_folder(study: str, model: str, dataset: str, width: str) -> Path:
    """Where a training job of many runs keeps each until its shard is whole."""
    return Path("results", study, "unfinished", model, dataset, f"width-{width}")


def run_name(seed: int) -> str:
    """`seed-0007.h5`, the file of one run of an unfinished job."""
    return f"seed-{seed:04d}.h5"


def width_number(width: str) -> float:
    """A width as one number, the product of `20x50`; NaN for a width that is a name."""
    parts = width.split("x")
    return float(math.prod(map(int, parts))) if all(map(str.isdecimal, parts)) else math.nan


def seeds_text(seeds: range) -> str:
    """`0007` for one seed, `0000-0049` for a range, as in the names of shards."""
    first, last = seeds[0], seeds[-1]
    return f"{first:04d}" if first == last else f"{first:04d}-{last:04d}"


def parse_seeds(text: str) -> range:
    """The inverse of `seeds_text`."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def cover(wanted: int, runs_per_job: int, existing: Iterable[range]) -> list[range]:
    """Ranges of seeds, one per shard, that together hold the seeds 0, ..., wanted - 1.

    Shards that exist are kept, whatever `runs_per_job` they were made with, so that more seeds
    train only what is new. The rest is cut at multiples of `runs_per_job`.
    """
    kept: list[range] = []
    for seeds in sorted(existing, key=lambda seeds: (seeds.start, -seeds.stop)):
        if seeds.start < wanted and (not kept or seeds.start >= kept[-1].stop):
            kept.append(seeds)
    shards, start = [], 0
    for seeds in [*kept, range(wanted, wanted)]:
        while start < seeds.start:
            cut = min((start // runs_per_job + 1) * runs_per_job, seeds.start)
            shards.append(range(start, cut))
            start = cut
        shards.append(seeds)
        start = seeds.stop
    return [seeds for seeds in shards if seeds]


def existing_shards(folder: Path) -> list[range]:
    """The seeds of each shard in a width's folder."""
    names = os.listdir(folder) if folder.is_dir() else []
    matches = filter(None, map(SHARD_NAME.fullmatch, names))
    return [range(int(m[1]), int(m[2] or m[1]) + 1) for m in matches]


def shard_ranges(config: Config, population: Population, width: str) -> list[range]:
    """The seeds of each shard of one width of a population."""
    folder = weights_folder(config["study"], population.model, population.dataset, width)
    return cover(population.seeds, config["runs_per_job"], existing_shards(folder))


def shards(config: Config, population: Population) -> list[str]:
    """Paths of all shards of a population, by width and seed."""
    paths = []
    for width in population.widths:
        folder = weights_folder(config["study"], population.model, population.dataset, width)
        names = map(seeds_text, shard_ranges(config, population, width))
        paths += [f"{folder}/seeds-{name}.h5" for name in names]
    return paths
