"""The plan, against sums by hand, shards on disk and made-up benchmark records."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from weightscape import study
from weightscape.monitor.plan import (
    BASE_MEMORY_MB,
    SECONDS_PER_JOB,
    SECONDS_PER_TORCH_JOB,
    TORCH_MEMORY_MB,
    PlanRow,
    format_bytes,
    import_memory_mb,
    largest_run_mb,
    make_plan,
    render,
    training_memory_mb,
    training_seconds,
)
from weightscape.study.config import check
from weightscape.study.paths import weights_folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Results of the project are none of these tests' business."""
    monkeypatch.chdir(tmp_path)


def plan_of(config):
    (row,) = make_plan(check(config))
    return row


def test_counts_of_a_population(small):
    small["runs_per_job"] = 2
    row = plan_of(small)
    assert (row.model, row.dataset) == ("dnn", "digits")
    assert (row.widths, row.runs, row.jobs, row.runs_done) == (2, 6, 4, 0)
    # 8 x 8 pixels, 10 classes: widths 4 and 3 x 5, three seeds each
    of_4 = 64 * 4 + 4 + 4 * 4 + 4 + 4 * 10 + 10
    of_3x5 = 64 * 3 + 3 + 3 * 5 + 5 + 5 * 10 + 10
    assert row.parameters == 3 * (of_4 + of_3x5)


def test_the_paper_s_populations_are_counted():
    config = {
        "study": "paper",
        "populations": [
            {"model": "dnn", "dataset": "cifar10", "widths": [1000], "seeds": 50},
            {"model": "cnn", "dataset": "mnist", "widths": [64], "seeds": 100},
            {"model": "vit", "dataset": "mnist", "widths": [2, 16], "seeds": 5},
        ],
    }
    dnn, cnn, vit = make_plan(check(config))
    assert dnn.parameters == 50 * (3072 * 1000 + 1000 + 1000 * 1000 + 1000 + 1000 * 10 + 10)
    assert cnn.parameters == 100 * (64 * 9 + 64 + 26 * 26 * 64 * 10 + 10)
    encoder = 4 * (784**2 + 784) + 784 * 2048 + 2048 + 2048 * 784 + 784 + 4 * 784
    assert vit.parameters == 10 * (49 * 784 + 784 + 16 * 784 + encoder + 784 * 10 + 10)


def test_runs_that_are_done_are_counted_whatever_their_shards(small):
    small["populations"][0] |= {"widths": [4], "seeds": 10}
    small["runs_per_job"] = 4
    folder = weights_folder("small", "dnn", "digits", "4")
    folder.mkdir(parents=True)
    (folder / "seeds-0001-0003.h5").touch()
    (folder / "seeds-0008-0011.h5").touch()
    (folder / ".seeds-0000.h5.host-1.part").touch()
    row = plan_of(small)
    # 1 to 3, and 8 and 9; the seeds 10 and 11 are not asked for
    assert (row.runs, row.runs_done) == (10, 5)
    # 0; 1-3; 4-7; 8-11
    assert row.jobs == 4


def test_the_plan_tells_what_was_read_of_a_dataset_of_one_s_own(tmp_path):
    config = own_config(tmp_path, "dnn", "2", 1, 8)
    assert render(config, make_plan(config)).splitlines()[-1] == (
        "Dataset own: images of 1 x 8 x 8 (channels x height x width), 10 classes, 30 to train on "
        "and 10 to test"
    )


def own_config(tmp_path, model, width, seeds, side, n=40, **options):
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "own.npz",
        images=random.integers(0, 256, (n, side, side), dtype=np.uint8),
        labels=np.arange(n) % 10,
        split=np.arange(n) >= 30,
    )
    population = {"model": model, "dataset": "own", "widths": [width], "seeds": seeds}
    return check(
        {
            "study": "s",
            "populations": [population],
            "datasets": {"own": {"file": str(tmp_path / "own.npz")}},
            "models": {model: options},
            "runs_per_job": seeds,
            "training": {"epochs": 4},
        }
    )


