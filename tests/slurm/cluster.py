"""A Slurm of one node on loopback. All of its files are in one folder.

python tests/slurm/cluster.py   # a shell in which sbatch, squeue and snakemake use it
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

TEMPLATE = Path(__file__).with_name("slurm.conf")
SYSTEM = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"  # where the daemons are
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")


def lacking() -> str | None:
    """Return why Slurm cannot run here, or None if it can."""
    for program in PROGRAMS:
        if not shutil.which(program, path=SYSTEM):
            return f"{program} is not installed (Debian: munge slurm-client slurmctld slurmd)"
    host = socket.gethostname()
    try:
        local = socket.gethostbyname(host).startswith("127.")
    except OSError:
        local = False
    return None if local else f"{host}, the name of this machine, is not on loopback (/etc/hosts)"


class Cluster:
    """A context in which Slurm runs. Its users, and this Python, need `environment`."""

    def __init__(self, folder: Path, cpus: int = 2):
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen] = {}
        configuration = folder / "slurm.conf"
        self.commands = {
            "munged": [
                "munged", "--foreground", "--num-threads=2", f"--key-file={folder}/munge.key",
                f"--socket={folder}/munge.sock", f"--pid-file={folder}/munged.pid",
                f"--seed-file={folder}/munge.seed", f"--log-file={folder}/munged.log",
            ],
            "slurmctld": ["slurmctld", "-D", "-f", str(configuration)],
            "slurmd": ["slurmd", "-D", "-N", "node", "-f", str(configuration)],
        }  # fmt: skip
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), f"{folder}/bin", SYSTEM]),
            "SLURM_CONF": str(configuration),
            "MUNGE": f"{folder}/munge.sock",
        }
        for name in ("bin", "state", "spool"):
            (folder / name).mkdir(parents=True)
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        folder.chmod(0o755)  # munge asks that all users can reach its socket
        free = ("127.0.0.1", 0)
        with socket.create_server(free) as one, socket.create_server(free) as other:
            controller_port, node_port = (port.getsockname()[1] for port in (one, other))
        configuration.write_text(
            TEMPLATE.read_text().format(
                folder=folder, host=socket.gethostname().split(".")[0], user=getpass.getuser(),
                cpus=cpus, controller_port=controller_port, node_port=node_port,
            )
        )  # fmt: skip
        (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        # Snakemake's jobs drop SLURM_CONF before they call srun; elsewhere it is in /etc/slurm.
        srun = folder / "bin/srun"
        real = shutil.which("srun", path=SYSTEM)
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {real} "$@"\n')
        srun.chmod(0o755)

    def __enter__(self) -> "Cluster":
        try:
            self.start("munged")
            self.until("munge --no-input --socket $MUNGE")
            self.start("slurmctld")
            self.until("scontrol ping")
            self.start("slurmd")
            self.until("sinfo --noheader --format %t | grep -qx idle")
        except TimeoutError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(TimeoutError):  # steps outlive the daemon that started them
            self.until('scancel --user $(id -un) && test -z "$(squeue --noheader)"')
        for name in reversed(self.daemons):
            self.stop(name)

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.out").open("a") as log:
            self.daemons[name] = subprocess.Popen(
                self.commands[name], env=self.environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        self.daemons[name].send_signal(number)
        self.daemons[name].wait(10)

    def ask(self, *command: str, check: bool = True) -> str:
        """Return what one of Slurm's commands prints."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=check
        ).stdout

    def until(self, command: str, seconds: int = 30) -> None:
        """Wait until a line of shell succeeds."""
        end = time.monotonic() + seconds
        while subprocess.run(
            command, shell=True, env=self.environment, capture_output=True
        ).returncode:
            if time.monotonic() > end:
                logs = [path.read_text()[-2000:] for path in sorted(self.folder.glob("*.out"))]
                raise TimeoutError(f"{command}\n" + "\n".join(logs))
            time.sleep(0.1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name, Cluster(Path(name)) as cluster:
        subprocess.run([os.environ.get("SHELL", "sh")], env=cluster.environment, check=False)
