"""From a config to tables, figures and a report."""

import os
import re

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import spearmanr

from browsing import needs_chromium, open_report
from project import ROOT, Project
from weightscape import heads

KEYS = ["model", "dataset", "width", "seed"]
FIGURES = {
    figure: name
    for name, head in heads.figures().items()
    if head.each != "study"
    for figure in heads.drawn_by(name)
}
"""figure of a population -> the file that draws it"""
TABLES = [
    "runs",
    "groups",
    *(
        name
        for head in heads.measures().values()
        for name, table in heads.tables_of(head).items()
        if table.joined and head.each != "study" and name != "strength_heads"
    ),
]
JOBS = {
    "prepare_dataset": 1,
    "train_runs": 4,
    "collect_runs": 1,
    "group_runs": 1,
    "join_layers_projection": 1,
    **dict.fromkeys(["join_tables_runs", "join_tables_shards", "join_tables_pairs"], 1),
    "explorer": 1,
    "tables": 1,
    "render_tables": 1,
    "judge_claims": 1,
    "all": 1,
    **{f"plot_population_{cost}": 1 for cost in ("shards", "pairs", "study")},
    **{f"measure_{name}": 1 for name in heads.measures()},
}

IMAGES = {
    "images": np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8),
    "labels": np.arange(60) % 3,
    "split": np.repeat(["train", "test"], [40, 20]),
}


@pytest.fixture(scope="session")
def families(once, test_study):
    """Runs enough, all three families, a dataset of one's own and the README's model, finished.

    Only to be read or copied.
    """
    study = test_study | {
        "claims": {"non": "include"},  # which nearly all of these are
        "datasets": {"mine": {"file": "mine.npz"}},
        "populations": [
            {"model": "dnn", "dataset": "digits", "widths": [4, 8], "seeds": 8},
            {"model": "dnn", "dataset": "mine", "widths": [3, "4x2"], "seeds": 1},
            {"model": "cnn", "dataset": "mine", "widths": [2], "seeds": 1},
            {"model": "vit", "dataset": "mine", "widths": [2], "seeds": 1},
            {"model": "shallow", "dataset": "digits", "widths": [30], "seeds": 2},
        ],
        "runs_per_job": 8,
        "projection": {"perplexities": [2, 4, 30], "repeats": 1},
        "models": {"vit": {"d_model": 8, "feedforward": 12}},
    }

    def make(folder):
        project = Project.create(folder, study)
        code = (ROOT / "README.md").read_text().split("```python\n")[1].split("```")[0]
        (folder / "workflow" / "weightscape" / "models" / "shallow.py").write_text(code)
        np.savez(folder / "mine.npz", **IMAGES)
        project.succeed()

    return Project(once("families", make), study)


def test_dry_run_tells_jobs_and_cost_and_trains_nothing(fresh):
    output = fresh.succeed("-n")
    assert "Study test: 3 epochs, 1 run per job, 1 thread per run" in output
    assert "CPU hours" in output
    assert fresh.planned() == JOBS
    assert not (fresh.folder / "results").exists()


def test_the_dry_run_that_the_docs_quote_is_as_it_is_printed(fresh):
    text = (ROOT / "docs" / "layout.md").read_text()
    quoted = text.split("with `config/test.yaml` prints:\n\n```\n")[1].split("```")[0].splitlines()
    printed = fresh.succeed("-n", "--quiet", "rules").splitlines()
    assert len(quoted) > 15
    assert [line for line in quoted if line != "..." and line not in printed] == []


def test_plan_rule_needs_nothing_trained(fresh):
    output = fresh.succeed("plan")
    # (64 + 1) 2 + (2 + 1) 2 + (2 + 1) 10 = 166 and (64 + 1) 8 + (8 + 1) 8 + (8 + 1) 10 = 682
    row = next(line for line in output.splitlines() if line.startswith("dnn"))
    assert row.split()[:7] == ["dnn", "digits", "2", "4", "0", "4", f"{2 * (166 + 682):,}"]
    assert row.endswith("assumptions")
    plan = pd.read_csv(fresh.results / "tables" / "plan.csv")
    assert plan.loc[0, "parameters"] == 2 * (166 + 682)
    assert not (fresh.results / "weights").exists()


