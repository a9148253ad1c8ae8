"""The figure of densities, against the file that it shows."""

import math
from itertools import pairwise

import h5py
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import StepPatch

from drawings import (
    MIXED,
    legend_of,
    limits_of,
    make_densities,
    make_runs,
    n_in,
    named_panels,
    panels_of,
)
from weightscape.drawing import style
from weightscape.drawing.style import Shown
from weightscape.figures import density
from weightscape.measures.runs.densities import measure

pytestmark = pytest.mark.filterwarnings("error")

LAYERS = ["fc1", "fc2"]


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    runs = make_runs(MIXED)
    path = tmp_path_factory.mktemp("density") / "densities.h5"
    return Shown(runs, make_densities(runs, LAYERS, path))


@pytest.fixture(scope="module")
def panels(population):
    return named_panels(density.draw([population], "test"))


@pytest.fixture(scope="module")
def file(population):
    with h5py.File(population.measure) as opened:
        yield opened


def lines_of(axes):
    """Colour -> (x, y) of each line."""
    return {line.get_color(): np.array(line.get_data()) for line in axes.lines}


def of_colour(artists, group):
    """The one of the artists that has the colour of the group."""
    colour = to_rgb(style.GROUP_COLOURS[group])
    (found,) = [a for a in artists if np.allclose(np.ravel(a.get_facecolor())[:3], colour)]
    return found


GROUPS = ("non", "low", "mid", "high")


def test_a_row_in_the_weights_units_stands_above_one_in_standard_units(panels):
    assert list(panels) == [
        "fc1 (n = 9)",
        "fc2 (n = 9)",
        "fc1, standard units (n = 9)",
        "fc2, standard units (n = 9)",
    ]


@pytest.mark.parametrize("layer", LAYERS)
def test_lines_are_the_mean_densities_of_the_groups(layer, panels, file):
    lines = lines_of(panels[f"{layer} (n = 9)"])
    assert set(lines) == {style.GROUP_COLOURS[group] for group in GROUPS}
    for group in GROUPS:
        found = file[layer][group]
        expected = np.array([found["grid"][()], found["density"][()]])
        np.testing.assert_array_equal(lines[style.GROUP_COLOURS[group]], expected)


def test_groups_differ_in_their_lines_too(panels):
    lines = panels["fc1 (n = 9)"].lines
    assert len({str(line._dash_pattern) for line in lines}) == 4


@pytest.mark.parametrize("group", GROUPS)
def test_shades_are_the_bands_over_runs(group, panels, file):
    band = of_colour(panels["fc1 (n = 9)"].collections, group)
    low, high = file["fc1"][group]["band"][()]
    grid = file["fc1"][group]["grid"][()]
    drawn = {tuple(corner) for path in band.get_paths() for corner in path.vertices}
    assert drawn >= set(zip(grid, low, strict=True)) | set(zip(grid, high, strict=True))


@pytest.mark.parametrize("group", GROUPS)
def test_steps_are_shares_of_weights_over_the_width_of_a_bin(group, panels, file):
    steps = [patch for patch in panels["fc1 (n = 9)"].patches if isinstance(patch, StepPatch)]
    colour = to_rgb(style.GROUP_COLOURS[group])
    (own,) = [step for step in steps if np.allclose(step.get_edgecolor()[:3], colour)]
    found = file["fc1"][group]
    values, edges, _ = own.get_data()
    np.testing.assert_array_equal(edges, found["edges"][()])
    areas = [h * (b - a) for h, (a, b) in zip(values, pairwise(edges), strict=True)]
    np.testing.assert_allclose(areas, found["share"][()])
    assert sum(areas) == pytest.approx(1, abs=0.02)  # nearly all of the weights are shown


def test_the_axis_holds_the_means_of_what_converged_from_zero(panels, file):
    for layer in LAYERS:
        highest = max(file[layer][group]["density"][()].max() for group in GROUPS[1:])
        low, high = panels[f"{layer} (n = 9)"].get_ylim()
        assert low == 0
        assert highest < high < 1.5 * highest


def test_weights_of_failed_runs_that_are_all_alike_are_cut_and_said_to_be(tmp_path):
    runs = make_runs([10.0, 90.0, 50.0])
    path = make_densities(runs, ["fc1"], tmp_path / "densities.h5")
    with h5py.File(path, "r+") as file:
        file["fc1/non/density"][...] *= 1000
        peak = file["fc1/non/density"][()].max()
        others = max(file["fc1"][group]["density"][()].max() for group in ("low", "high"))
    figure = density.draw([Shown(runs, path)], "test")
    axes = named_panels(figure)["fc1 (n = 3)"]
    assert axes.get_ylim()[1] < 1.5 * others
    assert [text.get_text() for text in axes.texts] == [f"non is cut: up to {peak:.3g}"]
    assert legend_of(figure)[0] == "non (n = 1)"
    assert style.GROUP_COLOURS["non"] in lines_of(axes)


