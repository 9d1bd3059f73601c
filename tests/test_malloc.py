"""Which malloc the processes of jobs get."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import QUICK, copy_project, snakemake

from workflow.malloc import LIBRARIES, preload

FOLDER = Path(sys.prefix, "lib")
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
    assert "tbb" not in mapped()
    preload()
    assert all(str(FOLDER / name) in mapped() for name in LIBRARIES)


def test_who_preloads_something_keeps_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", str(FOLDER / LIBRARIES[0]))
    preload()
    assert LIBRARIES[1] not in mapped()


@pytest.mark.parametrize("name", ["a space", "a:colon", "one_library"])
def test_what_the_linker_cannot_load_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    folder = tmp_path / name
    folder.mkdir()
    for library in LIBRARIES[: 1 if name == "one_library" else 2]:
        (folder / library).symlink_to(FOLDER / library)
    preload(folder)
    assert "tbb" not in mapped()


def test_jobs_have_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    folder = copy_project(tmp_path)
    path = folder / "models/train.py"
    path.write_text(path.read_text().replace("import argparse\n", f"import argparse\n{MAPPED}\n"))
    done = snakemake(folder, "results/quick/runs/plain/depth8/seed0/metrics.json", *QUICK)
    assert done.returncode == 0, done.stderr
    assert LIBRARIES[1] in done.stdout
