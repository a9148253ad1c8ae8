"""Populations for the figures' tests, and what is drawn of them, read back from the artists."""

import functools
import io
import itertools
import math
import re

import h5py
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.path import Path
from matplotlib.text import Text

from weightscape.claims.analyses.accuracy_from_weights import COLUMNS, FEATURES, INNER, PREDICTED
from weightscape.claims.analyses.causes import explain
from weightscape.claims.learners import LEARNERS
from weightscape.drawing import style
from weightscape.figures import draw as draw_figure
from weightscape.measures.density import Densities
from weightscape.measures.layer import LayerWeights
from weightscape.measures.pairs import pairs_of_groups
from weightscape.measures.runs import function
from weightscape.measures.runs.function import compare, compare_groups
from weightscape.measures.runs.similarity import HEAD as SIMILARITY
from weightscape.runs.collecting import KEYS
from weightscape.storage.densities import DENSITIES_VERSION
from weightscape.storage.tables import write_table

LAYERS = {
    "dnn": ["fc1", "fc2", "fc3"],
    "cnn": ["conv1", "fc"],
    "vit": ["patch", "query", "key", "value", "attention_out", "mlp1", "mlp2", "fc"],
}
# the layers whose nodes another layer alone reads
TARGETS = {"fc1": "fc2", "fc2": "fc3", "conv1": "fc", "value": "attention_out", "mlp1": "mlp2"}

EPOCHS, CLASSES = 4, 5

# one of each group at least, in no order
MIXED = (90.0, 10.0, 50.0, 97.0, 10.4, 70.0, 40.0, 80.0, 88.0)


def make_runs(accuracies=MIXED, model="dnn", dataset="mnist", widths=("5", "10", "20")):
    """A table of runs with these final test accuracies; those below 15 % are `non`."""
    n = len(accuracies)
    accuracies = np.asarray(accuracies, float)
    groups = np.select(
        [accuracies < 15, accuracies < 60, accuracies < 85], ["non", "low", "mid"], "high"
    )
    return pd.DataFrame(
        {
            "model": model,
            "dataset": dataset,
            "width": [widths[row % len(widths)] for row in range(n)],
            "seed": range(n),
            "train_accuracy": accuracies[::-1],
            "test_accuracy": accuracies,
            "group": groups.astype(object),
        }
    )


def _cross(runs, **columns):
    """A row for each run and each combination of the columns' values, with the runs' keys."""
    of_runs = runs[[*KEYS, "group"]]
    return of_runs.merge(
        pd.DataFrame(itertools.product(*columns.values()), columns=list(columns)), how="cross"
    )


def make_curves(runs, epochs=5):
    table = _cross(runs, epoch=range(epochs))
    random = np.random.default_rng(0)
    falls = table["group"].map({"non": 0.0, "low": 0.2, "mid": 0.5, "high": 0.9, "ungrouped": 0.6})
    noise = random.uniform(0.97, 1.03, len(table))
    return table.assign(train_loss=2.3 * np.exp(-falls * table["epoch"]) * noise)


def make_telemetry(runs, layers, epochs=5):
    """Every layer but the last has dead units."""
    table = _cross(runs, layer=layers, epoch=range(epochs))
    random = np.random.default_rng(1)
    dead = random.uniform(0, 1, len(table))
    return table.assign(
        dead_units=np.where(table["layer"] == layers[-1], np.nan, dead),
        gradient_norm=10 ** random.uniform(-3, 0, len(table)),
    )


def make_statistics(runs, layers):
    table = _cross(runs, layer=layers)
    random = np.random.default_rng(2)
    n = len(table)
    return table.assign(
        mean=random.normal(0, 0.01, n),
        std=random.uniform(0.05, 0.2, n),
        initial_std=random.uniform(0.05, 0.2, n),
    )


def make_strength(runs, layers):
    table = _cross(runs, layer=layers)
    random, n = np.random.default_rng(3), len(table)
    target = table["layer"].map(TARGETS)
    target = target.where(target.isin(layers))
    return table.assign(
        mean=random.uniform(1, 30, n),
        gini=random.uniform(0, 0.3, n),
        relative_mean=random.uniform(0.8, 1, n),
        target=target,
        in_out_pearson=np.where(target.notna(), random.uniform(-1, 1, n), np.nan),
    )


