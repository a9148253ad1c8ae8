"""Statements: the paper's claims as effects of one population, with the direction they predict.

docs/claims.md lists them. Each is measured over all runs and with width held fixed; the verdict is
`judge`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weightscape.claims.effects import (
    Draws,
    Effect,
    Numbers,
    Pair,
    cliffs_delta,
    spearman,
    spearman_difference,
    thirds,
)
from weightscape.measures.runs.nulls import FINAL
from weightscape.measures.runs.projection import OBSERVED
from weightscape.runs.collecting import KEYS
from weightscape.study.widths import width_number

SHAPES = ("near_zero_share", "initial_near_zero_share", "excess_kurtosis")
EMBEDDINGS = ("quantiles", "padded")  # those of all widths together
FALLING_STRENGTH = ("vit",)  # families whose node strength falls with accuracy, by the paper

KEY_COLUMNS = ("claim", "model", "dataset", "layer", "statistic")
EFFECT_COLUMNS = (
    *KEY_COLUMNS,
    "measure",
    "predicted",
    "n",
    "n_per_width",
    "n_smaller",
    "pooled",
    "pooled_low",
    "pooled_high",
    "pooled_p",
    "n_within",
    "within",
    "within_low",
    "within_high",
    "within_p",
    "sign_flip",
    "n_contrast",
    "delta",
    "delta_low",
    "delta_high",
    "n_thirds",
    "delta_within",
    "delta_within_low",
    "delta_within_high",
)
WIDTH_COLUMNS = (*KEY_COLUMNS, "width", "n", "effect")
VALUE_COLUMNS = ("claim", *KEYS, "group", "layer", "statistic", "x", "y")

NOTHING = Effect(math.nan, math.nan, math.nan, math.nan, 0, {}, {})


class Tables(NamedTuple):
    """The tables of one population that its statements are made from."""

    runs: pd.DataFrame
    statistics: pd.DataFrame
    strength: pd.DataFrame
    purity: pd.DataFrame


class Statement(NamedTuple):
    """A number of each run, how it is compared, and the sign that the claim predicts of it."""

    claim: str
    layer: str
    """one layer, or two as `fc3-fc1`; empty where the statement is of the whole network"""
    statistic: str
    measure: str
    predicted: int
    effect: Pair
    contrast: Pair | None = None
    """Cliff's delta, group high against low, and within widths upper against lower third"""
    x: Numbers | None = None
    """(n,) of each run, for figures"""
    y: Numbers | None = None
    n_smaller: float = math.nan
    """where sets of runs are compared, the runs of the smaller; of groups, of the second largest"""


class Sums(NamedTuple):
    """What `measure` returns: rows per statement, and of each per width and per run."""

    effects: pd.DataFrame
    widths: pd.DataFrame
    values: pd.DataFrame


def measure(tables: Tables, split: str, draws: Draws) -> Sums:
    """The statements of C1 to C6 for one population, by the final accuracy (%) on `split`."""
    runs = tables.runs
    key = dict(zip(KEYS[:2], runs[KEYS[:2]].iloc[0], strict=True))
    effects, widths, values = [], [], []
    for statement in _Population(tables, split, draws).statements():
        of = {
            "claim": statement.claim,
            **key,
            "layer": statement.layer,
            "statistic": statement.statistic,
        }
        effects.append(of | _row(statement))
        n_of_width = statement.effect.within.n_of_width
        widths += [
            of | {"width": width, "n": n_of_width[width], "effect": effect}
            for width, effect in statement.effect.within.of_width.items()
        ]
        if statement.x is not None:
            values.append(runs[[*KEYS, "group"]].assign(**of, x=statement.x, y=statement.y))
    return Sums(
        pd.DataFrame(effects, columns=list(EFFECT_COLUMNS)),
        pd.DataFrame(widths, columns=list(WIDTH_COLUMNS)),
        pd.concat(values, ignore_index=True)[list(VALUE_COLUMNS)],
    )


def _row(statement: Statement) -> dict[str, Any]:
    """EFFECT_COLUMNS after the keys."""
    pooled, within = statement.effect
    counts = " ".join(f"{width}:{n}" for width, n in pooled.n_of_width.items())
    row = {
        "measure": statement.measure,
        "predicted": statement.predicted,
        "n": pooled.n,
        "n_per_width": counts,
        "n_smaller": statement.n_smaller,
        "pooled": pooled.value,
        "pooled_low": pooled.low,
        "pooled_high": pooled.high,
        "pooled_p": pooled.p,
        "n_within": within.n,
        "within": within.value,
        "within_low": within.low,
        "within_high": within.high,
        "within_p": within.p,
        "sign_flip": statement.effect.sign_flip,
    }
    return row | (_contrast_row(statement.contrast) if statement.contrast else {})


