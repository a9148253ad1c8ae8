"""Seals of tables: a table that is not as it was written is an error, and never other numbers."""

import hashlib
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.errors import WeightscapeError
from weightscape.storage.joining import join_tables
from weightscape.storage.seals import check_seal
from weightscape.storage.tables import grow_table, read_table, read_tables, write_table


@pytest.fixture
def path(tmp_path):
    table = pd.DataFrame(
        {"width": ["2", "20"] * 50, "seed": range(100), "std": np.linspace(0, 1, 100)}
    )
    write_table(table, tmp_path / "t.csv")
    return tmp_path / "t.csv"


def cut(content):
    return content[: len(content) // 2]


def drop_last_row(content):
    return b"".join(content.splitlines(keepends=True)[:-1])


def repeat_a_row(content):
    lines = content.splitlines(keepends=True)
    return b"".join([*lines, lines[-1]])


def swap_columns(content):
    return content.replace(b"width,seed", b"seed,width", 1)


DAMAGES = {
    "cut in half": cut,
    "a row less": drop_last_row,
    "a row twice": repeat_a_row,
    "columns swapped": swap_columns,
    "a digit": lambda content: content.replace(b",0.", b",1.", 1),
    "empty": lambda content: b"",
    "header alone": lambda content: content.splitlines(keepends=True)[0],
    "zeros": lambda content: content[:200] + bytes(len(content) - 200),
    "no text": lambda content: content + b"\xff\xfe",
    "other ends of lines": lambda content: content.replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_table_is_refused_with_its_remedy(path, kind):
    content = DAMAGES[kind](path.read_bytes())
    assert content != path.read_bytes()
    path.write_bytes(content)
    for read in (read_table, lambda path: join_tables([path], path.with_name("all.csv"))):
        with pytest.raises(WeightscapeError) as error:
            read(path)
        assert str(error.value) == (
            f"the table {path} is refused: it is damaged, or was changed after it was written; "
            "delete it and run again to make it again"
        )
    assert not path.with_name("all.csv").exists()


@given(place=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_refused(tmp_path_factory, place, bit):
    path = tmp_path_factory.mktemp("seals") / "t.csv"
    write_table(pd.DataFrame({"width": ["2", "20"], "std": [0.25, 1.5]}), path)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(WeightscapeError, match="is damaged"):
        read_table(path)


def test_another_table_in_its_place_is_refused(path, tmp_path):
    write_table(pd.DataFrame({"width": ["2"], "seed": [7], "std": [0.5]}), tmp_path / "other.csv")
    shutil.copy(tmp_path / "other.csv", path)
    with pytest.raises(WeightscapeError, match="was changed after it was written"):
        read_tables([tmp_path / "other.csv", path])


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum here")
def test_a_seal_is_what_sha256sum_checks(path):
    done = subprocess.run(
        ["sha256sum", "--check", ".seals/t.csv"],
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "t.csv: OK\n")


def test_every_way_to_write_a_table_seals_it(path, tmp_path):
    with grow_table(tmp_path / "grown.csv", ["width", "seed", "std"]) as add:
        add([{"width": "2", "seed": 0, "std": 0.5}])
    join_tables([path, tmp_path / "grown.csv"], tmp_path / "joined.csv")
    for name in ("t.csv", "grown.csv", "joined.csv"):
        seal = (tmp_path / ".seals" / name).read_text()
        assert seal.split() == [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest(), name]


def test_a_table_that_is_made_anew_has_a_new_seal(path):
    path.write_text("damaged")
    write_table(pd.DataFrame({"width": ["7"]}), path)
    assert read_table(path)["width"].tolist() == ["7"]


def test_a_job_that_is_killed_between_table_and_seal_leaves_a_table_that_can_be_read(
    path, monkeypatch
):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", stop)
        with pytest.raises(KeyboardInterrupt):
            write_table(pd.DataFrame({"width": ["7"]}), path)
    assert read_table(path)["width"].tolist() == ["7"]


def test_a_table_of_other_hands_has_no_seal_and_must_be_a_table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("width,std\n2,0.5\n")
    assert read_table(path)["std"].tolist() == [0.5]
    for content in (b"", b"width,std\n2,0.5,7\n1,2,3,4\n", b"width\n\xff\xfe\n"):
        path.write_bytes(content)
        with pytest.raises(WeightscapeError, match=r"t\.csv is refused: it can't be read \(.+\);"):
            read_table(path)
    path.write_text("model,dataset\ndnn,digits\n")
    with pytest.raises(WeightscapeError, match="is refused: it has no column group"):
        read_table(path, "groups")


def test_a_table_that_is_not_there_is_not_called_damaged(tmp_path):
    with pytest.raises(WeightscapeError) as error:
        check_seal(tmp_path / "away.csv")
    assert "is not there" in str(error.value)
    assert "delete" not in str(error.value)
