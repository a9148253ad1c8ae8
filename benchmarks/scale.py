"""What Snakemake costs at a study's size, and nothing else; `make bench-scale` calls it.

python -m benchmarks.scale OUT.csv [--only dry start schedule]

Nothing is trained and no Slurm is needed: each case runs in a copy of the workflow whose training
script makes an empty file, with stand-ins for Slurm's commands that finish each job at once.
Seconds are CPU seconds, user and system, of all processes of a case.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from weightscape.storage.tables import write_table
from weightscape.study.config import check
from weightscape.study.paths import shards
from weightscape.study.population import populations

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "workflow", "config", "envs", "profiles")
GRID = {"model": "dnn", "dataset": "digits", "widths": list(range(1, 101)), "seeds": 1000}
STUDIES: dict[str, dict[str, Any]] = {
    "paper": yaml.safe_load((ROOT / "config" / "paper.yaml").read_text()),
    "grid": {"study": "grid", "populations": [GRID]},
}
RUNS_PER_JOB = (1, 50)
OPTIONS = {
    "": [],
    "subsample": ["--scheduler-subsample", "1000"],
    "db": ["--persistence-backend", "db"],
    "ilp": ["--scheduler", "ilp"],
    "batch 1/10": ["--batch", "weights=1/10"],
    "jobs 100": ["--jobs", "100"],
    "jobs 100, subsample": ["--jobs", "100", "--scheduler-subsample", "200"],
}
LIMIT = 10_000  # training jobs of the largest case that is scheduled
# the profile's pace is for a controller's sake and sleeps; the stand-ins need none
SLURM = [
    "--workflow-profile",
    "profiles/slurm",
    "--jobs",
    "1000",
    "--max-jobs-per-timespan",
    "1000/1s",
    "--slurm-init-seconds-before-status-checks",
    "1",
]

# its peak is not raised by what called it, as that of a direct child of a large process is
LAUNCHER = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, done.stdout, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""

SCRIPT = """from pathlib import Path

Path(snakemake.output[0]).touch()
"""

STAND_INS = {
    # makes what the job would, and remembers it as done; only what the shell has built in
    "sbatch": """#!/bin/sh
