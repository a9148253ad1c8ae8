"""The plan: what a study will train, and what that costs, before anything is trained.

Cost comes from benchmark records of earlier training jobs where there are any, and from the
assumptions below elsewhere; the plan says which.
"""

import contextlib
import functools
import json
import math
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple, Unpack

from weightscape import models
from weightscape.errors import WeightscapeError
from weightscape.foreign import sources
from weightscape.heads import MeasureHead, Table
from weightscape.messages.logs import seconds_compiling
from weightscape.messages.terminal import align
from weightscape.monitor.found import find_shards, tell_replaced
from weightscape.storage.shards import CURVES
from weightscape.study.catalogue import BUILTIN, Dataset
from weightscape.study.paths import on_disk, parse_seeds
from weightscape.study.population import Population, find_import, find_population, populations
from weightscape.study.recipes import snapshot_epochs
from weightscape.study.sections import Config, OwnDataset, Training

HEAD = MeasureHead(
    reads=(),
    tables={
        "plan": Table(
            row="population: the plan, as snakemake plan prints it",
            keys=("model", "dataset"),
            columns={
                "widths": "number of widths",
                "runs": "number of runs, done or not",
                "runs_done": "runs that are there already, by the config's recipe",
                "runs_replaced": (
                    "runs that are there by another recipe, and would be trained anew and replaced"
                ),
                "jobs": "jobs that train or import these runs, one for each shard, done or not",
                "parameters": "trainable parameters of all runs together; empty for imports",
                "bytes": (
                    "estimated size of all shards on disk (bytes); for imports the size of "
                    "their checkpoints"
                ),
                "cpu_hours": "estimated CPU time of all these jobs, done or not (hours)",
                "cpu_hours_left": "that of the jobs that are not done by this recipe (hours)",
                "source": (
                    "what cpu_hours comes from: assumptions, assumptions (import), or a number of "
                    "benchmark records of earlier jobs"
                ),
            },
        ),
    },
    each="study",
)

# Assumptions, for one thread: what a step costs apart from arithmetic, and what a job costs before
# its first step, each by compiled gradients and by torch; and the rate of the arithmetic, as it was
# in the runs of docs/results.md (cores of Intel and AMD with AVX-512).
SECONDS_PER_STEP, SECONDS_PER_AUTOGRAD_STEP = 0.05e-3, 2e-3
SECONDS_PER_JOB, SECONDS_PER_TORCH_JOB = 1.5, 4.5
MULTIPLY_ADDS_PER_SECOND = 60e9
SECONDS_PER_IMPORT = 0.02  # of one run: its files are read twice
# Snakemake's own 190 MB in a cluster's job and what compiling takes, or torch
BASE_MEMORY_MB, TORCH_MEMORY_MB, CUDA_MEMORY_MB = 700, 1200, 4000
TRAINING_PASSES = 3  # forward, and backward to weights and to activations
BYTES_PER_SHARD, BYTES_PER_ARRAY = 7_700, 320  # HDF5's own, fitted to shards of all models
RECORDS_PER_WIDTH = 20  # benchmark records read of each width

SHOWN = [
    "model",
    "dataset",
    "widths",
    "runs",
    "done",
    "jobs",
    "parameters",
    "disk",
    "CPU hours",
    "of it left",
    "CPU hours from",
]


class PlanRow(NamedTuple):
    """The plan of one population."""

    model: str
    dataset: str
    widths: int
    runs: int
    runs_done: int
    runs_replaced: int
    """that are there by another recipe"""
    jobs: int
    parameters: int | None
    """trained numbers of all runs together; None of networks that are imported"""
    bytes: int
    """of all shards on disk"""
    cpu_hours: float
    """of all runs together, done or not"""
    cpu_hours_left: float
    source: str
    """what cpu_hours comes from"""


class Cost(NamedTuple):
    """CPU seconds of training a population."""

    job: float
    """before a job's first step"""
    run: dict[str, float]
    """of one run, by width"""
    source: str
    """what they come from"""


