"""What is known of the built-in datasets before any of them is opened, and their names."""

from typing import NamedTuple


class Dataset(NamedTuple):
    """Sizes of a dataset: image shape (channels, height, width), classes, images per split."""

    shape: tuple[int, int, int]
    classes: int
    train: int
    test: int
    files: tuple[str, ...] = ()
    """The original files, in torchvision's layout; none where the images are embedded."""


def _idx_files(folder: str) -> tuple[str, ...]:
    splits = [
        ("train", "images-idx3"),
        ("train", "labels-idx1"),
        ("t10k", "images-idx3"),
        ("t10k", "labels-idx1"),
    ]
    return tuple(f"{folder}/raw/{split}-{kind}-ubyte.gz" for split, kind in splits)


_CIFAR_FILES = tuple(
    f"cifar-10-batches-py/{name}"
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]
)

BUILTIN = {
    "digits": Dataset((1, 8, 8), 10, 1500, 297),
    "mnist": Dataset((1, 28, 28), 10, 60_000, 10_000, _idx_files("MNIST")),
    "fmnist": Dataset((1, 28, 28), 10, 60_000, 10_000, _idx_files("FashionMNIST")),
    "cifar10": Dataset((3, 32, 32), 10, 50_000, 10_000, _CIFAR_FILES),
}

TITLES = {
    "dnn": "DNN",
    "cnn": "CNN",
    "vit": "ViT",
    "digits": "digits",
    "mnist": "MNIST",
    "fmnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
}
"""Models and datasets as the paper writes them."""

ALL = "all"
"""Dataset of an answer for a family, and model too of that by the statements of everything."""
