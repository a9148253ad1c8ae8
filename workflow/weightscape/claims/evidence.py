"""Evidence: the columns of one population's runs, and the statements that are made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product, starmap
from typing import NamedTuple

import numpy as np
import pandas as pd

from weightscape.claims.comparisons import Numbers, thirds
from weightscape.claims.effects import (
    Draws,
    Effect,
    Pair,
    cliffs_delta,
    from_interval,
    spearman,
)
from weightscape.errors import WeightscapeError
from weightscape.heads import WAYS
from weightscape.measures.runs.purity import OBSERVED
from weightscape.runs.groups import find_smallest, groups_in


class Way(NamedTuple):
    """How a study is analysed: what an analyst chooses before a statement is measured."""

    split: str
    """train or test, whose accuracy statements are about"""
    non: str
    """exclude or include"""
    widths: str = WAYS["widths"][0]
    edges: str = WAYS["edges"][0]

    def others(self, varies: tuple[str, ...]) -> Iterator[Way]:
        """All other ways, where only some of the choices vary."""
        free = (WAYS[name] if name in varies else (getattr(self, name),) for name in WAYS)
        return (way for way in starmap(Way, product(*free)) if way != self)

    @property
    def is_of_other_edges(self) -> bool:
        return self.edges != WAYS["edges"][0]

    def choose(self, runs: pd.DataFrame) -> pd.DataFrame:
        """The runs that are analysed, with the groups that these edges make."""
        kept = runs.assign(group=groups_in(runs, self.edges, WAYS["widths"][0]))
        if self.non == "exclude":
            kept = kept[kept["group"] != "non"]
        if self.widths != WAYS["widths"][0]:
            kept = kept[kept["width"] != find_smallest(runs)]
        return kept


class Statement(NamedTuple):
    """A number of each run, how it is compared, and the sign that the claim predicts of it."""

    layer: str
    """one layer, or two as `fc3-fc1`; empty where the statement is of the whole network"""
    statistic: str
    measure: str
    predicted: int
    effect: Pair
    contrast: Callable[[], Pair] | None = None
    """Cliff's delta, group high against low, and within widths upper against lower third; made
    where it is asked for"""
    x: Numbers | None = None
    """(n,) of each run, for figures"""
    y: Numbers | None = None
    n_smaller: float = math.nan
    """where sets of runs are compared, the runs of the smaller; of groups, of the second largest"""

    @property
    def is_of_accuracy(self) -> bool:
        """Whether its y are the runs' accuracies, whose reliability counts."""
        return self.contrast is not None or self.measure == "spearman_difference"


class ByLayer:
    """The rows of tables by their layer, looked up once for many statements."""

    def __init__(self, tables: dict[str, pd.DataFrame]):
        self.tables = tables
        self._found: dict[tuple[str, str, int | None], pd.DataFrame] = {}

    def __call__(self, table: str, layer: str, epoch: int | None) -> pd.DataFrame:
        """By width and seed, a row per run; of a table with a row per epoch those of one."""
        key = table, layer, epoch
        if key not in self._found:
            rows = self.tables[table]
            rows = rows if epoch is None else rows[rows["epoch"] == epoch]
            found = rows[rows["layer"] == layer].set_index(["width", "seed"])
            if found.index.has_duplicates:
                raise WeightscapeError(f"the table {table} has several rows for a run and layer")
            self._found[key] = found
        return self._found[key]


class Evidence:
    """One population: its runs, and the tables that a claim names in its head."""

    def __init__(
        self,
        runs: pd.DataFrame,
        reads: tuple[str, ...],
        by_layer: ByLayer,
        way: Way,
        draws: Draws,
        reliability: dict[str, float] | None = None,
    ):
        """`runs` are those that the way chooses, with the reliability of their accuracies in each
        width; of the tables those are seen that the claim `reads`."""
        self.way = way
        self.runs, self.draws = runs.reset_index(drop=True), draws
        self.tables = {name: by_layer.tables[name] for name in reads if name != "runs"}
        self.reliability = reliability
        self._by_layer, self._keys = by_layer, pd.MultiIndex.from_frame(runs[["width", "seed"]])
        statistics = self.tables["statistics"]
        self.family = statistics["model"].iloc[0]
        self.widths = self.runs["width"].to_numpy()
        self.accuracy = self.runs[f"{way.split}_accuracy"].to_numpy(float)
        self.groups = self.runs["group"].to_numpy()
        self.layers = list(dict.fromkeys(statistics["layer"]))

    def column(self, table: str, layer: str, name: str, epoch: int | None = None) -> Numbers:
        """(n,) of a layer, in the order of the runs; NaN for runs that the table lacks.

        Of a table with a row per epoch it is that of one `epoch`.
        """
        if table not in self.tables:
            raise WeightscapeError(
                f"a claim asks for the table {table}, which its head does not read"
            )
        found = self._by_layer(table, layer, epoch)[name]
        return found.reindex(self._keys).to_numpy(float)

    def with_accuracy(self, layer: str, statistic: str, predicted: int, x: Numbers) -> Statement:
        """A statistic's rank correlation with accuracy, beside the contrast of high and low."""
        effect = spearman(x, self.accuracy, self.widths, self.draws, self.reliability)
        contrast = partial(self._contrast, x)
        return Statement(
            layer, statistic, "spearman", predicted, effect, contrast, x, self.accuracy
        )

    def _contrast(self, x: Numbers) -> Pair:
        groups = self.groups == "high", self.groups == "low"
        few = self.draws._replace(permutations=1)  # it stands beside, without a test
        return Pair(
            cliffs_delta(x, *groups, self.widths, few).pooled,
            cliffs_delta(x, *thirds(self.accuracy, self.widths), self.widths, few).within,
        )


def excess(row: pd.Series, where: str = "") -> Effect:
    """Purity less its mean over shuffled groups (`where` they are shuffled), with two-sided p."""
    value, low, high = (row[name] - row[f"shuffled{where}"] for name in OBSERVED)
    p = np.minimum(1, 2 * np.minimum(row[f"p{where}"], row[f"p_less{where}"]))  # of NaN it is NaN
    return replace(from_interval(value, low, high), p=float(p), n=int(row["n"]))
