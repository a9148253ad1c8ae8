"""The paper's figures of published populations, which may be of several studies."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from weightscape import heads
from weightscape.drawing import style
from weightscape.errors import WeightscapeError
from weightscape.figures import draw
from weightscape.opened.study import Study
from weightscape.publishing.data import (
    densities_file,
    of_population,
    paper_figures,
    read_configs,
)
from weightscape.publishing.files import write_tables
from weightscape.storage.densities import open_densities

COLOURS = 64
"""Of a published figure, which is a third as large so, and looks the same"""


def draw_figures(folder: Path, model: str) -> list[str]:
    """Draws the figures that show populations of a model.

    Returns the names of those that it can't draw, since densities of some populations are not
    published. Those of the others are drawn in a figure of their own then, as `density-dnn-mnist`.
    """
    study, configs, left = Study(folder), read_configs(folder), []
    for name in paper_figures():
        head = heads.figures()[name]
        is_of_study = head.grid_of == "study"
        shown = [key for key in configs if is_of_study or key[0] == model]
        path = folder / "figures" / (f"{name}.png" if is_of_study else f"{name}-{model}.png")
        split = heads.setting(configs[shown[0]], head.split)
        dpi = configs[shown[0]]["figures"]["dpi"]
        with TemporaryDirectory() as made:
            if "densities.h5" in head.reads:
                kept = [key for key in shown if densities_file(folder, *key).exists()]
                if kept != shown:
                    left.append(path.name)
                    path = path.with_stem("-".join([path.stem, *(dataset for _, dataset in kept)]))
                    shown = kept
                if not shown:
                    continue
                files = [str(_check_densities(folder, *key)) for key in shown]
            else:
                (files,) = write_tables(study, head.reads, shown, Path(made)).values()
            figure = draw(name, [of_population(study.runs, *key) for key in shown], files, split)
            drawn = Path(made) / path.name
            style.save(figure, drawn.with_suffix(".svg"), drawn, dpi, "")
            _reduce(drawn, path)
        _drop_parts(path, f"{name}-{model}-", {dataset for _, dataset in shown})
    return left


def _check_densities(folder: Path, model: str, dataset: str) -> Path:
    """The file; whole densities of another population would be drawn under this one's name."""
    path = densities_file(folder, model, dataset)
    with open_densities(path) as file:
        found = file.attrs.get("model"), file.attrs.get("dataset")
    if found != (model, dataset):
        raise WeightscapeError(
            f"{path} has the densities of {found[0]} on {found[1]}: publish the population again"
        )
    return path


def _drop_parts(path: Path, start: str, datasets: set[str]) -> None:
    """Figures of some of the datasets alone, whose densities were the only ones then."""
    for part in path.parent.glob(f"{start}*.png"):
        if part != path and set(part.stem.removeprefix(start).split("-")) <= datasets:
            part.unlink()


def _reduce(drawn: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(drawn) as image:
        reduced = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    reduced.save(target, optimize=True)
