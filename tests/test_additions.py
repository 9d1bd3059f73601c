"""Add one of each kind to a copy of the project, count the files that it touches, and use it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import copy_project, snakemake
from test_dag import FIGURES, TABLES, planned

SECTION = "report/sections/answer.md"
END = "**What would change our mind.**"  # a new paragraph goes before it


def add(project: Path, changes: dict[str, tuple[str, str]]) -> int:
    """Put text before the first place of another text, or into a new file; count the files."""
    for file, (before, new) in changes.items():
        path = project / file
        old = path.read_text() if before else ""
        assert before in old, file
        path.write_text(old.replace(before, new + before, 1))
    return len(changes)


def run(project: Path, *arguments: str) -> str:
    """Run Python in a project, and return what it prints."""
    words = [sys.executable, *arguments]
    return subprocess.run(words, cwd=project, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_a_variant_touches_two_files_and_runs_alone(finished: Path) -> None:
    entry = "residual_thin:\n  label: residual, one convolution\n  baseline: residual\n"
    factors = "  factors: {norm: none, convolutions_per_block: 1}\n"
    assert add(finished, {
        "workflow/config/variants.yaml": ("plain_dirac:\n", entry + factors),
        "workflow/config/quick.yaml": ("residual_bn_orthogonal]", "residual_thin, "),
    }) == 2  # fmt: skip
    assert planned(finished) == {"cell": 2, "measure": 1, **TABLES}


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
    assert snakemake(project, "--dry-run", *stripes).returncode == 0


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
SENTENCE = 'Weights measure << quantity("weight_size.norm", "plain", deep, "end") >>.\n\n'

FIGURE = '''"""Draw the training error of each run."""

import matplotlib.pyplot as plt
import pandas as pd

TABLES = ("runs",)
ROWS = ("variants", "depths")


def draw(table: pd.DataFrame) -> plt.Figure:
    figure, axes = plt.subplots()
    axes.plot(table["depth"], table["train_error"], "o")
    return figure
'''
PICTURE = """Every run is in @fig:points.

::: {#fig:points}
**Training error of every run.**

::: alt
Points of training error against depth.
:::
:::

"""

CLAIM = """  - id: weights_grow
    section: limitations
    statement: The weights of the deep plain network are larger than those of the shallow one.
    sentences:
      supported: Weights grow with depth.
      contradicted: Weights do not grow with depth.
      inconclusive: The data do not settle whether weights grow with depth.
    theory: none
    metric: weight_size.norm
    unit: norm
    contrast:
      - {variant: plain, depth: deep, weight: 1, checkpoint: end}
      - {variant: plain, depth: shallow, weight: -1, checkpoint: end}
    prediction: above
    smallest_effect: 0
    reason: a test

"""


def test_a_measure_a_figure_and_a_claim_touch_seven_files_and_reach_the_paper(
    finished: Path,
) -> None:
    measure = add(finished, {
        "analysis/measures/weight_size.py": ("", MEASURE),
        "workflow/config/default.yaml": ("  gradient_flow:\n", SETTINGS),
        SECTION: (END, SENTENCE),
    })  # fmt: skip
    figure = add(finished, {"analysis/figures/points.py": ("", FIGURE), SECTION: (END, PICTURE)})
    claim = add(finished, {
        "report/claims.yaml": ("# The sign that each", CLAIM),
        SECTION: (END, '<< finding("weights_grow") >>\n\n'),
    })  # fmt: skip
    assert (measure, figure, claim) == (3, 2, 2)
    assert planned(finished) == {"measure": 6, **TABLES, "figure": FIGURES + 1}

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
    run(finished, "-m", "report.claims", "--claims", "report/claims.yaml", *results)
    claims = {c["id"]: c for c in json.loads((study / "claims.json").read_text())["claims"]}
    values = [float(row.split(",")[-1]) for row in rows]  # shallow, then deep, two seeds each
    effect = (values[2] + values[3] - values[0] - values[1]) / 2
    assert claims["weights_grow"]["effect"] == pytest.approx(effect)

    picture = str(study / "figures/points.svg")
    run(finished, "-m", "analysis.figure", "points", *results, "--out", picture)
    run(finished, "-m", "report.render", *results)
    page = (study / "report/index.html").read_text(encoding="utf-8")
    printed = json.loads((study / "values.json").read_text())["values"]
    (value,) = (v for v in printed if v["key"].startswith('quantity("weight_size.norm", "plain"'))
    assert value["value"] == pytest.approx((values[2] + values[3]) / 2)
    assert 'id="fig-points"' in page
    assert "whether weights grow" in page or "grow with depth" in page
