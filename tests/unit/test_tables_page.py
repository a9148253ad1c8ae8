"""The page of tables: what it holds, and what it does in a real browser."""

import base64
import gzip
import html
import json
import re

import numpy as np
import pandas as pd
import pytest

from browsing import browse, needs_chromium
from weightscape.errors import WeightscapeError
from weightscape.exploring import tables
from weightscape.exploring.tables import render
from weightscape.storage.tables import write_table

HOSTILE = '</script><script>document.title="run"</script><b>&"\''


@pytest.fixture(scope="module")
def runs():
    """Rows in no order, with missing, infinite and equal values, and texts that are alike."""
    random = np.random.default_rng(0)
    n = 30
    return pd.DataFrame(
        {
            "model": "dnn",
            "dataset": "mnist",
            "width": random.choice(["5", "10", "50", "20x50"], n),
            "seed": random.permutation(n),
            "group": random.choice(["low", "high", "non"], n),
            "test_accuracy": random.choice([9.5, 10.25, 100.0, np.nan], n),
            "test_loss": [np.inf, -np.inf, 1e-12, *random.lognormal(0, 3, n - 3)],
        }
    )


def make_page(folder, study="s", **of):
    for name, table in of.items():
        write_table(table, folder / f"{name}.csv")
    return render([folder / f"{name}.csv" for name in of], study)


@pytest.fixture
def page(runs, tmp_path):
    groups = pd.DataFrame({"model": "dnn", "group": ["low"], "n": [1234567]})
    return make_page(tmp_path, runs=runs, groups=groups)


def unpack(page):
    """Of each table in a page what it says, and its columns as lists of texts."""
    (data,) = re.findall(r'<script id="data"[^>]*>(.*?)</script>', page, re.DOTALL)
    found = {}
    for of_room in json.loads(data)["rooms"].values():
        for table in of_room:
            cells = json.loads(gzip.decompress(base64.b64decode(table["cells"])))
            found[table["name"]] = table | {"cells": [column.split("\n") for column in cells]}
    return found


def test_the_page_has_each_table_with_five_digits_and_the_meaning_of_its_columns(page, runs):
    found = unpack(page)
    assert [*found] == ["runs", "groups"]
    own = found["runs"]
    assert own["n"] == own["shown"] == len(runs)
    kinds = [column["number"] for column in own["columns"]]
    assert kinds == [False, False, False, True, False, True, True]
    for column, cells in zip(own["columns"], own["cells"], strict=True):
        values = runs[column["name"]]
        if column["number"]:
            read = np.array([float(cell or "nan") for cell in cells])
            np.testing.assert_allclose(read, values.astype(float), rtol=5e-5)
        else:
            assert cells == values.tolist()
    meanings = {column["name"]: column["meaning"] for column in own["columns"]}
    assert meanings["width"] == "width of the network, as text: 20, 20x50, or a name"
    assert meanings["test_accuracy"].endswith("(%)")
    assert found["groups"]["cells"][2] == ["1234567"]  # a count keeps all digits


def test_the_same_tables_make_the_same_page(page, tmp_path):
    assert render([tmp_path / "runs.csv", tmp_path / "groups.csv"], "s") == page


