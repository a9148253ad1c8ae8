"""The scorecard and the figures of claims: what they tell of the table of judged claims."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.legend import Legend
from scipy import stats

from browsing import browse, needs_chromium
from drawings import dots_beyond, legend_of
from test_statements import ALPHA, DRAWS, SMALLEST, WAY, measure, plant
from weightscape.claims import judge, statements
from weightscape.claims.answers import ANSWERS, answer
from weightscape.claims.families import compare
from weightscape.claims.scorecard import COLOURS, MEANINGS, SIGNS, render, statistic_name
from weightscape.drawing import style
from weightscape.figures import draw as draw_figure
from weightscape.storage.tables import write_table


@pytest.fixture(scope="module")
def planted():
    """A DNN on MNIST whose std is width's alone, and a CNN whose std goes with accuracy."""
    random = np.random.default_rng(0)
    dnn = plant(random, lambda own, step, noise: noise - 3 * step)
    cnn = plant(random, lambda own, step, noise: noise - own - step, layers=("conv1", "fc"))
    cnn = cnn._replace(runs=cnn.runs.assign(model="cnn"))
    cnn = cnn._replace(statistics=cnn.statistics.assign(model="cnn"))
    return [(tables, measure(tables, WAY, DRAWS)) for tables in (dnn, cnn)]


@pytest.fixture(scope="module")
def judged(planted):
    effects = pd.concat([found.effects for _, found in planted], ignore_index=True)
    claims = judge.judge(effects, ALPHA, SMALLEST)
    few = DRAWS._replace(permutations=99)
    ways = [
        statements.measure_ways(tables.runs, tables._asdict(), WAY, few, SMALLEST)
        for tables, _ in planted
    ]
    return judge.judge_ways(claims, WAY._asdict(), pd.concat(ways), ALPHA, SMALLEST)[0]


@pytest.fixture(scope="module")
def page(judged, planted):
    tables = [tables for tables, _ in planted]
    reliability = [
        of.reliability.assign(model=of.runs["model"].iloc[0], dataset="mnist") for of in tables
    ]
    shown = {
        "claims": judged,
        "families": compare(judged, ALPHA, SMALLEST),
        "answers": answer(judged, SMALLEST),
    }
    return render(shown, pd.concat(reliability), "<mine>", ALPHA)


def test_every_statement_and_verdict_has_its_words(judged):
    for claim, statistic in set(zip(judged["claim"], judged["statistic"], strict=True)):
        assert statistic_name(claim, statistic)
    assert set(SIGNS) == set(COLOURS) == set(MEANINGS) == set(judge.VERDICTS)


def test_the_card_counts_the_verdicts(page, judged):
    for verdict, count in judged["verdict"].value_counts().items():
        assert f"{count} {verdict}" in page
    assert f"{len(judged)} statements" in page
    card = page.split("<tbody>")[2]
    assert card.count('title="') == len(judged)


def test_the_page_begins_with_an_answer_on_each_claim(page, judged):
    first = page.split("</table>")[0]
    told = re.findall(r'title="([^"]*)">([^<]*)</b> <small>\((\d+), (\d+), (\d+)\)', first)
    found = answer(judged, SMALLEST)
    assert {word for _, word, *_ in told} <= set(ANSWERS)
    assert len(told) == len(found) == 3 * 6
    by_claim = found.sort_values("claim", kind="stable")
    for (_, *counts), row in zip(told, by_claim.itertuples(), strict=True):
        assert sum(map(int, counts[1:])) == row.n_statements
    assert first.count("not tested") == 3  # C7 needs two families on one dataset
    together = found[found["model"] == "all"].set_index("claim")
    for name in ("n_statements", "n_for", "n_against", "n_undecided", "n"):
        own = found[found["model"] != "all"].groupby("claim")[name].sum()
        assert own.to_dict() == together[name].to_dict()
    assert set(together["n"]) == {200}
    assert together.loc["C1", "sentence"].startswith("C1 holds in part for 2 populations together")
    assert "as in CNN on MNIST (" in together.loc["C1", "sentence"]


