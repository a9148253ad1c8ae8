"""The figures of projections, against the table that they show."""

import numpy as np
import pytest
from matplotlib import colormaps

from drawings import (
    MIXED,
    bars_of,
    collisions_in,
    is_blue,
    lightness,
    make_projection,
    make_runs,
    n_in,
    panels_of,
    places_of,
    points_of,
    svg_of,
)
from weightscape.drawing.style import Shown
from weightscape.figures import projection, projection_widths

pytestmark = pytest.mark.filterwarnings("error")

# eight runs of each of two widths
ACCURACIES = (*MIXED, 60.0, 65.0, 75.0, 20.0, 10.1, 30.0, 99.0)


@pytest.fixture
def runs():
    return make_runs(ACCURACIES, widths=("5", "20"))


@pytest.fixture
def table(runs):
    return make_projection(runs, ["fc1", "fc2"])


def draw(runs, table):
    return panels_of(projection.draw([Shown(runs, table)], "test"))


def draw_widths(runs, table):
    return panels_of(projection_widths.draw(Shown(runs, table), "test"))


def best_of(table, **wanted):
    """Rows of the largest perplexity, and of its repeat of the least divergence."""
    for name, value in wanted.items():
        table = table[table[name] == value]
    table = table[table["perplexity"] == max(table["perplexity"])]
    return table[table["kl_divergence"] == min(table["kl_divergence"])]


def xy(table):
    return sorted(zip(table["x"], table["y"], strict=True))


def test_each_layer_has_each_embedding_of_all_widths_by_accuracy_and_by_width(runs, table):
    panels = draw(runs, table)
    heads = [axes.get_title().split("\n")[0] for axes in panels[:4]]
    assert heads == ["zero-padded", "zero-padded", "weight quantiles", "weight quantiles"]
    assert [axes.get_ylabel() for axes in panels[::4]] == ["fc1", "fc2"]
    places = [places_of(axes) for axes in panels]
    expected = [
        xy(best_of(table, layer=layer, embedding=embedding))
        for layer in ("fc1", "fc2")
        for embedding in ("padded", "padded", "quantiles", "quantiles")
    ]
    np.testing.assert_allclose(places, expected)


@pytest.mark.parametrize(("best", "perplexity"), [(0, 5), (1, 30), (1, 5)])
def test_the_largest_perplexity_is_shown_and_of_it_the_least_divergence(runs, best, perplexity):
    table = make_projection(runs, ["fc1"], perplexities=(perplexity, 3), repeats=2)
    table["kl_divergence"] = np.where(table["repeat"] == best, 0.5, 0.7)
    # a smaller perplexity diverges less, but is not chosen for it
    table.loc[table["perplexity"] == 3, "kl_divergence"] = 0.1
    is_shown = (table["perplexity"] == perplexity) & (table["repeat"] == best)
    panels = draw(runs, table)
    of_padded = table[is_shown & (table["embedding"] == "padded")]
    np.testing.assert_allclose(places_of(panels[0]), xy(of_padded))
    trust = of_padded["trustworthiness"].iloc[0]
    expected = f"zero-padded\nperplexity {perplexity}\nn = 16, T = {trust:.2f}"
    assert panels[0].get_title() == expected


def test_a_width_with_too_few_runs_for_a_perplexity_shows_its_own_largest(runs, table):
    smaller = table[(table["width"] == "5") | (table["perplexity"] == 5)]
    panels = draw_widths(runs, smaller)
    assert "width 5\nperplexity 30" in panels[0].get_title()
    assert "width 20\nperplexity 5" in panels[1].get_title()


def test_more_accurate_points_are_darker_and_failed_runs_are_blue_crosses(runs, table):
    points = points_of(draw(runs, table)[0])
    crosses = [point for point in points if point[3]]
    shown = best_of(table, layer="fc1", embedding="padded").merge(runs)
    np.testing.assert_allclose(
        sorted((x, y) for x, y, *_ in crosses), xy(shown[shown["group"] == "non"])
    )
    assert all(is_blue(colour) for _, _, colour, _ in crosses)
    others = [point for point in points if not point[3]]
    ranked = shown[shown["group"] != "non"].sort_values("test_accuracy")
    assert [x for x, *_ in others] == pytest.approx(list(ranked["x"]))
    assert (np.diff([lightness(colour) for _, _, colour, _ in others]) < 0).all()


