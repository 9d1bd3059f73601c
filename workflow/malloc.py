"""A faster malloc for jobs.

PyTorch asks for memory and gives it back at every operation, which glibc is slow at. With oneTBB's
allocator, which comes with the other packages where there is one (Linux on x86-64), a small
network's step is shorter by a seventh to a fifth.
"""

import os
import re
import sys
from pathlib import Path

LIBRARIES = ("libtbbmalloc.so.2", "libtbbmalloc_proxy.so.2")


def preload(folder: Path = Path(sys.prefix, "lib")) -> None:
    """Processes that begin from now on use it if it is in `folder`. Who preloads something already,
    maybe another malloc, is not interfered with."""
    paths = [str(folder / name) for name in LIBRARIES]
    # The dynamic linker splits at spaces and colons, and tells of each name that it does not find.
    if all(map(os.path.exists, paths)) and not re.search(r"[\s:]", str(folder)):
        os.environ.setdefault("LD_PRELOAD", ":".join(paths))
