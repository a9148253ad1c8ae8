"""The claims of published populations, judged from their tables, without their weights."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from weightscape import heads
from weightscape.claims.effects import Draws
from weightscape.claims.evidence import Way
from weightscape.claims.statements import measure, measure_ways
from weightscape.claims.study import judge_study
from weightscape.errors import WeightscapeError
from weightscape.measures.job import Job
from weightscape.opened.study import Study
from weightscape.publishing.data import FOLDER, of_population, read_configs
from weightscape.publishing.files import table_of, write_tables
from weightscape.storage.parquet import write_parquet
from weightscape.storage.seals import remove_sealed
from weightscape.storage.tables import add_other_groups, read_table
from weightscape.study.sections import Config

REMADE = ("claim_effects", "claim_ways", "claim_widths")
"""Tables that are made anew from others, to see that they are the same"""


def check_effects(folder: Path = FOLDER) -> Iterator[str]:
    """Makes the effects of each population's claims anew from its tables of runs, and says so.

    Raises WeightscapeError if they are not those that are published.
    """
    study = Study(folder)
    tables = {name: table_of(study, name) for name in (*heads.measures()["claims"].reads, *REMADE)}
    for (model, dataset), config in read_configs(folder).items():
        name, settings = f"{folder.name}/{model}-{dataset}", config["claims"]
        own = {table: of_population(rows, model, dataset) for table, rows in tables.items()}
        runs = add_other_groups(own["runs"], own["grouping"])
        way, draws = Way(settings["accuracy"], settings["non"]), Draws(settings["permutations"])
        given = runs, own, way, draws, settings["smallest_effect"]
        found = measure(*given)
        anew = found.effects, measure_ways(*given), found.widths
        for table, made in zip(REMADE, anew, strict=True):
            _compare(own[table], made, f"{table} of {name}")
        yield (
            f"{name}: {len(runs):,} runs, {len(found.effects)} statements and "
            f"{len(anew[1])} in other ways, made anew from the tables: as published"
        )


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
    configs = read_configs(folder)
    config = next(iter(configs.values()))
    if any(other["claims"] != config["claims"] for other in configs.values()):
        raise WeightscapeError(f"the configs in {folder} differ in claims; publish with the same")
    _analyse_together(folder, [*configs], config)
    study, of = Study(folder), config["claims"]
    way: dict[str, str] = {"split": of["accuracy"], "non": of["non"]}
    way |= {"widths": heads.WAYS["widths"][0], "edges": heads.WAYS["edges"][0]}
    effects, ways = study.table("claim_effects"), study.table("claim_ways")
    across = {name: table_of(study, name) for name in heads.read_by_claims("study")}
    tables = judge_study(effects, ways, across, way, of["alpha"], of["smallest_effect"])
    for name, table in tables.items():
        _replace(folder, name, table)


def _analyse_together(folder: Path, populations: list[tuple[str, str]], config: Config) -> None:
    """The analyses of a whole study that read tables alone, of all published populations.

    These may be of several studies.
    """
    for analysis, head in heads.measures().items():
        if head.each == "study" and all(name in heads.tables() for name in heads.read_by(head)):
            with TemporaryDirectory() as made:
                own = {name: f"{made}/{name}.csv" for name in head.tables}
                given = write_tables(
                    Study(folder), heads.read_by(head), populations, Path(made) / "populations"
                )
                settings = {name: heads.setting(config, key) for name, key in head.settings.items()}
                import_module(heads.measure_module(analysis)).make(Job(given, own, settings))
                for name, path in own.items():
                    _replace(folder, name, read_table(path, name))


def _replace(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Publishes a table of all populations; none if it has no rows."""
    path = folder / "tables" / f"{name}.parquet"
    remove_sealed(path)
    if len(table):
        write_parquet(table, path)
