"""Training, against torch.nn, torch.optim.Adam, plain numpy and scipy."""

import itertools
import math

import h5py
import numpy as np
import pytest
import torch
from read_damaged import texts_of
from scipy import stats
from torch import nn
from torch.nn.functional import cross_entropy

from weightscape import models, training
from weightscape.datasets import load
from weightscape.errors import WeightscapeError
from weightscape.models.dnn import DNN
from weightscape.study import CURVES
from weightscape.training import (
    Adam,
    RunKey,
    Split,
    choose_device,
    dropout,
    evaluate,
    gradient_norms,
    initialise,
    pixels,
    train_run,
    train_shard,
)

CPU = torch.device("cpu")
WIDTHS = ["6x5", "1", "20x5", "5x20", "24x30"]  # narrow and wide layers may be computed apart
KEY = RunKey("dnn", "own", "6x5", 0)
VIT = {"tokens": "patches", "d_model": 8, "feedforward": 12, "dropout": 0.1, "depth": 1}
NORMAL = {"weights": "normal", "std": 0.3, "biases": "uniform"}


def make_recipe(**changes):
    return {
        "version": 1,
        "options": {},
        "epochs": 3,
        "batch_size": 7,
        "optimiser": "adam",
        "learning_rate": 0.01,
        "initialisation": NORMAL,
    } | changes


def random_split(n, shape=(1, 4, 4), classes=3, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (n, *shape), dtype=np.uint8)
    return Split(torch.from_numpy(images), torch.from_numpy(random.integers(0, classes, n)))


@pytest.fixture
def network():
    return models.build("dnn", "6x5", (1, 4, 4), 3, {})


@pytest.fixture
def make(dataset, tmp_path):
    """Train a shard of the small dataset to a file; returns its path."""
    numbers = itertools.count()

    def train(seeds, model="dnn", width="6x5", snapshots=(0,), threads=1, **changes):
        target = tmp_path / f"{next(numbers)}.h5"
        options = {} if model == "dnn" else VIT
        train_shard(
            dataset=dataset, target=target, model=model, width=width, seeds=seeds,
            recipe=make_recipe(**({"options": options} | changes)), snapshots=list(snapshots),
            device="cpu", threads=threads,
        )  # fmt: skip
        return target

    return train


def contents(path, row=None):
    """Every array of a shard, or of one of its runs."""
    arrays = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()] if row is None else item[row]

    with h5py.File(path) as file:
        file.visititems(collect)
    return arrays


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), name


