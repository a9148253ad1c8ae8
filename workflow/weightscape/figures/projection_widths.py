"""t-SNE of each layer's weights, a map per width, nodes as they are and matched."""

from matplotlib.figure import Figure

from weightscape.drawing import style
from weightscape.figures.projection import NAMES, NOTHING, best, draw_map, put_title
from weightscape.heads import FigureHead

HEAD = FigureHead(
    reads=("projection",),
    category="Weight projection",
    caption=(
        "t-SNE of the weights of each layer for {model} on {dataset}, one map per width ({runs}); "
        "at most six widths are shown, and none of fewer than seven runs. Colour is the final "
        "{figures[colour]} accuracy, from the lowest to the highest of the width; crosses are runs "
        "of the group non. The order of hidden nodes "
        "is arbitrary, so the weights as they are can be far apart for networks that are alike: "
        "below, each run's nodes stand in the order that matches those of the best run of its "
        "width. T is the trustworthiness of the map. {training}"
    ),
    labels={"map": "per width"},
)

WHAT = "t-SNE of the weights of each layer, a map per width"
SHOWN_WIDTHS = 6
LABEL_SIZE = 5  # sixteen rows of a ViT stand on a page


def draw(population: style.Shown, split: str) -> Figure:
    """Rows of layers, as they are and with matched nodes; a column per width, SHOWN_WIDTHS at most.

    Colour is the final accuracy on `split`, within the range of the width.
    """
    table = best(population.measure)
    table = table[table["embedding"].isin(["width", "matched"])]
    _, numbers = style.width_scale(population.runs)
    widths = [width for width in numbers if width in set(table["width"])]
    widths = style.spread(widths, SHOWN_WIDTHS)
    kinds = table[["layer", "embedding"]].drop_duplicates().itertuples(index=False, name=None)
    rows = [[(layer, embedding, width) for width in widths] for layer, embedding in kinds]
    if not any(rows):
        return style.empty([population], NOTHING, WHAT)
    figure, panels = style.panels(rows, 1.5, 1.5)
    own = dict(iter(population.runs.groupby("width")))
    for (layer, embedding, width), axes in panels.items():
        is_shown = (table["layer"] == layer) & (table["embedding"] == embedding)
        column = table[table["width"] == width]
        points = column[is_shown[column.index]]
        draw_map(axes, points, own[width], "accuracy", split)
        is_top = (layer, embedding) == rows[0][0][:2]
        put_title(axes, points, column, [f"width {width}"] if is_top else [])
    for row in rows:
        layer, embedding, _ = row[0]
        panels[row[0]].set_ylabel(f"{layer}\n{NAMES[embedding]}", fontsize=LABEL_SIZE)
    for width in widths:
        column = [axes for key, axes in panels.items() if key[-1] == width]
        scale = style.accuracy_scale(own[width], split)
        style.add_colour_bar(figure, column, scale, split, below=True, size=5.5)
    style.put_heading(figure, WHAT, [population])
    style.add_non_legend(figure, [population])
    return figure
