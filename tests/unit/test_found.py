"""What is there of a study: one answer, by the recipe of the config, for plan and status alike."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import h5py
import pytest

from weightscape import study
from weightscape.monitor.found import find_shards
from weightscape.monitor.plan import make_plan
from weightscape.monitor.status import make_status
from weightscape.monitor.status import render as render_status
from weightscape.storage.hdf5 import read_note
from weightscape.storage.shards import is_made_otherwise, open_shard
from weightscape.study.config import check
from weightscape.study.recipes import digest_of_shards, recipe, wanted_digest

SCRIPT = Path(__file__).parents[2] / "workflow/scripts/train_runs.py"
NOW = 1_800_000_000
EPOCHS = [0, 1, 3]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(small):
    """Four runs in two shards, three epochs as the shards of `synthesise` have them."""
    small["populations"][0] |= {"widths": [4], "seeds": 4}
    small |= {"runs_per_job": 2, "training": {"epochs": 3, "snapshots": [1, "last"]}}
    return small


@pytest.fixture
def train(synthesise):
    """Write the shards of some seeds, as if they were trained by a config."""

    def write(config, *names):
        full = check(config)
        (population,) = study.populations(full)
        folder = study.weights_folder("small", "dnn", "digits", "4")
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            synthesise(
                folder / f"seeds-{name}.h5",
                list(study.parse_seeds(name)),
                model="dnn",
                dataset="digits",
                width="4",
                recipe=recipe(full, population),
            )
        return folder

    return write


def counts(config):
    """Runs done and runs that would be replaced, as the plan has them and as the status does."""
    full = check(config)
    (planned,), (row,) = make_plan(full), make_status(full, NOW).rows
    assert sum(row.runs.values()) == planned.runs
    assert row.runs["failed"] == row.runs["running"] == 0
    told = planned.runs_done, planned.runs_replaced
    assert told == (row.runs["done"], row.runs_replaced)
    return told


def test_what_is_trained_by_the_recipe_is_done(config, train):
    assert counts(config) == (0, 0)
    train(config, "0000-0001")
    assert counts(config) == (2, 0)
    train(config, "0002-0003")
    assert counts(config) == (4, 0)
    (row,) = make_plan(check(config))
    assert row.cpu_hours_left == 0 < row.cpu_hours


def test_after_a_change_of_the_recipe_all_is_left_and_would_be_replaced(config, train):
    train(config, "0000-0001", "0002-0003")
    config["training"]["learning_rate"] = 0.002
    assert counts(config) == (0, 4)
    (row,) = make_plan(check(config))
    assert row.cpu_hours_left == row.cpu_hours
    text = render_status(check(config), make_status(check(config), NOW))
    assert "0 of 4 runs done, 0 running, 0 queued, 0 failed, 4 left" in text
    assert text.endswith("To keep them, give this study another name.")
    train(config, "0002-0003")
    assert counts(config) == (2, 2)


def test_the_log_of_a_shard_that_would_be_replaced_is_of_no_failed_job(config, train, tmp_path):
    train(config, "0000-0001")
    log = tmp_path / "results/small/logs/train_runs/dnn/digits/width-4/seeds-0000-0001.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-11-25 02:30:11 error: of long ago\n")
    config["training"]["epochs"] = 4
    assert counts(config) == (0, 2)


def test_other_snapshots_train_anew(config, train):
    train(config, "0000-0001")
    config["training"]["snapshots"] = ["last"]
    assert counts(config) == (0, 2)


def test_more_seeds_leave_what_is_there(config, train):
    train(config, "0000-0001", "0002-0003")
    config["populations"][0]["seeds"] = 5
    assert counts(config) == (4, 0)


def test_a_shard_of_other_hands_is_told_by_what_it_holds(config, train):
    """It has no user block, so no note."""
    folder = train(config, "0000-0001")
    path = folder / "seeds-0000-0001.h5"
    with h5py.File(path) as ours, h5py.File(folder / "copy", "w") as copy:
        copy.attrs.update(ours.attrs)
        for name in ours:
            ours.copy(name, copy)
    (folder / "copy").rename(path)
    assert read_note(path) == b""
    assert counts(config) == (2, 0)
    config["training"]["learning_rate"] = 0.002
    assert counts(config) == (0, 2)


def test_the_note_is_sealed(config, train):
    path = train(config, "0000-0001") / "seeds-0000-0001.h5"
    note = read_note(path)
    full = check(config)
    (population,) = study.populations(full)
    assert note.decode() == f"made by {wanted_digest(full, population)}\n"
    with open_shard(path) as shard:
        assert digest_of_shards(shard.header.recipe, EPOCHS) in note.decode()
    content = path.read_bytes()
    path.write_bytes(content.replace(note, note[:-2] + b"!\n", 1))
    with pytest.raises(Exception, match="is damaged, or was changed"), open_shard(path):
        pass


@pytest.mark.parametrize(
    ("there", "learning_rate", "trained"),
    [(True, 0.001, 0), (True, 0.002, 1), (False, 0.001, 1)],
    ids=["its shard is there", "another recipe's is there", "none is there"],
)
def test_a_job_whose_shard_is_there_trains_nothing(
    config, train, monkeypatch, there, learning_rate, trained
):
    """Snakemake has removed old shards: this one was made since the job was submitted."""
    folder = train(config, *["0000-0001"] * there)
    config["training"]["learning_rate"] = learning_rate
    full, jobs = check(config), []
    (population,) = study.populations(full)

    def leave():
        raise SystemExit

    monkeypatch.setattr("weightscape.engine.training.train_shard", jobs.append)
    monkeypatch.setattr("weightscape.messages.logs.leave", leave)
    snakemake = SimpleNamespace(
        config=full,
        wildcards=SimpleNamespace(model="dnn", dataset="digits", width="4", seeds="0000-0001"),
        input=SimpleNamespace(dataset="digits.h5"),
        output=[str(folder / "seeds-0000-0001.h5")],
        log=["job.log"],
        params=SimpleNamespace(
            recipe=study.canonical_json(recipe(full, population)), snapshots=EPOCHS
        ),
        threads=1,
        resources={},
    )
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), {"snakemake": snakemake})
    assert len(jobs) == trained


def test_what_is_no_shard_is_not_told_here(tmp_path):
    for content in (b"", b"text", b"weightscape\n", b"weightscape\nblake2b 0\n\xff"):
        (tmp_path / "f.h5").write_bytes(content)
        assert not is_made_otherwise(tmp_path / "f.h5", "0123")
    assert not is_made_otherwise(tmp_path / "away.h5", "0123")


def test_runs_that_are_not_asked_for_are_not_counted(config, train):
    train(config, "0002-0003")
    config["populations"][0]["seeds"] = 3
    full = check(config)
    (population,) = study.populations(full)
    found = find_shards(full, population, "4")
    assert found.done == {range(2, 4)}
    assert found.count_runs(population, "4", found.done) == 1
