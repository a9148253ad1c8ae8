"""Distances between runs, by a Gram matrix that is made block by block."""

from collections.abc import Callable, Iterator

import numpy as np

BLOCK_BYTES = 2**30 - 2**28  # of the runs that are in memory together
CHUNK_BYTES = 2**25

Vectors = Callable[[int], Iterator[np.ndarray]]
"""From a run's number on, each run's vector (length,) float32; read again for each block."""


def distances(vectors: Vectors, n: int, length: int, block_bytes: int = BLOCK_BYTES) -> np.ndarray:
    """Euclidean distances between `n` vectors of `length` numbers, (n, n) float32.

    Blocks of vectors, together at most `block_bytes`, are in memory one at a time, and the later
    ones stream past them: n^2 numbers and a block bound the memory, whatever the length is. From
    the Gram matrix, d_ij^2 = g_ii + g_jj - 2 g_ij; vectors are centred on one of median norm, which
    no outlier moves, so that the difference loses few digits. Equal vectors may come out at 1e-3 of
    a norm.
    """
    gram = np.empty((n, n), np.float32)
    rows = max(1, min(n, block_bytes // (4 * length)))
    chunk_rows = max(1, CHUNK_BYTES // (4 * length))
    centre: np.ndarray | None = None
    for start in range(0, n, rows):
        stream, here = vectors(start), min(rows, n - start)
        block = _take(stream, here, length)
        if centre is None:
            norms = np.einsum("ij,ij->i", block, block)
            centre = block[np.argsort(norms)[here // 2]].copy()
        block -= centre
        gram[start : start + here, start : start + here] = block @ block.T
        for first in range(start + here, n, chunk_rows):
            chunk = _take(stream, min(chunk_rows, n - first), length)
            chunk -= centre
            product = chunk @ block.T
            gram[first : first + len(chunk), start : start + here] = product
            gram[start : start + here, first : first + len(chunk)] = product.T
    return _from_gram(gram)


def _take(stream: Iterator[np.ndarray], n: int, length: int) -> np.ndarray:
    taken = np.empty((n, length), np.float32)
    for row in range(n):
        taken[row] = next(stream)
    return taken


def _from_gram(gram: np.ndarray) -> np.ndarray:
    """Distances in the place of the Gram matrix."""
    squares = gram.diagonal().astype(np.float64)
    for row, products in enumerate(gram):
        squared = squares[row] + squares - 2.0 * products
        np.sqrt(np.maximum(squared, 0), out=products, casting="same_kind")
        products[row] = 0
    return gram
