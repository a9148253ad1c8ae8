for job, sheet in get_sheets().items():

    rule:
        name:
            job
        input:
            runs=sheet.runs,
            measure=sheet.measure,
        output:
            svg=[
                report(
                    f"{RESULTS}/figures/{file}.svg",
                    caption="../report/caption.rst",
                    category=sheet.category,
                    labels=labels,
                )
                for file, labels in sheet.labels.items()
            ],
            png=[f"{RESULTS}/figures/{file}.png" for file in sheet.labels],
        log:
            f"{RESULTS}/logs/{sheet.log}.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=get_table_mem_mb,
            runtime=30,
        params:
            figures=sheet.figures,
            split=sheet.split,
            dpi=config["figures"]["dpi"],
            caption=sheet.caption,
        script:
            "../scripts/plot.py"
