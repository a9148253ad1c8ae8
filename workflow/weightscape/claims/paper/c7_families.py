"""C7: all of this holds alike for the three families."""

from __future__ import annotations

import pandas as pd

from weightscape.heads import ClaimHead

HEAD = ClaimHead(
    says="All of this holds alike for the three families.",
    reads=("transfer",),
    statistics={"transfer": "accuracy predicted from the other's weights"},
    each="study",
    untested="this needs two model families on one dataset",
)


def effects(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each two families on the same dataset, from one to the other.

    How well one family's weights, by a linear model, rank the other's runs by accuracy.
    """
    transfer = tables["transfer"]
    rows = transfer[
        (transfer["trained_model"] != transfer["model"])
        & (transfer["trained_dataset"] == transfer["dataset"])
        & (transfer["features"] == "weights")
        & (transfer["learner"] == "linear")
    ]
    told = rows.assign(
        layer="from " + rows["trained_model"],
        statistic="transfer",
        measure="spearman",
        predicted=1,
    )
    return told
