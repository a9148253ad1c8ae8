"""The paper's claims on planted populations: the effects, the adjustment and the verdicts."""

import itertools
import math
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from weightscape import heads
from weightscape.claims import judge, statements
from weightscape.claims.effects import Draws
from weightscape.claims.statements import (
    EFFECT_COLUMNS,
    VALUE_COLUMNS,
    WAY_COLUMNS,
    WIDTH_COLUMNS,
    Way,
)

LAYERS = ("fc1", "fc2", "fc3")
DRAWS = Draws(999)
STATISTICS = ("mean", "std", *heads.claims()["C3"].statistics, "initial_std")
ALPHA = 0.05
SMALLEST = 0.2
WAY = Way("test", "exclude")


class Tables(NamedTuple):
    """What the claims about one population are made from."""

    runs: pd.DataFrame
    statistics: pd.DataFrame
    strength: pd.DataFrame
    purity: pd.DataFrame
    similarity_purity: pd.DataFrame
    telemetry: pd.DataFrame
    reliability: pd.DataFrame


def measure(tables, way, draws):
    return statements.measure(tables.runs, tables._asdict(), way, draws, SMALLEST)


def plant(random, effect=None, widths=(5, 10, 20, 40), seeds=25, layers=LAYERS):
    """Tables of a population without effects, but for `effect`.

    effect(accuracy within the width, place of the width, noise) -> the std of every layer; accuracy
    rises with width by 3 of its standard deviations within a width.
    """
    step = np.repeat(np.arange(len(widths)), seeds)
    n = len(step)
    own = random.normal(size=n)
    accuracy = 50 + 3 * step + own
    runs = pd.DataFrame(
        {
            "model": "dnn",
            "dataset": "mnist",
            "width": np.repeat(widths, seeds).astype(str),
            "seed": np.tile(np.arange(seeds), len(widths)),
            "test_accuracy": accuracy,
            "train_accuracy": accuracy + random.normal(size=n),
        }
    )
    edges = np.quantile(accuracy, [0.25, 0.75])
    runs["group"] = np.select([accuracy < edges[0], accuracy > edges[1]], ["low", "high"], "mid")
    runs["other_group"] = runs["group"]
    by_layer, strengths = [], []
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        keys = runs[["model", "dataset", "width", "seed"]].assign(layer=layer)
        columns = {name: random.normal(size=n) for name in STATISTICS}
        if effect is not None:
            columns["std"] = effect(own, step, random.normal(size=n))
        by_layer.append(keys.assign(**columns))
        strengths.append(
            keys.assign(
                mean=random.normal(size=n),
                in_out_spearman=random.normal(size=n),
                target=following,
            )
        )
    purity = pd.DataFrame(
        [
            {
                "layer": layer,
                "embedding": embedding,
                "n": n,
                "purity": 0.5,
                "purity_low": 0.4,
                "purity_high": 0.6,
                "shuffled": 0.5,
                "p": 0.5,
                "p_less": 0.6,
                "shuffled_within_width": 0.5,
                "p_within_width": 0.5,
                "p_less_within_width": 0.6,
                "weights": weights,
                "groups": groups,
                "edges": edges,
                "widths": kept,
            }
            for layer in layers
            for embedding in ("quantiles", "padded", "width")
            for weights in ("final", "shuffled")
            for groups in ("all", "high")
            for edges, kept in itertools.product(heads.WAYS["edges"], heads.WAYS["widths"])
        ]
    )
    keys = runs[["model", "dataset", "width", "seed"]]
    telemetry = pd.concat(
        keys.assign(layer=layer, epoch=epoch, dead_units=random.uniform(size=n))
        for layer in layers[:-1]
        for epoch in (0, 1)
    )
    reliability = pd.DataFrame(
        [
            {"width": str(width), "runs": which, "reliability": 0.9}
            for width in widths
            for which in ("all", "converged")
        ]
    )
    alike = purity[(purity["embedding"] == "padded") & (purity["weights"] == "final")]
    alike = alike[alike["groups"] == "high"].reset_index(drop=True)
    tables = pd.concat(by_layer), pd.concat(strengths), purity, alike, telemetry, reliability
    return Tables(runs, *tables)


def verdicts(tables, draws=DRAWS):
    found = measure(tables, WAY, draws).effects
    judged = judge.judge(found, ALPHA, SMALLEST)
    return judged.set_index(["claim", "statistic", "layer"])


