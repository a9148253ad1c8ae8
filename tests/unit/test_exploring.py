"""The explorer: what it gathers, by hand, and its page in a real browser."""

import html
import re

import numpy as np
import pandas as pd
import pytest

from browsing import browse, needs_chromium
from weightscape.errors import WeightscapeError
from weightscape.exploring.gather import OF_RUNS, gather
from weightscape.exploring.page import render
from weightscape.measures.density import Densities
from weightscape.measures.layer import LayerWeights
from weightscape.storage.densities import DENSITIES_VERSION
from weightscape.storage.hdf5 import write_file

KEYS = ["model", "dataset", "width", "seed"]
LAYERS = {"dnn": ["fc1", "fc2"], "cnn": ["conv1"]}
HOSTILE = '</script><script>document.title="run"</script><b>&"\''


def make_study(dataset="mnist"):
    """Tables of two populations, whose rows are in no order."""
    random, rows = np.random.default_rng(0), []
    for model, widths in (("dnn", ("9", "10x3", "4")), ("cnn", ("2", "16"))):
        rows += [(model, dataset, width, seed) for width in widths for seed in range(6)]
    runs = pd.DataFrame(rows, columns=KEYS)
    n = len(runs)
    runs = runs.assign(
        group=random.choice(["non", "low", "mid", "high"], n),
        shard=[f"results/s/weights/{m}/{d}/width-{w}/seeds-{s:04d}.h5" for m, d, w, s in rows],
        **{name: random.uniform(0, 100, n) for name in OF_RUNS.values()},
    )
    long = pd.concat(
        runs[runs["model"] == model][[*KEYS, "group"]].assign(layer=layer)
        for model, own in LAYERS.items()
        for layer in own
    )
    statistics = long.assign(std=random.normal(size=len(long)), mean=np.nan).sample(
        frac=1, random_state=1
    )
    maps = long.merge(pd.DataFrame({"perplexity": [10, 30]}), how="cross").assign(
        embedding="quantiles", repeat=0
    )
    maps = maps.assign(x=random.normal(size=len(maps)), y=random.normal(size=len(maps)))
    curves = runs[KEYS].merge(pd.DataFrame({"epoch": range(4)}), how="cross")
    curves["test_accuracy"] = random.uniform(0, 100, len(curves))
    curves = curves.drop(curves.index[3])  # a run that broke off
    return runs, {"statistics": statistics}, maps, curves


def make_densities(folder, runs):
    """Each population's file of densities, of rows in no order, and each run's weights."""
    paths, weights = [], {}
    random = np.random.default_rng(3)
    for (model, dataset), own in runs.groupby(["model", "dataset"]):
        paths.append(folder / f"{len(paths)}.h5")
        attributes = {"format_version": DENSITIES_VERSION, "model": model, "dataset": dataset}
        with write_file(paths[-1], attributes) as file:
            found = Densities(file, LAYERS[model], len(own), "silverman")
            for run in own.sample(frac=1, random_state=4).to_dict("records"):
                of_run = {}
                for layer in LAYERS[model]:
                    scale, shift = random.uniform(0.5, 2), random.choice([-1, 0, 1])
                    of_run[layer] = random.normal(shift, scale, (40, 50)).astype(np.float32)
                    weights[(*(run[key] for key in KEYS), layer)] = of_run[layer]
                if run["width"] == "4" and run["seed"] == 5:
                    of_run["fc1"][:] = 1  # without a density
                described = {layer: LayerWeights(weight) for layer, weight in of_run.items()}
                found.add(run["width"], run["seed"], run["group"], described)
            found.finish()
    return paths, weights


def make_explored(folder, dataset="mnist"):
    runs, *tables = make_study(dataset)
    return gather(runs, *tables, make_densities(folder, runs)[0])


def test_runs_are_in_order_and_numbers_beside_them():
    runs, layers, maps, curves = make_study()
    found = gather(
        runs.sample(frac=1, random_state=2).sort_values("model"), layers, maps, curves, []
    )
    assert found.runs["model"].tolist() == ["cnn"] * 12 + ["dnn"] * 18
    widths = found.runs.drop_duplicates(["model", "width"])
    assert widths["width"].tolist() == ["2", "16", "4", "9", "10x3"]
    assert widths["size"].tolist() == [2, 16, 4, 9, 30]
    cnn, dnn = found.numbers
    assert list(cnn) == ["conv1: std (statistics)"]  # a number that no run has is left out
    assert sorted(dnn) == ["fc1: std (statistics)", "fc2: std (statistics)"]
    of = layers["statistics"].set_index([*KEYS, "layer"])["std"]
    mapped = maps[maps["perplexity"] == 30].set_index([*KEYS, "layer"])
    own = found.runs[found.runs["model"] == "dnn"]
    for place, key in enumerate(own[KEYS].itertuples(index=False, name=None)):
        assert dnn["fc2: std (statistics)"][place] == np.float32(of[(*key, "fc2")])
        for axis in "xy":
            coordinate = found.maps[1][f"fc2, quantiles: {axis}"][place]
            assert coordinate == np.float32(mapped.loc[(*key, "fc2"), axis])
    assert found.curves.shape == (30, 4)
    assert np.isnan(found.curves).sum() == 1


