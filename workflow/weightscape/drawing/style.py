"""What all figures share: sizes, palettes, panels and how they are saved.

Accuracy runs from light to dark in one hue family (its lightness falls steadily, so it survives
colour-blindness and grey print); groups take their colours from it, with a line style each; `non`
is Okabe and Ito's blue, which no accuracy takes. Width runs through viridis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from weightscape.files import replace_whole
from weightscape.study.catalogue import TITLES
from weightscape.study.sections import GROUPS
from weightscape.study.widths import width_order

PAGE = (7.1, 9.4)  # inches: two columns of a journal, and the height of its page
COLUMNS = 4

GROUP_COLOURS = {
    "non": "#0072B2",
    "low": "#E8A33D",
    "mid": "#D3501E",
    "high": "#6E0019",
    "ungrouped": "#8C8C8C",
}
GROUP_LINES: dict[str, Any] = {
    "non": "-.",
    "low": ":",
    "mid": "--",
    "high": "-",
    "ungrouped": (0, (1, 1)),
}
ACCURACY_COLOURS = ListedColormap(mpl.colormaps["YlOrRd"](np.linspace(0.3, 1.0, 256)))
WIDTH_COLOURS = "viridis"
MANY = 500  # artists beyond which points are rasterised inside the SVG

mpl.use("agg")
mpl.rcParams.update(
    {
        "font.size": 7.5,
        "axes.titlesize": 7.5,
        "figure.titlesize": 9,
        "legend.fontsize": 7,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.5,
        "legend.frameon": False,
        "svg.fonttype": "none",
        # the same data give the same bytes of SVG
        "svg.hashsalt": "weightscape",
    }
)


class Shown(NamedTuple):
    """What a figure draws of one population: its table of runs, and a measure of it."""

    runs: pd.DataFrame
    measure: Any
    """a table, the path of an HDF5 file, or several tables by name"""

    @property
    def model(self) -> str:
        return str(self.runs["model"].iloc[0])

    @property
    def dataset(self) -> str:
        return str(self.runs["dataset"].iloc[0])


def title(population: Shown) -> str:
    """`DNN on MNIST: n = 40 runs, 3 of them non`; plain names for what the user brings."""
    return f"{name(population.model)} on {name(population.dataset)}: {count(population.runs)}"


def name(known: str) -> str:
    """A model or dataset as the paper writes it."""
    return TITLES.get(known, known)


def count(runs: pd.DataFrame) -> str:
    """`n = 40 runs, 3 of them non`."""
    non = int((runs["group"] == "non").sum())
    return f"n = {len(runs)} runs, {non} of them non"


def heading(populations: Sequence[Shown]) -> str:
    """The title over all panels: that of a population, or the model of several."""
    if len(populations) == 1:
        return title(populations[0])
    return f"{name(populations[0].model)}: {count(together(populations))}"


def together(populations: Sequence[Shown]) -> pd.DataFrame:
    """The runs of several populations."""
    return pd.concat([population.runs for population in populations], ignore_index=True)


def label(populations: Sequence[Shown], population: Shown, what: str, n: int) -> str:
    """The title of a panel: `fc1 (n = 40)`, with the dataset where there are several."""
    where = f"{name(population.dataset)}, " if len(populations) > 1 else ""
    return f"{where}{what} (n = {n})"


def wrap(keys: Iterable[Any], columns: int = COLUMNS) -> list[list[Any]]:
    """Keys of panels in rows of at most `columns`, evenly filled."""
    listed = list(keys)
    rows = -(-len(listed) // columns)
    each = -(-len(listed) // max(rows, 1))
    return [listed[i : i + each] for i in range(0, len(listed), max(each, 1))]


def panels(
    rows: Sequence[Sequence[Any]], height: float = 2.0, width: float = 2.3
) -> tuple[Figure, dict[Any, Axes]]:
    """A figure with a panel per key, row by row; no wider or higher than a page."""
    columns = max(len(row) for row in rows)
    size = (
        min(PAGE[0], width * columns + 0.9),
        min(PAGE[1], height * len(rows) + 0.6),
    )
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    found: dict[Any, Axes] = {}
    for axes_of_row, keys in zip(grid, rows, strict=True):
        for axes in axes_of_row[len(keys) :]:
            axes.set_visible(False)
        found.update(zip(keys, axes_of_row, strict=False))
    return figure, found


def spread(items: Sequence[Any], n: int) -> list[Any]:
    """At most n items, evenly spread from the first to the last."""
    if len(items) <= n:
        return list(items)
    return [items[round(place * (len(items) - 1) / (n - 1))] for place in range(n)]


def empty(populations: Sequence[Shown], why: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure, found = panels([["nothing"]], 1.5, 4.5)
    found["nothing"].set_axis_off()
    found["nothing"].text(0.5, 0.5, why, ha="center", va="center")
    if populations:
        figure.suptitle(heading(populations))
    return figure


def share(axes: Sequence[Axes]) -> None:
    """Gives panels that stand side by side the same axes, which hold what each of them shows.

    Inner ones drop their tick labels.
    """
    lows, highs = zip(*((each.viewLim.min, each.viewLim.max) for each in axes), strict=True)
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    for other in axes[1:]:
        other.sharex(axes[0])
        other.sharey(axes[0])
        other.tick_params(labelleft=False)
    axes[0].set_xlim(low[0], high[0])
    axes[0].set_ylim(low[1], high[1])


def lowest(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """The key of the lowest panel of each column."""
    return list({column: key for row in rows for column, key in enumerate(row)}.values())


def accuracy_scale(runs: pd.DataFrame, split: str) -> ScalarMappable:
    """Colours for the converged runs' final accuracy on `split`, from lowest to highest."""
    accuracy = runs.loc[runs["group"] != "non", f"{split}_accuracy"]
    low, high = (accuracy.min(), accuracy.max()) if len(accuracy) else (0.0, 100.0)
    if high - low < 0.1:  # a bar of one colour would have no scale
        low, high = low - 0.05, high + 0.05
    return ScalarMappable(Normalize(low, high), ACCURACY_COLOURS)


