"""The tables of networks that were trained elsewhere, to which the config's `import` refers.

Imports nothing heavy, since each cluster job parses the config.
"""

import csv
import difflib
import functools
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Literal, NamedTuple, NotRequired, TypedDict, TypeVar

REQUIRED = ("file", "width", "test_accuracy")
ACCURACIES, LOSSES = ("train_accuracy", "test_accuracy"), ("train_loss", "test_loss")
HEADER = f"{', '.join(REQUIRED[:-1])} and {REQUIRED[-1]}"
COLUMNS = (*REQUIRED, "train_accuracy", *LOSSES, "seed", "initial_file")

WIDTH = re.compile(r"[1-9][0-9]*(x[1-9][0-9]*)*|[A-Za-z][A-Za-z0-9_]*")
SEED = re.compile(r"[0-9]{1,9}")
NUMBER = re.compile(
    r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf(inity)?)", re.ASCII | re.IGNORECASE
)
FORMULA = ("=", "+", "-", "@")
"""What begins a formula in a cell of a spreadsheet."""
LONGEST_PATH, LONGEST_WIDTH, LONGEST_SHOWN = 1000, 50, 80  # letters

Item = TypeVar("Item")


Unit = Literal["percent", "fraction"]
"""Of accuracies."""
Layout = Literal["out_in", "in_out"]
"""Of weights: torch's, or that of Keras and TensorFlow."""


class ImportedLayer(TypedDict):
    """The tensors of a layer, and the layer that it reads."""

    weight: str
    bias: str | None
    reads: str | None


class SourceItem(TypedDict):
    """What the config says of the files of an import; what it leaves out, the source fills in."""

    source: Literal["matrix", "ray-tune", "table"]
    folder: str
    table: NotRequired[str]
    accuracies: NotRequired[Unit]
    layers: dict[str, ImportedLayer]
    layout: NotRequired[Layout]
    epochs: NotRequired[int]


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
    snapshots: dict[int, str] = {}
    """epoch -> checkpoint, of a source that has more than these two: all, in order"""
    curves: dict[str, dict[int, float]] = {}
    """each of CURVES -> epoch -> value, where more than the last is known"""
    fault: str = ""
    """why a run can't be used, if that can be seen here"""

    def places(self, epochs: int) -> dict[int, str]:
        """Epoch -> checkpoint, of a run of so many epochs."""
        initial = {0: self.initial_file} if self.initial_file else {}
        return self.snapshots or initial | {epochs: self.file}


class Listing(NamedTuple):
    """The runs of a table or of another source, and what is wrong with it."""

    rows: list[ListedRun]
    faults: list[str]
    layers: dict[str, ImportedLayer] = {}
    epochs: list[int] = []
    """layers, and epochs with weights, of a source whose files tell them"""


def read_listing(path: str, unit: Unit = "percent") -> Listing:
    """The table at `path`, read once as long as it stays as it is."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError is of a NUL in the path
        reason = getattr(error, "strerror", error)
        return Listing([], [f"there is no table {_shown(path)} ({reason}); correct the path"])
    if not stat.S_ISREG(status.st_mode):
        return Listing([], [f"{path} is not a file; correct the path"])
    return _read(path, unit, status.st_mtime_ns, status.st_size)


@functools.cache
def _read(path: str, unit: Unit, date: int, size: int) -> Listing:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            lines = [(reader.line_num, cells) for cells in reader]
            columns = list(reader.fieldnames or ())
    except UnicodeDecodeError:
        return Listing([], [f"{path} is not UTF-8; save it as CSV in UTF-8"])
    except (OSError, csv.Error) as error:
        return Listing([], [f"{path} can't be read as CSV ({error}); write it as text with commas"])
    faults = [f"{path}: {fault}" for fault in _column_faults(columns)]
    if faults:
        return Listing([], faults)
    rows: list[ListedRun] = []
    counts: Counter[str] = Counter()  # rows of a width so far
    for number, cells in lines:
        try:
            rows.append(_row(cells, counts, unit))
        except ValueError as error:
            faults.append(f"{path}, line {number}: {error}")
    faults += [f"{path}: {fault}" for fault in _table_faults(rows, bool(lines), unit)]
    return Listing(rows, faults)


def _shown(text: str) -> str:
    """A text as a message quotes it: in one line, and not endless."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable if len(printable) <= LONGEST_SHOWN else f"{printable[:LONGEST_SHOWN]}..."


def _column_faults(columns: list[str]) -> Iterator[str]:
    for name in REQUIRED:
        if name not in columns:
            yield f"the column {name} is missing; the header needs {HEADER}"
    for name in columns:
        near = difflib.get_close_matches(name, COLUMNS, n=1, cutoff=0.8)
        if near and name not in COLUMNS:
            yield f"the column {_shown(name)} is not known; did you mean '{near[0]}'?"
    for name in _repeated(columns):
        yield f"the column {_shown(name)} appears twice; remove one"


def _repeated(items: Iterable[Item]) -> list[Item]:
    return [item for item, count in Counter(items).items() if count > 1]


