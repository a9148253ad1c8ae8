"""Linear layers through scipy's BLAS, against torch's own in float64."""

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from weightscape.engine import linear as ours
from weightscape.engine.linear import FastLinear


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def outcome(x, weight, bias, weigh, fast):
    """Output and gradients of a layer whose output goes into `weigh`."""
    leaves = [tensor.detach().requires_grad_() for tensor in (x, weight, bias)]
    if not fast:
        leaves = [leaf.detach().double().requires_grad_() for leaf in leaves]
    with FastLinear() if fast else torch.enable_grad():
        out = linear(*leaves)
    return [out, *torch.autograd.grad(weigh(out), leaves)]


def weigh_apart(out):
    return (out * torch.arange(out.numel()).view(out.shape)).sum() / out.numel()


def assert_like_torch(x, weight, bias, weigh=weigh_apart):
    found, expected = (outcome(x, weight, bias, weigh, fast) for fast in (True, False))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


@pytest.fixture
def is_ours(monkeypatch):
    """How often a product was ours, so that no test compares torch with itself."""
    calls, product = [], ours.matrix_product

    def note(*arguments, **options):
        calls.append(arguments)
        return product(*arguments, **options)

    monkeypatch.setattr(ours, "matrix_product", note)
    yield calls
    assert calls


@pytest.mark.parametrize("before", [(), (1,), (7,), (7, 16), (1, 1), (3, 2, 5)])
@pytest.mark.parametrize(("units", "inputs"), [(4, 6), (1, 6), (4, 1), (1, 1), (30, 20)])
def test_a_layer_is_torch_s(before, units, inputs, is_ours):
    assert_like_torch(normal(*before, inputs), normal(units, inputs, seed=1), normal(units, seed=2))


LAYOUTS = {
    "transposed": normal(6, 7).t(),
    "a block": normal(9, 10)[1:8, 2:8],
    "every other column": normal(7, 12)[:, ::2],
    "every other row": normal(14, 6)[::2],
    "one row for all": normal(6).expand(7, 6),
    "one column for all": normal(7, 1).expand(7, 6),
    "tokens transposed": normal(2, 6, 5).mT,
    "tokens of a slice": normal(2, 5, 6)[:, 1:4],
    "tokens for all": normal(1, 5, 6).expand(3, 5, 6),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_may_lie_in_memory_as_they_like(layout, is_ours):
    assert_like_torch(LAYOUTS[layout], normal(4, 6, seed=1), normal(4, seed=2))


@pytest.mark.parametrize("layout", [name for name, x in LAYOUTS.items() if x.shape == (7, 6)])
def test_weights_may_lie_in_memory_as_they_like(layout, is_ours):
    assert_like_torch(normal(5, 6, seed=1), LAYOUTS[layout], normal(7, seed=2))


@pytest.mark.parametrize("before", [(7,), (3, 5)])
@pytest.mark.parametrize(
    "weigh",
    [
        lambda out: out.sum(),
        lambda out: out.mean(),
        lambda out: weigh_apart(out.sum(0)),
        lambda out: weigh_apart(out.sum(-1)),
        lambda out: weigh_apart(out.mT.contiguous()),
        lambda out: weigh_apart(out[..., ::2]),
        lambda out: weigh_apart(out.movedim(-1, 0).flatten(1)),
    ],
)
def test_derivatives_may_lie_in_memory_as_they_like(before, weigh, is_ours):
    assert_like_torch(normal(*before, 6), normal(4, 6, seed=1), normal(4, seed=2), weigh)


def test_images_get_no_gradient(is_ours):
    x, weight, bias = normal(5, 6), normal(4, 6).requires_grad_(), normal(4).requires_grad_()
    with FastLinear():
        out = linear(x, weight, bias)
    weigh_apart(out).backward()
    delta = torch.arange(20.0).view(5, 4) / 20
    torch.testing.assert_close(weight.grad, delta.T @ x)
    torch.testing.assert_close(bias.grad, delta.sum(0))
    assert x.grad is None


def test_a_module_s_layers_are_ours(is_ours):
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1))
    with FastLinear():
        found = module(normal(7, 6))
    assert len(is_ours) == 2
    torch.testing.assert_close(found, module(normal(7, 6)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_numbers_are_left_to_torch(dtype, monkeypatch):
    monkeypatch.delattr(ours, "matrix_product")
    x, weight, bias = (value.to(dtype) for value in (normal(5, 6), normal(4, 6), normal(4)))
    with FastLinear():
        torch.testing.assert_close(linear(x, weight, bias), x @ weight.T + bias)


def test_a_layer_without_bias_is_left_to_torch(monkeypatch):
    monkeypatch.delattr(ours, "matrix_product")
    x, weight = normal(5, 6), normal(4, 6)
    with FastLinear():
        for found in (linear(x, weight), linear(x, weight, None), linear(x, weight, bias=None)):
            torch.testing.assert_close(found, x @ weight.T)


def test_named_arguments_give_the_same():
    x, weight, bias = normal(5, 6), normal(4, 6), normal(4)
    with FastLinear():
        found = linear(x, weight, bias=bias)
    torch.testing.assert_close(found, x @ weight.T + bias)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_stays_so(bad, is_ours):
    x = normal(3, 6)
    x[1, 2] = bad
    with FastLinear():
        found = linear(x, normal(4, 6), normal(4))
    assert not found[1].isfinite().any()
    assert found[[0, 2]].isfinite().all()


def test_outside_nothing_is_ours(monkeypatch):
    monkeypatch.delattr(ours, "matrix_product")
    with FastLinear():
        pass
    linear(normal(5, 6), normal(4, 6), normal(4))


INTEL = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)\n"
AMD = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 9B14\n"
ARM = "processor\t: 0\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(
    ("told", "maker"), [(INTEL, "GenuineIntel"), (AMD, "AuthenticAMD"), (ARM, ""), (None, "")]
)
def test_the_maker_of_a_processor(told, maker, tmp_path):
    path = tmp_path / "cpuinfo"
    if told is not None:
        path.write_text(told)
    assert ours._maker(path) == maker


@pytest.mark.parametrize(
    ("maker", "has_mkl", "expected"),
    [
        ("GenuineIntel", True, "torch"),
        ("AuthenticAMD", True, "scipy"),
        ("", True, "scipy"),
        ("AuthenticAMD", False, "torch"),
        ("", False, "torch"),
    ],
)
def test_torch_s_own_products_are_left_where_they_are_fast(maker, has_mkl, expected, monkeypatch):
    monkeypatch.setattr(ours, "_maker", lambda: maker)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: has_mkl)
    assert ours.products.__wrapped__() == expected
