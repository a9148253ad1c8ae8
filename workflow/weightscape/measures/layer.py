"""One layer of one run: its weights, and what several measures need of them, worked out once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from typing import Any, TypeVar

import numpy as np

from weightscape.errors import WeightscapeError
from weightscape.heads import layer_measures
from weightscape.models import Link
from weightscape.storage.shards import Shard

Found = TypeVar("Found")

SHOWN = 5  # runs that are named in a log
HUGE = 1e15  # float32 does not hold the sums of squares of larger weights


class LayerWeights:
    """Weights (out, in) or (out, in, kh, kw) of a layer, biases apart; sums are in float64.

    Of a trained layer there are also its `initial` weights, of the same shape, and its `bias`
    (out,); null models of the weights have neither.
    """

    def __init__(
        self, weight: np.ndarray, initial: np.ndarray | None = None, bias: np.ndarray | None = None
    ):
        self.weight, self.initial, self.bias = weight, initial, bias
        self.size = weight.size
        self.fan_in = weight[0].size
        """weights of a node"""
        self.readers: list[tuple[Link, LayerWeights]] = []
        """the links by which other layers read its nodes, and these layers"""
        self._found: dict[Callable[..., Any], Any] = {}

    def once(self, describe: Callable[[LayerWeights], Found]) -> Found:
        """`describe(self)`, worked out once for all that ask."""
        if describe not in self._found:
            self._found[describe] = describe(self)
        return self._found[describe]  # type: ignore[no-any-return]

    @cached_property
    def values(self) -> np.ndarray:
        """All weights, (N,) float64."""
        return self.weight.astype(np.float64).ravel()

    @cached_property
    @np.errstate(invalid="ignore")  # infinite weights have none
    def mean(self) -> float:
        """mu_w = 1/N sum w (paper, section 3)."""
        return float(self.values.mean())

    @cached_property
    @np.errstate(invalid="ignore")
    def deviations(self) -> np.ndarray:
        """w - mu_w, (N,) float64."""
        return self.values - self.mean

    @cached_property
    def variance(self) -> float:
        return float(self.deviations @ self.deviations) / self.size

    @property
    def std(self) -> float:
        """sigma_w = sqrt(1/N sum (w - mu_w)^2), the population standard deviation."""
        return float(np.sqrt(self.variance))

    @cached_property
    def sorted(self) -> np.ndarray:
        """All weights from the smallest to the largest, (N,) float32; NaN last."""
        return np.sort(self.weight, axis=None)

    def quantiles(self, shares: np.ndarray) -> np.ndarray:
        """Quantiles by linear interpolation between the sorted weights, as numpy's; float64.

        NaN if any weight is.
        """
        if np.isnan(self.sorted[-1]):
            return np.full(np.shape(shares), np.nan)
        places = np.asarray(shares) * (self.size - 1)
        below = np.floor(places).astype(np.int64)
        above = np.minimum(below + 1, self.size - 1)
        low, high = self.sorted[below].astype(np.float64), self.sorted[above].astype(np.float64)
        result: np.ndarray = low + (places - below) * (high - low)
        return result

    def share_within(self, bound: float) -> float:
        """Share of the weights with |w| <= bound; NaN if the bound or any weight is."""
        if np.isnan(bound) or np.isnan(self.sorted[-1]):
            return np.nan
        first = np.searchsorted(self.sorted, -bound, "left")
        last = np.searchsorted(self.sorted, bound, "right")
        return float(last - first) / self.size

    @property
    def bandwidth(self) -> float:
        """Silverman's rule (1986, eq. 3.31), 0.9 min(std, IQR / 1.34) N^-1/5, in weights' units."""
        low, high = self.quantiles(np.array([0.25, 0.75]))
        robust = float(high - low) / 1.34
        # half of the weights may be equal, as zeros are
        return float(0.9 * min(self.std, robust or self.std) * self.size**-0.2)

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.variance))


def is_moderate(weight: np.ndarray) -> bool:
    """Whether weights can be multiplied with each other in float32: finite, and below HUGE."""
    return bool(np.abs(weight).max() < HUGE)  # not so with NaN


def tell_left_out(log: logging.Logger, from_what: str, runs: list[str], n: int) -> None:
    """Log which of `n` runs, such as `20, seed 3`, have weights that are not moderate."""
    if runs:
        shown = "; ".join(runs[:SHOWN]) + ("; ..." if len(runs) > SHOWN else "")
        log.warning(
            "%d of %d runs are not in %s, as their weights are not finite or beyond %g: width %s",
            *(len(runs), n, from_what, HUGE, shown),
        )


def describe(measure: str, layer: LayerWeights) -> dict[str, Any] | None:
    """What a measure of one layer says; nothing if it is of heads and the layer has none.

    Raises WeightscapeError unless it says what its head has.
    """
    head = layer_measures()[measure]
    told = import_module(f"weightscape.measures.layers.{measure}").describe(layer)
    if told is None and head.of_heads:
        return None
    wanted = head.of_nulls if layer.initial is None else head.columns
    if told is None or not set(wanted) <= told.keys() <= head.columns.keys():
        raise WeightscapeError(
            f"describe of measures/layers/{measure}.py returns {[*told] if told else told}, but "
            f"its head has the columns {[*wanted]}"
        )
    return told  # type: ignore[no-any-return]


def trained_layers(shard: Shard, row: int) -> dict[str, LayerWeights]:
    """The layers of one run after its last epoch, in the order of the forward pass."""
    last = shard.header.final_epoch
    layers = {
        name: LayerWeights(
            shard.weight(last, name, row), shard.weight(0, name, row), shard.bias(last, name, row)
        )
        for name in shard.header.layers
    }
    return linked(layers, shard.links)


def linked(layers: dict[str, LayerWeights], links: list[Link]) -> dict[str, LayerWeights]:
    """The same layers, each told which others read its nodes."""
    for link in links:
        for name in link.sources:
            layers[name].readers.append((link, layers[link.target]))
    return layers
