"""The benchmarks: what they write, and that the peers train what ours trains."""

import csv
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import claim_tests, claims, floor, gpu, jobs, measures, scale, torch_peers, training
from benchmarks.case import BATCH, STACKED, Case, make_case
from benchmarks.population import make_population
from weightscape import heads, models
from weightscape.claims import statements
from weightscape.claims.effects import Draws
from weightscape.measures.runs import matching
from weightscape.preparing.datasets import prepare
from weightscape.storage.shards import open_shard, read_population
from weightscape.storage.tables import read_table
from weightscape.study.population import Population

SMALL_VIT = {"tokens": "patches", "d_model": 8, "feedforward": 12, "dropout": 0.0, "depth": 1}
CASES = [
    ("dnn", "12", {}),
    ("cnn", "2", {"head": "flatten"}),
    ("vit", "2", SMALL_VIT),
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    prepare("digits", folder / "digits.h5", None, None, folder)
    return folder / "digits.h5"


@pytest.fixture
def short(monkeypatch):
    """Benchmarks of milliseconds."""
    monkeypatch.setattr(training, "SECONDS_PER_TURN", 0.01)
    monkeypatch.setattr(training, "TURNS", 1)
    monkeypatch.setattr(floor, "SECONDS_PER_TURN", 0.002)
    monkeypatch.setattr(floor, "MEMORY", 2**20)


def easy_case(model, width, options):
    """Images of one bright row each, which any network learns to name in some steps."""
    random = np.random.default_rng(0)
    labels = np.arange(1000) % 8
    images = random.integers(0, 40, (1000, 1, 8, 8))
    images[np.arange(1000), 0, labels] += 200
    network = models.build(model, width, (1, 8, 8), 10, options)
    return Case(network, model, "own", width, images.astype(np.uint8), labels)


def batches_of(case, steps, seed=0):
    rows = np.random.default_rng(seed).integers(0, len(case.labels), steps * BATCH)
    return rows.reshape(steps, BATCH)


def test_a_case_gives_the_rows_of_the_contract(digits, short, capsys):
    rows = training.benchmark(make_case("dnn", digits, "12"), [torch_peers.in_memory])
    assert [row["contender"] for row in rows] == ["floor", "ours", "torch-autograd"]
    for row in rows:
        assert tuple(row) == (
            "model",
            "dataset",
            "width",
            "runs_per_job",
            "contender",
            "cpu_us_per_step",
        )
        assert (row["model"], row["dataset"], row["width"]) == ("dnn", "digits", "12")
        assert float(row["cpu_us_per_step"]) > 0
    assert "x ours" in capsys.readouterr().out


def test_the_floor_of_a_dnn_by_hand(digits):
    w, pixels = 12, 64
    arithmetic, moving = floor.floor_us(make_case("dnn", digits, "12"), 1e11, 1e10, 2e9)
    forward = pixels * w + w * w + 10 * w
    backward = forward + w * w + 10 * w  # to all weights, and to h1 and h2
    assert arithmetic == pytest.approx(2e6 * BATCH * (forward + backward) / 1e11)
    numbers = pixels * w + w + w * w + w + 10 * w + 10
    moved = 2 * 3 * 4 * numbers / 1e10 + BATCH * pixels / 2e9
    assert moving == pytest.approx(1e6 * moved)


def test_the_measured_peak_and_bandwidth_are_those_of_a_machine(digits, short):
    found = floor.Floor(make_case("dnn", digits, "12"))
    found.turn()
    assert all(1e8 < rate.best < 1e14 for rate in found.products)
    assert 1e7 < found.of_state.best < 1e14
    assert 1e7 < found.of_memory.best < 1e14
    assert found.us() == floor.floor_us(
        found.case,
        max(rate.best for rate in found.products),
        found.of_state.best,
        found.of_memory.best,
    )


def test_a_rate_is_cpu_time_s_and_that_of_its_best_turn(short, monkeypatch):
    monkeypatch.setattr(floor, "UNCLOCKED", 0.0)
    now, pace = [0.0], [0.5]

    def work():
        now[0] += pace[0]

    monkeypatch.setattr(floor.time, "process_time", lambda: now[0])
    rate = floor.Rate(work, amount=6)
    for pace[0] in (3.0, 2.0, 4.0):
        rate.turn()
    assert rate.best == 6 / 2


def test_reading_the_clock_is_no_part_of_a_rate(monkeypatch):
    now = [0.0]

    def work():
        now[0] += floor.UNCLOCKED / 100

    monkeypatch.setattr(floor.time, "process_time", lambda: now[0])
    assert floor.Rate(work, amount=1).calls == 128


def test_a_floor_above_ours_is_refused(digits, short, monkeypatch):
    monkeypatch.setattr(training.Floor, "us", lambda self: (1e9, 1.0))
    with pytest.raises(SystemExit, match=r"dnn on digits, width 12, .* under its floor"):
        training.benchmark(make_case("dnn", digits, "12"), [])


def test_the_floor_has_its_turns_among_the_contenders(digits, short, monkeypatch):
    monkeypatch.setattr(training, "TURNS", 3)
    turns, contender = [], training.Contender("other", 1, lambda rows: turns.append("other"))
    monkeypatch.setattr(training.Floor, "turn", lambda self: turns.append("floor"))
    case = make_case("dnn", digits, "12")
    found = list(training.measure(case, [lambda case: contender], training.Floor(case)))
    assert [name for name, *_ in found] == ["other"]
    assert turns[-6:] == ["floor", "other"] * 3


@pytest.mark.parametrize(("model", "width", "options"), CASES)
def test_peers_have_as_many_parameters_as_ours(model, width, options):
    case = easy_case(model, width, options)
    count = sum(value.numel() for value in torch_peers.make_module(case).parameters())
    assert count == case.network.n_parameters


@pytest.mark.parametrize("maker", ["in_memory", "data_loader"])
@pytest.mark.parametrize(("model", "width", "options"), CASES)
def test_torch_s_peers_learn(model, width, options, maker, monkeypatch):
    case, made = easy_case(model, width, options), []
    make = torch_peers.make_module
    monkeypatch.setattr(torch_peers, "make_module", lambda c: made.append(make(c)) or made[-1])
    torch.manual_seed(0)
    contender = getattr(torch_peers, maker)(case)
    before = accuracy(case, made[0])
    for part in range(4):
        contender.train(batches_of(case, 40, part))
    assert accuracy(case, made[0]) > before + 25  # seed by seed from 40 to 100 %


@pytest.mark.parametrize(("model", "width", "options"), CASES)
def test_the_stacked_peer_moves_every_network(model, width, options, monkeypatch):
    case, kept = easy_case(model, width, options), []
    adam = torch_peers.make_adam
    monkeypatch.setattr(torch_peers, "make_adam", lambda p: kept.extend(p) or adam(p))
    contender = torch_peers.stacked(case, runs=3)
    before = [value.detach().clone() for value in kept]
    contender.train(batches_of(case, 2))
    for value, old in zip(kept, before, strict=True):
        assert value.shape[0] == 3
        assert (value != old).flatten(1).any(1).all()


def accuracy(case, module):
    with torch.no_grad():
        logits = module.eval()(torch.from_numpy(case.images).float() / 255)
    module.train()
    return 100 * (logits.argmax(1).numpy() == case.labels).mean()


@pytest.mark.parametrize("maker", ["scanned", "stacked"])
def test_jax_s_peers_take_steps(maker):
    pytest.importorskip("jax", reason="JAX comes with `make bench`")
    from benchmarks import jax_peers

    case = easy_case(*CASES[0])
    contender = getattr(jax_peers, maker)(case)
    contender.train(batches_of(case, 3))
    assert contender.runs == (1 if maker == "scanned" else STACKED)


def test_jax_s_network_is_ours():
    pytest.importorskip("jax", reason="JAX comes with `make bench`")
    import jax

    from benchmarks import jax_peers

    for model, width, options in CASES:
        case = easy_case(model, width, options)
        p = jax_peers.make_parameters(case, np.random.default_rng(0))
        ours = {}
        for layer in case.network.layers:
            weight, bias = (np.array(value) for value in p[layer.name])
            if model == "cnn" and layer.name == "conv1":
                weight = weight.transpose(3, 2, 0, 1)
            elif model == "cnn":  # its maps come channels last
                weight = weight.reshape(6, 6, -1, 10).transpose(3, 2, 0, 1).reshape(10, -1)
            else:
                weight = weight.T
            ours |= {f"{layer.name}.weight": weight.copy(), f"{layer.name}.bias": bias}
        ours |= {name: np.array(p[name]) for name in case.network.auxiliary}
        values = {name: torch.from_numpy(value) for name, value in ours.items()}
        x = case.images[:20].astype(np.float32) / 255
        logits, _ = case.network.forward(values, torch.from_numpy(x), lambda t: t)
        found = jax_peers.make_logits(case)(p, x, jax.random.key(0))
        np.testing.assert_allclose(np.asarray(found), logits.numpy(), rtol=1e-3, atol=1e-4)


def test_the_gpu_s_benchmark_runs_where_there_is_none(digits):
    rows = gpu.measure(make_case("dnn", digits, "4"), runs=3, device="cpu", steps=2)
    assert [(row["contender"], row["runs_per_job"]) for row in rows] == [
        ("ours", 3),
        ("torch-autograd", 1),
        ("torch-vmap", 3),
    ]
    assert all(float(row["wall_us_per_step"]) > 0 for row in rows)


def test_a_whole_job_is_measured_beside_a_plain_script_that_learns_as_much(digits, tmp_path):
    ours, plain = jobs.measure(digits, "8", tmp_path, turns=1)
    assert (ours["contender"], plain["contender"]) == ("ours", "plain")
    for row in (ours, plain):
        assert row["cpu_seconds"] > 0.1
        assert 50 < row["peak_mb"] < 5000
    saved = torch.load(tmp_path / "plain-digits-8", weights_only=True)
    with open_shard(tmp_path / "ours-digits-8") as shard:
        run = shard.run(0)
    for name in ("initial", "final"):
        shapes = sorted(tuple(value.shape) for value in saved[name].values())
        epoch = {"initial": 0, "final": 20}[name]
        assert shapes == sorted(value.shape for value in run.snapshots[epoch].values())
    (train_loss, _), (test_loss, accuracy) = saved["curves"][-1]
    assert len(saved["curves"]) == 20
    assert train_loss == pytest.approx(run.final["train_loss"], abs=0.4)
    assert test_loss == pytest.approx(run.final["test_loss"], abs=0.4)
    assert 100 * accuracy == pytest.approx(run.final["test_accuracy"], abs=20)


def test_a_job_that_fails_is_no_figure(digits, tmp_path):
    with pytest.raises(RuntimeError, match="the job of ours failed"):
        jobs.run("ours", {"dataset": str(digits), "target": str(tmp_path / "x"), "model": "none"})


def test_the_table_is_tidy(digits, short, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CASES", [("dnn", "digits", "4"), ("dnn", "digits", "12")])
    monkeypatch.setattr(training, "peers", lambda: [torch_peers.in_memory])
    target = tmp_path / "new" / "t.csv"
    monkeypatch.setattr("sys.argv", ["training", str(digits.parent), str(target), "--width", "12"])
    training.main()
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["width"], row["contender"]) for row in rows] == [
        ("12", "floor"),
        ("12", "ours"),
        ("12", "torch-autograd"),
    ]
    assert list(rows[0]) == list(training.COLUMNS)


