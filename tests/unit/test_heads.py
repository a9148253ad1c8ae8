"""Heads: what each file says of itself holds, and what it can't say is one error."""

import ast
import importlib
import itertools

import numpy as np
import pytest

from weightscape import heads
from weightscape.claims.statements import Way
from weightscape.errors import WeightscapeError
from weightscape.heads.checks import check
from weightscape.measures.layer import LayerWeights
from weightscape.models import Link

FOLDERS = ("measures/layers", "measures/runs", "claims/paper", "claims/analyses", "figures")
FILES = [path for folder in FOLDERS for path in sorted((heads.LIBRARY / folder).glob("[!_]*.py"))]
FILES += [heads.LIBRARY / file for file in ("claims/statements.py", *heads.STAGES)]
MEASURE = 'HEAD = MeasureHead(\n    reads=("shards",),\n    tables={{"{0}": Table(row="r")}},\n)\n'
SHAPES = [(6, 4), (3, 9), (8, 2, 3, 3)]


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library of one's own, with two measures; write(file, text) adds a file to it."""
    for folder in (*FOLDERS, "runs", "preparing", "monitor", "publishing"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("claims/statements.py", *heads.STAGES):
        (tmp_path / file).write_text((heads.LIBRARY / file).read_text())
    for name in ("statistics", "reliability"):  # which all claims read
        (tmp_path / f"measures/runs/{name}.py").write_text(MEASURE.format(name))
    monkeypatch.setattr(heads, "LIBRARY", tmp_path)
    cached = [found for found in vars(heads).values() if hasattr(found, "cache_clear")]
    for function in cached:
        function.cache_clear()
    yield lambda file, text: (tmp_path / file).write_text(text)
    for function in cached:
        function.cache_clear()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_head_is_read_as_it_is_when_the_file_runs(path):
    dotted = ".".join(path.relative_to(heads.LIBRARY).with_suffix("").parts)
    assert heads.read_head(path) == importlib.import_module(f"weightscape.{dotted}").HEAD


def test_reading_heads_imports_nothing_heavy():
    trees = [ast.parse(path.read_text()) for path in (heads.LIBRARY / "heads").glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports for alias in node.names}
    assert not {"numpy", "pandas", "matplotlib", "torch", "import_module"} & names


def test_the_heads_of_the_library_fit_each_other():
    check()
    assert list(heads.claims())[:7] == [f"C{number}" for number in range(1, 8)]
    assert list(heads.layer_measures())[:3] == ["statistics", "strength", "strength_heads"]


def test_every_column_has_a_meaning_of_its_own():
    for name, table in heads.tables().items():
        assert len(set(table.names)) == len(table.names), name
        assert set(table.keys) <= set(heads.KEYS), name
        for column, meaning in table.columns.items():
            assert len(meaning) > 8, (name, column)
            assert not meaning.endswith("."), (name, column)
        assert set(table.texts) <= set(table.columns), name
        assert table.row, name


def test_a_name_is_text_in_all_tables_or_in_none():
    for name, table in heads.tables().items():
        own = {*table.texts, *(name for name in table.names if name in heads.TEXT_KEYS)}
        # the stages that nothing reads again have lists in cells
        if name not in ("settings", "plan", "imports"):
            assert {column for column in table.names if column in heads.texts()} == own, name


# measures of one layer


def trained(shape, seed):
    """A layer whose nodes another layer of the same number of inputs reads."""
    random = np.random.default_rng([seed, *shape])
    layer, other = (
        LayerWeights(*(random.normal(0.1, 1, s).astype(np.float32) for s in (own, own, own[:1])))
        for own in (shape, (5, shape[0]))
    )
    layer.readers.append((Link(("one",), "other"), other))
    layer.readers.append((Link(("one",), "other", parts=shape[0]), other))
    return layer


def describe(name, layer):
    return importlib.import_module(f"weightscape.measures.layers.{name}").describe(layer)


@pytest.mark.parametrize("name", heads.layer_measures())
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_layer_measure_finds_the_columns_that_its_head_has(name, shape):
    head = heads.layer_measures()[name]
    layer = trained(shape, 0)
    assert list(describe(name, layer)) == list(head.columns)
    null = LayerWeights(layer.weight)
    null.readers = layer.readers
    assert set(head.of_nulls) <= set(describe(name, null))


@pytest.mark.parametrize("name", heads.layer_measures())
def test_a_column_that_weights_do_not_move_is_a_size(name):
    """A size that is no size in its head would tell learners the width: this one finds it."""
    head = heads.layer_measures()[name]
    found = {shape: [describe(name, trained(shape, seed)) for seed in range(4)] for shape in SHAPES}
    for column in head.columns:
        if column in head.texts:
            continue
        of_shape = {shape: {row[column] for row in rows} for shape, rows in found.items()}
        is_fixed = all(len(values) == 1 for values in of_shape.values())
        differs = len(set(itertools.chain(*of_shape.values()))) > 1
        if is_fixed and differs:
            assert column in head.sizes, f"{name}: {column} follows from the shape alone"


def test_a_layer_measure_must_say_its_sizes(library):
    library(
        "measures/layers/new.py", 'HEAD = LayerHead(\n    row="r",\n    columns={"x": "y"},\n)\n'
    )
    with pytest.raises(
        WeightscapeError, match=r"new\.py can't be read: it needs columns and sizes"
    ):
        heads.layer_measures()


# what a head can't say

FIGURE = 'HEAD = FigureHead(\n    reads=("{0}",),\n    category="c",\n    caption="",\n)\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('"""No head."""\n', "has no HEAD: a line that begins with HEAD = "),
        ("HEAD = FigureHead(\n    reads=names(),\n)\n", "not made of literals"),
        ("HEAD = FigureHead(\n    reads=open('x'),\n)\n", "not made of literals"),
        ("HEAD = FigureHead(\n    category='x',\n)\n", "missing"),
        ("HEAD = FigureHead(\n    colour='x',\n)\n", "unexpected keyword"),
        ("HEAD = FigureHead(\n    reads=(,\n)\n", "can't be read"),
        (
            FIGURE.format("runs").replace("    caption", "    each='run',\n    caption"),
            "each is run",
        ),
        (
            FIGURE.format("runs", "x").replace("    caption", "    grid_of='x',\n    caption"),
            "grid_of",
        ),
        (
            "HEAD = ClaimHead(\n    says='', reads=(), statistics={},\n)\n",
            "is not a FigureHead; this folder needs one",
        ),
    ],
)
def test_a_bad_head_is_one_error_that_names_the_file(library, text, why):
    library("figures/new.py", text)
    with pytest.raises(WeightscapeError, match=why) as caught:
        heads.figures()
    assert "figures/new.py" in str(caught.value)


