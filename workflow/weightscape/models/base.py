"""What a model family says of itself."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor

    from weightscape.kernels.by_hand import ByHand

    Parameters = dict[str, Tensor]
    Arrays = dict[str, np.ndarray]
    Dropout = Callable[[Tensor], Tensor]

MOST = 1_000_000
"""Of what a width counts."""

OF_FORWARD = ("by_hand", "has_gradients_by_hand", "answer")
"""What says in another way what `forward` computes, or how it is trained."""
Options = dict[str, Any]
"""Of a family, by name: all that its OPTIONS are the schema of."""
Shape = tuple[int, int, int]
"""(channels, height, width) of an image"""


class Layer(NamedTuple):
    """A layer with a weight and a bias, in the shard's layout."""

    name: str
    shape: tuple[int, ...]
    """(out, in) or (out, in, kernel height, kernel width)"""
    uses: int = 1
    """How often one image uses each weight; a convolution does at every place. For the plan."""

    @property
    def fan_in(self) -> int:
        return math.prod(self.shape[1:])

    @property
    def size(self) -> int:
        """Number of weights, the bias apart."""
        return math.prod(self.shape)


class Link(NamedTuple):
    """Nodes that some layers make and one layer reads: its columns are their rows, in order."""

    sources: tuple[str, ...]
    target: str
    parts: int | None = None
    """equal parts that the nodes fall into, such as heads; None: each node is its own part"""
    is_free: bool = True
    """whether the parts, in any other order, make the same network"""


class Model(ABC):
    """One network: its layers, and its output for a batch of images.

    A subclass needs `check_width`, `__init__`, which sets `layers` (their names do not depend on
    the images), and `forward`; `links` lets its nodes be followed from layer to layer.
    Parameters go by name: `<layer>.weight`, `<layer>.bias`, and the names in `auxiliary`.
    """

    OPTIONS: ClassVar[dict[str, Any]] = {}
    """JSON schema of the keys under `models.<name>` in the config, each with its default."""

    layers: list[Layer]
    auxiliary: dict[str, tuple[tuple[int, ...], str]]
    """Parameters that are no layer's weights: name -> (shape, start: zeros, ones or normal)."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        places = {name: _place(cls, name) for name in ("forward", *OF_FORWARD)}
        for name in OF_FORWARD:
            if places[name] > places["forward"]:  # it is of another network, a base's
                setattr(cls, name, vars(Model)[name])

    def __init__(self, width: str, shape: Shape, classes: int, options: Options):
        self.width, self.shape, self.classes, self.options = width, shape, classes, options
        self.layers, self.auxiliary = [], {}

    @staticmethod
    @abstractmethod
    def check_width(width: str, options: Options) -> None:
        """Raise ValueError, saying what fits, unless `width` is one that this family can take."""

    @abstractmethod
    def forward(
        self, parameters: Parameters, images: Tensor, drop: Dropout
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (batch, classes) and each ReLU layer's output (batch, ..., units) by layer name.

        `images` is (batch, channels, height, width) in [0, 1]; `drop` is dropout in training and
        the identity in evaluation. Stacks of runs are made of it by torch.vmap.
        """

    def answer(self, parameters: Arrays, images: np.ndarray) -> tuple[np.ndarray, Arrays]:
        """What `forward` returns in evaluation of images (batch, channels, height, width) uint8.

        A family may bring it without torch, which takes a second and half a gigabyte to import.
        """
        import torch

        values = {name: torch.from_numpy(value) for name, value in parameters.items()}
        with torch.no_grad():
            logits, units = self.forward(values, torch.from_numpy(images) / 255, lambda x: x)
        return logits.numpy(), {name: output.numpy() for name, output in units.items()}

    def by_hand(self) -> ByHand | None:
        """Training on the CPU by hand-derived gradients; None leaves it to autograd."""
        return None

    @staticmethod
    def links(width: str, options: Options) -> list[Link]:
        """Which layers' nodes another layer reads; measures of nodes and their order need it."""
        return []

    @property
    def has_gradients_by_hand(self) -> bool:
        """Whether the family brings `by_hand`, told without importing what that needs."""
        return type(self).by_hand is not Model.by_hand

    @property
    def class_bytes(self) -> int:
        """Bytes that hold the number of a class: one for up to 256 classes."""
        return next(size for size in (1, 2, 4) if self.classes <= 256**size)

    @property
    def n_parameters(self) -> int:
        """All trained numbers: weights, biases and auxiliary parameters."""
        weights = sum(layer.size + layer.shape[0] for layer in self.layers)
        return weights + sum(math.prod(shape) for shape, _ in self.auxiliary.values())

    @property
    def n_multiply_adds(self) -> int:
        """Multiply-adds of the forward pass of one image, the attention scores left out."""
        return sum(layer.size * layer.uses for layer in self.layers)


def _place(cls: type, name: str) -> int:
    """Of the class that has a name, among a class and its bases, nearest first."""
    return next(place for place, kind in enumerate(cls.__mro__) if name in vars(kind))


def parse_count(width: str, what: str) -> int:
    """The width as a whole number >= 1; ValueError says what it counts."""
    # one spelling only: 020 would be 20 under another name
    if not (width.isascii() and width.isdecimal()) or width.startswith("0"):
        raise ValueError(f"give a whole number of {what}, such as 4")
    if len(width) > len(str(MOST)) or int(width) > MOST:
        raise ValueError(f"give at most {MOST:,} {what}")
    return int(width)
