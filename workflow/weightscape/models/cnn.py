"""CNN: one convolution and one fully connected layer (paper, section 3.3 and Table 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightscape.models.base import Layer, Link, Model, Options, Shape, parse_count

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from weightscape.kernels.by_hand import ByHand
    from weightscape.models.base import Arrays, Dropout, Parameters

KERNEL = 3


class CNN(Model):
    """conv1 (3 x 3, valid) -> ReLU -> head -> fc; the width is the number of channels C."""

    OPTIONS = {
        "head": {
            "enum": ["flatten", "gap"],
            "default": "flatten",
            "description": "What fc reads of conv1: all activations (flatten) or their mean per "
            "channel (gap). The paper names both. With flatten it learns in 20 epochs, with gap "
            "hardly.",
        }
    }

    @staticmethod
    def check_width(width: str, options: Options) -> None:
        parse_count(width, "channels")

    def __init__(self, width: str, shape: Shape, classes: int, options: Options):
        super().__init__(width, shape, classes, options)
        outputs, (channels, height, breadth) = int(width), shape
        if min(height, breadth) < KERNEL:
            raise ValueError(f"images of {height} x {breadth} are smaller than the 3 x 3 kernel")
        places = (height - KERNEL + 1) * (breadth - KERNEL + 1)
        features = outputs * places if options["head"] == "flatten" else outputs
        self.layers = [
            Layer("conv1", (outputs, channels, KERNEL, KERNEL), uses=places),
            Layer("fc", (classes, features)),
        ]

    def forward(
        self, parameters: Parameters, images: Tensor, drop: Dropout
    ) -> tuple[Tensor, dict[str, Tensor]]:
        from torch.nn.functional import linear

        p = parameters
        # as a product: torch.vmap would make a slow convolution in groups of conv2d
        patches = images.unfold(2, KERNEL, 1).unfold(3, KERNEL, 1).movedim(1, 3).flatten(3)
        maps = linear(patches, p["conv1.weight"].flatten(1), p["conv1.bias"]).relu()
        flat = (
            maps.movedim(3, 1).flatten(1)
            if self.options["head"] == "flatten"
            else maps.mean((1, 2))
        )
        return linear(flat, p["fc.weight"], p["fc.bias"]), {"conv1": maps}

    def answer(self, parameters: Arrays, images: np.ndarray) -> tuple[np.ndarray, Arrays]:
        import numpy as np

        p, n = parameters, len(images)
        pixels = np.divide(images, 255, dtype=np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (KERNEL, KERNEL), (2, 3))
        places = windows.shape[2:4]
        kernels = p["conv1.weight"].reshape(len(p["conv1.weight"]), -1)
        patches = np.moveaxis(windows, 1, 3).reshape(-1, kernels.shape[1])
        maps = np.maximum(patches @ kernels.T + p["conv1.bias"], 0).reshape(n, *places, -1)
        flat = (
            np.moveaxis(maps, 3, 1).reshape(n, -1)
            if self.options["head"] == "flatten"
            else maps.mean((1, 2))
        )
        return flat @ p["fc.weight"].T + p["fc.bias"], {"conv1": maps}

    @staticmethod
    def links(width: str, options: Options) -> list[Link]:
        return [Link(("conv1",), "fc")]

    @property
    def has_gradients_by_hand(self) -> bool:
        return bool(self.options["head"] == "flatten")

    def by_hand(self) -> ByHand | None:
        if not self.has_gradients_by_hand:
            return None
        from weightscape.kernels.cnn import CNNByHand

        return CNNByHand(self.shape, self.classes)
