"""Populations without runs: empty tables, and jobs for the study that pass over them."""

import h5py
import pandas as pd
import pytest

from weightscape import heads
from weightscape.figures import draw
from weightscape.runs.without import only_with_runs, write_header, write_nothing
from weightscape.storage.densities import join_densities, open_densities
from weightscape.storage.tables import add_groups, read_table


@pytest.fixture
def runs(tmp_path):
    full, empty = tmp_path / "full.csv", tmp_path / "empty.csv"
    pd.DataFrame({"model": ["dnn"], "seed": [0]}).to_csv(full, index=False)
    pd.DataFrame(columns=["model", "seed"]).to_csv(empty, index=False)
    return str(full), str(empty)


def test_a_job_of_a_population_has_all_inputs_or_none(runs):
    full, empty = runs
    inputs = {"runs": full, "shards": ["a.h5", "b.h5"]}
    assert only_with_runs(inputs) == inputs
    assert only_with_runs(inputs | {"runs": empty}) is None
    assert only_with_runs({"statistics": full}) == {"statistics": full}


def test_a_job_of_the_study_passes_over_empty_populations(runs):
    full, empty = runs
    inputs = {"runs": [full, empty, full], "weights": ["a", "b", "c"]}
    assert only_with_runs(inputs) == {"runs": [full, full], "weights": ["a", "c"]}
    assert only_with_runs(inputs | {"runs": [empty] * 3}) is None


@pytest.mark.parametrize("measure", list(heads.measures()))
def test_every_measure_can_write_nothing(tmp_path, measure):
    head = heads.measures()[measure]
    names = [*heads.tables_of(head), *head.files]
    files = {name.replace(".", "_"): str(tmp_path / name) for name in names}
    write_nothing(head, files, "mine", "pets")
    for name in heads.tables_of(head):
        table = read_table(files[name])
        assert (len(table), list(table.columns)) == (0, heads.tables()[name].written)


def test_densities_of_nothing_are_joined_with_others(tmp_path):
    head = next(head for head in heads.measures().values() if "densities.h5" in head.files)
    names = [*heads.tables_of(head), *head.files]
    files = {name.replace(".", "_"): str(tmp_path / name) for name in names}
    write_nothing(head, files, "mine", "pets")
    join_densities([tmp_path / "densities.h5"], tmp_path / "joined.h5")
    with open_densities(tmp_path / "joined.h5") as file:
        assert list(file["mine/pets"]) == []
    assert h5py.is_hdf5(tmp_path / "joined.h5")


@pytest.mark.parametrize("figure", ["statistics", "claim_C1", "density"])
def test_a_figure_of_nothing_says_so(figure, tmp_path):
    file = next(file for file in heads.figures() if figure in heads.drawn_by(file))
    files = []
    for name in heads.figures()[file].reads:
        files.append(str(tmp_path / name))
        if "." not in name:
            write_header(name, files[-1])
    write_header("runs", tmp_path / "runs")
    runs = add_groups(
        read_table(tmp_path / "runs"), pd.DataFrame(columns=[*heads.RUN_KEYS, "group"])
    )
    drawn = draw(figure, [runs], files, "test")
    assert "no runs" in drawn.axes[0].texts[0].get_text()
