"""Shards: the HDF5 files in which training jobs keep their runs, and their only reader and writer.

The layout is documented in docs/shard.md. A file is sealed with a digest of its content, so that a
flipped bit is an error and not a number.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from weightscape.errors import WeightscapeError
from weightscape.models import Link, links_in
from weightscape.storage.hdf5 import DAMAGE, State, read_file, read_note, state_of, write_file
from weightscape.study.paths import SHARD_NAME
from weightscape.study.recipes import canonical_json, digest_of, digest_of_shards, stream_seeds

FORMAT_VERSION = 1
CURVES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
STREAMS = ("init", "shuffle")
REMEDY = "delete it and run again to train it again"


class Header(NamedTuple):
    """What the runs of a shard have in common; stored as the attributes of its root."""

    model: str
    dataset: str
    width: str
    recipe: dict[str, Any]
    dataset_digest: str
    software: dict[str, Any]
    device: str
    final_epoch: int
    layers: list[str]
    """in the order of the forward pass"""

    @property
    def recipe_digest(self) -> str:
        return digest_of(self.recipe)


class RunRecord(NamedTuple):
    """All that is kept of one run."""

    seed: int
    snapshots: dict[int, dict[str, np.ndarray]]
    """epoch -> parameter name (`fc1.weight`) -> array"""
    curves: dict[str, np.ndarray]
    """each of CURVES -> (epochs + 1,)"""
    final: dict[str, float]
    """each of CURVES, from the final weights on the whole split"""
    telemetry: dict[str, np.ndarray]
    """`dead_units/<layer>`, `gradient_norm/<layer>` -> (epochs + 1,)"""
    predictions: dict[str, np.ndarray] = {}
    """`test` -> (N_test,) the class that the final weights predict for each test image"""


def write_shard(
    path: Path,
    header: Header,
    n_runs: int,
    auxiliary: Iterable[str],
    runs: Iterable[RunRecord],
    blank: dict[str, tuple[int, ...]] | None = None,
) -> None:
    """Write `n_runs` runs as they come, one in memory at a time; `path` appears when all are in.

    `auxiliary` names the parameters that are no layer's weight or bias. `blank` has the arrays that
    some runs may lack, with their shape of one run: there they are NaN, and take no space.
    """
    names = set(auxiliary)
    note = partial(_note, header)
    with write_file(path, _attributes(header), note) as file:
        file.create_group("telemetry/dead_units")  # stays empty without ReLU layers
        for name, shape in (blank or {}).items():
            _create(file, name, n_runs, shape, np.float32, fillvalue=np.nan)
        if not n_runs:
            _create(file, "seed", 0, (), np.int64)
        count = 0
        for row, run in enumerate(runs):
            # by name, so that the bytes do not depend on the order in which a record has its arrays
            arrays = [*_arrays(run, names), *_streams(run, header)]
            for name, values in sorted(arrays, key=itemgetter(0)):
                _store(file, name, np.asarray(values), row, n_runs)
            count += 1
        if count != n_runs:
            raise ValueError(f"{path}: {count} runs came, {n_runs} were announced")


def _attributes(header: Header) -> dict[str, Any]:
    texts = {key: canonical_json(getattr(header, key)) for key in ("recipe", "software", "layers")}
    return (
        header._asdict()
        | texts
        | {"format_version": FORMAT_VERSION, "recipe_digest": header.recipe_digest}
    )


def _note(header: Header, file: h5py.File) -> str:
    return f"made by {digest_of_shards(header.recipe, map(int, file['epochs']))}\n"


def is_made_otherwise(path: Path, digest: str) -> bool:
    """Whether a shard is there by another recipe, or with the weights of other epochs, than those
    of the digest. It is read as little as can be: what is no shard, or damaged, is not told here.
    """
    try:
        note = read_note(path).decode()
        if not note:  # of an older version, or of other hands
            with open_shard(path) as shard:
                note = _note(shard.header, shard._file)
    except (WeightscapeError, OSError, UnicodeDecodeError):
        return False
    return note != f"made by {digest}\n"


def _arrays(run: RunRecord, auxiliary: set[str]) -> Iterator[tuple[str, Any]]:
    yield "seed", np.int64(run.seed)
    for epoch, parameters in run.snapshots.items():
        for name, values in parameters.items():
            kind = "auxiliary" if name in auxiliary else "epochs"
            yield f"{kind}/{epoch}/{name.replace('.', '/')}", values
    for name, curve in run.curves.items():
        yield f"curves/{name}", curve.astype(np.float32)
    for name, value in run.final.items():
        yield f"final/{name}", np.float32(value)
    for name, values in run.telemetry.items():
        yield f"telemetry/{name}", values.astype(np.float32)
    for name, values in run.predictions.items():
        yield f"predictions/{name}", values


def _streams(run: RunRecord, header: Header) -> Iterator[tuple[str, np.int64]]:
    seeds = stream_seeds(run.seed, header.recipe.get("shuffle_seeds"))
    for stream, seed in zip(STREAMS, seeds, strict=True):
        yield f"streams/{stream}", np.int64(seed)


def _store(file: h5py.File, name: str, values: np.ndarray, row: int, n_runs: int) -> None:
    if name not in file:
        _create(file, name, n_runs, values.shape, values.dtype)
    file[name][row] = values


def _create(
    file: h5py.File, name: str, n_runs: int, shape: tuple[int, ...], dtype: Any, **how: Any
) -> None:
    """An array of all runs, a chunk per run; numbers of one run each are one chunk."""
    chunk = (1, *shape) if shape else (n_runs,)
    file.create_dataset(name, (n_runs, *shape), dtype, chunks=chunk if n_runs else None, **how)


def _name(key: tuple[str, str, str]) -> str:
    model, dataset, width = key
    return f"{model} on {dataset} of width {width}"


class _Known(NamedTuple):
    """What each opening of a shard tells of it."""

    attributes: dict[str, Any]
    seeds: list[int]
    streams: dict[str, list[int]]


_known: dict[State, _Known | None] = {}  # of shards that were checked: a measure opens them often
KEPT = 2000  # of them, as many as a large population has; of others it is known that they are right


class Shard:
    """An open shard. Every error in reading it is a WeightscapeError that names the file."""

    def __init__(self, path: Path, file: h5py.File):
        self.path, self._file = path, file
        state = state_of(path, file)
        known = _known.get(state) or self._read_known()
        # parsed and copied anew, as one may change what is its own
        parsed = {
            key: json.loads(known.attributes[key]) for key in ("recipe", "software", "layers")
        }
        final_epoch = int(known.attributes["final_epoch"])
        fields = {key: known.attributes[key] for key in Header._fields}
        self.header = Header(**fields | parsed | {"final_epoch": final_epoch})
        self.seeds = list(known.seeds)
        self.stream_seeds = {stream: list(seeds) for stream, seeds in known.streams.items()}
        # shards of other hands may lack them
        self.has_predictions = "predictions/test" in file
        if state not in _known:
            self._check(known.attributes["recipe_digest"])
            _known[state] = known if len(_known) < KEPT else None

    def _read_known(self) -> _Known:
        attributes = {key: self._file.attrs[key] for key in (*Header._fields, "recipe_digest")}
        seeds: list[int] = self.read("seed").tolist()
        # a shard without streams has those of its runs
        streams = dict.fromkeys(STREAMS, seeds)
        if "streams" in self._file:
            streams = {name: self.read(f"streams/{name}").tolist() for name in STREAMS}
        return _Known(attributes, seeds, streams)

    @property
    def key(self) -> tuple[str, str, str]:
        """Model, dataset and width, which with a seed name a run."""
        return self.header.model, self.header.dataset, self.header.width

    @property
    def epochs(self) -> list[int]:
        """Epochs after which the weights were kept."""
        return sorted(map(int, self._file["epochs"]))

    @property
    def links(self) -> list[Link]:
        """Which layers' nodes another layer reads, in the networks of this shard."""
        return links_in(self.header.model, self.header.width, self.header.recipe)

    def _check(self, recipe_digest: str) -> None:
        if self.header.recipe_digest != recipe_digest:
            raise self._refuse("its recipe and its recipe_digest differ")
        for stream, seeds in self.stream_seeds.items():
            self._check_runs(f"streams/{stream}", len(seeds))
        self._check_place()
        self._check_shapes()

    def _refuse(self, reason: str) -> WeightscapeError:
        return WeightscapeError(f"the shard {self.path} is refused: {reason}; {REMEDY}")

    def _check_place(self) -> None:
        """A whole shard in another's place would stand for runs that it does not hold."""
        named = SHARD_NAME.fullmatch(self.path.name)
        *_, model, dataset, folder, _ = ("", "", "", *self.path.absolute().parts)
        if named is None or not folder.startswith("width-"):
            return  # no shard of a study
        place = model, dataset, folder.removeprefix("width-")
        if self.key != place:
            raise self._refuse(f"it holds {_name(self.key)}, and its place is of {_name(place)}")
        seeds = range(int(named[1]), int(named[2] or named[1]) + 1)
        # of an import some checkpoints may be bad
        is_whole = self.header.recipe.get("imported") or len(self.seeds) == len(seeds)
        if not is_whole or not set(self.seeds) <= set(seeds):
            raise self._refuse(f"it holds the seeds {self.seeds}, and its name says others")

    def _check_shapes(self) -> None:
        expected = len(self.seeds), self.header.final_epoch + 1
        for name in (f"curves/{name}" for name in CURVES):
            found = self._file[name].shape
            if found != expected:
                raise self._refuse(f"{name} has the shape {found}, expected {expected}")
        if self.has_predictions:
            self._check_runs("predictions/test", len(self._file["predictions/test"]))
        for epoch in (0, self.header.final_epoch):
            for layer in self._file[f"epochs/{epoch}"].values():
                self._check_runs(layer.name, len(layer["weight"]))

    def _check_runs(self, name: str, n_runs: int) -> None:
        if n_runs != len(self.seeds):
            raise self._refuse(f"{name} has {n_runs} runs, expected {len(self.seeds)}")

    def read(self, name: str, row: int | None = None) -> np.ndarray:
        """The array `name` whole, or of one run."""
        try:
            values: np.ndarray = self._file[name][() if row is None else row]
        except DAMAGE as error:
            raise self._refuse(f"{name} can't be read ({error})") from error
        return values

    def run(self, row: int) -> RunRecord:
        """All of one run, as `write_shard` takes it."""
        record = RunRecord(self.seeds[row], {}, {}, {}, {}, {})
        names: list[str] = []
        try:
            self._file.visititems(
                lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
            )
        except DAMAGE as error:
            raise self._refuse(f"its arrays can't be listed ({error})") from error
        for kind, _, name in (name.partition("/") for name in names):
            if kind in ("epochs", "auxiliary"):
                epoch, *parameter = name.split("/")
                parameters = record.snapshots.setdefault(int(epoch), {})
                parameters[".".join(parameter)] = self.read(f"{kind}/{name}", row)
            elif kind not in ("seed", "streams"):  # which follow from seed and recipe
                getattr(record, kind)[name] = self.read(f"{kind}/{name}", row)
        return record

    def parameter(self, epoch: int, name: str, row: int) -> np.ndarray:
        """One run's parameter by its name, `fc1.weight` or one that is no layer's, float32."""
        is_of_layer = name.rpartition(".")[0] in self.header.layers
        kind = "epochs" if is_of_layer else "auxiliary"
        return self.read(f"{kind}/{epoch}/{name.replace('.', '/')}", row)

    def weight(self, epoch: int, layer: str, row: int) -> np.ndarray:
        """One run's weights (out, in) or (out, in, kh, kw), float32."""
        return self.read(f"epochs/{epoch}/{layer}/weight", row)

    def bias(self, epoch: int, layer: str, row: int) -> np.ndarray:
        """One run's biases (out,), float32."""
        return self.read(f"epochs/{epoch}/{layer}/bias", row)

    def predictions(self) -> np.ndarray | None:
        """(R, N_test) the class that the final weights predict for each test image, uint8, or
        uint16 beyond 256 classes; None where the shard has none."""
        return self.read("predictions/test") if self.has_predictions else None

    def telemetry(self, kind: str) -> dict[str, np.ndarray]:
        """`dead_units` or `gradient_norm`: layer -> (R, epochs + 1); empty if none has it."""
        try:
            layers = list(self._file["telemetry"].get(kind, ()))
        except DAMAGE as error:
            raise self._refuse(f"telemetry/{kind} can't be read ({error})") from error
        return {layer: self.read(f"telemetry/{kind}/{layer}") for layer in layers}


