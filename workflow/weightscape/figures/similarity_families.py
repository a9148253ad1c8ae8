"""Similarity of families: how alike high runs of two families represent the test images (CKA)."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from weightscape.drawing import style
from weightscape.heads import FigureHead

HEAD = FigureHead(
    reads=("similarity_families",),
    category="Claims",
    caption=(
        "Claim C7: how alike runs of one model family and the high runs of another represent the "
        "test images: debiased linear CKA of the outputs of the last layer that a ReLU follows, "
        "mean over all pairs of a run of the first family and a high run of the second, for the "
        "first family's high runs (with 95 % intervals over the runs of both), for its low and "
        "mid runs, and for its high runs before training. Of the first family, n runs are high. "
        "Populations: {populations}."
    ),
    labels={"claim": "similarity of families"},
    layers=False,
    split="claims.accuracy",
    each="study",
)

# what is drawn -> column, weights, marker, colour, face
MARKS = {
    "high runs, 95 % interval": ("cka", "final", "o", "#0072B2", "#0072B2"),
    "low and mid runs": ("cka_others", "final", "v", "#D55E00", "#D55E00"),
    "high runs before training": ("cka", "initial", "D", "#444444", "none"),
}
ROW = 0.3  # inches of two families
COLUMNS = 2


def draw(population: style.Shown, split: str) -> Figure:
    """A panel per dataset, with a row for each two families."""
    table = population.measure
    table = table[table["is_last"]]
    if not len(table):
        n = f"n = {len(population.runs)} runs"
        return style.empty([], f"no two families on one dataset tell layers' outputs ({n})")
    datasets = list(dict.fromkeys(table["dataset"]))
    rows = max(len(_families(table[table["dataset"] == dataset])) for dataset in datasets)
    places = style.wrap(datasets, COLUMNS)
    figure, panels = style.panels(places, 0.9 + ROW * rows, 3.2)
    for dataset, axes in panels.items():
        _draw_dataset(axes, table[table["dataset"] == dataset])
        axes.set_title(style.name(dataset))
    for dataset in style.lowest(places):
        panels[dataset].set_xlabel("similarity of two runs' outputs (CKA)")
    n_populations = len(table.drop_duplicates(["model", "dataset"]))
    figure.suptitle(
        "How alike two families represent the test images\n"
        f"{n_populations} populations, {len(population.runs)} runs"
    )
    handles = [Line2D([], [], label=label, **_mark(label)) for label in MARKS]
    style.add_legend(figure, handles, 1.9)
    return figure


def _families(table: pd.DataFrame) -> list[tuple[str, str]]:
    pairs = table[["model", "reference_model"]].drop_duplicates()
    return list(pairs.itertuples(index=False, name=None))


def _draw_dataset(axes: Axes, table: pd.DataFrame) -> None:
    families, labels = _families(table), []
    for place, (model, reference) in enumerate(families):
        own = table[(table["model"] == model) & (table["reference_model"] == reference)]
        for label, (column, weights, *_) in MARKS.items():
            row = own[own["weights"] == weights].iloc[0]
            axes.plot(row[column], place, **_mark(label))
            if (column, weights) == ("cka", "final"):
                colour = MARKS[label][3]
                axes.hlines(place, row["cka_low"], row["cka_high"], color=colour, linewidth=1.1)
                n = f"n = {row['n_high']}"
                labels.append(f"{style.name(model)} ({n})\nand high {style.name(reference)}")
    axes.set_yticks(range(len(families)), labels)
    axes.set_ylim(len(families) - 0.5, -0.5)
    axes.set_xlim(min(-0.03, axes.get_xlim()[0]), 1.03)


def _mark(label: str) -> dict[str, Any]:
    _, _, marker, colour, face = MARKS[label]
    mark = {"marker": marker, "color": colour, "markerfacecolor": face}
    return mark | {"linestyle": "", "markersize": 3.6, "markeredgewidth": 0.7}
