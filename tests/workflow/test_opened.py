"""A finished study as a notebook opens it, from another folder, and the installed package."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap

import h5py
import numpy as np
import pandas as pd
import pytest

import weightscape
from project import ROOT
from weightscape.errors import WeightscapeError
from weightscape.foreign.checkpoints import shapes


@pytest.fixture(scope="module")
def study(finished_study):
    name = finished_study.study["study"]
    return weightscape.open(finished_study.folder / "results" / name)


@pytest.fixture(scope="module")
def images(study):
    with h5py.File(study.folder.parent / "datasets" / "digits.h5") as file:
        return file["test/images"][()]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tables_and_runs_are_there_from_any_folder(study, elsewhere):
    assert {"runs", "statistics", "claims"} <= set(study.tables)
    assert study.table("statistics")["width"].map(type).eq(str).all()
    for path in study.runs["shard"]:
        assert h5py.is_hdf5(path)


def test_a_network_gives_the_predictions_that_were_kept(study, images, elsewhere):
    import torch

    shown = torch.from_numpy(images)
    for _, row in study.runs.drop_duplicates(["model", "width"]).iterrows():
        run = study.run(row["model"], row["dataset"], row["width"], row["seed"])
        module = run.module()
        logits = module(shown)
        assert (logits.argmax(1).numpy() == run.predictions).all()
        assert torch.equal(module(shown / 255), logits)
        assert run.final["test_accuracy"] == pytest.approx(row["test_accuracy"])
        state = run.state_dict()
        assert set(module.state_dict()) == set(state)
        assert all(torch.equal(module.state_dict()[name], value) for name, value in state.items())


def test_weights_are_those_of_the_shards(study, elsewhere):
    model, dataset = study.populations[0]
    width = study.widths(model, dataset)[-1]
    layer = study.layers(model, dataset)[0]
    stacked = study.weights(model, dataset, width, layer)
    assert stacked.dtype == np.float32
    assert len(stacked) == len(study.seeds(model, dataset, width))
    for seed, weights in zip(study.seeds(model, dataset, width), stacked, strict=True):
        run = study.run(model, dataset, width, seed)
        with h5py.File(run.shard) as file:
            row = file["seed"][()].tolist().index(seed)
            last = file.attrs["final_epoch"]
            assert (file[f"epochs/{last}/{layer}/weight"][row] == weights).all()
        assert (run.weights(0)[f"{layer}.weight"] != weights).any()
        assert len(run.curves) == len(run.telemetry) == run.header.final_epoch + 1


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_all_weights_go_to_one_file(study, elsewhere, ending):
    study.export(f"all.{ending}", test_size=0.5, seed=3)
    split = study.train_test_split(0.5, seed=3)
    if ending == "npz":
        found = dict(np.load("all.npz"))
    else:
        found = read_safetensors(elsewhere / "all.safetensors")
    of = study.runs.groupby(["model", "dataset", "width"], sort=False)
    for (model, dataset, width), own in of:
        prefix = f"{model}/{dataset}/{width}"
        ordered = own.sort_values("seed")
        assert found[f"{prefix}/seed"].tolist() == ordered["seed"].tolist()
        is_test = split[ordered.index] == "test"
        assert found[f"{prefix}/is_test"].astype(bool).tolist() == is_test.tolist()
        accuracy = found[f"{prefix}/test_accuracy"]
        np.testing.assert_allclose(accuracy, ordered["test_accuracy"], rtol=1e-6)
        for row, seed in enumerate(ordered["seed"]):
            for name, value in study.run(model, dataset, width, seed).weights().items():
                assert (found[f"{prefix}/{name}"][row] == value).all()


def read_safetensors(path):
    """By its definition: a length, a header, and numbers."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, numbers = json.loads(data[8 : 8 + length]), data[8 + length :]
    header.pop("__metadata__", None)
    kinds = {"F32": "<f4", "I64": "<i8", "U8": "u1"}
    return {
        name: np.frombuffer(numbers[slice(*of["data_offsets"])], kinds[of["dtype"]]).reshape(
            of["shape"]
        )
        for name, of in header.items()
    }


def test_a_run_that_is_saved_is_read_again_as_a_checkpoint(study, elsewhere):
    model, dataset = study.populations[-1]
    run = study.run(model, dataset, study.widths(model, dataset)[0], 0)
    run.save("run.safetensors")
    found, weights = shapes(elsewhere / "run.safetensors"), run.weights()
    assert found == {name: value.shape for name, value in weights.items()}
    for name, value in read_safetensors(elsewhere / "run.safetensors").items():
        assert (value == weights[name]).all()


