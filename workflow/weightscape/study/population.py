"""Populations: which runs a study has, and which layers. Imports nothing heavy."""

from typing import Any, NamedTuple

from weightscape import models
from weightscape.study.listing import Row, read_listing
from weightscape.study.sections import Bounds, Config, ImportedLayer, ImportItem, PopulationItem
from weightscape.study.widths import width_order


class Population(NamedTuple):
    """All runs of a model on a dataset: seeds 0, ..., seeds - 1 at each width.

    Where seeds are crossed, `shuffle_seeds` says how many runs share an initialisation.
    """

    model: str
    dataset: str
    widths: tuple[str, ...]
    seeds: int
    edges: Bounds | None = None
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


def find_import(config: Config, model: str, dataset: str) -> ImportItem:
    """What the config says of a population that is imported."""
    items = config["import"]
    return next(item for item in items if (item["model"], item["dataset"]) == (model, dataset))


def import_rows(config: Config, model: str, dataset: str, width: str) -> list[Row]:
    """What the table says of the runs of one width of a population that is imported."""
    rows = read_listing(find_import(config, model, dataset)["table"]).rows
    return [row for row in rows if row.width == width]


def _population(item: PopulationItem) -> Population:
    seeds = item["seeds"]
    if isinstance(seeds, int):
        n_seeds, shuffle_seeds = seeds, None
    else:
        n_seeds, shuffle_seeds = seeds["init"] * seeds["shuffle"], seeds["shuffle"]
    return Population(
        item["model"],
        item["dataset"],
        tuple(map(str, item["widths"])),
        n_seeds,
        item.get("edges"),
        item["options"],
        shuffle_seeds,
    )


def _imported(item: ImportItem) -> Population:
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


def layer_map(item: ImportItem, width: str) -> dict[str, ImportedLayer]:
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
