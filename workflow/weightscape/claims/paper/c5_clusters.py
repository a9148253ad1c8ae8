"""C5: accurate runs are near each other in t-SNE maps, and apart from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from weightscape.claims.comparisons import Array
from weightscape.claims.effects import Pair
from weightscape.claims.evidence import Evidence, Statement, excess
from weightscape.heads import ClaimHead
from weightscape.measures.runs.nulls import FINAL
from weightscape.measures.runs.purity import HIGH

HEAD = ClaimHead(
    says="High-accuracy runs cluster in t-SNE, apart from low and mid.",
    figures="11-13",
    reads=("statistics", "purity", "similarity_purity"),
    statistics={
        "purity_quantiles": "purity of high runs, by weight quantiles",
        "purity_padded": "purity of high runs, zero-padded",
        "purity_cka": "purity of high runs, by what their layers make of images",
    },
    varies=("widths", "edges"),
)

EMBEDDINGS = ("quantiles", "padded")  # those of all widths together


def statements(evidence: Evidence) -> Iterator[Statement]:
    """C5: high runs are each other's nearest neighbours oftener than shuffled groups are."""
    purity = _in_way(evidence, "purity")
    purity = purity[(purity["weights"] == FINAL) & (purity["groups"] == HIGH)]
    is_compared, is_high = _compared(evidence), evidence.groups == HIGH
    n_smaller = int(min(is_high.sum(), (is_compared & ~is_high).sum()))
    by_statistic = {
        f"purity_{embedding}": purity[purity["embedding"] == embedding] for embedding in EMBEDDINGS
    }
    by_statistic["purity_cka"] = _in_way(evidence, "similarity_purity")
    for statistic, rows in by_statistic.items():
        for _, row in rows.iterrows():
            effect = _purity(evidence, row)
            yield Statement(row["layer"], statistic, "purity", 1, effect, n_smaller=n_smaller)


def _in_way(evidence: Evidence, name: str) -> pd.DataFrame:
    """The rows of a table of purities that are measured as the evidence is chosen."""
    table, way = evidence.tables[name], evidence.way
    return table[(table["edges"] == way.edges) & (table["widths"] == way.widths)]


def _purity(evidence: Evidence, row: pd.Series) -> Pair:
    """With one width, within it is what is over all."""
    n_of_width = dict(Counter(evidence.widths[_compared(evidence)]))
    one = len(n_of_width) < 2
    pooled = replace(excess(row), n_of_width=n_of_width)
    in_width = excess(row, "_within_width")
    return Pair(pooled, pooled if one else in_width)


def _compared(evidence: Evidence) -> Array:
    """(n,) bool: the runs of the groups that the claim names."""
    return np.isin(evidence.groups, ("low", "mid", HIGH))
