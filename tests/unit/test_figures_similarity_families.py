"""Figure of similarity of families, read back from what is drawn."""

import itertools

import numpy as np
import pandas as pd
import pytest

from drawings import collisions_in, dots_beyond, make_runs, named_panels, saved
from weightscape.claims.analyses.similarity_families import COLUMNS
from weightscape.drawing import style
from weightscape.figures import draw
from weightscape.figures.similarity_families import MARKS
from weightscape.storage.tables import write_table

FAMILIES = ("dnn", "cnn", "vit")


def make_table(datasets):
    random, rows = np.random.default_rng(0), []
    for dataset, weights in itertools.product(datasets, ("final", "initial")):
        for one, other in itertools.permutations(FAMILIES, 2):
            for last in (False, True):
                cka, others = random.uniform(0.2, 0.9, 2)
                of = {"dataset": dataset, "weights": weights, "is_last": last, "n_high": 12}
                names = {"model": one, "reference_model": other, "layer": "a"}
                found = {"cka": cka, "cka_low": cka - 0.1, "cka_high": cka + 0.1}
                rows.append(of | names | found | {"cka_others": others})
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def draw_table(table, folder):
    path = folder / "similarity_families.csv"
    write_table(table, path)
    return draw("similarity_families", [make_runs([50.0])], [str(path)], "test")


def test_each_two_families_have_a_row_of_their_last_layers(tmp_path):
    table = make_table(["mnist", "fmnist"])
    panels = named_panels(draw_table(table, tmp_path))
    assert list(panels) == ["MNIST", "Fashion-MNIST"]
    for dataset, axes in zip(("mnist", "fmnist"), panels.values(), strict=True):
        own = table[(table["dataset"] == dataset) & table["is_last"]]
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert labels[0] == "DNN (n = 12)\nand high CNN"
        assert len(labels) == 6
        lines = iter(axes.lines)
        for pair in itertools.permutations(FAMILIES, 2):
            for column, weights, *_ in MARKS.values():
                line = next(lines)
                is_shown = (own[["model", "reference_model"]] == list(pair)).all(axis=1)
                expected = own.loc[is_shown & (own["weights"] == weights), column].item()
                assert line.get_xdata() == pytest.approx([expected])
                assert line.get_ydata() == [list(itertools.permutations(FAMILIES, 2)).index(pair)]


def test_without_two_families_the_figure_says_so(tmp_path):
    figure = draw_table(make_table([]), tmp_path)
    assert "no two families on one dataset" in saved(figure, tmp_path)[0]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_text_covers_another_and_the_figure_fits_a_page(n, tmp_path):
    figure = draw_table(make_table(["mnist", "fmnist", "cifar10"][:n]), tmp_path)
    assert collisions_in(figure) == []
    assert dots_beyond(figure) == []
    assert all(figure.get_size_inches() <= style.PAGE)