def _row(cells: dict[str, str], counts: Counter[str], unit: Unit) -> ListedRun:
    """A line of the table; ValueError says what is wrong with it."""
    if None in cells:
        raise ValueError(
            "this line has more cells than the header; remove a comma, or put the cell in quotes"
        )
    text = {name: (cells.get(name) or "").strip() for name in COLUMNS}
    width = text["width"]
    if not WIDTH.fullmatch(width):
        raise ValueError(
            f"'{_shown(width)}' is not a width; write a number (20), several (20x50), or a name"
        )
    if width == "all":
        raise ValueError("the width 'all' stands for all of them in the tables; give another name")
    if len(width) > LONGEST_WIDTH:
        raise ValueError(
            f"the width '{_shown(width)}' has {len(width)} letters; write at most {LONGEST_WIDTH}"
        )
    if text["seed"] and not SEED.fullmatch(text["seed"]):
        raise ValueError(f"'{_shown(text['seed'])}' is not a seed; write a whole number such as 7")
    if not text["test_accuracy"]:
        raise ValueError("test_accuracy is missing")
    number = counts[width]
    counts[width] += 1
    final = {name: _percent(name, text[name], unit) for name in ACCURACIES}
    final |= {name: _loss(name, text[name]) for name in LOSSES}
    file, initial = (_below(text[name]) for name in ("file", "initial_file"))
    if not file:
        raise ValueError("file is missing")
    if file == initial:
        raise ValueError(f"initial_file is {_shown(file)} too; name that of the initial weights")
    return ListedRun(file, width, int(text["seed"] or number), final, initial)


def _below(text: str) -> str:
    """A path below the folder in one spelling; ValueError if it can't be one."""
    shown = _shown(text)
    if not text.isprintable():
        raise ValueError(f"'{shown}' has a letter that can't be printed; rename the file")
    if len(text) > LONGEST_PATH:
        raise ValueError(f"'{shown}' has {len(text)} letters; write at most {LONGEST_PATH}")
    if PurePath(text).is_absolute() or ".." in PurePath(text).parts:
        raise ValueError(f"'{shown}' leads out of the folder; write a path below it")
    path = str(PurePath(text)) if text else ""
    if path == ".":
        raise ValueError(f"'{shown}' is the folder itself; write a file in it")
    if path.startswith(FORMULA):  # the tables of the study name it
        raise ValueError(
            f"'{shown}' begins with {path[0]}, so that a spreadsheet may run it; rename the file"
        )
    return path


def _number(name: str, text: str) -> float:
    if not NUMBER.fullmatch(text):
        optional = "" if name in REQUIRED else ", or leave it empty if it is not known"
        raise ValueError(f"{name} is '{_shown(text)}'; write a number{optional}")
    return float(text)


def _percent(name: str, text: str, unit: Unit) -> float:
    if not text:
        return math.nan
    return percent_of(name, _number(name, text), unit)


def percent_of(name: str, value: float, unit: Unit) -> float:
    """An accuracy in percent; ValueError if it is none in its unit."""
    most, words = {"percent": (100, "percent"), "fraction": (1, "a fraction")}[unit]
    if not 0 <= value <= most:
        hint = ", or set accuracies: percent" if unit == "fraction" and value <= 100 else ""
        raise ValueError(f"{name} is {value:g}; write {words}, from 0 to {most}{hint}")
    return 100 / most * value


def _loss(name: str, text: str) -> float:
    if not text:
        return math.nan
    return known_loss(_number(name, text))


def known_loss(value: float) -> float:
    """A loss as shards have it: that of a run that diverged is inf, since NaN is not known."""
    return value if math.isfinite(value) else math.inf


def as_told(known: dict[str, float], unit: Unit) -> dict[str, float]:
    """Losses and accuracies (%) as shards have them; NaN where one is not known."""
    return dict.fromkeys((*LOSSES, *ACCURACIES), math.nan) | {
        name: known_loss(value) if name in LOSSES else percent_of(name, value, unit)
        for name, value in known.items()
    }


def _table_faults(rows: list[ListedRun], has_lines: bool, unit: Unit) -> Iterator[str]:
    if not has_lines:
        yield "it has no rows; add one for each checkpoint"
    for file in _repeated(row.file for row in rows):
        yield f"{_shown(file)} is listed twice; remove one row"
    for width, seed in _repeated((row.width, row.seed) for row in rows):
        yield (
            f"the seed {seed} of width {width} is listed twice; give each run of a width its own "
            "seed"
        )
    yield from unit_faults(rows, unit)


def unit_faults(rows: list[ListedRun], unit: Unit) -> Iterator[str]:
    """A column of fractions that is told to be percent."""
    for name in ACCURACIES if unit == "percent" else ():
        known = [row.final[name] for row in rows if not math.isnan(row.final[name])]
        if known and 0 < max(known) <= 1:
            yield (
                f"no {name} is above 1; write percent (97, not 0.97), or set accuracies: fraction "
                "if all accuracies are fractions"
            )