def make_spectra(runs, layers):
    table = _cross(runs, layer=layers)
    random, n = np.random.default_rng(6), len(table)
    return table.assign(
        stable_rank=random.uniform(1, 50, n),
        effective_rank=random.uniform(5, 150, n),
        spectral_norm=random.uniform(0.5, 20, n),
        log_determinant=random.uniform(-400, 100, n),
    )


def make_null_effects(runs, layers):
    """Effects of each layer, and of each pair of neighbours, over all runs and within widths."""
    random = np.random.default_rng(7)
    own = itertools.product(layers, ("mean", "strength_gini", "purity"))
    pairs = ((f"{a}-{b}", "strength_pair") for a, b in itertools.pairwise(layers))
    table = pd.DataFrame(
        [
            {"layer": layer, "feature": feature, "weights": weights}
            for layer, feature in (*own, *pairs)
            for weights in ("final", "initial", "shuffled", "gaussian")
        ]
    )
    for kind, n in (("pooled", "n"), ("within", "n_within")):
        middle = random.uniform(-0.8, 0.8, len(table))
        found = {"": middle, "_low": middle - 0.1, "_high": middle + 0.1}
        table = table.assign(**{f"{kind}{end}": values for end, values in found.items()})
        table[f"{kind}_p_adjusted"] = random.choice([0.001, 0.3], len(table))
        table[n] = len(runs)
    return table


def make_projection(runs, layers, perplexities=(5, 30), repeats=2):
    """All four embeddings; `matched` leaves out the last layer, which has no nodes to order."""
    parts = [
        _cross(
            runs,
            layer=layers,
            embedding=["width", "matched", "padded", "quantiles"],
            perplexity=perplexities,
            repeat=range(repeats),
        )
    ]
    table = pd.concat(parts, ignore_index=True)
    random, n = np.random.default_rng(4), len(table)
    own = table["embedding"].isin(["width", "matched"])
    where = table["layer"] + table["embedding"] + table["width"].where(own, "all")
    of_map = pd.factorize(where + table["perplexity"].astype(str) + table["repeat"].astype(str))[0]
    return table.assign(
        x=random.normal(size=n),
        y=random.normal(size=n),
        trustworthiness=random.uniform(0.5, 1, of_map.max() + 1)[of_map],
        kl_divergence=random.uniform(0.1, 2, of_map.max() + 1)[of_map],
    )


def make_densities(runs, layers, path, collapsed=(), scale=1.0):
    """Densities of Gaussian weights in `path`; the first layer of `collapsed` rows is constant."""
    keys = tuple(runs[["width", "seed", "group"]].itertuples(index=False, name=None))
    path.write_bytes(_densities(keys, tuple(layers), tuple(collapsed), scale))
    return path


@functools.cache
def _densities(keys, layers, collapsed, scale):
    """What the file holds, which takes a second for a ViT."""
    random, buffer = np.random.default_rng(5), io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["format_version"] = DENSITIES_VERSION
        densities = Densities(file, list(layers), len(keys), "scott")
        for row, key in enumerate(keys):
            spread = scale * 0.05 * (1 + row % 4)
            weights = {layer: spread * random.normal(size=(4, 25)) for layer in layers}
            if row in collapsed:
                weights[layers[0]][:] = 0.5
            found = {name: LayerWeights(w.astype(np.float32)) for name, w in weights.items()}
            densities.add(*key, found)
        densities.finish()
    return buffer.getvalue()


