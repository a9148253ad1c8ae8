"""Null effects: which features of the paper's figures are there without what training placed.

Each feature of a figure goes with accuracy by a rank correlation, pooled and within width
(effects): by the final weights, and by the null models of them (the measure nulls). The rule,
written down before a study was judged by it: an association is seen if its adjusted p by the final
weights is below alpha; it survives a null model if by that model's weights it has the same sign and
an adjusted p below alpha. What survives `shuffled` is in the distribution of the weights alone;
what survives `gaussian` in their mean and standard deviation, together with the layer's size; what
survives `initial` was there before training. p is adjusted by Benjamini and Hochberg 1995 over all
rows of a population, pooled and within width apart.

By construction a shuffled layer has the mean, std, excess_kurtosis, near_zero_share and
strength_mean of the final one, and a Gaussian layer of the same mean and std nearly so: a row of
them that does not survive `shuffled` would be an error in the code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from weightscape.claims.comparisons import Numbers
from weightscape.claims.effects import Draws, Pair, spearman
from weightscape.claims.evidence import excess
from weightscape.claims.judge import adjust
from weightscape.heads import MeasureHead, Table, told_layer_measures
from weightscape.measures.job import Job
from weightscape.measures.runs.nulls import FINAL, KINDS
from weightscape.measures.runs.purity import ALL
from weightscape.runs.collecting import KEYS

HEAD = MeasureHead(
    reads=("runs", "grouping", "layers", "nulls", "purity"),
    tables={
        "null_effects": Table(
            row=(
                "feature and layer: which features of the paper's figures survive the null models"
            ),
            keys=("model", "dataset"),
            columns={
                "figure": (
                    "figure of the paper that shows the feature (2-4, 5-7, 8-10, 11-13), or spectra"
                ),
                "layer": "layer of the feature; two layers as fc1-fc2 for strength_pair",
                "feature": (
                    "number of each run that is correlated with accuracy; strength_pair "
                    "correlates two layers, purity compares groups"
                ),
                "weights": (
                    "weights that the feature is of: final, or a null model: initial, shuffled "
                    "or gaussian"
                ),
                "n": "runs that pooled rests on",
                "pooled": (
                    "Spearman's correlation of feature and accuracy over all runs; "
                    "strength_pair: of two layers; purity: less that of shuffled groups"
                ),
                "pooled_low": "lower end of the 95 % jackknife interval of pooled",
                "pooled_high": "upper end of the 95 % jackknife interval of pooled",
                "pooled_p": "two-sided p of pooled, by the same error as its interval",
                "pooled_p_adjusted": (
                    "pooled_p adjusted over all rows of the population (Benjamini and Hochberg "
                    "1995)"
                ),
                "n_within": (
                    "runs that within rests on, from widths of 4 runs or more; of purity all "
                    "grouped runs"
                ),
                "within": (
                    "the effect with width held fixed: mean of each width's, weighted by "
                    "information; purity: less that of groups shuffled within widths"
                ),
                "within_low": "lower end of the 95 % jackknife interval of within",
                "within_high": "upper end of the 95 % jackknife interval of within",
                "within_p": "two-sided p of within, from permutations within each width",
                "within_p_adjusted": (
                    "within_p adjusted over all rows of the population (Benjamini and Hochberg "
                    "1995)"
                ),
                "n_pairs": (
                    "runs whose feature is finite by the final and the null weights; empty for "
                    "final, strength_pair and purity"
                ),
                "median_difference": (
                    "median over n_pairs runs of the feature by the final weights less that by "
                    "the null model, in the feature's unit"
                ),
                "share_larger": (
                    "share of n_pairs runs where the feature is larger by the final weights, "
                    "from 0 to 1"
                ),
                "survives": (
                    "True if this null model shows pooled too (same sign, adjusted p below "
                    "alpha); empty for final and if final shows none"
                ),
                "survives_within": "the same of within and within_p_adjusted",
            },
            texts=("figure", "feature", "weights"),
        ),
    },
    settings={
        "accuracy": "claims.accuracy",
        "alpha": "claims.alpha",
    },
)

WEIGHTS = (FINAL, *KINDS)
DRAWS = Draws(999)
"""Fewer than the claims have: four kinds of weights make four times as many effects."""

FEATURES: dict[str, tuple[str, ...]] = {}
for _head in told_layer_measures().values():
    for _figure, _columns in _head.effects.items():
        _own = tuple(_head.prefix + column for column in _columns)
        FEATURES[_figure] = FEATURES.get(_figure, ()) + _own
"""Figures of the paper, or of ours, and the columns of a layer that they show."""

COLUMNS = tuple(HEAD.tables["null_effects"].names)

_RUN = ["width", "seed"]


def make(job: Job) -> None:
    tables = Tables(job.runs, job.layers(), job.table("nulls"), job.table("purity"))
    job.write(null_effects=measure(tables, job.settings["accuracy"], job.settings["alpha"]))


class Tables(NamedTuple):
    """The tables of one population that are read."""

    runs: pd.DataFrame
    layers: dict[str, pd.DataFrame]
    """by the name of the measure"""
    nulls: pd.DataFrame
    purity: pd.DataFrame


def measure(tables: Tables, split: str, alpha: float, draws: Draws = DRAWS) -> pd.DataFrame:
    """COLUMNS: a row per figure, layer, feature and kind of weights.

    Effects are with the final accuracy (%) on `split`; `strength_pair` is the rank correlation of
    the mean strengths of two neighbouring layers with each other, `purity` that of the groups less
    its mean over shuffled groups. median_difference is the median over n_pairs runs of
    the final feature less that of the null model, share_larger the share of them in which the final
    one is larger. `survives` and `survives_within` are empty where nothing is seen.
    """
    pair = dict(zip(KEYS[:2], tables.runs[KEYS[:2]].iloc[0], strict=True))
    rows = [*_of_features(tables, split, draws), *_of_purity(tables.purity, tables.runs)]
    found = pd.DataFrame([pair | row for row in rows], columns=list(COLUMNS))
    for kind, survives in (("pooled", "survives"), ("within", "survives_within")):
        found[f"{kind}_p_adjusted"] = adjust(found[f"{kind}_p"].to_numpy(float))
        found[survives] = _survives(found, kind, alpha)
    return found


def _of_features(tables: Tables, split: str, draws: Draws) -> Iterator[dict[str, Any]]:
    frames = _frames(tables)
    runs = tables.runs
    widths, accuracy = runs["width"].to_numpy(), runs[f"{split}_accuracy"].to_numpy(float)
    layers = list(dict.fromkeys(layer for _, layer in frames))
    for layer in layers:
        for figure, features in FEATURES.items():
            for feature in features:
                final = frames[FINAL, layer][feature].to_numpy(float)
                if not np.isfinite(final).any():  # as of a layer whose nodes no other reads
                    continue
                for kind in WEIGHTS:
                    x = frames[kind, layer][feature].to_numpy(float)
                    effect = spearman(x, accuracy, widths, draws)
                    row = _row(figure, layer, feature, kind, effect)
                    yield row | (_differences(final, x) if kind != FINAL else {})
    strength = tables.layers["strength"].dropna(subset="target")
    for layer, following in dict.fromkeys(zip(strength["layer"], strength["target"], strict=True)):
        for kind in WEIGHTS:
            x, y = (frames[kind, of]["strength_mean"].to_numpy(float) for of in (layer, following))
            effect = spearman(x, y, widths, draws)
            yield _row("8-10", f"{layer}-{following}", "strength_pair", kind, effect)


def _frames(tables: Tables) -> dict[tuple[str, str], pd.DataFrame]:
    """(kind of weights, layer) -> its features, a row per run in the order of the runs."""
    where = [*_RUN, "layer"]
    final: pd.DataFrame | None = None
    for name, head in told_layer_measures().items():
        own = [column for columns in head.effects.values() for column in columns]
        table = tables.layers[name][[*where, *own]].rename(
            columns={column: head.prefix + column for column in own}
        )
        final = table if final is None else final.merge(table, on=where, validate="one_to_one")
    assert final is not None
    every = pd.concat([final.assign(weights=FINAL), tables.nulls[[*final, "weights"]]])
    order = pd.MultiIndex.from_frame(tables.runs[_RUN])
    return {
        (str(kind), str(layer)): rows.set_index(_RUN).reindex(order)
        for (kind, layer), rows in every.groupby(["weights", "layer"], sort=False)
    }


def _of_purity(purity: pd.DataFrame, runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows of the embedding of all widths in which places count, or of the only width."""
    embedding = "padded" if runs["width"].nunique() > 1 else "width"
    of_all = purity[(purity["embedding"] == embedding) & (purity["groups"] == ALL)]
    for _, row in of_all.iterrows():
        pooled = excess(row)
        within = excess(row, "_within_width")
        effect = Pair(pooled, pooled if embedding == "width" else within)
        yield _row("11-13", row["layer"], "purity", row["weights"], effect)