def test_of_many_populations_each_family_has_its_answers(judged, planted):
    datasets = ("mnist", "fmnist")
    many = pd.concat([judged.assign(dataset=dataset) for dataset in datasets])
    answers = answer(many, SMALLEST)
    of_dnn = answers[(answers["model"] == "dnn") & (answers["dataset"] == "all")].set_index("claim")
    own = many[many["model"] == "dnn"].groupby("claim").size()
    assert of_dnn["n_statements"].to_dict() == own.to_dict()
    assert "for 2 DNN populations together: " in of_dnn.loc["C1", "sentence"]
    tables = {"claims": many, "families": compare(many, ALPHA, SMALLEST), "answers": answers}
    reliability = planted[0][0].reliability.assign(model="dnn", dataset="mnist")
    first = render(tables, reliability, "mine", ALPHA).split("</table>")[0]
    assert re.findall("<th>([^<]*)</th>", first) == ["claim", "DNN", "CNN", "all"]
    together = answers[answers["model"] == "all"].set_index("claim")["answer"]
    for claim, word in together.items():
        assert re.search(rf"{word.capitalize()}: [C0-9, ]*{claim}[,.]", first)
    assert "Not tested: C7." in first


def test_a_family_alone_or_on_one_dataset_has_no_answers_of_its_own(judged):
    dnn = judged[judged["model"] == "dnn"]
    two = pd.concat([dnn, dnn.assign(dataset="fmnist")])
    assert set(answer(two, SMALLEST).query("dataset == 'all'")["model"]) == {"all"}
    assert set(answer(judged, SMALLEST).query("dataset == 'all'")["model"]) == {"all"}


def test_what_runs_do_not_tell_is_said_to_be_unknown(judged, planted):
    """As of imported ones, which have no initial weights."""
    is_known = ~judged["statistic"].isin(["purity_cka", "initial_std"])
    known = judged[is_known | ((judged["model"] == "cnn") & (judged["claim"] == "C6"))]
    tables = {"claims": known, "families": compare(known, ALPHA, SMALLEST)}
    tables["answers"] = answer(known, SMALLEST)
    reliability = planted[0][0].reliability.assign(model="dnn", dataset="mnist")
    page = render(tables, reliability, "mine", ALPHA)
    words = "purity of high runs, by what their layers make of images"
    assert f"<td>{words}</td>" + 2 * "<td><small>not known</small></td>" in page
    assert "<td>σ of the initial weights</td><td><small>not known</small></td>" in page


@needs_chromium
@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080)])
@pytest.mark.parametrize("datasets", [["mnist"], ["mnist", "fmnist", "cifar10"]])
def test_the_answers_are_seen_without_scrolling(judged, planted, tmp_path, size, datasets):
    """With three families; in a report some 330 pixels about the study stand above."""
    models = [judged[judged["model"] == "dnn"].assign(model=name) for name in ("dnn", "cnn", "vit")]
    many = pd.concat([own.assign(dataset=name) for own in models for name in datasets])
    tables = {"claims": many, "families": compare(many, ALPHA, SMALLEST)}
    tables["answers"] = answer(many, SMALLEST)
    reliability = planted[0][0].reliability.assign(model="dnn", dataset="mnist")
    steps = """
        const box = document.querySelector(".answers").getBoundingClientRect();
        Object.assign(found, {bottom: box.bottom, right: box.right, top: box.top});
    """
    found, _ = browse(render(tables, reliability, "mine", ALPHA), tmp_path, steps, size=size)
    assert 0 < found["top"] < found["bottom"] < size[1] - 330
    assert found["right"] < size[0]


