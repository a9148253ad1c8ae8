"""What a family brings that trains by gradients of its own, derived by hand and compiled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from numpy.typing import NDArray

from weightscape.kernels.primitives import Parameter


class ByHand(ABC):
    """A family's compiled training and evaluation.

    Parameters are a tuple of Parameter, in the order of the layers: weight, bias, weight, bias.
    """

    relus: ClassVar[tuple[str, ...]]
    """the layers whose outputs go through a ReLU"""

    def pack(self, name: str, value: NDArray) -> NDArray:
        """The array in which training holds a parameter of the shard's shape."""
        return value

    def unpack(self, name: str, value: NDArray) -> NDArray:
        """The reverse of `pack`."""
        return value

    @abstractmethod
    def train(
        self,
        images: NDArray,
        labels: NDArray,
        batches: NDArray,
        first_step: int,
        learning_rate: float,
        parameters: tuple[Parameter, ...],
    ) -> tuple[float, int]:
        """A step of Adam for each row of `batches` (steps, batch), numbered from `first_step`, in
        place; sums of loss and of right answers. images (N, pixels) uint8, labels (N,)."""

    @abstractmethod
    def evaluate(
        self, images: NDArray, labels: NDArray, batches: NDArray, parameters: tuple[Parameter, ...]
    ) -> tuple[float, int, tuple[NDArray, ...], NDArray]:
        """Sums of loss and of right answers over all rows of `batches`, for each of `relus` which
        units (units,) were above zero for an image, and the answers (steps, batch)."""
