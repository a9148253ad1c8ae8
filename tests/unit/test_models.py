"""The model families, against torch.nn modules with the same weights."""

import importlib
import math
import sys
import textwrap

import pytest
import torch
from torch import nn

from weightscape import config as configs
from weightscape import models
from weightscape.errors import WeightscapeError
from weightscape.models.dnn import hidden_units

MNIST, CIFAR10 = (1, 28, 28), (3, 32, 32)
VIT = {"tokens": "patches", "d_model": 784, "feedforward": 2048, "dropout": 0.1, "depth": 1}
SMALL = VIT | {"d_model": 12, "feedforward": 20}
CASES = [
    ("dnn", "6x5", (1, 8, 8), {}),
    ("cnn", "3", (2, 7, 6), {"head": "flatten"}),
    ("cnn", "3", (2, 7, 6), {"head": "gap"}),
    ("vit", "1", (1, 8, 8), SMALL),
    ("vit", "4", (3, 12, 8), SMALL),
    ("vit", "2", (1, 8, 8), SMALL | {"depth": 2}),
    ("vit", "3", (3, 5, 7), SMALL | {"tokens": "single"}),
]


def draw(network, seed=0):
    """Random parameters in float64, the norms' too, so that a wrong order shows."""
    stream = torch.Generator().manual_seed(seed)

    def fill(shape):
        return torch.randn(shape, generator=stream, dtype=torch.float64) / 2

    parameters = {name: fill(shape) for name, (shape, _) in network.auxiliary.items()}
    for layer in network.layers:
        parameters[f"{layer.name}.weight"] = fill(layer.shape)
        parameters[f"{layer.name}.bias"] = fill(layer.shape[:1])
    return parameters


