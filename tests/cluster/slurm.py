"""A real Slurm of several virtual nodes on this machine, for the tests alone.

Its programs are Debian's, unpacked into a folder of the project and not installed; its daemons run
on loopback, with ports and a state folder of their own, as the user who starts them. Nothing of a
Slurm that is already there is read or changed: the commands are found through PATH, and each names
its configuration itself.
"""

import getpass
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PACKAGES = [
    "munge",
    "slurmctld",
    "slurmd",
    "slurm-client",
    "slurmdbd",
    "mariadb-server-core",
    "mariadb-client-core",
    "rsync",
]
DAEMONS = ["munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "slurmstepd"]
COMMANDS = [
    "sbatch",
    "srun",
    "squeue",
    "scancel",
    "scontrol",
    "sinfo",
    "sacct",
    "sacctmgr",
    "rsync",
]

NODES = ("n1", "n2", "n3")
CPUS, MEMORY_MB = 2, 16_000  # that each node claims; they share one machine
GPUS = ("/dev/null", "/dev/zero")  # of each node: Slurm asks only for character devices

CONFIG = """
ClusterName=weightscape
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[slurmctld]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
PluginDir={plugins}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/spool/slurmctld.pid
SlurmdPidFile={folder}/spool/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
JobRequeue=1
Epilog={folder}/epilog
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE


# short times, for tests
SlurmctldTimeout=30
SlurmdTimeout=15
KillWait=2
MinJobAge=300
MessageTimeout=5
InactiveLimit=0
WaitTime=0
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,sched_min_interval=0
PriorityType=priority/basic
# memory is enforced: who takes more than was asked for is killed within a second
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
DefMemPerCPU=500
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={ports[slurmdbd]}
AccountingStoragePass={folder}/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
AccountingStorageEnforce=associations,limits,qos
{nodes}
PartitionName=DEFAULT Nodes=ALL LLN=YES MaxTime=60 DefaultTime=5 PriorityTier=10 PreemptMode=OFF
PartitionName=main Default=YES
PartitionName=short MaxTime=5
PartitionName=gpu Nodes=n3
PartitionName=spot Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE
PartitionName=scavenge PriorityTier=1 PreemptMode=CANCEL
"""

ACCOUNTING = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost=localhost
DbdPort={ports[slurmdbd]}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[mariadbd]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
PluginDir={plugins}
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/spool/slurmdbd.pid
"""


class CannotRun(Exception):
    """This machine can't run the tests' Slurm; the text says why and what to do, in one line."""


class Programs:
    """Debian's Slurm, munge and MariaDB in a folder, without installing them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._unpack()
        places = [folder / "usr/sbin", folder / "usr/bin", Path("/usr/sbin"), Path("/usr/bin")]
        programs = [*DAEMONS, *COMMANDS, "mariadb", "mariadb-install-db"]
        self.paths = {
            program: next((p / program for p in places if (p / program).exists()), None)
            for program in programs
        }
        missing = sorted(name for name, path in self.paths.items() if path is None)
        if missing:
            raise CannotRun(f"{', '.join(missing)} can't be found; run `make clean` and try again")
        ours = [*folder.glob("usr/lib/*-linux-gnu"), *folder.glob("lib/*-linux-gnu")]
        libraries = [*ours, *Path("/usr/lib").glob("*-linux-gnu")]
        plugins = [path / "slurm-wlm" for path in libraries if (path / "slurm-wlm").is_dir()]
        self.plugins = ":".join(map(str, plugins))
        self.libraries = ":".join(str(p) for p in [*libraries, *plugins] if folder in p.parents)

    def _unpack(self) -> None:
        complete, wanted = self.folder / "complete", " ".join(PACKAGES)
        if complete.exists() and complete.read_text() == wanted:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        if not (shutil.which("apt-get") and shutil.which("dpkg")):
            raise CannotRun("the tests' Slurm comes from Debian's packages: run them on Debian")
        cache, lists = self.folder / "cache", self.folder / "lists"
        for folder in (cache, lists):
            (folder / "partial").mkdir(parents=True)
        options = ["-qq", "-o", f"Dir::Cache::archives={cache}", "-o", "Debug::NoLocking=1"]
        install = ["install", "--download-only", "--no-install-recommends", "-y", *PACKAGES]
        if _apt(*options, *install):  # there may be no lists of packages, or old ones
            options += ["-o", f"Dir::State::lists={lists}"]
            if reason := _apt(*options, "update") or _apt(*options, *install):
                raise CannotRun(f"Debian's packages of Slurm can't be downloaded: {reason}")
        for package in sorted(cache.glob("*.deb")):
            subprocess.run(["dpkg", "-x", package, self.folder], check=True)
        # a daemon tells by its name what it is, and without installation the name has a suffix
        for program in (self.folder / "usr/sbin").glob("*-wlm"):
            program.with_name(program.name.removesuffix("-wlm")).symlink_to(program.name)
        shutil.rmtree(cache)
        shutil.rmtree(lists)
        complete.write_text(wanted)


class Slurm:
    """The cluster: `with Slurm(programs, folder) as slurm` brings it up and takes it down."""

    def __init__(self, programs: Programs, folder: Path):
        self.programs, self.folder = programs, folder
        self.daemons: dict[str, subprocess.Popen] = {}
        names = ["slurmctld", "slurmdbd", "mariadbd", *NODES]
        self.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "etc/slurm.conf"),
            "LD_LIBRARY_PATH": programs.libraries,
        }

    def __enter__(self) -> "Slurm":
        try:
            self._up()
        except BaseException:
            self._down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._down()

    def _up(self) -> None:
        for name in ("etc", "log", "spool", "state", "munge", "database", "bin"):
            (self.folder / name).mkdir()
        self._configure()
        self._start_munge()
        self._start_accounting()
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait_for("nodes to be idle", lambda: self.states() == dict.fromkeys(NODES, "idle"))

    def _configure(self) -> None:
        host, user = socket.gethostname().split(".")[0], getpass.getuser()
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={self.ports[node]} "
            f"CPUs={CPUS} RealMemory={MEMORY_MB} Gres=gpu:fake:{len(GPUS)} State=UNKNOWN"
            for node in NODES
        ]
        known = {
            "host": host,
            "user": user,
            "folder": self.folder,
            "ports": self.ports,
            "plugins": self.programs.plugins,
            "nodes": "\n".join(nodes),
        }
        etc = self.folder / "etc"
        (etc / "slurm.conf").write_text(CONFIG.format(**known))
        (etc / "gres.conf").write_text(
            "".join(f"Name=gpu Type=fake File={device}\n" for device in GPUS)
        )
        # nothing above asks for control groups, and slurmd would set up those of version 2
        (etc / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (etc / "slurmdbd.conf").write_text(ACCOUNTING.format(**known))
        (etc / "slurmdbd.conf").chmod(0o600)
        self.set_epilog("")
        # the commands as jobs and tests find them: the plugin drops SLURM_CONF before it calls srun
        for command in COMMANDS:
            shim = self.folder / "bin" / command
            shim.write_text(
                f"#!/bin/sh\nSLURM_CONF={etc}/slurm.conf LD_LIBRARY_PATH={self.programs.libraries} "
                f'exec {self.programs.paths[command]} "$@"\n'
            )
            shim.chmod(0o755)

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        (folder / "key").write_bytes(secrets.token_bytes(128))
        (folder / "key").chmod(0o400)
        folder.chmod(0o755)
        files = {
            "key-file": "key",
            "socket": "socket",
            "pid-file": "pid",
            "log-file": "log",
            "seed-file": "seed",
        }
        options = [f"--{option}={folder / name}" for option, name in files.items()]
        self._start("munged", "munged", "--foreground", "--force", "--num-threads=2", *options)
        self.wait_for("munged", (folder / "socket").exists)

    def _start_accounting(self) -> None:
        data, user = self.folder / "database", getpass.getuser()
        base = self.programs.paths["mariadbd"].parents[1]
        common = ["--no-defaults", f"--user={user}", f"--datadir={data}", f"--basedir={base}"]
        self._call(
            "mariadb-install-db",
            *common,
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )
        self._start(
            "mariadbd",
            "mariadbd",
            *common,
            f"--socket={data}/socket",
            "--bind-address=127.0.0.1",
            f"--port={self.ports['mariadbd']}",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-lock-wait-timeout=900",
            "--skip-name-resolve",
        )
        statement = (
            "create user slurm@127.0.0.1 identified by 'slurm'; "
            "grant all on slurm_acct_db.* to slurm@127.0.0.1;"
        )
        client = ["mariadb", "--no-defaults", "-S", str(data / "socket"), "-u", "root", "-e"]
        self.wait_for("mariadbd", lambda: self._works(*client, "select 1"))
        self._call(*client, statement)
        self._start("slurmdbd", "slurmdbd", "-D")
        self.wait_for("slurmdbd", lambda: self._works("sacctmgr", "-n", "list", "cluster"))
        for what in (
            ["cluster", "weightscape"],
            ["account", "lab", "Cluster=weightscape"],
            ["qos", "few", "MaxSubmitJobsPerUser=2"],
            ["user", user, "Account=lab", "Cluster=weightscape"],
        ):
            self._call("sacctmgr", "-i", "add", *what)
        self._call("sacctmgr", "-i", "modify", "user", user, "set", "qos+=few")

    def start_controller(self) -> None:
        """slurmctld, with the jobs that it knew where it ran before."""
        self._start("slurmctld", "slurmctld", "-D")
        self.wait_for("slurmctld", lambda: "is UP" in self.output("scontrol", "ping"))

    def stop_controller(self) -> None:
        self._stop("slurmctld", signal.SIGTERM)

    def freeze_controller(self) -> None:
        """It answers nobody, and takes what it was sent when it goes on."""
        self.daemons["slurmctld"].send_signal(signal.SIGSTOP)

    def thaw_controller(self) -> None:
        self.daemons["slurmctld"].send_signal(signal.SIGCONT)

    def start_node(self, node: str) -> None:
        stepd = str(self.programs.paths["slurmstepd"])
        self._start(node, "slurmd", "-D", "-N", node, "-d", stepd)

    def kill_node(self, node: str) -> None:
        """What a node's death leaves: neither slurmd nor any process of its jobs."""
        jobs = self.output("squeue", "-h", "-w", node, "-t", "R", "-o", "%A").split()
        self._stop(node, signal.SIGKILL)
        steps = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                title = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                match = re.match(r"slurmstepd: \[(\d+)\.", title)
                if match and match[1] in jobs:
                    # at once: the batch step would tell the controller that another has failed
                    os.kill(int(process.name), signal.SIGSTOP)
                    steps.append(int(process.name))
        for step in steps:
            _kill_tree(step)

    def set_memory(self, seconds: int) -> None:
        """How long the controller remembers a job that has ended."""
        conf = self.folder / "etc/slurm.conf"
        conf.write_text(re.sub("MinJobAge=.*", f"MinJobAge={seconds}", conf.read_text()))
        self.output("scontrol", "reconfigure")

    def set_epilog(self, text: str) -> None:
        """Shell commands that each node runs after a job, before the job counts as ended."""
        epilog = self.folder / "epilog"
        aside = epilog.with_suffix(".new")
        aside.write_text(f"#!/bin/sh\n{text}\nexit 0\n")
        aside.chmod(0o755)
        aside.replace(epilog)

    def states(self) -> dict[str, str]:
        """Node -> its state."""
        lines = self.output("sinfo", "-h", "-N", "-p", "main", "-o", "%N %T").splitlines()
        return dict(line.split() for line in lines)

    def output(self, *command: str) -> str:
        """What a Slurm command prints, whether or not it succeeds."""
        return self._run(*command).stdout

    def cancel_all(self) -> None:
        """No job of an earlier test is left."""
        self._run("scancel", "--user", getpass.getuser())
        self.wait_for("jobs to end", lambda: not self.output("squeue", "-h").strip())

    def wait_for(self, what: str, condition: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            for name, daemon in self.daemons.items():
                if daemon.poll() is not None:
                    raise CannotRun(f"{name} ended ({daemon.returncode}): {self._last_words(name)}")
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds} s for {what}")
            time.sleep(0.1)

    def _last_words(self, name: str) -> str:
        text = (self.folder / "log" / f"{name}.out").read_text(errors="replace").strip()
        return text.splitlines()[-1] if text else "it said nothing"

    def _start(self, name: str, program: str, *arguments: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                # where the tests are killed and can't stop it, the kernel does
                ["setpriv", "--pdeathsig", "TERM", self.programs.paths[program], *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _stop(self, name: str, how: signal.Signals) -> None:
        daemon = self.daemons.pop(name)
        with suppress(ProcessLookupError):
            daemon.send_signal(how)
        try:
            daemon.wait(15)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.programs.paths[program], *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def _works(self, *command: str) -> bool:
        return self._run(*command).returncode == 0

    def _call(self, *command: str) -> None:
        done = self._run(*command)
        if done.returncode:
            raise CannotRun(f"{command[0]} failed: {' '.join((done.stdout + done.stderr).split())}")

    def _down(self) -> None:
        if "slurmctld" in self.daemons:
            with suppress(subprocess.TimeoutExpired, TimeoutError, CannotRun):
                self.cancel_all()
        for name in reversed(list(self.daemons)):
            self._stop(name, signal.SIGTERM)


def _apt(*arguments: str) -> str:
    """Why apt-get failed, in a line; empty if it did not."""
    done = subprocess.run(["apt-get", *arguments], capture_output=True, text=True, check=False)
    said = done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}"
    return said.splitlines()[-1] if done.returncode else ""


def _kill_tree(process: int) -> None:
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                _kill_tree(int(child))
        os.kill(process, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody uses now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
