"""What Slurm says when it takes no job, and whether time cures it."""

import re
from typing import NamedTuple

FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0  # seconds until a job is submitted again
TRIES = 3  # of a submission that is refused in words that are not known here

_WRAPPED = re.compile(r"The error message was '(.*)'\.\n +sbatch call:", re.DOTALL)
_PREFIX = re.compile(
    r"^(sbatch: )?(error: |fatal: )?(Batch job submission failed: |allocation failure: )?"
)


class Refusal(NamedTuple):
    """Why Slurm took no job."""

    words: str
    """its own"""
    cure: str
    """what to do"""
    passes: bool
    """whether time cures it"""
    is_certain: bool
    """whether the job is not in the queue for certain; after a timeout it may be"""
    is_known: bool = True


class _Known(NamedTuple):
    pattern: str
    cure: str
    passes: bool = False
    is_certain: bool = True


# the first that fits holds; Slurm's words are those of its versions 20 to 24
_LIST = (
    _Known(
        "MaxSubmitJob|GrpSubmitJob|SubmitJobsLimit",
        "set `jobs` in the profile to what this limit leaves to the study, or be patient",
        passes=True,
    ),
    _Known(
        "partition not available|configuration not available now",
        "`sinfo` shows the partition's state; set another slurm_partition in the profile, or be "
        "patient",
        passes=True,
    ),
    _Known(
        "nodes are busy|node not available|job queue full|presently disabled|writing script",
        "be patient, or ask the administrators",
        passes=True,
    ),
    _Known(
        "timed out|Unable to contact|Zero Bytes|not connected|Connection |standby|temporarily|"
        "[Cc]ommunication|[Aa]uthentication|[Mm]unge|unavailable",
        "`scontrol ping` shows how the controller is",
        passes=True,
        is_certain=False,
    ),
    _Known(
        "Invalid account",
        "set slurm_account in the profile to one that the partition takes (`sacctmgr show "
        "associations user=$USER` lists yours)",
    ),
    _Known("[Ii]nvalid qos", "set slurm-qos in the profile to one of `sacctmgr show qos`"),
    _Known("[Ii]nvalid partition", "set slurm_partition in the profile to one of `sinfo`"),
    _Known(
        "[Tt]ime limit is|WallDuration|TimeLimit",
        "use another slurm_partition or QOS in the profile, or fewer runs_per_job",
    ),
    _Known("Invalid feature", "set constraint in the profile to features of `sinfo -o %f`"),
    _Known("[Gg]eneric resource|gres|GRES|TRES", "set gres in the profile to one of `sinfo -o %G`"),
    _Known(
        "node configuration is not available|[Mm]emory|CPU count|[Mm]ore processors|Node count",
        "no node has this: ask for fewer threads, less mem_mb or other gres, or use another "
        "slurm_partition (`sinfo -o '%P %c %m %G'` shows what nodes have)",
    ),
    _Known(
        "not permitted|[Pp]ermission denied",
        "use another slurm_partition or slurm_account in the profile",
    ),
    _Known(r"(QOS|Assoc)\w+", "ask for less, or use another QOS or account"),
    _Known(
        "accounting/QOS policy",  # it may be the limit on jobs in the queue
        "set `jobs` in the profile to less, or ask for less",
        passes=True,
    ),
)


def read_refusal(message: str) -> Refusal:
    """What sbatch's message, or the plugin's around it, means."""
    wrapped = _WRAPPED.search(message)
    lines = (wrapped[1] if wrapped else message).splitlines()
    spoken = dict.fromkeys(_PREFIX.sub("", line).strip() for line in lines)
    words = ": ".join(filter(None, reversed(spoken))) or "no reason given"
    for known in _LIST:
        if re.search(known.pattern, words):
            return Refusal(words, known.cure, known.passes, known.is_certain)
    cure = "ask the cluster's administrators what it means"
    return Refusal(words, cure, passes=False, is_certain=False, is_known=False)


def tell_wait(refusal: Refusal) -> str:
    """One sentence about a refusal that time cures."""
    return (
        f"Slurm takes no job for now ({refusal.words}); Snakemake waits and tries again, and no "
        f"retry is spent: {refusal.cure}."
    )


def tell_end(rule: str, refusal: Refusal) -> str:
    """One sentence about a refusal that time does not cure."""
    return f"Slurm refuses the jobs of {rule} ({refusal.words}): {refusal.cure}"


def next_wait(seconds: float) -> float:
    """The wait after one of so many seconds; 0 before the first."""
    return min(2 * seconds, LONGEST_WAIT) or FIRST_WAIT
