"""Importing: from checkpoints that were trained elsewhere to a shard.

A checkpoint that can't be used is left out of the shard, and told in the log and in a table: the
others go on. What is not known of a run, such as its initial weights, is NaN.
"""

from __future__ import annotations

import hashlib
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
from weightscape.errors import WeightscapeError
from weightscape.foreign.checkpoints import Tensors, read_tensors
from weightscape.heads import MeasureHead, Table
from weightscape.messages.progress import Progress
from weightscape.storage.shards import CURVES, Header, RunRecord, write_shard
from weightscape.storage.tables import write_table
from weightscape.study.listing import ListedRun
from weightscape.study.sections import ImportedLayer

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

OF_ITS_END = "in the checkpoint of its final weights; correct initial_file in the table"
OF_MOST = "in most files of its width; correct its width in the table"
OF_THE_FIRST_LOOK = "when it was checked; run again when the file no longer changes"
"""Whose shapes a checkpoint should have, and what to do."""

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
    their `layer_order`, since the recipe comes as JSON that is sorted"""

    @property
    def layers(self) -> dict[str, ImportedLayer]:
        """In the order of the forward pass."""
        return {name: self.recipe["layers"][name] for name in self.recipe["layer_order"]}


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
    seen = [_compare(source.folder, run, common) for run in seen]
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
        shapes = _check(path, source, _read(source, row.file))
        if row.initial_file:
            initial = _read(source, row.initial_file)
            _check_equal(source.folder / row.initial_file, _shapes(initial), shapes, OF_ITS_END)
        with path.open("rb") as file:
            found = _Seen(row, shapes, hashlib.file_digest(file, "sha256").hexdigest(), "")
    except (WeightscapeError, OSError) as error:
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
    found = read_tensors(source.folder / file, dict.fromkeys(wanted.values()))
    return {name: found[tensor] for name, tensor in wanted.items()}


def _shapes(parameters: Tensors) -> Shapes:
    return {name: values.shape for name, values in parameters.items()}


def _check(path: Path, source: Source, parameters: Tensors) -> Shapes:
    """The parameters' shapes; WeightscapeError if they can't be those of the model."""
    shapes, options = _shapes(parameters), source.recipe["options"]
    fixed = models.fixed_shapes(source.model, source.width, source.classes, options)
    for layer in source.layers:
        shape, bias = shapes[f"{layer}.weight"], shapes.get(f"{layer}.bias")
        asked = fixed.get(layer)
        if len(shape) not in (2, 4) or 0 in shape:
            what = f"the shape {shape}; it must be (out, in) or (out, in, kh, kw)"
            raise _refuse(path, layer, what)
        if asked and not _fits(shape, asked):
            model = f"{source.model} of width {source.width}"
            what = f"the shape {shape}, but {model} needs {_text(asked)}"
            raise _refuse(path, layer, what)
        if bias not in (None, shape[:1]):
            raise _refuse(path, layer, f"the shape {shape}, but its bias has {bias}")
    for link in models.links_in(source.model, source.width, source.recipe):
        inputs = shapes[f"{link.target}.weight"][1]
        for name in link.sources:
            outputs = shapes[f"{name}.weight"][0]
            if inputs % outputs:
                what = f"{inputs} inputs, but it reads the {outputs} nodes of {name}"
                raise _refuse(path, link.target, what)
    return shapes


def _fits(shape: tuple[int, ...], asked: tuple[int | None, ...]) -> bool:
    return len(shape) == len(asked) and all(
        n is None or n == here for here, n in zip(shape, asked, strict=True)
    )


def _text(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if n is None else str(n) for n in shape)})"


def _refuse(path: Path, layer: str, what: str) -> WeightscapeError:
    return WeightscapeError(
        f"the checkpoint {path} is refused: the layer {layer} has {what}; correct the width in the "
        "table, or the layers in the config"
    )


def _check_equal(path: Path, shapes: Shapes, others: Shapes, of_whom: str) -> None:
    for name, shape in shapes.items():
        if shape != others[name]:
            raise WeightscapeError(
                f"the checkpoint {path} is refused: {name} has the shape {shape}, but "
                f"{others[name]} {of_whom}"
            )


def _commonest(seen: list[_Seen]) -> Shapes | None:
    """The shapes that most files have; of as many, those that stand first."""
    counts = Counter(tuple(run.shapes.items()) for run in seen if not run.reason)
    return dict(counts.most_common(1)[0][0]) if counts else None


def _compare(folder: Path, run: _Seen, common: Shapes | None) -> _Seen:
    if run.reason or common is None:
        return run
    try:
        _check_equal(folder / run.row.file, run.shapes, common, OF_MOST)
    except WeightscapeError as error:
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
            for epoch in (0, epochs)
            for name, shape in (biases | shapes).items()
        },
        **{f"curves/{name}": (epochs + 1,) for name in CURVES},
        **{f"final/{name}": () for name in CURVES},
    }


def _records(source: Source, good: list[_Seen]) -> Iterator[RunRecord]:
    """The runs, one in memory at a time; of the curves only the last column is known."""
    epochs = source.recipe["epochs"]
    with Progress("importing", len(good)) as progress:
        for row, shapes, *_ in good:
            files = {epochs: row.file} | ({0: row.initial_file} if row.initial_file else {})
            snapshots = {epoch: _read(source, file) for epoch, file in files.items()}
            for epoch, file in files.items():
                _check_equal(
                    source.folder / file, _shapes(snapshots[epoch]), shapes, OF_THE_FIRST_LOOK
                )
            curves = {name: np.full(epochs + 1, np.nan) for name in CURVES}
            for name, curve in curves.items():
                curve[-1] = row.final[name]
            yield RunRecord(row.seed, snapshots, curves, row.final, {})
            progress.add()
