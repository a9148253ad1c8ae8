"""The tables of a finished study's population, put among those that are published."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.heads import MeasureHead, Table
from weightscape.storage.densities import copy_groups
from weightscape.storage.parquet import write_parquet
from weightscape.storage.seals import remove_sealed
from weightscape.storage.shards import Shard, open_shard, read_population
from weightscape.storage.tables import add_groups, read_table
from weightscape.storage.unfinished import UNCOUNTED
from weightscape.study.catalogue import TITLES
from weightscape.study.config import check
from weightscape.study.population import find_population
from weightscape.study.recipes import digest_of, recipe
from weightscape.study.sections import Config

HEAD = MeasureHead(
    reads=(),
    tables={
        "networks": Table(
            row="run, of published results alone: what its network predicts, and what made it",
            keys=("model", "dataset", "width", "seed"),
            columns={
                "classes": (
                    "bytes: the class that the final weights predict for each test image, one "
                    "byte each, in the dataset's order"
                ),
                "weights_sha256": "SHA-256 of the final weights, by which a run is known again",
                "software": "JSON: versions and processor that the bytes of weights depend on",
                "recipe_digest": "names the recipe, as in the shard",
                "dataset_digest": "names the prepared images, as in the shard",
            },
            texts=("weights_sha256", "software", "recipe_digest", "dataset_digest"),
            joined=False,
        )
    },
)

LEFT_OUT = ("claim_values", "nulls")
"""Tables that are not published: the first is made of others, the second is as large as the rest"""
FOLDER = heads.LIBRARY.parents[1] / "docs" / "results"


def studies(folder: Path = FOLDER) -> list[Path]:
    """The folders of published studies: the paper's, and those from other initial values.

    In one study there is one population of a model and dataset.
    """
    return [folder, *sorted(path.parent for path in folder.glob("initialisation/*/configs"))]


def publish(study: Path, config: Path, model: str, dataset: str, folder: Path = FOLDER) -> None:
    """Adds the tables of a population of a finished study to those in `folder`, with its config.

    Raises WeightscapeError if its claims are not made yet, or the config is not that of its runs.
    """
    measures, name = study / "measures" / model / dataset, f"{model}-{dataset}.parquet"
    if not (measures / "claim_effects.csv").exists():
        raise WeightscapeError(
            f"{measures} has no claims yet; run snakemake to its end before its tables are "
            "published"
        )
    grouping = read_table(measures / "grouping.csv", "grouping")
    shards = sorted((study / "weights" / model / dataset).glob("width-*/seeds-*.h5"))
    networks = _networks(shards, grouping)
    _check_config(config, networks)
    for path in folder.glob(f"tables/*/{name}"):
        remove_sealed(path)
    for path in sorted(measures.glob("*.csv")):
        table = read_table(path, path.stem)
        if path.stem in LEFT_OUT or not len(table):
            continue
        if heads.tables()[path.stem].is_grouped_later:
            table = add_groups(table, grouping)
        if path.stem == "runs":
            table = table.drop(columns="shard")  # whose files are not published
        write_parquet(table, folder / "tables" / path.stem / name)
    write_parquet(networks, folder / "tables" / "networks" / name)
    for of_study in heads.read_by_claims("study"):  # some need the weights, as CKA does
        path = study / "tables" / f"{of_study}.csv"
        if path.exists() and len(table := read_table(path, of_study)):
            write_parquet(table, folder / "tables" / f"{of_study}.parquet")
    copy_groups(measures / "densities.h5", densities_file(folder, model, dataset))
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    own = folder / "configs" / f"{model}-{dataset}.yaml"
    own.write_text(config.read_text())


def _check_config(path: Path, networks: pd.DataFrame) -> None:
    """Raises WeightscapeError if a config does not train these runs."""
    config, first = _read_config(path), networks.iloc[0]
    wanted = find_population(config, first["model"], first["dataset"])
    asked, made = digest_of(recipe(config, wanted)), set(networks["recipe_digest"])
    runs = {(width, seed) for width in wanted.widths for seed in range(wanted.n_seeds)}
    if made != {asked} or runs != set(zip(networks["width"], networks["seed"], strict=True)):
        raise WeightscapeError(
            f"{path} does not train the runs of {first['model']} on {first['dataset']}: name the "
            "config that their study was made with"
        )


def paper_figures() -> list[str]:
    """The figures that have a grid, as the paper's have, in its order."""
    names = [name for name, head in heads.figures().items() if head.grid]
    return sorted(
        names, key=lambda name: [int(n) for n in re.findall(r"\d+", heads.shown_by(name))]
    )


def densities_file(folder: Path, model: str, dataset: str) -> Path:
    """Where the densities of a published population's groups lie."""
    return folder / "densities" / f"{model}-{dataset}.h5"


def _networks(shards: list[Path], grouping: pd.DataFrame) -> pd.DataFrame:
    """The table networks, with the runs in the order of the tables of runs."""
    rows = [row for shard in read_population(shards) for row in _networks_of(shard)]
    table = pd.DataFrame(rows)[heads.tables()["networks"].names]
    return grouping[[*heads.RUN_KEYS]].merge(table, on=[*heads.RUN_KEYS], validate="1:1")


def _networks_of(shard: Shard) -> Iterator[dict[str, Any]]:
    of, classes = shard.header, shard.predictions()
    counted = {key: value for key, value in of.software.items() if key not in UNCOUNTED}
    for row, seed in enumerate(shard.seeds):
        yield {
            **{"model": of.model, "dataset": of.dataset, "width": of.width, "seed": seed},
            "classes": b"" if classes is None else classes[row].tobytes(),
            "weights_sha256": fingerprint(shard, row),
            "software": json.dumps(counted, sort_keys=True),
            "recipe_digest": of.recipe_digest,
            "dataset_digest": of.dataset_digest,
        }


def fingerprint(shard: Shard, row: int) -> str:
    """SHA-256 of a run's final weights: of each parameter, by its name, the bytes of its float32"""
    parameters = shard.run(row).snapshots[shard.epochs[-1]]
    digest = hashlib.sha256()
    for name in sorted(parameters):
        digest.update(np.ascontiguousarray(parameters[name], "<f4").tobytes())
    return digest.hexdigest()


def fingerprint_of(path: Path, seed: int) -> str:
    """The same of one run of a shard."""
    with open_shard(path) as shard:
        return fingerprint(shard, shard.seeds.index(seed))


def read_configs(folder: Path = FOLDER) -> dict[tuple[str, str], Config]:
    """By model and dataset, in the paper's order, the configs that train what is published."""
    configs = {}
    for path in sorted((folder / "configs").glob("*.yaml")):
        model, _, dataset = path.stem.partition("-")
        configs[model, dataset] = _read_config(path)
    places = {name: place for place, name in enumerate(TITLES)}
    ordered = sorted(configs, key=lambda key: [places.get(name, len(places)) for name in key])
    return {key: configs[key] for key in ordered}


def _read_config(path: Path) -> Config:
    return check(yaml.safe_load(path.read_text()), str(path))


def of_population(table: pd.DataFrame, model: str, dataset: str) -> pd.DataFrame:
    """The rows of one population."""
    is_own = (table["model"] == model) & (table["dataset"] == dataset)
    return table[is_own].reset_index(drop=True)
