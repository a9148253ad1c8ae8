rule plot_convergence:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[f"{MEASURES}/convergence.csv"],
    output:
        svg=report(
            f"{RESULTS}/figures/convergence-{{model}}-{{dataset}}.svg",
            caption="../report/convergence.rst",
            category="Convergence",
            # equal labels would hide one figure of a category behind another
            labels=lambda wildcards: get_layer_labels(wildcards) | {"curve": "loss"},
        ),
        png=f"{RESULTS}/figures/convergence-{{model}}-{{dataset}}.png",
    log:
        f"{RESULTS}/logs/plot_convergence/{{model}}/{{dataset}}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=30,
    params:
        figures=["convergence"],
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],
    script:
        "../scripts/plot_measure.py"


use rule plot_convergence as plot_telemetry with:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[f"{MEASURES}/telemetry.csv"],
    output:
        svg=report(
            f"{RESULTS}/figures/telemetry-{{model}}-{{dataset}}.svg",
            caption="../report/telemetry.rst",
            category="Convergence",
            labels=lambda wildcards: get_layer_labels(wildcards) | {"curve": "telemetry"},
        ),
        png=f"{RESULTS}/figures/telemetry-{{model}}-{{dataset}}.png",
    log:
        f"{RESULTS}/logs/plot_telemetry/{{model}}/{{dataset}}.log",
    params:
        figures=["telemetry"],
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_statistics with:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[f"{MEASURES}/statistics.csv"],
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
    params:
        figures=["statistics"],
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_density with:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[f"{MEASURES}/densities.h5"],
    output:
        svg=report(
            f"{RESULTS}/figures/density-{{model}}-{{dataset}}.svg",
            caption="../report/density.rst",
            category="Weight density",
            labels=get_layer_labels,
        ),
        png=f"{RESULTS}/figures/density-{{model}}-{{dataset}}.png",
    log:
        f"{RESULTS}/logs/plot_density/{{model}}/{{dataset}}.log",
    params:
        figures=["density"],
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_strength with:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[f"{MEASURES}/strength.csv"],
    output:
        svg=report(
            f"{RESULTS}/figures/strength-{{model}}-{{dataset}}.svg",
            caption="../report/strength.rst",
            category="Node strength",
            labels=get_layer_labels,
        ),
        png=f"{RESULTS}/figures/strength-{{model}}-{{dataset}}.png",
    log:
        f"{RESULTS}/logs/plot_strength/{{model}}/{{dataset}}.log",
    params:
        figures=["strength"],
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_spectra with:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[f"{MEASURES}/spectra.csv"],
    output:
        svg=report(
            f"{RESULTS}/figures/spectra-{{model}}-{{dataset}}.svg",
            caption="../report/spectra.rst",
            category="Weight spectra",
            labels=get_layer_labels,
        ),
        png=f"{RESULTS}/figures/spectra-{{model}}-{{dataset}}.png",
    log:
        f"{RESULTS}/logs/plot_spectra/{{model}}/{{dataset}}.log",
    params:
        figures=["spectra"],
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_projection with:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[f"{MEASURES}/projection.csv"],
    output:
        svg=[
            report(
                f"{RESULTS}/figures/projection-{{model}}-{{dataset}}.svg",
                caption="../report/projection.rst",
                category="Weight projection",
                labels=lambda wildcards: get_layer_labels(wildcards) | {"map": "all widths"},
            ),
            report(
                f"{RESULTS}/figures/projection_widths-{{model}}-{{dataset}}.svg",
                caption="../report/projection_widths.rst",
                category="Weight projection",
                labels=lambda wildcards: get_layer_labels(wildcards) | {"map": "per width"},
            ),
        ],
        png=[
            f"{RESULTS}/figures/projection-{{model}}-{{dataset}}.png",
            f"{RESULTS}/figures/projection_widths-{{model}}-{{dataset}}.png",
        ],
    log:
        f"{RESULTS}/logs/plot_projection/{{model}}/{{dataset}}.log",
    params:
        figures=["projection", "projection_widths"],
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_variation with:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[f"{MEASURES}/variation.csv"],
    output:
        svg=report(
            f"{RESULTS}/figures/variation-{{model}}-{{dataset}}.svg",
            caption="../report/variation.rst",
            category="Where variation comes from",
            labels=get_layer_labels,
        ),
        png=f"{RESULTS}/figures/variation-{{model}}-{{dataset}}.png",
    log:
        f"{RESULTS}/logs/plot_variation/{{model}}/{{dataset}}.log",
    params:
        figures=["variation"],
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_grid with:
    input:
        runs=get_model_runs,
        measure=get_model_measures,
    output:
        svg=report(
            f"{RESULTS}/figures/{{grid}}-{{model}}.svg",
            caption="../report/grid.rst",
            category="Figures of the paper",
            labels={"figure": "{grid}", "model": "{model}"},
        ),
        png=f"{RESULTS}/figures/{{grid}}-{{model}}.png",
    log:
        f"{RESULTS}/logs/plot_grid/{{grid}}/{{model}}.log",
    params:
        figures=["{grid}"],
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_convergence_grid with:
    input:
        runs=collect(f"{RESULTS}/measures/{{p.model}}/{{p.dataset}}/runs.csv", p=POPULATIONS),
        measure=collect(
            f"{RESULTS}/measures/{{p.model}}/{{p.dataset}}/convergence.csv", p=POPULATIONS
        ),
    output:
        svg=report(
            f"{RESULTS}/figures/convergence.svg",
            caption="../report/grid.rst",
            category="Figures of the paper",
            labels={"figure": "convergence", "model": "all"},
        ),
        png=f"{RESULTS}/figures/convergence.png",
    log:
        f"{RESULTS}/logs/plot_convergence_grid.log",
    params:
        figures=["convergence"],
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_nulls with:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[f"{MEASURES}/null_effects.csv"],
    output:
        svg=report(
            f"{RESULTS}/figures/nulls-{{model}}-{{dataset}}.svg",
            caption="../report/nulls.rst",
            category="Null models",
            labels=get_layer_labels,
        ),
        png=f"{RESULTS}/figures/nulls-{{model}}-{{dataset}}.png",
    log:
        f"{RESULTS}/logs/plot_nulls/{{model}}/{{dataset}}.log",
    params:
        figures=["nulls"],
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_function with:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[
            f"{MEASURES}/disagreement.csv",
            f"{MEASURES}/weight_function.csv",
            f"{MEASURES}/function_pairs.csv",
            f"{MEASURES}/predictions.csv",
        ],
    output:
        svg=report(
            f"{RESULTS}/figures/function-{{model}}-{{dataset}}.svg",
            caption="../report/function.rst",
            category="Function",
            labels={"model": "{model}", "dataset": "{dataset}"},
        ),
        png=f"{RESULTS}/figures/function-{{model}}-{{dataset}}.png",
    log:
        f"{RESULTS}/logs/plot_function/{{model}}/{{dataset}}.log",
    params:
        figures=["function"],
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_failures with:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[
            f"{MEASURES}/causes.csv",
            f"{MEASURES}/failures.csv",
            f"{MEASURES}/telemetry.csv",
        ],
    output:
        svg=report(
            f"{RESULTS}/figures/failures-{{model}}-{{dataset}}.svg",
            caption="../report/failures.rst",
            category="Convergence",
            labels=lambda wildcards: get_layer_labels(wildcards) | {"curve": "failures"},
        ),
        png=f"{RESULTS}/figures/failures-{{model}}-{{dataset}}.png",
    log:
        f"{RESULTS}/logs/plot_failures/{{model}}/{{dataset}}.log",
    params:
        figures=["failures"],
        # what success is measured by
        colour=config["groups"]["accuracy"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_claims with:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[
            f"{RESULTS}/tables/claims.csv",
            f"{MEASURES}/claim_widths.csv",
            f"{MEASURES}/claim_values.csv",
        ],
    output:
        svg=[
            report(
                f"{RESULTS}/figures/{claim}-{{model}}-{{dataset}}.svg",
                caption="../report/claim.rst",
                category="Claims",
                labels={
                    "claim": claim.removeprefix("claim_"),
                    "model": "{model}",
                    "dataset": "{dataset}",
                },
            )
            for claim in CLAIM_FIGURES
        ],
        png=[f"{RESULTS}/figures/{claim}-{{model}}-{{dataset}}.png" for claim in CLAIM_FIGURES],
    log:
        f"{RESULTS}/logs/plot_claims/{{model}}/{{dataset}}.log",
    params:
        figures=CLAIM_FIGURES,
        colour=config["figures"]["colour"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_prediction with:
    input:
        runs=[f"{MEASURES}/runs.csv"],
        measure=[f"{MEASURES}/prediction.csv", f"{MEASURES}/predicted.csv"],
    output:
        svg=report(
            f"{RESULTS}/figures/prediction-{{model}}-{{dataset}}.svg",
            caption="../report/prediction.rst",
            category="Claims",
            labels={"claim": "accuracy from weights", "model": "{model}", "dataset": "{dataset}"},
        ),
        png=f"{RESULTS}/figures/prediction-{{model}}-{{dataset}}.png",
    log:
        f"{RESULTS}/logs/plot_prediction/{{model}}/{{dataset}}.log",
    params:
        figures=["prediction"],
        colour=config["claims"]["accuracy"],
        dpi=config["figures"]["dpi"],


use rule plot_convergence as plot_transfer with:
    input:
        runs=collect(f"{RESULTS}/measures/{{p.model}}/{{p.dataset}}/runs.csv", p=POPULATIONS),
        measure=[f"{RESULTS}/tables/transfer.csv"],
    output:
        svg=report(
            f"{RESULTS}/figures/transfer.svg",
            caption="../report/transfer.rst",
            category="Claims",
            labels={"claim": "accuracy from weights", "model": "all", "dataset": "all"},
        ),
        png=f"{RESULTS}/figures/transfer.png",
    log:
        f"{RESULTS}/logs/plot_transfer.log",
    params:
        figures=["transfer"],
        colour=config["claims"]["accuracy"],
        dpi=config["figures"]["dpi"],
