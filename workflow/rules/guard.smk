"""Before the first job and after the last: one snakemake for a study, a cluster that fits it."""

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
from weightscape.monitor import plan, slurm, status
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


def cancel_leftovers():
    """Cancel what a killed snakemake left in the queue: it would write where new jobs write."""
    lock = LOCKS[0]
    # results that came from a cluster may be worked on elsewhere
    if lock.left and shutil.which("squeue"):
        if cancelled := slurm.cancel(lock.left):
            logger.warning(
                f"Cancelled {cancelled} jobs that a killed snakemake had left in the queue."
            )
        lock.settle()


def check_cluster(executor, jobs):
    """Refuse what would wait for ever, before anything is submitted."""
    LOCKS[0].note_queue_name(get_queue_name(executor))
    skip_guess_of_account(executor)
    ask_once_for_accounts()
    if get_status_command() == "squeue":
        slurm.check_memory_of_queue(get_first_look())
    train = get_rule_name("train_runs")
    for job in jobs if config["device"] == "cuda" else ():
        if job.rule_name == train:
            slurm.check_gpu(train, job.resources)
    for warning in slurm.check_requests(get_requests(jobs)):
        logger.warning(f"Warning: {warning}.")


def get_requests(jobs):
    """The longest runtime that each rule asks of a partition."""
    longest = {}
    for job in jobs:
        minutes = job.resources.get("runtime")
        if isinstance(minutes, int) and not job.is_local:
            key = job.rule_name, job.resources.get("slurm_partition")
            longest[key] = max(minutes, longest.get(key, 0))
    PARTITIONS.update(longest.keys())
    return [slurm.Request(*key, minutes) for key, minutes in longest.items()]


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
            cancel_leftovers()
        except WeightscapeError as error:
            raise WorkflowError(str(error)) from None
        listen_to_signals()
    begin_stages(jobs)


onsuccess:
    end_stages()
    end_study("finished")


onerror:
    end_stages()
    end_study("failed")
