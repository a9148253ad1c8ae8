"""Bad input: one clear error before any job starts."""

import re

import pytest


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
    assert all(word in done.stdout + done.stderr for word in words)
    assert "Traceback" not in done.stdout + done.stderr
    assert not (fresh.folder / "results").exists()


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
