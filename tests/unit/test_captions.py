"""What captions say: n, widths and training, of networks that are trained and imported."""

from pathlib import Path

import pytest

from weightscape.study.captions import describe
from weightscape.study.config import check
from weightscape.study.paths import import_tables
from weightscape.study.population import populations


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_of_a_population_that_is_trained(small):
    (found,) = describe(check(small | {"training": {"epochs": 7}}))
    assert (found["model"], found["dataset"], found["n"]) == ("dnn", "digits", 6)
    assert found["runs"] == "n = 6 runs: widths 4, 3x5, 3 seeds each"
    assert found["short"] == "n = 6 runs (2 widths x 3 seeds)"
    for words in ("7 epochs", "batches of 100", "Adam", "0.001", "N(0, 0.05²)", "biases uniform"):
        assert words in found["training"]


@pytest.mark.parametrize(
    ("init", "shuffle", "is_crossed"), [(2, 3, True), (1, 3, False), (3, 1, False)]
)
def test_of_crossed_seeds(small, init, shuffle, is_crossed):
    small["populations"][0]["seeds"] = {"init": init, "shuffle": shuffle}
    (found,) = describe(check(small))
    assert found["n"] == 2 * init * shuffle
    assert found["runs"].endswith(f"widths 4, 3x5, {init} x {shuffle} seeds each")
    assert found["is_crossed"] == is_crossed


@pytest.fixture
def imported(zoo):
    return check(zoo(rows=["a,4,90,80", "b,4,90,80", "c,8,90,80"]))


def test_of_an_import_before_its_jobs(imported):
    (found,) = describe(imported)
    assert found["n"] == 3
    assert found["runs"] == "n = 3 runs, imported: widths 4 (2 runs), 8 (1 run)"
    assert "batches" not in found["training"]


def test_of_an_import_with_bad_files(imported):
    (population,) = populations(imported)
    of_4, of_8 = (Path(path) for path in import_tables(imported, population))
    of_4.parent.mkdir(parents=True)
    of_4.write_text('file,status,reason\na,good,\nb,bad,"it is bad, and good"\n')
    (found,) = describe(imported)
    assert found["n"] == 2
    assert found["runs"].endswith(
        "widths 4 (1 run), 8 (1 run); 1 of 3 checkpoints are bad and left out"
    )
    of_8.parent.mkdir(parents=True)
    of_8.write_text("file,status,reason\nc,bad,lost\n")
    (found,) = describe(imported)
    assert found["n"] == 1
    assert "2 of 3 checkpoints are bad" in found["short"]
