"""The CNN's training and evaluation, its gradients derived by hand, one channel at a time.

A channel's outputs for a whole batch fit the processor's nearer cache. Those of all channels are
kept for the way back where they fit the farther one, or are dear to make, from several planes; else
each is made, used and dropped, and made again.

An image's plane is read as one long row, over which a 3 x 3 kernel is nine shifts: the last two
outputs of each line wrap around and are held at zero, and so are the weights that meet them.
"""

import numpy as np

from weightscape.kernels.by_hand import ByHand
from weightscape.kernels.primitives import (
    Array,
    Pace,
    Parameter,
    compiled,
    cross_entropy,
    descend,
    gather,
    note_active,
    pace,
    product,
    through_cross_entropy,
)

KERNEL = 3
KEPT_BYTES = 2**23  # of all channels' outputs; a core's share of the last cache

Room = tuple[Array, ...]


@compiled
def train(
    images: Array,
    labels: Array,
    batches: Array,
    first_step: int,
    learning_rate: float,
    parameters: tuple[Parameter, ...],
    planes: int,
    line: int,
) -> tuple[float, int]:
    """One step for each row of `batches` (steps, batch); sums of loss and of right answers.

    images (N, planes x lines x line); conv1 (channels, planes, 9); fc (channels, classes, places).
    """
    room = make_room(images, batches, parameters, planes)
    loss, right = 0.0, 0
    for done in range(len(batches)):
        loss_here, right_here = answer(images, labels, batches[done], parameters, line, room)
        loss += loss_here
        right += right_here
        descend_batch(parameters, line, room, pace(first_step + done, learning_rate))
    return loss, right


@compiled
def make_room(
    images: Array, batches: Array, parameters: tuple[Parameter, ...], planes: int
) -> Room:
    """Arrays for one batch: images (batch, planes, pixels), labels, the outputs of the channels
    that are kept, their derivatives, logits, two for the softmax, and the answers."""
    conv1, _, fc, _ = parameters
    channels, classes, places = fc.value.shape
    number, n = conv1.value.dtype, batches.shape[1]
    kept = channels
    if planes == 1 and channels * n * places * fc.value.itemsize > KEPT_BYTES:
        kept = 1
    x, y = np.empty((n, images.shape[1]), number), np.empty(n, np.int64)
    maps, delta = np.empty((kept, n, places), number), np.empty((n, places), number)
    logits = np.empty((classes, n), number)
    top, total, answers = np.empty(n, number), np.empty(n, number), np.empty(n, np.int64)
    return x.reshape(n, planes, -1), y, maps, delta, logits, top, total, answers


@compiled
def answer(
    images: Array,
    labels: Array,
    rows: Array,
    parameters: tuple[Parameter, ...],
    line: int,
    room: Room,
) -> tuple[float, int]:
    """The forward pass of one batch into its room; sums of loss and of right answers."""
    conv1, b1, fc, b2 = parameters
    x, y, maps, _, logits, top, total, answers = room
    gather(images, labels, rows, x.reshape(len(x), -1), y)
    for c in range(len(fc.value)):
        out = maps[c % len(maps)]
        convolve(x, conv1.value[c], b1.value[c], line, out)
        product(fc.value[c], out.T, logits, 0 if c == 0 else 1)
    return cross_entropy(logits, b2.value, y, top, total, answers)


@compiled
def descend_batch(parameters: tuple[Parameter, ...], line: int, room: Room, at: Pace) -> None:
    """The way back through a batch from what `answer` left in its room, and one step of Adam."""
    conv1, b1, fc, b2 = parameters
    x, y, maps, delta, logits, _, total, _ = room
    g1, gb1, gb2 = np.empty_like(conv1.value), np.empty_like(b1.value), np.empty_like(b2.value)
    gradient = np.empty_like(fc.value[0])
    channels, kept = len(fc.value), len(maps)
    through_cross_entropy(logits, y, total, gb2)
    for c in range(channels - 1, -1, -1):  # the last made is the first at hand
        out = maps[c % kept]
        if kept == 1 and c < channels - 1:
            convolve(x, conv1.value[c], b1.value[c], line, out)
        product(logits.T, fc.value[c], delta, 0)
        product(logits, out, gradient, 0)
        descend(Parameter(fc.value[c], fc.mean[c], fc.square[c]), gradient, at)
        gb1[c] = through_convolution(x, out, delta, line, g1[c])
    descend(conv1, g1, at)
    descend(b1, gb1, at)
    descend(b2, gb2, at)