def test_families_are_told_apart_where_they_differ(judged):
    found = compare(judged, ALPHA, SMALLEST).set_index(["claim", "statistic"])
    std = found.loc["C1", "std"]  # nothing in the DNN, -0.7 in the CNN
    assert (std["verdict"], std["n_families"]) == ("differ", 2)
    rows = judged[(judged["claim"] == "C1") & (judged["statistic"] == "std")]
    means = {model: of["within"].mean() for model, of in rows.groupby("model")}
    assert std["difference"] == pytest.approx(means["dnn"] - means["cnn"])  # as claimed: falls
    errors = {model: of["within_error"].mean() for model, of in rows.groupby("model")}
    z = std["difference"] / np.hypot(*errors.values())  # Q of two is the square of their difference
    assert std["heterogeneity_p"] == pytest.approx(2 * stats.norm.sf(z), rel=1e-5)
    assert std["alike_p"] == pytest.approx(
        stats.norm.cdf((std["difference"] - SMALLEST) / np.hypot(*errors.values())), rel=1e-5
    )
    assert "differ" not in set(found.loc["C3", "verdict"])


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        (["supported"] * 3 + ["inconclusive"] * 2, "holds"),
        (["supported", "inconclusive", "inconclusive"], "holds in part"),
        (["supported, but small", "contradicted"], "mixed"),
        (["masked by width", "no effect", "no effect"], "mixed"),
        (["contradicted", "explained by width", "inconclusive"], "does not hold"),
        (["reversed within width", "inconclusive", "too few runs"], "fails in part"),
        (["inconclusive", "too few runs"], "undecided"),
    ],
)
def test_a_claim_is_answered_by_its_statements(judged, verdicts, word):
    rows = judged[(judged["claim"] == "C3") & (judged["model"] == "dnn")].head(len(verdicts))
    (found,) = answer(rows.assign(verdict=verdicts), SMALLEST).itertuples()
    assert found.answer == word
    n = sum(verdict in judge.FOR for verdict in verdicts)
    assert (found.n_for, found.n_statements) == (n, len(verdicts))
    assert found.sentence.startswith(
        f"C3 {'is ' * (word in ('mixed', 'undecided'))}{word} for DNN on MNIST: "
    )


def test_a_sentence_has_the_surest_statement_with_its_interval_and_n(judged):
    rows = judged[(judged["claim"] == "C1") & (judged["model"] == "cnn")]
    sentence = answer(rows, SMALLEST)["sentence"].item()
    row = rows.loc[rows[rows["verdict"].isin(judge.FOR)]["within_p"].idxmin()]
    interval = f"{row['within']:+.2f} [{row['within_low']:+.2f}, {row['within_high']:+.2f}]"
    assert f"is {interval}, n = 100 runs, and claimed to be negative" in sentence


def test_a_population_is_a_column_with_its_n_and_reliability(page):
    card = page.split("<table")[2]
    assert re.findall(r"<th>([^<]*)<br><small>([^<]*)<br>([^<]*)<br>([^<]*)", card) == [
        (name, "n = 100 runs", "reliability of accuracy", "by width 0.90 to 0.90")
        for name in ("DNN on MNIST", "CNN on MNIST")
    ]


def test_a_cell_has_a_tag_per_layer_and_the_median_effects(page, judged):
    cell = page.split("<td>σ of the weights</td><td>")[1].split("</td>")[0]
    tags = re.findall(r'title="([^":]*)[^"]*">(\S) (\w+)</span>', cell)
    assert tags == [("inconclusive", "?", layer) for layer in ("fc1", "fc2", "fc3")]
    rows = judged[(judged["model"] == "dnn") & (judged["claim"] == "C1")]
    std = rows[rows["statistic"] == "std"]
    medians = {name: f"{std[name].median():+.2f}" for name in ("pooled", "within", "corrected")}
    effects = "{pooled} → {within} ({corrected})".format(**medians)
    seen = std["detectable"].median()
    assert f"<small>{effects}; sees {seen:.2f}</small>" in cell


def test_a_claim_without_statements_is_named_as_not_tested(page):
    assert "C7. All of this holds alike for the three families. Not tested" in page


def test_what_a_user_names_can_not_break_the_page(page):
    assert "<mine>" not in page
    assert "&lt;mine&gt;" in page


def test_an_effect_that_is_not_there_is_a_dash(page):
    cell = page.split("<td>width</td><td>")[1].split("</td>")[0]
    assert cell.endswith("<small>-</small>")  # there is no run that did not converge


