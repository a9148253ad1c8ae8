"""Gradients by hand and the loops they are made of, against numpy, torch.nn and torch.optim."""

import math

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from cases import CNN, KEY, NORMAL, by_hand, random_orders, random_split
from references import adam, gradients, modules, ours, scaled, train_modules
from weightscape import models
from weightscape.engine.streams import initialise
from weightscape.kernels import primitives
from weightscape.kernels.cnn import KEPT_BYTES, CNNByHand
from weightscape.kernels.dnn import DNNByHand
from weightscape.kernels.primitives import Parameter

TYPES = [np.float32, np.float64]
NAN, INF = math.nan, math.inf

# one signature for whatever lies in memory in whatever way, so that few are compiled
MATRICES = "void({0}[:,:], {0}[:,:], {0}[:,:]{1})"


@numba.njit([MATRICES.format(number, ", i8") for number in ("f4", "f8")], cache=True)
def product(a, b, out, start):
    primitives.product(a, b, out, start)


@numba.njit([MATRICES.format(number, "") for number in ("f4", "f8")], cache=True)
def multiply(a, b, out):
    primitives.multiply(a, b, out)


def at_rest(value):
    return Parameter(value, np.zeros_like(value), np.zeros_like(value))


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# products


def block(rows, columns, transposed, around, dtype, seed):
    """A matrix of normals that is a block of a larger one, and what lies around it."""
    if transposed:
        matrix, whole = block(columns, rows, False, around, dtype, seed)
        return matrix.T, whole
    whole = normal(rows + 2 * around, columns + 3 * around, seed=seed, dtype=dtype)
    return whole[around : around + rows, around : around + columns], whole


def assert_product(found, exact, a, b):
    """That a sum of products is as exact as its number type lets it be."""
    bound = np.abs(a).astype(float) @ np.abs(b).astype(float) + np.abs(exact)
    assert (np.abs(found - exact) <= 4 * np.finfo(found.dtype).eps * bound).all()


SIZES = st.integers(1, 40)


@given(
    SIZES,
    SIZES,
    SIZES,
    st.booleans(),
    st.booleans(),
    st.integers(0, 2),
    st.integers(0, 1),
    st.sampled_from(TYPES),
)
def test_product_of_blocks(rows, inner, columns, a_turned, b_turned, around, start, dtype):
    a, _ = block(rows, inner, a_turned, around, dtype, 0)
    b, _ = block(inner, columns, b_turned, around, dtype, 1)
    out, whole = block(rows, columns, False, around, dtype, 2)
    before, frame = out.astype(float), whole.copy()
    product(a, b, out, start)
    assert_product(out, start * before + a.astype(float) @ b.astype(float), a, b)
    frame[around : around + rows, around : around + columns] = out
    np.testing.assert_array_equal(whole, frame)


