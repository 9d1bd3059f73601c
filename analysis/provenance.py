"""Describe what produced a study's results: settings, code, packages, machines and cost."""

import hashlib
import os
import platform
import re
from importlib import metadata
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
CODE = ("Snakefile", "models/**/*.py", "analysis/**/*.py", "report/**/*", "workflow/**/*")


def provenance(folder: Path, study: dict, results: dict[Path, dict], jobs: dict) -> dict:
    """Return the content of a study's provenance.json, from the results of runs by their folders.

    `jobs` has a list of the names of each rule's jobs; Snakemake wrote a benchmark of each.
    """
    records = {str(run): result["record"] for run, result in results.items()}
    resumed = sum(record["resumed_after_step"] > 0 for record in records.values())
    packages = sorted(metadata.distributions(), key=lambda package: package.name.lower())
    costs = {
        rule: rule_cost([folder / f"benchmarks/{rule}/{name}.tsv" for name in names])
        for rule, names in sorted(jobs.items())
    }
    return {
        "config": study,
        "host": host(),
        "code": code_hashes(),
        "packages": {package.metadata["Name"]: package.version for package in packages},
        "rules": {rule: cost for rule, cost in costs.items() if cost},
        "attempts": max(record["attempt"] for record in records.values()),
        "resumed": resumed > 0,
        "resumed_runs": resumed,
        "runs": records,
    }


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


def code_hashes() -> dict[str, str]:
    """Return the SHA-256 of every file of the project that can change a result."""
    paths = {path for pattern in CODE for path in ROOT.glob(pattern)}
    return {
        str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
        if path.is_file() and "__pycache__" not in path.parts
    }


def rule_cost(benchmarks: list[Path]) -> dict:
    """Return number, seconds and largest memory of a rule's finished jobs, if there are any."""
    tables = [pd.read_csv(path, sep="\t", na_values="-") for path in benchmarks if path.exists()]
    if not tables:
        return {}
    jobs = pd.concat(tables).fillna({"cpu_time": 0, "max_rss": 0})
    return {
        "jobs": len(jobs),
        "seconds": float(jobs["s"].sum()),
        "cpu_seconds": float(jobs["cpu_time"].sum()),
        "peak_memory_mb": float(jobs["max_rss"].max()),
    }