def modules(parameters, dtype=torch.float64):
    """The DNN from torch.nn with our numbers."""
    layers = []
    for name in ("fc1", "fc2", "fc3"):
        weight = parameters[f"{name}.weight"].detach()
        layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=dtype)
        layer.load_state_dict({"weight": weight, "bias": parameters[f"{name}.bias"].detach()})
        layers += [layer, nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def scaled(split):
    return split.images.double() / 255


def tensors(snapshot):
    return {name: torch.from_numpy(values) for name, values in snapshot.items()}


def assert_parameters(module, snapshot, tolerance):
    """That the module's parameters are those of a snapshot of a DNN."""
    for name, found in zip(("fc1", "fc2", "fc3"), module[1::2], strict=True):
        for kind in ("weight", "bias"):
            expected = getattr(found, kind).detach().numpy()
            np.testing.assert_allclose(snapshot[f"{name}.{kind}"], expected, 0, tolerance)


# numpy's DNN, for what is stored in a shard


def numpy_units(shard, row, images, epoch):
    """(hidden 1, hidden 2, logits) of images (n, ...) uint8, from the stored weights."""
    outputs, x = [], images.reshape(len(images), -1) / 255.0
    for layer in ("fc1", "fc2", "fc3"):
        weight = shard[f"epochs/{epoch}/{layer}/weight"][row].astype(float)
        x = x @ weight.T + shard[f"epochs/{epoch}/{layer}/bias"][row]
        outputs.append(x)
        x = np.maximum(x, 0)
    return np.maximum(outputs[0], 0), np.maximum(outputs[1], 0), outputs[2]


def numpy_scores(shard, row, split, epoch):
    """Mean loss and accuracy (%)."""
    images, labels = split
    logits = numpy_units(shard, row, images, epoch)[2]
    normaliser = np.log(np.exp(logits).sum(1))
    loss = (normaliser - logits[np.arange(len(labels)), labels]).mean()
    return loss, 100 * (logits.argmax(1) == labels).mean()


# gradients and the optimiser


def test_pixels_are_between_0_and_1():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    expected = np.arange(256, dtype=np.float32).reshape(1, 1, 16, 16) / np.float32(255)
    np.testing.assert_array_equal(pixels(images).numpy(), expected)


def test_gradient_norms_are_those_of_autograd(network):
    parameters = initialise(network, NORMAL, KEY.stream("init"))
    split = random_split(20)
    module = modules(parameters)
    cross_entropy(module(scaled(split)), split.labels).backward()
    found = gradient_norms(network, grown(parameters), split)
    for layer, expected in zip(("fc1", "fc2", "fc3"), module[1::2], strict=True):
        assert found[layer] == pytest.approx(expected.weight.grad.norm().item(), rel=1e-4)


def grown(parameters):
    return {name: value.clone().requires_grad_() for name, value in parameters.items()}


def test_gradient_norms_are_of_the_first_thousand_images(network):
    parameters = grown(initialise(network, NORMAL, KEY.stream("init")))
    split = random_split(1200)
    head = Split(split.images[:1000], split.labels[:1000])
    found, expected = (gradient_norms(network, parameters, s) for s in (split, head))
    assert found == pytest.approx(expected, rel=1e-4)


def test_measuring_gradients_does_not_touch_those_of_training(network):
    adam = Adam(initialise(network, NORMAL, KEY.stream("init")), 0.1, CPU)
    before = {name: value.detach().clone() for name, value in adam.parameters.items()}
    gradient_norms(network, adam.parameters, random_split(20))
    adam.step()
    for name, value in adam.parameters.items():
        assert torch.equal(value.detach(), before[name])


@pytest.mark.parametrize("learning_rate", [0.001, 0.3])
def test_adam_is_torch_s_adam(learning_rate):
    stream = torch.Generator().manual_seed(0)
    start = {
        name: torch.randn(shape, generator=stream)
        for name, shape in (("a.weight", (3, 4)), ("a.bias", (3,)), ("k", (2, 1, 3, 3)), ("s", ()))
    }
    ours = Adam(start, learning_rate, CPU)
    theirs = [value.clone().requires_grad_() for value in start.values()]
    optimiser = torch.optim.Adam(theirs, lr=learning_rate, foreach=False)
    for step in range(300):
        ours.zero_gradients()
        for parameter, (name, value) in zip(theirs, ours.parameters.items(), strict=True):
            # from far below eps = 1e-8 to far above 1, with steps of no gradient at all
            scale = 0.0 if step % 7 == 0 else 10.0 ** (step % 15 - 11)
            gradient = scale * torch.randn(parameter.shape, generator=stream)
            assert value.grad is not None, name
            value.grad += gradient
            parameter.grad = gradient
        ours.step()
        optimiser.step()
    for parameter, value in zip(theirs, ours.parameters.values(), strict=True):
        torch.testing.assert_close(value.detach(), parameter.detach(), rtol=1e-5, atol=1e-5)


def test_adam_s_first_step_by_hand():
    # m / (1 - b1) = g and v / (1 - b2) = g^2, so the step is lr g / (|g| + eps)
    adam = Adam({"x": torch.tensor([1.0, 1.0, 1.0])}, 0.1, CPU)
    adam.parameters["x"].grad.copy_(torch.tensor([2.0, -1e-8, 0.0]))
    adam.step()
    np.testing.assert_allclose(adam.parameters["x"].detach(), [0.9, 1.05, 1.0], rtol=1e-6)


def assert_near(found, expected):
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "width", "options"),
    [("dnn", width, {}) for width in WIDTHS],
)
def test_gradients_by_hand_are_those_of_autograd(model, width, options):
    network = models.build(model, width, (2, 6, 5), 3, options)
    adam = Adam(initialise(network, NORMAL, KEY.stream("init")), 0.1, CPU)
    exact = {name: value.detach().double().requires_grad_()
             for name, value in adam.parameters.items()}  # fmt: skip
    for batch in (1, 7, 40):
        kernel = network.kernel(adam.parameters, batch)
        for seed in range(2):  # the second time nothing of the first is left
            split = random_split(batch, (2, 6, 5), seed=seed)
            logits, _ = network.forward(exact, scaled(split), training.keep)
            loss = cross_entropy(logits, split.labels)
            expected = torch.autograd.grad(loss, list(exact.values()))
            targets = nn.functional.one_hot(split.labels, 3).float()
            assert_near(kernel(split.images, targets), logits.detach())
            for value, gradient in zip(adam.parameters.values(), expected, strict=True):
                assert_near(value.grad, gradient)


