"""Figure of reliability, read back from what is drawn."""

import math

import numpy as np
import pytest

from drawings import collisions_in, make_reliabilities, make_runs, panels_of, saved
from weightscape.drawing import style
from weightscape.figures import draw
from weightscape.figures.reliability import LOWEST, RUNS
from weightscape.storage.tables import write_table

WIDTHS = ("5", "10", "20", "50", "100", "200")


def draw_table(runs, table, folder):
    write_table(table, folder / "reliability.csv")
    return draw("reliability", [runs], [str(folder / "reliability.csv")], "test")


def test_each_width_has_a_point_and_an_interval_of_both_kinds_of_runs(tmp_path):
    runs = make_runs(np.linspace(50, 99, 30), widths=WIDTHS[::-1])
    table = make_reliabilities(runs)
    (axes,) = panels_of(draw_table(runs, table, tmp_path))
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"{w}\n5" for w in WIDTHS]
    for (name, (colour, *_)), line, bars in zip(
        RUNS.items(), axes.lines, axes.collections, strict=True
    ):
        own = table[table["runs"] == name].set_index("width").loc[list(WIDTHS)]
        assert line.get_color() == colour
        np.testing.assert_allclose(line.get_ydata(), own["reliability"])
        ends = [segment[:, 1] for segment in bars.get_segments()]
        np.testing.assert_allclose(ends, own[["reliability_low", "reliability_high"]])
    assert axes.get_ylim()[0] == LOWEST
    assert axes.get_title().endswith("(n = 30)")


def test_a_point_below_the_usual_axis_is_in_the_figure(tmp_path):
    runs = make_runs(np.linspace(50, 99, 30), widths=WIDTHS)
    table = make_reliabilities(runs)
    table.loc[table.index[0], ["reliability", "reliability_low"]] = -0.75, -3
    (axes,) = panels_of(draw_table(runs, table, tmp_path))
    assert -0.9 < axes.get_ylim()[0] < -0.75


def test_without_predictions_the_figure_says_so(tmp_path):
    runs = make_runs([50.0, 60.0], widths=("5",))
    figure = draw_table(runs, make_reliabilities(runs).assign(n=0, reliability=math.nan), tmp_path)
    assert "predictions of 0 runs" in saved(figure, tmp_path)[0]


@pytest.mark.parametrize("widths", [("5x10",), WIDTHS, tuple(map(str, range(1, 25)))])
def test_no_text_covers_another_and_the_figure_fits_a_page(widths, tmp_path):
    runs = make_runs(np.linspace(5, 99, 48), widths=widths)
    figure = draw_table(runs, make_reliabilities(runs), tmp_path)
    assert collisions_in(figure) == []
    assert all(figure.get_size_inches() <= style.PAGE)
