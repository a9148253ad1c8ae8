"""DNN: two hidden layers of ReLU units (paper, section 3.3 and Table 1)."""

from __future__ import annotations

from weightscape.models.base import Layer, Model, parse_count

# Units below which weights lie in memory as (out, in) and activations as (units, images), from it
# on the other way. Measured on one AVX-512 thread, first layer forward and gradient together for
# 100 MNIST images: 21 against 50 us at 5 units, 40 against 51 at 12, 151 against 66 at 20.
NARROW = 16


class DNN(Model):
    """fc1 -> ReLU -> fc2 -> ReLU -> fc3; the width is h1 = h2, or h1 x h2 as in `20x50`."""

    @staticmethod
    def check_width(width, options):
        hidden_units(width)

    def __init__(self, width, shape, classes, options):
        super().__init__(width, shape, classes, options)
        first, second = hidden_units(width)
        channels, height, breadth = shape
        self.layers = [
            Layer("fc1", (first, channels * height * breadth)),
            Layer("fc2", (second, first)),
            Layer("fc3", (classes, second)),
        ]

    def forward(self, parameters, images, drop):
        from torch.nn.functional import linear

        p = parameters
        hidden1 = linear(images.flatten(1), p["fc1.weight"], p["fc1.bias"]).relu()
        hidden2 = linear(hidden1, p["fc2.weight"], p["fc2.bias"]).relu()
        logits = linear(hidden2, p["fc3.weight"], p["fc3.bias"])
        return logits, {"fc1": hidden1, "fc2": hidden2}

    def lay_out(self, name, value):
        if self.is_narrow or not name.endswith("weight"):
            return value
        return value.t().contiguous().t()

    def kernel(self, parameters, batch):
        return make_kernel(parameters, batch, self.is_narrow)

    @property
    def is_narrow(self) -> bool:
        """Whether products are fastest with units, and not images, along the rows of memory."""
        return self.layers[0].shape[0] < NARROW


def make_kernel(parameters, batch: int, narrow: bool):
    """Forward and backward pass by hand, in place: no graph and no allocation.

    The same sums as autograd's. Pixels stay 0..255; 1/255 is a factor of the products with them.
    All views are made once, since making one costs as much as a small product.
    """
    import torch
    from torch import addmm, mm, softmax, sum

    def buffer(columns, units_first):  # (batch, columns), and its transpose
        order = (columns, batch) if units_first else (batch, columns)
        made = torch.empty(order, dtype=b1.dtype, device=b1.device)
        return (made.t(), made) if units_first else (made, made.t())

    w1, w2, w3 = (parameters[f"fc{i}.weight"].detach() for i in (1, 2, 3))
    b1, b2, b3 = (parameters[f"fc{i}.bias"].detach() for i in (1, 2, 3))
    gw1, gw2, gw3 = (parameters[f"fc{i}.weight"].grad for i in (1, 2, 3))
    gb1, gb2, gb3 = (parameters[f"fc{i}.bias"].grad for i in (1, 2, 3))
    w1_t, w2_t, w3_t = w1.t(), w2.t(), w3.t()

    x, _ = buffer(w1.shape[1], units_first=False)
    h1, _ = buffer(len(b1), narrow)
    h2, _ = buffer(len(b2), narrow)
    # softmax goes along the classes: six times as fast where those are the outer order
    logits, logits_t = buffer(len(b3), units_first=True)
    d1, d1_t = buffer(len(b1), narrow)
    d2, d2_t = buffer(len(b2), narrow)
    d3, d3_t = buffer(len(b3), units_first=True)
    zero_where_relu_is = torch.ops.aten.threshold_backward.grad_input

    def run(images, targets):
        x.copy_(images.flatten(1))
        addmm(b1, x, w1_t, alpha=1 / 255, out=h1).relu_()
        addmm(b2, h1, w2_t, out=h2).relu_()
        addmm(b3, h2, w3_t, out=logits)

        softmax(logits_t, 0, out=d3_t)
        d3.sub_(targets).div_(batch)
        mm(d3_t, h2, out=gw3)
        sum(d3, 0, out=gb3)
        mm(d3, w3, out=d2)
        zero_where_relu_is(d2, h2, 0, grad_input=d2)
        mm(d2_t, h1, out=gw2)
        sum(d2, 0, out=gb2)
        mm(d2, w2, out=d1)
        zero_where_relu_is(d1, h1, 0, grad_input=d1)
        addmm(gw1, d1_t, x, beta=0, alpha=1 / 255, out=gw1)
        sum(d1, 0, out=gb1)
        return logits

    return run


def hidden_units(width: str) -> tuple[int, int]:
    """(h1, h2) of a width: `20` is (20, 20), `20x50` is (20, 50)."""
    counts = [parse_count(part, "hidden units (`20`, or `20x50`)") for part in width.split("x")]
    if len(counts) > 2:
        raise ValueError("there are two hidden layers: give one number, or two as in 20x50")
    return counts[0], counts[-1]
