# before the first job and after the last: one snakemake for a study, and a cluster that fits it
import shutil
import subprocess
import time

from snakemake.logging import logger

from weightscape import slurm, status
from weightscape.locks import hold

READING = {"plan", "status"}  # rules that may run beside another snakemake
LOCKS = []
PARTITIONS = {}  # rule -> partition that its jobs ask for


onstart:
    jobs = [job for job in workflow.dag.needrun_jobs() if job.rule.name not in READING]
    if jobs:
        try:
            hold_locks(jobs)
            cancel_leftovers()
            if executor := get_slurm_executor():
                check_cluster(executor, jobs)
        except WeightscapeError as error:
            raise WorkflowError(str(error)) from None


onsuccess:
    end_study("finished")


onerror:
    end_study("failed")


def hold_locks(jobs):
    """The study's lock, and that of each dataset that it prepares, which all studies share."""
    LOCKS.append(hold(Path(RESULTS, ".lock"), f"the study {config['study']}"))
    for dataset in {job.wildcards.dataset for job in jobs if job.rule.name == "prepare_dataset"}:
        path = Path("results/datasets", f".{dataset}.lock")
        LOCKS.append(hold(path, f"the dataset {dataset}"))


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


def get_slurm_executor():
    """The executor that submits to Slurm; None elsewhere."""
    executor = workflow.scheduler._executor
    return executor if hasattr(executor, "run_uuid") else None


def check_cluster(executor, jobs):
    """Refuse what would wait for ever, before anything is submitted."""
    LOCKS[0].note_queue_name(executor.run_uuid)
    # the plugin's guess of an account never succeeds, and without sacct it ends each submission
    executor._fallback_account_arg = ""
    if workflow.executor_settings.status_command == "squeue":
        slurm.check_memory_of_queue(workflow.executor_settings.init_seconds_before_status_checks)
    for warning in slurm.check_requests(get_requests(jobs)):
        logger.warning(f"Warning: {warning}.")


def get_requests(jobs):
    """The longest runtime that each rule asks of a partition."""
    longest = {}
    for job in jobs:
        minutes = job.resources.get("runtime")
        if isinstance(minutes, int) and not job.is_local:
            key = job.rule.name, job.resources.get("slurm_partition")
            longest[key] = max(minutes, longest.get(key, 0))
    PARTITIONS.update(longest.keys())
    return [slurm.Request(*key, minutes) for key, minutes in longest.items()]


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
            logger.warning(f"notify: the command ended with exit status {done.returncode}.")


def get_status():
    """What `snakemake status` prints."""
    try:
        return status.render(config, status.make_status(config, time.time()))
    except WeightscapeError as error:
        return str(error)
