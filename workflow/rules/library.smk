"""The library comes with the rules and needs no installation.

Jobs, compute nodes and environments that --sdm conda makes find it by PYTHONPATH.
"""

import os
import re
import sys
import tempfile
import zipfile
from pathlib import Path

import snakemake
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

shorten_our_errors()

# relative to the rules, so that Snakemake finds it wherever they come from
ENVIRONMENT = "../../envs/weightscape.yaml"
# the command of a job has the path of its Python, without quotes
SHELL = r"""[\s()&;'"$`\\*?\[\]#~<>|!{}]"""


def get_library(source):
    """The folder that Python imports the library from."""
    library = source.folder.parent
    return unpack(source.repository, source.ref, library) if source.repository else library


def is_of_another_python(path):
    """Whether a folder has installed packages, and not those that Snakemake is among."""
    is_installed = Path(path).name in ("site-packages", "dist-packages")
    return is_installed and not Path(snakemake.__file__).is_relative_to(path)


def unpack(repository, ref, library):
    """The library as it is at a ref of a git repository, in files.

    Snakemake brings rules, scripts and captions itself, but Python imports from a folder.
    """
    from git import Repo  # Snakemake needs it too, and only here

    repo = Repo(repository)
    commit = repo.commit(ref).hexsha
    target = Path(".snakemake", "weightscape", commit).absolute()
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            archive, files = Path(folder, "library.zip"), Path(folder, "files")
            parts = [f"{library}/weightscape", f"{library}/schemas"]
            with archive.open("wb") as file:
                repo.archive(file, commit, format="zip", path=parts)
            zipfile.ZipFile(archive).extractall(files)
            try:
                files.rename(target)
            except OSError:
                if not target.exists():  # else another process was faster
                    raise
    return target / library


LIBRARY = get_library(get_source())
# what PYTHONPATH and Snakemake take for something else
for path, odd in ((sys.executable, SHELL), (LIBRARY, "[:{}]")):
    if found := re.search(odd, str(path)):
        raise WorkflowError(
            f"no job can start from {path}, whose path has '{found[0]}' in it: move the folder to a "
            "path of letters, digits, - and _."
        )
given = list(filter(None, os.getenv("PYTHONPATH", "").split(os.pathsep)))
if foreign := list(filter(is_of_another_python, given)):
    # a module system's, say: its packages would come before those of the environment
    sys.path[:] = [path for path in sys.path if path not in foreign]
    logger.warning(
        f"Warning: PYTHONPATH has packages of another Python, which are left out: {foreign[0]}."
    )
kept = [path for path in given if path not in foreign]
os.environ.update(PYTHONPATH=os.pathsep.join([str(LIBRARY), *kept]))
sys.path.insert(0, str(LIBRARY))

import weightscape

if Path(weightscape.__file__).parents[1] != LIBRARY:
    raise WorkflowError(
        f"a workflow can use one version of weightscape: {LIBRARY} is asked for, and "
        f"{Path(weightscape.__file__).parents[1]} is in use already."
    )
