"""The parts of the docs that are made from the code; `make pages` writes them anew.

A page keeps what is written by hand; what is made stands between two comments that name it.
"""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.study.catalogue import TITLES
from weightscape.study.config import key_table

if TYPE_CHECKING:
    import pandas as pd


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
    own = dict(heads.stages())
    claims = {name: own.pop(name) for name in heads.judged()}
    rooms = {
        "The runs, and the study": own,
        "One layer of one run": {n: head.table for n, head in heads.layer_measures().items()},
        "A population": _tables_in("measures."),
        "Claims and analyses": claims | _tables_in("claims."),
    }
    lines = []
    for title, found in rooms.items():
        lines += [f"**{title}**\n", "| file in `tables/` | a row per | content |", "|---|---|---|"]
        for name, table in found.items():
            if table.joined:
                row, _, content = table.row.partition(": ")
                lines.append(f"| `{name}.csv` | {row} | {_cell(content)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _tables_in(room: str) -> dict[str, heads.Table]:
    of_room = [
        head.tables
        for name, head in heads.measures().items()
        if heads.measure_module(name).startswith(f"weightscape.{room}")
    ]
    return {name: table for found in of_room for name, table in found.items()}


def figures() -> str:
    """The figures of a study, in Markdown: the first line of each file, and what it reads."""
    lines = ["| file in `figures/` | content | made from |", "|---|---|---|"]
    for name, head in sorted(heads.figures().items()):
        reads = ", ".join(f"`{read}`" if "." in read else f"`{read}.csv`" for read in head.reads)
        text = (heads.LIBRARY / "figures" / f"{name}.py").read_text(encoding="utf-8")
        content = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0].rstrip(".")
        lines.append(f"| {_names(name, head)} | {_cell(content)} | {reads} |")
    return "\n".join(lines)


def results() -> str:
    """What was found of each population in docs/results/, in Markdown, from its tables."""
    from weightscape.opened import Study  # which the other pages do without

    study = Study(heads.LIBRARY.parents[1] / "docs" / "results")
    tables = {name: study.table(name) for name in ("answers", "claims", "groups", "multiverse")}
    order = [*TITLES]
    found = set(zip(tables["groups"]["model"], tables["groups"]["dataset"], strict=True))
    populations = sorted(found, key=lambda key: [order.index(part) for part in key])
    lines = [*_answers_of(populations, tables["answers"]), ""]
    lines += [*_pictures_of(populations, tables["claims"]), ""]
    for model, dataset in populations:
        own = {
            name: table[(table["model"] == model) & (table["dataset"] == dataset)]
            for name, table in tables.items()
        }
        lines += [*_results_of(model, dataset, own), ""]
    return "\n".join(lines).rstrip()


def _answers_of(populations: list[tuple[str, str]], answers: pd.DataFrame) -> Iterator[str]:
    yield "## The answers side by side\n"
    yield "In brackets: statements for the claim, against it, and undecided.\n"
    names = [_title(*population) for population in populations]
    yield f"| claim | what it says | {' | '.join(names)} | all |"
    yield "|---" * (len(names) + 3) + "|"
    for claim, rows in answers.groupby("claim"):
        cells = dict.fromkeys((*populations, ("all", "all")), "")
        for row in rows.to_dict("records"):
            counts = ", ".join(str(row[name]) for name in ("n_for", "n_against", "n_undecided"))
            cells[row["model"], row["dataset"]] = f"{row['answer']} ({counts})"
        yield f"| {claim} | {heads.claims()[str(claim)].says} | {' | '.join(cells.values())} |"


