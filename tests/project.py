"""A copy of the project in a folder of its own, and Snakemake as a user calls it there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "workflow", "config", "envs", "profiles")


class Project:
    """A checkout without results; `study` is the config that its calls use."""

    def __init__(self, folder: Path, study: dict):
        self.folder, self.study = folder, study
        self.environment = os.environ | {"PYTHONPATH": ""}

    @classmethod
    def create(cls, folder: Path, study: dict) -> "Project":
        folder.mkdir(parents=True)
        for part in PARTS:
            if (ROOT / part).is_dir():
                # with compiled code, which is kept by what it was compiled from
                ignore = shutil.ignore_patterns("*.egg-info")
                shutil.copytree(ROOT / part, folder / part, ignore=ignore)
            else:
                shutil.copy2(ROOT / part, folder / part)
        return cls(folder, study)

    def copy(self, folder: Path) -> "Project":
        """The same project and results with dates kept, to be changed by one test."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder, yaml.safe_load(yaml.safe_dump(self.study)))

    @property
    def results(self) -> Path:
        return self.folder / "results" / self.study["study"]

    def command(self, *arguments: str) -> list[str]:
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.study))
        return [sys.executable, "-m", "snakemake", *arguments, "--configfile", "study.yaml"]

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run `snakemake ARGUMENTS` to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=1800,  # of a machine that others use too
            check=False,
        )

    def succeed(self, *arguments: str) -> str:
        """Run `snakemake ARGUMENTS`, which must succeed; all that it printed."""
        done = self.run(*arguments)
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        return output

    def planned(self) -> dict[str, int]:
        """Rule -> number of jobs that a dry run announces."""
        output = self.succeed("-n", "--quiet", "rules")
        if "Nothing to be done" in output:
            return {}
        table = output.split("Job stats:")[1].strip().splitlines()[2:]
        counts = {}
        for line in table:
            if not line.strip():
                break
            rule, count = line.split()
            counts[rule] = int(count)
        counts.pop("total")
        return counts

    def shards(self) -> dict[str, bytes]:
        """Path below `weights` -> content of each shard."""
        top = self.results / "weights"
        return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*.h5")}
