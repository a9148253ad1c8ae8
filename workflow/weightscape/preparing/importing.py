"""Importing: from checkpoints that were trained elsewhere to a shard.

A checkpoint that can't be used is left out of the shard, and told in the log and in a table: the
others go on. What is not known of a run, such as its initial weights, is NaN.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np
import pandas as pd

import weightscape
from weightscape import models
from weightscape.foreign import sources
from weightscape.foreign.checkpoints import Tensors
from weightscape.foreign.formats.base import Refused, refuse
from weightscape.foreign.listing import ImportedLayer, ListedRun
from weightscape.heads import MeasureHead, Table
from weightscape.messages.progress import Progress
from weightscape.storage.shards import CURVES, Header, RunRecord, write_shard
from weightscape.storage.tables import write_table

HEAD = MeasureHead(
    reads=(),
    tables={
        "imports": Table(
            row=(
                "checkpoint: whether a network that was trained elsewhere could be read, and "
                "if not, why"
            ),
            keys=("model", "dataset", "width", "seed"),
            columns={
                "file": "checkpoint of the final weights, as a path below the import's folder",
                "initial_file": (
                    "checkpoint of the initial weights, likewise; empty where there is none"
                ),
                "status": "good, or bad where the checkpoint is left out",
                "reason": "why it is left out; empty for a good one",
                "sha256": (
                    "SHA-256 of file in hexadecimal digits; empty where a file could not be "
                    "read or does not fit the model"
                ),
            },
        ),
    },
)

log = logging.getLogger(__name__)

COLUMNS = tuple(HEAD.tables["imports"].names)

KINDS: tuple[tuple[Literal["weight", "bias"], int], ...] = (("weight", 2), ("bias", 1))
"""What a layer has, and its number of axes where nothing tells the shape."""

OF_ITS_END = "in the checkpoint of its final weights", "correct initial_file in the table"
OF_MOST = "in most files of its width", "correct its width in the table"
OF_THE_FIRST_LOOK = "when it was checked", "run again when the file no longer changes"
"""Whose shapes a checkpoint should have, and what to do."""

OTHER = {"out_in": "in_out", "in_out": "out_in"}
"""The layouts of weights, each with the other one."""
OUTPUTS = "let the last layer be the one with an output for each class, or correct classes"
WIDTHS = "correct the width in the table, or the layers in the config"

Shapes = dict[str, tuple[int, ...]]
"""Parameter name (`fc1.weight`) -> shape"""


class Source(NamedTuple):
    """Where the runs of one width come from, and what they have to be."""

    folder: Path
    model: str
    dataset: str
    width: str
    classes: int
    recipe: dict[str, Any]
    """with `layers`: layer -> its tensors `weight` and `bias`, and the layer that it `reads`; and
    their `layer_order`, since the recipe comes as JSON that is sorted; `source`, if it is no table
    of files, and then `snapshots`"""

    @property
    def layers(self) -> dict[str, ImportedLayer]:
        """In the order of the forward pass."""
        return {name: self.recipe["layers"][name] for name in self.recipe["layer_order"]}

    @property
    def layout(self) -> str:
        """The order of a weight's axes in the files: out_in as in torch, or in_out."""
        return str(self.recipe.get("layout", "out_in"))

    @property
    def reader(self) -> sources.Reader:
        return sources.reader(self.recipe.get("source", "table"))

    @property
    def snapshots(self) -> list[int]:
        """Epochs whose weights the shard has."""
        return list(self.recipe.get("snapshots", [0, self.recipe["epochs"]]))


class _Seen(NamedTuple):
    """What a first look at a run's files finds."""

    row: ListedRun
    shapes: Shapes
    sha256: str
    """of the checkpoint of its final weights"""
    reason: str
    """why it is left out, or nothing"""


