"""Training, from seeds to shards, against torch.nn, torch.optim.Adam, plain numpy and scipy."""

import hashlib
import itertools
import json
import math
import subprocess
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from scipy import stats

from cases import CNN, GAP, KEY, NORMAL, TRANSFORMER, VIT, make_recipe, random_split
from cases import DNN as SMALL_DNN
from originals import needs_originals
from read_damaged import texts_of
from references import (
    adam,
    dnn_modules,
    gradients,
    modules,
    ours,
    scores,
    tensors,
    train_modules,
)
from weightscape import models
from weightscape.engine import autograd, devices, memory, streams, training
from weightscape.engine.autograd import AutogradStack
from weightscape.engine.by_hand import HandStack
from weightscape.engine.devices import choose_device
from weightscape.engine.stack import Split
from weightscape.engine.streams import RunKey, draw_orders, initialise
from weightscape.engine.training import TrainingJob, train_shard, train_stack
from weightscape.errors import WeightscapeError
from weightscape.kernels.dnn import DNNByHand
from weightscape.kernels.floats import flush_denormals
from weightscape.models.dnn import DNN
from weightscape.storage.images import load
from weightscape.storage.shards import CURVES, open_shard

OPTIONS = {"dnn": {}, "cnn": {"head": "flatten"}, "vit": VIT}
WIDTHS = ["6x5", "1", "20x5", "5x20", "24x30"]  # narrow and wide layers may be computed apart


def train_run(network, key, train, test, recipe, snapshots):
    (record,) = train_stack(network, [key], train, test, recipe, snapshots)
    return record


@pytest.fixture
def network():
    return models.build("dnn", "6x5", (1, 4, 4), 3, {})


@pytest.fixture
def make(dataset, tmp_path):
    """Train a shard of the small dataset to a file; returns its path."""
    numbers = itertools.count()

    def train(seeds, model="dnn", width="6x5", snapshots=(0,), threads=1, **changes):
        target = tmp_path / f"{next(numbers)}.h5"
        train_shard(
            TrainingJob(
                dataset=dataset,
                target=target,
                model=model,
                width=width,
                seeds=seeds,
                recipe=make_recipe(**({"options": OPTIONS[model]} | changes)),
                snapshot_epochs=list(snapshots),
                device="cpu",
                threads=threads,
            )
        )
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


def assert_parameters(module, snapshot, tolerance):
    """That the module's parameters are those of a snapshot."""
    for name, expected in ours(module).items():
        np.testing.assert_allclose(snapshot[name], expected, 0, tolerance, err_msg=name)


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


# against torch's own training


@pytest.mark.parametrize("width", WIDTHS)
def test_training_on_whole_batches_is_torch_s_own(width):
    network = models.build("dnn", width, (1, 4, 4), 3, {})
    train, test = random_split(30), random_split(20, seed=1)
    recipe = make_recipe(epochs=12, batch_size=30, learning_rate=0.02)
    run = train_run(network, KEY, train, test, recipe, set(range(13)))
    module = dnn_modules(tensors(run.snapshots[0]))
    optimiser = adam(module, 0.02)
    for epoch in range(1, 13):
        (loss,) = train_modules(module, optimiser, train, [list(range(30))])
        assert run.curves["train_loss"][epoch] == pytest.approx(loss, rel=1e-5)
        assert_parameters(module, run.snapshots[epoch], 2e-5)


def trained_in_order(start, split, batches, learning_rate):
    module = dnn_modules(tensors(start))
    train_modules(module, adam(module, learning_rate), split, batches)
    return ours(module)


