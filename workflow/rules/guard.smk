"""Before the first job and after the last: one snakemake for a study, a cluster that fits it."""

import collections
import hashlib
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from weightscape.errors import WeightscapeError
from weightscape.monitor import plan, queue, refusals, slurm, status
from weightscape.monitor.locks import hold

LOCKS = []  # that this snakemake holds: the study's, then those of datasets


def hold_locks(jobs):
    """The study's lock, and that of each dataset that it prepares, which all studies share."""
    lock = hold(Path(get_place(study.lock_file(config["study"]))), f"the study {config['study']}")
    LOCKS.append(lock)
    if not lock.is_sure:
        logger.warning(
            f"Warning: the file system of {get_place(RESULTS)} has no locks. That another "
            "snakemake is at work here is seen once it has started, so don't start two at once."
        )
    prepare = get_rule_name("prepare_dataset")
    for dataset in {job.wildcards.dataset for job in jobs if job.rule_name == prepare}:
        path = get_place(f"results/datasets/.{dataset}.lock")
        LOCKS.append(hold(Path(path), f"the dataset {dataset}"))


def get_trained(jobs):
    """The models of which runs are to be trained."""
    train = get_rule_name("train_runs")
    return {job.wildcards.model for job in jobs if job.rule_name == train}


def check_cluster(executor, jobs):
    """Refuse what Slurm would refuse, or let wait for ever, before anything is submitted."""
    be_careful(executor)
    shorten_log()
    train = get_rule_name("train_runs")
    for job in jobs if config["device"] == "cuda" else ():
        if job.rule_name == train:
            slurm.check_gpu(train, job.resources)
    jobs = [job for job in jobs if not job.is_local]
    slurm.check_requests(get_requests(jobs))
    slurm.node_megabytes()  # while Slurm answers: later attempts are capped by it
    calls = {get_request(executor, job): job.rule_name for job in jobs}
    for call in slurm.pick_largest(calls):
        if said := slurm.try_call(call):
            refusal = refusals.read_refusal(said)
            if refusal.is_known and not refusal.passes:
                raise WeightscapeError(refusals.tell_end(calls[call], refusal))


def get_requests(jobs):
    """The longest runtime and the most memory that each rule asks of a partition."""
    most = {}
    for job in jobs:
        asked = [job.resources.get(name) for name in ("runtime", "mem_mb")]
        asked = [number if isinstance(number, int) else 0 for number in asked]
        key = job.rule_name, job.partition
        most[key] = [*map(max, asked, most.get(key, asked))]
    PARTITIONS.update(most.keys())
    return [slurm.Request(*key, *asked) for key, asked in most.items()]


def take_over(executor, jobs):
    """What a killed snakemake left in the queue goes on where it does the same work.

    The rest is cancelled: it would write where new jobs write.
    """
    lock, left = LOCKS[0], []
    comments = collections.Counter(job.comment for job in jobs) if executor else {}
    unique = {comment for comment, count in comments.items() if count == 1}
    # results that came from a cluster may be worked on elsewhere
    if lock.left and shutil.which("squeue"):
        there = [job for job in queue.find_jobs(lock.left) if not job.has_ended]
        if executor:
            left = get_same_work(there, [job for job in jobs if job.comment in unique])
        if cancelled := queue.cancel(job for job in there if job not in left):
            logger.warning(
                f"Cancelled {cancelled} jobs that a killed snakemake had left in the queue."
            )
    if not left:
        lock.settle()
    if executor:
        if left:
            logger.warning(f"{len(left)} jobs that a killed snakemake had left in the queue go on.")
        mark_queue_name(executor, get_mark())
        name = get_queue_name(executor)
        lock.note_queue_name(name)
        names = [name, *{job.name for job in left}]
        of_shards = {get_rule_name(rule) for rule in ("train_runs", "import_runs")}
        ledger = queue.Ledger(unique, left)
        begin_submissions(executor, ledger, names, of_shards, get_shortest_seconds(jobs))


def get_shortest_seconds(jobs):
    """What the shortest job is about to take: of training by the plan, of measures 40 ms a run."""
    train, n_runs = get_rule_name("train_runs"), sum(p.n_runs for p in POPULATIONS)
    return min([describe(job).cost for job in jobs if job.rule_name == train] + [n_runs / 25])


def get_same_work(there, jobs):
    """Those that train what is to be trained now, by the same config, in the same partition."""
    train, mark = get_rule_name("train_runs"), get_mark()
    wanted = {
        job.comment: job.partition for job in jobs if job.rule_name == train and job.waits_for_none
    }
    same = [job for job in there if job.name.endswith(f"-{mark}") and job.comment in wanted]
    # one for each work, and that is the first that was submitted
    first = {job.comment: job for job in reversed(same)}
    return [job for job in first.values() if is_within(job.partition, wanted[job.comment])]


def is_within(partition, wanted):
    """Whether a job waits or runs where it would be submitted; each may be a list of partitions."""
    return wanted is None or set(partition.split(",")) <= set(str(wanted).split(","))


def get_mark():
    """What differs where a job of this config would do something else."""
    return hashlib.sha256(study.canonical_json(config).encode()).hexdigest()[:8]


def listen_to_signals():
    """Snakemake waits for its jobs at SIGTERM, and dies without a word when its terminal does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, end_by_signal)


def end_by_signal(number, frame):
    """Leave the jobs in Slurm's queue, where they may have waited for days; end those here."""
    signal.signal(number, signal.SIG_IGN)  # once is enough
    name = signal.Signals(number).name
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.terminate()
    if not get_slurm_executor():
        logger.warning(f"{name}: jobs that run are ended. The same command continues the study.")
        raise KeyboardInterrupt
    logger.warning(
        f"{name}: Snakemake ends, and its jobs stay in the queue or go on. The same command "
        "continues the study."
    )
    end_stages()
    # the study's stays as it is: it names the jobs that are left
    for lock in LOCKS[1:]:
        lock.release()
    os._exit(128 + number)


def end_study(outcome):
    """Let the study go, and tell whom the config names."""
    if not LOCKS:
        return
    LOCKS[0].settle()  # what was taken over has ended too
    for lock in LOCKS:
        lock.release()
    if config["notify"]:
        known = {"WEIGHTSCAPE_STUDY": config["study"], "WEIGHTSCAPE_OUTCOME": outcome}
        done = subprocess.run(
            config["notify"],
            shell=True,
            check=False,
            text=True,
            input=get_status() + "\n",
            env=os.environ | known,
        )
        if done.returncode:
            logger.warning(f"The notify command failed with exit status {done.returncode}.")


def get_status():
    """What `snakemake status` prints."""
    try:
        return status.render(config, status.make_status(config, time.time()))
    except WeightscapeError as error:
        return str(error)


onstart:
    jobs = [job for job in get_planned_jobs() if job.rule_name not in READING]
    if jobs:
        try:
            plan.try_models(config, get_trained(jobs))
            hold_locks(jobs)
            if executor := get_slurm_executor():
                check_cluster(executor, jobs)
            take_over(executor, [job for job in jobs if not job.is_local])
        except WeightscapeError as error:
            raise WorkflowError(str(error)) from None
        listen_to_signals()
    calm_scheduler()
    begin_stages(jobs)


onsuccess:
    end_stages()
    end_study("finished")


onerror:
    end_stages()
    end_study("failed")
