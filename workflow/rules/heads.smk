# what rules take from the heads of measures, claims and figures: their inputs, outputs and captions
from typing import NamedTuple

from weightscape import heads

JOBS = heads.measures()
CAPTION = "../report/caption.rst"
# tables of the study; all others are of a population
OF_STUDY = {name for head in JOBS.values() if head.each == "study" for name in head.tables}
OF_STUDY.add("claims")
BY_LAYER = [name for head in JOBS.values() if head.each == "layer" for name in head.tables]
FIGURES = heads.figures()
GRIDS = [name for name, head in FIGURES.items() if head.grid and head.grid_of == "model"]


def get_tables():
    """The tables that join those of all populations, as far as the study has rows for them."""
    of_heads = {name for name, head in heads.layer_measures().items() if head.of_heads}
    found = ["runs", "groups"] + ["imports"] * bool(IMPORTED)
    for head in JOBS.values():
        for name, table in heads.tables_of(head).items():
            if table.joined and name not in OF_STUDY and (HAS_HEADS or name not in of_heads):
                found.append(name)
    return found


def get_path(name):
    """Where a table, or another file of a measure, lies."""
    if name in OF_STUDY:
        return f"{RESULTS}/tables/{name}.csv"
    return f"{MEASURES}/{name}" if "." in name else f"{MEASURES}/{name}.csv"


def get_paths(name, populations):
    """The same, for each of some populations."""
    return [get_path(name).format(model=p.model, dataset=p.dataset) for p in populations]


def get_place(head):
    """Where logs of a measure lie, from coarse to fine."""
    return {"study": "", "population": "/{model}/{dataset}", "layer": "/{model}/{dataset}/{layer}"}[
        head.each
    ]


def get_job_inputs(head):
    """The inputs of a measure's rule, by name."""
    of_layers = [*heads.told_layer_measures()]
    names = [n for name in head.reads for n in (of_layers if name == "layers" else [name])]
    functions = {"shards": get_shards, "images": get_dataset}
    found = {}
    for name in names:
        here = get_paths(name, POPULATIONS) if head.each == "study" else get_path(name)
        found[name.replace(".", "_")] = functions.get(name, here)
    return found


def get_job_outputs(head):
    """The outputs of a measure's rule, by name."""
    if head.each == "study":
        return {name: get_report_table(name, head.report) for name in head.tables}
    if head.each == "layer":
        return {name: f"{MEASURES}/{name}/{{layer}}.csv" for name in head.tables}
    names = [*heads.tables_of(head), *head.files]
    return {name.replace(".", "_"): get_path(name) for name in names}


def get_report_table(name, category):
    """A table that stands in the report."""
    path = f"{RESULTS}/tables/{name}.csv"
    return report(path, caption=CAPTION, category=category, labels={"table": name})


def get_setting(key):
    """What the config says of `claims.alpha`."""
    section, name = key.split(".")
    return config[section][name]


def get_settings(head):
    return {name: get_setting(key) for name, key in head.settings.items()}


def get_columns(*names):
    """A digest of tables' columns: as a parameter it has those of another version made anew."""
    return heads.digest({name: heads.tables()[name] for name in names})


def get_table_caption(wildcards, output):
    """What the report says of a table; the second argument keeps it from being a cause to run."""
    name = Path(output[0]).stem
    row = heads.tables()[name].row
    return captions.caption(captions.TABLE, config, POPULATIONS, name=name, row=row)


def get_populations(wildcards, output):
    """All populations in one line, for the report's first page."""
    return captions.caption("{populations}", config, POPULATIONS)


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
    split: str
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
            for figure, own in get_drawn(name, head).items()
        }
        runs, measure = [get_path("runs")], list(map(get_path, head.reads))
        caption, log = get_population_caption(head), f"plot_{name}/{{model}}/{{dataset}}"
    figures = list(get_drawn(name, head))
    return Sheet(figures, labels, head.category, runs, measure, caption, head.split, log)


def get_drawn(name, head):
    """The figures that a file draws, and what tells each from its neighbours."""
    if head.each != "claim":
        return {name: head.labels}
    claims = [claim for claim, of in heads.claims().items() if of.each == "population"]
    return {f"{name}_{claim}": {"claim": claim} for claim in claims}


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
        return captions.caption(head.caption, config, [get_population(wildcards)])

    return get


def get_study_caption(text, **more):
    def get(wildcards, output):
        return captions.caption(text, config, POPULATIONS, **more)

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
        head.split,
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
        "figures.colour",
        "plot_grid/{grid}/{model}",
    )


def get_grid_caption(wildcards, output):
    what = FIGURES[wildcards.grid].grid
    return captions.caption(captions.GRID, config, get_same_model(wildcards), what=what)


def get_same_model(wildcards):
    return [p for p in POPULATIONS if p.model == wildcards.model]
