"""torch's linear layers through scipy's BLAS, for processors on which torch's own are slow.

torch multiplies by MKL, which on processors of other makers than Intel stays at half their speed;
on Intel's, and where torch has no MKL, nothing beats torch's own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from weightscape.kernels.primitives import matrix_product


@functools.cache
def products() -> str:
    """Whose products linear layers are made of here: `torch` or `scipy`."""
    by_mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    return "scipy" if by_mkl and _maker() != "GenuineIntel" else "torch"


def _maker(processors: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's maker as Linux tells it, empty where nothing does."""
    try:
        lines = processors.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    told = (line.partition(":") for line in lines)
    return next((maker.strip() for key, _, maker in told if key.strip() == "vendor_id"), "")


class FastLinear(TorchFunctionMode):
    """Within it, torch.nn.functional.linear of float32 matrices on the CPU is ours."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        arguments: tuple[Any, ...] = (),
        options: dict[str, Any] | None = None,
    ) -> Any:
        if function is linear and not options and len(arguments) == 3 and _fits(*arguments):
            return _Linear.apply(*arguments)
        return function(*arguments, **(options or {}))


def _fits(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    return (
        bias is not None
        and weight.dim() == 2
        and all(
            tensor.dtype == torch.float32 and tensor.device.type == "cpu"
            for tensor in (x, weight, bias)
        )
    )


class _Linear(torch.autograd.Function):
    """x (..., in) times weight (out, in) transposed, plus bias (out,)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # BLAS reads numbers that lie side by side along an axis
        rows, weight = x.reshape(-1, x.shape[-1]).contiguous(), weight.contiguous()
        ctx.save_for_backward(rows, weight)
        ctx.shape = x.shape
        out = bias.repeat(len(rows), 1)
        matrix_product(rows, weight.t(), out, start=1)
        return out.view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *deltas: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        rows, weight = ctx.saved_tensors
        delta = deltas[0].reshape(len(rows), -1).contiguous()
        by_x = None
        if ctx.needs_input_grad[0]:
            by_x = torch.empty_like(rows)
            matrix_product(delta, weight, by_x)
            by_x = by_x.view(ctx.shape)
        by_weight = torch.empty_like(weight)
        matrix_product(delta.t(), rows, by_weight)
        return by_x, by_weight, delta.sum(0)
