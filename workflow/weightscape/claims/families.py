"""Families: whether the effects within width are alike in all model families (C7).

Families are compared on one dataset, by the mean over layers of a statistic's effect within width,
positive where it is as the claim predicts of the family. Layers of a run are no replicates, so the
error of the mean is the mean of their errors.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.special import chdtrc, ndtr

from weightscape.claims.judge import HEAD, adjust

COLUMNS = tuple(HEAD.tables["families"].names)
ALIKE, DIFFER = "alike", "differ"


def compare(claims: pd.DataFrame, alpha: float, smallest: float) -> pd.DataFrame:
    """COLUMNS, a row per claim, dataset and statistic of which two families have an effect.

    Families differ if the adjusted p of Cochran's Q is below alpha. They are alike if two one-sided
    tests show that the largest and the smallest effect are less than `smallest` apart.
    """
    known = claims.dropna(subset=["within", "within_error"])
    known = known[known["claim"] != "C7"]
    known = known.assign(
        within=known["within"] * known["predicted"],
        error=known["within_error"],
    )
    rows = []
    for keys, of in known.groupby(list(COLUMNS[:3]), sort=False):
        families = of.groupby("model", sort=False)[["within", "error"]].mean()
        if len(families) > 1 and (families["error"] > 0).all():
            found = _describe(families["within"].to_numpy(), families["error"].to_numpy(), smallest)
            told = " ".join(f"{name}:{row.within:+.2f}" for name, row in families.iterrows())
            rows.append(dict(zip(COLUMNS[:3], keys, strict=True)) | {"effects": told} | found)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in ("heterogeneity_p", "alike_p"):
        table[f"{name}_adjusted"] = adjust(table[name].to_numpy(float))
    differ, alike = (table[f"{n}_adjusted"] < alpha for n in ("heterogeneity_p", "alike_p"))
    table["verdict"] = np.select([differ, alike], [DIFFER, ALIKE], "inconclusive")
    return table


def _describe(effects: np.ndarray, errors: np.ndarray, smallest: float) -> dict[str, float]:
    weights = errors**-2.0
    mean, freedom = float(weights @ effects / weights.sum()), len(effects) - 1
    q = float(weights @ (effects - mean) ** 2)
    low, high = int(effects.argmin()), int(effects.argmax())
    apart, error = float(effects[high] - effects[low]), math.hypot(errors[low], errors[high])
    return {
        "n_families": len(effects),
        "difference": apart,
        "heterogeneity": max(0.0, 1 - freedom / q) if q > 0 else 0.0,
        "heterogeneity_p": float(chdtrc(freedom, q)),
        "alike_p": float(ndtr((apart - smallest) / error)),
    }