def test_status_tells_of_runs_done_running_failed_and_left(fresh, finished):
    done = fresh.run("status")
    title, snakemake, *_ = done.stdout.splitlines()
    assert title.endswith(
        "0 of 4 runs done, 0 running, 0 queued, 0 failed, 4 left; no job is running"
    )
    assert snakemake == "No Snakemake is at work"
    # what Snakemake says before it reads any of our files
    assert re.fullmatch("Using workflow specific profile .*\n", done.stderr)
    output = finished.succeed("status")
    assert "4 of 4 runs done, 0 running, 0 queued, 0 failed, 0 left\n" in output
    assert "\nJobs of the last one: data 1 of 1 done; training 4 of 4 done; " in output
    for stage in ("measures", "claims", "figures", "tables"):
        assert re.search(rf"; {stage} (\d+) of \1 done", output)
    shards = sorted(finished.results.glob("weights/dnn/digits/width-*/*.h5"))
    logs = [
        finished.results
        / "logs/train_runs"
        / path.relative_to(finished.results / "weights").with_suffix(".log")
        for path in shards
    ]
    for shard in shards[:3]:
        shard.unlink()
    logs[0].unlink()
    os.utime(logs[1])
    os.utime(logs[2], (0, 0))
    (finished.results / ".jobs.json").unlink()  # as in an outer workflow
    output = finished.succeed("status")
    assert "1 of 4 runs done, 1 running, 0 queued, 1 failed, 1 left; about" in output
    assert f"failed: {logs[2].relative_to(finished.folder)} (its log has not changed for " in output
    # what it last wrote
    assert "    " + logs[2].read_text().splitlines()[-1] in output
    (row,) = (line for line in output.splitlines() if line.startswith("dnn"))
    assert row.endswith("4 benchmark records")


def test_finished_study_has_nothing_left_to_do(finished):
    assert finished.planned() == {}


def test_tables_have_the_rows_and_columns_of_the_contract(finished_study):
    tables = finished_study.results / "tables"
    runs, groups, statistics = (
        pd.read_csv(tables / f"{name}.csv") for name in ("runs", "groups", "statistics")
    )
    losses = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    assert {*KEYS, "shard", *losses, "group", "dead_unit_share"} <= set(runs.columns)
    assert sorted(zip(runs["width"], runs["seed"], strict=True)) == [(2, 0), (2, 1), (8, 0), (8, 1)]
    assert groups["group"].tolist() == ["non", "low", "mid", "high", "ungrouped"]
    assert groups["n"].sum() == len(runs)
    assert {"min", "median", "max", "edge_low", "edge_high"} <= set(groups.columns)
    assert {*KEYS, "layer", "fan_in", "n_weights", "mean", "std", "min", "max"} <= set(statistics)
    assert len(statistics) == 3 * len(runs)


def test_statistics_are_those_of_the_weights_in_the_shards(finished_study):
    runs = pd.read_csv(finished_study.results / "tables" / "runs.csv")
    statistics = pd.read_csv(finished_study.results / "tables" / "statistics.csv")
    for row in statistics.itertuples():
        run = runs[(runs["width"] == row.width) & (runs["seed"] == row.seed)].iloc[0]
        with h5py.File(finished_study.folder / run["shard"]) as shard:
            last = shard.attrs["final_epoch"]
            weight = shard[f"epochs/{last}/{row.layer}/weight"][0].astype(float)
        assert row.n_weights == weight.size
        assert row.mean == pytest.approx(sum(weight.flat) / weight.size, abs=1e-7)
        assert row.std == pytest.approx(np.sqrt(np.mean((weight - weight.mean()) ** 2)), rel=1e-6)


def test_densities_of_all_populations_are_one_file(finished_study):
    runs = pd.read_csv(finished_study.results / "tables" / "runs.csv")
    with h5py.File(finished_study.results / "tables" / "densities.h5") as file:
        assert list(file["dnn/digits"]) == ["fc1", "fc2", "fc3"]
        for layer in file["dnn/digits"].values():
            assert sum(group.attrs["n"] for group in layer.values()) == len(runs)
            for group in layer.values():
                assert {"grid", "density", "band", "edges", "counts"} <= set(group)
                area = np.trapezoid(group["density"], group["grid"])
                assert 0.9 < area < 1.001  # of 20 weights, tails lie beyond the grid


