"""Figures: what is drawn, read back from the artists and the files."""

import functools
import itertools
import re
import statistics as stdlib
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb

from drawings import (
    DEUTERANOPIA,
    LAYERS,
    MIXED,
    bars_of,
    collisions_in,
    curves_of,
    is_blue,
    legend_of,
    lightness,
    limits_of,
    make_curves,
    make_figure,
    make_null_effects,
    make_runs,
    make_spectra,
    make_statistics,
    make_strength,
    make_telemetry,
    n_in,
    named_panels,
    panels_of,
    places_of,
    points_of,
    saved,
    svg_of,
    to_lab,
)
from weightscape.drawing import style
from weightscape.drawing.style import Shown
from weightscape.figures import convergence, nulls, spectra, statistics, strength, telemetry
from weightscape.study.sections import GROUPS

pytestmark = pytest.mark.filterwarnings("error")

# the figures that show runs, and not effects
OF_RUNS = (
    "convergence",
    "telemetry",
    "statistics",
    "density",
    "strength",
    "spectra",
    "projection",
    "projection_widths",
)
GRIDS = ("convergence", "statistics", "density", "strength", "projection")
DATASETS = ("mnist", "fmnist", "cifar10")
OTHERS = ((90.0, 40.0, 70.0), (10.0, 50.0, 97.0, 88.0), MIXED)


@pytest.fixture
def runs():
    """Nine runs; those of the rows 1 and 4 did not converge."""
    return make_runs()


def several(model="dnn", n=3):
    pairs = zip(OTHERS, DATASETS, strict=True)
    return [make_runs(accuracies, model, dataset) for accuracies, dataset in pairs][:n]


def draw_curves(runs, split="test", **changes):
    return convergence.draw([Shown(runs, make_curves(runs).assign(**changes))], split)


def lines_of(axes):
    """Colour -> (x, y) of each line that is a median, by the colour of its group."""
    return {line.get_color(): line.get_data() for line in axes.lines}


# every figure


@pytest.mark.parametrize("name", OF_RUNS)
def test_every_panel_states_the_n_that_it_draws(name, runs, tmp_path):
    of_width = {"projection_widths": 3}
    for axes in panels_of(make_figure(name, [runs], tmp_path)):
        assert n_in(axes) == of_width.get(name, len(runs))


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_has_a_panel_per_dataset_with_its_own_n(name, tmp_path):
    tables = [
        pd.concat([make_runs(MIXED, dataset=dataset)] * k, ignore_index=True)
        for k, dataset in enumerate(DATASETS, 1)
    ]
    tables = [table.assign(seed=table.index) for table in tables]
    figure = make_figure(name, tables, tmp_path, ["fc1", "fc2"])
    assert {n_in(axes) for axes in panels_of(figure)} == {9, 18, 27}


@pytest.mark.parametrize("name", OF_RUNS)
def test_runs_that_did_not_converge_are_counted_above_and_in_the_legend(name, runs, tmp_path):
    figure = make_figure(name, [runs], tmp_path, ["fc1", "fc2"])
    assert any(text.endswith("non (n = 2)") for text in legend_of(figure))
    *what, runs = figure.get_suptitle().split("\n")
    assert len(" ".join(what)) > 10
    assert runs == "DNN on MNIST: n = 9 runs, 2 of them non"


@pytest.mark.parametrize("name", GRIDS)
def test_the_legend_of_a_grid_counts_the_runs_of_all_datasets(name, tmp_path):
    tables = [make_runs(MIXED, dataset=dataset) for dataset in DATASETS]
    assert any(
        text.endswith("non (n = 6)")
        for text in legend_of(make_figure(name, tables, tmp_path, ["fc1", "fc2"]))
    )


@pytest.mark.parametrize("name", OF_RUNS)
def test_without_failed_runs_the_legend_names_none(name, tmp_path):
    runs = make_runs([90.0, 50.0, 70.0, 40.0])
    figure = make_figure(name, [runs], tmp_path, ["fc1", "fc2"])
    assert not any("non" in text.split() for text in legend_of(figure))


