"""The parts of the docs that are made from the code; `make pages` writes them anew.

A page keeps what is written by hand; what is made stands between two comments that name it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.study.config import key_table


def columns() -> str:
    """Every table with every column, in Markdown."""
    common = [f"| `{name}` | {meaning} |" for name, meaning in heads.KEYS.items()]
    parts = ["## Columns of many tables\n", "| column | meaning |", "|---|---|", *common, ""]
    for name, table in sorted(heads.tables().items()):
        parts += [f"## {name}.csv\n", f"One row per {table.row}.\n", *_columns(table), ""]
    return "\n".join(parts).rstrip()


def _columns(table: heads.Table) -> Iterator[str]:
    if table.keys:
        yield f"First {', '.join(f'`{key}`' for key in table.keys)}, then:\n"
    yield from ("| column | meaning |", "|---|---|")
    for name, meaning in table.columns.items():
        yield f"| `{name}` | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def tables() -> str:
    """The tables of a study by the room that makes them, in Markdown."""
    lines = []
    for title, found in heads.rooms().items():
        lines += [f"**{title}**\n", "| file in `tables/` | a row per | content |", "|---|---|---|"]
        for name, table in found.items():
            if table.joined:
                row, _, content = table.row.partition(": ")
                lines.append(f"| `{name}.csv` | {row} | {_cell(content)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def figures() -> str:
    """The figures of a study, in Markdown: the first line of each file, and what it reads."""
    lines = ["| file in `figures/` | content | made from |", "|---|---|---|"]
    for name, head in sorted(heads.figures().items()):
        reads = ", ".join(f"`{read}`" if "." in read else f"`{read}.csv`" for read in head.reads)
        lines.append(f"| {_names(name, head)} | {_cell(heads.shown_by(name))} | {reads} |")
    return "\n".join(lines)


def results_page() -> str:
    """What was found of the published populations, in Markdown."""
    from weightscape.publishing.page import results  # and pandas, which the other pages do without

    return results()


PUBLIC = {
    "A study": {"__init__": ["open"], "opened.study": ["Study"], "opened.run": ["Run"]},
    "Effects": {"claims.effects": ["spearman", "cliffs_delta", "Draws", "Pair", "Effect"]},
    "Models": {
        "models": ["use_files"],
        "models.base": ["Model", "Layer", "Link", "parse_count"],
        "models.modules": ["ModuleModel"],
    },
    "Errors": {"errors": ["WeightscapeError"]},
}
"""Part of the library -> its modules -> the names that are for users."""


def api() -> str:
    """What users call of the library, in Markdown: signatures and docstrings."""
    lines = []
    for part, modules in PUBLIC.items():
        lines.append(f"## {part}\n")
        for module, names in modules.items():
            lines += _api_of(module, names)
    return "\n".join(lines).rstrip()


def _api_of(module: str, names: list[str]) -> Iterator[str]:
    """The named functions and classes of a module, in this order, as its text has them."""
    path = heads.LIBRARY.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = {
        node.name: node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    prefix = ".".join(part for part in ("weightscape", module) if part != "__init__")
    for name in names:
        node = found[name]
        yield f"### {prefix}.{name}\n"
        if isinstance(node, ast.FunctionDef):
            yield from _function(node, name)
            continue
        yield f"{ast.get_docstring(node)}\n"
        yield from _fields(node)
        for own in node.body:
            if isinstance(own, ast.FunctionDef) and own.name[0] != "_" and ast.get_docstring(own):
                yield f"#### {name}.{own.name}\n"
                yield from _function(own, f"{name}.{own.name}")


def _function(node: ast.FunctionDef, name: str) -> Iterator[str]:
    if not {"property", "cached_property"} & {ast.unparse(mark) for mark in node.decorator_list}:
        name += f"({ast.unparse(node.args)})".replace("(self, ", "(").replace("(self)", "()")
    assert node.returns  # mypy asks for it
    yield f"```python\n{name} -> {ast.unparse(node.returns)}\n```\n"
    yield f"{ast.get_docstring(node)}\n"


def _fields(node: ast.ClassDef) -> Iterator[str]:
    """The fields of a class, each with the text below it."""
    fields = [
        (ast.unparse(own), below)
        for own, below in zip(node.body, [*node.body[1:], None], strict=True)
        if isinstance(own, ast.AnnAssign)
    ]
    for field, below in fields:
        match below:
            case ast.Expr(ast.Constant(str(text))):
                yield f"- `{field}`: {' '.join(text.split()).rstrip('.')}"
            case _:
                yield f"- `{field}`"
    if fields:
        yield ""


def _names(name: str, head: heads.FigureHead) -> str:
    if head.each == "study":
        return f"`{name}`"
    if head.each == "claim":
        first, *_, last = heads.drawn_by(name)
        return f"`{first}-…` to `{last}-…`"
    return f"`{name}-…`"


MADE: dict[str, dict[str, Callable[[], str]]] = {
    "config/README.md": {"keys": key_table},
    "docs/api.md": {"api": api},
    "docs/columns.md": {"columns": columns},
    "docs/results.md": {"results": results_page},
    "docs/outputs.md": {"tables": tables, "figures": figures},
}
"""Page -> the parts of it that are made."""


def renew(page: str, text: str) -> str:
    """The text of a page with its made parts as they should be."""
    for name, make in MADE[page].items():
        start, end = f"<!-- made: {name} -->\n", f"<!-- end: {name} -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise WeightscapeError(f"{page} lacks the lines {start.strip()} and {end}")
        text = f"{before}{start}{make()}\n{end}{after}"
    return text


def files(model: str, dataset: str) -> Iterator[str]:
    """What a study of one population has in its folders, without the tables that few have."""
    for name, head in heads.figures().items():
        if head.each != "study":
            for figure in heads.drawn_by(name):
                yield from (f"figures/{figure}-{model}-{dataset}.{end}" for end in ("svg", "png"))
    for name, table in heads.tables().items():
        if table.joined and name not in ("imports", "plan", "strength_heads"):
            yield f"tables/{name}.csv"
    yield "tables/densities.h5"


def main(arguments: list[str]) -> None:
    """`--files MODEL DATASET` lists the files of a study; `FOLDER` renews the pages below it."""
    if arguments[0] == "--files":
        print("\n".join(files(*arguments[1:])))
        return
    for page in MADE:
        path = Path(arguments[0], page)
        path.write_text(renew(page, path.read_text()))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except WeightscapeError as error:
        sys.exit(f"error: {error}")