def test_adam_leaves_the_given_start_as_it_is():
    start = {"x": torch.ones(3)}
    adam = Adam(start, 0.1, CPU)
    adam.parameters["x"].grad.fill_(1)
    adam.step()
    assert torch.equal(start["x"], torch.ones(3))
    assert not torch.equal(adam.parameters["x"].detach(), start["x"])


@pytest.mark.parametrize("width", WIDTHS)
def test_training_on_whole_batches_is_torch_s_own(width):
    network = models.build("dnn", width, (1, 4, 4), 3, {})
    train, test = random_split(30), random_split(20, seed=1)
    recipe = make_recipe(epochs=12, batch_size=30, learning_rate=0.02)
    run = train_run(network, KEY, train, test, recipe, set(range(13)))
    module = modules(tensors(run.snapshots[0]))
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
    for epoch in range(1, 13):
        loss = cross_entropy(module(scaled(train)), train.labels)
        assert run.curves["train_loss"][epoch] == pytest.approx(loss.item(), rel=1e-5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        assert_parameters(module, run.snapshots[epoch], 2e-5)


def trained_in_order(start, split, batches, learning_rate):
    module = modules(tensors(start))
    optimiser = torch.optim.Adam(module.parameters(), lr=learning_rate)
    train_modules(module, optimiser, split, batches)
    return module


def train_modules(module, optimiser, split, batches):
    for rows in batches:
        optimiser.zero_grad()
        cross_entropy(module(scaled(split)[rows]), split.labels[rows]).backward()
        optimiser.step()


def distance(module, snapshot):
    """The largest difference of a weight."""
    pairs = zip(("fc1", "fc2", "fc3"), module[1::2], strict=True)
    return max(np.abs(snapshot[f"{name}.weight"] - layer.weight.detach().numpy()).max()
               for name, layer in pairs)  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
def test_training_on_batches_is_torch_s_own(width):
    # 23 batches an epoch, the last of six images, in the order that the seed gives
    network = models.build("dnn", width, (1, 4, 4), 3, {})
    train, orders = numbered_split(160), batches_of(3, width=width, n=160)
    run = train_run(network, KEY._replace(seed=3), train, train, make_recipe(), {1, 2, 3})
    module = modules(tensors(run.snapshots[0]))
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for epoch, batches in enumerate(orders, start=1):
        train_modules(module, optimiser, train, batches)
        assert_parameters(module, run.snapshots[epoch], 1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_a_smaller_last_batch_is_trained_on(network, seed):
    # three images in batches of two: the run must be one of the three ways to do that
    train = random_split(3)
    recipe = make_recipe(epochs=1, batch_size=2, learning_rate=0.1)
    run = train_run(network, KEY._replace(seed=seed), train, train, recipe, set())
    ways = [
        trained_in_order(run.snapshots[0], train, [list({0, 1, 2} - {last}), [last]], 0.1)
        for last in range(3)
    ]
    distances = [
        max(
            np.abs(
                run.snapshots[1][f"fc{n}.weight"] - module[2 * n - 1].weight.detach().numpy()
            ).max()
            for n in (1, 2, 3)
        )
        for module in ways
    ]
    assert sorted(distances)[0] < 1e-5 < sorted(distances)[1]


def test_a_cnn_and_a_vit_learn(dataset, make):
    for model, width, options in (("cnn", "4", {"head": "flatten"}), ("vit", "2", VIT)):
        path = make([0], model, width, options=options, epochs=40, learning_rate=0.01)
        with h5py.File(path) as shard:
            assert shard["final/train_accuracy"][0] > 80
            assert shard["final/train_loss"][0] < shard["curves/train_loss"][0, 0] / 2


# randomness


def test_the_same_seed_gives_the_same_bytes(make):
    first, second = make([3, 4]), make([3, 4])
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("model", ["dnn", "vit"])
def test_a_run_does_not_know_of_its_shard(make, model):
    width = "6x5" if model == "dnn" else "2"
    together = make([2, 5, 3], model, width)
    for row, seed in enumerate([2, 5, 3]):
        assert_same(contents(together, row), contents(make([seed], model, width), 0))
    assert_same(contents(together, 2), contents(make([3, 2], model, width), 0))


def test_the_global_random_state_does_not_matter(make):
    first = contents(make([0], "vit", "2"))
    torch.manual_seed(12345)
    np.random.seed(12345)  # noqa: NPY002
    torch.rand(7)
    assert_same(contents(make([0], "vit", "2")), first)


def start_of(path):
    return {name: a for name, a in contents(path).items() if "/0/" in name}


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 1},
        {"batch_size": 30},
        {"learning_rate": 0.5},
        {"options": VIT | {"dropout": 0.0}},
        {"options": VIT | {"dropout": 0.7}},
    ],
)
def test_the_initialisation_has_a_stream_of_its_own(make, changes):
    assert_same(start_of(make([0], "vit", "2", **changes)), start_of(make([0], "vit", "2")))


