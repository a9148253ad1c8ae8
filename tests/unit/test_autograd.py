"""Stacks that leave the gradients to autograd: Adam, dropout, neighbours, memory and the GPU."""

import contextlib
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cases import (
    CNN,
    DNN,
    GAP,
    TRANSFORMER,
    VIT,
    Case,
    by_autograd,
    random_orders,
)
from references import labels, scaled, tensors
from weightscape.engine import autograd
from weightscape.engine.autograd import Adam, _dropped, _losses, activation_bytes, keep, pixels
from weightscape.engine.linear import FastLinear

DROPPING = Case("vit", "2", **(VIT | {"dropout": 0.3}))
CASES = [DNN, CNN, GAP, TRANSFORMER, DROPPING]


def test_pixels_are_between_0_and_1():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    expected = np.arange(256, dtype=np.float32).reshape(1, 1, 16, 16) / np.float32(255)
    np.testing.assert_array_equal(pixels(images).numpy(), expected)


def test_losses_of_each_run_and_image():
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    for given in (torch.arange(5) % 4, torch.arange(15).view(3, 5) % 4):
        found = _losses(logits, given)
        for run in range(3):
            own = given if given.ndim == 1 else given[run]
            expected = nn.CrossEntropyLoss(reduction="none")(logits[run], own)
            torch.testing.assert_close(found[run], expected)


# Adam


def descend(adam, gradients):
    """A step down gradients that are given: those of their sum of products with the values."""
    adam.step(sum((v * g).sum() for v, g in zip(adam.values, gradients, strict=True)))


@pytest.mark.parametrize("learning_rate", [0.001, 0.3])
def test_adam_is_torch_s_adam(learning_rate):
    stream = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=stream) for shape in ((3, 4), (3,), (2, 1, 3, 3), ())]
    mine = [value.clone().requires_grad_() for value in start]
    theirs = [value.clone().requires_grad_() for value in start]
    ours, optimiser = (
        Adam(mine, learning_rate),
        torch.optim.Adam(theirs, lr=learning_rate, foreach=False),
    )
    for step in range(300):
        # from far below eps = 1e-8 to far above 1, with steps of no gradient at all
        scale = 0.0 if step % 7 == 0 else 10.0 ** (step % 15 - 11)
        for parameter in theirs:
            parameter.grad = scale * torch.randn(parameter.shape, generator=stream)
        descend(ours, [parameter.grad for parameter in theirs])
        optimiser.step()
    for value, parameter in zip(mine, theirs, strict=True):
        torch.testing.assert_close(value.detach(), parameter.detach(), rtol=1e-5, atol=1e-5)


def test_adam_s_first_step_by_hand():
    # m / (1 - b1) = g and v / (1 - b2) = g^2, so the step is lr g / (|g| + eps)
    value = torch.ones(3, requires_grad=True)
    descend(Adam([value], 0.1), [torch.tensor([2.0, -1e-8, 0.0])])
    np.testing.assert_allclose(value.detach(), [0.9, 1.05, 1.0], rtol=1e-6)


def test_adam_takes_gradients_in_any_order_of_memory():
    gradient = torch.tensor([[1.0, -1.0], [2.0, 0.0], [-3.0, 4.0]])
    across = gradient.t().contiguous().t()
    values = [torch.zeros(3, 2, requires_grad=True) for _ in range(2)]
    for value, given in zip(values, (gradient, across), strict=True):
        (found,) = torch.autograd.grad((value * given).sum(), value)
        assert found.stride() == given.stride()
        descend(Adam([value], 0.1), [given])
        np.testing.assert_allclose(value.detach(), -0.1 * gradient.sign(), atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=repr)
@pytest.mark.parametrize("runs", [1, 3])
def test_gradients_come_as_their_parameters_lie(case, runs, monkeypatch):
    stack = by_autograd(case.network, case.starts(runs), case.split(20), case.recipe())
    kept, grad = [], torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd, "grad", lambda *a, **k: kept.append(grad(*a, **k)) or kept[-1]
    )
    stack.train_epoch(random_orders(runs, 20))
    assert len(kept) == 3
    for found in kept:
        for (name, value), gradient in zip(stack.values.items(), found, strict=True):
            assert gradient.stride() == value.stride(), name


def test_a_parameter_that_the_loss_does_not_know_stands_still():
    known, unknown = (torch.ones(2, requires_grad=True) for _ in range(2))
    Adam([known, unknown], 0.1).step(known.sum())
    assert known.tolist() == pytest.approx([0.9, 0.9])
    assert unknown.tolist() == [1, 1]


# dropout


def masks_after(stack, size):
    stack.train_epoch(np.tile(np.arange(size, dtype=np.int32), (stack.runs, 1)))
    return [mask.clone() for mask in stack.steps[size].masks]


