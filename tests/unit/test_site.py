"""The documentation site: whole, strict, and without a word to other hosts."""

import os
import re
import subprocess
import sys

import pytest

from browsing import needs_chromium, open_page
from project import ROOT

SITE, TOOLS = ROOT / "build" / "docs", ROOT / "build" / "docs-tools"
PAGES = [*(ROOT / "docs").glob("*.md"), ROOT / "docs" / "tutorial.ipynb", ROOT / "README.md"]
INDEX = "# A title\n\n```{toctree}\npage\n```\n"


def is_built() -> bool:
    """Since the last change of its pages."""
    front = SITE / "docs" / "index.html"
    newest = max(page.stat().st_mtime for page in [*PAGES, ROOT / "docs" / "conf.py"])
    return front.exists() and front.stat().st_mtime > newest


needs_tools = pytest.mark.skipif(not TOOLS.is_dir(), reason="make docs installs what it takes")
needs_site = pytest.mark.skipif(
    not is_built(), reason="make docs has not built the site since its pages changed"
)


def build(folder):
    """Builds a site of the pages in `folder` as `make docs` does."""
    recipe = (ROOT / "Makefile").read_text()
    switches = re.findall(r"-m sphinx (.*) -c docs", recipe)[0].split()
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *switches, "-c", ROOT / "docs", folder, folder / "build"],
        check=False,
        env=os.environ | {"PYTHONPATH": str(TOOLS)},
        capture_output=True,
        text=True,
    )


@needs_tools
@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("[A part](#a-part)\n\n## A part\n", None),
        ("[A part](#a-part)\n\n## Another part\n", "a-part"),
        ("[There](nowhere.md)\n", "nowhere.md"),
        ("![There](nothing.svg)\n", "nothing.svg"),
    ],
)
def test_what_leads_nowhere_is_an_error(page, why, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(INDEX)
    (tmp_path / "docs/page.md").write_text(f"# A page\n\n{page}")
    done = build(tmp_path)
    assert (done.returncode == 0) == (why is None), done.stderr
    assert (why or "") in done.stderr


@needs_tools
def test_a_page_that_is_not_listed_is_an_error(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(INDEX)
    for name in ("page", "another"):
        (tmp_path / f"docs/{name}.md").write_text("# A page\n")
    done = build(tmp_path)
    assert done.returncode
    assert "another.md: WARNING: document isn't included in any toctree" in done.stderr


@needs_site
def test_every_page_of_the_docs_is_in_it():
    for page in PAGES:
        assert (SITE / page.relative_to(ROOT).with_suffix(".html")).exists(), page


@needs_site
def test_it_asks_no_other_host():
    """Links that a reader may follow apart."""
    texts = [path.read_text() for end in ("html", "css") for path in SITE.rglob(f"*.{end}")]
    assert len(texts) > len(PAGES)
    for text in texts:
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*", text)
        assert [tag for tag in loaded if re.search(r"[\"']\s*(https?:)?//", tag)] == []
        assert not re.search(r"@import|url\([\"']?(https?:)?//", text)


@needs_site
@needs_chromium
@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("docs/index.html", "weightscape"),
        ("docs/layout.html", "rulegraph"),
        ("docs/tutorial.html", '<img[^>]*src="data:image/png'),
        ("search.html?q=jackknife", r'<a href="docs/claims\.html'),
    ],
)
def test_a_page_that_is_opened_from_disk_works_in_a_browser(page, shown, tmp_path):
    done = open_page(f"{SITE.as_uri()}/{page}", tmp_path)
    assert re.search(shown, done.stdout.partition("<article")[2])
    assert "CONSOLE" not in done.stderr
