rule measure_statistics:
    input:
        runs=f"{RESULTS}/measures/{{model}}/{{dataset}}/runs.csv",
        shards=get_shards,
    output:
        f"{RESULTS}/measures/{{model}}/{{dataset}}/statistics.csv",
    log:
        f"{RESULTS}/logs/measure_statistics/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_statistics/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_aggregate_mem_mb,
        runtime=60,
    script:
        "../scripts/measure_statistics.py"


rule measure_convergence:
    input:
        runs=f"{RESULTS}/measures/{{model}}/{{dataset}}/runs.csv",
        shards=get_shards,
    output:
        f"{RESULTS}/measures/{{model}}/{{dataset}}/convergence.csv",
    log:
        f"{RESULTS}/logs/measure_convergence/{{model}}/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_convergence/{{model}}/{{dataset}}.jsonl"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_aggregate_mem_mb,
        runtime=60,
    script:
        "../scripts/measure_convergence.py"
