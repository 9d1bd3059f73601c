"""A faster malloc for jobs.

PyTorch asks for memory and gives it back at every operation, which glibc is slow at. With mimalloc,
which comes with the other packages where there is one (Linux on x86-64), a small network's step is
shorter by a fifth.
"""

import ctypes
import os
import re
import sysconfig
from pathlib import Path

LIBRARY = Path(sysconfig.get_path("platlib"), "cmeel.prefix/lib/libmimalloc.so.3")


def preload(library: Path = LIBRARY) -> None:
    """Processes that begin from now on use it if it can be loaded. Who preloads something already,
    maybe another malloc, is not interfered with."""
    try:
        ctypes.CDLL(str(library))
    except OSError:  # it is not installed, or what it needs is not: GCC's libatomic
        return
    if not re.search(r"[\s:]", str(library)):  # where the dynamic linker would split
        os.environ.setdefault("LD_PRELOAD", str(library))
