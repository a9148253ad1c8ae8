"""An ordinary torch.nn.Module as a model: a subclass of ModuleModel only says how to make it."""

from __future__ import annotations

import functools
import json
import re
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from weightscape.models.base import Layer, Model, Options, Shape, parse_count

if TYPE_CHECKING:
    from torch import Tensor, nn

    from weightscape.models.base import Dropout, Parameters


class _Found(NamedTuple):
    """What is found in a module."""

    module: nn.Module
    layers: list[Layer]
    auxiliary: dict[str, tuple[tuple[int, ...], str]]
    names: dict[str, str]
    """parameter here -> parameter of the module"""


class ModuleModel(Model):
    """The module that `make` returns: its Linear and Conv2d with a bias are the layers.

    They are named as in the module, with _ for a point and `layer` before a number, in the order in
    which it defines them. All its other parameters are auxiliary. What it fills them with has no
    effect: they start as the recipe says.
    """

    @staticmethod
    @abstractmethod
    def make(width: str, shape: Shape, classes: int, options: Options) -> nn.Module:
        """The module, from images (batch, channels, height, width) to logits (batch, classes)."""

    @staticmethod
    def check_width(width: str, options: Options) -> None:
        parse_count(width, "units")

    def __init__(self, width: str, shape: Shape, classes: int, options: Options):
        super().__init__(width, shape, classes, options)
        self._found = _find(type(self), width, shape, classes, json.dumps(options))
        self.layers, self.auxiliary = list(self._found.layers), dict(self._found.auxiliary)

    def forward(
        self, parameters: Parameters, images: Tensor, drop: Dropout
    ) -> tuple[Tensor, dict[str, Tensor]]:
        from torch.func import functional_call

        own = {self._found.names[name]: value for name, value in parameters.items()}
        return functional_call(self._found.module, own, (images,)), {}


@functools.lru_cache(maxsize=64)  # the plan asks for each job
def _find(
    family: type[ModuleModel], width: str, shape: Shape, classes: int, options: str
) -> _Found:
    from torch import nn

    module = family.make(width, shape, classes, json.loads(options))
    if not isinstance(module, nn.Module):
        raise ValueError(f"make returns a {type(module).__name__}; return a torch.nn.Module")
    layers: list[Layer] = []
    names: dict[str, str] = {}
    uses = _uses(module, shape)
    for path, part in module.named_modules():
        _check(path, part)
        if isinstance(part, nn.Linear | nn.Conv2d) and part.bias is not None:
            name = _name(path)
            layers.append(Layer(name, tuple(part.weight.shape), uses.get(path, 1)))
            names |= {f"{name}.{of}": f"{path}.{of}" for of in ("weight", "bias")}
    if not layers:
        raise ValueError("the module has no Linear or Conv2d with a bias; give it one")
    found = dict(module.named_parameters())
    rest = {_name(path): path for path in found.keys() - set(names.values())}
    auxiliary = {name: _start(found[path]) for name, path in sorted(rest.items())}
    return _Found(module, layers, auxiliary, names | rest)


def _name(path: str) -> str:
    """`layer0_conv` for `0.conv`, as in a Sequential."""
    return re.sub(r"^(?=\d)", "layer", path.replace(".", "_"))


def _check(path: str, part: nn.Module) -> None:
    """ValueError for a part that keeps more than parameters, or draws chance of its own."""
    from torch import nn

    if getattr(part, "track_running_stats", False):
        raise ValueError(
            f"{path} keeps running means, which are no parameters; use GroupNorm or LayerNorm"
        )
    if isinstance(part, nn.modules.dropout._DropoutNd) and part.p:
        raise ValueError(f"{path} draws a dropout that no seed repeats; leave it out")


def _uses(module: nn.Module, shape: Shape) -> dict[str, int]:
    """How often one image uses the weights of each part, as far as the module takes such images."""
    import torch

    uses: dict[str, int] = {}

    def count(path: str, part: nn.Module, _inputs: object, output: Tensor) -> None:
        uses[path] = uses.get(path, 0) + output.numel() // len(part.weight)  # type: ignore[arg-type]

    hooks = [
        part.register_forward_hook(functools.partial(count, path))
        for path, part in module.named_modules()
        if isinstance(part, torch.nn.Linear | torch.nn.Conv2d)
    ]
    with torch.no_grad(), suppress(Exception):  # told where the model is tried
        module(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return uses


def _start(parameter: Tensor) -> tuple[tuple[int, ...], str]:
    """Shape and start of a parameter: zeros or ones, as those of norms, else normal."""
    value = parameter.detach()
    start = "zeros" if not value.any() else "ones" if bool((value == 1).all()) else "normal"
    return tuple(value.shape), start
