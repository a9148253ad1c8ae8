"""A run's random streams, and what is drawn from them: initial parameters and orders of images.

They are NumPy's on every device, so that a run starts alike wherever it trains.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np

from weightscape.kernels.primitives import Array
from weightscape.models import Model
from weightscape.study.recipes import canonical_json, stream_seeds

Parameters = dict[str, Array]
Stream = np.random.Generator

SEED_BITS = 256  # of the hash; a generator's own seed would take no more than half of them


class RunKey(NamedTuple):
    """What names a run, and how many runs share its initialisation where seeds are crossed."""

    model: str
    dataset: str
    width: str
    seed: int
    n_shuffle_seeds: int | None = None

    def stream(self, purpose: str) -> Stream:
        """The run's random stream for `init`, `shuffle` or `dropout`.

        Runs of one initialisation seed share the first, those of one shuffle seed the others.
        """
        init, shuffle = stream_seeds(self.seed, self.n_shuffle_seeds)
        seed = init if purpose == "init" else shuffle
        text = canonical_json([self.model, self.dataset, self.width, seed, purpose])
        number = int.from_bytes(hashlib.sha256(text.encode()).digest())
        seeds = np.random.SeedSequence(number, pool_size=SEED_BITS // 32)
        return np.random.Generator(np.random.PCG64DXSM(seeds))


def initialise(network: Model, how: dict[str, Any], stream: Stream) -> Parameters:
    """Fresh parameters, float32: weights N(0, std^2) or U(+-1/sqrt(fan_in)), as torch.nn.Linear and
    Conv2d start; biases U(+-1/sqrt(fan_in)) or zero; a ViT's positions N(0, std^2)."""
    is_uniform = how.get("weights") == "uniform"

    def normal(shape: tuple[int, ...]) -> Array:
        return stream.standard_normal(shape, np.float32) * np.float32(how["std"])

    def uniform(shape: tuple[int, ...], bound: float) -> Array:
        return (2 * stream.random(shape, np.float32) - 1) * np.float32(bound)

    parameters: Parameters = {}
    for layer in network.layers:
        bound = 1 / math.sqrt(layer.fan_in)
        weight = uniform(layer.shape, bound) if is_uniform else normal(layer.shape)
        parameters[f"{layer.name}.weight"] = weight
        of_bias = bound if how["biases"] == "uniform" else 0.0
        parameters[f"{layer.name}.bias"] = uniform(layer.shape[:1], of_bias)
    for name, (shape, start) in network.auxiliary.items():
        fixed = np.full(shape, float(start == "ones"), np.float32)
        parameters[name] = normal(shape) if start == "normal" else fixed
    return parameters


def draw_orders(
    shuffles: Sequence[Stream],
    images: int,
    epochs: int,
    rooms: Sequence[Array] = (),
) -> Iterator[Array]:
    """The runs' orders of the images (R, N) int32, epoch by epoch.

    With two or more `rooms` of that shape they are drawn into these in turn, and those of the next
    epoch while one trains.
    """

    in_order = np.arange(images, dtype=np.int32)

    def draw(room: Array) -> Array:
        room[:] = in_order
        for shuffle, order in zip(shuffles, room, strict=True):
            shuffle.shuffle(order)
        return room

    if not rooms:
        for _ in range(epochs):
            yield draw(np.empty((len(shuffles), images), np.int32))
        return
    turns = cycle(rooms)
    with ThreadPoolExecutor(1) as aside:
        coming = aside.submit(draw, next(turns))
        for epoch in range(epochs):
            orders = coming.result()
            if epoch + 1 < epochs:
                coming = aside.submit(draw, next(turns))
            yield orders
