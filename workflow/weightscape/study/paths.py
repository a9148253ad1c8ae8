"""Where a study's files lie, and which seeds each of its shards holds. Imports nothing heavy."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from weightscape.study.population import Population
from weightscape.study.sections import Config, PlacedConfig

SHARD_NAME = re.compile(r"seeds-(\d{4,})(?:-(\d{4,}))?\.h5")


def on_disk(config: Config, path: str | Path) -> Path:
    """Where a path of the workflow's rules lies: an outer workflow may put a prefix before all."""
    return Path(cast(PlacedConfig, config).get("prefix", ""), path)


def weights_folder(study: str, model: str, dataset: str, width: str) -> Path:
    return Path("results", study, "weights", model, dataset, f"width-{width}")


def unfinished_folder(study: str, model: str, dataset: str, width: str) -> Path:
    """Where a training job of many runs keeps each until its shard is whole."""
    return Path("results", study, "unfinished", model, dataset, f"width-{width}")


def lock_file(study: str) -> Path:
    """Which Snakemake is at work, or was and has not ended as it should."""
    return Path("results", study, ".lock")


def journal_file(study: str) -> Path:
    """What the last Snakemake knew of its jobs."""
    return Path("results", study, ".jobs.json")


def run_name(seed: int) -> str:
    """`seed-0007.h5`, the file of one run of an unfinished job."""
    return f"seed-{seed:04d}.h5"


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
    used: list[range] = []
    for seeds in sorted(existing, key=lambda seeds: (seeds.start, -seeds.stop)):
        if seeds.start < wanted and (not used or seeds.start >= used[-1].stop):
            used.append(seeds)
    shards, start = [], 0
    for seeds in [*used, range(wanted, wanted)]:
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


def shard_ranges(
    config: Config, population: Population, width: str, existing: list[range] | None = None
) -> list[range]:
    """The seeds of each shard of one width of a population, some of which are `existing`.

    An import has one shard, from the first of its seeds to the last.
    """
    if population.is_imported:
        seeds = population.imported_seeds[width]
        return [range(seeds[0], seeds[-1] + 1)]
    if existing is None:
        folder = weights_folder(config["study"], population.model, population.dataset, width)
        existing = existing_shards(on_disk(config, folder))
    runs_per_job = population.runs_per_job or config["runs_per_job"]
    return cover(population.n_seeds, runs_per_job, existing)


def shards(config: Config, population: Population) -> list[str]:
    """Paths of all shards of a population, by width and seed."""
    paths = []
    for width in population.widths:
        folder = weights_folder(config["study"], population.model, population.dataset, width)
        names = map(seeds_text, shard_ranges(config, population, width))
        paths += [f"{folder}/seeds-{name}.h5" for name in names]
    return paths


def import_tables(config: Config, population: Population) -> list[str]:
    """Where the files of an import are listed, good and bad; a table for each width."""
    top = Path("results", config["study"], "measures", population.model, population.dataset)
    seeds = {w: shard_ranges(config, population, w)[0] for w in population.imported_seeds}
    return [f"{top}/imports/width-{w}/seeds-{seeds_text(s)}.csv" for w, s in seeds.items()]