def test_a_large_table_is_shown_up_to_a_told_limit(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST_CELLS", 10 * runs.shape[1] + 1)
    found = unpack(make_page(tmp_path, runs=runs))["runs"]
    assert (found["n"], found["shown"]) == (30, 10)
    assert found["cells"][3] == runs["seed"][:10].astype(str).tolist()


def test_a_changed_table_is_one_error_that_names_it(page, tmp_path):
    with (tmp_path / "runs.csv").open("a") as file:
        file.write("dnn\n")
    with pytest.raises(WeightscapeError, match=r"runs\.csv"):
        render([tmp_path / "runs.csv"], "s")


# ---- in a browser

START = """
  const settle = () => wait(400);
  const cells = (place) => [...document.querySelectorAll("tbody tr[aria-rowindex]")].map((row) =>
    row.children[place].textContent);
  const column = (name) => [...document.querySelectorAll("thead th")].findIndex((cell) =>
    cell.querySelector("button").textContent.split(" ")[0] === name);
  const header = (name) => document.querySelectorAll("thead th")[column(name)];
  const press = (name) => header(name).querySelector("button").click();
  const type = (input, text) => {
    input.value = text;
    input.dispatchEvent(new Event("input"));
  };
  const keep = (name, text) => type(header(name).querySelector("input"), text);
  await settle();
"""


@needs_chromium
def test_a_column_is_sorted_both_ways_with_missing_values_last(page, runs, tmp_path):
    steps = """
      for (const name of ["test_accuracy", "test_loss", "width"]) {
        found[name] = [];
        for (const turn of [1, 2, 3]) {
          press(name);
          found[name].push([header(name).ariaSort, cells(column("seed"))]);
        }
      }
    """
    found, _ = browse(page, tmp_path, START + steps)
    order = {width: place for place, width in enumerate(["5", "10", "20x50", "50"])}
    keys = dict.fromkeys(("test_accuracy", "test_loss"))
    keys["width"] = lambda column: column.map(order)
    for name, key in keys.items():
        expected = [
            (word, runs.sort_values(name, ascending=up, kind="stable", key=key)["seed"].tolist())
            for word, up in (("ascending", True), ("descending", False))
        ]
        expected.append(("none", runs["seed"].tolist()))
        assert [(word, [*map(int, seeds)]) for word, seeds in found[name]] == expected
    assert found["faults"] == []
    assert [address for address in found["asked"] if not address.startswith("file:")] == []


@needs_chromium
def test_search_and_filters_leave_the_rows_that_a_computation_leaves(page, runs, tmp_path):
    steps = """
      const tell = () => [cells(column("seed")).map(Number), part("count").textContent];
      type(search, "HIGH 20x");
      found.search = tell();
      type(search, "");
      keep("test_loss", "> 0.5 <= 2e3");
      found.numbers = tell();
      keep("width", "= 5");
      found.both = tell();
      keep("test_loss", ">");  // half typed
      found.text = tell();
      keep("width", "5");
      found.part = tell();
      keep("width", "nothing");
      found.nothing = tell();
    """
    found, _ = browse(page, tmp_path, START + steps)
    loss, width = runs["test_loss"], runs["width"]
    expected = {
        "search": (runs["group"] == "high") & (width == "20x50"),
        "numbers": (loss > 0.5) & (loss <= 2000),
        "both": (loss > 0.5) & (loss <= 2000) & (width == "5"),
        "text": width == "5",
        "part": width.str.contains("5"),
        "nothing": width == "nothing",
    }
    for name, kept in expected.items():
        assert found[name] == [runs["seed"][kept].tolist(), f"{kept.sum()} of 30 rows"], name
    assert 0 < expected["both"].sum() < expected["numbers"].sum()
    assert found["faults"] == []


@needs_chromium
def test_of_many_rows_those_in_sight_are_in_the_page(tmp_path):
    n = 60_000
    values = np.random.default_rng(0).permutation(n)
    page = make_page(tmp_path, runs=pd.DataFrame({"seed": range(n), "test_loss": values / 7}))
    steps = """
      const area = document.getElementById("rows");
      press("test_loss");
      found.first = cells(0).slice(0, 5);
      const before = cells(0).at(-1);
      area.scrollTop = area.scrollHeight;
      // drawn with the next frame, which a busy machine shows late
      for (let tries = 0; tries < 30 && cells(0).at(-1) === before; tries++) await settle();
      found.last = cells(0).at(-1);
      found.n = cells(0).length;
      found.height = area.querySelector("tbody").offsetHeight;
    """
    found, _ = browse(page, tmp_path, START + steps)
    order = np.argsort(values)
    assert found["first"] == [str(seed) for seed in order[:5]]
    assert found["last"] == str(order[-1])
    assert 20 < found["n"] < 100
    assert found["height"] == 24 * n
    assert found["faults"] == []


@needs_chromium
def test_a_table_without_rows_has_its_columns(runs, tmp_path):
    page = make_page(tmp_path, runs=runs[:0])
    steps = """
      press("test_loss");
      type(search, "high");
      found.rows = cells(0);
      found.count = part("count").textContent;
      found.columns = document.querySelectorAll("thead th").length;
    """
    found, _ = browse(page, tmp_path, START + steps)
    assert found["rows"] == []
    assert found["count"] == "0 of 0 rows"
    assert found["columns"] == runs.shape[1]
    assert found["faults"] == []


@needs_chromium
def test_a_table_is_chosen_by_its_address_and_a_column_tells_what_it_means(page, tmp_path):
    steps = """
      found.names = [document.getElementById("name").textContent];
      header("n").querySelector("button").focus();
      found.meaning = document.getElementById("meaning").textContent;
      location.hash = "#runs";
      await settle();
      found.names.push(document.getElementById("name").textContent);
      found.current = document.querySelector("nav a[aria-current]").dataset.name;
      found.reached = [...document.querySelectorAll("a, input, button, #rows")].every((each) =>
        each.tabIndex === 0);
    """
    found, _ = browse(page, tmp_path, START + steps, "#groups")
    assert found["names"] == ["groups.csv", "runs.csv"]
    assert found["current"] == "runs"
    assert found["meaning"].startswith("n: ")
    assert found["reached"]  # by the keyboard
    assert found["faults"] == []


@needs_chromium
def test_a_browser_that_is_too_old_is_one_sentence(page, tmp_path):
    page = page.replace("<script>", "<script>delete window.DecompressionStream;", 1)
    steps = "found.about = document.getElementById('about').textContent;"
    found, _ = browse(page, tmp_path, "await wait(400);" + steps)
    assert found["about"].startswith("This browser can't unpack the tables: open the page in")
    assert found["faults"] == []


@needs_chromium
def test_markup_stays_text(runs, tmp_path):
    page = make_page(tmp_path, HOSTILE, runs=runs.assign(dataset=HOSTILE))
    steps = """
      found.cell = cells(column("dataset"))[0];
      found.bold = document.querySelectorAll("b").length;
    """
    found, dom = browse(page, tmp_path, START + steps)
    assert found["cell"] == HOSTILE
    assert found["bold"] == 0
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)[1]
    assert html.unescape(title) == f"Tables of the study {HOSTILE}"
    assert found["faults"] == []
