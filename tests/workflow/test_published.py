"""A study's tables, published, are opened and judged without its weights, and made again."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

import weightscape
from originals import ORIGINALS, needs_originals
from project import Project
from weightscape.engine.devices import software
from weightscape.errors import WeightscapeError
from weightscape.publishing import figures
from weightscape.publishing.data import (
    densities_file,
    fingerprint_of,
    publish,
    read_configs,
    studies,
)
from weightscape.publishing.figures import draw_figures
from weightscape.publishing.judging import check_effects, judge_all
from weightscape.storage.densities import open_densities
from weightscape.storage.hdf5 import write_file
from weightscape.storage.images import open_dataset
from weightscape.storage.parquet import read_parquet, write_parquet
from weightscape.storage.shards import CURVES
from weightscape.storage.unfinished import UNCOUNTED


@pytest.fixture(scope="module")
def published(finished_study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    config = folder / "study.yaml"
    config.write_text(yaml.safe_dump(finished_study.study))
    for model, dataset in weightscape.open(finished_study.results).populations:
        publish(finished_study.results, config, model, dataset, folder)
    judge_all(folder)
    return folder


def test_its_tables_are_those_of_the_study(published, finished_study):
    study, own = weightscape.open(finished_study.results), weightscape.open(published)
    both = set(study.tables) & set(own.tables)
    assert {"runs", "statistics", "strength", "spectra", "claims", "answers"} <= both
    for name in both:
        there, here = (of.table(name).drop(columns="shard", errors="ignore") for of in (study, own))
        pd.testing.assert_frame_equal(here, there, check_dtype=False, rtol=1e-7)
    assert len(own.table("convergence")) > len(own.runs)


def test_its_networks_are_those_of_the_shards(published, finished_study):
    study = weightscape.open(finished_study.results)
    for row in weightscape.open(published).table("networks").to_dict("records"):
        run = study.run(row["model"], row["dataset"], row["width"], row["seed"])
        assert run.predictions.tobytes() == row["classes"]


def test_its_figures_are_drawn_of_what_is_published(published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "published")
    assert draw_figures(folder, "dnn") == []
    names = {path.name for path in (folder / "figures").iterdir()}
    of_model = {f"{name}-dnn.png" for name in ("density", "projection", "statistics", "strength")}
    assert names == {"convergence.png"} | of_model
    densities_file(folder, "dnn", "digits").unlink()
    before = (folder / "figures" / "density-dnn.png").read_bytes()
    assert draw_figures(folder, "dnn") == ["density-dnn.png"]
    assert (folder / "figures" / "density-dnn.png").read_bytes() == before


def test_densities_that_are_there_are_drawn_where_others_are_not(published, tmp_path, monkeypatch):
    folder = shutil.copytree(published, tmp_path / "published")
    (config,) = read_configs(folder).values()
    keys = [("dnn", "digits"), ("dnn", "mnist")]
    monkeypatch.setattr(figures, "read_configs", lambda _: dict.fromkeys(keys, config))
    monkeypatch.setattr(figures, "paper_figures", lambda: ["density"])
    (folder / "figures").mkdir(exist_ok=True)
    for name in ("density-dnn-digits", "density-dnn-mnist-fmnist", "density-cnn-digits"):
        (folder / "figures" / f"{name}.png").touch()
    assert draw_figures(folder, "dnn") == ["density-dnn.png"]
    drawn = folder / "figures" / "density-dnn-digits.png"
    assert drawn.stat().st_size > 5000
    assert len([*drawn.parent.iterdir()]) == 3
    monkeypatch.setattr(figures, "read_configs", lambda _: {("dnn", "digits"): config})
    assert draw_figures(folder, "dnn") == []
    left = {path.stem for path in drawn.parent.iterdir()}  # a part of what is drawn whole is gone
    assert left == {"density-dnn", "density-dnn-mnist-fmnist", "density-cnn-digits"}


def test_densities_of_another_population_are_not_drawn(published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "published")
    path = densities_file(folder, "dnn", "digits")
    with open_densities(path) as file:
        attributes = dict(file.attrs) | {"model": "vit"}
    with write_file(path, attributes):
        pass
    with pytest.raises(WeightscapeError, match=r"dnn-digits\.h5 has the densities of vit"):
        draw_figures(folder, "dnn")


def test_effects_made_anew_are_those_published(published):
    assert all("as published" in sentence for sentence in check_effects(published))


def test_a_number_that_does_not_follow_is_found(published, finished_study, tmp_path):
    model, dataset = weightscape.open(finished_study.results).populations[0]
    config = published / "configs" / f"{model}-{dataset}.yaml"
    publish(finished_study.results, config, model, dataset, tmp_path)
    path = tmp_path / "tables" / "claim_effects" / f"{model}-{dataset}.parquet"
    table = read_parquet(path)
    write_parquet(table.assign(n=table["n"] + 1), path)
    with pytest.raises(WeightscapeError, match=rf"claim_effects of \S+/{model}-{dataset} is"):
        list(check_effects(tmp_path))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightscapeError, match=rf"{path}.* is damaged.*take it again from where"):
        weightscape.open(tmp_path).table("claim_effects")


def test_a_table_of_another_population_is_refused(published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "published")
    (path,) = (folder / "tables" / "spectra").glob("*.parquet")
    shutil.copy(path, path.with_name("dnn-mnist.parquet"))
    with pytest.raises(WeightscapeError, match=r"dnn-mnist\.parquet .* it is of dnn-digits"):
        weightscape.open(folder).table("spectra")


@pytest.mark.parametrize("key", ["epochs", "seeds"])
def test_a_config_of_other_runs_is_refused(finished_study, tmp_path, key):
    study = yaml.safe_load(yaml.safe_dump(finished_study.study))
    part = study["training"] if key == "epochs" else study["populations"][0]
    part[key] += 1
    config = tmp_path / "other.yaml"
    config.write_text(yaml.safe_dump(study))
    with pytest.raises(WeightscapeError, match=f"{config} does not train the runs of dnn on"):
        publish(finished_study.results, config, "dnn", "digits", tmp_path / "published")
    assert not (tmp_path / "published").exists()


def test_a_table_that_has_no_rows_any_more_is_gone(published, finished_study, tmp_path):
    folder = shutil.copytree(published, tmp_path / "published")
    config = folder / "configs" / "dnn-digits.yaml"
    stale = folder / "tables" / "purity" / "dnn-digits.parquet"
    assert not stale.exists()
    write_parquet(weightscape.open(published).table("spectra"), stale)
    publish(finished_study.results, config, "dnn", "digits", folder)
    assert "purity" not in weightscape.open(folder).tables
    assert [*stale.parent.rglob("*.parquet")] == []


def test_weights_of_published_results_are_not_there(published):
    study = weightscape.open(published)
    assert (study.populations, study.widths("dnn", "digits")) == ([("dnn", "digits")], ["2", "8"])
    with pytest.raises(WeightscapeError, match="has tables alone; its configs train the same"):
        study.weights("dnn", "digits", 4, "fc1")


def test_a_study_that_is_not_finished_is_not_published(tmp_path):
    with pytest.raises(WeightscapeError, match="has no claims yet; run snakemake to its end"):
        publish(tmp_path, tmp_path / "config.yaml", "dnn", "digits", tmp_path / "published")


@pytest.fixture
def prepared(once, tmp_path):
    """`prepared(study)`: a project that has the images of its first population already."""

    def get(study):
        dataset = study["populations"][0]["dataset"]

        def make(folder):
            Project.create(folder, study).succeed(f"results/datasets/{dataset}.h5")

        return Project(once(f"prepared-{dataset}", make), study).copy(tmp_path / "project")

    return get


@needs_originals
@pytest.mark.parametrize(
    ("folder", "model", "dataset"),
    [(folder, *key) for folder in studies() for key in read_configs(folder)],
)
def test_a_published_config_makes_a_run_again_bit_for_bit(prepared, folder, model, dataset):
    """Of a ViT the first epoch alone, which takes half a minute: it has the same curves."""
    study = weightscape.open(folder)
    networks = study.table("networks")
    own = networks[(networks["model"] == model) & (networks["dataset"] == dataset)].iloc[0]
    made_by, here = json.loads(own["software"]), software(1, "torch" in own["software"])
    other = [key for key in made_by if key not in UNCOUNTED and made_by[key] != here.get(key)]
    if other:
        pytest.skip(f"this machine's {other[0]} is not that of the published runs")
    config = yaml.safe_load((folder / "configs" / f"{model}-{dataset}.yaml").read_text())
    config["populations"][0] |= {"widths": [own["width"]], "seeds": 1}
    if model == "vit":
        config["training"]["epochs"] = 1
    project = prepared(config | {"data_folder": ORIGINALS})
    shard = f"weights/{model}/{dataset}/width-{own['width']}/seeds-0000-0000.h5"
    project.succeed(f"results/{config['study']}/{shard}")
    if model == "vit":
        keys = ["model", "dataset", "width", "seed", "epoch"]
        told = study.table("convergence").set_index(keys).sort_index()
        curves = weightscape.open(project.results).run(model, dataset, own["width"], 0).curves
        for epoch, *found in curves[[*CURVES]].itertuples(name=None):
            expected = told.loc[(model, dataset, own["width"], 0, epoch), [*CURVES]]
            assert found == pytest.approx(expected.tolist(), rel=1e-6)
        return
    assert fingerprint_of(project.results / shard, 0) == own["weights_sha256"]
    with open_dataset(project.folder / f"results/datasets/{dataset}.h5") as images:
        is_right = images["test/labels"][()] == np.frombuffer(own["classes"], np.uint8)
    runs = study.runs.set_index(["model", "dataset", "width", "seed"])
    told = runs.loc[(model, dataset, own["width"], 0), "test_accuracy"]
    assert 100 * is_right.mean() == pytest.approx(told, abs=1e-4)
