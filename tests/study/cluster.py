"""A throw-away SLURM cluster on this machine: real daemons, nodes that only claim to be large.

Everything runs as root on the loopback interface, without systemd: munged, slurmctld, one slurmd a
node. Eight GPUs a node are character devices that nothing opens: SLURM counts and hands them out,
and sets CUDA_VISIBLE_DEVICES, as it does with real ones.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge")
CONFIGURATION = Path("/etc/slurm")  # job steps lose SLURM_CONF: they read it only from here
FILES = ("slurm.conf", "gres.conf")
NAME = "crosslens"
PREFIX = f"{NAME}-slurm-"
GPUS = 8
MODEL = "h100"

SLURM_CONF = """\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool/%n
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.%n.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={home}/jobs.log
MpiDefault=none
ReturnToService=2
SchedulerParameters=bf_interval=1,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000
SlurmdParameters=config_overrides
GresTypes=gpu
MinJobAge=3600
KillWait=2
SlurmdTimeout=30
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
    "CPUs=128 RealMemory=2000000 Gres=gpu:{model}:{gpus} Weight={number}\n"
)


class Cluster:
    """`nodes` nodes with eight GPUs each, in one partition `gpu`; the first is filled first."""

    def __init__(self, home: Path, nodes: int) -> None:
        self.home = home
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]

    def start(self) -> None:
        """Write the configuration, start the daemons, wait until every node is idle."""
        self.configure()
        call("mungekey", "--create", "--keyfile", str(self.home / "munge.key"))
        call("munged", *self.munge())
        call("slurmctld", "-c")
        for node in self.nodes:
            self.start_node(node)
        wait(lambda: len(self.idle()) == len(self.nodes), 60, "every node is idle")

    def configure(self) -> None:
        """slurm.conf, gres.conf and the GPUs' device files."""
        host = socket.gethostname().split(".")[0]
        text = SLURM_CONF.format(name=NAME, host=host, home=self.home)
        for number, name in enumerate(self.nodes, 1):
            values = {"host": host, "port": 16820 + number, "model": MODEL, "gpus": GPUS}
            text += NODE.format(name=name, number=number, **values)
            (self.home / "spool" / name).mkdir(parents=True)
        text += f"PartitionName=gpu Nodes={','.join(self.nodes)} Default=YES MaxTime=INFINITE\n"
        (self.home / "slurm.conf").write_text(text)
        for number in range(GPUS):  # 195: NVIDIA's device number, from which SLURM takes the index
            os.mknod(self.home / f"nvidia{number}", 0o600 | 0o020000, os.makedev(195, number))
        gpus = f"Name=gpu Type={MODEL} File={self.home}/nvidia[0-{GPUS - 1}]\n"
        (self.home / "gres.conf").write_text(
            "".join(f"NodeName={name} {gpus}" for name in self.nodes)
        )
        for name in FILES:
            (CONFIGURATION / name).symlink_to(self.home / name)

    def munge(self) -> list[str]:
        """munged's own files."""
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
        files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
        return [f"--{option}={self.home / name}" for option, name in files.items()]

    def start_node(self, node: str) -> None:
        """Start a node's slurmd: it registers, and the node is back."""
        call("slurmd", "-N", node)

    def kill_node(self, node: str) -> None:
        """Kill a node at once with all that runs on it."""
        file = self.home / f"slurmd.{node}.pid"
        pids = [int(file.read_text())]
        file.unlink()  # its number may soon be another process's
        for job in self.jobs("--nodelist", node):
            pids += [*steps(job), *processes(job)]
        for pid in pids:
            kill(pid, signal.SIGKILL)

    def set_state(self, state: str) -> None:
        """`drain`: no further job starts; `resume`: they do again."""
        nodes = f"NodeName={','.join(self.nodes)}"
        ask("scontrol", "update", nodes, f"State={state}", "Reason=test")

    def idle(self) -> list[str]:
        """Nodes on which nothing runs."""
        return ask("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N").split()

    def jobs(self, *options: str, folder: Path | None = None) -> list[str]:
        """Ids of the jobs that wait or run; with `folder`, of those submitted from there."""
        lines = ask("squeue", "--noheader", "--format=%i %Z", *options).splitlines()
        found = (line.split(" ", 1) for line in lines)
        return [id_ for id_, where in found if folder in (None, Path(where))]

    def occupy(self, node: str) -> str:
        """Another user's job on one GPU of a node; its id."""
        asked = ("--gpus=1", f"--nodelist={node}", "--output=/dev/null", "--wrap", "sleep 1000")
        return ask("sbatch", "--parsable", *asked)

    def find(self, comment: str) -> str:
        """Id of the job with this comment that waits or runs, "" if there is none."""
        lines = ask("squeue", "--noheader", "--format=%i %k").splitlines()
        return next((line.split()[0] for line in lines if line.endswith(f" {comment}")), "")

    def job(self, id_: str) -> dict[str, str]:
        """Return what SLURM says of one job, for an hour after its end."""
        return dict(re.findall(r"(\S+?)=(\S*)", ask("scontrol", "--details", "show", "job", id_)))

    def stop(self) -> None:
        """Kill all jobs, stop the daemons in order, remove what was written."""
        for pid in [*processes(), *steps()]:
            kill(pid, signal.SIGKILL)
        last = [self.home / name for name in ("slurmctld.pid", "munged.pid")]
        for file in [*self.home.glob("slurmd.*.pid"), *last]:
            if file.is_file():
                end(int(file.read_text()))
        for file in (CONFIGURATION / name for name in FILES):
            if file.is_symlink() and file.readlink().parent == self.home:
                file.unlink()
        shutil.rmtree(self.home, ignore_errors=True)


