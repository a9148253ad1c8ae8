"""What captions say: n, widths and training, of networks that are trained and imported."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from weightscape import heads
from weightscape.errors import WeightscapeError
from weightscape.study import captions
from weightscape.study.config import check
from weightscape.study.paths import import_tables
from weightscape.study.population import populations


def describe(config):
    """What captions say of the only population."""
    (population,) = populations(config)
    return captions.describe(config, population)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_of_a_population_that_is_trained(small):
    found = describe(check(small | {"training": {"epochs": 7}}))
    assert (found["model"], found["dataset"], found["n"]) == ("dnn", "digits", 6)
    assert found["runs"] == "n = 6 runs: widths 4, 3x5, 3 seeds each"
    assert found["short"] == "n = 6 runs (2 widths x 3 seeds)"
    for words in ("7 epochs", "batches of 100", "Adam", "0.001", "N(0, 0.05²)", "biases uniform"):
        assert words in found["training"]
    start = {"initialisation": {"weights": "uniform"}}
    told = describe(check(small | {"training": start}))["training"]
    assert "initial weights uniform by fan-in" in told


@pytest.mark.parametrize(
    ("init", "shuffle", "is_crossed"), [(2, 3, True), (1, 3, False), (3, 1, False)]
)
def test_of_crossed_seeds(small, init, shuffle, is_crossed):
    small["populations"][0]["seeds"] = {"init": init, "shuffle": shuffle}
    found = describe(check(small))
    assert found["n"] == 2 * init * shuffle
    assert found["runs"].endswith(f"widths 4, 3x5, {init} x {shuffle} seeds each")
    assert ("both together determine" in found["chance"]) == is_crossed


@pytest.fixture
def imported(zoo):
    return check(zoo(rows=["a,4,90,80", "b,4,90,80", "c,8,90,80"]))


def test_of_an_import_before_its_jobs(imported):
    found = describe(imported)
    assert found["n"] == 3
    assert found["runs"] == "n = 3 runs, imported: widths 4 (2 runs), 8 (1 run)"
    assert "batches" not in found["training"]


def test_of_an_import_with_bad_files(imported):
    (population,) = populations(imported)
    of_4, of_8 = (Path(path) for path in import_tables(imported, population))
    of_4.parent.mkdir(parents=True)
    of_4.write_text('file,status,reason\na,good,\nb,bad,"it is bad, and good"\n')
    found = describe(imported)
    assert found["n"] == 2
    assert found["runs"].endswith(
        "widths 4 (1 run), 8 (1 run); 1 of 3 checkpoints are bad and left out"
    )
    of_8.parent.mkdir(parents=True)
    of_8.write_text("file,status,reason\nc,bad,lost\n")
    found = describe(imported)
    assert found["n"] == 1
    assert "2 of 3 checkpoints are bad" in found["short"]


FIGURES = {
    f"{name} {kind}": (head, text, kind)
    for name, head in heads.figures().items()
    for kind, text in (("alone", head.caption), ("grid", head.grid and captions.GRID))
    if text
}


@pytest.mark.parametrize("which", FIGURES)
@pytest.mark.parametrize(
    ("seeds", "n", "words"), [(7, 21, "7 seeds"), ({"init": 4, "shuffle": 5}, 60, "4 x 5 seeds")]
)
def test_every_caption_counts_the_runs_of_plain_and_crossed_seeds(which, seeds, n, words, small):
    small["populations"] = [
        {"model": "dnn", "dataset": "digits", "widths": [4, 5, 6], "seeds": seeds}
    ]
    config, (head, text, _) = check(small), FIGURES[which]
    told = captions.caption(text, config, populations(config), what=head.grid)
    assert f"n = {n} runs" in told
    assert words in told
    assert "{" not in told


@pytest.mark.parametrize("name", heads.tables())
def test_every_table_says_what_a_row_is_and_counts_all_populations(name, small):
    small["populations"].append({"model": "cnn", "dataset": "digits", "widths": [2], "seeds": 4})
    config, row = check(small), heads.tables()[name].row
    told = captions.caption(captions.TABLE, config, populations(config), name=name, row=row)
    assert told.startswith(f"Table *{name}* of the study small, one row per {row}.")
    assert "dnn on digits, n = 6 runs; cnn on digits, n = 4 runs." in told


def test_a_field_that_is_not_known_is_one_error(small):
    config = check(small)
    with pytest.raises(WeightscapeError, match=r"Loss of.*'modle'; known are .*model"):
        captions.caption("Loss of {modle}", config, populations(config))


def test_the_report_takes_captions_of_files_in_its_order():
    """Whatever the order of a job's own files, and with files of other jobs between them."""
    own = captions.Captions({"figures/b.svg": "Of b.", "figures/a.svg": "Of a."})
    a, other, b = (SimpleNamespace(path=Path(f"figures/{name}.svg")) for name in ("a", "x", "b"))
    categories = {"First": {"": [a, other]}, "Second": {"": [b]}}
    a.caption = own.of_next(categories)
    other.caption = ""
    b.caption = own.of_next(categories)
    assert (a.caption, b.caption) == ("Of a.", "Of b.")


def test_a_caption_of_another_file_is_an_error_and_not_taken_for_it():
    of_another = [SimpleNamespace(path=Path("figures/x.svg"))]
    with pytest.raises(KeyError):
        captions.Captions({"figures/a.svg": "Of a."}).of_next({"First": {"": of_another}})