def test_the_examples_of_the_docs_run(study, elsewhere):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
    (elsewhere / "results").symlink_to(study.folder.parent)
    width = study.widths("dnn", "digits")[-1]
    text = "".join(blocks).replace("results/quick", f"results/{study.folder.name}")
    text = text.replace(" 20,", f" {width!r},").replace("seed=3", "seed=1")
    exec(compile(text, "docs/python.md", "exec"), {})
    assert {"run.safetensors", "weights.safetensors"} <= {path.name for path in elsewhere.iterdir()}


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        (lambda s: s.table("statistcs"), "no table statistcs; did you mean statistics?"),
        (lambda s: s.run("dnn", "nope", 1, 0), "has no dnn on nope; it has "),
        (lambda s: s.run("dnn", "digits", 77, 0), "dnn on digits has no width 77; it has "),
        (lambda s: s.run("dnn", "digits", s.widths("dnn", "digits")[0], 999), "no run of seed 999"),
        (lambda s: s.export("x.zarr"), "end its name in .safetensors or .npz"),
        (lambda s: s.train_test_split(2), "test_size is 2; it is a share between 0 and 1"),
        (lambda s: weightscape.open("nowhere"), "there is no study in .*nowhere; name the folder"),
    ],
)
def test_what_is_not_there_is_said(study, elsewhere, ask, why):
    with pytest.raises(WeightscapeError, match=why):
        ask(study)


def test_a_width_that_is_not_trained_yet_is_said(tmp_path):
    (tmp_path / "weights/dnn/digits/width-4").mkdir(parents=True)
    study = weightscape.open(tmp_path)
    for ask in (study.seeds, lambda *key: study.weights(*key, "fc1")):
        with pytest.raises(WeightscapeError, match="dnn on digits of width 4 has no shard yet"):
            ask("dnn", "digits", 4)


def test_the_installed_package_opens_a_study_without_snakemake(study, tmp_path):
    """`pip install .` in an environment of its own, whose dependencies are those of this one."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "workflow", source / "workflow", ignore=ignored)
    home = tmp_path / "clean"
    python = home / "bin" / "python"
    uv = [sys.executable, "-m", "uv", "-q"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(home)], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    install = [*uv, "pip", "install", "--python", str(python), "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, str(source)], check=True)
    code = f"""
        import sys
        from importlib.metadata import metadata, version
        sys.modules["snakemake"] = None  # an import of it is an error
        import weightscape
        assert weightscape.__file__.startswith({str(site)!r}), weightscape.__file__
        assert weightscape.__version__ == version("weightscape") != "unknown"
        told = metadata("weightscape")
        assert (told["License-Expression"], told["Requires-Python"]) == ("MIT", "<3.14,>=3.11")
        needs = [line for line in told.get_all("Requires-Dist") if "extra" not in line]
        assert all(">" in line for line in needs) and not any("snakemake" in n for n in needs)
        study = weightscape.open({str(study.folder)!r})
        model, dataset = study.populations[0]
        run = study.run(model, dataset, study.widths(model, dataset)[0], 0)
        print(len(study.runs), run.module().__class__.__name__)
        assert "torch" in sys.modules
    """
    found = subprocess.run(
        [str(python), "-P", "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert found == f"{len(study.runs)} Network\n"


def test_opening_a_study_does_not_import_torch(study):
    code = f"""
        import sys, weightscape
        study = weightscape.open({str(study.folder)!r})
        model, dataset = study.populations[0]
        study.runs, study.weights(model, dataset, study.widths(model, dataset)[0],
                                  study.layers(model, dataset)[0])
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_a_split_keeps_widths_balanced_and_equal_starts_together(study):
    runs = pd.DataFrame(
        [("dnn", "digits", width, seed, seed // 2) for width in ("4", "8") for seed in range(20)],
        columns=["model", "dataset", "width", "seed", "init_seed"],
    )
    other = weightscape.open(study.folder)
    other.runs = runs
    split = other.train_test_split(0.3, seed=1)
    assert (split[runs["width"] == "4"] == "test").sum() == 6
    assert (split[runs["width"] == "8"] == "test").sum() == 6
    assert split.groupby([runs["width"], runs["init_seed"]]).nunique().eq(1).all()
    assert split.equals(other.train_test_split(0.3, seed=1))
    assert not split.equals(other.train_test_split(0.3, seed=2))
