"""Figure 1: training loss by epoch, a line per run (paper, Figure 1)."""

import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from weightscape.figures import style
from weightscape.runs import KEYS


def draw(curves: pd.DataFrame, runs: pd.DataFrame, split: str) -> Figure:
    """Loss curves of one population; colour is the final accuracy on `split`, `non` is blue.

    Lines are drawn from the lowest accuracy to the highest, `non` last.
    """
    scale = style.accuracy_scale(runs, split)
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    by_run = dict(iter(curves.groupby(KEYS, sort=False)))
    is_non = runs["group"] == "non"
    converged = runs[~is_non].sort_values(f"{split}_accuracy", kind="stable")
    colours = scale.to_rgba(converged[f"{split}_accuracy"].to_numpy())
    _add_lines(axes, converged, by_run, colours)
    _add_lines(axes, runs[is_non], by_run, style.NON_COLOUR)
    axes.autoscale()
    if (curves["train_loss"] > 0).any():  # not so if every run is NaN
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch (0: before training)")
    axes.set_ylabel("training loss (nats per image)")
    axes.set_title(
        f"{style.title(*runs[['model', 'dataset']].iloc[0])}: {style.count(runs)}", fontsize=9
    )
    if is_non.any():
        label = f"non (n = {is_non.sum()})"
        handle = Line2D([], [], color=style.NON_COLOUR, label=label)
        figure.legend(handles=[handle], loc="outside lower right", fontsize=8)
    style.add_colour_bar(figure, [axes], scale, split)
    return figure


def _add_lines(axes, runs, by_run, colours) -> None:
    keys = runs[KEYS].itertuples(index=False, name=None)
    lines = [by_run[key][["epoch", "train_loss"]].to_numpy() for key in keys]
    axes.add_collection(
        LineCollection(
            lines, colors=colours, linewidths=0.9, alpha=0.8, rasterized=len(lines) > style.MANY
        )
    )