def table_of(project, name, model, dataset):
    """The rows of one population."""
    table = pd.read_csv(project.results / "tables" / f"{name}.csv", dtype={"width": str})
    return table[(table["model"] == model) & (table["dataset"] == dataset)]


def test_runs_enough_are_mapped_and_compared(families):
    maps, purity, claims, statistics, runs, matching = (
        table_of(families, name, "dnn", "digits")
        for name in ("projection", "purity", "claims", "statistics", "runs", "matching")
    )
    counts = maps.groupby(["layer", "embedding", "perplexity"]).size().to_dict()
    together = {(e, p): 16 for e in ("padded", "quantiles") for p in (2, 4)}
    each = {(e, 2): 2 * 8 for e in ("width", "matched")}
    assert counts == {
        (layer, *key): n for layer in ("fc1", "fc2", "fc3") for key, n in (together | each).items()
    }
    assert purity["p"].dropna().between(0, 1).all()
    assert set(purity["width"]) == {"4", "8", "all"}
    within_it = claims["claim"] != "C7"  # which is about another population too
    correlations = claims[(claims["measure"] == "spearman") & within_it]
    of_all = correlations[correlations["statistic"] != "strength_pair_high"]
    assert (of_all["n_per_width"] == "4:8 8:8").all()  # with claims.non: include
    assert correlations["within"].notna().any()
    assert set(claims["verdict"]) == {"too few runs"}  # 16, where a verdict rests on 20
    fc1 = statistics[statistics["layer"] == "fc1"].merge(runs, on=KEYS)
    of_fc1 = claims[(claims["claim"] == "C1") & (claims["layer"] == "fc1")].set_index("statistic")
    rho = spearmanr(fc1["std"], fc1["test_accuracy"]).statistic
    assert of_fc1.loc["std", "pooled"] == pytest.approx(rho)
    best = matching["seed"] == matching["reference_seed"]
    assert matching.loc[best, "matched_cosine"].to_numpy() == pytest.approx(1)
    # matching ascends the sum over layers of inner products, not each layer's cosine
    norms = statistics.set_index([*KEYS, "layer"])["l2_norm"]
    own = norms.loc[pd.MultiIndex.from_frame(matching[[*KEYS, "layer"]])].to_numpy()
    reference = matching.assign(seed=matching["reference_seed"])[[*KEYS, "layer"]]
    scale = own * norms.loc[pd.MultiIndex.from_frame(reference)].to_numpy()
    products = matching[KEYS].assign(
        before=matching["cosine"] * scale, after=matching["matched_cosine"] * scale
    )
    sums = products.groupby(KEYS).sum()
    assert (sums["after"] >= sums["before"] - 1e-4).all()
    assert (sums["after"] > sums["before"] + 1e-2).any()


def test_figures_are_there_in_both_formats(finished_study):
    figures = finished_study.results / "figures"
    assert {"density", "claim_C1", "accuracy_from_weights"} < set(FIGURES)
    for figure in FIGURES:
        svg = (figures / f"{figure}-dnn-digits.svg").read_text()
        assert "n = 4 runs" in svg
        png = (figures / f"{figure}-dnn-digits.png").read_bytes()
        assert png.startswith(b"\x89PNG")
        assert len(png) > 10_000


def test_report_quotes_config_and_n(finished, tmp_path):
    report = tmp_path / "report.html"
    finished.succeed("--report", str(report))
    text = report.read_text()
    assert "n = 4 runs: widths 2, 8" in text
    assert "3 epochs, batches of 100" in text
    files = [f"{name}-dnn-digits.svg" for name in FIGURES]
    files += [f"{name}.csv" for name in [*TABLES, "claims"]]
    for name in [*files, "table1.html", "table2.html", "scorecard.html"]:
        assert name in text
    assert "fc1, fc2, fc3" in text
    # results of equal labels would stand on one line of the report, and one be out of reach
    assert '"map": "all widths"' in text
    assert '"map": "per width"' in text
    assert '"curve": "loss"' in text
    assert '"curve": "telemetry"' in text
    # each file has its own caption, though others are of the same job
    for words in (
        "Table <em>nulls</em> of the study test, one row per run, layer and null model",
        "Table <em>spectra</em> of the study test, one row per run and layer: spectral norm",
        "Training loss by epoch for dnn on digits",
        "Singular values of each layer's final weights",
    ):
        assert text.count(words) == 1, words
    # the scorecard stands on the first page
    assert "Do the paper's claims hold among networks of one width? Study test." in text


