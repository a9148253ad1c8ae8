"""The CNN's training and evaluation, its gradients derived by hand, two channels at a time.

A batch goes in blocks of images, so that a pair's outputs and their derivatives fit the processor's
nearer cache. The outputs of all channels are kept for the way back where they fit the farther one,
or are dear to make, from several planes; else each pair is made, used and dropped, and made again.
An odd last channel is a pair with itself.

`convolve` also makes numbers that are no outputs, at the end of each line. The weights that would
meet them are held at zero.
"""

from typing import NamedTuple

import numpy as np

from weightscape.kernels.by_hand import ByHand
from weightscape.kernels.convolution import (
    KERNEL,
    TILE,
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
BLOCK_BYTES = 5 * 2**17  # of a pair's outputs and derivatives for a block of images


class Room(NamedTuple):
    """Arrays for one batch; those of numbers are rows as `make_rows` has them."""

    x: Array  # images (planes, numbers)
    y: Array  # their labels (batch,)
    maps: Array  # outputs of the channels that are kept (channels, numbers)
    delta: Array  # the loss's derivatives by a pair's outputs, of a block of images (2, numbers)
    logits: Array  # (classes, batch)
    top: Array  # of an image's logits (batch,)
    total: Array  # of their softmax (batch,)
    answers: Array  # (batch,)
    line: int
    pixels: int  # of a plane
    block: int  # images


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
        loss_here, right_here = answer(images, labels, batches[done], parameters, room)
        loss += loss_here
        right += right_here
        descend_batch(parameters, room, pace(first_step + done, learning_rate))
    return loss, right


@compiled
def make_room(n: int, parameters: tuple[Parameter, ...], pixels: int, line: int, kept: int) -> Room:
    """Room for batches of n images and the outputs of `kept` channels, or one more."""
    conv1, _, fc, _ = parameters
    like, classes, tile = conv1.value, fc.value.shape[1], TILE * lanes(conv1.value)
    blocks = -(-n * 4 * pixels * like.itemsize // BLOCK_BYTES)
    block = -(-n // blocks)
    return Room(
        make_rows(like.shape[1], n, pixels, 2 * line + 2 * tile, like),
        np.empty(n, np.int64),
        make_rows(kept + kept % 2, n, pixels, tile, like),
        make_rows(2, block, pixels, tile, like),
        np.empty((classes, n), like.dtype),
        np.empty(n, like.dtype),
        np.empty(n, like.dtype),
        np.empty(n, np.int64),
        line,
        pixels,
        block,
    )


@compiled
def answer(
    images: Array, labels: Array, rows: Array, parameters: tuple[Parameter, ...], room: Room
) -> tuple[float, int]:
    """The forward pass of one batch into its room; sums of loss and of right answers."""
    _, _, fc, b2 = parameters
    gather_planes(images, labels, rows, room)
    for c in range(0, len(fc.value), 2):
        answer_pair(c, parameters, room)
    return cross_entropy(room.logits, b2.value, room.y, room.top, room.total, room.answers)


@compiled
def gather_planes(images: Array, labels: Array, rows: Array, room: Room) -> None:
    for plane in range(len(room.x)):
        part = images[:, plane * room.pixels : (plane + 1) * room.pixels]
        gather(part, labels, rows, by_image(room.x[plane], len(rows), room.pixels), room.y)


@compiled
def answer_pair(c: int, parameters: tuple[Parameter, ...], room: Room) -> None:
    """The outputs of channels c and c + 1, and what they add to the logits."""
    _, _, fc, _ = parameters
    for first in range(0, len(room.y), room.block):
        stop = min(first + room.block, len(room.y))
        make_outputs(c, first, stop, parameters, room)
        for each in range(c, min(c + 2, len(fc.value))):
            outputs = outputs_of(each, first, stop, room)
            product(fc.value[each], outputs.T, room.logits[:, first:stop], each > 0)


@compiled
def make_outputs(
    c: int, first: int, stop: int, parameters: tuple[Parameter, ...], room: Room
) -> None:
    """Of channels c and c + 1 for the images from `first` to `stop`."""
    conv1, b1, fc, _ = parameters
    x, maps = block_of(c, first, stop, room)
    last = min(c + 1, len(fc.value) - 1)
    convolve(x, room.line, conv1.value, b1.value, c, last, maps)


@compiled
def block_of(c: int, first: int, stop: int, room: Room) -> tuple[Array, Array]:
    """The images from `first` to `stop`, and the outputs of channels c and c + 1 for them."""
    at, start = c % len(room.maps), first * room.pixels
    return room.x[:, start:], room.maps[at : at + 2, start : stop * room.pixels]


@compiled
def outputs_of(channel: int, first: int, stop: int, room: Room) -> Array:
    """A channel's outputs (images, places) for the images from `first` to `stop`."""
    row = room.maps[channel % len(room.maps)]
    return without_ends(row[first * room.pixels :], stop - first, room)


@compiled
def without_ends(row: Array, images: int, room: Room) -> Array:
    """A row as (images, places), with what ends the lines, but not what ends the images."""
    return by_image(row, images, room.pixels)[:, : room.pixels - (KERNEL - 1) * room.line]


@compiled
def descend_batch(parameters: tuple[Parameter, ...], room: Room, at: Pace) -> None:
    """The way back through a batch from what `answer` left in its room, and one step of Adam."""
    conv1, b1, fc, b2 = parameters
    channels = len(fc.value)
    g1, gb1, gb2 = np.empty_like(conv1.value), np.empty_like(b1.value), np.empty_like(b2.value)
    by_kernels, by_biases = np.empty((2, *g1.shape[1:]), g1.dtype), np.empty(2, g1.dtype)
    by_fc = np.empty((2, *fc.value.shape[1:]), g1.dtype)
    through_cross_entropy(room.logits, room.y, room.total, gb2)
    for c in range(channels - 2 + channels % 2, -1, -2):  # the last made is the first at hand
        by_kernels[:] = 0
        by_biases[:] = 0
        for first in range(0, len(room.y), room.block):
            stop = min(first + room.block, len(room.y))
            if len(room.maps) == 2 and c + 2 < channels:
                make_outputs(c, first, stop, parameters, room)
            through_fc(c, first, stop, fc, room, by_fc)
            x, maps = block_of(c, first, stop, room)
            through_convolution(x, room.line, maps, room.delta, by_kernels, by_biases)
        for each in range(c, min(c + 2, channels)):
            g1[each], gb1[each] = by_kernels[each - c], by_biases[each - c]
            clear_ends(by_fc[each - c], room.line)
            weights = Parameter(fc.value[each], fc.mean[each], fc.square[each])
            descend(weights, by_fc[each - c], at)
    descend(conv1, g1, at)
    descend(b1, gb1, at)
    descend(b2, gb2, at)


@compiled
def through_fc(c: int, first: int, stop: int, fc: Parameter, room: Room, gradients: Array) -> None:
    """The derivatives by the outputs of channels c and c + 1, and the gradients (2, classes,
    places) of their weights, which are those of all blocks up to this one."""
    logits = room.logits[:, first:stop]
    for each in range(c, min(c + 2, len(fc.value))):
        delta = without_ends(room.delta[each - c], stop - first, room)
        product(logits.T, fc.value[each], delta, 0)
        product(logits, outputs_of(each, first, stop, room), gradients[each - c], first > 0)
    room.delta[:, (stop - first) * room.pixels :] = 0  # of a block that was longer


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
            answer_pair(c, parameters, room)
            for each in range(c, min(c + 2, channels)):
                outputs = outputs_of(each, 0, len(room.y), room)
                note_active_channel(outputs, line, active, each)
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
