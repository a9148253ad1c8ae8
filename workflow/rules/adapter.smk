"""All that the workflow uses of Snakemake and its Slurm plugin beyond what they document.

Any of it may go with the next version, hence the bounds in pyproject.toml; a part that is gone is
told in one sentence. These are functions without rules in a rule file, and no module of Python, since
Snakemake brings a rule file along from wherever the workflow comes, and the library holds no
Snakemake.
"""

import importlib
import logging
import os
import re
import threading
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import snakemake.jobs
import snakemake.logging
from snakemake import sourcecache
from snakemake.exceptions import WorkflowError
from snakemake_interface_logger_plugins.common import LogEvent

SLURM_PLUGIN = "snakemake-executor-plugin-slurm"


def get_private(path, owner=workflow, package="snakemake"):
    """A part of an object, by names with dots between them."""
    part = owner
    for name in path.split("."):
        if not hasattr(part, name):
            raise WorkflowError(
                f"{package} {version(package)} has no `{path}`, which weightscape uses: install "
                "the version that weightscape's requirements.lock names."
            )
        part = getattr(part, name)
    return part


# what an outer workflow changes of this one: names of rules, and paths
MODULE = get_private("modifier")


class Source(NamedTuple):
    """Where the rule files lie."""

    folder: Path
    """on the disk, or in the repository"""
    repository: Path | None = None
    """of git; None where they are read from the disk"""
    ref: str = ""
    """tag, branch or commit"""


def get_source():
    """Where the rule file lies that is read now."""
    source = get_private("current_basedir")
    if isinstance(source, get_private("LocalSourceFile", sourcecache)):
        return Source(Path(get_private("path", source)))
    if isinstance(source, get_private("LocalGitFile", sourcecache)):
        repository = get_private("repo_path", source)
    elif isinstance(source, get_private("HostingProviderFile", sourcecache)):
        repository = get_private("hosted_repo.repo_clone", source)
    else:
        raise WorkflowError(
            f"weightscape can't be read from {source}, where its library is out of reach: name a "
            'folder, or a git repository as in github("owner/weightscape", path=..., tag=...).'
        )
    folder, ref = get_private("path", source), get_private("ref", source)
    return Source(Path(folder), Path(repository), ref)


def get_prefix():
    """What an outer workflow puts before all paths here, by `prefix:`."""
    modifier, prefix = get_private("path_modifier", MODULE), ""
    while modifier is not None:
        if get_private("modifies_prefixes", modifier):
            raise WorkflowError(
                "weightscape can't follow `replace_prefix:`; move its results by `prefix:`."
            )
        prefix = (get_private("prefix", modifier) or "") + prefix
        modifier = get_private("inner_modifier", modifier)
    return prefix


def get_rule_name(name):
    """What an outer workflow calls a rule, by `use rule * from weightscape as study_*`."""
    return get_private("modify_rulename", MODULE)(name)


def is_used(name):
    """Whether a rule is among those that an outer workflow uses, as it reads the rules now."""
    return get_private("avail_rulename", MODULE)(name) is not None


def is_main_process():
    """Whether this is the snakemake that a user started, and not one that it started for a job."""
    return get_private("is_main_process")


def is_dry_run():
    return get_private("output_settings.dryrun")


def is_config_given():
    """Whether --configfile names a config, or an outer workflow brings one."""
    return bool(get_private("overwrite_configfiles")) or get_private("skip_configfile", MODULE)


def get_config_files():
    """The files that the config comes from, as a user would name them."""
    here = Path.cwd()
    files = [Path(file) for file in get_private("configfiles")]
    return [file.relative_to(here) if file.is_relative_to(here) else file for file in files]


def is_config_changed():
    """Whether --config sets some of its keys."""
    return bool(get_private("config_settings.config"))


def set_default_target(rule_name):
    """Snakemake takes no default target from an included file."""
    get_private("default_target")
    workflow.default_target = rule_name


