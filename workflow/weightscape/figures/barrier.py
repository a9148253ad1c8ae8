"""Barrier: how much worse networks on the line from a run to the best of its width are."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from weightscape.drawing import style
from weightscape.heads import FigureHead

HEAD = FigureHead(
    reads=("barrier",),
    category="Loss barriers",
    caption=(
        "How much worse networks on the straight line between a run and the best run of its width "
        "are than the line's ends say, for {model} on {dataset} ({runs}): the highest test loss, "
        "and the highest test error, above the straight line between those of the ends, a point "
        "per run, with nodes as they are and in the order that matches the best run. Bars are "
        "medians. 0: the two runs lie in one basin. The axis of losses is linear up to 0.1. "
        "{training}"
    ),
    layers=False,
)

# the order of a run's nodes: column's prefix, colour, place beside the middle, name
NODES = {
    "as is": ("", "#D55E00", -0.2, "nodes as they are"),
    "matched": ("matched_", "#0072B2", 0.2, "nodes matched"),
}
BARRIERS = {
    "loss_barrier": "loss barrier (nats per image)",
    "error_barrier": "error barrier (percentage points)",
}
SPREAD = 0.13  # of the points of a width, to either side
NAMED = 12  # widths
LINEAR = 0.1  # nats up to which the axis of losses is linear, and logarithmic beyond


def draw(population: style.Shown, split: str) -> Figure:
    """A panel for the loss and one for the error, by width; a point per run but the best."""
    table = population.measure.dropna(subset=["loss_barrier"])
    if not len(table):
        return style.empty([population], "no two runs of a width to draw a line between")
    widths = list(style.width_scale(population.runs)[1])
    figure, panels = style.panels([list(BARRIERS)], 2.8, 3.2)
    for name, axes in panels.items():
        n = [_draw_points(axes, table, name, nodes, widths) for nodes in NODES]
        named = style.spread(widths, NAMED)
        axes.set_xticks([widths.index(width) for width in named], named)
        axes.set_xlim(-0.6, len(widths) - 0.4)
        below = 0.02 * axes.get_ylim()[1]
        if name == "loss_barrier":  # a few are many times as high as most
            axes.set_yscale("symlog", linthresh=LINEAR)
            axes.yaxis.set_major_formatter("{x:g}")
            below = 0.1 * LINEAR
        axes.set_ylim(bottom=-below)
        axes.set_xlabel("width")
        axes.set_ylabel(BARRIERS[name])
        axes.set_title(f"barrier of test {name.partition('_')[0]} (n = {max(n)})")
    style.put_heading(
        figure, "Barriers on the line from each run to the best of its width", [population]
    )
    style.add_legend(figure, _marks(table), 1.7)
    return figure


def _draw_points(
    axes: Axes, table: pd.DataFrame, barrier: str, nodes: str, widths: list[str]
) -> int:
    """The runs' barriers with their medians; how many are drawn."""
    prefix, colour, shift, _ = NODES[nodes]
    known = table.dropna(subset=[f"{prefix}{barrier}"])
    random = np.random.default_rng(0)
    for width, own in known.groupby("width"):
        values, place = own[f"{prefix}{barrier}"], widths.index(str(width)) + shift
        axes.scatter(
            place + random.uniform(-SPREAD, SPREAD, len(own)),
            values,
            s=5,
            color=colour,
            linewidths=0,
            alpha=0.5,
            rasterized=len(known) > style.MANY,
        )
        reach = 1.3 * SPREAD
        axes.hlines(values.median(), place - reach, place + reach, color=colour, linewidth=1.6)
    return len(known)


def _marks(table: pd.DataFrame) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker="o", markersize=3, linewidth=1.6, label=label)
        for prefix, colour, _, label in NODES.values()
        if table[f"{prefix}loss_barrier"].notna().any()
    ]
