"""What no program can beat: arithmetic at this machine's peak and bytes at its bandwidth."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.case import BATCH, Case
from weightscape.kernels.primitives import matrix_product

MEMORY = 2**28  # bytes, beyond any cache


def floor_us(case: Case) -> tuple[float, float]:
    """Microseconds of a step: for its multiply-adds, and for its bytes.

    Multiply-adds: forward, to the weights, and to all activations but the images. Bytes: the
    images once from memory; each parameter with its two moments once read and once written, at the
    bandwidth of the cache, or memory, that they fit in.
    """
    network, first = case.network, case.network.layers[0]
    multiply_adds = BATCH * (3 * network.n_multiply_adds - first.size * first.uses)
    state = 4 * 3 * network.n_parameters
    images = BATCH * case.images[0].size
    seconds = 2 * state / bandwidth(state) + images / bandwidth(MEMORY)
    return 2e6 * multiply_adds / peak(), 1e6 * seconds


@functools.cache
def peak() -> float:
    """Floating-point operations a second in the best of large products of float32."""
    rates = []
    for n in (256, 512, 1024):
        a, b, out = (torch.randn(n, n) for _ in range(3))
        for multiply in (
            lambda a=a, b=b, out=out: matrix_product(a, b, out),
            lambda a=a, b=b, out=out: torch.mm(a, b, out=out),
        ):
            rates.append(2 * n**3 / best_seconds(multiply))
    return max(rates)


@functools.cache
def bandwidth(size: int) -> float:
    """Bytes a second, read or written, of copying within `size` bytes."""
    source = np.ones(max(size // 8, 1024), np.float32)
    target = np.zeros_like(source)
    return 2 * source.nbytes / best_seconds(lambda: np.copyto(target, source))


def best_seconds(work: Callable[[], object], at_least: float = 0.3) -> float:
    """The shortest of as many calls as fit in `at_least` seconds, in batches of 10 ms or more."""
    work()
    started = time.perf_counter()
    work()
    times = max(1, int(0.01 / max(time.perf_counter() - started, 1e-9)))
    best, end = float("inf"), time.perf_counter() + at_least
    while time.perf_counter() < end:
        started = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, (time.perf_counter() - started) / times)
    return best
