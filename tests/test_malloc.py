"""Which malloc the processes of jobs get."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import QUICK, copy_project, snakemake

from workflow.malloc import LIBRARY, preload

MAPPED = "print(sorted({line.split()[-1] for line in open('/proc/self/maps') if 'malloc' in line}))"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="only Linux on x86-64 has it"
)


def mapped() -> str:
    """What a new process has loaded; fails if the dynamic linker says anything."""
    command = [sys.executable, "-c", MAPPED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout


def test_new_processes_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert "mimalloc" not in mapped()
    preload()
    assert str(LIBRARY) in mapped()


def test_who_preloads_something_keeps_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "libother_malloc.so"
    shutil.copy(LIBRARY, other)
    monkeypatch.setenv("LD_PRELOAD", str(other))
    preload()
    assert str(other) in mapped()
    assert str(LIBRARY) not in mapped()


@pytest.mark.parametrize("folder", ["a space", "a:colon"])
def test_a_path_that_the_linker_would_split_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    library = tmp_path / folder / LIBRARY.name
    library.parent.mkdir()
    shutil.copy(LIBRARY, library)
    preload(library)
    assert "mimalloc" not in mapped()


@pytest.mark.parametrize("content", [None, "not a library"])
def test_what_cannot_be_loaded_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    library = tmp_path / LIBRARY.name
    if content:
        library.write_text(content)
    preload(library)
    assert "mimalloc" not in mapped()


def test_jobs_have_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    folder = copy_project(tmp_path)
    path = folder / "models/train.py"
    path.write_text(path.read_text().replace("import argparse\n", f"import argparse\n{MAPPED}\n"))
    done = snakemake(folder, "results/quick/runs/plain/depth8/seed0/metrics.json", *QUICK)
    assert done.returncode == 0, done.stderr
    assert LIBRARY.name in done.stdout
