"""What lies around the code: versions, hosted CI, forms for issues."""

import re
import subprocess
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
FORMS = [
    path
    for path in sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
    if path.name != "config.yml"
]


def test_the_release_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    released = re.findall(r"^## \[(\d\S*)\] - (\S+)$", CHANGELOG, flags=re.MULTILINE)
    version, day = released[0]
    assert citation["version"] == version == PYPROJECT["project"]["version"]
    assert citation["date-released"] == date.fromisoformat(day)


def test_the_changelog_is_in_the_form_that_it_names():
    """https://keepachangelog.com: what is to come, then releases, the newest first."""
    first, *releases = re.findall(r"^## (.*)$", CHANGELOG, flags=re.MULTILINE)
    assert first == "[Unreleased]"
    found = [
        re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", line) for line in releases
    ]
    assert all(found), releases
    versions = [tuple(map(int, match.groups()[:3])) for match in found]
    assert versions == sorted(set(versions), reverse=True)
    kinds = set(re.findall(r"^### (.*)$", CHANGELOG, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_library_s_types_are_installed_with_it():
    assert (ROOT / "workflow/weightscape/py.typed").exists()
    assert "py.typed" in PYPROJECT["tool"]["setuptools"]["package-data"]["weightscape"]


def test_coverage_is_of_the_library():
    (source,) = PYPROJECT["tool"]["coverage"]["run"]["source"]
    assert (ROOT / source / "__init__.py").exists()
    excluded = PYPROJECT["tool"]["coverage"]["report"]["exclude_also"]
    kernels = "".join(path.read_text() for path in (ROOT / source / "kernels").glob("*.py"))
    for pattern in excluded:
        assert re.search(pattern, kernels, flags=re.MULTILINE), pattern


def steps(job):
    return WORKFLOW["jobs"][job]["steps"]


def test_hosted_ci_runs_what_a_submission_must_pass():
    triggers = WORKFLOW[True]  # YAML 1.1 takes the key `on` for a truth value
    assert {"push", "pull_request"} <= set(triggers)
    (whole,) = (
        job
        for job in WORKFLOW["jobs"].values()
        if any("bash .ci/run" in step.get("run", "") for step in job["steps"])
    )
    assert whole["timeout-minutes"] == 90
    assert whole["container"]["image"].startswith("debian:")  # whose Slurm the cluster tests take


def test_hosted_ci_may_only_read():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in WORKFLOW["jobs"].values())


def test_hosted_ci_stops_at_a_newer_push_and_at_some_time():
    assert WORKFLOW["concurrency"]["cancel-in-progress"] is True
    assert all("timeout-minutes" in job for job in WORKFLOW["jobs"].values())


def test_hosted_ci_tries_each_python_that_is_supported():
    (setup,) = (step for step in steps("versions") if "setup-python" in step.get("uses", ""))
    assert setup["with"]["python-version"] == "${{ matrix.python }}"
    tried = ["3.11", *WORKFLOW["jobs"]["versions"]["strategy"]["matrix"]["python"]]
    low, high = re.fullmatch(
        r">=3\.(\d+),<3\.(\d+)", PYPROJECT["project"]["requires-python"]
    ).groups()
    assert tried == [f"3.{minor}" for minor in range(int(low), int(high))]


def test_actions_are_pinned_by_their_major_version():
    used = [step["uses"] for job in WORKFLOW["jobs"] for step in steps(job) if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action), action


def test_hosted_ci_calls_targets_of_make():
    makefile = (ROOT / "Makefile").read_text()
    lines = [step.get("run", "") for job in WORKFLOW["jobs"] for step in steps(job)]
    called = [target for line in lines for target in re.findall(r"^make (\S+)", line)]
    assert called
    for target in called:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_whole(path):
    form = yaml.safe_load(path.read_text())
    assert set(form) <= {"name", "description", "title", "labels", "assignees", "body"}
    assert form["name"]
    assert form["description"]
    asked = [element for element in form["body"] if element["type"] != "markdown"]
    names = [element["id"] for element in asked]
    assert names
    assert len(set(names)) == len(names)
    for element in asked:
        assert set(element) <= {"type", "id", "attributes", "validations"}
        assert element["type"] in {"input", "textarea", "dropdown", "checkboxes"}
        assert element["attributes"]["label"]
        if element["type"] in {"dropdown", "checkboxes"}:
            assert element["attributes"]["options"]


def test_a_fault_s_form_asks_for_what_is_needed_to_see_it_again():
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text())
    required = {
        element["id"]
        for element in form["body"]
        if element.get("validations", {}).get("required") is True
    }
    assert {"config", "command", "log", "snakemake"} <= required
    assert "snakemake --version" in str(form)


def test_the_choice_of_forms_is_valid():
    chooser = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/config.yml").read_text())
    assert chooser["blank_issues_enabled"] is False
    assert len(FORMS) == 2


def test_make_help_names_every_target_that_contributors_are_told_of():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    told = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, flags=re.MULTILINE))
    assert {"setup", "test", "test-slurm", "lint", "types"} <= told
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told <= {line.split()[0] for line in done.stdout.splitlines() if line}
