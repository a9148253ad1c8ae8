"""What all profiles must have in common, and what none may have."""

import re

import pytest
import yaml

from project import ROOT

PROFILES = {
    path.parent.name: yaml.safe_load(path.read_text())
    for path in sorted(ROOT.glob("profiles/*/profile.yaml"))
}
SHARED = [
    "scheduler",
    "rerun-triggers",
    "rerun-incomplete",
    "nolock",
    "keep-going",
    "show-failed-logs",
    "benchmark-extended",
]
# an array or a group of jobs fails as one, and a shard more or less would be another array
REFUSED = {"slurm-array-jobs", "slurm-array-limit", "groups", "group-components"}


def test_there_is_a_profile_of_one_machine_and_of_a_cluster():
    assert {"default", "slurm"} <= set(PROFILES)


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_agree(name):
    profile = PROFILES[name]
    default = PROFILES["default"]
    assert {key: profile.get(key) for key in SHARED} == {key: default[key] for key in SHARED}
    assert not REFUSED & set(profile)


def test_no_rule_has_retries_of_its_own():
    for path in ROOT.glob("workflow/rules/*.smk"):
        assert not re.search(r"^\s*(retries|group)\s*:", path.read_text(), re.MULTILINE), path
