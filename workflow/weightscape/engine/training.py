"""Training: from images and seeds to a shard.

A run's weights follow from model, dataset, width, seed and recipe alone: its random streams do not
know of the shard it is in, and runs of a shard share nothing but the images, or the streams of
crossed seeds. On the CPU that holds for every bit; on a GPU the number of runs that train side by
side can change the last ones.
"""

import hashlib
import itertools
import logging
import math
import os
import platform
import resource
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numba
import numpy as np
import scipy
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

import weightscape
from weightscape import models
from weightscape.engine.autograd import AutogradStack, activation_bytes
from weightscape.engine.by_hand import HandStack
from weightscape.engine.stack import Evaluation, Scores, Split, Stack
from weightscape.errors import WeightscapeError
from weightscape.kernels.primitives import BLAS
from weightscape.messages.progress import Progress
from weightscape.models import Model
from weightscape.storage.images import Images, load
from weightscape.storage.shards import CURVES, Header, RunRecord, write_shard
from weightscape.storage.unfinished import Unfinished
from weightscape.study.recipes import canonical_json, stream_seeds

log = logging.getLogger(__name__)

HEADROOM = 0.8  # share of the free memory that stacks are planned to fill

Parameters = dict[str, Tensor]


class RunKey(NamedTuple):
    """What names a run, and how many runs share its initialisation where seeds are crossed."""

    model: str
    dataset: str
    width: str
    seed: int
    shuffle_seeds: int | None = None

    def stream(self, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
        """The run's random stream for `init`, `shuffle` or `dropout`.

        Runs of one initialisation seed share the first, those of one shuffle seed the others.
        """
        init, shuffle = stream_seeds(self.seed, self.shuffle_seeds)
        seed = init if purpose == "init" else shuffle
        text = canonical_json([self.model, self.dataset, self.width, seed, purpose])
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
        return torch.Generator(device).manual_seed(number >> 1)


def train_shard(
    *,
    dataset: Path,
    target: Path,
    model: str,
    width: str,
    seeds: list[int],
    recipe: dict[str, Any],
    snapshots: list[int],
    device: str,
    threads: int,
    memory_mb: int | None = None,
    unfinished: Path | None = None,
) -> None:
    """Train the runs `seeds` of one width and write them to `target`.

    On a GPU as many train side by side as fit its memory, and `memory_mb` of the host's. The folder
    `unfinished` keeps the finished runs of many until `target` is there, for a job that is killed
    to resume at.
    """
    images = load(dataset)
    network = models.build(model, width, images.shape, images.classes, recipe["options"])
    where = choose_device(device)
    make_deterministic(where, threads)
    header = Header(
        model=model,
        dataset=images.name,
        width=width,
        recipe=recipe,
        dataset_digest=images.digest,
        software=software(threads),
        device=describe(where),
        final_epoch=recipe["epochs"],
        layers=[layer.name for layer in network.layers],
    )
    epochs = {0, *snapshots, header.final_epoch}
    kept = Unfinished(unfinished, header, epochs, network.auxiliary) if unfinished else None
    runs = _train_runs(network, images, seeds, header, epochs, where, memory_mb, kept)
    write_shard(target, header, len(seeds), network.auxiliary, runs)
    if kept:
        kept.discard(seeds)


def make_deterministic(device: torch.device, threads: int) -> None:
    """Let the same run give the same bytes, on this machine type and thread count."""
    torch.set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")
    # Adam's moments of dead units decay into denormal numbers, on which processors crawl
    torch.set_flush_denormal(True)
    if device.type == "cuda":  # on the CPU our operations are deterministic as they are
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True)  # imports torch's compiler: seconds
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def choose_device(wanted: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise WeightscapeError(
            "device: cuda is set and torch finds no GPU here; set device: auto or cpu"
        )
    return torch.device(wanted)


def describe(device: torch.device) -> str:
    """The device with the name of its GPU or processor type."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{device.type} ({name})"


def software(threads: int) -> dict[str, Any]:
    """The versions that a shard's bytes may depend on."""
    return {
        "weightscape": weightscape.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "blas": BLAS,
        "numba": numba.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
        "platform": platform.platform(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
    }


def _train_runs(
    network: Model,
    images: Images,
    seeds: list[int],
    header: Header,
    snapshots: set[int],
    device: torch.device,
    memory_mb: int | None,
    kept: Unfinished | None,
) -> Iterator[RunRecord]:
    """Each run in the order of `seeds`, trained or as an earlier attempt kept it."""
    train, test = _to_device(images.train, device), _to_device(images.test, device)
    name = header.model, header.dataset, header.width
    keys = [RunKey(*name, seed, header.recipe.get("shuffle_seeds")) for seed in seeds]
    found = kept.find(seeds) if kept else set()
    if found:
        log.info("%d of %d runs were finished by an earlier attempt", len(found), len(keys))
    left = [key for key in keys if key.seed not in found]
    size = runs_at_once(network, header.recipe, train, memory_mb)
    if left:
        at_once = min(size, len(left))
        log.info("training %d runs on %s, %d at once", len(left), header.device, at_once)

    def train_some(stack: list[RunKey], told: Progress | None) -> list[RunRecord]:
        runs = train_stack(network, stack, train, test, header.recipe, snapshots, told)
        if kept and len(keys) > 1:
            for run in runs:
                kept.keep(run)
        return runs

    what = f"{header.model} {header.dataset} {header.width}"
    with Progress(what, len(keys), before=len(found)) as progress:
        stacks = (left[first : first + size] for first in range(0, len(left), size))
        trained = itertools.chain.from_iterable(train_some(stack, progress) for stack in stacks)
        for key in keys:
            run = kept.read(key.seed) if kept and key.seed in found else next(trained)
            if run is None:  # another job has removed it since
                (run,) = train_some([key], None)
            log.info(
                "seed %d: train %.2f %%, test %.2f %%",
                run.seed,
                run.final["train_accuracy"],
                run.final["test_accuracy"],
            )
            yield run


def _to_device(split: tuple[np.ndarray, np.ndarray], device: torch.device) -> Split:
    return Split(*(torch.from_numpy(array).to(device) for array in split))


def runs_at_once(
    network: Model, recipe: dict[str, Any], train: Split, memory_mb: int | None
) -> int:
    """How many runs to train side by side: one on the CPU, and as many as fit on a GPU.

    A stack on the CPU gains nothing where gradients are compiled, and elsewhere it would make a
    run's last bits depend on its neighbours.
    """
    if train.images.device.type == "cpu":
        return 1
    needed = bytes_per_run(network, recipe, train)
    free, _ = torch.cuda.mem_get_info(train.images.device)
    fitting = HEADROOM * free / needed.device
    if memory_mb is not None:
        left = memory_mb * 2**20 - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        fitting = min(fitting, left / needed.host)
    return max(1, int(fitting))


class Bytes(NamedTuple):
    """What one more run of a stack takes of the memory of the GPU and of the host."""

    device: float
    host: float


def bytes_per_run(network: Model, recipe: dict[str, Any], train: Split) -> Bytes:
    """Estimated from the number of parameters, and from what autograd keeps of two images."""
    values = initialise(network, recipe["initialisation"], torch.Generator())
    kept = activation_bytes(network, values, train.images[:2].cpu()) / 2
    order, weights = 8 * len(train.labels), 4 * network.n_parameters
    # value, gradient as found and as laid out, two moments, and one for what comes and goes
    at_work = 6 * weights + recipe["batch_size"] * (2 * kept + 5 * train.images[0].numel())
    return Bytes(at_work + order, 2 * order + 4 * weights)


def train_stack(
    network: Model,
    keys: Sequence[RunKey],
    train: Split,
    test: Split,
    recipe: dict[str, Any],
    snapshots: set[int],
    progress: Progress | None = None,
) -> list[RunRecord]:
    """Train runs of one width side by side from their initialisation to the last epoch.

    Loss and accuracy in training are means over the images of an epoch, as they were trained on.
    A run that turns to NaN goes on and is recorded as it is.
    """
    epochs = recipe["epochs"]
    stack = make_stack(network, keys, train, recipe)
    records = [_Recorder(epochs) for _ in keys]
    kept = [{0: parameters} for parameters in stack.parameters()]
    _record(stack, records, 0, [found.scores for found in stack.evaluate(train)], test)
    shuffles = [key.stream("shuffle") for key in keys]
    orders = _orders(shuffles, len(train.labels), epochs, ahead=train.images.is_cuda)
    for epoch, order in enumerate(orders, start=1):
        _record(stack, records, epoch, stack.train_epoch(order), test)
        if epoch in snapshots or epoch == epochs:
            for run, parameters in zip(kept, stack.parameters(), strict=True):
                run[epoch] = parameters
        if progress is not None:
            progress.epoch(len(keys), epoch, epochs)
    final = [found.scores for found in stack.evaluate(train)]
    return [
        RunRecord(
            key.seed,
            weights,
            record.curves,
            record.final(scores),
            record.telemetry,
            {"test": record.predicted},
        )
        for key, weights, record, scores in zip(keys, kept, records, final, strict=True)
    ]


def make_stack(
    network: Model, keys: Sequence[RunKey], train: Split, recipe: dict[str, Any]
) -> Stack:
    """Freshly initialised runs on the device of `train`, in the fastest way that there is."""
    starts = [initialise(network, recipe["initialisation"], key.stream("init")) for key in keys]
    device = train.images.device
    method = network.by_hand() if device.type == "cpu" and len(keys) == 1 else None
    if method is not None:
        return HandStack(network, method, starts[0], train, recipe)
    dropouts = [key.stream("dropout", device) for key in keys]
    return AutogradStack(network, starts, dropouts, train, recipe)


def initialise(network: Model, how: dict[str, Any], stream: torch.Generator) -> Parameters:
    """Fresh parameters: weights N(0, std^2), biases U(+-1/sqrt(fan_in)) or zero."""
    parameters: Parameters = {}
    for layer in network.layers:
        bound = 1 / math.sqrt(layer.fan_in) if how["biases"] == "uniform" else 0.0
        weight = torch.empty(layer.shape).normal_(0.0, how["std"], generator=stream)
        bias = torch.empty(layer.shape[0]).uniform_(-bound, bound, generator=stream)
        parameters |= {f"{layer.name}.weight": weight, f"{layer.name}.bias": bias}
    for name, (shape, start) in network.auxiliary.items():
        value = torch.full(shape, float(start == "ones"))
        if start == "normal":
            value.normal_(0.0, how["std"], generator=stream)
        parameters[name] = value
    return parameters


def _orders(
    shuffles: Sequence[torch.Generator], images: int, epochs: int, ahead: bool
) -> Iterator[list[Tensor]]:
    """Each run's order of the images, epoch by epoch; `ahead` draws the next while one trains."""

    def draw() -> list[Tensor]:
        return [torch.randperm(images, generator=shuffle) for shuffle in shuffles]

    if not ahead:
        for _ in range(epochs):
            yield draw()
        return
    with ThreadPoolExecutor(1) as aside:
        coming = aside.submit(draw)
        for epoch in range(epochs):
            orders = coming.result()
            if epoch + 1 < epochs:
                coming = aside.submit(draw)
            yield orders


class _Recorder:
    """Curves and telemetry of one run, column by column, and its last test predictions."""

    def __init__(self, epochs: int):
        self.columns = epochs + 1
        self.curves = {name: np.full(self.columns, np.nan) for name in CURVES}
        self.telemetry: dict[str, np.ndarray] = {}
        self.predicted = np.empty(0)

    def epoch(self, epoch: int, train: Scores, test: Evaluation, norms: dict[str, float]) -> None:
        for name, value in zip(CURVES, (*train, *test.scores), strict=True):
            self.curves[name][epoch] = value
        self.predicted = test.predicted
        for layer, fired in test.active.items():
            self._note(f"dead_units/{layer}", epoch, 1 - float(np.mean(fired)))
        for layer, norm in norms.items():
            self._note(f"gradient_norm/{layer}", epoch, norm)

    def _note(self, name: str, epoch: int, value: float) -> None:
        column = self.telemetry.setdefault(name, np.full(self.columns, np.nan))
        column[epoch] = value

    def final(self, train: Scores) -> dict[str, float]:
        last = {name: float(self.curves[name][-1]) for name in ("test_loss", "test_accuracy")}
        return {"train_loss": train.loss, "train_accuracy": train.accuracy} | last


def _record(
    stack: Stack, records: list[_Recorder], epoch: int, trained: list[Scores], test: Split
) -> None:
    columns = zip(records, trained, stack.evaluate(test), stack.gradient_norms(), strict=True)
    for record, train, tested, norms in columns:
        record.epoch(epoch, train, tested, norms)