def function_tables(runs, layers=(), matched=True):
    """Tables of random predictions and distances."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, 50)
    predicted = random.integers(0, CLASSES, (len(runs), 50))
    found = compare(predicted, labels, CLASSES)
    pair = dict(runs[KEYS[:2]].iloc[0])
    groups = pd.DataFrame([pair | row for row in compare_groups(found, runs)])
    groups = groups.reindex(columns=function.DISAGREEMENT_COLUMNS)
    names = ["width", "matched"] if matched else ["width"]
    widths = runs["width"].value_counts()
    widths = widths[widths > 1]
    of_widths = [*widths.items(), ("all", sum(widths))]
    rows = [
        {
            **pair,
            "width": width,
            "embedding": name,
            "n": n,
            "n_pairs": n * (n - 1) // 2,
            "spearman": 0.1 * place + (name == "matched") / 2,
            "p": 0.01,
            "partial": 0.25,
            "p_partial": 0.02,
        }
        for name in names
        for place, (width, n) in enumerate(of_widths)
    ]
    pairs = [
        {
            **pair,
            "width": width,
            "seed_a": a,
            "seed_b": b,
            "disagreement": found.disagreement[a, b],
            "accuracy_difference": 1.0,
            "distance": 10.0 + a,
            "matched_distance": 1.0 + b,
        }
        for width in widths.index
        for a, b in itertools.combinations(runs.index[runs["width"] == width], 2)
    ]
    predictions = runs[[*KEYS, "group"]].assign(n_classes_predicted=CLASSES, largest_class_share=30)
    columns = (function.WEIGHT_COLUMNS, function.PAIR_COLUMNS)
    both = (pd.DataFrame(r, columns=list(c)) for r, c in zip((rows, pairs), columns, strict=True))
    return [groups, *both, predictions]


def failure_tables(runs, layers=("fc1", "fc2", "fc3")):
    """Telemetry whose gradient and dead share tell the group: planted by hand."""
    curves, telemetry = [], []
    size = {"non": 0.0, "low": 0.5, "high": 2.0, "mid": 1.0, "ungrouped": 1.0}
    dead = {"non": 1.0, "low": 0.8}
    for row in runs.itertuples():
        key = {name: getattr(row, name) for name in (*KEYS, "group")}
        for epoch in range(EPOCHS + 1):
            curves.append({**key, "epoch": epoch, "train_loss": 2.0, "test_loss": 2.0})
            for layer in ("fc1", "fc2", "fc3"):
                share = {"fc1": 0.1, "fc2": dead.get(row.group, 0.0), "fc3": math.nan}[layer]
                telemetry.append(
                    {
                        **key,
                        "layer": layer,
                        "epoch": epoch,
                        "dead_units": share,
                        "gradient_norm": size[row.group],
                    }
                )
    curves, telemetry = pd.DataFrame(curves), pd.DataFrame(telemetry)
    predictions = runs[KEYS].assign(n_classes_predicted=10)
    found, causes = explain(runs, curves, telemetry, predictions, "test")
    statistics = make_statistics(runs, layers)
    return [causes, found, telemetry, statistics]


def predict(runs, layers=(), r2=0.5, within=0.1, n=None):
    """Both tables of a prediction: R2 `r2` of width by ridge regression, 0.02 more with each case.

    Boosting on weights is the best on weights, and one point too high for each run.
    """
    cases = itertools.product(INNER, FEATURES, LEARNERS)
    table = pd.DataFrame(cases, columns=["validation", "features", "learner"])
    table["n"] = len(runs) if n is None else n
    for number, column in ((r2, "r2"), (within, "r2_within_width")):
        table[column] = number + 0.02 * np.arange(len(table))
        table[f"{column}_low"], table[f"{column}_high"] = table[column] - 0.1, table[column] + 0.1
    predicted = runs.assign(accuracy=runs["test_accuracy"]).merge(table, how="cross")
    best = (predicted["features"] == "weights") & (predicted["learner"] == "boosting")
    predicted["predicted"] = predicted["accuracy"] + np.where(best, 1.0, -9.0)
    return [table.reindex(columns=list(COLUMNS)), predicted.reindex(columns=list(PREDICTED))]


def make_barriers(runs):
    """Matched barriers are lower."""
    random, n = np.random.default_rng(0), len(runs)
    return runs[[*KEYS, "group"]].assign(
        reference_seed=0,
        n_images=100,
        loss_barrier=random.uniform(1, 2, n),
        matched_loss_barrier=random.uniform(0, 1, n),
        error_barrier=random.uniform(10, 50, n),
        matched_error_barrier=random.uniform(0, 10, n),
    )


def make_similarities(runs, layers=("fc1", "fc2")):
    """Random similarities; the initial ones are lower."""
    random, pair = np.random.default_rng(0), dict(runs[KEYS[:2]].iloc[0])
    between = random.uniform(0.4, 0.9, (len(runs), len(runs)))
    rows = [
        {**pair, "layer": layer, "weights": weights, **pairs.names}
        | pairs.mean_with_interval("cka", between if weights == "final" else between / 2)
        for layer, weights in itertools.product(layers, ("final", "initial"))
        for pairs in pairs_of_groups(runs)
    ]
    return pd.DataFrame(rows, columns=SIMILARITY.tables["similarity"].names)


def make_reliabilities(runs):
    """Numbers that fall with the width."""
    rows = []
    for width in dict.fromkeys(runs["width"]):
        for name, shift in (("all", 0.0), ("converged", -0.1)):
            own = {"model": "dnn", "dataset": "mnist", "width": width, "runs": name}
            value = 1 / (1 + float(width.partition("x")[0]) / 50) + shift
            ends = {"reliability_low": value - 0.9, "reliability_high": value + 0.05}
            n = int((runs["width"] == width).sum())
            rows.append(own | {"n": n, "n_images": 100, "reliability": value} | ends)
    return pd.DataFrame(rows).assign(half=0.5, ceiling=0.5)


def make_figure(
    name, tables, folder, layers=("fc1", "fc2", "fc3"), split="test", spoil=lambda table: table
):
    """The figure `name` of the registry for these tables of runs, by way of files in `folder`.

    `spoil` changes each table that it reads.
    """
    layers, files = list(layers), []
    for number, runs in enumerate(tables):
        file = folder / f"{name}-{number}"
        if name == "density":
            make_densities(runs, layers, file)
            files.append(str(file))
            continue
        made = MAKERS[name](runs, layers)
        for part, table in enumerate(made if isinstance(made, list) else [made]):
            files.append(f"{file}-{part}")
            write_table(spoil(table), files[-1])
    return draw_figure(name, list(tables), files, split)


MAKERS = {
    "convergence": lambda runs, layers: make_curves(runs),
    "accuracy_from_weights": predict,
    "function": function_tables,
    "failures": failure_tables,
    "telemetry": make_telemetry,
    "statistics": make_statistics,
    "strength": make_strength,
    "spectra": make_spectra,
    "nulls": make_null_effects,
    "projection": make_projection,
    "projection_widths": make_projection,
    "barrier": lambda runs, layers: make_barriers(runs),
    "similarity": lambda runs, layers: make_similarities(runs),
    "reliability": lambda runs, layers: make_reliabilities(runs),
}


def panels_of(figure):
    """The panels that show, without bars of colours."""
    return [axes for axes in figure.axes if axes.get_visible() and not is_bar(axes)]


def named_panels(figure):
    """Title -> panel; no two have the same title."""
    panels = panels_of(figure)
    named = {axes.get_title(): axes for axes in panels}
    assert len(named) == len(panels)
    return named


def limits_of(axes):
    return (*axes.get_xlim(), *axes.get_ylim())


def is_bar(axes):
    return axes.get_label() == "<colorbar>"


def bars_of(figure):
    """What is written at the bars of colours."""
    bars = filter(is_bar, figure.axes)
    return [axes.get_xlabel() or axes.get_ylabel() for axes in bars]


def n_in(axes):
    """What the title of a panel says that n is."""
    return int(re.search(r"n = (\d+)", axes.get_title())[1])


def points_of(axes):
    """(x, y, colour, is a cross) of each point that has a place, from the lowest to the topmost."""
    found = []
    for artist in axes.collections:
        if isinstance(artist, PathCollection):
            is_cross = not artist.get_paths()[0].codes.tolist().count(Path.CURVE4)
            colours = artist.get_edgecolors() if is_cross else artist.get_facecolors()
            for row, (x, y) in enumerate(np.ma.filled(artist.get_offsets(), np.nan)):
                if np.isfinite([x, y]).all():
                    found.append((x, y, tuple(colours[row % len(colours)][:3]), is_cross))
    return found


def places_of(axes):
    return sorted((x, y) for x, y, _, _ in points_of(axes))


def curves_of(axes):
    """(points, colour) of each run's line, from the lowest to the topmost."""
    found = []
    for artist in axes.collections:
        if isinstance(artist, LineCollection):
            colours = artist.get_colors()
            for row, points in enumerate(artist.get_segments()):
                found.append((points, tuple(colours[row % len(colours)][:3])))
    return found