def images(shape, n=5):
    return torch.rand((n, *shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def keep(x):
    return x


def copied(module, weight, bias):
    """The module with our numbers."""
    module.double().load_state_dict({"weight": weight, "bias": bias})
    return module


def linear(parameters, name):
    weight = parameters[f"{name}.weight"]
    return copied(nn.Linear(*reversed(weight.shape)), weight, parameters[f"{name}.bias"])


def dnn_modules(parameters):
    first, second, last = (linear(parameters, name) for name in ("fc1", "fc2", "fc3"))
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.ReLU(), last)


def cnn_modules(parameters, head):
    weight = parameters["conv1.weight"]
    convolution = copied(nn.Conv2d(*weight.shape[1::-1], 3), weight, parameters["conv1.bias"])
    pooling = [nn.AdaptiveAvgPool2d(1)] if head == "gap" else []
    return nn.Sequential(convolution, nn.ReLU(), *pooling, nn.Flatten(), linear(parameters, "fc"))


def encoder_layer(parameters, end, heads, scale=1.0):
    """torch's own encoder layer; `scale` multiplies what attention mixes."""
    p = {name.removesuffix(end): v for name, v in parameters.items()}
    p |= {name.replace(f"{end}.", "."): v for name, v in parameters.items() if end and end in name}
    d_model, feedforward = p["query.weight"].shape[0], p["mlp1.weight"].shape[0]
    layer = nn.TransformerEncoderLayer(d_model, heads, feedforward, batch_first=True).double()
    three = ("query", "key", "value")
    layer.load_state_dict(
        {
            "self_attn.in_proj_weight": torch.cat([p[f"{name}.weight"] for name in three]),
            "self_attn.in_proj_bias": torch.cat([p[f"{name}.bias"] for name in three]),
            "self_attn.out_proj.weight": scale * p["attention_out.weight"],
            "self_attn.out_proj.bias": p["attention_out.bias"],
            "linear1.weight": p["mlp1.weight"],
            "linear1.bias": p["mlp1.bias"],
            "linear2.weight": p["mlp2.weight"],
            "linear2.bias": p["mlp2.bias"],
            **{f"{norm}.{part}": p[f"{norm}.{part}"]
               for norm in ("norm1", "norm2") for part in ("weight", "bias")},
        }
    )  # fmt: skip
    return layer.eval()


def cut(batch, grid):
    """(n, tokens, pixels of a patch) by torch's unfold."""
    size = batch.shape[2] // grid, batch.shape[3] // grid
    return nn.functional.unfold(batch, size, stride=size).mT


def vit_output(parameters, batch, heads, options, encoders=None):
    grid = 4 if options["tokens"] == "patches" else 1
    tokens = linear(parameters, "patch")(cut(batch, grid)) + parameters["position"]
    ends = ["" if n == 0 else f"_{n + 1}" for n in range(options["depth"])]
    for layer in encoders or [encoder_layer(parameters, end, heads) for end in ends]:
        tokens = layer(tokens)
    return linear(parameters, "fc")(tokens.mean(1))


def reference(name, width, parameters, batch, options):
    if name == "dnn":
        return dnn_modules(parameters)(batch)
    if name == "cnn":
        return cnn_modules(parameters, options["head"])(batch)
    return vit_output(parameters, batch, int(width), options)


@pytest.mark.parametrize(("name", "width", "shape", "options"), CASES)
def test_logits_are_those_of_torch_s_modules(name, width, shape, options):
    network = models.build(name, width, shape, 10, options)
    parameters, batch = draw(network), images(shape)
    logits, _ = network.forward(parameters, batch, keep)
    assert logits.shape == (5, 10)
    torch.testing.assert_close(logits, reference(name, width, parameters, batch, options))


@pytest.mark.parametrize(("name", "width", "shape", "options"), CASES)
def test_gradients_are_those_of_torch_s_modules(name, width, shape, options):
    network = models.build(name, width, shape, 10, options)
    parameters = {key: value.requires_grad_() for key, value in draw(network).items()}
    batch = images(shape)
    labels = torch.arange(5)
    loss = nn.functional.cross_entropy(network.forward(parameters, batch, keep)[0], labels)
    found = torch.autograd.grad(loss, list(parameters.values()))
    twin = {key: value.detach().clone() for key, value in parameters.items()}
    # a step along the gradient by finite differences of the reference, which shares no code
    step = 1e-6
    up, down = (
        {key: twin[key] + sign * step * g for key, g in zip(twin, found, strict=True)}
        for sign in (1, -1)
    )
    losses = [
        nn.functional.cross_entropy(reference(name, width, p, batch, options), labels).item()
        for p in (up, down)
    ]
    squared = sum(g.square().sum().item() for g in found)
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(squared, rel=1e-5)


@pytest.mark.parametrize(("name", "width", "shape", "options"), CASES)
def test_an_image_s_logits_do_not_depend_on_the_others(name, width, shape, options):
    network = models.build(name, width, shape, 10, options)
    parameters, batch = draw(network), images(shape)
    together, _ = network.forward(parameters, batch, keep)
    other = batch.clone()
    other[1:] = 0
    torch.testing.assert_close(network.forward(parameters, other, keep)[0][0], together[0])
    for row in range(len(batch)):
        alone, _ = network.forward(parameters, batch[row : row + 1], keep)
        torch.testing.assert_close(alone[0], together[row])


@pytest.mark.parametrize(
    ("name", "width", "shape", "options"), [*CASES, ("dnn", "30x20", (1, 8, 8), {})]
)
def test_the_order_in_memory_changes_no_value(name, width, shape, options):
    network = models.build(name, width, shape, 10, options)
    for key, value in draw(network).items():
        assert torch.equal(network.lay_out(key, value), value)


def test_the_units_of_a_dnn_are_the_outputs_of_its_relus():
    network = models.build("dnn", "6x5", (1, 8, 8), 10, {})
    parameters, batch = draw(network), images((1, 8, 8))
    _, units = network.forward(parameters, batch, keep)
    modules = dnn_modules(parameters)
    assert set(units) == {"fc1", "fc2"}
    torch.testing.assert_close(units["fc1"], modules[:3](batch))
    torch.testing.assert_close(units["fc2"], modules[:5](batch))


@pytest.mark.parametrize("head", ["flatten", "gap"])
def test_the_units_of_a_cnn_are_its_maps_channels_last(head):
    network = models.build("cnn", "3", (2, 7, 6), 10, {"head": head})
    parameters, batch = draw(network), images((2, 7, 6))
    _, units = network.forward(parameters, batch, keep)
    maps = cnn_modules(parameters, head)[:2](batch)
    assert set(units) == {"conv1"}
    assert units["conv1"].shape == (5, 5, 4, 3)
    for channel in range(3):
        torch.testing.assert_close(units["conv1"][..., channel], maps[:, channel])


def test_the_units_of_a_vit_are_those_of_its_mlps():
    network = models.build("vit", "2", (1, 8, 8), 10, SMALL | {"depth": 2})
    parameters, batch = draw(network), images((1, 8, 8))
    _, units = network.forward(parameters, batch, keep)
    assert {name: unit.shape for name, unit in units.items()} == {
        "mlp1": (5, 16, 20), "mlp1_2": (5, 16, 20),
    }  # fmt: skip
    tokens = linear(parameters, "patch")(cut(batch, 4)) + parameters["position"]
    layer = encoder_layer(parameters, "", 2)
    after = layer.norm1(tokens + layer.self_attn(tokens, tokens, tokens)[0])
    torch.testing.assert_close(units["mlp1"], layer.linear1(after).relu())


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


@pytest.mark.parametrize("tokens", ["patches", "single"])
def test_dropout_falls_where_torch_s_encoder_layer_has_it(tokens):
    # in place of random zeros a factor, so that both sides can be compared; the factor on the
    # attention weights, which torch draws inside, is one on the output projection's weights
    options = SMALL | {"tokens": tokens}
    network = models.build("vit", "4", (3, 12, 8), 10, options)
    parameters, batch = draw(network), images((3, 12, 8))
    logits, _ = network.forward(parameters, batch, lambda x: 1.7 * x)
    layer = encoder_layer(parameters, "", 4, scale=1.7)
    for place in ("dropout", "dropout1", "dropout2"):
        setattr(layer, place, Scale(1.7))
    layer.train()  # torch's fast path for evaluation passes the modules by
    layer.self_attn.dropout = 0.0
    expected = vit_output(parameters, batch, 4, options, [layer])
    torch.testing.assert_close(logits, expected)


def test_dropout_reaches_attention_and_mlp_alone():
    network = models.build("vit", "4", (1, 8, 8), 10, SMALL)
    seen = []

    def drop(x):
        seen.append(tuple(x.shape))
        return x

    network.forward(draw(network), images((1, 8, 8)), drop)
    assert seen == [(5, 4, 16, 16), (5, 16, 12), (5, 16, 20), (5, 16, 12)]


def shapes(name, width, shape, options):
    network = models.build(name, width, shape, 10, options)
    return {layer.name: layer.shape for layer in network.layers}


@pytest.mark.parametrize(
    ("width", "shape", "expected"),
    [
        ("5", MNIST, {"fc1": (5, 784), "fc2": (5, 5), "fc3": (10, 5)}),
        ("20x50", MNIST, {"fc1": (20, 784), "fc2": (50, 20), "fc3": (10, 50)}),
        ("1000", CIFAR10, {"fc1": (1000, 3072), "fc2": (1000, 1000), "fc3": (10, 1000)}),
    ],
)
def test_layers_of_a_dnn_are_table_1(width, shape, expected):
    assert shapes("dnn", width, shape, {}) == expected


@pytest.mark.parametrize(
    ("shape", "head", "expected"),
    [
        (MNIST, "flatten", {"conv1": (4, 1, 3, 3), "fc": (10, 26 * 26 * 4)}),
        (CIFAR10, "flatten", {"conv1": (4, 3, 3, 3), "fc": (10, 30 * 30 * 4)}),
        (CIFAR10, "gap", {"conv1": (4, 3, 3, 3), "fc": (10, 4)}),
    ],
)
def test_layers_of_a_cnn_are_table_1(shape, head, expected):
    assert shapes("cnn", "4", shape, {"head": head}) == expected


@pytest.mark.parametrize(
    ("shape", "tokens", "pixels"),
    [
        (MNIST, "patches", 7 * 7),
        (MNIST, "single", 784),
        (CIFAR10, "patches", 3 * 8 * 8),
        (CIFAR10, "single", 3072),
    ],
)
def test_layers_of_a_vit_are_table_1(shape, tokens, pixels):
    assert shapes("vit", "8", shape, VIT | {"tokens": tokens}) == {
        "patch": (784, pixels),
        **dict.fromkeys(("query", "key", "value", "attention_out"), (784, 784)),
        "mlp1": (2048, 784),
        "mlp2": (784, 2048),
        "fc": (10, 784),
    }


def test_later_encoder_layers_carry_their_number():
    names = list(shapes("vit", "2", MNIST, SMALL | {"depth": 3}))
    block = ["query", "key", "value", "attention_out", "mlp1", "mlp2"]
    assert names == [
        "patch", *block, *(f"{n}_2" for n in block), *(f"{n}_3" for n in block), "fc",
    ]  # fmt: skip


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "width", "shape", "options", "modules"),
    [
        ("dnn", "20x50", MNIST, {},
         lambda: (nn.Linear(784, 20), nn.Linear(20, 50), nn.Linear(50, 10))),
        ("cnn", "6", CIFAR10, {"head": "flatten"},
         lambda: (nn.Conv2d(3, 6, 3), nn.Linear(5400, 10))),
        ("vit", "8", MNIST, VIT,
         lambda: (nn.Linear(49, 784), nn.Embedding(16, 784),
                  nn.TransformerEncoderLayer(784, 8), nn.Linear(784, 10))),
        ("vit", "2", CIFAR10, VIT | {"depth": 2, "tokens": "single"},
         lambda: (nn.Linear(3072, 784), nn.Embedding(1, 784),
                  nn.TransformerEncoderLayer(784, 2), nn.TransformerEncoderLayer(784, 2),
                  nn.Linear(784, 10))),
    ],
)  # fmt: skip
def test_parameters_are_as_many_as_those_of_torch_s_modules(name, width, shape, options, modules):
    with torch.device("meta"):
        expected = count(*modules())
    assert models.build(name, width, shape, 10, options).n_parameters == expected