def wide_dropout(rate, runs=1):
    """A stack whose masks are large enough for statistics, without learning anything."""
    case = Case("vit", "2", **(VIT | {"dropout": rate, "feedforward": 700}))
    return by_autograd(case.network, case.starts(runs), case.split(9), case.recipe())


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.75])
def test_dropout_keeps_its_share_and_the_mean(rate):
    kept = 1 - rate
    for mask in masks_after(wide_dropout(rate), 7):
        torch.testing.assert_close(mask[mask != 0], torch.full_like(mask[mask != 0], 1 / kept))
        share, n = (mask != 0).double().mean().item(), mask.numel()
        assert abs(share - kept) < 4 * math.sqrt(rate * kept / n)


def test_dropout_is_drawn_anew_at_every_step_for_every_run_and_place():
    stack = wide_dropout(0.5, runs=3)
    drawn = [masks_after(stack, 7) for _ in range(2)]
    hidden = [mask[run].flatten().tolist() for _, _, mask, _ in drawn for run in range(3)]
    assert len({tuple(mask) for mask in hidden}) == 6
    # of two draws at a half, half of the places agree
    shares = np.mean([np.equal(hidden[0], other) for other in hidden[1:]], axis=1)
    np.testing.assert_allclose(shares, 0.5, atol=4 * 0.5 / math.sqrt(len(hidden[0])))
    out = drawn[0][3][0].flatten().tolist()
    assert out != drawn[0][1][0].flatten().tolist()


def test_dropout_comes_from_the_run_s_stream_and_not_from_its_neighbours():
    together = masks_after(wide_dropout(0.5, runs=3), 7)
    again = masks_after(wide_dropout(0.5, runs=3), 7)
    assert all(torch.equal(one, other) for one, other in zip(together, again, strict=True))
    case = Case("vit", "2", **(VIT | {"dropout": 0.5, "feedforward": 700}))
    for run in range(3):
        single = by_autograd(case.network, case.starts(), case.split(9), case.recipe(), [run])
        alone = masks_after(single, 7)
        for one, other in zip(together, alone, strict=True):
            assert torch.equal(one[run], other[0])


def dropped(case, batch):
    values = {name: value[None] for name, value in tensors(case.starts()[0]).items()}
    return [tuple(shape) for shape in _dropped(case.network, values, batch)]


def test_dropout_falls_on_attention_and_mlp():
    # (batch, heads, tokens, tokens), (batch, tokens, d_model), and the MLP's (..., feedforward)
    once = [(5, 2, 16, 16), (5, 16, 8), (5, 16, 12), (5, 16, 8)]
    assert dropped(DROPPING, 5) == once
    assert dropped(Case("vit", "2", **(VIT | {"depth": 2})), 5) == once * 2
    single = Case("vit", "4", (1, 5, 7), **(VIT | {"tokens": "single"}))
    assert dropped(single, 1) == [(1, 4, 1, 1), (1, 1, 8), (1, 1, 12), (1, 1, 8)]


@pytest.mark.parametrize("case", [DNN, CNN, TRANSFORMER], ids=repr)
def test_nothing_is_dropped_without_a_rate(case):
    assert dropped(case, 5) == []
    stack = by_autograd(case.network, case.starts(), case.split(9), case.recipe())
    assert masks_after(stack, 7) == []


def dropping_by_hand(rate, masks):
    """Dropout as torch defines it, with the zeros of masks that were drawn."""
    left = iter(masks)

    def drop(x):
        return torch.where(next(left) == 0, 0.0, x) / (1 - rate)

    return drop


def test_training_drops_what_was_drawn():
    rate, train = 0.3, DROPPING.split(7)
    (start,) = DROPPING.starts()
    stack = by_autograd(DROPPING.network, [start], train, DROPPING.recipe())
    (score,) = stack.train_epoch(np.arange(7, dtype=np.int32)[None])
    masks = [mask[0] for mask in stack.steps[7].masks]
    exact = {name: value.double() for name, value in tensors(start).items()}
    drop = dropping_by_hand(rate, masks)
    logits, _ = DROPPING.network.forward(exact, scaled(train), drop)
    assert score.loss == pytest.approx(cross_entropy(logits, labels(train)).item(), rel=1e-5)
    without, _ = DROPPING.network.forward(exact, scaled(train), keep)
    assert cross_entropy(without, labels(train)).item() != pytest.approx(score.loss, rel=1e-3)


def test_evaluation_drops_nothing():
    train = DROPPING.split(20)
    dropping, plain = (
        by_autograd(case.network, case.starts(2), train, case.recipe())
        for case in (DROPPING, TRANSFORMER)
    )
    for found, expected in zip(dropping.evaluate(train), plain.evaluate(train), strict=True):
        assert found[0] == expected[0]
    assert dropping.gradient_norms() == plain.gradient_norms()


# large products


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("faster", ["scipy", "torch"])
def test_large_products_of_a_single_run_are_made_by_who_is_faster(faster, runs, monkeypatch):
    monkeypatch.setattr(autograd, "products", lambda: faster)
    ours = runs == 1 and faster == "scipy"
    for worth_it, expected in ((0, ours), (math.inf, False)):
        monkeypatch.setattr(autograd, "WORTH_IT", worth_it)
        stack = by_autograd(DNN.network, DNN.starts(runs), DNN.split(9), DNN.recipe())
        assert isinstance(stack.products, FastLinear) == expected


