"""Bad input: one clear error before any job starts."""

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
    assert "Traceback" not in output
