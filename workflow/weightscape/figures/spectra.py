"""Spectra of each layer's weights against accuracy, coloured by width."""

from matplotlib.figure import Figure

from weightscape.drawing import style
from weightscape.heads import FigureHead
from weightscape.runs.collecting import KEYS

HEAD = FigureHead(
    reads=("spectra",),
    category="Weight spectra",
    caption=(
        "Singular values of each layer's final weights, as a matrix of nodes and what they read, "
        "for {model} on {dataset}, a point per run ({runs}), against the final {figures[colour]} "
        "accuracy. Stable rank: sum of squares over the largest square; effective rank: "
        "exponential of the entropy of the singular values over their sum; spectral norm: the "
        "largest; log-determinant: twice the sum of logarithms, where the matrix is not singular. "
        "All but the norm are bounded by, or grow with, the number of singular values, and so with "
        "width: compare points of one colour. Crosses are runs of the group non. What shuffled, "
        "Gaussian and initial weights have is in the table nulls. {training}"
    ),
)

SHOWN = {
    "stable_rank": "stable rank",
    "effective_rank": "effective rank",
    "spectral_norm": "spectral norm",
    "log_determinant": "log-determinant",
}
TITLE_SIZE = 6  # four stand side by side


def draw(population: style.Shown, split: str) -> Figure:
    """A row of panels per layer, a point per run; the accuracy is the final one on `split`."""
    layers = list(population.measure["layer"].unique())
    rows = [[(layer, column) for column in SHOWN] for layer in layers]
    figure, panels = style.panels(rows, 1.7, 1.8)
    accuracy = population.runs[[*KEYS, f"{split}_accuracy"]]
    scale, numbers = style.width_scale(population.runs)
    table = population.measure.merge(accuracy, on=KEYS, validate="many_to_one")
    table = table.assign(colour=table["width"].map(numbers).astype(float))
    for (layer, column), axes in panels.items():
        points = table[table["layer"] == layer]
        n = style.scatter(axes, points, f"{split}_accuracy", column, scale, split, "colour")
        axes.set_title(f"{SHOWN[column]} (n = {n})", fontsize=TITLE_SIZE)
    for key in rows[-1]:
        panels[key].set_xlabel(f"final {split} accuracy (%)", fontsize=TITLE_SIZE)
    for layer, row in zip(layers, rows, strict=True):
        panels[row[0]].set_ylabel(layer)
    style.add_width_bar(figure, list(panels.values()), scale, numbers)
    style.put_heading(figure, "Singular values of the weights against accuracy", [population])
    style.add_non_legend(figure, [population])
    return figure