@pytest.mark.parametrize(
    ("model", "width", "seeds", "side", "options"),
    [
        ("dnn", "2", 1, 8, {}),
        ("dnn", "20", 1, 8, {}),
        ("dnn", "20", 20, 8, {}),
        ("dnn", "5", 1, 28, {}),
        ("dnn", "5", 20, 28, {}),
        ("dnn", "200", 1, 28, {}),
        ("cnn", "1", 20, 8, {}),
        ("cnn", "16", 1, 28, {}),
        ("vit", "2", 1, 8, {"d_model": 8, "feedforward": 16}),
        ("vit", "2", 1, 28, {"d_model": 48, "feedforward": 64}),
        ("dnn", "2", 20, 4, {"n": 6000}),  # most of whose shard are the predictions
    ],
)
def test_bytes_are_those_of_a_shard_within_a_fifth(tmp_path, model, width, seeds, side, options):
    from weightscape.engine.training import TrainingJob, train_shard
    from weightscape.preparing.datasets import prepare

    config = own_config(tmp_path, model, width, seeds, side, **options)
    prepare("own", tmp_path / "own.h5", config["datasets"]["own"], None, tmp_path)
    train_shard(
        TrainingJob(
            dataset=tmp_path / "own.h5",
            target=tmp_path / "shard.h5",
            model=model,
            width=width,
            seeds=list(range(seeds)),
            recipe=study.recipe(config, study.populations(config)[0]),
            snapshot_epochs=study.snapshot_epochs(config),
            device="cpu",
            threads=1,
        )
    )
    (row,) = make_plan(config)
    assert row.bytes == pytest.approx((tmp_path / "shard.h5").stat().st_size, rel=0.2)


def test_each_shard_takes_its_own_disk(small):
    small["populations"][0] |= {"widths": [4], "seeds": 10}
    shards = plan_of(small | {"runs_per_job": 1}).bytes
    small["populations"][0]["seeds"] = 1
    assert shards == 10 * plan_of(small).bytes


def test_more_snapshots_take_more_disk(small):
    two = plan_of(small)
    five = plan_of(small | {"training": {"snapshots": [0, 1, 2, 3, "last"]}})
    # the weights thrice more, and what HDF5 adds: under 500 bytes for each of 6 arrays of a run
    weights = 3 * 4 * two.parameters
    assert weights <= five.bytes - two.bytes <= weights + 3 * 6 * (two.runs * 500)


def test_an_own_dataset_is_planned_from_its_file(small, own):
    small["datasets"] = {"stars": {"file": own["file"]}}
    small["populations"][0] |= {"dataset": "stars", "widths": [5], "seeds": 1}
    # 4 x 4 pixels and three classes
    assert plan_of(small).parameters == 16 * 5 + 5 + 5 * 5 + 5 + 5 * 3 + 3


def test_seconds_grow_with_runs_and_start_up_is_paid_once(small):
    config = check(small)
    one, two, three = (training_seconds(config, "dnn", "digits", "4", n) for n in (1, 2, 3))
    assert three - two == pytest.approx(two - one)
    assert 0 < two - one < two


@pytest.mark.parametrize("changes", [{"epochs": 40}, {"batch_size": 10}])
def test_seconds_grow_with_the_work(small, changes):
    more = check(small | {"training": changes})
    base = training_seconds(check(small), "dnn", "digits", "4", 1)
    assert training_seconds(more, "dnn", "digits", "4", 1) > base
    assert training_seconds(check(small), "dnn", "digits", "400", 1) > base


def test_the_title_tells_how_many_runs_a_job_has(small):
    def title():
        config = check(small)
        return render(config, make_plan(config)).splitlines()[0]

    assert "1 run per job" in title()
    small["populations"][0]["runs_per_job"] = 3
    assert "3 runs per job" in title()
    small["populations"].append(
        {"model": "cnn", "dataset": "digits", "widths": [2], "seeds": 3, "runs_per_job": 2}
    )
    assert "2 to 3 runs per job" in title()


