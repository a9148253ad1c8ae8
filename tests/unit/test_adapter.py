"""What upstream keeps private stands behind one file, which tells of a part that is gone."""

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from snakemake.exceptions import WorkflowError

ROOT = Path(__file__).parents[2]
RULES = ROOT / "workflow" / "rules"
ADAPTER = RULES / "adapter.smk"


class Executor:
    """As the Slurm plugin's."""

    __module__ = "snakemake_executor_plugin_slurm"

    def __init__(self):
        self.run_uuid = "9b2f"
        self._fallback_account_arg = None


@pytest.fixture
def upstream():
    """Snakemake's workflow, as far as it is used."""
    job = SimpleNamespace(
        rule=SimpleNamespace(name="train_runs"), wildcards={}, resources={}, is_local=False
    )
    folder = SimpleNamespace(get_path_or_uri=lambda secret_free: "/clone/workflow/rules")
    return SimpleNamespace(
        current_basedir=folder,
        is_main_process=True,
        output_settings=SimpleNamespace(dryrun=False),
        overwrite_configfiles=[],
        default_target=None,
        dag=SimpleNamespace(needrun_jobs=lambda: iter([job])),
        scheduler=SimpleNamespace(_executor=Executor()),
        executor_settings=SimpleNamespace(
            status_command="squeue", init_seconds_before_status_checks=40
        ),
    )


@pytest.fixture
def adapter(upstream):
    """The adapter's functions, over the stand-in."""
    names = {"__name__": "adapter", "workflow": upstream}
    exec(compile(ADAPTER.read_text(), ADAPTER, "exec"), names)
    return SimpleNamespace(**names)


def test_every_part_is_found(adapter, upstream):
    assert adapter.get_rules_folder() == Path("/clone/workflow/rules")
    assert adapter.is_main_process()
    assert not adapter.is_dry_run()
    assert not adapter.is_config_given()
    (job,) = adapter.get_planned_jobs()
    assert (job.rule_name, job.wildcards, job.resources) == ("train_runs", {}, {})
    assert not job.is_local
    executor = adapter.get_slurm_executor()
    assert adapter.get_queue_name(executor) == "9b2f"
    assert adapter.get_status_command() == "squeue"
    assert adapter.get_first_look() == 40
    adapter.skip_guess_of_account(executor)
    assert executor._fallback_account_arg == ""
    adapter.set_default_target("all")
    assert upstream.default_target == "all"


def test_another_executor_is_not_slurm_s(adapter, upstream):
    upstream.scheduler._executor = SimpleNamespace(run_uuid="9b2f")
    assert adapter.get_slurm_executor() is None


GONE = {
    "current_basedir": lambda adapter: adapter.get_rules_folder(),
    "is_main_process": lambda adapter: adapter.is_main_process(),
    "output_settings.dryrun": lambda adapter: adapter.is_dry_run(),
    "overwrite_configfiles": lambda adapter: adapter.is_config_given(),
    "default_target": lambda adapter: adapter.set_default_target("all"),
    "dag.needrun_jobs": lambda adapter: adapter.get_planned_jobs(),
    "scheduler._executor": lambda adapter: adapter.get_slurm_executor(),
    "scheduler._executor.run_uuid": lambda adapter: adapter.get_queue_name(
        adapter.get_slurm_executor()
    ),
    "scheduler._executor._fallback_account_arg": lambda adapter: adapter.skip_guess_of_account(
        adapter.get_slurm_executor()
    ),
    "executor_settings.status_command": lambda adapter: adapter.get_status_command(),
    "executor_settings.init_seconds_before_status_checks": lambda adapter: adapter.get_first_look(),
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


def test_nothing_else_touches_what_is_private():
    files = [ROOT / "Snakefile", ROOT / "workflow" / "Snakefile", *RULES.glob("*.smk")]
    for path in set(files) - {ADAPTER}:
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
