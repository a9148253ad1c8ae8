"""What all figures share: sizes, palettes, panels and how they are saved.

Accuracy runs from light to dark in one hue family (its lightness falls steadily, so it survives
colour-blindness and grey print); groups take their colours from it, with a line style each; `non`
is Okabe and Ito's blue, which no accuracy takes. Width runs through viridis.

An axis of points holds all of them but those FAR from the others that would make it FLAT, which are
triangles at its edge and are named; a logarithmic axis of lines holds what converged, and `non`
runs along its edge.
"""

from __future__ import annotations

import textwrap
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
from matplotlib.colors import ListedColormap, LogNorm, Normalize, to_rgba
from matplotlib.figure import Figure, FigureBase, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

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

FAR = 5  # interquartile ranges from the middle half of the converged runs
EDGE = 3.5  # points between an edge and the middle of its triangles
FLAT = 3  # times as long as for the others: a shorter axis holds what is FAR as well
FEW = 0.1  # of the converged runs: if more are FAR they are no outliers, and the axis holds all
NAMED = 3  # of those FAR in a panel
FAR_RULE = f"{FAR} interquartile ranges or more from the middle half"
NEAR = 100.0  # a factor: `non` so far from the converged runs is still on a logarithmic axis

mpl.use("agg")
mpl.rcParams.update(
    {
        "font.size": 7.5,
        "axes.titlesize": 7.5,
        "axes.titley": 1.0,  # else each is moved away from ticks at the top, which none has
        "figure.titlesize": 9,
        "legend.fontsize": 7,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.formatter.useoffset": False,
        # of a small panel: more than the radius of a point
        "axes.xmargin": 0.08,
        "axes.ymargin": 0.08,
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


def put_heading(figure: Figure, what: str, populations: Sequence[Shown]) -> None:
    """The title over all panels: what they show, and below it of which runs."""
    letters = int(13 * figure.get_figwidth())
    lines = [textwrap.fill(line, letters) for line in (what, heading(populations)) if line]
    figure.suptitle("\n".join(lines))


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
    """What all panels are of: a population, or the models of several."""
    if len(populations) == 1:
        return title(populations[0])
    models = dict.fromkeys(name(population.model) for population in populations)
    return f"{', '.join(models)}: {count(together(populations))}"


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
    """A figure with a panel per key, row by row; no wider or higher than a page.

    Axes have as many ticks as have room, and write them out.
    """
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
        for axes in axes_of_row:
            write_out(axes)
        found.update(zip(keys, axes_of_row, strict=False))
    return figure, found


class Ticks(MaxNLocator):
    """Four intervals, or as many as have room for the numbers at their ends."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Places of ticks from below `vmin` to above `vmax`."""
        for n in (4, 3, 2, 1):
            self.set_params(nbins=n, steps=[1, 2, 5, 10], min_n_ticks=min(n, 2))
            ticks = list(super().tick_values(vmin, vmax))
            if len(ticks) < 2 or self._has_room(ticks, abs(vmax - vmin)):
                break
        return ticks

    def _has_room(self, ticks: list[float], reach: float) -> bool:
        """Whether numbers at the ticks stand apart on an axis of this length."""
        axis: Any = self.axis
        is_x = axis.axis_name == "x"
        inches = axis.axes.get_position().size * axis.axes.get_figure(root=True).get_size_inches()
        longest = max(map(len, axis.get_major_formatter().format_ticks(ticks)))
        needed = mpl.rcParams["font.size"] * (0.65 * longest + 0.7 if is_x else 1.4)
        return bool(72 * inches[int(not is_x)] * (ticks[1] - ticks[0]) / reach >= needed)


def write_out(axes: Axes) -> None:
    """Ticks that have room, at numbers that need no offset and no factor."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(Ticks())
        axis.set_major_formatter("{x:.6g}")


def spread(items: Sequence[Any], n: int) -> list[Any]:
    """At most n items, evenly spread from the first to the last."""
    if len(items) <= n:
        return list(items)
    return [items[round(place * (len(items) - 1) / (n - 1))] for place in range(n)]


def empty(populations: Sequence[Shown], why: str, what: str = "") -> Figure:
    """A figure that says why there is nothing to draw of `what` it would show."""
    figure, found = panels([["nothing"]], 1.5, 4.5)
    found["nothing"].set_axis_off()
    found["nothing"].text(0.5, 0.5, why, ha="center", va="center")
    if populations:
        put_heading(figure, what, populations)
    return figure


def share(axes: Sequence[Axes]) -> None:
    """Gives panels that stand side by side the same axes, which hold what each of them shows.

    The margin is that of all of them together, so that no point of a panel of small numbers lies on
    the edge. Inner ones drop their tick labels.
    """
    lows, highs = zip(*((each.viewLim.min, each.viewLim.max) for each in axes), strict=True)
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    is_free = [axes[0].get_autoscalex_on(), axes[0].get_autoscaley_on()]
    for other in axes[1:]:
        other.sharex(axes[0])
        other.sharey(axes[0])
        other.tick_params(labelleft=False)
    axes[0].set_xlim(low[0], high[0], auto=is_free[0])
    axes[0].set_ylim(low[1], high[1], auto=is_free[1])
    axes[0].autoscale_view(scalex=is_free[0], scaley=is_free[1])


def note(axes: Axes, text: str, y: float = 0.98) -> None:
    """A remark at the right of a panel, below a share `y` of its height."""
    place: dict[str, Any] = {"ha": "right", "va": "top", "transform": axes.transAxes}
    box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5}
    axes.text(0.98, y, text, color="#444444", fontsize=5.5, zorder=5, bbox=box, **place)


def log_ends(values: np.ndarray, is_non: np.ndarray) -> tuple[float, float]:
    """The ends of a logarithmic axis: what converged is between them, and `non` NEAR it.

    Values beyond, zero too, are to be drawn at the ends.
    """
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(values) & (values > 0)
    first = values[usable & ~is_non] if (usable & ~is_non).any() else values[usable]
    if not len(first):
        return 0.1, 1.0
    near = values[usable & (values >= first.min() / NEAR) & (values <= first.max() * NEAR)]
    low, high = near.min(), near.max()
    return low / 1.3 if (values < low).any() else low, high * 1.3 if (values > high).any() else high


def log_scale(axes: Axes, ends: tuple[float, float]) -> None:
    """A logarithmic y axis with room for lines at its ends."""
    margin = 1.02 * (ends[1] / ends[0]) ** 0.04
    axes.set_yscale("log")
    axes.set_ylim(ends[0] / margin, ends[1] * margin)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if ends[1] < 1000 * ends[0] else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


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
    figure: Figure,
    axes: list[Axes],
    scale: ScalarMappable,
    split: str,
    below: bool = False,
    size: float = 7.5,
) -> None:
    """A bar of accuracies beside (or below) the panels of one population; size is of its text."""
    bar = _add_bar(figure, axes, scale, f"final {split} accuracy (%)", below)
    axis = bar.ax.xaxis if below else bar.ax.yaxis
    axis.label.set_fontsize(size)
    axis.set_tick_params(labelsize=size)
    axis.set_major_locator(Ticks())
    axis.set_major_formatter("{x:.6g}")


def add_width_bar(
    figure: FigureBase,
    axes: list[Axes],
    scale: ScalarMappable,
    numbers: dict[str, float],
    below: bool = False,
    size: float = 7.5,
) -> None:
    """A bar of widths beside (or below) panels; size is of its text.

    Named are the first and the last, and between them as many as have room: at most seven, or four
    if it is below.
    """
    ends = np.array([[each.bbox.min, each.bbox.max] for each in axes])
    pixels = ends[:, 1].max(axis=0) - ends[:, 0].min(axis=0)
    points = 72 * pixels[int(not below)] / axes[0].figure.dpi
    places = points * np.asarray(scale.norm(np.array(list(numbers.values()))))
    halves = [size * (0.65 * len(width) + 0.7 if below else 1.2) / 2 for width in numbers]
    evenly = np.linspace(0, points, 4 if below else 7)[1:-1]
    named: list[int] = []
    for one in (0, len(numbers) - 1, *(int(np.abs(places - place).argmin()) for place in evenly)):
        if all(abs(places[one] - places[i]) >= halves[one] + halves[i] for i in named):
            named.append(one)
    chosen = [list(numbers)[one] for one in sorted(named)]
    bar = _add_bar(figure, axes, scale, "width", below)
    axis = bar.ax.xaxis if below else bar.ax.yaxis
    axis.label.set_fontsize(size)
    axis.set_tick_params(labelsize=size)
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
    is_map: bool = False,
) -> int:
    """A point per run, the best on top; crosses are `non`. On a map no point is FAR.

    Colours are of the accuracy, or of the column `colour`, on its scale. Returns the number of runs
    that are drawn: those whose x and y are finite.
    """
    is_non = table["group"] == "non"
    converged = table[~is_non].sort_values(f"{split}_accuracy", kind="stable")
    ordered = pd.concat([converged, table[is_non]])
    colours = scale.to_rgba(ordered[colour or f"{split}_accuracy"].to_numpy())
    runs = None if is_map else ordered
    draw_points(axes, ordered[[x, y]], ordered["group"] == "non", colours, runs=runs)
    return int(np.isfinite(table[[x, y]].to_numpy(float)).all(axis=1).sum())


def draw_points(
    axes: Axes,
    places: pd.DataFrame,
    is_non: pd.Series,
    colours: np.ndarray,
    scale: float = 1.0,
    runs: pd.DataFrame | None = None,
) -> None:
    """A point per run at its x and y, the two columns of `places`; crosses are `non`.

    `colours` (n, 4) are of all runs; `scale` is of the points' size. If `runs` have their widths
    and seeds, points FAR from the others are triangles at the edge that are named.
    """
    values = places.to_numpy(float)
    crosses = is_non.to_numpy(bool)
    many = len(places) > MANY
    usable = np.isfinite(values).all(axis=1)
    sides = np.zeros(values.shape, int)
    if runs is not None:
        sides[usable] = np.column_stack([_sides(v, crosses[usable]) for v in values[usable].T])
    is_far = sides.any(axis=1)
    (x, y), dots, own = values.T, ~crosses & ~is_far, crosses & ~is_far
    axes.scatter(
        x[dots],
        y[dots],
        c=colours[dots],
        s=scale * (5 if many else 11),
        linewidths=0.25,
        edgecolors="#444444",
        rasterized=many,
    )
    if own.any():
        axes.scatter(
            x[own],
            y[own],
            marker="x",
            s=12,
            linewidths=0.8,
            color=GROUP_COLOURS["non"],
            rasterized=many,
        )
    if runs is not None and is_far.any():
        shown = np.where(crosses[:, None], to_rgba(GROUP_COLOURS["non"]), colours)
        far = values[is_far], sides[is_far]
        _draw_far(axes, *far, shown[is_far])
        _name_far(axes, *far, crosses[is_far], runs.iloc[np.flatnonzero(is_far)])
        # on an axis on which they are not far, their place counts
        axes.update_datalim(np.where(far[1] == 0, far[0], values[dots & usable][0]))


def _sides(values: np.ndarray, is_non: np.ndarray) -> np.ndarray:
    """-1 or 1 for each value that is FAR below or above the others, 0 for the rest."""
    converged = values[~is_non]
    if len(converged) < 5:
        return np.zeros(len(values), int)
    low, high = np.quantile(converged, [0.25, 0.75])
    reach = FAR * (high - low)
    sides: np.ndarray = (values > high + reach).astype(int) - (values < low - reach)
    is_few = np.count_nonzero(sides[~is_non]) <= max(1, FEW * len(converged))
    is_flat = np.ptp(values) > FLAT * np.ptp(values[sides == 0])
    moves = reach > 1e-9 * max(abs(low), abs(high))
    return sides if is_few and is_flat and moves else 0 * sides


def _draw_far(axes: Axes, values: np.ndarray, sides: np.ndarray, colours: np.ndarray) -> None:
    """Triangles at the edges, in the direction of their values."""
    for side in np.unique(sides, axis=0):
        own = (sides == side).all(axis=1)
        ways = [axes.transAxes if beyond else axes.transData for beyond in side]
        dx, dy = -side * EDGE / 72
        inwards = ScaledTranslation(dx, dy, axes.figure.dpi_scale_trans)
        x, y = np.where(side != 0, (1 + side) / 2, values[own]).T
        axes.scatter(
            x,
            y,
            c=colours[own],
            marker=_triangle(side),
            s=16,
            linewidths=0.4,
            edgecolors="#444444",
            transform=blended_transform_factory(*ways) + inwards,
            zorder=4,
            label=FAR_RULE,
        )


def _triangle(side: np.ndarray) -> str:
    """Up or down where it is far in y, or else left or right."""
    x, y = side.tolist()
    return {-1: "v", 0: "<" if x < 0 else ">", 1: "^"}[y]


def _name_far(
    axes: Axes, values: np.ndarray, sides: np.ndarray, is_non: np.ndarray, runs: pd.DataFrame
) -> None:
    """Which runs the triangles are, with the values that are not shown; `non` in one line."""
    texts = [
        f"width {width}, seed {seed}: {', '.join(f'{v:.4g}' for v in value[side != 0])}"
        for value, side, width, seed in zip(values, sides, runs["width"], runs["seed"], strict=True)
    ]
    lines = [text for text, non in zip(texts, is_non, strict=True) if not non]
    if len(lines) > NAMED:
        lines[NAMED:] = [f"and {len(lines) - NAMED} more"]
    if (n_non := np.count_nonzero(is_non)) == 1:
        lines.append(f"non, {texts[is_non.tolist().index(True)]}")
    elif n_non:
        beyond = [v[s != 0] for v, s in zip(values[is_non].T, sides[is_non].T, strict=True)]
        spans = [f"{v.min():.4g} to {v.max():.4g}" for v in beyond if len(v)]
        lines.append(f"non (n = {n_non}): {', '.join(spans)}")
    letters = int(20 * axes.get_position().width * axes.figure.bbox.width / axes.figure.dpi)
    wrapped = [textwrap.fill(line, letters) for line in lines]
    axes.legend(
        handles=[Line2D([], [], linestyle="", label=line) for line in wrapped],
        loc="best",
        fontsize=5,
        borderpad=0,
        labelspacing=0.15,
        handletextpad=0,
        handlelength=0,
        frameon=True,
        framealpha=0.7,
        edgecolor="none",
    ).set_zorder(3)


def group_handles(runs: pd.DataFrame, what: str = "", **line: Any) -> list[Line2D]:
    """Legend of the groups of these runs, each with its n."""
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


def point_handles(figure: Figure | SubFigure, populations: Sequence[Shown]) -> list[Line2D]:
    """Legend of the crosses of these populations and of the triangles, where there are any."""
    n = sum(int((population.runs["group"] == "non").sum()) for population in populations)
    # not by findobj(), which would make all ticks only to look at them
    drawn = (artist for axes in figure.axes for artist in axes.collections)
    is_far = any(artist.get_label() == FAR_RULE for artist in drawn)
    marks = [("x", GROUP_COLOURS["non"], f"non (n = {n})")] if n else []
    marks += [(">", "#444444", FAR_RULE)] if is_far else []
    line: dict[str, Any] = {"linestyle": "", "markersize": 5}
    return [
        Line2D([], [], color=colour, marker=marker, label=text, **line)
        for marker, colour, text in marks
    ]


def add_non_legend(figure: Figure | SubFigure, populations: Sequence[Shown]) -> None:
    """Legend of what is drawn of points besides their colours."""
    if handles := point_handles(figure, populations):
        figure.legend(handles=handles, loc="outside lower right")


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
