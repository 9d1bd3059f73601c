"""The paper follows its data: words follow verdicts, numbers follow tables, gaps are told, and two
papers are compared."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import QUICK, ROOT, snakemake
from pypdf import PdfReader
from test_bad_input import HOSTILE, elements, squeezed
from test_render import Text

from report import compare, render
from report.claims import read_claims

CLAIMS = [claim.id for claim in read_claims(ROOT / "report/claims.yaml")]
LINK = r"""\[[a-z ]+\]\(#claim-\w+\)\{[^}]*\}|<a href="#claim-.*?</a>"""
SECTIONS = ROOT / "report/sections"
VERDICTS = ("supported", "contradicted", "inconclusive", "not tested")


@pytest.fixture
def study(quick_study: Path, tmp_path: Path) -> Path:
    """A copy of what the paper of the quick study is made from."""
    folder = tmp_path / "results/quick"
    for part in ("tables", "figures", "report"):
        shutil.copytree(quick_study / part, folder / part)
    for part in ("config", "claims", "values", "provenance"):
        shutil.copy2(quick_study / f"{part}.json", folder)
    return folder


def remake(study: Path, manifest: Path) -> None:
    """Claims, values and documents anew from a study's tables."""
    for module, *arguments in [
        ("report.claims", "--claims", str(ROOT / "report/claims.yaml")),
        ("report.values", "--manifest", str(manifest)),
        ("report.render",),
    ]:
        command = [sys.executable, "-m", module, "--results", str(study), *arguments]
        subprocess.run(command, cwd=ROOT, check=True)


def rewrite(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def written(study: Path, verdict: Callable[[str], str]) -> str:
    """The text of the paper if each claim had the verdict that `verdict` gives its identifier."""

    def judge(content: dict) -> None:
        for claim in content["claims"]:
            claim["verdict"] = verdict(claim["id"])

    rewrite(study / "claims.json", judge)
    return render.markdown(study, SECTIONS)


def test_every_verdict_is_printed_in_its_row(study: Path) -> None:
    for verdict in VERDICTS:
        lines = written(study, lambda _, verdict=verdict: verdict).splitlines()
        rows = [line for line in lines if '<span id="claim-' in line]
        assert len(rows) == len(CLAIMS)
        assert all(f"<td>{verdict}</td></tr>" in row for row in rows)


def test_each_verdict_has_its_own_words_and_touches_no_others(study: Path) -> None:
    """Beside its row and its links, a claim that flips rewrites the sentences that hang on it."""
    as_predicted = written(study, lambda _: "supported").splitlines()
    silent = set()
    for claim in CLAIMS:
        lines = written(
            study, lambda name, claim=claim: "contradicted" if name == claim else "supported"
        ).splitlines()
        assert len(lines) == len(as_predicted)
        changed = [(a, b) for a, b in zip(as_predicted, lines, strict=True) if a != b]
        plain = [tuple(re.sub(LINK, "", line) for line in pair) for pair in changed]
        rows = [after for _, after in plain if f'id="claim-{claim}"' in after]
        assert len(rows) == 1
        if not [before for before, after in plain if before != after and after not in rows]:
            silent.add(claim)
        assert f"#claim-{claim}" in "".join(lines)  # somewhere the text points at it
    assert silent == set()


def test_one_perturbed_value_changes_what_hangs_on_it_and_nothing_else(
    quick_study: Path, quick_project: Path, study: Path
) -> None:
    path = study / "tables/runs.csv"
    runs = pd.read_csv(path)
    here = (runs["variant"] == "plain_looks_linear") & (runs["depth"] == 14) & (runs["seed"] == 0)
    assert here.sum() == 1
    runs.loc[here, "train_error"] += 0.1
    runs.to_csv(path, index=False)
    remake(study, quick_project / "results/data/mnist1d.json")

    old, new = (
        {value["key"]: value["value"] for value in json.loads(file.read_text())["values"]}
        for file in (quick_study / "values.json", study / "values.json")
    )
    changed = {key for key in old if old[key] != new[key]}
    assert old.keys() == new.keys()
    mine = (
        "train_error.plain_looks_linear.14.", "run.plain_looks_linear.14.0.train_error",
        "change.plain_looks_linear.", "claim.shattered_cured.", "claims.", "interventions.",
    )  # fmt: skip
    adjusted = {key for key in changed if key.endswith(".p_adjusted")}  # Holm's family
    assert {key for key in changed - adjusted if not key.startswith(mine)} == set()
    assert new["claim.shattered_cured.effect"] == pytest.approx(
        old["claim.shattered_cured.effect"] + 5
    )
    assert new["train_error.plain_looks_linear.14.mean"] == pytest.approx(
        old["train_error.plain_looks_linear.14.mean"] + 5
    )
    sentences = [
        list(compare.sentences((folder / "report/index.html").read_text()))
        for folder in (quick_study, study)
    ]
    changes = list(compare.changed_sentences(*sentences))
    keys = {
        part[0]
        for change in changes
        for part in (change.new or change.old).parts
        if not isinstance(part, str)
    }
    assert "change.plain_looks_linear.mean" in keys
    flips = [change for change in changes if change.old is None or change.new is None]
    before, after = (
        json.loads((folder / "claims.json").read_text())["claims"]
        for folder in (quick_study, study)
    )
    flipped = {a["id"] for a, b in zip(before, after, strict=True) if a["verdict"] != b["verdict"]}
    assert flipped <= {"shattered_cured"}
    assert bool(flips) == bool(flipped)


def test_two_reports_are_compared_in_their_sentences(quick_study: Path, study: Path) -> None:
    def lower(content: dict) -> None:
        (value,) = [v for v in content["values"] if v["key"] == "claim.plain_bn_degrades.effect"]
        value["text"] = "123.4"

    def flip(content: dict) -> None:
        content["claims"][0]["verdict"] = "contradicted"
        content["claims"][0]["statement"] = "Statement <b>"

    def move(content: dict) -> None:
        content["config"]["width"] = 99
        content["packages"]["torch"] = "1.0"
        content["code"]["models/train.py"] = "0" * 64

    rewrite(study / "values.json", lower)
    rewrite(study / "claims.json", flip)
    rewrite(study / "provenance.json", move)
    figure = study / "figures/forest.svg"
    figure.write_text(figure.read_text().replace("#d9641e", "#000001"))
    render.render(study, SECTIONS)
    page = compare.compare(quick_study, study)
    old = json.loads((quick_study / "values.json").read_text())["values"]
    (was,) = [v["text"] for v in old if v["key"] == "claim.plain_bn_degrades.effect"]
    assert f"<del>{was}</del> <ins>123.4</ins> percentage points" in page
    assert "Statement &lt;b&gt;</td>" in page
    assert "<td>width</td><td>4</td><td>99</td>" in page
    assert "<td>models/train.py</td>" in page
    assert "<td>torch</td><td>2.13.0" in page
    assert page.count("<img ") == 2
    assert 'alt="new forest.svg"' in page

    same = compare.compare(quick_study, quick_study)
    assert "Every sentence says the same." in same
    assert "No verdict differs." in same
    assert "No figure differs." in same


def test_compare_asks_for_finished_reports(quick_study: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "report.compare", str(quick_study), str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        f"error: no report in {tmp_path}: {tmp_path / 'report/index.html'} is missing\n"
    )


def test_an_unfinished_study_reports_its_gaps(quick_project: Path, tmp_path: Path) -> None:
    project = shutil.copytree(quick_project, tmp_path / "project", symlinks=True)
    results = project / "results/quick"
    lost = "residual_bn_orthogonal/depth14/seed1"
    shutil.rmtree(results / "runs" / lost)
    (results / f"logs/train/{lost}.log").write_text("step 3\nerror: no space left on device\n")
    shutil.rmtree(results / "measures/plain_looks_linear")
    done = snakemake(project, *QUICK, "--config", "partial=True")
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (results / "runs" / lost).exists()
    missing = pd.read_csv(results / "tables/missing.csv")
    assert missing["kind"].tolist() == ["run", "measurement"]
    assert missing["reason"][0] == "error: no space left on device"
    claims = {c["id"]: c for c in json.loads((results / "claims.json").read_text())["claims"]}
    assert claims["identity_necessary"]["verdict"] == "not tested"
    assert claims["identity_necessary"]["not_tested"].startswith("1 of the seeds")
    assert claims["plain_bn_degrades"]["n"] == 2
    page = (results / "report/index.html").read_text()
    assert "What is missing" in page
    assert "no space left on device" in page
    whole = (quick_project / "results/quick/report/index.html").read_text()
    assert "What is missing" not in whole


def test_a_measure_that_is_left_out_is_a_marked_gap(study: Path, quick_project: Path) -> None:
    for path in study.glob("figures/hessian.*"):
        path.unlink()
    path = study / "tables/quantities.csv"
    table = pd.read_csv(path)
    table[~table["quantity"].str.startswith("hessian.")].to_csv(path, index=False)
    rewrite(study / "config.json", lambda config: config["measures"].pop("hessian"))
    remake(study, quick_project / "results/data/mnist1d.json")
    page = (study / "report/index.html").read_text()
    assert "Not shown: the study does not measure it." in page
    claims = {c["id"]: c for c in json.loads((study / "claims.json").read_text())["claims"]}
    assert claims["singular"]["verdict"] == "not tested"


def test_whatever_a_study_calls_things_the_sections_print_it_as_text(study: Path) -> None:
    hostile = " ".join(HOSTILE)
    stated = "<script>alert(x)</script> 'a' \"b\" `c` *e* #eval(x) [f](g) \\"

    def values(content: dict) -> None:
        for entry in content["values"]:
            if isinstance(entry["value"], str):
                entry["text"] = hostile
            if entry["key"] in ("host.processor", "data.name"):
                entry["value"] = hostile
        for gap in content["gaps"]:
            gap["reason"] = hostile

    def claims(content: dict) -> None:
        for claim in content["claims"]:
            claim.update(theory=hostile, reason=hostile, not_tested=hostile)
            claim["statement"] = stated  # an author's: no digit, and formulas

    def page() -> Text:
        return Text((study / "report/index.html").read_text(encoding="utf-8"))

    before = page()
    rewrite(study / "values.json", values)
    rewrite(study / "claims.json", claims)
    render.render(study, SECTIONS)
    assert elements(page()) == elements(before)
    assert squeezed(page().text).count(squeezed(hostile)) > 100
    assert squeezed(page().text).count(squeezed(stated)) == len(CLAIMS)
    sheets = PdfReader(study / "report/report.pdf").pages
    assert squeezed(hostile) in squeezed("".join(sheet.extract_text() for sheet in sheets))


def test_snakemake_bundles_the_paper_with_captions_and_labels(
    quick_project: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "report.zip"
    done = snakemake(quick_project, *QUICK, "--report", str(bundle), "--nolock")
    assert done.returncode == 0, done.stderr[-3000:]
    with zipfile.ZipFile(bundle) as files:
        names = files.namelist()
        (page,) = [name for name in names if name.endswith("report.html")]
        text = files.read(page).decode()
    assert sum(name.endswith(".svg") for name in names) == len(
        list((quick_project / "results/quick/figures").glob("*.svg"))
    )
    assert any(name.endswith("report.pdf") for name in names)
    assert "<em>forest</em> of the paper" in text
    assert "dataset mnist1d" in text
    assert '"labels": {"format": "PDF"}' in text
