"""What upstream keeps private stands behind one file, which tells of a part that is gone."""

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from snakemake import sourcecache
from snakemake.exceptions import WorkflowError

ROOT = Path(__file__).parents[2]
RULES = ROOT / "workflow" / "rules"
ADAPTER = RULES / "adapter.smk"
CONFIG = {"study": "small"}


class Executor:
    """As the Slurm plugin's."""

    __module__ = "snakemake_executor_plugin_slurm"

    def __init__(self):
        self.run_uuid = "9b2f"
        self._fallback_account_arg = None


@pytest.fixture
def upstream():
    """Snakemake's workflow, as far as it is used."""
    jobs = [
        SimpleNamespace(
            rule=SimpleNamespace(name=name, module_globals={"config": of}),
            wildcards={},
            resources={},
            is_local=False,
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
        ),
        is_main_process=True,
        output_settings=SimpleNamespace(dryrun=False),
        overwrite_configfiles=[],
        default_target=None,
        dag=SimpleNamespace(needrun_jobs=lambda: iter(jobs)),
        scheduler=SimpleNamespace(_executor=Executor()),
        executor_settings=SimpleNamespace(
            status_command="squeue", init_seconds_before_status_checks=40
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
    (job,) = adapter.get_planned_jobs()
    assert (job.rule_name, job.wildcards, job.resources) == (
        "networks_train_runs",
        {},
        {},
    )
    assert not job.is_local
    executor = adapter.get_slurm_executor()
    assert adapter.get_queue_name(executor) == "9b2f"
    assert adapter.get_status_command() == "squeue"
    assert adapter.get_first_look() == 40
    adapter.skip_guess_of_account(executor)
    assert executor._fallback_account_arg == ""
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
