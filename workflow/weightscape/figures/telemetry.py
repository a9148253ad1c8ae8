"""Why runs fail: dead units and gradient norms by epoch, medians of the groups."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from weightscape.drawing import style
from weightscape.heads import FigureHead
from weightscape.study.sections import GROUPS

HEAD = FigureHead(
    reads=("telemetry",),
    category="Convergence",
    caption=(
        "Dead units and gradient norms by epoch for {model} on {dataset}, per layer ({runs}). "
        "Lines are medians over the runs of a group, shades the middle half of them. A unit is "
        "dead if it is zero for every image of the test split; a layer whose units are all dead "
        "passes no gradient to the layers before it, however large theirs may be. The norm is that "
        "of the gradient of the mean loss on the first 1,000 training images. {training}"
    ),
    labels={"curve": "telemetry"},
)

KINDS = {
    "dead_units": "dead units (share of the layer)",
    "gradient_norm": "gradient norm (L2)",
}

NOTHING = "no telemetry: these networks were trained elsewhere"


def draw(population: style.Shown, split: str) -> Figure:
    """A panel per layer and kind: the median over the runs of each group, and the middle half."""
    table = population.measure
    rows = []
    for kind in KINDS:
        has = table.groupby("layer", sort=False)[kind].apply(lambda values: values.notna().any())
        rows += style.wrap((kind, layer) for layer in has.index[has])
    if not rows:
        return style.empty([population], NOTHING)
    figure, panels = style.panels(rows, 1.8)
    for kind in KINDS:
        limits = _limits(table, kind)
        own = {layer: axes for (of_kind, layer), axes in panels.items() if of_kind == kind}
        for layer, axes in own.items():
            of_layer = table[table["layer"] == layer]
            _draw_bands(axes, of_layer, kind)
            n = len(of_layer.drop_duplicates(["width", "seed"]))
            axes.set_title(style.label([population], population, layer, n))
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            if kind == "dead_units":
                axes.set_ylim(-0.03, 1.03)
            elif limits:
                axes.set_ylim(*limits)
                axes.set_yscale("log")
    figure.suptitle(style.title(population))
    for row in rows:
        style.share([panels[key] for key in row])
        panels[row[0]].set_ylabel(KINDS[row[0][0]])
    for key in style.lowest(rows):
        panels[key].set_xlabel("epoch (0: before training)")
    style.add_legend(figure, style.group_handles(population.runs))
    return figure


def _quartiles(table: pd.DataFrame, by: list[str], kind: str) -> pd.DataFrame:
    return table.groupby(by)[kind].quantile(np.array([0.25, 0.5, 0.75])).unstack()


def _limits(table: pd.DataFrame, kind: str) -> tuple[float, float] | None:
    """Of a logarithmic axis for all layers, since one may have gradients of zero only."""
    drawn = _quartiles(table, ["layer", "group", "epoch"], kind).to_numpy()
    positive = drawn[drawn > 0]
    return (positive.min() / 1.3, positive.max() * 1.3) if len(positive) else None


def _draw_bands(axes: Axes, table: pd.DataFrame, kind: str) -> None:
    by_epoch = _quartiles(table, ["group", "epoch"], kind)
    for group in GROUPS:
        if group in by_epoch.index:
            found, colour = by_epoch.loc[group], style.GROUP_COLOURS[group]
            axes.fill_between(found.index, found[0.25], found[0.75], color=colour, alpha=0.2, lw=0)
            axes.plot(found[0.5], color=colour, linestyle=style.GROUP_LINES[group], linewidth=1.3)
