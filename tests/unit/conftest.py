"""What the unit tests share: a small config, a small dataset, small shards."""

import os

# read when numpy and torch are first imported: two threads on tiny arrays only cost time
os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import weightscape.kernels.primitives  # noqa: F401  # chooses BLAS's kernels, before scipy loads them
from weightscape.storage.shards import CURVES, Header, RunRecord, write_shard

# the same examples each time; `pytest --hypothesis-profile=explore` looks further
settings.register_profile(
    "ring",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.register_profile(
    "explore",
    deadline=None,
    max_examples=2000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("ring")


@pytest.fixture(autouse=True)
def usual_floats():
    """Training may let the processor take the smallest floats for zero; other tests need them."""
    yield
    if "weightscape.kernels.floats" in sys.modules:
        sys.modules["weightscape.kernels.floats"].flush_denormals(False)


@pytest.fixture
def small():
    """The smallest config that is right, to be changed by a test."""
    return {
        "study": "small",
        "populations": [{"model": "dnn", "dataset": "digits", "widths": [4, "3x5"], "seeds": 3}],
    }


@pytest.fixture
def zoo(tmp_path):
    """A config that imports networks of a model `mine`, by the rows of its table."""
    (tmp_path / "nets").mkdir()

    def write(text="file,width,train_accuracy,test_accuracy\n", rows=("a,4,90,80", "b,4,91,81")):
        (tmp_path / "runs.csv").write_text(text + "\n".join(rows))
        layers = {"one": {"weight": "0.weight"}, "two": {"weight": "2.weight", "reads": "one"}}
        item = {
            "model": "mine",
            "dataset": "pets",
            "folder": str(tmp_path / "nets"),
            "table": str(tmp_path / "runs.csv"),
            "classes": 3,
            "layers": layers,
        }
        return {"study": "zoo", "import": [item]}

    return write


@pytest.fixture(scope="session")
def arrays():
    """40 images (4 x 4, three classes, every fourth for testing) that a small network can learn."""
    random = np.random.default_rng(0)
    labels = np.arange(40) % 3
    images = random.integers(0, 60, (40, 4, 4))
    images[np.arange(40), labels] += 150
    return {
        "images": images.astype(np.uint8),
        "labels": labels,
        "split": np.where(np.arange(40) % 4 == 3, "test", "train"),
    }


@pytest.fixture(scope="session")
def own(arrays, tmp_path_factory):
    """A config's description of the small dataset, with its file."""
    path = tmp_path_factory.mktemp("own") / "own.npz"
    np.savez(path, **arrays)
    return {
        "file": str(path),
        "images": "images",
        "labels": "labels",
        "split": "split",
    }


@pytest.fixture(scope="session")
def dataset(own, tmp_path_factory):
    """The small dataset as prepared: 30 images to train on, 10 to test."""
    from weightscape.preparing.datasets import prepare

    path = tmp_path_factory.mktemp("prepared") / "own.h5"
    prepare("own", path, own, None, Path("unused"))
    return path


@pytest.fixture(scope="session")
def originals(tmp_path_factory):
    """Name -> the dataset made from the original files; each is made once."""
    from originals import ORIGINALS
    from weightscape.preparing.datasets import prepare
    from weightscape.storage.images import load

    folder = tmp_path_factory.mktemp("originals")

    @functools.cache
    def get(name):
        prepare(name, folder / f"{name}.h5", None, Path(ORIGINALS), folder / "downloads")
        return load(folder / f"{name}.h5")

    return get


def _record(seed: int, epochs: list[int], final_epoch: int) -> RunRecord:
    random = np.random.default_rng(seed)
    shapes = {
        "conv1.weight": (2, 1, 3, 3),
        "conv1.bias": (2,),
        "fc.weight": (3, 8),
        "fc.bias": (3,),
        "position": (4, 2),
        "norm1.weight": (2,),
    }
    snapshots = {
        epoch: {name: random.normal(size=s).astype(np.float32) for name, s in shapes.items()}
        for epoch in epochs
    }
    curves = {name: random.uniform(0, 100, final_epoch + 1) for name in CURVES}
    final = {name: random.uniform(0, 100) for name in CURVES}
    names = ("dead_units/conv1", "gradient_norm/conv1", "gradient_norm/fc")
    telemetry = {name: random.uniform(size=final_epoch + 1) for name in names}
    predictions = {"test": random.integers(0, 3, 12, dtype=np.uint8)}
    return RunRecord(seed, snapshots, curves, final, telemetry, predictions)


@pytest.fixture(scope="session")
def header():
    """What the runs of the synthetic shards have in common."""
    return Header(
        model="cnn",
        dataset="digits",
        width="2",
        recipe={"version": 1, "epochs": 3, "options": {"head": "flatten"}},
        dataset_digest="0123456789abcdef",
        software={"torch": "2.0", "threads": 1},
        device="cpu (x86_64)",
        final_epoch=3,
        layers=["conv1", "fc"],
    )


@pytest.fixture(scope="session")
def synthesise(header):
    """Write a shard of random numbers for given seeds; returns what was written."""

    def write(path: Path, seeds, **changes) -> list[RunRecord]:
        ours = header._replace(**changes)
        epochs = sorted({0, 1, ours.final_epoch})
        records = [_record(seed, epochs, ours.final_epoch) for seed in seeds]
        write_shard(path, ours, len(records), ["position", "norm1.weight"], records)
        return records

    return write


@pytest.fixture
def edited(tmp_path):
    """Make a copy of an HDF5 file after `edit(file)`, without the seal that would tell of it."""

    def make(path: Path, edit: Callable[[h5py.File], object]) -> Path:
        copy = tmp_path / "edited.h5"
        with h5py.File(path) as file, h5py.File(copy, "w") as plain:
            for name in file:
                file.copy(name, plain)
            plain.attrs.update(file.attrs)
            edit(plain)
        return copy

    return make


class DamagedFiles:
    """Damages copies of files, and says what came of reading them in a process apart."""

    PATIENCE = 5.0  # seconds; reading takes milliseconds

    def __init__(self, folder: Path):
        self.copy, self.process = folder / "damaged.h5", None
        self.sound = functools.cache(lambda kind, path: self.read(kind, path.read_bytes()))

    def _start(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("read_damaged.py"))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout.readline() == b"ready\n"

    def read(self, kind: str, content: bytes) -> str:
        """`read` and a digest of all that was read, `refused`, or what else happened."""
        self.copy.write_bytes(content)
        if self.process is None:
            self._start()
        self.process.stdin.write(f"{kind} {self.copy}\n".encode())
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], self.PATIENCE)
        answer = self.process.stdout.readline().decode(errors="replace").strip() if ready else ""
        if not answer:
            self.close()
        return answer or ("a crash" if ready else "no end")

    def fault(self, kind: str, path: Path, damaged: bytes) -> str | None:
        """None if the damaged file is refused by name or read as it was: never other numbers."""
        found = self.read(kind, damaged)
        if found == "refused" or found == self.sound(kind, path):
            return None
        return "other numbers" if found.startswith("read ") else found

    def fault_of_flip(self, kind: str, path: Path, place: int, flip: int) -> str | None:
        damaged = bytearray(path.read_bytes())
        damaged[place] ^= flip
        return self.fault(kind, path, bytes(damaged))

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture(scope="session")
def damaged_files(tmp_path_factory):
    files = DamagedFiles(tmp_path_factory.mktemp("damaged"))
    yield files
    files.close()


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Write a command, as lines of shell; `calls` of it are noted in a file of its name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))  # and not a Slurm that is there

    def write(name, script):
        path = folder / name
        path.write_text(
            f'#!/bin/sh\nPATH=/usr/bin:/bin\ncd "{tmp_path}"\necho "$*" >> {name}.calls\n{script}\n'
        )
        path.chmod(0o755)

    return write


@pytest.fixture
def calls(tmp_path):
    def read(name):
        path = tmp_path / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []

    return read
