"""Figures: what is drawn, read back from the artists and the files."""

import functools
import io
import math
import re
import struct

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb

from weightscape.figures import convergence, statistics, style

LAYERS = ["patch", "query", "key", "value", "mlp1", "fc"]


def make_runs(accuracies, non=()):
    """A table of runs with these final test accuracies; `non` holds rows."""
    n = len(accuracies)
    return pd.DataFrame(
        {
            "model": "dnn",
            "dataset": "mnist",
            "width": [str(5 + row % 3) for row in range(n)],
            "seed": range(n),
            "train_accuracy": accuracies,
            "test_accuracy": accuracies,
            "group": ["non" if row in non else "low" for row in range(n)],
        }
    )


def make_curves(runs, epochs=4):
    random = np.random.default_rng(0)
    rows = [
        {"model": "dnn", "dataset": "mnist", "width": run.width, "seed": run.seed, "epoch": epoch,
         "train_loss": random.uniform(0.1, 2.3)}
        for run in runs.itertuples() for epoch in range(epochs)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def make_statistics(runs, layers):
    random = np.random.default_rng(0)
    rows = [
        {"model": "dnn", "dataset": "mnist", "width": run.width, "seed": run.seed,
         "group": run.group, "layer": layer, "mean": random.normal(), "std": random.uniform(0, 1)}
        for run in runs.itertuples() for layer in layers
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def runs():
    """Six runs; those of the rows 1 and 4 did not converge."""
    return make_runs([90.0, 11.0, 50.0, 97.0, 11.4, 70.0], non=(1, 4))


def lines_of(figure):
    """(points, colour) of each line of the first panel."""
    found = []
    for artist in figure.axes[0].collections:
        if isinstance(artist, LineCollection):
            colours = artist.get_colors()
            for row, points in enumerate(artist.get_segments()):
                found.append((points, tuple(colours[row % len(colours)][:3])))
    return found


def points_of(axes):
    """(mean, std, colour) of each point of a panel."""
    found = []
    for artist in axes.collections:
        offsets = artist.get_offsets().tolist()
        colours = artist.get_facecolors()
        found += [(*offset, tuple(colours[row % len(colours)][:3]))
                  for row, offset in enumerate(offsets)]  # fmt: skip
    return found


def is_blue(colour):
    red, green, blue = colour
    return blue > 1.2 * max(red, green)


def lightness(colour):
    return np.dot(colour, (0.2126, 0.7152, 0.0722))


def panels_of(figure):
    """The panels that show a layer, without the colour bar."""
    return [axes for axes in figure.axes if axes.get_visible() and "n = " in axes.get_title()]


def saved(figure, folder, dpi=60):
    style.save(figure, folder / "f.svg", folder / "f.png", dpi)
    return (folder / "f.svg").read_text(), (folder / "f.png").read_bytes()


def svg_of(figure):
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()


def test_each_run_has_its_line(runs):
    curves = make_curves(runs)
    drawn = lines_of(convergence.draw(curves, runs, "test"))
    expected = sorted(
        of_run[["epoch", "train_loss"]].to_numpy().tolist()
        for _, of_run in curves.groupby(["width", "seed"])
    )
    assert sorted(points.tolist() for points, _ in drawn) == expected


def test_lines_of_runs_that_did_not_converge_are_blue_and_no_others(runs):
    curves = make_curves(runs)
    drawn = lines_of(convergence.draw(curves, runs, "test"))
    blue = {tuple(points[:, 1]) for points, colour in drawn if is_blue(colour)}
    assert blue == {tuple(curves.loc[curves["seed"] == seed, "train_loss"]) for seed in (1, 4)}


def test_more_accurate_lines_are_darker_and_above(runs):
    curves = make_curves(runs)
    drawn = [line for line in lines_of(convergence.draw(curves, runs, "test"))
             if not is_blue(line[1])]  # fmt: skip
    seeds = [curves.loc[np.isclose(curves["train_loss"], points[0, 1]), "seed"].iloc[0]
             for points, _ in drawn]  # fmt: skip
    assert seeds == [2, 5, 0, 3]
    assert (np.diff([lightness(colour) for _, colour in drawn]) < 0).all()


def test_colours_follow_the_split_of_the_config(runs):
    other = runs.assign(train_accuracy=[10.0, 11.0, 20.0, 5.0, 11.0, 30.0])
    drawn = lines_of(convergence.draw(make_curves(runs), other, "train"))
    colours = [colour for _, colour in drawn if not is_blue(colour)]
    figure = convergence.draw(make_curves(runs), other, "train")
    assert len(set(colours)) == 4
    assert any("train accuracy" in axes.get_ylabel() for axes in figure.axes)


def test_the_loss_axis_is_logarithmic_and_named(runs):
    axes = convergence.draw(make_curves(runs), runs, "test").axes[0]
    assert axes.get_yscale() == "log"
    assert "loss" in axes.get_ylabel()
    assert "epoch" in axes.get_xlabel()


def test_the_title_states_n(runs):
    title = convergence.draw(make_curves(runs), runs, "test").axes[0].get_title()
    assert all(words in title for words in ("DNN on MNIST", "n = 6", "2 of them non"))


def test_each_run_has_its_point_in_each_layer(runs):
    table = make_statistics(runs, ["fc1", "fc2", "fc3"])
    panels = panels_of(statistics.draw(table, runs, "test"))
    assert [axes.get_title().split()[0] for axes in panels] == ["fc1", "fc2", "fc3"]
    for axes in panels:
        of_layer = table[table["layer"] == axes.get_title().split()[0]]
        found = sorted((x, y) for x, y, _ in points_of(axes))
        np.testing.assert_allclose(
            found, sorted(zip(of_layer["mean"], of_layer["std"], strict=True))
        )


def test_points_of_runs_that_did_not_converge_are_blue_and_no_others(runs):
    table = make_statistics(runs, ["fc1", "fc2"])
    for axes in panels_of(statistics.draw(table, runs, "test")):
        of_layer = table[
            (table["layer"] == axes.get_title().split()[0]) & (table["group"] == "non")
        ]
        blue = sorted(x for x, _, colour in points_of(axes) if is_blue(colour))
        np.testing.assert_allclose(blue, sorted(of_layer["mean"]))


def test_more_accurate_points_are_darker(runs):
    table = make_statistics(runs, ["fc1"])
    (axes,) = panels_of(statistics.draw(table, runs, "test"))
    by_mean = dict(zip(table["mean"], table["seed"], strict=True))
    light = {}
    for x, _, colour in points_of(axes):
        if not is_blue(colour):
            light[by_mean[min(by_mean, key=lambda mean: abs(mean - x))]] = lightness(colour)
    assert light[2] > light[5] > light[0] > light[3]


def test_every_panel_and_the_figure_state_n(runs):
    figure = statistics.draw(make_statistics(runs, ["fc1", "fc2"]), runs, "test")
    assert [axes.get_title() for axes in panels_of(figure)] == ["fc1 (n = 6)", "fc2 (n = 6)"]
    assert all(w in figure.get_suptitle() for w in ("DNN on MNIST", "n = 6", "2 of them non"))


@pytest.mark.parametrize("n_layers", [1, 2, 4, 6])
def test_every_layer_has_a_panel(runs, n_layers):
    figure = statistics.draw(make_statistics(runs, LAYERS[:n_layers]), runs, "test")
    panels = panels_of(figure)
    assert [axes.get_title().split()[0] for axes in panels] == LAYERS[:n_layers]
    # below each column of panels stands what its x axis is
    lowest = {}
    for axes in panels:
        lowest[axes.get_subplotspec().colspan.start] = axes
    assert all("mean" in axes.get_xlabel() for axes in lowest.values())
    assert "standard deviation" in panels[0].get_ylabel()


CASES = {
    "one run": make_runs([50.0]),
    "one run that is non": make_runs([11.0], non=(0,)),
    "all non": make_runs([11.0, 11.1, 11.2], non=(0, 1, 2)),
    "equal accuracies": make_runs([50.0] * 4),
    "more than 500": make_runs(np.linspace(10, 99, 530), non=range(20)),
}


def draw_both(runs):
    return (
        convergence.draw(make_curves(runs), runs, "test"),
        statistics.draw(make_statistics(runs, ["fc1"]), runs, "test"),
    )


@pytest.fixture(scope="module")
def files_of(tmp_path_factory):
    """(svg, png) of both figures of a case, each drawn once."""

    @functools.cache
    def draw(case):
        folder = tmp_path_factory.mktemp("figures")
        return [saved(figure, folder) for figure in draw_both(CASES[case])]

    return draw


@pytest.mark.parametrize("case", CASES)
def test_both_figures_are_drawn_and_saved(case, files_of):
    runs = CASES[case]
    for svg, png in files_of(case):
        assert svg.rstrip().endswith("</svg>")
        assert f"n = {len(runs)} runs, {(runs['group'] == 'non').sum()} of them non" in svg
        assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize(("case", "images"), [("more than 500", True), ("one run", False)])
def test_many_runs_are_an_image_inside_the_svg(case, images, files_of):
    # the colour bar is an image in any case
    assert [svg.count("<image") > 1 for svg, _ in files_of(case)] == [images, images]


@pytest.mark.parametrize("case", ["all non", "more than 500"])
def test_the_same_data_give_the_same_bytes(case, files_of, tmp_path):
    again = [saved(figure, tmp_path) for figure in draw_both(CASES[case])]
    assert again == files_of(case)
    assert "dc:date" not in again[0][0]


@pytest.mark.parametrize("lost", ["one run", "all runs", "last epochs"])
def test_runs_of_nan_are_drawn(runs, lost):
    curves = make_curves(runs)
    rows = {"one run": curves["seed"] == 1, "all runs": curves["seed"] >= 0,
            "last epochs": curves["epoch"] > 1}[lost]  # fmt: skip
    curves.loc[rows, "train_loss"] = math.nan
    svg = svg_of(convergence.draw(curves, runs, "test"))
    assert "n = 6 runs" in svg


def test_statistics_of_nan_are_drawn(runs):
    table = make_statistics(runs, ["fc1"])
    table.loc[table["seed"] == 4, ["mean", "std"]] = math.nan
    svg = svg_of(statistics.draw(table, runs, "test"))
    assert "n = 6 runs" in svg


def test_the_png_has_the_dots_per_inch_of_the_config(runs, tmp_path):
    figure = convergence.draw(make_curves(runs), runs, "test")
    _, png = saved(figure, tmp_path, dpi=50)
    size = struct.unpack(">2I", png[16:24])
    assert size == tuple(int(50 * inches) for inches in figure.get_size_inches())


def test_six_layers_are_drawn(runs):
    svg = svg_of(statistics.draw(make_statistics(runs, LAYERS), runs, "test"))
    assert all(f"{layer} (n = 6)" in svg for layer in LAYERS)


def test_text_in_the_svg_is_text(runs):
    svg = svg_of(convergence.draw(make_curves(runs), runs, "test"))
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert any("training loss" in text for text in texts)
    assert "non (n = 2)" in texts


def test_names_of_one_s_own_are_shown_as_they_are():
    assert style.title("vit", "cifar10") == "ViT on CIFAR-10"
    assert style.title("lstm", "stars") == "lstm on stars"


def test_no_accuracy_is_blue_and_darkness_rises_steadily():
    scale = style.accuracy_scale(make_runs([0.0, 100.0]), "test")
    colours = [scale.to_rgba(accuracy)[:3] for accuracy in np.linspace(0, 100, 50)]
    assert not any(map(is_blue, colours))
    assert (np.diff([lightness(colour) for colour in colours]) < 0).all()
    assert is_blue(to_rgb(style.NON_COLOUR))


def test_the_colour_scale_is_of_the_converged_runs(runs):
    assert style.accuracy_scale(runs, "test").get_clim() == (50, 97)
