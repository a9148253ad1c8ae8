"""What upstream keeps private stands behind one file, which tells of a part that is gone."""

import logging
import re
import threading
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from snakemake import sourcecache
from snakemake.exceptions import WorkflowError
from snakemake.logging import ColorizingTextHandler, logger
from snakemake_interface_logger_plugins.common import LogEvent

ROOT = Path(__file__).parents[2]
RULES = ROOT / "workflow" / "rules"
ADAPTER = RULES / "adapter.smk"
SUBMIT = RULES / "submit.smk"
CONFIG = {"study": "small"}


OUTPUT = {
    "show_failed_logs": True,
    "dryrun": False,
    "quiet": None,
    "verbose": False,
    "printshellcmds": False,
    "debug_dag": False,
}


class Executor:
    """As the Slurm plugin's."""

    __module__ = "snakemake_executor_plugin_slurm"

    def __init__(self):
        self.run_uuid = "9b2f"


@pytest.fixture
def upstream():
    """Snakemake's workflow, as far as it is used."""
    jobs = [
        SimpleNamespace(
            rule=SimpleNamespace(name=name, module_globals={"config": of}),
            wildcards={},
            resources={},
            is_local=False,
            jobid=7,
            output=["seeds-0000.h5"],
        )
        # the second is a rule of an outer workflow
        for name, of in (("networks_train_runs", CONFIG), ("train_runs", {}))
    ]
    outer = SimpleNamespace(prefix="deep/", modifies_prefixes=False, inner_modifier=None)
    own = SimpleNamespace(prefix="networks/", modifies_prefixes=False, inner_modifier=outer)
    return SimpleNamespace(
        current_basedir=sourcecache.LocalSourceFile("/clone/workflow/rules"),
        modifier=SimpleNamespace(
            path_modifier=own,
            modify_rulename="networks_{}".format,
            avail_rulename={"plan": "networks_plan"}.get,
            is_main_snakefile=lambda: True,
            skip_configfile=False,
        ),
        is_main_process=True,
        output_settings=SimpleNamespace(**OUTPUT),
        overwrite_configfiles=[],
        configfiles=[Path.cwd() / "mine.yaml", "config/config.yaml", "/away/other.yaml"],
        config_settings=SimpleNamespace(config={"device": "cpu"}),
        default_target=None,
        dag_settings=SimpleNamespace(targets={"status"}),
        dag=SimpleNamespace(
            needrun_jobs=lambda: iter(jobs), has_unfinished_queue_input_jobs=lambda: False
        ),
        scheduler=SimpleNamespace(
            _executor=Executor(),
            _open_jobs=threading.Semaphore(0),
            _schedule_reevalutation=lambda seconds: None,
            open_jobs=jobs,
        ),
    )


@pytest.fixture
def adapter(upstream):
    """The adapter's functions, over the stand-in."""
    names = {"__name__": "adapter", "workflow": upstream, "config": CONFIG}
    exec(compile(ADAPTER.read_text(), ADAPTER, "exec"), names)
    return SimpleNamespace(**names)


def test_every_part_is_found(adapter, upstream):
    assert adapter.get_source() == (Path("/clone/workflow/rules"), None, "")
    assert adapter.get_prefix() == "deep/networks/"
    assert adapter.get_rule_name("train_runs") == "networks_train_runs"
    assert adapter.is_used("plan")
    assert not adapter.is_used("status")
    assert adapter.is_main_process()
    assert not adapter.is_dry_run()
    assert not adapter.is_config_given()
    assert [*map(str, adapter.get_config_files())] == [
        "mine.yaml",
        "config/config.yaml",
        "/away/other.yaml",
    ]
    assert adapter.is_config_changed()
    (job,) = adapter.get_planned_jobs()
    assert (job.rule_name, job.wildcards, job.resources) == (
        "networks_train_runs",
        {},
        {},
    )
    assert not job.is_local
    assert job.number == 7
    assert job.makes_files
    assert adapter.is_output_replaced()
    executor = adapter.get_slurm_executor()
    assert adapter.get_queue_name(executor) == "9b2f"
    adapter.mark_queue_name(executor, "c0de")
    assert adapter.get_queue_name(executor) == "9b2f-c0de"
    adapter.set_default_target("all")
    assert upstream.default_target == "all"


