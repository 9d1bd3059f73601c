"""Read what a job wrote into its log."""

import re
from pathlib import Path

LONGEST = 300  # characters of a line; the rest of a longer one is cut


def last_line(log: Path) -> str:
    """Return the last line of a job's log, or a line that says why it has no last line."""
    if not log.is_file():
        return "it has not been started"
    # A bar of progress goes back to the beginning of its line.
    last = re.split(r"[\r\n]", log.read_text(errors="replace").strip())[-1].strip()
    if len(last) > LONGEST:
        last = last[:LONGEST] + " …"
    return last or "it ended without a message"
