"""Heads: what a measure, a claim or a figure says of itself, read without running its file.

Each file in the folders below begins with `HEAD = ...`, made of literals alone. The workflow is
parsed once for every cluster job, so it takes heads from the text of the files, and the numpy,
pandas and matplotlib that the rest of a file imports are not loaded. Rules, targets, tables, report
and docs follow from the heads; nothing else lists what there is.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from weightscape.errors import WeightscapeError

LIBRARY = Path(__file__).parent

KEYS = {
    "claim": "name of the claim, as C1",
    "model": "model family",
    "dataset": "name of the dataset",
    "width": "width of the network, as text: 20, 20x50, or a name",
    "seed": "number of the run among those of its width",
    "group": "non, low, mid, high or ungrouped",
    "layer": "layer; two as fc1-fc2 where they are compared; empty for the whole network",
    "statistic": "name of the number that is told",
    "epoch": "epoch after which it was measured; 0 is before training",
}
"""Columns that mean the same in every table."""
TEXT_KEYS = ("claim", "model", "dataset", "width", "group", "layer", "statistic")


@dataclass(frozen=True)
class Table:
    """A table: what a row is, and what each column means, in the order of the file."""

    row: str
    """`run and layer: norms and ranks of the weights`, as the report says it"""
    columns: dict[str, str]
    """column -> meaning, with its unit"""
    keys: tuple[str, ...] = ()
    """the first columns, of KEYS"""
    texts: tuple[str, ...] = ()
    """of the columns those that are text"""
    joined: bool = True
    """whether `tables/<name>.csv` has the rows of all populations"""

    @property
    def names(self) -> list[str]:
        """All columns, in order."""
        return [*self.keys, *self.columns]


@dataclass(frozen=True)
class LayerHead:
    """A measure of one layer of one run: a table `<name>.csv` with a row per run and layer.

    Its file has `describe(layer: LayerWeights)`, which returns the columns, or nothing where there
    is nothing to say of a layer.
    """

    row: str
    columns: dict[str, str]
    sizes: tuple[str, ...]
    """columns that tell the layer's size, and so the width: no learner may see them"""
    texts: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    """columns that compare with initial weights or tell of biases: null models have none of them"""
    prefix: str = ""
    """of the columns in nulls.csv"""
    effects: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """figure of the paper, or of ours -> columns whose effects are measured by null models too"""
    variation: tuple[str, ...] = ()
    """columns whose variance is told by its causes"""
    figure: int = 99
    """first figure of the paper that shows it; puts tables in order"""
    of_heads: bool = False
    """whether only layers that fall into heads have a row"""

    @property
    def table(self) -> Table:
        keys = ("model", "dataset", "width", "seed", "group", "layer")
        return Table(self.row, self.columns, keys, self.texts)

    @property
    def of_nulls(self) -> tuple[str, ...]:
        """The columns that are told of null models, without the prefix."""
        return tuple(name for name in self.columns if name not in {*self.beside, *self.texts})


@dataclass(frozen=True)
class MeasureHead:
    """A measure of a population, or an analysis of its tables: one job, and the tables it writes.

    Its file has `make(job: Job)`.
    """

    reads: tuple[str, ...]
    """tables by name, other files with their ending, `shards`, and `images`, the dataset"""
    tables: dict[str, Table]
    files: tuple[str, ...] = ()
    """what it writes that is no table"""
    settings: dict[str, str] = field(default_factory=dict)
    """name -> key of the config"""
    each: str = "population"
    """what a job is for: a population, a layer of it, or the whole study"""
    cost: str = "tables"
    """what memory and time grow with: tables, shards, or pairs of runs"""
    report: str = ""
    """category in the report, of a table of the whole study"""
    layers: bool = False
    """whether it also writes the tables of all measures of one layer"""


@dataclass(frozen=True)
class ClaimHead:
    """A claim of the paper. Its file has `statements(population)`, by which it is tested."""

    says: str
    """the claim in a sentence"""
    reads: tuple[str, ...]
    """tables by name, the runs apart"""
    statistics: dict[str, str]
    """statistic of a statement -> what it is, in words"""
    each: str = "population"
    """or `study`: then its statements are made of tables of the whole study"""
    untested: str = ""
    """why a study may have no statement of it"""


