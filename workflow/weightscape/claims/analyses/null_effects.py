"""Null effects: which features of the paper's figures are there without what training placed.

Each feature of a figure goes with accuracy by a rank correlation, pooled and within width
(effects): by the final weights, and by the null models of them (measures/nulls). The rule, written
down before a study was judged by it: an association is seen if its adjusted p by the final weights
is below alpha; it survives a null model if by that model's weights it has the same sign and an
adjusted p below alpha. What survives `shuffled` is in the distribution of the weights alone; what
survives `gaussian` in their mean and standard deviation, together with the layer's size; what
survives `initial` was there before training. p is adjusted by Benjamini and Hochberg 1995 over all
rows of a population, pooled and within width apart.

By construction a shuffled layer has the mean, std, excess_kurtosis, near_zero_share and
strength_mean of the final one, and a Gaussian layer of the same mean and std nearly so: a row of
them that does not survive `shuffled` would be an error in the code.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from weightscape.claims.effects import Draws, Numbers, Pair, spearman
from weightscape.claims.judge import adjust
from weightscape.claims.statements import excess
from weightscape.measures.runs.nulls import FINAL, KINDS
from weightscape.runs.collecting import KEYS

WEIGHTS = (FINAL, *KINDS)
DRAWS = Draws(500, 999)
"""Fewer than the claims have: four kinds of weights make four times as many effects."""

STATISTICS = {
    "2-4": ("mean", "std"),
    "5-7": ("excess_kurtosis", "near_zero_share"),
}
STRENGTH = ("strength_mean", "strength_gini", "strength_relative_std", "strength_in_out_spearman")
SPECTRA = ("stable_rank", "effective_rank", "spectral_norm", "log_determinant")
FEATURES = STATISTICS | {"8-10": STRENGTH, "spectra": SPECTRA}
"""Figures of the paper, or of ours, and the columns of a layer that they show."""

COLUMNS = (
    "model",
    "dataset",
    "figure",
    "layer",
    "feature",
    "weights",
    "n",
    "pooled",
    "pooled_low",
    "pooled_high",
    "pooled_p",
    "pooled_p_adjusted",
    "n_within",
    "within",
    "within_low",
    "within_high",
    "within_p",
    "within_p_adjusted",
    "n_pairs",
    "median_difference",
    "share_larger",
    "survives",
    "survives_within",
)

_RUN = ["width", "seed"]


class Tables(NamedTuple):
    """The tables of one population that are read."""

    runs: pd.DataFrame
    statistics: pd.DataFrame
    strength: pd.DataFrame
    spectra: pd.DataFrame
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
    for layer, following in pairwise(layers):
        for kind in WEIGHTS:
            x, y = (frames[kind, of]["strength_mean"].to_numpy(float) for of in (layer, following))
            effect = spearman(x, y, widths, draws)
            yield _row("8-10", f"{layer}-{following}", "strength_pair", kind, effect)


def _frames(tables: Tables) -> dict[tuple[str, str], pd.DataFrame]:
    """(kind of weights, layer) -> its features, a row per run in the order of the runs."""
    where = [*_RUN, "layer"]
    own = [name for names in STATISTICS.values() for name in names]
    strength = tables.strength.set_axis(
        [name if name in where else f"strength_{name}" for name in tables.strength], axis=1
    )
    final = tables.statistics[[*where, *own]]
    for table, names in ((strength, STRENGTH), (tables.spectra, SPECTRA)):
        final = final.merge(table[[*where, *names]], on=where, validate="one_to_one")
    every = pd.concat([final.assign(weights=FINAL), tables.nulls[[*final, "weights"]]])
    order = pd.MultiIndex.from_frame(tables.runs[_RUN])
    return {
        (str(kind), str(layer)): rows.set_index(_RUN).reindex(order)
        for (kind, layer), rows in every.groupby(["weights", "layer"], sort=False)
    }


def _of_purity(purity: pd.DataFrame, runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows of the embedding of all widths in which places count, or of the only width."""
    embedding = "padded" if runs["width"].nunique() > 1 else "width"
    for _, row in purity[purity["embedding"] == embedding].iterrows():
        pooled = excess(row)
        within = excess(row, "_within_width")
        effect = Pair(pooled, pooled if embedding == "width" else within)
        yield _row("11-13", row["layer"], "purity", row["weights"], effect)


def _row(figure: str, layer: str, feature: str, kind: str, effect: Pair) -> dict[str, Any]:
    pooled, within = effect
    return {
        "figure": figure,
        "layer": layer,
        "feature": feature,
        "weights": kind,
        "n": pooled.n,
        "pooled": pooled.value,
        "pooled_low": pooled.low,
        "pooled_high": pooled.high,
        "pooled_p": pooled.p,
        "n_within": within.n,
        "within": within.value,
        "within_low": within.low,
        "within_high": within.high,
        "within_p": within.p,
    }


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