def make_plan(config: Config) -> list[PlanRow]:
    """A row per population of a checked config."""
    return [_plan_population(config, population) for population in populations(config)]


def render(config: Config, rows: list[PlanRow]) -> str:
    """The plan as a table for a terminal."""
    body = [_cells(row) for row in rows]
    total = [
        "all",
        "",
        "",
        f"{sum(row.runs for row in rows):,}",
        f"{sum(row.runs_done for row in rows):,}",
        f"{sum(row.jobs for row in rows):,}",
        f"{sum(row.parameters or 0 for row in rows):,}",
        format_bytes(sum(row.bytes for row in rows)),
        f"{sum(row.cpu_hours for row in rows):,.2f}",
        f"{sum(row.cpu_hours_left for row in rows):,.2f}",
        "",
    ]
    training = config["training"]
    title = (
        f"Study {config['study']}: {_count(training['epochs'], 'epoch')}, "
        f"{_runs_per_job(config)} per job, "
        f"{_count(training['threads'], 'thread')} per run"
    )
    replaced = tell_replaced(sum(row.runs_replaced for row in rows))
    table = align([SHOWN, *body, total], left={0, 1, len(SHOWN) - 1})
    return "\n".join([title, *table, *_describe_own(config), *([replaced] if replaced else [])])


def _runs_per_job(config: Config) -> str:
    trained = [p for p in populations(config) if not p.is_imported]
    found = {p.runs_per_job or config["runs_per_job"] for p in trained} or {config["runs_per_job"]}
    least, most = min(found), max(found)
    return _count(most, "run") if least == most else f"{least} to {most} runs"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _cells(row: PlanRow) -> list[str]:
    return [
        row.model,
        row.dataset,
        str(row.widths),
        f"{row.runs:,}",
        f"{row.runs_done:,}",
        f"{row.jobs:,}",
        "" if row.parameters is None else f"{row.parameters:,}",
        format_bytes(row.bytes),
        f"{row.cpu_hours:,.2f}",
        f"{row.cpu_hours_left:,.2f}",
        row.source,
    ]


def format_bytes(count: int) -> str:
    """12.3 MB, with decimal units."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def estimate_cost(config: Config, population: Population) -> Cost:
    """By this population's benchmark records where there are any, else by the assumptions."""
    if population.is_imported:
        runs = dict.fromkeys(population.widths, SECONDS_PER_IMPORT)
        return Cost(SECONDS_PER_JOB, runs, "assumptions (import)")
    factor, source = _calibrate(config, population)
    sizes = _sizes(config, population.dataset)
    networks = {width: network(config, population, width) for width in population.widths}
    runs = {
        width: factor * _assumed_seconds(config["training"], built, sizes, 1)
        for width, built in networks.items()
    }
    job = max(map(_seconds_to_start, networks.values()))  # of one family, they are alike
    return Cost(factor * job, runs, source)


def training_seconds(config: Config, model: str, dataset: str, width: str, n_runs: int) -> float:
    """CPU seconds of one training job, by the assumptions alone."""
    population = find_population(config, model, dataset)
    built, sizes = network(config, population, width), _sizes(config, dataset)
    return _seconds_to_start(built) + _assumed_seconds(config["training"], built, sizes, n_runs)


def training_memory_mb(config: Config, model: str, dataset: str, width: str, n_runs: int) -> int:
    """Megabytes that one training job needs: the images, one run, a block's activations, and torch
    where the job may import it.

    With device: cuda, CUDA itself and the orders and weights of all its runs, side by side.
    """
    population = find_population(config, model, dataset)
    built, sizes = network(config, population, width), _sizes(config, dataset)
    images = math.prod(sizes.shape) * (sizes.train + sizes.test)
    run = 4 * built.n_parameters * (4 + len(snapshot_epochs(config)))  # weights, gradients, moments
    if config["device"] == "cuda":
        order = 4 * sizes.train  # that an epoch takes, and the next
        return math.ceil((images + n_runs * (run + 2 * order)) / 1e6) + CUDA_MEMORY_MB
    is_free_of_torch = config["device"] == "cpu" and built.has_gradients_by_hand
    base = BASE_MEMORY_MB if is_free_of_torch else TORCH_MEMORY_MB
    return math.ceil((images + run) / 1e6) + base


