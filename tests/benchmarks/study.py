"""Time what the workflow adds to training and measuring, and how soon an edit shows.

The default study has to be finished here. The edits are made in a copy of this folder.
"""

import json
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pypdf import PdfReader

from tests.benchmarks.timing import Row, median_row
from tests.conftest import command
from workflow.config import ROOT

RESULTS = Path("results/default")
OVERHEAD = ("whole default study", "time inside training and measuring", "<= 1.2 x")
MAKE = "snakemake --cores 8"
NOTHING = ("no-op", MAKE, "<= 4 s")
SENTENCE = ("one sentence edited, to HTML and PDF", MAKE, "<= 6 s")
FIGURE = ("one figure edited, to it, HTML and PDF", MAKE, "<= 10 s")


def rows(rounds: int) -> Iterator[Row]:
    if not (ROOT / RESULTS / "report/report.pdf").exists():
        for row in (OVERHEAD, NOTHING, SENTENCE, FIGURE):
            yield Row(*row, None, note="not measured: the default study is not finished here")
        return
    yield overhead()
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "__pycache__"))
        for row, edit in ((NOTHING, nothing), (SENTENCE, sentence), (FIGURE, figure)):
            yield median_row(row, [edit(copy, i) for i in range(rounds)], "default study")


def overhead() -> Row:
    """Return wall time times cores over the seconds inside training and measuring.

    Runs record their seconds without the start of their process. The start is subtracted from the
    seconds of the jobs that measure.
    """
    results = ROOT / RESULTS
    ends = [path.stat().st_mtime for path in results.glob("benchmarks/**/*.tsv")]
    logs = [path.name.split(".snakemake")[0] for path in ROOT.glob(".snakemake/log/*.log")]
    starts = [datetime.strptime(name, "%Y-%m-%dT%H%M%S.%f").timestamp() for name in logs]
    begin = max(start for start in starts if start < min(ends))
    end = (results / "report/report.pdf").stat().st_mtime
    if any(begin < start < end for start in starts):
        return Row(*OVERHEAD, None, note="not measured: the study was not made in one go")
    startup = clock(ROOT, "analysis.measure", "--help")
    record = json.loads((results / "provenance.json").read_text())
    training = sum(run["train_seconds"] for run in record["runs"].values())
    measure = record["rules"]["measure"]
    measuring = measure["seconds"] - startup * measure["jobs"]
    spent = (end - begin) * record["host"]["cores"]
    note = f"{spent:.0f} core-seconds, {training:.0f} s training, {measuring:.0f} s measuring"
    return Row(*OVERHEAD, spent / (training + measuring), note=note)


def clock(folder: Path, *arguments: str, tells: str = "") -> float:
    """Return the seconds that a Python command takes; check what it tells."""
    start = time.perf_counter()
    done = command(*arguments, folder=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert tells in done.stdout + done.stderr, done.stderr[-3000:]
    return time.perf_counter() - start


def nothing(folder: Path, _: int) -> float:
    return clock(folder, *MAKE.split(), tells="Nothing to be done")


def sentence(folder: Path, i: int) -> float:
    """Return the seconds until both documents have a new sentence."""
    new = f"This is{' very' * (i + 1)} new."
    section = folder / "report/sections/provenance.md"
    section.write_text(f"{section.read_text()}\n{new}\n")
    taken = clock(folder, *MAKE.split())
    report = folder / RESULTS / "report"
    assert new in (report / "index.html").read_text()
    pages = PdfReader(report / "report.pdf").pages
    assert new in " ".join(" ".join(page.extract_text() for page in pages).split())
    return taken


def figure(folder: Path, i: int) -> float:
    """Return the seconds until a figure with larger points is in both documents."""
    script = folder / "analysis/figures/steps_to_fit.py"
    old, new = (f'"markersize": {size}' for size in (7 + i, 8 + i))
    script.write_text(script.read_text().replace(old, new))
    files = ("figures/steps_to_fit.svg", "report/index.html", "report/report.pdf")
    before = {folder / RESULTS / file: (folder / RESULTS / file).read_bytes() for file in files}
    taken = clock(folder, *MAKE.split())
    for path, old in before.items():
        assert path.read_bytes() != old, f"{path} has not changed"
    return taken
