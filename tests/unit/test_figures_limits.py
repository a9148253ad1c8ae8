"""Axes of all figures hold what is drawn, whatever the data; what is far stands at their edges."""

import numpy as np
import pandas as pd
import pytest

from drawings import (
    LAYERS,
    MAKERS,
    MIXED,
    collisions_in,
    curves_of,
    dots_beyond,
    legend_of,
    make_curves,
    make_figure,
    make_runs,
    make_spectra,
    make_statistics,
    n_in,
    named_panels,
    panels_of,
    points_of,
)
from weightscape.drawing import style
from weightscape.drawing.style import Shown
from weightscape.figures import convergence, projection_widths, spectra, statistics

pytestmark = pytest.mark.filterwarnings("error")

ALL = sorted(MAKERS)
GRIDS = ("convergence", "statistics", "strength", "projection")
UNITLESS = ("nulls", "projection", "projection_widths")  # correlations and maps
SCATTERS = ("statistics", "strength", "spectra", "projection", "projection_widths")
NUMBERS = {
    "mean",
    "std",
    "initial_std",
    "gini",
    "relative_mean",
    "in_out_pearson",
    "stable_rank",
    "effective_rank",
    "spectral_norm",
    "log_determinant",
    "x",
    "y",
    "train_loss",
    "gradient_norm",
    "predicted",
    "distance",
    "matched_distance",
}
"""columns of numbers that may be anything"""


def spoil(table, change):
    """The table with `change` of each column of NUMBERS, and of the table."""
    return table.assign(**{c: change(table[c], table) for c in NUMBERS & set(table)})


def of_run(table, seed):
    return table["seed"] == seed if "seed" in table else table["seed_a"] == seed


def drawn_in(axes):
    """What the title of a panel says that n is, or nothing for a panel of nothing."""
    return n_in(axes) if "n = " in axes.get_title() else 0


def is_non(table):
    return (table["group"] == "non") if "group" in table else np.zeros(len(table), bool)


SPOILT = {
    "as it is": lambda v, t: v,
    "an outlier above": lambda v, t: v.mask(of_run(t, 3), 1e4),
    "an outlier far below": lambda v, t: v.mask(of_run(t, 3), -1e9),
    "two outliers": lambda v, t: v.mask(of_run(t, 3), 1e3).mask(of_run(t, 5), -1e3),
    "all the same": lambda v, t: 0 * v + 0.25,
    "none but one run": lambda v, t: v.where(of_run(t, 3)),
    "a third is lost": lambda v, t: v.mask(np.arange(len(v)) % 3 == 0),
    "non is zero": lambda v, t: v.mask(is_non(t), 0.0),
    "non is far": lambda v, t: v.mask(is_non(t), 1e6),
    "non is below": lambda v, t: v.mask(is_non(t), -40.0),
    "a small range far from zero": lambda v, t: 97.9 + 0.01 * np.sin(np.arange(len(v))) + 0 * v,
    "tiny": lambda v, t: 1e-9 * v,
}
RUNS = {
    "nine runs": make_runs(),
    "sixty runs": make_runs(np.linspace(10, 99, 60), widths=("5", "10", "20", "50")),
    "small range of accuracy": make_runs([10.0, *np.linspace(97.88, 97.99, 29)]),
}


@pytest.mark.parametrize("name", [name for name in ALL if name not in UNITLESS])
@pytest.mark.parametrize("case", SPOILT)
def test_points_lie_inside_their_axes_whatever_the_numbers(name, case, tmp_path):
    layers = ["fc1", "fc2"] if name == "strength" else ["fc1"]
    figure = make_figure(
        name, [RUNS["nine runs"]], tmp_path, layers, spoil=lambda t: spoil(t, SPOILT[case])
    )
    assert dots_beyond(figure) == []
    if name in SCATTERS:
        assert all(len(points_of(axes)) == drawn_in(axes) for axes in panels_of(figure))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "runs",
    [
        make_runs([50.0]),
        make_runs([10.0]),
        make_runs([10.0, 10.1, 10.2]),
        make_runs([50.0] * 6, widths=("20",)),
        make_runs(widths=("20x50", "5x10")),
        RUNS["small range of accuracy"],
    ],
    ids=["one", "one non", "all non", "one width", "two layers", "small range"],
)
def test_points_lie_inside_their_axes_whatever_the_runs(name, runs, tmp_path):
    figure = make_figure(name, [runs], tmp_path, ["fc1", "fc2"])
    assert dots_beyond(figure) == []
    assert collisions_in(figure) == []


