"""Render the paper of a published study, without training.

    python -m report.paper report/evidence/<study>
    python -m report.paper results/<study>/bundle.zip

The figures are drawn from the published tables. The folder report/published/, or for a bundle the
folder of its name, receives paper.html, paper.pdf and values.json.
"""

import argparse
import gzip
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from models.files import read_constant, replacing
from report.page import SCRIPTS
from report.publish import EVIDENCE, read
from report.render import render

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


def paper(evidence: Path, out: Path = PUBLISHED) -> None:
    """Write the paper of a study's evidence; a ValueError says what is wrong with it."""
    read(evidence)  # checks the sums
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / evidence.name
        shutil.copytree(evidence, results)
        tables = {path.name.removesuffix(".csv.gz"): path for path in results.glob("tables/*.gz")}
        for path in tables.values():
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
        scripts = [
            path
            for path in sorted(SCRIPTS.glob("[a-z]*.py"))
            if set(read_constant(path, "TABLES")) <= tables.keys()
        ]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda script: draw(script, results), scripts))
        render(results)
        for source, name in NAMES.items():
            with replacing(out / name) as path:
                shutil.copyfile(results / source, path)


@contextmanager
def unpacked(source: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the folder of a study's evidence, and the folder for its paper."""
    if source.is_dir():
        yield source, PUBLISHED
        return
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(source, folder, "zip")
        studies = list(Path(folder).glob("evidence/*"))
        if len(studies) != 1:
            raise ValueError(f"{source}: is no bundle of a study (report/bundle.py)")
        yield studies[0], source.with_suffix("")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="report/evidence/<study>, or a bundle")
    arguments = parser.parse_args()
    try:
        with unpacked(arguments.source) as (evidence, out):
            paper(evidence, out)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    for name in NAMES.values():
        print(out / name)


if __name__ == "__main__":
    main()
