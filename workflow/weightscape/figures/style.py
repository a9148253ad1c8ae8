"""What all figures share: sizes, palettes and how they are saved.

Accuracy runs from light to dark in one hue family (its lightness falls steadily, so it survives
colour-blindness and grey print); `non` is Okabe and Ito's blue, which no accuracy takes.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

NON_COLOUR = "#0072B2"
ACCURACY_COLOURS = ListedColormap(mpl.colormaps["YlOrRd"](np.linspace(0.3, 1.0, 256)))
MANY = 500  # artists beyond which points are rasterised inside the SVG
TITLES = {
    "dnn": "DNN", "cnn": "CNN", "vit": "ViT", "digits": "digits", "mnist": "MNIST",
    "fmnist": "Fashion-MNIST", "cifar10": "CIFAR-10",
}  # fmt: skip

mpl.use("agg")
mpl.rcParams.update(
    {
        "font.size": 9,
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


def title(model: str, dataset: str) -> str:
    """`DNN on MNIST`, and plain names for a model or dataset of the user's."""
    return f"{TITLES.get(model, model)} on {TITLES.get(dataset, dataset)}"


def accuracy_scale(runs: pd.DataFrame, split: str) -> ScalarMappable:
    """Colours for the converged runs' final accuracy on `split`, from lowest to highest."""
    accuracy = runs.loc[runs["group"] != "non", f"{split}_accuracy"]
    low, high = (accuracy.min(), accuracy.max()) if len(accuracy) else (0.0, 100.0)
    if high - low < 0.1:  # a bar of one colour would have no scale
        low, high = low - 0.05, high + 0.05
    return ScalarMappable(Normalize(low, high), ACCURACY_COLOURS)


def add_colour_bar(figure: Figure, axes: list[Axes], scale: ScalarMappable, split: str) -> None:
    figure.colorbar(scale, ax=axes, label=f"final {split} accuracy (%)", pad=0.02, fraction=0.05)


def count(runs: pd.DataFrame) -> str:
    """`n = 40 runs, 3 of them non`."""
    non = int((runs["group"] == "non").sum())
    return f"n = {len(runs)} runs, {non} of them non"


def save(figure: Figure, svg: Path, png: Path, dpi: int) -> None:
    """Both files of a figure, without a date so that equal figures are equal files."""
    svg.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(svg, dpi=dpi, metadata={"Date": None})
    figure.savefig(png, dpi=dpi, metadata={"Software": None})