@pytest.mark.parametrize(
    ("name", "case", "model"),
    [
        *((name, "as it is", "vit") for name in GRIDS),
        *((name, case, "cnn") for name in GRIDS if name not in UNITLESS for case in SPOILT),
    ],
)
def test_points_of_all_datasets_lie_inside_the_axes_that_they_share(name, case, model, tmp_path):
    tables = [
        make_runs(MIXED[:n], model, dataset)
        for n, dataset in ((4, "mnist"), (6, "fmnist"), (9, "cifar10"))
    ]
    scales = iter([1.0, 30.0, 0.01])

    def spoilt(table):
        scale = next(scales)
        return spoil(table, lambda v, t: scale * SPOILT[case](v, t))

    figure = make_figure(name, tables, tmp_path, LAYERS[model], spoil=spoilt)
    assert dots_beyond(figure) == []
    if name in SCATTERS:
        assert all(len(points_of(axes)) == drawn_in(axes) for axes in panels_of(figure))


@pytest.mark.parametrize("name", ["strength", "spectra", "function", "failures"])
@pytest.mark.parametrize(
    "case", ["an outlier far below", "non is far", "a small range far from zero", "tiny"]
)
def test_numbers_at_ticks_and_names_of_outliers_do_not_collide(name, case, tmp_path):
    runs = RUNS["small range of accuracy"].assign(model="vit")
    layers = LAYERS["vit"][:4]
    figure = make_figure(name, [runs], tmp_path, layers, spoil=lambda t: spoil(t, SPOILT[case]))
    assert collisions_in(figure) == []
    for axes in panels_of(figure):
        for axis in (axes.xaxis, axes.yaxis):
            assert not axis.get_offset_text().get_text()


# what is far


def draw_outlier(change, runs=RUNS["sixty runs"]):
    table = make_statistics(runs, ["fc1"])
    change(table)
    figure = statistics.draw([Shown(runs, table)], "test")
    figure.draw_without_rendering()
    return table, figure, named_panels(figure)[f"fc1 (n = {len(runs)})"]


def names_in(axes):
    legend = axes.get_legend()
    return [text.get_text().replace("\n", " ") for text in legend.get_texts()] if legend else []


def test_an_outlier_is_named_at_the_edge_and_flattens_nothing():
    def change(table):
        table.loc[table["seed"] == 30, "std"] = 123.4

    table, figure, axes = draw_outlier(change)
    others = table.loc[table["seed"] != 30, "std"]
    assert axes.get_ylim()[1] - axes.get_ylim()[0] < 1.3 * (others.max() - others.min())
    width = table.loc[table["seed"] == 30, "width"].iloc[0]
    assert names_in(axes) == [f"width {width}, seed 30: 123.4"]
    assert style.FAR_RULE in legend_of(figure)
    (triangle,) = [a for a in axes.collections if a.get_label() == style.FAR_RULE]
    ((x, y),) = triangle.get_offset_transform().transform(triangle.get_offsets())
    assert axes.bbox.y1 - 10 < y < axes.bbox.y1
    expected = table.loc[table["seed"] == 30, "mean"].iloc[0]
    assert axes.transData.inverted().transform((x, y))[0] == pytest.approx(expected)


def test_many_that_are_far_are_no_outliers():
    def change(table):
        table.loc[table["seed"] % 5 == 4, "std"] = 50.0  # a fifth of the runs

    _, figure, axes = draw_outlier(change)
    assert names_in(axes) == []
    assert axes.get_ylim()[1] > 50
    assert style.FAR_RULE not in legend_of(figure)


def test_what_is_far_and_flattens_nothing_is_no_outlier():
    def change(table):
        # the middle half is 0.5 to 1.5, and so beyond -4.5 and 6.5 it is far
        table["std"] = [-4.4, *np.linspace(0, 2, len(table) - 3), 6.4, 7.0]

    _, _, axes = draw_outlier(change)
    assert names_in(axes) == []
    assert axes.get_ylim()[1] > 7


def test_runs_without_an_outlier_have_no_triangles():
    _, figure, axes = draw_outlier(lambda table: None)
    assert names_in(axes) == []
    assert legend_of(figure) == ["non (n = 4)"]


