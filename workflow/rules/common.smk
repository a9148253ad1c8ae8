import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from weightscape import heads, models, study
from weightscape.study import captions

RESULTS = f"results/{config['study']}"
MEASURES = f"{RESULTS}/measures/{{model}}/{{dataset}}"
POPULATIONS = study.populations(config)
IMPORTED = [p for p in POPULATIONS if p.is_imported]
HAS_HEADS = any(
    link.parts for p in POPULATIONS for link in models.links_of(p.model, p.widths[0], p.options)
)


def get_place(path):
    """Where a path of the rules lies on the disk, for Python's own use."""
    return str(study.on_disk(config, path))


for folder in ("results", RESULTS):
    place = Path(get_place(folder))
    if not place.is_dir() and (place.is_symlink() or place.exists()):
        raise WorkflowError(f"{place} is no folder, and results go there: remove or rename it.")


def get_given(paths):
    """Files that the config names: the prefix of an outer workflow does not hold for them."""
    return local(paths) if config["prefix"] else paths


def get_population(wildcards):
    return study.find_population(config, wildcards.model, wildcards.dataset)


def get_models(populations):
    """Pattern of the models of some populations, each before one of its own datasets only."""
    return "|".join(f"{p.model}(?=/{p.dataset}/)" for p in populations) or "(?!)"


def get_import(wildcards):
    """What the config says of an import."""
    return study.find_import(config, wildcards.model, wildcards.dataset)


def get_import_table(wildcards):
    return get_given(get_import(wildcards).get("table", []))


def get_import_item(wildcards):
    """What its job reads of an import: what does not change its runs is no cause to run."""
    item = get_import(wildcards)
    read = ("source", "folder", "table", "accuracies", "classes")
    return study.canonical_json({key: item[key] for key in read if key in item})


def get_checkpoints(wildcards):
    """The checkpoints of a width that are there: one that is missing is told by its job."""
    paths = study.import_files(config, wildcards.model, wildcards.dataset, wildcards.width)
    # Path's own raises where a name is too long
    return get_given([path for path in paths if os.path.isfile(path)])


def get_dataset(wildcards):
    """The images of a population that is trained; nothing for an import."""
    is_imported = get_population(wildcards).is_imported
    return [] if is_imported else f"results/datasets/{wildcards.dataset}.h5"


def get_baseline(wildcards):
    """Classes, and share of the largest, that the config tells of an import."""
    if not get_population(wildcards).is_imported:
        return None
    item = get_import(wildcards)
    return [item["classes"], item.get("majority_share", 100 / item["classes"])]


def get_imports(wildcards):
    """The tables of files of an import; nothing for a population that is trained."""
    return study.import_tables(config, get_population(wildcards))


def get_own_file(wildcards):
    """The file of a dataset of the user's; nothing for a built-in one."""
    own = config["datasets"].get(wildcards.dataset)
    return get_given([own["file"]]) if own else []


def get_shards(wildcards):
    """All shards of the population of the wildcards."""
    return study.shards(config, get_population(wildcards))


def get_weights(wildcards):
    """All shards of the study."""
    return [shard for population in POPULATIONS for shard in study.shards(config, population)]


def get_recipe(wildcards):
    """The recipe as JSON in one spelling, so that it is equal where it means the same."""
    return study.canonical_json(study.recipe(config, get_population(wildcards)))
