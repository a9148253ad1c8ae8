"""What must hold on a SLURM cluster before jobs are submitted, asked of Slurm itself.

Each check stands against something that Slurm or Snakemake's executor plugin takes in silence
(docs/cluster.md).
"""

import functools
import math
import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from weightscape.errors import WeightscapeError

SECONDS_TO_ANSWER = 120
SECONDS_TO_CANCEL = 180.0
POLLS_REMEMBERED = 3  # the plugin distrusts squeue if it forgets jobs sooner than that


class Partition(NamedTuple):
    """A partition, as Slurm describes it."""

    name: str
    minutes: float
    """longest runtime"""
    preemption: str
    """what happens to a preempted job: OFF, REQUEUE, CANCEL ...; Slurm fills in the cluster's"""
    is_default: bool


class Request(NamedTuple):
    """What the jobs of a rule ask of a partition at most."""

    rule: str
    partition: str | None
    """None: the cluster's default"""
    minutes: int


def ask(*command: str) -> str:
    """What a Slurm command prints.

    Raises WeightscapeError if it is not there or fails.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS_TO_ANSWER, check=True
        )
    except FileNotFoundError:
        raise WeightscapeError(
            f"there is no {command[0]} here; run snakemake on a login node of the cluster, or "
            "without --workflow-profile profiles/slurm"
        ) from None
    except subprocess.TimeoutExpired:
        raise WeightscapeError(
            f"`{' '.join(command)}` gave no answer in {SECONDS_TO_ANSWER} s; try again later"
        ) from None
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split()) or f"exit status {error.returncode}"
        raise WeightscapeError(
            f"`{' '.join(command)}` failed: {reason}; see whether Slurm works here (sinfo)"
        ) from None
    return done.stdout


@functools.cache
def partitions() -> dict[str, Partition]:
    """Name -> partition."""
    found = {}
    for line in ask("scontrol", "show", "partition", "--oneliner").splitlines():
        values = _values(line)
        if not (name := values.get("PartitionName")):
            continue  # "No partitions in the system"
        found[name] = Partition(
            name,
            parse_minutes(values["MaxTime"]),
            values.get("PreemptMode", "OFF"),
            values.get("Default") == "YES",
        )
    return found


def parse_minutes(text: str) -> float:
    """Minutes of a time in any of Slurm's forms.

    minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes,
    days-hours:minutes:seconds, UNLIMITED.
    """
    if text.upper() in {"UNLIMITED", "INFINITE"}:
        return math.inf
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if not dash and len(parts) < 3:
        parts = [0, *parts]
    hours, minutes, seconds = (parts + [0, 0])[:3]
    return 24 * 60 * int(days or 0) + 60 * hours + minutes + seconds / 60


def find_partition(name: str | None) -> Partition:
    """The partition of this name, of a list of names the longest, or the default one.

    Raises WeightscapeError if there is none.
    """
    known = partitions()
    default = [partition.name for partition in known.values() if partition.is_default]
    names = name.split(",") if name else default
    missing = [name for name in names if name not in known]
    if names and not missing:
        return max((known[name] for name in names), key=lambda partition: partition.minutes)
    asked = f"no partition {missing[0]}" if missing else "no default partition"
    raise WeightscapeError(
        f"the cluster has {asked}; set slurm_partition in the profile to one of {', '.join(known)}"
    )


def check_requests(requests: Iterable[Request]) -> list[str]:
    """Warnings about the partitions that are asked for.

    Raises WeightscapeError where Slurm would let a job wait for ever, since its runtime is over
    the limit of its partition.
    """
    warnings = {}
    for request in requests:
        partition = find_partition(request.partition)
        if request.minutes > partition.minutes:
            raise WeightscapeError(
                f"{request.rule} asks for {request.minutes} minutes, but the partition "
                f"{partition.name} allows {partition.minutes:g}. Slurm would let these jobs wait "
                "for ever. Use another slurm_partition or fewer runs_per_job, or write runtime: "
                f"{partition.minutes:g} for {request.rule} under set-resources in the profile"
            )
        if "CANCEL" in partition.preemption.split(","):  # as GANG,CANCEL
            warnings[partition.name] = (
                f"the partition {partition.name} cancels preempted jobs, and Snakemake waits for "
                "those for ever: if the study stands still, stop it (Ctrl-C) and give the same "
                "command again; a partition with PreemptMode=REQUEUE does not have this "
                "problem"
            )
    return list(warnings.values())


def check_gpu(rule: str, resources: Mapping[str, Any]) -> None:
    """Raises WeightscapeError if the jobs of a rule are to train on a GPU and ask for none."""
    is_asked = resources.get("gpu") or resources.get("gpu_model")
    others = f"{resources.get('gres', '')} {resources.get('slurm_extra', '')}"
    if not is_asked and not re.search(r"gpu|-G", others):
        raise WeightscapeError(
            f"device is cuda, but {rule} asks Slurm for no GPU. Write gres: gpu:1 for {rule} under "
            "set-resources in the profile, as profiles/slurm-gpu does; --set-resources on the "
            "command line takes the place of that whole section"
        )


def check_memory_of_queue(seconds_between_checks: int) -> None:
    """Raises WeightscapeError if squeue forgets ended jobs before the plugin looks again.

    The plugin would then turn to sacct, by which it never notices a cancelled job.
    """
    match = re.search(r"^MinJobAge\s*=\s*(\d+)", ask("scontrol", "show", "config"), re.MULTILINE)
    if match and int(match[1]) < POLLS_REMEMBERED * seconds_between_checks:
        raise WeightscapeError(
            f"this cluster's squeue forgets jobs {match[1]} s after their end (MinJobAge). "
            f"Snakemake looks only every {seconds_between_checks} s and would miss them. Set "
            "slurm-init-seconds-before-status-checks in the profile to at most "
            f"{int(match[1]) // POLLS_REMEMBERED}"
        )


def cancel(names: Iterable[str]) -> int:
    """Cancel all jobs of these names that are still in the queue and wait for their end.

    Returns how many there were. Raises WeightscapeError if one does not end.
    """
    wanted = ",".join(names)
    if not wanted:
        return 0
    there = _jobs(wanted)
    if not there:
        return 0
    ask("scancel", "--quiet", *there)  # without it, a job that has just ended is an error
    end = time.monotonic() + SECONDS_TO_CANCEL
    while left := _jobs(wanted):
        if time.monotonic() > end:
            raise WeightscapeError(
                f"the jobs {' '.join(left)} of an earlier snakemake were cancelled but still run. "
                "Wait until squeue no longer shows them, then run again"
            )
        time.sleep(1)
    return len(there)


def _jobs(names: str) -> list[str]:
    return ask("squeue", "--noheader", "--format=%A", f"--name={names}").split()


def _values(line: str) -> dict[str, str]:
    """`A=1 B=2` as a dict."""
    pairs = (word.partition("=") for word in line.split())
    return {key: value for key, equals, value in pairs if equals}
