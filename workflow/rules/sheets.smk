# what plotting rules take from the heads of figures: a sheet for each rule
from typing import NamedTuple


class Sheet(NamedTuple):
    """What one plotting rule draws."""

    figures: list
    """names of figures"""
    labels: dict
    """name of a file -> its labels in the report"""
    category: str
    runs: object
    measure: object
    """inputs"""
    caption: object
    """of wildcards and output"""
    split: object
    """which accuracy it shows, or a function of wildcards that tells"""
    log: str


def get_sheets():
    """Rule -> what it draws."""
    sheets = {f"plot_{name}": get_sheet(name, head) for name, head in FIGURES.items()}
    for name, head in FIGURES.items():
        if head.grid and head.grid_of == "study":
            sheets[f"plot_{name}_grid"] = get_study_grid(name, head)
    return sheets | {"plot_grid": get_model_grids()}


def get_sheet(name, head):
    """A figure of each population, or of the study; or of each claim."""
    if head.each == "study":
        labels = {name: head.labels | {"model": "all", "dataset": "all"}}
        runs, measure = get_paths("runs", POPULATIONS), list(map(get_path, head.reads))
        caption, log = get_study_caption(head.caption), f"plot_{name}"
    else:
        labels = {
            f"{figure}-{{model}}-{{dataset}}": get_labels(head, own)
            for figure, own in heads.drawn_by(name).items()
        }
        runs, measure = [get_path("runs")], list(map(get_path, head.reads))
        caption, log = get_population_caption(head), f"plot_{name}/{{model}}/{{dataset}}"
    figures = list(heads.drawn_by(name))
    return Sheet(
        figures, labels, head.category, runs, measure, caption, get_setting(head.split), log
    )


def get_labels(head, own):
    """Labels of a figure of a population in the report, with the layers that it shows."""
    if not head.layers:
        return own | {"model": "{model}", "dataset": "{dataset}"}

    def get(wildcards):
        layers = ", ".join(study.layers(config, get_population(wildcards)))
        return {"model": wildcards.model, "dataset": wildcards.dataset, "layer": layers} | own

    return get


def get_population_caption(head):
    def get(wildcards, output):
        return tell(head.caption, [get_population(wildcards)])

    return get


def get_study_caption(text, **more):
    def get(wildcards, output):
        return tell(text, POPULATIONS, **more)

    return get


def get_study_grid(name, head):
    """A figure with a panel for each population."""
    (file,) = head.reads
    return Sheet(
        [name],
        {name: {"figure": name, "model": "all"}},
        "Figures of the paper",
        get_paths("runs", POPULATIONS),
        get_paths(file, POPULATIONS),
        get_study_caption(captions.GRID, what=head.grid),
        get_setting(head.split),
        f"plot_{name}_grid",
    )


def get_model_grids():
    """The paper's grids of layer x dataset, of all figures that have them."""
    return Sheet(
        ["{grid}"],
        {"{grid}-{model}": {"figure": "{grid}", "model": "{model}"}},
        "Figures of the paper",
        lambda wildcards: get_paths("runs", get_same_model(wildcards)),
        lambda wildcards: get_paths(*FIGURES[wildcards.grid].reads, get_same_model(wildcards)),
        get_grid_caption,
        lambda wildcards: get_setting(FIGURES[wildcards.grid].split),
        "plot_grid/{grid}/{model}",
    )


def get_grid_caption(wildcards, output):
    what = FIGURES[wildcards.grid].grid
    return tell(captions.GRID, get_same_model(wildcards), what=what)


def get_same_model(wildcards):
    return [p for p in POPULATIONS if p.model == wildcards.model]
