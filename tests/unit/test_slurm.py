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
PartitionName=short Default=YES QoS=N/A MaxTime=01:30:00 PreemptMode=OFF MaxMemPerNode=4000
PartitionName=long Default=NO MaxMemPerNode=UNLIMITED MaxTime=7-00:00:00 PreemptMode=REQUEUE
PartitionName=spot Default=NO MaxTime=UNLIMITED PreemptMode=CANCEL
PartitionName=gang Default=NO MaxTime=UNLIMITED PreemptMode=GANG,CANCEL
PartitionName=silent Default=NO MaxTime=UNLIMITED
"""
MINUTES = {"short": 90, "long": 7 * 24 * 60} | dict.fromkeys(("spot", "gang", "silent"), math.inf)


@pytest.fixture(autouse=True)
def ask_anew():
    for asked in (slurm.partitions, slurm.node_megabytes):
        asked.cache_clear()
    yield
    for asked in (slurm.partitions, slurm.node_megabytes):
        asked.cache_clear()


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
    requests = [Request("train_runs", None, 90, 4000), Request("plot", "long", 7 * 24 * 60, 10**9)]
    slurm.check_requests([*requests, Request("plot", "silent", 10**6)])


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


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request("train_runs", None, 91), "asks for 91 minutes, but the partition short allows 90"),
        (Request("train_runs", None, 5, 4001), "asks for 4001 MB, but the partition short allows"),
    ],
)
def test_a_request_over_the_limit_is_an_error_that_says_what_to_do(plant, request_, words):
    plant_partitions(plant)
    with pytest.raises(WeightscapeError, match=f"^train_runs {words}.* fewer runs_per_job$"):
        slurm.check_requests([Request("plot", "long", 91), request_])


def test_memory_is_limited_by_the_partition_and_by_its_nodes(plant, calls):
    plant_partitions(plant)
    plant("sinfo", "echo 'short|8000'; echo 'long|8000'; echo 'long|64000'")
    assert slurm.most_megabytes(None) == 4000
    assert slurm.most_megabytes("long") == 64000
    assert slurm.most_megabytes("spot") == math.inf
    assert len(calls("sinfo")) == 1


# trials

CALL = "sbatch -p main{} --ntasks=1"


def test_of_requests_the_longest_and_the_largest_stand_for_those_like_them():
    asked = [" -t 10 --mem 900", " -t 20 --mem 800", " -t 9 --mem 1000", " -C avx -t 1", ""]
    calls = [CALL.format(text) for text in asked]
    assert slurm.pick_largest(calls) == calls[1:4]


def test_a_trial_tells_what_slurm_would_refuse_and_submits_nothing(plant, calls):
    plant("sbatch", "echo Job 7 to start >&2")
    assert slurm.try_call("sbatch -t 5") == ""
    plant("sbatch", "echo allocation failure: Invalid qos specification >&2; exit 1")
    assert slurm.try_call("sbatch -t 5") == "allocation failure: Invalid qos specification"
    plant("sbatch", "exit 3")
    assert slurm.try_call("sbatch -t 5") == "exit status 3"
    assert set(calls("sbatch")) == {"-t 5 --test-only --wrap=true"}


def test_a_trial_without_an_answer_is_no_refusal(plant, monkeypatch):
    monkeypatch.setattr(slurm, "SECONDS_TO_ANSWER", 0.1)
    plant("sbatch", "exec sleep 2")
    assert slurm.try_call("sbatch") == ""


# commands

CALLS = [
    ("scontrol", slurm.partitions),
    ("scontrol", lambda: slurm.check_requests([Request("train_runs", "long", 5)])),
    ("sinfo", slurm.node_megabytes),
]


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_a_missing_command_is_one_error(plant, name, call):
    with pytest.raises(WeightscapeError, match=f"^there is no {name} here; run snakemake on a log"):
        call()


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_a_failing_command_is_one_error_with_its_reason(plant, name, call):
    plant(name, "echo Unable to contact >&2; echo '  the controller' >&2; exit 1")
    reason = "Unable to contact the controller"
    with pytest.raises(
        WeightscapeError, match=rf"^`{name} .*` failed: {reason}; see whether Slurm works"
    ):
        call()


def test_a_failing_command_that_says_nothing_is_told_by_its_status(plant):
    plant("sinfo", "exit 3")
    with pytest.raises(
        WeightscapeError, match=r"failed: exit status 3; see whether Slurm works here \(sinfo\)$"
    ):
        slurm.node_megabytes()
