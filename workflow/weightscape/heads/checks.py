"""Whether the heads fit each other: what is read is written, and figures can be told apart."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterator

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.heads.kinds import ClaimHead, FigureHead, MeasureHead


def check() -> None:
    """Raises WeightscapeError that names the first head that does not fit the others."""
    _check_written()
    for kind, name, head in _readers():
        _check_reads(kind, name, head)
    _check_prefixes()
    _check_labels()


def _written() -> list[str]:
    """Tables and other files of all measures, and the table of runs."""
    of_each = [[*heads.tables_of(head), *head.files] for head in heads.measures().values()]
    return ["runs", *(name for names in of_each for name in names)]


def _check_written() -> None:
    for name, times in Counter(_written()).items():
        if times > 1:
            raise WeightscapeError(f"two measures write {name}; rename it in one of them")


def _readers() -> Iterator[tuple[str, str, MeasureHead | ClaimHead | FigureHead]]:
    """Claims first, since what they read is read by the measure `claims`."""
    yield from (("claim", name, head) for name, head in heads.claims().items())
    yield from (("measure", name, head) for name, head in heads.measures().items())
    yield from (("figure", name, head) for name, head in heads.figures().items())


def _check_reads(kind: str, name: str, head: MeasureHead | ClaimHead | FigureHead) -> None:
    written, judged = set(_written()), {"claims", *heads.measures()["claims"].tables}
    known = {
        "claim": {table for table in written if "." not in table} - judged,
        "measure": {*written, "shards", "images", "layers"},
        "figure": {*written, "claims"},
    }[kind]
    for read in head.reads:
        if read not in known:
            near = difflib.get_close_matches(read, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise WeightscapeError(f"the {kind} {name} reads {read}, which it can't{hint}")
    of_study = {n for of in heads.measures().values() if of.each == "study" for n in of.tables}
    if kind != "measure" and head.each == "study" and set(head.reads) - of_study:
        raise WeightscapeError(
            f"the {kind} {name} is of the whole study, but reads tables of a population; it may "
            f"read {', '.join(sorted(of_study))}"
        )


def _check_prefixes() -> None:
    told = heads.told_layer_measures().values()
    for name, times in Counter(h.prefix + n for h in told for n in h.of_nulls).items():
        if times > 1:
            raise WeightscapeError(f"two measures of one layer have {name}; give one a prefix")


def _check_labels() -> None:
    """Of two figures with one category and equal labels one would hide the other in the report."""
    seen: dict[str, str] = {}
    for name, figure in heads.figures().items():
        own = json.dumps([figure.category, figure.labels, figure.each, figure.layers])
        if own in seen:
            raise WeightscapeError(
                f"the figures {seen[own]} and {name} have one category and equal labels, so that "
                "one would hide the other in the report; give one of them labels of its own"
            )
        seen[own] = name
