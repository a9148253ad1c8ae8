"""Reliability: split halves by loops and scipy, and accuracies whose share of luck is planted."""

import logging
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from weightscape.errors import WeightscapeError
from weightscape.measures.runs import reliability
from weightscape.measures.runs.reliability import HEAD, count, describe, measure, split
from weightscape.runs.collecting import KEYS
from weightscape.storage.hdf5 import write_file
from weightscape.storage.shards import write_shard

IMAGES = 60


def describe_answers(right):
    """Of runs (n, images), by the splits of so many images."""
    return describe(count([np.packbits(own) for own in right], split(right.shape[1])))


def draw_answers(n, images, true, random):
    """Runs of which `true` is the share of the variance of accuracy that is no luck of the images:
    with p of mean 0.8 the luck's variance is 0.8 x 0.2 / images, nearly."""
    spread = math.sqrt(0.8 * 0.2 / images * true / (1 - true))
    p = np.clip(0.8 + spread * random.normal(size=n), 0, 1)
    return random.random((n, images)) < p[:, None], p


# ---- splits


@pytest.mark.parametrize("images", [60, 61])
def test_halves_are_equal_and_share_no_image(images):
    halves = split(images)
    assert (halves.sum(0) == 30).all()
    assert not halves.all(1).any()
    assert len(np.unique(halves[:, 0], axis=1).T) == reliability.SPLITS


@pytest.mark.parametrize("images", [12, 61])
def test_numbers_are_those_of_a_loop_over_splits(images):
    """With twelve images most accuracies are tied."""
    right, _ = draw_answers(9, images, 0.5, np.random.default_rng(images))
    halves, found = split(images), []
    for number in range(reliability.SPLITS):
        first, second = (right[:, halves[:, side, number]].mean(1) for side in (0, 1))
        found.append(spearmanr(first, second).statistic)
    half = np.mean(found)
    row = describe_answers(right)
    assert row["half"] == pytest.approx(half)
    assert row["reliability"] == pytest.approx(2 * half / (1 + half))
    assert row["ceiling"] == pytest.approx(math.sqrt(max(2 * half / (1 + half), 0)))


def test_the_interval_is_that_of_leaving_out_each_run(monkeypatch):
    monkeypatch.setattr(reliability, "SPLITS", 20)
    right, _ = draw_answers(8, 200, 0.7, np.random.default_rng(1))
    z = [math.atanh(describe_answers(np.delete(right, run, 0))["half"]) for run in range(8)]
    spread = 2.364624 * math.sqrt(7 / 8 * sum((one - np.mean(z)) ** 2 for one in z))  # t of 7
    row = describe_answers(right)
    for end, sign in (("low", -1), ("high", 1)):
        half = math.tanh(math.atanh(row["half"]) + sign * spread)
        assert row[f"reliability_{end}"] == pytest.approx(2 * half / (1 + half), rel=1e-5)


def test_blocks_of_runs_change_nothing(monkeypatch):
    right, _ = draw_answers(9, IMAGES, 0.5, np.random.default_rng(0))
    expected = describe_answers(right)
    monkeypatch.setattr(reliability, "BLOCK_BYTES", 4 * IMAGES * 2)
    assert describe_answers(right) == expected


# ---- planted truth


@pytest.mark.parametrize("true", [0.1, 0.5, 0.95])
def test_a_planted_share_of_luck_is_found(true):
    right, p = draw_answers(1500, 1000, true, np.random.default_rng(0))
    row = describe_answers(right)
    # of ranks: 6/pi asin(r/2) of a normal correlation r
    assert row["reliability"] == pytest.approx(6 / math.pi * math.asin(true / 2), abs=0.05)
    # the ceiling is what the truth itself correlates with the measured accuracy
    assert row["ceiling"] == pytest.approx(pearsonr(p, right.mean(1)).statistic, abs=0.06)
    assert row["reliability_low"] < row["reliability"] < row["reliability_high"]


def test_intervals_cover_what_is_planted(monkeypatch):
    monkeypatch.setattr(reliability, "SPLITS", 20)
    random, true = np.random.default_rng(3), 6 / math.pi * math.asin(0.9 / 2)
    covered = 0
    for _ in range(100):
        right, _ = draw_answers(20, 500, 0.9, random)
        row = describe_answers(right)
        covered += row["reliability_low"] <= true <= row["reliability_high"]
    assert covered >= 88  # of 95 expected, three standard errors below


