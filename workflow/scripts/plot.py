"""Draw figures of the same tables: of one population, or of several side by side."""

from pathlib import Path

from weightscape.drawing import style
from weightscape.figures import draw
from weightscape.messages.logs import job_log
from weightscape.storage.tables import read_table

with job_log(snakemake.log[0]) as log:
    params, output = snakemake.params, snakemake.output
    runs = [read_table(path) for path in snakemake.input.runs]
    for name, svg, png in zip(params.figures, output.svg, output.png, strict=True):
        figure = draw(name, runs, list(snakemake.input.measure), params.split)
        style.save(figure, Path(svg), Path(png), params.dpi)
        log.info("drew n = %d runs in %s", sum(map(len, runs)), svg)
