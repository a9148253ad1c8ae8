"""Where variation comes from: shares of width, initialisation, order and both in each number."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from weightscape.claims.analyses.variation import PARTS
from weightscape.drawing import style
from weightscape.heads import FigureHead

HEAD = FigureHead(
    reads=("variation",),
    category="Where variation comes from",
    caption=(
        "What the variance of accuracy and of each layer's statistics is made of, for {model} on "
        "{dataset} ({runs}). Width: between the means of the widths. Within widths, each weighing "
        "the same: {chance}. Components that are estimated below 0 are shown as 0. Intervals, "
        "estimates and p are in the table variation, each width by itself in variation_widths. "
        "{training}"
    ),
)

ROW = 0.17  # inches of a bar
AROUND = 0.45  # inches of a row of panels beside its bars
COLOURS = {"width": "#DDDDDD", "init": "#0072B2", "shuffle": "#E8A33D", "residual": "#6E0019"}
INKS = {"width": "black", "init": "white", "shuffle": "black", "residual": "white"}
NAMED = 0.1  # smallest share that is written into its bar
CROSSED = {
    "width": "width",
    "init": "initialisation",
    "shuffle": "order of the images",
    "residual": "initialisation x order",
}
PLAIN = CROSSED | {"residual": "initialisation and order (plain seeds)"}


def draw(population: style.Shown, split: str) -> Figure:
    """Stacked bars of the table variation: accuracies above, below a panel per layer."""
    table = population.measure.assign(layer=population.measure["layer"].fillna(""))
    layers = [layer for layer in table["layer"].unique() if layer]
    rows = [[""], *style.wrap(layers)]
    counts = [max((table["layer"] == layer).sum() for layer in row) for row in rows]
    heights = [AROUND + ROW * count for count in counts]
    figure = Figure(figsize=(style.PAGE[0], sum(heights) + 0.7), layout="constrained")
    grid = figure.add_gridspec(len(rows), 1, height_ratios=heights)
    for number, row in enumerate(rows):
        panels = grid[number].subgridspec(1, len(row)).subplots(squeeze=False)[0]
        for axes, layer in zip(panels, row, strict=True):
            _draw_bars(axes, table[table["layer"] == layer], layer or "accuracy")
            axes.tick_params(labelleft=axes is panels[0])
            axes.set_xlabel("share of the variance (%)" if row is rows[-1] else "")
    what = "What the variance of accuracies and of weights is made of"
    style.put_heading(figure, what, [population])
    names = PLAIN if table["share_init"].isna().all() else CROSSED
    handles = [
        Patch(facecolor=COLOURS[part], edgecolor="#444444", linewidth=0.4, label=names[part])
        for part in PARTS
        if table[f"share_{part}"].notna().any()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(PARTS))
    return figure


def _draw_bars(axes: Axes, table: pd.DataFrame, what: str) -> None:
    places = np.arange(len(table))
    left = np.zeros(len(table))
    for part in PARTS:
        shares = 100 * table[f"share_{part}"].fillna(0).to_numpy()
        axes.barh(
            places,
            shares,
            left=left,
            height=0.8,
            color=COLOURS[part],
            edgecolor="#444444",
            linewidth=0.3,
        )
        for place in np.flatnonzero(shares >= 100 * NAMED).tolist():
            axes.text(
                left[place] + shares[place] / 2,
                place,
                f"{shares[place]:.0f}",
                ha="center",
                va="center_baseline",
                fontsize=5.5,
                color=INKS[part],
            )
        left += shares
    axes.set_xlim(0, 100)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_yticks(places, [name.replace("_", " ") for name in table["statistic"]])
    axes.grid(False)
    fewest, most = table["n"].min(), table["n"].max()
    axes.set_title(f"{what} (n = {most})" if fewest == most else f"{what} (n = {fewest} to {most})")
