"""The model families, against torch.nn modules with the same weights."""

import importlib
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from cases import Case, batches, by_autograd, make_recipe, random_orders
from references import (
    ViTModules,
    adam,
    cnn_modules,
    cut,
    dnn_modules,
    encoder_layer,
    linear,
    modules,
    ours,
    train_modules,
)
from weightscape import models
from weightscape.errors import WeightscapeError
from weightscape.models.cnn import CNN
from weightscape.models.dnn import DNN, hidden_units
from weightscape.models.vit import ViT
from weightscape.study import config as configs

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


def reference(name, width, parameters, batch, options):
    return modules(name, width, options, parameters)(batch)


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


@pytest.mark.parametrize(("name", "width", "shape", "options"), CASES)
def test_gradients_by_hand_are_announced_where_there_are_some(name, width, shape, options):
    network = models.build(name, width, shape, 10, options)
    assert network.has_gradients_by_hand == (network.by_hand() is not None)


@pytest.mark.parametrize(("name", "width", "shape", "options"), CASES)
def test_answers_in_arrays_are_those_of_the_forward_pass(name, width, shape, options):
    network = models.build(name, width, shape, 10, options)
    pixels = np.random.default_rng(0).integers(0, 256, (5, *shape), np.uint8)
    parameters = {key: value.float() for key, value in draw(network).items()}
    logits, units = network.answer({k: v.numpy() for k, v in parameters.items()}, pixels)
    wanted, wanted_units = network.forward(parameters, torch.from_numpy(pixels) / 255, keep)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)
    assert units.keys() == wanted_units.keys()
    for layer, output in units.items():
        np.testing.assert_allclose(output, wanted_units[layer], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", [DNN, CNN, ViT])
def test_a_forward_pass_of_one_s_own_is_trained_and_asked_as_it_is(family):
    class Negative(family):
        def forward(self, parameters, images, drop):
            logits, units = super().forward(parameters, images, drop)
            return -logits, units

    class Part:
        def forward(self, parameters, images, drop):
            logits, units = family.forward(self, parameters, images, drop)
            return -logits, units

    class Mixed(Part, family):
        pass

    class Renamed(family):
        pass

    options = {"head": "flatten", "tokens": "patches", "d_model": 8, "feedforward": 5, "depth": 1}
    network, mixed, twin, base = (
        kind("4", (1, 4, 4), 3, options) for kind in (Negative, Mixed, Renamed, family)
    )
    for other in (network, mixed):
        assert other.by_hand() is None
        assert not other.has_gradients_by_hand
    assert type(twin.by_hand()) is type(base.by_hand())
    assert twin.has_gradients_by_hand == (family is not ViT)
    parameters = {key: value.float().numpy() for key, value in draw(network).items()}
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4), np.uint8)
    expected = base.answer(parameters, pixels)[0]
    for other in (network, mixed):
        np.testing.assert_allclose(other.answer(parameters, pixels)[0], -expected, rtol=1e-5)
    np.testing.assert_array_equal(twin.answer(parameters, pixels)[0], expected)


def test_the_units_of_a_dnn_are_the_outputs_of_its_relus():
    network = models.build("dnn", "6x5", (1, 8, 8), 10, {})
    parameters, batch = draw(network), images((1, 8, 8))
    _, units = network.forward(parameters, batch, keep)
    module = dnn_modules(parameters)
    assert set(units) == {"fc1", "fc2"}
    torch.testing.assert_close(units["fc1"], module[:3](batch))
    torch.testing.assert_close(units["fc2"], module[:5](batch))


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
        "mlp1": (5, 16, 20),
        "mlp1_2": (5, 16, 20),
    }
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
    module = ViTModules(parameters, 4, options)
    module.encoders = nn.ModuleList([layer])
    torch.testing.assert_close(logits, module(batch))


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
        "patch",
        *block,
        *(f"{n}_2" for n in block),
        *(f"{n}_3" for n in block),
        "fc",
    ]


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "width", "shape", "options", "modules"),
    [
        (
            "dnn",
            "20x50",
            MNIST,
            {},
            lambda: (nn.Linear(784, 20), nn.Linear(20, 50), nn.Linear(50, 10)),
        ),
        (
            "cnn",
            "6",
            CIFAR10,
            {"head": "flatten"},
            lambda: (nn.Conv2d(3, 6, 3), nn.Linear(5400, 10)),
        ),
        (
            "vit",
            "8",
            MNIST,
            VIT,
            lambda: (
                nn.Linear(49, 784),
                nn.Embedding(16, 784),
                nn.TransformerEncoderLayer(784, 8),
                nn.Linear(784, 10),
            ),
        ),
        (
            "vit",
            "2",
            CIFAR10,
            VIT | {"depth": 2, "tokens": "single"},
            lambda: (
                nn.Linear(3072, 784),
                nn.Embedding(1, 784),
                nn.TransformerEncoderLayer(784, 2),
                nn.TransformerEncoderLayer(784, 2),
                nn.Linear(784, 10),
            ),
        ),
    ],
)
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
        (
            "vit",
            "8",
            MNIST,
            VIT | {"tokens": "single"},
            784 * 784 + 4 * 784**2 + 2 * 784 * 2048 + 7840,
        ),
    ],
)
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


