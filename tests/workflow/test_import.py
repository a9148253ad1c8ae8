"""Networks that were trained elsewhere: docs/import.md as it stands, with more bad files."""

import csv
import json
import os
import pickle
import re
import subprocess
import sys

import h5py
import pandas as pd
import pytest
import torch
import yaml

from browsing import needs_chromium, open_report
from project import ROOT, Project

BAD = {
    "16-4.pt": "it is damaged, or no safetensors, torch, HDF5",  # of the document itself
    "evil.pt": "it has no tensor '0.weight', and no other one",
    "cut.safetensors": "is incomplete",
    "wide.h5": "in most files of its width",
    "away.pt": "there is no such file",
    "<img src=x onerror=document.title='ran'>.pt": "there is no such file",
    "alone.h5": "it is damaged",  # the only file of its width
}


class Evil:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def block(language):
    text = (ROOT / "docs" / "import.md").read_text()
    return text.split(f"```{language}\n")[1].split("```")[0]


@pytest.fixture(scope="session")
def zoo(once):
    """The study of the document with more bad files, run to its end; only to be read or copied."""
    return Project(once("zoo", make_zoo), study())


def study():
    """That of the document, and beside it an import without a good file."""
    found = yaml.safe_load(block("yaml"))
    lost = found["import"][0] | {"dataset": "pets", "table": "checkpoints/lost.csv"}
    return found | {"import": [*found["import"], lost]}


