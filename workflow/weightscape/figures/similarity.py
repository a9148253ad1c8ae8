"""Similarity: how alike runs represent the test images, in each hidden layer, by group (CKA)."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from weightscape.drawing import style
from weightscape.heads import FigureHead
from weightscape.measures.pairs import ALL_WIDTHS

HEAD = FigureHead(
    reads=("similarity",),
    category="Similarity of representations",
    caption=(
        "How alike two runs of {model} on {dataset} represent the test images ({runs}): debiased "
        "linear CKA of the outputs of each layer that a ReLU follows, mean over the pairs of runs "
        "of two groups, with its 95 % bootstrap interval over runs. 1: alike but for rotation and "
        "scale; 0: unrelated. Hollow diamonds are the same runs before training. {training}"
    ),
)

# pairs of one width and of different ones, by place below the middle of a row
RELATIONS = {
    "same": ("#0072B2", -0.16, "runs of one width"),
    "other": ("#D55E00", 0.16, "runs of different widths"),
}
MARKS = {"final": ("o", "mean, 95 % interval"), "initial": ("D", "before training")}
ROW = 0.24  # inches of two groups
COLUMNS = 3


def draw(population: style.Shown, split: str) -> Figure:
    """A panel per layer, with a row for each two groups."""
    table = population.measure
    if not len(table):
        return style.empty([population], "no two runs whose layers' outputs are known")
    layers = style.wrap(table["layer"].unique(), COLUMNS)
    groups = list(dict.fromkeys(zip(table["group_a"], table["group_b"], strict=True)))
    figure, panels = style.panels(layers, 0.7 + ROW * len(groups), 2.6)
    for row in layers:
        for layer in row:
            _draw_layer(panels[layer], table[table["layer"] == layer], layer, groups)
            panels[layer].tick_params(labelleft=layer == row[0])
    for layer in style.lowest(layers):
        panels[layer].set_xlabel("similarity of two runs' outputs (CKA)")
    style.put_heading(figure, "How alike two runs represent the test images", [population])
    style.add_legend(figure, _marks(set(table["widths"])), 1.7)
    return figure


def _draw_layer(axes: Axes, table: pd.DataFrame, layer: str, groups: list[tuple[str, str]]) -> None:
    """A row for each two groups: the mean of final weights with its interval, and of initial."""
    for relation, (colour, shift, _) in RELATIONS.items():
        for weights in MARKS:
            own = table[(table["widths"] == relation) & (table["weights"] == weights)]
            pairs = zip(own["group_a"], own["group_b"], strict=True)
            places = [groups.index(pair) + shift for pair in pairs]
            if weights == "final":
                axes.hlines(places, own["cka_low"], own["cka_high"], color=colour, linewidth=1.1)
            axes.plot(own["cka"], places, **_mark(weights, colour))
    axes.set_yticks(range(len(groups)), [f"{a} and {b}" for a, b in groups])
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlim(min(-0.03, axes.get_xlim()[0]), 1.03)
    axes.set_title(f"{layer} (n = {_count_runs(table)})")


def _count_runs(table: pd.DataFrame) -> int:
    """Runs whose final weights are compared; a group that is not compared with itself has one."""
    pairs = table[(table["widths"] == ALL_WIDTHS) & (table["weights"] == "final")]
    within = pairs[pairs["group_a"] == pairs["group_b"]].set_index("group_a")["n_runs"]
    return sum(within.get(group, 1) for group in {*pairs["group_a"], *pairs["group_b"]})


def _mark(weights: str, colour: str) -> dict[str, Any]:
    """How the mean of these weights is drawn."""
    face = colour if weights == "final" else "none"
    mark = {"marker": MARKS[weights][0], "color": colour, "markerfacecolor": face}
    return mark | {"linestyle": "", "markersize": 3.6, "markeredgewidth": 0.7}


def _marks(relations: set[str]) -> list[Line2D]:
    """The legend."""
    lines = [
        Line2D([], [], color=colour, linewidth=2, label=label)
        for name, (colour, _, label) in RELATIONS.items()
        if name in relations
    ]
    marks = MARKS.items()
    return lines + [Line2D([], [], label=told, **_mark(w, "#444444")) for w, (_, told) in marks]
