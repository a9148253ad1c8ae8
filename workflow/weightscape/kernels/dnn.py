"""The DNN's training and evaluation, its gradients derived by hand."""

import numpy as np

from weightscape.kernels.by_hand import ByHand
from weightscape.kernels.primitives import (
    Array,
    Parameter,
    add_bias_and_rectify,
    compiled,
    cross_entropy,
    descend,
    descend_layer,
    gather,
    multiply,
    note_active,
    pace,
    product,
    through_cross_entropy,
    through_relu,
)

Room = tuple[Array, ...]


@compiled
def train(
    images: Array,
    labels: Array,
    batches: Array,
    first_step: int,
    learning_rate: float,
    parameters: tuple[Parameter, ...],
) -> tuple[float, int]:
    """One step for each row of `batches` (steps, batch); sums of loss and of right answers."""
    fc1, b1, fc2, b2, fc3, b3 = parameters
    room = make_room(images, batches, parameters)
    x, y, h1, h2, logits, _, total, _ = room
    d1, d2, d3 = np.empty_like(h1), np.empty_like(h2), logits
    gb1, gb2, gb3 = np.empty_like(b1.value), np.empty_like(b2.value), np.empty_like(b3.value)
    loss, right = 0.0, 0
    for done in range(len(batches)):
        loss_here, right_here = answer(images, labels, batches[done], parameters, room)
        loss += loss_here
        right += right_here

        at = pace(first_step + done, learning_rate)
        through_cross_entropy(logits, y, total, gb3)
        product(fc3.value.T, d3, d2, 0)
        through_relu(d2, h2, gb2)
        product(fc2.value.T, d2, d1, 0)
        through_relu(d1, h1, gb1)
        descend_layer(fc3, d3, h2.T, at)
        descend_layer(fc2, d2, h1.T, at)
        descend_layer(fc1, d1, x, at)
        descend(b1, gb1, at)
        descend(b2, gb2, at)
        descend(b3, gb3, at)
    return loss, right


@compiled
def evaluate(
    images: Array, labels: Array, batches: Array, parameters: tuple[Parameter, ...]
) -> tuple[float, int, tuple[Array, ...], Array]:
    """Sums of loss and of right answers over all rows of `batches`, which units were active, and
    the answers (steps, batch)."""
    room = make_room(images, batches, parameters)
    _, _, h1, h2, _, _, _, answers = room
    every = np.empty(batches.shape, np.int64)
    active1, active2 = np.zeros(len(h1), np.bool_), np.zeros(len(h2), np.bool_)
    loss, right = 0.0, 0
    for done in range(len(batches)):
        loss_here, right_here = answer(images, labels, batches[done], parameters, room)
        loss += loss_here
        right += right_here
        note_active(h1, active1)
        note_active(h2, active2)
        every[done] = answers
    return loss, right, (active1, active2), every


@compiled
def make_room(images: Array, batches: Array, parameters: tuple[Parameter, ...]) -> Room:
    """Arrays for one batch: images, labels, both hidden layers, logits, two for the softmax, and
    the answers."""
    fc1, _, fc2, _, fc3, _ = parameters
    number, n = fc1.value.dtype, batches.shape[1]
    x, y = np.empty((n, images.shape[1]), number), np.empty(n, np.int64)
    h1, h2 = np.empty((len(fc1.value), n), number), np.empty((len(fc2.value), n), number)
    logits = np.empty((len(fc3.value), n), number)
    top, total, answers = np.empty(n, number), np.empty(n, number), np.empty(n, np.int64)
    return x, y, h1, h2, logits, top, total, answers


@compiled
def answer(
    images: Array, labels: Array, rows: Array, parameters: tuple[Parameter, ...], room: Room
) -> tuple[float, int]:
    """The forward pass of one batch into its room; sums of loss and of right answers."""
    fc1, b1, fc2, b2, fc3, b3 = parameters
    x, y, h1, h2, logits, top, total, answers = room
    gather(images, labels, rows, x, y)
    multiply(fc1.value, x.T, h1)
    add_bias_and_rectify(h1, b1.value)
    multiply(fc2.value, h1, h2)
    add_bias_and_rectify(h2, b2.value)
    multiply(fc3.value, h2, logits)
    return cross_entropy(logits, b3.value, y, top, total, answers)


class DNNByHand(ByHand):
    """fc1 (h1, pixels), fc2 (h2, h1) and fc3 (classes, h2), as they are in the shard."""

    relus = ("fc1", "fc2")

    def train(
        self,
        images: Array,
        labels: Array,
        batches: Array,
        first_step: int,
        learning_rate: float,
        parameters: tuple[Parameter, ...],
    ) -> tuple[float, int]:
        return train(images, labels, batches, first_step, learning_rate, parameters)

    def evaluate(
        self, images: Array, labels: Array, batches: Array, parameters: tuple[Parameter, ...]
    ) -> tuple[float, int, tuple[Array, ...], Array]:
        return evaluate(images, labels, batches, parameters)
