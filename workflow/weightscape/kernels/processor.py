"""Which processor numba compiles for: another one may round sums otherwise."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

import numba
from numba.core.registry import cpu_target

# of which compiled loops are made; what else a processor can do changes no number
VECTORS = re.compile(r"\+((?:s?sse|avx|fma|xop|f16c|fp|neon|sve|sme|altivec|vsx)[^,]*)")
SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DISABLE_INTEL_SVML", "DISABLE_JIT")


class Target(NamedTuple):
    """What a compilation's numbers depend on, besides the code."""

    processor: str
    """LLVM's name for the type"""
    instructions: str
    """for vectors of numbers, with blanks between them"""
    numba: str
    """the version, and the settings of the environment that change its code"""


def target() -> Target:
    """That of this process: the machine's own, or what NUMBA_CPU_NAME and its like name."""
    _, processor, features = cpu_target.target_context.codegen().magic_tuple()
    names = [f"NUMBA_{name}" for name in SETTINGS]
    settings = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    instructions = " ".join(sorted(VECTORS.findall(features)))
    return Target(processor, instructions, " ".join([numba.__version__, *settings]))
