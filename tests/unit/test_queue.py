"""The jobs of a study in Slurm's queue: planted answers of squeue."""

import pytest

from weightscape.errors import WeightscapeError
from weightscape.monitor import queue
from weightscape.monitor.queue import Ledger, QueuedJob

SQUEUE = """\
7|RUNNING|None|9b2f|main|rule_train_runs_wildcards_dnn_digits_20_0000
8|PENDING|Priority|9b2f|main,long|rule_train_runs_wildcards_dnn_digits_20_0001
9|PENDING|JobHeldAdmin|9b2f|main|rule_train_runs_wildcards_dnn_digits_20_0002
10|PENDING|JobHeldAdmin|9b2f|main|odd|comment
11|COMPLETED|None|9b2f|main|rule_collect_runs
slurm says hello
"""


def job(number, state="RUNNING", comment="a", reason="None", name="9b2f"):
    return QueuedJob(str(number), state, reason, name, "main", comment)


def test_jobs_are_squeue_s_lines(plant, calls):
    plant("squeue", f"cat <<END\n{SQUEUE}END")
    jobs = queue.find_jobs(["9b2f", "77aa"], user=1000)
    assert [job.number for job in jobs] == ["7", "8", "9", "10", "11"]
    assert [job.has_ended for job in jobs] == [False] * 4 + [True]
    assert jobs[1].partition == "main,long"
    assert jobs[3].comment == "odd|comment"
    (call,) = calls("squeue")
    assert call.startswith("--user=1000 --states=all --noheader")
    assert call.endswith("--name=9b2f,77aa")
    assert queue.count_jobs(jobs) == {
        ("RUNNING", ""): 1,
        ("PENDING", "Priority"): 1,
        ("PENDING", "JobHeldAdmin"): 2,
        ("COMPLETED", ""): 1,
    }


def test_without_names_nobody_is_asked_for_everyone_s_jobs(plant, calls):
    plant("squeue", "")
    assert queue.find_jobs([]) == []
    assert calls("squeue") == []


def test_a_queue_that_does_not_answer_is_none(plant):
    plant("squeue", "exit 1")
    assert queue.find_queue(["a"]) is None


STUCK = [
    "JobHeldAdmin",
    "JobHeldUser",
    "MaxMemPerLimit",
    "PartitionTimeLimit",
    "PartitionDown",
    "QOSMaxWallDurationPerJobLimit",
    "AssocMaxCpuPerJobLimit",
    "QOSMinGRES",
    "launch failed requeued held",
]
MOVES = ["None", "Priority", "Resources", "BeginTime", "QOSMaxJobsPerUserLimit", "Reservation"]


@pytest.mark.parametrize("reason", STUCK)
def test_jobs_that_wait_in_vain_are_one_sentence(reason):
    jobs = [job(7, "PENDING", reason=reason), job(8, "PENDING", reason=reason), job(9)]
    ((told, sentence),) = queue.tell_stuck(jobs).items()
    assert told == reason
    assert sentence.startswith(f"2 jobs wait in the queue and do not start by themselves ({reason}")
    (sentence,) = queue.tell_stuck(jobs[:1]).values()
    assert sentence.startswith("1 job waits in the queue and does not start by itself (")


@pytest.mark.parametrize("reason", MOVES)
def test_jobs_that_wait_for_their_turn_are_not_told(reason):
    assert queue.tell_stuck([job(7, "PENDING", reason=reason)]) == {}


def test_jobs_are_cancelled_and_awaited(plant, calls, monkeypatch):
    monkeypatch.setattr(queue.time, "sleep", lambda _: None)
    # two jobs, then one, then none but that which had ended
    plant(
        "squeue",
        "n=$(wc -l < squeue.calls); [ $n = 1 ] && echo '7|RUNNING|None|a|p|'; "
        "[ $n -lt 3 ] && echo '8|COMPLETING|None|a|p|'; echo '9|COMPLETED|None|b|p|'",
    )
    plant("scancel", "")
    jobs = [job(7, name="a"), job(8, name="a"), job(9, "COMPLETED", name="b")]
    assert queue.cancel(jobs) == 2
    assert calls("scancel") == ["--quiet 7 8"]
    assert len(calls("squeue")) == 3
    assert queue.cancel(jobs[2:]) == 0


def test_a_job_that_never_ends_is_an_error(plant, monkeypatch):
    monkeypatch.setattr(queue, "SECONDS_TO_CANCEL", 0.0)
    plant("squeue", "echo '7|RUNNING|None|9b2f|p|'; echo '8|RUNNING|None|9b2f|p|'")
    plant("scancel", "")
    with pytest.raises(WeightscapeError, match=r"the jobs 7 8 of an earlier .* run again"):
        queue.cancel([job(7), job(8)])


def test_a_quick_cancel_takes_no_answer_for_one(plant, calls):
    plant("scancel", "exit 1")
    queue.cancel_quickly(["7", "8"])
    assert calls("scancel") == ["--quiet 7 8"]


# the ledger


def test_what_a_submission_made_is_found_by_its_comment_and_not_taken_for_another():
    ledger = Ledger(unique={"a"})
    ledger.note("7", "a")  # an attempt that failed
    there = [job(7, "FAILED"), job(8), job(9, comment="b")]
    assert ledger.find("a", there).number == "8"
    assert ledger.find("b", there) is None  # two jobs of the study have this comment
    assert ledger.find("a", there[:1]) is None


def test_a_ghost_is_known_to_nobody_and_not_under_way():
    ledger = Ledger(unique={"a", "b"})
    ledger.note("7", "a")
    there = [job(7), job(8), job(9, comment="b"), job(10, "COMPLETED"), job(11, comment="c")]
    with ledger.submitting("b"):
        assert [ghost.number for ghost in ledger.find_ghosts(there, set())] == ["8"]
    assert [ghost.number for ghost in ledger.find_ghosts(there, set())] == ["8", "9"]
    # it finds the shard and ends; if it waits still, it need not
    assert ledger.find_ghosts([job(8)], {"a"}) == []
    assert ledger.find_ghosts([job(8, "PENDING")], {"a"})


def test_what_was_left_is_taken_once():
    ledger = Ledger({"a"}, left=[job(7)])
    assert ledger.take_left("b") is None
    assert ledger.take_left("a").number == "7"
    assert ledger.take_left("a") is None


def test_how_long_something_is_so_counts_from_when_it_was_first_seen(monkeypatch):
    clock = iter([0.0, 5.0, 6.0, 10.0, 12.0])
    monkeypatch.setattr(queue.time, "monotonic", lambda: next(clock))
    ledger = Ledger()
    assert [ledger.seconds("7", what) for what in ("gone", "gone", "else", "else")] == [0, 5, 0, 4]
    ledger.forget("7")
    assert ledger.seconds("7", "else") == 0
