"""Accuracy from weights: how well, beside what width alone predicts, and run by run."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from weightscape.drawing import style
from weightscape.heads import FigureHead

HEAD = FigureHead(
    reads=("accuracy_from_weights", "predicted_accuracy"),
    category="Claims",
    caption=(
        "Final {claims[accuracy]} accuracy predicted from what is known of a run, for {model} on "
        "{dataset} ({runs}). Left: the share of the variance of accuracy that is predicted, from "
        "the width alone, from numbers of the initial or of the final weights, and from final "
        "weights and width; by ridge regression and by gradient boosting of trees. Filled marks "
        "are runs of known widths, predicted out of five folds; open ones are runs of a width that "
        "no training run had. Middle: the same of accuracies less their width's mean, that is what "
        "is known beyond the width; width alone has 0. An arrow stands for a value below the axis. "
        "Bars are 95 % bootstrap intervals over runs. Right: predicted against true accuracy from "
        "weights by the better learner, a point per run, coloured by width; crosses are runs of "
        "the group non. {training} After Unterthiner et al. (arXiv 2002.11448)."
    ),
    labels={"claim": "accuracy from weights"},
    layers=False,
    split="claims.accuracy",
)

LEFTMOST = -1.0  # R2 below is told by an arrow
FEATURES = {
    "width": "width alone",
    "initial": "initial weights",
    "weights": "weights",
    "weights+width": "weights and width",
}
LEARNERS = {"linear": ("o", "#444444"), "boosting": ("s", "#009E73")}
VALIDATIONS = {"nested": "new runs of known widths", "leave_one_width_out": "runs of a new width"}
PANELS = {"r2": "R² over all runs", "r2_within_width": "R² within widths"}


def draw(population: style.Shown, split: str) -> Figure:
    """R2 of all features and learners with its interval, and the best prediction from weights.

    It is of the final accuracy on `split`.
    """
    table, predicted = (population.measure[name] for name in HEAD.reads)
    figure, panels = style.panels([[*PANELS, "runs"]], height=2.9)
    for column, what in PANELS.items():
        _draw_scores(panels[column], table, column)
        panels[column].set_title(f"{what} (n = {table['n'].max()})")
    panels["r2_within_width"].tick_params(labelleft=False)
    scale = style.width_scale(population.runs)
    _draw_runs(panels["runs"], table, predicted, scale, split)
    style.add_width_bar(figure, [panels["runs"]], *scale)
    style.put_heading(figure, "Accuracy predicted from weights", [population])
    handles = _handles(table) + style.point_handles(figure, [population])
    style.add_legend(figure, handles, width=2.6)
    return figure


def _draw_scores(axes: Axes, table: pd.DataFrame, column: str) -> None:
    """A dot with its interval for each row, four of them to each kind of features."""
    places = {name: place for place, name in enumerate(FEATURES)}
    cases = [(learner, validation) for learner in LEARNERS for validation in VALIDATIONS]
    known = table.dropna(subset=column)
    for row in known.to_dict("records"):
        case = cases.index((row["learner"], row["validation"]))
        y = places[row["features"]] + 0.18 * (case - 1.5)
        _draw_dot(axes, row[column], y, (row[f"{column}_low"], row[f"{column}_high"]), row)
    axes.axvline(0, color="black", linewidth=0.5)
    lowest = known[f"{column}_low"].min() if len(known) else 0.0
    axes.set_xlim(max(LEFTMOST, min(-0.1, 1.1 * lowest)), 1.03)
    axes.set_ylim(len(FEATURES) - 0.5, -0.5)
    axes.set_yticks(list(places.values()), list(FEATURES.values()))
    axes.set_xlabel("R² of unseen runs")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 5, 10]))


def _draw_dot(
    axes: Axes, value: float, y: float, interval: tuple[float, float], row: dict[Any, Any]
) -> None:
    marker, colour = LEARNERS[row["learner"]]
    face = colour if row["validation"] == "nested" else "white"
    line: dict[str, Any] = {"color": colour, "markerfacecolor": face, "markersize": 4}
    axes.plot(interval, (y, y), color=colour, linewidth=0.8)
    if value >= LEFTMOST:
        axes.plot(value, y, marker=marker, **line)
        return
    axes.plot(LEFTMOST, y, marker="<", clip_on=False, **line)
    axes.text(LEFTMOST + 0.06, y, f"{value:.1f}", va="bottom", fontsize=5.5, color=colour)


def _draw_runs(
    axes: Axes,
    table: pd.DataFrame,
    predicted: pd.DataFrame,
    widths: tuple[ScalarMappable, dict[str, float]],
    split: str,
) -> None:
    """Predicted against true accuracy of the best learner on weights, a point per run."""
    nested = table[(table["features"] == "weights") & (table["validation"] == "nested")]
    # the first where none has a number
    best = nested.sort_values("r2", ascending=False, kind="stable").iloc[0]
    case = ["features", "learner", "validation"]
    points = predicted[(predicted[case] == best[case]).all(axis=1)]
    scale, numbers = widths
    colours = scale.to_rgba(points["width"].map(numbers).to_numpy(float))
    places, is_non = points[["accuracy", "predicted"]], points["group"] == "non"
    style.draw_points(axes, places, is_non, colours, runs=points)
    if len(points):
        middle = points["accuracy"].median()
        axes.axline((middle, middle), slope=1, color="black", linewidth=0.5, zorder=0)
    axes.set_title(f"weights, {best['learner']} (n = {len(points)})")
    axes.set(xlabel=f"final {split} accuracy (%)", ylabel="predicted (%)")


def _handles(table: pd.DataFrame) -> list[Line2D]:
    """Legend of the cases that have an R2."""
    known = table.dropna(subset=list(PANELS), how="all")
    drawn = set(zip(known["learner"], known["validation"], strict=True))
    return [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            linestyle="",
            markersize=4,
            markerfacecolor=colour if validation == "nested" else "white",
            label=f"{learner}, {what}",
        )
        for learner, (marker, colour) in LEARNERS.items()
        for validation, what in VALIDATIONS.items()
        if (learner, validation) in drawn
    ]