def test_a_study_without_runs_is_one_error():
    runs, layers, maps, curves = make_study()
    with pytest.raises(WeightscapeError, match="no runs to show, because every checkpoint is bad"):
        gather(runs[:0], layers, maps, curves, [])


def test_weights_are_those_of_numpys_histogram(tmp_path):
    runs, *tables = make_study()
    paths, weights = make_densities(tmp_path, runs)
    found = gather(runs, *tables, paths)
    assert [[*part] for part in found.weights] == [
        ["dnn on mnist: fc1", "dnn on mnist: fc2"],
        ["cnn on mnist: conv1"],
    ]
    for part, (_, own) in zip(found.weights, found.runs.groupby("model", sort=False), strict=True):
        for name, (edges, shares) in part.items():
            assert edges.shape == (49,)
            assert shares.shape == (len(own), 48)
            for share, run in zip(shares / 65535, own.to_dict("records"), strict=True):
                values = weights[(*(run[key] for key in KEYS), name.split(": ")[1])].ravel()
                expected = np.histogram(values, edges)[0] / len(values)
                if values.std() == 0:
                    assert not share.any()
                    continue
                # the kernel moves some weights over an edge, and 2,000 weights scatter
                assert np.abs(share - expected).max() < 0.02
                np.testing.assert_allclose(share.sum(), expected.sum(), atol=0.01)


# ---- in a browser

START = """
const find = (name) => Bokeh.documents[0].get_model_by_name(name);
async function drag(view, [x0, y0, x1, y1]) {
  const target = view.canvas_view.events_el, corner = target.getBoundingClientRect();
  const at = (x, y) => [corner.left + view.frame.x_scale.compute(x),
    corner.top + view.frame.y_scale.compute(y)];
  const [from, to] = [at(x0, y0), at(x1, y1)];
  for (let step = 0; step <= 5; step++) {
    const [clientX, clientY] = from.map((value, i) => value + (to[i] - value) * step / 5);
    const kinds = step === 0 ? ["pointerdown"] : ["pointermove"];
    if (step === 5) kinds.push("pointerup");
    for (const kind of kinds) {
      target.dispatchEvent(new PointerEvent(kind, {clientX, clientY, bubbles: true, composed: true,
        cancelable: true, pointerId: 1, pointerType: "mouse", isPrimary: true,
        button: kind === "pointermove" ? -1 : 0, buttons: kind === "pointerup" ? 0 : 1}));
    }
    await wait(20);
  }
  await wait(400);
}
while (!(window.Bokeh && Bokeh.documents.length && find("width")
  && Bokeh.index.find_one(find("width")))) await wait(50);
await wait(1000);
const source = find("width").renderers[0].data_source;
const chosen = find("chosen").source, drawn = find("curves").renderers[0].data_source;
const places = {width: ["size", "test accuracy (%)"], numbers: ["x", "y"],
  map: ["map_x", "map_y"]};
"""

BRUSH = """
  for (const [name, [x, y]] of Object.entries(places)) {
    source.selected.indices = [];
    await wait(300);
    const xs = Array.from(source.data[x]), ys = Array.from(source.data[y]);
    const known = [...xs.keys()].filter((i) => Number.isFinite(xs[i]) && Number.isFinite(ys[i]));
    const at = (values, share) => known.map((i) => values[i]).sort((a, b) => a - b)[
      Math.floor(share * (known.length - 1))];
    const box = [at(xs, 0.3) + 1e-5, at(ys, 0.4) - 1e-4, at(xs, 1) + 1e-3, at(ys, 1) + 1e-3];
    await drag(Bokeh.index.find_one(find(name)), box);
    found[name] = {box, x: xs, y: ys, selected: [...source.selected.indices].sort((a, b) => a - b),
      table: chosen.data.seed.length, curves: drawn.data.xs.length, hash: location.hash};
  }
"""


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    return make_explored(tmp_path_factory.mktemp("densities"))


@pytest.fixture(scope="module")
def page(explored):
    return render(explored, "s")


@needs_chromium
def test_a_drag_in_any_view_selects_the_runs_inside_in_all(page, tmp_path):
    found, _ = browse(page, tmp_path, START + BRUSH)
    for name in ("width", "numbers", "map"):
        view = found[name]
        x0, y0, x1, y1 = view["box"]
        inside = [
            place
            for place, (x, y) in enumerate(zip(view["x"], view["y"], strict=True))
            if x is not None and y is not None and x0 < x < x1 and y0 < y < y1
        ]
        assert view["selected"] == inside
        assert len(inside) > 2
        assert view["table"] == view["curves"] == len(inside)
    assert found["faults"] == []
    assert [address for address in found["asked"] if not address.startswith("file:")] == []


CHOOSE = """
  find("only group").value = ["high", "mid"];
  find("across").value = "fc2: std (statistics)";
  find("colour by").value = "width";
  source.selected.indices = [...source.data.group.keys()];
  await wait(300);
"""
READ = """
  found.selected = source.selected.indices;
  found.kept = find("width").renderers[0].view.filter.booleans;
  found.across = find("numbers").below[0].axis_label;
  found.group = find("only group").value;
  found.colours = new Set(source.data.colour).size;
"""