OWN = '''
"""A network of torch's own modules."""

from collections import OrderedDict

from weightscape.models.base import Layer, Model, parse_count


class Own(Model):
    @staticmethod
    def check_width(width, options):
        parse_count(width, "units")

    def __init__(self, width, shape, classes, options):
        from torch import nn

        super().__init__(width, shape, classes, options)
        pixels, units = shape[0] * shape[1] * shape[2], int(width)
        self.layers = [Layer("inner", (units, pixels)), Layer("outer", (classes, units))]
        self.modules = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                inner=nn.Linear(pixels, units),
                tanh=nn.Tanh(),
                outer=nn.Linear(units, classes),
            )
        )

    def forward(self, parameters, images, drop):
        from torch.func import functional_call

        return functional_call(self.modules, parameters, (images,)), {}
'''


@pytest.fixture
def new_family(add_family):
    return add_family("linear", LINEAR)


@pytest.fixture
def add_family(tmp_path, monkeypatch):
    """Write a file to a folder where model families are looked for."""
    added = []

    def forget():
        models.families.cache_clear()
        configs.load_schema.cache_clear()
        for name in added:
            sys.modules.pop(f"weightscape.models.{name}", None)
        importlib.invalidate_caches()

    def add(name, text):
        added.append(name)
        (tmp_path / f"{name}.py").write_text(text)
        forget()
        return name

    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    yield add
    monkeypatch.undo()
    forget()


def test_families_are_the_files(new_family):
    assert set(models.families()) == {"cnn", "dnn", "linear", "vit"}


def test_the_families_of_the_paper_in_alphabetical_order():
    assert list(models.families()) == ["cnn", "dnn", "vit"] == list(models.TRIED)


def test_a_new_file_is_a_family_of_the_config(new_family, small):
    small["populations"][0] |= {"model": new_family, "widths": [1]}
    assert configs.check(small)["models"][new_family] == {"gain": 1.0}
    small["models"] = {new_family: {"gian": 2}}
    with pytest.raises(WeightscapeError, match="did you mean 'gain'"):
        configs.check(small)


@pytest.mark.parametrize(("name", "text"), [("linear", LINEAR), ("own", OWN)])
def test_a_new_file_is_trained_and_collected(name, text, add_family, dataset, tmp_path):
    from weightscape.engine.training import TrainingJob, train_shard
    from weightscape.runs.collecting import collect
    from weightscape.study.population import Population

    path = tmp_path / "seeds-0000-0001.h5"
    recipe = make_recipe(epochs=1, batch_size=10, options={"gain": 1.0})
    train_shard(
        TrainingJob(
            dataset=dataset,
            target=path,
            model=add_family(name, text),
            width="4",
            seeds=[0, 1],
            recipe=recipe,
            snapshot_epochs=[],
            device="cpu",
            threads=1,
        )
    )
    runs = collect(Population(name, "own", ("4",), 2), [str(path)])
    assert runs["seed"].tolist() == [0, 1]
    assert np.isfinite(runs["train_loss"]).all()


def linear_modules():
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc=nn.Linear(16, 3)))


def own_modules():
    inner, outer = nn.Linear(16, 4), nn.Linear(4, 3)
    return nn.Sequential(
        OrderedDict(flatten=nn.Flatten(), inner=inner, tanh=nn.Tanh(), outer=outer)
    )


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize(
    ("name", "text", "twin"), [("linear", LINEAR, linear_modules), ("own", OWN, own_modules)]
)
def test_runs_of_a_new_file_are_torch_s_own(name, text, twin, runs, add_family):
    case = Case(add_family(name, text), "4", (1, 4, 4), gain=1.0)
    starts, train = case.starts(runs), case.split(30)
    stack = by_autograd(case.network, starts, train, case.recipe())
    orders = [random_orders(runs, 30, seed=epoch) for epoch in range(3)]
    for each in orders:
        stack.train_epoch(each)
    for run, (start, found) in enumerate(zip(starts, stack.parameters(), strict=True)):
        module = twin().double()
        module.load_state_dict({name: torch.from_numpy(w) for name, w in start.items()})
        steps = [rows for each in orders for rows in batches(each[run])]
        train_modules(module, adam(module, 0.01), train, steps)
        for key, value in ours(module).items():
            np.testing.assert_allclose(found[key], value, 0, 2e-5, err_msg=key)


@pytest.mark.parametrize("name", ["dnn", "cnn", "vit"])
@pytest.mark.parametrize("width", ["020", "0", "00", "-4", "\uff14"])
def test_a_width_has_one_spelling(name, width):
    with pytest.raises(ValueError, match="whole number"):
        models.families()[name].check_width(width, VIT)


def links_and_layers(name, width, shape, options):
    network = models.build(name, width, shape, 10, options)
    return models.links_of(name, width, options), {layer.name: layer for layer in network.layers}