def of_std(tables):
    judged = verdicts(tables)
    return judged.loc[[("C1", "std", layer) for layer in LAYERS]]


# planted answers


def test_an_effect_of_width_alone_is_explained_by_width_where_runs_are_enough():
    effect = lambda own, step, noise: noise - 3 * step  # noqa: E731
    found = of_std(plant(np.random.default_rng(0), effect, seeds=250))
    assert set(found["verdict"]) == {"explained by width"}
    assert (found["negligible_p_adjusted"] < ALPHA).all()
    found = of_std(plant(np.random.default_rng(0), effect))
    assert set(found["verdict"]) == {"inconclusive"}
    assert (found["pooled"] < -0.8).all()
    assert (found["within_low"] < 0).all()
    assert (found["within_high"] > 0).all()


def test_an_effect_within_widths_is_supported():
    found = of_std(plant(np.random.default_rng(0), lambda own, step, noise: noise - own - step))
    assert set(found["verdict"]) == {"supported"}
    assert not found["sign_flip"].any()


def test_a_reversal_is_reversed():
    found = of_std(plant(np.random.default_rng(0), lambda own, step, noise: noise + own - 5 * step))
    assert set(found["verdict"]) == {"reversed within width"}
    assert found["sign_flip"].all()


def test_the_opposite_of_a_claim_is_contradicted():
    found = of_std(plant(np.random.default_rng(0), lambda own, step, noise: noise + own + step))
    assert set(found["verdict"]) == {"contradicted"}


def test_what_width_hides_is_masked():
    found = of_std(plant(np.random.default_rng(0), lambda own, step, noise: noise - own + 5 * step))
    assert set(found["verdict"]) == {"masked by width"}


def test_a_small_effect_is_called_small():
    effect = lambda own, step, noise: noise - 0.12 * own - step  # noqa: E731
    found = of_std(plant(np.random.default_rng(1), effect, seeds=400))
    assert set(found["verdict"]) == {"supported, but small"}


def test_nothing_in_many_runs_is_no_effect():
    found = of_std(plant(np.random.default_rng(0), lambda own, step, noise: noise, seeds=250))
    assert set(found["verdict"]) == {"no effect"}


def test_few_runs_are_too_few():
    effect = lambda own, step, noise: noise - own - step  # noqa: E731
    found = of_std(plant(np.random.default_rng(0), effect, widths=(5, 10), seeds=9))
    assert set(found["verdict"]) == {"too few runs"}
    found = of_std(plant(np.random.default_rng(0), effect, widths=(5, 10, 20, 40, 80, 90), seeds=3))
    assert set(found["verdict"]) == {"too few runs"}  # none of the widths has four
    found = of_std(plant(np.random.default_rng(0), effect, widths=(5, 10, 20, 40, 80, 90), seeds=5))
    assert "too few runs" not in set(found["verdict"])  # as of the paper's ViTs


def test_without_any_effect_a_study_seldom_has_a_verdict():
    """Of 20 studies of 39 statements without effects, though width moves accuracy, at most alpha
    have any verdict: 1 is expected, and more than 4 come in 1 of 380 tries.
    """
    false = 0
    for seed in range(20):
        judged = verdicts(plant(np.random.default_rng(seed)), Draws(999, seed))
        false += not set(judged["verdict"]) <= {*judge.UNDECIDED, *judge.NEGLIGIBLE}
    assert false <= 4


# each claim against scipy and loops


@pytest.fixture(scope="module")
def tables():
    return plant(np.random.default_rng(1), lambda own, step, noise: noise - own - step)


@pytest.fixture(scope="module")
def found(tables):
    return measure(tables, WAY, DRAWS)


def row(found, claim, statistic, layer):
    effects = found.effects.fillna({"layer": ""})
    (place,) = np.flatnonzero(
        (effects["claim"] == claim)
        & (effects["statistic"] == statistic)
        & (effects["layer"] == layer)
    )
    return effects.iloc[place]


def of_layer(table, layer, name):
    return table.loc[table["layer"] == layer, name].to_numpy(float)


