"""A whole study that is killed at random moments ends as one that nothing disturbed.

WEIGHTSCAPE_KILLS asks for more kills, and then of the quick study: `make fuzz` does.
"""

import hashlib
import os
import random
import signal
import subprocess

import pytest
import yaml

from project import ROOT, Project

KILLS = int(os.environ.get("WEIGHTSCAPE_KILLS", "0"))


def contents(project):
    """Path -> digest of all that a study measures and shows."""
    paths = [
        path
        for part in ("weights", "measures", "tables", "figures")
        for path in (project.results / part).rglob("*")
        if path.is_file() and path.suffix in (".h5", ".csv", ".html", ".svg")
    ]
    return {
        str(path.relative_to(project.results)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def kill_after(seconds, project):
    """Whether the study was still at work when it was killed, with all of its jobs."""
    process = subprocess.Popen(
        project.command(),
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.fixture
def undisturbed(finished_study, test_study, once):
    if not KILLS:
        return finished_study
    quick = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    return Project(once("quick", lambda f: Project.create(f, quick).succeed()), quick)


def test_kills_at_random_moments_change_no_byte(undisturbed, tmp_path):
    project = Project.create(tmp_path / "killed", undisturbed.study)
    moments = random.Random(0)
    killed = sum(kill_after(moments.uniform(2, 12), project) for _ in range(KILLS or 3))
    assert killed
    project.succeed()
    found, expected = contents(project), contents(undisturbed)
    assert found.keys() == expected.keys()
    assert {name for name, digest in found.items() if digest != expected[name]} == set()
    assert "Nothing to be done" in project.succeed("-n")
