"""The published results say what their tables say."""

import shutil

import pandas as pd
import pytest
from scipy import stats

import weightscape
from project import ROOT
from weightscape.errors import WeightscapeError
from weightscape.publishing import page
from weightscape.publishing.data import of_population, read_configs, studies
from weightscape.publishing.judging import judge_all
from weightscape.storage.seals import FOLDER

RESULTS = ROOT / "docs" / "results"
POPULATIONS = [(folder, *key) for folder in studies() for key in read_configs(folder)]


@pytest.fixture(scope="module")
def study():
    return weightscape.open(RESULTS)


def test_every_table_has_its_seal_and_no_seal_is_left_over():
    tables = {path for path in RESULTS.rglob("*.parquet") if FOLDER not in path.parts}
    seals = {path.parents[1] / path.name for path in RESULTS.rglob(f"{FOLDER}/*")}
    assert tables == seals
    assert len(tables) > 30
    assert sum(path.stat().st_size for path in tables) < 60e6


def test_what_compares_populations_is_made_of_all_that_are_published(study, tmp_path):
    """They may be of several studies, of which none has it."""
    folder = shutil.copytree(RESULTS, tmp_path / "results")
    (folder / "tables" / "transfer.parquet").unlink()
    judge_all(folder)
    keys = ["trained_model", "trained_dataset", "model", "dataset"]
    pairs = weightscape.open(folder).table("transfer")[keys].drop_duplicates()
    assert len(pairs) == len(read_configs(folder)) ** 2
    for name in ("transfer", "claims", "answers"):
        anew = weightscape.open(folder).table(name)
        pd.testing.assert_frame_equal(anew, study.table(name), check_dtype=False, rtol=1e-6)


@pytest.mark.parametrize(("folder", "model", "dataset"), POPULATIONS)
def test_an_effect_is_that_of_scipy(folder, model, dataset):
    study = weightscape.open(folder)
    runs, claims, statistics = map(study.table, ("runs", "claims", "statistics"))
    is_own = (claims["model"] == model) & (claims["dataset"] == dataset)
    own = claims[is_own & (claims["claim"] == "C1") & (claims["statistic"] == "std")]
    assert len(own) > 1
    for row in own.to_dict("records"):
        of_layer = statistics[statistics["layer"] == row["layer"]]
        both = runs.merge(of_layer, on=["model", "dataset", "width", "seed", "group"])
        both = both[(both["model"] == model) & (both["dataset"] == dataset)]
        both = both[both["group"] != "non"]
        found = stats.spearmanr(both["std"], both["test_accuracy"]).statistic
        assert (len(both), found) == (row["n"], pytest.approx(row["pooled"], abs=1e-6))


@pytest.mark.parametrize(("folder", "model", "dataset"), POPULATIONS)
def test_groups_are_those_of_the_runs(folder, model, dataset):
    study = weightscape.open(folder)
    runs, groups = study.runs, study.table("groups")
    runs = runs[(runs["model"] == model) & (runs["dataset"] == dataset)]
    groups = groups[(groups["model"] == model) & (groups["dataset"] == dataset)]
    assert groups["n"].sum() == len(runs)
    for row in groups[groups["n"] > 0].to_dict("records"):
        own = runs.loc[runs["group"] == row["group"], f"{row['split']}_accuracy"]
        assert (len(own), own.median()) == (row["n"], pytest.approx(row["median"], abs=1e-5))


@pytest.fixture(scope="module")
def within(study):
    """Effects with width held fixed: (claim, statistic, layer, dataset) -> value, low, high."""
    return effects_within(study)


def effects_within(study, model="dnn"):
    rows = study.table("claims").query("model == @model").to_dict("records")
    keys = ("claim", "statistic", "layer", "dataset")
    ends = ("within", "within_low", "within_high")
    return {tuple(row[key] for key in keys): tuple(row[end] for end in ends) for row in rows}


