"""Figure of barriers, read back from what is drawn."""

import math

import numpy as np
import pytest

from drawings import collisions_in, make_barriers, make_runs, panels_of, points_of, saved
from weightscape.drawing import style
from weightscape.figures import draw
from weightscape.storage.tables import write_table

WIDTHS = ("5", "10", "20", "50", "100", "200")


def draw_table(runs, table, folder):
    write_table(table, folder / "barrier.csv")
    return draw("barrier", [runs], [str(folder / "barrier.csv")], "test")


def test_each_run_has_a_point_before_and_one_after_matching(tmp_path):
    runs = make_runs(np.linspace(10, 99, 24), widths=("5", "10", "20"))
    table = make_barriers(runs)
    for axes, name in zip(
        panels_of(draw_table(runs, table, tmp_path)), ("loss", "error"), strict=True
    ):
        assert axes.get_title() == f"barrier of test {name} (n = 24)"
        shown = sorted((round(x), y) for x, y, *_ in points_of(axes))
        places = runs["width"].map({"5": 0, "10": 1, "20": 2})
        both = (table[f"{prefix}{name}_barrier"] for prefix in ("", "matched_"))
        expected = sorted(
            (place, y) for values in both for place, y in zip(places, values, strict=True)
        )
        np.testing.assert_allclose(shown, expected, rtol=1e-6)


@pytest.mark.parametrize("column", ["loss_barrier", "matched_loss_barrier"])
def test_what_is_not_there_is_not_drawn(column, tmp_path):
    runs = make_runs([50.0, 60.0, 95.0], widths=("5",))
    table = make_barriers(runs).assign(**{column: math.nan})
    figure = draw_table(runs, table, tmp_path)
    text = saved(figure, tmp_path)[0]
    assert ("no two runs of a width" in text) == (column == "loss_barrier")
    assert "nodes matched" not in text


def test_an_empty_table_is_drawn(tmp_path):
    runs = make_runs([50.0])
    draw_table(runs, make_barriers(runs).iloc[:0], tmp_path).draw_without_rendering()


@pytest.mark.parametrize("widths", [("5x10",), WIDTHS, tuple(map(str, range(1, 25)))])
def test_no_text_covers_another_and_the_figure_fits_a_page(widths, tmp_path):
    runs = make_runs(np.linspace(5, 99, 48), widths=widths)
    figure = draw_table(runs, make_barriers(runs), tmp_path)
    assert collisions_in(figure) == []
    assert all(figure.get_size_inches() <= style.PAGE)
