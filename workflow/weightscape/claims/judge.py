"""Judging: p adjusted over all statements of a study, and a verdict on each.

The rules are in docs/claims.md, and were there before a study was judged by them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from weightscape.heads import WAYS, MeasureHead, Table

HEAD = MeasureHead(
    reads=(),
    tables={
        "claims": Table(
            row=(
                "statement and layer: effect over all runs, between widths and with width held "
                "fixed, intervals, adjusted p, verdict"
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
                    "lower end of the 95 % jackknife interval of pooled, given the study's "
                    "widths (of purity: bootstrap)"
                ),
                "pooled_high": "upper end of the 95 % interval of pooled",
                "pooled_p": (
                    "two-sided p of pooled, given the study's widths, by the same error as its "
                    "interval (of purity, and of C6 by width: from permutations)"
                ),
                "pooled_p_adjusted": (
                    "pooled_p adjusted over all statements of the study that have enough runs, "
                    "for the false discovery rate (Benjamini and Hochberg 1995)"
                ),
                "n_widths": "widths that between rests on; 0 where it is not measured",
                "between": (
                    "rank correlation of the widths' medians: one point a width, so it tells of "
                    "other widths too; of spearman alone, from 3 widths on"
                ),
                "between_p": "two-sided p of between, from orders of the widths",
                "n_within": (
                    "runs that the effect within widths rests on, from widths of 4 runs or "
                    "more; of C5 all grouped runs"
                ),
                "within": (
                    "effect with width held fixed: mean of each width's effect, weighted by "
                    "information; of C5 purity less that of groups shuffled within widths"
                ),
                "within_low": (
                    "lower end of the 95 % jackknife interval of within, runs left out in each "
                    "width (of purity: bootstrap; of scatter: spread of permutations)"
                ),
                "within_high": "upper end of the 95 % interval of within",
                "within_error": "standard error of within, by which the interval is made",
                "within_p": (
                    "two-sided p of within, from permutations within each width (of "
                    "spearman_difference: by the same error as its interval)"
                ),
                "within_p_adjusted": (
                    "within_p adjusted over all statements of the study that have enough runs, "
                    "for the false discovery rate (Benjamini and Hochberg 1995)"
                ),
                "corrected": (
                    "within as it would be if accuracies were reliable: within over the "
                    "attenuation by reliability.csv; empty where that is not known"
                ),
                "corrected_low": "lower end of the 95 % interval of corrected",
                "corrected_high": "upper end of the 95 % interval of corrected",
                "negligible_p": (
                    "p of an effect within width (corrected, where known) of at least "
                    "claims.smallest_effect in size: small p says that it is smaller"
                ),
                "negligible_p_adjusted": "negligible_p adjusted as within_p is",
                "detectable": (
                    "size of the effect within width (of C6 by width: over all runs) that 80 % "
                    "of such studies would tell from 0 at p < 0.05, before adjustment"
                ),
                "heterogeneity": (
                    "I2: share of the scatter of the widths' effects that is more than noise, "
                    "and more than their reliabilities explain, from 0 to 1 (Higgins and "
                    "Thompson 2002); of rank correlations and Cliff's delta with width held "
                    "fixed alone, so empty for scatter, C2, C5, C7 and C6 by width"
                ),
                "heterogeneity_p": "p of Cochran's Q: whether the widths' effects are alike",
                "sign_flip": "True where pooled and within differ in sign, whatever their p",
                "n_contrast": (
                    "runs of the groups high and low that delta rests on; this and the next "
                    "seven are empty where the effect is no correlation with accuracy"
                ),
                "delta": (
                    "Cliff's delta of the statistic, P(high > low) - P(high < low) over pairs "
                    "of a run of the group high and one of low"
                ),
                "delta_low": "lower end of the 95 % jackknife interval of delta",
                "delta_high": "upper end of the 95 % jackknife interval of delta",
                "n_thirds": (
                    "runs in the upper and lower third by accuracy of their width that "
                    "delta_within rests on, from widths of 4 such runs or more"
                ),
                "delta_within": (
                    "Cliff's delta of upper against lower third by accuracy in each width, "
                    "mean over widths weighted by information"
                ),
                "delta_within_low": "lower end of the 95 % jackknife interval of delta_within",
                "delta_within_high": "upper end of the 95 % jackknife interval of delta_within",
                "verdict": (
                    "supported; supported, but small; masked by width; explained by width; no "
                    "effect; reversed within width; contradicted; inconclusive; or too few "
                    "runs, by the rules in docs/claims.md"
                ),
                "ways": (
                    "ways to analyse the study by which the statement was judged, this one "
                    "among them; multiverse.csv has each"
                ),
                "ways_agree": "of these, ways that give the same verdict",
            },
            texts=("measure", "n_per_width", "verdict"),
        ),
        "multiverse": Table(
            row=(
                "statement and way to analyse the study: train or test accuracy, with or "
                "without non, with or without the smallest width, groups by other edges; effects "
                "and verdict"
            ),
            keys=("claim", "model", "dataset", "layer", "statistic"),
            columns={
                "split": "train or test: whose final accuracy the statement is about",
                "non": "exclude or include: whether runs that did not converge are in it",
                "widths": "all, or without the smallest",
                "edges": (
                    "which edges make the groups: as set (groups.edges), or other, as in "
                    "grouping.csv"
                ),
                "predicted": "sign of the effect that the claim predicts: 1 or -1",
                "n": "runs that pooled rests on",
                "n_smaller": "runs in the smaller of two sets compared",
                "pooled": "effect over the runs of all widths, as in claims.csv",
                "pooled_low": "lower end of its 95 % interval",
                "pooled_high": "upper end of its 95 % interval",
                "pooled_p": "two-sided p of pooled",
                "n_within": "runs that within rests on",
                "within": "effect with width held fixed, as in claims.csv",
                "within_low": "lower end of its 95 % interval",
                "within_high": "upper end of its 95 % interval",
                "within_p": "two-sided p of within",
                "corrected": "within as it would be if accuracies were reliable",
                "negligible_p": "p of an effect within width of at least claims.smallest_effect",
                "verdict": "as in claims.csv; p is adjusted over the statements of the same way",
            },
            texts=("split", "non", "widths", "edges", "verdict"),
        ),
        "families": Table(
            row=(
                "statistic of a claim and dataset: whether its effects within width are alike in "
                "all model families (C7)"
            ),
            keys=("claim", "dataset", "statistic"),
            columns={
                "n_families": "families that have an effect within width",
                "effects": (
                    "the mean over layers of each family's effect within width, as dnn:+0.12 "
                    "with spaces between; positive where it is as the claim predicts"
                ),
                "difference": "largest effect of a family less the smallest",
                "heterogeneity": "I2: share of the families' scatter that is no noise, from 0 to 1",
                "heterogeneity_p": (
                    "p of Cochran's Q: whether the families' effects are alike; errors are means "
                    "over layers, as if all layers said the same"
                ),
                "heterogeneity_p_adjusted": (
                    "heterogeneity_p adjusted over all rows (Benjamini and Hochberg 1995)"
                ),
                "alike_p": (
                    "p of a difference of the largest and the smallest effect of "
                    "claims.smallest_effect or more, by two one-sided tests"
                ),
                "alike_p_adjusted": "alike_p adjusted likewise",
                "verdict": "differ, alike or inconclusive, by the rules in docs/claims.md",
            },
            texts=("effects", "verdict"),
        ),
        "answers": Table(
            row=(
                "claim and population, family on all its datasets, and all populations together: "
                "whether the claim holds, by its statements"
            ),
            keys=("claim", "model", "dataset"),
            columns={
                "answer": "holds, holds in part, mixed, fails in part, does not hold, or undecided",
                "n_statements": "statements of the claim",
                "n_for": (
                    "statements that speak for it: supported, supported but small, or masked by "
                    "width"
                ),
                "n_against": (
                    "statements that speak against it: explained by width, no effect, reversed "
                    "within width, or contradicted"
                ),
                "n_undecided": "statements that are inconclusive or have too few runs",
                "n": "runs in these statements",
                "sentence": "the answer in one sentence, with the surest statement behind it",
            },
            texts=("answer", "sentence"),
        ),
    },
    each="study",
)

FEWEST = 20  # runs that a verdict rests on
FEWEST_OF_SIDE = 3  # runs of the smaller of two sets that are compared
VERDICTS = (
    "supported",
    "supported, but small",
    "masked by width",
    "explained by width",
    "no effect",
    "reversed within width",
    "contradicted",
    "inconclusive",
    "too few runs",
)
FOR = ("supported", "supported, but small", "masked by width")
"""Verdicts by which a claim is seen among networks of one width (of C6 by width, over all)."""
NEGLIGIBLE = ("explained by width", "no effect")
"""Verdicts by which an effect within width is shown to be smaller than is of interest."""
UNDECIDED = ("inconclusive", "too few runs")

_ADJUSTED = ("pooled_p", "within_p", "negligible_p")
COLUMNS = tuple(HEAD.tables["claims"].names)
WAY_COLUMNS = tuple(HEAD.tables["multiverse"].names)
_STATEMENT = ["claim", "model", "dataset", "layer", "statistic"]
_WAY = [*WAYS]


def judge(effects: pd.DataFrame, alpha: float, smallest: float) -> pd.DataFrame:
    """The rows of `effects` with adjusted p and a verdict: COLUMNS, but for those on ways.

    p is adjusted by Benjamini and Hochberg 1995 over all rows of enough runs, each kind apart;
    `smallest` is the smallest effect of interest.
    """
    judged = effects.copy()
    enough = np.array([_is_enough(row) for _, row in judged.iterrows()], bool)
    for name in _ADJUSTED:
        judged[f"{name}_adjusted"] = adjust(judged[name].where(enough).to_numpy(float))
    judged["verdict"] = [_verdict(row, alpha, smallest) for _, row in judged.iterrows()]
    return judged


def judge_ways(
    claims: pd.DataFrame, way: dict[str, str], ways: pd.DataFrame, alpha: float, smallest: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`claims`, judged in `way`, with COLUMNS; and WAY_COLUMNS, of that way and all others.

    The statements of each way are judged by themselves, as a study that had chosen it.
    """
    parts = [claims.assign(**way)]
    of_way = dict(iter(ways.groupby(_WAY, sort=False)))
    for key, own in of_way.items():
        # statements that are the same in this way are judged with it, but told once
        with_set_edges = of_way.get((*key[:-1], WAYS["edges"][0]), own)
        every_of_way = _complete(_complete(own, with_set_edges), claims)
        parts.append(judge(every_of_way, alpha, smallest).head(len(own)))
    every = pd.concat([part[list(WAY_COLUMNS)] for part in parts], ignore_index=True)
    agree = every.merge(claims[[*_STATEMENT, "verdict"]], on=_STATEMENT, suffixes=("", "_own"))
    agree["agrees"] = agree["verdict"] == agree["verdict_own"]
    counts = agree.groupby(_STATEMENT, dropna=False)["agrees"].agg(ways="size", ways_agree="sum")
    found = claims.merge(counts.reset_index(), on=_STATEMENT, how="left")
    return found[list(COLUMNS)], every


