"""The documentation site, as `make docs` builds it: the Markdown files of the project as they are.

The source is the whole checkout, so that links from README.md and config/ into docs/ hold on the
site as on a code host.
"""

import json
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project, version = FACTS["name"], FACTS["version"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "config/README.md",
    "docs/**.md",
    "docs/tutorial.ipynb",
]
source_suffix = {".md": "markdown", ".ipynb": "markdown"}
extensions = ["myst_parser"]
myst_heading_anchors = 4  # as code hosts have them
html_theme = "furo"  # no fonts, scripts or styles from other hosts
html_title = f"{project} {version}"
html_show_copyright = html_show_search_summary = False  # it asks for files, which disks refuse
html_copy_source = False


def setup(app):
    app.connect("source-read", read_notebook)


def read_notebook(app, page, source):
    """A notebook's cells and what they show, as Markdown; figures are pages' own pictures."""
    if app.env.doc2path(page).suffix != ".ipynb":
        return
    parts = []
    for cell in json.loads(source[0])["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        parts += [_shown(output) for output in cell.get("outputs", [])]
    source[0] = "\n\n".join(parts)


def _shown(output):
    if output["output_type"] == "stream":
        return f"```text\n{''.join(output['text'])}\n```"
    data = output["data"]
    if "image/png" in data:
        source = f"data:image/png;base64,{data['image/png']}"
        return f'<img alt="the figure of the cell above" src="{source}">'
    return f"```text\n{''.join(data['text/plain'])}\n```"