@pytest.mark.parametrize(
    ("claim", "statistic", "table", "column"),
    [
        ("C1", "std", "statistics", "std"),
        ("C3", "excess_kurtosis", "statistics", "excess_kurtosis"),
        ("C4", "strength_mean", "strength", "mean"),
    ],
)
def test_a_correlation_is_scipy_s(tables, found, claim, statistic, table, column):
    accuracy = tables.runs["test_accuracy"].to_numpy()
    for layer in LAYERS:
        x = of_layer(getattr(tables, table), layer, column)
        told = row(found, claim, statistic, layer)
        assert told["pooled"] == pytest.approx(stats.spearmanr(x, accuracy).statistic)
        widths = tables.runs["width"].to_numpy()
        own = [
            stats.spearmanr(x[widths == w], accuracy[widths == w]).statistic
            for w in dict.fromkeys(widths)
        ]
        assert told["within"] == pytest.approx(np.mean(own))
        assert (told["n"], told["n_within"]) == (100, 100)
        assert told["n_per_width"] == "5:25 10:25 20:25 40:25"


def test_the_contrast_is_between_the_groups_high_and_low(tables, found):
    std, groups = of_layer(tables.statistics, "fc2", "std"), tables.runs["group"].to_numpy()
    pairs = np.sign(std[groups == "high"][:, None] - std[groups == "low"])
    told = row(found, "C1", "std", "fc2")
    assert told["delta"] == pytest.approx(pairs.mean())
    assert told["n_contrast"] == np.isin(groups, ["high", "low"]).sum()
    assert told["n_thirds"] == 4 * 2 * 8


def test_the_final_layer_is_compared_with_each_earlier_one(tables, found):
    accuracy = tables.runs["test_accuracy"].to_numpy()
    rho = {
        layer: stats.spearmanr(of_layer(tables.statistics, layer, "std"), accuracy).statistic
        for layer in LAYERS
    }
    for earlier in ("fc1", "fc2"):
        told = row(found, "C2", "std", f"fc3-{earlier}")
        assert told["pooled"] == pytest.approx(rho["fc3"] - rho[earlier])


def test_neighbouring_layers_strengths_are_correlated_over_runs(tables, found):
    x, y = (of_layer(tables.strength, layer, "mean") for layer in ("fc1", "fc2"))
    told = row(found, "C4", "strength_pair", "fc1-fc2")
    assert told["pooled"] == pytest.approx(stats.spearmanr(x, y).statistic)


def test_only_layers_that_another_reads_have_strength_in_against_out(found):
    layers = found.effects.loc[found.effects["statistic"] == "in_out_spearman", "layer"]
    assert layers.tolist() == ["fc1", "fc2"]


def test_scatter_is_lower_where_runs_cluster(tables):
    """The upper third of each width lies in a twentieth of the room of the others."""
    statistics = tables.statistics.copy()
    for width in set(tables.runs["width"]):
        accuracy = tables.runs.loc[tables.runs["width"] == width, "test_accuracy"]
        upper = set(tables.runs.loc[accuracy.nlargest(8).index, "seed"])
        tight = (statistics["width"] == width) & statistics["seed"].isin(upper)
        statistics.loc[tight, ["mean", "std"]] *= 0.05
    told = row(measure(tables._replace(statistics=statistics), WAY, DRAWS), "C1", "scatter", "fc1")
    assert told["within"] < -0.6
    assert told["within_p"] < 0.01
    loose = row(measure(tables, WAY, DRAWS), "C1", "scatter", "fc1")
    assert abs(loose["within"]) < 0.4


def test_purity_is_what_shuffles_leave(tables):
    purity = tables.purity.assign(
        purity=0.7,
        purity_low=0.65,
        purity_high=0.75,
        shuffled=0.4,
        p=0.001,
        p_less=1.0,
        shuffled_within_width=0.6,
        p_within_width=0.02,
        p_less_within_width=0.99,
    )
    told = row(measure(tables._replace(purity=purity), WAY, DRAWS), "C5", "purity_padded", "fc1")
    assert [told[name] for name in ("pooled", "pooled_low", "pooled_high")] == pytest.approx(
        [0.3, 0.25, 0.35]
    )
    assert told["pooled_p"] == pytest.approx(0.002)
    assert told["within"] == pytest.approx(0.1)
    assert told["within_p"] == pytest.approx(0.04)


def test_purity_below_the_shuffled_groups_is_as_sure(tables):
    purity = tables.purity.assign(purity=0.3, p=1.0, p_less=0.001)
    told = row(measure(tables._replace(purity=purity), WAY, DRAWS), "C5", "purity_padded", "fc1")
    assert told["pooled"] < 0
    assert told["pooled_p"] == pytest.approx(0.002)