def legend_of(figure):
    """What the legends say."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def is_blue(colour):
    red, green, blue = colour
    return blue > 1.2 * max(red, green)


DEUTERANOPIA = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)
"""of linear RGB (Machado, Oliveira, Fernandes 2009, table 1, severity 1)"""


def to_lab(colour, seen_through=None):
    """CIE L*a*b* of sRGB, for D65, as seen through a matrix of linear RGB."""
    colour = np.asarray(colour, float)
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    if seen_through is not None:
        linear = np.clip(seen_through @ linear, 0, 1)
    xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ] @ linear
    t = xyz / (0.95047, 1, 1.08883)
    x, y, z = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def lightness(colour):
    return to_lab(colour)[0]


def dots_beyond(figure):
    """What is drawn of points and lies, a marker's radius included, beyond its axes."""
    figure.draw_without_rendering()
    found = []
    for axes in panels_of(figure):
        for places, radius in _markers_of(axes):
            (x0, y0), (x1, y1) = axes.bbox.min, axes.bbox.max
            inside = np.minimum(places - (x0, y0), (x1, y1) - places).min(axis=1)
            # a point is 1/72 inch; half a pixel is left to rounding
            found += [(axes.get_title(), *xy) for xy in places[inside < radius - 0.5]]
    return found


def _markers_of(axes):
    """(places in pixels, radius in pixels) of all markers of an artist that have a place."""
    pixels = axes.figure.get_figure(root=True).dpi / 72
    for artist in axes.collections:
        if isinstance(artist, PathCollection):
            places = artist.get_offset_transform().transform(np.ma.getdata(artist.get_offsets()))
            yield _finite(places), np.sqrt(artist.get_sizes().max()) / 2 * pixels
    for line in axes.lines:
        if line.get_marker() not in ("None", "", None) and line.get_clip_on():
            places = line.get_transform().transform(line.get_xydata())
            yield _finite(places), line.get_markersize() / 2 * pixels