def test_failed_runs_that_are_far_are_one_line_however_many():
    runs = make_runs([10.0] * 20 + np.linspace(60, 99, 40).tolist())

    def change(table):
        table.loc[table["group"] == "non", "std"] = np.linspace(7, 9, 20)

    _, _, axes = draw_outlier(change, runs)
    assert axes.get_ylim()[1] < 1
    assert names_in(axes) == ["non (n = 20): 7 to 9"]
    assert len(points_of(axes)) == 60


def test_more_outliers_than_have_room_are_counted():
    def change(table):
        table.loc[table["seed"].isin([30, 35, 40, 45, 50]), "mean"] = -8.0

    _, _, axes = draw_outlier(change)
    assert len(names_in(axes)) == 4
    assert names_in(axes)[-1] == "and 2 more"


def test_accuracies_are_held_by_the_same_rule():
    runs = RUNS["small range of accuracy"]
    figure = spectra.draw(Shown(runs, make_spectra(runs, ["fc1"])), "test")
    axes = panels_of(figure)[0]
    assert axes.get_xlim()[0] > 97.8
    assert names_in(axes) == ["non, width 5, seed 0: 10"]


# logarithmic axes


@pytest.mark.parametrize("loss", [0.0, -1.0, 1e12, np.inf, 1e-12])
def test_losses_of_failed_runs_are_on_the_axis_whatever_they_are(loss):
    runs = make_runs()
    table = make_curves(runs)
    table.loc[table["group"] == "non", "train_loss"] = loss
    (axes,) = panels_of(convergence.draw([Shown(runs, table)], "test"))
    low, high = axes.get_ylim()
    converged = table.loc[table["group"] != "non", "train_loss"]
    assert converged.min() / 3 < low < converged.min()
    assert converged.max() < high < 3 * converged.max()
    drawn = np.concatenate([points[:, 1] for points, _ in curves_of(axes)])
    assert len(drawn) == len(table)
    assert ((low < drawn) & (drawn < high)).all()
    assert [text.get_text() for text in axes.texts] == ["at the edge: beyond the axis"]


# maps


def test_maps_of_a_width_are_coloured_within_the_width():
    accuracies = [*np.linspace(20, 30, 8), *np.linspace(98.0, 98.7, 8)]
    runs = make_runs(accuracies).assign(width=["5"] * 8 + ["20"] * 8)
    table = MAKERS["projection_widths"](runs, ["fc1"])
    figure = projection_widths.draw(Shown(runs, table), "test")
    ends = [style.ACCURACY_COLOURS(end)[:3] for end in (0.0, 1.0)]
    for axes in panels_of(figure):
        colours = [colour for _, _, colour, _ in points_of(axes)]
        np.testing.assert_allclose([colours[0], colours[-1]], ends, atol=0.01)
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    np.testing.assert_allclose([axes.get_xlim() for axes in bars], [(20, 30), (98.0, 98.7)])


# titles


WORDS = {
    "accuracy_from_weights": "accuracy predicted from weights",
    "barrier": "barriers on the line",
    "convergence": "training loss",
    "failures": "failed",
    "function": "disagreement",
    "nulls": "null models",
    "projection": "t-sne",
    "projection_widths": "t-sne",
    "reliability": "ranking of runs by test accuracy",
    "similarity": "represent the test images",
    "spectra": "singular values",
    "statistics": "mean and standard deviation",
    "strength": "strength",
    "telemetry": "gradient norms",
}


@pytest.mark.parametrize("name", ALL)
def test_every_title_says_what_is_shown_and_of_which_runs(name, tmp_path):
    title = make_figure(name, [make_runs()], tmp_path).get_suptitle()
    what, _, runs = title.rpartition("\n")
    assert WORDS[name] in what.replace("\n", " ").lower()
    assert runs == "DNN on MNIST: n = 9 runs, 2 of them non"


def test_the_title_of_a_study_names_its_models():
    tables = [make_runs(model=model) for model in ("dnn", "cnn")]
    figure = convergence.draw([Shown(runs, make_curves(runs)) for runs in tables], "test")
    assert figure.get_suptitle().endswith("\nDNN, CNN: n = 18 runs, 4 of them non")
    assert pd.concat(tables)["group"].eq("non").sum() == 4
