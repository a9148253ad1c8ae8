"""Draw figures of a population, or of several side by side: those whose tables or code are new."""

from pathlib import Path

from weightscape.drawing import style
from weightscape.drawing.origin import is_of, origin_of
from weightscape.figures import draw
from weightscape.messages.logs import job_log, leave
from weightscape.storage.tables import add_groups, read_table

with job_log(snakemake.log[0]) as log:
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    sheet = zip(params.figures, params.sources, params.splits, output.svg, output.png, strict=True)
    runs, tables = list(inputs.runs), []
    for name, source, split, svg, png in sheet:
        files = list(inputs[f"of_{source}"])
        origin = origin_of([*runs, *inputs.grouping, *files], [name, split, params.dpi])
        if is_of(Path(svg), origin) and is_of(Path(png), origin):
            log.info("kept %s: its tables and the code are what it was drawn from", svg)
            continue
        tables = tables or [
            add_groups(read_table(path, "runs"), read_table(grouping, "grouping"))
            for path, grouping in zip(runs, inputs.grouping, strict=True)
        ]
        style.save(draw(name, tables, files, split), Path(svg), Path(png), params.dpi, origin)
        log.info("drew n = %d runs in %s", sum(map(len, tables)), svg)
leave()
