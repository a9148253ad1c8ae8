"""Figure of similarity, read back from what is drawn."""

import itertools

import numpy as np
import pytest

from drawings import collisions_in, make_runs, make_similarities, named_panels, panels_of, saved
from weightscape.drawing import style
from weightscape.figures import draw
from weightscape.figures.similarity import RELATIONS
from weightscape.storage.tables import write_table

WIDTHS = ("5", "10", "20", "50", "100", "200")


def draw_table(runs, table, folder):
    write_table(table, folder / "similarity.csv")
    return draw("similarity", [runs], [str(folder / "similarity.csv")], "test")


def test_each_two_groups_have_a_row_with_final_and_initial_means(tmp_path):
    runs = make_runs(np.linspace(10, 99, 24), widths=("5", "10", "20"))
    table = make_similarities(runs)
    panels = named_panels(draw_table(runs, table, tmp_path))
    assert list(panels) == ["fc1 (n = 24)", "fc2 (n = 24)"]
    first = next(iter(panels.values()))
    labels = [label.get_text() for label in first.get_yticklabels()]
    for layer, axes in zip(("fc1", "fc2"), panels.values(), strict=True):
        lines = iter(axes.lines)
        for relation, weights in itertools.product(RELATIONS, ("final", "initial")):
            line = next(lines)
            own = table[(table["layer"] == layer) & (table["widths"] == relation)]
            own = own[own["weights"] == weights]
            np.testing.assert_allclose(line.get_xdata(), own["cka"])
            shown = [labels[round(place)] for place in line.get_ydata()]
            assert shown == (own["group_a"] + " and " + own["group_b"]).tolist()
            assert (line.get_markerfacecolor() == "none") == (weights == "initial")


def test_n_counts_a_group_of_one_run(tmp_path):
    runs = make_runs([10.0, 90.0, 95.0], widths=("5",))
    (axes,) = panels_of(draw_table(runs, make_similarities(runs, ["mlp1"]), tmp_path))
    assert axes.get_title() == "mlp1 (n = 3)"


def test_without_pairs_the_figure_says_so(tmp_path):
    runs = make_runs([50.0])
    figure = draw_table(runs, make_similarities(runs), tmp_path)
    assert "no two runs whose layers' outputs are known" in saved(figure, tmp_path)[0]


@pytest.mark.parametrize("layers", [1, 2, 7])
def test_no_text_covers_another_and_the_figure_fits_a_page(layers, tmp_path):
    runs = make_runs(np.tile([10.0, 50.0, 70.0, 95.0, 96.0], 18), widths=WIDTHS)
    runs.loc[::7, "group"] = "ungrouped"
    table = make_similarities(runs, [f"mlp1_{block}" for block in range(layers)])
    figure = draw_table(runs, table, tmp_path)
    assert collisions_in(figure) == []
    assert all(figure.get_size_inches() <= style.PAGE)
