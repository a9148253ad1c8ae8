"""ViT: a transformer encoder over image patches and one fully connected layer (paper, Table 1).

The encoder is that of torch.nn.TransformerEncoderLayer (post-norm, ReLU; Vaswani et al. 2017),
with query, key and value as layers of their own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from weightscape.models.base import Layer, Link, Model, Options, Shape, parse_count

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from weightscape.models.base import Arrays, Dropout, Parameters

EPSILON = 1e-5  # added to the variance of a token, as by torch


class ViT(Model):
    """patch -> encoder -> mean over tokens -> fc; the width is the number of heads."""

    OPTIONS = {
        "tokens": {
            "enum": ["patches", "single"],
            "default": "patches",
            "description": "patches: 4 x 4 patches, each a token, with learned positions. single: "
            "the image as one token, as Table 1 can be read; query and key then get no gradient.",
        },
        "d_model": {
            "type": "integer",
            "minimum": 1,
            "maximum": 100_000,
            "default": 784,
            "description": "Length of a token (Table 1: 784). The number of heads must divide it.",
        },
        "feedforward": {
            "type": "integer",
            "minimum": 1,
            "maximum": 100_000,
            "default": 2048,
            "unit": "units",
            "description": "Hidden units of the MLP. The framework's default; the paper is silent.",
        },
        "dropout": {
            "type": "number",
            "minimum": 0,
            "exclusiveMaximum": 1,
            "default": 0.1,
            "unit": "share of units",
            "description": "Dropout in the encoder. The framework's default; the paper is silent.",
        },
        "depth": {
            "type": "integer",
            "minimum": 1,
            "maximum": 1000,
            "default": 1,
            "unit": "encoder layers",
            "description": "Number of encoder layers (paper: one). The names of the layers after "
            "the first end in _2, _3 and so on.",
        },
    }

    @staticmethod
    def check_width(width: str, options: Options) -> None:
        heads = parse_count(width, "heads")
        if options["d_model"] % heads:
            fitting = [str(n) for n in range(1, 17) if options["d_model"] % n == 0]
            raise ValueError(
                f"the number of heads must divide d_model = {options['d_model']}, "
                f"as {', '.join(fitting)} do"
            )

    def __init__(self, width: str, shape: Shape, classes: int, options: Options):
        super().__init__(width, shape, classes, options)
        channels, height, breadth = shape
        self.grid = 4 if options["tokens"] == "patches" else 1
        self.heads, self.tokens = int(width), self.grid**2
        if height % self.grid or breadth % self.grid:
            raise ValueError(
                f"images of {height} x {breadth} can't be divided into 4 x 4 patches; height and "
                "width must be multiples of 4"
            )
        self.patch = (height // self.grid, breadth // self.grid)
        d_model, hidden = options["d_model"], options["feedforward"]
        pixels = channels * self.patch[0] * self.patch[1]
        self.layers = [Layer("patch", (d_model, pixels), self.tokens)]
        self.auxiliary["position"] = ((self.tokens, d_model), "normal")
        for end in _block_ends(self.options):
            square = [f"{name}{end}" for name in ("query", "key", "value", "attention_out")]
            self.layers += [Layer(name, (d_model, d_model), self.tokens) for name in square]
            self.layers += [
                Layer(f"mlp1{end}", (hidden, d_model), self.tokens),
                Layer(f"mlp2{end}", (d_model, hidden), self.tokens),
            ]
            for norm in (f"norm1{end}", f"norm2{end}"):
                self.auxiliary[f"{norm}.weight"] = ((d_model,), "ones")
                self.auxiliary[f"{norm}.bias"] = ((d_model,), "zeros")
        self.layers.append(Layer("fc", (classes, d_model)))

    @staticmethod
    def links(width: str, options: Options) -> list[Link]:
        found = []
        for end in _block_ends(options):
            projections = tuple(f"{name}{end}" for name in ("query", "key", "value"))
            found += [
                Link(projections, f"attention_out{end}", int(width)),
                # within a head any invertible map of values is undone by attention_out
                Link((f"value{end}",), f"attention_out{end}", is_free=False),
                Link((f"mlp1{end}",), f"mlp2{end}"),
            ]
        return found

    def forward(
        self, parameters: Parameters, images: Tensor, drop: Dropout
    ) -> tuple[Tensor, dict[str, Tensor]]:
        tokens = _linear(parameters, "patch", _cut(images, self.grid)) + parameters["position"]
        units = {}
        for end in _block_ends(self.options):
            attended = _attend(parameters, end, tokens, self.heads, drop)
            tokens = _norm(parameters, f"norm1{end}", tokens + drop(attended))
            hidden = _linear(parameters, f"mlp1{end}", tokens).relu()
            units[f"mlp1{end}"] = hidden
            out = _linear(parameters, f"mlp2{end}", drop(hidden))
            tokens = _norm(parameters, f"norm2{end}", tokens + drop(out))
        return _linear(parameters, "fc", tokens.mean(1)), units

    def answer(self, parameters: Arrays, images: np.ndarray) -> tuple[np.ndarray, Arrays]:
        import numpy as np

        p, units, (n, channels, *_), (tall, broad) = parameters, {}, images.shape, self.patch

        def linear(name: str, x: np.ndarray) -> np.ndarray:
            flat = x.reshape(-1, x.shape[-1]) @ p[f"{name}.weight"].T + p[f"{name}.bias"]
            return flat.reshape(*x.shape[:-1], -1)

        def norm(name: str, x: np.ndarray) -> np.ndarray:
            centred = x - x.mean(-1, keepdims=True)
            spread = np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(EPSILON))
            scaled: np.ndarray = centred / spread * p[f"{name}.weight"]
            return scaled + p[f"{name}.bias"]

        def attend(end: str, x: np.ndarray) -> np.ndarray:
            query, key, value = (
                linear(f"{name}{end}", x).reshape(n, self.tokens, self.heads, -1).swapaxes(1, 2)
                for name in ("query", "key", "value")
            )
            scores = query @ key.swapaxes(2, 3) / math.sqrt(query.shape[-1])
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = shares / shares.sum(-1, keepdims=True) @ value
            return linear(f"attention_out{end}", mixed.swapaxes(1, 2).reshape(x.shape))

        pixels = np.divide(images, 255, dtype=np.float32)
        cut = pixels.reshape(n, channels, self.grid, tall, self.grid, broad)
        patches = cut.transpose(0, 2, 4, 1, 3, 5).reshape(n, self.tokens, -1)
        tokens = linear("patch", patches) + p["position"]
        for end in _block_ends(self.options):
            tokens = norm(f"norm1{end}", tokens + attend(end, tokens))
            hidden = units[f"mlp1{end}"] = np.maximum(linear(f"mlp1{end}", tokens), 0)
            tokens = norm(f"norm2{end}", tokens + linear(f"mlp2{end}", hidden))
        return linear("fc", tokens.mean(1)), units


def _cut(images: Tensor, grid: int) -> Tensor:
    """(batch, channels, height, width) -> (batch, tokens, pixels of a patch)."""
    n, channels, height, breadth = images.shape
    cut = images.reshape(n, channels, grid, height // grid, grid, breadth // grid)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(n, grid**2, -1)


def _attend(p: Parameters, end: str, tokens: Tensor, heads: int, drop: Dropout) -> Tensor:
    """Multi-head self-attention; dropout falls on the attention weights, as in torch."""
    n, count, d_model = tokens.shape

    def split(name: str) -> Tensor:  # (batch, heads, tokens, d_model / heads)
        projected = _linear(p, f"{name}{end}", tokens)
        return projected.view(n, count, heads, -1).transpose(1, 2)

    query, key, value = split("query"), split("key"), split("value")
    scores = query @ key.mT / math.sqrt(d_model // heads)
    mixed = drop(scores.softmax(-1)) @ value
    joined = mixed.transpose(1, 2).reshape(n, count, d_model)
    return _linear(p, f"attention_out{end}", joined)


def _block_ends(options: Options) -> list[str]:
    """What the names of each encoder layer's layers end in."""
    return ["" if block == 1 else f"_{block}" for block in range(1, options["depth"] + 1)]


def _linear(parameters: Parameters, name: str, x: Tensor) -> Tensor:
    from torch.nn.functional import linear

    return linear(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"])


def _norm(parameters: Parameters, name: str, x: Tensor) -> Tensor:
    from torch.nn.functional import layer_norm

    scale, shift = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
    return layer_norm(x, x.shape[-1:], scale, shift, EPSILON)
