"""Null effects on a planted population: what is seen, and what survives which null model."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from weightscape.claims.analyses import null_effects
from weightscape.claims.analyses.null_effects import COLUMNS, FEATURES, WEIGHTS
from weightscape.claims.effects import Draws
from weightscape.measures.runs.nulls import KINDS

pytestmark = pytest.mark.filterwarnings("error")

LAYERS = ("fc1", "fc2")
DRAWS = Draws(999)
WIDTHS, SEEDS = ("5", "20", "80"), 24
NAMES = [name for names in FEATURES.values() for name in names]
N = len(WIDTHS) * SEEDS


class Tables(NamedTuple):
    runs: pd.DataFrame
    statistics: pd.DataFrame
    strength: pd.DataFrame
    spectra: pd.DataFrame
    nulls: pd.DataFrame
    purity: pd.DataFrame


def measure(tables, *settings):
    layers = {name: getattr(tables, name) for name in ("statistics", "strength", "spectra")}
    of_one = null_effects.Tables(tables.runs, layers, tables.nulls, tables.purity)
    return null_effects.measure(of_one, *settings)


def plant(planted, seed=0, diverged=()):
    """Tables of noise, but for planted(accuracy within the width, place of the width, noise).

    It gives {kind of weights: {feature: values}} of fc1. Accuracy rises with width by 3 standard
    deviations within one. The rows `diverged` have no final weights of fc1, nor what is made of
    them.
    """
    random = np.random.default_rng(seed)
    step, own = np.repeat(np.arange(len(WIDTHS)), SEEDS), random.normal(size=N)
    runs = pd.DataFrame(
        {
            "model": "dnn",
            "dataset": "mnist",
            "width": np.repeat(WIDTHS, SEEDS),
            "seed": np.tile(np.arange(SEEDS), len(WIDTHS)),
            "group": "mid",
            "train_accuracy": random.normal(size=N),
            "test_accuracy": 50 + 3 * step + own,
        }
    )
    found = planted(own, step, random.normal(size=N))
    by_kind = {}
    for kind in WEIGHTS:
        parts = []
        for layer in LAYERS:
            columns = {name: random.normal(size=N) for name in NAMES}
            if layer == "fc1":
                columns |= found.get(kind, {})
            else:  # no layer reads the last one's nodes
                columns["strength_in_out_spearman"] = np.full(N, np.nan)
            part = pd.DataFrame(columns)
            if layer == "fc1" and kind != "initial":
                part.loc[list(diverged)] = np.nan
            parts.append(
                runs[["model", "dataset", "width", "seed", "group"]].assign(layer=layer).join(part)
            )
        # the tables' rows need not be in the order of the runs
        by_kind[kind] = pd.concat(parts).sample(frac=1, random_state=0)
    return Tables(runs, *_split(by_kind["final"]), _nulls(by_kind), _purity())


def _split(final):
    """The tables statistics, strength and spectra of the final weights."""
    keys = ["model", "dataset", "width", "seed", "group", "layer"]
    own, strength, spectra = (
        [name for figure in figures for name in FEATURES[figure]]
        for figures in (("2-4", "5-7"), ("8-10",), ("spectra",))
    )
    of_nodes = final[[*keys, *strength]].rename(columns=lambda name: name.replace("strength_", ""))
    of_nodes["target"] = of_nodes["layer"].map(dict(pairwise(LAYERS)))
    return final[[*keys, *own]], of_nodes, final[[*keys, *spectra]]


def _nulls(by_kind):
    return pd.concat([by_kind[kind].assign(weights=kind) for kind in KINDS])


def _purity():
    """Groups are purer than shuffled ones by final and shuffled weights, within widths by final."""
    rows = [
        {
            "model": "dnn",
            "dataset": "mnist",
            "layer": layer,
            "embedding": embedding,
            "width": width,
            "groups": "all",
            "weights": kind,
            "n": N,
            "neighbours": 10,
            "purity": 0.7,
            "purity_low": 0.65,
            "purity_high": 0.75,
            "shuffled": 0.4,
            "p": 0.001 if kind in ("final", "shuffled") else 0.3,
            "shuffled_within_width": 0.6,
            "p_less": 1.0,
            "p_within_width": 0.001 if kind == "final" else 0.4,
            "p_less_within_width": 1.0,
        }
        for layer in LAYERS
        for embedding, width in (("width", "5"), ("padded", "all"))
        for kind in WEIGHTS
    ]
    final_only = [row | {"embedding": "quantiles", "purity": 0.9} for row in rows[:1]]
    return pd.DataFrame(rows + final_only)


def several(own, step, noise):
    """std is kept by shuffled and Gaussian weights, gini by none, and so on."""
    spread, strong = own + 0.3 * noise, own - 0.3 * noise
    return {
        "final": {
            "std": -spread,
            "strength_gini": strong,
            "stable_rank": 9.0 * step + noise,
            "near_zero_share": spread,
        },
        "shuffled": {"std": -spread, "stable_rank": 9.0 * step + noise, "near_zero_share": spread},
        "gaussian": {"std": -spread + 1e-3 * noise},
        # the other way round before training
        "initial": {"near_zero_share": -spread},
    }


@pytest.fixture(scope="module")
def tables():
    return plant(several, diverged=(3, 30))


@pytest.fixture(scope="module")
def found(tables):
    return measure(tables, "test", 0.05, DRAWS)


def row(found, feature, weights, layer="fc1"):
    is_it = (found["feature"] == feature) & (found["weights"] == weights)
    (index,) = found.index[is_it & (found["layer"] == layer)]
    return found.loc[index]


def test_a_row_per_feature_layer_and_kind_of_weights(found):
    assert tuple(found.columns) == COLUMNS
    assert set(found["model"]) == {"dnn"}
    for layer in LAYERS:
        of_layer = found[found["layer"] == layer]
        expected = [*NAMES, "purity"]
        if layer == "fc2":  # all NaN
            expected.remove("strength_in_out_spearman")
        assert list(dict.fromkeys(of_layer["feature"])) == expected
        assert len(of_layer) == 4 * len(expected)
    pair = found[found["layer"] == "fc1-fc2"]
    assert pair["weights"].tolist() == list(WEIGHTS)
    assert set(pair["feature"]) == {"strength_pair"}
    figures = found.drop_duplicates("feature").set_index("feature")["figure"]
    assert figures[["std", "excess_kurtosis", "strength_pair"]].tolist() == ["2-4", "5-7", "8-10"]
    assert figures[["purity", "stable_rank"]].tolist() == ["11-13", "spectra"]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("feature", ["std", "strength_gini", "stable_rank"])
def test_effects_are_scipy_s_rank_correlations(feature, weights, tables, found):
    name, table = feature, tables.nulls[tables.nulls["weights"] == weights]
    if weights == "final":
        table = {
            "std": tables.statistics,
            "strength_gini": tables.strength,
            "stable_rank": tables.spectra,
        }[feature]
        name = feature.replace("strength_", "")
    values = tables.runs.merge(table[table["layer"] == "fc1"], on=["width", "seed"])
    values = values.dropna(subset=name)
    told = row(found, feature, weights)
    assert told["n"] == told["n_within"] == len(values) == (N if weights == "initial" else N - 2)
    pooled = stats.spearmanr(values[name], values["test_accuracy"]).statistic
    assert told["pooled"] == pytest.approx(pooled, abs=1e-12)
    by_width = [own for _, own in values.groupby("width")]
    own = [stats.spearmanr(of[name], of["test_accuracy"]).statistic for of in by_width]
    within = np.average(own, weights=[len(of) - 1 for of in by_width])
    assert told["within"] == pytest.approx(within, abs=1e-12)


def test_neighbouring_strengths_are_compared_with_each_other(tables, found):
    strengths = tables.strength.pivot(index=["width", "seed"], columns="layer", values="mean")
    strengths = strengths.dropna()
    expected = stats.spearmanr(strengths["fc1"], strengths["fc2"]).statistic
    told = row(found, "strength_pair", "final", "fc1-fc2")
    assert told["pooled"] == pytest.approx(expected, abs=1e-12)
    assert told["n"] == N - 2


def test_p_is_adjusted_over_all_rows(found):
    for kind in ("pooled", "within"):
        p = found[f"{kind}_p"]
        expected = stats.false_discovery_control(p.dropna())
        np.testing.assert_allclose(found[f"{kind}_p_adjusted"].dropna(), expected)


SURVIVAL = {
    # feature: (pooled, within) of initial, shuffled, gaussian
    "std": [(False, False), (True, True), (True, True)],
    "strength_gini": [(False, False)] * 3,
    "near_zero_share": [(False, False), (True, True), (False, False)],
    "stable_rank": [(False, None), (True, None), (False, None)],
    "purity": [(False, False), (True, False), (False, False)],
    "mean": [(None, None)] * 3,
}


@pytest.mark.parametrize("feature", SURVIVAL)
def test_what_survives_is_what_was_planted(feature, found):
    told = [row(found, feature, kind)[["survives", "survives_within"]].tolist() for kind in KINDS]
    assert [tuple(None if pd.isna(v) else v for v in pair) for pair in told] == SURVIVAL[feature]
    final = row(found, feature, "final")
    assert final[["survives", "survives_within"]].isna().all()


def test_the_other_way_round_is_no_survival(found):
    told = row(found, "near_zero_share", "initial")
    assert told["within"] < 0 < row(found, "near_zero_share", "final")["within"]
    assert told["within_p_adjusted"] < 0.05
    assert not told["survives_within"]


def test_differences_are_run_by_run(tables, found):
    final = tables.statistics.set_index(["layer", "width", "seed"])["std"]
    for kind in KINDS:
        null = tables.nulls[tables.nulls["weights"] == kind]
        null = null.set_index(["layer", "width", "seed"])["std"]
        less = [
            final[key] - null[key]
            for key in final.index
            if key[0] == "fc1" and np.isfinite(final[key] - null[key])
        ]
        told = row(found, "std", kind)
        assert told["n_pairs"] == len(less) == N - 2
        assert told["median_difference"] == pytest.approx(np.median(less), abs=1e-12)
        assert told["share_larger"] == pytest.approx(sum(d > 0 for d in less) / len(less))
    assert row(found, "std", "shuffled")["median_difference"] == 0
    assert pd.isna(row(found, "std", "final")["n_pairs"])


def test_purity_is_that_of_places_over_all_widths_less_its_shuffles(found):
    told = row(found, "purity", "final")
    assert told[["pooled", "pooled_low", "pooled_high"]].tolist() == pytest.approx(
        [0.3, 0.25, 0.35]
    )
    assert told[["within", "within_low", "within_high"]].tolist() == pytest.approx(
        [0.1, 0.05, 0.15]
    )
    assert told["pooled_p"] == pytest.approx(0.002)  # two-sided


def test_with_one_width_within_is_what_is_over_all(tables):
    def of_width(table):
        return table[table["width"].isin(["5", "all"])]

    purity = tables.purity[tables.purity["embedding"] == "width"]
    purity = purity.assign(shuffled_within_width=np.nan, p_within_width=np.nan)
    alone = Tables(*(of_width(table) for table in tables[:-1]), purity)
    told = row(measure(alone, "test", 0.05, DRAWS), "purity", "final")
    assert told["within"] == told["pooled"] == pytest.approx(0.3)


def test_accuracy_is_that_of_the_split(tables):
    # train accuracy is noise
    found = measure(tables, "train", 0.05, DRAWS)
    std = row(found, "std", "final")
    assert abs(std["within"]) < 0.35
    assert row(found, "std", "shuffled")[["survives", "survives_within"]].isna().all()


def test_a_population_without_an_effect_has_nothing_that_survives():
    # 3 populations of 25 features of final weights, pooled and within; adjusted at 0.05, the chance
    # of any in a population is at most twice that: of two populations, 0.03
    tables = [plant(lambda own, step, noise: {}, seed) for seed in range(1, 4)]
    of_noise = [t._replace(purity=t.purity.assign(p=0.5, p_within_width=0.5)) for t in tables]
    found = [measure(t, "train", 0.05, DRAWS) for t in of_noise]
    seen = sum(table[["survives", "survives_within"]].notna().any(axis=None) for table in found)
    assert seen <= 1


def test_a_diverged_population_has_rows_and_no_effects(tables):
    def spoil(table):
        numbers = table.select_dtypes("float").columns
        return table.assign(**dict.fromkeys(numbers, np.nan))

    spoiled = Tables(tables.runs, *map(spoil, tables[1:-1]), tables.purity[:0])
    found = measure(spoiled, "test", 0.05, DRAWS)
    assert found["feature"].tolist() == ["strength_pair"] * 4
    assert found[["pooled", "within", "pooled_p_adjusted", "survives"]].isna().all(axis=None)


@pytest.mark.parametrize("n", [1, 2])
def test_a_handful_of_runs_has_rows_without_effects(tables, n):
    few = tables.runs[:n]
    keys = few[["width", "seed"]]
    of_few = [table.merge(keys, on=["width", "seed"]) for table in tables[1:-1]]
    found = measure(Tables(few, *of_few, tables.purity[:0]), "test", 0.05, DRAWS)
    assert {"std", "stable_rank", "strength_pair"} <= set(found["feature"])
    assert found[["within", "survives", "survives_within"]].isna().all(axis=None)
