"""Bad input: one clear error before any job starts."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml

from project import Project

IMAGES = {
    "{i}": np.arange(8 * 9, dtype=np.uint8).reshape(8, 3, 3),
    "labels": np.array([0, 1] * 4),
    "split": np.array([0] * 4 + [1] * 4),
}
"""A dataset of one's own, with an odd name."""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runs_per_jobs": 2}, ["runs_per_jobs", "did you mean 'runs_per_job'"]),
        ({"training": {"epochs": -1}}, ["training.epochs", "-1 is too small"]),
        ({"data_folder": "/nowhere"}, ["data_folder", "/nowhere"]),
        (
            {"populations": [{"model": "vit", "dataset": "digits", "widths": [3], "seeds": 1}]},
            ["populations[0].widths", "must divide d_model"],
        ),
    ],
)
def test_a_bad_config_is_one_error_before_any_job(fresh, change, words):
    fresh.study |= change
    done = fresh.run()
    assert done.returncode != 0
    assert all(word in done.stdout + done.stderr for word in ["the config study.yaml", *words])
    assert not any(word in done.stdout + done.stderr for word in ("Traceback", "File ", "in file"))
    assert not (fresh.folder / "results").exists()


def test_a_question_about_what_is_bad_has_its_one_error(fresh):
    """Of the config, and of images that are read for the answer."""
    (fresh.folder / "mine.npz").write_bytes(b"no archive")
    own = {"mine": {"file": "mine.npz"}}
    of_own = {"model": "dnn", "dataset": "mine", "widths": [3], "seeds": 1}
    for change, reason in (
        ({"datasets": own, "populations": [of_own]}, "mine.npz is not a readable"),
        ({"sudy": "x"}, "the config study.yaml can't be used:"),
    ):
        fresh.study |= change
        done = fresh.run("status")
        assert done.returncode != 0
        assert done.stdout == ""
        of_profile, *lines = filter(None, done.stderr.splitlines())
        assert of_profile.startswith("Using workflow specific profile")
        assert lines[0].startswith(f"weightscape: {reason}")
        assert len(lines) == (2 if "sudy" in change else 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"notify: caf\xe9\n",
            "config/config.yaml is not UTF-8 text (see byte 12); save it as UTF-8",
        ),
        (b"study: &a [*a]\n", "config/config.yaml is nested more than 50 levels deep, or refers"),
        (
            b"device: cpu\ndevice: cuda\n",
            "config/config.yaml has the key 'device' twice, in line 1",
        ),
    ],
)
def test_a_file_that_is_no_config_is_one_sentence(fresh, content, words):
    """Of the default config, which is read here before Snakemake reads it."""
    (fresh.folder / "config" / "config.yaml").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n"],
        cwd=fresh.folder,
        env=fresh.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_key_twice_is_told_of_the_file_that_is_given(fresh):
    command = fresh.command("-n", "--config", "device=cpu", "--")
    text = yaml.safe_dump(fresh.study)
    (fresh.folder / "study.yaml").write_text(text + "runs_per_job: 1\nruns_per_job: 2\n")
    command.remove("--")
    done = subprocess.run(
        command,
        cwd=fresh.folder,
        env=fresh.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the config study.yaml has the key 'runs_per_job' twice" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda results: results.write_text(""), "results is no folder, and results go there: rem"),
        (lambda results: results.symlink_to("results"), "results is no folder"),
        (
            lambda results: (results / "test" / ".lock").mkdir(parents=True),
            "the study test can't be locked: results/test/.lock can't be written (Is a directory)",
        ),
    ],
)
def test_results_that_can_t_be_written_are_one_sentence(fresh, make, words):
    make(fresh.folder / "results")
    done = fresh.run()
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert words in output
    assert "Traceback" not in output


def test_a_python_that_starts_no_job_is_one_sentence(fresh):
    """A command of Snakemake's breaks at a space in the path of its Python."""
    python = fresh.folder / "my python (1)"
    python.symlink_to(sys.executable)
    command = fresh.command("-n")
    paths = os.pathsep.join(filter(None, sys.path))  # a link finds no packages
    done = subprocess.run(
        [str(python), *command[1:]],
        cwd=fresh.folder,
        env=fresh.environment | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"no job can start from {python}, whose path has ' ' in it" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_packages_of_a_module_system_s_python_are_left_out(fresh):
    """Those of PYTHONPATH come before the environment's own, here one that fails."""
    foreign = fresh.folder / "sw" / "python3.9" / "site-packages"
    own = fresh.folder / "mine"
    for folder, name in ((foreign, "h5py.py"), (own, "mine.py")):
        folder.mkdir(parents=True)
        (folder / name).write_text("1 / 0\n")
    fresh.environment["PYTHONPATH"] = f"{own}:{foreign}"
    output = fresh.succeed("results/datasets/digits.h5")
    warning = f"PYTHONPATH has packages of another Python, which are left out: {foreign}."
    assert output.count(warning) == 1


def test_a_folder_with_a_brace_is_one_sentence(tmp_path, test_study):
    done = Project.create(tmp_path / "my {study}", test_study).run("-n")
    assert done.returncode != 0
    assert (
        "{study}/workflow, whose path has '{' in it: move the folder" in done.stdout + done.stderr
    )
    assert "Traceback" not in done.stdout + done.stderr


def test_a_folder_with_a_space_does_where_python_lies_elsewhere(tmp_path, test_study):
    project = Project.create(tmp_path / "my study (1)", test_study)
    project.succeed("results/datasets/digits.h5")


def test_a_name_with_a_brace_is_one_sentence(fresh):
    """Where Snakemake would take it for a wildcard."""
    (fresh.folder / "a{b}.npz").write_bytes(b"")
    fresh.study["datasets"] = {"mine": {"file": "a{b}.npz"}}
    done = fresh.run("-n")
    assert done.returncode != 0
    words = "datasets.mine.file: a{b}.npz has a brace, which is a wildcard to Snakemake"
    assert words in done.stdout + done.stderr


def test_a_brace_elsewhere_does_no_harm(fresh):
    (fresh.folder / "{x}").mkdir()
    np.savez(fresh.folder / "mine.npz", **IMAGES)
    fresh.study |= {
        "data_folder": "{x}",
        "notify": "echo '{x} {}' > told",
        "datasets": {"mine": {"file": "mine.npz", "images": "{i}"}},
    }
    fresh.study["populations"] = [{"model": "dnn", "dataset": "mine", "widths": [3], "seeds": 1}]
    fresh.succeed("weights")
    assert (fresh.folder / "told").read_text() == "{x} {}\n"


def test_a_broken_dataset_of_ones_own_is_one_error(fresh):
    (fresh.folder / "mine.npz").write_bytes(b"no archive")
    fresh.study |= {
        "datasets": {"mine": {"file": "mine.npz"}},
        "populations": [{"model": "dnn", "dataset": "mine", "widths": [3], "seeds": 1}],
    }
    done = fresh.run()
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "weightscape: mine.npz is not a readable .npz or HDF5 file" in output
    # Snakemake's own words for it, with the log, among lines that are few otherwise
    assert "Error in rule prepare_dataset:\n" in output
    assert "Logfile results/datasets/logs/mine.log:\n====" in output
    assert re.search(r"^Study test: 0 of \d+ jobs, 1 job failed$", output, re.MULTILINE)
    assert len(output.splitlines()) < 30
    assert "Traceback" not in output
