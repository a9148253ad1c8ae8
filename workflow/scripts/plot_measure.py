"""Draw the figures of a measure: of one population, or of several side by side."""

from pathlib import Path

from weightscape.drawing import style
from weightscape.figures import FIGURES
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table


def listed(paths):
    """A rule of one figure names its file alone."""
    return [paths] if isinstance(paths, str) else list(paths)


with job_log(snakemake.log[0]) as log:
    params, output = snakemake.params, snakemake.output
    runs = [read_table(path) for path in snakemake.input.runs]
    for name, svg, png in zip(params.figures, listed(output.svg), listed(output.png), strict=True):
        figure = FIGURES[name](runs, list(snakemake.input.measure), params.colour)
        style.save(figure, Path(svg), Path(png), params.dpi)
        log.info("drew n = %d runs in %s", sum(map(len, runs)), svg)
