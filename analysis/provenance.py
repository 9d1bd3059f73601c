"""What produced a study's results: configuration, code, packages, machines, cost.

python -m analysis.provenance --config config.json --runs DIR ...
    --benchmarks FILE ... --out FILE
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


def cost_by_rule(benchmarks: Iterable[Path]) -> dict[str, dict]:
    """Jobs, total seconds and largest memory of each rule, from Snakemake's benchmark files,
    which lie in benchmarks/<rule>/ or are benchmarks/<rule>.tsv."""
    tables = [
        pd.read_csv(path, sep="\t", na_values=["-", "NA"]).assign(
            rule=Path(*path.parts[path.parts.index("benchmarks") + 1 :]).parts[0]
        )
        for path in benchmarks
    ]
    jobs = pd.concat(tables).fillna({"cpu_time": 0, "max_rss": 0}).groupby("rule")
    return {
        rule.removesuffix(".tsv"): {
            "jobs": len(rows),
            "seconds": float(rows["s"].sum()),
            "cpu_seconds": float(rows["cpu_time"].sum()),
            "peak_memory_mb": float(rows["max_rss"].max()),
        }
        for rule, rows in jobs
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
    parser.add_argument("--benchmarks", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    runs = runs_record(arguments.runs)
    resumed = sum(run["resumed_after_step"] > 0 for run in runs.values())
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
        "resumed": resumed > 0,
        "resumed_runs": resumed,
        "runs": runs,
    }
    with replacing(arguments.out) as path:
        path.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
