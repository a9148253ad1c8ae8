"""The documentation site: whole, and without a word to other hosts."""

import re
import subprocess

import pytest
from browsing import needs_chromium

from project import ROOT

SITE = ROOT / "build" / "docs"
PAGES = [*(ROOT / "docs").glob("*.md"), ROOT / "docs" / "tutorial.ipynb", ROOT / "README.md"]


def is_built() -> bool:
    """Since the last change of its pages."""
    front = SITE / "docs" / "index.html"
    newest = max(page.stat().st_mtime for page in PAGES)
    return front.exists() and front.stat().st_mtime > newest


pytestmark = pytest.mark.skipif(
    not is_built(), reason="make docs has not built the site since its pages changed"
)
LOADED = re.compile(
    r'<(?:script|img|iframe|source)[^>]* src="([^"]*)"|<link rel="stylesheet"[^>]* href="([^"]*)"'
)


def test_every_page_of_the_docs_is_in_it():
    for page in PAGES:
        assert (SITE / page.relative_to(ROOT).with_suffix(".html")).exists(), page


def test_no_page_loads_anything_of_another_host():
    for page in SITE.rglob("*.html"):
        for found in LOADED.findall(page.read_text()):
            source = "".join(found)
            assert not re.match("(https?:)?//", source), f"{page}: {source}"


def test_the_interface_is_told_from_the_docstrings():
    text = re.sub("<[^>]*>", "", (SITE / "docs" / "api.html").read_text())
    for words in ("train_test_split", "The weights of all runs of one width", "Spearman"):
        assert words in text, words


@needs_chromium
def test_the_search_works_from_disk(tmp_path):
    address = f"file://{SITE}/search.html?q=kurtosis"
    switches = ["--headless", "--no-sandbox", "--virtual-time-budget=20000", "--dump-dom"]
    command = ["chromium", *switches, f"--user-data-dir={tmp_path}", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert re.search(r'<a href="docs/(columns|claims|measures)\.html', done.stdout)
