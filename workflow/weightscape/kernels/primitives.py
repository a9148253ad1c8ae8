"""What hand-derived training is made of: loops compiled by numba around products by BLAS.

A layer's outputs are (units, images), so that loops run along the images, which lie side by side in
memory. Numbers are of the parameters' type: float32 in training, float64 in tests. numba compiles
for the types that come; the annotations are for readers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import llvmlite.binding
import numba
import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from weightscape.kernels.cache import KernelCache, Store

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])

# OpenBLAS must be told before scipy loads it: it takes a processor newer than itself for an old
# one, and some sites hold all programs to an old one, at half the speed. Shards name what was used.
if llvmlite.binding.get_host_cpu_features().get("avx512dq"):
    os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"
SGEMM, DGEMM = (
    numba.extending.get_cython_function_address("scipy.linalg.cython_blas", name)
    for name in ("sgemm", "dgemm")
)


def _blas_in_use() -> str:
    """Name, version and kernels of scipy's BLAS: its own copy, or the one that all share."""
    found = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"]
    ours: dict[str, Any] = min(
        found, key=lambda info: "scipy.libs" not in info["filepath"], default={}
    )
    parts = (ours.get(key) for key in ("internal_api", "version", "architecture"))
    return " ".join(str(part) for part in parts if part) or "unknown"


BLAS = _blas_in_use()

# Products of up to this many multiply-adds take OpenBLAS's kernels for small matrices, where it has
# them: they copy nothing, and come near the processor's peak at 12 rows, or 8 if b is transposed
SMALL_PRODUCT = 1_000_000
HAS_SMALL_KERNELS = any(name in BLAS for name in ("SkylakeX", "Cooperlake", "SapphireRapids"))
WIDE = 256  # rows from which a product pays for copying its operands into order


STORE = Store(BLAS)


def compiled(function: Function) -> Function:
    """The function as machine code, kept on disk where there is a place for it.

    Sums may be reordered, as BLAS does it too; NaN and infinity mean what they mean everywhere.
    All calls are inlined: of a function that stands on its own beside its caller there are two
    compilations, with sums in other orders, and which one runs depends on what was kept on disk.
    """
    code: Any = numba.njit(
        forceinline=True,
        nogil=True,  # the log's heartbeat goes on through an epoch of minutes
        fastmath={"reassoc", "contract", "nsz"},
        error_model="numpy",
    )(function)
    code._cache = KernelCache(function, STORE)
    return cast(Function, code)


class Parameter(NamedTuple):
    """A weight or bias with Adam's moments, all of one shape."""

    value: Array
    mean: Array
    square: Array


class Pace(NamedTuple):
    """How far Adam goes at one step: the bias corrections (Kingma and Ba 2015) worked in."""

    step: float
    root: float


@compiled
def pace(step: int, learning_rate: float) -> Pace:
    return Pace(learning_rate / (1 - 0.9**step), 1 / math.sqrt(1 - 0.999**step))


@compiled
def descend(parameter: Parameter, gradient: Array, at: Pace) -> None:
    """One step of Adam for a parameter with the gradient of its shape."""
    _descend(
        parameter.value.ravel(),
        parameter.mean.ravel(),
        parameter.square.ravel(),
        gradient.ravel(),
        at,
    )


@compiled
def _descend(value: Array, mean: Array, square: Array, gradient: Array, at: Pace) -> None:
    number = value.dtype.type
    keep1, add1, keep2, add2 = number(0.9), number(0.1), number(0.999), number(0.001)
    step, root, eps = number(at.step), number(at.root), number(1e-8)
    for i in range(gradient.size):
        g = gradient[i]
        mean[i] = keep1 * mean[i] + add1 * g
        square[i] = keep2 * square[i] + add2 * g * g
        value[i] -= step * mean[i] / (np.sqrt(square[i]) * root + eps)