@pytest.mark.parametrize(
    ("name", "width", "options", "expected"),
    [
        ("dnn", "6x5", {}, [(("fc1",), "fc2", None, True), (("fc2",), "fc3", None, True)]),
        ("cnn", "3", {"head": "flatten"}, [(("conv1",), "fc", None, True)]),
        ("cnn", "3", {"head": "gap"}, [(("conv1",), "fc", None, True)]),
        (
            "vit",
            "4",
            SMALL,
            [
                (("query", "key", "value"), "attention_out", 4, True),
                (("value",), "attention_out", None, False),
                (("mlp1",), "mlp2", None, True),
            ],
        ),
    ],
)
def test_the_links_of_a_family(name, width, options, expected):
    assert [tuple(link) for link in models.links_of(name, width, options)] == expected


def test_later_encoder_layers_have_links_of_their_own():
    first, second = (models.links_of("vit", "2", SMALL | {"depth": depth}) for depth in (1, 2))
    assert second[:3] == first
    assert [(link.sources, link.target) for link in second[3:]] == [
        (("query_2", "key_2", "value_2"), "attention_out_2"),
        (("value_2",), "attention_out_2"),
        (("mlp1_2",), "mlp2_2"),
    ]


def test_a_family_that_is_not_known_has_no_links(add_family):
    assert models.links_of("strange", "3", {}) == []
    assert models.links_of(add_family("linear", LINEAR), "3", {"gain": 1.0}) == []


@pytest.mark.parametrize(("name", "width", "shape", "options"), CASES)
def test_the_columns_of_a_target_are_the_rows_of_its_sources_in_order(name, width, shape, options):
    links, layers = links_and_layers(name, width, shape, options)
    assert links
    for link in links:
        rows = {layers[source].shape[0] for source in link.sources}
        (nodes,) = rows  # all sources have as many
        parts = link.parts or nodes
        assert nodes % parts == 0
        assert layers[link.target].fan_in % nodes == 0  # a node may be read at several places
        assert layers[link.target].fan_in % parts == 0


def reordered(parameters, link, order):
    """By hand: the parts of a link in another order, in its sources and its target."""
    p = dict(parameters)
    for source in link.sources:
        for kind in ("weight", "bias"):
            rows = p[f"{source}.{kind}"]
            p[f"{source}.{kind}"] = torch.cat([rows.chunk(len(order))[part] for part in order])
    columns = p[f"{link.target}.weight"].chunk(len(order), dim=1)
    p[f"{link.target}.weight"] = torch.cat([columns[part] for part in order], dim=1)
    return p


def with_parts(case):
    """Each link of a network, with the number of its parts."""
    links, layers = links_and_layers(*case)
    return [(*case, link, link.parts or layers[link.sources[0]].shape[0]) for link in links]


LINKED = [linked for case in CASES for linked in with_parts(case)]
FREE = [(*case, link, parts) for *case, link, parts in LINKED if link.is_free]
SEVERAL = [(*case, link, parts) for *case, link, parts in LINKED if parts > 1]


@pytest.mark.parametrize(("name", "width", "shape", "options", "link", "parts"), FREE)
def test_the_parts_of_a_free_link_make_the_same_network_in_any_order(
    name, width, shape, options, link, parts
):
    network = models.build(name, width, shape, 10, options)
    parameters, batch = draw(network), images(shape)
    logits, _ = network.forward(parameters, batch, keep)
    order = torch.randperm(parts, generator=torch.Generator().manual_seed(0))
    mixed = reordered(parameters, link, order.roll(1).tolist())
    torch.testing.assert_close(network.forward(mixed, batch, keep)[0], logits)


@pytest.mark.parametrize(("name", "width", "shape", "options", "link", "parts"), SEVERAL)
def test_without_its_target_an_order_makes_another_network(
    name, width, shape, options, link, parts
):
    network = models.build(name, width, shape, 10, options)
    parameters, batch = draw(network), images(shape)
    logits, _ = network.forward(parameters, batch, keep)
    mixed = reordered(parameters, link, [*range(1, parts), 0])
    mixed[f"{link.target}.weight"] = parameters[f"{link.target}.weight"]
    other, _ = network.forward(mixed, batch, keep)
    assert (other - logits).abs().max() > 1e-3


def test_values_across_heads_have_an_order():
    case = ("vit", "4", (3, 12, 8), SMALL)
    network = models.build(*case[:3], 10, SMALL)
    parameters, batch = draw(network), images(case[2])
    logits, _ = network.forward(parameters, batch, keep)
    ((*_, link, parts),) = (linked for linked in with_parts(case) if not linked[4].is_free)
    mixed = reordered(parameters, link, [*range(1, parts), 0])
    other, _ = network.forward(mixed, batch, keep)
    assert (other - logits).abs().max() > 1e-3


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("name", ["dnn", "cnn", "vit"])
def test_names_of_layers_are_known_without_images(name, shape):
    options = {
        "dnn": {},
        "cnn": {"head": "flatten"},
        "vit": {"tokens": "patches", "d_model": 8, "feedforward": 12, "dropout": 0.1, "depth": 2},
    }[name]
    network = models.build(name, "2", shape, 10, options)
    expected = [layer.name for layer in network.layers]
    assert models.layer_names(name, "2", options) == expected