def _finite(places):
    return places[np.isfinite(places).all(axis=1)]


def boxes_of(figure):
    """(text, its box in pixels) of all text that shows once the figure is drawn."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # places all, and paints nothing
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            is_shown = axes.get_visible() and axes.axison
            shown = set(map(id, axis._update_ticks())) if is_shown else set()
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if id(tick) not in shown:
                    hidden |= {tick.label1, tick.label2}
        if not axes.get_visible():
            hidden |= set(axes.findobj(Text))
    texts = [text for text in figure.findobj(Text) if text not in hidden and text.get_visible()]
    return [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()))
        for text in texts
        if text.get_text().strip()
    ]


def collisions_in(figure):
    """Texts that lie over each other, or over the edge of the figure."""
    boxes, page = boxes_of(figure), figure.bbox
    found = [(text, "edge") for text, box in boxes if not _is_within(box, page)]
    for (text, box), (other, of_other) in itertools.combinations(boxes, 2):
        width = min(box.x1, of_other.x1) - max(box.x0, of_other.x0)
        height = min(box.y1, of_other.y1) - max(box.y0, of_other.y0)
        if min(width, height) > 0.5:  # pixels
            found.append((text, other))
    return found


def _is_within(box, page):
    return box.x0 >= -0.5 and box.y0 >= -0.5 and box.x1 <= page.x1 + 0.5 and box.y1 <= page.y1 + 0.5


def saved(figure, folder, dpi=40):
    style.save(figure, folder / "f.svg", folder / "f.png", dpi, "drawn from nothing")
    return (folder / "f.svg").read_text(), (folder / "f.png").read_bytes()


def svg_of(figure):
    text = io.StringIO()
    figure.savefig(text, format="svg", dpi=40)
    return text.getvalue()