@pytest.mark.parametrize(
    ("name", "width", "shape", "options", "expected"),
    [
        ("dnn", "20x50", MNIST, {}, 784 * 20 + 20 * 50 + 50 * 10),
        ("cnn", "4", CIFAR10, {"head": "flatten"}, 30 * 30 * 4 * 27 + 3600 * 10),
        ("cnn", "4", CIFAR10, {"head": "gap"}, 30 * 30 * 4 * 27 + 4 * 10),
        ("vit", "8", MNIST, VIT, 16 * (49 * 784 + 4 * 784**2 + 2 * 784 * 2048) + 7840),
        ("vit", "8", MNIST, VIT | {"tokens": "single"},
         784 * 784 + 4 * 784**2 + 2 * 784 * 2048 + 7840),
    ],
)  # fmt: skip
def test_multiply_adds_of_an_image(name, width, shape, options, expected):
    assert models.build(name, width, shape, 10, options).n_multiply_adds == expected


@pytest.mark.parametrize(("name", "width", "shape", "options"), CASES)
def test_fan_in_is_the_number_of_weights_of_a_node(name, width, shape, options):
    for layer in models.build(name, width, shape, 10, options).layers:
        weight = torch.zeros(layer.shape)
        assert layer.fan_in == weight[0].numel()
        assert layer.size == weight.numel()