def in_order(dtype, transposed, rows, columns):
    if transposed:
        return normal(columns, rows, dtype=dtype).T
    return normal(rows, columns, dtype=dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("a_turned", [False, True])
@pytest.mark.parametrize("b_turned", [False, True])
@pytest.mark.parametrize(
    "sizes", [(1, 4, 5), (4, 1, 5), (4, 5, 1), (1, 1, 5), (1, 5, 1), (5, 1, 1), (1, 1, 1)]
)
def test_product_where_a_side_is_one(sizes, a_turned, b_turned, dtype):
    # strides of an axis of one tell nothing of the order in memory
    rows, inner, columns = sizes
    a, b = in_order(dtype, a_turned, rows, inner), in_order(dtype, b_turned, inner, columns)
    out = np.full((rows, columns), 7, dtype)
    product(a, b, out, 0)
    assert_product(out, a.astype(float) @ b.astype(float), a, b)


@pytest.mark.parametrize("start", [0, 1])
def test_product_reads_what_was_there_only_if_told_to(start):
    out = np.full((3, 4), NAN)
    product(np.ones((3, 2)), np.ones((2, 4)), out, start)
    np.testing.assert_array_equal(out, np.full((3, 4), NAN if start else 2.0))


def assert_multiply(rows, inner, columns, b_turned, dtype):
    a, b = normal(rows, inner, dtype=dtype), in_order(dtype, b_turned, inner, columns)
    out = np.full((rows, columns), NAN, dtype)
    multiply(a, b, out)
    assert_product(out, a.astype(float) @ b.astype(float), a, b)


@given(SIZES, st.integers(1, 900), st.integers(1, 120), st.booleans(), st.sampled_from(TYPES))
def test_multiply(rows, inner, columns, b_turned, dtype):
    assert_multiply(rows, inner, columns, b_turned, dtype)


# 12 x 834 x 100 multiply-adds are the first over SMALL_PRODUCT; 256 rows the last that are cut
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("b_turned", [False, True])
@pytest.mark.parametrize(
    ("rows", "inner", "columns"),
    [
        (12, 833, 100),
        (12, 834, 100),
        (8, 1250, 100),
        (8, 1251, 100),
        (13, 3072, 100),
        (256, 3072, 100),
        (257, 3072, 100),
        (300, 784, 100),
        (300, 784, 1),
        (1, 3072, 1000),
        (5, 3, 200_000),
        (2, 5, 1_100_000),
    ],
)
def test_multiply_in_blocks(rows, inner, columns, b_turned, dtype):
    assert_multiply(rows, inner, columns, b_turned, dtype)


@given(st.integers(1, 600), st.sampled_from([8, 12]), st.integers(1, 5000), st.integers(1, 2000))
def test_blocks_are_the_largest_that_are_small(rows, high, long, short):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(primitives, "HAS_SMALL_KERNELS", True)
        tall, part = primitives.cut.py_func(rows, high, long, short)
    if (tall, part) == (rows, long) and tall > high:
        # the whole: only where the long side would have been cut, and many rows pay for copies
        assert rows > primitives.WIDE
        assert high * long * short > primitives.SMALL_PRODUCT - high * short
    else:
        assert tall == min(high, rows)
        assert part == 1 or high * part * short <= primitives.SMALL_PRODUCT
        assert part == long or high * (part + 1) * short > primitives.SMALL_PRODUCT
        assert 1 <= part <= long


@given(st.integers(1, 600), st.sampled_from([8, 12]), st.integers(1, 5000), st.integers(1, 2000))
def test_nothing_is_cut_without_kernels_for_small_products(rows, high, long, short):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(primitives, "HAS_SMALL_KERNELS", False)
        assert primitives.cut.py_func(rows, high, long, short) == (rows, long)


# the loops


def test_gathered_pixels_are_shares_of_255_in_the_order_of_the_rows():
    images = np.arange(256, dtype=np.uint8).reshape(4, 64)
    labels, rows = np.array([5, 6, 7, 8]), np.array([3, 0, 3])
    for dtype in TYPES:
        x, y = np.empty((3, 64), dtype), np.empty(3, np.int64)
        primitives.gather(images, labels, rows, x, y)
        np.testing.assert_array_max_ulp(x, images[rows].astype(dtype) / dtype(255), 1)
        assert y.tolist() == [8, 5, 8]


def test_bias_and_relu():
    outputs = np.array([[-1.0, 0.5, 2.0], [NAN, INF, -INF]])
    primitives.add_bias_and_rectify(outputs, np.array([-1.0, 1.0]))
    np.testing.assert_array_equal(outputs, [[0.0, 0.0, 1.0], [NAN, INF, 0.0]])


def test_back_through_a_relu():
    outputs = np.array([[0.0, 1e-300, 2.0], [0.0, NAN, INF]])
    delta, gradient = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]), np.empty(2)
    primitives.through_relu(delta, outputs, gradient)
    np.testing.assert_array_equal(delta, [[0.0, 2.0, 4.0], [0.0, 16.0, 32.0]])
    np.testing.assert_array_equal(gradient, [6.0, 48.0])