def test_a_drawn_population_is_shards_and_their_table(tmp_path):
    shards, runs = make_population(tmp_path, 60, width="3")
    assert len(shards) == 2
    seeds = [seed for shard in read_population(shards) for seed in shard.seeds]
    assert seeds == list(range(60)) == runs["seed"].tolist()
    assert set(runs["group"]) == {"low", "mid", "high"}
    assert all(pd.Series(runs["shard"]).isin(shards))
    again = {path: Path(path).stat().st_mtime_ns for path in shards}
    make_population(tmp_path, 60, width="3")
    assert {path: Path(path).stat().st_mtime_ns for path in shards} == again


@pytest.mark.parametrize("name", measures.MEASURES)
def test_each_measure_and_plain_way_measures_a_population(name, tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "OF_GROUPS", measures.OF_GROUPS._replace(shuffles=9))
    shards, runs = make_population(tmp_path, 40, width="3")
    matching.measure(shards, runs, tmp_path / "matching.csv", tmp_path / "matching.h5")
    before = set(tmp_path.iterdir())
    measures.MEASURES[name](shards, runs, tmp_path)
    made = {path.name for path in set(tmp_path.iterdir()) - before}
    assert bool(made) == (not name.startswith(("plain", "matching"))), made


def test_a_measure_is_timed_in_a_process_of_its_own(tmp_path, capsys):
    row = measures.measure("matching", tmp_path, 2)
    assert (row["measure"], row["n"]) == ("matching", 2)
    assert 0 <= row["seconds"] < 60
    assert row["peak_mb"] > 50
    assert "2 runs, matching" in capsys.readouterr().out


