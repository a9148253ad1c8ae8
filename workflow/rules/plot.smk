# a figure whose files are of the same tables, settings and code stays as it is: hence update()
for job, sheet in get_sheets().items():

    rule:
        name:
            job
        input:
            **get_sheet_inputs(sheet),
            runs=sheet[0].of("runs"),
            grouping=sheet[0].of("grouping"),
        output:
            svg=[
                update(
                    report(
                        f"{RESULTS}/figures/{drawing.file}.svg",
                        caption=CAPTION,
                        category=drawing.category,
                        labels=drawing.labels,
                    )
                )
                for drawing in sheet
            ],
            png=[update(f"{RESULTS}/figures/{drawing.file}.png") for drawing in sheet],
        log:
            f"{RESULTS}/logs/{get_sheet_log(job, sheet)}.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=get_table_mem_mb,
            runtime=30,
        params:
            figures=[drawing.name for drawing in sheet],
            sources=[drawing.source for drawing in sheet],
            splits=[drawing.split for drawing in sheet],
            dpi=config["figures"]["dpi"],
            captions=get_sheet_captions(sheet),
        script:
            "../scripts/plot.py"
