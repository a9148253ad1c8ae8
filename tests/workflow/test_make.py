"""What make says where Python is missing or too old."""

import os
import shutil
import subprocess

import pytest

from project import ROOT


@pytest.fixture
def clone(tmp_path):
    """What `make setup` needs of a checkout."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy2(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    return tmp_path


def make_setup(folder, python):
    return subprocess.run(
        ["make", "setup", f"PYTHON={python}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_python_is_one_clear_line(clone):
    done = make_setup(clone, "python-that-is-nowhere")
    assert done.returncode != 0
    line = done.stderr.splitlines()[0]
    assert line.startswith("make: there is no python-that-is-nowhere; install Python 3.11")
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("character", [*" ()&;\"'$`\\*?[]#~<>|!{}:\n"])
def test_a_path_from_which_no_job_could_start_is_one_clear_line(clone, character):
    folder = clone / f"my{character}study" / "weightscape"
    shutil.copytree(clone, folder, ignore=shutil.ignore_patterns("my*"))
    done = make_setup(folder, "python-that-is-nowhere")
    assert done.returncode != 0
    assert f"has '{character}' in it, with which no job can start; move the" in done.stderr
    assert not (folder / ".venv").exists()


@pytest.mark.parametrize("name", ["a-b_c.d+e@f%g,h=i", "\u00fcber"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_another_path_is_taken(clone, name, locale, monkeypatch):
    monkeypatch.setenv("LC_ALL", locale)
    folder = clone / name
    shutil.copytree(clone, folder, ignore=shutil.ignore_patterns(name))
    assert (
        "there is no python-that-is-nowhere" in make_setup(folder, "python-that-is-nowhere").stderr
    )


@pytest.mark.parametrize("version", ["3.10", "2.7", "3.14"])
def test_a_python_of_another_version_is_one_clear_line(clone, version):
    python = clone / "oldpython"
    python.write_text(f"#!/bin/sh\necho {version}\n")
    python.chmod(0o755)
    done = make_setup(clone, "./oldpython")
    assert done.returncode != 0
    assert f"is Python {version}; 3.11, 3.12 or 3.13 is needed" in done.stderr.splitlines()[0]
    assert not (clone / ".venv").exists()


def make_of(config, target):
    """As in a terminal, though `make test` runs this test."""
    outer = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    return subprocess.run(
        ["make", "-o", ".venv/ready", target, f"CONFIG={config}"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in outer},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "mine.yaml can't be read"),
        ("study: mine".encode("utf-16"), "mine.yaml"),
        (b"a: &a [*a]", "mine.yaml"),
    ],
)
@pytest.mark.parametrize("target", ["plan", "status", "explorer", "report"])
def test_a_config_that_can_not_be_read_is_one_line(tmp_path, target, content, why):
    config = tmp_path / "mine.yaml"
    if content:
        config.write_bytes(content)
    done = make_of(config, target)
    assert done.returncode != 0
    first, *rest = done.stderr.splitlines()
    assert first.startswith("weightscape: ")
    assert why in first
    assert all(line.startswith("make: ***") for line in rest)


def test_what_is_typed_most_has_a_target():
    done = make_of("config/test.yaml", "plan")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Study test: ")
