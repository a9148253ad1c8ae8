"""Figures 2-4: mean against standard deviation of the weights, a point per run, as in the paper."""

from collections.abc import Sequence
from itertools import chain

from matplotlib.figure import Figure

from weightscape.drawing import style
from weightscape.heads import FigureHead
from weightscape.runs.collecting import KEYS

HEAD = FigureHead(
    reads=("statistics",),
    category="Weight statistics",
    caption=(
        "Mean against population standard deviation of each layer's final weights (biases apart) "
        "for {model} on {dataset}, a point per run and panel ({runs}). Colour is the final "
        "{figures[colour]} accuracy; crosses are runs of the group non. Widths are pooled here: "
        "width alone moves accuracy and both axes, so a trend over all points need not hold among "
        "networks of one width. {training} After Figures 2-4 of Zheng et al. (arXiv 2408.11720)."
    ),
    grid=(
        "Figures 2-4: mean against population standard deviation of each layer's weights, a point "
        "per run"
    ),
)


def draw(populations: Sequence[style.Shown], split: str) -> Figure:
    """A panel per layer of one population, or layer x dataset of several of one model.

    Colour is the final accuracy on `split`.
    """
    first = populations[0]
    layers = list(first.measure["layer"].unique())
    one = len(populations) == 1
    keys = [[(number, layer) for number in range(len(populations))] for layer in layers]
    rows = style.wrap(chain(*keys)) if one else keys
    figure, panels = style.panels(rows)
    for number, population in enumerate(populations):
        accuracy = population.runs[[*KEYS, f"{split}_accuracy"]]
        table = population.measure.merge(accuracy, on=KEYS, validate="many_to_one")
        scale = style.accuracy_scale(population.runs, split)
        own = [panels[number, layer] for layer in layers]
        for axes, layer in zip(own, layers, strict=True):
            of_layer = table[table["layer"] == layer]
            n = style.scatter(axes, of_layer, "mean", "std", scale, split)
            axes.set_title(style.label(populations, population, layer, n))
        style.add_colour_bar(figure, own, scale, split, below=not one)
    if not one:
        for layer in layers:
            style.share([panels[number, layer] for number in range(len(populations))])
    for key in style.lowest(rows):
        panels[key].set_xlabel(r"mean $\mu_w$ of the weights")
    style.put_heading(figure, "Mean and standard deviation of the weights", populations)
    figure.supylabel(r"standard deviation $\sigma_w$ of the weights", fontsize=7.5)
    style.add_non_legend(figure, populations)
    return figure
