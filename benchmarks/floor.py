"""What no program can beat: arithmetic at this machine's peak and bytes at its bandwidth.

Peak and bandwidth are measured as contenders are: on the same clock, in turns with them, each turn
of some length and the best of all turns counting. So a busy machine slows both alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.case import BATCH, Case
from weightscape.kernels.primitives import matrix_product

MEMORY = 2**28  # bytes, beyond any cache
SECONDS_PER_TURN = 0.05  # of each rate
UNCLOCKED = 0.001  # seconds; reading the clock takes some


class Rate:
    """How much of some work is done in a CPU second, in the best of its turns."""

    def __init__(self, work: Callable[[], object], amount: float):
        self.work, self.amount, self.best = work, amount, 0.0
        self.calls = 1
        while self._seconds() < UNCLOCKED:
            self.calls *= 2

    def turn(self) -> None:
        rounds, seconds = 0, 0.0
        while seconds < SECONDS_PER_TURN:
            rounds, seconds = rounds + 1, seconds + self._seconds()
        self.best = max(self.best, rounds * self.calls * self.amount / seconds)

    def _seconds(self) -> float:
        started = time.process_time()
        for _ in range(self.calls):
            self.work()
        return time.process_time() - started


class Floor:
    """The floor of a case, after as many turns as its contenders had."""

    def __init__(self, case: Case):
        self.case = case
        self.products = [rate for n in (256, 512, 1024) for rate in products(n)]
        self.of_state, self.of_memory = copying(state_bytes(case)), copying(MEMORY)

    def turn(self) -> None:
        for rate in (*self.products, self.of_state, self.of_memory):
            rate.turn()

    def us(self) -> tuple[float, float]:
        """Microseconds of a step: for its multiply-adds, and for its bytes."""
        peak = max(rate.best for rate in self.products)
        return floor_us(self.case, peak, self.of_state.best, self.of_memory.best)


def floor_us(case: Case, peak: float, of_state: float, of_memory: float) -> tuple[float, float]:
    """Microseconds of a step: for its multiply-adds, and for its bytes.

    Multiply-adds: forward, to the weights, and to all activations but the images, at `peak`
    floating-point operations a second. Bytes: each parameter with its two moments once read and
    once written, at `of_state` bytes a second, the bandwidth of the cache, or memory, that they fit
    in; the images once, at `of_memory`.
    """
    network, first = case.network, case.network.layers[0]
    multiply_adds = BATCH * (3 * network.n_multiply_adds - first.size * first.uses)
    images = BATCH * case.images[0].size
    seconds = 2 * state_bytes(case) / of_state + images / of_memory
    return 2e6 * multiply_adds / peak, 1e6 * seconds


def state_bytes(case: Case) -> int:
    """Of all parameters and their moments."""
    return 4 * 3 * case.network.n_parameters


def products(n: int) -> list[Rate]:
    """Floating-point operations in products of n x n float32, by both libraries at hand."""
    a, b, out = (torch.randn(n, n) for _ in range(3))
    return [
        Rate(lambda: matrix_product(a, b, out), 2 * n**3),
        Rate(lambda: torch.mm(a, b, out=out), 2 * n**3),
    ]


def copying(size: int) -> Rate:
    """Bytes, read or written, of copying within `size` bytes."""
    source = np.ones(max(size // 8, 1024), np.float32)
    target = np.zeros_like(source)
    return Rate(lambda: np.copyto(target, source), 2 * source.nbytes)
