# what plotting rules take from the heads of figures: a sheet of figures for each rule
from collections import Counter, defaultdict
from typing import NamedTuple


class Drawing(NamedTuple):
    """One figure of a sheet."""

    name: str
    """as `claim_C1`"""
    source: str
    """the file that draws it, as `claim`; figures of one source read the same"""
    file: str
    """name of its files, without their ending"""
    whose: str
    """population; model, for a grid of its populations; or study"""
    of: object
    """function from a table of runs to its paths, of all populations that are shown"""
    measures: object
    """inputs"""
    category: str
    labels: object
    caption: object
    """function of wildcards"""
    split: str
    """which accuracy it shows"""


def get_drawings():
    """All figures."""
    for source, head in FIGURES.items():
        for name, labels in heads.drawn_by(source).items():
            draw = get_study_figure if head.each == "study" else get_population_figure
            yield draw(source, head, name, labels)
        if head.grid:
            yield get_grid(source, head)


def get_population_figure(source, head, name, labels):
    return Drawing(
        name=name,
        source=source,
        file=f"{name}-{{model}}-{{dataset}}",
        whose="population",
        of=lambda name: [get_path(name)],
        measures=[get_path(read) for read in head.reads],
        category=head.category,
        labels=get_labels(head, labels),
        caption=lambda wildcards: caption_of([get_population(wildcards)], head.caption),
        split=get_setting(head.split),
    )


def get_labels(head, own):
    """Labels of a figure of a population in the report, with the layers that it shows."""
    if not head.layers:
        return own | {"model": "{model}", "dataset": "{dataset}"}

    def get(wildcards):
        layers = ", ".join(study.layers(config, get_population(wildcards)))
        return {"model": wildcards.model, "dataset": wildcards.dataset, "layer": layers} | own

    return get


def get_study_figure(source, head, name, labels):
    return Drawing(
        name=name,
        source=source,
        file=name,
        whose="study",
        of=lambda name: get_paths(name, POPULATIONS),
        measures=[get_path(read) for read in head.reads],
        category=head.category,
        labels=labels | {"model": "all", "dataset": "all"},
        caption=lambda wildcards: caption_of(POPULATIONS, head.caption),
        split=get_setting(head.split),
    )


def get_grid(source, head):
    """A figure with a panel for each population: of a model, or of the study."""
    (read,) = head.reads
    is_of_study = head.grid_of == "study"
    return Drawing(
        name=source,
        source=source,
        file=source if is_of_study else f"{source}-{{model}}",
        whose=head.grid_of,
        of=lambda name: lambda wildcards: get_paths(name, get_shown(wildcards)),
        measures=lambda wildcards: get_paths(read, get_shown(wildcards)),
        category="Figures of the paper",
        labels={"figure": source, "model": "all" if is_of_study else "{model}"},
        caption=lambda wildcards: caption_of(get_shown(wildcards), captions.GRID, what=head.grid),
        split=get_setting(head.split),
    )


def get_shown(wildcards):
    """The populations of a grid."""
    model = wildcards.get("model")
    return [p for p in POPULATIONS if model in (None, p.model)]


def get_sheets():
    """Rule -> the figures that a job of it draws.

    Figures share a job if they are of one population (or model, or study) and their tables cost
    alike: none waits for a dearer measure than its own.
    """
    sheets = defaultdict(list)
    for drawing in DRAWINGS:
        cost = get_cost(FIGURES[drawing.source].reads)
        sheets[f"plot_{drawing.whose}_{cost}"].append(drawing)
    return sheets


def get_sheet_inputs(sheet):
    """What each source reads, by name; the prefix keeps names of figures from other names."""
    return {f"of_{drawing.source}": drawing.measures for drawing in sheet}


def get_sheet_log(job, sheet):
    wildcards = {"population": ["{model}", "{dataset}"], "model": ["{model}"], "study": []}
    return "/".join([job, *wildcards[sheet[0].whose]])


def get_sheet_captions(sheet):
    def get(wildcards, output):
        texts = (drawing.caption(wildcards) for drawing in sheet)
        return captions.Captions(dict(zip(output.svg, texts)))

    return get


def get_figures(wildcards):
    """Every figure of the study, in both formats; those that compare, where there is what to."""
    counts = Counter(p.model for p in POPULATIONS)
    of_models = [p for p in POPULATIONS if counts[p.model] > 1]
    shown = {"population": POPULATIONS, "model": of_models, "study": POPULATIONS[:1]}
    if len(POPULATIONS) == 1:
        shown["study"] = []
    files = {
        drawing.file.format(model=p.model, dataset=p.dataset): None
        for drawing in DRAWINGS
        for p in shown[drawing.whose]
    }
    return [f"{RESULTS}/figures/{file}.{ending}" for file in files for ending in ("svg", "png")]


DRAWINGS = [*get_drawings()]
