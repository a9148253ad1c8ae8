"""A job reads and writes what the head of its measure has, and nothing else."""

from pathlib import Path

import pandas as pd
import pytest

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.measures.job import Job, make_layers
from weightscape.storage.tables import read_table, write_table

RUNS = [("2", 0), ("2", 1)]


def write(folder, name, runs):
    """A table whose rows tell of these runs."""
    table = pd.DataFrame(columns=heads.tables()[name].written, index=range(len(runs)))
    table[["model", "dataset"]] = "dnn", "digits"
    table["width"], table["seed"] = zip(*runs, strict=True)
    write_table(table, folder / f"{name}.csv")
    return str(folder / f"{name}.csv")


@pytest.fixture
def job(tmp_path):
    return Job(
        {
            "runs": write(tmp_path, "runs", RUNS),
            "matching_h5": [],
            "shards": ["a.h5", "b.h5"],
            "statistics": str(tmp_path / "statistics.csv"),
            "convergence": str(tmp_path / "convergence.csv"),
        },
        {"overlap_h5": "overlap.h5", "plan": str(tmp_path / "plan.csv")},
        {},
    )


def test_layers_that_share_a_job_are_in_its_table_one_after_the_other(tmp_path):
    def make(job):
        table = pd.DataFrame({"layer": [job.layer] * 2, "seed": [0, 1], "x": job.settings["x"]})
        write_table(table, job.output("overlap"))

    job = Job({}, {"overlap": str(tmp_path / "overlap.csv")}, {"x": 0.5})
    make_layers(make, job, ["second", "first"])
    table = read_table(tmp_path / "overlap.csv")
    assert table["layer"].tolist() == ["second", "second", "first", "first"]
    assert table["seed"].tolist() == [0, 1, 0, 1]
    assert {path.name for path in tmp_path.iterdir()} == {"overlap.csv", ".seals"}


def test_names_of_files_have_their_point(job):
    assert job.runs["width"].tolist() == ["2", "2"]
    assert job.shards == ["a.h5", "b.h5"]
    assert job.path_or_none("matching.h5") is None
    assert str(job.output("overlap.h5")) == "overlap.h5"


def test_a_file_that_the_head_does_not_have_is_one_error(job):
    with pytest.raises(WeightscapeError, match="asks for purity, which its head does not read"):
        job.table("purity")
    with pytest.raises(
        WeightscapeError, match=r"asks for other\.h5, which its head does not write"
    ):
        job.output("other.h5")


def test_a_table_has_the_columns_of_its_head(job, tmp_path):
    columns = heads.tables()["plan"].names
    job.write(plan=pd.DataFrame(columns=columns))
    assert (tmp_path / "plan.csv").read_text().strip() == ",".join(columns)
    with pytest.raises(WeightscapeError, match="the table plan is made with the columns"):
        job.write(plan=pd.DataFrame(columns=columns[1:]))


def test_a_job_has_the_groups_of_runs_if_its_head_reads_them(job, tmp_path):
    path = write(tmp_path, "statistics", RUNS)
    assert "group" not in job.runs
    assert "group" not in job.table("statistics")
    grouping = pd.DataFrame(RUNS, columns=["width", "seed"])
    of = {"model": "dnn", "dataset": "digits", "group": ["low", "high"]}
    grouping = grouping.assign(**of, other_group=["", "mid"])[
        [*heads.RUN_KEYS, "group", "other_group"]
    ]
    write_table(grouping, tmp_path / "grouping.csv")
    inputs = job.inputs | {"grouping": str(tmp_path / "grouping.csv")}
    other = Job(inputs, {"failures": str(tmp_path / "failures.csv")}, {})
    assert other.runs["group"].tolist() == ["low", "high"]
    assert other.runs_regrouped["other_group"].tolist() == ["", "mid"]
    assert other.table("statistics")["group"].tolist() == ["low", "high"]
    assert Path(path).read_text().startswith("model,dataset,width,seed,layer,")
    # what tells of runs is written without groups, whether the job knows them or not
    columns = heads.tables()["failures"].names
    other.write(failures=pd.DataFrame(columns=columns))
    written = (tmp_path / "failures.csv").read_text().strip()
    assert written == ",".join(name for name in columns if name != "group")


def test_a_table_has_the_runs_of_the_table_of_runs(job, tmp_path):
    write(tmp_path, "statistics", [*RUNS, *RUNS])
    assert len(job.table("statistics")) == 4
    write(tmp_path, "statistics", RUNS[:1])
    with pytest.raises(
        WeightscapeError,
        match=r"statistics\.csv is refused: it has no row of seed 1 of width 2 \(dnn on digits\)",
    ):
        job.table("statistics")
    # a run that breaks off has not all of its epochs
    write(tmp_path, "convergence", RUNS[:1])
    assert len(job.table("convergence")) == 1
    write(tmp_path, "convergence", [*RUNS, ("3", 0)])
    with pytest.raises(
        WeightscapeError, match=r"its seed 0 of width 3 .* is not in the table of runs"
    ):
        job.table("convergence")
