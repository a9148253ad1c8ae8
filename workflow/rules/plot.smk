rule plot_convergence:
    input:
        runs=f"{RESULTS}/measures/{{model}}/{{dataset}}/runs.csv",
        measure=f"{RESULTS}/measures/{{model}}/{{dataset}}/convergence.csv",
    output:
        svg=report(
            f"{RESULTS}/figures/convergence-{{model}}-{{dataset}}.svg",
            caption="../report/convergence.rst",
            category="Convergence",
            labels={"model": "{model}", "dataset": "{dataset}", "layer": "all"},
        ),
        png=f"{RESULTS}/figures/convergence-{{model}}-{{dataset}}.png",
    log:
        f"{RESULTS}/logs/plot_convergence/{{model}}/{{dataset}}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_aggregate_mem_mb,
        runtime=30,
    params:
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],
    script:
        "../scripts/plot_convergence.py"


rule plot_statistics:
    input:
        runs=f"{RESULTS}/measures/{{model}}/{{dataset}}/runs.csv",
        measure=f"{RESULTS}/measures/{{model}}/{{dataset}}/statistics.csv",
    output:
        svg=report(
            f"{RESULTS}/figures/statistics-{{model}}-{{dataset}}.svg",
            caption="../report/statistics.rst",
            category="Weight statistics",
            labels=get_layer_labels,
        ),
        png=f"{RESULTS}/figures/statistics-{{model}}-{{dataset}}.png",
    log:
        f"{RESULTS}/logs/plot_statistics/{{model}}/{{dataset}}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_aggregate_mem_mb,
        runtime=30,
    params:
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],
    script:
        "../scripts/plot_statistics.py"
