"""Training: from images and seeds to a shard, one run after another.

A run's weights follow from model, dataset, width, seed and recipe alone: its random streams do not
know of the shard it is in, and runs of a shard share nothing but the images.
"""

import hashlib
import logging
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, one_hot

import weightscape
from weightscape import models
from weightscape.datasets import Images, load
from weightscape.errors import WeightscapeError
from weightscape.models import Model
from weightscape.shards import Header, RunRecord, write_shard
from weightscape.study import CURVES, canonical_json

log = logging.getLogger(__name__)

EVALUATION_BLOCK = 1000  # images; keeps a block's activations small
GATHERED = 10  # batches whose images are gathered together
PROBE = 1000  # training images on which the gradient norms are measured

Parameters = dict[str, Tensor]


class Split(NamedTuple):
    """Images (N, channels, height, width) uint8 and labels (N,) int64, on the device."""

    images: Tensor
    labels: Tensor


class RunKey(NamedTuple):
    """What names a run."""

    model: str
    dataset: str
    width: str
    seed: int

    def stream(self, purpose: str) -> torch.Generator:
        """The run's own random stream for `init`, `shuffle` or `dropout`; always on the CPU."""
        text = canonical_json([*self, purpose])
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
        return torch.Generator().manual_seed(number >> 1)


def train_shard(
    *, dataset: Path, target: Path, model: str, width: str, seeds: list[int],
    recipe: dict[str, Any], snapshots: list[int], device: str, threads: int,
) -> None:  # fmt: skip
    """Train the runs `seeds` of one width and write them to `target`."""
    images = load(dataset)
    network = models.build(model, width, images.shape, images.classes, recipe["options"])
    where = choose_device(device)
    make_deterministic(where, threads)
    header = Header(
        model=model, dataset=images.name, width=width, recipe=recipe,
        dataset_digest=images.digest, software=software(threads), device=describe(where),
        final_epoch=recipe["epochs"], layers=[layer.name for layer in network.layers],
    )  # fmt: skip
    runs = _train_runs(network, images, seeds, header, set(snapshots), where)
    write_shard(target, header, len(seeds), network.auxiliary, runs)


def make_deterministic(device: torch.device, threads: int) -> None:
    """Let the same run give the same bytes, on this machine type and thread count."""
    torch.set_num_threads(threads)
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
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
        "platform": platform.platform(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
    }


def _train_runs(
    network: Model, images: Images, seeds: list[int], header: Header, snapshots: set[int],
    device: torch.device,
) -> Iterator[RunRecord]:  # fmt: skip
    train, test = _to_device(images.train, device), _to_device(images.test, device)
    started = time.perf_counter()
    for done, seed in enumerate(seeds, start=1):
        key = RunKey(header.model, header.dataset, header.width, seed)
        run = train_run(network, key, train, test, header.recipe, snapshots)
        yield run
        seconds = (time.perf_counter() - started) / done
        log.info(
            "seed %d: train %.2f %%, test %.2f %%; %d of %d runs, %.2f s a run, %.0f s left",
            seed, run.final["train_accuracy"], run.final["test_accuracy"],
            done, len(seeds), seconds, seconds * (len(seeds) - done),
        )  # fmt: skip


def _to_device(split: tuple[np.ndarray, np.ndarray], device: torch.device) -> Split:
    return Split(*(torch.from_numpy(array).to(device) for array in split))


