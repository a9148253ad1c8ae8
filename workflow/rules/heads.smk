# what rules take from the heads of measures and claims: inputs, outputs, settings
from collections import defaultdict

JOBS = heads.measures()
CAPTION = "../report/caption.rst"
# tables of the study; all others are of a population
OF_STUDY = heads.of_study()
BY_LAYER = {name: head for name, head in JOBS.items() if head.each == "layer"}
FIGURES = heads.figures()
# of a population whose layers share a job: each alone would start for longer than it works
FEW_RUNS = 100
ALL_LAYERS = "_all"  # which can't be the name of one


def get_tables():
    """The tables that join those of all populations, as far as the study has rows for them."""
    of_heads = {name for name, head in heads.layer_measures().items() if head.of_heads}
    found = ["runs", "groups"] + ["imports"] * bool(IMPORTED)
    for head in JOBS.values():
        for name, table in heads.tables_of(head).items():
            if table.joined and name not in OF_STUDY and (HAS_HEADS or name not in of_heads):
                found.append(name)
    return found


def get_study_tables():
    """The paths of all tables of the study."""
    joined = [f"{RESULTS}/tables/{name}.csv" for name in [*get_tables(), "settings"]]
    return joined + [get_path(name) for name in sorted(OF_STUDY)]


def get_cost(names):
    """What tables cost to make: study, if some are of the whole study, else the dearest measure."""
    if OF_STUDY & set(names):
        return "study"
    cost = heads.dearest(names)
    return "runs" if cost == "tables" else cost


def get_joins():
    """Rule -> the tables that a job of it joins: none waits for a dearer measure than its own."""
    joins = defaultdict(list)
    for name in [*get_tables(), "densities.h5"]:
        joins[f"join_tables_{get_cost([name])}"].append(name)
    return joins


def get_parts(names):
    """The tables of all populations that are joined to one, by the names of these."""
    of_imports = [path for p in IMPORTED for path in study.import_tables(config, p)]
    return {
        name.replace(".", "_"): of_imports if name == "imports" else get_paths(name, POPULATIONS)
        for name in names
    }


def get_joined(names):
    """Those that they are joined to; the report shows all that are text."""
    folder = f"{RESULTS}/tables"
    return {
        name.replace(".", "_"): (
            f"{folder}/{name}" if "." in name else get_report_table(name, "Tables")
        )
        for name in names
    }


def get_layer_parts(head):
    """The tables of all layers of a population that are joined to one, by the names of these."""

    def of(name):
        def get(wildcards):
            population = get_population(wildcards)
            is_small = population.n_runs <= FEW_RUNS
            parts = [ALL_LAYERS] if is_small else study.layers(config, population)
            return [f"{MEASURES}/{name}/{part}.csv" for part in parts]

        return get

    return {name: of(name) for name in head.tables}


def get_job_layers(head):
    """The layers of a job that is of some, as a parameter."""

    def get(wildcards):
        if wildcards.layer != ALL_LAYERS:
            return [wildcards.layer]
        return study.layers(config, get_population(wildcards))

    return {"layers": get} if head.each == "layer" else {}


def get_path(name):
    """Where a table, or another file of a measure, lies."""
    if name in OF_STUDY:
        return f"{RESULTS}/tables/{name}.csv"
    return f"{MEASURES}/{name}" if "." in name else f"{MEASURES}/{name}.csv"


def get_paths(name, populations):
    """The same, for each of some populations."""
    return [get_path(name).format(model=p.model, dataset=p.dataset) for p in populations]


def get_log(measure, head):
    """Where the logs of a measure lie, from coarse to fine."""
    return {
        "study": f"measure_{measure}",
        "population": f"measure_{measure}/{{model}}/{{dataset}}",
        "layer": f"measure_{measure}/{{model}}/{{dataset}}/{{layer}}",
    }[head.each]


def get_job_inputs(head):
    """The inputs of a measure's rule, by name."""
    functions = {"shards": get_shards, "images": get_dataset}
    found = {}
    for name in heads.read_by(head):
        of_each = head.each == "study" and name not in OF_STUDY
        here = get_paths(name, POPULATIONS) if of_each else get_path(name)
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
    try:
        return heads.setting(config, key)
    except WeightscapeError as error:
        raise WorkflowError(str(error)) from None


def get_settings(head):
    return {name: get_setting(key) for name, key in head.settings.items()}


def get_columns(*names):
    """A digest of tables' columns: as a parameter it has those of another version made anew."""
    return heads.digest({name: heads.tables()[name] for name in names})


def get_others(measure, head):
    """A digest of what other heads tell this measure, with the same effect."""
    if measure == "claims":
        return heads.digest_of_claims()
    is_told = "layers" in head.reads or any(table.of_layers for table in head.tables.values())
    return heads.digest_of_layers() if is_told else ""


def caption_of(populations, text, **more):
    """A head's text about some populations."""
    return captions.caption(text, config, populations, **more)


def get_table_captions(wildcards, output):
    """What the report says of tables; the second argument keeps it from being a cause to run."""
    tables = {path: heads.tables().get(Path(path).stem) for path in output}
    return captions.Captions(
        {
            path: caption_of(POPULATIONS, captions.TABLE, name=Path(path).stem, row=table.row)
            for path, table in tables.items()
            if table
        }
    )


def get_populations(wildcards, output):
    """All populations in one line, for the report's first page."""
    return captions.Caption(caption_of(POPULATIONS, "{populations}."))