LABELS = {
    "convergence": ({"epoch (0: before training)"}, {"training loss (nats per image)"}),
    "telemetry": (
        {"epoch (0: before training)"},
        {"dead units (share of the layer)", "gradient norm (L2)"},
    ),
    "density": ({"weight w", "(w - mean) / std"}, {"density"}),
    "strength": (
        {"mean S of fc1", "mean S / that of\na Gaussian layer", "final test accuracy (%)"},
        {
            "mean S of fc2",
            "Gini of S over nodes",
            "Pearson's r over nodes\nof in and out strength",
        },
    ),
    "spectra": ({"final test accuracy (%)"}, {"fc1", "fc2"}),
    "nulls": ({"Spearman's correlation"}, set()),
    "function": (
        {"disagreement (% of test images)"},
        {"disagreement\n(% of test images)"},
    ),
    "projection": (set(), {"fc1", "fc2"}),
    "projection_widths": (
        set(),
        {f"{n}\n{how}" for n in ("fc1", "fc2") for how in ("as it is", "nodes matched")},
    ),
}


@pytest.mark.parametrize("name", LABELS)
def test_axes_say_what_they_show_in_which_units(name, runs, tmp_path):
    panels = panels_of(make_figure(name, [runs], tmp_path, ["fc1", "fc2"]))
    assert {axes.get_xlabel() for axes in panels} - {""} == LABELS[name][0]
    assert {axes.get_ylabel() for axes in panels} - {""} == LABELS[name][1]


@pytest.mark.parametrize(
    "name", ["convergence", "statistics", "strength", "projection", "projection_widths"]
)
def test_the_bar_of_colours_names_the_split_of_the_config(name, runs, tmp_path):
    figure = make_figure(name, [runs], tmp_path, ["fc1", "fc2"], split="train")
    assert "final train accuracy (%)" in bars_of(figure)
    assert "final test accuracy (%)" not in bars_of(figure)


OF_ONE = ("telemetry", "statistics", "strength", "spectra", "nulls", "projection_widths")
CROWDED = [(name, "dnn", 1) for name in ("convergence", "density", "projection")]
CROWDED += [(name, "vit", 1) for name in OF_ONE] + [(name, "vit", 3) for name in GRIDS]


@pytest.mark.parametrize(("name", "model", "n"), CROWDED)
def test_no_text_covers_another_and_the_figure_fits_a_page(name, model, n, tmp_path):
    tables = [
        make_runs(MIXED, model, dataset, widths=("10", "20", "50", "100", "200", "400"))
        for dataset in DATASETS[:n]
    ]
    figure = make_figure(name, tables, tmp_path, LAYERS[model])
    assert collisions_in(figure) == []
    assert all(figure.get_size_inches() <= style.PAGE)


@pytest.mark.parametrize("name", ["convergence", "telemetry", "density"])
def test_a_legend_of_five_groups_finds_room_in_the_narrowest_figure(name, tmp_path):
    runs = make_runs(np.linspace(20, 99, 5)).assign(group=list(GROUPS))
    figure = make_figure(name, [runs], tmp_path, ["fc1"])
    assert len(legend_of(figure)) >= 5
    assert collisions_in(figure) == []


CASES = {
    "one run": make_runs([50.0]),
    "one run that is non": make_runs([10.0]),
    "one width, one accuracy": make_runs([50.0] * 4, widths=("20",)),
    "widths of two layers": make_runs(widths=("5x10", "20x50", "100x5")),
    "all non": make_runs([10.0, 10.1, 10.2]),
    "an accuracy of NaN": make_runs([50.0, 90.0, 70.0, 10.0]).assign(
        test_accuracy=[50.0, np.nan, 70.0, 10.0]
    ),
    "all accuracies NaN": make_runs([50.0, 90.0]).assign(test_accuracy=np.nan),
}


@pytest.mark.parametrize("name", OF_RUNS)
@pytest.mark.parametrize("case", CASES)
def test_odd_populations_are_drawn(case, name, tmp_path):
    layers = ["fc1", "fc2"] if name == "strength" else ["fc1"]
    figure = make_figure(name, [CASES[case]], tmp_path, layers)
    figure.draw_without_rendering()
    by_group = name in ("convergence", "telemetry", "density")
    for axes in panels_of(figure):
        assert n_in(axes) == (len(CASES[case]) if by_group else len(points_of(axes)))


@pytest.mark.parametrize("name", GRIDS)
def test_a_dataset_of_failed_runs_stands_beside_others(name, tmp_path):
    tables = [CASES["all non"], CASES["one width, one accuracy"].assign(dataset="fmnist")]
    make_figure(name, tables, tmp_path, ["fc1", "fc2"]).draw_without_rendering()


BY_RUN = ("convergence", "statistics", "strength", "spectra", "projection")  # an artist per run


