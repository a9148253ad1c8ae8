"""The tutorial's cells: on the quick study, or on that of the tests where it is not made."""

import json

import pytest
from scipy import stats

import notebook
import weightscape
from project import ROOT

TUTORIAL = ROOT / "docs" / "tutorial.ipynb"
QUICK = ROOT / "results" / "quick"


@pytest.fixture(scope="module")
def results(request):
    """The folders of a study and of its images."""
    if (QUICK / "tables" / "claims.csv").exists():
        return QUICK, QUICK.parent / "datasets"
    finished = request.getfixturevalue("finished_study")
    return finished.results, finished.results.parent / "datasets"


@pytest.fixture(scope="module")
def made(results, tmp_path_factory):
    """What the cells show, and the names they make, in a folder `docs` beside these results."""
    top = tmp_path_factory.mktemp("tutorial")
    (top / "docs").mkdir()
    (top / "results").mkdir()
    for name, folder in zip(("quick", "datasets"), results, strict=True):
        (top / "results" / name).symlink_to(folder)
    return notebook.run(TUTORIAL, top / "docs")


def test_its_claim_is_that_of_scipy(made, results):
    effect, study = made[1]["effect"], weightscape.open(results[0])
    first = study.layers("dnn", "digits")[0]
    rows = study.table("statistics")
    rows = rows[(rows["model"] == "dnn") & (rows["layer"] == first)]
    both = rows.merge(study.runs, on=["model", "dataset", "width", "seed"])
    both = both.dropna(subset=["relative_distance", "test_accuracy"])
    found = stats.spearmanr(both["relative_distance"], both["test_accuracy"]).statistic
    assert (effect.pooled.n, effect.pooled.value) == (len(both), pytest.approx(found))


def test_its_network_has_the_accuracy_of_its_run(made, results):
    names = made[1]
    assert names["accuracy"] == pytest.approx(names["best"]["test_accuracy"], abs=1e-4)
    assert names["left"][0] == pytest.approx(names["accuracy"])
    if results[0] == QUICK:  # in the study of the tests no run has learned anything
        assert names["left"][-1] < names["left"][0]


def test_what_it_shows_is_stored_with_it(made):
    """`make tutorial` does it."""
    cells = [json.loads(TUTORIAL.read_text())["cells"], made[0]["cells"]]
    stored, shown = (
        [
            [(output["output_type"], sorted(output.get("data", ()))) for output in cell["outputs"]]
            for cell in of
            if cell["cell_type"] == "code"
        ]
        for of in cells
    )
    assert stored == shown
    assert sum(map(len, stored)) > 6
