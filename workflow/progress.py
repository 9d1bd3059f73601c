"""What the screen shows: a forecast, the progress of the jobs, and errors even under --quiet."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent
from tqdm import tqdm

from models.logs import last_line

RULES = ("cell", "measure")  # the jobs that take long


class Progress(logging.Handler):
    """Move a bar at Snakemake's events, after a line that `forecast` makes of the planned jobs."""

    def __init__(self, quiet: set[Quietness] | None, forecast: Callable[[dict], str]):
        super().__init__()
        self.errors, self.forecast = Quietness.ALL in (quiet or ()), forecast
        self.jobs: set[int] = set()
        self.total = 0
        self.bar: tqdm | None = None

    def make_room(self, record: logging.LogRecord) -> bool:
        """Take the bar from its line, which another handler is about to use."""
        if self.bar:
            self.bar.clear()
        return True

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO and not self.total:  # a dry run has two of them
            self.total = sum(record.stats.get(rule, 0) for rule in RULES)
            if line := self.forecast(record.stats):
                tqdm.write(line, file=sys.stderr)
        elif event == LogEvent.JOB_STARTED and self.total and not self.bar:  # no dry run
            options = {"desc": "jobs", "unit": "job", "smoothing": 0, "disable": None}
            self.bar = tqdm(total=self.total, **options)  # on a terminal only
        elif event == LogEvent.JOB_INFO and record.rule_name in RULES:
            self.jobs.add(record.jobid)
        elif event == LogEvent.JOB_FINISHED and record.job_id in self.jobs and self.bar:
            self.jobs.remove(record.job_id)
            self.bar.update()
            if self.bar.n == self.total:
                self.bar.close()
        if event == LogEvent.JOB_ERROR and record.log:
            why, logs = last_line(Path(record.log[0])), " and ".join(record.log)
            tqdm.write(f"{record.rule_name}: {why}; see {logs}", file=sys.stderr)
        elif self.errors and record.levelno >= logging.ERROR:
            tqdm.write(record.getMessage(), file=sys.stderr)
        if self.bar:
            self.bar.refresh()
