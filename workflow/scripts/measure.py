"""Make the tables of one measure, or of one analysis."""

from importlib import import_module

from weightscape import heads
from weightscape.measures.job import Job
from weightscape.messages.logs import job_log, leave

with job_log(snakemake.log[0]) as log:
    params, head = snakemake.params, heads.measures()[snakemake.params.measure]
    job = Job(
        dict(snakemake.input.items()),
        dict(snakemake.output.items()),
        params.settings,
        snakemake.wildcards.get("layer", ""),
    )
    import_module(heads.measure_module(params.measure)).make(job)
    if "runs" in head.reads:
        log.info("read the tables of %d runs", sum(map(len, job.tables("runs"))))
    log.info("wrote %s", ", ".join([*heads.tables_of(head), *head.files]))
leave()