@pytest.mark.parametrize("width", WIDTHS)
def test_training_on_batches_is_torch_s_own(width):
    # 23 batches an epoch, the last of six images, in the order that the seed gives
    network = models.build("dnn", width, (1, 4, 4), 3, {})
    train, orders = numbered_split(160), batches_of(SpyByHand, 3, width=width, n=160)
    run = train_run(network, KEY._replace(seed=3), train, train, make_recipe(), {1, 2, 3})
    module = dnn_modules(tensors(run.snapshots[0]))
    optimiser = adam(module, 0.01)
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
        max(np.abs(run.snapshots[1][name] - value).max() for name, value in way.items())
        for way in ways
    ]
    assert sorted(distances)[0] < 1e-5 < sorted(distances)[1]


def test_a_cnn_and_a_vit_learn(make):
    for model, width in (("cnn", "4"), ("vit", "2")):
        path = make([0], model, width, epochs=40, learning_rate=0.01)
        with h5py.File(path) as shard:
            assert shard["final/train_accuracy"][0] > 80
            assert shard["final/train_loss"][0] < shard["curves/train_loss"][0, 0] / 2


# randomness


def test_the_same_seed_gives_the_same_bytes(make):
    first, second = make([3, 4]), make([3, 4])
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("model", "width"), [("dnn", "6x5"), ("cnn", "4"), ("vit", "2")])
def test_runs_of_other_seeds_share_no_weight(make, model, width):
    one, other = (contents(make([seed], model, width), 0) for seed in (0, 1))
    weights = [name for name in one if name.endswith("weight") and "norm" not in name]
    assert len(weights) >= 4
    assert not any((one[name] == other[name]).any() for name in weights)


@pytest.mark.parametrize(("model", "width"), [("dnn", "6x5"), ("cnn", "4"), ("vit", "2")])
def test_a_run_does_not_know_of_its_shard(make, model, width):
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

    def by_hand(self):
        return None  # so that training goes through forward

    def forward(self, parameters, images, drop):
        if torch.is_grad_enabled() and drop is not autograd.keep:
            self.batches.append((images[:, 0, 0, 0] * 255).round().int().tolist())
        return super().forward(parameters, images, drop)


class SpyByHand(Spy):
    def by_hand(self):
        return NotingByHand(self.batches)


class NotingByHand(DNNByHand):
    def __init__(self, noted):
        self.noted = noted

    def train(self, images, labels, batches, first_step, learning_rate, parameters):
        if learning_rate:  # and not where gradients are measured
            self.noted += [images[rows, 0].tolist() for rows in batches]
        return super().train(images, labels, batches, first_step, learning_rate, parameters)


spies = pytest.mark.parametrize("spy", [Spy, SpyByHand])


def numbered_split(n):
    split = random_split(n)
    split.images[:, 0, 0, 0] = np.arange(n)
    return split


def batches_of(spy, seed, epochs=3, batch_size=7, n=30, rate=0.5, std=0.3, width="6x5"):
    """The batches of each epoch."""
    options = {"dropout": rate}
    train, spy = numbered_split(n), spy(width, (1, 4, 4), 3, options)
    recipe = make_recipe(
        epochs=epochs, batch_size=batch_size, options=options, initialisation=NORMAL | {"std": std}
    )
    train_run(spy, RunKey("dnn", "own", "6x5", seed), train, train, recipe, set())
    per_epoch = math.ceil(n / batch_size)
    return [spy.batches[e * per_epoch : (e + 1) * per_epoch] for e in range(epochs)]


@spies
def test_an_epoch_is_every_image_once_in_batches_of_the_recipe(spy):
    epochs = batches_of(spy, 0)
    for batches in epochs:
        assert [len(batch) for batch in batches] == [7, 7, 7, 7, 2]
        assert sorted(itertools.chain(*batches)) == list(range(30))


def test_shuffles_differ_between_epochs_and_seeds():
    orders = [
        tuple(itertools.chain(*epoch)) for seed in range(4) for epoch in batches_of(Spy, seed)
    ]
    assert len(set(orders)) == 12
    assert tuple(range(30)) not in orders


