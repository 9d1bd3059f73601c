"""Pack a finished study into one archive, from which its paper can be rendered anywhere.

    python -m report.bundle results/<study>

The archive results/<study>/bundle.zip is an RO-Crate (https://w3id.org/ro/crate): it has the kind
and the SHA-256 of each file. It holds evidence/<study>/ (see report/publish.py), the paper, the
figures with their data, and run.json of every run, which repeats that run.
"""

import tempfile
import tomllib
from pathlib import Path

from rocrate.rocrate import ROCrate

from models.files import replacing
from models.origin import of_files
from report.paper import NAMES
from report.publish import EVIDENCE, publish
from report.results import command

RUNS = "runs/**/run.json"
FORMATS = {
    ".gz": "application/gzip", ".html": "text/html", ".json": "application/json",
    ".pdf": "application/pdf", ".svg": "image/svg+xml", ".yaml": "application/yaml",
}  # fmt: skip


def bundle(results: Path) -> Path:
    """Write a study's archive, and return its path; a ValueError says what is wrong."""
    about = (EVIDENCE.parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(about)["project"]
    crate = ROCrate()
    crate.description = project["description"]
    crate.license = f"https://spdx.org/licenses/{project['license']}"
    with tempfile.TemporaryDirectory() as folder:
        evidence = publish(results, Path(folder, "evidence"))
        crate.name = f"The study {evidence.name} of network degradation"
        own = [*map(results.joinpath, NAMES), *(results / "figures").iterdir(), *results.glob(RUNS)]
        files = {path: path.relative_to(results) for path in own}
        files |= {path: path.relative_to(folder) for path in evidence.rglob("*") if path.is_file()}
        for path, name in sorted(files.items()):
            kind = FORMATS.get(path.suffix, "text/plain")
            facts = {"name": str(name), "encodingFormat": kind, "sha256": of_files([path])}
            crate.add_file(path, str(name), properties=facts)
        with replacing(results / "bundle.zip") as archive:
            archive.write_bytes(Path(crate.write_zip(Path(folder, "bundle.zip"))).read_bytes())
    return results / "bundle.zip"


if __name__ == "__main__":
    command(__doc__, bundle)