def test_failures_of_the_smallest_width_support_c6(tables):
    runs = tables.runs.copy()
    runs.loc[runs.index[:6], "group"] = "non"  # width 5
    judged = judge.judge(measure(tables._replace(runs=runs), WAY, DRAWS).effects, ALPHA, SMALLEST)
    told = judged[judged["statistic"] == "width"].iloc[0]
    assert told["pooled"] == pytest.approx(-75 / 94)  # 94 others: 19 of width 5, 75 of more
    assert math.isnan(told["within"])
    assert told["verdict"] == "supported"


def test_without_failures_c6_has_too_few_runs(found):
    judged = judge.judge(found.effects, ALPHA, SMALLEST)
    assert set(judged.loc[judged["claim"] == "C6", "verdict"]) == {"too few runs"}


@pytest.mark.parametrize(("n", "verdict"), [(2, "too few runs"), (3, "supported")])
def test_a_side_of_two_runs_is_too_few(tables, n, verdict):
    runs = tables.runs.assign(width=np.where(np.arange(100) < n, "5", "40"))
    runs["group"] = np.where(np.arange(100) < n, "non", "high")
    draws = Draws(4999)
    effects = measure(tables._replace(runs=tables.runs.assign(group=runs["group"])), WAY, draws)
    judged = judge.judge(effects.effects.assign(pooled_p=1e-6), ALPHA, SMALLEST)
    assert judged.loc[judged["statistic"] == "width", "verdict"].tolist() == [verdict]
    assert set(judged.loc[judged["claim"] == "C6", "n_smaller"]) == {n}


def test_a_vit_s_strength_is_to_fall(tables):
    runs, statistics = (table.assign(model="vit") for table in (tables.runs, tables.statistics))
    told = measure(tables._replace(runs=runs, statistics=statistics), WAY, DRAWS).effects
    signs = told.loc[told["statistic"] == "strength_mean", "predicted"]
    assert set(signs) == {-1}


def test_a_run_without_a_number_is_left_out_of_that_statement_alone(tables):
    statistics = tables.statistics.copy()
    gone = (statistics["layer"] == "fc1") & (statistics["seed"] == 3)
    statistics.loc[gone, "std"] = np.nan
    told = measure(tables._replace(statistics=statistics), WAY, DRAWS)
    assert row(told, "C1", "std", "fc1")["n"] == 96
    assert row(told, "C1", "std", "fc2")["n"] == 100
    assert row(told, "C3", "excess_kurtosis", "fc1")["n"] == 100


def test_rows_go_with_their_runs_whatever_their_order(tables, found):
    shuffled = tables._replace(
        statistics=tables.statistics.sample(frac=1, random_state=0),
        strength=tables.strength,
    )
    layers = shuffled.statistics.copy()
    layers["layer"] = pd.Categorical(layers["layer"], LAYERS)
    shuffled = shuffled._replace(statistics=layers.sort_values("layer", kind="stable"))
    again = measure(shuffled, WAY, DRAWS)
    assert again.effects["pooled"].tolist() == pytest.approx(
        found.effects["pooled"].tolist(), nan_ok=True
    )


def test_the_tables_have_their_columns(found):
    assert tuple(found.effects.columns) == EFFECT_COLUMNS
    assert tuple(found.widths.columns) == WIDTH_COLUMNS
    assert tuple(found.values.columns) == VALUE_COLUMNS
    assert not found.effects.duplicated(["claim", "statistic", "layer"]).any()


def test_effects_of_widths_average_to_the_effect_within(found):
    told = found.widths[(found.widths["statistic"] == "std") & (found.widths["claim"] == "C1")]
    for layer, of in told.groupby("layer"):
        weights = (of["n"] - 1) * np.sqrt(of["reliability"])
        mean = np.average(of["effect"], weights=weights)
        assert mean == pytest.approx(row(found, "C1", "std", layer)["within"])


