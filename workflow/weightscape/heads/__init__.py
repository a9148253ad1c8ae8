"""Heads: what a measure, a claim or a figure says of itself, read without running its file.

Each file in the folders below has `HEAD = ...` after its imports, made of literals alone, on one
line or up to the first line that is a closing bracket and no more. The workflow is parsed once for
every cluster job, so it takes heads from the text of the files, and the numpy, pandas and
matplotlib that the rest of a file imports are not loaded. Rules, targets, tables, report and docs
follow from the heads; nothing else lists what there is. `kinds` has what a head can say, `checks`
whether the heads fit each other.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from weightscape.errors import WeightscapeError
from weightscape.heads.kinds import (
    COSTS,
    KEYS,
    RUN_KEYS,
    TEXT_KEYS,
    WAYS,
    ClaimHead,
    FigureHead,
    LayerHead,
    MeasureHead,
    Table,
)

__all__ = [
    "KEYS",
    "LIBRARY",
    "RUN_KEYS",
    "STAGES",
    "TEXT_KEYS",
    "WAYS",
    "ClaimHead",
    "FigureHead",
    "LayerHead",
    "MeasureHead",
    "Table",
    "claim_module",
    "claims",
    "dearest",
    "digest",
    "digest_of_claims",
    "digest_of_layers",
    "digest_of_meanings",
    "digest_of_words",
    "drawn_by",
    "figures",
    "judged",
    "layer_measures",
    "measure_module",
    "measures",
    "of_study",
    "read_by",
    "read_by_claims",
    "read_head",
    "rooms",
    "setting",
    "shown_by",
    "stages",
    "tables",
    "tables_of",
    "texts",
    "told_layer_measures",
]

LIBRARY = Path(__file__).parents[1]
NAME = re.compile("[a-z][a-z0-9_]*")

STAGES = (
    "runs/collecting.py",
    "preparing/importing.py",
    "claims/judge.py",
    "runs/paper_tables.py",
    "monitor/plan.py",
    "publishing/data.py",
)
"""Files of stages that have a rule of their own, or none, and make tables."""


Head = LayerHead | MeasureHead | ClaimHead | FigureHead
Kind = TypeVar("Kind", LayerHead, MeasureHead, ClaimHead, FigureHead)

_MADE = {kind.__name__: kind for kind in (Table, LayerHead, MeasureHead, ClaimHead, FigureHead)}


@functools.cache
def read_head(path: Path) -> Head:
    """The head of a file. Raises WeightscapeError that names the file, and what is wrong."""
    text = _find(path.read_text(encoding="utf-8"))
    if text is None:
        raise WeightscapeError(
            f"{path} has no HEAD: a line that begins with HEAD = , and then the head, as the other "
            "files in its folder have it"
        )
    try:
        return _value(ast.parse(text, mode="eval").body)  # type: ignore[no-any-return]
    except (SyntaxError, TypeError, ValueError) as error:
        raise WeightscapeError(f"the head of {path} can't be read: {error}") from None


def _find(text: str) -> str | None:
    """The text of a head, without parsing the rest of the file."""
    _, found, rest = f"\n{text}".partition("\nHEAD = ")
    line, _, _ = rest.partition("\n")
    if not found:
        return None
    before, end, _ = rest.partition("\n)\n")
    return line if line.endswith(")") or not end else f"{before}\n)"


def _value(node: ast.expr) -> Any:
    """What an expression of literals, and of calls to the classes here, stands for."""
    if not any(isinstance(part, ast.Call) for part in ast.walk(node)):
        try:
            return ast.literal_eval(node)
        except ValueError:
            raise ValueError(f"it is not made of literals: {ast.unparse(node)[:60]}") from None
    if isinstance(node, ast.Dict):
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_value, node.values), strict=True))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MADE:
        arguments = {str(word.arg): _value(word.value) for word in node.keywords}
        return _MADE[node.func.id](*map(_value, node.args), **arguments)
    raise ValueError(f"it is not made of literals: {ast.unparse(node)[:60]}")


@functools.cache
def _names(folder: str) -> list[str]:
    """Of the files in a folder, each of which has a head; others begin with _ or a point."""
    names = sorted(path.stem for path in (LIBRARY / folder).glob("[!_.]*.py"))
    for name in names:
        if not NAME.fullmatch(name):
            path = LIBRARY / folder / f"{name}.py"
            raise WeightscapeError(f"{path}: call it by small letters, digits and _ alone")
    return names


def _all(kind: type[Kind], folder: str) -> dict[str, Kind]:
    """File's name -> its head."""
    return {name: _head(kind, f"{folder}/{name}.py") for name in _names(folder)}