def train_run(
    network: Model, key: RunKey, train: Split, test: Split, recipe: dict[str, Any],
    snapshots: set[int],
) -> RunRecord:  # fmt: skip
    """Train one run from its initialisation to the last epoch.

    Loss and accuracy in training are means over the images of an epoch, as they were trained on.
    A run that turns to NaN goes on and is recorded as it is.
    """
    epochs, device = recipe["epochs"], train.images.device
    start = initialise(network, recipe["initialisation"], key.stream("init"))
    adam = Adam(start, recipe["learning_rate"], device)
    parameters = adam.parameters
    shuffle = key.stream("shuffle")
    drop = dropout(recipe["options"].get("dropout", 0.0), key.stream("dropout"))
    record = _Recorder(network, parameters, train, test, epochs)
    kept = {0: _copy(parameters)}
    record.epoch(0, *evaluate(network, parameters, train))
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(train.labels), generator=shuffle).to(device)
        loss, accuracy = _train_epoch(network, adam, train, order, recipe["batch_size"], drop)
        record.epoch(epoch, loss, accuracy)
        if epoch in snapshots or epoch == epochs:
            kept[epoch] = _copy(parameters)
    return RunRecord(key.seed, kept, record.curves, record.final(), record.telemetry)


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
    return {name: network.lay_out(name, value) for name, value in parameters.items()}


