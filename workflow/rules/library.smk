"""The library lies beside the rules and needs no installation.

Compute nodes and environments that --sdm conda makes find it by PYTHONPATH.
"""

import os
import sys

LIBRARY = get_rules_folder().parent
ENVIRONMENT = str(LIBRARY.parent / "envs" / "weightscape.yaml")
sys.path.insert(0, str(LIBRARY))
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [str(LIBRARY), os.getenv("PYTHONPATH")])))