def loss_by_hand(logits, bias, labels):
    """Summed loss, right answers, the mean loss's gradients by logits and bias, and the answers."""
    images = len(labels)
    work, gradient = logits.T.copy(order="C"), np.empty_like(bias)
    top, total = np.empty(images, logits.dtype), np.empty(images, logits.dtype)
    answers = np.full(images, -1)
    loss, right = primitives.cross_entropy(work, bias, labels, top, total, answers)
    primitives.through_cross_entropy(work, labels, total, gradient)
    return loss, right, work.T, gradient, answers


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("images", [1, 7, 100])
def test_cross_entropy_is_torch_s(images, scale, dtype):
    logits, bias = scale * normal(images, 10), normal(10, seed=1)
    labels = np.arange(images) * 7 % 10
    found = loss_by_hand(logits.astype(dtype), bias.astype(dtype), labels)
    summed = torch.from_numpy(logits.astype(dtype) + bias.astype(dtype)).double().requires_grad_()
    loss = cross_entropy(summed, torch.from_numpy(labels), reduction="sum")
    (expected,) = torch.autograd.grad(loss / images, summed)
    rounding = 20 * float(np.finfo(dtype).eps)
    assert found[0] == pytest.approx(loss.item(), rel=rounding, abs=rounding * images)
    answers = summed.detach().numpy().argmax(1)
    assert found[1] == (answers == labels).sum()
    np.testing.assert_array_equal(found[4], answers)
    np.testing.assert_allclose(found[2], expected, 0, rounding / images)
    np.testing.assert_allclose(found[3], expected.sum(0), 0, rounding)


def test_the_first_of_equal_logits_is_the_answer():
    logits = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    answers = [
        [loss_by_hand(row[None], np.zeros(3), np.array([label]))[1] for label in range(3)]
        for row in logits
    ]
    assert answers == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("bad", [[NAN, 0, 0], [0, NAN, 0], [NAN] * 3, [INF, 0, 0], [-INF] * 3])
def test_the_loss_of_logits_that_are_no_numbers_is_nan(bad):
    logits = np.array([bad, [0, 1, 2]], float)
    for label in range(3):
        loss, right, delta, *_ = loss_by_hand(logits, np.zeros(3), np.array([label, 2]))
        # an infinite logit of another class is no probability at all, as it is to torch
        expected = cross_entropy(torch.from_numpy(logits), torch.tensor([label, 2]))
        assert not math.isfinite(expected.item())
        assert not math.isfinite(loss)
        assert right in (1, 2)
        assert np.isnan(delta[0]).any()
        assert np.isfinite(delta[1]).all()


def test_active_units_by_brute_force():
    outputs = normal(50, 6) - 1.5
    outputs[3], outputs[4], outputs[5] = NAN, 0.0, [0, 0, NAN, 0, 0, 1e-300]
    active = np.zeros(50, np.bool_)
    active[4] = True  # was so for earlier images
    primitives.note_active(outputs, active)
    assert active.tolist() == [
        unit == 4 or any(value > 0 for value in outputs[unit].tolist()) for unit in range(50)
    ]
    assert 10 < active.sum() < 40


# Adam


@pytest.mark.parametrize("learning_rate", [0.001, 0.3])
def test_descend_is_torch_s_adam(learning_rate):
    values = [normal(3, 4), normal(5, seed=1), normal(2, 3, 9, seed=2)]
    mine = [at_rest(value.copy()) for value in values]
    theirs = [torch.from_numpy(value).requires_grad_() for value in values]
    optimiser = torch.optim.Adam(theirs, lr=learning_rate, foreach=False)
    for step in range(1, 301):
        # from far below eps = 1e-8 to far above 1, with steps of no gradient at all
        scale = 0.0 if step % 7 == 0 else 10.0 ** (step % 16 - 12)
        for n, (parameter, other) in enumerate(zip(mine, theirs, strict=True)):
            gradient = scale * normal(*other.shape, seed=(step, n))
            primitives.descend(parameter, gradient, primitives.pace(step, learning_rate))
            other.grad = torch.from_numpy(gradient)
        optimiser.step()
    for parameter, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(parameter.value, other.detach(), rtol=1e-10, atol=1e-12)
        state = optimiser.state[other]
        np.testing.assert_allclose(parameter.mean, state["exp_avg"], rtol=1e-10)
        np.testing.assert_allclose(parameter.square, state["exp_avg_sq"], rtol=1e-10)