class Spy(DNN):
    """Notes which images each batch of training holds; an image's first pixel is its number."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.batches = []

    def kernel(self, parameters, batch):
        return None  # so that training goes through forward

    def forward(self, parameters, images, drop):
        if drop is not training.keep:
            self.batches.append((images[:, 0, 0, 0] * 255).round().int().tolist())
        return super().forward(parameters, images, drop)


def numbered_split(n):
    split = random_split(n)
    split.images[:, 0, 0, 0] = torch.arange(n)
    return split


def batches_of(seed, epochs=3, batch_size=7, n=30, rate=0.5, std=0.3, width="6x5"):
    """The batches of each epoch."""
    train, spy = numbered_split(n), Spy(width, (1, 4, 4), 3, {})
    recipe = make_recipe(epochs=epochs, batch_size=batch_size, options={"dropout": rate},
                         initialisation=NORMAL | {"std": std})  # fmt: skip
    train_run(spy, RunKey("dnn", "own", "6x5", seed), train, train, recipe, set())
    per_epoch = math.ceil(n / batch_size)
    return [spy.batches[e * per_epoch : (e + 1) * per_epoch] for e in range(epochs)]


def test_an_epoch_is_every_image_once_in_batches_of_the_recipe():
    epochs = batches_of(0)
    for batches in epochs:
        assert [len(batch) for batch in batches] == [7, 7, 7, 7, 2]
        assert sorted(itertools.chain(*batches)) == list(range(30))


def test_shuffles_differ_between_epochs_and_seeds():
    orders = [tuple(itertools.chain(*epoch)) for seed in range(4) for epoch in batches_of(seed)]
    assert len(set(orders)) == 12
    assert tuple(range(30)) not in orders


@pytest.mark.parametrize("changes", [{"rate": 0.1}, {"std": 0.01}, {"epochs": 1}])
def test_shuffles_have_a_stream_of_their_own(changes):
    assert batches_of(0, **changes)[0] == batches_of(0)[0]


def test_each_image_is_first_as_often_as_another():
    firsts = [torch.randperm(5, generator=KEY._replace(seed=s).stream("shuffle"))[0].item()
              for s in range(500)]  # fmt: skip
    assert stats.chisquare(np.bincount(firsts, minlength=5)).pvalue > 0.001


def test_every_run_and_purpose_has_its_own_stream():
    keys = [
        RunKey(model, dataset, width, seed)
        for model in ("dnn", "cnn")
        for dataset in ("mnist", "digits")
        for width in ("1", "11", "1x1")
        for seed in (0, 1, 11)
    ]
    draws = [
        tuple(torch.rand(4, generator=key.stream(purpose)).tolist())
        for key in keys
        for purpose in ("init", "shuffle", "dropout")
    ]
    assert len(set(draws)) == len(draws) == 108


def test_a_run_draws_each_purpose_from_its_own_stream(network, monkeypatch):
    asked, stream = [], RunKey.stream

    def note(key, purpose):
        asked.append((key, purpose))
        return stream(key, purpose)

    monkeypatch.setattr(RunKey, "stream", note)
    train_run(network, KEY, random_split(9), random_split(9), make_recipe(), set())
    assert sorted(asked) == [(KEY, purpose) for purpose in ("dropout", "init", "shuffle")]


def test_streams_do_not_correlate():
    drawn = torch.stack(
        [torch.randn(20_000, generator=KEY._replace(seed=s).stream("init")) for s in range(6)]
    )
    off = np.corrcoef(drawn.numpy())[np.triu_indices(6, 1)]
    # a correlation of independent draws has a standard deviation of 1/sqrt(n)
    assert np.abs(off).max() < 4 / math.sqrt(20_000)


# initialisation


@pytest.fixture(scope="module")
def wide():
    """A network wide enough for statistics: 784 x 100 + 100 x 200 + 200 x 10 weights."""
    return models.build("dnn", "100x200", (1, 28, 28), 10, {})


@pytest.mark.parametrize("std", [0.01, 0.05, 1.0])
def test_weights_start_normal(wide, std):
    how = {"weights": "normal", "std": std, "biases": "uniform"}
    parameters = initialise(wide, how, KEY.stream("init"))
    for layer in wide.layers:
        values = parameters[f"{layer.name}.weight"].numpy().ravel()
        # the mean of n draws has std / sqrt(n), their standard deviation std / sqrt(2 n)
        assert abs(values.mean()) < 4 * std / math.sqrt(values.size)
        assert abs(values.std() - std) < 4 * std / math.sqrt(2 * values.size)
        assert stats.kstest(np.asarray(values), stats.norm(0, std).cdf).pvalue > 0.001


def test_biases_start_uniform_by_fan_in():
    network = models.build("dnn", "40x25", (1, 10, 10), 10, {})
    drawn = [initialise(network, NORMAL, KEY._replace(seed=s).stream("init")) for s in range(60)]
    for layer, fan_in in (("fc1", 100), ("fc2", 40), ("fc3", 25)):
        bound = 1 / math.sqrt(fan_in)
        values = torch.cat([parameters[f"{layer}.bias"] for parameters in drawn]).numpy()
        assert 0.97 * bound < np.abs(values).max() <= bound * (1 + 1e-6)
        assert stats.kstest(np.asarray(values), stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.001


def test_biases_can_start_at_zero_with_the_same_kind_of_weights(network):
    parameters = initialise(network, NORMAL | {"biases": "zero"}, KEY.stream("init"))
    for layer in network.layers:
        assert not parameters[f"{layer.name}.bias"].any()
        assert parameters[f"{layer.name}.weight"].all()


def test_a_bias_of_a_convolution_counts_the_whole_kernel():
    network = models.build("cnn", "2000", (4, 5, 5), 3, {"head": "gap"})
    bias = initialise(network, NORMAL, KEY.stream("init"))["conv1.bias"]
    assert 0.97 / 6 < bias.abs().max() <= 1 / 6 + 1e-6  # fan_in is 4 x 3 x 3


def test_positions_start_normal_and_norms_at_identity():
    network = models.build("vit", "2", (1, 8, 8), 3, VIT | {"d_model": 200})
    parameters = initialise(network, NORMAL, KEY.stream("init"))
    position = parameters["position"].numpy().ravel()
    assert stats.kstest(np.asarray(position), stats.norm(0, 0.3).cdf).pvalue > 0.001
    for norm in ("norm1", "norm2"):
        assert torch.equal(parameters[f"{norm}.weight"], torch.ones(200))
        assert torch.equal(parameters[f"{norm}.bias"], torch.zeros(200))


def test_all_weights_are_drawn_apart(wide):
    parameters = initialise(wide, NORMAL, KEY.stream("init"))
    values = torch.cat([value.ravel() for value in parameters.values()]).numpy()
    # float32 has few enough normals that some meet by chance, and no more than that
    assert len(np.unique(values)) > 0.98 * values.size


# dropout


def test_dropout_keeps_its_share_and_the_mean():
    drop = dropout(0.3, KEY.stream("dropout"))
    dropped = drop(torch.ones(100_000))
    kept = dropped[dropped != 0]
    assert torch.allclose(kept, torch.tensor(1 / 0.7))
    assert abs(len(kept) / 100_000 - 0.7) < 4 * math.sqrt(0.3 * 0.7 / 100_000)
    assert not torch.equal(drop(torch.ones(100_000)), dropped)


def test_dropout_comes_from_the_run_s_stream():
    first, again = (dropout(0.5, KEY.stream("dropout"))(torch.ones(50)) for _ in range(2))
    assert torch.equal(first, again)


def test_no_dropout_at_rate_0():
    x = torch.randn(9)
    assert torch.equal(dropout(0.0, KEY.stream("dropout"))(x), x)


def test_dropout_is_for_training_alone(make, dataset):
    # the first column and the final numbers come without: two evaluations give the same
    path = make([0], "vit", "2", options=VIT | {"dropout": 0.6}, epochs=2)
    images = load(dataset)
    network = models.build("vit", "2", images.shape, images.classes, VIT | {"dropout": 0.6})
    stored = contents(path, 0)
    for epoch, name in ((0, "curves/train_loss"), (2, "final/train_loss")):
        parameters = {
            name.split("/", 2)[2].replace("/", "."): torch.from_numpy(values)
            for name, values in stored.items()
            if name.startswith((f"epochs/{epoch}/", f"auxiliary/{epoch}/"))
        }
        loss, _ = evaluate(network, parameters, Split(*map(torch.from_numpy, images.train)))
        assert np.ravel(stored[name])[0] == pytest.approx(loss, rel=1e-5)


# what is recorded


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """Three runs of a DNN with every epoch's weights."""
    path = tmp_path_factory.mktemp("trained") / "s.h5"
    train_shard(
        dataset=dataset, target=path, model="dnn", width="6x5", seeds=[4, 5, 6],
        recipe=make_recipe(epochs=5), snapshots=list(range(6)), device="cpu", threads=1,
    )  # fmt: skip
    return path


