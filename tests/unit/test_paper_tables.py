"""Tables 1 and 2: what the config asks for, beside what the paper printed."""

import math
from html.parser import HTMLParser

import pandas as pd
import pytest

from weightscape.runs.groups import PAPER_MEDIANS
from weightscape.runs.paper_tables import render_groups, render_settings, settings
from weightscape.study.config import check


class Page(HTMLParser):
    """What a reader sees: cells row by row, the caption, and the elements' names."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.caption, self.tags = [], "", []
        self.within = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.within = tag
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.within = None

    def handle_data(self, data):
        if self.within in ("td", "th"):
            self.rows[-1][-1] += data
        elif self.within == "caption":
            self.caption += data

    def column(self, name):
        number = self.rows[0].index(name)
        return [row[number] for row in self.rows[1:]]


def study(*populations, **sections):
    keys = ("model", "dataset", "widths", "seeds")
    listed = [dict(zip(keys, values, strict=True)) for values in populations]
    return check({"study": "small", "populations": listed, **sections})


@pytest.fixture
def config():
    return study(
        ("dnn", "cifar10", [5, "20x50", 1000], 100),
        ("cnn", "mnist", [4, 8], 10),
        ("vit", "fmnist", [2, 16], 30),
        ("dnn", "digits", [4], 3),
    )


def test_a_row_per_population_and_layer_in_the_order_of_both(config):
    table = settings(config)
    vit = ["patch", "query", "key", "value", "attention_out", "mlp1", "mlp2", "fc"]
    assert list(zip(table["model"], table["dataset"], table["layer"], strict=True)) == [
        *(("dnn", "cifar10", layer) for layer in ("fc1", "fc2", "fc3")),
        *(("cnn", "mnist", layer) for layer in ("conv1", "fc")),
        *(("vit", "fmnist", layer) for layer in vit),
        *(("dnn", "digits", layer) for layer in ("fc1", "fc2", "fc3")),
    ]


def test_inputs_and_outputs_over_the_widths_by_hand(config):
    table = settings(config).set_index(["model", "dataset", "layer"])
    expected = {
        ("dnn", "cifar10", "fc1"): ("3072", "5-1000"),
        ("dnn", "cifar10", "fc2"): ("5-1000", "5-1000"),
        ("dnn", "cifar10", "fc3"): ("5-1000", "10"),
        ("cnn", "mnist", "conv1"): ("9", "4-8"),
        ("cnn", "mnist", "fc"): ("2704-5408", "10"),  # 26 x 26 places of 4 and 8 channels
        ("vit", "fmnist", "patch"): ("49", "784"),
        ("vit", "fmnist", "mlp1"): ("784", "2048"),
        ("vit", "fmnist", "mlp2"): ("2048", "784"),
        ("dnn", "digits", "fc1"): ("64", "4"),
        ("dnn", "digits", "fc2"): ("4", "4"),
    }
    for row, values in expected.items():
        assert tuple(table.loc[row, ["inputs", "outputs"]]) == values


def test_ranges_are_from_the_smallest_to_the_largest_whatever_their_order():
    table = settings(study(("dnn", "digits", ["50x7", "9", "20x100"], 1))).set_index("layer")
    assert table["outputs"].to_dict() == {"fc1": "9-50", "fc2": "7-100", "fc3": "10"}
    assert table["inputs"].to_dict() == {"fc1": "64", "fc2": "9-50", "fc3": "7-100"}


def test_widths_seeds_and_runs(config):
    table = settings(config).groupby(["model", "dataset"], sort=False).first()
    assert table["widths"].tolist() == ["5 20x50 1000", "4 8", "2 16", "4"]
    assert table["seeds"].tolist() == [100, 10, 30, 3]
    assert table["n"].tolist() == [300, 20, 60, 3]


def test_crossed_seeds_tell_how_many_share_an_initialisation():
    table = settings(study(("dnn", "digits", [4, 8], {"init": 3, "shuffle": 5})))
    assert table["seeds"].tolist() == [15] * 3
    assert table["shuffle_seeds"].tolist() == [5] * 3
    assert table["n"].tolist() == [30] * 3
    plain = settings(study(("dnn", "digits", [4, 8], 15)))
    assert plain["shuffle_seeds"].isna().all()


def test_the_training_is_the_config_s():
    training = {
        "batch_size": 32,
        "epochs": 7,
        "learning_rate": 0.25,
        "initialisation": {"std": 0.125},
    }
    table = settings(study(("dnn", "digits", [4], 3), training=training))
    names = ["batch", "epochs", "optimiser", "learning_rate", "initial_std"]
    assert table[names].to_numpy().tolist() == [[32, 7, "adam", 0.25, 0.125]] * 3


def test_the_paper_s_widths_and_runs_stand_beside_its_populations(config):
    table = settings(config).groupby(["model", "dataset"], sort=False).head(1)
    assert table["paper_widths"].tolist()[:3] == ["5-1000", "not given", "2-16 heads"]
    assert table["paper_n"].tolist()[:3] == [1000, 1000, 30]
    assert table[["paper_widths", "paper_n"]].iloc[3].isna().all()
    (first,) = set(settings(study(("dnn", "mnist", [5], 1)))["paper_widths"])
    assert first == "5-200"


def test_table_1_as_a_page_has_the_cells_of_the_table(config):
    table = settings(config)
    page = Page(render_settings(table))
    assert page.rows[0] == list(table.columns)
    assert len(page.rows) == 1 + len(table)
    for name in ("model", "layer", "inputs", "outputs", "widths", "n"):
        assert page.column(name) == list(map(str, table[name]))
    assert page.column("learning_rate") == ["0.001"] * len(table)
    assert page.column("paper_n") == ["1000"] * 5 + ["30"] * 8 + ["-"] * 3
    assert page.column("paper_widths")[-1] == "-"


def test_what_the_paper_does_not_say_is_a_dash_in_a_study_of_nothing_else(own):
    page = Page(render_settings(settings(study(("dnn", "own", [4], 3), datasets={"own": own}))))
    assert page.column("paper_widths") == page.column("paper_n") == ["-"] * 3


def test_the_caption_of_table_1_says_what_the_columns_are(config):
    caption = Page(render_settings(settings(config))).caption
    assert caption.startswith("Table 1. ")
    for words in ("inputs", "outputs", "n runs", "batch 100", "20 epochs", "Adam", "0.001"):
        assert words in caption


@pytest.fixture
def groups():
    """Table 2 of two populations, out of order."""
    rows = [
        ("dnn", "mnist", "ungrouped", 2, 60.0, 61.0, 62.0, math.nan, math.nan),
        ("dnn", "mnist", "high", 3, 95.5, 97.123456789, 99.0, 95.0, 100.0),
        ("dnn", "mnist", "low", 0, math.nan, math.nan, math.nan, 30.0, 55.0),
        ("cnn", "mnist", "high", 4, 99.6, 99.7, 99.8, 99.5, 100.0),
        ("cnn", "mnist", "non", 1, 11.35, 11.35, 11.35, 10.85, 11.85),
    ]
    names = ["model", "dataset", "group", "n", "min", "median", "max", "edge_low", "edge_high"]
    table = pd.DataFrame(rows, columns=names).assign(split="test", edges="paper")
    return table.assign(
        paper_median=[
            PAPER_MEDIANS[model, dataset].get(group, math.nan)
            for model, dataset, group in zip(
                table["model"], table["dataset"], table["group"], strict=True
            )
        ]
    )


def test_table_2_stands_by_population_and_then_from_non_to_ungrouped(groups):
    page = Page(render_groups(groups))
    assert page.rows[0] == list(groups.columns)
    assert page.column("model") == ["dnn"] * 3 + ["cnn"] * 2
    assert page.column("group") == ["low", "high", "ungrouped", "non", "high"]


def test_table_2_as_a_page_has_the_numbers_and_the_paper_s_medians(groups):
    page = Page(render_groups(groups))
    assert page.column("n") == ["0", "3", "2", "1", "4"]
    assert page.column("median") == ["-", "97.12", "61.00", "11.35", "99.70"]
    # Table 2 of the paper, which has no median of ungrouped runs and no non of the CNN
    assert page.column("paper_median") == ["39.33", "98.55", "-", "-", "99.87"]
    assert page.column("edge_low") == ["30.00", "95.00", "-", "10.85", "99.50"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_caption_of_table_2_names_the_split_and_the_median(groups, split):
    caption = Page(render_groups(groups.assign(split=split))).caption
    assert caption.startswith("Table 2. ")
    assert f"final {split} accuracy (%)" in caption
    assert "n runs" in caption
    assert "paper_median" in caption


def test_the_table_that_is_rendered_is_left_as_it_was(groups):
    before = groups.copy()
    render_groups(groups)
    pd.testing.assert_frame_equal(groups, before)


@pytest.mark.parametrize("name", ["<b>bold</b>", "a & b", "</table><script>alert(1)</script>"])
def test_text_is_text_and_no_element(config, groups, name):
    first = Page(render_settings(settings(config).assign(dataset=name)))
    second = Page(render_groups(groups.assign(dataset=name)))
    for page in (first, second):
        assert set(page.column("dataset")) == {name}
        assert {"b", "script"}.isdisjoint(page.tags)


def test_a_page_is_whole(config, groups):
    for text in (render_settings(settings(config)), render_groups(groups)):
        assert text.startswith("<!doctype html>")
        assert text.endswith("</html>\n")
        tags = Page(text).tags
        assert tags[:3] == ["html", "meta", "style"]
        assert tags.count("table") == tags.count("caption") == 1
        assert tags.index("caption") == tags.index("table") + 1


def test_of_an_import_table_1_has_the_runs_that_were_imported(zoo):
    rows = ["a,4,90,80", "b,4,90,80", "c,8x3,90,80", "bad,16,90,80"]
    config = check(
        zoo(rows=rows)
        | {"populations": [{"model": "dnn", "dataset": "digits", "widths": [4], "seeds": 3}]}
    )
    keys = [("4", 0), ("4", 1), ("8x3", 0)]
    statistics = pd.DataFrame(
        [
            ("mine", "pets", width, seed, layer, fan_in, fan_in * nodes)
            for width, seed in keys
            for layer, fan_in, nodes in (("one", 50, int(width[0])), ("two", int(width[0]), 3))
        ]
        + [("mine", "cars", "99", 0, "one", 1, 1), ("dnn", "digits", "4", 0, "fc1", 64, 256)],
        columns=["model", "dataset", "width", "seed", "layer", "fan_in", "n_weights"],
    )
    table = settings(config, statistics)
    assert table["layer"].tolist() == ["fc1", "fc2", "fc3", "one", "two"]
    one, two = table.iloc[3], table.iloc[4]
    assert (one["inputs"], one["outputs"]) == ("50", "4-8")
    assert (two["inputs"], two["outputs"]) == ("4-8", "3")
    assert (one["widths"], one["seeds"], one["n"], one["epochs"]) == ("4 8x3", "1-2", 3, 1)
    assert one[["batch", "optimiser", "learning_rate", "initial_std", "paper_n"]].isna().all()
    alone = settings(check(zoo(rows=rows)), statistics)
    assert list(alone.columns) == list(table.columns)
    page = Page(render_settings(table))
    assert page.column("n") == ["3"] * 5
    assert page.column("batch") == ["100"] * 3 + ["-"] * 2
