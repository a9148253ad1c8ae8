"""The tables of networks that were trained elsewhere, to which the config's `import` refers.

Imports nothing heavy, since each cluster job parses the config.
"""

import csv
import difflib
import functools
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import NamedTuple, TypeVar

REQUIRED = ("file", "width", "test_accuracy")
ACCURACIES, LOSSES = ("train_accuracy", "test_accuracy"), ("train_loss", "test_loss")
HEADER = f"{', '.join(REQUIRED[:-1])} and {REQUIRED[-1]}"
COLUMNS = (*REQUIRED, "train_accuracy", *LOSSES, "seed", "initial_file")

WIDTH = re.compile(r"[1-9][0-9]*(x[1-9][0-9]*)*|[A-Za-z][A-Za-z0-9_]*")
SEED = re.compile(r"[0-9]{1,9}")

Item = TypeVar("Item")


class ListedRun(NamedTuple):
    """One run of a table."""

    file: str
    """its checkpoint, below the folder"""
    width: str
    seed: int
    final: dict[str, float]
    """by each of CURVES: NaN if the table does not say; a loss that the table has as nan is inf"""
    initial_file: str
    """the checkpoint of its initial weights, or nothing"""


class Listing(NamedTuple):
    """A table: its rows, and what is wrong with it."""

    rows: list[ListedRun]
    faults: list[str]


def read_listing(path: str) -> Listing:
    """The table at `path`, read once as long as it stays as it is."""
    try:
        status = os.stat(path)
    except OSError as error:
        return Listing([], [f"there is no table {path} ({error.strerror}); correct the path"])
    return _read(path, status.st_mtime_ns, status.st_size)


@functools.cache
def _read(path: str, date: int, size: int) -> Listing:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            lines, columns = list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return Listing([], [f"{path} can't be read as CSV ({error}); write it as text with commas"])
    faults = [f"{path}: {fault}" for fault in _column_faults(columns)]
    if faults:
        return Listing([], faults)
    rows: list[ListedRun] = []
    counts: Counter[str] = Counter()  # rows of a width so far
    for number, cells in enumerate(lines, start=2):
        try:
            rows.append(_row(cells, counts))
        except ValueError as error:
            faults.append(f"{path}, line {number}: {error}")
    faults += [f"{path}: {fault}" for fault in _table_faults(rows, bool(lines))]
    return Listing(rows, faults)


def _column_faults(columns: list[str]) -> Iterator[str]:
    for name in REQUIRED:
        if name not in columns:
            yield f"the column {name} is missing; the header needs {HEADER}"
    for name in columns:
        near = difflib.get_close_matches(name, COLUMNS, n=1, cutoff=0.8)
        if near and name not in COLUMNS:
            yield f"the column {name} is not known; did you mean '{near[0]}'?"
    yield from (f"the column {name} appears twice; remove one" for name in _repeated(columns))


def _repeated(items: Iterable[Item]) -> list[Item]:
    return [item for item, count in Counter(items).items() if count > 1]


def _row(cells: dict[str, str], counts: Counter[str]) -> ListedRun:
    """A line of the table; ValueError says what is wrong with it."""
    if None in cells:
        raise ValueError(
            "this line has more cells than the header; remove a comma, or put the cell in quotes"
        )
    text = {name: (cells.get(name) or "").strip() for name in COLUMNS}
    width = text["width"]
    if not WIDTH.fullmatch(width):
        raise ValueError(
            f"'{width}' is not a width; write a number (20), several (20x50), or a name"
        )
    if text["seed"] and not SEED.fullmatch(text["seed"]):
        raise ValueError(f"'{text['seed']}' is not a seed; write a whole number such as 7")
    if not text["test_accuracy"]:
        raise ValueError("test_accuracy is missing")
    number = counts[width]
    counts[width] += 1
    final = {name: _percent(name, text[name]) for name in ACCURACIES}
    final |= {name: _loss(name, text[name]) for name in LOSSES}
    file, initial = (_below(text[name]) for name in ("file", "initial_file"))
    if not file:
        raise ValueError("file is missing")
    return ListedRun(file, width, int(text["seed"] or number), final, initial)


def _below(text: str) -> str:
    if text and (PurePath(text).is_absolute() or ".." in PurePath(text).parts or "\0" in text):
        raise ValueError(f"'{text}' leads out of the folder; write a path below it")
    return text


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        optional = "" if name in REQUIRED else ", or leave it empty if it is not known"
        raise ValueError(f"{name} is '{text}'; write a number{optional}") from None


def _percent(name: str, text: str) -> float:
    value = _number(name, text) if text else math.nan
    if text and not 0 <= value <= 100:
        raise ValueError(f"{name} is {text}; write percent, from 0 to 100")
    return value


def _loss(name: str, text: str) -> float:
    if not text:
        return math.nan
    value = _number(name, text)
    return value if math.isfinite(value) else math.inf


def _table_faults(rows: list[ListedRun], has_lines: bool) -> Iterator[str]:
    if not has_lines:
        yield "it has no rows; add one for each checkpoint"
    for file in _repeated(row.file for row in rows):
        yield f"{file} is listed twice; remove one row"
    for width, seed in _repeated((row.width, row.seed) for row in rows):
        yield (
            f"the seed {seed} of width {width} is listed twice; give each run of a width its own "
            "seed"
        )
    accuracies = [row.final[name] for row in rows for name in ACCURACIES]
    known = [value for value in accuracies if not math.isnan(value)]
    if known and 0 < max(known) <= 1:
        yield "all accuracies are at most 1; write percent (97, not 0.97)"