class Hosted(sourcecache.GithubFile):
    hosted_repo = SimpleNamespace(repo_clone=Path("/cache/github.com/owner/weightscape"))


def test_a_repository_of_git_is_told_with_its_ref(adapter, upstream):
    upstream.current_basedir = sourcecache.LocalGitFile("/repository", "workflow/rules", tag="v1")
    assert adapter.get_source() == (Path("workflow/rules"), Path("/repository"), "v1")
    upstream.current_basedir = Hosted("owner/weightscape", "workflow/rules", branch="main")
    clone = Path("/cache/github.com/owner/weightscape")
    assert adapter.get_source() == (Path("workflow/rules"), clone, "main")


def test_an_address_without_a_library_is_refused(adapter, upstream):
    upstream.current_basedir = sourcecache.GenericSourceFile("https://example.org/workflow/rules")
    with pytest.raises(WorkflowError, match=r"can't be read from https://example"):
        adapter.get_source()


def test_a_config_is_given_by_a_file_or_by_an_outer_workflow(adapter, upstream):
    upstream.overwrite_configfiles = [Path("mine.yaml")]
    assert adapter.is_config_given()
    upstream.overwrite_configfiles, upstream.modifier.skip_configfile = [], True
    assert adapter.is_config_given()


def test_replaced_prefixes_are_refused(adapter, upstream):
    upstream.modifier.path_modifier.inner_modifier.modifies_prefixes = True
    with pytest.raises(WorkflowError, match="can't follow `replace_prefix:`"):
        adapter.get_prefix()


def test_another_executor_is_not_slurm_s(adapter, upstream):
    upstream.scheduler._executor = SimpleNamespace(run_uuid="9b2f")
    assert adapter.get_slurm_executor() is None


GONE = {
    "current_basedir": lambda adapter: adapter.get_source(),
    "modifier.path_modifier": lambda adapter: adapter.get_prefix(),
    "modifier.path_modifier.prefix": lambda adapter: adapter.get_prefix(),
    "modifier.path_modifier.inner_modifier": lambda adapter: adapter.get_prefix(),
    "modifier.path_modifier.modifies_prefixes": lambda adapter: adapter.get_prefix(),
    "modifier.avail_rulename": lambda adapter: adapter.is_used("plan"),
    "modifier.modify_rulename": lambda adapter: adapter.get_rule_name("train_runs"),
    "is_main_process": lambda adapter: adapter.is_main_process(),
    "modifier.is_main_snakefile": lambda adapter: adapter.is_output_replaced(),
    **{f"output_settings.{name}": lambda adapter: adapter.is_output_replaced() for name in OUTPUT},
    "overwrite_configfiles": lambda adapter: adapter.is_config_given(),
    "modifier.skip_configfile": lambda adapter: adapter.is_config_given(),
    "configfiles": lambda adapter: adapter.get_config_files(),
    "config_settings.config": lambda adapter: adapter.is_config_changed(),
    "dag_settings": lambda adapter: adapter.is_asked_alone({"status"}),
    "dag_settings.targets": lambda adapter: adapter.is_asked_alone({"status"}),
    "default_target": lambda adapter: adapter.set_default_target("all"),
    "dag.needrun_jobs": lambda adapter: adapter.get_planned_jobs(),
    "scheduler._executor": lambda adapter: adapter.get_slurm_executor(),
    "dag.has_unfinished_queue_input_jobs": lambda adapter: adapter.calm_scheduler(),
    "scheduler._open_jobs": lambda adapter: adapter.calm_scheduler(),
    "scheduler.open_jobs": lambda adapter: (
        adapter.calm_scheduler(),
        adapter.workflow.scheduler._schedule_reevalutation(0),
    ),
    "scheduler._schedule_reevalutation": lambda adapter: adapter.calm_scheduler(),
    "scheduler._executor.run_uuid": lambda adapter: adapter.get_queue_name(
        adapter.get_slurm_executor()
    ),
}


