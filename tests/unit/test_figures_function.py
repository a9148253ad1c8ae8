"""Figures of function and of failures, read back from what is drawn."""

import math

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from drawings import (
    collisions_in,
    failure_tables,
    function_tables,
    legend_of,
    make_runs,
    panels_of,
    points_of,
    saved,
)
from weightscape.claims.analyses.causes import CAUSES
from weightscape.drawing import style
from weightscape.figures import draw as draw_figure
from weightscape.figures import failures
from weightscape.storage.tables import write_table

WIDTHS = ("5", "10", "20", "50", "100", "200")


def draw(name, runs, tables, folder, split="test"):
    files = []
    for number, table in enumerate(tables):
        files.append(str(folder / f"{name}-{number}.csv"))
        write_table(table, files[-1])
    return draw_figure(name, [runs], files, split)


# ---- function


@pytest.fixture
def runs():
    return make_runs(np.linspace(10, 99, 24), widths=("5", "10", "20"))


def points(axes):
    return [tuple(offset) for artist in axes.collections for offset in artist.get_offsets()]


def test_groups_are_drawn_at_their_means_beside_independent_errors(runs, tmp_path):
    tables = function_tables(runs)
    axes, *_ = panels_of(draw("function", runs, tables, tmp_path))
    assert axes.get_title() == "groups (n = 24)"
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:2] == ["non and non (n = 2)", "non and low (n = 13)"]
    shown = {}
    for line in axes.lines:
        (x,), (y,) = line.get_data()
        shown.setdefault((round(y), line.get_marker(), line.get_color()), x)
    of = tables[0].set_index(["group_a", "group_b", "widths"])
    for place, label in enumerate(labels):
        a, b = label.split(" (")[0].split(" and ")
        for relation, (colour, _, _) in function_relations().items():
            if (a, b, relation) in of.index:
                row = of.loc[a, b, relation]
                assert shown[place, "o", colour] == pytest.approx(100 * row["disagreement"], 1e-6)
                assert shown[place, "D", colour] == pytest.approx(100 * row["expected"], 1e-6)


def function_relations():
    from weightscape.figures.function import RELATIONS

    return RELATIONS


def test_pairs_of_a_width_are_drawn_by_their_matched_distance(runs, tmp_path):
    tables = function_tables(runs)
    figure = draw("function", runs, tables, tmp_path)
    panels = panels_of(figure)[1:]
    rows = tables[1][tables[1]["embedding"] == "matched"].set_index("width")
    assert [axes.get_title() for axes in panels] == [
        f"width {width} (n = 8)\nSpearman's r = {rows.loc[width, 'spearman']:.2f}, p = 0.01"
        for width in ("5", "10", "20")
    ]
    for axes, width in zip(panels, ("5", "10", "20"), strict=True):
        own = tables[2][tables[2]["width"] == width]
        expected = own.assign(y=100 * own["disagreement"])[["matched_distance", "y"]]
        np.testing.assert_allclose(points(axes), expected, rtol=1e-6)
        assert axes.get_ylim()[1] > 100 * own["disagreement"].max()
    assert "nodes matched" in saved(figure, tmp_path)[0]


def test_without_matching_the_distance_is_that_of_the_weights_as_they_are(runs, tmp_path):
    tables = function_tables(runs, matched=False)
    figure = draw("function", runs, tables, tmp_path)
    axes = panels_of(figure)[1]
    assert "nodes as they are" in saved(figure, tmp_path)[0]
    own = tables[2][tables[2]["width"] == "5"]
    assert [x for x, _ in points(axes)] == own["distance"].tolist()


def test_runs_without_predictions_leave_a_figure_that_says_so(runs, tmp_path):
    tables = function_tables(runs)
    empty = [table.iloc[:0] for table in tables[:3]]
    nothing = tables[3].assign(n_classes_predicted=math.nan)
    figure = draw("function", runs, [*empty, nothing], tmp_path)
    assert "predictions of 0 runs" in saved(figure, tmp_path)[0]


# ---- failures


def test_causes_are_stacked_by_width(tmp_path):
    runs = make_runs([10.0, 10.0, 50.0, 10.0, *[95.0] * 6], widths=("5", "10"))
    figure = draw("failures", runs, failure_tables(runs), tmp_path)
    non, low, *_ = panels_of(figure)
    assert (non.get_title(), low.get_title()) == ("non (n = 3)", "low (n = 1)")
    assert [label.get_text() for label in non.get_xticklabels()] == ["5", "10"]
    assert non.get_ylabel() == "share of the width's runs (%)"
    heights = [bar.get_height() for bar in non.patches]
    assert heights == [100 / 5, 200 / 5]
    assert {bar.get_facecolor()[:3] for bar in non.patches} == {
        to_rgb(failures.COLOURS["dead layer"])
    }
    assert legend_of(figure) == [
        "successful (n = 6)",
        "dead layer (n = 3)",
        "nearly dead layer (n = 1)",
        "non (n = 3)",
    ]


