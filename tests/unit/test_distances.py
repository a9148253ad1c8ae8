"""Distances between runs, against scipy's in float64, whatever the blocks are."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform

from weightscape.measures import distances as module
from weightscape.measures.distances import distances

N, LENGTH = 23, 40


def rows_of(vectors):
    return lambda start: iter(vectors[start:])


def between(vectors, rows=None, chunk_rows=None, monkeypatch=None):
    """Distances by blocks of `rows` vectors and chunks of `chunk_rows`."""
    n, length = vectors.shape
    if chunk_rows:
        monkeypatch.setattr(module, "CHUNK_BYTES", 4 * length * chunk_rows)
    bound = {} if rows is None else {"block_bytes": 4 * length * rows}
    return distances(rows_of(vectors), n, length, **bound)


def exact(vectors):
    return squareform(pdist(vectors.astype(np.float64)))


def assert_close(found, vectors, tolerance=1e-4):
    expected = exact(vectors)
    assert np.abs(found - expected).max() <= tolerance * expected.max()


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).normal(0, 0.05, (N, LENGTH)).astype(np.float32)


@pytest.mark.parametrize("chunk_rows", [1, 3, 100])
@pytest.mark.parametrize("rows", [1, 2, 5, 22, 23, 24, None])
def test_distances_are_scipy_s_whatever_the_blocks_are(vectors, rows, chunk_rows, monkeypatch):
    found = between(vectors, rows, chunk_rows, monkeypatch)
    assert found.dtype == np.float32
    assert_close(found, vectors)


@pytest.mark.parametrize("rows", [1, 4, 23])
def test_distances_are_symmetric_and_zero_to_oneself(vectors, rows, monkeypatch):
    found = between(vectors, rows, 3, monkeypatch)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(found.diagonal(), 0)


@given(
    st.integers(1, 12), st.integers(1, 9), st.integers(1, 14), st.floats(-6, 6), st.integers(0, 9)
)
def test_distances_of_any_sizes_and_scales_are_scipy_s(n, length, rows, scale, seed):
    drawn = np.random.default_rng(seed).normal(0, 10**scale, (n, length)).astype(np.float32)
    found = between(drawn, rows)
    assert found.shape == (n, n)
    # near vectors lose digits beside the norms, not beside their own distance
    assert np.abs(found - exact(drawn)).max() <= 2e-3 * np.linalg.norm(drawn, axis=1).max()


@pytest.mark.parametrize("rows", [1, 5, 23])
def test_a_large_offset_that_all_share_costs_no_digits(rows):
    # in steps of a power of two, so that float32 holds offset and difference alike
    steps = np.random.default_rng(1).integers(-64, 65, (N, LENGTH)) / 64
    assert_close(between((steps + 4096).astype(np.float32), rows), steps)


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_equal_vectors_are_as_good_as_in_one_place(vectors, rows):
    twins = np.concatenate([vectors[:8], vectors[:8]])
    found = between(twins, rows)
    norm = np.linalg.norm(twins, axis=1).max()
    assert np.isfinite(found).all()
    assert found[np.arange(8), np.arange(8) + 8].max() <= 2e-3 * norm
    assert_close(found, twins, 2e-3)


def test_vectors_that_are_all_equal_are_in_one_place():
    np.testing.assert_array_equal(between(np.full((5, 7), 1.3, np.float32), 2), 0)


class Reader:
    """Gives vectors out, and notes when it starts and how many it has given since."""

    def __init__(self, vectors):
        self.vectors, self.given = vectors, {}

    def __call__(self, start):
        assert start not in self.given, "a block is begun twice"
        self.given[start] = 0
        for vector in self.vectors[start:]:
            self.given[start] += 1
            yield vector


@pytest.mark.parametrize(
    ("rows", "starts"), [(10, [0, 10, 20]), (23, [0]), (100, [0]), (8, [0, 8, 16]), (1, range(23))]
)
def test_the_reader_starts_anew_for_each_block_and_reads_to_the_end(vectors, rows, starts):
    reader = Reader(vectors)
    distances(reader, N, LENGTH, 4 * LENGTH * rows)
    assert reader.given == {start: N - start for start in starts}


def test_memory_is_bounded_by_a_block_and_a_chunk(monkeypatch):
    n, length, rows = 40, 25_000, 4  # of 4 MB, 400 kB at a time

    def read(start):
        for row in range(start, n):
            yield np.full(length, row, np.float32)

    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * length * rows)
    tracemalloc.start()
    distances(read, n, length, 4 * length * rows)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # a block, a chunk, a vector, and the mean of a block in float64
    assert most < 1.5 * (2 * rows + 1 + 2) * 4 * length


def test_a_vector_longer_than_a_block_is_read_alone(vectors):
    assert_close(distances(rows_of(vectors), N, LENGTH, block_bytes=7), vectors)


def test_one_run_is_no_error():
    found = distances(rows_of(np.ones((1, 3), np.float32)), 1, 3)
    np.testing.assert_array_equal(found, [[0]])


def test_the_vectors_are_left_as_they_were(vectors):
    before = vectors.copy()
    between(vectors, 5)
    np.testing.assert_array_equal(vectors, before)
