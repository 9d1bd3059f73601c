"""Add one of each kind to a copy of the project, count the files that it touches, and use it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, copy_project, snakemake
from test_dag import FIGURES, TABLES, planned

from models.files import read_json, read_yaml


def add(project: Path, changes: dict[str, tuple[str, str]]) -> int:
    """Put text before the first place of another text, or at the end of a file; count the files."""
    for file, (before, new) in changes.items():
        path = project / file
        old = path.read_text() if path.exists() else ""
        assert before in old, file
        cut = old.index(before) if before else len(old)
        path.write_text(old[:cut] + new + old[cut:])
    return len(changes)


def run(project: Path, *arguments: str) -> str:
    """Run Python in a project, and return what it prints."""
    words = [sys.executable, *arguments]
    return subprocess.run(words, cwd=project, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_the_tutorial_puts_a_network_a_claim_and_a_figure_into_the_paper(finished: Path) -> None:
    *parts, _ = (ROOT / "workflow/TUTORIAL.md").read_text().split("```")
    *changes, (last, command) = zip(parts[::2], parts[1::2], strict=True)
    files = set()
    for told, block in changes:
        file, *above = re.findall("`(.+?)`", told.strip().splitlines()[-1])
        new = block.partition("\n")[2]  # without the name of the language
        add(finished, {file: (f"\n{above[0]}", f"\n{new[:-1]}") if above else ("", new)})
        files.add(file)
    assert len(files) == len(changes) == 5
    assert planned(finished) == {"cell": 2, "measure": 1, **TABLES, "figure": FIGURES + 1}

    assert last.endswith("Run:\n\n")
    command = command.removeprefix("sh\n")
    subprocess.run(command, shell=True, cwd=finished, check=True)
    study = finished / "results/quick"
    claim = read_yaml(finished / "report/claims.yaml")["claims"][-1]
    judged = read_json(study / "claims.json")["claims"][-1]
    assert claim["id"] == judged["id"] == "tanh_fits_better"
    page = (study / "report/index.html").read_text(encoding="utf-8")
    assert ">plain + BN, tanh</span></td>" in page
    assert claim["sentences"][judged["verdict"]].removesuffix(".") in page
    assert 'id="fig-tanh"' in page


def test_a_level_of_a_factor_touches_two_files(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    level = '            case "softplus":\n                return nn.Softplus()\n'
    assert add(project, {
        "models/variant.py": ('"tailored_relu"', '"softplus", '),
        "models/network.py": ('            case "tailored_relu":', level),
    }) == 2  # fmt: skip
    build = (
        "import torch; from models.network import Network; from models.variant import Factors;"
        "network = Network(Factors(activation='softplus'), 8, 4, (1, 1, 40), 10);"
        "print(network(torch.zeros(2, 1, 1, 40)).shape, 'Softplus' in str(network))"
    )
    assert run(project, "-c", build) == "torch.Size([2, 10]) True\n"


def test_a_data_set_touches_two_files(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    reader = (
        "def stripes() -> Arrays:\n"
        '    """Return images of 8 x 8 pixels with two kinds of stripes."""\n'
        "    x, y = np.zeros((60, 1, 8, 8), np.uint8), np.arange(60, dtype=np.uint8) % 2\n"
        "    x[y == 0, :, ::2], x[y == 1, :, :, ::2] = 255, 255\n"
        "    return Arrays(x[:40], y[:40], x[40:], y[40:])\n\n\n"
    )
    source = '    "stripes": Source("stripes", stripes, 40, (1, 8, 8), None),\n'
    study = "study: stripes\ndataset: stripes\ntraining: {batch_size: 20, warmup_steps: 1}\n"
    readers = "models/data/readers.py"
    settings = {"workflow/config/stripes.yaml": ("", study)}
    assert add(project, {readers: ("SOURCES = {\n", reader), **settings}) == 2
    add(project, {readers: ('    "mnist1d": Source(', source)})
    stripes = ("--cores", "1", "--configfile", "workflow/config/stripes.yaml")
    done = snakemake(project, "prepare_data", *stripes)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((project / "results/data/stripes.json").read_text())
    assert (manifest["train_examples"], manifest["shape"]) == (40, [1, 8, 8])


MEASURE = '''"""Measure the size of the weights: the norm of each convolution's."""

from collections.abc import Iterator

from torch import nn

from analysis.run import Subject, mean

SETTINGS = {}
QUANTITIES = {"norm": "norm of the weights"}


def measure(subject: Subject) -> Iterator[dict]:
    for module in subject.network.modules():
        if isinstance(module, nn.Conv2d):
            yield {"norm": module.weight.norm().item()}


def quantities(rows: list[dict]) -> dict[str, float]:
    return {"norm": mean([row["norm"] for row in rows])}
'''
SETTINGS = "  weight_size:\n    at: {variants: [end], interventions: [end]}\n"
SENTENCE = '\nWeights measure << quantity("weight_size.norm", "plain", deep, "end") >>.\n'


def test_a_measure_touches_three_files_and_reaches_the_paper(finished: Path) -> None:
    assert add(finished, {
        "analysis/measures/weight_size.py": ("", MEASURE),
        "workflow/config/default.yaml": ("  gradient_flow:\n", SETTINGS),
        "report/sections/answer.md": ("", SENTENCE),
    }) == 3  # fmt: skip
    assert planned(finished) == {"measure": 6, **TABLES}

    # Measure one network only, and put its rows into the tables.
    study = finished / "results/quick"
    folder = f"{study}/runs/plain"
    runs = [f"{folder}/depth{depth}/budget2/seed{seed}" for depth in (8, 14) for seed in (0, 1)]
    at_end = json.dumps({"weight_size": {"at": ["end"]}})
    out = ("--out", str(study / "measures/new"))
    run(finished, "-m", "analysis.measure", "--measures", at_end, *out, "--runs", *runs)
    rows = (study / "measures/new/quantities.csv").read_text().splitlines()[1:]
    assert len(rows) == 4
    with (study / "tables/quantities.csv").open("a") as table:
        table.write("\n".join(rows) + "\n")

    results = ("--results", str(study.relative_to(finished)))
    run(finished, "-m", "report.render", *results)
    printed = json.loads((study / "values.json").read_text())["values"]
    (value,) = (v for v in printed if v["key"].startswith('quantity("weight_size.norm", "plain"'))
    values = [float(row.split(",")[-1]) for row in rows]  # shallow, then deep, two seeds each
    assert value["value"] == pytest.approx((values[2] + values[3]) / 2)
