"""What Slurm says when it takes no job: its own words, as its version 22.05 spoke them."""

import pytest

from weightscape.monitor import refusals
from weightscape.monitor.refusals import read_refusal

LIMIT = """\
sbatch: error: QOSMaxSubmitJobPerUserLimit
sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, \
user's size and/or time limits)
"""
FAILED = "sbatch: error: Batch job submission failed: "
PASSES = [
    LIMIT,
    FAILED + "Required partition not available (inactive or drain)",
    "allocation failure: Required partition not available (inactive or drain)",
    FAILED + "Requested nodes are busy",
    LIMIT.splitlines()[1],
]
UNCERTAIN = [
    FAILED + "Socket timed out on send/recv operation",
    FAILED + "Unable to contact slurm controller (connect failure)",
    FAILED + "Zero Bytes were transmitted or received",
    FAILED + "Slurm backup controller in standby mode",
    FAILED + "Protocol authentication error",
]
STAYS = {
    "allocation failure: Invalid account or account/partition combination specified": "account",
    "allocation failure: Invalid qos specification": "slurm-qos",
    "sbatch: error: invalid partition specified: x\nallocation failure: Invalid partition name "
    "specified": "slurm_partition",
    "allocation failure: Requested node configuration is not available": "no node has this",
    "allocation failure: Invalid feature specification": "constraint",
    LIMIT.replace("QOSMaxSubmitJobPerUserLimit", "QOSMaxWallDurationPerJobLimit"): "runs_per_job",
    LIMIT.replace("QOSMaxSubmitJobPerUserLimit", "QOSMinGRES"): "gres",
    LIMIT.replace("QOSMaxSubmitJobPerUserLimit", "AssocGrpCpuLimit"): "another QOS",
}


@pytest.mark.parametrize("message", PASSES + UNCERTAIN)
def test_what_time_cures_is_waited_for(message):
    refusal = read_refusal(message)
    assert refusal.passes
    assert refusal.is_known
    assert refusal.is_certain == (message in PASSES)


@pytest.mark.parametrize("message", STAYS)
def test_what_stays_is_told_with_its_cure(message):
    refusal = read_refusal(message)
    assert (refusal.passes, refusal.is_known, refusal.is_certain) == (False, True, True)
    assert STAYS[message] in refusal.cure


def test_other_words_are_tried_again_and_may_have_been_no_refusal():
    refusal = read_refusal("sbatch: error: lua: not on a Sunday")
    assert refusal.words == "lua: not on a Sunday"
    assert (refusal.passes, refusal.is_known, refusal.is_certain) == (False, False, False)
    assert read_refusal("").words == "no reason given"


def test_the_words_are_slurm_s_own_without_the_plugin_s_around_them():
    plugin = f"SLURM sbatch failed. The error message was '{LIMIT.strip()}'.\n    sbatch call:\n  x"
    assert read_refusal(plugin) == read_refusal(LIMIT)
    assert read_refusal(LIMIT).words == (
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits): "
        "QOSMaxSubmitJobPerUserLimit"
    )


def test_each_is_one_sentence():
    told = refusals.tell_wait(read_refusal(PASSES[1]))
    assert told.startswith("Slurm takes no job for now (Required partition not available (inactive")
    assert "`sinfo` shows" in told
    told = refusals.tell_end("train_runs", read_refusal(next(iter(STAYS))))
    assert told.startswith("Slurm refuses the jobs of train_runs (Invalid account or account/part")


def test_waits_grow_to_minutes():
    waits, seconds = [], 0.0
    for _ in range(8):
        waits.append(seconds := refusals.next_wait(seconds))
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