@spies
@pytest.mark.parametrize("changes", [{"rate": 0.1}, {"std": 0.01}, {"epochs": 1}])
def test_shuffles_have_a_stream_of_their_own(spy, changes):
    assert batches_of(spy, 0, **changes)[0] == batches_of(SpyByHand, 0)[0]


@pytest.mark.parametrize("n_rooms", [0, 2])
def test_orders_drawn_ahead_are_those_of_the_runs_own_streams(n_rooms):
    keys = [KEY._replace(seed=seed) for seed in (3, 1)]
    rooms = [np.empty((2, 20), np.int32) for _ in range(n_rooms)]
    drawn = draw_orders([key.stream("shuffle") for key in keys], 20, 5, rooms)
    streams = [key.stream("shuffle") for key in keys]
    epochs = 0
    for orders in drawn:
        assert orders.dtype == np.int32
        for order, stream in zip(orders, streams, strict=True):
            # what has been handed out stays as it is while the next is drawn
            assert order.tolist() == stream.permutation(20).tolist()
        epochs += 1
    assert epochs == 5


def test_each_image_is_first_as_often_as_another():
    firsts = [
        next(draw_orders([KEY._replace(seed=s).stream("shuffle")], 5, 1))[0, 0] for s in range(500)
    ]
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
        tuple(key.stream(purpose).random(4).tolist())
        for key in keys
        for purpose in ("init", "shuffle", "dropout")
    ]
    assert len(set(draws)) == len(draws) == 108


@pytest.mark.parametrize("purpose", ["init", "shuffle", "dropout"])
@pytest.mark.parametrize("seed", [0, 7, 123])
def test_a_plain_run_s_streams_are_of_its_seed(seed, purpose):
    """By the formula of docs/shard.md: another one would be other weights for the same recipe."""
    text = f'["dnn","mnist","20x50",{seed},"{purpose}"]'
    number = int(hashlib.sha256(text.encode()).hexdigest(), 16)
    seeds = np.random.SeedSequence(number, pool_size=8)
    expected = np.random.Generator(np.random.PCG64DXSM(seeds))
    stream = RunKey("dnn", "mnist", "20x50", seed).stream(purpose)
    assert stream.random(9).tolist() == expected.random(9).tolist()


@pytest.mark.parametrize("bit", range(0, 256, 5))
def test_streams_of_hashes_that_differ_in_any_bit_differ(bit, monkeypatch):
    # a generator that takes some bits of its seed alone gives two of a million runs the same start
    digest, other = bytes(32), (1 << bit).to_bytes(32)
    drawn = []
    for found in (digest, other):
        monkeypatch.setattr(
            streams.hashlib,
            "sha256",
            lambda text, found=found: SimpleNamespace(digest=lambda: found),
        )
        drawn.append(KEY.stream("init").random(4).tolist())
    assert not set(drawn[0]) & set(drawn[1])