def test_groups_without_a_density_are_not_in_the_legend(tmp_path):
    runs = make_runs([10.0, 90.0, 50.0])
    path = make_densities(runs, ["fc1"], tmp_path / "densities.h5", collapsed=(0,))
    figure = density.draw([Shown(runs, path)], "test")
    assert legend_of(figure) == ["low (n = 1)", "high (n = 1)", "Gaussian"]


@pytest.mark.parametrize("layer", LAYERS)
def test_standard_units_show_the_groups_beside_the_gaussian(layer, panels, file):
    axes = panels[f"{layer}, standard units (n = 9)"]
    lines = lines_of(axes)
    for group in GROUPS:
        found = file[layer][group]
        expected = np.array([found["standard_grid"][()], found["standard_density"][()]])
        np.testing.assert_array_equal(lines.pop(style.GROUP_COLOURS[group]), expected)
    places, gaussian = lines.pop("black")
    expected = [math.exp(-(u**2) / 2) / math.sqrt(2 * math.pi) for u in places]
    np.testing.assert_allclose(gaussian, expected)
    assert not lines
    assert axes.get_xlim() == (-4, 4)
    assert axes.get_ylim()[1] > 0.4


def test_the_legend_names_the_groups_and_the_gaussian(population):
    assert legend_of(density.draw([population], "test")) == [
        "non (n = 2)",
        "low (n = 2)",
        "mid (n = 2)",
        "high (n = 3)",
        "Gaussian",
    ]


def test_runs_whose_weights_are_all_equal_are_not_counted(tmp_path):
    runs = make_runs(MIXED)
    path = make_densities(runs, LAYERS, tmp_path / "densities.h5", collapsed=(1, 3, 4))
    named = named_panels(density.draw([Shown(runs, path)], "test"))
    assert list(named) == [
        "fc1 (n = 6)",
        "fc2 (n = 9)",
        "fc1, standard units (n = 6)",
        "fc2, standard units (n = 9)",
    ]
    # none of the failed runs has a density, so their group has no line
    assert style.GROUP_COLOURS["non"] not in lines_of(named["fc1 (n = 6)"])


def test_a_layer_without_any_density_has_an_empty_panel(tmp_path):
    runs = make_runs([10.0, 10.1])
    path = make_densities(runs, LAYERS, tmp_path / "densities.h5", collapsed=(0, 1))
    figure = density.draw([Shown(runs, path)], "test")
    figure.draw_without_rendering()
    empty = [axes for axes in panels_of(figure) if n_in(axes) == 0]
    assert [len(axes.lines) for axes in empty] == [0, 0]


def test_datasets_stand_side_by_side_on_axes_that_hold_all_of_them(tmp_path):
    populations = []
    for number, (dataset, scale) in enumerate((("mnist", 3), ("fmnist", 1), ("cifar10", 0.2))):
        runs = make_runs(MIXED[number:], dataset=dataset)
        path = make_densities(runs, LAYERS, tmp_path / f"{dataset}.h5", scale=scale)
        populations.append(Shown(runs, path))
    figure = density.draw(populations, "test")
    where = ["MNIST, {} (n = 9)", "Fashion-MNIST, {} (n = 8)", "CIFAR-10, {} (n = 7)"]
    named = named_panels(figure)
    assert list(named) == [title.format(layer) for layer in LAYERS for title in where]
    assert legend_of(figure) == ["non (n = 5)", "low (n = 6)", "mid (n = 6)", "high (n = 7)"]
    for layer in LAYERS:
        row = [named[title.format(layer)] for title in where]
        assert len(set(map(limits_of, row))) == 1
        left, right, low, high = limits_of(row[0])
        points = np.hstack([line.get_data() for axes in row for line in axes.lines])
        assert left <= points[0].min() < points[0].max() <= right
        assert low - 1e-12 <= points[1].min()
        heights = [
            line.get_ydata().max()
            for axes in row
            for line in axes.lines
            if line.get_color() != style.GROUP_COLOURS["non"]
        ]
        assert max(heights) < high


def test_densities_of_shards_are_drawn(synthesise, tmp_path):
    shards = [tmp_path / "a.h5", tmp_path / "b.h5"]
    synthesise(shards[0], [0, 1], width="2")
    synthesise(shards[1], [0, 1, 2], width="5")
    runs = make_runs([90.0, 40.0, 10.0, 70.0, 88.0], "cnn", "digits")
    runs = runs.assign(width=["2", "2", "5", "5", "5"], seed=[0, 1, 0, 1, 2])
    measure([str(path) for path in shards], runs, "silverman", tmp_path / "densities.h5")
    figure = density.draw([Shown(runs, tmp_path / "densities.h5")], "test")
    assert list(named_panels(figure))[:2] == ["conv1 (n = 5)", "fc (n = 5)"]
    assert figure.get_suptitle().endswith("CNN on digits: n = 5 runs, 1 of them non")
