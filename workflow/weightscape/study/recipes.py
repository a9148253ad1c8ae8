"""What determines a run's weights besides model, dataset, width and seed. Imports nothing heavy."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from weightscape import models
from weightscape.foreign import sources
from weightscape.study.population import Population, find_import, layer_map
from weightscape.study.sections import Config, ImportItem

RECIPE_VERSION = 3


def stream_seeds(seed: int, n_shuffle_seeds: int | None) -> tuple[int, int]:
    """Initialisation and shuffle seed of a run; both are its seed unless seeds are crossed."""
    return (seed, seed) if n_shuffle_seeds is None else divmod(seed, n_shuffle_seeds)


def canonical_json(value: Any) -> str:
    """JSON in one spelling only, for digests, rule parameters and attributes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def digest_of(recipe: dict[str, Any]) -> str:
    """What names a recipe, as a shard has it."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()[:16]


def digest_of_shards(recipe: dict[str, Any], epochs: Iterable[int]) -> str:
    """Of what the shards of a population are made by: a recipe, and the epochs that are kept.

    A shard notes it, so that those that a config asks for are told from others without HDF5.
    """
    told = canonical_json([recipe, sorted(epochs)])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def wanted_digest(config: Config, population: Population) -> str:
    """`digest_of_shards` of the shards that a config asks for."""
    asked = recipe(config, population)
    of_import = asked.get("snapshots", (0, asked["epochs"]))
    epochs = of_import if population.is_imported else snapshot_epochs(config)
    return digest_of_shards(asked, epochs)


def recipe(config: Config, population: Population) -> dict[str, Any]:
    """All that determines a run's weights besides model, dataset, width and seed.

    Of networks that are imported: what is known, and what is taken from their files.
    """
    if population.is_imported:
        item = find_import(config, population.model, population.dataset)
        layers = layer_map(item, population.widths[0])
        return {
            "version": RECIPE_VERSION,
            "imported": True,
            "options": population.options,
            "epochs": item["epochs"],
            "layers": layers,
            # of the forward pass: the one spelling of JSON sorts the names above
            "layer_order": list(layers),
            # torch's own, of most imports, is not told
            **({} if item["layout"] == "out_in" else {"layout": item["layout"]}),
            **({} if item["source"] == "table" else _told(item)),
        }
    training = config["training"]
    crossed, code = population.n_shuffle_seeds, models.code_digest(population.model)
    return {
        "version": RECIPE_VERSION,
        "options": population.options,
        "epochs": training["epochs"],
        "batch_size": training["batch_size"],
        "optimiser": training["optimiser"],
        "learning_rate": training["learning_rate"],
        "initialisation": training["initialisation"],
        **({} if crossed is None else {"shuffle_seeds": crossed}),
        **({} if code is None else {"code": code}),
    }


def _told(item: ImportItem) -> dict[str, Any]:
    """Of an import whose source has weights of several epochs."""
    return {"source": item["source"], "snapshots": sources.listing(item).epochs}


def snapshot_epochs(config: Config) -> list[int]:
    """Epochs whose weights are kept: 0, the last, and those named in training.snapshots."""
    last = config["training"]["epochs"]
    named = [last if isinstance(epoch, str) else epoch for epoch in config["training"]["snapshots"]]
    return sorted({0, last, *named})
