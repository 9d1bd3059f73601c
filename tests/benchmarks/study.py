"""The workflow: what it adds to training and measuring, and how soon an edit shows.

Edits are made in a copy of this folder in which the default study is finished, or else the quick
one.
"""

import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pypdf import PdfReader

from tests.benchmarks.timing import Row
from tests.conftest import snakemake
from workflow.study import ROOT

STUDIES = {"default": [], "quick": ["--configfile", "workflow/config/quick.yaml"]}
OVERHEAD = ("whole default study", "time inside training and measuring", "<= 1.25 x")
NOTHING = ("no-op", "snakemake --cores 8", "<= 4 s")
SENTENCE = ("one sentence edited, to HTML and PDF", "snakemake --cores 8", "<= 6 s")
FIGURE = ("one figure edited, to it, HTML and PDF", "snakemake --cores 8", "<= 10 s")
VARIANT = ("a variant added, runs of others", "snakemake --dry-run", "<= 0 runs")


def rows(rounds: int) -> Iterator[Row]:
    yield overhead()
    finished = [name for name in STUDIES if (ROOT / f"results/{name}/report/report.pdf").exists()]
    if not finished:
        for row in (NOTHING, SENTENCE, FIGURE, VARIANT):
            yield Row(*row, None, note="not measured: no study is finished here")
        return
    study = finished[0]
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "__pycache__"))
        yield timed(NOTHING, study, [nothing(copy, study) for _ in range(rounds)])
        yield timed(SENTENCE, study, [sentence(copy, study, i) for i in range(rounds)])
        yield timed(FIGURE, study, [figure(copy, study, i) for i in range(rounds)])
        yield variant(copy, study)


def overhead() -> Row:
    """Wall time times cores over the seconds that runs note of themselves, which are without the
    start of their processes, and those of the jobs that measure, less as much."""
    results = ROOT / "results/default"
    report = results / "report/report.pdf"
    if not report.exists():
        return Row(*OVERHEAD, None, note="not measured: it is not finished here")
    ends = [path.stat().st_mtime for path in results.glob("benchmarks/**/*.tsv")]
    logs = [path.name.split(".snakemake")[0] for path in ROOT.glob(".snakemake/log/*.log")]
    starts = [datetime.strptime(name, "%Y-%m-%dT%H%M%S.%f").timestamp() for name in logs]
    begin, end = max(start for start in starts if start < min(ends)), report.stat().st_mtime
    if any(begin < start < end for start in starts):
        return Row(*OVERHEAD, None, note="not measured: it was not made in one go")
    # Jobs begin in a process that has PyTorch.
    startup = started("-m", "analysis.measure", "--help") - started("-c", "import torch")
    record = json.loads((results / "provenance.json").read_text())
    training = sum(run["train_seconds"] for run in record["runs"].values())
    measure = record["rules"]["measure"]
    measuring = measure["seconds"] - startup * measure["jobs"]
    spent = (end - begin) * record["host"]["cores"]
    note = f"{spent:.0f} core-seconds, {training:.0f} s training, {measuring:.0f} s measuring"
    return Row(*OVERHEAD, spent / (training + measuring), note=note)


def started(*arguments: str) -> float:
    """Seconds that Python takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - start


def timed(row: tuple[str, str, str], study: str, taken: list[float]) -> Row:
    return Row(*row, statistics.median(taken), min(taken), max(taken), f"{study} study")


def make(folder: Path, study: str, *options: str) -> tuple[float, str]:
    """Seconds that Snakemake takes, and what it says.

    Raises:
        AssertionError: it fails.
    """
    start = time.perf_counter()
    done = snakemake(folder, "--cores", "8", *STUDIES[study], *options)
    assert done.returncode == 0, done.stderr[-3000:]
    return time.perf_counter() - start, done.stdout + done.stderr


def nothing(folder: Path, study: str) -> float:
    taken, told = make(folder, study)
    assert "Nothing to be done" in told, told
    return taken


def sentence(folder: Path, study: str, i: int) -> float:
    """Until both documents have a new sentence."""
    new = f"This is{' very' * (i + 1)} new."
    section = folder / "report/sections/limitations.md"
    section.write_text(f"{section.read_text()}\n{new}\n")
    taken, _ = make(folder, study)
    report = folder / f"results/{study}/report"
    assert new in (report / "index.html").read_text()
    pages = PdfReader(report / "report.pdf").pages
    assert new in " ".join(" ".join(page.extract_text() for page in pages).split())
    return taken


def figure(folder: Path, study: str, i: int) -> float:
    """Until a figure with larger points is in both documents."""
    script = folder / "analysis/figures/interaction.py"
    script.write_text(script.read_text().replace(f"size={3 + i}", f"size={4 + i}"))
    results = folder / f"results/{study}"
    files = ("figures/interaction.svg", "report/index.html", "report/report.pdf")
    before = [(results / file).read_bytes() for file in files]
    taken, _ = make(folder, study)
    for file, old in zip(files, before, strict=True):
        assert (results / file).read_bytes() != old, f"{file} has not changed"
    return taken


def variant(folder: Path, study: str) -> Row:
    """Jobs that a dry run plans, of the new variant and of others."""
    name = "residual_half_one"
    for file, old, new in (
        (
            "workflow/config/variants.yaml",
            "plain: {",
            f"{name}: {{shortcut: scaled, span: 1}}\nplain: {{",
        ),
        ("workflow/config/default.yaml", "residual_bn]", f"residual_bn, {name}]"),
        (
            "analysis/looks.py",
            "LOOKS = {",
            f'LOOKS = {{"{name}": Look("half, one", "residual_bn"),',
        ),
    ):
        path = folder / file
        path.write_text(path.read_text().replace(old, new, 1))
    told = make(folder, study, "--dry-run")[1]
    jobs = re.findall(
        r"^rule (?:tune|train|measure):\n(?:    .+\n)*?    wildcards: variant=(\w+)", told, re.M
    )
    own = jobs.count(name)
    assert own, told
    return Row(*VARIANT, len(jobs) - own, note=f"{own} of its own; {study} study")
