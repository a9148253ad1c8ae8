"""Published tables as the files that a study has of them, for what reads those."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from weightscape import heads
from weightscape.opened.study import Study
from weightscape.publishing.data import of_population
from weightscape.storage.tables import write_table


def table_of(study: Study, name: str) -> pd.DataFrame:
    """A table; it is not published if it has no rows."""
    columns = heads.tables()[name].names
    return study.table(name) if name in study.tables else pd.DataFrame(columns=columns)


def write_tables(
    study: Study, names: Iterable[str], populations: Iterable[tuple[str, str]], folder: Path
) -> dict[str, list[str]]:
    """By table, the paths in `folder` of that of each population, in the order of these."""
    paths: dict[str, list[str]] = {name: [] for name in names}
    for name, of_each in paths.items():
        table, columns = table_of(study, name), heads.tables()[name].written
        for model, dataset in populations:
            path = folder / f"{name}-{model}-{dataset}.csv"
            own = of_population(table, model, dataset)
            write_table(own.reindex(columns=columns), path)  # runs have lost their shards
            of_each.append(str(path))
    return paths
