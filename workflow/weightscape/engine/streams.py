"""A run's random streams, and what is drawn from them: initial parameters and orders of images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weightscape.models import Model
from weightscape.study.recipes import canonical_json, stream_seeds

Parameters = dict[str, Tensor]


class RunKey(NamedTuple):
    """What names a run, and how many runs share its initialisation where seeds are crossed."""

    model: str
    dataset: str
    width: str
    seed: int
    n_shuffle_seeds: int | None = None

    def stream(self, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
        """The run's random stream for `init`, `shuffle` or `dropout`.

        Runs of one initialisation seed share the first, those of one shuffle seed the others.
        """
        init, shuffle = stream_seeds(self.seed, self.n_shuffle_seeds)
        seed = init if purpose == "init" else shuffle
        text = canonical_json([self.model, self.dataset, self.width, seed, purpose])
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
        return torch.Generator(device).manual_seed(number >> 1)


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


def draw_orders(
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