def test_crossed_runs_share_an_initialisation_or_an_order():
    keys = [KEY._replace(seed=seed, n_shuffle_seeds=4) for seed in range(12)]
    for key in keys:
        plain = [KEY._replace(seed=key.seed // 4), *[KEY._replace(seed=key.seed % 4)] * 2]
        for purpose, other in zip(("init", "shuffle", "dropout"), plain, strict=True):
            assert key.stream(purpose).random() == other.stream(purpose).random()


def train_crossed(dataset, target, seeds, **changes):
    train_shard(
        TrainingJob(
            dataset=dataset,
            target=target,
            model="dnn",
            width="6x5",
            seeds=seeds,
            recipe=make_recipe(**changes),
            snapshot_epochs=[0],
            device="cpu",
            threads=1,
        )
    )
    with open_shard(target) as shard:
        return [shard.run(row) for row in range(len(seeds))], shard.stream_seeds


def test_crossed_seeds_reach_the_weights(dataset, tmp_path):
    runs, streams = train_crossed(dataset, tmp_path / "s.h5", list(range(6)), shuffle_seeds=3)
    assert streams == {"init": [0, 0, 0, 1, 1, 1], "shuffle": [0, 1, 2, 0, 1, 2]}
    starts = [tuple(run.snapshots[0]["fc1.weight"].ravel()) for run in runs]
    assert [starts.index(start) for start in starts] == [0, 0, 0, 3, 3, 3]
    assert len({tuple(run.snapshots[3]["fc1.weight"].ravel()) for run in runs}) == 6


def test_where_both_seeds_are_equal_a_crossed_run_is_the_plain_one(dataset, tmp_path):
    crossed, _ = train_crossed(dataset, tmp_path / "c.h5", [0, 4, 8], shuffle_seeds=3)
    plain, streams = train_crossed(dataset, tmp_path / "p.h5", [0, 1, 2])
    assert streams == {"init": [0, 1, 2], "shuffle": [0, 1, 2]}
    for one, other in zip(crossed, plain, strict=True):
        for name, values in other.snapshots[3].items():
            np.testing.assert_array_equal(one.snapshots[3][name], values)


@pytest.mark.parametrize(
    ("network", "purposes"),
    [(SMALL_DNN.network, ["init", "shuffle"]), (GAP.network, ["dropout", "init", "shuffle"])],
    ids=["by hand", "by autograd"],
)
def test_a_run_draws_each_purpose_from_its_own_stream(network, purposes, monkeypatch):
    asked, stream = [], RunKey.stream

    def note(key, purpose):
        asked.append((key, purpose))
        return stream(key, purpose)

    monkeypatch.setattr(RunKey, "stream", note)
    split = random_split(9, network.shape)
    train_run(network, KEY, split, split, make_recipe(), set())
    assert sorted(asked) == [(KEY, purpose) for purpose in purposes]


def test_streams_do_not_correlate():
    drawn = [KEY._replace(seed=s).stream("init").standard_normal(20_000) for s in range(6)]
    off = np.corrcoef(drawn)[np.triu_indices(6, 1)]
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
        values = parameters[f"{layer.name}.weight"].ravel()
        # the mean of n draws has std / sqrt(n), their standard deviation std / sqrt(2 n)
        assert abs(values.mean()) < 4 * std / math.sqrt(values.size)
        assert abs(values.std() - std) < 4 * std / math.sqrt(2 * values.size)
        assert stats.kstest(np.asarray(values), stats.norm(0, std).cdf).pvalue > 0.001


def test_weights_can_start_as_those_of_torch(wide):
    how = {"weights": "uniform", "std": 0.3, "biases": "uniform"}
    parameters = initialise(wide, how, KEY.stream("init"))
    for layer in wide.layers:
        values = parameters[f"{layer.name}.weight"]
        of_torch = torch.nn.Linear(*reversed(layer.shape)).weight.detach().numpy()
        assert values.shape == of_torch.shape
        assert np.abs(values).max() == pytest.approx(np.abs(of_torch).max(), rel=0.01)
        assert stats.ks_2samp(values.ravel(), of_torch.ravel()).pvalue > 0.001


def test_biases_start_uniform_by_fan_in():
    network = models.build("dnn", "40x25", (1, 10, 10), 10, {})
    drawn = [initialise(network, NORMAL, KEY._replace(seed=s).stream("init")) for s in range(60)]
    for layer, fan_in in (("fc1", 100), ("fc2", 40), ("fc3", 25)):
        bound = 1 / math.sqrt(fan_in)
        values = np.concatenate([parameters[f"{layer}.bias"] for parameters in drawn])
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
    assert 0.97 / 6 < np.abs(bias).max() <= 1 / 6 + 1e-6  # fan_in is 4 x 3 x 3


def test_positions_start_normal_and_norms_at_identity():
    network = models.build("vit", "2", (1, 8, 8), 3, VIT | {"d_model": 200})
    parameters = initialise(network, NORMAL, KEY.stream("init"))
    position = parameters["position"].ravel()
    assert stats.kstest(np.asarray(position), stats.norm(0, 0.3).cdf).pvalue > 0.001
    for norm in ("norm1", "norm2"):
        np.testing.assert_array_equal(parameters[f"{norm}.weight"], np.ones(200))
        np.testing.assert_array_equal(parameters[f"{norm}.bias"], np.zeros(200))


def test_all_weights_are_drawn_apart(wide):
    parameters = initialise(wide, NORMAL, KEY.stream("init"))
    values = np.concatenate([value.ravel() for value in parameters.values()])
    # float32 has few enough normals that some meet by chance, and no more than that
    assert len(np.unique(values)) > 0.98 * values.size


# dropout


def test_dropout_is_for_training_alone(make, dataset):
    # the first column and the final numbers come without: they are those of torch's modules
    options = VIT | {"dropout": 0.6}
    stored = contents(make([0], "vit", "2", options=options, epochs=2), 0)
    split = Split(*load(dataset).train)
    for epoch, name in ((0, "curves/train_loss"), (2, "final/train_loss")):
        parameters = {
            name.split("/", 2)[2].replace("/", "."): torch.from_numpy(values)
            for name, values in stored.items()
            if name.startswith((f"epochs/{epoch}/", f"auxiliary/{epoch}/"))
        }
        loss, _ = scores(modules("vit", "2", options, parameters), split)
        assert np.ravel(stored[name])[0] == pytest.approx(loss, rel=1e-5)


# what is recorded


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """Three runs of a DNN with every epoch's weights."""
    path = tmp_path_factory.mktemp("trained") / "s.h5"
    train_shard(
        TrainingJob(
            dataset=dataset,
            target=path,
            model="dnn",
            width="6x5",
            seeds=[4, 5, 6],
            recipe=make_recipe(epochs=5),
            snapshot_epochs=list(range(6)),
            device="cpu",
            threads=1,
        )
    )
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


def test_predictions_are_those_of_the_final_weights(trained, dataset):
    images, labels = load(dataset).test
    with h5py.File(trained) as shard:
        predictions = shard["predictions/test"][()]
        assert (predictions.dtype, predictions.shape) == (np.uint8, (3, len(labels)))
        for row in range(3):
            logits = numpy_units(shard, row, images, 5)[2]
            assert predictions[row].tolist() == [int(np.argmax(image)) for image in logits]
        before = [numpy_units(shard, row, images, 4)[2].argmax(1) for row in range(3)]
    assert (predictions != before).any()


@pytest.mark.parametrize("model", ["dnn", "cnn", "vit"])
def test_the_share_of_right_predictions_is_the_final_accuracy(make, dataset, model):
    labels = load(dataset).test[1]
    found = contents(make([0, 1, 2], model, {"dnn": "6x5", "cnn": "3", "vit": "2"}[model]))
    accuracy = 100 * (found["predictions/test"] == labels).sum(1) / len(labels)
    np.testing.assert_array_equal(found["final/test_accuracy"], accuracy.astype(np.float32))


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
                dead = sum(
                    not any(image[unit] > 0 for image in outputs)
                    for unit in range(outputs.shape[1])
                )
                found = shard[f"telemetry/dead_units/{layer}"][row, epoch]
                assert found == pytest.approx(dead / outputs.shape[1], abs=1e-6)


def test_some_units_are_dead_in_the_case_above(trained):
    with h5py.File(trained) as shard:
        shares = np.concatenate(
            [shard["telemetry/dead_units/fc1"], shard["telemetry/dead_units/fc2"]]
        )
    assert 0 < shares.mean() < 1


def test_gradient_norms_are_recorded_after_each_epoch(trained, dataset):
    split = Split(*load(dataset).train)
    with h5py.File(trained) as shard:
        for row, epoch in itertools.product(range(3), (0, 3, 5)):
            module = dnn_modules(
                {
                    f"{layer}.{kind}": torch.from_numpy(
                        shard[f"epochs/{epoch}/{layer}/{kind}"][row]
                    )
                    for layer in ("fc1", "fc2", "fc3")
                    for kind in ("weight", "bias")
                }
            )
            expected = gradients(module, split)
            for layer in ("fc1", "fc2", "fc3"):
                found = shard[f"telemetry/gradient_norm/{layer}"][row, epoch]
                assert found == pytest.approx(np.linalg.norm(expected[f"{layer}.weight"]), rel=1e-3)


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

    monkeypatch.setattr(HandStack, "evaluate", fail)
    with pytest.raises(MemoryError):
        make([0])
    assert list(tmp_path.iterdir()) == []


TRAIN = """
import json, sys
from pathlib import Path
from weightscape.engine.training import TrainingJob, train_shard

arguments = json.loads(sys.argv[1])
train_shard(TrainingJob(**{**arguments, "dataset": Path(sys.argv[2]), "target": Path(sys.argv[3])}))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize(("model", "width", "with_torch"), [("dnn", "6x5", 0), ("vit", "2", 1)])
def test_gradients_by_hand_need_no_torch(dataset, tmp_path, model, width, with_torch):
    """Its import would be two thirds of a job's time and three quarters of its memory."""
    arguments = {
        "model": model,
        "width": width,
        "seeds": [0],
        "recipe": make_recipe(options=OPTIONS[model]),
        "snapshot_epochs": [0],
        "device": "auto" if choose_device("auto") == "cpu" else "cpu",
        "threads": 1,
    }
    command = [sys.executable, "-c", TRAIN, json.dumps(arguments), dataset, tmp_path / "s.h5"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout))
    assert {"numba", "h5py"} <= imported
    assert ("torch" in imported) == bool(with_torch)
    assert not {"pandas", "matplotlib", "sklearn", "jsonschema"} & imported
    with open_shard(tmp_path / "s.h5") as shard:
        told = shard.header.software
    # what the bytes depend on, and nothing else
    asked_of_torch = {"torch", "cpu_capability", "products"}
    assert asked_of_torch & set(told) == (asked_of_torch if with_torch else set())
    assert {"numpy", "numba", "blas", "libc", "processor", "instructions", "threads"} <= set(told)


def test_a_gpu_is_looked_for_where_there_may_be_one(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked.append(1) or True)
    monkeypatch.setattr(devices, "GPU_NODES", [tmp_path / "none", tmp_path / "nvidiactl"])
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    assert not asked
    (tmp_path / "nvidiactl").touch()
    assert choose_device("auto") == choose_device("cuda") == "cuda"
    assert choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"


def test_the_smallest_floats_are_taken_for_zero_in_training():
    tiny = np.full(3, 1e-30, np.float32)
    for on, expected in ((True, 0.0), (False, np.float32(1e-40))):
        flush_denormals(on)
        assert (tiny * np.float32(1e-10)).tolist() == [expected] * 3
        # and a denormal that is there already
        assert (np.full(3, 1e-40, np.float32) * np.float32(2)).tolist() == [2 * expected] * 3
    devices.make_deterministic("cpu", 1, with_torch=False)
    assert not (tiny * np.float32(1e-10)).any()


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(WeightscapeError, match="device"):
        choose_device("cuda")


# many runs


@pytest.mark.parametrize(
    ("case", "runs", "expected"),
    [
        (SMALL_DNN, 1, HandStack),
        (CNN, 1, HandStack),
        (SMALL_DNN, 2, AutogradStack),
        (CNN, 2, AutogradStack),
        (GAP, 1, AutogradStack),
        (TRANSFORMER, 1, AutogradStack),
    ],
    ids=repr,
)
def test_single_runs_go_by_hand_where_their_family_can(case, runs, expected):
    keys = [KEY._replace(seed=seed) for seed in range(runs)]
    stack = training.make_stack(case.network, keys, case.split(9), case.recipe(), "cpu")
    assert type(stack) is expected
    for found, start in zip(stack.parameters(), case.starts(runs), strict=True):
        assert all(np.array_equal(found[name], value) for name, value in start.items())


@pytest.mark.parametrize("case", [SMALL_DNN, CNN, TRANSFORMER], ids=repr)
def test_records_of_runs_side_by_side_are_those_of_single_runs(case):
    train, test, recipe = case.split(20), case.split(9, seed=1), case.recipe(epochs=2)
    keys = [KEY._replace(seed=seed) for seed in (4, 2, 7)]
    together = train_stack(case.network, keys, train, test, recipe, {1})
    for key, record in zip(keys, together, strict=True):
        alone = train_run(case.network, key, train, test, recipe, {1})
        assert record.seed == key.seed
        assert record.final == pytest.approx(alone.final, rel=1e-5)
        assert set(record.snapshots) == {0, 1, 2}
        for kind in ("curves", "telemetry"):
            found, expected = getattr(record, kind), getattr(alone, kind)
            assert set(found) == set(expected)
            for name, values in expected.items():
                np.testing.assert_allclose(found[name], values, 1e-4, 1e-6, err_msg=name)
        assert record.predictions["test"].tolist() == alone.predictions["test"].tolist()
        start = alone.snapshots[0]
        assert all(np.array_equal(record.snapshots[0][name], start[name]) for name in start)


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_a_shard_of_several_stacks_holds_every_run_in_its_place(make, monkeypatch, size):
    seeds = [4, 2, 7, 0, 1]
    alone = [contents(make([seed]), 0) for seed in seeds]
    sizes, train = [], training.train_stack

    def note(network, keys, *others):
        sizes.append(len(keys))
        return train(network, keys, *others)

    monkeypatch.setattr(training, "_runs_at_once", lambda *_: size)
    monkeypatch.setattr(training, "train_stack", note)
    path = make(seeds)
    assert sizes == {1: [1] * 5, 2: [2, 2, 1], 3: [3, 2], 10: [5]}[size]
    for row, expected in enumerate(alone):
        found = contents(path, row)
        assert set(found) == set(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, 1e-3, 1e-4, err_msg=name)


class Told:
    """What train_stack tells of its progress."""

    def __init__(self):
        self.lines = []

    def epoch(self, *line):
        self.lines.append(line)


def test_progress_is_told_at_the_end_of_each_epoch(network):
    told, keys = Told(), [KEY, KEY._replace(seed=1)]
    split = random_split(9)
    train_stack(network, keys, split, split, make_recipe(), set(), told)
    assert told.lines == [(2, 1, 3), (2, 2, 3), (2, 3, 3)]


def test_the_log_has_each_run_s_accuracies_and_the_progress(make, caplog):
    caplog.set_level("INFO", "weightscape")
    found = contents(make([5, 3]))
    for row, seed in enumerate((5, 3)):
        (line,) = (text for text in caplog.messages if text.startswith(f"seed {seed}:"))
        for split in ("train", "test"):
            assert f"{split} {found[f'final/{split}_accuracy'][row]:.2f} %" in line
    assert any(text.startswith("2 of 2 runs") for text in caplog.messages)


# memory


def test_one_run_at_once_on_the_cpu(make, monkeypatch):
    sizes, train = [], training.train_stack

    def note(network, keys, *others):
        sizes.append(len(keys))
        return train(network, keys, *others)

    monkeypatch.setattr(training, "train_stack", note)
    make([0, 1, 2])
    assert sizes == [1, 1, 1]


@pytest.fixture
def on_gpu(monkeypatch):
    """Runs at once by `memory_mb`, each 1000 bytes of the GPU's 10^6 and 1 MiB of the host's."""
    monkeypatch.setattr(memory, "bytes_per_run", lambda *_: memory.Bytes(1000.0, 2.0**20))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10**6, 10**9))
    used = SimpleNamespace(ru_maxrss=500 * 1024)  # in KiB
    monkeypatch.setattr(memory.resource, "getrusage", lambda who: used)
    return lambda memory_mb: memory.runs_at_once(None, {}, None, memory_mb)


