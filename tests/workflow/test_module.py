"""Use from another workflow: docs/module.md as it stands, by path and by git.

Python has no weightscape here, and the repository has a later commit whose library can't be
imported: what is imported must come from the tag.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sysconfig
import venv

import numpy as np
import pytest
import yaml

from project import ROOT, Project

TEXT = (ROOT / "docs" / "module.md").read_text()
SOURCE = 'github("OWNER/weightscape", path="workflow/Snakefile", tag="TAG")'
TINY = "networks/results/tiny"
JOBS = {
    "networks_prepare_dataset": 1,
    "networks_train_runs": 2,
    "networks_collect_runs": 1,
    "networks_group_runs": 1,
    "networks_join_tables_runs": 1,
    "networks_measure_matching": 1,
    "networks_measure_reliability": 1,
    "networks_measure_similarity": 1,
    "networks_measure_weights": 1,
    "networks_measure_purity": 1,
    "networks_measure_claims": 1,
    "networks_measure_transfer": 1,
    "networks_measure_similarity_families": 1,
    "networks_judge_claims": 1,
    "keep_accuracies": 1,
}


def block(language):
    return TEXT.split(f"```{language}\n")[1].split("```")[0]


def git(folder, *arguments):
    who = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="session")
def python(once):
    """A Python that has all packages but weightscape: a .pth in a folder of a .pth is not read."""
    return str(once("python", make_python) / "bin" / "python")


def make_python(folder):
    venv.create(folder, with_pip=False, symlinks=True)
    inside = sysconfig.get_path("purelib", "venv", vars={"base": folder, "platbase": folder})
    with open(f"{inside}/shared.pth", "w") as file:
        file.write(sysconfig.get_path("purelib"))
    command = [folder / "bin" / "python", "-c", "import snakemake, weightscape"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.stderr.endswith("No module named 'weightscape'\n")


@pytest.fixture(scope="session")
def hosts(once):
    """The folder that stands for github.com and gitlab.com, with the repository of OWNER."""
    return once("hosts", make_hosts)


def make_hosts(folder):
    repository = Project.create(folder / "OWNER" / "weightscape", {}).folder
    (repository / ".gitignore").write_text("__pycache__/\n")
    git(repository, "init", "--quiet")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "first")
    git(repository, "tag", "TAG")
    library = repository / "workflow" / "weightscape" / "__init__.py"
    library.write_text(library.read_text() + "\nraise RuntimeError('of a later commit')\n")
    git(repository, "commit", "--quiet", "--all", "--message", "second")
    git(repository, "branch", "later")


class Outer(Project):
    """The outer workflow of the document."""

    def __init__(self, folder, study, python, hosts):
        super().__init__(folder, study)
        self.python, self.hosts = python, hosts
        self.environment |= {
            "XDG_CACHE_HOME": str(folder / "cache"),
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": f"url.file://{hosts}/.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/",
            "GIT_CONFIG_KEY_1": f"url.file://{hosts}/.insteadOf",
            "GIT_CONFIG_VALUE_1": "https://gitlab.com/",
        }

    @classmethod
    def create(cls, *of):
        self = cls(*of)
        (self.folder / "config").mkdir(parents=True)
        (self.folder / "workflow").mkdir()
        (self.folder / "profiles").symlink_to(ROOT / "profiles")
        self.write(block("python"))
        return self

    def copy(self, folder):
        shutil.copytree(self.folder, folder, symlinks=True)
        return Outer(folder, self.study, self.python, self.hosts)

    def write(self, snakefile):
        (self.folder / "workflow" / "Snakefile").write_text(snakefile)

    def replace(self, *pairs):
        """Write the document's Snakefile with other words."""
        text = block("python")
        for old, new in pairs:
            assert text.count(old) == 1
            text = text.replace(old, new)
        self.write(text)

    def command(self, *arguments):
        (self.folder / "config" / "config.yaml").write_text(yaml.safe_dump(self.study))
        return [self.python, "-m", "snakemake", *arguments]


@pytest.fixture
def outer(tmp_path, python, hosts):
    return Outer.create(tmp_path / "outer", yaml.safe_load(block("yaml")), python, hosts)


@pytest.fixture
def finished_outer(once, python, hosts, tmp_path):
    """A copy of the document run to its end."""
    study = yaml.safe_load(block("yaml"))
    study["networks"]["notify"] = 'cat > told; echo "$WEIGHTSCAPE_OUTCOME" >> told'
    folder = once("outer", lambda f: Outer.create(f, study, python, hosts).succeed())
    return Outer(folder, study, python, hosts).copy(tmp_path / "outer")


@pytest.mark.parametrize(
    "source",
    [
        f'"{ROOT}/workflow/Snakefile"',
        '"git+file://HOSTS/OWNER/weightscape/workflow/Snakefile@TAG"',
        'gitfile("HOSTS/OWNER/weightscape", path="workflow/Snakefile", tag="TAG")',
        SOURCE.replace("github", "gitlab"),
    ],
    ids=["path", "git+file", "gitfile", "gitlab"],
)
def test_the_same_jobs_wherever_it_comes_from(outer, hosts, source):
    outer.replace((SOURCE, source.replace("HOSTS", str(hosts))))
    assert outer.planned() == JOBS
    unpacked = list((outer.folder / ".snakemake").glob("weightscape/*"))
    assert [len(path.name) for path in unpacked] == ([] if str(ROOT) in source else [40])


