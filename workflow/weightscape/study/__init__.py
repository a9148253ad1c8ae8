"""The study: what a config asks for, checked, and where its files lie. Imports nothing heavy."""

from weightscape.study.config import check
from weightscape.study.paths import (
    cover,
    existing_shards,
    import_tables,
    journal_file,
    lock_file,
    on_disk,
    parse_seeds,
    run_name,
    seeds_text,
    shard_ranges,
    shards,
    unfinished_folder,
    weights_folder,
)
from weightscape.study.population import (
    Population,
    find_import,
    find_population,
    import_files,
    import_rows,
    layer_map,
    layers,
    populations,
)
from weightscape.study.recipes import canonical_json, recipe, snapshot_epochs, stream_seeds
from weightscape.study.sections import Config
from weightscape.study.widths import width_number, width_order, width_parts

__all__ = [
    "Config",
    "Population",
    "canonical_json",
    "check",
    "cover",
    "existing_shards",
    "find_import",
    "find_population",
    "import_files",
    "import_rows",
    "import_tables",
    "journal_file",
    "layer_map",
    "layers",
    "lock_file",
    "on_disk",
    "parse_seeds",
    "populations",
    "recipe",
    "run_name",
    "seeds_text",
    "shard_ranges",
    "shards",
    "snapshot_epochs",
    "stream_seeds",
    "unfinished_folder",
    "weights_folder",
    "width_number",
    "width_order",
    "width_parts",
]