@pytest.mark.parametrize(("width", "units"), [("5", (5, 5)), ("20x50", (20, 50)), ("1x1", (1, 1))])
def test_hidden_units_of_a_width(width, units):
    assert hidden_units(width) == units


@pytest.mark.parametrize("width", ["", "x", "0", "5x", "x5", "5x5x5", "-5", "5.0", " 5", "a"])
@pytest.mark.parametrize(("name", "options"), [("dnn", {}), ("cnn", {}), ("vit", VIT)])
def test_other_widths_are_refused(name, width, options):
    with pytest.raises(ValueError, match=r".{10}"):
        models.families()[name].check_width(width, options)


@pytest.mark.parametrize("heads", range(1, 20))
def test_heads_must_divide_the_length_of_a_token(heads):
    check = models.families()["vit"].check_width
    if 784 % heads:
        with pytest.raises(ValueError, match="784"):
            check(str(heads), VIT)
    else:
        check(str(heads), VIT)


@pytest.mark.parametrize(
    ("name", "width", "shape", "options"),
    [
        ("vit", "2", (1, 9, 8), SMALL),
        ("vit", "2", (1, 8, 10), SMALL),
        ("cnn", "4", (1, 2, 2), {"head": "flatten"}),
        ("cnn", "4", (1, 1, 1), {"head": "flatten"}),
        ("cnn", "4", (3, 2, 9), {"head": "gap"}),
    ],
)
def test_images_that_a_model_can_not_take_are_refused(name, width, shape, options):
    with pytest.raises(WeightscapeError, match=f"{name}.*{width}"):
        models.build(name, width, shape, 10, options)