def test_c7_is_what_one_family_tells_of_another_on_the_same_images(found):
    pairs = [("dnn", "cnn"), ("dnn", "dnn"), ("cnn", "dnn")]
    transfer = pd.DataFrame(
        [
            {
                "trained_model": one,
                "trained_dataset": of,
                "model": other,
                "dataset": "mnist",
                "features": features,
                "learner": learner,
                "n": 100,
                "pooled": 0.5,
                "pooled_p": 0.001,
                "n_within": 100,
                "pooled_low": 0.4,
                "pooled_high": 0.6,
                "within": 0.1,
                "within_low": -0.1,
                "within_high": 0.3,
                "within_p": 0.4,
                "sign_flip": False,
            }
            for one, other in pairs
            for of in ("mnist", "fmnist")
            for features in ("width", "weights")
            for learner in ("linear", "boosting")
        ]
    )
    alike = pd.DataFrame(
        [
            {
                "reference_model": other,
                "reference_layer": other_layer,
                "model": one,
                "dataset": "mnist",
                "layer": layer,
                "is_last": (layer, other_layer) == ("b", "b"),
                "weights": weights,
                "within": 0.5 if (layer, other_layer) == ("b", "b") else 0.1,
                "within_low": -0.1,
                "within_high": 0.3,
            }
            for weights in ("final", "initial")
            for one, other in (("dnn", "cnn"), ("cnn", "dnn"))
            for layer, other_layer in itertools.product("ab", repeat=2)
        ]
    )
    across = {"transfer": transfer, "similarity_families": alike}
    told = statements.measure_across(across, SMALLEST)
    told, similar = told[:2], told[2:]
    assert set(similar["statistic"]) == {"similarity"}
    assert similar["layer"].tolist() == ["from cnn", "from dnn"]
    assert similar["within"].tolist() == [0.5, 0.5]  # of the last layers
    assert tuple(told.columns) == EFFECT_COLUMNS
    assert list(zip(told["model"], told["layer"], strict=True)) == [
        ("cnn", "from dnn"),
        ("dnn", "from cnn"),
    ]
    judged = judge.judge(pd.concat([found.effects, told]), ALPHA, SMALLEST)
    assert set(judged.loc[judged["claim"] == "C7", "verdict"]) == {"inconclusive"}
    # one-sided, of an interval of 0.1 -+ 0.2
    expected = stats.norm.cdf((0.1 - SMALLEST) / (0.4 / 2 / stats.norm.ppf(0.975)))
    assert told["negligible_p"].to_numpy() == pytest.approx(expected)


# other ways


def test_statements_are_judged_in_every_way_that_makes_another_of_them(tables):
    runs = tables.runs.copy()
    runs.loc[runs.index[:6], ["group", "other_group"]] = "non"
    tables = tables._replace(runs=runs)
    found = measure(tables, WAY, DRAWS).effects
    given = tables.runs, tables._asdict(), WAY, DRAWS, SMALLEST
    ways = statements.measure_ways(*given)
    assert tuple(ways.columns) == WAY_COLUMNS
    judged = judge.judge(found, ALPHA, SMALLEST)
    claims, multiverse = judge.judge_ways(judged, WAY._asdict(), ways, ALPHA, SMALLEST)
    assert tuple(claims.columns) == judge.COLUMNS
    assert tuple(multiverse.columns) == judge.WAY_COLUMNS
    n_ways = claims.groupby("claim")["ways"].unique().map(list).to_dict()
    # of C4 the pairs of high runs depend on edges
    n_c4 = claims[claims["claim"] == "C4"].groupby("statistic")["ways"].unique().map(list)
    assert n_c4.pop("strength_pair_high") == [16]
    assert set(map(tuple, n_c4)) == {(8,)}
    n_ways.pop("C4")
    assert n_ways == {"C1": [8], "C2": [8], "C3": [8], "C5": [4], "C6": [2]}
    std = multiverse[(multiverse["statistic"] == "std") & (multiverse["layer"] == "fc1")]
    own = claims[(claims["statistic"] == "std") & (claims["layer"] == "fc1")].iloc[0]
    assert own["ways_agree"] == (std["verdict"] == own["verdict"]).sum()
    # as a study that had chosen that way
    other = std[(std["split"] == "train") & (std["non"] == "include") & (std["widths"] != "all")]
    kept = (tables.runs["width"] != "5").to_numpy()
    x = of_layer(tables.statistics, "fc1", "std")[kept]
    y = tables.runs["train_accuracy"].to_numpy()[kept]
    assert other["pooled"].item() == pytest.approx(stats.spearmanr(x, y).statistic)
    assert other["n"].item() == 75