@pytest.mark.parametrize("name", [f"claim_C{number}" for number in range(1, 7)])
def test_a_figure_has_a_row_per_statement_with_its_verdict(name, planted, judged, tmp_path):
    for number, (tables, found) in enumerate(planted):
        files = [tmp_path / f"{number}-{part}.csv" for part in ("claims", "widths", "values")]
        for table, file in zip((judged, found.widths, found.values), files, strict=True):
            write_table(table, file)
        figure = draw_figure(name, [tables.runs], list(map(str, files)), "test")
        axes = figure.axes[0]
        model = tables.runs["model"].iloc[0]
        rows = judged[(judged["model"] == model) & (judged["claim"] == name[-2:])]
        told = [text.get_text()[2:].split("\n")[0] for text in axes.texts]
        assert told == rows["verdict"].tolist()
        assert dots_beyond(figure) == []
        assert len(axes.get_yticklabels()) == len(rows)
        dots = [line for line in axes.lines if len(line.get_xdata()) == 1]
        drawn = [float(line.get_xdata()[0]) for line in dots]
        expected = [value for _, row in rows.iterrows() for value in (row["pooled"], row["within"])]
        assert drawn == pytest.approx([value for value in expected if np.isfinite(value)])
        assert "n = 100 runs" in figure.get_suptitle()
        style.save(figure, tmp_path / "x.svg", tmp_path / "x.png", 60, "drawn from nothing")


def draw_claim(name, tables, found, judged, folder):
    files = [folder / f"{part}.csv" for part in ("claims", "widths", "values")]
    for table, file in zip((judged, found.widths, found.values), files, strict=True):
        write_table(table, file)
    return draw_figure(name, [tables.runs], list(map(str, files)), "test")


def test_an_axis_holds_the_effect_of_every_width(planted, judged, tmp_path):
    tables, found = planted[0]
    widths = found.widths.assign(effect=found.widths["effect"].where(found.widths.index > 0, 1.9))
    figure = draw_claim("claim_C1", tables, found._replace(widths=widths), judged, tmp_path)
    assert dots_beyond(figure) == []
    assert figure.axes[0].get_xlim()[1] > 1.9


def test_an_effect_that_is_not_sure_only_after_adjustment_has_its_p(planted, judged, tmp_path):
    tables, found = planted[0]
    is_it = (judged["claim"] == "C1") & (judged["statistic"] == "std")
    unsure = {"verdict": "inconclusive", "within": 0.2, "within_low": 0.1, "within_high": 0.3}
    judged = judged.assign(**{key: judged[key].mask(is_it, value) for key, value in unsure.items()})
    judged["within_p_adjusted"] = judged["within_p_adjusted"].mask(is_it, 0.071)
    axes = draw_claim("claim_C1", tables, found, judged, tmp_path).axes[0]
    told = [text.get_text() for text in axes.texts]
    assert told[:3] == ["? inconclusive\n   adjusted p 0.071"] * 3


def test_a_legend_has_what_is_drawn_alone(planted, judged, tmp_path):
    tables, found = planted[0]
    nothing = judged.assign(within=np.nan, within_low=np.nan, within_high=np.nan)
    for table, expected in ((judged, True), (nothing, False)):
        figure = draw_claim("claim_C5", tables, found, table, tmp_path)
        assert ("within width, 95 % interval" in legend_of(figure)) == expected
        assert "one width" not in legend_of(figure)
        assert "pooled, 95 % interval" in legend_of(figure)


def test_runs_that_did_not_converge_stand_above_all_others(tmp_path):
    """Of each statistic the layer of the largest effect; of width itself nothing within width."""
    random = np.random.default_rng(0)
    tables = plant(random, seeds=8)
    runs = tables.runs.assign(group=["non"] * 4 + tables.runs["group"].tolist()[4:])
    start = tables.statistics["initial_std"].where(tables.statistics["layer"] != "fc2")
    is_non = tables.statistics["layer"].eq("fc2") & tables.statistics["width"].eq("5")
    start = start.fillna(1.0).mask(is_non & (tables.statistics["seed"] < 4), -9.0)
    tables = tables._replace(runs=runs, statistics=tables.statistics.assign(initial_std=start))
    found = measure(tables, WAY, DRAWS)
    judged = judge.judge(found.effects, ALPHA, SMALLEST)
    figure = draw_claim("claim_C6", tables, found, judged, tmp_path)
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert "pooled (n = 32)" in titles  # width, of the whole network
    assert "within width (n = 32)" not in titles
    panel = next(axes for axes in figure.axes if axes.get_title() == "fc2, pooled (n = 32)")
    dots, crosses = (np.asarray(each.get_offsets()) for each in panel.collections[:2])
    assert (len(dots), len(crosses)) == (28, 4)
    assert crosses[:, 0] == pytest.approx([-9.0] * 4)
    assert np.abs(crosses[:, 1] - 1).max() < 0.5 > np.abs(dots[:, 1]).max()
    assert [label.get_text() for label in panel.get_yticklabels()] == ["others", "non"]
    assert dots_beyond(figure) == []


