"""Test which malloc new processes get; test_surroundings.py shows that jobs do."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workflow.malloc import LIBRARY, preload

MAPPED = "print(sorted({line.split()[-1] for line in open('/proc/self/maps') if 'malloc' in line}))"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="the library is for Linux on x86-64",
)


def mapped() -> str:
    """Return the malloc that a new process has loaded. The dynamic linker must print nothing."""
    command = [sys.executable, "-c", MAPPED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout


def test_a_library_that_the_user_preloads_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "libother_malloc.so"
    shutil.copy(LIBRARY, other)
    monkeypatch.setenv("LD_PRELOAD", str(other))
    preload()
    assert str(other) in mapped()
    assert str(LIBRARY) not in mapped()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a space.so", LIBRARY),  # the dynamic linker would split the path
        ("a:colon.so", LIBRARY),
        ("text.so", Path(__file__)),
        ("missing.so", None),
    ],
)
def test_a_library_that_cannot_be_loaded_is_not_preloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: Path | None
) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    if content:
        shutil.copy(content, tmp_path / name)
    preload(tmp_path / name)
    assert "LD_PRELOAD" not in os.environ
    assert "malloc" not in mapped()
