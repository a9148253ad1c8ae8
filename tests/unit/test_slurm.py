"""What is asked of Slurm: planted answers of its commands."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.errors import WeightscapeError
from weightscape.monitor import slurm
from weightscape.monitor.slurm import Request

# as Slurm 24 prints them, shortened
PARTITIONS = """\
PartitionName=short AllowGroups=ALL Default=YES QoS=N/A MaxTime=01:30:00 PreemptMode=OFF
PartitionName=long Default=NO MaxTime=7-00:00:00 PreemptMode=REQUEUE TRES=cpu=4,mem=16000M
PartitionName=spot Default=NO MaxTime=UNLIMITED PreemptMode=CANCEL
PartitionName=gang Default=NO MaxTime=UNLIMITED PreemptMode=GANG,CANCEL
PartitionName=silent Default=NO MaxTime=UNLIMITED
"""
MINUTES = {"short": 90, "long": 7 * 24 * 60} | dict.fromkeys(("spot", "gang", "silent"), math.inf)


@pytest.fixture(autouse=True)
def ask_anew():
    slurm.partitions.cache_clear()
    yield
    slurm.partitions.cache_clear()


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Write a command, as lines of shell; `calls` of it are noted in a file of its name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))  # and not a Slurm that is there

    def write(name, script):
        path = folder / name
        path.write_text(
            f'#!/bin/sh\nPATH=/usr/bin:/bin\ncd "{tmp_path}"\necho "$*" >> {name}.calls\n{script}\n'
        )
        path.chmod(0o755)

    return write


@pytest.fixture
def calls(tmp_path):
    def read(name):
        path = tmp_path / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []

    return read


def plant_partitions(plant, text=PARTITIONS):
    plant("scontrol", f"cat <<END\n{text}END")


# times

DAYS, HOURS, MINUTES_, SECONDS = (st.integers(0, n) for n in (400, 23, 59, 59))


@given(days=DAYS, hours=HOURS, minutes=MINUTES_, seconds=SECONDS)
def test_every_form_of_a_time_is_its_minutes(days, hours, minutes, seconds):
    forms = {
        f"{minutes}": 60 * minutes,
        f"{minutes}:{seconds:02}": 60 * minutes + seconds,
        f"{hours:02}:{minutes:02}:{seconds:02}": 3600 * hours + 60 * minutes + seconds,
        f"{days}-{hours:02}": 86400 * days + 3600 * hours,
        f"{days}-{hours:02}:{minutes:02}": 86400 * days + 3600 * hours + 60 * minutes,
        f"{days}-{hours:02}:{minutes:02}:{seconds:02}": 86400 * days
        + 3600 * hours
        + 60 * minutes
        + seconds,
    }
    for text, total in forms.items():
        assert slurm.parse_minutes(text) * 60 == pytest.approx(total)


@pytest.mark.parametrize("text", ["UNLIMITED", "INFINITE", "infinite"])
def test_no_limit_is_infinite(text):
    assert slurm.parse_minutes(text) == math.inf


# partitions


def test_partitions_are_those_that_slurm_shows(plant, calls):
    plant_partitions(plant)
    found = slurm.partitions()
    assert {name: partition.minutes for name, partition in found.items()} == MINUTES
    assert [p.preemption for p in found.values()] == [
        "OFF",
        "REQUEUE",
        "CANCEL",
        "GANG,CANCEL",
        "OFF",
    ]
    assert [p.name for p in found.values() if p.is_default] == ["short"]
    assert slurm.partitions() == found
    assert calls("scontrol") == ["show partition --oneliner"]  # asked once


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (PARTITIONS, "gpu", "no partition gpu; set slurm_partition .* one of short, long, spot"),
        (PARTITIONS.replace("YES", "NO"), None, "no default partition; set slurm_partition .*long"),
        ("No partitions in the system\n", None, "no default partition"),
    ],
)
def test_a_partition_that_is_not_there_is_an_error(plant, text, name, words):
    plant_partitions(plant, text)
    with pytest.raises(WeightscapeError, match=words):
        slurm.find_partition(name)


def test_the_default_partition_is_that_of_none(plant):
    plant_partitions(plant)
    assert slurm.find_partition(None).name == "short"
    assert slurm.find_partition("long").name == "long"


def test_a_list_of_partitions_is_as_long_as_its_longest(plant):
    plant_partitions(plant)
    assert slurm.find_partition("short,long").name == "long"
    with pytest.raises(WeightscapeError, match="no partition gpu;"):
        slurm.find_partition("short,gpu")


# requests


def test_a_request_within_the_limit_is_taken_in_silence(plant):
    plant_partitions(plant)
    requests = [Request("train_runs", None, 90), Request("plot", "long", 7 * 24 * 60)]
    assert slurm.check_requests([*requests, Request("plot", "silent", 10**6)]) == []


def test_a_request_over_the_limit_is_an_error_that_says_what_to_do(plant):
    plant_partitions(plant)
    with pytest.raises(WeightscapeError) as caught:
        slurm.check_requests([Request("plot", "long", 91), Request("train_runs", None, 91)])
    assert str(caught.value).startswith(
        "train_runs asks for 91 minutes, but the partition short allows 90. Slurm would let these "
        "jobs wait for ever. Use another slurm_partition or fewer runs_per_job, or write runtime: "
        "90 for train_runs under set-resources in the profile"
    )


@pytest.mark.parametrize(
    "resources",
    [
        {"gres": "gpu:1"},
        {"gres": "gpu:a100:2"},
        {"gpu": 1},
        {"gpu_model": "a100"},
        {"slurm_extra": "--gpus-per-node=rtx-2080:1"},
        {"slurm_extra": "-G 1"},
    ],
)
def test_a_gpu_may_be_asked_for_in_any_way(resources):
    slurm.check_gpu("train_runs", {"mem_mb": 1500, "slurm_partition": "gpu"} | resources)


@pytest.mark.parametrize("resources", [{}, {"gpu": 0}, {"gres": "license:1"}])
def test_training_on_a_gpu_that_is_not_asked_for_is_refused(resources):
    with pytest.raises(WeightscapeError, match="train_runs asks Slurm for no GPU"):
        slurm.check_gpu("train_runs", {"mem_mb": 1500, "slurm_partition": "gpu"} | resources)


@pytest.mark.parametrize("name", ["spot", "gang"])
def test_a_partition_that_cancels_is_one_warning(plant, name):
    plant_partitions(plant)
    (warning,) = slurm.check_requests([Request("train_runs", name, 5), Request("plot", name, 5)])
    assert warning.startswith(f"the partition {name} cancels preempted jobs")


@pytest.mark.parametrize(
    ("age", "refused"), [("300 sec", False), ("120 sec", False), ("119", True)]
)
def test_squeue_must_remember_three_looks(plant, age, refused):
    plant("scontrol", f'echo "MessageTimeout = 10 sec"; echo "MinJobAge               = {age}"')
    if not refused:
        return slurm.check_memory_of_queue(40)
    with pytest.raises(
        WeightscapeError,
        match=r"forgets jobs 119 s .*every 40 s and would miss them.* to at most 39",
    ):
        slurm.check_memory_of_queue(40)


def test_an_unknown_memory_is_not_refused(plant, calls):
    plant("scontrol", 'echo "NoMinJobAge = 1"')
    slurm.check_memory_of_queue(40)
    assert calls("scontrol") == ["show config"]


# cancel


def test_jobs_are_cancelled_and_awaited(plant, calls, monkeypatch):
    monkeypatch.setattr(slurm.time, "sleep", lambda _: None)
    # two jobs, then one, then one, then none
    plant("squeue", "case $(wc -l < squeue.calls) in 1) echo 7; echo 8;; 2|3) echo 8;; esac")
    plant("scancel", "")
    assert slurm.cancel(["a", "b"]) == 2
    assert calls("scancel") == ["--quiet 7 8"]
    assert calls("squeue") == ["--noheader --format=%A --name=a,b"] * 4


def test_a_job_that_never_ends_is_an_error(plant, monkeypatch):
    monkeypatch.setattr(slurm, "SECONDS_TO_CANCEL", 0.0)
    plant("squeue", "echo 7; echo 8")
    plant("scancel", "")
    with pytest.raises(
        WeightscapeError, match=r"the jobs 7 8 of an earlier snakemake .* run again"
    ):
        slurm.cancel(["a"])


def test_where_nothing_is_left_nothing_is_cancelled(plant, calls):
    plant("squeue", "")
    plant("scancel", "")
    assert slurm.cancel(["a"]) == 0
    assert slurm.cancel([]) == 0
    assert calls("scancel") == []
    assert len(calls("squeue")) == 1  # without names, squeue would list everyone's jobs


# commands

CALLS = [
    ("scontrol", slurm.partitions),
    ("scontrol", lambda: slurm.check_requests([Request("train_runs", "long", 5)])),
    ("scontrol", lambda: slurm.check_memory_of_queue(40)),
    ("squeue", lambda: slurm.cancel(["a"])),
    ("scancel", lambda: slurm.cancel(["a"])),
]


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_a_missing_command_is_one_error(plant, name, call):
    if name == "scancel":
        plant("squeue", "echo 7")
    with pytest.raises(WeightscapeError, match=f"^there is no {name} here; run snakemake on a log"):
        call()


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_a_failing_command_is_one_error_with_its_reason(plant, name, call):
    plant("squeue", "echo 7")
    plant(name, "echo Unable to contact >&2; echo '  the controller' >&2; exit 1")
    reason = "Unable to contact the controller"
    with pytest.raises(
        WeightscapeError, match=rf"^`{name} .*` failed: {reason}; see whether Slurm works"
    ):
        call()


def test_a_failing_command_that_says_nothing_is_told_by_its_status(plant):
    plant("squeue", "exit 3")
    with pytest.raises(
        WeightscapeError, match=r"failed: exit status 3; see whether Slurm works here \(sinfo\)$"
    ):
        slurm.cancel(["a"])