def test_initial_weights_of_failed_runs_stand_by_their_width(tmp_path):
    runs = make_runs([10.0, 10.0, 50.0, 10.0, *[95.0] * 6], widths=("5", "10"))
    tables = failure_tables(runs)
    panels = panels_of(draw("failures", runs, tables, tmp_path))[2:4]
    for axes, layer in zip(panels, ("fc1", "fc3"), strict=True):
        assert axes.get_title() == f"{layer} (n = 10)"
        own = tables[-1][tables[-1]["layer"] == layer]
        for is_non, crosses in ((own["group"] != "non", False), (own["group"] == "non", True)):
            drawn = sorted((x, y) for x, y, _, cross in points_of(axes) if cross == crosses)
            rows = own[is_non]
            expected = zip(rows["width"].map({"5": 0, "10": 1}), rows["initial_std"], strict=True)
            np.testing.assert_allclose(drawn, sorted(expected))


def test_a_group_without_runs_has_no_panel(tmp_path):
    runs = make_runs([50.0, *[95.0] * 6], widths=("5",))
    low, *_ = panels = panels_of(draw("failures", runs, failure_tables(runs), tmp_path))
    assert low.get_title() == "low (n = 1)"
    assert len(panels) == 3  # nothing of initial weights either, since none is non


def test_gradients_are_relative_to_successful_runs_and_dead_units_are_shares(tmp_path):
    runs = make_runs([10.0, 50.0, 95.0, 95.0, 95.0, 95.0], widths=("5",))
    *_, gradient, dead = panels_of(draw("failures", runs, failure_tables(runs), tmp_path))
    by_colour = {line.get_color(): set(line.get_ydata()) for line in gradient.lines}
    dead_layer, nearly = (failures.COLOURS[c] for c in ("dead layer", "nearly dead layer"))
    assert by_colour[failures.SUCCESSFUL] == {1.0}
    assert by_colour[dead_layer] == {0.0}
    assert by_colour[nearly] == {0.25}
    assert gradient.get_yscale() == "symlog"
    shares = {line.get_color(): set(line.get_ydata()) for line in dead.lines}
    assert shares[failures.SUCCESSFUL] == {0.1}
    assert (shares[dead_layer], shares[nearly]) == ({1.0}, {0.8})
    assert (gradient.get_title(), dead.get_title()) == ("failed (n = 2)", "failed (n = 2)")


def test_without_failed_runs_the_figure_says_so(tmp_path):
    runs = make_runs([95.0, 90.0, 88.0])
    figure = draw("failures", runs, failure_tables(runs), tmp_path)
    assert "no run is of the groups non and low" in saved(figure, tmp_path)[0]


def test_without_successful_runs_failures_are_drawn_all_the_same(tmp_path):
    runs = make_runs([10.0, 50.0], widths=("5",))
    figure = draw("failures", runs, failure_tables(runs), tmp_path)
    figure.draw_without_rendering()
    assert legend_of(figure) == ["dead layer (n = 1)", "nearly dead layer (n = 1)", "non (n = 1)"]


def test_colours_of_causes_differ():
    assert len({*failures.COLOURS.values(), failures.SUCCESSFUL}) == len(CAUSES) + 1


# ---- both


MAKERS = {"function": function_tables, "failures": failure_tables}


@pytest.mark.parametrize("name", MAKERS)
def test_no_text_covers_another_and_the_figure_fits_a_page(name, tmp_path):
    accuracies = np.tile([10.0, 50.0, 70.0, 95.0, 96.0], 18)
    runs = make_runs(accuracies, widths=WIDTHS)
    runs.loc[::7, "group"] = "ungrouped"
    figure = draw(name, runs, MAKERS[name](runs), tmp_path)
    assert figure.get_suptitle().endswith(style.title(style.Shown(runs, None)))
    assert collisions_in(figure) == []
    assert all(figure.get_size_inches() <= style.PAGE)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("accuracies", [[50.0], [10.0], [10.0, 10.1, 10.2], [95.0, 50.0]])
def test_odd_populations_are_drawn(name, accuracies, tmp_path):
    runs = make_runs(accuracies, widths=("5x10",))
    draw(name, runs, MAKERS[name](runs), tmp_path).draw_without_rendering()
