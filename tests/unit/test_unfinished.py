"""Unfinished jobs: killed anywhere, they resume at the last finished run, to the same bytes."""

import contextlib
import io
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from cases import VIT, make_recipe
from weightscape.engine import devices, training
from weightscape.engine.training import TrainingJob, train_shard
from weightscape.errors import WeightscapeError
from weightscape.files import replace_whole
from weightscape.messages import progress
from weightscape.messages.progress import Progress
from weightscape.preparing.datasets import prepare
from weightscape.storage import hdf5
from weightscape.storage.hdf5 import write_file
from weightscape.storage.shards import Header, open_shard
from weightscape.storage.unfinished import Unfinished, _what_counts
from weightscape.study.paths import run_name, unfinished_folder

SEEDS = [4, 2, 7, 0]
EPOCHS = 3
CASES = {"dnn": ("6x5", {}), "cnn": ("4", {"head": "flatten"}), "vit": ("2", VIT)}


class Killed(BaseException):
    """Stands for the signal that ends a job."""


def a_job(folder, dataset, seeds=SEEDS, model="dnn", snapshots=(0, 1), threads=1, **changes):
    """The arguments of a training job in `folder`."""
    width, options = CASES[model]
    recipe = make_recipe(**({"options": options, "epochs": EPOCHS} | changes))
    return {
        "dataset": dataset,
        "target": folder / "weights" / "s.h5",
        "model": model,
        "width": width,
        "seeds": seeds,
        "recipe": recipe,
        "snapshot_epochs": list(snapshots),
        "device": "cpu",
        "threads": threads,
        "unfinished": folder / unfinished_folder("s", model, "own", width),
    }


CHILD = """
import json, sys, time
from pathlib import Path
from weightscape.errors import WeightscapeError
from weightscape.messages.progress import Progress
from weightscape.engine.training import TrainingJob, train_shard

job, calls_until_sleep = json.loads(sys.argv[1]), int(sys.argv[2])
tell = Progress.epoch

def epoch(self, *line):
    global calls_until_sleep
    calls_until_sleep -= 1
    if calls_until_sleep == 0:
        time.sleep(600)
    tell(self, *line)

Progress.epoch = epoch
try:
    train_shard(TrainingJob(**{k: Path(v) if k in ("dataset", "target", "unfinished") else v
                       for k, v in job.items()}))
except WeightscapeError as error:
    sys.exit(f"weightscape: {error}")
"""


# weightscape.engine sets the kernels of scipy's BLAS alone, but a child's numpy would take them too
KERNELS = [info["architecture"] for info in threadpool_info() if "numpy" in info["filepath"]]
ENVIRONMENT = os.environ | ({"OPENBLAS_CORETYPE": KERNELS[0]} if KERNELS else {})


def in_a_child(job, calls_until_sleep=0):
    """The command that does the job in a process of its own."""
    return [sys.executable, "-c", CHILD, json.dumps(job, default=str), str(calls_until_sleep)]


@pytest.fixture
def seen(monkeypatch):
    """Seeds of the stacks that train, in their order."""
    stacks, train = [], training.train_stack

    def note(network, keys, *others):
        stacks.append([key.seed for key in keys])
        return train(network, keys, *others)

    monkeypatch.setattr(training, "train_stack", note)
    return stacks


@pytest.fixture
def train(dataset, tmp_path, seen):
    """Do a job to its end; returns the bytes of its shard and the stacks that it trained."""

    def run(**changes):
        seen.clear()
        job = a_job(tmp_path, **({"dataset": dataset} | changes))
        train_shard(TrainingJob(**job))
        return job["target"].read_bytes(), list(seen)

    return run


@pytest.fixture
def whole(dataset, tmp_path_factory):
    """The bytes of the shard of a job that keeps nothing and that nothing interrupts."""

    def run(**changes):
        job = a_job(tmp_path_factory.mktemp("whole"), **({"dataset": dataset} | changes))
        train_shard(TrainingJob(**job | {"unfinished": None}))
        return job["target"].read_bytes()

    return run


