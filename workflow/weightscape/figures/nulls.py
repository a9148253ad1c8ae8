"""Null models: each feature's effect by the final weights, beside those by null models of them."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from weightscape.claims.analyses.null_effects import WEIGHTS
from weightscape.drawing import style
from weightscape.heads import FigureHead

HEAD = FigureHead(
    reads=("null_effects",),
    category="Null models",
    caption=(
        "Null models for {model} on {dataset} ({runs}): the rank correlation of each layer's "
        "features with the final {claims[accuracy]} accuracy, by the final weights, by the initial "
        "ones, by the final ones in random order, and by Gaussian weights of the same mean and "
        "standard deviation; over all runs and with width held fixed. Strength pair is the "
        "correlation of mean strengths of a layer and the next with each other, purity that of the "
        "groups less its mean over shuffled groups. Bars are 95 % intervals over runs; "
        "filled marks have p < 0.05 after adjustment over all effects of the population. All runs "
        "count, also those that did not converge, whatever the claims leave out. What "
        "shuffled weights show as well is in their distribution alone: for mean, std, excess "
        "kurtosis, near zero share and mean strength that is so by construction."
    ),
)

LOOKS = dict(
    zip(
        WEIGHTS,
        (("#000000", "o"), ("#0072B2", "^"), ("#D55E00", "s"), ("#009E73", "D")),
        strict=True,
    )
)  # Okabe and Ito's colours
APART = 0.19  # of a feature's row, between kinds of weights
EFFECTS = {"pooled": "pooled", "within": "within width"}
TITLE_SIZE = 6.5
SURE = 0.05  # adjusted p of a filled mark
NAMES = {"purity": "purity (difference)"}  # which is no correlation


def draw(population: style.Shown, split: str) -> Figure:
    """A column per layer: effects over all runs, and below them those with width held fixed.

    An effect is the rank correlation with accuracy; of strength_pair that of two layers, in the
    column of the first, and of purity what it is above that of shuffled groups. Bars are 95 %
    intervals over runs; filled marks have an adjusted p below 0.05.
    """
    table = population.measure
    table = table.assign(column=table["layer"].str.split("-").str[0])
    layers = list(dict.fromkeys(table["column"]))
    features = list(dict.fromkeys(table["feature"]))
    rows = [[(layer, kind) for layer in row] for row in style.wrap(layers) for kind in EFFECTS]
    figure, panels = style.panels(rows, 0.6 + 0.17 * len(features), 1.9)
    for (layer, kind), axes in panels.items():
        of_layer = table[table["column"] == layer]
        _draw_effects(axes, of_layer, kind, features)
        n = of_layer["n" if kind == "pooled" else "n_within"].max()
        axes.set_title(f"{layer},\n{EFFECTS[kind]} (n = {n})", fontsize=TITLE_SIZE)
    for row in rows:
        for key in row[1:]:
            panels[key].tick_params(labelleft=False)
    for key in style.lowest(rows):
        panels[key].set_xlabel("Spearman's correlation")
    what = "Correlation of weights with accuracy, beside that of null models"
    style.put_heading(figure, what, [population])
    drawn = table.dropna(subset=list(EFFECTS), how="all")
    style.add_legend(figure, _handles(drawn), 1.2)
    return figure


def _handles(drawn: pd.DataFrame) -> list[Line2D]:
    """Legend of the kinds of weights that have effects, and of filled and open marks."""
    line: dict[str, Any] = {"linestyle": "", "markersize": 4}
    marks = [
        Line2D([], [], color=colour, marker=marker, label=kind, **line)
        for kind, (colour, marker) in LOOKS.items()
        if (drawn["weights"] == kind).any()
    ]
    p = drawn[[f"{kind}_p_adjusted" for kind in EFFECTS]].to_numpy(float)
    effects = drawn[list(EFFECTS)].to_numpy(float)
    is_sure = (p < SURE)[np.isfinite(effects)]
    return marks + [
        Line2D([], [], color="#8C8C8C", marker="o", markerfacecolor=face, label=label, **line)
        for found, face, label in (
            (is_sure.any(), "#8C8C8C", f"filled: adjusted p < {SURE}"),
            (not is_sure.all(), "white", f"open: adjusted p >= {SURE}"),
        )
        if found
    ]


def _draw_effects(axes: Axes, table: pd.DataFrame, kind: str, features: list[str]) -> None:
    """A row per feature, the first on top, and in it a mark per kind of weights."""
    for number, (weights, (colour, marker)) in enumerate(LOOKS.items()):
        rows = table[table["weights"] == weights]
        places = rows["feature"].map(features.index) + APART * (number - (len(LOOKS) - 1) / 2)
        is_sure = (rows[f"{kind}_p_adjusted"] < SURE).to_numpy()
        axes.hlines(places, rows[f"{kind}_low"], rows[f"{kind}_high"], color=colour, lw=0.6)
        axes.scatter(
            rows[kind],
            places,
            s=7,
            marker=marker,
            linewidths=0.6,
            edgecolors=colour,
            facecolors=np.where(is_sure, colour, "white"),
            zorder=3,
        )
    for place in range(0, len(features), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#F2F2F2", linewidth=0, zorder=0)
    axes.axvline(0, color="black", linewidth=0.5)
    axes.grid(False, axis="y")
    axes.set_xticks([-1, -0.5, 0, 0.5, 1], ["-1", "", "0", "", "1"])
    axes.set_yticks(
        range(len(features)),
        [NAMES.get(name, name.replace("_", " ")) for name in features],
    )
    axes.tick_params(axis="y", labelsize=5.5, length=0)
    axes.set(xlim=(-1.05, 1.05), ylim=(len(features) - 0.5, -0.5))
