"""What both ways to train a stack of runs promise, against torch.nn and torch.optim.Adam."""

import itertools
import math

import numpy as np
import pytest
import torch

from cases import (
    CNN,
    DNN,
    GAP,
    TRANSFORMER,
    VIT,
    Case,
    batches,
    by_autograd,
    by_blas,
    by_hand,
    random_orders,
    random_split,
    start_of,
)
from references import (
    active_units,
    adam,
    gradients,
    modules,
    ours,
    scaled,
    scores,
    tensors,
    train_modules,
)
from weightscape import models
from weightscape.engine import autograd
from weightscape.engine import by_hand as hand
from weightscape.engine.stack import Split

WIDE = Case("dnn", "24x30")
BY_HAND = [(case, by_hand, 1) for case in (DNN, WIDE, CNN)]
BY_AUTOGRAD = [(case, by_autograd, n) for case in (DNN, CNN, GAP, TRANSFORMER) for n in (1, 3)]
BY_BLAS = [(case, by_blas, 1) for case in (DNN, CNN, TRANSFORMER)]
STACKS = BY_HAND + BY_AUTOGRAD + BY_BLAS


def described(argument):
    return getattr(argument, "__name__", repr(argument))


every = pytest.mark.parametrize(("case", "make", "runs"), STACKS, ids=described)


def prepare(case, make, runs, n=50, **changes):
    """A stack of fresh runs, its training split, and each run from torch.nn."""
    starts, train = case.starts(runs), case.split(n)
    stack = make(case.network, starts, train, case.recipe(**changes))
    return stack, train, [modules(case.name, case.width, case.options, s) for s in starts]


def without_key_bias(arrays):
    """A key's bias adds the same to all of a query's scores: its gradient is rounding alone."""
    return {
        name: array
        for name, array in arrays.items()
        if not (name.startswith("key") and name.endswith("bias"))
    }


def distances(found, expected):
    """How far each parameter is from the expected one, as a share of that one's length."""
    assert set(found) == set(expected)
    return [
        np.linalg.norm(np.asarray(found[name]) - value) / np.linalg.norm(value)
        for name, value in without_key_bias(expected).items()
    ]


def assert_same(found, expected):
    """That two lists of runs have the same bytes."""
    for one, other in zip(found, expected, strict=True):
        assert set(one) == set(other)
        for name, value in other.items():
            assert one[name].tobytes() == value.tobytes(), name


# parameters


@every
def test_a_stack_begins_at_its_starts(case, make, runs):
    stack, _, _ = prepare(case, make, runs)
    for found, start in zip(stack.parameters(), case.starts(runs), strict=True):
        assert set(found) == set(start)
        for name, value in start.items():
            assert found[name].dtype == np.float32
            np.testing.assert_array_equal(found[name], value)


@every
def test_parameters_are_copies(case, make, runs):
    stack, train, _ = prepare(case, make, runs)
    first, second = stack.parameters(), stack.parameters()
    for array in itertools.chain(*(run.values() for run in first)):
        array[:] = 7
    assert_same(stack.parameters(), second)
    stack.train_epoch(random_orders(runs, len(train.labels)))
    for found, start in zip(second, case.starts(runs), strict=True):
        assert all(np.array_equal(found[name], value) for name, value in start.items())


@every
def test_training_leaves_the_given_starts_as_they_are(case, make, runs):
    starts, train = case.starts(runs), case.split(20)
    stack = make(case.network, starts, train, case.recipe())
    stack.train_epoch(random_orders(runs, 20))
    for start, other in zip(starts, case.starts(runs), strict=True):
        assert all(np.array_equal(value, other[name]) for name, value in start.items())


# training


@every
def test_training_is_torch_s_own(case, make, runs):
    # 10 epochs of 20 batches, the last of a single image; each run in its own order
    stack, train, theirs = prepare(case, make, runs, n=134, learning_rate=0.002)
    optimisers = [adam(module, 0.002) for module in theirs]
    for epoch in range(10):
        orders = random_orders(runs, 134, seed=epoch)
        found = stack.train_epoch(orders)
        for module, optimiser, order, score in zip(theirs, optimisers, orders, found, strict=True):
            losses = train_modules(module, optimiser, train, batches(order))
            sizes = [len(rows) for rows in batches(order)]
            assert score.loss == pytest.approx(np.average(losses, weights=sizes), rel=1e-5)
    for found, module, start in zip(stack.parameters(), theirs, case.starts(runs), strict=True):
        # float32 against float64: 1e-6 to 4e-6 of a parameter's length after 200 steps
        assert max(distances(found, ours(module))) < 2e-5
        assert min(distances(start, found)) > 0.01


