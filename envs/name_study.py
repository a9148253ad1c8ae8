"""Print the study that a config names; one sentence where the config can't be read.

make asks before Snakemake reads the file, which would end in a traceback.
"""

import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from weightscape.errors import WeightscapeError
from weightscape.study.reading import check_file

try:
    check_file(Path(sys.argv[1]))
except WeightscapeError as error:
    sys.exit(f"weightscape: {error}")
config = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
print(config.get("study", "") if isinstance(config, dict) else "")