class PlannedJob:
    """A job that is to run; Snakemake works out its resources when they are first asked for."""

    def __init__(self, job):
        self.number = get_private("jobid", job)
        self.rule_name = get_private("rule.name", job)
        self.wildcards = get_private("wildcards", job)
        self._job = job

    @property
    def resources(self):
        return get_private("resources", self._job)

    @property
    def makes_files(self):
        """Whether it is more than a target or a question."""
        return bool(get_private("output", self._job))

    @property
    def is_local(self):
        return get_private("is_local", self._job)

    @property
    def comment(self):
        """What it is known by in Slurm's queue."""
        return get_comment(self._job)

    @property
    def partition(self):
        return self.resources.get("slurm_partition")

    @property
    def waits_for_none(self):
        """Whether all its input is there."""
        before = get_private("dag.dependencies")[self._job]
        return not any(get_private("dag.needrun")(job) for job in before)


def get_planned_jobs():
    """The jobs of rules here that are to run, once Snakemake knows them."""
    return [
        PlannedJob(job)
        for job in get_private("dag.needrun_jobs")()
        # an outer workflow has rules of its own
        if get_private("rule.module_globals", job)["config"] == config
    ]


def is_output_replaced():
    """Whether lines of ours may stand for Snakemake's lines per job.

    Not where a user asks for more of them, or for fewer, nor in an outer workflow, nor without
    show-failed-logs, which our profiles set.
    """
    settings = get_private("output_settings")
    asked = ("dryrun", "quiet", "verbose", "printshellcmds", "debug_dag")
    is_ours = is_main_process() and get_private("is_main_snakefile", MODULE)()
    is_asked = any([get_private(name, settings) for name in asked])
    return is_ours and get_private("show_failed_logs", settings) and not is_asked


def get_message_handler():
    """What shows Snakemake's messages to the user; None where a plugin does."""
    kind = get_private("ColorizingTextHandler", snakemake.logging)
    handlers = snakemake.logging.logger.handlers
    return next((handler for handler in handlers if isinstance(handler, kind)), None)


def watch_messages(messages):
    """Have all messages go through a filter, which may keep them from the user alone."""
    handler = get_message_handler() if is_output_replaced() else None
    (handler or snakemake.logging.logger).addFilter(messages)
    return handler


def is_asked_alone(rule_names):
    """Whether a user asks for nothing but some of these rules."""
    settings = get_private("dag_settings")  # None until all rules are read
    targets = set(get_private("targets", settings)) if settings else set()
    return bool(targets) and targets <= rule_names


