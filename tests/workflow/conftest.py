"""The project as cloned, and studies that are finished once for all tests and workers."""

import copy
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from project import ROOT, Project


@pytest.fixture(scope="session")
def test_study() -> dict:
    return yaml.safe_load((ROOT / "config" / "test.yaml").read_text())


@pytest.fixture
def fresh(tmp_path: Path, test_study: dict) -> Project:
    """The project as cloned, and a study for one test to change."""
    return Project.create(tmp_path / "fresh", copy.deepcopy(test_study))


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """`once(name, make)`: the folder that `make(folder)` filled for the first test that asked.

    Workers of pytest-xdist share it, and wait for the one that is at it.
    """
    top = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        top = top.parent

    def get(name: str, make: Callable[[Path], object]) -> Path:
        folder = top / f"shared-{name}"
        with folder.with_suffix(".lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            if not lock.read():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
                make(folder)
                lock.write("made")
        return folder

    return get


@pytest.fixture(scope="session")
def finished_study(once: Callable, test_study: dict) -> Project:
    """config/test.yaml run to its end; only to be read or copied."""
    folder = once("finished", lambda f: Project.create(f, test_study).succeed())
    return Project(folder, test_study)


@pytest.fixture
def finished(finished_study: Project, tmp_path: Path) -> Project:
    """A copy of the finished study, for one test to change."""
    return finished_study.copy(tmp_path / "finished")