def draw_many(name, n, folder):
    runs = make_runs(np.linspace(10, 99, n), widths=("5", "10"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "MANY", 220)
        return saved(make_figure(name, [runs], folder, ["fc1", "fc2"]), folder)


@pytest.fixture(scope="module")
def files_of(tmp_path_factory):
    """(svg, png) of a figure of so many runs; each is drawn once."""
    return functools.cache(lambda name, n: draw_many(name, n, tmp_path_factory.mktemp("figures")))


@pytest.mark.parametrize("name", BY_RUN)
def test_hundreds_of_runs_are_images_inside_the_svg_and_a_few_are_not(name, files_of):
    few, many = (files_of(name, n)[0] for n in (6, 250))
    assert few.count("<image") == (2 if name == "projection" else 1)  # the bars of colours
    assert many.count("<image") > few.count("<image")
    assert many.count("<use") + many.count("<path") < 200  # nothing else for each run


@pytest.mark.parametrize("name", BY_RUN)
def test_the_same_data_give_the_same_bytes(name, files_of, tmp_path):
    assert draw_many(name, 6, tmp_path) == files_of(name, 6)
    assert "dc:date" not in files_of(name, 6)[0]


def test_the_png_has_the_dots_per_inch_of_the_config(runs, tmp_path):
    figure = draw_curves(runs)
    _, png = saved(figure, tmp_path, dpi=50)
    size = struct.unpack(">2I", png[16:24])
    assert size == tuple(int(50 * inches) for inches in figure.get_size_inches())


def test_text_in_the_svg_is_text(runs):
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg_of(draw_curves(runs)))
    assert "training loss (nats per image)" in texts
    assert "median of non (n = 2)" in texts


# colours


def test_more_accuracy_is_darker_and_never_blue():
    scale = style.accuracy_scale(make_runs([20.0, 100.0]), "test")
    colours = [scale.to_rgba(accuracy)[:3] for accuracy in np.linspace(20, 100, 50)]
    assert not any(map(is_blue, colours))
    assert (np.diff([lightness(colour) for colour in colours]) < 0).all()
    assert lightness(colours[0]) - lightness(colours[-1]) > 40


def test_the_scale_of_accuracies_is_of_the_converged_runs(runs):
    assert style.accuracy_scale(runs, "test").get_clim() == (40, 97)
    assert style.accuracy_scale(runs, "train").get_clim() == (10, 97)


def test_better_groups_are_darker_and_only_failed_runs_are_blue():
    low, mid, high = (to_rgb(style.GROUP_COLOURS[group]) for group in ("low", "mid", "high"))
    assert lightness(low) > lightness(mid) + 15
    assert lightness(mid) > lightness(high) + 15
    assert [name for name in GROUPS if is_blue(to_rgb(style.GROUP_COLOURS[name]))] == ["non"]


@pytest.mark.parametrize("seen_through", [None, DEUTERANOPIA], ids=["usual", "deuteranopia"])
@pytest.mark.parametrize("pair", list(itertools.combinations(GROUPS, 2)), ids="-".join)
def test_groups_stay_apart_for_all_eyes(pair, seen_through):
    one, other = (to_lab(to_rgb(style.GROUP_COLOURS[group]), seen_through) for group in pair)
    assert np.linalg.norm(one - other) > 18


def test_groups_differ_in_their_lines_too():
    assert len({str(style.GROUP_LINES[group]) for group in GROUPS}) == len(GROUPS)


def test_the_colours_of_lab_are_those_of_the_literature():
    """White, black and pure red (Lindbloom's calculator, sRGB, D65)."""
    np.testing.assert_allclose(to_lab((1, 1, 1)), (100, 0, 0), atol=0.02)
    np.testing.assert_allclose(to_lab((0, 0, 0)), (0, 0, 0), atol=0.02)
    np.testing.assert_allclose(to_lab((1, 0, 0)), (53.24, 80.09, 67.20), atol=0.02)


def test_widths_are_coloured_by_their_size_or_by_their_order():
    scale, numbers = style.width_scale(make_runs(widths=("100", "5", "20")))
    assert numbers == {"5": 5, "20": 20, "100": 100}
    assert scale.get_clim() == (5, 100)
    _, numbers = style.width_scale(make_runs(widths=("100x5", "20x50", "20x6")))
    assert numbers == {"20x6": 1, "20x50": 2, "100x5": 3}
    _, numbers = style.width_scale(make_runs(widths=("small", "100", "20")))
    assert numbers == {"20": 1, "100": 2, "small": 3}