case "$*" in *--test-only*) exit;; esac
for last; do :; done
printf '%s' "${last#--wrap=}" > "$SCALE/command"
run=${last#*--target-jobs \\'train_runs:model=}; run=${run%%\\'*}
model=${run%%,*}; run=${run#*,dataset=}
dataset=${run%%,*}; run=${run#*,width=}
path=$model/$dataset/width-${run%%,*}/seeds-${run#*,seeds=}
: > "$SCALE_RESULTS/weights/$path.h5"
: > "$SCALE_RESULTS/benchmarks/train_runs/$path.jsonl"
read -r up rest < /proc/uptime
id=${up%.*}${up#*.}$$
echo "$id|COMPLETED|None||main|" >> "$SCALE/jobs"
echo "$id"
""",
    "squeue": """#!/bin/sh
case "$*" in *%T*) cat "$SCALE/jobs";; esac
""",
    "srun": """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
""",
    "scontrol": """#!/bin/sh
echo "PartitionName=main Default=YES MaxTime=UNLIMITED PreemptMode=OFF"
""",
    "sinfo": """#!/bin/sh
echo "main|1000000"
""",
    "sacct": "#!/bin/sh\nexit 1\n",
}


class Used(NamedTuple):
    """What a command took, its children included."""

    cpu: float
    """seconds"""
    peak_mb: float
    """of its largest process"""
    output: str


class Copy:
    """A copy of the workflow, in which one study's training is pretended."""

    def __init__(self, folder: Path, study: dict[str, Any], runs_per_job: int):
        self.folder = folder
        self.study = study | {"runs_per_job": runs_per_job}
        folder.mkdir(parents=True)
        for part in PARTS:
            if (ROOT / part).is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / part, folder / part, ignore=ignore)
            else:
                shutil.copy2(ROOT / part, folder / part)
        (folder / "study.yaml").write_text(yaml.safe_dump(self.study))
        (folder / "workflow" / "scripts" / "train_runs.py").write_text(SCRIPT)
        self._make_stand_ins(folder / "stand-ins")
        self._make_folders()

    def snakemake(self, *arguments: str) -> Used:
        """Measures `snakemake ARGUMENTS`, which must succeed."""
        command = [sys.executable, "-m", "snakemake", *arguments, "--configfile", "study.yaml"]
        return self.measure(*command)

    def measure(self, *command: str) -> Used:
        tools = self.folder / "stand-ins"
        environment = os.environ | {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "SCALE": str(tools),
            "SCALE_RESULTS": str(self.folder / "results" / self.study["study"]),
        }
        return measure(command, self.folder, environment)

    def n_jobs(self) -> int:
        """Training jobs of the study."""
        config = check(self.study)
        return sum(len(shards(config, population)) for population in populations(config))

    def n_done(self) -> int:
        """Jobs that sbatch's stand-in has done."""
        return len((self.folder / "stand-ins" / "jobs").read_text().splitlines())

    def kept(self) -> list[int]:
        """Size in bytes of each file that Snakemake keeps for itself."""
        files = (self.folder / ".snakemake").rglob("*")
        return [path.stat().st_size for path in files if path.is_file()]

    def first_shard(self) -> str:
        config = check(self.study)
        return shards(config, populations(config)[0])[0]

    def _make_stand_ins(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "jobs").touch()
        for name, text in STAND_INS.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def _make_folders(self) -> None:
        """The prepared images, and the folders where sbatch's stand-in puts its files."""
        results = self.folder / "results"
        (results / "datasets").mkdir(parents=True)
        for population in populations(check(self.study)):
            (results / "datasets" / f"{population.dataset}.h5").touch()
            for width in population.widths:
                for kind in ("weights", "benchmarks/train_runs"):
                    parts = (kind, population.model, population.dataset, f"width-{width}")
                    Path(results, self.study["study"], *parts).mkdir(parents=True)


def measure(command: tuple[str, ...], folder: Path, environment: dict[str, str]) -> Used:
    launched = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    code, output, cpu, peak = json.loads(launched.stdout)
    if code:
        raise SystemExit(f"{' '.join(command)} failed:\n{output}")
    return Used(cpu, peak * (1 if sys.platform == "darwin" else 1024) / 1e6, output)


def measure_import(times: int = 1) -> Used:
    """Python and Snakemake, before they do anything; the best of some times."""
    command = (sys.executable, "-c", "import snakemake.cli")
    return min(measure(command, ROOT, dict(os.environ)) for _ in range(times))


def measure_dry_run(copy: Copy, *arguments: str) -> tuple[Used, int]:
    """The DAG and its listing, and how many jobs it has."""
    used = copy.snakemake(*arguments, "-n", "--quiet", "rules")
    match = re.search(r"^total +(\d+)$", used.output, re.MULTILINE)
    if match is None:
        raise SystemExit(f"no number of jobs in:\n{used.output}")
    return used, int(match[1])


def measure_start(copy: Copy, times: int = 1) -> Used:
    """One training job on its node, all but the training; the best of some times.

    The command is the one that Snakemake gives to sbatch. It starts Snakemake twice, once for the
    job and once for the step in it, and then the script.
    """
    shard = copy.folder / copy.first_shard()
    copy.snakemake(*SLURM, copy.first_shard())
    command = (copy.folder / "stand-ins" / "command").read_text()
    for folder in re.findall(r"/[^\s']+/\.snakemake/tmp\.\w+", command):
        Path(folder).mkdir()  # went with the snakemake that submitted, and is waited for
    found = []
    for _ in range(times):
        shard.unlink()
        found.append(copy.measure("/bin/sh", "-c", command))
        if not shard.exists():
            raise SystemExit(f"the job made no {shard}:\n{found[-1].output}")
    return min(found)


def measure_schedule(copy: Copy, options: list[str]) -> Used:
    """The main process from its start to the end of all training, Slurm's part left out."""
    return copy.snakemake("weights", *SLURM, *options)


def dry_cases() -> Iterator[dict[str, object]]:
    for name, runs_per_job, copy in _copies():
        used, jobs = measure_dry_run(copy)
        yield _row("dry run", name, runs_per_job, jobs, "", used)
        used, jobs = measure_dry_run(copy, "weights", *OPTIONS["batch 1/10"])
        yield _row("dry run", name, runs_per_job, jobs, "batch 1/10", used)


def start_cases() -> Iterator[dict[str, object]]:
    yield _row("import of Snakemake", "", 0, 0, "", measure_import(5))
    for name, runs_per_job, copy in _copies():
        yield _row("start of a job", name, runs_per_job, 1, "", measure_start(copy, 3))


def schedule_cases() -> Iterator[dict[str, object]]:
    for option, arguments in OPTIONS.items():
        for name, runs_per_job, copy in _copies():
            if copy.n_jobs() > LIMIT:
                continue
            used = measure_schedule(copy, arguments)
            yield _row("schedule", name, runs_per_job, copy.n_done(), option, used, copy.kept())


CASES = {"dry": dry_cases, "start": start_cases, "schedule": schedule_cases}


def _copies() -> Iterator[tuple[str, int, Copy]]:
    for name, study in STUDIES.items():
        for runs_per_job in RUNS_PER_JOB:
            with tempfile.TemporaryDirectory() as folder:
                yield name, runs_per_job, Copy(Path(folder) / "copy", study, runs_per_job)


def _row(
    case: str,
    study: str,
    runs_per_job: int,
    jobs: int,
    options: str,
    used: Used,
    kept: Sequence[int] = (),
) -> dict[str, object]:
    row = {
        "case": case,
        "study": study,
        "runs_per_job": runs_per_job,
        "jobs": jobs,
        "options": options,
        "cpu_seconds": round(used.cpu, 2),
        "peak_mb": round(used.peak_mb),
        "kept_files": len(kept),
        "kept_mb": round(sum(kept) / 1e6, 1),
    }
    line = "{:<20} {:<6} {:>3} {:>7,} {:<19} {:>7} s {:>6,} MB, keeps {:>6,} files, {} MB"
    print(line.format(*row.values()), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=CASES, nargs="+", default=list(CASES))
    arguments = parser.parse_args()
    rows = []
    for name in arguments.only:
        for row in CASES[name]():
            rows.append(row)
            write_table(pd.DataFrame(rows), arguments.out)


if __name__ == "__main__":
    main()
