"""Start jobs that need PyTorch from a process that has already imported it.

The import of PyTorch takes as long as the training of a small network. So where Snakemake runs jobs
on its own machine, a command `python -m module ... 2> log` of certain modules does not go to a
shell. A helper process, which has imported PyTorch and nothing of this project, forks instead. The
child has the environment and the log of the command, and does what `python -m` does.
"""

import atexit
import gc
import importlib
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

MODULES = ("models.training.tune", "models.training.train", "analysis.measure")  # in many jobs
NAMES = "|".join(map(re.escape, MODULES))
WORD = r"[ \t]+(?:[\w./+-]+|'[^']*')"  # a shell leaves such a word as it is
COMMAND = re.compile(rf"set -euo pipefail;\s*python -m ({NAMES})((?:{WORD})*)[ \t]+2>([\w./+-]+)")
LARGEST = 2**16  # largest message, in bytes


class Child(NamedTuple):
    """A forked process, with the part of subprocess.Popen that Snakemake uses."""

    pid: int
    channel: socket.socket

    def wait(self) -> int:
        """Return the exit status, or minus the number of the signal that ended the process."""
        with self.channel:
            return int(self.channel.recv(LARGEST) or -signal.SIGKILL)


class Helper:
    """The process that forks, as Snakemake sees it. It starts with the first job."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        self.channel, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            # A library reads its number of threads when it is loaded, and threads do not survive a
            # fork. A job that wants more than one thread asks PyTorch for them.
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            command = [sys.executable, "-m", "workflow.warm", str(theirs.fileno())]
            # Ctrl-C waits until the helper has its own handler for it.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        atexit.register(self.end)

    def end(self) -> None:
        self.channel.close()
        self.process.wait()

    def fork(self, module: str, arguments: list[str], log: str, environment: dict) -> Child | None:
        """Return the new process, or None if the helper is gone or the message is too long."""
        message = json.dumps([module, arguments, log, environment]).encode()
        if len(message) > LARGEST:
            return None
        ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs, self.lock, suppress(ConnectionError):
            if not self.process:
                self.start()
            socket.send_fds(self.channel, [message], [theirs.fileno()])
        if pid := ours.recv(LARGEST):
            return Child(int(pid), ours)
        ours.close()
        return None


def start_warm() -> None:
    """Let a helper fork Snakemake's jobs of MODULES from now on."""
    python = shutil.which("python")
    if sys.platform != "linux" or not python or Path(python).parent != Path(sys.executable).parent:
        return  # a fork is not safe on other systems, and another Python may have another PyTorch
    helper = Helper()

    def popen(command: str, env: dict[str, str], **options: object) -> subprocess.Popen | Child:
        child = None
        if match := COMMAND.fullmatch(command):
            module, arguments, log = match.groups()
            child = helper.fork(module, shlex.split(arguments), log, env)
        return child or subprocess.Popen(command, env=env, **options)

    shell = importlib.import_module("snakemake.shell")
    shell.sp = SimpleNamespace(**{**vars(subprocess), "Popen": popen})


def wait_to_be_forked(control: socket.socket) -> list:
    """Fork a child for each message, and return the message in the child.

    The call does not return in the helper. Between the helper and each child is a keeper process,
    which waits for the child and sends Snakemake its exit status.
    """
    # Ctrl-C ends the children, including those that are not forked yet, and not the helper.
    told: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: told.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for name in ("torch", "pydantic.main"):
        importlib.import_module(name)
    gc.freeze()  # the collector's marks would make each child copy this memory
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers that have ended leave no zombie
    while True:
        message, descriptors, *_ = socket.recv_fds(control, LARGEST, 1)
        if not message:  # Snakemake has ended
            sys.exit()
        with socket.socket(fileno=descriptors[0]) as channel:
            if os.fork():
                continue
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if not (child := os.fork()):
                if told:
                    os._exit(128 + signal.SIGINT)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                channel.close()
                return json.loads(message)
            with suppress(ConnectionError):  # Snakemake was killed
                channel.send(str(child).encode())
                end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
                status = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
                channel.send(str(status).encode())
                channel.recv(1)  # no new process gets the child's number before Snakemake is done
            os._exit(0)


if __name__ == "__main__":
    snakemake = socket.socket(fileno=int(sys.argv[1]))
    name, sys.argv[1:], errors, variables = wait_to_be_forked(snakemake)
    os.environ.clear()
    os.environ.update(variables)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), 2)
    runpy.run_module(name, run_name="__main__", alter_sys=True)
