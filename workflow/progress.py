"""What is about to be done, how much of it is, and how long the rest will take, on the screen."""

import logging
import sys
from collections.abc import Callable

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