def width_scale(runs: pd.DataFrame) -> tuple[ScalarMappable, dict[str, float]]:
    """Colours for widths, by a number for each: its own, or its place if some are no numbers."""
    widths = sorted(set(runs["width"]), key=width_order)
    if all(width.isdecimal() for width in widths):
        numbers = {width: float(width) for width in widths}
    else:
        numbers = {width: place + 1.0 for place, width in enumerate(widths)}
    low, high = min(numbers.values()), max(numbers.values())
    return ScalarMappable(LogNorm(low, max(high, 1.01 * low)), WIDTH_COLOURS), numbers


def add_colour_bar(
    figure: Figure, axes: list[Axes], scale: ScalarMappable, split: str, below: bool = False
) -> None:
    """A bar of accuracies beside (or below) the panels of one population."""
    _add_bar(figure, axes, scale, f"final {split} accuracy (%)", below)


def add_width_bar(
    figure: FigureBase,
    axes: list[Axes],
    scale: ScalarMappable,
    numbers: dict[str, float],
    below: bool = False,
) -> None:
    """A bar of widths with at most seven of them named."""
    bar = _add_bar(figure, axes, scale, "width", below)
    chosen = list(numbers)[:: -(-len(numbers) // 7)]
    axis = bar.ax.xaxis if below else bar.ax.yaxis
    axis.set_major_locator(FixedLocator([numbers[width] for width in chosen]))
    axis.set_minor_locator(NullLocator())
    axis.set_ticklabels(chosen)


def _add_bar(
    figure: FigureBase, axes: list[Axes], scale: ScalarMappable, what: str, below: bool
) -> Colorbar:
    place: dict[str, Any] = {"location": "bottom" if below else "right", "pad": 0.02}
    bar = figure.colorbar(scale, ax=axes, label=what, fraction=0.05, **place)
    bar.outline.set_linewidth(0.4)
    return bar


def scatter(
    axes: Axes,
    table: pd.DataFrame,
    x: str,
    y: str,
    scale: ScalarMappable,
    split: str,
    colour: str | None = None,
) -> int:
    """A point per run, the best on top; crosses are `non`.

    Colours are of the accuracy, or of the column `colour`, on its scale. Returns the number of runs
    that are drawn: those whose x and y are finite.
    """
    is_non = table["group"] == "non"
    converged = table[~is_non].sort_values(f"{split}_accuracy", kind="stable")
    ordered = pd.concat([converged, table[is_non]])
    colours = scale.to_rgba(ordered[colour or f"{split}_accuracy"].to_numpy())
    draw_points(axes, ordered[[x, y]], ordered["group"] == "non", colours)
    return int(np.isfinite(table[[x, y]].to_numpy(float)).all(axis=1).sum())


def draw_points(
    axes: Axes, places: pd.DataFrame, is_non: pd.Series, colours: np.ndarray, scale: float = 1.0
) -> None:
    """A point per run at its x and y, the two columns of `places`; crosses are `non`.

    `colours` (n, 4) are of all runs; `scale` is of the points' size.
    """
    x, y = places.to_numpy().T
    crosses = is_non.to_numpy(bool)
    many = len(places) > MANY
    axes.scatter(
        x[~crosses],
        y[~crosses],
        c=colours[~crosses],
        s=scale * (5 if many else 11),
        linewidths=0.25,
        edgecolors="#444444",
        rasterized=many,
    )
    if crosses.any():
        axes.scatter(
            x[crosses],
            y[crosses],
            marker="x",
            s=12,
            linewidths=0.8,
            color=GROUP_COLOURS["non"],
            rasterized=many,
        )


def group_handles(runs: pd.DataFrame, what: str = "", **line: Any) -> list[Line2D]:
    """Legend of the groups that have runs, each with its n."""
    counts = runs["group"].value_counts()
    return [
        Line2D(
            [],
            [],
            color=GROUP_COLOURS[group],
            linestyle=GROUP_LINES[group],
            label=f"{what}{group} (n = {counts[group]})",
            **line,
        )
        for group in GROUPS
        if counts.get(group, 0)
    ]


def add_legend(figure: Figure, handles: list[Line2D], width: float = 1.4) -> None:
    """A legend below the panels, with as many columns of `width` inches as there is place for."""
    columns = max(1, int(figure.get_figwidth() / width))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)))