@pytest.mark.parametrize(
    ("memory_mb", "runs"), [(None, 800), (10_000, 800), (600, 100), (501, 1), (500, 1), (100, 1)]
)
def test_as_many_runs_at_once_as_fit_the_gpu_and_the_host(on_gpu, memory_mb, runs):
    # four fifths of what is free on the GPU; of the host what the job does not use already
    assert on_gpu(memory_mb) == runs


def bytes_of(width, n=100, **changes):
    network = models.build("dnn", width, (1, 8, 8), 10, {})
    return memory.bytes_per_run(network, make_recipe(**changes), random_split(n, (1, 8, 8)))


def test_bytes_of_a_run_grow_linearly_with_its_layers():
    # of fc2 50 x h, fc3 h x 10: 62 more parameters and one more unit for each h
    for kind in ("device", "host"):
        sizes = [getattr(bytes_of(f"50x{h}"), kind) for h in (10, 20, 30, 130)]
        step = sizes[1] - sizes[0]
        assert sizes[2] - sizes[1] == pytest.approx(step)
        assert sizes[3] - sizes[2] == pytest.approx(10 * step)
        # at the least the value, its gradient and two moments; two snapshots on the host
        assert step >= 10 * 61 * 4 * {"device": 4, "host": 2}[kind]


