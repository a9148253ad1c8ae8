"""Joins tables as text, which needs no pandas; and files of densities."""

import csv
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.storage.seals import check_seal, refuse, replace_sealed


def join(parts: Sequence[str], target: Path, groupings: Sequence[str]) -> None:
    """The same table, or file of densities, of several populations in one.

    `groupings` are the tables of the groups of their runs, which are added; none if they are of
    one population, and are joined with others later.
    """
    if target.suffix == ".h5":
        from weightscape.storage.densities import join_densities

        join_densities([Path(part) for part in parts], target)
    elif groupings and heads.tables()[target.stem].is_grouped_later:
        join_grouped(parts, target, groupings)
    else:
        join_tables(parts, target)


def join_tables(parts: Sequence[str], target: Path) -> None:
    """The rows of all `parts` under one header, as they are; in memory is a block of one file.

    Raises WeightscapeError if a part is damaged, or the parts have different columns.
    """
    header: bytes | None = None
    with replace_sealed(target) as aside, aside.open("wb") as joined:
        for part in parts:
            check_seal(Path(part))
            with open(part, "rb") as rows:
                first = rows.readline()
                if header is None:
                    header = first
                    joined.write(header)
                elif first != header:
                    raise _differ(parts[0], part)
                shutil.copyfileobj(rows, joined)


def join_grouped(parts: Sequence[str], target: Path, groupings: Sequence[str]) -> None:
    """The same with the group of each row's run, after its seed; in memory are the groups of one.

    Raises WeightscapeError as well if a run has no group.
    """
    header: list[str] | None = None
    with replace_sealed(target) as aside, aside.open("w", encoding="utf-8", newline="") as joined:
        writer = csv.writer(joined, lineterminator="\n")
        for part, grouping in zip(parts, groupings, strict=True):
            groups = {(*run,): group for *run, group, _ in _read(grouping)}
            rows = _read(part)
            first = next(rows, [])
            if header is None:
                header = first
                keys = slice(header.index(heads.RUN_KEYS[0]), header.index(heads.RUN_KEYS[-1]) + 1)
                writer.writerow([*header[: keys.stop], "group", *header[keys.stop :]])
            elif first != header:
                raise _differ(parts[0], part)
            for row in rows:
                run = tuple(row[keys])
                if run not in groups:
                    raise refuse(grouping, f"it has no group of the run {', '.join(run)}")
                writer.writerow([*row[: keys.stop], groups[run], *row[keys.stop :]])


def _read(path: str) -> Iterator[list[str]]:
    check_seal(Path(path))
    with open(path, encoding="utf-8", newline="") as file:
        yield from csv.reader(file)


def _differ(one: str, other: str) -> WeightscapeError:
    return WeightscapeError(f"{one} and {other} have different columns; delete both and run again")
