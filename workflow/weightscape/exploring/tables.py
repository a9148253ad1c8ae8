"""The page of tables: each CSV table of a study, to sort, search and filter.

One HTML file that opens from disk and asks the network for nothing. The cells lie in it compressed;
tables.js unpacks a table when it is chosen, and has only the rows in sight in the page.
"""

from __future__ import annotations

import base64
import csv
import gzip
import json
from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

from weightscape import heads
from weightscape.storage.seals import check_seal, refuse

SCRIPT = Path(__file__).with_name("tables.js")
MOST_CELLS = 1_000_000
"""Of one table that are shown: so many are sorted at once, and take about 3 MB."""
DIGITS = 5
"""Of numbers that are no counts; the CSV files have all."""

_STYLE = """
* { box-sizing: border-box; }
body { font: 14px/1.4 system-ui, sans-serif; color: #222; background: white; margin: 0;
  height: 100vh; display: flex; }
nav { width: 17em; flex: none; overflow-y: auto; padding: 1em; border-right: 1px solid #ddd; }
nav h1 { font-size: 1.2em; margin: 0 0 0.5em; overflow-wrap: anywhere; }
nav h2 { font-size: 0.85em; margin: 1em 0 0.2em; color: #555; }
nav a { display: flex; justify-content: space-between; padding: 0.1em 0.3em; color: #004f7d; }
nav a[aria-current] { background: #0072b2; color: white; }
main { flex: 1; min-width: 0; padding: 1em; display: flex; flex-direction: column; gap: 0.4em; }
main h2 { margin: 0; font-size: 1.2em; }
main p { margin: 0; max-width: 70em; }
#meaning { min-height: 2.8em; color: #444; }
details dl { max-height: 30vh; overflow-y: auto; margin: 0.3em 0; }
dt { font-weight: 600; }
dd { margin: 0 0 0.3em 1.5em; max-width: 70em; }
input { font: inherit; border: 1px solid #999; border-radius: 3px; padding: 0.1em 0.3em; }
#search { width: 20em; max-width: 100%; }
#rows { flex: 1; min-height: 12em; overflow: auto; border: 1px solid #ddd; }
table { border-collapse: separate; border-spacing: 0; table-layout: fixed;
  font-variant-numeric: tabular-nums; }
thead th { position: sticky; top: 0; background: #f2f2f2; border-bottom: 2px solid #222; z-index: 1;
  padding: 0.2em 0.4em; text-align: left; font-weight: 600; }
th button { font: inherit; background: none; border: none; padding: 0; cursor: pointer; width: 100%;
  text-align: left; white-space: nowrap; }
th input { width: 100%; font-weight: normal; font-size: 0.85em; }
tbody tr { height: 24px; }
td { height: 24px; padding: 0 0.4em; border-bottom: 1px solid #eee; white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; }
td.number { text-align: right; }
:focus-visible { outline: 2px solid #d55e00; outline-offset: 1px; }
"""

_BODY = """
<nav aria-label="tables"><h1>{title}</h1></nav>
<main>
<h2 id="name"></h2>
<p id="about"></p>
<p><label>Search: <input id="search" type="search" placeholder="words that a row must have"></label>
  <span id="count" role="status"></span></p>
<details><summary>What the columns mean</summary><dl id="columns"></dl></details>
<p id="meaning"></p>
<div id="rows" tabindex="0" role="region" aria-label="rows"><table><colgroup></colgroup>
<thead><tr></tr></thead><tbody></tbody></table></div>
</main>
"""


def render(paths: Iterable[Path | str], study: str) -> str:
    """The page of the tables at `paths`, as HTML; their names tell what their columns mean.

    Raises WeightscapeError if one is damaged or changed, or is no CSV file.
    """
    packed = {Path(path).stem: pack(Path(path)) for path in paths}
    rooms = {
        title: [packed[name] for name in tables if name in packed]
        for title, tables in heads.rooms().items()
    }
    # no text of a table can end the element that it stands in
    data = json.dumps({"rooms": rooms, "digits": DIGITS}).replace("<", "\\u003c")
    title = escape(f"Tables of the study {study}")
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{_STYLE}</style>{_BODY.format(title=title)}"
        f'<script id="data" type="application/json">{data}</script>\n'
        f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>\n</html>\n"
    )


def pack(path: Path) -> dict[str, Any]:
    """A table as tables.js reads it: what it and its columns mean, its number of rows, and `cells`:
    JSON of a text for each column, a line per row, compressed by gzip, as base64."""
    check_seal(path)
    table = heads.tables()[path.stem]
    meanings = heads.KEYS | table.columns
    with path.open(encoding="utf-8", newline="") as file:
        try:
            lines = csv.reader(file)
            names = next(lines)
            rows = list(islice(lines, MOST_CELLS // len(names)))
            n = len(rows) + sum(1 for _ in lines)
        except (csv.Error, StopIteration, UnicodeDecodeError) as error:
            raise refuse(path, f"it can't be read ({error})") from None
    columns: Sequence[Sequence[str]] = [*zip(*rows, strict=True)] or [()] * len(names)
    are_numbers = [
        name not in heads.texts() and all(map(_is_number, column))
        for name, column in zip(names, columns, strict=True)
    ]
    cells = [
        "\n".join(map(_shorten if is_number else _in_one_line, column))
        for column, is_number in zip(columns, are_numbers, strict=True)
    ]
    # without a date the same tables make the same page
    compressed = gzip.compress(json.dumps(cells).encode(), mtime=0)
    return {
        "name": path.stem,
        "row": table.row,
        "n": n,
        "shown": len(rows),
        "columns": [
            {"name": name, "meaning": meanings.get(name, ""), "number": is_number}
            for name, is_number in zip(names, are_numbers, strict=True)
        ],
        "cells": base64.b64encode(compressed).decode(),
    }


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _shorten(text: str) -> str:
    """A number with DIGITS digits, a count with all."""
    return text if text.lstrip("-").isdecimal() or not text else f"{float(text):.{DIGITS}g}"


def _in_one_line(text: str) -> str:
    return " ".join(text.splitlines())