def _contrast_row(contrast: Pair) -> dict[str, Any]:
    pooled, within = contrast
    return {
        "n_contrast": pooled.n,
        "delta": pooled.value,
        "delta_low": pooled.low,
        "delta_high": pooled.high,
        "n_thirds": within.n,
        "delta_within": within.value,
        "delta_within_low": within.low,
        "delta_within_high": within.high,
    }


def across_families(transfer: pd.DataFrame) -> pd.DataFrame:
    """EFFECT_COLUMNS of C7: of the table transfer, from one family to another on the same dataset.

    How well one family's weights, by a linear model, rank the other's runs by accuracy.
    """
    rows = transfer[
        (transfer["trained_model"] != transfer["model"])
        & (transfer["trained_dataset"] == transfer["dataset"])
        & (transfer["features"] == "weights")
        & (transfer["learner"] == "linear")
    ]
    told = rows.assign(
        claim="C7",
        layer="from " + rows["trained_model"],
        statistic="transfer",
        measure="spearman",
        predicted=1,
    )
    return told.reindex(columns=list(EFFECT_COLUMNS))


class _Population:
    """The columns of one population's runs, and the statements of them."""

    def __init__(self, tables: Tables, split: str, draws: Draws):
        self.tables, self.draws = tables, draws
        self.runs = tables.runs.reset_index(drop=True)
        self.widths = self.runs["width"].to_numpy()
        self.accuracy = self.runs[f"{split}_accuracy"].to_numpy(float)
        self.groups = self.runs["group"].to_numpy()
        self.layers = list(dict.fromkeys(tables.statistics["layer"]))
        self.upper, self.lower = thirds(self.accuracy, self.widths)
        self.family = self.runs["model"].iloc[0]

    def statements(self) -> Iterator[Statement]:
        yield from self.low_spread()
        yield from self.strongest_in_final_layer()
        yield from self.sharp_peak()
        yield from self.strength()
        yield from self.clusters()
        yield from self.failures()

    def column(self, table: pd.DataFrame, layer: str, name: str) -> Numbers:
        """(n,) of a layer, in the order of the runs; NaN for runs that the table lacks."""
        of_layer = table[table["layer"] == layer].set_index(["width", "seed"])[name]
        wanted = pd.MultiIndex.from_frame(self.runs[["width", "seed"]])
        return of_layer.reindex(wanted).to_numpy(float)

    def with_accuracy(
        self, claim: str, layer: str, statistic: str, predicted: int, x: Numbers
    ) -> Statement:
        """A statistic's rank correlation with accuracy, beside the contrast of high and low."""
        high, low = self.groups == "high", self.groups == "low"
        few = self.draws._replace(permutations=1)  # the contrast stands beside, without a test
        contrast = Pair(
            cliffs_delta(x, high, low, self.widths, few).pooled,
            cliffs_delta(x, self.upper, self.lower, self.widths, few).within,
        )
        effect = spearman(x, self.accuracy, self.widths, self.draws)
        return Statement(
            claim, layer, statistic, "spearman", predicted, effect, contrast, x, self.accuracy
        )

    def low_spread(self) -> Iterator[Statement]:
        """C1: high-accuracy runs have a low sigma and cluster tightly in (mu, sigma)."""
        for layer in self.layers:
            std = self.column(self.tables.statistics, layer, "std")
            yield self.with_accuracy("C1", layer, "std", -1, std)
        for layer in self.layers:
            yield self._scatter(layer)

    def _scatter(self, layer: str) -> Statement:
        """Distances from the middle of the run's third, upper against lower.

        As in Anderson 2006 (Biometrics 62), the middles stay while thirds are permuted.
        """
        points = np.stack(
            [self.column(self.tables.statistics, layer, name) for name in ("mean", "std")]
        )
        upper, lower = thirds(self.accuracy)
        everywhere = np.full(len(self.widths), "")
        over_all = _distance_from_middle(points, upper, lower, everywhere)
        in_width = _distance_from_middle(points, self.upper, self.lower, self.widths)
        effect = Pair(
            cliffs_delta(over_all, upper, lower, self.widths, self.draws).pooled,
            cliffs_delta(in_width, self.upper, self.lower, self.widths, self.draws).within,
        )
        n_smaller = min(upper.sum(), lower.sum())
        return Statement(
            "C1", layer, "scatter", "cliffs_delta", -1, effect, n_smaller=int(n_smaller)
        )

    def strongest_in_final_layer(self) -> Iterator[Statement]:
        """C2: C1's correlation is most negative in the final layer."""
        *earlier, final = self.layers
        std = {layer: self.column(self.tables.statistics, layer, "std") for layer in self.layers}
        for layer in earlier:
            effect = spearman_difference(
                std[final], std[layer], self.accuracy, self.widths, self.draws
            )
            yield Statement("C2", f"{final}-{layer}", "std", "spearman_difference", -1, effect)

    def sharp_peak(self) -> Iterator[Statement]:
        """C3: the density of high-accuracy runs has a sharp peak near zero."""
        for name in SHAPES:
            for layer in self.layers:
                x = self.column(self.tables.statistics, layer, name)
                yield self.with_accuracy("C3", layer, name, 1, x)

    def strength(self) -> Iterator[Statement]:
        """C4: node strengths of neighbouring layers correlate, and rise with accuracy."""
        rises = -1 if self.family in FALLING_STRENGTH else 1
        means = {layer: self.column(self.tables.strength, layer, "mean") for layer in self.layers}
        for layer in self.layers:
            yield self.with_accuracy("C4", layer, "strength_mean", rises, means[layer])
        for one, following in pairwise(self.layers):
            x, y = means[one], means[following]
            effect = spearman(x, y, self.widths, self.draws)
            yield Statement(
                "C4", f"{one}-{following}", "strength_pair", "spearman", 1, effect, None, x, y
            )
        linked = self.tables.strength.dropna(subset="target")["layer"]
        for layer in dict.fromkeys(linked):
            x = self.column(self.tables.strength, layer, "in_out_spearman")
            yield self.with_accuracy("C4", layer, "in_out_spearman", 1, x)

    def clusters(self) -> Iterator[Statement]:
        """C5: runs of one group are nearest neighbours oftener than shuffled groups are."""
        purity = self.tables.purity[self.tables.purity["weights"] == FINAL]
        sizes = self.runs.loc[self.groups != "ungrouped", "group"].value_counts()
        second = sizes.iloc[1] if len(sizes) > 1 else 0
        for embedding in EMBEDDINGS:
            for _, row in purity[purity["embedding"] == embedding].iterrows():
                yield Statement(
                    "C5",
                    row["layer"],
                    f"purity_{embedding}",
                    "purity",
                    1,
                    self._purity(row),
                    n_smaller=second,
                )

    def _purity(self, row: pd.Series) -> Pair:
        """With one width, within it is what is over all."""
        grouped = self.groups != "ungrouped"
        n_of_width = self.runs["width"][grouped].value_counts(sort=False).to_dict()
        one = len(n_of_width) < 2
        pooled = excess(row)._replace(n_of_width=n_of_width)
        in_width = excess(row, "_within_width")
        return Pair(pooled, pooled if one else in_width)

    def failures(self) -> Iterator[Statement]:
        """C6: runs that do not converge are the minimal networks, initialised near zero."""
        non = self.groups == "non"
        n_smaller = int(min(non.sum(), (~non).sum()))
        numbers = np.array([width_number(width) for width in self.widths])
        effect = cliffs_delta(numbers, non, ~non, self.widths, self.draws)
        yield Statement(
            "C6", "", "width", "cliffs_delta", -1, Pair(effect.pooled, NOTHING), n_smaller=n_smaller
        )
        for layer in self.layers:
            x = self.column(self.tables.statistics, layer, "initial_std")
            effect = cliffs_delta(x, non, ~non, self.widths, self.draws)
            yield Statement(
                "C6",
                layer,
                "initial_std",
                "cliffs_delta",
                -1,
                effect,
                None,
                x,
                self.accuracy,
                n_smaller,
            )