def test_the_first_column_is_before_training(trained, dataset):
    images = load(dataset)
    with h5py.File(trained) as shard:
        for row, split in itertools.product(range(3), ("train", "test")):
            loss, accuracy = numpy_scores(shard, row, getattr(images, split), 0)
            assert shard[f"curves/{split}_loss"][row, 0] == pytest.approx(loss, rel=1e-5)
            assert shard[f"curves/{split}_accuracy"][row, 0] == pytest.approx(accuracy, rel=1e-6)


def test_test_curves_are_after_each_epoch(trained, dataset):
    test = load(dataset).test
    with h5py.File(trained) as shard:
        for row, epoch in itertools.product(range(3), range(6)):
            loss, accuracy = numpy_scores(shard, row, test, epoch)
            assert shard["curves/test_loss"][row, epoch] == pytest.approx(loss, rel=1e-5)
            assert shard["curves/test_accuracy"][row, epoch] == pytest.approx(accuracy, rel=1e-6)


def test_final_numbers_are_those_of_the_stored_weights(trained, dataset):
    images = load(dataset)
    with h5py.File(trained) as shard:
        for row, split in itertools.product(range(3), ("train", "test")):
            loss, accuracy = numpy_scores(shard, row, getattr(images, split), 5)
            assert shard[f"final/{split}_loss"][row] == pytest.approx(loss, rel=1e-5)
            assert shard[f"final/{split}_accuracy"][row] == pytest.approx(accuracy, rel=1e-6)