def test_numbers_in_the_text_are_those_of_the_tables(study):
    """Of what is written by hand; the rest of the page is made from the tables."""
    text = " ".join((RESULTS.parent / "results.md").read_text().partition("<!-- made")[0].split())
    runs = study.runs.query("model == 'dnn'")
    counts = runs.groupby(["dataset", "group"]).size()
    short = (
        f"In short, of {len(runs):,} DNNs on three datasets**, and of 30 ViTs (9) and 600 CNNs (10)"
    )
    assert short in text
    between = (
        f"{counts['fmnist', 'ungrouped']} of {counts['fmnist'].sum():,} end between its groups"
    )
    assert between in text
    assert counts["fmnist", "high"] == 2
    assert not {("mnist", "low"), ("mnist", "mid")} & set(counts.index)
    non = [int(counts[on, "non"]) for on in ("mnist", "fmnist", "cifar10")]
    assert non == [3, 1, 1]  # sentence 7
    of_cifar10 = runs.query("dataset == 'cifar10'")
    medians = of_cifar10.groupby("group")["train_accuracy"].median()
    best = of_cifar10["train_accuracy"].max()
    assert f"the best one learns {best:.1f} %. {counts['cifar10', 'mid']} of 300 are *mid*" in text
    assert f"({medians['mid']:.1f} % here" in text
    assert ("cifar10", "high") not in counts.index


def test_sentences_say_what_the_effects_are(within):
    """Those on networks of one width, by their 95 % intervals."""
    on_each = ("mnist", "fmnist")
    # 2: a low sigma of fc1 on MNIST alone, the reverse in later layers
    assert within["C1", "std", "fc1", "mnist"][2] < 0 < within["C1", "std", "fc1", "fmnist"][2]
    assert all(within["C1", "std", layer, on][1] > 0 for layer in ("fc2", "fc3") for on in on_each)
    for on in on_each:
        # 4: density at zero
        assert abs(within["C3", "density_at_zero", "fc1", on][0]) < 0.2
        assert all(within["C3", "density_at_zero", n, on][2] < 0 for n in ("fc2", "fc3"))
        # 5: node strengths
        assert all(within["C4", "strength_mean", n, on][1] > 0 for n in ("fc2", "fc3"))
        assert within["C4", "strength_pair", "fc2-fc3", on][1] > 0
    assert within["C4", "strength_pair", "fc1-fc2", "mnist"][2] < 0
    assert within["C4", "strength_pair", "fc1-fc2", "fmnist"][1] > 0


def test_sentences_say_what_the_effects_are_on_cifar10(study, within):
    """Those of 1 to 5 that are of CIFAR-10 alone."""

    def on_cifar10(*key):
        return within[(*key, "cifar10")]

    claims = study.table("claims").query("dataset == 'cifar10'")
    pooled = claims.set_index(["statistic", "layer"])
    assert all(pooled.loc[("std", layer), "pooled_high"] < 0 for layer in ("fc1", "fc2", "fc3"))
    assert all(pooled.loc[("strength_mean", layer), "pooled_low"] > 0 for layer in ("fc2", "fc3"))
    assert all(on_cifar10("C1", "std", layer)[1] > 0.3 for layer in ("fc1", "fc2"))
    assert on_cifar10("C1", "std", "fc3") == pytest.approx((-0.19, -0.33, -0.06), abs=0.005)
    assert all(on_cifar10("C2", "std", f"fc3-{layer}")[2] < -0.5 for layer in ("fc1", "fc2"))
    for layer in ("fc1", "fc2"):
        assert on_cifar10("C3", "density_at_zero", layer)[2] < 0
        assert on_cifar10("C4", "strength_mean", layer)[1] > 0
    assert on_cifar10("C4", "strength_pair", "fc1-fc2")[1] > 0
    assert pooled.loc[("std", "fc3"), ["ways_agree", "ways"]].tolist() == [1, 8]
    undecided = {("strength_mean", "fc3"), ("strength_pair", "fc2-fc3"), ("density_at_zero", "fc3")}
    assert all(pooled.loc[key, "verdict"] == "inconclusive" for key in undecided)


def test_the_sentence_on_vits_says_what_the_tables_do(study):
    vits = of_population(study.runs, "vit", "mnist")
    assert (len(vits), set(vits["group"])) == (30, {"high"})
    claims = study.table("claims").query("dataset == 'mnist'")
    own = claims[(claims["model"] == "vit") & (claims["claim"] != "C7")]
    decided = own[~own["verdict"].isin(["inconclusive", "too few runs"])]
    assert set(decided["statistic"]) == {"strength_pair", "strength_pair_high"}
    assert set(decided["layer"]) == {"mlp1-mlp2", "value-attention_out"}
    assert set(decided["verdict"]) == {"supported"}
    transfer = claims[claims["claim"] == "C7"].set_index(["model", "layer"])["verdict"]
    assert transfer["dnn", "from vit"] == "supported, but small"
    assert transfer["vit", "from dnn"] == "inconclusive"


