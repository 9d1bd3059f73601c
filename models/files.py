"""Files that are either whole or absent."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` when the block succeeds.

    A reader, or a run killed in the middle, never sees half a file. The folder is made if absent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say of which file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Remove the temporary files that killed writers of `path` left. None may be writing it now."""
    for temporary in path.parent.glob(f".{path.name}.????????"):
        temporary.unlink()
