"""What the screen shows: what is about to be done, how long the rest of it will take, and how to go
on after a kill."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent
from tqdm import tqdm

Forecast = Callable[[dict[str, int]], str]  # from the number of jobs of each rule to a line


class Progress(logging.Handler):
    """A tqdm bar moved by Snakemake's own events; it counts the jobs of some rules.

    Before that, and in a dry run, it prints the forecast, if there is one. With `errors` it also
    prints what went wrong, for Snakemake under --quiet all does not.
    """

    def __init__(self, rules: list[str], errors: bool, forecast: Forecast):
        super().__init__()
        self.rules = rules
        self.errors = errors
        self.forecast = forecast
        self.total = 0
        self.jobs: set[int] = set()
        self.bar: tqdm | None = None

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self.total = sum(record.stats.get(rule, 0) for rule in self.rules)
            if line := self.forecast(record.stats):
                tqdm.write(line, file=sys.stderr)
        elif event == LogEvent.JOB_STARTED and self.total and not self.bar:
            # Not before: a dry run announces its jobs too.
            self.bar = tqdm(total=self.total, desc="training", unit="job", smoothing=0.1)
        elif event == LogEvent.JOB_INFO and record.rule_name in self.rules:
            self.jobs.add(record.jobid)
        elif event == LogEvent.JOB_FINISHED and record.job_id in self.jobs and self.bar:
            self.jobs.remove(record.job_id)
            self.bar.update()
            if self.bar.n == self.total:
                self.bar.close()
        if self.errors and record.levelno >= logging.ERROR:
            logs = [f"; see {path}" for path in getattr(record, "log", None) or []]
            tqdm.write(record.getMessage() + "".join(logs), file=sys.stderr)


def show_progress(rules: list[str], errors: bool, forecast: Forecast) -> None:
    """Follow the jobs of `rules` from now on."""
    logger.addHandler(Progress(rules, errors, forecast))


class KillExplained(logging.Filter):
    """Says in one line why Snakemake will not start after a kill, and what to do.

    Snakemake's own lock does not tell whether the process that made it is alive. The one here,
    which the system lifts when its process ends, does.
    """

    THEIRS = ("Directory cannot be locked", "The files below seem to be incomplete")

    def __init__(self, folder: Path):
        super().__init__()
        folder.mkdir(exist_ok=True)
        self.lock = FileLock(folder / "alive.lock")  # held for the life of the process
        try:
            self.lock.acquire(blocking=False)
            self.why = (
                "error: a run in this folder was killed; clear its lock with snakemake --unlock, "
                "then run the same command again with --rerun-incomplete"
            )
        except Timeout:
            self.why = "error: another snakemake is at work in this folder; wait until it is done"

    def filter(self, record: logging.LogRecord) -> bool:
        if any(theirs in record.getMessage() for theirs in self.THEIRS):
            record.msg, record.args = self.why, ()
        return True


def explain_kill() -> None:
    """Explain Snakemake's refusal to start beside a running or after a killed one."""
    logger.addFilter(KillExplained(Path(".snakemake")))
