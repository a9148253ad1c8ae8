"""Write one dataset as an HDF5 file of uint8 images and labels."""

from pathlib import Path

from weightscape.messages.logs import job_log, leave
from weightscape.preparing.datasets import prepare

with job_log(snakemake.log[0]) as log:
    folder = snakemake.config["data_folder"]  # no param: where the files are changes no image
    prepare(
        snakemake.wildcards.dataset,
        Path(snakemake.output[0]),
        own=snakemake.params.own,
        folder=Path(folder) if folder else None,
        downloads=Path(snakemake.params.downloads),
    )
    log.info("wrote %s", snakemake.output[0])
leave()
