"""Make the explorer's page."""

from pathlib import Path

from weightscape import heads
from weightscape.exploring.gather import gather
from weightscape.exploring.page import render
from weightscape.files import replace_whole
from weightscape.messages.logs import job_log, leave
from weightscape.storage.tables import read_table, read_tables

with job_log(snakemake.log[0]) as log:
    given = snakemake.input
    names = heads.told_layer_measures()
    layers = {name: read_table(path, name) for name, path in zip(names, given.layers, strict=True)}
    maps, curves = read_table(given.maps, "projection"), read_tables(given.curves, "convergence")
    runs = read_table(given.runs, "runs")
    explored = gather(runs, layers, maps, curves, given.densities)
    page = render(explored, snakemake.params.study)
    with replace_whole(Path(snakemake.output[0])) as aside:
        aside.write_text(page, encoding="utf-8")
    log.info("n = %d runs, %.1f MB", len(explored.runs), len(page) / 1e6)
leave()