def excess(row: pd.Series, where: str = "") -> Effect:
    """Purity less its mean over shuffled groups (`where` they are shuffled), with two-sided p."""
    value, low, high = (row[name] - row[f"shuffled{where}"] for name in OBSERVED)
    p = np.minimum(1, 2 * np.minimum(row[f"p{where}"], row[f"p_less{where}"]))  # of NaN it is NaN
    return Effect(value, low, high, float(p), int(row["n"]), {}, {})


def _distance_from_middle(
    points: Numbers, upper: NDArray, lower: NDArray, strata: NDArray
) -> Numbers:
    """(n,) distances of points (2, n) from the median of their third in their stratum.

    Each axis is scaled by its median absolute deviation over the runs of the stratum. NaN for runs
    in neither third.
    """
    found = np.full(points.shape[1], np.nan)
    for stratum in dict.fromkeys(strata):
        here = (strata == stratum) & np.isfinite(points).all(0)
        middle = np.median(points[:, here], axis=1, keepdims=True) if here.any() else 0
        scale = np.median(np.abs(points[:, here] - middle), axis=1, keepdims=True)
        for third in (upper & here, lower & here):
            if third.any():
                away = points[:, third] - np.median(points[:, third], axis=1, keepdims=True)
                # an axis on which most runs are the same tells nothing of how they scatter
                scaled = np.divide(away, scale, out=np.zeros_like(away), where=scale > 0)
                found[third] = np.hypot(*scaled)
    return found
