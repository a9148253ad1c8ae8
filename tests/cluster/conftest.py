"""The tests' Slurm, and the project on it."""

import copy
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from project import ROOT, Project
from slurm import CannotRun, Programs, Slurm

POLLING = Path(__file__).with_name("polling.py")
PATIENCE = 240  # seconds that any wait of a test may take

# 12 runs in three jobs, a second or two a run
STUDY = {
    "study": "cluster",
    "populations": [{"model": "dnn", "dataset": "digits", "widths": [30], "seeds": 12}],
    "runs_per_job": 4,
    "training": {"epochs": 600},
}
SHARD = "dnn/digits/width-30/seeds-0000-0003.h5"  # of one of the jobs
# what pretends to train: it notes who trains what, takes its time, and writes a shard in one go
STUB = """#!/bin/sh
shard=$1; seeds=${1##*/seeds-}; seeds=${seeds%.h5}
[ -e "$shard" ] && exit
echo "$seeds $SLURM_JOB_ID" >> trained.txt
sleep "$(cat "seconds-$seeds.txt" 2>/dev/null || cat seconds.txt)" || exit  # it may be killed first
echo "$SLURM_JOB_ID" > "$shard.$SLURM_JOB_ID"
mv "$shard.$SLURM_JOB_ID" "$shard"
"""
# in place of a job's Snakemakes, which cost seconds, sbatch is given the stub alone
SBATCH = r"""#!/bin/sh
echo "$*" >> sbatch.txt
case "$*" in *--test-only*) exec {sbatch} "$@" ;; esac
{before}
for last; do :; done
run=${{last#*--target-jobs \'train_runs:model=}}; run=${{run%%\'*}}
model=${{run%%,*}}; run=${{run#*,dataset=}}
dataset=${{run%%,*}}; run=${{run#*,width=}}
folder=$model/$dataset/width-${{run%%,*}}; seeds=seeds-${{run#*,seeds=}}
mkdir -p "{results}/weights/$folder" "{results}/benchmarks/train_runs/$folder"
: > "{results}/benchmarks/train_runs/$folder/$seeds.jsonl"
left=$#
while [ $left -gt 1 ]; do first=$1; shift; set -- "$@" "$first"; left=$((left-1)); done
shift
exec {sbatch} "$@" --wrap="sh stub.sh {results}/weights/$folder/$seeds.h5"
"""
ONE_JOB = f"results/cluster/weights/{SHARD}"  # for Snakemake


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    # what a script starts in the background ignores Ctrl-C, and so would each snakemake here
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        programs = Programs(ROOT / ".slurm")
        with (
            # a short path: sockets are in it
            tempfile.TemporaryDirectory(prefix="weightscape-") as folder,
            Slurm(programs, Path(folder)) as cluster,
        ):
            yield cluster
    except CannotRun as error:
        pytest.exit(f"make test-slurm: {error}", returncode=1)


class ClusterProject(Project):
    """A checkout whose `snakemake` submits to the tests' Slurm, with the profile of users."""

    def __init__(self, folder: Path, study: dict, slurm: Slurm):
        super().__init__(folder, study)
        self.slurm = slurm
        self.started: list[Running] = []
        self.profile = "slurm"
        self.program = [str(POLLING)]
        self.environment["PATH"] = f"{slurm.folder}/bin:{os.environ['PATH']}"

    def command(self, *arguments: str) -> list[str]:
        _, _, _, *rest = super().command(*arguments)
        options = [
            "--workflow-profile",
            f"profiles/{self.profile}",
            "--slurm-init-seconds-before-status-checks",
            "1",
        ]
        return [sys.executable, *self.program, *rest, *options]

    def start(self, *arguments: str) -> "Running":
        """`snakemake ARGUMENTS` in the background."""
        self.started.append(Running(self, self.command(*arguments)))
        return self.started[-1]

    def jobs(self) -> list[dict[str, str]]:
        """The jobs of this folder that Slurm remembers: id, state, node, comment, limits."""
        fields = {
            "id": "%A",
            "state": "%T",
            "node": "%N",
            "comment": "%k",
            "minutes": "%l",
            "memory": "%m",
            "folder": "%Z",
            "name": "%j",
            "gres": "%b",
        }
        wanted = f"--format={'|'.join(fields.values())}"
        text = self.slurm.output("squeue", "--states=all", "--noheader", "--sort=i", wanted)
        jobs = [dict(zip(fields, line.split("|"), strict=True)) for line in text.splitlines()]
        return [job for job in jobs if job["folder"] == str(self.folder)]

    def training(self, state: str | None = None) -> list[dict[str, str]]:
        """The training jobs among them, in one state or in any."""
        return [
            job
            for job in self.jobs()
            if job["comment"].startswith("rule_train_runs") and state in (None, job["state"])
        ]

    def start_requeued(self) -> None:
        """Slurm waits two minutes before it starts a job again: this is not what is tested."""
        if waiting := ",".join(job["id"] for job in self.training("PENDING")):
            self.slurm.output("scontrol", "update", f"jobid={waiting}", "StartTime=now")

    def log(self, job: dict[str, str]) -> str:
        """What the last attempt at a training job's work has logged."""
        seeds = job["comment"].rpartition("_")[2]
        return next(self.results.glob(f"logs/**/seeds-{seeds}.log")).read_text()

    def finished(self) -> set[int]:
        """Seeds of the runs that unfinished jobs have finished."""
        paths = self.results.glob("unfinished/*/*/width-*/seed-*.h5")
        return {int(path.stem.removeprefix("seed-")) for path in paths}