class JobMessages:
    """Keeps from a handler what Snakemake tells of each job and of itself; errors and warnings pass.

    Once there are `stages`, they are told of each job's start and end. Where a user asks for
    nothing but `questions`, no line of Snakemake's stands beside the answer.
    """

    OF_ITSELF = {LogEvent.WORKFLOW_STARTED, LogEvent.RESOURCES_INFO, LogEvent.RUN_INFO}
    OF_JOBS = {
        LogEvent.JOB_INFO,
        LogEvent.GROUP_INFO,
        LogEvent.JOB_STARTED,
        LogEvent.JOB_FINISHED,
        LogEvent.SHELLCMD,
        LogEvent.PROGRESS,
    }
    # how its other messages of these kinds begin; one that a version words otherwise is seen, no more
    OTHERS = re.compile(
        "Building DAG of jobs|Using shell: |Conda environments: ignored|"
        "Singularity containers: ignored|Select jobs to execute|Job rate limit reached|"
        "Elapsed time: |"
        # a report
        r"Adding .+ \(.+\)\.|Loading script code for rule |"
        # the Slurm plugin
        r"SLURM run ID: |Job \d+ (?:has been submitted with|is done by) SLURM job"
    )
    # what the Slurm plugin adds to the reason for which a job failed
    AFTER_REASON = re.compile(r"\.?\s+(?:sbatch call:|For further error details)")
    # of a question whose job has told its error already
    OF_QUESTION = re.compile(
        "RuleException:\n+CalledProcessError|Exiting because a job execution failed|"
        "WorkflowError:\n+At least one job did not complete"
    )
    # of a job that failed, for each of its figures that is drawn for the first time
    NO_BACKUP = re.compile(r"Cannot restore .+: no backup found\.")
    # of the Slurm plugin's way to look at jobs, which is not ours
    NO_MEMORY = re.compile(r"MinJobAge \d+s ")

    def __init__(self, questions=frozenset()):
        self.stages, self.questions = None, questions
        self.replaces = True

    def filter(self, record):
        event = getattr(record, "event", None)
        if self.stages:
            self._tell(event, record)
        if not self.replaces:
            return True
        if is_asked_alone(self.questions) and self._is_of_question(event, record):
            return False
        if event in self.OF_JOBS:
            return not self.stages
        if event is None and record.levelno == logging.INFO:
            return not self.OTHERS.match(record.getMessage())
        if event is None and record.levelno == logging.WARNING:
            message = record.getMessage()
            return not (self.NO_BACKUP.match(message) or self.NO_MEMORY.match(message))
        return event not in self.OF_ITSELF

    def _is_of_question(self, event, record):
        is_chat = record.levelno <= logging.INFO or event == LogEvent.JOB_ERROR
        return is_chat or self.OF_QUESTION.match(record.getMessage())

    def _tell(self, event, record):
        if event == LogEvent.JOB_INFO:
            self.stages.start(get_private("jobid", record), *get_private("log", record)[:1])
        elif event == LogEvent.JOB_FINISHED:
            self.stages.finish(get_private("job_id", record))
        elif event == LogEvent.JOB_ERROR:
            reason = self.AFTER_REASON.split(get_private("rule_msg", record) or "")[0]
            self.stages.fail(get_private("jobid", record), reason)


class SubmittedJobs:
    """Keeps from a log of submitted jobs what it would have twice, or at each look for the next ones.

    The line on a job's submission has its rule, wildcards and log, and one that fails is told in
    full. Those that are not submitted gather results, and would name all of them twice.
    """

    OF_ROUNDS = re.compile("Select jobs to execute|Job rate limit reached")

    def filter(self, record):
        event = getattr(record, "event", None)
        if event is None:
            return not (
                record.levelno == logging.INFO and self.OF_ROUNDS.match(record.getMessage())
            )
        return event not in (LogEvent.JOB_INFO, LogEvent.JOB_STARTED)


def shorten_log():
    """Has Snakemake's own log of thousands of submitted jobs stay readable."""
    for handler in snakemake.logging.logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.addFilter(SubmittedJobs())


class OurErrors:
    """Makes an error of ours one line; Snakemake adds where it was raised, from file to file."""

    OF_RULES = re.compile(
        r'WorkflowError in (?:rule\s\w+ in )?file "(?P<file>[^"]+)", line \d+:\n(?P<text>.+?)'
        r'(?:\n +File "[^"]+", line \d+, in .+)*\n*',
        re.DOTALL,
    )
    OF_FUNCTIONS = re.compile(
        r"InputFunctionException in (?:rule\s\w+ in )?file .+?:\nError:\n +WeightscapeError: "
        r"(?P<text>.+?)\nWildcards:\n.*",
        re.DOTALL,
    )

    def __init__(self, folder):
        self.folder = str(folder)

    def filter(self, record):
        if getattr(record, "event", None) == LogEvent.ERROR:
            message = record.getMessage()
            found = self.OF_FUNCTIONS.fullmatch(message) or self.OF_RULES.fullmatch(message)
            if found and self.folder in found.groupdict().get("file", self.folder):
                record.msg, record.args = f"weightscape: {found['text']}", None
        return True


def shorten_our_errors():
    """Once for all rules here; not where a user asks for more."""
    if not get_private("output_settings.verbose"):
        snakemake.logging.logger.addFilter(OurErrors(get_source().folder))