@contextmanager
def open_shard(path: Path | str) -> Iterator[Shard]:
    """A shard for reading.

    Raises WeightscapeError, naming the file and the reason, if it is missing, truncated, damaged,
    of another format_version or not a shard at all.
    """
    with read_file(path, "the shard", FORMAT_VERSION, REMEDY) as file:
        try:
            shard = Shard(Path(path), file)
        except DAMAGE as error:
            raise WeightscapeError(
                f"the shard {path} is refused: it is damaged, or it is not a shard ({error}); "
                f"{REMEDY}"
            ) from error
        yield shard


def read_population(paths: Iterable[Path | str]) -> Iterator[Shard]:
    """The shards of one population that have runs, open one at a time.

    Raises WeightscapeError at the first that is unreadable, or whose model, dataset, recipe or
    images differ from those of the shards before it.
    """
    first: Shard | None = None
    for path in paths:
        with open_shard(path) as shard:
            first = first or shard
            for key in ("model", "dataset", "recipe_digest", "dataset_digest"):
                here, there = getattr(shard.header, key), getattr(first.header, key)
                if here != there:
                    raise WeightscapeError(
                        f"the shard {path} is refused: its {key} is {here}, but {first.path} "
                        f"has {there}; delete the older of the two and run again"
                    )
            if shard.seeds:  # not so where all checkpoints of a width were bad
                yield shard