class Adam:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980) over all parameters of a run as one vector.

    One kernel a step, whatever the number of layers; `parameters` and their gradients are views of
    the vectors. torch.optim.Adam does the same sums, but importing it pulls in torch's compiler,
    which costs as much as torch itself.
    """

    def __init__(self, start: Parameters, learning_rate: float, device: torch.device):
        self.learning_rate = learning_rate
        flat = torch.cat([_in_memory(value).flatten() for value in start.values()]).to(device)
        gradient = torch.zeros_like(flat)
        self._state = [flat], [gradient], [torch.zeros_like(flat)], [torch.zeros_like(flat)]
        self._steps = torch.zeros((), device=device)
        self.parameters: Parameters = {}
        offset = 0
        for name, value in start.items():
            part = slice(offset, offset + value.numel())
            view = _as_laid_out(flat[part], value).requires_grad_()
            view.grad = _as_laid_out(gradient[part], value)
            self.parameters[name] = view
            offset = part.stop

    def zero_gradients(self) -> None:
        self._state[1][0].zero_()

    def step(self) -> None:
        """One update from the gradients, with Table 1's settings."""
        self._steps += 1
        torch._fused_adam_(
            *self._state, [], [self._steps], lr=self.learning_rate, beta1=0.9, beta2=0.999,
            weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip


def _in_memory(value: Tensor) -> Tensor:
    """The value, or its transpose where that is what lies contiguous in memory."""
    return value if value.is_contiguous() else value.t()


def _as_laid_out(part: Tensor, value: Tensor) -> Tensor:
    """A view of the vector `part` with the shape and the memory order of `value`."""
    view = part.view(_in_memory(value).shape)
    return view if value.is_contiguous() else view.t()


def dropout(rate: float, stream: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Inverted dropout that draws from the run's own stream."""
    if rate == 0:
        return keep
    keep_rate = 1 - rate

    def drop(x: Tensor) -> Tensor:
        mask = torch.rand(x.shape, generator=stream) < keep_rate
        return x * mask.to(x.device) / keep_rate

    return drop


def keep(x: Tensor) -> Tensor:
    """What dropout is in evaluation."""
    return x


def _train_epoch(
    network: Model, adam: Adam, train: Split, order: Tensor, batch_size: int,
    drop: Callable[[Tensor], Tensor],
) -> tuple[float, float]:  # fmt: skip
    """One pass over the training split; mean loss and accuracy (%) over its images."""
    labels = train.labels[order]
    targets = one_hot(labels, network.classes).float()
    logits = torch.empty_like(targets)
    sizes = {min(batch_size, len(order)), len(order) % batch_size} - {0}
    kernels = {size: network.kernel(adam.parameters, size) for size in sizes}
    by_hand = None not in kernels.values()
    batches = zip(targets.split(batch_size), logits.split(batch_size), strict=True)
    with torch.inference_mode(by_hand):
        # rows from all over memory: ten batches gathered at once cost half of ten times one
        for rows in order.split(batch_size * GATHERED):
            for images in train.images.index_select(0, rows).split(batch_size):
                wanted, found = next(batches)
                run = kernels[len(images)] or _by_autograd(network, adam, drop)
                found.copy_(run(images, wanted))
                adam.step()
    by_class = log_softmax(logits.t().contiguous(), 0)  # far faster than along a short last axis
    loss = -by_class.gather(0, labels[None]).double().mean().item()
    return loss, 100 * (logits.argmax(1) == labels).double().mean().item()


def _by_autograd(
    network: Model, adam: Adam, drop: Callable[[Tensor], Tensor]
) -> Callable[[Tensor, Tensor], Tensor]:
    """What `Model.kernel` describes, for families that bring none."""

    def run(images: Tensor, targets: Tensor) -> Tensor:
        logits, _ = network.forward(adam.parameters, pixels(images), drop)
        adam.zero_gradients()
        cross_entropy(logits, targets).backward()
        return logits.detach()

    return run


def pixels(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]."""
    return images.float().div_(255)


@torch.no_grad()
def evaluate(
    network: Model, parameters: Parameters, split: Split, active: dict[str, Tensor] | None = None
) -> tuple[float, float]:
    """Mean loss and accuracy (%) over a whole split.

    `active`, where given, receives per ReLU layer which units (units,) were above zero for at
    least one image.
    """
    loss_sum, correct = 0.0, 0
    blocks = split.images.split(EVALUATION_BLOCK), split.labels.split(EVALUATION_BLOCK)
    for images, labels in zip(*blocks, strict=True):
        logits, units = network.forward(parameters, pixels(images), keep)
        loss_sum += cross_entropy(logits, labels, reduction="sum").double().item()
        correct += int((logits.argmax(1) == labels).sum())
        if active is not None:
            for name, output in units.items():
                fired = (output > 0).flatten(0, -2).any(0)
                active[name] = active[name] | fired if name in active else fired
    return loss_sum / len(split.labels), 100 * correct / len(split.labels)


class _Recorder:
    """Curves and telemetry of one run, column by column."""

    def __init__(
        self, network: Model, parameters: Parameters, train: Split, test: Split, epochs: int
    ):
        self.network, self.parameters = network, parameters
        self.train, self.test, self.epochs = train, test, epochs
        self.curves = {name: np.full(epochs + 1, np.nan) for name in CURVES}
        self.telemetry: dict[str, np.ndarray] = {}

    def epoch(self, epoch: int, train_loss: float, train_accuracy: float) -> None:
        active: dict[str, Tensor] = {}
        test_loss, test_accuracy = evaluate(self.network, self.parameters, self.test, active)
        values = (train_loss, train_accuracy, test_loss, test_accuracy)
        for name, value in zip(CURVES, values, strict=True):
            self.curves[name][epoch] = value
        for layer, fired in active.items():
            self._note(f"dead_units/{layer}", epoch, 1 - fired.double().mean().item())
        for layer, norm in gradient_norms(self.network, self.parameters, self.train).items():
            self._note(f"gradient_norm/{layer}", epoch, norm)

    def _note(self, name: str, epoch: int, value: float) -> None:
        column = self.telemetry.setdefault(name, np.full(self.epochs + 1, np.nan))
        column[epoch] = value

    def final(self) -> dict[str, float]:
        train_loss, train_accuracy = evaluate(self.network, self.parameters, self.train)
        return {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "test_loss": float(self.curves["test_loss"][-1]),
            "test_accuracy": float(self.curves["test_accuracy"][-1]),
        }


def gradient_norms(network: Model, parameters: Parameters, train: Split) -> dict[str, float]:
    """L2 norm per layer of the weights' gradient of the mean loss on the first PROBE images."""
    images, labels = train.images[:PROBE], train.labels[:PROBE]
    logits, _ = network.forward(parameters, pixels(images), keep)
    weights = [parameters[f"{layer.name}.weight"] for layer in network.layers]
    gradients = torch.autograd.grad(cross_entropy(logits, labels), weights)
    pairs = zip(network.layers, gradients, strict=True)
    return {layer.name: gradient.norm().item() for layer, gradient in pairs}


def _copy(parameters: Parameters) -> dict[str, np.ndarray]:
    return {name: value.detach().cpu().numpy().copy() for name, value in parameters.items()}