@pytest.fixture
def killed(train, monkeypatch):
    """A job that ends in the middle of an epoch's end, after `epochs` of them."""

    def run(epochs, **changes):
        tell, told = Progress.epoch, []

        def die(self, *line):
            told.append(line)
            if len(told) > epochs:
                raise Killed
            tell(self, *line)

        with monkeypatch.context() as patch:
            patch.setattr(Progress, "epoch", die)
            with pytest.raises(Killed):
                train(**changes)

    return run


@pytest.fixture
def finished(train, monkeypatch):
    """A job that ends when all its runs are kept, and its shard is not yet there."""

    def run(**changes):
        def die(*_):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Progress, "__exit__", die)
            with pytest.raises(Killed):
                train(**changes)

    return run


def kept(tmp_path):
    """Names of all files of unfinished jobs."""
    return sorted(path.name for path in tmp_path.rglob("unfinished/**/*") if path.is_file())


def nothing_is_left(tmp_path):
    names = sorted(path.name for path in (tmp_path / "weights").iterdir())
    return names == ["s.h5"] and not (tmp_path / "results/s/unfinished").exists()


def the_file(tmp_path, seed):
    return next(tmp_path.rglob(run_name(seed)))


# resuming


@pytest.mark.parametrize("model", CASES)
@pytest.mark.parametrize("runs", range(len(SEEDS)))
def test_a_killed_job_resumes_at_its_last_finished_run(train, killed, whole, tmp_path, model, runs):
    killed(EPOCHS * runs + 1, model=model)
    assert kept(tmp_path) == sorted(map(run_name, SEEDS[:runs]))
    assert not (tmp_path / "weights" / "s.h5").exists()
    assert train(model=model) == (whole(model=model), [[seed] for seed in SEEDS[runs:]])
    assert nothing_is_left(tmp_path)


def test_a_job_may_be_killed_again_and_again(train, killed, whole, tmp_path):
    for _ in SEEDS[1:]:
        killed(EPOCHS + 1)
    assert train() == (whole(), [SEEDS[-1:]])
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("model", CASES)
def test_a_job_whose_runs_are_all_there_writes_its_shard(train, finished, whole, tmp_path, model):
    finished(model=model)
    assert train(model=model) == (whole(model=model), [])
    assert nothing_is_left(tmp_path)


def test_a_job_may_be_killed_before_it_has_cleared_up(train, whole, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(Unfinished, "discard", lambda *_: None)
        train()
    assert len(kept(tmp_path)) == len(SEEDS)
    assert train() == (whole(), [])
    assert nothing_is_left(tmp_path)


def test_a_job_that_the_kernel_kills_resumes(train, whole, dataset, tmp_path):
    job = a_job(tmp_path, dataset)
    child = subprocess.Popen(in_a_child(job, 2 * EPOCHS + 2), env=ENVIRONMENT)
    until = time.monotonic() + 120
    while run_name(2) not in kept(tmp_path):
        assert child.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert train() == (whole(), [[7], [0]])
    assert nothing_is_left(tmp_path)


def test_runs_that_turned_to_nan_are_kept_as_they_are(train, finished, whole):
    finished(learning_rate=1e30)
    assert train(learning_rate=1e30) == (whole(learning_rate=1e30), [])


def test_another_division_into_jobs_finds_the_runs_too(train, killed, whole, tmp_path):
    killed(2 * EPOCHS)
    assert train(seeds=[2, 5]) == (whole(seeds=[2, 5]), [[5]])
    assert kept(tmp_path) == [run_name(4)]
    assert train(seeds=[4]) == (whole(seeds=[4]), [])
    assert nothing_is_left(tmp_path)


def test_a_job_of_one_run_keeps_nothing(train, killed, tmp_path, monkeypatch):
    monkeypatch.setattr(Unfinished, "keep", None)
    killed(2, seeds=[3])
    train(seeds=[3])
    assert nothing_is_left(tmp_path)


def test_stacks_have_no_run_that_is_there(train, finished, whole, monkeypatch, tmp_path):
    finished(seeds=[4, 0])
    monkeypatch.setattr(training, "_runs_at_once", lambda *_: 2)
    seeds = [4, 2, 7, 0, 1]
    assert train(seeds=seeds)[1] == [[2, 7], [1]]
    (tmp_path / "whole.h5").write_bytes(whole(seeds=seeds))
    shards = (tmp_path / "weights" / "s.h5", tmp_path / "whole.h5")
    with open_shard(shards[0]) as shard, open_shard(shards[1]) as expected:
        assert shard.seeds == seeds
        for row in range(5):
            found, alone = (each.weight(EPOCHS, "fc3", row) for each in (shard, expected))
            np.testing.assert_allclose(found, alone, 1e-3, 1e-4)


def test_all_runs_of_a_stack_are_kept_before_the_next_trains(killed, monkeypatch, tmp_path):
    monkeypatch.setattr(training, "_runs_at_once", lambda *_: 3)
    killed(EPOCHS + 1)
    assert kept(tmp_path) == sorted(map(run_name, SEEDS[:3]))


# which runs are this job's


def flip(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda path: os.truncate(path, 2000),
        lambda path: os.truncate(path, 0),
        lambda path: path.write_text("text"),
    ],
    ids=["flip", "half", "empty", "text"],
)
def test_a_damaged_run_is_trained_anew(train, finished, whole, tmp_path, caplog, damage):
    caplog.set_level("INFO", "weightscape")
    finished()
    path = the_file(tmp_path, 2)
    damage(path)
    assert train() == (whole(), [[2]])
    (line,) = (text for text in caplog.messages if "again" in text)
    assert line.startswith("seed 2 is trained again: ")
    assert str(path) in line
    assert "delete" not in line
    assert nothing_is_left(tmp_path)


