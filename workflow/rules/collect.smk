rule collect_runs:
    input:
        imports=get_imports,
        shards=get_shards,
    output:
        runs=f"{MEASURES}/runs.csv",
    log:
        f"{RESULTS}/logs/collect_runs/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect_runs/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_measure_mem_mb,
        runtime=60,
    params:
        widths=lambda wildcards: get_population(wildcards).widths,
        seeds=lambda wildcards: get_population(wildcards).n_seeds,
        columns=get_columns("runs"),
    script:
        "../scripts/collect_runs.py"


# apart from the runs: other groups measure no weights again
rule group_runs:
    input:
        dataset=get_dataset,
        runs=f"{MEASURES}/runs.csv",
    output:
        grouping=f"{MEASURES}/grouping.csv",
        groups=f"{MEASURES}/groups.csv",
    log:
        f"{RESULTS}/logs/group_runs/{{model}}/{{dataset}}.log",
    # it looks at a few numbers of each run
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        edges=lambda wildcards: get_population(wildcards).edges,
        groups=config["groups"],
        baseline=get_baseline,
        columns=get_columns("grouping", "groups"),
    script:
        "../scripts/group_runs.py"


for job, names in get_joins().items():

    rule:
        name:
            job
        input:
            **get_parts(names),
            grouping=get_paths("grouping", POPULATIONS),
        output:
            **get_joined(names),
        log:
            f"{RESULTS}/logs/{job}.log",
        # a cluster's job would cost more than to copy lines of text
        localrule: True
        conda:
            ENVIRONMENT
        resources:
            mem_mb=1000,
            runtime=60,
        params:
            captions=get_table_captions,
        script:
            "../scripts/join_tables.py"


rule render_tables:
    input:
        groups=get_paths("groups", POPULATIONS),
        # which tell of the layers of imports, as the config does not
        statistics=get_paths("statistics", IMPORTED),
    output:
        settings=f"{RESULTS}/tables/settings.csv",
        table1=report(
            f"{RESULTS}/tables/table1.html",
            caption="../report/table1.rst",
            category="Tables",
            labels={"table": "Table 1: settings"},
        ),
        table2=report(
            f"{RESULTS}/tables/table2.html",
            caption="../report/table2.rst",
            category="Tables",
            labels={"table": "Table 2: groups"},
        ),
    log:
        f"{RESULTS}/logs/render_tables.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=60,
    params:
        populations=study.canonical_json([config["populations"], config["import"]]),
        training=config["training"],
    script:
        "../scripts/render_tables.py"
