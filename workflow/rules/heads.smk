# what rules take from the heads of measures and claims: inputs, outputs, settings
JOBS = heads.measures()
CAPTION = "../report/caption.rst"
# tables of the study; all others are of a population
OF_STUDY = heads.of_study()
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


def get_log(measure, head):
    """Where the logs of a measure lie, from coarse to fine."""
    return {
        "study": f"measure_{measure}",
        "population": f"measure_{measure}/{{model}}/{{dataset}}",
        "layer": f"measure_{measure}/{{model}}/{{dataset}}/{{layer}}",
    }[head.each]


def get_job_inputs(head):
    """The inputs of a measure's rule, by name."""
    of_layers = [*heads.told_layer_measures()]
    names = [n for name in head.reads for n in (of_layers if name == "layers" else [name])]
    functions = {"shards": get_shards, "images": get_dataset}
    found = {}
    for name in names:
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
    section, name = key.split(".")
    try:
        return config[section][name]
    except (KeyError, TypeError):
        raise WorkflowError(f"a head names the key {key}, which no config has.") from None


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


def tell(text, populations, **more):
    """A caption of some populations."""
    return captions.Caption(captions.caption(text, config, populations, **more))


def get_table_caption(wildcards, output):
    """What the report says of a table; the second argument keeps it from being a cause to run."""
    name = Path(output[0]).stem
    return tell(captions.TABLE, POPULATIONS, name=name, row=heads.tables()[name].row)


def get_populations(wildcards, output):
    """All populations in one line, for the report's first page."""
    return tell("{populations}.", POPULATIONS)