@pytest.mark.parametrize("dtype", TYPES)
def test_the_first_step_by_hand(dtype):
    # m / (1 - b1) = g and v / (1 - b2) = g^2, so the step is lr g / (|g| + eps)
    parameter = at_rest(np.ones(3, dtype))
    gradient = np.array([2.0, -1e-8, 0.0], dtype)
    primitives.descend(parameter, gradient, primitives.pace(1, 0.1))
    np.testing.assert_allclose(parameter.value, [0.9, 1.05, 1.0], rtol=1e-6)


# gradients


SHAPES = [(1, 4, 4), (3, 7, 5)]
NARROW = [
    (width, shape, batch)
    for width in ("1", "5", "8", "12", "13", "24x30", "20x5", "1x9")
    for shape in SHAPES
    for batch in (1, 7, 100)
]
LARGE = [
    ("5", (3, 32, 32), 100),
    ("13", (3, 32, 32), 100),
    ("12", (3, 32, 32), 7),
    ("13x1", (1, 28, 28), 1),
    ("300", (1, 28, 28), 100),
    ("300x5", (1, 4, 4), 7),
    ("5x300", (1, 4, 4), 100),
    ("257", (3, 32, 32), 100),
]
DNNS = [("dnn", *case) for case in NARROW + LARGE]
MAPS = [
    (width, shape, batch)
    for width in ("1", "2", "5", "13")
    for shape in ((1, 3, 3), (1, 4, 4), (3, 7, 5), (2, 3, 9), (1, 9, 4))
    for batch in (1, 7, 100)
]
# these are cut into blocks of images, the second into unequal ones; the last two have more outputs
# than are kept for the way back
BROAD = [
    ("3", (3, 32, 32), 100),
    ("4", (1, 28, 28), 101),
    ("8", (1, 28, 28), 7),
    ("3", (1, 28, 28), 500),
    ("1", (1, 28, 28), 1500),
]
CNNS = [("cnn", *case) for case in MAPS + BROAD]


def test_some_cases_have_more_outputs_than_are_kept():
    for width, (_, height, breadth), batch in BROAD[-2:]:
        assert int(width) * batch * (height - 2) * breadth * 8 > KEPT_BYTES


METHODS = {
    "dnn": lambda shape: DNNByHand(),
    "cnn": lambda shape: CNNByHand(shape, 10),
}
OPTIONS = {"dnn": {}, "cnn": {"head": "flatten"}}


def exact_start(name, width, shape):
    """Parameters in float64, large enough that each ReLU is open for some images."""
    network = models.build(name, width, shape, 10, OPTIONS[name])
    parameters = initialise(network, NORMAL, KEY.stream("init"))
    return {key: value.astype(float) for key, value in parameters.items()}


def packed(method, start):
    return tuple(
        at_rest(np.array(method.pack(key, value), order="C")) for key, value in start.items()
    )


def as_arrays(split):
    return split.images.reshape(len(split.images), -1), split.labels


def means(method, start, parameters):
    """Adam's running means by name, in the shard's shapes."""
    pairs = zip(start, parameters, strict=True)
    return {key: method.unpack(key, parameter.mean) for key, parameter in pairs}


def assert_close(found, expected):
    assert set(found) == set(expected)
    for key, value in expected.items():
        # float32's rounding would leave 1e-7
        np.testing.assert_allclose(found[key], value, 1e-10, 1e-13, err_msg=key)