def calm_scheduler():
    """Has the scheduler look for jobs to start when one ends, and else once a second.

    Where its rate of jobs may hold jobs back, Snakemake has each look begin the wait for another. As
    each end of a job is a look as well, it would look n times a second after n jobs.
    """
    scheduler = get_private("scheduler")
    jobs = get_private("_open_jobs", scheduler)
    get_private("_schedule_reevalutation", scheduler)
    # jobs of an outer workflow that wait for input from elsewhere, which no job's end tells of
    expects_input = get_private("dag.has_unfinished_queue_input_jobs")
    is_waiting = threading.Event()

    def look():
        is_waiting.clear()
        jobs.release()

    def wait(seconds):
        are_ready = bool(get_private("open_jobs", scheduler))
        if (are_ready or expects_input()) and not is_waiting.is_set():
            is_waiting.set()
            timer = threading.Timer(min(seconds, 1) if are_ready else seconds, look)
            timer.daemon = True  # the end of the study does not wait for it
            timer.start()

    scheduler._schedule_reevalutation = wait


def get_slurm_executor():
    """The executor that submits to Slurm; None elsewhere."""
    executor = get_private("scheduler._executor")
    package = type(executor).__module__.partition(".")[0]
    return executor if package == SLURM_PLUGIN.replace("-", "_") else None


def get_plugin(path):
    """A part of the Slurm plugin; only where it is in use, since it takes time to import."""
    return get_private(path, importlib.import_module(SLURM_PLUGIN.replace("-", "_")), SLURM_PLUGIN)


def get_comment(job):
    """What a job is known by in the queue, as the plugin writes it: its rule and wildcards."""
    wildcards = get_plugin("utils.get_job_wildcards")(job)
    return f"rule_{get_private('name', job)}" + (f"_wildcards_{wildcards}" if wildcards else "")


def get_queue_name(executor):
    """The name that all jobs of this snakemake have in the queue."""
    return get_private("run_uuid", executor, SLURM_PLUGIN)


def mark_queue_name(executor, mark):
    """Has the name end with what a later snakemake knows jobs of the same work by."""
    executor.run_uuid = f"{get_queue_name(executor)}-{mark}"


def get_request(executor, job):
    """sbatch's command line for a planned job, but for what it runs."""
    job = job._job
    settings = get_private("executor_settings", package=SLURM_PLUGIN)
    parts = {
        "run_uuid": "weightscape",
        "slurm_logfile": os.devnull,
        "comment_str": "weightscape",
        "account": next(get_private("get_account_arg", executor, SLURM_PLUGIN)(job)),
        "partition": get_private("get_partition_arg", executor, SLURM_PLUGIN)(job),
        "workdir": get_private("workdir_init"),
    }
    submit = get_plugin("submit_string.get_submit_command")
    return submit(job, parts, settings=settings) + get_plugin("utils.set_gres_string")(job)


def get_stamp(path):
    """The date of a file as a number that differs with each making of it; 0 if there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


# in the environment of a job on a node: the stamp of its shard when it was submitted
SHARD_BEFORE = "WEIGHTSCAPE_SHARD_BEFORE"


def keep_new_shard():
    """A job on a node removes no shard that was made since it was submitted.

    There is one if Slurm took the job twice, or started it again after it had done its work.
    """
    before = os.environ.get(SHARD_BEFORE)
    if before is None or is_main_process():
        return
    kind = get_private("jobs.Job", snakemake)
    remove, clean = (get_private(name, kind) for name in ("remove_existing_output", "cleanup"))

    def is_new(job):
        return str(get_stamp(job.output[0])) not in ("0", before)

    async def remove_existing_output(job):
        if not is_new(job):
            await remove(job)

    async def cleanup(job, skip_outputs):
        if not is_new(job):
            await clean(job, skip_outputs)

    kind.remove_existing_output, kind.cleanup = remove_existing_output, cleanup


keep_new_shard()
