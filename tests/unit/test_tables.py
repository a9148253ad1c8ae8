"""Tables: what is written is what is read."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.storage.joining import join, join_tables
from weightscape.storage.tables import add_groups, grow_table, read_table, write_table

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1, max_size=20))
def test_a_float32_survives(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    numbers = np.array(values, np.float32)
    write_table(pd.DataFrame({"x": numbers}), path)
    np.testing.assert_array_equal(read_table(path)["x"].to_numpy().astype(np.float32), numbers)


def test_names_stay_text(tmp_path):
    # pandas would make numbers of the widths and missing values of the names
    table = pd.DataFrame(
        {
            "model": ["dnn", "dnn", "null"],
            "dataset": ["na", "nan", "none"],
            "width": ["20", "20x50", "007"],
            "group": ["non", "low", "ungrouped"],
            "layer": ["fc1", "1", "nan"],
            "shard": ["a.h5", "b,c.h5", 'd"e.h5'],
        }
    )
    write_table(table, tmp_path / "t.csv")
    back = read_table(tmp_path / "t.csv")
    assert back.to_dict("list") == table.to_dict("list")


def test_widths_that_are_all_numbers_stay_text(tmp_path):
    table = pd.DataFrame({"width": ["20", "007"], "dataset": ["1", "2"], "layer": ["3", "4.0"]})
    write_table(table, tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv").to_dict("list") == table.to_dict("list")


def test_missing_and_infinite_numbers_survive(tmp_path):
    table = pd.DataFrame({"loss": [np.nan, np.inf, -np.inf, 0.0], "seed": [0, 1, 2, 3]})
    write_table(table, tmp_path / "t.csv")
    back = read_table(tmp_path / "t.csv")
    np.testing.assert_array_equal(back["loss"].to_numpy(), table["loss"].to_numpy())
    assert back["seed"].tolist() == [0, 1, 2, 3]


def test_the_file_is_plain_csv_with_a_header_and_no_index(tmp_path):
    write_table(pd.DataFrame({"width": ["20"], "loss": [0.5]}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "width,loss\n20,0.5\n"


def test_a_table_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("old")

    class Unprintable:
        def __str__(self):
            raise RuntimeError("no text")

    with pytest.raises(RuntimeError):
        write_table(pd.DataFrame({"x": [Unprintable()]}), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_joined_rows_stand_as_they_are_under_one_header(tmp_path):
    for name, text in (("a", "x,y\n1,0.10\n2,\n"), ("b", "x,y\n"), ("c", "x,y\n3,nan\n")):
        (tmp_path / name).write_text(text)
    parts = [str(tmp_path / name) for name in "abc"]
    join_tables(parts, tmp_path / "all" / "t.csv")
    assert (tmp_path / "all" / "t.csv").read_text() == "x,y\n1,0.10\n2,\n3,nan\n"


def test_other_columns_are_refused_by_the_file_s_name(tmp_path):
    (tmp_path / "a").write_text("x,y\n1,2\n")
    (tmp_path / "b").write_text("y,x\n1,2\n")
    with pytest.raises(WeightscapeError, match=str(tmp_path / "b")):
        join_tables([str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_rows_that_come_in_parts_are_one_table(tmp_path):
    parts = [
        [{"width": "20", "loss": 0.5}, {"width": "20x50", "loss": 1.5}],
        pd.DataFrame({"loss": [2.5], "width": ["007"]}),
        [],
        [{"loss": np.float32(0.1), "width": "a,b"}],
    ]
    with grow_table(tmp_path / "new" / "t.csv", ["width", "loss"]) as add:
        for rows in parts:
            add(rows)
    text = 'width,loss\n20,0.5\n20x50,1.5\n007,2.5\n"a,b",0.100000001\n'
    assert (tmp_path / "new" / "t.csv").read_text() == text


@given(st.lists(st.lists(finite, max_size=4), max_size=5))
def test_a_table_that_grew_is_one_that_was_written_whole(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("table")
    values = np.array([value for part in parts for value in part], np.float32)
    with grow_table(folder / "grown.csv", ["x"]) as add:
        for part in parts:
            add([{"x": np.float32(value)} for value in part])
    write_table(pd.DataFrame({"x": values}), folder / "whole.csv")
    assert (folder / "grown.csv").read_bytes() == (folder / "whole.csv").read_bytes()


def test_what_a_row_lacks_is_empty_and_what_it_has_besides_is_left_out(tmp_path):
    with grow_table(tmp_path / "t.csv", ["x", "y"]) as add:
        add([{"y": 1.0, "z": 2.0}])
    assert (tmp_path / "t.csv").read_text() == "x,y\n,1\n"


def test_without_rows_a_table_has_its_header(tmp_path):
    with grow_table(tmp_path / "t.csv", ["x", "y"]):
        pass
    assert (tmp_path / "t.csv").read_text() == "x,y\n"
    assert read_table(tmp_path / "t.csv").columns.tolist() == ["x", "y"]


def test_a_table_is_not_there_until_it_is_complete(tmp_path):
    path = tmp_path / "t.csv"
    with grow_table(path, ["x"]) as add:
        add([{"x": 1}])
        assert not path.exists()
    assert path.exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_table_that_stops_growing_leaves_the_old_one(tmp_path, error):
    path = tmp_path / "t.csv"
    path.write_text("old")

    def grow():
        with grow_table(path, ["x"]) as add:
            add([{"x": 1}])
            raise error

    with pytest.raises(error):
        grow()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def grouped_parts(folder):
    """A table of two populations, whose groups lie apart, and the whole."""
    runs = {
        "digits": [("dnn", "digits", "2", 0), ("dnn", "digits", "2", 1)],
        'a, "b"': [("dnn", 'a, "b"', "20x5", 7)],
    }
    tables, groupings, whole = [], [], []
    for number, own in enumerate(runs.values()):
        grouping = pd.DataFrame(own, columns=list(heads.RUN_KEYS)).assign(
            group=["low", "non"][: len(own)], other_group=""
        )
        table = grouping[[*heads.RUN_KEYS]].merge(
            pd.DataFrame({"layer": ["fc1", "fc2"]}), how="cross"
        )
        table["std"] = np.linspace(0.1, 0.3, len(table))
        for name, rows, paths in (("g", grouping, groupings), ("t", table, tables)):
            write_table(rows, folder / f"{name}-{number}.csv")
            paths.append(str(folder / f"{name}-{number}.csv"))
        whole.append(add_groups(table, grouping))
    return tables, groupings, pd.concat(whole, ignore_index=True)


def test_groups_are_added_where_tables_of_runs_are_joined(tmp_path):
    tables, groupings, whole = grouped_parts(tmp_path)
    assert whole["group"].tolist() == ["low", "low", "non", "non", "low", "low"]
    assert list(whole) == ["model", "dataset", "width", "seed", "group", "layer", "std"]
    join(tables, tmp_path / "all" / "statistics.csv", groupings)
    pd.testing.assert_frame_equal(read_table(tmp_path / "all" / "statistics.csv"), whole)
    # of a table that tells of no runs, and of parts of one population, the text stays as it is
    for target, of in (("purity.csv", groupings), ("statistics.csv", [])):
        join(tables[:1], tmp_path / "as-it-is" / target, of[:1])
        found = (tmp_path / "as-it-is" / target).read_bytes()
        assert found == (tmp_path / "t-0.csv").read_bytes()


def test_a_run_without_a_group_is_an_error_wherever_groups_are_added(tmp_path):
    tables, groupings, _ = grouped_parts(tmp_path)
    grouping = read_table(groupings[0], "grouping")
    write_table(grouping[:1], groupings[0])
    with pytest.raises(
        WeightscapeError, match=r"g-0\.csv is refused: it has no group of the run dnn, digits, 2, 1"
    ):
        join(tables, tmp_path / "statistics.csv", groupings)
    assert not (tmp_path / "statistics.csv").exists()
    with pytest.raises(
        WeightscapeError, match=r"seed 1 of width 2 \(dnn on digits\) has no group; delete"
    ):
        add_groups(read_table(tables[0]), grouping[:1])


def test_a_table_without_rows_gets_the_column_of_groups(tmp_path):
    _, groupings, _ = grouped_parts(tmp_path)
    empty = pd.DataFrame(columns=[*heads.RUN_KEYS, "layer"])
    write_table(empty, tmp_path / "t.csv")
    grouping = read_table(groupings[0])
    assert list(add_groups(read_table(tmp_path / "t.csv"), grouping)) == [
        *heads.RUN_KEYS,
        "group",
        "layer",
    ]
    join([str(tmp_path / "t.csv")], tmp_path / "strength_heads.csv", groupings[:1])
    assert (tmp_path / "strength_heads.csv").read_text() == "model,dataset,width,seed,group,layer\n"
