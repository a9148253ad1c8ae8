"""Populations: which runs a study has, and which layers. Imports nothing heavy."""

from typing import NamedTuple

from weightscape import models
from weightscape.foreign import sources
from weightscape.foreign.listing import ImportedLayer, ListedRun
from weightscape.models.base import Options
from weightscape.study.sections import Bounds, Config, ImportItem, PopulationItem
from weightscape.study.widths import width_order


class Population(NamedTuple):
    """All runs of a model on a dataset: seeds 0, ..., n_seeds - 1 at each width.

    Where seeds are crossed, `n_shuffle_seeds` says how many runs share an initialisation.
    """

    model: str
    dataset: str
    widths: tuple[str, ...]
    n_seeds: int
    edges: Bounds | None = None
    options: Options = {}
    n_shuffle_seeds: int | None = None
    imported_seeds: dict[str, list[int]] = {}
    """of each width where networks are imported, in order: some of those below n_seeds"""
    runs_per_job: int | None = None
    """None leaves it to the study"""

    @property
    def is_imported(self) -> bool:
        """Whether its networks were trained elsewhere."""
        return bool(self.imported_seeds)

    @property
    def n_runs(self) -> int:
        if self.is_imported:
            return sum(map(len, self.imported_seeds.values()))
        return len(self.widths) * self.n_seeds


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


def import_rows(config: Config, model: str, dataset: str, width: str) -> list[ListedRun]:
    """What the table says of the runs of one width of a population that is imported."""
    item = find_import(config, model, dataset)
    return [row for row in sources.listing(item).rows if row.width == width]


def import_files(config: Config, model: str, dataset: str, width: str) -> list[str]:
    """The files that tell of these runs, whether they are there or not."""
    item = find_import(config, model, dataset)
    reader = sources.reader(item["source"])
    found = {
        file
        for row in import_rows(config, model, dataset, width)
        for place in row.places(item["epochs"]).values()
        for file in reader.files(place)
    }
    return [f"{item['folder']}/{file}" for file in sorted(found)]


def _population(item: PopulationItem) -> Population:
    seeds = item["seeds"]
    if isinstance(seeds, int):
        n_seeds, n_shuffle_seeds = seeds, None
    else:
        n_seeds, n_shuffle_seeds = seeds["init"] * seeds["shuffle"], seeds["shuffle"]
    return Population(
        item["model"],
        item["dataset"],
        tuple(map(str, item["widths"])),
        n_seeds,
        item.get("edges"),
        item["options"],
        n_shuffle_seeds,
        runs_per_job=item.get("runs_per_job"),
    )


def _imported(item: ImportItem) -> Population:
    found: dict[str, list[int]] = {}
    for row in sources.listing(item).rows:
        found.setdefault(row.width, []).append(row.seed)
    seeds = {width: sorted(found[width]) for width in sorted(found, key=width_order)}
    return Population(
        item["model"],
        item["dataset"],
        tuple(seeds),
        1 + max(map(max, seeds.values())),
        item.get("edges"),
        item["options"],
        imported_seeds=seeds,
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
    if not population.is_imported:
        return models.layer_names(population.model, population.widths[0], population.options)
    item = find_import(config, population.model, population.dataset)
    return list(layer_map(item, population.widths[0]))