def _row(figure: str, layer: str, feature: str, kind: str, effect: Pair) -> dict[str, Any]:
    of = {"figure": figure, "layer": layer, "feature": feature, "weights": kind}
    return of | effect.columns()


def _differences(final: Numbers, null: Numbers) -> dict[str, float]:
    """Final less null, run by run; runs where one is not finite are left out."""
    both = np.isfinite(final) & np.isfinite(null)
    if not both.any():
        return {"n_pairs": 0}
    less = final[both] - null[both]
    return {
        "n_pairs": int(both.sum()),
        "median_difference": float(np.median(less)),
        "share_larger": float((less > 0).mean()),
    }


def _survives(found: pd.DataFrame, kind: str, alpha: float) -> list[bool | None]:
    """Of each row whether the association is there by its weights too; None if none is seen."""
    is_sure = found[f"{kind}_p_adjusted"] < alpha
    sign = np.sign(found[kind].to_numpy(float))
    keys = list(found[["figure", "layer", "feature"]].itertuples(index=False, name=None))
    final = {
        key: direction
        for key, weights, sure, direction in zip(keys, found["weights"], is_sure, sign, strict=True)
        if weights == FINAL and sure
    }
    return [
        bool(sure and direction == final[key]) if key in final and weights != FINAL else None
        for key, weights, sure, direction in zip(keys, found["weights"], is_sure, sign, strict=True)
    ]
