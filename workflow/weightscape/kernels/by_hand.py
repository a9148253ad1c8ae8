"""What a family brings that trains by gradients of its own, derived by hand and compiled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from weightscape.kernels.primitives import Array, Parameter


class ByHand(ABC):
    """A family's compiled training and evaluation.

    Parameters are a tuple of Parameter, in the order of the layers: weight, bias, weight, bias.
    """

    relus: ClassVar[tuple[str, ...]]
    """the layers whose outputs go through a ReLU"""

    def pack(self, name: str, value: Array) -> Array:
        """The array in which training holds a parameter of the shard's shape."""
        return value

    def unpack(self, name: str, value: Array) -> Array:
        """The reverse of `pack`."""
        return value

    @abstractmethod
    def train(
        self,
        images: Array,
        labels: Array,
        batches: Array,
        first_step: int,
        learning_rate: float,
        parameters: tuple[Parameter, ...],
    ) -> tuple[float, int]:
        """A step of Adam for each row of `batches` (steps, batch), numbered from `first_step`, in
        place; sums of loss and of right answers. images (N, pixels) uint8, labels (N,)."""

    @abstractmethod
    def evaluate(
        self, images: Array, labels: Array, batches: Array, parameters: tuple[Parameter, ...]
    ) -> tuple[float, int, tuple[Array, ...], Array]:
        """Sums of loss and of right answers over all rows of `batches`, for each of `relus` which
        units (units,) were above zero for an image, and the answers (steps, batch)."""