def test_names_of_one_s_own_are_shown_as_they_are():
    own = make_runs([50.0, 10.0], "lstm", "stars")
    assert style.title(Shown(own, None)) == "lstm on stars: n = 2 runs, 1 of them non"


def test_a_title_finds_room_in_a_narrow_figure(runs):
    figure, _ = style.panels([["one"]])
    style.put_heading(figure, "What " * 20, [Shown(runs, None)])
    assert collisions_in(figure) == []
    assert figure.get_suptitle().endswith("\nDNN on MNIST: n = 9 runs, 2 of them non")


# rows of panels


def test_panels_fill_rows_evenly():
    assert style.wrap("abcde") == [["a", "b", "c"], ["d", "e"]]
    assert style.wrap("abcdefgh") == [list("abcd"), list("efgh")]
    assert style.wrap("") == []


def test_the_lowest_panel_of_each_column_is_found():
    assert style.lowest([["a", "b", "c"], ["d"], ["e", "f"]]) == ["e", "f", "c"]


def test_shared_axes_hold_what_each_panel_shows():
    _, panels = style.panels([["a", "b", "c"]])
    for number, axes in enumerate(panels.values()):
        axes.plot([number, number + 1], [0, 10**number])
    style.share(list(panels.values()))
    assert len(set(map(limits_of, panels.values()))) == 1
    left, right, low, high = limits_of(panels["a"])
    assert left <= 0
    assert right >= 3
    assert low <= 0
    assert high >= 100
    labelled = [axes.yaxis.get_tick_params()["labelleft"] for axes in panels.values()]
    assert labelled == [True, False, False]


# convergence


def test_each_run_has_its_line(runs):
    curves = make_curves(runs)
    figure = convergence.draw([Shown(runs, curves)], "test")
    expected = sorted(
        of_run[["epoch", "train_loss"]].to_numpy().tolist()
        for _, of_run in curves.groupby(["width", "seed"])
    )
    assert sorted(points.tolist() for points, _ in curves_of(figure.axes[0])) == expected


def seeds_of(drawn, curves):
    """The seed of each line, by its loss at epoch 0."""
    first = curves[curves["epoch"] == 0].set_index("train_loss")["seed"]
    return [first[points[0, 1]] for points, _ in drawn]


def test_lines_of_failed_runs_are_blue_and_lie_above_all_others(runs):
    drawn = curves_of(draw_curves(runs).axes[0])
    assert seeds_of(drawn, make_curves(runs))[-2:] == [1, 4]
    assert [is_blue(colour) for _, colour in drawn] == [False] * 7 + [True] * 2


@pytest.mark.parametrize(
    ("split", "order"), [("test", [6, 2, 5, 7, 8, 0, 3]), ("train", [2, 6, 5, 3, 7, 8, 0])]
)
def test_more_accurate_lines_are_darker_and_lie_above(runs, split, order):
    table = runs.assign(train_accuracy=[95.0, 10.0, 20.0, 80.0, 10.0, 70.0, 30.0, 85.0, 90.0])
    drawn = curves_of(draw_curves(table, split).axes[0])[:7]
    assert seeds_of(drawn, make_curves(runs)) == order
    assert (np.diff([lightness(colour) for _, colour in drawn]) < 0).all()


def test_medians_of_the_groups_lie_over_the_lines(runs):
    curves = make_curves(runs)
    axes = draw_curves(runs).axes[0]
    found = lines_of(axes)
    assert len(found) == 4
    shown = sorted((*axes.collections, *axes.lines), key=lambda artist: artist.zorder)
    assert shown[-4:] == list(axes.lines)
    children = axes.get_children()
    assert children.index(axes.lines[0]) > max(map(children.index, axes.collections))
    for group, of_group in curves.groupby("group"):
        epochs, medians = found[style.GROUP_COLOURS[group]]
        assert list(epochs) == [0, 1, 2, 3, 4]
        assert list(medians) == [
            stdlib.median(of_epoch["train_loss"]) for _, of_epoch in of_group.groupby("epoch")
        ]


def test_the_legend_names_the_medians_and_their_n(runs):
    assert legend_of(draw_curves(runs)) == [
        "median of non (n = 2)",
        "median of low (n = 2)",
        "median of mid (n = 2)",
        "median of high (n = 3)",
    ]


def test_the_loss_axis_is_logarithmic(runs):
    assert draw_curves(runs).axes[0].get_yscale() == "log"


