"""Figures of predictions and of transfer: what is drawn, read back from the artists."""

import itertools

import numpy as np
import pandas as pd
import pytest

from drawings import (
    MIXED,
    bars_of,
    collisions_in,
    is_bar,
    is_blue,
    legend_of,
    make_runs,
    n_in,
    named_panels,
    panels_of,
    places_of,
    points_of,
    predict,
    svg_of,
)
from weightscape.claims.analyses.accuracy_from_weights import FEATURES, INNER
from weightscape.claims.analyses.transfer import CASES
from weightscape.claims.learners import LEARNERS
from weightscape.drawing import style
from weightscape.figures import draw as draw_figure
from weightscape.storage.tables import write_table

pytestmark = pytest.mark.filterwarnings("error")


def draw(runs, folder, **how):
    files = [folder / "accuracy_from_weights.csv", folder / "predicted_accuracy.csv"]
    for table, file in zip(predict(runs, **how), files, strict=True):
        write_table(table, file)
    return draw_figure("accuracy_from_weights", [runs], [str(file) for file in files], "test")


def dots_in(axes):
    """(R2, feature, filled, marker) of each dot, and the ends of each bar, from above."""
    dots, bars = [], []
    for line in axes.lines:
        x, y = np.atleast_1d(line.get_xdata()), np.atleast_1d(line.get_ydata())
        if len(x) == 1:
            filled = line.get_markerfacecolor() != "white"
            what = FEATURES[round(y[0])], filled, line.get_marker()
            dots.append((float(y[0]), float(x[0]), *what))
        elif y[0] == y[1]:
            bars.append((float(y[0]), *map(float, x)))
    return [dot[1:] for dot in sorted(dots)], [bar[1:] for bar in sorted(bars)]


def test_each_case_has_its_dot_and_its_interval(tmp_path):
    runs = make_runs()
    table = predict(runs)[0].set_index(["features", "learner", "validation"])
    panels = named_panels(draw(runs, tmp_path))
    titles = {"r2": "R² over all runs (n = 9)", "r2_within_width": "R² within widths (n = 9)"}
    for column, title in titles.items():
        dots, bars = dots_in(panels[title])
        cases = list(itertools.product(FEATURES, LEARNERS, INNER))
        assert len(dots) == len(bars) == len(cases)
        markers = {"linear": "o", "boosting": "s"}
        for case, dot, bar in zip(cases, dots, bars, strict=True):
            row = table.loc[case]
            features, learner, validation = case
            assert dot[0] == pytest.approx(row[column])
            assert dot[1:] == (features, validation == "nested", markers[learner])
            assert bar == pytest.approx((row[f"{column}_low"], row[f"{column}_high"]))


def test_runs_are_drawn_by_the_better_learner_on_weights(tmp_path):
    runs = make_runs()
    axes = named_panels(draw(runs, tmp_path))["weights, boosting (n = 9)"]
    accuracies = runs["test_accuracy"].sort_values()
    np.testing.assert_allclose(places_of(axes), np.column_stack([accuracies, accuracies + 1]))
    crosses = [x for x, _, colour, is_cross in points_of(axes) if is_cross and is_blue(colour)]
    assert sorted(crosses) == [10.0, 10.4]
    assert n_in(axes) == 9


def test_an_r2_below_the_axis_is_an_arrow_and_a_number(tmp_path):
    figure = draw(make_runs(), tmp_path, within=-7.06)
    axes = named_panels(figure)["R² within widths (n = 9)"]
    assert {dot[3] for dot in dots_in(axes)[0]} == {"<"}
    assert {dot[0] for dot in dots_in(axes)[0]} == {-1.0}
    assert axes.get_xlim()[0] == -1
    assert axes.texts[0].get_text() == "-7.1"


def test_it_says_what_it_shows(tmp_path):
    figure = draw(make_runs(), tmp_path)
    what, runs = figure.get_suptitle().split("\n")
    assert what == "Accuracy predicted from weights"
    assert runs == "DNN on MNIST: n = 9 runs, 2 of them non"
    assert any(text.endswith("non (n = 2)") for text in legend_of(figure))
    assert "linear, runs of a new width" in legend_of(figure)
    assert bars_of(figure) == ["width"]
    last = panels_of(figure)[-1]
    assert (last.get_xlabel(), last.get_ylabel()) == ("final test accuracy (%)", "predicted (%)")