def test_a_command_is_measured_apart_from_its_caller(tmp_path):
    code = "held = bytearray(300_000_000); print(sum(range(3_000_000)))"
    used = scale.measure((sys.executable, "-c", code), tmp_path, {})
    assert used.output == f"{3_000_000 * 2_999_999 // 2}\n"
    assert 0.02 < used.cpu < 10
    assert 300 < used.peak_mb < 400
    assert scale.measure((sys.executable, "-c", ""), tmp_path, {}).peak_mb < 50


def test_a_command_that_fails_ends_the_measurement(tmp_path):
    with pytest.raises(SystemExit, match="no such thing"):
        scale.measure((sys.executable, "-c", "raise SystemExit('no such thing')"), tmp_path, {})


def test_drawn_measures_are_tables_that_claims_are_made_of(tmp_path):
    population = Population("dnn", "mnist", ("5", "50"), 12)
    claims.draw(population, tmp_path)
    folder = tmp_path / "dnn" / "mnist"
    names = "reliability", *heads.read_by_claims()
    tables = {name: read_table(folder / f"{name}.csv") for name in names}
    groups = read_table(folder / "grouping.csv", "grouping")
    runs = read_table(folder / "runs.csv", "runs").merge(groups)
    assert len(runs) == 24
    way = statements.Way("test", "exclude")
    found = statements.measure(runs, tables, way, Draws(99), 0.2).effects
    of_std = found[(found["claim"] == "C1") & (found["statistic"] == "std")]
    assert of_std["layer"].tolist() == ["fc1", "fc2", "fc3"]
    assert (of_std["n"] == 24).all()
    assert (of_std["pooled"].abs() > 0).all()
    assert set(found["claim"]) == {f"C{number}" for number in range(1, 7)}


def test_of_a_test_of_claims_its_level_its_interval_and_its_power_are_told(monkeypatch):
    monkeypatch.setattr(claim_tests, "STUDIES", 40)
    every = list(claim_tests.cases())
    (number,) = (
        place
        for place, case in enumerate(every)
        if (case.case, case.design, case.effect) == ("Gaussian", "4 x 9", 0.9)
    )
    within, pooled = claim_tests.simulate(number)
    assert (within["kind"], pooled["kind"], within["studies"]) == ("within", "pooled", 40)
    assert within["p_below_0.05"] == 1  # such an effect is always seen
    assert min(within["held"], pooled["held"]) > 0.8
    assert within["detectable"] == pytest.approx(2.8016 / 32**0.5)