@every
def test_a_batch_of_all_images_and_more(case, make, runs):
    stack, train, theirs = prepare(case, make, runs, n=9, batch_size=100)
    for epoch in range(5):
        orders = random_orders(runs, 9, seed=epoch)
        stack.train_epoch(orders)
    for found, module in zip(stack.parameters(), theirs, strict=True):
        train_modules(module, adam(module, 0.01), train, [list(range(9))] * 5)
        assert max(distances(found, ours(module))) < 2e-5


@every
def test_scores_of_training_are_means_over_all_images(case, make, runs):
    # of weights that stand still: each image counts the same, those of the last batch too
    stack, train, theirs = prepare(case, make, runs, n=30, learning_rate=1e-30)
    for _ in range(2):
        found = stack.train_epoch(random_orders(runs, 30))
        for score, module in zip(found, theirs, strict=True):
            assert score == pytest.approx(scores(module, train), rel=1e-5)


STEPS = [
    (DNN, by_hand),
    (WIDE, by_hand),
    (CNN, by_hand),
    (DNN, by_autograd),
    (CNN, by_autograd),
    (GAP, by_autograd),
    (TRANSFORMER, by_autograd),
    (Case("vit", "2", **VIT), by_autograd),
    (Case("vit", "2", **VIT), by_blas),
    (Case("vit", "4", **(VIT | {"dropout": 0.5, "depth": 2})), by_autograd),
]


@pytest.mark.parametrize("runs", [2, 5])
@pytest.mark.parametrize(("case", "alone"), STEPS, ids=described)
def test_runs_side_by_side_are_those_of_single_stacks(case, alone, runs):
    starts, train, recipe = case.starts(runs), case.split(20), case.recipe()
    together = by_autograd(case.network, starts, train, recipe)
    singles = [
        alone(case.network, [start], train, recipe, [run]) for run, start in enumerate(starts)
    ]
    for epoch in range(2):
        orders = random_orders(runs, 20, seed=epoch)
        scores_together = together.train_epoch(orders)
        for single, order, score in zip(singles, orders, scores_together, strict=True):
            assert single.train_epoch(order[None])[0] == pytest.approx(tuple(score), rel=1e-5)
    for found, single in zip(together.parameters(), singles, strict=True):
        # sums in another order: after six steps they part by 2e-6 of a parameter's length
        assert max(distances(found, single.parameters()[0])) < 1e-5


# evaluation


def assert_evaluation(stack, case, theirs, split):
    for found, module in zip(stack.evaluate(split), theirs, strict=True):
        assert found.scores == pytest.approx(scores(module, split), rel=1e-5)
        active = {layer: fired.tolist() for layer, fired in found.active.items()}
        assert active == active_units(case.name, module, split)
        assert_predicted(found, module, split)


def assert_predicted(found, module, split):
    """The classes of the highest outputs, but where rounding decides between two."""
    assert (found.predicted.dtype, found.predicted.shape) == (np.uint8, split.labels.shape)
    right = int((found.predicted == split.labels).sum())
    assert found.scores.accuracy == 100 * right / len(split.labels)
    with torch.no_grad():
        logits = module(scaled(split)).numpy()
    second, first = np.sort(logits, axis=1)[:, -2:].T
    clear = first - second > 1e-5 * np.abs(logits).max()
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(found.predicted[clear], logits.argmax(1)[clear])


@pytest.mark.parametrize("n", [1, 7, 99, 100, 101, 250, 1001])
@every
def test_evaluation_is_of_the_whole_split(case, make, runs, n):
    stack, _, theirs = prepare(case, make, runs)
    split = case.split(n, seed=1)
    assert_evaluation(stack, case, theirs, split)


@every
def test_some_units_are_dead_and_some_are_not_in_the_cases_above(case, make, runs):
    stack, _, _ = prepare(case, make, runs)
    found = [np.concatenate(list(one.active.values())) for one in stack.evaluate(case.split(1))]
    assert 0 < np.mean(found) < 1


@pytest.mark.parametrize("block", [1, 7, 1000])
@every
def test_evaluation_does_not_depend_on_its_blocks(case, make, runs, block, monkeypatch):
    for engine in (hand, autograd):
        monkeypatch.setattr(engine, "EVALUATED", block)
    stack, _, theirs = prepare(case, make, runs, batch_size=block)
    split = case.split(50, seed=1)
    assert_evaluation(stack, case, theirs, split)


@every
def test_evaluation_is_of_the_weights_of_the_moment(case, make, runs):
    stack, train, _ = prepare(case, make, runs)
    stack.train_epoch(random_orders(runs, len(train.labels)))
    for found, values in zip(stack.evaluate(train), stack.parameters(), strict=True):
        module = modules(case.name, case.width, case.options, tensors(values))
        assert found.scores == pytest.approx(scores(module, train), rel=1e-5)


