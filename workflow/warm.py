"""Jobs that need PyTorch begin in a process that has it in memory.

To import PyTorch takes as long as to train a small network. Where Snakemake runs jobs on its own
machine, commands of the form `python -m module ... 2> log` of some modules are therefore not given
to a shell. A helper, which has imported PyTorch and nothing of this project, forks instead: the
child is a process like any other, with the command's environment and log, and does what
`python -m` does. Rules, benchmarks and logs do not notice.
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

MODULES = ("models.tune", "models.train", "analysis.measure")  # those that many jobs run
NAMES = "|".join(map(re.escape, MODULES))
WORD = r"[ \t]+(?:[\w./+-]+|'[^']*')"  # in which a shell would replace nothing
COMMAND = re.compile(
    rf"set -euo pipefail;\s*python -m ({NAMES})((?:{WORD})*)[ \t]+2>([\w./+-]+)",
)
LARGEST = 2**16  # bytes of a message


class Helper:
    """The process that forks, from Snakemake's side. It begins with the first job that asks."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        self.channel, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            # A library reads its number of threads when it is loaded. Threads do not survive a
            # fork; who wants more than one says so to PyTorch.
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            command = [sys.executable, "-m", "workflow.warm", str(theirs.fileno())]
            # Ctrl-C waits until the helper knows what to do about it.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        atexit.register(self.end)

    def end(self) -> None:
        self.channel.close()
        self.process.wait()

    def fork(
        self, module: str, arguments: list[str], log: str, environment: dict[str, str]
    ) -> "Child | None":
        """None if there is no helper any more, or that is too much for a message to it."""
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


class Child:
    """As much of subprocess.Popen as Snakemake asks for."""

    def __init__(self, pid: int, channel: socket.socket):
        self.pid = pid
        self.channel = channel

    def wait(self) -> int:
        """Its exit status; minus the signal's number if one ended it, or its keeper."""
        with self.channel:
            return int(self.channel.recv(LARGEST) or -signal.SIGKILL)


def start_warm() -> None:
    """From now on Snakemake's jobs of MODULES are forks of a helper, begun with the first."""
    python = shutil.which("python")
    if sys.platform != "linux" or not python or Path(python).parent != Path(sys.executable).parent:
        return  # another system's fork is not safe, and another Python may have another PyTorch
    helper = Helper()

    def popen(command: str, env: dict[str, str], **options: object) -> subprocess.Popen | Child:
        child = None
        if match := COMMAND.fullmatch(command):
            module, arguments, log = match.groups()
            child = helper.fork(module, shlex.split(arguments), log, env)
        return child or subprocess.Popen(command, env=env, **options)

    shell = importlib.import_module("snakemake.shell")
    shell.sp = SimpleNamespace(**{**vars(subprocess), "Popen": popen})


def bury(*_: object) -> None:
    """Take note of keepers that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def wait_to_be_forked(control: socket.socket) -> list:
    """What a child is to do; in the helper it does not return.

    Between the helper and each child is a keeper, which waits for the child and tells its end.
    """
    # Ctrl-C ends the children, those too that are asked for and not yet there, and not the helper.
    told: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: told.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    importlib.import_module("torch")
    gc.freeze()  # not to be copied for the sake of the collector's marks
    signal.signal(signal.SIGCHLD, bury)
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
                channel.recv(1)  # its number stays its own until Snakemake has done with it
            os._exit(0)


if __name__ == "__main__":
    name, sys.argv[1:], errors, variables = wait_to_be_forked(
        socket.socket(fileno=int(sys.argv[1]))
    )
    os.environ.clear()
    os.environ.update(variables)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), 2)
    runpy.run_module(name, run_name="__main__", alter_sys=True)