@needs_chromium
def test_a_drag_shows_the_weights_of_its_runs_over_those_of_the_rest(page, explored, tmp_path):
    steps = """
      find("only group").value = ["high", "mid", "low"];
      find("density of weights").value = "dnn on mnist: fc1";
      await wait(200);
      await drag(Bokeh.index.find_one(find("width")), [3.5, 20, 12, 101]);
      found.selected = [...source.selected.indices];
      const view = find("weights"), {data} = view.renderers[0].data_source;
      for (const key of ["left", "right", "chosen", "rest"]) found[key] = Array.from(data[key]);
      found.label = view.below[0].axis_label;
    """
    found, _ = browse(page, tmp_path, START + steps)
    edges, shares = explored.weights[0]["dnn on mnist: fc1"]
    runs = explored.runs
    inside = (runs["size"] > 3.5) & (runs["size"] < 12) & runs["test_accuracy"].between(20, 101)
    shown = runs["group"] != "non"
    assert sorted(found["selected"]) == np.flatnonzero(inside & shown).tolist()
    of_dnn = (runs["model"] == "dnn").to_numpy()
    has_any = np.zeros(len(runs), bool)
    has_any[of_dnn] = shares.any(1)
    counts = []
    for side, rows in (("chosen", inside), ("rest", ~inside)):
        own = (rows & shown & has_any)[of_dnn]
        counts.append(own.sum())
        expected = shares[own].mean(0) / 65535 / np.diff(edges)
        np.testing.assert_allclose(found[side], expected, rtol=1e-6)
        assert 0.9 < (found[side] * np.diff(edges)).sum() <= 1
    assert min(counts) > 2
    told = f"{counts[0]} runs selected, {counts[1]} the rest"
    assert found["label"] == f"weight (dnn on mnist: fc1): {told}"
    np.testing.assert_allclose([*found["left"], found["right"][-1]], edges)
    assert found["faults"] == []


@needs_chromium
def test_what_a_selection_lacks_is_told(page, tmp_path):
    steps = """
      const {model, width} = source.data;
      const told = async (wanted) => {
        source.selected.indices = [...model.keys()].filter(wanted);
        await wait(300);
        return find("told").text;
      };
      found.whole = await told((i) => model[i] === "dnn" && width[i] === "9");
      found.part = await told((i) => model[i] === "dnn" && width[i] === "9" && i % 2);
      found.every = await told((i) => model[i] === "dnn");
      found.both = await told((i) => model[i] === "dnn" || width[i] === "2");
    """
    found, _ = browse(page, tmp_path, START + steps)
    warning = "No run of the rest has a width of those selected: width may be what sets them apart."
    assert warning in found["whole"]
    assert warning not in found["part"] + found["every"]
    missing = 'such number, and so no dot: 6 in the view "two numbers"'
    assert missing in found["both"]
    assert "two numbers" not in found["every"]
    assert found["faults"] == []


@needs_chromium
def test_a_view_can_be_sent_by_its_address(page, explored, tmp_path):
    first, _ = browse(page, tmp_path, START + CHOOSE + READ)
    assert first["hash"].startswith("#x=fc2")
    again, _ = browse(page, tmp_path, START + READ, first["hash"])
    kept = explored.runs["group"].isin(["high", "mid"]).tolist()
    for found in (first, again):
        assert found["kept"] == kept
        assert found["across"] == "fc2: std (statistics)"
        assert found["group"] == ["high", "mid"]
        assert found["colours"] > 2
        assert found["faults"] == []
    assert again["selected"] == [place for place, is_kept in enumerate(kept) if is_kept]


@needs_chromium
@pytest.mark.parametrize("hash_", ["#x=nope&map=&only-group=x&runs=a-b.9999.3-", "#%%%", "#runs=2"])
def test_an_address_of_another_study_does_no_harm(page, tmp_path, hash_):
    found, _ = browse(page, tmp_path, START + READ, hash_)
    assert found["faults"] == []
    assert found["selected"] == ([2] if hash_ == "#runs=2" else [])


@needs_chromium
def test_names_with_markup_stay_text(tmp_path):
    page = render(make_explored(tmp_path, HOSTILE), HOSTILE)
    steps = """
      source.selected.indices = [0, 1, 2];
      await wait(500);
      const every = (root) => [...root.querySelectorAll("*")].flatMap((part) =>
        [part, ...part.shadowRoot ? every(part.shadowRoot) : []]);
      const parts = every(document.body);
      found.bold = parts.filter((part) => part.localName === "b").length;
      found.cells = parts.filter((part) => part.textContent === source.data.dataset[0]).length;
    """
    found, dom = browse(page, tmp_path, START + steps)
    assert found["faults"] == []
    assert found["bold"] == 0
    assert found["cells"] >= 3  # the table's
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)[1]
    assert html.unescape(title) == f"weightscape: {HOSTILE}"
