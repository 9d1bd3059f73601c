"""What produced a study's results: configuration, code, packages, machines, cost.

    python -m analysis.provenance --config config.json --runs DIR ... --benchmarks DIR --out FILE
"""

import argparse
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pandas as pd

from models.files import replacing

CODE = ("Snakefile", "models/**/*.py", "analysis/**/*.py", "report/**/*", "workflow/**/*")


def code_hashes(root: Path) -> dict[str, str]:
    """SHA-256 of every file of the project that can change a result."""
    files = {path for pattern in CODE for path in root.glob(pattern) if path.is_file()}
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
        if "__pycache__" not in path.parts
    }


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def host() -> dict:
    return {
        "name": platform.node(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "python": platform.python_version(),
    }


def cost_by_rule(benchmarks: Path) -> dict[str, dict]:
    """Jobs, total seconds and largest memory of each rule, from Snakemake's benchmark files."""
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        table = pd.read_csv(path, sep="\t", na_values=["-"])
        rows.append((path.relative_to(benchmarks).parts[0].removesuffix(".tsv"), table))
    return {
        rule: {
            "jobs": len(tables := [table for name, table in rows if name == rule]),
            "seconds": float(sum(table["s"].sum() for table in tables)),
            "cpu_seconds": float(sum(table["cpu_time"].sum() for table in tables)),
            "peak_memory_mb": float(max(table["max_rss"].fillna(0).max() for table in tables)),
        }
        for rule in dict.fromkeys(name for name, _ in rows)
    }


def runs_record(folders: Iterable[Path]) -> dict[str, dict]:
    """What each training run recorded of itself: seconds, memory, attempt, host, threads."""
    return {
        str(folder): json.loads((folder / "metrics.json").read_text())["record"]
        for folder in folders
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--benchmarks", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    runs = runs_record(arguments.runs)
    record = {
        "config": json.loads(arguments.config.read_text()),
        "host": host(),
        "code": code_hashes(Path(__file__).resolve().parent.parent),
        "packages": {
            distribution.metadata["Name"]: distribution.version
            for distribution in sorted(metadata.distributions(), key=lambda d: d.name.lower())
        },
        "rules": cost_by_rule(arguments.benchmarks),
        "attempts": max(run["attempt"] for run in runs.values()),
        "resumed": False,  # a run that is killed starts again from its first step
        "runs": runs,
    }
    with replacing(arguments.out) as path:
        path.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