def test_hours_are_those_of_all_jobs(small):
    small["runs_per_job"] = 2
    config = check(small)
    jobs = [(width, n) for width in ("4", "3x5") for n in (2, 1)]
    seconds = sum(training_seconds(config, "dnn", "digits", width, n) for width, n in jobs)
    row = plan_of(small)
    assert row.cpu_hours == pytest.approx(seconds / 3600)
    assert row.source == "assumptions"


def test_memory_holds_images_and_training_state():
    widths = {"dnn": 10_000, "vit": 2}
    populations = [
        {"model": model, "dataset": "cifar10", "widths": [width], "seeds": 1}
        for model, width in widths.items()
    ]
    config = check({"study": "s", "populations": populations})
    images = 60_000 * 3 * 32 * 32
    for model, parameters in (("dnn", 3072e4 + 1e8 + 1e5), ("vit", 5.8e6)):
        # weights, gradients and two moments of Adam, and two snapshots
        needed = (images + 6 * 4 * parameters) / 1e6
        found = training_memory_mb(config, model, "cifar10", str(widths[model]), 50)
        assert needed < found < needed + 4000


def test_a_job_that_needs_no_torch_asks_for_no_memory_for_it(small):
    populations = small["populations"] + [
        {"model": "vit", "dataset": "digits", "widths": [2], "seeds": 1}
    ]
    asked = {}
    for device in ("cpu", "auto"):
        config = check(small | {"populations": populations, "device": device})
        for model, width in (("dnn", "4"), ("vit", "2")):
            asked[device, model] = training_memory_mb(config, model, "digits", width, 1)
    # with auto the node may have a GPU
    assert asked["auto", "dnn"] - asked["cpu", "dnn"] == TORCH_MEMORY_MB - BASE_MEMORY_MB
    assert asked["cpu", "vit"] == asked["auto", "vit"] > TORCH_MEMORY_MB


def test_a_job_that_needs_no_torch_starts_sooner(small):
    config = check(small)
    seconds = [training_seconds(config, "dnn", "digits", "4", n) for n in (0, 1)]
    assert seconds[0] == SECONDS_PER_JOB < SECONDS_PER_TORCH_JOB
    assert seconds[1] > seconds[0]


def test_memory_of_a_job_on_a_gpu_holds_all_its_runs_with_their_orders(small):
    config = check(small | {"device": "cuda"})
    sizes = (training_memory_mb(config, "dnn", "digits", "4", n) for n in (0, 1000, 2000))
    none, some, more = sizes
    parameters, images = 64 * 4 + 4 * 4 + 4 * 10 + 18, 1797
    # weights, gradients, two moments and two snapshots; the order of an epoch and of the next
    run = 6 * 4 * parameters + 2 * 4 * images
    assert 1000 * run * 0.7 / 1e6 < some - none < 1000 * run * 1.01 / 1e6 + 1
    assert more - some == pytest.approx(some - none, abs=2)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0.0 kB"),
        (999_949, "999.9 kB"),
        (1_000_000, "1.0 MB"),
        (12_340_000, "12.3 MB"),
        (5.6e9, "5.6 GB"),
        (7.89e12, "7.9 TB"),
        (1.5e15, "1500.0 TB"),
    ],
)
def test_bytes_are_written_in_decimal_units(count, text):
    assert format_bytes(int(count)) == text


def test_the_plan_is_a_table_with_its_total(small):
    rows = [
        PlanRow(
            "dnn", "mnist", 8, 1500, 300, 0, 30, 1_000_000, 2_500_000, 1.5, 1.25, "assumptions"
        ),
        PlanRow("vit", "digits", 2, 500, 0, 0, 10, 234_567, 7_500_000, 1000.25, 1000, "3 records"),
    ]
    text = render(check(small | {"runs_per_job": 50}), rows)
    title, _, *body, total = text.splitlines()
    assert all(word in title for word in ("small", "20 epochs", "50 runs"))
    assert len(body) == 2
    for word in ("dnn", "mnist", "1,500", "300", "30", "1,000,000", "2.5 MB", "1.50", "1.25"):
        assert word in re.split(r"  +", body[0])
    assert body[1].endswith("3 records")
    for word in ("2,000", "300", "40", "1,234,567", "10.0 MB", "1,001.75", "1,001.25"):
        assert word in total


