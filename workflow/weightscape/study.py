"""A study's populations and the shards that hold them. Imports nothing heavy."""

import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from weightscape import models
from weightscape.config import Config
from weightscape.imports import Row, read_listing

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
    imported: dict[str, list[int]] | None = None
    """the seeds of each width where networks are imported, in order: some of those below `seeds`"""

    @property
    def n_runs(self) -> int:
        if self.imported is not None:
            return sum(map(len, self.imported.values()))
        return len(self.widths) * self.seeds


def populations(config: Config) -> list[Population]:
    """The populations of a checked config, in its order: those to train, then those to import."""
    trained = [_population(item) for item in config["populations"]]
    return trained + [_imported(item) for item in config["import"]]


def find_population(config: Config, model: str, dataset: str) -> Population:
    """The population of a model on a dataset; the config has each pair once."""
    pair = (model, dataset)
    for item in config["populations"]:
        if (item["model"], item["dataset"]) == pair:
            return _population(item)
    return _imported(find_import(config, model, dataset))


def find_import(config: Config, model: str, dataset: str) -> dict[str, Any]:
    """What the config says of a population that is imported."""
    items = config["import"]
    return next(item for item in items if (item["model"], item["dataset"]) == (model, dataset))


def import_rows(config: Config, model: str, dataset: str, width: str) -> list[Row]:
    """What the table says of the runs of one width of a population that is imported."""
    rows = read_listing(find_import(config, model, dataset)["table"]).rows
    return [row for row in rows if row.width == width]


def _population(item: dict[str, Any]) -> Population:
    seeds, shuffle_seeds = item["seeds"], None
    if isinstance(seeds, dict):
        seeds, shuffle_seeds = seeds["init"] * seeds["shuffle"], seeds["shuffle"]
    return Population(
        item["model"],
        item["dataset"],
        tuple(map(str, item["widths"])),
        seeds,
        item.get("edges"),
        item["options"],
        shuffle_seeds,
    )


def stream_seeds(seed: int, shuffle_seeds: int | None) -> tuple[int, int]:
    """Initialisation and shuffle seed of a run; both are its seed unless seeds are crossed."""
    return (seed, seed) if shuffle_seeds is None else divmod(seed, shuffle_seeds)


def _imported(item: dict[str, Any]) -> Population:
    seeds: dict[str, list[int]] = {}
    for row in read_listing(item["table"]).rows:
        seeds.setdefault(row.width, []).append(row.seed)
    by_width = {width: sorted(seeds[width]) for width in sorted(seeds, key=width_order)}
    return Population(
        item["model"],
        item["dataset"],
        tuple(by_width),
        1 + max(map(max, by_width.values())),
        item.get("edges"),
        item["options"],
        imported=by_width,
    )


def layer_map(item: dict[str, Any], width: str) -> dict[str, dict[str, Any]]:
    """Layer -> the tensors that an import takes as its `weight` and `bias`, and what it `reads`."""
    if item["layers"]:
        return item["layers"]
    return {
        layer: {"weight": f"{layer}.weight", "bias": f"{layer}.bias", "reads": None}
        for layer in models.layer_names(item["model"], width, item["options"])
    }


def layers(config: Config, population: Population) -> list[str]:
    """The layers of a population's networks, in the order of the forward pass."""
    if population.imported is None:
        return models.layer_names(population.model, population.widths[0], population.options)
    item = find_import(config, population.model, population.dataset)
    return list(layer_map(item, population.widths[0]))


def canonical_json(value: Any) -> str:
    """JSON in one spelling only, for digests, rule parameters and attributes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def recipe(config: Config, population: Population) -> dict[str, Any]:
    """All that determines a run's weights besides model, dataset, width and seed.

    Of networks that are imported: what is known, and what is taken from their files.
    """
    if population.imported is not None:
        item = find_import(config, population.model, population.dataset)
        return {
            "version": RECIPE_VERSION,
            "imported": True,
            "options": population.options,
            "epochs": item["epochs"],
            "layers": layer_map(item, population.widths[0]),
        }
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


def width_parts(width: str) -> list[int]:
    """The numbers of a width, [20, 50] of `20x50`; none of a width that is a name."""
    parts = width.split("x")
    return list(map(int, parts)) if all(map(str.isdecimal, parts)) else []


def width_number(width: str) -> float:
    """A width as one number, the product of `20x50`; NaN for a width that is a name."""
    parts = width_parts(width)
    return float(math.prod(parts)) if parts else math.nan


def width_order(width: str) -> tuple[bool, list[int], str]:
    """What widths are sorted by: as numbers, and after them those that are names."""
    parts = width_parts(width)
    return not parts, parts, width


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


def shard_ranges(
    config: Config, population: Population, width: str, existing: list[range] | None = None
) -> list[range]:
    """The seeds of each shard of one width of a population, some of which are `existing`.

    An import has one shard, from the first of its seeds to the last.
    """
    if population.imported is not None:
        seeds = population.imported[width]
        return [range(seeds[0], seeds[-1] + 1)]
    if existing is None:
        folder = weights_folder(config["study"], population.model, population.dataset, width)
        existing = existing_shards(folder)
    return cover(population.seeds, config["runs_per_job"], existing)


def is_imported(config: Config, population: Population, width: str) -> bool:
    """Whether the shard of a width of an import is there."""
    folder = weights_folder(config["study"], population.model, population.dataset, width)
    return shard_ranges(config, population, width)[0] in existing_shards(folder)


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
    shards = {w: shard_ranges(config, population, w)[0] for w in population.imported or ()}
    return [f"{top}/imports/width-{w}/seeds-{seeds_text(s)}.csv" for w, s in shards.items()]