@pytest.mark.parametrize("lost", ["one run", "all runs", "last epochs"])
def test_losses_of_nan_are_left_out(runs, lost):
    curves = make_curves(runs)
    is_lost = {
        "one run": curves["seed"] == 0,
        "all runs": curves["seed"] >= 0,
        "last epochs": curves["epoch"] > 1,
    }[lost]
    figure = draw_curves(runs, train_loss=curves["train_loss"].mask(is_lost))
    assert "n = 9 runs" in svg_of(figure)
    drawn = [points.reshape(-1, 2) for points, _ in curves_of(figure.axes[0])]
    assert np.isfinite(np.concatenate(drawn)).all(axis=1).sum() == (~is_lost).sum()


@pytest.mark.parametrize("last", [True, False])
def test_curves_that_are_not_known_are_said_to_be(runs, last):
    curves = make_curves(runs)
    is_lost = (curves["epoch"] < curves["epoch"].max()) | (not last)  # as of an import
    figure = draw_curves(runs, train_loss=curves["train_loss"].mask(is_lost))
    assert [text.get_text() for text in figure.axes[0].texts] == ["no curves are known"]
    assert not draw_curves(runs).axes[0].texts


def test_models_stand_below_each_other_and_each_column_names_its_epochs():
    tables = [*several(), *several("cnn", 1)]
    figure = convergence.draw([Shown(runs, make_curves(runs)) for runs in tables], "test")
    panels = named_panels(figure)
    assert list(panels) == [
        "DNN, MNIST (n = 3)",
        "DNN, Fashion-MNIST (n = 4)",
        "DNN, CIFAR-10 (n = 9)",
        "CNN, MNIST (n = 3)",
    ]
    assert [bool(axes.get_xlabel()) for axes in panels.values()] == [False, True, True, True]
    assert [bool(axes.get_ylabel()) for axes in panels.values()] == [True, False, False, True]


# telemetry


def test_lines_are_medians_and_shades_the_middle_half(runs):
    table = make_telemetry(runs, ["fc1", "fc2"])
    figure = telemetry.draw(Shown(runs, table), "test")
    axes = figure.axes[0]
    assert axes.get_title() == "fc1 (n = 9)"
    dead = table[(table["layer"] == "fc1") & (table["group"] == "high") & (table["epoch"] == 3)]
    low, middle, high = stdlib.quantiles(dead["dead_units"], n=4, method="inclusive")
    assert lines_of(axes)[style.GROUP_COLOURS["high"]][1][3] == pytest.approx(middle)
    colour = to_rgb(style.GROUP_COLOURS["high"])
    (band,) = [b for b in axes.collections if np.allclose(b.get_facecolor()[0, :3], colour)]
    at_three = {y for x, y in band.get_paths()[0].vertices if x == 3}
    assert sorted(at_three) == pytest.approx([low, high])


def test_only_layers_with_units_that_may_die_have_a_panel_of_them(runs):
    table = make_telemetry(runs, ["fc1", "fc2", "fc3"])
    figure = telemetry.draw(Shown(runs, table), "test")
    shown = ("fc1", "fc2", "fc1", "fc2", "fc3")
    assert [axes.get_title() for axes in panels_of(figure)] == [f"{n} (n = 9)" for n in shown]


def test_without_telemetry_the_figure_says_so(runs):
    lost = {"dead_units": np.nan, "gradient_norm": np.nan}
    figure = telemetry.draw(Shown(runs, make_telemetry(runs, ["fc1"]).assign(**lost)), "test")
    assert "no telemetry" in svg_of(figure)
    assert "n = 9 runs" in svg_of(figure)


def test_each_row_of_telemetry_shares_its_axes_and_is_labelled(runs):
    layers = LAYERS["vit"]
    figure = telemetry.draw(Shown(runs, make_telemetry(runs, layers)), "test")
    rows = {}
    for axes in panels_of(figure):
        rows.setdefault(axes.get_subplotspec().rowspan.start, []).append(axes)
    for row in rows.values():
        labelled = [axes.yaxis.get_tick_params()["labelleft"] for axes in row]
        assert labelled == [True] + [False] * (len(row) - 1)
        assert row[0].get_ylabel()
        assert len(set(map(limits_of, row))) == 1
    # seven layers with dead units, in rows of four
    assert [len(row) for row in rows.values()] == [4, 3, 4, 4]


def test_dead_units_are_shares_and_gradients_are_logarithmic(runs):
    figure = telemetry.draw(Shown(runs, make_telemetry(runs, ["fc1", "fc2"])), "test")
    dead, _, gradient, _ = figure.axes
    assert dead.get_ylim() == pytest.approx((-0.03, 1.03))
    assert (dead.get_yscale(), gradient.get_yscale()) == ("linear", "log")


