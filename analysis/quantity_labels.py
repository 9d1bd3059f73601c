"""Name the measured quantities as figures and tables do."""

from functools import cache
from pathlib import Path

from models.files import read_constant


@cache
def quantity_labels() -> dict[str, str]:
    """Return the label of every quantity by "<measure>.<quantity>", in the order of the files."""
    measures = Path(__file__).resolve().parent.glob("measures/[a-z]*.py")
    return {
        f"{path.stem}.{name}": label
        for path in sorted(measures)
        for name, label in read_constant(path, "QUANTITIES").items()
    }
