"""Runs a notebook's cells one after the other in this process, and keeps what they show.

`python tests/notebook.py docs/tutorial.ipynb` stores it in the notebook, so that it reads on a code
host; no Jupyter is needed.
"""

import ast
import base64
import contextlib
import io
import json
import os
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt

DOTS = 80  # per inch: a figure of 6 x 4 inches is some 30 kB


def run(path: Path, folder: Path) -> tuple[dict, dict]:
    """The notebook with its outputs, and the names that its cells made, run in `folder`."""
    notebook, names = json.loads(path.read_text()), {"__name__": "__main__"}
    with contextlib.chdir(folder):
        count = 0
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                count += 1
                cell["execution_count"] = count
                cell["outputs"] = _outputs("".join(cell["source"]), names, count)
    return notebook, names


def _outputs(source: str, names: dict, count: int) -> list[dict]:
    """Runs a cell: what it printed, the value of its last line, and its figures."""
    tree = ast.parse(source, f"cell {count}")
    is_shown = isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";")
    last = ast.Expression(tree.body.pop().value) if is_shown else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, f"cell {count}", "exec"), names)
        value = eval(compile(last, f"cell {count}", "eval"), names) if last else None
    outputs = []
    if text := printed.getvalue():
        lines = text.splitlines(keepends=True)
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_().splitlines(keepends=True)
        shown = {"output_type": "execute_result", "execution_count": count, "metadata": {}}
        outputs.append(shown | {"data": data})
    for number in plt.get_fignums():
        image = io.BytesIO()
        plt.figure(number).savefig(image, format="png", dpi=DOTS, bbox_inches="tight")
        data = {"image/png": base64.b64encode(image.getvalue()).decode()}
        data["text/plain"] = ["<Figure>"]
        outputs.append({"output_type": "display_data", "metadata": {}, "data": data})
    plt.close("all")
    return outputs


if __name__ == "__main__":
    target = Path(sys.argv[1])
    done, _ = run(target.absolute(), target.parent)
    aside = target.with_suffix(".part")
    aside.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n")
    os.replace(aside, target)