@dataclass(frozen=True)
class FigureHead:
    """A figure. Its file has `draw(populations, split)`."""

    reads: tuple[str, ...]
    """tables by name, other files with their ending; the runs apart"""
    category: str
    """in the report"""
    caption: str
    """with fields as {model}, {runs} and {figures[colour]}; see study.captions"""
    labels: dict[str, str] = field(default_factory=dict)
    """what tells it from other figures of the category"""
    layers: bool = True
    """whether its label lists the layers"""
    split: str = "figures.colour"
    """key of the config: the accuracy that it shows"""
    each: str = "population"
    """or `claim`: a figure for each claim; or `study`, where there are several populations"""
    grid: str = ""
    """caption of the paper's grid of several populations, where it has one"""
    grid_of: str = "model"
    """a grid for each model, of its datasets, or one of the whole `study`"""


Head = LayerHead | MeasureHead | ClaimHead | FigureHead
Kind = TypeVar("Kind", LayerHead, MeasureHead, ClaimHead, FigureHead)

_TEXT = re.compile(r"^HEAD = (.*?^\))$", re.MULTILINE | re.DOTALL)
_MADE = {kind.__name__: kind for kind in (Table, LayerHead, MeasureHead, ClaimHead, FigureHead)}


def read_head(path: Path) -> Head:
    """The head of a file. Raises WeightscapeError that names the file, and what is wrong."""
    found = _TEXT.search(path.read_text(encoding="utf-8"))
    if found is None:
        raise WeightscapeError(
            f"{path} has no head: begin it with HEAD = ..., as its neighbours do"
        )
    try:
        return _value(ast.parse(found[1], mode="eval").body)  # type: ignore[no-any-return]
    except (SyntaxError, TypeError, ValueError) as error:
        raise WeightscapeError(f"the head of {path} can't be read: {error}") from None


def _value(node: ast.expr) -> Any:
    """What an expression of literals, and of calls to the classes here, stands for."""
    if not any(isinstance(part, ast.Call) for part in ast.walk(node)):
        return ast.literal_eval(node)
    if isinstance(node, ast.Dict):
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_value, node.values), strict=True))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MADE:
        arguments = {str(word.arg): _value(word.value) for word in node.keywords}
        return _MADE[node.func.id](*map(_value, node.args), **arguments)
    raise ValueError(f"it is not made of literals: {ast.unparse(node)[:60]}")


@functools.cache
def _find(folder: str) -> dict[str, Head]:
    """File's name -> its head, in the order of the names."""
    paths = sorted((LIBRARY / folder).glob("*.py"))
    return {path.stem: read_head(path) for path in paths if path.stem != "__init__"}


def _of(kind: type[Kind], folder: str) -> dict[str, Kind]:
    found = {}
    for name, head in _find(folder).items():
        if not isinstance(head, kind):
            path = LIBRARY / folder / f"{name}.py"
            raise WeightscapeError(f"the head of {path} is no {kind.__name__}")
        found[name] = head
    return found


@functools.cache
def layer_measures() -> dict[str, LayerHead]:
    """The measures of one layer of one run, in the order of the paper's figures."""
    found = _of(LayerHead, "measures/layers")
    return dict(sorted(found.items(), key=lambda item: (item[1].figure, item[0])))


def measures() -> dict[str, MeasureHead]:
    """The measures of a population, and the analyses of its tables."""
    return _of(MeasureHead, "measures/runs") | _of(MeasureHead, "claims/analyses")


@functools.cache
def claims() -> dict[str, ClaimHead]:
    """The claims by their names, C1, C2, ..., C10; a file is `c10_what_it_is_about.py`."""
    found = {}
    for name, head in _of(ClaimHead, "claims/paper").items():
        number = re.match(r"c([1-9]\d*)_", name)
        if number is None:
            path = LIBRARY / "claims/paper" / f"{name}.py"
            raise WeightscapeError(f"{path}: call it c and its number, as c8_what_it_says.py")
        found[int(number[1])] = head
    return {f"C{number}": found[number] for number in sorted(found)}


def claim_module(claim: str) -> str:
    """The dotted name of a claim's file."""
    (path,) = (LIBRARY / "claims/paper").glob(f"{claim.lower()}_*.py")
    return f"weightscape.claims.paper.{path.stem}"


def figures() -> dict[str, FigureHead]:
    """The figures, by the first part of their files' names."""
    return _of(FigureHead, "figures")


def tables_of(head: MeasureHead) -> dict[str, Table]:
    """The tables that a measure writes."""
    of_layers = layer_measures() if head.layers else {}
    return {name: layer.table for name, layer in of_layers.items()} | head.tables


@functools.cache
def tables() -> dict[str, Table]:
    """Every table of measures and analyses by its name."""
    return {name: t for head in measures().values() for name, t in tables_of(head).items()}


def digest(tables: dict[str, Table]) -> str:
    """Of the tables' columns: another version's tables are made anew, and not misread."""
    columns = json.dumps({name: table.names for name, table in tables.items()})
    return hashlib.sha256(columns.encode()).hexdigest()[:8]