def test_a_run_under_the_name_of_another_is_trained_anew(train, finished, whole, tmp_path):
    finished()
    the_file(tmp_path, 4).replace(the_file(tmp_path, 2))
    assert train() == (whole(), [[4], [2]])


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 0.02},
        {"epochs": 2},
        {"options": {"dropout": 0.1}},
        {"snapshots": (0,)},
        {"snapshots": (0, 1, 2)},
        {"snapshots": (2,)},
        {"threads": 2},
    ],
    ids=str,
)
def test_runs_of_another_recipe_are_trained_anew(train, finished, whole, tmp_path, changes, caplog):
    caplog.set_level("INFO", "weightscape")
    finished()
    assert train(**changes) == (whole(**changes), [[seed] for seed in SEEDS])
    assert sum(": the kept run " in text for text in caplog.messages) == len(SEEDS)
    assert nothing_is_left(tmp_path)


def test_a_run_that_lacks_predictions_is_trained_anew(
    train, finished, whole, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO", "weightscape")
    keep = Unfinished.keep
    with monkeypatch.context() as patch:
        older = {"predictions": {}}
        patch.setattr(Unfinished, "keep", lambda self, run: keep(self, run._replace(**older)))
        finished()
    assert train() == (whole(), [[seed] for seed in SEEDS])
    assert sum("has no predictions (an older version" in text for text in caplog.messages) == len(
        SEEDS
    )


def test_runs_on_other_images_are_trained_anew(train, finished, whole, tmp_path, arrays):
    finished()
    arrays["images"][0] ^= 1
    np.savez(tmp_path / "own.npz", **arrays)
    own = {"file": str(tmp_path / "own.npz"), "split": "split", "channels": "first"}
    prepare(
        "own", tmp_path / "own.h5", own | {key: key for key in ("images", "labels")}, None, tmp_path
    )
    other = {"dataset": tmp_path / "own.h5"}
    assert train(**other) == (whole(**other), [[seed] for seed in SEEDS])


@pytest.mark.parametrize(
    ("key", "trained"),
    [
        *((key, []) for key in ("platform", "weightscape", "python", "h5py", "hdf5")),
        *((key, SEEDS) for key in ("numpy", "numba", "libc", "threads")),
    ],
)
def test_runs_count_unless_it_was_other_software_that_changes_bytes(
    train, finished, monkeypatch, caplog, key, trained
):
    caplog.set_level("INFO")
    finished()
    software = training.software
    monkeypatch.setattr(training, "software", lambda *asked: software(*asked) | {key: "other"})
    assert train()[1] == [[seed] for seed in trained]
    told = [line for line in caplog.messages if "is trained again" in line]
    assert len(told) == len(trained)
    assert all(f"was made by other software ({key} " in line for line in told)
    assert all(line.endswith(", here other)") for line in told)


NODE = """
import json, sys
from pathlib import Path
from weightscape.engine.training import TrainingJob, train_shard
from weightscape.messages.logs import job_log
job = json.loads(sys.argv[1])
paths = {key: Path(job[key]) for key in ("dataset", "target", "unfinished")}
with job_log(sys.argv[2]):
    train_shard(TrainingJob(**job | paths))
"""
# an x86 processor of 2013, which any of today can be taken for
HASWELL = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma"}


def test_runs_of_another_type_of_processor_do_not_count_and_the_log_names_it(
    finished, dataset, tmp_path
):
    if platform.machine() != "x86_64":
        pytest.skip("the other type is one of x86")
    finished(model="vit")  # for which little is compiled
    job, log = a_job(tmp_path, dataset, model="vit"), tmp_path / "job.log"
    command = [sys.executable, "-c", NODE, json.dumps(job, default=str), str(log)]
    subprocess.run(command, env=os.environ | HASWELL, check=True)
    told = [line for line in log.read_text().splitlines() if "is trained again" in line]
    assert len(told) == len(SEEDS)
    here = devices.software(1, with_torch=True)
    more = sorted(set(here["instructions"].split()) - {"sse4.2", "avx", "avx2", "fma"})
    for line in told:
        assert "was made on another type of processor (instructions " in line
        assert f"instructions {' '.join(more)}, here none" in line
        assert f"processor {here['processor']}, here haswell)" in line
    with open_shard(job["target"]) as shard:
        assert shard.header.software["processor"] == "haswell"
        assert shard.header.software["instructions"] == "avx avx2 fma sse4.2"


def test_of_a_gpu_s_runs_the_processor_does_not_count(tmp_path, header_of):
    there = header_of("cuda (x)", processor="a", blas="b", torch="2.9")
    assert _what_counts(there) == _what_counts(header_of("cuda (x)", torch="2.9"))
    assert _what_counts(there) != _what_counts(header_of("cuda (x)", torch="3.0"))


@pytest.fixture
def header_of():
    """A header whose device and software are given."""
    return lambda device, **software: Header(
        "dnn", "digits", "4", {}, "", software, device, 1, ["fc1"]
    )


# two jobs at the same time


def test_another_job_may_finish_first(train, killed, whole, dataset, tmp_path, monkeypatch):
    """Of the same runs, beside one that is resumed, whose files and folder it removes."""
    killed(EPOCHS + 1)
    child, tell = in_a_child(a_job(tmp_path, dataset)), Progress.epoch
    meetings = iter([lambda: subprocess.run(child, check=True, env=ENVIRONMENT)])

    def meet(self, *line):
        next(meetings, lambda: None)()
        tell(self, *line)

    monkeypatch.setattr(Progress, "epoch", meet)
    assert train() == (whole(), [[2], [7], [0]])
    assert next(meetings, None) is None
    assert nothing_is_left(tmp_path)


def test_a_run_that_another_job_removes_is_trained(train, finished, whole, tmp_path, monkeypatch):
    finished(seeds=[4, 7])
    find = Unfinished.find

    def find_and_lose(self, seeds):
        found = find(self, seeds)
        shutil.rmtree(self.folder)
        return found

    monkeypatch.setattr(Unfinished, "find", find_and_lose)
    assert train() == (whole(), [[4], [2], [7], [0]])
    assert nothing_is_left(tmp_path)


def test_a_folder_may_go_while_a_run_is_written(train, whole, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "weightscape")

    @contextlib.contextmanager
    def sweep_away(target):
        with replace_whole(target) as aside:
            if target.name == run_name(2):
                shutil.rmtree(target.parent)
            yield aside

    monkeypatch.setattr(hdf5, "replace_whole", sweep_away)
    assert train()[0] == whole()
    assert [text[:18] for text in caplog.messages if "not kept" in text] == ["seed 2 is not kept"]
    assert nothing_is_left(tmp_path)


def test_what_a_job_on_another_host_left_is_removed_and_runs_of_others_are_kept(
    train, killed, tmp_path
):
    killed(EPOCHS)
    folder = the_file(tmp_path, 4).parent
    (folder / f".{run_name(2)}.another.host-1.part").write_text("half")
    for name in (run_name(70), f".{run_name(70)}.another.host-1.part"):
        (folder / name).write_text("another job's")
    train()
    assert kept(tmp_path) == sorted([run_name(70), f".{run_name(70)}.another.host-1.part"])


# what is told


def test_the_log_counts_what_was_finished_before(train, killed, caplog):
    caplog.set_level("INFO", "weightscape")
    killed(3 * EPOCHS)
    caplog.clear()
    train()
    assert "3 of 4 runs were finished by an earlier attempt" in caplog.messages
    assert [text[:7] for text in caplog.messages if text.startswith("seed")] == [
        f"seed {seed}:"[:7] for seed in SEEDS
    ]
    assert any(text.startswith("4 of 4 runs") for text in caplog.messages)


def test_runs_of_an_earlier_attempt_tell_nothing_of_the_rate(monkeypatch, caplog):
    caplog.set_level("INFO", "weightscape")
    now = iter([0.0, 40.0, 80.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    job = Progress("dnn digits 5", 10, io.StringIO(), before=6)
    job.add()
    job.add()
    assert caplog.messages == ["8 of 10 runs, 40.0 s a run, about 80 s left"]


# a full disk


def aside(target):
    return target.with_name(f".{target.name}.{socket.gethostname()}-{os.getpid()}.part")


@pytest.mark.parametrize("size", [1, 100, 1_000_000])
def test_a_full_disk_is_one_error_with_the_file_and_the_remedy(tmp_path, size):
    target = tmp_path / "f.h5"
    aside(target).symlink_to("/dev/full")

    def write():
        with write_file(target, {"format_version": 1}) as file:
            for number in range(3):
                file.create_dataset(f"x{number}", data=np.ones((1, size)), chunks=(1, size))

    with pytest.raises(WeightscapeError, match=r"f\.h5 .* full.*Free some space"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_text_is_the_same_error(tmp_path):
    target = tmp_path / "f.csv"
    aside(target).symlink_to("/dev/full")
    with pytest.raises(WeightscapeError, match=r"f\.csv .* full"), replace_whole(target) as path:
        path.write_text("text")
    assert list(tmp_path.iterdir()) == []


def test_another_error_of_the_disk_is_its_own(tmp_path):
    with pytest.raises(FileNotFoundError), replace_whole(tmp_path / "f"):
        pass  # so that there is nothing to rename


def has_room_of_its_own():
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not has_room_of_its_own(), reason="no file system may be mounted here")
@pytest.mark.parametrize("size", [40, 64, 100])
def test_a_disk_that_fills_up_keeps_the_finished_runs(whole, dataset, tmp_path, size):
    """On a real one of so many KiB, which then grows: all files are of about 110."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = in_a_child(a_job(disk, dataset))
    steps = f"""
    mount -t tmpfs -o size={size}k tmpfs {disk}
    "$@"; echo "ended $?"
    find {disk} -type f -printf '%f\\n'
    mount -o remount,size=10m {disk}
    "$@" && cp {disk}/weights/s.h5 {tmp_path}
    """
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", steps, "sh", *command],
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT,
    )
    code, *names = ended.stdout.splitlines()
    (error,) = (line for line in ended.stderr.splitlines() if line.strip())
    assert code == "ended 1"
    assert error.startswith("weightscape: ")
    assert "full" in error
    assert sorted(names) == sorted(map(run_name, SEEDS[: len(names)]))
    assert (tmp_path / "s.h5").read_bytes() == whole()
