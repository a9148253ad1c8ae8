"""C7: all of this holds alike for the three families."""

from __future__ import annotations

import pandas as pd

from weightscape.heads import ClaimHead

HEAD = ClaimHead(
    says="All of this holds alike for the three families.",
    reads=("transfer", "similarity_families"),
    statistics={
        "transfer": "accuracy predicted from the other's weights",
        "similarity": "likeness to the other's high runs, in what layers make of images",
    },
    each="study",
    untested="this needs two model families on one dataset",
)


def effects(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Two rows for each two families on the same dataset, from one to the other.

    How well one family's weights, by a linear model, rank the other's runs by accuracy; and how
    well their likeness to its high runs does, by CKA of the last hidden layers.
    """
    transfer = tables["transfer"]
    rows = transfer[
        (transfer["trained_model"] != transfer["model"])
        & (transfer["trained_dataset"] == transfer["dataset"])
        & (transfer["features"] == "weights")
        & (transfer["learner"] == "linear")
    ]
    similar = tables["similarity_families"]
    similar = similar[(similar["weights"] == "final") & similar["is_last"]]
    parts = [
        rows.assign(layer="from " + rows["trained_model"], statistic="transfer"),
        similar.assign(layer="from " + similar["reference_model"], statistic="similarity"),
    ]
    told = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    return told.assign(measure="spearman", predicted=1)
