"""An ordinary torch.nn.Module as a model."""

import numpy as np
import pytest
import torch
from torch import nn

from weightscape.engine.autograd import AutogradStack, keep
from weightscape.engine.stack import Split
from weightscape.engine.streams import RunKey, initialise
from weightscape.engine.trial import try_model
from weightscape.errors import WeightscapeError
from weightscape.models import modules
from weightscape.models.base import Layer
from weightscape.models.modules import ModuleModel


class Body(nn.Module):
    def __init__(self, maps):
        super().__init__()
        self.conv = nn.Conv2d(1, maps, 3, stride=2)
        self.norm = nn.GroupNorm(1, maps)
        self.mix = nn.Conv2d(maps, maps, 1, bias=False)

    def forward(self, images):
        return self.mix(self.norm(self.conv(images))).relu().flatten(1)


class Net(ModuleModel):
    @staticmethod
    def make(width, shape, classes, options):
        return nn.Sequential(Body(int(width)), nn.Linear(9 * int(width), classes))


@pytest.fixture
def network():
    return Net("2", (1, 7, 7), 3, {})


def test_layers_are_found_in_the_module(network):
    assert network.layers == [
        Layer("layer0_conv", (2, 1, 3, 3), uses=9),
        Layer("layer1", (3, 18), uses=1),
    ]
    assert network.auxiliary == {
        "layer0_mix_weight": ((2, 2, 1, 1), "normal"),
        "layer0_norm_bias": ((2,), "zeros"),
        "layer0_norm_weight": ((2,), "ones"),
    }
    module = Net.make("2", (1, 7, 7), 3, {})
    assert network.n_parameters == sum(value.numel() for value in module.parameters())
    assert network.n_multiply_adds == 9 * 18 + 3 * 18


def test_the_output_is_the_module_s_with_these_parameters(network):
    start = initialise(network, {"std": 0.3, "biases": "uniform"}, np.random.default_rng(0))
    images = torch.rand(4, 1, 7, 7)
    values = {name: torch.from_numpy(value) for name, value in start.items()}
    logits, units = network.forward(values, images, keep)
    module = Net.make("2", (1, 7, 7), 3, {})
    body, out = module
    with torch.no_grad():
        for parameter, name in (
            (body.conv.weight, "layer0_conv.weight"),
            (body.conv.bias, "layer0_conv.bias"),
            (body.norm.weight, "layer0_norm_weight"),
            (body.norm.bias, "layer0_norm_bias"),
            (body.mix.weight, "layer0_mix_weight"),
            (out.weight, "layer1.weight"),
            (out.bias, "layer1.bias"),
        ):
            parameter.copy_(values[name])
        torch.testing.assert_close(logits, module(images))
    assert units == {}


@pytest.mark.parametrize("runs", [1, 2])
def test_runs_train_from_our_streams_alike_side_by_side(network, runs):
    recipe = {"batch_size": 5, "learning_rate": 0.01, "options": {}}
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (20, 1, 7, 7), dtype=np.uint8)
    train = Split(images, np.arange(20) % 3)
    keys = [RunKey("net", "own", "2", seed) for seed in range(runs)]
    starts = [
        initialise(network, {"std": 0.1, "biases": "zero"}, key.stream("init")) for key in keys
    ]
    torch.manual_seed(runs)  # of no effect
    stack = AutogradStack(network, starts, [], train, recipe)
    for _ in range(3):
        (first, *_) = stack.train_epoch(np.arange(20, dtype=np.int32)[None].repeat(runs, 0))
    twin = Net.make("2", (1, 7, 7), 3, {}).double()
    named = {here: dict(twin.named_parameters())[there] for here, there in _names(network).items()}
    with torch.no_grad():
        for name, value in starts[0].items():
            named[name].copy_(torch.from_numpy(value))
    adam = torch.optim.Adam(twin.parameters(), lr=0.01)
    x, y = torch.from_numpy(images / 255.0), torch.from_numpy(train.labels)
    for _ in range(3):
        for rows in torch.arange(20).split(5):
            adam.zero_grad()
            nn.functional.cross_entropy(twin(x[rows]), y[rows]).backward()
            adam.step()
    for name, value in stack.parameters()[0].items():
        np.testing.assert_allclose(value, named[name].detach().numpy(), rtol=1e-3, atol=1e-4)
    assert np.isfinite(first.loss)


def _names(network):
    return network._found.names


def check_refusal(monkeypatch, module, words):
    monkeypatch.setattr(Net, "make", staticmethod(lambda *_: module))
    modules._find.cache_clear()
    with pytest.raises(ValueError, match=words):
        Net("2", (1, 7, 7), 3, {})
    modules._find.cache_clear()


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (nn.BatchNorm1d(49), "1 keeps running means, which are no parameters; use GroupNorm or"),
        (nn.Dropout(0.5), "1 draws a dropout that no seed repeats; leave it out"),
    ],
)
def test_what_no_recipe_repeats_is_refused(part, words, monkeypatch):
    check_refusal(monkeypatch, nn.Sequential(nn.Flatten(), part, nn.Linear(49, 3)), words)


def test_what_is_no_module_is_refused(monkeypatch):
    check_refusal(monkeypatch, 3, "make returns a int; return a torch")
    no_bias = nn.Sequential(nn.Flatten(), nn.Linear(49, 3, bias=False))
    check_refusal(monkeypatch, no_bias, "has no Linear or Conv2d with a bias")


def test_a_module_for_other_images_is_told_where_it_is_tried(monkeypatch, tmp_path):
    from weightscape import models

    text = """
from torch import nn
from weightscape.models.modules import ModuleModel

class Net(ModuleModel):
    @staticmethod
    def make(width, shape, classes, options):
        return nn.Sequential(nn.Flatten(), nn.Linear(49, classes))
"""
    (tmp_path / "net.py").write_text(text)
    monkeypatch.setenv(models.FILES, "{}")
    models.use_files([str(tmp_path / "net.py")])
    try:
        try_model("net", "2", (1, 7, 7), 3, {})
        with pytest.raises(WeightscapeError, match=r"net\.py\): forward fails \(Runtime"):
            try_model("net", "2", (1, 8, 8), 3, {})
    finally:
        models._tell({})