@pytest.mark.parametrize("layers", [["fc1"], ["fc1", "fc2"]])
def test_gradients_of_zero_are_drawn(runs, layers):
    table = make_telemetry(runs, ["fc1", "fc2"])
    table.loc[table["layer"].isin(layers), "gradient_norm"] = 0.0
    figure = telemetry.draw(Shown(runs, table), "test")
    figure.draw_without_rendering()
    for axes, layer in zip(figure.axes[-2:], ("fc1", "fc2"), strict=True):
        drawn = np.concatenate([line.get_ydata() for line in axes.lines])
        low, high = axes.get_ylim()
        assert (low < drawn).all()
        assert (drawn < high).all()
        notes = ["at the edge: zero or beyond the axis"]
        assert [text.get_text() for text in axes.texts] == (notes if layer in layers else [])


def test_a_model_without_relu_has_gradients_only(runs):
    table = make_telemetry(runs, ["fc1", "fc2"]).assign(dead_units=np.nan)
    figure = telemetry.draw(Shown(runs, table), "test")
    assert {axes.get_ylabel() for axes in figure.axes} == {"gradient norm (L2)", ""}


# statistics


def test_each_run_has_its_point_in_each_layer(runs):
    table = make_statistics(runs, ["fc1", "fc2", "fc3"])
    panels = named_panels(statistics.draw([Shown(runs, table)], "test"))
    assert list(panels) == ["fc1 (n = 9)", "fc2 (n = 9)", "fc3 (n = 9)"]
    for axes, (_, of_layer) in zip(panels.values(), table.groupby("layer"), strict=True):
        expected = sorted(zip(of_layer["mean"], of_layer["std"], strict=True))
        np.testing.assert_allclose(places_of(axes), expected)


def test_points_of_failed_runs_are_blue_crosses_and_no_others(runs):
    table = make_statistics(runs, ["fc1"])
    (axes,) = panels_of(statistics.draw([Shown(runs, table)], "test"))
    failed = sorted(table.loc[table["group"] == "non", "mean"])
    points = points_of(axes)
    assert sorted(x for x, _, colour, _ in points if is_blue(colour)) == pytest.approx(failed)
    assert all(is_cross == is_blue(colour) for _, _, colour, is_cross in points)


def test_more_accurate_points_are_darker_and_lie_above(runs):
    table = make_statistics(runs, ["fc1"])
    (axes,) = panels_of(statistics.draw([Shown(runs, table)], "test"))
    points = [point for point in points_of(axes) if not point[3]]
    by_accuracy = table["mean"].to_numpy()[[6, 2, 5, 7, 8, 0, 3]]
    assert [x for x, *_ in points] == pytest.approx(by_accuracy)
    assert (np.diff([lightness(colour) for _, _, colour, _ in points]) < 0).all()


def test_statistics_name_their_axes(runs):
    figure = statistics.draw([Shown(runs, make_statistics(runs, ["fc1"]))], "test")
    assert figure.axes[0].get_xlabel() == r"mean $\mu_w$ of the weights"
    assert figure.get_supylabel() == r"standard deviation $\sigma_w$ of the weights"


@pytest.mark.parametrize("n_layers", [1, 2, 4, 6])
def test_every_layer_has_a_panel(runs, n_layers):
    layers = LAYERS["vit"][:n_layers]
    figure = statistics.draw([Shown(runs, make_statistics(runs, layers))], "test")
    assert list(named_panels(figure)) == [f"{layer} (n = 9)" for layer in layers]


def test_datasets_stand_side_by_side_with_shared_axes_and_own_points():
    tables = several()
    measures = [make_statistics(runs, ["fc1", "fc2"]) for runs in tables]
    for number, measure in enumerate(measures):
        measure["mean"] += number
        measure["std"] *= 3**number
    populations = [Shown(*pair) for pair in zip(tables, measures, strict=True)]
    panels = named_panels(statistics.draw(populations, "test"))
    where = ["MNIST, {} (n = 3)", "Fashion-MNIST, {} (n = 4)", "CIFAR-10, {} (n = 9)"]
    assert list(panels) == [name.format(layer) for layer in ("fc1", "fc2") for name in where]
    for layer in ("fc1", "fc2"):
        row = [panels[name.format(layer)] for name in where]
        assert len(set(map(limits_of, row))) == 1
        for axes, measure in zip(row, measures, strict=True):
            of_layer = measure[measure["layer"] == layer]
            expected = sorted(zip(of_layer["mean"], of_layer["std"], strict=True))
            np.testing.assert_allclose(places_of(axes), expected)
            assert axes.viewLim.containsx(of_layer["mean"].max())
            assert axes.viewLim.containsy(of_layer["std"].max())