CLAIM = "HEAD = ClaimHead(\n    says='s',\n    reads=(),\n    statistics={},\n)\n"


def test_a_choice_that_no_analyst_has_is_an_error(library):
    library("claims/paper/c8_new.py", CLAIM.replace("reads", "varies=('accuracy',),\n    reads"))
    with pytest.raises(WeightscapeError, match="varies is accuracy; it can be split, non, widths"):
        heads.claims()


def test_a_way_has_all_choices():
    assert Way._fields == tuple(heads.WAYS)


def test_a_figure_of_a_table_that_nothing_writes_is_an_error(library):
    library("measures/runs/one.py", MEASURE.format("overlap"))
    library("figures/new.py", FIGURE.format("overlaps"))
    with pytest.raises(
        WeightscapeError, match=r"figure new reads overlaps.*did you mean overlap\?"
    ):
        check()


def test_a_figure_of_the_study_reads_tables_of_the_study(library):
    text = FIGURE.format("runs").replace("    caption", '    each="study",\n    caption')
    library("figures/new.py", text)
    with pytest.raises(WeightscapeError, match="figure new is of the whole study"):
        check()


def test_a_claim_draws_a_figure_of_its_own():
    assert list(heads.drawn_by("claim"))[:6] == [f"claim_C{number}" for number in range(1, 7)]
    assert "claim_C7" not in heads.drawn_by("claim")  # of the whole study
    assert heads.drawn_by("telemetry") == {"telemetry": {"curve": "telemetry"}}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("cost='cheap'", "cost is cheap; it can be tables, shards, pairs"),
        ("each='run'", "each is run; it can be population, layer, study"),
        ("settings={'a': 'study'}", "study is not a key of the config like claims.alpha"),
        ("each='layer', files=('x.h5',)", "only a job for each population"),
        ("each='study'", "a job for the whole study reads no shards"),
    ],
)
def test_a_measure_that_could_not_be_a_job_is_an_error(library, more, why):
    text = MEASURE.format("one").replace("    tables", f"    {more},\n    tables")
    library("measures/runs/one.py", text)
    with pytest.raises(WeightscapeError, match=why):
        heads.measures()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("sizes=('y',)", "y is none of its columns"),
        ("sizes=(), variation=('y',)", "y is none of its columns"),
        ("sizes=(), effects={'f': ('y',)}", "y is none of its columns"),
        ("sizes=(), beside=('x',), effects={'f': ('x',)}", "x is beside"),
    ],
)
def test_a_layer_measure_names_columns_that_it_has(library, more, why):
    library("measures/layers/new.py", f"HEAD = LayerHead(\n    'r', {{'x': 'y'}}, {more}\n)\n")
    with pytest.raises(WeightscapeError, match=why):
        heads.layer_measures()


