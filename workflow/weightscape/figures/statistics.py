"""Figures 2-4: mean against standard deviation of the weights, a point per run, as in the paper."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from weightscape.figures import style
from weightscape.runs import KEYS

COLUMNS = 3


def draw(statistics: pd.DataFrame, runs: pd.DataFrame, split: str) -> Figure:
    """A panel per layer of one population; colour is the final accuracy on `split`."""
    layers = list(statistics["layer"].unique())
    columns = min(COLUMNS, len(layers))
    rows = -(-len(layers) // columns)
    figure = Figure(figsize=(2.7 * columns + 0.9, 2.7 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    scale = style.accuracy_scale(runs, split)
    table = statistics.merge(runs[[*KEYS, f"{split}_accuracy"]], on=KEYS, validate="many_to_one")
    for axes, layer in zip(panels, layers, strict=False):
        _draw_layer(axes, table[table["layer"] == layer], scale, split)
        axes.set_title(f"{layer} (n = {(table['layer'] == layer).sum()})", fontsize=9)
    for axes in panels[len(layers) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel(r"standard deviation $\sigma_w$ of the weights")
    for axes in panels[max(0, len(layers) - columns) : len(layers)]:
        axes.set_xlabel(r"mean $\mu_w$ of the weights")
    name = style.title(*runs[["model", "dataset"]].iloc[0])
    figure.suptitle(f"{name}: {style.count(runs)}", fontsize=10)
    if (runs["group"] == "non").any():
        handles, _ = panels[0].get_legend_handles_labels()
        figure.legend(handles=handles, loc="outside lower right", fontsize=8)
    style.add_colour_bar(figure, list(panels[: len(layers)]), scale, split)
    return figure


def _draw_layer(axes: Axes, table: pd.DataFrame, scale: ScalarMappable, split: str) -> None:
    is_non = table["group"] == "non"
    converged = table[~is_non].sort_values(f"{split}_accuracy", kind="stable")
    many = len(table) > style.MANY
    colours = scale.to_rgba(converged[f"{split}_accuracy"].to_numpy())
    axes.scatter(
        converged["mean"], converged["std"], c=colours, s=16, linewidths=0.3,
        edgecolors="#444444", rasterized=many,
    )  # fmt: skip
    if is_non.any():
        axes.scatter(
            table.loc[is_non, "mean"], table.loc[is_non, "std"], marker="x", s=18,
            color=style.NON_COLOUR, label=f"non (n = {is_non.sum()})", rasterized=many,
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(4))
