"""The convolution and the vectors it is made of, against sums by numpy."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from weightscape.kernels import vectors
from weightscape.kernels.convolution import (
    STRETCH,
    TILE,
    by_image,
    convolve,
    make_rows,
    through_convolution,
)

TYPES = [np.float32, np.float64]
# (planes, lines, line) and images; the last is longer than one stretch
SHAPES = [
    ((1, 3, 3), 1),
    ((1, 28, 28), 3),
    ((3, 32, 32), 5),
    ((2, 3, 9), 7),
    ((3, 7, 5), 100),
    ((1, 28, 28), 50),
]


def lanes(dtype):
    return vectors.REGISTER_BYTES // np.dtype(dtype).itemsize


def in_rows(values, beyond, dtype):
    """Arrays (rows, images, pixels) as make_rows has them."""
    rows, images, pixels = values.shape
    made = make_rows(rows, images, pixels, beyond, np.empty(1, dtype))
    made[:, : images * pixels] = values.reshape(rows, -1)
    return made


def as_maps(row, images, lines, line):
    """The outputs (images, lines - 2, line - 2) of a row that has more."""
    pixels = lines * line
    return by_image(row, images, pixels).reshape(images, lines, line)[:, :-2, :-2]


class Layer:
    """Random images, kernels and derivatives of one shape, with room for two channels."""

    def __init__(self, shape, images, dtype):
        random = np.random.default_rng(0)
        (planes, lines, line), self.images = shape, images
        self.lines, self.line = lines, line
        self.pictures = random.normal(size=(planes, images, lines, line)).astype(dtype)
        self.kernels = random.normal(size=(5, planes, 9)).astype(dtype)
        self.biases = random.normal(size=5).astype(dtype)
        self.tile = TILE * lanes(dtype)
        beyond = 2 * line + 2 * self.tile
        self.x = in_rows(self.pictures.reshape(planes, images, -1), beyond, dtype)
        self.maps = in_rows(np.full((2, images, lines * line), np.nan), self.tile, dtype)
        self.delta = np.zeros((2, images, lines, line), dtype)
        self.delta[:, :, :-2, :-2] = random.normal(size=(2, images, lines - 2, line - 2))
        # sums of numbers around 1, in any order
        self.bound = 40 * float(np.finfo(dtype).eps) * np.sqrt(planes * images * lines * line)

    def windows(self, k):
        """What weight k meets: (planes, images, lines - 2, line - 2)."""
        down, right = divmod(k, 3)
        return self.pictures[:, :, down : down + self.lines - 2, right : right + self.line - 2]

    def outputs(self, channel):
        sums = sum(
            np.einsum("p,pnij->nij", self.kernels[channel, :, k].astype(float), self.windows(k))
            for k in range(9)
        )
        return np.maximum(sums + self.biases[channel], 0)

    def convolve(self, a, b):
        numbers = self.images * self.lines * self.line
        convolve(self.x, self.line, self.kernels, self.biases, a, b, self.maps[:, :numbers])
        return [as_maps(row, self.images, self.lines, self.line) for row in self.maps]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("shape", "images"), SHAPES)
def test_outputs_of_two_channels(shape, images, dtype):
    layer = Layer(shape, images, dtype)
    for a, b in ((0, 1), (3, 4), (4, 4)):
        for channel, found in zip((a, b), layer.convolve(a, b), strict=True):
            np.testing.assert_allclose(found, layer.outputs(channel), 0, layer.bound)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("shape", "images"), SHAPES)
def test_gradients_of_two_channels(shape, images, dtype):
    layer = Layer(shape, images, dtype)
    outputs = layer.convolve(0, 1)
    delta = in_rows(layer.delta.reshape(2, images, -1), layer.tile, dtype)
    planes, numbers = shape[0], images * shape[1] * shape[2]
    kernels, biases = np.zeros((2, planes, 9), dtype), np.zeros(2, dtype)
    maps = layer.maps[:, :numbers]
    through_convolution(layer.x, layer.line, maps, delta, kernels, biases)
    once = kernels.copy(), biases.copy()
    through_convolution(layer.x, layer.line, maps, delta, kernels, biases)
    np.testing.assert_allclose(kernels, 2 * once[0], 0, layer.bound)
    np.testing.assert_allclose(biases, 2 * once[1], 0, layer.bound)
    kernels, biases = once
    for channel in range(2):
        held = np.where(outputs[channel] > 0, layer.delta[channel, :, :-2, :-2], 0).astype(float)
        assert biases[channel] == pytest.approx(held.sum(), abs=layer.bound)
        for k in range(9):
            expected = np.einsum("nij,pnij->p", held, layer.windows(k))
            np.testing.assert_allclose(kernels[channel, :, k], expected, 0, layer.bound)


def test_some_rows_are_longer_than_a_stretch():
    assert any(images * lines * line > STRETCH for (_, lines, line), images in SHAPES)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_stays_in_its_image(bad):
    layer = Layer((1, 28, 28), 3, np.float32)
    by_image(layer.x[0], 3, 28 * 28)[1] = bad
    for found in layer.convolve(0, 1):
        assert np.isfinite(found[[0, 2]]).all()
        assert np.isnan(found[1]).all() or bad == np.inf
        assert not np.isfinite(found[1]).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("images", "pixels"), [(1, 9), (7, 35), (100, 784)])
def test_rows_are_zeros_that_start_where_a_register_does(images, pixels, dtype):
    rows = make_rows(3, images, pixels, 2, np.empty(1, dtype))
    assert rows.dtype == dtype
    assert not rows.any()
    assert 0 <= rows.shape[1] - images * pixels - 2 < lanes(dtype)
    assert all(row.ctypes.data % vectors.REGISTER_BYTES == 0 for row in rows)


@pytest.mark.parametrize(
    ("features", "n_bytes"),
    [("+sse2,+avx,+avx2,+avx512f", 64), ("+avx,+avx2,-avx512f", 32), ("+avx,-avx2", 16), ("", 16)],
)
def test_registers_of_processors(features, n_bytes):
    assert vectors._register_bytes(features) == n_bytes


OTHER = """
import json, numpy as np
from weightscape.kernels import vectors
from test_convolution import Layer
layer = Layer((3, 7, 5), 9, np.float32)
error = max(abs(found - layer.outputs(c)).max() for c, found in enumerate(layer.convolve(0, 1)))
print(json.dumps([vectors.REGISTER_BYTES, float(error)]))
"""


def test_a_processor_of_smaller_registers_finds_the_same(tmp_path):
    fewer = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    own = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", OTHER],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | fewer | own,
    )
    n_bytes, error = json.loads(done.stdout)
    assert n_bytes == 16
    assert error < 1e-5
