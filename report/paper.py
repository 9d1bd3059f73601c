"""Render the paper of a published study, without training.

    python -m report.paper report/evidence/<study>
    python -m report.paper results/<study>/bundle.zip

The figures are drawn from the published tables. The folder report/published/, or for a bundle the
folder of its name, receives paper.html, paper.pdf and values.json.
"""

import gzip
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from models.files import read_constant, replacing
from report.page import SCRIPTS
from report.publish import EVIDENCE, read
from report.render import render
from report.results import command

PUBLISHED = EVIDENCE.parent / "published"
NAMES = {"report/index.html": "paper.html", "report/report.pdf": "paper.pdf"}
NAMES["values.json"] = "values.json"


def draw(script: Path, results: Path) -> None:
    """Draw one figure; a ValueError says why it cannot be drawn."""
    command = [sys.executable, "-m", "analysis.figure", script.stem, "--results", str(results)]
    command += ["--out", str(results / f"figures/{script.stem}.svg")]
    done = subprocess.run(command, cwd=EVIDENCE.parent.parent, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{script}: {done.stderr.strip()}")


def paper(evidence: Path, out: Path = PUBLISHED) -> str:
    """Write the paper of a study's evidence; return its paths, a line each.

    A ValueError says what is wrong with the evidence.
    """
    read(evidence)  # checks the sums
    with tempfile.TemporaryDirectory() as folder:
        results = shutil.copytree(evidence, Path(folder) / evidence.name)
        for table in results.glob("tables/*.gz"):
            table.with_suffix("").write_bytes(gzip.decompress(table.read_bytes()))
        tables = {table.stem for table in results.glob("tables/*.csv")}
        scripts = [
            path
            for path in sorted(SCRIPTS.glob("[a-z]*.py"))
            if tables.issuperset(read_constant(path, "TABLES"))
        ]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda script: draw(script, results), scripts))
        render(results)
        for source, name in NAMES.items():
            with replacing(out / name) as path:
                shutil.copyfile(results / source, path)
    return "\n".join(str(out / name) for name in NAMES.values())


def paper_of(source: Path) -> str:
    """Write the paper of a folder of evidence or of a bundle, as `paper` does."""
    if source.is_dir():
        return paper(source)
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(source, folder, "zip")
        studies = list(Path(folder).glob("evidence/*"))
        if len(studies) != 1:
            raise ValueError(f"{source}: is no bundle of a study (report/bundle.py)")
        return paper(studies[0], source.with_suffix(""))


if __name__ == "__main__":
    command(__doc__, paper_of, "report/evidence/<study>, or a bundle")