def make_zoo(folder):
    project = Project.create(folder, study())
    subprocess.run([sys.executable, "-c", block("python")], cwd=project.folder, check=True)
    folder = project.folder / "checkpoints"
    (folder / "evil.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    (folder / "cut.safetensors").write_bytes((900).to_bytes(8, "little") + b'{"0.weight"')
    (folder / "alone.h5").write_bytes(b"\x89HDF")
    with h5py.File(folder / "wide.h5", "w") as file:
        for name, shape in {"0": (7, 64), "2": (10, 7)}.items():
            file[f"{name}/weight"], file[f"{name}/bias"] = torch.ones(shape), torch.ones(shape[0])
    names = pd.read_csv(folder / "runs.csv").columns
    rows = ["file,width,train_accuracy,test_accuracy", "lost.pt,4,90,80", f"{'n' * 300},4,90,80"]
    (folder / "lost.csv").write_text("\n".join(rows))
    with (folder / "runs.csv").open("a", newline="") as file:
        table = csv.DictWriter(file, names)
        for seed, name in enumerate(list(BAD)[1:], start=50):
            row = {"file": name, "width": 9 if name == "alone.h5" else 4, "seed": seed}
            table.writerow(row | {"train_accuracy": 50, "test_accuracy": 50})
    project.succeed()


def table(zoo, name):
    return pd.read_csv(zoo.results / "tables" / f"{name}.csv")


def test_the_good_networks_are_measured_as_all_others(zoo):
    runs = table(zoo, "runs")
    assert sorted(zip(runs["width"], runs["seed"], strict=True)) == [
        *((4, seed) for seed in range(5)),
        *((16, seed) for seed in range(4)),
    ]
    given = pd.read_csv(zoo.folder / "checkpoints" / "runs.csv").merge(runs, on=["width", "seed"])
    assert len(given) == 9
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        assert given[f"{name}_x"].to_numpy() == pytest.approx(given[f"{name}_y"].to_numpy())
    statistics = table(zoo, "statistics").set_index(["width", "seed", "layer"])
    assert len(statistics) == 18
    for (width, seed, layer), row in statistics.iterrows():
        name = {"hidden": "0.weight", "output": "2.weight"}[layer]
        files = (f"{width}-{seed}.pt", f"{width}-{seed}-initial.pt")
        final, initial = (torch.load(zoo.folder / "checkpoints" / f)[name].double() for f in files)
        assert row["mean"] == pytest.approx(float(final.mean()), rel=1e-6)
        assert row["std"] == pytest.approx(float(final.std(correction=0)), rel=1e-6)
        assert row["distance"] == pytest.approx(float((final - initial).norm()), rel=1e-6)
    strength = table(zoo, "strength")
    assert (strength.loc[strength["layer"] == "hidden", "target"] == "output").all()
    matching = table(zoo, "matching")
    assert (matching["matched_cosine"] > matching["cosine"]).any()  # its nodes are followed
    assert table(zoo, "groups")["n"].sum() == 9
    (settings,) = table(zoo, "settings").groupby("layer", sort=False).head(1)[:1].to_dict("records")
    assert (settings["outputs"], settings["widths"], settings["n"]) == ("4-16", "4 16", 9)
    figures = {
        path.stem: path.stat().st_size for path in (zoo.results / "figures").glob("*-digits.png")
    }
    assert {"convergence-mlp-digits", "telemetry-mlp-digits", "strength-mlp-digits"} < set(figures)
    assert min(figures.values()) > 5_000


def test_bad_files_are_told_each_once_and_nothing_in_them_runs(zoo):
    files = table(zoo, "imports").query("dataset == 'digits'").set_index("file")
    assert files["status"].value_counts().to_dict() == {"good": 9, "bad": len(BAD)}
    logs = "\n".join(
        path.read_text() for path in (zoo.results / "logs").rglob("import_runs/**/*.log")
    )
    for name, reason in BAD.items():
        assert reason in files.loc[name, "reason"]
        assert logs.count(f"checkpoints/{name} is refused") == 1
    assert not (zoo.folder / "ran").exists()
    assert not (zoo.results.parent / "datasets").exists()  # no images are needed
    log = (zoo.results / "logs/collect_runs/mlp/digits.log").read_text()
    assert "5 of 10 files are bad" in log
    with h5py.File(zoo.results / "weights/mlp/digits/width-16/seeds-0000-0004.h5") as shard:
        sources = json.loads(shard.attrs["software"])["imported"]
    assert [name for name, _ in sources] == [f"16-{seed}.pt" for seed in range(4)]


@pytest.fixture(scope="session")
def report(zoo, once):
    """The text of the report."""

    def make(folder):
        told = zoo.copy(folder)
        assert told.planned() == {}
        told.succeed("--report", "report.html")

    return (once("report", make) / "report.html").read_text()


def test_the_report_counts_the_bad_files(report):
    assert "n = 9 runs, imported (3 widths; 7 of 16 checkpoints are bad and left out)" in report
    assert "widths 4 (5 runs), 9 (0 runs), 16 (4 runs)" in report
    assert "Training: elsewhere, 60 epochs" in report
    assert "imports.csv" in report


@needs_chromium
def test_in_a_browser_the_report_begins_with_its_head_and_names_are_text(report, tmp_path):
    # the title tells where the scorecard begins: above the window nobody could scroll to it
    tell = "document.title = document.querySelector('.scorecard').getBoundingClientRect().top"
    title, shown = open_report(report, tmp_path, tell)
    assert 0 < float(title) < 400
    assert re.findall("<img[^>]*onerror", shown) == []
    assert "n = 9 runs, imported" in shown


def test_a_mended_file_imports_its_width_alone(zoo, tmp_path):
    mended = zoo.copy(tmp_path / "mended")
    folder = mended.folder / "checkpoints"
    (folder / "16-4.pt").write_bytes((folder / "16-3.pt").read_bytes())
    counts = mended.planned()
    assert counts["import_runs"] == 1
    assert {"collect_runs", "measure_weights"} <= set(counts)
    assert "18 of 18 runs done" in mended.succeed("status")  # those of bad files too


def test_an_import_without_a_good_file_leaves_the_others_their_tables_and_report(zoo):
    """All that the other tests see of the study is made beside it."""
    found = table(zoo, "imports").query("dataset == 'pets'").set_index("file")["reason"]
    assert "there is no such file" in found["lost.pt"]
    assert "its name is too long" in found["n" * 300]
    for name in ("runs", "groups", "statistics", "settings", "failures"):
        assert set(table(zoo, name)["dataset"]) == {"digits"}
    figure = zoo.results / "figures" / "statistics-mlp-pets.svg"
    assert "no runs: every checkpoint of the import is bad" in figure.read_text()
    log = (zoo.results / "logs/collect_runs/mlp/pets.log").read_text()
    assert "mlp on pets has no runs: every checkpoint is bad" in log


def test_networks_are_trained_and_imported_in_one_study(fresh):
    """Also of one model, on other datasets: each shard has one rule that makes it."""
    (fresh.folder / "nets").mkdir()
    rows = ["file,width,train_accuracy,test_accuracy", "a.pt,2,90,80", "b.pt,3x4,90,80"]
    (fresh.folder / "runs.csv").write_text("\n".join(rows))
    shared = {"folder": "nets", "table": "runs.csv", "classes": 10}
    layers = {"one": {"weight": "w"}}
    fresh.study["import"] = [
        {"model": "dnn", "dataset": "pets", **shared},
        {"model": "mine", "dataset": "digits", "layers": layers, **shared},
    ]
    counts = fresh.planned()
    assert (counts["train_runs"], counts["import_runs"], counts["prepare_dataset"]) == (4, 4, 1)
    assert counts["collect_runs"] == 3
    assert counts["plot_model_shards"] == 1  # dnn on two datasets
