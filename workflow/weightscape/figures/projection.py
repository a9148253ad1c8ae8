"""Figures 11-13: t-SNE of each layer's weights, coloured by accuracy and beside it by width."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from weightscape.drawing import style
from weightscape.heads import FigureHead
from weightscape.measures.runs.projection import ALL_WIDTHS, EMBEDDINGS, FEWEST
from weightscape.runs.collecting import KEYS

HEAD = FigureHead(
    reads=("projection",),
    category="Weight projection",
    caption=(
        "t-SNE of the weights of each layer for {model} on {dataset}, a point per run ({runs}), "
        "coloured by final {figures[colour]} accuracy and beside it by width; crosses are runs of "
        "the group non. Zero-padded: each layer in the corner of the largest, as the paper may "
        "have done; runs of unequal widths are then apart by construction. Weight quantiles: the "
        "distance is the 2-Wasserstein distance between two runs' distributions of weights, "
        "whatever the widths. Shown are the largest perplexity of {projection[perplexities]} that "
        "n allows, and of {projection[repeats]} random starts the one of the least divergence. T "
        "is the trustworthiness of the map, 1 at best. Whether groups are nearer to themselves "
        "than shuffled groups are, over all runs and within widths, is in the table purity. "
        "{training} After Figures 11-13 of Zheng et al. (arXiv 2408.11720)."
    ),
    labels={"map": "all widths"},
    grid=(
        "Figures 11-13: t-SNE of each layer's weights, a point per run, coloured by accuracy and "
        "beside it by width"
    ),
)

NAMES = {
    "width": "as it is",
    "matched": "nodes matched",
    "padded": "zero-padded",
    "quantiles": "weight quantiles",
}
NOTHING = f"no embedding: fewer than {FEWEST} runs of a width have finite weights"
WHAT = "t-SNE of the weights of each layer"
TITLE_SIZE = 6  # as many panels stand side by side


def draw(populations: Sequence[style.Shown], split: str) -> Figure:
    """A row per layer: each embedding of all widths, coloured by accuracy and by width.

    Several populations of one model show their first such embedding each. Of perplexities the
    largest is shown, and of its repeats the one of the least divergence.
    """
    one = len(populations) == 1
    tables = [best(population.measure) for population in populations]
    layers = list(dict.fromkeys(layer for table in tables for layer in table["layer"]))
    shown = [_of_all_widths(table) for table in tables]
    rows = [
        [
            (number, layer, embedding, colour)
            for number in range(len(populations))
            for embedding in (shown[number] if one else shown[number][:1])
            for colour in ("accuracy", "width")
        ]
        for layer in layers
    ]
    if not any(rows):
        return style.empty(populations, NOTHING, WHAT)
    figure, panels = style.panels(rows, 1.75, 1.8)
    for (number, layer, embedding, colour), axes in panels.items():
        population, table = populations[number], tables[number]
        column = table[table["embedding"] == embedding]
        points = column[column["layer"] == layer]
        draw_map(axes, points, population.runs, colour, split)
        where = [] if one else [style.name(population.dataset)]
        put_title(axes, points, column, [*where, NAMES[embedding]] if layer == layers[0] else [])
    for layer, row in zip(layers, rows, strict=True):
        panels[row[0]].set_ylabel(layer)
    for number, population in enumerate(populations):
        own = {key: axes for key, axes in panels.items() if key[0] == number}
        if own:
            _bars(figure, own, population.runs, split, one)
    style.put_heading(figure, WHAT, populations)
    style.add_non_legend(figure, populations)
    return figure


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Of each embedding the largest perplexity, and its repeat of the least divergence."""
    of = ["layer", "embedding", "embedded_width"]
    of_one = table["embedding"].isin(["width", "matched"])
    named = table.assign(embedded_width=table["width"].where(of_one, ALL_WIDTHS))
    ranked = named.sort_values(["perplexity", "kl_divergence"], ascending=[False, True])
    best = ranked.drop_duplicates(of)[[*of, "perplexity", "repeat"]]
    return named.merge(best, on=[*of, "perplexity", "repeat"])


def _of_all_widths(table: pd.DataFrame) -> list[str]:
    """The embeddings of all widths together; those of the one width where there is one."""
    found = [name for name in EMBEDDINGS if name in set(table["embedding"])]
    together = [name for name in found if name in ("padded", "quantiles")]
    return together if "padded" in together else found


def draw_map(axes: Axes, points: pd.DataFrame, runs: pd.DataFrame, colour: str, split: str) -> None:
    """A point per run, coloured on the scale of `runs`."""
    accuracy = runs[[*KEYS, f"{split}_accuracy"]]
    drawn = points.merge(accuracy, on=KEYS, validate="one_to_one")
    if colour == "width":
        scale, numbers = style.width_scale(runs)
        many = len(drawn) > style.MANY
        axes.scatter(
            drawn["x"],
            drawn["y"],
            c=scale.to_rgba(drawn["width"].map(numbers).to_numpy(float)),
            s=5 if many else 11,
            linewidths=0.25,
            edgecolors="#444444",
            rasterized=many,
        )
    else:
        scale = style.accuracy_scale(runs, split)
        style.scatter(axes, drawn, "x", "y", scale, split, is_map=True)
    axes.margins(0.1)  # points are large in small panels
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", "datalim")
    for spine in axes.spines.values():
        spine.set_visible(True)


def put_title(axes: Axes, points: pd.DataFrame, column: pd.DataFrame, head: list[str]) -> None:
    """What a panel shows; the one with a head names what all `column` below it shows."""
    lines = list(head)
    if head and len(column):
        lines.append("perplexity " + ", ".join(map(str, sorted(set(column["perplexity"])))))
    if len(points):
        n = points["x"].notna().sum()
        lines.append(f"n = {n}, T = {points['trustworthiness'].iloc[0]:.2f}")
    axes.set_title("\n".join(lines), fontsize=TITLE_SIZE)


def _bars(figure: Figure, own: dict[Any, Axes], runs: pd.DataFrame, split: str, one: bool) -> None:
    by_accuracy = [axes for key, axes in own.items() if key[-1] == "accuracy"]
    by_width = [axes for key, axes in own.items() if key[-1] == "width"]
    if one:
        by_accuracy = by_width = list(own.values())
    style.add_colour_bar(figure, by_accuracy, style.accuracy_scale(runs, split), split, not one, 6)
    style.add_width_bar(figure, by_width, *style.width_scale(runs), not one, 6)
