"""Tables of networks that were trained elsewhere: read in full, or every fault named."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.foreign.listing import ListedRun, read_listing

FULL = """\
file,width,seed,train_accuracy,test_accuracy,train_loss,test_loss,initial_file,note
a.pt,20,7,98.5,97.25,0.1,0.2,start/a.pt,good
b.pt,20,3,12,11.35,nan,inf,,lost
c.pt,20x50,0,,100,,0.5,,
"""


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "runs.csv"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def final(train_loss, train_accuracy, test_loss, test_accuracy):
    return pytest.approx(
        {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
        },
        nan_ok=True,
    )


def faults(listing):
    assert listing.faults
    return "\n".join(listing.faults)


def test_a_full_table(table):
    rows, found, *_ = read_listing(table(FULL))
    assert found == []
    assert [row[:3] for row in rows] == [("a.pt", "20", 7), ("b.pt", "20", 3), ("c.pt", "20x50", 0)]
    assert [row.initial_file for row in rows] == ["start/a.pt", "", ""]
    assert rows[0].final == final(0.1, 98.5, 0.2, 97.25)
    # a loss that is there and not finite is that of a diverged run
    assert rows[1].final == final(math.inf, 12, math.inf, 11.35)
    assert rows[2].final == final(math.nan, math.nan, 0.5, 100)


def test_without_seeds_the_runs_of_each_width_are_counted(table):
    lines = ["file,width,test_accuracy", "a,4,1", "b,8,2", "c,4,3", "d,4,4", "e,8,5"]
    rows = read_listing(table("\n".join(lines))).rows
    assert [(row.width, row.seed) for row in rows] == [
        ("4", 0),
        ("8", 0),
        ("4", 1),
        ("4", 2),
        ("8", 1),
    ]


def test_a_byte_order_mark_quotes_and_blanks_do_no_harm(table):
    listing = read_listing(table('\ufefffile,width,test_accuracy\n"a, b.pt", 4 , 50 \n'))
    assert listing[:2] == ([ListedRun("a, b.pt", "4", 0, listing.rows[0].final, "")], [])
    assert listing.rows[0].final["test_accuracy"] == 50


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("width", "", "'' is not a width"),
        ("width", "big one", "'big one' is not a width"),
        ("width", "_", "is not a width"),
        ("width", "4/../5", "'4/../5' is not a width"),
        ("width", "4.0", "write a number (20), several (20x50), or a name"),
        ("width", "04", "is not a width"),
        ("width", "4x", "is not a width"),
        ("width", "-4", "is not a width"),
        ("test_accuracy", "", "test_accuracy is missing"),
        ("test_accuracy", "101", "test_accuracy is 101; write percent, from 0 to 100"),
        ("test_accuracy", "-0.1", "percent, from 0 to 100"),
        ("test_accuracy", "nan", "percent, from 0 to 100"),
        ("train_accuracy", "inf", "train_accuracy is inf"),
        ("train_accuracy", "97 %", "train_accuracy is '97 %'; write a number"),
        ("test_loss", "low", "test_loss is 'low'; write a number, or leave it empty"),
        ("seed", "-1", "'-1' is not a seed"),
        ("seed", "1.5", "'1.5' is not a seed"),
        ("seed", "9999999999", "is not a seed"),
        ("file", "", "file is missing"),
        ("file", "/etc/passwd", "'/etc/passwd' leads out of the folder"),
        ("file", "../a.pt", "leads out of the folder; write a path below it"),
        ("initial_file", "a/../../b.pt", "leads out of the folder"),
        ("file", "./", "is the folder itself; write a file in it"),
        ("file", "a\0.pt", "'a?.pt' has a letter that can't be printed; rename the file"),
        ("file", '"a\nb.pt"', "'a?b.pt' has a letter that can't be printed"),
        ("file", "a\u202etp.pt", "can't be printed"),
        ("file", "a" * 5000, "aaa...' has 5000 letters; write at most 1000"),
        ("initial_file", "a" * 5000, "has 5000 letters"),
        ("initial_file", "./a.pt", "initial_file is a.pt too; name that of the initial weights"),
        ("file", "=cmd|' /C calc'!A0", "begins with =, so that a spreadsheet may run it; rename"),
        ("file", "./=cmd", "begins with ="),
        ("initial_file", "@SUM(A1)", "begins with @"),
        ("file", "-1.pt", "begins with -"),
        ("width", "1" * 5000, "has 5000 letters; write at most 50"),
        ("width", "a" * 51, "has 51 letters"),
        ("width", "all", "the width 'all' stands for all of them in the tables"),
        ("width", "b" * 5000 + "!", "bbb...' is not a width"),
        ("seed", "7" * 5000, "777...' is not a seed"),
        ("seed", "1_0", "'1_0' is not a seed"),
        ("seed", "\u0667", "is not a seed"),
        ("test_accuracy", "1_0", "test_accuracy is '1_0'; write a number"),
        ("test_accuracy", "٩٧", "write a number"),
        ("test_accuracy", "0x10", "write a number"),
        ("test_accuracy", "inf", "test_accuracy is inf; write percent, from 0 to 100"),
        ("test_accuracy", "9" * 5000, "test_accuracy is inf; write percent"),
        ("test_loss", "1_0", "test_loss is '1_0'; write a number, or leave it empty"),
        ("test_loss", "x" * 5000, "xxx...'; write a number"),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(table, column, value, words):
    cells = {
        "file": "a.pt",
        "width": "4",
        "test_accuracy": "50",
        "train_accuracy": "60",
        "test_loss": "1",
        "seed": "0",
        "initial_file": "",
    }
    good = ",".join({**cells, "file": "b.pt", "seed": "1"}.values())
    bad = ",".join({**cells, column: value}.values())
    path = table("\n".join([",".join(cells), good, bad]))
    text = faults(read_listing(path))
    number = 4 if "\n" in value else 3  # the last line of its row
    assert f"{path}, line {number}: " in text
    assert len(text) < 400
    assert words in text
    assert [row.file for row in read_listing(path).rows] == ["b.pt"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the column file is missing; the header needs file, width and test_accuracy"),
        ("file,width\na,4", "the column test_accuracy is missing"),
        ("file,width,test_acuracy\na,4,50", "did you mean 'test_accuracy'?"),
        ("file,width,test_accuracy,test_los\na,4,50,1", "did you mean 'test_loss'?"),
        ("file,width,file,test_accuracy\na,4,a,50", "the column file appears twice; remove one"),
        ("file,width,test_accuracy\n", "it has no rows"),
        ("file,width,test_accuracy\na,4,50,60", "more cells than the header"),
        ("file,width,test_accuracy\na,4", "test_accuracy is missing"),
        ("file,width,test_accuracy\na,4,50\na,4,50", "a is listed twice; remove one row"),
        ("file,width,test_accuracy,seed\na,4,50,3\nb,4,50,3", "the seed 3 of width 4 is listed"),
        ("file,width,test_accuracy\na,4,0.5\nb,4,0.97", "write percent (97, not 0.97)"),
        (
            "file,width,test_accuracy,train_accuracy\na,4,50,0.5\nb,4,60,0.97",
            "no train_accuracy is above 1; write percent (97, not 0.97), or set accuracies: frac",
        ),
        ("file,width,test_accuracy\n./n0.pt,4,50\nn0.pt,4,60", "n0.pt is listed twice"),
        ("file,width,test_accuracy\na//b.pt,4,50\na/./b.pt,8,60", "a/b.pt is listed twice"),
        ("file,width,test_accuracy\n\n\na,4,x\n", "line 4: test_accuracy is 'x'"),
        ("file;width;test_accuracy\na;4;50", "the column file is missing"),
        ("file,width,test_accuracy\n" + "a" * 200_000 + ",4,50", "can't be read as CSV (field"),
        ('file,width,test_accuracy\n"a,4,50', "can't be read as CSV"),
    ],
)
def test_a_wrong_table_is_told(table, text, words):
    assert words in faults(read_listing(table(text)))


def test_accuracies_may_be_fractions(table):
    path = table("file,width,test_accuracy,train_accuracy\na,4,0.97,\nb,4,1,1\nc,4,0,.5\n")
    rows, found, *_ = read_listing(path, "fraction")
    assert found == []
    assert [row.final["test_accuracy"] for row in rows] == [97, 100, 0]
    assert [row.final["train_accuracy"] for row in rows[1:]] == [100, 50]
    path = table("file,width,test_accuracy\na,4,0.97\nb,4,97")
    assert (
        "line 3: test_accuracy is 97; write a fraction, from 0 to 1, or set accuracies: percent"
        in (faults(read_listing(path, "fraction")))
    )


@pytest.mark.parametrize("text", ["7", "7.", ".7e1", "+7.0", "70e-1", "7E0"])
def test_numbers_as_they_are_usually_written(table, text):
    rows, found, *_ = read_listing(table(f"file,width,test_accuracy\na,4,{text}"))
    assert (found, rows[0].final["test_accuracy"]) == ([], 7)


def test_a_path_is_read_in_one_spelling(table):
    rows = read_listing(table("file,width,test_accuracy\n./a//b c.pt,4,50\nü*?[x].pt,4,5\n")).rows
    assert [row.file for row in rows] == ["a/b c.pt", "ü*?[x].pt"]


def test_equal_seeds_of_unequal_widths_are_two_runs(table):
    assert read_listing(table("file,width,test_accuracy\na,4,50\nb,8,50")).faults == []


def test_a_table_that_is_missing_or_no_text_is_told(tmp_path):
    assert "there is no table" in faults(read_listing(str(tmp_path / "away.csv")))
    assert "is not a file; correct the path" in faults(read_listing(str(tmp_path)))
    assert "there is no table a?b" in faults(read_listing("a\0b"))
    assert "there is no table" in faults(read_listing("a" * 5000))
    (tmp_path / "binary.csv").write_bytes(b"file,width,test_accuracy\n\xff\xfe,4,50\n")
    text = faults(read_listing(str(tmp_path / "binary.csv")))
    assert text.endswith("binary.csv is not UTF-8; save it as CSV in UTF-8")
    (tmp_path / "wide.csv").write_text("file,width,test_accuracy\na,4,50\n", encoding="utf-16")
    assert "is not UTF-8" in faults(read_listing(str(tmp_path / "wide.csv")))


def test_a_changed_table_is_read_anew(table):
    assert len(read_listing(table("file,width,test_accuracy\na,4,50")).rows) == 1
    assert len(read_listing(table("file,width,test_accuracy\na,4,50\nb,4,60")).rows) == 2


@given(st.text(max_size=60))
def test_any_text_is_a_table_or_a_fault(table, text):
    listing = read_listing(table("file,width,test_accuracy,seed\n" + text.replace("\r", "")))
    assert listing.rows or listing.faults


def test_a_width_may_be_a_name(table):
    rows = read_listing(table("file,width,test_accuracy\na,small,50\nb,XL_2,60")).rows
    assert [row.width for row in rows] == ["small", "XL_2"]
