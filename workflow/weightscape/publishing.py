"""Published results: the tables of trained populations, which are judged without their weights.

`make results` judges the claims anew from the tables in docs/results/ and makes docs/results.md.
docs/results/README.md says what is there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from weightscape import heads
from weightscape.claims.effects import Draws
from weightscape.claims.evidence import Way
from weightscape.claims.statements import measure, measure_ways
from weightscape.claims.study import judge_study
from weightscape.errors import WeightscapeError
from weightscape.heads import MeasureHead, Table
from weightscape.opened.study import Study
from weightscape.storage.parquet import write_parquet
from weightscape.storage.shards import Shard, open_shard, read_population
from weightscape.storage.tables import add_groups, read_table
from weightscape.study.config import check
from weightscape.study.sections import Claims

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
REMADE = ("claim_effects", "claim_ways", "claim_widths")
"""Tables that are made anew from others, to see that they are the same"""
KEYS = ["claim", "model", "dataset", "layer", "statistic"]
FOLDER = heads.LIBRARY.parents[1] / "docs" / "results"


def publish(study: Path, config: Path, model: str, dataset: str, folder: Path = FOLDER) -> None:
    """Adds the tables of a population of a finished study to those in `folder`, with its config."""
    measures, name = study / "measures" / model / dataset, f"{model}-{dataset}.parquet"
    if not (measures / "claim_effects.csv").exists():
        raise WeightscapeError(
            f"{measures} has no claims yet; run snakemake to its end before its tables are "
            "published"
        )
    grouping = read_table(measures / "grouping.csv", "grouping")
    for path in sorted(measures.glob("*.csv")):
        table = read_table(path, path.stem)
        if path.stem in LEFT_OUT or not len(table):
            continue
        if heads.tables()[path.stem].is_grouped_later:
            table = add_groups(table, grouping)
        if path.stem == "runs":
            table = table.drop(columns="shard")  # whose files are not published
        write_parquet(table, folder / "tables" / path.stem / name)
    shards = sorted((study / "weights" / model / dataset).glob("width-*/seeds-*.h5"))
    write_parquet(_networks(shards, grouping), folder / "tables" / "networks" / name)
    for of_study in heads.read_by_claims("study"):
        path = study / "tables" / f"{of_study}.csv"
        if path.exists() and len(table := read_table(path, of_study)):
            write_parquet(table, folder / "tables" / f"{of_study}.parquet")
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(config, folder / "configs" / f"{model}-{dataset}.yaml")


def _networks(shards: list[Path], grouping: pd.DataFrame) -> pd.DataFrame:
    """The table networks, with the runs in the order of the tables of runs."""
    rows = [row for shard in read_population(shards) for row in _networks_of(shard)]
    table = pd.DataFrame(rows)[heads.tables()["networks"].names]
    return grouping[[*heads.RUN_KEYS]].merge(table, on=[*heads.RUN_KEYS], validate="1:1")


def _networks_of(shard: Shard) -> Iterator[dict[str, Any]]:
    of, classes = shard.header, shard.predictions()
    for row, seed in enumerate(shard.seeds):
        yield {
            **{"model": of.model, "dataset": of.dataset, "width": of.width, "seed": seed},
            "classes": b"" if classes is None else classes[row].tobytes(),
            "weights_sha256": fingerprint(shard, row),
            "software": json.dumps(of.software, sort_keys=True),
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


def check_effects(folder: Path = FOLDER) -> Iterator[str]:
    """Makes the effects of each population's claims anew from its tables of runs, and says so.

    Raises WeightscapeError if they are not those that are published.
    """
    study = Study(folder)
    for name, settings in _settings(folder).items():
        model, _, dataset = name.partition("-")
        own = {name: _of(_table(study, name), model, dataset) for name in heads.tables()}
        runs, way = _regrouped(own), Way(settings["accuracy"], settings["non"])
        given = runs, own, way, Draws(settings["permutations"]), settings["smallest_effect"]
        found = measure(*given)
        anew = found.effects, measure_ways(*given), found.widths
        for table, made in zip(REMADE, anew, strict=True):
            _compare(own[table], made, f"{table} of {name}")
        yield (
            f"{name}: {len(runs):,} runs, {len(found.effects)} statements and "
            f"{len(anew[1])} in other ways, made anew from the tables: as published"
        )


def _settings(folder: Path) -> dict[str, Claims]:
    """Of each population's config, how claims are made and judged."""
    return {
        path.stem: check(yaml.safe_load(path.read_text()), str(path))["claims"]
        for path in sorted((folder / "configs").glob("*.yaml"))
    }


def _table(study: Study, name: str) -> pd.DataFrame:
    """A table; it is not published if it has no rows."""
    columns = heads.tables()[name].names
    return study.table(name) if name in study.tables else pd.DataFrame(columns=columns)


def _of(table: pd.DataFrame, model: str, dataset: str) -> pd.DataFrame:
    """The rows of one population, of a table that has such rows."""
    if not {"model", "dataset"} <= set(table):
        return table
    return table[(table["model"] == model) & (table["dataset"] == dataset)].reset_index(drop=True)


def _regrouped(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The runs with their groups by other edges, as `Job.runs_regrouped` has them."""
    others = tables["grouping"].drop(columns="group").fillna("")
    return tables["runs"].merge(others, on=[*heads.RUN_KEYS], how="left")


def _compare(published: pd.DataFrame, anew: pd.DataFrame, name: str) -> None:
    texts = {name: "" for name, kind in published.dtypes.items() if kind == "str"}
    found, told = (table.fillna(texts).reset_index(drop=True) for table in (anew, published))
    try:
        pd.testing.assert_frame_equal(found, told, check_dtype=False, rtol=1e-6, atol=1e-9)
    except AssertionError as error:
        what = " ".join(str(error).split())[:200]
        raise WeightscapeError(f"{name} is not what the tables give: {what}") from error


def judge_all(folder: Path = FOLDER) -> None:
    """The claims, judged over all published populations together, as one study would be."""
    study = Study(folder)
    settings = list(_settings(folder).values())
    if any(of != settings[0] for of in settings):
        raise WeightscapeError(f"the configs in {folder} differ in claims; publish with the same")
    of = settings[0]
    way: dict[str, str] = {"split": of["accuracy"], "non": of["non"]}
    way |= {"widths": heads.WAYS["widths"][0], "edges": heads.WAYS["edges"][0]}
    effects, ways = study.table("claim_effects"), study.table("claim_ways")
    across = {name: _table(study, name) for name in heads.read_by_claims("study")}
    tables = judge_study(effects, ways, across, way, of["alpha"], of["smallest_effect"])
    for name, table in tables.items():
        path = folder / "tables" / f"{name}.parquet"
        path.unlink(missing_ok=True)
        if len(table):
            write_parquet(table, path)


def main(arguments: list[str]) -> None:
    """`STUDY CONFIG MODEL DATASET` adds a population; nothing checks and judges all of them."""
    if arguments:
        study, config, model, dataset = arguments
        publish(Path(study), Path(config), model, dataset)
    else:
        for sentence in check_effects():
            print(sentence, flush=True)
    judge_all()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except WeightscapeError as error:
        sys.exit(f"error: {error}")