def test_statistics_of_nan_are_left_out(runs):
    table = make_statistics(runs, ["fc1"])
    table.loc[table["seed"] == 4, ["mean", "std"]] = np.nan
    (axes,) = panels_of(statistics.draw([Shown(runs, table)], "test"))
    assert len(places_of(axes)) == n_in(axes) == 8


# strength


def draw_strength(runs, layers=("fc1", "fc2", "fc3"), **changes):
    table = make_strength(runs, list(layers)).assign(**changes)
    return table, named_panels(strength.draw([Shown(runs, table)], "test"))


def test_pairs_are_of_layers_of_which_one_reads_the_nodes_of_the_other(runs):
    """The query, key and value of a ViT stand side by side."""
    layers = ["query", "key", "value", "attention_out", "mlp1", "mlp2"]
    table, panels = draw_strength(runs, layers)
    pairs = [title.split(" (")[0] for title in panels if ", " in title]
    links = table.dropna(subset="target").drop_duplicates("layer")
    assert pairs == [f"{one}, {other}" for one, other in links[["layer", "target"]].to_numpy()]
    assert pairs == ["value, attention_out", "mlp1, mlp2"]


def test_pairs_are_the_mean_strengths_of_consecutive_layers_of_the_same_run(runs):
    table, panels = draw_strength(runs)
    means = table.set_index(["layer", "seed"])["mean"]
    for source, target in (("fc1", "fc2"), ("fc2", "fc3")):
        expected = [(means[source][seed], means[target][seed]) for seed in range(len(runs))]
        axes = panels[f"{source}, {target} (n = 9)"]
        np.testing.assert_allclose(places_of(axes), sorted(expected))
        assert axes.get_xlabel() == f"mean S of {source}"
        assert axes.get_ylabel() == f"mean S of {target}"


def test_runs_of_unlike_widths_with_the_same_seed_are_not_mixed(runs):
    table, panels = draw_strength(runs.assign(seed=[0, 0, 0, 1, 1, 1, 2, 2, 2]), ["fc1", "fc2"])
    first, second = (table.loc[table["layer"] == layer, "mean"] for layer in ("fc1", "fc2"))
    expected = sorted(zip(first, second, strict=True))
    np.testing.assert_allclose(places_of(panels["fc1, fc2 (n = 9)"]), expected)


def test_spreads_are_shown_per_layer(runs):
    table, panels = draw_strength(runs)
    for layer, of_layer in table.groupby("layer"):
        expected = sorted(zip(of_layer["relative_mean"], of_layer["gini"], strict=True))
        np.testing.assert_allclose(places_of(panels[f"{layer} (n = 9)"]), expected)


def test_links_leave_out_runs_without_a_correlation_and_say_so(runs):
    table = make_strength(runs, ["fc1", "fc2", "fc3"])
    correlation = table["in_out_pearson"].mask(table["seed"].isin([1, 2, 3]))
    _, panels = draw_strength(runs, in_out_pearson=correlation)
    for title in ("fc1 to fc2 (n = 6)", "fc2 to fc3 (n = 6)"):
        layer = title.split()[0]
        expected = [
            (MIXED[row.seed], row.in_out_pearson)
            for row in table[(table["layer"] == layer)].itertuples()
            if row.seed not in (1, 2, 3)
        ]
        np.testing.assert_allclose(places_of(panels[title]), sorted(expected))


def test_layers_that_no_other_alone_reads_have_no_link(runs):
    _, panels = draw_strength(runs, LAYERS["vit"])
    links = [title for title in panels if " to " in title]
    assert links == ["value to attention_out (n = 9)", "mlp1 to mlp2 (n = 9)"]


def test_a_grid_of_strength_has_pairs_only():
    populations = [Shown(runs, make_strength(runs, LAYERS["dnn"])) for runs in several()]
    titles = list(named_panels(strength.draw(populations, "test")))
    where = ["MNIST, {} (n = 3)", "Fashion-MNIST, {} (n = 4)", "CIFAR-10, {} (n = 9)"]
    assert titles == [name.format(pair) for pair in ("fc1, fc2", "fc2, fc3") for name in where]


# spectra