def test_any_size_does_for_single_tokens():
    assert models.build("vit", "2", (1, 9, 7), 10, SMALL | {"tokens": "single"}).tokens == 1


LINEAR = '''
"""One fully connected layer."""

from weightscape.models.base import Layer, Model, parse_count


class Linear(Model):
    OPTIONS = {"gain": {"type": "number", "default": 1.0, "description": "Factor of the logits."}}

    @staticmethod
    def check_width(width, options):
        parse_count(width, "outputs")

    def __init__(self, width, shape, classes, options):
        super().__init__(width, shape, classes, options)
        channels, height, breadth = shape
        self.layers = [Layer("fc", (classes, channels * height * breadth))]

    def forward(self, parameters, images, drop):
        logits = images.flatten(1) @ parameters["fc.weight"].mT + parameters["fc.bias"]
        return self.options["gain"] * logits, {}
'''


@pytest.fixture
def new_family(tmp_path, monkeypatch):
    """A file `linear.py` in a folder where model families are looked for."""

    def forget():
        models.families.cache_clear()
        configs.load_schema.cache_clear()
        sys.modules.pop("weightscape.models.linear", None)
        importlib.invalidate_caches()

    (tmp_path / "linear.py").write_text(textwrap.dedent(LINEAR))
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    forget()
    yield "linear"
    monkeypatch.undo()
    forget()


def test_families_are_the_files(new_family):
    assert set(models.families()) == {"cnn", "dnn", "linear", "vit"}


def test_the_families_of_the_paper_in_alphabetical_order():
    assert list(models.families()) == ["cnn", "dnn", "vit"]


def test_a_new_file_is_a_family_of_the_config(new_family, small):
    small["populations"][0] |= {"model": new_family, "widths": [1]}
    assert configs.check(small)["models"][new_family] == {"gain": 1.0}
    small["models"] = {new_family: {"gian": 2}}
    with pytest.raises(WeightscapeError, match="did you mean 'gain'"):
        configs.check(small)


def test_a_new_file_is_trained_and_collected(new_family, dataset, tmp_path):
    from weightscape.runs import collect
    from weightscape.study import Population
    from weightscape.training import train_shard

    recipe = {
        "version": 1, "options": {"gain": 1.0}, "epochs": 1, "batch_size": 10,
        "optimiser": "adam", "learning_rate": 0.01,
        "initialisation": {"weights": "normal", "std": 0.05, "biases": "uniform"},
    }  # fmt: skip
    path = tmp_path / "seeds-0000.h5"
    train_shard(dataset=dataset, target=path, model=new_family, width="1", seeds=[0],
                recipe=recipe, snapshots=[], device="cpu", threads=1)  # fmt: skip
    runs = collect(Population(new_family, "own", ("1",), 1), [str(path)])
    assert len(runs) == 1
    assert math.isfinite(runs["train_loss"].iloc[0])


@pytest.mark.parametrize("name", ["dnn", "cnn", "vit"])
@pytest.mark.parametrize("width", ["020", "0", "00", "-4", "\uff14"])
def test_a_width_has_one_spelling(name, width):
    with pytest.raises(ValueError, match="whole number"):
        models.families()[name].check_width(width, VIT)