def test_a_contrast_of_other_sets_has_its_own_y(planted, judged, tmp_path):
    """As a claim of a user's own may have it."""
    tables, found = planted[0]
    contrast = judged.assign(measure="cliffs_delta")
    figure = draw_claim("claim_C1", tables, found, contrast, tmp_path)
    panel = next(axes for axes in figure.axes if axes.get_title().startswith("fc2, pooled"))
    assert panel.get_ylabel() == "accuracy (%)"
    points = np.asarray(panel.collections[0].get_offsets())
    assert points[:, 1] == pytest.approx(tables.runs["test_accuracy"].to_numpy())


def test_a_figure_draws_the_runs_pooled_and_by_rank_within_width(planted, judged, tmp_path):
    tables, found = planted[0]
    files = [tmp_path / f"{part}.csv" for part in ("claims", "widths", "values")]
    for table, file in zip((judged, found.widths, found.values), files, strict=True):
        write_table(table, file)
    figure = draw_figure("claim_C1", [tables.runs], list(map(str, files)), "test")
    pooled, within = (axes for axes in figure.axes if axes.get_title().startswith("fc2"))
    std = tables.statistics.loc[tables.statistics["layer"] == "fc2", "std"].to_numpy()
    points = np.asarray(pooled.collections[0].get_offsets())
    assert points[:, 0] == pytest.approx(std)
    assert points[:, 1] == pytest.approx(tables.runs["test_accuracy"].to_numpy())
    ranks = tables.runs.groupby("width")["test_accuracy"].rank(pct=True)
    places = np.asarray(within.collections[0].get_offsets())
    assert places[:, 1] == pytest.approx(ranks.to_numpy())
    assert pooled.get_title() == "fc2, pooled (n = 100)"


def test_a_claim_of_which_nothing_can_be_said_is_drawn_empty(planted, judged, tmp_path):
    # as C5 of fewer runs than are worth a map
    tables, found = planted[0]
    files = [tmp_path / f"{part}.csv" for part in ("claims", "widths", "values")]
    for table, file in zip((judged, found.widths, found.values), files, strict=True):
        write_table(table[table["claim"] != "C5"], file)
    figure = draw_figure("claim_C5", [tables.runs], list(map(str, files)), "test")
    figure.draw_without_rendering()
    assert figure.axes[0].get_title() == "n = 0 runs pooled, 0 within width"


def test_runs_that_did_not_converge_are_crosses_of_their_own(planted, judged, tmp_path):
    tables, found = planted[0]
    files = [tmp_path / f"{part}.csv" for part in ("claims", "widths", "values")]
    runs = tables.runs.assign(group=["non"] * 4 + tables.runs["group"].tolist()[4:])
    values = found.values.drop(columns="group").merge(runs[["width", "seed", "group"]])
    for table, file in zip((judged, found.widths, values), files, strict=True):
        write_table(table, file)
    figure = draw_figure("claim_C1", [runs], list(map(str, files)), "test")
    pooled = next(axes for axes in figure.axes if axes.get_title().startswith("fc1, pooled"))
    dots, crosses = pooled.collections
    assert (len(dots.get_offsets()), len(crosses.get_offsets())) == (96, 4)
    accuracy = np.asarray(crosses.get_offsets())[:, 1]
    assert accuracy == pytest.approx(runs["test_accuracy"].to_numpy()[:4])
    texts = [text.get_text() for legend in figure.findobj(Legend) for text in legend.get_texts()]
    assert "non (n = 4)" in texts