def test_the_plan_tells_what_would_be_replaced(small):
    row = PlanRow("dnn", "mnist", 8, 1500, 300, 1200, 30, 1, 2, 1.5, 1.25, "assumptions")
    assert render(check(small), [row, row]).splitlines()[-1] == (
        "2,400 runs are there by another recipe or with other snapshots, and would be trained anew "
        "and replaced. To keep them, give this study another name."
    )


# benchmark records


def recipe_of(small, **changes):
    config = check(small | changes)
    return study.recipe(config, study.find_population(config, "dnn", "digits"))


def record(recipe, seconds, threads=1):
    wall = seconds / threads
    return {
        "s": wall,
        "cpu_time": seconds,
        "threads": threads,
        "params": {"recipe": json.dumps(recipe), "snapshots": [0]},
    }


def write_record(text, width="4", seeds="0000", population="dnn/digits", name="earlier"):
    folder = Path("results", name, "benchmarks/train_runs", population, f"width-{width}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seeds-{seeds}.jsonl").write_text(text)


def test_records_of_earlier_jobs_replace_the_assumptions(small):
    before, config = plan_of(small), check(small)
    for width, seeds, n in (("4", "0000", 1), ("3x5", "0000-0009", 10)):
        seconds = 3 * training_seconds(config, "dnn", "digits", width, n)
        write_record(json.dumps(record(recipe_of(small), seconds)), width, seeds)
    row = plan_of(small)
    assert row.cpu_hours == pytest.approx(3 * before.cpu_hours)
    assert "2" in row.source
    assert "records" in row.source


def test_records_count_all_threads(small):
    before = plan_of(small)
    seconds = 2 * training_seconds(check(small), "dnn", "digits", "4", 1)
    write_record(json.dumps(record(recipe_of(small), seconds, threads=4)))
    assert plan_of(small).cpu_hours == pytest.approx(2 * before.cpu_hours)


def test_records_of_another_length_of_training_are_scaled(small):
    before = plan_of(small)
    longer = small | {"training": {"epochs": 200, "batch_size": 10}}
    seconds = 2 * training_seconds(check(longer), "dnn", "digits", "4", 1)
    write_record(json.dumps(record(recipe_of(small, training=longer["training"]), seconds)))
    assert plan_of(small).cpu_hours == pytest.approx(2 * before.cpu_hours)


def test_of_a_file_with_several_records_the_last_counts(small):
    before = plan_of(small)
    seconds = training_seconds(check(small), "dnn", "digits", "4", 1)
    lines = [json.dumps(record(recipe_of(small), factor * seconds)) for factor in (9, 2)]
    write_record("\n".join(lines) + "\n")
    assert plan_of(small).cpu_hours == pytest.approx(2 * before.cpu_hours)


@pytest.mark.parametrize("population", ["dnn/mnist", "cnn/digits"])
def test_records_of_another_population_do_not_count(small, population):
    write_record(json.dumps(record(recipe_of(small), 1e6)), population=population)
    assert plan_of(small).source == "assumptions"


def test_records_of_other_options_do_not_count(small):
    write_record(json.dumps(record(recipe_of(small) | {"options": {"deep": True}}, 1e6)))
    assert plan_of(small).source == "assumptions"


def edited(small, **changes):
    return json.dumps(record(recipe_of(small), 1e6) | changes)


