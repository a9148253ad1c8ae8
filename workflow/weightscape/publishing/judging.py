"""The claims of published populations, judged from their tables, without their weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from weightscape import heads
from weightscape.claims.effects import Draws
from weightscape.claims.evidence import Way
from weightscape.claims.statements import measure, measure_ways
from weightscape.claims.study import judge_study
from weightscape.errors import WeightscapeError
from weightscape.opened.study import Study
from weightscape.publishing.data import FOLDER, of_population, read_configs
from weightscape.storage.parquet import write_parquet
from weightscape.storage.seals import remove_sealed
from weightscape.storage.tables import add_other_groups

REMADE = ("claim_effects", "claim_ways", "claim_widths")
"""Tables that are made anew from others, to see that they are the same"""


def check_effects(folder: Path = FOLDER) -> Iterator[str]:
    """Makes the effects of each population's claims anew from its tables of runs, and says so.

    Raises WeightscapeError if they are not those that are published.
    """
    study = Study(folder)
    tables = {name: _table(study, name) for name in (*heads.measures()["claims"].reads, *REMADE)}
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


def _table(study: Study, name: str) -> pd.DataFrame:
    """A table; it is not published if it has no rows."""
    columns = heads.tables()[name].names
    return study.table(name) if name in study.tables else pd.DataFrame(columns=columns)


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
    settings = [config["claims"] for config in read_configs(folder).values()]
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
        remove_sealed(path)
        if len(table):
            write_parquet(table, path)
