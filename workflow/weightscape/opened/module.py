"""A run's network as an ordinary torch.nn.Module."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from weightscape.engine.autograd import keep, pixels
from weightscape.models import Model


class Network(nn.Module):
    """A model's forward pass with the parameters of one run; its state_dict has their names."""

    def __init__(self, model: Model, parameters: dict[str, np.ndarray]):
        super().__init__()
        self.model = model
        for name, value in parameters.items():
            *path, own = name.split(".")
            part: nn.Module = self
            for step in path:
                if step not in dict(part.named_children()):
                    part.add_module(step, nn.Module())
                part = part.get_submodule(step)
            part.register_parameter(own, nn.Parameter(torch.from_numpy(value.copy())))

    def forward(self, images: Tensor) -> Tensor:
        """(n, channels, height, width), uint8 or float in [0, 1], to logits (n, classes)."""
        shown = images if images.is_floating_point() else pixels(images)
        return self.model.forward(dict(self.named_parameters()), shown, keep)[0]
