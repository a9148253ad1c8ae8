"""The figure of where variation comes from: what is drawn, read back from the artists."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from drawings import (
    DEUTERANOPIA,
    LAYERS,
    collisions_in,
    legend_of,
    lightness,
    make_runs,
    n_in,
    panels_of,
    saved,
    to_lab,
)
from weightscape.claims.analyses.variation import ACCURACIES, CHOSEN, PARTS
from weightscape.drawing import style
from weightscape.figures import draw as draw_figure
from weightscape.figures import variation
from weightscape.storage.tables import write_table

pytestmark = pytest.mark.filterwarnings("error")

STATISTICS = [name for columns in CHOSEN.values() for name in columns]


def make_table(layers=("fc1", "fc2", "fc3"), unknown=(), n=9):
    """The table variation with shares drawn at random; those of `unknown` parts are NaN."""
    random = np.random.default_rng(0)
    rows = [("", name) for name in ACCURACIES] + list(itertools.product(layers, STATISTICS))
    known = [part for part in PARTS if part not in unknown]
    shares = pd.DataFrame(random.dirichlet(np.full(len(known), 0.5), len(rows)), columns=known)
    return pd.DataFrame(rows, columns=["layer", "statistic"]).assign(
        n=n, **{f"share_{part}": shares.get(part, np.nan) for part in PARTS}
    )


def draw(table, folder, **changes):
    """By way of a file, in which an empty layer is no text."""
    write_table(table, folder / "variation.csv")
    return draw_figure("variation", [make_runs(**changes)], [str(folder / "variation.csv")], "test")


def bars_in(axes):
    """Colour -> (left, width) of each bar from the top."""
    found = {}
    for bar in sorted(axes.patches, key=lambda bar: bar.get_y()):
        colour = tuple(np.round(bar.get_facecolor()[:3], 3))
        found.setdefault(colour, []).append((bar.get_x(), bar.get_width()))
    return found


def test_bars_are_the_shares_one_after_the_other(tmp_path):
    table = make_table()
    panels = panels_of(draw(table, tmp_path))
    assert [axes.get_title() for axes in panels] == [
        f"{what} (n = 9)" for what in ("accuracy", "fc1", "fc2", "fc3")
    ]
    for axes, layer in zip(panels, ["", "fc1", "fc2", "fc3"], strict=True):
        own, left = table[table["layer"] == layer], 0
        bars = bars_in(axes)
        for part in PARTS:
            width = 100 * own[f"share_{part}"].to_numpy()
            colour = tuple(np.round(to_rgb(variation.COLOURS[part]), 3))
            np.testing.assert_allclose(
                bars[colour], np.transpose([left + 0 * width, width]), atol=1e-5
            )
            left = left + width
        names = [name.replace("_", " ") for name in own["statistic"]]
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert labels == ([] if layer in ("fc2", "fc3") else names)
        assert axes.get_ylim()[0] > axes.get_ylim()[1]
        assert axes.get_xlim() == (0, 100)


def test_a_number_stands_in_each_bar_that_has_room(tmp_path):
    table = make_table()
    for axes, (_, own) in zip(
        panels_of(draw(table, tmp_path)), table.groupby("layer", sort=False), strict=True
    ):
        shares = 100 * own[[f"share_{part}" for part in PARTS]].to_numpy()
        expected = sorted(f"{share:.0f}" for share in shares[shares >= 10])
        assert sorted(text.get_text() for text in axes.texts) == expected


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        ((), ["width", "initialisation", "order of the images", "initialisation x order"]),
        (("init", "shuffle"), ["width", "initialisation and order (plain seeds)"]),
        (("width",), ["initialisation", "order of the images", "initialisation x order"]),
    ],
)
def test_the_legend_names_the_parts_that_are_told_apart(unknown, expected, tmp_path):
    assert legend_of(draw(make_table(unknown=unknown), tmp_path)) == expected


def test_axis_and_title_say_what_is_shown_of_which_runs(tmp_path):
    figure = draw(make_table(), tmp_path)
    labels = [axes.get_xlabel() for axes in panels_of(figure)]
    assert labels == ["", *["share of the variance (%)"] * 3]
    what, runs = figure.get_suptitle().split("\n")
    assert what == "What the variance of accuracies and of weights is made of"
    assert runs == "DNN on MNIST: n = 9 runs, 2 of them non"


def test_a_layer_whose_statistics_rest_on_fewer_runs_says_so(tmp_path):
    table = make_table()
    table.loc[(table["layer"] == "fc2") & (table["statistic"] == "std"), "n"] = 6
    accuracy, fc1, fc2, fc3 = panels_of(draw(table, tmp_path))
    assert re.search(r"\((.*)\)", fc2.get_title())[1] == "n = 6 to 9"
    assert {n_in(axes) for axes in (accuracy, fc1, fc3)} == {9}


@pytest.mark.parametrize("model", LAYERS)
def test_no_text_covers_another_and_the_figure_fits_a_page(model, tmp_path):
    figure = draw(make_table(LAYERS[model], n=6090), tmp_path, model=model)
    assert collisions_in(figure) == []
    assert all(figure.get_size_inches() <= style.PAGE)


def test_a_table_without_numbers_is_drawn(tmp_path):
    panels = panels_of(draw(make_table(unknown=PARTS, n=0), tmp_path))
    assert all(bar.get_width() == 0 for axes in panels for bar in axes.patches)


def test_equal_tables_are_equal_files(tmp_path):
    first, second = (saved(draw(make_table(), tmp_path), tmp_path) for _ in range(2))
    assert first == second


def test_neighbours_differ_in_grey_and_for_the_colour_blind():
    colours = [to_rgb(variation.COLOURS[part]) for part in PARTS]
    for one, other in itertools.pairwise(colours):
        assert abs(lightness(one) - lightness(other)) > 15
    for one, other in itertools.combinations(colours, 2):
        assert np.linalg.norm(to_lab(one, DEUTERANOPIA) - to_lab(other, DEUTERANOPIA)) > 20
