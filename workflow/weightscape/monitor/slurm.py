"""What must hold on a SLURM cluster before jobs are submitted, asked of Slurm itself.

Each check stands against something that Slurm or Snakemake's executor plugin takes in silence
(docs/cluster.md).
"""

import functools
import math
import re
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from weightscape.errors import WeightscapeError

SECONDS_TO_ANSWER = 120


class Partition(NamedTuple):
    """A partition, as Slurm describes it."""

    name: str
    minutes: float
    """longest runtime"""
    preemption: str
    """what happens to a preempted job: OFF, REQUEUE, CANCEL ...; Slurm fills in the cluster's"""
    is_default: bool
    megabytes: float = math.inf
    """most memory that a job gets of a node"""


class Request(NamedTuple):
    """What the jobs of a rule ask of a partition at most."""

    rule: str
    partition: str | None
    """None: the cluster's default"""
    minutes: int
    megabytes: int = 0


def ask(*command: str, seconds: float = SECONDS_TO_ANSWER) -> str:
    """What a Slurm command prints.

    Raises WeightscapeError if it is not there or fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True)
    except FileNotFoundError:
        raise WeightscapeError(
            f"there is no {command[0]} here; run snakemake on a login node of the cluster, or "
            "without --workflow-profile profiles/slurm"
        ) from None
    except subprocess.TimeoutExpired:
        raise WeightscapeError(
            f"`{' '.join(command)}` gave no answer in {seconds:g} s; try again later"
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
            _parse_megabytes(values.get("MaxMemPerNode", "")),
        )
    return found


@functools.cache
def node_megabytes() -> dict[str, float]:
    """Partition -> memory of its largest node."""
    found: dict[str, float] = {}
    for line in ask("sinfo", "--noheader", "--exact", "--format=%R|%m").splitlines():
        name, _, megabytes = line.partition("|")
        found[name] = max(_parse_megabytes(megabytes), found.get(name, 0))
    return found


def most_megabytes(name: str | None) -> float:
    """What a job can ask of a partition at most: its limit, or the memory of its largest node.

    Raises WeightscapeError if there is no such partition.
    """
    partition = find_partition(name, "megabytes")
    return min(partition.megabytes, node_megabytes().get(partition.name, math.inf))


def _parse_megabytes(text: str) -> float:
    return float(text) if text.isdecimal() else math.inf  # UNLIMITED


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


def find_partition(name: str | None, most: str = "minutes") -> Partition:
    """The partition of this name, of a list of names the one with the most, or the default one.

    Raises WeightscapeError if there is none.
    """
    known = partitions()
    default = [partition.name for partition in known.values() if partition.is_default]
    names = name.split(",") if name else default
    missing = [name for name in names if name not in known]
    if names and not missing:
        return max((known[name] for name in names), key=lambda partition: getattr(partition, most))
    asked = f"no partition {missing[0]}" if missing else "no default partition"
    raise WeightscapeError(
        f"the cluster has {asked}; set slurm_partition in the profile to one of {', '.join(known)}"
    )


def check_requests(requests: Iterable[Request]) -> None:
    """Raises WeightscapeError where Slurm would let a job wait for ever, since its runtime or its
    memory is over the limit of its partition.
    """
    for request in requests:
        partition = find_partition(request.partition)
        if request.minutes > partition.minutes:
            raise WeightscapeError(
                f"{request.rule} asks for {request.minutes} minutes, but the partition "
                f"{partition.name} allows {partition.minutes:g}. Slurm would let these jobs wait "
                "for ever. Use another slurm_partition or fewer runs_per_job"
            )
        partition = find_partition(request.partition, "megabytes")
        if request.megabytes > partition.megabytes:
            raise WeightscapeError(
                f"{request.rule} asks for {request.megabytes} MB, but the partition "
                f"{partition.name} allows {partition.megabytes:g}. Slurm would let these jobs wait "
                "for ever. Use another slurm_partition or fewer runs_per_job"
            )


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


def pick_largest(calls: Iterable[str]) -> list[str]:
    """Of sbatch's lines that differ in time and memory alone, the longest and the largest."""
    asked = re.compile(r" (?:-t|--mem) (\d+)(?= |$)")
    alike: dict[str, list[str]] = {}
    for call in calls:
        alike.setdefault(asked.sub("", call), []).append(call)
    picked: dict[str, None] = {}
    for group in alike.values():
        for option in ("-t", "--mem"):
            of_option = re.compile(rf" {option} (\d+)(?= |$)")
            found = {call: of_option.search(call) for call in group}
            most = max(group, key=lambda call: int(match[1]) if (match := found[call]) else 0)
            picked[most] = None
    return list(picked)


def try_call(call: str) -> str:
    """What sbatch says of a job that it would not take; nothing if it would.

    Nothing is submitted. Slurm's silence is no refusal: the submission itself will be patient.
    """
    try:
        done = subprocess.run(
            f"{call} --test-only --wrap=true",
            shell=True,
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_ANSWER,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stderr.strip() or f"exit status {done.returncode}" if done.returncode else ""


def _values(line: str) -> dict[str, str]:
    """`A=1 B=2` as a dict."""
    pairs = (word.partition("=") for word in line.split())
    return {key: value for key, equals, value in pairs if equals}
