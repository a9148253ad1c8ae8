rule judge_claims:
    input:
        effects=get_paths("claim_effects", POPULATIONS),
        ways=get_paths("claim_ways", POPULATIONS),
        reliability=get_paths("reliability", POPULATIONS),
        tables=[get_path(name) for name in heads.read_by_claims("study")],
    output:
        claims=report(
            f"{RESULTS}/tables/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"table": "all statements"},
        ),
        multiverse=get_report_table("multiverse", "Claims"),
        families=get_report_table("families", "Claims"),
        answers=get_report_table("answers", "Claims"),
        scorecard=report(
            f"{RESULTS}/tables/scorecard.html",
            caption="../report/scorecard.rst",
            category="Claims",
            labels={"table": "scorecard"},
        ),
    log:
        f"{RESULTS}/logs/judge_claims.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=get_table_mem_mb,
        runtime=30,
    params:
        alpha=config["claims"]["alpha"],
        smallest_effect=config["claims"]["smallest_effect"],
        way={
            "split": config["claims"]["accuracy"],
            "non": config["claims"]["non"],
            "widths": "all",
            "edges": "as set",
        },
        study=config["study"],
        columns=get_columns(*heads.judged()),
        claims=heads.digest_of_claims(),
        words=heads.digest_of_words(),
        populations=get_populations,
        captions=get_table_captions,
    script:
        "../scripts/judge_claims.py"
