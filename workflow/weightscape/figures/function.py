"""Function: where runs predict differently, and how far apart their weights are then."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from weightscape.drawing import style
from weightscape.heads import FigureHead
from weightscape.measures.pairs import ALL_WIDTHS

HEAD = FigureHead(
    reads=("disagreement", "weight_function", "function_pairs", "predicted_classes"),
    category="Function",
    caption=(
        "Where two runs of {model} on {dataset} predict different classes ({runs}). Above: the "
        "share of test images on which two runs disagree, a mean over the pairs of runs of two "
        "groups with its 95 % bootstrap interval over runs; diamonds are what runs of the same "
        "accuracies would show if their errors were independent and spread evenly over the wrong "
        "classes. Below: a point per pair of runs of one width (at most 2,000 pairs of at most "
        "four widths, each panel with axes of its own), the Euclidean distance between their "
        "weights, all layers together, against their disagreement; nodes stand in the order that "
        "matches the best run of the width. r is Spearman's, p of a Mantel test with 999 "
        "permutations of the runs. {training}"
    ),
    layers=False,
)

# pairs of one width and of different ones, by place below the middle of a row
RELATIONS = {
    "same": ("#0072B2", -0.16, "runs of one width"),
    "other": ("#D55E00", 0.16, "runs of different widths"),
}
INTERVAL = ["disagreement_low", "disagreement_high"]
ROW = 0.24  # inches of two groups
SHOWN_WIDTHS = 4
WHAT = "Disagreement of runs, and the distance between their weights"
NAMES = {"matched": "nodes matched", "width": "nodes as they are"}


def draw(population: style.Shown, split: str) -> Figure:
    """Above, disagreement within and across groups; below, distance against disagreement.

    Distance is between the weights of two runs of a width; a panel per width.

    SHOWN_WIDTHS widths at most are shown.
    """
    groups, correlations, pairs, answers = (population.measure[name] for name in HEAD.reads)
    n = int(answers["n_classes_predicted"].notna().sum())
    if not len(groups):
        return style.empty([population], f"nothing to compare: predictions of {n} runs", WHAT)
    embedding = "matched" if (correlations["embedding"] == "matched").any() else "width"
    shown = correlations[correlations["embedding"] == embedding]
    own = {row["width"]: row for _, row in shown.iterrows()}
    widths = style.spread(
        [w for w in style.width_scale(population.runs)[1] if w in own], SHOWN_WIDTHS
    )
    compared = groups.groupby(["group_a", "group_b"], sort=False).ngroups
    heights = [0.9 + ROW * compared, *([2.4] if widths else [])]
    size = style.PAGE[0], min(style.PAGE[1], sum(heights) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_groups(parts[0].subplots(), groups, n)
    if widths:
        panels = parts[1].subplots(1, len(widths), squeeze=False)[0]
        for axes, width in zip(panels, widths, strict=True):
            _draw_pairs(axes, pairs[pairs["width"] == width], own[width], embedding)
        panels[0].set_ylabel("disagreement\n(% of test images)")
        parts[1].supxlabel(
            f"distance between the weights of two runs, {NAMES[embedding]}", size=7.5
        )
        whole = own[ALL_WIDTHS]
        parts[1].suptitle(
            f"within widths (n = {whole['n']:.0f}): Spearman's {_r_and_p(whole)}; with the "
            f"difference of accuracy held fixed: {_r_and_p(whole, partial=True)}",
            fontsize=7.5,
        )
    style.put_heading(figure, WHAT, [population])
    if triangles := style.point_handles(figure, []):
        style.add_legend(figure, triangles)
    return figure


def _r_and_p(row: pd.Series, partial: bool = False) -> str:
    value, p = (row["partial"], row["p_partial"]) if partial else (row["spearman"], row["p"])
    return f"r = {value:.2f}, p = {p:.2g}"


def _draw_groups(axes: Axes, table: pd.DataFrame, n: int) -> None:
    """A row for each two groups: the mean over pairs with its interval, and the expected one."""
    rows = list(dict.fromkeys(zip(table["group_a"], table["group_b"], strict=True)))
    labels = []
    for place, (a, b) in enumerate(rows):
        own = table[(table["group_a"] == a) & (table["group_b"] == b)].set_index("widths")
        labels.append(f"{a} and {b} (n = {own.loc[ALL_WIDTHS, 'n_runs']})")
        for relation, (colour, shift, _) in RELATIONS.items():
            if relation in own.index:
                found = 100 * own.loc[relation, ["disagreement", *INTERVAL, "expected"]]
                _draw_mean(axes, place + shift, found.astype(float), colour)
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("disagreement (% of test images)")
    axes.set_title(f"groups (n = {n})")
    axes.legend(handles=_marks(set(table["widths"])), loc="center left", bbox_to_anchor=(1.01, 0.5))


def _draw_mean(axes: Axes, place: float, found: pd.Series, colour: str) -> None:
    axes.hlines(place, *found[INTERVAL], color=colour, linewidth=1.1)
    axes.plot(found["disagreement"], place, "o", color=colour, markersize=3.6)
    axes.plot(
        found["expected"],
        place,
        "D",
        color=colour,
        markersize=3.6,
        markerfacecolor="none",
        markeredgewidth=0.7,
    )


def _marks(relations: set[str]) -> list[Line2D]:
    marks = [
        Line2D([], [], color=colour, linewidth=2, label=label)
        for name, (colour, _, label) in RELATIONS.items()
        if name in relations
    ]
    return [
        *marks,
        Line2D([], [], color="#444444", marker="o", markersize=3.6, label="mean, 95 % interval"),
        Line2D(
            [],
            [],
            color="#444444",
            marker="D",
            markersize=3.6,
            linestyle="",
            markerfacecolor="none",
            label="if errors were\nindependent",
        ),
    ]


def _draw_pairs(axes: Axes, pairs: pd.DataFrame, correlation: pd.Series, embedding: str) -> None:
    """A point per pair of runs."""
    distance = pairs["matched_distance" if embedding == "matched" else "distance"]
    places = pd.DataFrame({"x": distance, "y": 100 * pairs["disagreement"]})
    colours = np.tile(to_rgba("#222222", 0.25 if len(pairs) > style.MANY else 0.6), (len(pairs), 1))
    seeds = pairs["seed_a"].astype(str) + " and " + pairs["seed_b"].astype(str)
    none = pd.Series(False, places.index)
    style.draw_points(axes, places, none, colours, 0.3, pairs.assign(seed=seeds))
    style.write_out(axes)
    named = f"width {correlation['width']} (n = {correlation['n']:.0f})"
    axes.set_title(f"{named}\nSpearman's {_r_and_p(correlation)}")