def test_a_whole_run_by_git(finished_outer):
    folder = finished_outer.folder
    lines = (folder / "accuracies.csv").read_text().splitlines()
    assert lines[0] == "model,dataset,width,seed"
    assert len(lines) == 3
    assert not (folder / "results").exists()  # all of it is under the prefix
    assert len(list((folder / TINY).glob("weights/dnn/digits/width-2/*.h5"))) == 2
    assert finished_outer.planned() == {}
    status = finished_outer.succeed("networks_status")
    assert "Study tiny: 2 of 2 runs done" in status
    *told, outcome = (folder / "told").read_text().splitlines()
    assert "2 of 2 runs done" in told[0]
    assert outcome == "finished"


def test_the_report_s_first_page_is_the_scorecard(finished_outer, tmp_path):
    finished_outer.succeed("--report", str(tmp_path / "report.html"))
    page = re.search(r'var workflow_desc = "(.*)', (tmp_path / "report.html").read_text())[1]
    assert "Study <strong>tiny</strong>" in page
    assert "n = 2 runs (1 widths x 2 seeds)" in page
    assert "Do the paper's claims hold among networks of one width? Study tiny." in page
    assert "system-message" not in page


def test_one_snakemake_at_a_time_but_for_rules_of_the_outer_workflow(finished_outer):
    with (finished_outer.folder / TINY / ".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = finished_outer.run("--forcerun", "networks_judge_claims")
        assert done.returncode != 0
        assert "the study tiny is in use by another snakemake" in done.stdout + done.stderr
        finished_outer.succeed("--forcerun", "keep_accuracies")


def test_the_config_s_own_files_stay_where_they_are(outer):
    (outer.folder / "data").mkdir()
    np.savez(
        outer.folder / "data" / "mine.npz",
        images=np.arange(20 * 16, dtype=np.uint8).reshape(20, 4, 4),
        labels=np.arange(20) % 3,
        split=np.where(np.arange(20) < 15, "train", "test"),
    )
    outer.study["networks"] |= {
        "datasets": {"mine": {"file": "data/mine.npz"}},
        "populations": [{"model": "dnn", "dataset": "mine", "widths": [2], "seeds": 2}],
    }
    outer.replace((SOURCE, f'"{ROOT}/workflow/Snakefile"'))
    output = outer.succeed("networks/results/datasets/mine.h5")
    assert re.search(r"input: data/mine\.npz\n", output)


CONDA = """#!/bin/sh
case "$*" in
    *--version*) echo conda 25.9.1 ;;
    *channel_priority*) echo '{"get": {"channel_priority": "strict"}}' ;;
    *) echo '{"conda_prefix": "/none", "root_prefix": "/none", "platform": "linux-64"}' ;;
esac
"""


def test_the_conda_environment_comes_along(outer, tmp_path):
    """With a stand-in for conda, since nothing is made."""
    (tmp_path / "conda").write_text(CONDA)
    (tmp_path / "conda").chmod(0o755)
    outer.environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    output = outer.succeed("--sdm", "conda", "--list-conda-envs")
    assert re.search(r"/OWNER/weightscape/TAG/envs/weightscape\.yaml\s+\.snakemake/", output)


def test_rules_may_be_changed(outer):
    """The module is read twice then, and tells its plan once."""
    change = "use rule train_runs from weightscape as networks_train_runs with:\n    threads: 2\n"
    text = block("python").replace(SOURCE, f'"{ROOT}/workflow/Snakefile"')
    outer.write(f"{text}\n\n{change}")
    output = outer.succeed("-n")
    assert output.count("Study tiny: 2 epochs") == 1
    assert re.search(r"rule networks_train_runs:\n(    .*\n)+    threads: 2\n", output)


OTHER = """

module other:
    snakefile:
        {source}
    config:
        config["networks"] | dict(study="second")
    prefix:
        "others"


use rule * from other as other_*


rule both:
    input:
        rules.keep_accuracies.input.runs,
        "others/results/second/tables/runs.csv",
"""


def test_several_studies_of_one_version_and_no_two_versions(outer):
    outer.write(block("python") + OTHER.format(source=SOURCE))
    output = outer.succeed("both", "-n", "--quiet", "rules")
    assert set(re.findall(r"^(\w+)_train_runs +2$", output, re.MULTILINE)) == {"networks", "other"}
    later = SOURCE.replace("tag", "branch").replace("TAG", "later")
    outer.write(block("python") + OTHER.format(source=later))
    done = outer.run("-n")
    assert done.returncode != 0
    assert "a workflow can use one version of weightscape" in done.stdout + done.stderr


def test_another_prefix_is_refused_in_one_sentence(outer):
    outer.replace(
        (SOURCE, f'"{ROOT}/workflow/Snakefile"'),
        ("    prefix:\n", "    replace_prefix:\n"),
        ('        "networks"\n', '        {"results": "networks"}\n'),
    )
    done = outer.run("-n")
    assert done.returncode != 0
    assert "weightscape can't follow `replace_prefix:`" in done.stdout + done.stderr


def test_without_an_outer_workflow(outer):
    outer.write("")
    outer.study = outer.study["networks"]
    output = outer.succeed("-s", "gh:OWNER/weightscape@TAG", "-n", "--quiet", "rules")
    assert re.search(r"train_runs +2\n", output)
