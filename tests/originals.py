"""The original files of MNIST, Fashion-MNIST and CIFAR-10, where this machine has them."""

import os

import pytest

ORIGINALS = os.environ.get("WEIGHTSCAPE_DATASETS")
needs_originals = pytest.mark.skipif(
    not ORIGINALS,
    reason="WEIGHTSCAPE_DATASETS names no folder with MNIST, FashionMNIST and cifar-10-batches-py",
)
