"""Judging: p adjusted over all statements of a study, and a verdict on each.

The rules are in docs/claims.md, and were there before the first study was judged.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy

from weightscape.claims.statements import EFFECT_COLUMNS

FEWEST = 20  # runs that a verdict rests on
FEWEST_OF_SIDE = 3  # runs of the smaller of two sets that are compared
VERDICTS = (
    "supported",
    "reversed within width",
    "width only",
    "not supported",
    "too few runs",
)

_AFTER = {"pooled_p": "pooled_p_adjusted", "within_p": "within_p_adjusted"}
COLUMNS = (
    *(name for column in EFFECT_COLUMNS for name in (column, _AFTER.get(column)) if name),
    "verdict",
)


def judge(effects: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """The rows of `effects` with adjusted p and a verdict: COLUMNS.

    p is adjusted by Benjamini and Hochberg 1995, pooled and within width apart, over all rows.
    """
    judged = effects.copy()
    for column, adjusted in _AFTER.items():
        judged[adjusted] = adjust(effects[column].to_numpy(float))
    judged["verdict"] = [_verdict(row, alpha) for _, row in judged.iterrows()]
    return judged[list(COLUMNS)]


def adjust(p: np.ndarray) -> np.ndarray:
    """Adjusted p, so that p <= alpha finds a share of at most alpha falsely; NaN stays NaN."""
    adjusted = np.full(len(p), np.nan)
    there = np.isfinite(p)
    adjusted[there] = scipy.stats.false_discovery_control(p[there]) if there.any() else []
    return adjusted


def _verdict(row: pd.Series, alpha: float) -> str:
    """The first rule that fits; comparisons with NaN are false, and so nothing is sure of it."""
    pooled, within = (row["predicted"] * row[name] for name in ("pooled", "within"))
    pooled_is_sure = row["pooled_p_adjusted"] < alpha
    within_is_sure = row["within_p_adjusted"] < alpha
    of_width = is_about_width(row)
    enough_pooled = row["n"] >= FEWEST and not np.isnan(pooled)
    enough_within = row["n_within"] >= FEWEST and not np.isnan(within)
    one_sided = row["n_smaller"] < FEWEST_OF_SIDE
    if one_sided or not (enough_pooled and (enough_within or of_width)):
        return "too few runs"
    if pooled > 0 and (pooled_is_sure if of_width else within > 0 and within_is_sure):
        return "supported"
    if pooled > 0 and pooled_is_sure and not of_width:
        return "reversed within width" if within_is_sure else "width only"
    return "not supported"


def is_about_width(row: pd.Series) -> bool:
    """Whether a statement is of width itself, which can't be held fixed then (C6)."""
    return row["statistic"] == "width"
