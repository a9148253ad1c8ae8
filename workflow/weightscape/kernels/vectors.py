"""Vectors as a processor's registers hold them, for loops that numba's compiler leaves half done.

A loop that is written with these is compiled as it stands: how many numbers are worked on at a
time, and in what order they are summed, is no longer the compiler's choice. No index is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

from weightscape.kernels.primitives import Array, compiled


def _register_bytes(features: str) -> int:
    """The size of vector registers, of which 16 bytes are found everywhere."""
    names = features.split(",")
    return 64 if "+avx512f" in names else 32 if "+avx2" in names else 16


# of the processor that numba compiles for: this one, unless NUMBA_CPU_FEATURES names another
_asked: str | None = numba.config.CPU_FEATURES  # type: ignore[attr-defined]
_found: str = llvmlite.binding.get_host_cpu_features().flatten()
REGISTER_BYTES = _register_bytes(_found if _asked is None else _asked)


class Vector(types.Type):
    """As many numbers of one type as fit in a register."""

    def __init__(self, number: Any):
        self.number = number
        self.lanes = 8 * REGISTER_BYTES // number.bitwidth
        super().__init__(f"Vector({number}, {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector):
        number = manager.lookup(kind.number).get_value_type()
        super().__init__(  # type: ignore[no-untyped-call]
            manager, kind, ir.VectorType(number, kind.lanes)
        )


def operation(typed: Callable[..., Any]) -> Callable[..., Any]:
    """A function of compiled code, from one that gives its type and the builder of its code."""
    found: Callable[..., Any] = intrinsic(typed)
    return found


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    first = context.make_array(kind)(context, builder, array).data
    vector = context.get_value_type(Vector(kind.dtype))
    return builder.bitcast(builder.gep(first, [index]), vector.as_pointer())


def _call(builder: Any, name: str, result: Any, arguments: Any, **options: Any) -> Any:
    """LLVM's operation of that name on vectors like the last argument."""
    vector = arguments[-1].type
    number = "f32" if vector.element == ir.FloatType() else "f64"
    form = ir.FunctionType(result, [argument.type for argument in arguments])
    name = f"llvm.{name}.v{vector.count}{number}"
    function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, form, name
    )
    return builder.call(function, arguments, **options)


@operation
def lanes(typing: Any, array: Any) -> Any:
    """How many of an array's numbers are a vector."""
    count = Vector(array.dtype).lanes
    return types.intp(array), lambda context, *_: context.get_constant(types.intp, count)


@operation
def load(typing: Any, array: Any, index: Any) -> Any:
    """The vector that starts at an index of an array whose numbers lie side by side."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _address(context, builder, array, *arguments)
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, types.intp), build


@operation
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """Puts a vector where `load` would find it."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _address(context, builder, array, *arguments[:2])
        builder.store(arguments[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), build


@operation
def fill(typing: Any, number: Any) -> Any:
    """A vector of one number."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        first = ir.Constant(ir.IntType(32), 0)
        alone = builder.insert_element(ir.Constant(kind, ir.Undefined), arguments[0], first)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None)
        return builder.shuffle_vector(alone, alone, everywhere)

    return Vector(number)(number), build


@operation
def add(typing: Any, a: Any, b: Any) -> Any:
    """a + b."""
    return a(a, b), lambda context, builder, signature, arguments: builder.fadd(*arguments)


@operation
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once where the processor can."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "fmuladd", arguments[0].type, arguments)

    return a(a, b, c), build


@operation
def rectify(typing: Any, a: Any) -> Any:
    """ReLU. NaN stays NaN."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zero = ir.Constant(arguments[0].type, None)
        return builder.select(builder.fcmp_ordered("<", arguments[0], zero), zero, arguments[0])

    return a(a), build


@operation
def through_relu(typing: Any, delta: Any, outputs: Any) -> Any:
    """The loss's derivative before a ReLU from that after it, where its outputs were those."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zero = ir.Constant(arguments[0].type, None)
        return builder.select(builder.fcmp_ordered("<=", arguments[1], zero), zero, arguments[0])

    return delta(delta, outputs), build


@operation
def total(typing: Any, a: Any) -> Any:
    """The sum of a vector's numbers."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = arguments[0].type.element
        summands = [ir.Constant(number, 0.0), arguments[0]]
        return _call(builder, "vector.reduce.fadd", number, summands, fastmath=("reassoc",))

    return a.number(a), build


@operation
def shifted(typing: Any, a: Any, b: Any) -> Any:
    """The vector that starts one number after a, where b is the one that follows a."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count = arguments[0].type.count
        picked = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(1, count + 1)))
        return builder.shuffle_vector(*arguments, picked)

    return a(a, b), build


@compiled
def aligned_zeros(rows: int, columns: int, like: Array) -> Array:
    """Zeros (rows, columns or some more) of like's type, whose rows start where vectors are read
    and written fastest."""
    count = lanes(like)
    columns = -(-columns // count) * count
    raw = np.zeros(rows * columns + count, like.dtype)
    start = (-raw.ctypes.data // raw.itemsize) % count
    return raw[start : start + rows * columns].reshape(rows, columns)
