"""A figure, a measure, a claim is one file: the recipes of the docs, in a copy of the project."""

import re
import subprocess

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
LENET = re.search(r"`my_models/lenet\.py`:\n\n```python\n(.*?)```", TEXT, re.DOTALL)[1]
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


def add_lenet(project, text=LENET):
    (project.folder / "my_models").mkdir(exist_ok=True)
    (project.folder / "my_models" / "lenet.py").write_text(text)
    project.study |= {
        "model_files": ["my_models/lenet.py"],
        "populations": [{"model": "lenet", "dataset": "digits", "widths": [2, 6], "seeds": 2}],
        "training": {"epochs": 4, "learning_rate": "2e-3"},
        "runs_per_job": 2,  # each imports PyTorch
    }


def test_an_ordinary_module_in_a_folder_of_ones_own_is_trained_and_measured(fresh):
    """LeNet-5 of the docs, two widths and two seeds, to its figures; its code is of its recipe."""
    add_lenet(fresh)
    assert "lenet  digits        2     4     0     2" in fresh.succeed("-n")
    tables = [f"results/test/tables/{name}.csv" for name in ("runs", "statistics", "matching")]
    figures = ["results/test/figures/statistics-lenet-digits.svg"]
    fresh.succeed(*tables, *figures)
    runs, statistics, matching = (pd.read_csv(fresh.folder / table) for table in tables)
    assert sorted(zip(runs["width"], runs["seed"], strict=True)) == [(2, 0), (2, 1), (6, 0), (6, 1)]
    assert (runs["test_accuracy"] > 20).all()
    layers = ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert statistics["layer"].tolist() == 4 * layers
    other = matching[matching["seed"] != matching["reference_seed"]]
    assert (other["matched_cosine"] > other["cosine"]).all()  # by its links
    weights = fresh.shards()
    for content in weights.values():
        assert b'"code":"' in content
    assert "train_runs" not in fresh.planned()
    fresh.study["populations"][0]["seeds"] = 3  # trains what is new
    assert fresh.planned()["train_runs"] == 2
    fresh.study["populations"][0]["seeds"] = 2
    add_lenet(fresh, LENET.replace("16", "12"))
    assert fresh.planned()["train_runs"] == 2  # another model
    path = "lenet/digits/width-2/seeds-0000-0001.h5"
    fresh.succeed(f"results/test/weights/{path}")
    found = fresh.shards()
    assert found.keys() == weights.keys()
    assert {name for name, content in found.items() if content != weights[name]} == {path}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            LENET.replace(
                "self.fc2(self.fc1(maps.flatten(1)).tanh())", "self.fc1(maps.flatten(1))"
            ),
            "lenet.py): forward fails (RuntimeError: ",
        ),
        (
            LENET.replace("ModuleModel)", "nn.Module)"),
            "lenet.py has no class of Model; docs/extend",
        ),
    ],
)
@pytest.mark.parametrize("arguments", [["-n"], ["weights"]])
def test_a_model_that_breaks_the_contract_is_one_sentence_before_any_job(
    fresh, text, words, arguments
):
    add_lenet(fresh, text)
    done = fresh.run(*arguments)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert words in output
    assert "Traceback" not in output
    assert not fresh.shards()
    assert not (fresh.folder / "results" / "datasets").exists()


def test_a_module_in_the_library_s_folder_is_one_sentence(fresh):
    path = fresh.folder / "workflow" / "weightscape" / "models" / "lenet.py"
    path.write_text("from torch import nn\n\n\nclass LeNet(nn.Module):\n    pass\n")
    done = fresh.run("-n")
    assert f"{path} has no class of Model; docs/extending.md says" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_dry_run_of_the_library_s_models_imports_no_torch(fresh):
    command = fresh.command("-n")
    done = subprocess.run(
        [command[0], "-X", "importtime", *command[1:]],
        cwd=fresh.folder,
        env=fresh.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "weightscape.monitor.plan" in imported
    assert "torch" not in imported
