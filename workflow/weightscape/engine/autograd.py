"""Any family, its gradients left to autograd: one run, or many at once under torch.func.vmap.

On a GPU the step is captured once as a CUDA graph, so that a step costs one launch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from weightscape.engine.linear import FastLinear, products
from weightscape.engine.stack import PROBE, Evaluation, Scores, Split, Stack
from weightscape.engine.streams import Parameters, Stream
from weightscape.kernels.primitives import Array
from weightscape.models import Model

EVALUATED = 1000  # images at a time by a single run; a stack takes a batch
WORTH_IT = 10_000_000  # multiply-adds of a batch from which our products save more than they cost
WARM_UP = 3  # steps before the capture, as torch asks for
ANSWERS = {1: torch.uint8, 2: torch.int32, 4: torch.int32}
"""Type of the answers to be kept, by the bytes that they will have in a shard."""

Values = dict[str, Tensor]


def pixels(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]."""
    return images / 255  # in one operation


def keep(x: Tensor) -> Tensor:
    """What dropout is in evaluation."""
    return x


class AutogradStack(Stack):
    """R runs as tensors with a leading dimension R, on a device.

    `dropouts` are the runs' own streams for dropout.
    """

    def __init__(
        self,
        network: Model,
        starts: Sequence[Parameters],
        dropouts: Sequence[Stream],
        train: Split,
        recipe: dict[str, Any],
        device: str = "cpu",
    ):
        self.network, self.recipe, self.runs = network, recipe, len(starts)
        self.device = torch.device(device)
        self.images, self.labels = self._place(train)
        self.dropouts = [_Dropout(stream, self.device) for stream in dropouts]
        self.values: Values = {
            name: self._to_device(np.stack([start[name] for start in starts])).requires_grad_()
            for name in starts[0]
        }
        self.loss = torch.zeros(self.runs, dtype=torch.float64, device=self.device)
        self.right = torch.zeros(self.runs, dtype=torch.int64, device=self.device)
        self.steps: dict[int, Step] = {}  # by the size of their batches
        work = network.n_multiply_adds * recipe["batch_size"]
        alone = self.runs == 1 and self.device.type == "cpu"
        by_us = alone and work >= WORTH_IT and products() == "scipy"
        self.products = FastLinear() if by_us else nullcontext()
        self._lay_out_as_gradients()
        self.adam = Adam(list(self.values.values()), recipe["learning_rate"])

    def _lay_out_as_gradients(self) -> None:
        """Hold each parameter in the order of memory in which its gradient comes.

        Side by side, gradients of weights come transposed, and would be copied at each step.
        """
        logits, _ = self._forward(pixels(self.images[:2]), None)
        found = torch.autograd.grad(
            logits.sum(), list(self.values.values()), materialize_grads=True
        )
        with torch.no_grad():
            for (name, value), gradient in zip(self.values.items(), found, strict=True):
                laid = torch.empty_like(gradient).copy_(value)
                self.values[name] = laid.requires_grad_()

    def rooms(self, images: int) -> Sequence[Array]:
        if self.device.type == "cpu":
            return ()
        # pinned: the GPU fetches them itself
        shape = self.runs, images
        return [torch.empty(shape, dtype=torch.int32, pin_memory=True).numpy() for _ in range(2)]

    def train_epoch(self, orders: Array) -> list[Scores]:
        rows = self._to_device(orders)
        self.loss.zero_()
        self.right.zero_()
        for batch in torch.split(rows, self.recipe["batch_size"], 1):
            size = batch.shape[1]
            if size not in self.steps:
                self.steps[size] = Step(self, size)
            self.steps[size](batch)
        return self._scores(self.loss, self.right, rows.shape[1])

    @torch.no_grad()
    def evaluate(self, split: Split) -> list[Evaluation]:
        loss, right = torch.zeros_like(self.loss), torch.zeros_like(self.right)
        active, answers = dict[str, Tensor](), list[Tensor]()
        for images, labels in self._blocks(*self._place(split)):
            logits, units = self._forward(pixels(images), None)
            loss += _losses(logits, labels).double().sum(1)
            answer = logits.argmax(2)
            right += (answer == labels).sum(1)
            answers.append(answer.to(ANSWERS[self.network.class_bytes]))
            for name, output in units.items():
                fired = (output > 0).flatten(1, -2).any(1)
                active[name] = active[name] | fired if name in active else fired
        found = {name: fired.cpu().numpy() for name, fired in active.items()}
        predicted = torch.cat(answers, 1).cpu().numpy().astype(f"u{self.network.class_bytes}")
        scores = self._scores(loss, right, len(split.labels))
        return [
            Evaluation(s, {name: fired[run] for name, fired in found.items()}, predicted[run])
            for run, s in enumerate(scores)
        ]

    def gradient_norms(self) -> list[dict[str, float]]:
        probe = self.images[:PROBE], self.labels[:PROBE]
        weights = [self.values[f"{layer.name}.weight"] for layer in self.network.layers]
        sums = [torch.zeros_like(weight) for weight in weights]
        for images, labels in self._blocks(*probe):
            logits, _ = self._forward(pixels(images), None)
            loss = _losses(logits, labels).sum() / len(probe[1])
            for total, gradient in zip(sums, torch.autograd.grad(loss, weights), strict=True):
                total.add_(gradient)
        norms = [total.flatten(1).norm(dim=1).tolist() for total in sums]
        names = [layer.name for layer in self.network.layers]
        return [dict(zip(names, run, strict=True)) for run in zip(*norms, strict=True)]

    def parameters(self) -> list[dict[str, np.ndarray]]:
        arrays = {name: value.detach().cpu().numpy() for name, value in self.values.items()}
        return [
            {name: array[run].copy() for name, array in arrays.items()} for run in range(self.runs)
        ]

    def _place(self, split: Split) -> tuple[Tensor, Tensor]:
        return self._to_device(split.images), self._to_device(split.labels)

    def _to_device(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def _blocks(self, *split: Tensor) -> Iterable[tuple[Tensor, ...]]:
        size = EVALUATED if self.runs == 1 else self.recipe["batch_size"]
        return zip(*(torch.split(array, size) for array in split), strict=True)

    def _forward(self, images: Tensor, masks: list[Tensor] | None) -> tuple[Tensor, Values]:
        """Logits (R, batch, classes) and ReLU outputs (R, batch, ..., units).

        `images` (batch, ...) are the same for all runs, or with masks (R, batch, ...) each run's.
        """

        def one(
            values: Values, images: Tensor, masks: list[Tensor] | None
        ) -> tuple[Tensor, Values]:
            return self.network.forward(values, images, keep if masks is None else _Masks(masks))

        if self.runs > 1:
            own = None if masks is None else 0
            found: tuple[Tensor, Values] = torch.vmap(one, (0, own, own))(
                self.values, images, masks
            )
            return found
        # squeezed, not indexed: the way back is then a view, too
        first = {name: value.squeeze(0) for name, value in self.values.items()}
        if masks is not None:
            images, masks = images[0], [mask[0] for mask in masks]
        with self.products:
            logits, units = one(first, images, masks)
        return logits[None], {name: unit[None] for name, unit in units.items()}

    @staticmethod
    def _scores(loss: Tensor, right: Tensor, images: int) -> list[Scores]:
        pairs = zip(loss.tolist(), right.tolist(), strict=True)
        return [Scores(a / images, 100 * b / images) for a, b in pairs]


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each image: logits (R, batch, classes), labels (batch,) or (R, batch)."""
    every = labels.expand(logits.shape[:2])
    losses = cross_entropy(logits.flatten(0, 1), every.flatten(), reduction="none")
    return losses.view(every.shape)


class Step:
    """One training step for batches of one size; on a GPU captured, then replayed."""

    def __init__(self, stack: AutogradStack, size: int):
        self.stack = stack
        self.rows = torch.zeros(stack.runs, size, dtype=torch.int32, device=stack.device)
        self.masks = [
            torch.zeros(stack.runs, *shape, device=stack.device)
            for shape in _dropped(stack.network, stack.values, size)
        ]
        self.replay = self.capture() if stack.device.type == "cuda" else self.run

    def __call__(self, rows: Tensor) -> None:
        self.rows.copy_(rows)
        share = 1 - self.stack.recipe["options"].get("dropout", 0.0)
        for mask in self.masks:
            for run, dropout in zip(mask, self.stack.dropouts, strict=True):
                dropout.draw(run, share)
        self.replay()

    def run(self) -> None:
        """The step on the rows and masks that are there."""
        stack = self.stack
        images = stack.images.index_select(0, self.rows.flatten())
        labels = stack.labels.index_select(0, self.rows.flatten()).view_as(self.rows)
        logits, _ = stack._forward(
            pixels(images.view(*self.rows.shape, *images.shape[1:])), self.masks
        )
        losses = _losses(logits, labels)
        # each run's loss is a mean over its batch; their sum leaves every gradient a run's own
        stack.adam.step(losses.mean(1).sum())
        stack.loss += losses.detach().double().sum(1)
        stack.right += (logits.detach().argmax(2) == labels).sum(1)

    def capture(self) -> Callable[[], None]:
        """The step as a CUDA graph; what the steps before the capture changed is put back."""
        stack = self.stack
        touched = [*stack.values.values(), *stack.adam.state, stack.loss, stack.right]
        before = [tensor.detach().clone() for tensor in touched]
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self.run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.run()
        with torch.no_grad():
            for tensor, value in zip(touched, before, strict=True):
                tensor.copy_(value)
        return graph.replay


class Adam:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980) with Table 1's settings, in one fused kernel.

    torch.optim.Adam does the same sums, but importing it pulls in torch's compiler, which costs as
    much as torch itself.
    """

    def __init__(self, values: list[Tensor], learning_rate: float):
        self.values, self.learning_rate = values, learning_rate
        self.means = [torch.zeros_like(value, requires_grad=False) for value in values]
        self.squares = [torch.zeros_like(value, requires_grad=False) for value in values]
        self.count = torch.zeros((), device=values[0].device)

    @property
    def state(self) -> list[Tensor]:
        """All that a step changes beside the values."""
        return [*self.means, *self.squares, self.count]

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of `loss`."""
        found = torch.autograd.grad(loss, self.values, materialize_grads=True)
        # the kernel below takes all for laid out alike
        gradients = [
            gradient
            if gradient.stride() == value.stride()
            else torch.empty_like(value).copy_(gradient)
            for value, gradient in zip(self.values, found, strict=True)
        ]
        self.count += 1
        with torch.no_grad():
            torch._fused_adam_(
                self.values,
                gradients,
                self.means,
                self.squares,
                [],
                [self.count] * len(self.values),
                lr=self.learning_rate,
                beta1=0.9,
                beta2=0.999,
                weight_decay=0.0,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )


class _Dropout:
    """A run's stream for dropout, on a device: on a GPU its own generator, seeded from it."""

    def __init__(self, stream: Stream, device: torch.device):
        self.stream = stream
        self.own: torch.Generator | None = None
        if device.type != "cpu":
            self.own = torch.Generator(device).manual_seed(int(stream.integers(2**63)))

    def draw(self, mask: Tensor, share: float) -> None:
        """Fill a mask of inverted dropout: 1 / share in that share of its places, else 0."""
        if self.own is not None:
            mask.bernoulli_(share, generator=self.own).div_(share)
            return
        drawn = mask.numpy()
        self.stream.random(out=drawn, dtype=np.float32)
        np.multiply(drawn < share, np.float32(1 / share), out=drawn)


class _Masks:
    """Inverted dropout by masks that are drawn beforehand, in the order of its calls."""

    def __init__(self, masks: list[Tensor]):
        self.left = iter(masks) if masks else None

    def __call__(self, x: Tensor) -> Tensor:
        return x if self.left is None else x * next(self.left)


@torch.no_grad()
def _dropped(network: Model, values: Values, size: int) -> list[torch.Size]:
    """The shapes to which a family applies dropout for a batch of `size` images."""
    if not network.options.get("dropout"):
        return []
    shapes: list[torch.Size] = []

    def note(x: Tensor) -> Tensor:
        shapes.append(x.shape)
        return x

    first = {name: value[0] for name, value in values.items()}
    device = next(iter(values.values())).device
    network.forward(first, torch.zeros(size, *network.shape, device=device), note)
    return shapes


def activation_bytes(network: Model, start: Parameters, images: Array) -> int:
    """What autograd keeps of a forward pass of `images` (batch, ...) uint8, parameters apart."""
    values = {name: torch.from_numpy(value) for name, value in start.items()}
    own = {value.untyped_storage().data_ptr() for value in values.values()}
    n_bytes = 0

    def note(tensor: Tensor) -> Tensor:
        nonlocal n_bytes
        if tensor.untyped_storage().data_ptr() not in own:
            n_bytes += tensor.nbytes
        return tensor

    tracked = {name: value.detach().requires_grad_() for name, value in values.items()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network.forward(tracked, pixels(torch.from_numpy(images)), keep)
    return n_bytes