BROKEN = {
    "empty": lambda small: "",
    "a blank line": lambda small: "\n",
    "half-written": lambda small: edited(small)[:60],
    "no record": lambda small: "[]",
    "null": lambda small: "null",
    "a number": lambda small: "5",
    "of a run without --benchmark-extended": lambda small: '{"s": 5.0, "cpu_time": 5.0}',
    "no parameters": lambda small: edited(small, params={}),
    "parameters of another kind": lambda small: edited(small, params=[1]),
    "no time": lambda small: edited(small, s=None, cpu_time=None),
    "a time that is a word": lambda small: edited(small, s="NA", cpu_time="NA"),
    "a time that is a text": lambda small: edited(small, s="5.0", cpu_time="5.0"),
    "no threads": lambda small: edited(small, threads=None),
    "a recipe that is no JSON": lambda small: edited(small, params={"recipe": "{half"}),
    "a recipe that is a list": lambda small: edited(small, params={"recipe": "[]"}),
    "a recipe without options": lambda small: edited(small, params={"recipe": '{"epochs": 3}'}),
    "a recipe without epochs": lambda small: edited(small, params={"recipe": '{"options": {}}'}),
    "a recipe of another kind": lambda small: edited(small, params={"recipe": 5}),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_records_do_not_stop_the_plan(small, broken):
    before = plan_of(small)
    write_record(BROKEN[broken](small))
    row = plan_of(small)
    if broken == "a time that is a text":  # as good as the number it spells
        assert math.isfinite(row.cpu_hours)
    else:
        assert row == before


def test_a_record_of_bytes_does_not_stop_the_plan(small):
    before = plan_of(small)
    write_record("")
    next(Path("results").rglob("*.jsonl")).write_bytes(b"\xff\xfe\x00")
    assert plan_of(small) == before


@pytest.mark.parametrize(
    ("width", "seeds"), [("4", "x"), ("4", ""), ("5x5x5", "0000"), ("", "0000"), ("0", "0000")]
)
def test_a_record_with_a_name_of_another_kind_does_not_stop_the_plan(small, width, seeds):
    before = plan_of(small)
    write_record(edited(small), width, seeds)
    assert plan_of(small) == before


def test_largest_run_is_that_of_the_largest_width():
    config = check(
        {
            "study": "plan",
            "populations": [{"model": "dnn", "dataset": "mnist", "widths": [5, 200], "seeds": 1}],
        }
    )
    # weights and biases of 784-200-200-10, initial and final, of four bytes
    numbers = 785 * 200 + 201 * 200 + 201 * 10
    (population,) = study.populations(config)
    assert largest_run_mb(config, population) == pytest.approx(2 * 4 * numbers / 1e6)


def test_an_import_is_planned_by_its_table_and_files(zoo, small):
    rows = ["a,4,90,80", "b,4,90,80", "c,8,90,80", "away,16,90,80"]
    config = zoo(rows=rows)
    for name, size in (("a", 3_000), ("b", 50_000), ("c", 1_000)):
        Path(config["import"][0]["folder"], name).write_bytes(bytes(size))
    shard = Path("results/zoo/weights/mine/pets/width-4/seeds-0000-0001.h5")
    shard.parent.mkdir(parents=True)
    shard.touch()
    full = check(small | config)
    trained, imported = make_plan(full)
    assert imported[:7] == ("mine", "pets", 3, 4, 2, 0, 3)
    assert (imported.parameters, imported.bytes, imported.source) == (
        None,
        54_000,
        "assumptions (import)",
    )
    (population,) = [p for p in study.populations(full) if p.model == "mine"]
    # 16-bit numbers become 32-bit ones, and initial weights may be as many
    assert largest_run_mb(full, population) == pytest.approx(0.2)
    assert import_memory_mb(full, "mine", "pets") == 701
    lines = render(full, [trained, imported]).splitlines()
    assert " ".join(lines[3].split()) == "mine pets 3 4 2 3 54.0 kB 0.00 0.00 assumptions (import)"
    assert lines[4].split()[:5] == ["all", "10", "2", "9", f"{trained.parameters:,}"]