@pytest.mark.parametrize("path", GONE)
def test_a_part_that_is_gone_is_told_in_one_sentence(adapter, upstream, path):
    *owners, name = path.split(".")
    owner = upstream
    for part in owners:
        owner = getattr(owner, part)
    delattr(owner, name)
    with pytest.raises(WorkflowError) as error:
        GONE[path](adapter)
    assert re.fullmatch(
        rf"snakemake\S* \d[\d.]* has no `\S*{name}\S*`, which weightscape uses: "
        r"install the version that weightscape's requirements\.lock names\.",
        str(error.value),
    )


@pytest.mark.parametrize(
    "asked",
    [
        {"dryrun": True},
        {"quiet": {"rules"}},
        {"verbose": True},
        {"printshellcmds": True},
        {"debug_dag": True},
        {"show_failed_logs": False},
    ],
)
def test_snakemake_s_own_output_stays_where_it_is_asked_for(adapter, upstream, asked):
    vars(upstream.output_settings).update(asked)
    assert not adapter.is_output_replaced()


@pytest.mark.parametrize("part", ["job", "module"])
def test_snakemake_s_own_output_stays_of_a_job_and_in_an_outer_workflow(adapter, upstream, part):
    upstream.is_main_process = part != "job"
    upstream.modifier.is_main_snakefile = lambda: part != "module"
    assert not adapter.is_output_replaced()


def test_the_handler_is_that_which_a_user_sees(adapter, monkeypatch):
    handler = ColorizingTextHandler()
    monkeypatch.setattr(logger, "handlers", [logging.NullHandler(), handler])
    assert adapter.get_message_handler() is handler
    monkeypatch.setattr(logger, "handlers", [logging.NullHandler()])
    assert adapter.get_message_handler() is None


def record(message, level=logging.INFO, **more):
    record = logging.LogRecord("snakemake.logging", level, "", 0, message, None, None)
    vars(record).update(more)
    return record


JOBS = [
    record("Execute 2 jobs...", event=LogEvent.JOB_STARTED, jobs=[1, 2]),
    record("Rule: train_runs", event=LogEvent.JOB_INFO, jobid=1, log=["1.log"]),
    record("Rule: join_tables", event=LogEvent.JOB_INFO, jobid=2, log=[]),
    record("Finished jobid: 1", event=LogEvent.JOB_FINISHED, job_id=1),
    record(None, event=LogEvent.PROGRESS, done=1, total=2),
]
ERROR = record("Error in rule", logging.ERROR, event=LogEvent.JOB_ERROR, jobid=2, rule_msg=None)


def test_messages_of_each_job_become_stages(adapter):
    told, messages = [], adapter.JobMessages()
    assert all(map(messages.filter, JOBS))  # as with --no-hooks
    messages.stages = SimpleNamespace(
        start=lambda *of: told.append(("start", *of)),
        finish=lambda *of: told.append(("finish", *of)),
        fail=lambda *of: told.append(("fail", *of)),
    )
    assert not any(map(messages.filter, JOBS))
    assert messages.filter(ERROR)
    assert told == [("start", 1, "1.log"), ("start", 2), ("finish", 1), ("fail", 2, "")]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "SLURM-job '7' failed, SLURM status is: 'TIMEOUT'. For further error details see x.",
            "SLURM-job '7' failed, SLURM status is: 'TIMEOUT'",
        ),
        (
            "SLURM sbatch failed. The error message was 'a\nb'.\n    sbatch call:\n    sbatch --x",
            "SLURM sbatch failed. The error message was 'a\nb'",
        ),
        (None, ""),
    ],
)
def test_why_a_job_failed_is_what_its_executor_says(adapter, message, reason):
    told, messages = [], adapter.JobMessages()
    messages.stages = SimpleNamespace(fail=lambda *of: told.append(of))
    messages.filter(record("Error", event=LogEvent.JOB_ERROR, jobid=2, rule_msg=message))
    assert told == [(2, reason)]


