"""Zoos as they lie on disk: five lines of config each, and a study with all that they tell."""

import pandas as pd

from project import Project
from zoos import EPOCHS, STEPS, write_matrix, write_ray_tune

N = 4  # runs of each


def test_two_zoos_are_one_study(tmp_path):
    items = [
        {"model": model, "dataset": "own", "source": source, "folder": model, "classes": 3}
        for model, source in (("trials", "ray-tune"), ("rows", "matrix"))
    ]
    project = Project.create(tmp_path / "zoos", {"study": "zoos", "import": items})
    write_ray_tune(project.folder / "trials", N)
    write_matrix(project.folder / "rows", N)
    wanted = [f"measures/{model}/own/convergence.csv" for model in ("trials", "rows")]
    wanted += [f"tables/{name}.csv" for name in ("imports", "runs", "statistics", "answers")]
    targets = [f"results/zoos/{name}" for name in (*wanted, "figures/convergence.png")]
    project.succeed(*targets)

    def table(name):
        return pd.read_csv(project.results / "tables" / f"{name}.csv")

    assert table("imports")["status"].tolist() == ["good"] * 2 * N
    runs = table("runs").set_index("model")
    assert runs.loc["trials", "test_accuracy"].round(3).tolist() == [65, 66, 67, 68]
    assert runs.loc["rows", "test_accuracy"].round(3).tolist() == [60, 61, 62, 63]
    assert set(table("answers")["model"]) >= {"trials", "rows"}
    assert table("statistics")["distance"].gt(0).all()  # from the initial weights
    for model, epochs in (("trials", EPOCHS), ("rows", STEPS)):
        curves = pd.read_csv(project.results / "measures" / model / "own" / "convergence.csv")
        assert curves.dropna(subset="test_loss")["epoch"].unique().tolist() == epochs
    assert (project.results / "figures" / "convergence.png").stat().st_size > 5000
    assert "Nothing to be done" in project.succeed("-n", *targets)
    # a file that comes anew imports its zoo alone
    write_matrix(project.folder / "more", N + 1)
    for file in (project.folder / "more").iterdir():
        file.replace(project.folder / "rows" / file.name)
    assert project.planned()["import_runs"] == 1
