"""Why runs fail: counts of causes, and gradients and dead units beside those of successful runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
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
    reads=("causes", "failures", "telemetry", "statistics"),
    category="Convergence",
    caption=(
        "Why runs of {model} on {dataset} failed ({runs}). Above: the share of each width's runs "
        "that are of the groups non and low, by cause, the first that fits (docs/claims.md has the "
        "rules). In the middle, if there are runs of the group non (crosses): the standard "
        "deviation of each run's initial weights by its width, in the first and last layer. Claim "
        "C6 is that crosses stand on the left and low. Below, by epoch, for "
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
WHAT = "Why runs failed: by width, by initial weights, and by epoch"
SUCCESSFUL = style.GROUP_COLOURS["high"]
TOP = 1000.0  # of successful runs' gradients
BY_EPOCH = {
    "gradient": "gradient norm of the first layer\n/ median of successful runs",
    "dead": "dead units (share), of the\nlayer with most at the end",
}


def draw(population: style.Shown, split: str) -> Figure:
    """Above, a panel per failed group: its share of each width's runs, by cause.

    In the middle the initial weights of `non` and of the others, by width. Below, by epoch: the
    median of the runs of each cause and of the successful ones, and the middle half.
    """
    runs = population.runs
    causes, failures, telemetry, statistics = (population.measure[name] for name in HEAD.reads)
    if not len(failures):
        return style.empty([population], "no run is of the groups non and low", WHAT)
    groups = [group for group in FAILED if (failures["group"] == group).any()]
    layers = _layers(statistics) if "non" in groups else []
    rows = [groups, *([layers] if layers else []), list(BY_EPOCH)]
    figure, panels = style.panels(rows, 2.3, 3.1)
    for group in groups:
        _draw_shares(panels[group], causes, group)
    for layer in layers:
        _draw_initial(panels[layer], statistics[statistics["layer"] == layer], causes, layer)
    panels[groups[0]].set_ylabel("share of the width's runs (%)")
    good = np.concatenate([[], *(one.rows for one in successful(runs, split).values())]).astype(int)
    members = {
        cause: np.flatnonzero(_causes_of(runs, failures) == cause)
        for cause in CAUSES
        if (failures["cause"] == cause).any()
    }
    for kind, values in _values(runs, telemetry, split).items():
        axes, shown = panels[kind], np.minimum(values, TOP)
        _draw_band(axes, shown[good], SUCCESSFUL, "-")
        for cause, failed in members.items():
            _draw_band(axes, shown[failed], COLOURS[cause], "--")
        if (values > TOP).any():
            style.note(axes, "at the edge: beyond the axis")
        axes.set_title(f"failed (n = {len(failures)})")
        axes.set_ylabel(BY_EPOCH[kind])
        axes.set_xlabel("epoch (0: before training)")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _scale(panels)
    style.put_heading(figure, WHAT, [population])
    handles = _handles(members, len(good))
    if layers:
        handles += style.point_handles(figure, [population])
    style.add_legend(figure, handles, 2.3)
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


def _draw_shares(axes: Axes, causes: pd.DataFrame, group: str) -> None:
    """The group's share of the runs of each width (%), stacked by cause; n is of all widths."""
    of_width = causes[causes["width"] != ALL_WIDTHS]
    n = of_width.groupby("width", sort=False)["count"].sum()
    of_group = of_width[of_width["group"] == group]
    table = of_group.pivot(index="width", columns="cause", values="count").reindex(n.index)
    below = np.zeros(len(table))
    for cause in CAUSES:
        if table[cause].any():
            share = 100 * (table[cause] / n).to_numpy()
            axes.bar(range(len(table)), share, bottom=below, color=COLOURS[cause], width=0.7)
            below += share
    axes.set_ylim(0, 1.05 * below.max())
    axes.grid(axis="x", visible=False)
    _name_widths(axes, list(n.index))
    axes.set_title(f"{group} (n = {of_group['count'].sum()})")


def _layers(statistics: pd.DataFrame) -> list[str]:
    """The first and the last layer whose initial weights are known."""
    known = statistics.dropna(subset="initial_std")
    return style.spread(list(dict.fromkeys(known["layer"])), 2)


def _draw_initial(axes: Axes, table: pd.DataFrame, causes: pd.DataFrame, layer: str) -> None:
    """A point per run: the standard deviation of its initial weights, at its width."""
    widths = [width for width in dict.fromkeys(causes["width"]) if width != ALL_WIDTHS]
    places = table.assign(place=table["width"].map(widths.index))[["place", "initial_std"]]
    grey = np.tile(to_rgba("#BBBBBB"), (len(table), 1))
    style.draw_points(axes, places, table["group"] == "non", grey, runs=table)
    _name_widths(axes, widths)
    axes.set_ylabel("std of the initial weights")
    axes.set_title(f"{layer} (n = {table['initial_std'].notna().sum()})")


def _name_widths(axes: Axes, widths: list[str]) -> None:
    axes.set_xticks(range(len(widths)), widths, fontsize=6 if len(widths) > 10 else None)
    axes.set_xlim(-0.6, max(len(widths), 4) - 0.4)
    axes.set_xlabel("width")


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
    return lines[: bool(good)] + [
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
