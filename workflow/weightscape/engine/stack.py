"""What training needs of a stack of runs, however it computes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from weightscape.kernels.primitives import Array

PROBE = 1000  # training images on which the gradient norms are measured


class Split(NamedTuple):
    """Images (N, channels, height, width) uint8 and labels (N,) int64."""

    images: Array
    labels: Array


class Scores(NamedTuple):
    """Mean cross-entropy in nats and accuracy in % over the images of a split."""

    loss: float
    accuracy: float


class Evaluation(NamedTuple):
    """What one run makes of a whole split."""

    scores: Scores
    active: dict[str, np.ndarray]
    """by ReLU layer which units (units,) were above zero for at least one image"""
    predicted: np.ndarray
    """(N,) the class of the highest output for each image, the first of those that tie"""


class Stack(ABC):
    """R runs of one width that advance together and share nothing but the images."""

    runs: int
    """R"""

    def rooms(self, images: int) -> Sequence[Array]:
        """Arrays (R, images) int32 in which orders are drawn ahead; none where that is no gain."""
        return ()

    @abstractmethod
    def train_epoch(self, orders: Array) -> list[Scores]:
        """One pass over the training split, by each run in its own order: (R, N) int32.

        The scores are means over the images as they were trained on.
        """

    @abstractmethod
    def evaluate(self, split: Split) -> list[Evaluation]:
        """What each run makes of a whole split."""

    @abstractmethod
    def gradient_norms(self) -> list[dict[str, float]]:
        """Per run and layer the L2 norm of the weights' gradient of the mean loss on the first
        PROBE training images."""

    @abstractmethod
    def parameters(self) -> list[dict[str, np.ndarray]]:
        """A copy of each run's parameters by name."""
