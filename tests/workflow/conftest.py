"""The project as cloned, and with the test study finished."""

from pathlib import Path

import pytest
import yaml

from project import ROOT, Project


@pytest.fixture
def test_study() -> dict:
    return yaml.safe_load((ROOT / "config" / "test.yaml").read_text())


@pytest.fixture
def fresh(tmp_path: Path, test_study: dict) -> Project:
    """The project as cloned."""
    return Project.create(tmp_path / "fresh", test_study)


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """config/test.yaml run to its end, once; only to be read or copied."""
    study = yaml.safe_load((ROOT / "config" / "test.yaml").read_text())
    project = Project.create(tmp_path_factory.mktemp("finished") / "project", study)
    project.succeed()
    return project


@pytest.fixture
def finished(finished_study: Project, tmp_path: Path) -> Project:
    """A copy of the finished study, for one test to change."""
    return finished_study.copy(tmp_path / "finished")
