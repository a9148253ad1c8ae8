"""Whether the heads fit each other: what is read is written, and figures can be told apart."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterator

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.heads.kinds import ClaimHead, FigureHead, MeasureHead

RESERVED = ("shards", "images", "layers")
"""Words for other things that a measure reads."""


def check() -> None:
    """Raises WeightscapeError that names the first head that does not fit the others."""
    _check_written()
    for kind, name, head in _readers():
        _check_reads(kind, name, head)
    _check_columns()
    _check_texts()
    _check_figures()


def _written() -> list[str]:
    """Tables and other files of all measures."""
    of_each = [[*heads.tables_of(head), *head.files] for head in heads.measures().values()]
    return [name for names in of_each for name in names]


def _check_written() -> None:
    for name, times in Counter([*_written(), *heads.stages(), *RESERVED]).items():
        if times > 1:
            raise WeightscapeError(f"two measures write {name}; rename it in one of them")
        if not heads.NAME.fullmatch(name.partition(".")[0]):
            raise WeightscapeError(
                f"the table {name!r} needs a name of small letters, digits and _"
            )
    for name, measure in heads.measures().items():
        if measure.each == "study" and not measure.report:
            raise WeightscapeError(f"the measure {name} of the study needs a category, as report")


def _readers() -> Iterator[tuple[str, str, MeasureHead | ClaimHead | FigureHead]]:
    """Claims first, since what they read is read by the measure `claims`."""
    yield from (("claim", name, head) for name, head in heads.claims().items())
    yield from (("measure", name, head) for name, head in heads.measures().items())
    yield from (("figure", name, head) for name, head in heads.figures().items())


def _check_reads(kind: str, name: str, head: MeasureHead | ClaimHead | FigureHead) -> None:
    judged = {*heads.judged(), *heads.measures()["claims"].tables}
    written = {*_written(), "runs", "grouping", "groups"}
    known = {
        "claim": {table for table in written if "." not in table} - judged,
        "measure": {*written, *RESERVED},
        "figure": {*written, *heads.judged()},
    }[kind]
    for read in head.reads:
        if read not in known:
            near = difflib.get_close_matches(read, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise WeightscapeError(f"the {kind} {name} reads {read}, which it can't{hint}")
    of_study = heads.of_study() - (judged if kind == "claim" else set())
    if kind != "measure" and head.each == "study" and set(head.reads) - of_study:
        raise WeightscapeError(
            f"the {kind} {name} is of the whole study, but reads tables of a population; it may "
            f"read {', '.join(sorted(of_study))}"
        )


def _check_columns() -> None:
    """Of the measures of one layer, which stand side by side in a table `of_layers`."""
    written = [table for head in heads.measures().values() for table in head.tables.values()]
    own = {name for table in written if table.of_layers for name in table.names}
    told = heads.told_layer_measures().values()
    columns = Counter([*own, *(h.prefix + n for h in told for n in h.of_nulls)])
    for name, times in columns.items():
        if times > 1:
            raise WeightscapeError(f"two measures of one layer have {name}; give one a prefix")


def _check_texts() -> None:
    """A name is text in all tables or in none, since tables are read by the names of columns."""
    for name, table in heads.tables().items():
        own = {*table.texts, *heads.TEXT_KEYS}
        # nothing reads these again, and their cells hold lists
        if name not in ("settings", "plan", "imports"):
            for column in table.names:
                if column in heads.texts() and column not in own:
                    raise WeightscapeError(
                        f"the column {column} is text in another table, and not in {name}; add it "
                        "to texts, or rename it"
                    )


def _check_figures() -> None:
    """Figures have names of their own, and labels by which the report tells them apart."""
    grids = {f"{n}_grid" for n, f in heads.figures().items() if f.grid and f.grid_of == "study"}
    seen: dict[str, str] = {}
    for name, figure in heads.figures().items():
        if name == "grid" or name in grids:
            raise WeightscapeError(f"the figure {name} has the name of a grid of others; rename it")
        for drawn, labels in heads.drawn_by(name).items():
            own = json.dumps([figure.category, labels, figure.each == "study", figure.layers])
            if own in seen:
                raise WeightscapeError(
                    f"the figures {seen[own]} and {drawn} have one category and equal labels, so "
                    "that one would hide the other in the report; give one of them labels of its "
                    "own"
                )
            seen[own] = drawn