def test_snakemake_s_log_has_a_submitted_job_once(adapter):
    log = adapter.SubmittedJobs()
    info = record("Rule: train_runs", event=LogEvent.JOB_INFO, jobid=1, log=["1.log"])
    assert not log.filter(info)
    assert not log.filter(record("Execute 1 jobs...", event=LogEvent.JOB_STARTED))
    assert not log.filter(record("Select jobs to execute..."))
    assert not log.filter(record("Job rate limit reached, waiting for free slots."))
    rest = [
        ERROR,
        record("Finished jobid: 1", event=LogEvent.JOB_FINISHED, job_id=1),
        record("Job 1 has been submitted with SLURM jobid 7 (log: x)."),
        record("A limit", logging.WARNING),
    ]
    assert all(map(log.filter, rest))


def test_an_answer_stands_alone(adapter, upstream):
    messages = adapter.JobMessages({"plan", "status"})
    said = record("Assuming unrestricted shared filesystem usage.")
    assert not messages.filter(said)
    assert messages.filter(record("no space left", logging.ERROR))
    upstream.dag_settings.targets = {"status", "weights"}
    assert messages.filter(said)
    upstream.dag_settings.targets = set()
    assert messages.filter(said)
    upstream.dag_settings = None  # while rules are read
    assert messages.filter(said)


def test_messages_are_only_listened_to_where_snakemake_s_own_stay(adapter):
    told, messages = [], adapter.JobMessages({"status"})
    messages.replaces = False
    messages.stages = SimpleNamespace(finish=told.append, start=lambda *of: None)
    assert all(map(messages.filter, JOBS))
    assert told == [1]


@pytest.mark.parametrize(
    ("is_seen", "message"),
    [
        (False, "Building DAG of jobs..."),
        (False, "Select jobs to execute..."),
        (False, "Job 5 has been submitted with SLURM jobid 77 (log: x)."),
        (False, "Adding runs.csv (628 bytes)."),
        (True, "Job 5 has been lost."),
        (True, "Nothing to be done (all requested files are present and up to date)."),
        (True, "Creating conda environment envs/weightscape.yaml..."),
        (True, "Trying to restart job 5."),
        (True, "Waiting at most 60 seconds for missing files:"),
    ],
)
def test_what_snakemake_tells_of_itself_is_hidden_where_it_is_known(adapter, is_seen, message):
    messages = adapter.JobMessages()
    assert messages.filter(record(message)) == is_seen
    assert messages.filter(record(message, logging.WARNING))


def test_a_figure_that_can_not_be_restored_since_it_never_was_is_not_told(adapter):
    messages = adapter.JobMessages()
    text = "Cannot restore results/quick/figures/nulls-dnn-digits.svg: no backup found."
    assert not messages.filter(record(text, logging.WARNING))
    assert messages.filter(record(text, logging.ERROR))
    assert messages.filter(record("Cannot restore results: disk full.", logging.WARNING))


def test_a_record_that_lacks_what_it_had_is_told_in_one_sentence(adapter):
    messages = adapter.JobMessages()
    messages.stages = SimpleNamespace(finish=print)
    with pytest.raises(WorkflowError, match=r"has no `job_id`, which weightscape uses"):
        messages.filter(record("Finished", event=LogEvent.JOB_FINISHED))


FUNCTION = """InputFunctionException in rule train_runs in file "/clone/rules/train.smk", line 1:
Error:
  WeightscapeError: mine.npz is bad; write it again
Wildcards:
  model=dnn
Traceback:
  File "/clone/workflow/rules/resources.smk", line 13, in get_training_mem_mb
  File "/clone/workflow/weightscape/monitor/plan.py", line 231, in training_memory_mb (rule a)"""