# neighbours


@pytest.mark.parametrize("case", CASES, ids=repr)
@pytest.mark.parametrize("bad", [math.nan, 1e30])
def test_a_run_of_nan_does_not_spoil_its_neighbours(case, bad):
    train, orders = case.split(20), random_orders(3, 20)
    stacks = []
    for sick in (False, True):
        starts = case.starts(3)
        if sick:
            starts[1] = {name: bad * (1 + value) for name, value in starts[1].items()}
        stacks.append(by_autograd(case.network, starts, train, case.recipe()))
    healthy, with_nan = ([stack.train_epoch(orders) for _ in range(2)][1] for stack in stacks)
    assert math.isnan(with_nan[1].loss)
    for run in (0, 2):
        assert with_nan[run] == healthy[run]
        found, expected = (stack.parameters()[run] for stack in reversed(stacks))
        assert all(np.array_equal(found[name], value) for name, value in expected.items())
        norms, expected = (stack.gradient_norms()[run] for stack in reversed(stacks))
        assert norms == expected


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_the_place_in_a_stack_does_not_matter(case):
    train, orders = case.split(20), random_orders(3, 20)
    starts, turned = case.starts(3), [2, 0, 1]
    straight = by_autograd(case.network, starts, train, case.recipe())
    moved = [starts[run] for run in turned]
    other = by_autograd(case.network, moved, train, case.recipe(), turned)
    expected = straight.train_epoch(orders)
    for run, score in zip(turned, other.train_epoch(orders[turned]), strict=True):
        assert score == pytest.approx(tuple(expected[run]), rel=1e-6)


# memory


@pytest.mark.parametrize("images", [1, 2, 9])
@pytest.mark.parametrize("width", ["5", "20x50", "100"])
def test_what_autograd_keeps_of_a_dnn(images, width):
    case = Case("dnn", width)
    (start,) = case.starts()
    h1, h2 = start["fc1.bias"].size, start["fc2.bias"].size
    found = activation_bytes(case.network, start, case.split(images).images)
    # pixels and both ReLUs' outputs, these perhaps twice: as a result and as the next input
    assert 4 * images * (64 + h1 + h2) <= found <= 4 * images * (64 + 2 * h1 + 2 * h2)


@pytest.mark.parametrize("case", [CNN, GAP, TRANSFORMER, DROPPING], ids=repr)
def test_what_autograd_keeps_grows_with_the_images_and_holds_the_relus(case):
    (start,) = case.starts()
    images = case.split(8).images
    one, two, eight = (activation_bytes(case.network, start, images[:n]) for n in (1, 2, 8))
    # each image keeps the same; a little may be kept once
    assert (eight - two) == 6 * (two - one)
    assert 0 <= 2 * one - two < 0.05 * one
    _, units = case.network.forward(tensors(start), pixels(torch.from_numpy(images)), keep)
    assert eight > sum(unit.nbytes for unit in units.values())


# the GPU


class Graph:
    """What stands for a CUDA graph where there is no GPU."""

    def replay(self):
        self.step.run()


@pytest.fixture
def no_gpu(monkeypatch):
    """CUDA's calls of a capture, without CUDA: what is captured just runs."""
    aside = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: aside)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: aside)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)


def state(stack):
    tensors = [*stack.values.values(), *stack.adam.state, stack.loss, stack.right]
    return [tensor.detach().numpy().tobytes() for tensor in tensors]


@pytest.mark.parametrize("case", CASES, ids=repr)
@pytest.mark.parametrize("runs", [1, 2])
def test_the_capture_of_a_step_leaves_no_trace(case, runs, no_gpu):
    train = case.split(20)
    captured, plain = (
        by_autograd(case.network, case.starts(runs), train, case.recipe()) for _ in range(2)
    )
    for epoch in range(3):
        orders = random_orders(runs, 20, seed=epoch)
        assert captured.train_epoch(orders) == plain.train_epoch(orders)
        before = state(captured)
        for step in captured.steps.values():
            replay = step.capture()
            assert state(captured) == before
            replay.__self__.step = step
            step.replay = replay
    assert state(captured) == state(plain)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")


@needs_gpu
@pytest.mark.parametrize("case", [DNN, CNN, GAP, TRANSFORMER], ids=repr)
@pytest.mark.parametrize("runs", [1, 3])
def test_a_gpu_trains_what_the_cpu_trains(case, runs):
    stacks = [
        by_autograd(case.network, case.starts(runs), case.split(20), case.recipe(), device=device)
        for device in ("cpu", "cuda")
    ]
    for epoch in range(3):
        orders = random_orders(runs, 20, seed=epoch)
        here, gpu = (stack.train_epoch(orders) for stack in stacks)
        for found, expected in zip(gpu, here, strict=True):
            assert found == pytest.approx(tuple(expected), rel=1e-3)
    for found, expected in zip(stacks[1].parameters(), stacks[0].parameters(), strict=True):
        for name, value in expected.items():
            if name != "key.bias":  # its gradient is rounding alone
                np.testing.assert_allclose(found[name], value, 0, 1e-3, err_msg=name)