def largest_run_mb(config: Config, population: Population) -> float:
    """Megabytes of the weights that are kept of a run of the largest width."""
    if population.is_imported:
        # 16-bit numbers take twice as much in a shard; the initial weights are as many
        return 4 * max(_file_sizes(config, population).values(), default=0) / 1e6
    n_parameters = max(
        network(config, population, width).n_parameters for width in population.widths
    )
    return 4 * n_parameters * len(snapshot_epochs(config)) / 1e6


def import_memory_mb(config: Config, model: str, dataset: str) -> int:
    """Megabytes that a job needs that imports a width: a run's files, twice."""
    population = find_population(config, model, dataset)
    return math.ceil(BASE_MEMORY_MB + 2 * largest_run_mb(config, population))


def _file_sizes(config: Config, population: Population) -> dict[str, int]:
    """Bytes of each checkpoint of an import that is there."""
    item = find_import(config, population.model, population.dataset)
    reader, folder = sources.reader(item["source"]), Path(item["folder"])
    rows = sources.listing(item).rows
    places = {place for row in rows for place in row.places(item["epochs"]).values()}
    return {place: reader.size(folder, place) for place in places}


def _plan_population(config: Config, population: Population) -> PlanRow:
    cost, is_imported = estimate_cost(config, population), population.is_imported
    n_jobs = n_done = n_replaced = parameters = n_bytes = 0
    seconds = left = 0.0
    for width in population.widths:
        found = find_shards(config, population, width)
        n_jobs += len(found.asked)
        n_done += found.count_runs(population, width, found.done)
        n_replaced += found.count_runs(population, width, found.otherwise)
        for seeds in found.asked:
            n_runs = len(population.imported_seeds.get(width, seeds))
            seconds += cost.job + n_runs * cost.run[width]
            left += 0 if seeds in found.done else cost.job + n_runs * cost.run[width]
        if not is_imported:
            built = network(config, population, width)
            parameters += population.n_seeds * built.n_parameters
            for length, count in Counter(map(len, found.asked)).items():
                n_bytes += count * _shard_bytes(config, population, built, length)
    return PlanRow(
        population.model,
        population.dataset,
        len(population.widths),
        population.n_runs,
        n_done,
        n_replaced,
        n_jobs,
        None if is_imported else parameters,
        # the shards of an import are about as large as its checkpoints
        sum(_file_sizes(config, population).values()) if is_imported else n_bytes,
        seconds / 3600,
        left / 3600,
        cost.source,
    )


def _shard_bytes(config: Config, population: Population, built: models.Model, n_runs: int) -> int:
    """Size of a shard: its numbers, and what HDF5 adds per file, array and chunk."""
    n_layers, columns = len(built.layers), config["training"]["epochs"] + 1
    n_snapshots = len(snapshot_epochs(config))
    curves = len(CURVES) + 2 * n_layers
    arrays = n_snapshots * (2 * n_layers + len(built.auxiliary)) + curves + len(CURVES) + 4
    numbers = n_snapshots * built.n_parameters + curves * columns
    predictions = built.class_bytes * _sizes(config, population.dataset).test
    each = 4 * numbers + predictions + 16 * arrays
    return BYTES_PER_SHARD + BYTES_PER_ARRAY * arrays + n_runs * each


def network(config: Config, population: Population, width: str) -> models.Model:
    sizes, options = _sizes(config, population.dataset), population.options
    return models.build(population.model, width, sizes.shape, sizes.classes, options)


def try_models(config: Config, asked: Container[str] | None = None) -> None:
    """One batch through each model that no test holds to the contract: all, or those `asked` for.

    Raises WeightscapeError for the first that does not keep it.
    """
    for population in populations(config):
        name = population.model
        is_asked = asked is None or name in asked
        if name in models.TRIED or population.is_imported or not is_asked:
            continue
        from weightscape.engine.trial import try_model  # brings torch

        sizes = _sizes(config, population.dataset)
        for width in population.widths:
            try_model(name, width, sizes.shape, sizes.classes, population.options)


