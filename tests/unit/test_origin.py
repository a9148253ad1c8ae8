"""Figures tell what they are drawn from, and a figure of the same is known by it."""

import io

import numpy as np
import pytest
from PIL import Image

from drawings import make_figure, make_runs
from weightscape.drawing import origin, style

SETTINGS = ["statistics", "test", 200]


@pytest.fixture
def tables(tmp_path):
    paths = [tmp_path / "runs.csv", tmp_path / "statistics.csv"]
    for path in paths:
        path.write_text(f"{path.stem}\n1\n")
    return list(map(str, paths))


@pytest.fixture(autouse=True)
def _nothing_remembered():
    """A job looks at a file once; here files change."""
    for remembers in (origin._digest_of, origin._digest_of_code):
        remembers.cache_clear()


def draw(folder, told):
    svg, png = folder / "f.svg", folder / "f.png"
    style.save(make_figure("statistics", [make_runs()], folder), svg, png, 40, told)
    return svg, png


def test_both_files_tell_it(tables, tmp_path):
    told = origin.origin_of(tables, SETTINGS)
    for path in draw(tmp_path, told):
        assert origin.is_of(path, told)
        assert not origin.is_of(path, origin.origin_of(tables[:1], SETTINGS))


def test_a_figure_that_is_not_there_or_cut_off_is_of_nothing(tables, tmp_path):
    told = origin.origin_of(tables, SETTINGS)
    for path in draw(tmp_path, told):
        whole = path.read_bytes()
        for kept in (60, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:kept])
            assert not origin.is_of(path, told)
        path.unlink()
        assert not origin.is_of(path, told)


def test_content_counts_and_not_dates(tables, tmp_path):
    before = origin.origin_of(tables, SETTINGS)
    (tmp_path / "runs.csv").write_text("runs\n1\n")
    origin._digest_of.cache_clear()
    assert origin.origin_of(tables, SETTINGS) == before
    (tmp_path / "runs.csv").write_text("runs\n2\n")
    origin._digest_of.cache_clear()
    assert origin.origin_of(tables, SETTINGS) != before


def test_settings_count(tables):
    assert origin.origin_of(tables, SETTINGS) != origin.origin_of(tables, [*SETTINGS[:2], 100])


def test_code_and_packages_count(tables, tmp_path, monkeypatch):
    before = origin.origin_of(tables, SETTINGS)
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "style.py").write_text("SIZE = 1\n")
    monkeypatch.setattr(origin, "LIBRARY", tmp_path / "library")
    origin._digest_of_code.cache_clear()
    other = origin.origin_of(tables, SETTINGS)
    assert other != before
    monkeypatch.setattr(origin, "version", lambda name: "0")
    origin._digest_of_code.cache_clear()
    assert origin.origin_of(tables, SETTINGS) not in (before, other)


@pytest.mark.parametrize("name", ["statistics", "density", "projection"])
def test_files_are_as_matplotlib_saves_them(name, tmp_path):
    """Though panels are laid out here, once for both, and not by savefig's own first drawing."""
    svg, png = tmp_path / "f.svg", tmp_path / "f.png"
    found, figure = (make_figure(name, [make_runs()], tmp_path) for _ in range(2))
    style.save(found, svg, png, 150, "drawn from nothing")
    told = {"Description": "drawn from nothing"}
    expected = io.BytesIO()
    figure.savefig(expected, format="svg", dpi=150, metadata={"Date": None, **told})
    assert svg.read_bytes() == expected.getvalue()
    # texts of pixels are not quite as long as those of an SVG file
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=150)
    assert Image.open(png).size == Image.open(drawn).size
    for panel, other in zip(found.axes, figure.axes, strict=True):
        places = (axes.get_position().extents for axes in (panel, other))
        np.testing.assert_allclose(*places, rtol=0, atol=0.01)
