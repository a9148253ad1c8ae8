rule collect_runs:
    input:
        dataset="results/datasets/{dataset}.h5",
        shards=get_shards,
    output:
        runs=f"{RESULTS}/measures/{{model}}/{{dataset}}/runs.csv",
        groups=f"{RESULTS}/measures/{{model}}/{{dataset}}/groups.csv",
    log:
        f"{RESULTS}/logs/collect_runs/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect_runs/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_aggregate_mem_mb,
        runtime=60,
    params:
        widths=lambda wildcards: get_population(wildcards).widths,
        seeds=lambda wildcards: get_population(wildcards).seeds,
        edges=lambda wildcards: get_population(wildcards).edges,
        groups=config["groups"],
    script:
        "../scripts/collect_runs.py"


rule join_tables:
    input:
        get_measures,
    output:
        report(
            f"{RESULTS}/tables/{{table}}.csv",
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        f"{RESULTS}/logs/join_tables/{{table}}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_aggregate_mem_mb,
        runtime=60,
    script:
        "../scripts/join_tables.py"
