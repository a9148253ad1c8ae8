"""The documents say what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from weightscape import pages
from weightscape.errors import WeightscapeError
from weightscape.study import config

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", pages.MADE)
def test_what_is_made_from_the_code_is_made_anew(page):
    """`make pages` does it."""
    text = (ROOT / page).read_text()
    assert pages.renew(page, text) == text


def test_a_page_without_its_marks_is_an_error():
    with pytest.raises(WeightscapeError, match="lacks the lines"):
        pages.renew("docs/columns.md", "# The columns\n")


def test_config_readme_lists_every_config():
    readme = (ROOT / "config" / "README.md").read_text()
    for path in (ROOT / "config").glob("*.yaml"):
        study = yaml.safe_load(path.read_text())["study"]
        assert re.search(rf"`{path.name}` \| `{study}`", readme), path.name


def test_every_key_has_a_type_and_a_meaning():
    for key, part in config._keys("", config.load_schema()):
        assert len(part["description"]) > 10, key
        assert {"type", "enum", "anyOf"} & set(part), key
        required = key.endswith((".low", ".mid", ".high", "populations", "study", ".file"))
        assert "default" in part or part["optional"] or required or "[]" in key, key


DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "config/README.md",
    "results/README.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
]


def anchors(path):
    """The names that links to headings have."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    path = ROOT / document
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", path.read_text())
    assert document != "README.md" or len(links) > 3
    missing = []
    for link, anchor in links:
        target = path.parent / link if link else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(f"{link}#{anchor}")
    assert missing == []


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if not name.startswith("results")])
def test_pages_lead_to_the_glossary(document):
    assert document == "docs/glossary.md" or "glossary.md)" in (ROOT / document).read_text()


def test_the_readme_is_short():
    """Without its appendix, and with its code."""
    text = (ROOT / "README.md").read_text().split("## Appendix")[0]
    assert len(text.split()) < 1500


@pytest.mark.parametrize("name", ["report", "explorer"])
def test_screenshots_are_shown_small_and_told_in_words(name):
    path = f"docs/screenshot-{name}.png"
    assert re.search(rf"!\[[^\]]{{20,}}\]\({path}\)", (ROOT / "README.md").read_text())
    assert (ROOT / path).stat().st_size < 150_000


def test_screenshots_without_a_browser_are_one_sentence():
    script = ROOT / "docs" / "screenshots.py"
    done = subprocess.run(
        [sys.executable, script], env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stderr == "make screenshots: install Chromium, which takes the pictures\n"


def test_conda_environment_has_the_versions_of_the_lock():
    """For Python 3.12, which the environment asks for."""
    environment = yaml.safe_load((ROOT / "envs" / "weightscape.yaml").read_text())
    assert "python =3.12" in environment["dependencies"]
    lines = [line.split(" ; ")[0] for line in environment["dependencies"][-1]["pip"]]
    pinned = dict(line.split("==") for line in lines)
    lock = (ROOT / "requirements.lock").read_text()
    for name, version in pinned.items():
        entries = re.findall(rf"^{name}==(\S+)(.*)$", lock, flags=re.MULTILINE)
        for_312 = [
            found for found, marker in entries if "python_full_version < '3.12'" not in marker
        ]
        assert for_312 == [version], name


def test_lock_has_hashes_and_no_addresses():
    lock = (ROOT / "requirements.lock").read_text()
    entries = re.findall(r"^[a-z0-9._-]+==", lock, flags=re.MULTILINE)
    assert len(entries) > 50
    assert lock.count("--hash=sha256:") >= len(entries)
    assert not re.search(r"https?:|file:|--(extra-)?index", lock)
