"""Figure 1: training loss by epoch, a line per run (paper, Figure 1)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator

from weightscape.drawing import style
from weightscape.heads import FigureHead
from weightscape.runs.collecting import KEYS
from weightscape.study.sections import GROUPS

HEAD = FigureHead(
    reads=("convergence",),
    category="Convergence",
    caption=(
        "Training loss by epoch for {model} on {dataset}, a line per run ({runs}). Colour is the "
        "final {figures[colour]} accuracy; runs of the group non, which did not converge, are "
        "blue. Thick lines are the medians of the groups, with n runs each, by final "
        "{groups[accuracy]} accuracy. Epoch 0 is before training; later values are means over the "
        "epoch's images as they were trained on. {training} After Figure 1 of Zheng et al. (arXiv "
        "2408.11720)."
    ),
    labels={"curve": "loss"},
    grid=(
        "Figure 1: training loss by epoch, a line per run, thick the medians of the groups, a "
        "panel per model and dataset, each with its own axes"
    ),
    grid_of="study",
)


def draw(populations: Sequence[style.Shown], split: str) -> Figure:
    """Loss curves of one population, or a panel for each, models below each other.

    Colour is the final accuracy on `split`, `non` is blue; medians of the groups lie over the
    lines. Lines are drawn from the lowest accuracy to the highest, `non` last.
    """
    one = len(populations) == 1
    models = list(dict.fromkeys(population.model for population in populations))
    rows = [[n for n, p in enumerate(populations) if p.model == model] for model in models]
    figure, panels = style.panels(rows, 3.4 if one else 2.2, 4.4 if one else 2.3)
    for number, population in enumerate(populations):
        axes, scale = panels[number], style.accuracy_scale(population.runs, split)
        _draw_population(axes, population, scale, split)
        style.add_colour_bar(figure, [axes], scale, split)
        name = f"{style.name(population.model)}, {style.name(population.dataset)}"
        axes.set_title(f"{name} (n = {len(population.runs)})")
    for row in rows:
        panels[row[0]].set_ylabel("training loss (nats per image)")
    for number in style.lowest(rows):
        panels[number].set_xlabel("epoch (0: before training)")
    style.put_heading(figure, "Training loss by epoch", populations)
    handles = style.group_handles(style.together(populations), what="median of ", linewidth=1.4)
    style.add_legend(figure, handles, 2.0)
    return figure


def _draw_population(
    axes: Axes, population: style.Shown, scale: ScalarMappable, split: str
) -> None:
    curves, runs = population.measure, population.runs
    loss = curves["train_loss"].to_numpy(float)
    ends = style.log_ends(loss, (curves["group"] == "non").to_numpy())
    curves = curves.assign(train_loss=np.clip(loss, *ends))
    by_run = dict(iter(curves.groupby(KEYS, sort=False)))
    is_non = runs["group"] == "non"
    converged = runs[~is_non].sort_values(f"{split}_accuracy", kind="stable")
    colours = scale.to_rgba(converged[f"{split}_accuracy"].to_numpy())
    _add_lines(axes, converged, by_run, colours)
    _add_lines(axes, runs[is_non], by_run, style.GROUP_COLOURS["non"])
    medians = curves.groupby(["group", "epoch"])["train_loss"].median()
    for group in GROUPS:
        if group in medians.index:
            axes.plot(
                medians[group],
                color=style.GROUP_COLOURS[group],
                linewidth=1.4,
                linestyle=style.GROUP_LINES[group],
                path_effects=[Stroke(linewidth=3, foreground="white"), Normal()],
            )
    # of networks that are imported the final loss is known at most
    if curves.loc[curves["epoch"] == 0, "train_loss"].isna().all():
        text = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, "no curves are known", text)
        axes.set(xticks=[], yticks=[])
        return
    axes.autoscale(axis="x")
    style.log_scale(axes, ends)
    if (curves["train_loss"] != loss)[~np.isnan(loss)].any():
        style.note(axes, "at the edge: beyond the axis", 0.92)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _add_lines(
    axes: Axes, runs: pd.DataFrame, by_run: dict[Any, pd.DataFrame], colours: object
) -> None:
    keys = runs[KEYS].itertuples(index=False, name=None)
    lines = [by_run[key][["epoch", "train_loss"]].to_numpy() for key in keys]
    many = len(lines) > style.MANY
    axes.add_collection(
        LineCollection(
            lines, colors=colours, linewidths=0.4 if many else 0.7, alpha=0.7, rasterized=many
        )
    )
