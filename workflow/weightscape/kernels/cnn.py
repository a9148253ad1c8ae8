"""The CNN's training and evaluation, its gradients derived by hand, two channels at a time.

A pair's outputs for a whole batch fit the processor's nearer cache. Those of all channels are kept
for the way back where they fit the farther one, or are dear to make, from several planes; else
each pair is made, used and dropped, and made again. An odd last channel is a pair with itself.

`convolve` also makes numbers that are no outputs, at the end of each line. The weights that would
meet them are held at zero.
"""

from typing import NamedTuple

import numpy as np

from weightscape.kernels.by_hand import ByHand
from weightscape.kernels.convolution import (
    KERNEL,
    by_image,
    convolve,
    make_rows,
    through_convolution,
)
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
from weightscape.kernels.vectors import lanes

KEPT_BYTES = 2**23  # of all channels' outputs; a core's share of the last cache


class Room(NamedTuple):
    """Arrays for one batch; those of numbers are rows as `make_rows` has them."""

    x: Array  # images (planes, numbers)
    y: Array  # their labels (batch,)
    maps: Array  # outputs of the channels that are kept (channels, numbers)
    delta: Array  # the loss's derivatives by a pair's outputs (2, numbers)
    logits: Array  # (classes, batch)
    top: Array  # of an image's logits (batch,)
    total: Array  # of their softmax (batch,)
    answers: Array  # (batch,)


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

    images (N, planes x pixels); conv1 (channels, planes, 9); fc (channels, classes, places).
    """
    _, _, fc, _ = parameters
    n, channels = batches.shape[1], len(fc.value)
    n_bytes = channels * n * fc.value.shape[2] * fc.value.itemsize
    kept = 2 if planes == 1 and n_bytes > KEPT_BYTES else channels
    room = make_room(n, parameters, images.shape[1] // planes, line, kept)
    loss, right = 0.0, 0
    for done in range(len(batches)):
        loss_here, right_here = answer(images, labels, batches[done], parameters, line, room)
        loss += loss_here
        right += right_here
        descend_batch(parameters, line, room, pace(first_step + done, learning_rate))
    return loss, right


@compiled
def make_room(n: int, parameters: tuple[Parameter, ...], pixels: int, line: int, kept: int) -> Room:
    """Room for batches of n images and the outputs of `kept` channels, or one more."""
    conv1, _, fc, _ = parameters
    like, classes = conv1.value, fc.value.shape[1]
    return Room(
        make_rows(like.shape[1], n, pixels, 2 * line + lanes(like), like),
        np.empty(n, np.int64),
        make_rows(kept + kept % 2, n, pixels, 0, like),
        make_rows(2, n, pixels, 0, like),
        np.empty((classes, n), like.dtype),
        np.empty(n, like.dtype),
        np.empty(n, like.dtype),
        np.empty(n, np.int64),
    )


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
    _, _, fc, b2 = parameters
    gather_planes(images, labels, rows, room)
    for c in range(0, len(fc.value), 2):
        answer_pair(c, parameters, line, room)
    return cross_entropy(room.logits, b2.value, room.y, room.top, room.total, room.answers)


@compiled
def gather_planes(images: Array, labels: Array, rows: Array, room: Room) -> None:
    planes = len(room.x)
    pixels = images.shape[1] // planes
    for plane in range(planes):
        part = images[:, plane * pixels : (plane + 1) * pixels]
        gather(part, labels, rows, by_image(room.x[plane], len(rows), pixels), room.y)


@compiled
def answer_pair(c: int, parameters: tuple[Parameter, ...], line: int, room: Room) -> None:
    """The outputs of channels c and c + 1, and what they add to the logits."""
    conv1, b1, fc, _ = parameters
    last = min(c + 1, len(fc.value) - 1)
    maps = pair_of(room.maps, c)
    convolve(room.x, line, conv1.value, b1.value, c, last, maps)
    for each in range(c, last + 1):
        product(fc.value[each], outputs(maps[each - c], fc, line, room).T, room.logits, each > 0)


@compiled
def pair_of(maps: Array, c: int) -> Array:
    """Where the outputs of channels c and c + 1 are, of all or of a pair alone."""
    at = c % len(maps)
    return maps[at : at + 2]


@compiled
def outputs(row: Array, fc: Parameter, line: int, room: Room) -> Array:
    """A row of outputs as (batch, places), with what ends the lines, without what ends an image."""
    places = fc.value.shape[2]
    return by_image(row, len(room.y), places + (KERNEL - 1) * line)[:, :places]


@compiled
def descend_batch(parameters: tuple[Parameter, ...], line: int, room: Room, at: Pace) -> None:
    """The way back through a batch from what `answer` left in its room, and one step of Adam."""
    conv1, b1, fc, b2 = parameters
    channels, logits = len(fc.value), room.logits
    g1, gb1, gb2 = np.empty_like(conv1.value), np.empty_like(b1.value), np.empty_like(b2.value)
    gradient = np.empty_like(fc.value[0])
    by_kernels, by_biases = np.empty((2, *g1.shape[1:]), g1.dtype), np.empty(2, g1.dtype)
    through_cross_entropy(logits, room.y, room.total, gb2)
    for c in range(channels - 2 + channels % 2, -1, -2):  # the last made is the first at hand
        last = min(c + 1, channels - 1)
        maps = pair_of(room.maps, c)
        if len(room.maps) == 2 and last < channels - 1:
            convolve(room.x, line, conv1.value, b1.value, c, last, maps)
        for each in range(c, last + 1):
            product(logits.T, fc.value[each], outputs(room.delta[each - c], fc, line, room), 0)
            product(logits, outputs(maps[each - c], fc, line, room), gradient, 0)
            clear_ends(gradient, line)
            descend(Parameter(fc.value[each], fc.mean[each], fc.square[each]), gradient, at)
        through_convolution(room.x, line, maps, room.delta, by_kernels, by_biases)
        for each in range(c, last + 1):
            g1[each], gb1[each] = by_kernels[each - c], by_biases[each - c]
    descend(conv1, g1, at)
    descend(b1, gb1, at)
    descend(b2, gb2, at)


@compiled
def clear_ends(gradient: Array, line: int) -> None:
    """Zero for the weights (classes, places) that no output meets."""
    for end in range(line, gradient.shape[1] + 1, line):
        gradient[:, end - KERNEL + 1 : end] = 0


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
    _, _, fc, b2 = parameters
    channels = len(fc.value)
    room = make_room(batches.shape[1], parameters, images.shape[1] // planes, line, 2)
    active, every = np.zeros(channels, np.bool_), np.empty(batches.shape, np.int64)
    loss, right = 0.0, 0
    for done in range(len(batches)):
        gather_planes(images, labels, batches[done], room)
        for c in range(0, channels, 2):
            answer_pair(c, parameters, line, room)
            for each in range(c, min(c + 2, channels)):
                note_active_channel(
                    outputs(room.maps[each - c], fc, line, room), line, active, each
                )
        loss_here, right_here = cross_entropy(
            room.logits, b2.value, room.y, room.top, room.total, room.answers
        )
        loss += loss_here
        right += right_here
        every[done] = room.answers
    return loss, right, (active,), every


@compiled
def note_active_channel(maps: Array, line: int, active: Array, channel: int) -> None:
    """Marks a channel that is above zero for one of its outputs (batch, places)."""
    for i in range(len(maps)):
        for start in range(0, maps.shape[1], line):
            if active[channel]:
                return
            of_line = maps[i : i + 1, start : start + line - KERNEL + 1]
            note_active(of_line, active[channel : channel + 1])


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
