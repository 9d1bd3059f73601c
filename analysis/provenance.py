"""Describe what produced a study's results: settings, code, packages, machines and cost.

    python -m analysis.provenance --results results/<study> --code FILE ...

provenance.json has what each run and each job recorded, this machine, which may be another one than
theirs, and the hashes of the code.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import pandas as pd

from models.files import read_json, replacing
from models.folders import cell_place, run_folder, tuning_folder
from models.origin import of_files


def provenance(folder: Path, code: list[Path]) -> dict:
    """Return the content of a study's provenance.json."""
    study = read_json(folder / "config.json")
    runs, tuning = (pd.read_csv(folder / f"tables/{name}.csv") for name in ("runs", "tuning"))
    names = [*study["variants"], *study["interventions"]]
    cells = [cell_place(*cell) for cell in runs.groupby(["variant", "depth"], sort=False).groups]
    places = [
        run_folder(cell_place(run.variant, run.depth), run.budget, run.seed)
        for run in runs.itertuples()
    ]
    places += [
        tuning_folder(cell_place(run.variant, run.depth), run.budget, run.seed, run.lr)
        for run in tuning.itertuples()
    ]
    records = {place: read_json(folder / place / "metrics.json")["record"] for place in places}
    machines = {record["host"] for record in records.values()}
    resumed = sum(record["resumed_after_step"] > 0 for record in records.values())
    packages = sorted(metadata.distributions(), key=lambda package: package.name.lower())
    jobs = {"cell": cells, "measure": names}
    return {
        "project": project(),
        "config": study,
        "host": host(),
        "machines": {"number": len(machines), "same": machines == {platform.node()}},
        "code": {str(file): of_files([file]) for file in code},
        "packages": {package.metadata["Name"]: package.version for package in packages},
        "rules": {rule: rule_cost(folder / "benchmarks" / rule, jobs[rule]) for rule in jobs},
        "attempts": max(record["attempt"] for record in records.values()),
        "resumed": resumed > 0,
        "resumed_runs": resumed,
        "runs": records,
    }


def project() -> dict:
    """Return the version of the project and, of a Git checkout, its commit and the commit's day."""
    root = Path(__file__).resolve().parent.parent
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    found = {"version": settings["project"]["version"]}
    commands = {"commit": "git describe --always --dirty", "date": "git log -1 --format=%cs"}
    options = {"cwd": root, "text": True, "stderr": subprocess.DEVNULL}
    with suppress(OSError, subprocess.CalledProcessError):  # no Git, or no clone
        for name, command in commands.items():
            found[name] = subprocess.check_output(command.split(), **options).strip()
    return found


def host() -> dict:
    """Return what the system tells about this machine."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    return {
        "name": platform.node(),
        "system": platform.platform(),
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "python": platform.python_version(),
    }


def rule_cost(benchmarks: Path, names: list[str]) -> dict:
    """Return number, seconds and largest memory of a rule's finished jobs; None without a job."""
    paths = [path for name in names if (path := benchmarks / f"{name}.tsv").exists()]
    tables = [pd.read_csv(path, sep="\t", na_values="-") for path in paths]
    if not tables:
        return {"jobs": 0, **dict.fromkeys(("seconds", "cpu_seconds", "peak_memory_mb"))}
    jobs = pd.concat(tables).fillna({"cpu_time": 0, "max_rss": 0})
    return {
        "jobs": len(jobs),
        "seconds": float(jobs["s"].sum()),
        "cpu_seconds": float(jobs["cpu_time"].sum()),
        "peak_memory_mb": float(jobs["max_rss"].max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--code", type=Path, nargs="+", required=True)
    arguments = parser.parse_args()
    try:
        record = provenance(arguments.results, arguments.code)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    with replacing(arguments.results / "provenance.json") as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