def test_luck_alone_has_no_reliability():
    right = np.random.default_rng(0).random((1000, 1000)) < 0.8
    row = describe_answers(right)
    assert row["reliability"] == pytest.approx(0, abs=0.1)
    assert row["reliability_low"] < 0 < row["reliability_high"]
    assert row["ceiling"] == math.sqrt(max(row["reliability"], 0))


# ---- what is not there


def test_few_runs_and_equal_runs_have_no_reliability():
    random = np.random.default_rng(0)
    for right in (random.random((3, IMAGES)) < 0.5, np.ones((6, IMAGES), bool)):
        row = describe_answers(right)
        assert row.pop("n") == len(right)
        assert all(map(math.isnan, row.values()))
    of_four = describe_answers(random.random((4, IMAGES)) < np.array([[0.1], [0.3], [0.6], [0.9]]))
    assert of_four["half"] > 0.8
    assert math.isnan(of_four["reliability_low"])


def test_splits_in_which_all_runs_are_equal_are_left_out():
    right = np.zeros((5, 2), bool)
    right[0, 0] = True  # one of the two halves is always equal
    assert math.isnan(describe_answers(right)["half"])
    right[1, 1] = right[0, 1] = True
    assert math.isfinite(describe_answers(right)["half"])


@pytest.fixture
def study(synthesise, tmp_path):
    """Writes shards of right and wrong answers to a class in two; gives shards, runs and images."""
    labels = np.arange(IMAGES) % 2
    dataset = tmp_path / "own.h5"
    with write_file(dataset, {"format_version": 1, "classes": 2}) as file:
        file["test/labels"] = labels
    record = synthesise(tmp_path / "any.h5", [0])[0]

    def write(header, **widths):
        shards, rows = [], []
        for name, right in widths.items():
            width, path = name.removeprefix("w"), tmp_path / f"{name}.h5"
            members = [
                record._replace(
                    seed=seed,
                    predictions={}
                    if own is None
                    else {"test": np.where(own, labels[: len(own)], 3).astype(np.uint8)},
                )
                for seed, own in enumerate(right)
            ]
            names = ["position", "norm1.weight"]
            write_shard(path, header._replace(width=width), len(members), names, members)
            shards.append(str(path))
            rows += [("cnn", "digits", width, seed, "high") for seed in range(len(members))]
        return shards, pd.DataFrame(rows, columns=[*KEYS, "group"]), dataset

    return write


def test_a_row_per_width_of_all_runs_and_of_those_that_are_not_non(study, header):
    random = np.random.default_rng(0)
    narrow, wide = (draw_answers(n, IMAGES, 0.8, random)[0] for n in (8, 6))
    shards, runs, dataset = study(header, w2=narrow, w10=wide)
    runs.loc[[0, 1], "group"] = "non"
    table = measure(shards, runs, dataset)
    assert list(table) == HEAD.tables["reliability"].names
    assert table[["width", "runs", "n"]].to_numpy().tolist() == [
        ["2", "all", 8],
        ["2", "converged", 6],
        ["10", "all", 6],
        ["10", "converged", 6],
    ]
    for row, right in zip(table.to_dict("records"), (narrow, narrow[2:], wide, wide), strict=True):
        assert row["reliability"] == describe_answers(right)["reliability"]


def test_runs_without_predictions_or_without_images_leave_empty_rows(study, header, caplog):
    caplog.set_level(logging.INFO, "weightscape")
    right = np.random.default_rng(0).random((5, IMAGES)) < 0.5
    shards, runs, dataset = study(header, w2=right, w3=[None] * 5)
    table = measure(shards, runs, dataset)
    assert "5 of 10 runs have no predictions" in caplog.text
    assert table["n"].tolist() == [5, 5, 0, 0]
    assert table["reliability"].isna().tolist() == [False, False, True, True]
    shards, runs, _ = study(header, w2=[None])
    table = measure(shards, runs, None)
    assert (table[["n", "n_images"]] == 0).all(axis=None)
    assert table["ceiling"].isna().all()


def test_predictions_of_other_images_are_refused(study, header):
    shards, runs, dataset = study(header, w2=np.ones((5, IMAGES - 1), bool))
    with pytest.raises(WeightscapeError, match=r"w2\.h5 is refused.*59.*60 test images"):
        measure(shards, runs, dataset)