@needs_chromium
def test_in_a_browser_the_answers_are_seen_without_scrolling(families, tmp_path):
    study = families.copy(tmp_path / "families")
    study.succeed("--report", "report.html")
    text = (study.folder / "report.html").read_text()
    # the title tells where the answers end
    tell = "const box = document.querySelector('.answers').getBoundingClientRect();"
    tell += "document.title = `${box.top} ${box.bottom} ${box.right}`;"
    for width, height in ((1366, 768), (1920, 1080)):
        title, _ = open_report(text, tmp_path, tell, (width, height))
        top, bottom, right = map(float, title.split())
        assert 0 < top < bottom < height
        assert right < width


def test_graphs_own_standard_output(fresh):
    for flag in ("--rulegraph", "--dag"):
        done = fresh.run(flag)
        assert done.returncode == 0
        assert done.stdout.startswith("digraph"), done.stdout


def test_all_three_families_and_a_dataset_of_ones_own(families, tmp_path):
    study = families.copy(tmp_path / "families")
    assert study.planned() == {}
    tables = study.results / "tables"
    layers = pd.read_csv(tables / "statistics.csv").groupby("model")["layer"]
    assert layers.unique().map(list).to_dict() == {
        "dnn": ["fc1", "fc2", "fc3"],
        "cnn": ["conv1", "fc"],
        "vit": ["patch", "query", "key", "value", "attention_out", "mlp1", "mlp2", "fc"],
        "shallow": ["fc1", "fc2"],
    }
    runs = pd.read_csv(tables / "runs.csv", dtype={"width": str})
    assert sorted(runs.loc[runs["dataset"] == "mine", "width"]) == ["2", "2", "3", "4x2"]
    figures = {path.stem for path in (study.results / "figures").glob("*.png")}
    pairs = ["dnn-digits", "dnn-mine", "cnn-mine", "vit-mine", "shallow-digits"]
    # a grid of layer x dataset where a model has two datasets, and one of all convergence
    grids = [f"{name}-dnn" for name in ("statistics", "density", "strength", "projection")]
    of_each = {f"{figure}-{pair}" for figure in FIGURES for pair in pairs}
    assert figures == of_each | {*grids, "convergence", "transfer", "similarity_families"}
    heads = pd.read_csv(tables / "strength_heads.csv")
    assert heads["layer"].tolist() == ["query", "key", "value"]
    assert (heads["n_nodes"] == 2).all()
    assert len(study.shards()) == 2 + 4 + 1  # 8 runs of a width in one
    np.savez(study.folder / "mine.npz", **IMAGES | {"labels": np.arange(60) % 2})
    assert study.planned()["train_runs"] == 4  # other images make another population


def test_the_model_in_the_readme_is_one_file_and_no_change_elsewhere(families):
    runs = table_of(families, "runs", "shallow", "digits")
    assert runs["dead_unit_share"].notna().all()
    # it learns well beyond chance in three epochs
    assert (runs["test_accuracy"] > 30).all()
    assert len(runs) == 2
    statistics = table_of(families, "statistics", "shallow", "digits")
    assert set(statistics["fan_in"]) == {64, 30}
    matching = table_of(families, "matching", "shallow", "digits")
    other = matching[matching["seed"] != matching["reference_seed"]]
    assert (other["matched_cosine"] > other["cosine"]).all()  # by its links


def test_paper_config_plans_all_of_table_1(fresh):
    fresh.study = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())
    fresh.study["runs_per_job"] = 50
    counts = fresh.planned()
    # 20 widths of 50 seeds; 10 of 100; 6 of 5: one, two and one shard a width
    assert counts["train_runs"] == 3 * (20 * 1 + 10 * 2 + 6 * 1)
    assert counts["collect_runs"] == 9
    populations = fresh.study["populations"]
    assert [len(p["widths"]) * p["seeds"] for p in populations] == [1000] * 6 + [30] * 3