@compiled
def evaluate(
    images: Array,
    labels: Array,
    batches: Array,
    parameters: tuple[Parameter, ...],
    planes: int,
    line: int,
) -> tuple[float, int, tuple[Array, ...], Array]:
    """Sums of loss and of right answers over all rows of `batches`, the active channels, and the
    answers (steps, batch)."""
    conv1, b1, fc, b2 = parameters
    number = conv1.value.dtype
    channels, classes, places = fc.value.shape
    n = batches.shape[1]
    x, y = np.empty((n, images.shape[1]), number), np.empty(n, np.int64)
    maps, logits = np.empty((n, places), number), np.empty((classes, n), number)
    top, total, answers = np.empty(n, number), np.empty(n, number), np.empty(n, np.int64)
    active, every = np.zeros(channels, np.bool_), np.empty(batches.shape, np.int64)
    loss, right = 0.0, 0
    for done in range(len(batches)):
        gather(images, labels, batches[done], x, y)
        x3 = x.reshape(n, planes, -1)
        for c in range(channels):
            convolve(x3, conv1.value[c], b1.value[c], line, maps)
            product(fc.value[c], maps.T, logits, 0 if c == 0 else 1)
            note_active(maps.reshape(1, -1), active[c : c + 1])
        loss_here, right_here = cross_entropy(logits, b2.value, y, top, total, answers)
        loss += loss_here
        right += right_here
        every[done] = answers
    return loss, right, (active,), every


@compiled
def convolve(x: Array, kernel: Array, bias: float, line: int, maps: Array) -> None:
    """One channel's ReLU outputs, into maps (images, places).

    x (images, planes, pixels), kernel (planes, 9).
    """
    zero = maps.dtype.type(0)
    places = maps.shape[1]
    for i in range(len(x)):
        out = maps[i]
        for p in range(places):
            out[p] = bias
        for plane in range(x.shape[1]):
            w = kernel[plane]
            row1, row2, row3 = x[i, plane], x[i, plane, line:], x[i, plane, 2 * line :]
            for p in range(places - 2):
                out[p] += (
                    w[0] * row1[p]
                    + w[1] * row1[p + 1]
                    + w[2] * row1[p + 2]
                    + w[3] * row2[p]
                    + w[4] * row2[p + 1]
                    + w[5] * row2[p + 2]
                    + w[6] * row3[p]
                    + w[7] * row3[p + 1]
                    + w[8] * row3[p + 2]
                )
        for p in range(places):
            out[p] = zero if out[p] <= zero else out[p]
        for end in range(line, places + 1, line):
            out[end - 2] = zero
            out[end - 1] = zero


@compiled
def through_convolution(x: Array, maps: Array, delta: Array, line: int, gradient: Array) -> float:
    """Holds delta (images, places) to where the ReLU is open, in place, and fills the kernel's
    gradient (planes, 9); returns the bias's."""
    zero = maps.dtype.type(0)
    places = maps.shape[1]
    gradient[:] = zero
    total: float = zero
    for i in range(len(x)):
        d, out = delta[i], maps[i]
        for p in range(places):
            value = zero if out[p] <= zero else d[p]
            d[p] = value
            total += value
        for plane in range(x.shape[1]):
            row1, row2, row3 = x[i, plane], x[i, plane, line:], x[i, plane, 2 * line :]
            g0 = g1 = g2 = g3 = g4 = g5 = g6 = g7 = g8 = zero
            for p in range(places - 2):
                g0 += d[p] * row1[p]
                g1 += d[p] * row1[p + 1]
                g2 += d[p] * row1[p + 2]
                g3 += d[p] * row2[p]
                g4 += d[p] * row2[p + 1]
                g5 += d[p] * row2[p + 2]
                g6 += d[p] * row3[p]
                g7 += d[p] * row3[p + 1]
                g8 += d[p] * row3[p + 2]
            g = gradient[plane]
            g[0] += g0
            g[1] += g1
            g[2] += g2
            g[3] += g3
            g[4] += g4
            g[5] += g5
            g[6] += g6
            g[7] += g7
            g[8] += g8
    return total


class CNNByHand(ByHand):
    """conv1 (channels, planes, 9) and fc (channels, classes, places), for images of one shape."""

    relus = ("conv1",)

    def __init__(self, shape: tuple[int, int, int], classes: int):
        self.planes, self.lines, self.line = shape
        self.classes = classes

    def pack(self, name: str, value: Array) -> Array:
        if name == "conv1.weight":
            return value.reshape(len(value), self.planes, KERNEL * KERNEL)
        if name == "fc.weight":
            outputs = self.lines - KERNEL + 1, self.line - KERNEL + 1
            maps = value.reshape(self.classes, -1, *outputs).swapaxes(0, 1)
            padded = np.pad(maps, [(0, 0), (0, 0), (0, 0), (0, KERNEL - 1)])
            return padded.reshape(*padded.shape[:2], -1)
        return value

    def unpack(self, name: str, value: Array) -> Array:
        if name == "conv1.weight":
            return value.reshape(len(value), self.planes, KERNEL, KERNEL)
        if name == "fc.weight":
            maps = value.reshape(*value.shape[:2], -1, self.line)[..., : 1 - KERNEL]
            return maps.swapaxes(0, 1).reshape(self.classes, -1)
        return value

    def train(
        self,
        images: Array,
        labels: Array,
        batches: Array,
        first_step: int,
        learning_rate: float,
        parameters: tuple[Parameter, ...],
    ) -> tuple[float, int]:
        return train(
            images, labels, batches, first_step, learning_rate, parameters, self.planes, self.line
        )

    def evaluate(
        self, images: Array, labels: Array, batches: Array, parameters: tuple[Parameter, ...]
    ) -> tuple[float, int, tuple[Array, ...], Array]:
        return evaluate(images, labels, batches, parameters, self.planes, self.line)