def test_the_panel_beside_it_is_coloured_by_width(runs, table):
    shown = best_of(table, layer="fc1", embedding="padded")
    width_of = dict(zip(shown["x"], shown["width"], strict=True))
    ends = {"5": colormaps["viridis"](0.0)[:3], "20": colormaps["viridis"](1.0)[:3]}
    points = points_of(draw(runs, table)[1])
    assert len(points) == 16
    for x, _, colour, _ in points:
        (width,) = [width for place, width in width_of.items() if place == pytest.approx(x)]
        assert colour == pytest.approx(ends[width])


def test_bars_name_both_colours(runs, table):
    figure = projection.draw([Shown(runs, table)], "test")
    assert sorted(bars_of(figure)) == ["final test accuracy (%)", "width"]


def test_a_bar_of_many_widths_names_at_most_seven_of_them():
    widths = [str(10 * n) for n in range(1, 21)]
    runs = make_runs(np.linspace(20, 99, 40), widths=widths)
    figure = projection.draw([Shown(runs, make_projection(runs, ["fc1"]))], "test")
    figure.draw_without_rendering()
    (bar,) = [axes for axes in figure.axes if axes.get_ylabel() == "width"]
    named = [label.get_text() for label in bar.get_yticklabels()]
    assert (named[0], named[-1], len(named)) == ("10", "200", 7)
    # as evenly as these widths allow
    assert (np.diff(np.log([float(width) for width in named])) < 1).all()
    assert list(bar.get_yticks()) == [float(width) for width in named]


def test_widths_of_two_layers_are_named_as_they_are():
    runs = make_runs(ACCURACIES, widths=("5x10", "20x50"))
    figure = projection.draw([Shown(runs, make_projection(runs, ["fc1"]))], "test")
    (bar,) = [axes for axes in figure.axes if axes.get_ylabel() == "width"]
    assert [label.get_text() for label in bar.get_yticklabels()] == ["5x10", "20x50"]


@pytest.mark.parametrize("n_datasets", [1, 2, 3])
def test_names_of_widths_stand_apart_on_a_short_bar(n_datasets):
    """Those of two layers are long, and the last ones lie near each other."""
    widths = ("5", "9", "16", "36", "64", "150", "340", "800", "1000", "20x200", "64x600", "600x64")
    shown = []
    for dataset in ("mnist", "fmnist", "cifar10")[:n_datasets]:
        runs = make_runs(np.linspace(20, 99, 48), widths=widths, dataset=dataset)
        shown.append(Shown(runs, make_projection(runs, ["fc1"])))
    figure = projection.draw(shown, "test")
    figure.draw_without_rendering()
    assert collisions_in(figure) == []
    labels = "get_yticklabels" if n_datasets == 1 else "get_xticklabels"
    of_width = [a for a in figure.axes if "width" in (a.get_xlabel(), a.get_ylabel())]
    named = [[label.get_text() for label in getattr(bar, labels)()] for bar in of_width]
    assert len(named) == n_datasets
    assert all((names[0], names[-1]) == ("5", "1000") for names in named)
    assert all(len(names) > 2 for names in named)


def test_a_study_of_one_width_shows_all_its_embeddings(runs):
    runs = runs.assign(width="20")
    table = make_projection(runs, ["fc1"])
    panels = draw(runs, table[table["embedding"] != "padded"])
    heads = [axes.get_title().split("\n")[0] for axes in panels[::2]]
    assert heads == ["as it is", "nodes matched", "weight quantiles"]


def test_panels_have_the_same_scale_both_ways(runs, table):
    for axes in (*draw(runs, table), *draw_widths(runs, table)):
        assert axes.get_aspect() == 1
        assert not axes.get_xticks().size
        assert not axes.get_yticks().size