class StubProject(ClusterProject):
    """The same, which pretends to train: a run a job, each in no time or in `seconds`."""

    def __init__(self, folder: Path, study: dict, slurm: Slurm):
        super().__init__(folder, study, slurm)
        (folder / "stub.sh").write_text(STUB)
        (folder / "shims").mkdir()
        self.environment["PATH"] = f"{folder / 'shims'}:{self.environment['PATH']}"
        self.set_seconds(0)
        self.before_submissions(":")

    @classmethod
    def create(cls, folder: Path, study: dict, slurm: Slurm) -> "StubProject":
        Project.create(folder, study)
        (folder / "results/datasets").mkdir(parents=True)
        (folder / "results/datasets/digits.h5").touch()
        return cls(folder, study, slurm)

    def use_real_jobs(self) -> None:
        """With their Snakemakes; only the training is pretended."""
        (self.folder / "shims/sbatch").unlink()
        script = self.folder / "workflow/scripts/train_runs.py"
        call = "subprocess.run(['sh', 'stub.sh', snakemake.output[0]], check=True)"
        script.write_text(f"import subprocess\n\n{call}\n")

    def set_seconds(self, seconds: float, seeds: str = "") -> None:
        """Of all runs, or of one."""
        name = f"seconds-{seeds}.txt" if seeds else "seconds.txt"
        (self.folder / name).write_text(str(seconds))

    def before_submissions(self, command: str) -> None:
        """A shell command that is run before each submission, and not when one is only tried."""
        shim, sbatch = self.folder / "shims/sbatch", self.slurm.folder / "bin/sbatch"
        results = self.results.relative_to(self.folder)
        shim.write_text(SBATCH.format(sbatch=sbatch, before=command, results=results))
        shim.chmod(0o755)

    def submissions(self) -> int:
        """How often sbatch was called to submit."""
        calls = (self.folder / "sbatch.txt").read_text().splitlines()
        return sum("--test-only" not in call for call in calls)

    def trained(self) -> dict[str, list[str]]:
        """Seeds -> the jobs that trained them."""
        path, found = self.folder / "trained.txt", {}
        for line in path.read_text().splitlines() if path.exists() else []:
            seeds, job = line.split()
            found.setdefault(seeds, []).append(job)
        return found

    def check_trained_once(self, n_runs: int) -> None:
        """Each run by one job, whose shard is there."""
        trained = self.trained()
        assert len(trained) == n_runs
        assert {len(jobs) for jobs in trained.values()} == {1}, trained
        shards = {
            path.stem: path.read_text().strip() for path in self.results.glob("weights/**/*.h5")
        }
        assert shards == {f"seeds-{seeds}": jobs[0] for seeds, jobs in trained.items()}


class Running:
    """A snakemake in the background."""

    def __init__(self, project: ClusterProject, command: list[str]):
        self.output = project.folder / f"snakemake-{time.monotonic_ns()}.txt"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                command,
                cwd=project.folder,
                env=project.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def wait(self, meanwhile: Callable[[], object] = lambda: None) -> str:
        """All that it printed; it must succeed. Until then `meanwhile` is called now and again."""
        until(lambda: meanwhile() or self.process.poll() is not None)
        assert self.process.returncode == 0, self.text
        return self.text

    def kill(self) -> None:
        """As a power cut does it, without a word to its jobs."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> object:
    """The first true value of `condition`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds} s"
        time.sleep(0.2)
    return value


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The study, trained here without Slurm and without faults; only to be copied."""
    project = Project.create(tmp_path_factory.mktemp("trained") / "project", STUDY)
    project.succeed("weights")
    return project


@pytest.fixture(scope="session")
def undisturbed(trained: Project) -> dict[str, bytes]:
    """Its shards."""
    return trained.shards()


@pytest.fixture
def stubs(slurm: Slurm, tmp_path: Path) -> Iterator[StubProject]:
    """A study of four runs, one in a job, that only pretends to train."""
    study = {"study": "stubs", "populations": [STUDY["populations"][0] | {"seeds": 4}]}
    yield from use(StubProject.create(tmp_path / "stubs", study, slurm))


@pytest.fixture
def project(trained: Project, slurm: Slurm, tmp_path: Path) -> Iterator[ClusterProject]:
    """A fresh study; only its images are prepared, and gradients compiled."""
    folder = trained.copy(tmp_path / "project").folder
    project = ClusterProject(folder, copy.deepcopy(STUDY), slurm)
    shutil.rmtree(project.results)
    yield from use(project)


def use(project: ClusterProject) -> Iterator[ClusterProject]:
    """Until a test has ended; nothing of it is left to the next."""
    try:
        yield project
    finally:
        project.slurm.thaw_controller()
        for snakemake in project.started:
            snakemake.kill()
        project.slurm.set_epilog("")
        project.slurm.cancel_all()
