"""Bad input: one clear error before any job starts."""

import re
import subprocess
import sys

import pytest
import yaml


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
    assert "Traceback" not in done.stdout + done.stderr
    assert not (fresh.folder / "results").exists()


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