def import_runs(source: Source, rows: list[ListedRun], target: Path, table: Path) -> None:
    """Write the runs of a width to the shard `target`, and a row per file to `table` (COLUMNS).

    Files are read twice, one at a time: to find the bad ones, and to take the others' weights. The
    shapes of a width are those that most of its files have. Without a good file the shard has no
    runs.
    """
    rows = sorted(rows, key=lambda row: row.seed)
    with Progress("checking", len(rows)) as progress:
        seen = [_look(source, row, progress) for row in rows]
    common = _commonest(seen)
    seen = [_compare(source, run, common) for run in seen]
    good = [run for run in seen if not run.reason]
    for run in seen:
        if run.reason:
            log.warning("left out: %s", run.reason)
    log.info("%d of %d files are good", len(good), len(seen))
    write_table(_table(source, seen), table)
    shapes = common or {f"{name}.{kind}": (0,) * n for name in source.layers for kind, n in KINDS}
    write_shard(
        target,
        _header(source, good),
        len(good),
        [],
        _records(source, good),
        blank=_blank(source, shapes),
    )


def _look(source: Source, row: ListedRun, progress: Progress) -> _Seen:
    path = source.folder / row.file
    try:
        if row.fault:
            raise Refused(f"the run {path} is left out: {row.fault}")
        *others, (_, file) = row.places(source.recipe["epochs"]).items()
        shapes = _check(path, source, _read(source, file))
        for _, other in others:
            _check_equal(source, other, _shapes(_read(source, other)), shapes, OF_ITS_END)
        found = _Seen(row, shapes, source.reader.digest(source.folder, file), "")
    except Refused as error:
        found = _Seen(row, {}, "", str(error))
    progress.add()
    return found


def _read(source: Source, file: str) -> Tensors:
    """A checkpoint's parameters by our names; a layer without bias has none."""
    wanted = {
        f"{layer}.{kind}": tensor
        for layer, entry in source.layers.items()
        for kind, _ in KINDS
        if (tensor := entry[kind]) is not None
    }
    found = source.reader.read(source.folder, file, list(dict.fromkeys(wanted.values())))
    parameters = {name: found[tensor] for name, tensor in wanted.items()}
    if source.layout == "out_in":
        return parameters
    return {
        name: values.transpose(_axes(values.ndim)) if name.endswith(".weight") else values
        for name, values in parameters.items()
    }


def _axes(count: int) -> list[int]:
    """Where the axes of (out, in, kernel...) are in (kernel..., in, out), by their count."""
    return [*range(count)[:-3:-1], *range(count - 2)]


def _in_other_layout(source: Source, shapes: Shapes) -> Shapes:
    """The shapes that the same files have when they are read in the other layout."""
    return {
        name: _turn(source, shape) if name.endswith(".weight") else shape
        for name, shape in shapes.items()
    }


def _turn(source: Source, shape: tuple[int, ...]) -> tuple[int, ...]:
    axes = _axes(len(shape))
    if source.layout == "in_out":
        axes = [axes.index(place) for place in range(len(shape))]
    return tuple(shape[place] for place in axes)


def _shapes(parameters: Tensors) -> Shapes:
    return {name: values.shape for name, values in parameters.items()}


def _check(path: Path, source: Source, parameters: Tensors) -> Shapes:
    """The parameters' shapes; Refused if they can't be those of the model."""
    shapes = _shapes(parameters)
    if fault := next(_faults(source, shapes), None):
        turned = _faults(source, _in_other_layout(source, shapes))
        if fault.layer not in {other.layer for other in turned}:
            fault = fault._replace(
                remedy=f"set layout: {OTHER[source.layout]} in the import, with which it fits"
            )
        raise refuse(path, f"the layer {fault.layer} has {fault.what}", fault.remedy)
    return shapes


class _Fault(NamedTuple):
    layer: str
    what: str
    """what it has, and should not"""
    remedy: str = WIDTHS


def _faults(source: Source, shapes: Shapes) -> Iterator[_Fault]:
    options, weights = source.recipe["options"], {n: shapes[f"{n}.weight"] for n in source.layers}
    fixed = models.fixed_shapes(source.model, source.width, source.classes, options)
    for layer, shape in weights.items():
        bias, asked = shapes.get(f"{layer}.bias"), fixed.get(layer)
        if len(shape) not in (2, 4) or 0 in shape:
            what = f"the shape {shape}; it must be (out, in) or (out, in, kh, kw)"
            yield _Fault(layer, what, f"leave {layer} out under layers in the config")
        elif asked and not _fits(shape, asked):
            model = f"{source.model} of width {source.width}"
            yield _Fault(layer, f"the shape {shape}, but {model} needs {_text(asked)}")
        elif bias not in (None, shape[:1]):
            yield _Fault(layer, f"the shape {shape}, but its bias has {bias}")
    layer, shape = list(weights.items())[-1]
    # two classes may share one output
    if not fixed and shape[:1] not in ((source.classes,), (1,) if source.classes == 2 else ()):
        what = f"the shape {shape}, but the import has {source.classes} classes"
        yield _Fault(layer, what, OUTPUTS)
    for link in models.links_in(source.model, source.width, source.recipe):
        inputs = weights[link.target][1]
        for name in link.sources:
            outputs = weights[name][0]
            if inputs % outputs:
                what = f"{inputs} inputs, but it reads the {outputs} nodes of {name}"
                yield _Fault(link.target, what)


