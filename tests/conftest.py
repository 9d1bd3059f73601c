"""The quick study, run once for all tests, in a copy of the project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

# Small networks, and as many processes as processors: more threads would wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("Snakefile", "environment.yml", "models", "analysis", "report", "workflow")
QUICK = ("--cores", "2", "--configfile", "workflow/config/quick.yaml")


LONGEST = ("test_slurm", "test_resume", "test_own_images", "test_kill", "test_warm", "test_paper")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that processes side by side end together."""
    last = len(LONGEST)
    items.sort(
        key=lambda item: LONGEST.index(name) if (name := item.path.stem) in LONGEST else last
    )


def copy_project(folder: Path) -> Path:
    """A copy of all that Snakemake needs."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(
                ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy2(ROOT / part, folder / part)
    return folder


def environment(first: str = "") -> dict[str, str]:
    """This process's, with this Python first on the path, but for what is to come before it."""
    path = f"{first}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path}


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip


def command(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run one of the project's modules."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def quick_project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A copy of the project in which the quick study has been run, one for all test processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "quick"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = copy_project(tmp_path_factory.mktemp("project"))
            finished = snakemake(unfinished, *QUICK)
            assert finished.returncode == 0, finished.stderr[-3000:]
            unfinished.rename(folder)
    return folder


@pytest.fixture(scope="session")
def quick_study(quick_project: Path) -> Path:
    """The results of the quick study."""
    return quick_project / "results/quick"