def test_bytes_of_a_run_hold_what_training_needs():
    n, batch = 1000, 32
    found = bytes_of("20", n, batch_size=batch)
    weights = 64 * 20 + 20 + 20 * 20 + 20 + 20 * 10 + 10
    activations = batch * 4 * (64 + 20 + 20 + 10)
    least = 4 * 4 * weights + activations + 4 * n
    assert least < found.device < 4 * least
    least = 2 * 4 * weights + 4 * n
    assert least < found.host < 4 * least


def test_bytes_of_a_run_grow_with_batch_and_images():
    small, large = bytes_of("20", batch_size=100), bytes_of("20", batch_size=200)
    # a batch's pixels, its outputs of three layers and what ReLU keeps of two, at the least
    assert large.device - small.device >= 100 * 4 * (64 + 2 * 20 + 2 * 20)
    assert large.host == small.host
    more, fewer = bytes_of("20", 1000), bytes_of("20", 100)
    # an order of int32, and the answers of an evaluation twice
    assert more.device - fewer.device == 900 * (4 + 2)
    assert more.host - fewer.host >= 900 * 4


# levels


@needs_originals
@pytest.mark.parametrize(
    ("model", "width", "options", "epochs"),
    [("dnn", "100", {}, 2), ("cnn", "8", {"head": "flatten"}, 4)],
)
def test_accuracy_on_mnist_is_that_of_the_literature(originals, model, width, options, epochs):
    # LeCun et al. 1998 (Proc. IEEE 86), test errors of networks that see whole images: 12.0 % for
    # one layer, 4.7 % and 4.5 % with 300 and 1000 hidden units, 3.05 % with 300 + 100, and 1.7 %
    # for the smallest convolutional one; fewer units in few epochs are between the first and last
    images = originals("mnist")
    network = models.build(model, width, images.shape, images.classes, options)
    recipe = make_recipe(
        options=options,
        epochs=epochs,
        batch_size=100,
        learning_rate=0.001,
        initialisation=NORMAL | {"std": 0.05},
    )
    train, test = Split(*images.train), Split(*images.test)
    # seeds scatter: after four epochs the first five CNNs are at 93.9, 96.5, 96.8, 95.0 and 96.1 %
    run = train_run(network, KEY._replace(seed=1), train, test, recipe, set())
    assert 95 <= run.final["test_accuracy"] <= 98.5
    assert 95 <= run.final["train_accuracy"] <= 99
    assert run.final["test_loss"] < 0.17