def _head(kind: type[Kind], file: str) -> Kind:
    head = read_head(LIBRARY / file)
    if not isinstance(head, kind):
        raise WeightscapeError(
            f"the head of {LIBRARY / file} is not a {kind.__name__}; this folder needs one"
        )
    return head


@functools.cache
def layer_measures() -> dict[str, LayerHead]:
    """The measures of one layer of one run, in the order of the paper's figures."""
    found = _all(LayerHead, "measures/layers")
    ordered = sorted(found.items(), key=lambda item: (item[1].figure, item[0]))
    return {name: _complete(head, found) for name, head in ordered}


def _complete(head: LayerHead, others: dict[str, LayerHead]) -> LayerHead:
    """A head with the columns of the measure that it is like."""
    if not head.like:
        return head
    if head.like not in others:
        raise WeightscapeError(f"a measure of one layer is like {head.like}, which there is not")
    other = others[head.like]
    same = {field: getattr(other, field) for field in ("columns", "sizes", "texts", "beside")}
    return replace(head, like="", **same)


def told_layer_measures() -> dict[str, LayerHead]:
    """Those of which every layer has a row: null models are told by them, and learners too."""
    return {name: head for name, head in layer_measures().items() if not head.of_heads}


@functools.cache
def claims() -> dict[str, ClaimHead]:
    """The claims by their names, C1, C2, ..., C10; a file is `c10_what_it_is_about.py`."""
    return {name: head for name, (head, _) in _claims().items()}


def claim_module(claim: str) -> str:
    """The dotted name of a claim's file."""
    return f"weightscape.claims.paper.{_claims()[claim][1]}"


@functools.cache
def _claims() -> dict[str, tuple[ClaimHead, str]]:
    """Claim -> its head and its file's name."""
    found = {}
    for name, head in _all(ClaimHead, "claims/paper").items():
        number = re.match(r"c([1-9]\d*)_", name)
        if number is None:
            path = LIBRARY / "claims/paper" / f"{name}.py"
            raise WeightscapeError(
                f"{path} must be named c, its number and a few words, such as c8_what_it_says.py"
            )
        if int(number[1]) in found:
            raise WeightscapeError(
                f"the claim C{number[1]} has two files in claims/paper; keep one"
            )
        found[int(number[1])] = head, name
    return {f"C{number}": found[number] for number in sorted(found)}


def read_by_claims(each: str = "population") -> list[str]:
    """The tables that the claims about each population, or about the `study`, are made from."""
    of_each = (head.reads for head in claims().values() if head.each == each)
    return list(dict.fromkeys(name for reads in of_each for name in reads))


@functools.cache
def measures() -> dict[str, MeasureHead]:
    """The jobs that turn a population into tables: its measures, the analyses of their tables, and
    the claims, which read what each of them names."""
    of_runs, analyses = _all(MeasureHead, "measures/runs"), _all(MeasureHead, "claims/analyses")
    for name in (of_runs.keys() & analyses.keys()) | ({"claims"} & {*of_runs, *analyses}):
        raise WeightscapeError(f"there are two measures called {name}; rename one of the files")
    own = of_runs | analyses
    statements = _head(MeasureHead, "claims/statements.py")
    reads = dict.fromkeys(["runs", "grouping", "statistics", "reliability", *read_by_claims()])
    return own | {"claims": replace(statements, reads=tuple(reads))}


def measure_module(name: str) -> str:
    """The dotted name of a measure's file."""
    if name == "claims":
        return "weightscape.claims.statements"
    of_runs = name in _names("measures/runs")
    return f"weightscape.{'measures.runs' if of_runs else 'claims.analyses'}.{name}"


def figures() -> dict[str, FigureHead]:
    """The figures, by the first part of their files' names."""
    return _all(FigureHead, "figures")


def shown_by(name: str) -> str:
    """The first line of a figure's file, which says what it shows."""
    text = (LIBRARY / "figures" / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0].rstrip(".")


def drawn_by(name: str) -> dict[str, dict[str, str]]:
    """The figures that a file draws, of each population or of the study, and the labels of each."""
    head = figures()[name]
    if head.each != "claim":
        return {name: head.labels}
    of_population = [claim for claim, of in claims().items() if of.each == "population"]
    return {f"{name}_{claim}": head.labels | {"claim": claim} for claim in of_population}


def tables_of(head: MeasureHead) -> dict[str, Table]:
    """The tables that a measure writes."""
    of_layers = layer_measures() if head.layers else {}
    return {name: layer.table for name, layer in of_layers.items()} | {
        name: _table(table) for name, table in head.tables.items()
    }