def _complete(own: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The rows of `own`, and after them those of others whose statements it lacks."""
    both = others.merge(own[_STATEMENT], on=_STATEMENT, how="left", indicator=True)
    missing = others[(both["_merge"] == "left_only").to_numpy()]
    return pd.concat([own, missing[own.columns.intersection(others.columns)]])


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


def _verdict(row: pd.Series, alpha: float, smallest: float) -> str:
    """The first rule that fits; comparisons with NaN are false, and so nothing is sure of it."""
    if not _is_enough(row):
        return "too few runs"
    of_width = is_about_width(row)
    pooled, is_pooled = _signed(row, "pooled", alpha)
    within, is_within = (pooled, is_pooled) if of_width else _signed(row, "within", alpha)
    best = row["corrected"] if np.isfinite(row["corrected"]) else row["predicted"] * within
    is_negligible = not of_width and row["negligible_p_adjusted"] < alpha
    if is_within and within > 0:
        if not (is_pooled and pooled > 0):
            return "masked by width"
        return "supported, but small" if is_negligible or abs(best) < smallest else "supported"
    if is_negligible:
        return "explained by width" if is_pooled and pooled > 0 else "no effect"
    if is_within:
        return "reversed within width" if is_pooled and pooled > 0 else "contradicted"
    return "inconclusive"


def _is_enough(row: pd.Series) -> bool:
    """Whether there are runs enough for a verdict."""
    kinds = [("n", "pooled")] + [("n_within", "within")] * (not is_about_width(row))
    there = all(row[n] >= FEWEST and np.isfinite(row[effect]) for n, effect in kinds)
    return there and not row["n_smaller"] < FEWEST_OF_SIDE


def _signed(row: pd.Series, name: str, alpha: float) -> tuple[float, bool]:
    """An effect, positive where it is as predicted, and whether it is sure: its adjusted p is below
    alpha, and its interval leaves out 0."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    is_sure = row[f"{name}_p_adjusted"] < alpha and (low > 0 or high < 0)
    return row["predicted"] * row[name], bool(is_sure)


def is_about_width(row: pd.Series) -> bool:
    """Whether a statement is of width itself, which can't be held fixed then (C6)."""
    return bool(row["claim"] == "C6" and row["statistic"] == "width")