def test_train_curves_are_means_over_all_images_of_an_epoch(make, dataset):
    # with weights that stand still, each epoch's mean is that of the whole split, last batch too
    path = make([0, 1], learning_rate=1e-30, batch_size=7)
    train = load(dataset).train
    with h5py.File(path) as shard:
        for row in range(2):
            loss, accuracy = numpy_scores(shard, row, train, 0)
            np.testing.assert_allclose(shard["curves/train_loss"][row], loss, rtol=1e-5)
            np.testing.assert_allclose(shard["curves/train_accuracy"][row], accuracy, rtol=1e-6)


def test_train_curves_are_from_while_it_trained(network):
    # with one batch an epoch, an epoch's training loss is that of the weights before it
    split = random_split(30)
    run = train_run(network, KEY, split, split, make_recipe(batch_size=30, epochs=6), set())
    for kind in ("loss", "accuracy"):
        train, test = run.curves[f"train_{kind}"], run.curves[f"test_{kind}"]
        np.testing.assert_allclose(train[1:], test[:-1], rtol=1e-5)


def test_dead_units_by_brute_force(trained, dataset):
    test = load(dataset).test[0]
    with h5py.File(trained) as shard:
        for row, epoch in itertools.product(range(3), range(6)):
            hidden = numpy_units(shard, row, test, epoch)
            for layer, outputs in zip(("fc1", "fc2"), hidden[:2], strict=True):
                dead = sum(not any(image[unit] > 0 for image in outputs)
                           for unit in range(outputs.shape[1]))  # fmt: skip
                found = shard[f"telemetry/dead_units/{layer}"][row, epoch]
                assert found == pytest.approx(dead / outputs.shape[1], abs=1e-6)


