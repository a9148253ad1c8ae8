"""How this process rounds the smallest floats.

Adam's moments of dead units decay into denormal numbers, on which processors crawl; so training
takes these for zero. A switch of the processor does that, for each thread, out of Python's reach.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from weightscape.kernels.primitives import compiled

# the bits that flush results to zero and take denormal operands for zero
MXCSR_BITS = 0x8040
FPCR_BITS = 1 << 24


@intrinsic
def _flush_denormals(typing_context: Any, on: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (on,) = arguments
        machine = builder.module.triple.partition("-")[0]
        if machine == "x86_64":
            _switch_x86(builder, on)
        elif machine in ("aarch64", "arm64"):
            _switch_arm(builder, on)
        return context.get_dummy_value()

    return types.void(types.boolean), generate


def _switch_x86(builder: Any, on: Any) -> None:
    word, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
    place = builder.alloca(word)
    call = _caller(builder, ir.FunctionType(ir.VoidType(), [pointer]))
    call("llvm.x86.sse.stmxcsr", builder.bitcast(place, pointer))
    builder.store(_with_bits(builder, builder.load(place), MXCSR_BITS, on), place)
    call("llvm.x86.sse.ldmxcsr", builder.bitcast(place, pointer))


def _switch_arm(builder: Any, on: Any) -> None:
    word = ir.IntType(64)
    state = _caller(builder, ir.FunctionType(word, []))("llvm.aarch64.get.fpcr")
    set_it = _caller(builder, ir.FunctionType(ir.VoidType(), [word]))
    set_it("llvm.aarch64.set.fpcr", _with_bits(builder, state, FPCR_BITS, on))


def _caller(builder: Any, kind: Any) -> Callable[..., Any]:
    def call(name: str, *arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic(name, fnty=kind), arguments)

    return call


def _with_bits(builder: Any, state: Any, bits: int, on: Any) -> Any:
    one = builder.or_(state, ir.Constant(state.type, bits))
    other = builder.and_(state, ir.Constant(state.type, ~bits))
    return builder.select(on, one, other)


@compiled
def flush_denormals(on: bool) -> None:
    """Let this thread take denormal numbers for zero, or no longer; nothing on other processors
    than x86-64 and ARM."""
    _flush_denormals(on)  # type: ignore[call-arg]  # numba passes the typing context
