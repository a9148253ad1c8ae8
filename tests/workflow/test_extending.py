"""A figure, a measure, a claim is one file: the recipes of the docs, in a copy of the project."""

import re

import h5py
import numpy as np
import pandas as pd
import pytest

from project import ROOT, Project

TEXT = (ROOT / "docs" / "extending.md").read_text()
RECIPES = dict(re.findall(r"`(workflow/\S+\.py)`:\n\n```python\n(.*?)```", TEXT, re.DOTALL))
KINDS = {
    "measures/layers": "sparsity",
    "measures/runs": "overlap",
    "claims/analyses": "worst",
    "claims/paper": "c8_low_rank",
    "figures": "norms",
}
"""folder -> the file that its recipe adds"""
MADE = [
    *(f"results/test/tables/{name}.csv" for name in ("sparsity", "overlap", "worst", "nulls")),
    *(f"results/test/figures/{name}-dnn-digits.svg" for name in ("norms", "claim_C8")),
    "results/test/tables/claims.csv",
]
"""what follows from them"""


def add(project, folder):
    path = f"workflow/weightscape/{folder}/{KINDS[folder]}.py"
    (project.folder / path).write_text(RECIPES[path])


@pytest.fixture(scope="module")
def planned(tmp_path_factory, test_study):
    """The jobs without any of these files."""
    return Project.create(tmp_path_factory.mktemp("without") / "project", test_study).planned()


def test_there_is_a_recipe_for_each_kind():
    assert {f"workflow/weightscape/{folder}/{name}.py" for folder, name in KINDS.items()} == set(
        RECIPES
    )


@pytest.mark.parametrize(
    ("folder", "more", "file"),
    [
        ("measures/layers", {}, "tables/sparsity.csv"),
        ("measures/runs", {"measure_overlap": 1}, "tables/overlap.csv"),
        ("claims/analyses", {"measure_worst": 1}, "tables/worst.csv"),
        ("claims/paper", {}, "figures/claim_C8-dnn-digits.svg"),
        ("figures", {}, "figures/norms-dnn-digits.svg"),
    ],
)
def test_one_file_is_in_the_dry_run(fresh, planned, folder, more, file):
    """By jobs that are there already, which describe layers, join tables, draw and judge."""
    add(fresh, folder)
    after = fresh.planned()
    assert {
        rule: n - planned.get(rule, 0) for rule, n in after.items() if n != planned.get(rule)
    } == more
    assert f"results/test/{file}" in fresh.succeed("-n")


def test_each_file_is_in_tables_figures_and_report(finished, tmp_path):
    """In a study that is finished: nothing is trained again."""
    for folder in KINDS:
        add(finished, folder)
    assert "train_runs" not in finished.planned()
    finished.succeed(*MADE)
    tables, figures = finished.results / "tables", finished.results / "figures"
    sparsity = pd.read_csv(tables / "sparsity.csv")
    assert sparsity["hoyer"].between(0, 1).all()
    assert len(sparsity) == 4 * 3  # runs and layers
    nulls = pd.read_csv(tables / "nulls.csv")
    shuffled = nulls[nulls["weights"] == "shuffled"].reset_index(drop=True)
    pd.testing.assert_series_equal(
        shuffled["sparsity_hoyer"], sparsity["hoyer"], check_names=False, rtol=1e-6
    )
    overlap = pd.read_csv(tables / "overlap.csv")
    assert set(overlap["n"]) == {2}
    weights = {}
    for path in finished.results.glob("weights/dnn/digits/width-8/*.h5"):
        with h5py.File(path) as shard:
            weights[path] = shard[f"epochs/{shard.attrs['final_epoch']}/fc1/weight"][0].ravel()
    one, other = weights.values()
    cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    is_own = (overlap["layer"] == "fc1") & (overlap["width"] == 8)
    assert overlap.loc[is_own, "cosine"].item() == pytest.approx(cosine, abs=1e-5)
    worst = pd.read_csv(tables / "worst.csv")
    runs = pd.read_csv(tables / "runs.csv")
    expected = runs.groupby("width")["test_accuracy"].min()
    assert worst.set_index("width")["accuracy"].to_dict() == pytest.approx(expected.to_dict())
    claims = pd.read_csv(tables / "claims.csv")
    assert claims.loc[claims["claim"] == "C8", "layer"].tolist() == ["fc1", "fc2", "fc3"]
    for figure in ("norms", "claim_C8"):
        assert "n = 4 runs" in (figures / f"{figure}-dnn-digits.svg").read_text()
    report = tmp_path / "report.html"
    finished.succeed(*MADE, "--report", str(report))
    text = report.read_text()
    for name in ("norms-dnn-digits.svg", "claim_C8-dnn-digits.svg", "sparsity.csv", "overlap.csv"):
        assert name in text
    assert "final weights for dnn on digits, a point per run (n = 4 runs" in text
    assert "C8. High-accuracy runs have weights of low rank." in text


def test_a_measure_need_not_read_the_table_of_runs(finished):
    path = "workflow/weightscape/claims/analyses/worst.py"
    text = RECIPES[path].replace('("runs",)', '("statistics",)').replace("_accuracy", "")
    text = text.replace("job.runs", 'job.table("statistics").assign(test=1.0)')
    (finished.folder / path).write_text(text)
    finished.succeed("results/test/tables/worst.csv")
    assert len(pd.read_csv(finished.results / "tables" / "worst.csv")) == 2  # widths


def test_a_claim_of_tables_that_are_read_already_is_measured_and_judged(finished):
    """No input changes: what the claims say of themselves is a parameter of their rules."""
    path = "workflow/weightscape/claims/paper/c8_low_rank.py"
    text = RECIPES[path].replace('("statistics", "spectra")', '("statistics",)')
    (finished.folder / path).write_text(
        text.replace('"spectra", layer, "stable_rank"', '"statistics", layer, "std"')
    )
    counts = finished.planned()
    assert counts["measure_claims"] == counts["judge_claims"] == 1
    assert counts["plot_population_study"] == 1
    assert not {"train_runs", "measure_weights"} & set(counts)


def test_a_file_without_a_head_is_one_error_that_names_it(fresh):
    (fresh.folder / "workflow/weightscape/figures/nothing.py").write_text('"""Nothing."""\n')
    done = fresh.run("-n")
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "figures/nothing.py has no" in output
    assert "Traceback" not in output