def _table(table: Table) -> Table:
    """A table with all columns, also those that others name."""
    if table.of_layers:
        columns = {
            head.prefix + name: head.columns[name]
            for head in told_layer_measures().values()
            for name in head.of_nulls
        }
        return replace(table, columns=table.columns | columns)
    if not table.like:
        return table
    if table.like not in stages():
        raise WeightscapeError(
            f"a table is like {table.like}; it can be like {', '.join(stages())}"
        )
    other = stages()[table.like]
    columns = {name: text for name, text in other.columns.items() if name not in table.without}
    texts = tuple(name for name in other.texts if name in columns)
    return replace(table, columns=columns, keys=other.keys, texts=texts)


@functools.cache
def stages() -> dict[str, Table]:
    """The tables of stages that have a rule of their own."""
    heads = [_head(MeasureHead, file) for file in STAGES]
    return {name: table for head in heads for name, table in head.tables.items()}


def rooms() -> dict[str, dict[str, Table]]:
    """Every table by its name, by the room that makes it, as documents and pages tell of them."""
    own = dict(stages())
    claims = {name: own.pop(name) for name in judged()}
    return {
        "The runs, and the study": own,
        "One layer of one run": {name: head.table for name, head in layer_measures().items()},
        "A population": _tables_in("measures."),
        "Claims and analyses": claims | _tables_in("claims."),
    }


def _tables_in(room: str) -> dict[str, Table]:
    """Those that a head in the room writes, without those of layers."""
    return {
        name: table
        for measure, head in measures().items()
        if measure_module(measure).startswith(f"weightscape.{room}")
        for name, table in head.tables.items()
    }


def of_study() -> set[str]:
    """The tables that the measures of a whole study write, and those of its judged claims."""
    named = {name for head in measures().values() if head.each == "study" for name in head.tables}
    return named | judged().keys()


def judged() -> dict[str, Table]:
    """The tables of the judged claims."""
    return _head(MeasureHead, "claims/judge.py").tables


def read_by(head: MeasureHead) -> list[str]:
    """What a measure's job reads, with each of the `layers` by its name."""
    layers = [*told_layer_measures()]
    return [n for name in head.reads for n in (layers if name == "layers" else [name])]


def setting(config: Mapping[str, Any], key: str) -> Any:
    """What a config says of a key that a head names, as `claims.alpha`."""
    section, name = key.split(".")
    try:
        return config[section][name]
    except (KeyError, TypeError):
        raise WeightscapeError(f"a head names the key {key}, which no config has.") from None


def dearest(reads: Iterable[str]) -> str:
    """The highest of the costs of all measures that make some tables, or what these are made of."""
    makers = {
        name: head for head in measures().values() for name in (*tables_of(head), *head.files)
    }
    to_do, found = [*reads], {"tables"}
    seen: set[str] = set()
    while to_do:
        name = to_do.pop()
        if name == "layers":
            to_do += told_layer_measures()
        elif name in makers and name not in seen:
            to_do += makers[name].reads
            found.add(makers[name].cost)
        seen.add(name)
    return max(found, key=COSTS.index)


@functools.cache
def tables() -> dict[str, Table]:
    """Every table by its name."""
    made = {name: t for head in measures().values() for name, t in tables_of(head).items()}
    return made | stages()


@functools.cache
def texts() -> dict[str, str]:
    """The columns of any table that are text, as pandas takes types: a width 20 is no number."""
    names = {*TEXT_KEYS, *(name for table in tables().values() for name in table.texts)}
    return dict.fromkeys(sorted(names), "str")


def digest(tables: dict[str, Table]) -> str:
    """Of the tables' columns: another version's tables are made anew, and not misread."""
    return _digest({name: table.names for name, table in tables.items()})


def digest_of_claims() -> str:
    """Of what claims are measured: another claim is measured too."""
    told = claims().items()
    return _digest({claim: [h.each, h.reads, [*h.statistics], h.varies] for claim, h in told})


def digest_of_words() -> str:
    """Of what the scorecard says of the claims."""
    return _digest({claim: [h.says, h.untested, h.statistics] for claim, h in claims().items()})


def digest_of_meanings() -> str:
    """Of what rows and columns of all tables mean, as the page of tables says it."""
    return _digest([KEYS, [[name, t.row, t.columns] for name, t in tables().items()]])


def digest_of_layers() -> str:
    """Of what the measures of one layer say of their columns to those that read them all."""
    told = told_layer_measures().items()
    return _digest(
        {name: [h.sizes, h.beside, h.prefix, h.effects, h.variation] for name, h in told}
    )


def _digest(told: Any) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:8]
