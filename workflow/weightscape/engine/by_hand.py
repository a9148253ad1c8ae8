"""One run on the CPU, with its family's gradients derived by hand and compiled.

A stack of one: here runs side by side only push each other out of the processor's cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weightscape.engine.stack import PROBE, Evaluation, Scores, Split, Stack
from weightscape.engine.streams import Parameters
from weightscape.kernels.by_hand import ByHand
from weightscape.kernels.primitives import Array, Parameter
from weightscape.models import Model

EVALUATED = 100  # images at a time; as small as a batch, so that their outputs stay in cache


class HandStack(Stack):
    """A stack of one run that trains by its family's ByHand."""

    runs = 1

    def __init__(
        self,
        network: Model,
        method: ByHand,
        start: Parameters,
        train: Split,
        recipe: dict[str, Any],
    ):
        self.network, self.method, self.recipe = network, method, recipe
        self.names = list(start)
        values = (method.pack(name, value) for name, value in start.items())
        self.state = tuple(_at_rest(np.array(value, order="C")) for value in values)
        self.train = _arrays(train)
        self.step = 1

    def train_epoch(self, orders: Array) -> list[Scores]:
        (order,) = orders
        loss, right = 0.0, 0
        for batches in _batches(order, self.recipe["batch_size"]):
            more = self.method.train(
                *self.train, batches, self.step, self.recipe["learning_rate"], self.state
            )
            self.step += len(batches)
            loss, right = loss + more[0], right + more[1]
        return [Scores(loss / len(order), 100 * right / len(order))]

    def evaluate(self, split: Split) -> list[Evaluation]:
        images, labels = _arrays(split)
        loss, right, active, answers = 0.0, 0, dict[str, np.ndarray](), list[np.ndarray]()
        for batches in _batches(_in_order(labels), EVALUATED):
            more = self.method.evaluate(images, labels, batches, self.state)
            loss, right = loss + more[0], right + more[1]
            for name, fired in zip(self.method.relus, more[2], strict=True):
                active[name] = fired | active.get(name, False)
            answers.append(more[3].ravel())
        scores = Scores(loss / len(labels), 100 * right / len(labels))
        predicted = np.concatenate(answers).astype(f"u{self.network.class_bytes}")
        return [Evaluation(scores, active, predicted)]

    def gradient_norms(self) -> list[dict[str, float]]:
        # a first step of Adam leaves (1 - 0.9) of the gradient as its mean
        probe = tuple(_at_rest(parameter.value.copy()) for parameter in self.state)
        images, labels = (array[:PROBE] for array in self.train)
        self.method.train(images, labels, _in_order(labels)[None], 1, 0.0, probe)
        # numpy's norm would go through its own BLAS, whose sums differ from machine to machine
        norms = {
            name: math.sqrt(np.square(parameter.mean, dtype=np.float64).sum()) / 0.1
            for name, parameter in zip(self.names, probe, strict=True)
        }
        return [{layer.name: norms[f"{layer.name}.weight"] for layer in self.network.layers}]

    def parameters(self) -> list[dict[str, np.ndarray]]:
        pairs = zip(self.names, self.state, strict=True)
        return [{name: np.array(self.method.unpack(name, p.value)) for name, p in pairs}]


def _at_rest(value: Array) -> Parameter:
    return Parameter(value, np.zeros_like(value), np.zeros_like(value))


def _arrays(split: Split) -> tuple[Array, Array]:
    return split.images.reshape(len(split.images), -1), split.labels


def _in_order(labels: Array) -> Array:
    # of the orders' type, for which the gradients are compiled
    return np.arange(len(labels), dtype=np.int32)


def _batches(order: Array, size: int) -> list[Array]:
    """The whole batches (steps, size) of an order, and the rest as one smaller batch."""
    whole = len(order) // size * size
    parts = order[:whole].reshape(-1, size), order[whole:].reshape(1, -1)
    return [part for part in parts if part.size]