def _pictures_of(populations: list[tuple[str, str]], claims: pd.DataFrame) -> Iterator[str]:
    yield "## The paper's pictures\n"
    yield (
        "Is what the paper's figures show seen over the runs of all widths, as the paper has\n"
        "them? And what is left of it among networks of one width? Each cell says in how many\n"
        "layers the effect has the claimed sign, with a 95 % interval that leaves out 0, and the\n"
        "range of the layers' effects.\n"
    )
    yield "| figures | statement | sign | population | over all runs | within width |"
    yield "|---|---|---|---|---|---|"
    for (claim, statistic), of in claims.groupby(["claim", "statistic"], sort=False):
        head = heads.claims()[str(claim)]
        for model, dataset in populations if head.figures else ():
            rows = of[(of["model"] == model) & (of["dataset"] == dataset)]
            rows = rows[rows["verdict"] != "too few runs"]
            if len(rows):
                sign = "+" if rows["predicted"].iloc[0] > 0 else "-"
                seen = [_seen(rows, name) for name in ("pooled", "within")]
                what = f"{claim}: {head.statistics[str(statistic)]}"
                cells = [head.figures, what, sign, _title(model, dataset), *seen]
                yield f"| {' | '.join(cells)} |"


def _seen(rows: pd.DataFrame, effect: str) -> str:
    """In how many rows an effect is as predicted, and the range of the effects."""
    known = rows.dropna(subset=[effect])
    if not len(known):
        return ""
    ends = known[[f"{effect}_low", f"{effect}_high"]].mul(known["predicted"], axis=0)
    least, most = known[effect].min(), known[effect].max()
    between = f"{least:+.2f}" if len(known) == 1 else f"{least:+.2f} to {most:+.2f}"
    return f"{(ends.min(axis=1) > 0).sum()} of {len(known)}: {between}"


def _title(model: str, dataset: str) -> str:
    return f"{TITLES[model]} on {TITLES[dataset]}"


def _results_of(model: str, dataset: str, tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    """What was found of one population, line by line."""
    groups, claims = tables["groups"], tables["claims"]
    name = f"{model}-{dataset}"
    yield f"## {_title(model, dataset)}: {groups['n'].sum():,} runs\n"
    yield f"[Its config](results/configs/{name}.yaml) trains the same runs again.\n"
    yield f"**The groups of Table 2**, by {groups['split'].iloc[0]} accuracy (%):\n"
    yield from ("| group | n | median here | median in the paper |", "|---|---|---|---|")
    for row in groups.to_dict("records"):
        numbers = [_number(row[name]) for name in ("median", "paper_median")]
        yield f"| {row['group']} | {row['n']} | {' | '.join(numbers)} |"
    yield "\n**The answers**\n"
    yield from (f"- {sentence}" for sentence in tables["answers"]["sentence"])
    yield "\n**The statements.** Effects have 95 % intervals; n is the runs of the pooled effect.\n"
    yield "| claim | statement | n | over all runs | within width | verdict | ways that agree |"
    yield "|---|---|---|---|---|---|---|"
    for row in claims.fillna({"layer": ""}).to_dict("records"):
        words = heads.claims()[row["claim"]].statistics[row["statistic"]]
        layer = f" ({row['layer']})" if row["layer"] else ""
        effects = [
            _effect(*(row[f"{name}{end}"] for end in ("", "_low", "_high")))
            for name in ("pooled", "within")
        ]
        ways = f"{row['ways_agree']} of {row['ways']}"
        cells = [row["claim"], words + layer, str(row["n"]), *effects, row["verdict"], ways]
        yield f"| {' | '.join(cells)} |"
    others = tables["multiverse"]
    c5 = others[(others["claim"] == "C5") & (others["edges"] != "as set")]
    if len(c5):
        counts = c5["verdict"].value_counts()
        told = ", ".join(f"{verdict} {n}" for verdict, n in counts.items())
        yield f"\nC5 by quantiles of accuracy in place of the paper's edges: {told}."


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _effect(value: float, low: float, high: float) -> str:
    return "" if math.isnan(value) else f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _names(name: str, head: heads.FigureHead) -> str:
    if head.each == "study":
        return f"`{name}`"
    if head.each == "claim":
        first, *_, last = heads.drawn_by(name)
        return f"`{first}-…` to `{last}-…`"
    return f"`{name}-…`"


MADE: dict[str, dict[str, Callable[[], str]]] = {
    "config/README.md": {"keys": key_table},
    "docs/columns.md": {"columns": columns},
    "docs/results.md": {"results": results},
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