def test_other_edges_make_other_statements_of_groups(tables):
    """The pairs of runs that other edges call high, and the purity that was measured of these."""
    is_high = (tables.runs["test_accuracy"] > tables.runs["test_accuracy"].median()).to_numpy()
    runs = tables.runs.assign(other_group=np.where(is_high, "high", "mid"))
    is_other = tables.purity["edges"] == "other"
    purity = tables.purity.assign(purity=np.where(is_other, 0.8, 0.5), purity_low=0.4)
    given = tables._replace(purity=purity)._asdict()
    ways = statements.measure_ways(runs, given, WAY, DRAWS, SMALLEST)
    of_edges = ways[(ways["edges"] == "other") & (ways["widths"] == "all")]
    assert set(of_edges["claim"]) == {"C4", "C5"}
    pair = of_edges[(of_edges["split"] == "test") & (of_edges["layer"] == "fc1-fc2")].iloc[0]
    x, y = (of_layer(tables.strength, layer, "mean")[is_high] for layer in ("fc1", "fc2"))
    assert pair["n"] == is_high.sum() == 50
    assert pair["pooled"] == pytest.approx(stats.spearmanr(x, y).statistic)
    of_c5 = of_edges[(of_edges["statistic"] == "purity_padded") & (of_edges["layer"] == "fc1")]
    assert of_c5["pooled"].item() == pytest.approx(0.3)
    assert of_c5["n_smaller"].item() == 50


def test_without_other_edges_there_is_no_statement_of_them(tables):
    runs = tables.runs.assign(other_group="")
    of_set = tables.purity[tables.purity["edges"] == "as set"]
    given = tables._replace(purity=of_set, similarity_purity=tables.similarity_purity[:0])
    ways = statements.measure_ways(runs, given._asdict(), WAY, DRAWS, SMALLEST)
    assert set(ways["edges"]) == {"as set"}


def test_runs_that_did_not_converge_are_in_c6_alone(tables):
    runs = tables.runs.copy()
    runs.loc[runs.index[:6], ["group", "other_group"]] = "non"
    tables = tables._replace(runs=runs)
    found = measure(tables, WAY, DRAWS)
    assert row(found, "C1", "std", "fc1")["n"] == 94
    assert row(found, "C6", "initial_std", "fc1")["n"] == 100
    found = measure(tables, Way("test", "include"), DRAWS)
    assert row(found, "C1", "std", "fc1")["n"] == 100


def test_without_a_run_that_converged_statements_have_too_few_runs(tables):
    tables = tables._replace(runs=tables.runs.assign(group="non", other_group="non"))
    found = measure(tables, WAY, DRAWS)
    judged = judge.judge(found.effects, ALPHA, SMALLEST)
    assert set(judged.loc[judged["claim"] == "C1", "n"]) == {0}
    assert set(judged["verdict"]) == {"too few runs"}
    assert set(judged["claim"]) == {f"C{number}" for number in range(1, 7)}


def test_accuracies_that_are_unreliable_are_corrected_for(tables):
    own = tables.reliability.assign(reliability=0.25)
    found = [measure(t, WAY, DRAWS) for t in (tables, tables._replace(reliability=own))]
    plain, told = (row(one, "C1", "std", "fc1") for one in found)
    assert told["within"] == pytest.approx(plain["within"])  # all widths alike
    assert told["corrected"] == pytest.approx(max(-1, 2 * told["within"]))
    trained = row(measure(tables, Way("train", "exclude"), DRAWS), "C1", "std", "fc1")
    assert math.isnan(trained["corrected"])  # there are no predictions of training images


# adjustment


def test_p_is_adjusted_as_by_hand():
    p = np.array([0.01, 0.04, 0.03, 0.5, np.nan])
    # 4 tests: p n / rank, made monotone from the largest
    assert judge.adjust(p)[:4] == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert math.isnan(judge.adjust(p)[4])
    assert np.isnan(judge.adjust(np.full(3, np.nan))).all()


def test_verdicts_are_those_that_are_known(found):
    judged = judge.judge(found.effects, ALPHA, SMALLEST)
    assert set(judge.COLUMNS) - set(judged) == {"ways", "ways_agree"}
    assert set(judged["verdict"]) <= set(judge.VERDICTS)
    assert (judged["pooled_p_adjusted"] >= judged["pooled_p"] - 1e-12)[
        judged["pooled_p"].notna()
    ].all()