@compiled
def gather(images: Array, labels: Array, rows: Array, x: Array, y: Array) -> None:
    """The images (N, pixels) uint8 and labels of one batch, the pixels as shares of 255."""
    number = x.dtype.type
    scale = number(1 / 255)
    for i in range(len(rows)):
        row = rows[i]
        y[i] = labels[row]
        for k in range(x.shape[1]):
            x[i, k] = number(images[row, k]) * scale  # an integer would make it a double


def _callable(name: str, address: int) -> Any:
    """A BLAS routine as a function that numba can call, and that cached code can find."""
    llvmlite.binding.add_symbol(name, address)
    arguments = [numba.types.voidptr] * 13
    return numba.types.ExternalFunction(name, numba.types.void(*arguments))


_SGEMM = _callable("weightscape_sgemm", SGEMM)
_DGEMM = _callable("weightscape_dgemm", DGEMM)


def product(a: Array, b: Array, out: Array, start: float) -> None:
    """out = start * out + a b by one call of BLAS; a and b may be transposed, and each a block."""


@numba.extending.overload(product)
def _product(a: Array, b: Array, out: Array, start: float) -> Callable[..., None]:
    # numba gives the arguments' types, and asks that both functions are annotated alike
    gemm = _SGEMM if out.dtype == numba.float32 else _DGEMM

    def call(a: Array, b: Array, out: Array, start: float) -> None:
        # BLAS counts by columns: it makes the transposed product, out' = b' a'
        number = out.dtype.type
        sizes = np.empty(6, np.int32)
        forms = np.empty(2, np.uint8)
        factors = np.empty(2, out.dtype)
        sizes[0], sizes[1], sizes[2] = out.shape[1], out.shape[0], a.shape[1]
        forms[0], sizes[3] = _form(b)
        forms[1], sizes[4] = _form(a)
        sizes[5] = max(out.strides[0] // out.itemsize, out.shape[1])
        factors[0], factors[1] = number(1), number(start)
        gemm(
            forms[0:].ctypes,
            forms[1:].ctypes,
            sizes[0:].ctypes,
            sizes[1:].ctypes,
            sizes[2:].ctypes,
            factors[0:].ctypes,
            b.ctypes,
            sizes[3:].ctypes,
            a.ctypes,
            sizes[4:].ctypes,
            factors[1:].ctypes,
            out.ctypes,
            sizes[5:].ctypes,
        )

    return call


@compiled
def _form(matrix: Array) -> tuple[int, int]:
    """BLAS's letter, N or T, for the transpose of a matrix, and its leading dimension.

    The stride of an axis of length 1 can be anything.
    """
    rows, columns = matrix.shape
    if columns == 1 or matrix.strides[1] == matrix.itemsize:
        return ord("N"), max(matrix.strides[0] // matrix.itemsize, columns)
    return ord("T"), max(matrix.strides[1] // matrix.itemsize, rows)


@compiled
def _whole_product(a: Array, b: Array, out: Array, start: float) -> None:
    product(a, b, out, start)


def matrix_product(a: Tensor, b: Tensor, out: Tensor, start: float = 0) -> None:
    """out = start * out + a b for torch's matrices on the CPU; a and b may be transposed."""
    _whole_product(a.detach().numpy(), b.detach().numpy(), out.numpy(), start)


@compiled
def cut(rows: int, high: int, long: int, short: int) -> tuple[int, int]:
    """(high, part): the blocks in which to make a product of `rows` rows, `high` at a time, that
    OpenBLAS makes with its kernels for small matrices; or the whole, where those do not pay."""
    part = max(1, SMALL_PRODUCT // (high * short))
    if not HAS_SMALL_KERNELS or (part < long and rows > WIDE):
        return rows, long
    return min(high, rows), min(part, long)


@compiled
def multiply(a: Array, b: Array, out: Array) -> None:
    """out = a b for a (rows, inner) as it lies in memory; b may be transposed."""
    rows, inner = a.shape
    wanted = 12 if b.strides[1] == b.itemsize else 8
    high, deep = cut(rows, wanted, inner, b.shape[1])
    for k in range(0, inner, deep):
        for row in range(0, rows, high):
            product(
                a[row : row + high, k : k + deep],
                b[k : k + deep],
                out[row : row + high],
                0 if k == 0 else 1,
            )


@compiled
def descend_layer(parameter: Parameter, delta: Array, inputs: Array, at: Pace) -> None:
    """One step of Adam for a weight (units, inputs) whose gradient is delta (units, images) times
    inputs (images, inputs), made in blocks that are still in cache when they are used."""
    units, count = parameter.value.shape
    high, broad = units, count  # with transposed inputs blocks only cost
    if inputs.strides[1] == inputs.itemsize:
        high, broad = cut(units, 12, count, delta.shape[1])
    gradient = np.empty((high, count), inputs.dtype)
    for row in range(0, units, high):
        stop = min(row + high, units)
        block = gradient[: stop - row]
        for k in range(0, count, broad):
            product(delta[row:stop], inputs[:, k : k + broad], block[:, k : k + broad], 0)
        part = Parameter(
            parameter.value[row:stop], parameter.mean[row:stop], parameter.square[row:stop]
        )
        descend(part, block, at)


@compiled
def add_bias_and_rectify(outputs: Array, bias: Array) -> None:
    """ReLU of outputs + bias, in place. NaN stays NaN."""
    zero = outputs.dtype.type(0)
    for unit in range(len(outputs)):
        for i in range(outputs.shape[1]):
            value = outputs[unit, i] + bias[unit]
            outputs[unit, i] = zero if value <= zero else value


@compiled
def through_relu(delta: Array, outputs: Array, gradient: Array) -> None:
    """The loss's derivative before a ReLU from that after it, in place; the bias's gradient."""
    zero = outputs.dtype.type(0)
    for unit in range(len(outputs)):
        total = zero
        for i in range(outputs.shape[1]):
            value = zero if outputs[unit, i] <= zero else delta[unit, i]
            delta[unit, i] = value
            total += value
        gradient[unit] = total


@compiled
def cross_entropy(
    logits: Array, bias: Array, labels: Array, top: Array, total: Array, answers: Array
) -> tuple[float, int]:
    """Adds the bias; sums over the batch of cross-entropy and of right answers.

    logits (classes, images) becomes exp(logit - top of its image), whose sum is `total` (images,);
    `answers` (images,) becomes the classes of the tops, the first of those that tie.
    """
    number = logits.dtype.type
    classes, images = logits.shape
    loss, right = 0.0, 0
    for i in range(images):
        top[i] = number(-np.inf)
        total[i] = number(0)
        answers[i] = 0
    for c in range(classes):
        for i in range(images):
            value = logits[c, i] + bias[c]
            logits[c, i] = value
            if value > top[i]:
                top[i] = value
                answers[i] = c
    for i in range(images):
        loss += top[i] - logits[labels[i], i]
        right += answers[i] == labels[i]
    for c in range(classes):
        for i in range(images):
            value = np.exp(logits[c, i] - top[i])
            logits[c, i] = value
            total[i] += value
    for i in range(images):
        loss += math.log(total[i])
    return loss, right


@compiled
def through_cross_entropy(logits: Array, labels: Array, total: Array, gradient: Array) -> None:
    """From what `cross_entropy` left to the mean loss's derivative by the logits, and the bias's
    gradient."""
    number = logits.dtype.type
    classes, images = logits.shape
    share = number(1 / images)
    for i in range(images):
        total[i] = share / total[i]
    for c in range(classes):
        for i in range(images):
            logits[c, i] *= total[i]
    for i in range(images):
        logits[labels[i], i] -= share
    for c in range(classes):
        value = number(0)
        for i in range(images):
            value += logits[c, i]
        gradient[c] = value


@compiled
def note_active(outputs: Array, active: Array) -> None:
    """Marks the units (units, images) that are above zero for an image."""
    for unit in range(len(outputs)):
        for i in range(outputs.shape[1]):
            if outputs[unit, i] > 0:
                active[unit] = True
                break
