"""Test that what a user's shell has set, and where a user starts, do not change what happens."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import QUICK, ROOT, copy_project, snakemake
from test_malloc import MAPPED

from workflow.malloc import LIBRARY


def test_jobs_run_the_python_that_runs_snakemake_with_mimalloc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start it as .venv/bin/snakemake is started where nobody activated the environment."""
    for name, value in {"PYTHONSAFEPATH": "1", "PYTHONOPTIMIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    folder = copy_project(tmp_path)
    path = folder / "analysis/errata.py"
    path.write_text(path.read_text().replace("import argparse\n", f"import argparse\n{MAPPED}\n"))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "results/quick/tables/errata.csv", *QUICK],
        cwd=folder, env={**os.environ, "PATH": os.defpath},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (LIBRARY.name in done.stdout) == LIBRARY.exists()  # see test_malloc.py


def test_snakemake_says_where_to_start_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    project = copy_project(tmp_path)
    for folder, options in (
        (project, ["--directory", "elsewhere"]),
        (project / "elsewhere", ["--snakefile", "../Snakefile"]),
    ):
        done = snakemake(folder, "--cores", "1", *options)
        assert done.returncode == 1
        line = f"error: start Snakemake in the project's folder, {project}"
        assert done.stderr.splitlines() == [line]


def test_make_installs_with_any_python_and_any_settings_of_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_USER", "PIP_TARGET", "PIP_PREFIX"):
        monkeypatch.setenv(name, "1")
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "workflow/envs").mkdir(parents=True)
    (tmp_path / "workflow/envs/requirements.txt").write_text("# nothing\n")
    shims = tmp_path / "my tools"
    shims.mkdir()
    (shims / "python3").write_text("#!/bin/sh\nexit 127\n")  # as where no version is chosen
    (shims / "python3").chmod(0o755)
    (shims / "python3.13").symlink_to(sys.executable)
    path = f"{shims}{os.pathsep}{os.defpath}"
    done = subprocess.run(
        ["make", ".venv/installed"],
        cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    home = (tmp_path / ".venv/pyvenv.cfg").read_text()
    assert f"executable = {Path(sys.executable).resolve()}" in home
    # Snakemake counts the cores that it may use, as taskset and clusters set them.
    shown = subprocess.run(
        ["make", "--dry-run", "report"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "snakemake --cores all " in shown.stdout