def test_the_sentence_on_cnns_says_what_the_tables_do(study):
    on_each = ("mnist", "fmnist")
    cnns = study.runs.query("model == 'cnn'")
    non = cnns[cnns["group"] == "non"]
    assert (len(cnns), len(non), set(non["width"])) == (600, 22, {"1", "2", "3", "4"})
    assert set(cnns.loc[cnns["dataset"] == "fmnist", "group"]) == {"non", "low", "mid", "ungrouped"}
    own = of_population(study.runs, "cnn", "mnist")
    assert (len(own), (own["group"] == "ungrouped").sum()) == (300, 85)
    medians = own.groupby("group")["train_accuracy"].median()
    paper = {"low": 93.77, "mid": 97.68, "high": 99.87}
    assert all(abs(medians[group] - median) < 1 for group, median in paper.items())
    within = effects_within(study, "cnn")
    for on in on_each:
        for layer in ("conv1", "fc"):
            assert within["C1", "std", layer, on][1] > 0
            assert within["C3", "density_at_zero", layer, on][2] < 0
            assert within["C4", "strength_mean", layer, on][1] > 0
        assert within["C4", "strength_pair", "conv1-fc", on][1] > 0
    assert within["C2", "std", "fc-conv1", "mnist"][2] < 0
    assert within["C4", "in_out_spearman", "conv1", "mnist"][2] < 0
    claims = study.table("claims").query("model == 'cnn' and claim == 'C5' and dataset == 'mnist'")
    assert set(claims["verdict"]) <= {"explained by width", "no effect", "inconclusive"}
    taught = {on: within["C7", "transfer", "from dnn", on] for on in on_each}
    assert taught["mnist"] == pytest.approx((0.50, 0.42, 0.61), abs=0.005)
    assert taught["fmnist"] == pytest.approx((0.20, 0.08, 0.32), abs=0.005)
    c7 = study.table("claims").query("claim == 'C7'").set_index(["model", "dataset", "layer"])
    for key in (
        ("dnn", "mnist", "from cnn"),
        ("dnn", "fmnist", "from cnn"),
        ("cnn", "mnist", "from vit"),
    ):
        assert c7.loc[key, "verdict"] == "no effect"


def test_sentences_on_initial_weights_say_what_the_effects_are(study, within):
    """Sentence 8, and the paragraph below it."""
    starts = {folder.name: weightscape.open(folder) for folder in studies()[1:]}
    assert [*starts] == ["std-0.01", "std-1", "uniform"]
    counts = {}
    for name, of in starts.items():
        for dataset in ("mnist", "fmnist"):
            groups = of_population(of.runs, "dnn", dataset)["group"].value_counts()
            assert groups.sum() == 400
            counts[name, dataset] = [groups.get(group) for group in ("low", "mid")]
    assert (counts["std-1", "mnist"], counts["std-0.01", "mnist"]) == ([11, 24], [2, 2])
    assert (counts["std-1", "fmnist"][0], counts["std-0.01", "fmnist"][0]) == (202, 6)
    by_start = {name: effects_within(of) for name, of in starts.items()}
    for dataset in ("mnist", "fmnist"):
        std = {name: of["C1", "std", "fc3", dataset] for name, of in by_start.items()}
        assert std["std-1"][2] < 0 < min(std["std-0.01"][2], std["uniform"][2])
        assert by_start["std-1"]["C2", "std", "fc3-fc1", dataset][2] < 0
        for layer in ("fc2", "fc3"):
            assert by_start["std-1"]["C4", "strength_mean", layer, dataset][2] < 0
    for name in ("std-0.01", "uniform"):
        answers = starts[name].table("answers").query("dataset != 'all'").groupby("claim")["answer"]
        assert set(answers.get_group("C3")) <= {"does not hold", "fails in part"}
        assert set(answers.get_group("C1")) <= {"mixed", "fails in part"}


def test_studies_that_can_t_be_told_apart_by_initial_weights_are_refused(monkeypatch):
    monkeypatch.setattr(page, "studies", lambda: [RESULTS, RESULTS])
    with pytest.raises(
        WeightscapeError, match=r"the same initial weights, of normal, σ 0\.05; keep"
    ):
        page.results()


def test_a_study_of_unlike_initial_weights_is_refused():
    configs = {}
    for number, folder in enumerate(studies()):
        configs["dnn", str(number)] = read_configs(folder)["dnn", "mnist"]
    with pytest.raises(
        WeightscapeError, match=r"unlike initial weights \(normal, σ 0\.01, normal,"
    ):
        page._start(configs)
