"""Draw one figure of a measure: of one population, or of several side by side."""

from pathlib import Path

from weightscape.figures import FIGURES, style
from weightscape.logs import job_log
from weightscape.tables import read_table

with job_log(snakemake.log[0]) as log:
    params, output = snakemake.params, snakemake.output
    runs = [read_table(path) for path in snakemake.input.runs]
    figure = FIGURES[params.figure](runs, list(snakemake.input.measure), params.colour)
    svg, png = Path(output.svg), Path(output.png)
    style.save(figure, svg, png, params.dpi)
    log.info("drew n = %d runs in %s", sum(map(len, runs)), svg)
