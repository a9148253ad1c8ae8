"""Judging: p adjusted over all statements of a study, and a verdict on each.

The rules are in docs/claims.md, and were there before the first study was judged.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from weightscape.heads import MeasureHead, Table

HEAD = MeasureHead(
    reads=(),
    tables={
        "claims": Table(
            row=(
                "statement and layer: effect over all runs and with width held fixed, "
                "intervals, adjusted p, verdict"
            ),
            keys=("claim", "model", "dataset", "layer", "statistic"),
            columns={
                "measure": (
                    "how the effect is measured: spearman, spearman_difference, cliffs_delta "
                    "or purity (less that of shuffled groups)"
                ),
                "predicted": "sign of the effect that the claim predicts: 1 or -1",
                "n": "runs that the pooled effect rests on",
                "n_per_width": (
                    "these runs by width, as width:runs with spaces between; empty for C7"
                ),
                "n_smaller": (
                    "runs in the smaller of two sets compared, of C5 in the second largest "
                    "group; empty for correlations and C7"
                ),
                "pooled": (
                    "effect over the runs of all widths together, by measure; from -1 to 1 "
                    "(spearman_difference: -2 to 2)"
                ),
                "pooled_low": (
                    "lower end of the 95 % bootstrap interval of pooled, runs drawn within "
                    "each width"
                ),
                "pooled_high": "upper end of the 95 % bootstrap interval of pooled",
                "pooled_p": "two-sided p of pooled, from permutations over all runs",
                "pooled_p_adjusted": (
                    "pooled_p adjusted over all statements of the study for the false "
                    "discovery rate (Benjamini and Hochberg 1995)"
                ),
                "n_within": (
                    "runs that the effect within widths rests on, from widths of 8 runs or "
                    "more; of C5 all grouped runs"
                ),
                "within": (
                    "effect with width held fixed: mean of each width's effect, weighted by "
                    "runs; of C5 purity less that of groups shuffled within widths"
                ),
                "within_low": (
                    "lower end of the 95 % bootstrap interval of within, runs drawn within "
                    "each width"
                ),
                "within_high": "upper end of the 95 % bootstrap interval of within",
                "within_p": "two-sided p of within, from permutations within each width",
                "within_p_adjusted": (
                    "within_p adjusted over all statements of the study for the false "
                    "discovery rate (Benjamini and Hochberg 1995)"
                ),
                "sign_flip": "True where pooled and within differ in sign, whatever their p",
                "n_contrast": (
                    "runs of the groups high and low that delta rests on; this and the rest is "
                    "empty where the effect is no correlation with accuracy"
                ),
                "delta": (
                    "Cliff's delta of the statistic, P(high > low) - P(high < low) over pairs "
                    "of a run of the group high and one of low"
                ),
                "delta_low": "lower end of the 95 % bootstrap interval of delta",
                "delta_high": "upper end of the 95 % bootstrap interval of delta",
                "n_thirds": (
                    "runs in the upper and lower third by accuracy of their width that "
                    "delta_within rests on, from widths of 8 runs or more"
                ),
                "delta_within": (
                    "Cliff's delta of upper against lower third by accuracy in each width, "
                    "mean over widths weighted by these runs"
                ),
                "delta_within_low": "lower end of the 95 % bootstrap interval of delta_within",
                "delta_within_high": "upper end of the 95 % bootstrap interval of delta_within",
                "verdict": (
                    "supported, reversed within width, width only, not supported or too few "
                    "runs, by the rules in docs/claims.md"
                ),
            },
            texts=("measure", "n_per_width", "verdict"),
        ),
    },
    each="study",
)

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
COLUMNS = tuple(HEAD.tables["claims"].names)


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
    """Adjusted p, so that p <= alpha finds a share of at most alpha falsely; NaN stays NaN.

    scipy.stats.false_discovery_control does the same; its import would be half of such a job.
    """
    adjusted = np.full(len(p), np.nan)
    there = np.isfinite(p)
    order = np.flatnonzero(there)[np.argsort(p[there], kind="stable")]
    scaled = p[order] * (len(order) / np.arange(1, len(order) + 1))
    # no p is above that of a larger one
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
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
    return bool(row["claim"] == "C6" and row["statistic"] == "width")