def test_some_units_are_dead_in_the_case_above(trained):
    with h5py.File(trained) as shard:
        shares = np.concatenate(
            [shard["telemetry/dead_units/fc1"], shard["telemetry/dead_units/fc2"]]
        )
    assert 0 < shares.mean() < 1


def test_a_map_of_a_cnn_is_dead_where_no_place_of_any_image_fires():
    network = models.build("cnn", "4", (1, 5, 5), 3, {"head": "gap"})
    parameters = initialise(network, NORMAL | {"biases": "zero"}, KEY.stream("init"))
    parameters["conv1.weight"][0] = -1
    parameters["conv1.weight"][1] = 1
    parameters["conv1.bias"][2] = -1000
    parameters["conv1.bias"][3] = 1000
    active = {}
    evaluate(network, parameters, random_split(20, (1, 5, 5)), active)
    assert active["conv1"].tolist() == [False, True, False, True]


def test_gradient_norms_are_recorded_after_each_epoch(trained, dataset):
    images, labels = load(dataset).train
    inputs, labels = torch.from_numpy(images).double() / 255, torch.from_numpy(labels)
    with h5py.File(trained) as shard:
        for row, epoch in itertools.product(range(3), (0, 3, 5)):
            module = modules(
                {f"{layer}.{kind}": torch.from_numpy(shard[f"epochs/{epoch}/{layer}/{kind}"][row])
                 for layer in ("fc1", "fc2", "fc3") for kind in ("weight", "bias")}
            )  # fmt: skip
            cross_entropy(module(inputs), labels).backward()
            for layer, linear in zip(("fc1", "fc2", "fc3"), module[1::2], strict=True):
                found = shard[f"telemetry/gradient_norm/{layer}"][row, epoch]
                assert found == pytest.approx(linear.weight.grad.norm().item(), rel=1e-3)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_evaluation_does_not_depend_on_its_blocks(network, monkeypatch, block):
    monkeypatch.setattr(training, "EVALUATION_BLOCK", block)
    parameters = initialise(network, NORMAL, KEY.stream("init"))
    split, active = random_split(50), {}
    loss, accuracy = evaluate(network, parameters, split, active)
    module = modules(parameters)
    logits = module(scaled(split))
    assert loss == pytest.approx(cross_entropy(logits, split.labels).item(), rel=1e-6)
    assert accuracy == pytest.approx(
        100 * (logits.argmax(1) == split.labels).double().mean().item()
    )
    assert torch.equal(active["fc1"], (module[:3](scaled(split)) > 0).any(0))
    assert torch.equal(active["fc2"], (module[:5](scaled(split)) > 0).any(0))


