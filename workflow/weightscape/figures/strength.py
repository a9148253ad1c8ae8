"""Figures 8-10: node strength, its spread over nodes, and pair-wise between layers."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from weightscape.drawing import style
from weightscape.heads import FigureHead
from weightscape.runs.collecting import KEYS

HEAD = FigureHead(
    reads=("strength",),
    category="Node strength",
    caption=(
        "Node strength S, the sum of the absolute weights that come into a node, for {model} on "
        "{dataset}, a point per run ({runs}). Pairs of layers, of which one reads the nodes of "
        "the other: mean strength in one against that in the next. Since the mean of S over the "
        "nodes of a layer is fan-in times the mean of abs(w) exactly, these panels show no more "
        "than the weights' size and the width do. Single layers: the Gini coefficient of S over "
        "the nodes, which that identity does not fix, against mean S over its expectation in a "
        "Gaussian layer of the same standard deviation. Layer to layer: over the nodes of a "
        "run, the correlation r of incoming with outgoing strength; it needs three nodes and "
        "differences on both sides, and its n is smaller where runs lack them. Colour is the "
        "final {figures[colour]} accuracy; crosses are runs of the group non. {training} After "
        "Figures 8-10 of Zheng et al. (arXiv 2408.11720)."
    ),
    grid=(
        "Figures 8-10: mean node strength of a layer against that of the next, a point per run; it "
        "is fan-in times the mean of abs(w)"
    ),
)

WHAT = "Node strength: pairs of layers, spread over nodes, and in against out"
TITLE_SIZE = 6  # three pairs of a ViT's layers stand side by side


def draw(populations: Sequence[style.Shown], split: str) -> Figure:
    """Pairs of layers: mean strength in one against the next, a point per run (the paper's).

    One population also has, per layer, the Gini coefficient of the strength over nodes against its
    width-free mean, and where another layer alone reads the nodes, the correlation over nodes of
    incoming with outgoing strength, against accuracy. Several of one model are pair x dataset.
    """
    rows, one = _rows(populations), len(populations) == 1
    figure, panels = style.panels(rows, 1.9 if len(rows) > 1 else 2.4)
    for number, population in enumerate(populations):
        accuracy = population.runs[[*KEYS, f"{split}_accuracy"]]
        scale = style.accuracy_scale(population.runs, split)
        table = population.measure.merge(accuracy, on=KEYS, validate="many_to_one")
        own = {key: axes for key, axes in panels.items() if key[1] == number}
        for (kind, _, what), axes in own.items():
            panel = PANELS[kind](table, what, split)
            n = style.scatter(axes, panel.points, panel.x, panel.y, scale, split)
            axes.set_xlabel(panel.x_label, fontsize=TITLE_SIZE)
            axes.set_ylabel(panel.y_label, fontsize=TITLE_SIZE)
            title = style.label(populations, population, panel.title, n)
            axes.set_title(title, fontsize=TITLE_SIZE)
            if kind == "link":
                axes.axhline(0, color="black", linewidth=0.5)
        style.add_colour_bar(figure, list(own.values()), scale, split, below=not one)
    if not one:
        for row in rows:
            style.share([panels[key] for key in row])
            for key in row[1:]:
                panels[key].set_ylabel("")
    style.put_heading(figure, WHAT if one else "Node strength of neighbouring layers", populations)
    style.add_non_legend(figure, populations)
    return figure


def _rows(populations: Sequence[style.Shown]) -> list[list[tuple[Any, ...]]]:
    """Keys of panels: kind, number of the population, and the layer or pair of layers."""
    table, numbers = populations[0].measure, range(len(populations))
    layers = list(table["layer"].unique())
    links = table.dropna(subset="target").drop_duplicates("layer")
    neighbours = zip(links["layer"], links["target"], strict=True)
    pairs = [[("pair", number, pair) for number in numbers] for pair in neighbours]
    spreads = [[("spread", number, layer) for number in numbers] for layer in layers]
    if len(populations) > 1:
        return pairs or spreads
    by_kind = (chain(*pairs), chain(*spreads), (("link", 0, layer) for layer in links["layer"]))
    return [row for keys in by_kind for row in style.wrap(keys)]


class _Panel(NamedTuple):
    """The points of a panel, the columns that are its axes, and its texts."""

    points: pd.DataFrame
    x: str
    y: str
    x_label: str
    y_label: str
    title: str


def _pair_panel(table: pd.DataFrame, pair: tuple[str, str], split: str) -> _Panel:
    """The mean strengths of two layers, a row per run."""
    means = table.pivot(index=KEYS, columns="layer", values="mean")[list(pair)]
    runs = table.drop_duplicates(KEYS).set_index(KEYS)
    points = runs.join(means.set_axis(["x", "y"], axis=1)).reset_index()
    labels = (f"mean S of {pair[0]}", f"mean S of {pair[1]}")
    return _Panel(points, "x", "y", *labels, ", ".join(pair))


def _spread_panel(table: pd.DataFrame, layer: str, split: str) -> _Panel:
    points = table[table["layer"] == layer]
    labels = ("mean S / that of\na Gaussian layer", "Gini of S over nodes")
    return _Panel(points, "relative_mean", "gini", *labels, layer)


def _link_panel(table: pd.DataFrame, layer: str, split: str) -> _Panel:
    points = table[table["layer"] == layer]
    title = f"{layer} to {points['target'].iloc[0]}"
    labels = (f"final {split} accuracy (%)", "Pearson's r over nodes\nof in and out strength")
    return _Panel(points, f"{split}_accuracy", "in_out_pearson", *labels, title)


PANELS: dict[str, Callable[[pd.DataFrame, Any, str], _Panel]] = {
    "pair": _pair_panel,
    "spread": _spread_panel,
    "link": _link_panel,
}