def test_columns_of_two_layer_measures_do_not_hide_each_other(library):
    for name in ("one", "other"):
        library(
            f"measures/layers/{name}.py", "HEAD = LayerHead(\n    'r', {'x': 'y'}, sizes=()\n)\n"
        )
    with pytest.raises(WeightscapeError, match="have x; give one a prefix"):
        check()


@pytest.mark.parametrize("read", ["shards", "layers", "matching.h5", "claim_values"])
def test_a_claim_reads_tables_alone(library, read):
    library("measures/runs/one.py", MEASURE.format("overlap"))
    library("claims/paper/c8_new.py", CLAIM.replace("reads=()", f"reads=('{read}',)"))
    with pytest.raises(WeightscapeError, match="the claim C8 reads"):
        check()


def test_another_claim_or_layer_measure_is_another_digest(library):
    digests = {heads.digest_of_claims(), heads.digest_of_layers()}
    library("claims/paper/c8_new.py", CLAIM)
    library("measures/layers/one.py", "HEAD = LayerHead(\n    'r', {'x': 'y'}, sizes=()\n)\n")
    for function in vars(heads).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
    assert not digests & {heads.digest_of_claims(), heads.digest_of_layers()}


def test_two_measures_of_one_table_are_an_error(library):
    library("measures/runs/one.py", MEASURE.format("overlap"))
    library("claims/analyses/other.py", MEASURE.format("overlap"))
    with pytest.raises(WeightscapeError, match="two measures write overlap"):
        check()


def test_figures_that_would_hide_each_other_in_the_report_are_an_error(library):
    for name in ("one", "other"):
        library(f"figures/{name}.py", FIGURE.format("runs"))
    with pytest.raises(WeightscapeError, match="one and other have one category and equal labels"):
        check()


def test_claims_go_beyond_nine_and_stand_by_their_numbers(library):
    for number in (10, 2, 9, 11):
        library(f"claims/paper/c{number}_new.py", CLAIM)
    assert list(heads.claims()) == ["C2", "C9", "C10", "C11"]
    assert heads.claim_module("C10") == "weightscape.claims.paper.c10_new"


@pytest.mark.parametrize("names", [("low_rank",), ("c0_new",), ("c8_new", "c8_other")])
def test_a_claim_without_a_number_of_its_own_is_an_error(library, names):
    for name in names:
        library(f"claims/paper/{name}.py", CLAIM)
    with pytest.raises(WeightscapeError, match="claims/paper"):
        heads.claims()


def test_a_claim_can_not_read_what_claims_make(library):
    library("claims/paper/c8_new.py", CLAIM.replace("reads=()", "reads=('claim_widths',)"))
    with pytest.raises(WeightscapeError, match="the claim C8 reads claim_widths, which it can't"):
        check()


def test_another_column_is_another_digest():
    of_one = {"one": heads.Table("r", {"a": "", "b": ""})}
    assert heads.digest(of_one) != heads.digest({"one": heads.Table("r", {"b": "", "a": ""})})
    assert heads.digest(of_one) == heads.digest({"one": heads.Table("other", {"a": "x", "b": ""})})


@pytest.mark.parametrize(
    ("reads", "cost"),
    [
        (["runs"], "tables"),
        (["statistics", "densities.h5"], "shards"),
        (["layers"], "shards"),
        (["matching.h5"], "shards"),
        (["null_effects"], "pairs"),  # by way of purity, which is of the projection
        (["runs", "transfer"], "shards"),
    ],
)
def test_what_tables_cost_is_told_by_the_dearest_measure_on_the_way(reads, cost):
    assert heads.dearest(reads) == cost


def test_measures_that_read_each_other_cost_something_too(library):
    """Snakemake tells the user of the circle."""
    for name, other in (("one", "two"), ("two", "one")):
        text = f'HEAD = MeasureHead(reads=("{other}",), tables={{"{name}": Table(row="r")}})\n'
        library(f"claims/analyses/{name}.py", text)
    assert heads.dearest(["one"]) == "tables"
