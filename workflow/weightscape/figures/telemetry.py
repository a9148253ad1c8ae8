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

WHAT = "Dead units and gradient norms by epoch"
NOTHING = "no telemetry: these networks were trained elsewhere"


def draw(population: style.Shown, split: str) -> Figure:
    """A panel per layer and kind: the median over the runs of each group, and the middle half."""
    table = population.measure
    rows = []
    for kind in KINDS:
        has = table.groupby("layer", sort=False)[kind].apply(lambda values: values.notna().any())
        rows += style.wrap((kind, layer) for layer in has.index[has])
    if not rows:
        return style.empty([population], NOTHING, WHAT)
    figure, panels = style.panels(rows, 1.8)
    for kind in KINDS:
        ends = _ends(table) if kind == "gradient_norm" else None
        own = {layer: axes for (of_kind, layer), axes in panels.items() if of_kind == kind}
        for layer, axes in own.items():
            of_layer = table[table["layer"] == layer]
            _draw_bands(axes, of_layer, kind, ends)
            n = len(of_layer.drop_duplicates(["width", "seed"]))
            axes.set_title(style.label([population], population, layer, n))
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            if ends:
                style.log_scale(axes, ends)
            else:
                axes.set_ylim(-0.03, 1.03)
    style.put_heading(figure, WHAT, [population])
    for row in rows:
        style.share([panels[key] for key in row])
        panels[row[0]].set_ylabel(KINDS[row[0][0]])
    for key in style.lowest(rows):
        panels[key].set_xlabel("epoch (0: before training)")
    style.add_legend(figure, style.group_handles(population.runs))
    return figure


def _quartiles(table: pd.DataFrame, by: list[str], kind: str) -> pd.DataFrame:
    return table.groupby(by)[kind].quantile(np.array([0.25, 0.5, 0.75])).unstack()


def _ends(table: pd.DataFrame) -> tuple[float, float]:
    """Of a logarithmic axis for all layers, since one may have gradients of zero only."""
    drawn = _quartiles(table, ["layer", "group", "epoch"], "gradient_norm")
    is_non = drawn.index.get_level_values("group") == "non"
    return style.log_ends(drawn.to_numpy().ravel(), np.repeat(is_non, 3))


def _draw_bands(
    axes: Axes, table: pd.DataFrame, kind: str, ends: tuple[float, float] | None
) -> None:
    """Values beyond the ends of a logarithmic axis are drawn there."""
    by_epoch = _quartiles(table, ["group", "epoch"], kind)
    if ends:
        beyond = (by_epoch < ends[0]) | (by_epoch > ends[1])
        by_epoch = by_epoch.clip(*ends)
        if beyond.to_numpy().any():
            style.note(axes, "at the edge: zero or beyond the axis", 0.16)
    for group in GROUPS:
        if group in by_epoch.index:
            found, colour = by_epoch.loc[group], style.GROUP_COLOURS[group]
            axes.fill_between(found.index, found[0.25], found[0.75], color=colour, alpha=0.2, lw=0)
            axes.plot(found[0.5], color=colour, linestyle=style.GROUP_LINES[group], linewidth=1.3)
