"""Make the page of all tables."""

from pathlib import Path

from weightscape.exploring.tables import render
from weightscape.files import replace_whole
from weightscape.messages.logs import job_log, leave

with job_log(snakemake.log[0]) as log:
    page = render(snakemake.input.tables, snakemake.params.study)
    with replace_whole(Path(snakemake.output[0])) as aside:
        aside.write_text(page, encoding="utf-8")
    log.info("n = %d tables, %.1f MB", len(snakemake.input.tables), len(page) / 1e6)
leave()