def add_non_legend(figure: FigureBase, populations: Sequence[Shown]) -> None:
    """Legend of the crosses, where there are any."""
    n = int((together(populations)["group"] == "non").sum())
    colour = GROUP_COLOURS["non"]
    cross = Line2D([], [], color=colour, marker="x", linestyle="", label=f"non (n = {n})")
    if n:
        figure.legend(handles=[cross], loc="outside lower right")


def save(figure: Figure, svg: Path, png: Path, dpi: int, origin: str) -> None:
    """Both files of a figure, without a date so that equal figures are equal files.

    Each tells its `origin`. The figure is laid out once, which takes as long as to draw it: texts
    are as long in both files, but for a fraction of a pixel.
    """
    _lay_out(figure)
    for path, canvas, nothing in (
        (svg, FigureCanvasSVG, "Date"),
        (png, FigureCanvasAgg, "Software"),
    ):
        canvas(figure)
        told = {nothing: None, "Description": origin}
        with replace_whole(path) as aside:
            figure.savefig(aside, format=path.suffix[1:], dpi=dpi, metadata=told)


def _lay_out(figure: Figure) -> None:
    """Moves panels where they belong on the figure's canvas.

    A figure with a layout is drawn twice by savefig, the first time only to have it laid out.
    """
    FigureCanvasSVG(figure)
    figure.set_dpi(72)  # an SVG file has so many units to an inch, whatever its points' resolution
    if layout := figure.get_layout_engine():
        layout.execute(figure)
        figure.set_layout_engine(None)
