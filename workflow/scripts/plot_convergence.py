"""Draw the convergence of one population."""

from pathlib import Path

from weightscape.figures import style
from weightscape.figures.convergence import draw
from weightscape.logs import job_log
from weightscape.tables import read_table

with job_log(snakemake.log[0]) as log:
    runs = read_table(snakemake.input.runs)
    figure = draw(read_table(snakemake.input.measure), runs, snakemake.params.colour)
    svg, png = Path(snakemake.output.svg), Path(snakemake.output.png)
    style.save(figure, svg, png, snakemake.params.dpi)
    log.info("drew %d runs in %s", len(runs), svg)
