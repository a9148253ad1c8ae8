# one page of linked views of all runs, which opens from disk
rule explorer:
    input:
        runs=f"{RESULTS}/tables/runs.csv",
        layers=[f"{RESULTS}/tables/{name}.csv" for name in heads.told_layer_measures()],
        maps=f"{RESULTS}/tables/projection.csv",
        curves=get_paths("convergence", POPULATIONS),
        densities=get_paths("densities.h5", POPULATIONS),
    output:
        report(
            f"{RESULTS}/explorer.html",
            caption="../report/explorer.rst",
            category="Explorer",
            labels={"page": "linked views of all runs"},
        ),
    log:
        f"{RESULTS}/logs/explorer.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=30,
    params:
        study=config["study"],
    script:
        "../scripts/explore.py"


# one page of all tables, to sort and search, which opens from disk too
rule tables:
    input:
        tables=get_study_tables(),
    output:
        report(
            f"{RESULTS}/tables.html",
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "all tables, to sort and search"},
        ),
    log:
        f"{RESULTS}/logs/tables.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=30,
    params:
        study=config["study"],
        meanings=heads.digest_of_meanings(),
    script:
        "../scripts/show_tables.py"