CONFIG_FILE = """WorkflowError in file "/clone/workflow/rules/config.smk", line 47:
the config study.yaml can't be used:
  - sudy: unknown key
  File "/clone/workflow/rules/config.smk", line 47, in <module>
"""
ELSEWHERE = CONFIG_FILE.replace("/clone/", "/other/")
NOT_OURS = FUNCTION.replace("WeightscapeError", "KeyError")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (FUNCTION, "weightscape: mine.npz is bad; write it again"),
        (
            CONFIG_FILE,
            "weightscape: the config study.yaml can't be used:\n  - sudy: unknown key",
        ),
        (ELSEWHERE, ELSEWHERE),
        (NOT_OURS, NOT_OURS),
    ],
)
def test_an_error_of_ours_has_no_lines_of_snakemake_s(adapter, message, shown):
    said = record(message, logging.ERROR, event=LogEvent.ERROR)
    assert adapter.OurErrors("/clone/workflow/rules").filter(said)
    assert said.getMessage() == shown


@pytest.mark.parametrize("is_verbose", [False, True])
def test_errors_are_as_long_as_they_are_where_a_user_asks_for_more(
    adapter, upstream, monkeypatch, is_verbose
):
    upstream.output_settings.verbose = is_verbose
    added = []
    monkeypatch.setattr(logger, "addFilter", added.append)
    adapter.shorten_our_errors()
    assert len(added) == (not is_verbose)


@pytest.mark.parametrize(
    ("message", "more"),
    [
        ("Error in rule status:", {"event": LogEvent.JOB_ERROR}),
        ('RuleException:\nCalledProcessError in file "/plan.smk", line 26:', {}),
        ("Exiting because a job execution failed. Look above for error messages", {}),
        ("WorkflowError:\nAt least one job did not complete successfully.", {}),
    ],
)
def test_of_a_question_that_fails_its_own_error_is_enough(adapter, upstream, message, more):
    messages = adapter.JobMessages({"status"})
    assert not messages.filter(record(message, logging.ERROR, **more))
    upstream.dag_settings.targets = {"weights"}
    assert messages.filter(record(message, logging.ERROR, **more))


def test_the_scheduler_waits_once_at_a_time(adapter, upstream):
    adapter.calm_scheduler()
    scheduler = upstream.scheduler
    for _ in range(2):
        for _ in range(5):
            scheduler._schedule_reevalutation(0.01)
        assert scheduler._open_jobs.acquire(timeout=60)
        assert not scheduler._open_jobs.acquire(timeout=0.1)


def test_jobs_that_are_ready_wait_for_a_second_at_most(adapter, upstream):
    """Of a long timespan, as in 50/1m, others may start sooner than all of it later."""
    adapter.calm_scheduler()
    upstream.scheduler._schedule_reevalutation(600)
    assert upstream.scheduler._open_jobs.acquire(timeout=60)


def test_a_scheduler_without_ready_jobs_waits_for_an_end_or_for_input(adapter, upstream):
    scheduler = upstream.scheduler
    scheduler.open_jobs = []
    adapter.calm_scheduler()
    scheduler._schedule_reevalutation(0)
    assert not scheduler._open_jobs.acquire(timeout=0.1)
    upstream.dag.has_unfinished_queue_input_jobs = lambda: True
    adapter.calm_scheduler()
    scheduler._schedule_reevalutation(0)
    assert scheduler._open_jobs.acquire(timeout=60)


def test_nothing_else_touches_what_is_private():
    files = [ROOT / "Snakefile", ROOT / "workflow" / "Snakefile", *RULES.glob("*.smk")]
    for path in set(files) - {ADAPTER, SUBMIT}:
        found = re.findall(r"\b(?:workflow|executor|job\.rule)\.(?!rst\b)\w+", path.read_text())
        assert found == [], path


def test_versions_are_bounded_and_the_lock_is_within():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = map(Requirement, project["optional-dependencies"]["workflow"])
    bounds = {requirement.name: requirement.specifier for requirement in needed}
    lock = (ROOT / "requirements.lock").read_text()
    for name in ("snakemake", "snakemake-executor-plugin-slurm"):
        assert any(part.operator == "<" for part in bounds[name])
        (locked,) = re.findall(rf"^{name}==(\S+)", lock, flags=re.MULTILINE)
        assert locked in bounds[name]
    least = re.search(r'min_version\("(.+)"\)', (ROOT / "workflow" / "Snakefile").read_text())[1]
    assert f">={least}" in str(bounds["snakemake"])