@pytest.mark.parametrize(("name", "width", "shape", "batch"), DNNS + CNNS)
def test_gradients_are_those_of_autograd(name, width, shape, batch):
    start, split = exact_start(name, width, shape), random_split(batch, shape, 10)
    method, module = METHODS[name](shape), modules(name, width, OPTIONS[name], start)
    parameters = packed(method, start)
    rows = np.arange(batch)[None]
    loss, right = method.train(*as_arrays(split), rows, 1, 0.0, parameters)
    # a first step from zero moments leaves a tenth of the gradient as its mean
    found = {key: mean / 0.1 for key, mean in means(method, start, parameters).items()}
    assert_close(found, gradients(module, split))
    logits = module(scaled(split))
    assert loss == pytest.approx(
        cross_entropy(logits, torch.from_numpy(split.labels)).item() * batch, rel=1e-11
    )
    assert right == (logits.argmax(1).numpy() == split.labels).sum()
    for key, parameter in zip(start, parameters, strict=True):
        np.testing.assert_array_equal(method.unpack(key, parameter.value), start[key])


CASES = [("dnn", "13x5", (3, 7, 5)), ("dnn", "300", (1, 4, 4)), ("cnn", "5", (3, 7, 5))]


@pytest.mark.parametrize(("name", "width", "shape"), CASES)
def test_a_batch_leaves_nothing_behind_for_the_next(name, width, shape):
    start, split = exact_start(name, width, shape), random_split(20, shape, 10)
    method, module = METHODS[name](shape), modules(name, width, OPTIONS[name], start)
    parameters = packed(method, start)
    orders = np.random.default_rng(0).permutation(20)[:14].reshape(2, 7)
    method.train(*as_arrays(split), orders, 1, 0.0, parameters)
    first, second = (
        gradients(module, type(split)(split.images[rows], split.labels[rows])) for rows in orders
    )
    expected = {key: 0.09 * first[key] + 0.1 * second[key] for key in first}
    assert_close(means(method, start, parameters), expected)


@pytest.mark.parametrize(("name", "width", "shape"), CASES)
def test_steps_are_those_of_torch_s_adam(name, width, shape):
    # in float64 nothing is lost on the way: the same weights after 60 steps, to the eighth digit
    start, split = exact_start(name, width, shape), random_split(50, shape, 10)
    method, module = METHODS[name](shape), modules(name, width, OPTIONS[name], start)
    parameters = packed(method, start)
    orders = np.stack([np.random.default_rng(n).permutation(50)[:20] for n in range(60)])
    for rows, first in ((orders[:10], 1), (orders[10:], 11)):
        method.train(*as_arrays(split), rows, first, 0.01, parameters)
    train_modules(module, adam(module, 0.01), split, orders)
    theirs = ours(module)
    for key, parameter in zip(start, parameters, strict=True):
        found = method.unpack(key, parameter.value)
        np.testing.assert_allclose(found, theirs[key], 1e-8, 1e-8, err_msg=key)
        assert np.abs(found - start[key]).max() > 0.01


# the order in memory


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 7, 5), (2, 3, 9), (1, 28, 28)])
@pytest.mark.parametrize(("name", "width"), [("dnn", "6x5"), ("dnn", "30x20"), ("cnn", "4")])
def test_the_order_in_memory_changes_no_value(name, width, shape):
    method, start = METHODS[name](shape), exact_start(name, width, shape)
    for key, value in start.items():
        there = method.pack(key, value)
        assert np.count_nonzero(there) == np.count_nonzero(value)
        np.testing.assert_array_equal(method.unpack(key, there), value)


def padding(stack):
    """The weights and moments of fc that the two last places of each line would meet."""
    lines = stack.network.shape[1] - 2, stack.network.shape[2]
    _, _, fc, _ = stack.state
    return [array.reshape(*array.shape[:2], *lines)[..., -2:] for array in fc]


def test_weights_of_no_place_stay_at_zero():
    train = CNN.split(40)
    stack = by_hand(CNN.network, CNN.starts(), train, CNN.recipe(learning_rate=0.1))
    for order in random_orders(10, 40):
        stack.train_epoch([order])
    stack.gradient_norms()
    stack.evaluate(train)
    assert all(not array.any() for array in padding(stack))
    assert np.abs(stack.state[2].value).max() > 1