@pytest.mark.parametrize("runs", [1, 2])
def test_the_first_of_equal_outputs_is_predicted_by_both_ways(runs):
    makers = (by_hand, by_autograd) if runs == 1 else (by_autograd,)
    starts, split = DNN.starts(runs), DNN.split(20)
    for start in starts:
        start["fc3.weight"][:] = 0
        start["fc3.bias"][:] = [1.0, 2.0, 2.0]
    for make in makers:
        for found in make(DNN.network, starts, split, DNN.recipe()).evaluate(split):
            assert found.predicted.tolist() == [1] * 20


@pytest.mark.parametrize(("classes", "dtype"), [(256, np.uint8), (257, np.uint16)])
@pytest.mark.parametrize("make", [by_hand, by_autograd])
def test_more_than_256_classes_take_two_bytes(make, classes, dtype):
    network = models.build("dnn", "4", (1, 4, 4), classes, {})
    split, start = random_split(9, classes=classes), start_of(network)
    start["fc3.bias"][-1] = 1000
    (found,) = make(network, [start], split, DNN.recipe()).evaluate(split)
    assert found.predicted.dtype == dtype
    assert found.predicted.tolist() == [classes - 1] * 9


@pytest.mark.parametrize(("head", "make"), [("flatten", by_hand), ("gap", by_autograd)])
def test_a_map_of_a_cnn_is_dead_where_no_place_of_any_image_fires(head, make):
    case = Case("cnn", "4", (1, 5, 5), head=head)
    (start,) = case.starts()
    start["conv1.bias"][:] = [0.0, 0.0, -1000.0, 1000.0]
    start["conv1.weight"][0] = -1
    start["conv1.weight"][1] = 1
    stack = make(case.network, [start], case.split(9), case.recipe())
    (found,) = stack.evaluate(case.split(20))
    assert found.active["conv1"].tolist() == [False, True, False, True]


# gradient norms


def layer_norms(case, module, split):
    found = gradients(module, split)
    return {
        layer.name: np.linalg.norm(found[f"{layer.name}.weight"]) for layer in case.network.layers
    }


@pytest.mark.parametrize("n", [1, 20, 1000, 1200])
@every
def test_gradient_norms_are_of_the_first_thousand_images(case, make, runs, n):
    stack, train, theirs = prepare(case, make, runs, n=n)
    head = Split(train.images[:1000], train.labels[:1000])
    for found, module in zip(stack.gradient_norms(), theirs, strict=True):
        assert found == pytest.approx(layer_norms(case, module, head), rel=1e-4)


@every
def test_images_behind_the_first_thousand_would_change_the_norms(case, make, runs):
    stack, train, theirs = prepare(case, make, runs, n=1200)
    for found, module in zip(stack.gradient_norms(), theirs, strict=True):
        assert found != pytest.approx(layer_norms(case, module, train), rel=1e-3)


@every
def test_measuring_changes_neither_the_weights_nor_the_training(case, make, runs):
    measured, train, _ = prepare(case, make, runs, learning_rate=0.1)
    other, _, _ = prepare(case, make, runs, learning_rate=0.1)
    for epoch in range(3):
        before = measured.parameters()
        measured.gradient_norms()
        measured.evaluate(train)
        assert_same(measured.parameters(), before)
        orders = random_orders(runs, len(train.labels), seed=epoch)
        assert measured.train_epoch(orders) == other.train_epoch(orders)
    assert_same(measured.parameters(), other.parameters())


# runs that fail


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@every
def test_a_weight_that_is_no_number_shows_in_every_score(case, make, runs, bad):
    first, last = case.network.layers[0].name, case.network.layers[-1].name
    for name in (f"{first}.weight", f"{first}.bias", f"{last}.bias"):
        starts, train = case.starts(runs), case.split(30)
        starts[-1][name].reshape(-1)[0] = bad
        stack = make(case.network, starts, train, case.recipe())
        assert not math.isfinite(stack.evaluate(train)[-1].scores.loss)
        assert math.isnan(stack.train_epoch(random_orders(runs, 30))[-1].loss)
        score, active, predicted = stack.evaluate(train)[-1]
        assert (predicted < 3).all()
        assert math.isnan(score.loss)
        assert 0 <= score.accuracy <= 100
        units = {layer.name: layer.shape[0] for layer in case.network.layers}
        assert all(len(fired) == units[layer] for layer, fired in active.items())
        assert all(math.isnan(norm) for norm in stack.gradient_norms()[-1].values())


@every
def test_nan_does_not_become_a_number_in_a_relu(case, make, runs):
    # the NaN of a unit must reach the loss, and not end as a zero of its ReLU
    starts, train = case.starts(runs), case.split(5)
    relu = {"dnn": "fc1", "cnn": "conv1", "vit": "mlp1"}[case.name]
    starts[-1][f"{relu}.bias"][0] = math.nan
    score, active, _ = make(case.network, starts, train, case.recipe()).evaluate(train)[-1]
    assert math.isnan(score.loss)
    assert not active[relu][0]
