"""A job reads and writes what the head of its measure has, and nothing else."""

import pandas as pd
import pytest

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.measures.job import Job


@pytest.fixture
def job(tmp_path):
    (tmp_path / "runs.csv").write_text("model,dataset,width,seed\ndnn,digits,2,0\n")
    return Job(
        {"runs": str(tmp_path / "runs.csv"), "matching_h5": [], "shards": ["a.h5", "b.h5"]},
        {"overlap_h5": "overlap.h5", "plan": str(tmp_path / "plan.csv")},
        {},
    )


def test_names_of_files_have_their_point(job):
    assert job.runs["width"].tolist() == ["2"]
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
