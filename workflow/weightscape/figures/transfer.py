"""Transfer: how well weights of one population tell the accuracies of another."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from weightscape.drawing import style
from weightscape.heads import FigureHead

HEAD = FigureHead(
    reads=("transfer",),
    category="Claims",
    caption=(
        "Claim C7: final {claims[accuracy]} accuracy of each population's runs (column), as "
        "predicted by what the weights of another population taught (row): Spearman's correlation "
        "of predicted and true accuracy, over all runs and as the mean over widths of 4 and more "
        "runs. A run is told by numbers of its first layer, of its last, and by their means over "
        "all layers, in standard scores of its own population; width is told as a number. On the "
        "diagonal runs are predicted out of five folds. What width alone transfers is no likeness "
        "of weights. All runs count, also those that did not converge. Populations: {populations}."
    ),
    labels={"claim": "accuracy from weights"},
    layers=False,
    split="claims.accuracy",
    each="study",
)

SCALE = ScalarMappable(Normalize(-1, 1), "PuOr")
EFFECTS = {"pooled": "n", "within": "n_within"}
TITLES = {"pooled": "all runs", "within": "within widths"}


def draw(population: style.Shown, split: str) -> Figure:
    """Spearman's correlation of predicted and true accuracy, learned on (row) x predicted (column).

    A panel for each learner and features, over all runs and within widths; n runs are predicted.
    """
    table = population.measure
    cases = table[["features", "learner"]].drop_duplicates().itertuples(index=False, name=None)
    # within a width it has nothing to say
    rows = [
        [(*case, effect) for effect in EFFECTS if (case[0], effect) != ("width", "within")]
        for case in cases
    ]
    n_populations = len(table.drop_duplicates(["model", "dataset"]))
    height = min(2.9, 1.1 + 0.25 * n_populations)
    figure, panels = style.panels(rows, height=height, width=3.4)
    for (features, learner, effect), axes in panels.items():
        case = table[(table["features"] == features) & (table["learner"] == learner)]
        _draw_matrix(axes, case, effect)
        n = case.drop_duplicates(["model", "dataset"])[EFFECTS[effect]].sum()
        axes.set_title(f"{features} ({learner}), {TITLES[effect]} (n = {n})")
        axes.set_xlabel("predicted")
        if effect == "pooled":
            axes.set_ylabel("learned on")
        else:
            axes.tick_params(labelleft=False)
    figure.colorbar(
        SCALE,
        ax=list(panels.values()),
        location="bottom",
        fraction=0.02,
        pad=0.02,
        label="Spearman's correlation of predicted and true accuracy",
    )
    figure.suptitle(
        "Accuracy predicted from the weights of another population: "
        f"{n_populations} populations, {len(population.runs)} runs"
    )
    return figure


def _draw_matrix(axes: Axes, case: pd.DataFrame, effect: str) -> None:
    names = list(case[["model", "dataset"]].drop_duplicates().itertuples(index=False, name=None))
    keys = ["trained_model", "trained_dataset", "model", "dataset"]
    found = case.set_index(keys)
    values = np.array([[found.loc[(*row, *column), effect] for column in names] for row in names])
    counts = [found.loc[(*names[0], *column), EFFECTS[effect]] for column in names]
    axes.imshow(SCALE.to_rgba(values), aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        shown = "-" if np.isnan(value) else f"{value:.2f}"
        colour = "white" if abs(value) > 0.55 else "black"
        axes.text(column, row, shown, ha="center", va="center", fontsize=5.5, color=colour)
    labels = [f"{style.name(model)} {style.name(dataset)}" for model, dataset in names]
    below = [f"{label}\nn = {n}" for label, n in zip(labels, counts, strict=True)]
    axes.set_xticks(range(len(names)), below, fontsize=5.5, rotation=90 if len(names) > 3 else 0)
    axes.set_yticks(range(len(names)), labels, fontsize=5.5)
    axes.grid(visible=False)
