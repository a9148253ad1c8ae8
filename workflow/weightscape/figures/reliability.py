"""Reliability: how much of the ranking of runs by accuracy is no luck of the images, by width."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from weightscape.drawing import style
from weightscape.heads import FigureHead

HEAD = FigureHead(
    reads=("reliability",),
    category="Reliability of accuracy",
    caption=(
        "How reliably the test images rank the runs of a width of {model} on {dataset} by "
        "accuracy ({runs}): Spearman's correlation between two random halves of the images, mean "
        "over 200 splits, brought to all images by Spearman-Brown. 1: the ranking has no luck in "
        "it; 0: it is all luck, and nothing can be expected to predict it. From few runs it can "
        "come out below 0, and means none. Bars are 95 % intervals by a jackknife over runs; they"
        " may end below the axis. n, below each width, counts all its runs with predictions; "
        "without those that are non there may be fewer. {training}"
    ),
    layers=False,
)

RUNS = {
    "converged": ("#0072B2", "o", -0.12, "runs that are not non"),
    "all": ("#D55E00", "D", 0.12, "all runs"),
}
LOWEST = -0.5  # of an axis without lower points: an interval of few runs has no end
INCHES = 0.45  # of a width


def draw(population: style.Shown, split: str) -> Figure:
    """Reliability by width, with and without the runs that are non."""
    table = population.measure
    n = int(table.loc[table["runs"] == "all", "n"].sum())
    if table["reliability"].isna().all():
        return style.empty([population], f"nothing to rank: predictions of {n} runs")
    widths = list(style.width_scale(population.runs)[1])
    size = min(style.PAGE[0], max(4.4, 1.2 + INCHES * len(widths)))
    figure, panels = style.panels([["reliability"]], 2.8, size)
    axes = panels["reliability"]
    for name in RUNS:
        _draw_runs(axes, table[table["runs"] == name].set_index("width").loc[widths], name)
    counts = table[table["runs"] == "all"].set_index("width")["n"]
    shown = [f"{w}\n{counts[w]}" for w in style.spread(widths, 14)]
    axes.set_xticks([widths.index(text.partition("\n")[0]) for text in shown], shown)
    axes.set_xlim(-0.5, len(widths) - 0.5)
    lowest = min(LOWEST, table["reliability"].min() - 0.05)
    axes.set_ylim(max(axes.get_ylim()[0], lowest), 1.05)
    axes.set_xlabel("width; below it n, its runs")
    axes.set_ylabel("reliability of the ranking\nby test accuracy (1: no luck)")
    axes.set_title(f"reliability of the ranking by test accuracy (n = {n})")
    figure.legend(loc="outside lower center", ncols=2)
    style.put_heading(figure, "How reliable the ranking of runs by test accuracy is", [population])
    return figure


def _draw_runs(axes: Axes, table: pd.DataFrame, name: str) -> None:
    """A point with its interval at each width, of all runs or of the converged."""
    colour, marker, shift, label = RUNS[name]
    places = [place + shift for place in range(len(table))]
    axes.vlines(
        places, table["reliability_low"], table["reliability_high"], color=colour, linewidth=1.1
    )
    axes.plot(
        places,
        table["reliability"],
        marker,
        color=colour,
        markersize=3.6,
        markerfacecolor=colour if name == "converged" else "white",
        label=label,
    )