def _fits(shape: tuple[int, ...], asked: tuple[int | None, ...]) -> bool:
    return len(shape) == len(asked) and all(
        n is None or n == here for here, n in zip(shape, asked, strict=True)
    )


def _text(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if n is None else str(n) for n in shape)})"


def _check_equal(
    source: Source, file: str, shapes: Shapes, others: Shapes, of_whom: tuple[str, str]
) -> None:
    where, remedy = of_whom
    for name, shape in shapes.items():
        if shape != others[name]:
            if name.endswith(".weight") and _turn(source, shape) == others[name]:
                remedy = "save all files of the import in one layout"
            reason = f"{name} has the shape {shape}, but {others[name]} {where}"
            raise refuse(source.folder / file, reason, remedy)


def _commonest(seen: list[_Seen]) -> Shapes | None:
    """The shapes that most files have; of as many, those that stand first."""
    counts = Counter(tuple(run.shapes.items()) for run in seen if not run.reason)
    return dict(counts.most_common(1)[0][0]) if counts else None


def _compare(source: Source, run: _Seen, common: Shapes | None) -> _Seen:
    if run.reason or common is None:
        return run
    try:
        _check_equal(source, run.row.file, run.shapes, common, OF_MOST)
    except Refused as error:
        return run._replace(reason=str(error))
    return run


def _table(source: Source, seen: list[_Seen]) -> pd.DataFrame:
    rows = [
        (
            source.model,
            source.dataset,
            source.width,
            run.row.seed,
            run.row.file,
            run.row.initial_file,
            "bad" if run.reason else "good",
            run.reason,
            run.sha256,
        )
        for run in seen
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _header(source: Source, good: list[_Seen]) -> Header:
    return Header(
        model=source.model,
        dataset=source.dataset,
        width=source.width,
        recipe=source.recipe,
        dataset_digest="imported",
        software={
            "weightscape": weightscape.__version__,
            "h5py": h5py.__version__,
            "imported": [[run.row.file, run.sha256] for run in good],
        },
        device="imported",
        final_epoch=source.recipe["epochs"],
        layers=list(source.layers),
    )


def _blank(source: Source, shapes: Shapes) -> Shapes:
    """The shard's arrays and their shape of one run: what no run fills stays NaN."""
    epochs = source.recipe["epochs"]
    biases = {f"{layer}.bias": shapes[f"{layer}.weight"][:1] for layer in source.layers}
    return {
        **{
            f"epochs/{epoch}/{name.replace('.', '/')}": shape
            for epoch in source.snapshots
            for name, shape in (biases | shapes).items()
        },
        **{f"curves/{name}": (epochs + 1,) for name in CURVES},
        **{f"final/{name}": () for name in CURVES},
    }


def _records(source: Source, good: list[_Seen]) -> Iterator[RunRecord]:
    """The runs, one in memory at a time; of most curves only the last column is known."""
    epochs = source.recipe["epochs"]
    with Progress("importing", len(good)) as progress:
        for row, shapes, *_ in good:
            files = row.places(epochs)
            snapshots = {epoch: _read(source, file) for epoch, file in files.items()}
            for epoch, file in files.items():
                _check_equal(source, file, _shapes(snapshots[epoch]), shapes, OF_THE_FIRST_LOOK)
            curves = {name: np.full(epochs + 1, np.nan) for name in CURVES}
            for name, curve in curves.items():
                for epoch, value in row.curves.get(name, {}).items():
                    curve[epoch] = value
                curve[-1] = row.final[name]
            yield RunRecord(row.seed, snapshots, curves, row.final, {})
            progress.add()
