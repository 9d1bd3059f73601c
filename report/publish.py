"""Published results of a study: write them into the repository, and check them when they are read.

    python -m report.publish results/<study>

The folder report/evidence/<study>/ receives config.json, claims.json, registered_claims.yaml,
data.json (the data set), provenance.json (machines, versions, cost), the tables as csv.gz, and
SHA256SUMS. The same results give the same bytes.
"""

import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path

from analysis.tables import KEYS, TRAINED
from models.files import read_json, replacing
from models.origin import of_files
from report.results import Results, command, known

EVIDENCE = Path(__file__).resolve().parent / "evidence"
SUMS = "SHA256SUMS"
LAYOUT = 1  # of these folders; a change of files or columns counts it up
LARGEST = 4 * 2**20  # bytes of a study
COLUMNS = {"runs": [*KEYS, *TRAINED], "steps_to_fit": ["variant", "depth", "seed", "steps"]}
LARGE = "history"  # a table that is left out


def publish(results: Path, evidence: Path = EVIDENCE) -> Path:
    """Write a study's evidence, and return its folder; a ValueError says what is wrong."""
    study = Results(results)
    if len(study.table("missing")):
        raise ValueError(f"{results}: the study is not finished; see tables/missing.csv")
    names = ("config.json", "claims.json", "registered_claims.yaml")
    contents = {name: (results / name).read_bytes() for name in names}
    contents["data.json"] = json.dumps(study.manifest, indent=2).encode()
    contents["provenance.json"] = json.dumps(summary(results), indent=2).encode()
    for table in sorted(results.glob("tables/*.csv")):
        if table.stem != LARGE:
            contents[f"tables/{table.name}.gz"] = gzip.compress(table.read_bytes(), mtime=0)
    if (size := sum(map(len, contents.values()))) > LARGEST:
        raise ValueError(f"{results}: {size} bytes of evidence are more than {LARGEST}")
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    contents[SUMS] = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
    folder = evidence / study.config["study"]
    for old in [path for path in folder.rglob("*") if path.is_file()]:
        old.unlink()
    for name, content in contents.items():
        with replacing(folder / name) as path:
            path.write_bytes(content)
    return folder


def summary(results: Path) -> dict:
    """Return a study's provenance without the record of each run."""
    record = read_json(results / "provenance.json")
    runs = record.pop("runs").values()
    devices = Counter(f"{run['device']}, PyTorch {run['torch']}" for run in runs)
    record["host"].pop("name")
    return {
        "layout": LAYOUT,
        "trained_on": dict(sorted(devices.items())),
        "cpu_minutes": sum(run["cpu_seconds"] for run in runs) / 60,
        **record,
    }


def read(folder: Path) -> Results:
    """Return published results; a ValueError of one line says what is wrong with them."""
    for line in (folder / SUMS).read_text().splitlines():
        digest, name = line.split("  ", 1)
        path = folder / name
        if not path.is_file() or of_files([path]) != digest:
            raise ValueError(f"{path}: is missing, or not what {SUMS} says; publish it again")
    layout = read_json(folder / "provenance.json").get("layout")
    if layout != LAYOUT:
        raise ValueError(f"{folder}: has layout {layout}, expected {LAYOUT}; publish it again")
    results = Results(folder)
    for table, columns in COLUMNS.items():
        for column in columns:
            known(column, results.table(table), f"column of {folder / table}")
    return results


def published(own: str, evidence: Path = EVIDENCE) -> dict[str, Results]:
    """Return the published studies by name, without the one that has the name of one's own."""
    folders = sorted(path.parent for path in evidence.glob(f"*/{SUMS}"))
    return {folder.name: read(folder) for folder in folders if folder.name != own}


if __name__ == "__main__":
    command(__doc__, publish)
