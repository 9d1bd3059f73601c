"""Run the quick study once for all tests, in a copy of the project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from filelock import FileLock

# As many test processes run as there are processors, so more threads would wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

ROOT = Path(__file__).resolve().parent.parent
QUICK = ("--cores", "2", "--configfile", "workflow/config/quick.yaml")
LONGEST = ("test_slurm", "test_own_images", "test_dag", "test_kill", "test_paper", "test_measures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that processes side by side end together."""
    items.sort(key=lambda item: (*LONGEST, item.path.stem).index(item.path.stem))


def copy_project(folder: Path) -> Path:
    """Copy all that Snakemake needs into a folder, and return the folder."""
    for file in ("Snakefile", "environment.yml", "pyproject.toml"):
        shutil.copy2(ROOT / file, folder)
    for part in ("models", "analysis", "report", "workflow"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def command(
    module: str, *arguments: object, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a module as a command."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command("snakemake", *arguments, folder=folder)


def in_process(module: ModuleType, *arguments: object) -> None:
    """Run the command of a module in this process, without the seconds that its imports take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        module.main()


@pytest.fixture(scope="session")
def quick_project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a copy of the project with the finished quick study, shared by all test processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "quick"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = copy_project(tmp_path_factory.mktemp("project"))
            finished = snakemake(unfinished, *QUICK)
            assert finished.returncode == 0, finished.stderr[-3000:]
            unfinished.rename(folder)
    return folder


@pytest.fixture
def finished(quick_project: Path, tmp_path: Path) -> Path:
    """Return a copy of the project with the finished quick study, to edit."""
    return shutil.copytree(quick_project, tmp_path / "project", copy_function=shutil.copy2)


@pytest.fixture(scope="session")
def quick_study(quick_project: Path) -> Path:
    """Return the results of the quick study."""
    return quick_project / "results/quick"
