"""C5: accurate runs are near each other in t-SNE maps, and apart from the others."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from weightscape.claims.effects import Pair
from weightscape.claims.evidence import Evidence, Statement, excess
from weightscape.heads import ClaimHead
from weightscape.measures.runs.nulls import FINAL

HEAD = ClaimHead(
    says="High-accuracy runs cluster in t-SNE, apart from low and mid.",
    reads=("statistics", "purity"),
    statistics={
        "purity_quantiles": "purity of groups, by weight quantiles",
        "purity_padded": "purity of groups, zero-padded",
    },
)

EMBEDDINGS = ("quantiles", "padded")  # those of all widths together


def statements(evidence: Evidence) -> Iterator[Statement]:
    """C5: runs of one group are nearest neighbours oftener than shuffled groups are."""
    purity = evidence.tables["purity"]
    purity = purity[purity["weights"] == FINAL]
    sizes = evidence.runs.loc[evidence.groups != "ungrouped", "group"].value_counts()
    second = sizes.iloc[1] if len(sizes) > 1 else 0
    for embedding in EMBEDDINGS:
        for _, row in purity[purity["embedding"] == embedding].iterrows():
            yield Statement(
                row["layer"],
                f"purity_{embedding}",
                "purity",
                1,
                _purity(evidence, row),
                n_smaller=second,
            )


def _purity(evidence: Evidence, row: pd.Series) -> Pair:
    """With one width, within it is what is over all."""
    grouped = evidence.groups != "ungrouped"
    n_of_width = evidence.runs["width"][grouped].value_counts(sort=False).to_dict()
    one = len(n_of_width) < 2
    pooled = excess(row)._replace(n_of_width=n_of_width)
    in_width = excess(row, "_within_width")
    return Pair(pooled, pooled if one else in_width)