# a map per width


def test_each_width_has_its_maps_as_they_are_and_with_matched_nodes(runs, table):
    panels = draw_widths(runs, table)
    assert [axes.get_ylabel() for axes in panels[::2]] == [
        "fc1\nas it is",
        "fc1\nnodes matched",
        "fc2\nas it is",
        "fc2\nnodes matched",
    ]
    assert [axes.get_title().split("\n")[0] for axes in panels[:2]] == ["width 5", "width 20"]
    expected = [
        xy(best_of(table, layer=layer, embedding=embedding, width=width))
        for layer in ("fc1", "fc2")
        for embedding in ("width", "matched")
        for width in ("5", "20")
    ]
    np.testing.assert_allclose([places_of(axes) for axes in panels], expected)
    assert {n_in(axes) for axes in panels} == {8}


def test_at_most_six_widths_are_shown_from_the_smallest_to_the_largest():
    widths = [str(10 * n) for n in range(1, 12)]
    runs = make_runs(np.linspace(20, 99, 22), widths=widths)
    panels = draw_widths(runs, make_projection(runs, ["fc1"]))
    shown = [axes.get_title().split("\n")[0] for axes in panels[:6]]
    assert shown == [f"width {n}" for n in (10, 30, 50, 70, 90, 110)]
    assert len(panels) == 12


def test_a_layer_without_nodes_to_match_has_one_row(runs, table):
    panels = draw_widths(runs, table[(table["layer"] == "fc1") | (table["embedding"] != "matched")])
    rows = [axes.get_ylabel() for axes in panels[::2]]
    assert rows == ["fc1\nas it is", "fc1\nnodes matched", "fc2\nas it is"]


def test_a_width_without_an_embedding_of_one_layer_has_an_empty_panel(runs, table):
    panels = draw_widths(runs, table[(table["layer"] == "fc2") | (table["width"] == "5")])
    assert [len(points_of(axes)) for axes in panels] == [8, 0, 8, 0, 8, 8, 8, 8]


# several datasets, and none


def test_datasets_show_their_first_embedding_of_all_widths_each(runs, table):
    other = runs.assign(dataset="cifar10", test_accuracy=runs["test_accuracy"] / 2)
    alone = make_projection(other.assign(width="20"), ["fc1", "fc2"])
    populations = [
        Shown(runs, table),
        Shown(other.assign(width="20"), alone[alone["embedding"] != "padded"]),
    ]
    panels = panels_of(projection.draw(populations, "test"))
    heads = [axes.get_title().split("\n")[:2] for axes in panels[:4]]
    assert heads == [["MNIST", "zero-padded"]] * 2 + [["CIFAR-10", "as it is"]] * 2
    assert len(panels) == 8


def test_layers_are_shown_even_if_the_first_dataset_has_none(runs, table):
    nothing = Shown(runs, table[:0])
    other = Shown(runs.assign(dataset="fmnist"), table.assign(dataset="fmnist"))
    panels = panels_of(projection.draw([nothing, other], "test"))
    assert [axes.get_ylabel() for axes in panels[::2]] == ["fc1", "fc2"]
    assert all(places_of(axes) for axes in panels)


@pytest.mark.parametrize("of_widths", [True, False])
def test_without_an_embedding_the_figure_says_so(of_widths, table):
    runs = make_runs([50.0, 10.0])
    population = Shown(runs, table[:0])
    if of_widths:
        figure = projection_widths.draw(population, "test")
    else:
        figure = projection.draw([population], "test")
    svg = svg_of(figure)
    assert "no embedding: fewer than 7 runs of a width have finite weights" in svg
    assert "DNN on MNIST: n = 2 runs, 1 of them non" in svg


def test_runs_that_were_not_embedded_are_not_counted(runs, table):
    panels = draw(runs, table[table["seed"] != 3])
    assert {n_in(axes) for axes in panels} == {15}
    assert {len(points_of(axes)) for axes in panels} == {15}