CASES_OF_RUNS = {
    "usual": make_runs(widths=("5", "10", "20", "50", "100", "200")),
    "widths of two layers": make_runs(widths=("5x10", "20x50", "100x5")),
    "all non": make_runs([10.0, 10.1, 10.2]),
    "one run": make_runs([50.0]),
    "many": pd.concat([make_runs(MIXED)] * 60, ignore_index=True),
}


@pytest.mark.parametrize("case", CASES_OF_RUNS)
def test_populations_are_drawn_without_collisions(case, tmp_path):
    figure = draw(CASES_OF_RUNS[case], tmp_path)
    assert collisions_in(figure) == []
    assert all(figure.get_size_inches() <= style.PAGE)
    assert (svg_of(figure).count("<image") > 1) == (case == "many")


def test_a_population_too_small_is_an_empty_figure(tmp_path):
    runs = make_runs([50.0, 90.0])
    table, predicted = predict(runs, r2=np.nan, within=np.nan, n=0)
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    write_table(table, files[0])
    write_table(predicted[:0], files[1])
    figure = draw_figure("accuracy_from_weights", [runs], [str(file) for file in files], "test")
    figure.draw_without_rendering()
    assert [n_in(axes) for axes in panels_of(figure)] == [0, 0, 0]


# transfer


def transfer(names):
    """0.01 more with each pair; within widths its negative, over half of the runs."""
    pairs = itertools.product(names, names)
    rows = [
        {
            "trained_model": trained[0],
            "trained_dataset": trained[1],
            "model": other[0],
            "dataset": other[1],
            "features": features,
            "learner": learner,
            "n_trained": 100,
            "n": 100,
            "pooled": 0.01 * number,
            "n_within": 50,
            "within": np.nan if features == "width" else -0.01 * number,
        }
        for number, (trained, other) in enumerate(pairs)
        for features, learner in CASES
    ]
    return pd.DataFrame(rows)


NINE = list(itertools.product(("dnn", "cnn", "vit"), ("mnist", "fmnist", "cifar10")))


def draw_transfer(names, folder):
    write_table(transfer(names), folder / "transfer.csv")
    return draw_figure("transfer", [], [str(folder / "transfer.csv")], "test")


def test_cells_hold_the_correlations_and_panels_their_n(tmp_path):
    panels = named_panels(draw_transfer(NINE[:2], tmp_path))
    assert list(panels) == [
        "width (linear), all runs (n = 200)",
        "weights (linear), all runs (n = 200)",
        "weights (linear), within widths (n = 100)",
        "weights (boosting), all runs (n = 200)",
        "weights (boosting), within widths (n = 100)",
    ]
    cells = [text.get_text() for text in panels["weights (linear), all runs (n = 200)"].texts]
    assert cells == ["0.00", "0.01", "0.02", "0.03"]  # row by row: learned on, then predicted
    cells = [text.get_text() for text in panels["weights (linear), within widths (n = 100)"].texts]
    assert cells == ["-0.00", "-0.01", "-0.02", "-0.03"]
    labels = [text.get_text() for axes in panels.values() for text in axes.get_xticklabels()]
    assert labels[:2] == ["DNN MNIST\nn = 100", "DNN Fashion-MNIST\nn = 100"]
    assert labels[-1] == "DNN Fashion-MNIST\nn = 50"


@pytest.mark.parametrize("n", [2, 4, 9])
def test_matrices_of_any_size_fit_a_page_without_collisions(n, tmp_path):
    figure = draw_transfer(NINE[:n], tmp_path)
    assert collisions_in(figure) == []
    assert all(figure.get_size_inches() <= style.PAGE)
    assert sum(map(is_bar, figure.axes)) == 1


def test_populations_that_taught_nothing_have_empty_cells(tmp_path):
    table = transfer(NINE[:2]).assign(n=0, n_within=0, pooled=np.nan, within=np.nan)
    write_table(table, tmp_path / "transfer.csv")
    figure = draw_figure("transfer", [], [str(tmp_path / "transfer.csv")], "test")
    figure.draw_without_rendering()
    panels = named_panels(figure)
    assert "weights (linear), within widths (n = 0)" in panels
    assert {text.get_text() for axes in panels.values() for text in axes.texts} == {"-"}