@pytest.mark.parametrize(("snapshots", "kept"), [([], {0, 5}), ([2], {0, 2, 5}), ([0, 5], {0, 5})])
def test_the_weights_of_the_named_epochs_are_kept(make, trained, snapshots, kept):
    path = make([4], epochs=5, snapshots=snapshots)
    with h5py.File(path) as shard, h5py.File(trained) as every:
        assert set(map(int, shard["epochs"])) == kept
        for epoch, layer in itertools.product(kept, ("fc1", "fc2", "fc3")):
            name = f"epochs/{epoch}/{layer}/weight"
            assert shard[name][0].tobytes() == every[name][0].tobytes()


def test_weights_move_in_every_layer_and_epoch(trained):
    with h5py.File(trained) as shard:
        for epoch, layer in itertools.product(range(5), ("fc1", "fc2", "fc3")):
            before, after = (shard[f"epochs/{e}/{layer}/weight"][()] for e in (epoch, epoch + 1))
            assert (before != after).any(axis=(1, 2)).all()


@pytest.mark.parametrize("tokens", ["single", "patches"])
def test_query_and_key_stand_still_for_a_single_token(make, tokens):
    path = make([0], "vit", "2", options=VIT | {"tokens": tokens}, epochs=2)
    stored = contents(path)
    for layer in ("query", "key", "value", "attention_out", "mlp1", "patch"):
        moved = (stored[f"epochs/0/{layer}/weight"] != stored[f"epochs/2/{layer}/weight"]).any()
        assert moved == (tokens == "patches" or layer not in ("query", "key"))


def test_the_shard_is_the_contract_s(trained, dataset):
    found = contents(trained)
    shapes = {"fc1": (6, 16), "fc2": (5, 6), "fc3": (3, 5)}
    for epoch, (layer, shape) in itertools.product(range(6), shapes.items()):
        weight, bias = (found[f"epochs/{epoch}/{layer}/{kind}"] for kind in ("weight", "bias"))
        assert (weight.shape, weight.dtype) == ((3, *shape), np.float32)
        assert (bias.shape, bias.dtype) == ((3, shape[0]), np.float32)
    for name in CURVES:
        assert found[f"curves/{name}"].shape == (3, 6)
        assert found[f"final/{name}"].shape == (3,)
    assert found["seed"].tolist() == [4, 5, 6]
    with h5py.File(trained) as shard:
        attributes = texts_of(shard.attrs)
    expected = {"model": "dnn", "dataset": "own", "width": "6x5", "final_epoch": 5}
    assert {key: attributes[key] for key in expected} == expected
    assert attributes["dataset_digest"] == load(dataset).digest
    assert "cpu" in attributes["device"]


# runs that fail


def test_a_run_that_turns_to_nan_is_recorded(make):
    path = make([0, 1], width="50", initialisation=NORMAL | {"std": 1e30})
    found = contents(path)
    assert np.isnan(found["final/train_loss"]).all()
    assert np.isnan(found["curves/test_loss"][:, -1]).all()
    assert ((found["final/test_accuracy"] >= 0) & (found["final/test_accuracy"] <= 100)).all()
    assert not np.isnan(found["epochs/0/fc1/weight"]).any()


def test_a_run_that_turns_to_nan_in_training_is_recorded(make):
    path = make([0], width="50", learning_rate=1e30)
    found = contents(path)
    assert np.isnan(found["final/train_loss"]).all()
    assert np.isfinite(found["curves/train_loss"][:, 0]).all()


def test_a_run_of_nan_does_not_spoil_its_neighbours(make, monkeypatch):
    alone = [contents(make([seed], width="50"), 0) for seed in (0, 2)]
    start, calls = training.initialise, itertools.count()

    def second_explodes(*arguments):
        parameters = start(*arguments)
        factor = 1e30 if next(calls) == 1 else 1
        return {name: factor * value for name, value in parameters.items()}

    monkeypatch.setattr(training, "initialise", second_explodes)
    path = make([0, 1, 2], width="50")
    assert np.isnan(contents(path, 1)["final/train_loss"])
    assert_same(contents(path, 0), alone[0])
    assert_same(contents(path, 2), alone[1])


def test_a_failed_training_leaves_no_shard(make, monkeypatch, tmp_path):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(training, "evaluate", fail)
    with pytest.raises(MemoryError):
        make([0])
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU
    with pytest.raises(WeightscapeError, match="device"):
        choose_device("cuda")
