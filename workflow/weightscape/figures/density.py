"""Figures 5-7: normalised histogram and kernel density estimate of the weights, by group."""

from collections.abc import Sequence

import h5py
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from weightscape.drawing import style
from weightscape.heads import FigureHead
from weightscape.storage.densities import open_densities
from weightscape.study.sections import GROUPS

HEAD = FigureHead(
    reads=("densities.h5",),
    category="Weight density",
    caption=(
        "Normalised histogram (thin) and Gaussian kernel density estimate of each layer's final "
        "weights (biases apart) for {model} on {dataset}, per group ({runs}). Each run is "
        "estimated with a bandwidth of its own by the rule {density[bandwidth]} and weighs the "
        "same; lines are means over the n runs of a group, shades run from the 5 % to the 95 % "
        "quantile over them. All groups of a layer share the grid and the bins. The axis holds "
        "99.9 % of the weights, and the highest mean of a group that converged: non is cut where "
        "it is higher. Panels in standard units show each run's weights less their mean, over "
        "their standard deviation: what is left of a peak there is shape, not scale; the "
        "black line is the Gaussian. {training} After Figures 5-7 of Zheng et al. (arXiv "
        "2408.11720)."
    ),
    grid=(
        "Figures 5-7: normalised histogram and kernel density estimate of each layer's weights per "
        "group, means over n runs with their 5 % to 95 % quantiles"
    ),
)

TITLE_SIZE = 6  # four layers of a ViT stand side by side
GAUSSIAN = Line2D([], [], color="black", linewidth=0.6, label="Gaussian")


def draw(populations: Sequence[style.Shown], split: str) -> Figure:
    """A panel per layer: each group's mean over runs, the band over runs, and the histogram.

    One population has a second row of the same in standard units (w - mean) / std of each run,
    which leaves the shape, beside the Gaussian's; several of one model are layer x dataset.
    """
    one = len(populations) == 1
    layers = _layers(populations[0])
    numbers = range(len(populations))
    if one:
        rows = [
            [(0, layer, form) for layer in row]
            for row in style.wrap(layers)
            for form in ("weights", "standard")
        ]
    else:
        rows = [[(number, layer, "weights") for number in numbers] for layer in layers]
    figure, panels = style.panels(rows, 1.9)
    for number, population in enumerate(populations):
        with open_densities(population.measure) as file:
            for (of, layer, form), axes in panels.items():
                if of == number:
                    n = _draw_layer(axes, file[layer], form)
                    what = f"{layer}, standard units" if form == "standard" else layer
                    title = style.label(populations, population, what, n)
                    axes.set_title(title, fontsize=TITLE_SIZE)
                    axes.set_xlabel("(w - mean) / std" if form == "standard" else "weight w")
    for row in rows:
        panels[row[0]].set_ylabel("density")
        if not one:
            style.share([panels[key] for key in row])
    for axes in panels.values():
        _note_cut(axes)
    style.put_heading(figure, "Density of the weights of each layer", populations)
    runs = style.together(populations)
    colours = {line.get_color() for axes in panels.values() for line in axes.lines}
    is_drawn = runs["group"].map(style.GROUP_COLOURS).isin(colours)
    groups = style.group_handles(runs[is_drawn])
    style.add_legend(figure, groups + ([GAUSSIAN] if one else []))
    return figure


def _layers(population: style.Shown) -> list[str]:
    with open_densities(population.measure) as file:
        return list(file.attrs["layers"])


def _draw_layer(axes: Axes, layer: h5py.Group, form: str) -> int:
    """Draws the groups that have runs; the number of runs that are drawn.

    The height is that of the converged groups' means, since the weights of `non` may be all alike,
    and the band of runs with a handful of weights far above all means.
    """
    n, heights = 0, {"non": 0.0}
    prefix = "standard_" if form == "standard" else ""
    for group in GROUPS:
        if group not in layer:
            continue
        found, colour = layer[group], style.GROUP_COLOURS[group]
        n += int(found.attrs["n"])
        grid, density = found[f"{prefix}grid"][()], found[f"{prefix}density"][()]
        heights[group] = float(density.max())
        if form == "weights":
            edges = found["edges"][()]
            steps = found["share"][()] / np.diff(edges)
            axes.stairs(steps, edges, color=colour, lw=0.4, alpha=0.6)
            axes.fill_between(grid, *found["band"][()], color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            grid,
            density,
            color=colour,
            linestyle=style.GROUP_LINES[group],
            linewidth=1.2,
        )
    if form == "standard" and n:
        places = np.linspace(-4, 4, 200)
        gaussian = np.exp(-(places**2) / 2) / np.sqrt(2 * np.pi)
        axes.plot(places, gaussian, color="black", linewidth=0.6)
        axes.set_xlim(-4, 4)
        heights["Gaussian"] = gaussian.max()
    highest = max((heights[name] for name in heights if name != "non"), default=heights["non"])
    axes.set_ylim(0, 1.15 * highest or None)
    return n


def _note_cut(axes: Axes) -> None:
    """Says how high `non` is, where the axis ends below."""
    non = [line for line in axes.lines if line.get_color() == style.GROUP_COLOURS["non"]]
    peak = max((np.max(line.get_ydata()) for line in non), default=0.0)
    if peak > axes.get_ylim()[1]:
        style.note(axes, f"non is cut: up to {peak:.3g}")
