"""A finished study's tables, published, are opened and judged without its weights."""

import pandas as pd
import pytest
import yaml

import weightscape
from weightscape.errors import WeightscapeError
from weightscape.publishing.data import publish
from weightscape.publishing.judging import check_effects, judge_all
from weightscape.storage.parquet import read_parquet, write_parquet


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


def test_effects_made_anew_are_those_published(published):
    assert all("as published" in sentence for sentence in check_effects(published))


def test_a_number_that_does_not_follow_is_found(published, finished_study, tmp_path):
    model, dataset = weightscape.open(finished_study.results).populations[0]
    config = published / "configs" / f"{model}-{dataset}.yaml"
    publish(finished_study.results, config, model, dataset, tmp_path)
    path = tmp_path / "tables" / "claim_effects" / f"{model}-{dataset}.parquet"
    table = read_parquet(path)
    write_parquet(table.assign(n=table["n"] + 1), path)
    with pytest.raises(WeightscapeError, match=f"claim_effects of {model}-{dataset} is not what"):
        list(check_effects(tmp_path))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightscapeError, match=rf"{path}.* is damaged.*take it again from where"):
        weightscape.open(tmp_path).table("claim_effects")


def test_weights_of_published_results_are_not_there(published):
    study = weightscape.open(published)
    assert (study.populations, study.widths("dnn", "digits")) == ([("dnn", "digits")], ["2", "8"])
    with pytest.raises(WeightscapeError, match="has tables alone; its configs train the same"):
        study.weights("dnn", "digits", 4, "fc1")


def test_a_study_that_is_not_finished_is_not_published(tmp_path):
    with pytest.raises(WeightscapeError, match="has no claims yet; run snakemake to its end"):
        publish(tmp_path, tmp_path / "config.yaml", "dnn", "digits", tmp_path / "published")