def own() -> Path | None:
    """Home of the cluster that this machine's configuration is of, if it is one of these."""
    file = CONFIGURATION / "slurm.conf"
    home = file.readlink().parent if file.is_symlink() else None
    return home if home and home.name.startswith(PREFIX) else None


@contextmanager
def alone() -> Iterator[None]:
    """One cluster at a time: the ports and the configuration exist once."""
    CONFIGURATION.mkdir(exist_ok=True)
    folder = os.open(CONFIGURATION, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextmanager
def running(nodes: int) -> Iterator[Cluster]:
    """Run a cluster while the block runs; its packages are installed if they are missing.

    Raises FileExistsError where the machine has a cluster's configuration.
    """
    with alone():
        install()
        if home := own():  # of a test that was killed
            Cluster(home, nodes).stop()
        home = Path(tempfile.mkdtemp(prefix=PREFIX))
        home.chmod(0o755)  # munged wants its socket where everybody can reach it
        cluster = Cluster(home, nodes)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def install() -> None:
    """Debian's packages of SLURM, without starting their services."""
    if all(shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch", "munged")):
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        subprocess.run(
            ["apt-get", "-qq", *command], env=environment, stdout=subprocess.DEVNULL, check=True
        )


def ask(*command: str) -> str:
    """Output of one of SLURM's commands."""
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def call(name: str, *arguments: str) -> None:
    """Run one of the daemons; it goes on in the background."""
    path = shutil.which(name) or f"/usr/sbin/{name}"
    environment = {key: value for key, value in os.environ.items() if key != "SLURM_CONF"}
    subprocess.run([path, *arguments], env=environment, check=True, timeout=60)


def processes(job: str = "", script: str = "") -> dict[int, dict[str, str]]:
    """Process ids and environments of a job's (or, without an id, all jobs') processes.

    With `script`, only of those whose command line contains it.
    """
    found = {}
    for pid, command, environment in listed():
        of_cluster = environment.get("SLURM_CLUSTER_NAME") == NAME
        of_job = job in ("", environment.get("SLURM_JOB_ID"))
        if of_cluster and of_job and script in command:
            found[pid] = environment
    return found


def steps(job: str = "") -> list[int]:
    """Process ids of the daemons that watch over a job's (or all jobs') steps."""
    start = f"slurmstepd: [{job}." if job else "slurmstepd: ["
    return [pid for pid, command, _ in listed() if command.startswith(start)]


def listed() -> Iterator[tuple[int, str, dict[str, str]]]:
    """Process id, command line and environment of every process on this machine."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            words = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended meanwhile
            continue
        yield int(folder.name), command, dict(w.partition("=")[::2] for w in words if "=" in w)


def kill(pid: int, sign: int) -> None:
    """Send a signal to a process if it is still there."""
    try:
        os.kill(pid, sign)
    except ProcessLookupError:
        return


def end(pid: int) -> None:
    """Ask a daemon to end, and end it if it does not."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        kill(pid, sign)
        with suppress(AssertionError):
            wait(lambda: not alive(pid), 30, f"{pid} has ended")
            return


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait(condition: Callable[[], object], seconds: float, what: str) -> object:
    """Poll until a condition holds; its value. Fails when it does not within `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")