def _sizes(config: Config, dataset: str) -> Dataset:
    if dataset in BUILTIN:
        return BUILTIN[dataset]
    return _own_sizes(dataset, **config["datasets"][dataset])


@functools.cache
def _own_sizes(name: str, **own: Unpack[OwnDataset]) -> Dataset:
    from weightscape.preparing.datasets import describe  # opens the user's file: not at each parse

    return describe(name, own)


def _describe_own(config: Config) -> Iterator[str]:
    """A line for each dataset of the user's that is trained on, as its file was read."""
    for name in dict.fromkeys(p.dataset for p in populations(config) if not p.is_imported):
        if name not in BUILTIN:
            sizes = _sizes(config, name)
            shape = " x ".join(map(str, sizes.shape))
            yield (
                f"Dataset {name}: images of {shape} (channels x height x width), "
                f"{sizes.classes} classes, {sizes.train:,} to train on and {sizes.test:,} to test"
            )


def _seconds_to_start(network: models.Model) -> float:
    return SECONDS_PER_JOB if network.has_gradients_by_hand else SECONDS_PER_TORCH_JOB


def _assumed_seconds(
    training: Training, network: models.Model, sizes: Dataset, n_runs: int
) -> float:
    """CPU seconds of the training steps and evaluations of `n_runs` runs, start-up apart."""
    steps = math.ceil(sizes.train / training["batch_size"])
    images = TRAINING_PASSES * sizes.train + sizes.test
    arithmetic = images * network.n_multiply_adds / MULTIPLY_ADDS_PER_SECOND
    per_step = SECONDS_PER_STEP if network.has_gradients_by_hand else SECONDS_PER_AUTOGRAD_STEP
    return n_runs * training["epochs"] * (steps * per_step + arithmetic)


def _calibrate(config: Config, population: Population) -> tuple[float, str]:
    """Measured over assumed seconds of this population's benchmark records, all together."""
    records = list(_records(config, population))
    if not records:
        return 1.0, "assumptions"
    measured, assumed = map(sum, zip(*records, strict=True))
    return measured / assumed, f"{len(records)} benchmark records"


def _records(config: Config, population: Population) -> Iterator[tuple[float, float]]:
    """Measured and assumed seconds of training jobs of this population, of any study."""
    pattern = f"*/benchmarks/train_runs/{population.model}/{population.dataset}/width-*"
    for folder in sorted(on_disk(config, "results").glob(pattern)):
        for path in sorted(folder.glob("seeds-*.jsonl"))[:RECORDS_PER_WIDTH]:
            # a record may be half-written, of another model's options or without its recipe
            with contextlib.suppress(
                OSError, LookupError, ValueError, TypeError, AttributeError, WeightscapeError
            ):
                yield _read_record(config, population, path)


def _read_record(config: Config, population: Population, path: Path) -> tuple[float, float]:
    """Measured is wall time times threads: the records' cpu_time lags by up to half a minute."""
    record = json.loads(path.read_text().splitlines()[-1])
    training = json.loads(record["params"]["recipe"])
    if training["options"] != population.options:
        raise ValueError("the recipe is of other options")
    built = network(config, population, path.parent.name.removeprefix("width-"))
    n_runs = len(parse_seeds(path.stem.removeprefix("seeds-")))
    sizes = _sizes(config, population.dataset)
    assumed = _seconds_to_start(built) + _assumed_seconds(training, built, sizes, n_runs)
    # for another type of processor, or a version before, code was compiled once
    seconds = float(record["s"]) - seconds_compiling(_log_of(path))
    return seconds * int(record["threads"]), assumed


def _log_of(record: Path) -> Path:
    """The log of the job that a benchmark record is of, whose folder is beside the records'."""
    top = record.parents[len(Path("benchmarks/train_runs/model/dataset/width").parts)]
    return (top / "logs" / record.relative_to(top / "benchmarks")).with_suffix(".log")
