"""Why runs fail: counts of causes, and gradients and dead units beside those of successful runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from weightscape.claims.analyses.causes import (
    ALL_WIDTHS,
    CAUSES,
    FAILED,
    VANISHING,
    relative_gradients,
    successful,
)
from weightscape.drawing import style
from weightscape.heads import FigureHead
from weightscape.runs.collecting import KEYS

HEAD = FigureHead(
    reads=("causes", "failures", "telemetry"),
    category="Convergence",
    caption=(
        "Why runs of {model} on {dataset} failed ({runs}). Above: the runs of the groups non and "
        "low by cause, the first that fits (docs/claims.md has the rules). Below, by epoch, for "
        "the failed runs of each cause and for the successful ones (the group high of a width, or "
        "its best third): the norm of the first layer's gradient relative to the median of the "
        "successful runs of the same width, zero at the lower edge, and the share of dead units in "
        "the layer that has most of them at the end. Lines are medians over runs, shades the "
        "middle half. The dotted line is the thousandth below which a gradient counts as "
        "vanishing; behind a dead layer it is zero because the layer is dead. {training}"
    ),
    labels={"curve": "failures"},
    split="groups.accuracy",
)

# Okabe and Ito's, black for what has no number
COLOURS = {
    "diverged": "black",
    "dead layer": "#D55E00",
    "vanishing gradient": "#CC79A7",
    "constant output": "#56B4E9",
    "nearly dead layer": "#E69F00",
    "slow": "#009E73",
    "plateau": "#8C8C8C",
    "unknown": "#F0E442",
}
SUCCESSFUL = style.GROUP_COLOURS["high"]
BY_EPOCH = {
    "gradient": "gradient norm of the first layer\n/ median of successful runs",
    "dead": "dead units (share), of the\nlayer with most at the end",
}


def draw(population: style.Shown, split: str) -> Figure:
    """Above, a panel per failed group: runs by cause, a bar per width. Below, by epoch: the median
    of the runs of each cause and of the successful ones, and the middle half.
    """
    runs = population.runs
    causes, failures, telemetry = (population.measure[name] for name in HEAD.reads)
    if not len(failures):
        return style.empty([population], "no run is of the groups non and low")
    figure, panels = style.panels([FAILED, list(BY_EPOCH)], 2.3, 3.1)
    for group in FAILED:
        _draw_counts(panels[group], causes[causes["group"] == group], group)
    panels[FAILED[0]].set_ylabel("runs")
    good = np.concatenate([[], *(one.rows for one in successful(runs, split).values())]).astype(int)
    members = {
        cause: np.flatnonzero(_causes_of(runs, failures) == cause)
        for cause in CAUSES
        if (failures["cause"] == cause).any()
    }
    for kind, values in _values(runs, telemetry, split).items():
        axes = panels[kind]
        _draw_band(axes, values[good], SUCCESSFUL, "-")
        for cause, rows in members.items():
            _draw_band(axes, values[rows], COLOURS[cause], "--")
        axes.set_title(f"failed (n = {len(failures)})")
        axes.set_ylabel(BY_EPOCH[kind])
        axes.set_xlabel("epoch (0: before training)")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _scale(panels)
    figure.suptitle(style.title(population))
    style.add_legend(figure, _handles(members, len(good)), 2.2)
    return figure


def _causes_of(runs: pd.DataFrame, failures: pd.DataFrame) -> np.ndarray:
    """The cause of each run, empty of those that did not fail."""
    return runs[KEYS].merge(failures[[*KEYS, "cause"]], how="left")["cause"].to_numpy(object)


def _values(runs: pd.DataFrame, telemetry: pd.DataFrame, split: str) -> dict[str, np.ndarray]:
    """By kind, (n, epochs + 1): the relative gradient, and the share of dead units of the layer
    with most of them at the end; NaN without ReLU layers."""
    keys = pd.MultiIndex.from_frame(runs[KEYS])
    relative = relative_gradients(telemetry, keys, successful(runs.reset_index(drop=True), split))[
        1
    ]
    dead = telemetry.pivot(index=KEYS, columns=["layer", "epoch"], values="dead_units").reindex(
        keys
    )
    layers = list(dict.fromkeys(telemetry["layer"]))
    stacked = np.stack([dead[layer].to_numpy(float) for layer in layers])
    deadest = np.nan_to_num(stacked[:, :, -1], nan=-1).argmax(0)
    return {"gradient": relative, "dead": stacked[deadest, np.arange(len(runs))]}


def _draw_counts(axes: Axes, causes: pd.DataFrame, group: str) -> None:
    """Runs by cause, stacked, a bar per width; n in the title is of all widths."""
    of_width = causes[causes["width"] != ALL_WIDTHS]
    table = of_width.pivot(index="width", columns="cause", values="count")
    table = table.reindex(list(dict.fromkeys(of_width["width"])))
    below = np.zeros(len(table))
    for cause in CAUSES:
        if table[cause].any():
            axes.bar(range(len(table)), table[cause], bottom=below, color=COLOURS[cause], width=0.7)
            below += table[cause].to_numpy()
    axes.set_xticks(range(len(table)), table.index, fontsize=6 if len(table) > 10 else None)
    axes.set_xlim(-0.6, max(len(table), 4) - 0.4)
    axes.set_ylim(0, max(1.0, 1.05 * below.max()))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("width")
    axes.set_title(f"{group} (n = {int(below.sum())})")


def _draw_band(axes: Axes, values: np.ndarray, colour: str, line: str) -> None:
    """The median over runs by epoch, and the middle half, of the values that are finite."""
    usable = values[np.isfinite(values).any(axis=1)]
    if not len(usable):
        return
    epochs = np.arange(values.shape[1])
    low, middle, high = np.nanquantile(usable, [0.25, 0.5, 0.75], axis=0)
    axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(epochs, middle, color=colour, linestyle=line, linewidth=1.4)


def _scale(panels: dict[str, Axes]) -> None:
    panels["dead"].set_ylim(-0.03, 1.03)
    gradient = panels["gradient"]
    # linear below a tenth of what counts as vanishing, so that the zero of dead layers has a place
    gradient.set_yscale("symlog", linthresh=VANISHING / 10, linscale=0.5)
    gradient.set_ylim(bottom=-VANISHING / 40)
    gradient.axhline(VANISHING, color="black", linewidth=0.6, linestyle=":")


def _handles(members: dict[str, np.ndarray], good: int) -> list[Line2D]:
    lines = [Line2D([], [], color=SUCCESSFUL, label=f"successful (n = {good})")]
    return lines + [
        Line2D(
            [],
            [],
            color=COLOURS[cause],
            linestyle="--",
            linewidth=2,
            label=f"{cause} (n = {len(rows)})",
        )
        for cause, rows in members.items()
    ]
