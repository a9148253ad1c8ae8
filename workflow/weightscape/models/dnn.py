"""DNN: two hidden layers of ReLU units (paper, section 3.3 and Table 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightscape.models.base import Layer, Link, Model, Options, Shape, parse_count

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from weightscape.kernels.by_hand import ByHand
    from weightscape.models.base import Arrays, Dropout, Parameters


class DNN(Model):
    """fc1 -> ReLU -> fc2 -> ReLU -> fc3; the width is h1 = h2, or h1 x h2 as in `20x50`."""

    @staticmethod
    def check_width(width: str, options: Options) -> None:
        hidden_units(width)

    def __init__(self, width: str, shape: Shape, classes: int, options: Options):
        super().__init__(width, shape, classes, options)
        first, second = hidden_units(width)
        channels, height, breadth = shape
        self.layers = [
            Layer("fc1", (first, channels * height * breadth)),
            Layer("fc2", (second, first)),
            Layer("fc3", (classes, second)),
        ]

    def forward(
        self, parameters: Parameters, images: Tensor, drop: Dropout
    ) -> tuple[Tensor, dict[str, Tensor]]:
        from torch.nn.functional import linear

        p = parameters
        hidden1 = linear(images.flatten(1), p["fc1.weight"], p["fc1.bias"]).relu()
        hidden2 = linear(hidden1, p["fc2.weight"], p["fc2.bias"]).relu()
        logits = linear(hidden2, p["fc3.weight"], p["fc3.bias"])
        return logits, {"fc1": hidden1, "fc2": hidden2}

    def answer(self, parameters: Arrays, images: np.ndarray) -> tuple[np.ndarray, Arrays]:
        import numpy as np

        p = parameters
        flat = np.divide(images, 255, dtype=np.float32).reshape(len(images), -1)
        hidden1 = np.maximum(flat @ p["fc1.weight"].T + p["fc1.bias"], 0)
        hidden2 = np.maximum(hidden1 @ p["fc2.weight"].T + p["fc2.bias"], 0)
        logits = hidden2 @ p["fc3.weight"].T + p["fc3.bias"]
        return logits, {"fc1": hidden1, "fc2": hidden2}

    @staticmethod
    def links(width: str, options: Options) -> list[Link]:
        return [Link(("fc1",), "fc2"), Link(("fc2",), "fc3")]

    def by_hand(self) -> ByHand:
        from weightscape.kernels.dnn import DNNByHand

        return DNNByHand()


def hidden_units(width: str) -> tuple[int, int]:
    """(h1, h2) of a width: `20` is (20, 20), `20x50` is (20, 50)."""
    counts = [parse_count(part, "hidden units") for part in width.split("x")]
    if len(counts) > 2:
        raise ValueError("give one number for both hidden layers, or two numbers such as 20x50")
    return counts[0], counts[-1]