def test_spectra_stand_against_accuracy_in_the_colour_of_the_width(runs):
    table = make_spectra(runs, ["fc1", "fc2"])
    table.loc[table["seed"] == 3, "log_determinant"] = np.nan
    figure = spectra.draw(Shown(runs, table), "train")
    assert bars_of(figure) == ["width"]
    panels = panels_of(figure)
    assert {axes.get_xlabel() for axes in panels[4:]} == {"final train accuracy (%)"}
    scale, numbers = style.width_scale(runs)
    for row, (layer, of_layer) in enumerate(table.groupby("layer")):
        titles = [axes.get_title() for axes in panels[4 * row : 4 * row + 4]]
        assert titles == [
            "stable rank (n = 9)",
            "effective rank (n = 9)",
            "spectral norm (n = 9)",
            "log-determinant (n = 8)",
        ]
        accuracy = runs["train_accuracy"].to_numpy()
        expected = sorted(zip(accuracy, of_layer["stable_rank"], strict=True))
        axes = panels[4 * row]
        assert axes.get_ylabel() == layer
        np.testing.assert_allclose(places_of(axes), expected)
        for x, _, colour, is_cross in points_of(axes):
            run = runs.loc[runs["train_accuracy"] == x].iloc[0]
            assert is_cross == (run["group"] == "non")
            if not is_cross:
                width = scale.to_rgba(numbers[run["width"]])[:3]
                np.testing.assert_allclose(colour, width, atol=1e-6)


# null models


def test_effects_of_each_kind_of_weights_are_drawn_with_their_intervals(runs):
    layers = ["fc1", "fc2"]
    table = make_null_effects(runs, layers)
    panels = named_panels(nulls.draw(Shown(runs, table), "test"))
    assert set(panels) == {
        f"{layer},\n{how} (n = 9)" for layer in layers for how in ("pooled", "within width")
    }
    for title, axes in panels.items():
        layer, kind = title[:3], "pooled" if "pooled" in title else "within"
        own = table[table["layer"].isin([layer, f"{layer}-fc2"])]
        names = ["mean", "strength gini", "purity (difference)", "strength pair"]
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert labels == (names if layer == "fc1" else [])
        marks = [artist for artist in axes.collections if isinstance(artist, PathCollection)]
        intervals = [artist for artist in axes.collections if isinstance(artist, LineCollection)]
        assert len(marks) == len(intervals) == 4
        for weights, mark, lines in zip(nulls.WEIGHTS, marks, intervals, strict=True):
            rows = own[own["weights"] == weights]
            x, y = mark.get_offsets().T
            np.testing.assert_allclose(x, rows[kind])
            placed = [names[round(place)].split(" (")[0].replace(" ", "_") for place in y]
            assert placed == rows["feature"].tolist()
            ends = [segment[:, 0].tolist() for segment in lines.get_segments()]
            np.testing.assert_allclose(ends, rows[[f"{kind}_low", f"{kind}_high"]])
            filled = [colour[:3].tolist() != [1, 1, 1] for colour in mark.get_facecolors()]
            assert filled == (rows[f"{kind}_p_adjusted"] < 0.05).tolist()


def test_a_population_without_effects_is_drawn(runs):
    table = make_null_effects(runs, ["fc1"])
    numbers = table.select_dtypes("float").columns
    figure = nulls.draw(Shown(runs, table.assign(**dict.fromkeys(numbers, np.nan))), "test")
    figure.draw_without_rendering()
    assert not legend_of(figure)


@pytest.mark.parametrize("p", [0.001, 0.3, None])
def test_the_legend_tells_filled_from_open_marks_that_there_are(runs, p):
    table = make_null_effects(runs, ["fc1", "fc2"])
    if p:
        table = table.assign(pooled_p_adjusted=p, within_p_adjusted=p)
    marks = legend_of(nulls.draw(Shown(runs, table), "test"))
    assert marks[:4] == list(nulls.WEIGHTS)
    expected = {0.001: ["filled: adjusted p < 0.05"], 0.3: ["open: adjusted p >= 0.05"]}
    assert marks[4:] == (expected[p] if p else [*expected[0.001], *expected[0.3]])


def test_to_import_figures_loads_nothing_that_only_measures_need():
    """scipy.stats alone takes as long to load as a figure to draw, and each job of them pays."""
    line = "import sys, weightscape.figures; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "matplotlib" in loaded
    assert not {"scipy.stats", "scipy.optimize", "scipy.spatial", "sklearn", "torch"} & loaded
