"""Test that the text follows its data: sentences follow verdicts, and gaps are reported."""

import functools
import html
import re
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from conftest import QUICK, ROOT, snakemake
from tiny import HOSTILE, judge_again, rewrite

from models.files import read_json, read_yaml
from report.claims import read_claims
from report.printing import literal
from report.render import document
from report.results import Results
from report.text import markdown

SECTIONS = ROOT / "report/sections"
LINES = [line for path in SECTIONS.glob("*.md") for line in path.read_text().splitlines()]
CLAIMS = {claim.id: claim for claim in read_claims(ROOT / "report/claims.yaml")}
read_once = functools.cache(read_yaml)
VERDICTS = ("supported", "contradicted", "inconclusive")
SENTENCES = [getattr(claim.sentences, verdict) for claim in CLAIMS.values() for verdict in VERDICTS]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no published study speak, and read a file of claims once."""
    monkeypatch.setattr("report.text.published", lambda own: {})
    monkeypatch.setattr("report.claims.read_yaml", read_once)


@pytest.fixture
def study(quick_study: Path, tmp_path: Path) -> Path:
    """Return a copy of the files that the paper of the quick study is made from."""
    shutil.copytree(quick_study.parent / "data", tmp_path / "results/data")
    others = ("benchmarks", "cells", "logs", "measures", "report", "runs", "tuning")
    ignore = shutil.ignore_patterns(*others)
    return shutil.copytree(quick_study, tmp_path / "results/quick", ignore=ignore)


def text_of(study: Path, asked: dict | None = None) -> str:
    """Return the text of the paper of a study, in Markdown."""
    return markdown(Results(study), SECTIONS, {} if asked is None else asked)


def text_if(study: Path, verdict: str, **verdicts: str) -> str:
    """Return the text that the paper would have if claims had `verdicts`, and others `verdict`."""

    def decide(content: dict) -> None:
        for claim in content["claims"]:
            decided = {"verdict": verdicts.get(claim["id"], verdict), "flags": []}
            for column in ("effect", "ci_low", "ci_high", "n", "p_adjusted"):
                decided[column] = claim[column] or 0
            claim |= decided
            claim["judged"] = [each | decided for each in claim["judged"]]

    rewrite(study / "claims.json", decide)
    return text_of(study)


def judge(study: Path) -> dict[str, dict]:
    """Judge the claims of a study again, and return them by id."""
    judge_again(study, ROOT / "report/claims.yaml")
    return Results(study).claims


def test_sentences_are_whole_bind_their_numbers_and_are_asked_for() -> None:
    asking = [line for line in LINES if re.search(r"(finding|found|asked)\(", line)]
    assert set(re.findall(r'"(\w+)"', "\n".join(asking))) == CLAIMS.keys()
    assert len(set(SENTENCES)) == len(SENTENCES)
    for sentence in SENTENCES:
        assert not any(sentence.removesuffix(".") in line for line in LINES), sentence
        assert re.fullmatch(r"[A-Z][^.]*\.( [A-Z][^.]*\.)?", re.sub("<<.*?>>", "x", sentence))
        assert not re.search(r"\d", re.sub("<<.*?>>", "", sentence)), sentence


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_text_says_the_sentence_of_each_verdict(study: Path, verdict: str) -> None:
    text = text_if(study, verdict)
    for claim in CLAIMS.values():
        assert f"](#claim-{claim.id})" in text
        for other in VERDICTS:
            sentence = getattr(claim.sentences, other).removesuffix(".")
            if "<<" not in sentence:
                assert (f"\n{sentence}" in text) == (other == verdict), sentence
    rows = re.findall(r'<tr>\n<td><span id="claim-.*?</tr>', text, re.S)
    assert len(rows) == len(CLAIMS)
    assert all(row.count(f'title="{verdict}"') == 2 for row in rows)  # budgets


@pytest.mark.parametrize("claim", ["plain_bn_degrades", "interaction"])
def test_a_claim_that_flips_changes_its_own_sentences_alone(study: Path, claim: str) -> None:
    """Compare without links to verdicts, the table of claims and the number of each verdict."""
    link = r"\[[a-z ]+\]\(#claim-\w+\)\{[^}]*\}|<a href=\"#claim-.*?</a>|<td>\w+</td>"
    texts = [text_if(study, "inconclusive", **{claim: verdict}) for verdict in VERDICTS]
    lines = [re.sub(link, "", text).splitlines() for text in texts]
    changed = [each for each in zip(*lines, strict=True) if len(set(each)) > 1]
    changed = [each for each in changed if 'count("claims"' not in html.unescape(each[0])]
    assert changed
    for verdict, *texts in zip(VERDICTS, *changed, strict=True):
        sentence = getattr(CLAIMS[claim].sentences, verdict).removesuffix(".")
        assert all(text.lstrip("*").startswith(sentence) for text in texts)


def test_one_perturbed_run_changes_what_depends_on_it_and_nothing_else(study: Path) -> None:
    old, new = {}, {}
    judge(study)
    text_of(study, old)
    path = study / "tables/runs.csv"
    runs = pd.read_csv(path)
    network = {"variant": "plain_bn_constructed", "depth": 14, "budget": 2, "seed": 0}
    here = (runs[list(network)] == pd.Series(network)).all(axis=1)
    assert here.sum() == 1
    runs.loc[here, "train_error"] += 0.1
    runs.to_csv(path, index=False)
    judge(study)
    text_of(study, new)
    assert old.keys() == new.keys()
    changed = {key for key in old if old[key].value != new[key].value}
    mine = r"plain_bn_constructed|identity_stable|count\(\"claims\""
    assert [key for key in changed if not re.search(mine, key)] == []
    # Ten points in one of two seeds move the mean by five.
    for key in [
        'mean("train_error", "plain_bn_constructed", 14)', 'of_claim("identity_stable", "effect")',
    ]:  # fmt: skip
        assert new[key].value == pytest.approx(old[key].value + 5), key


def test_every_reference_has_its_target_in_a_study_of_less(study: Path) -> None:
    """Take away interventions, all learning rates but one, and a measure."""
    marks = ("#fig:interventions", "#fig:lr_sensitivity")
    whole = text_of(study)
    assert all(mark in whole for mark in marks)
    baselines = Results(study).config["variants"]
    one_rate = {"seeds": [100], "lrs": [0.1], "halving": False}
    rewrite(study / "config.json", lambda x: x.update(interventions=[], tuning=one_rate))
    rewrite(study / "config.json", lambda x: x["measures"].pop("ics"))
    for path in (study / "tables").glob("*.csv"):
        table = pd.read_csv(path)
        if "variant" in table and path.stem != "missing":
            kept = table["variant"].isin(baselines)
            if "quantity" in table:
                kept &= ~table["quantity"].str.startswith("ics.")
            table[kept].to_csv(path, index=False)
    judge(study)
    text = text_of(study)
    assert not any(mark in text for mark in marks)
    assert '{#fig:training gap="the study does not measure ics"}' in text
    document(text)  # stops at a reference without a target, and at a digit without a source


def test_an_unfinished_study_reports_its_gaps_and_what_is_out_of_date(finished: Path) -> None:
    """Lose a run and a measurement, and edit the code of training and a setting of it."""
    results = finished / "results/quick"
    cell = "residual_bn_orthogonal/depth14"
    shutil.rmtree(results / f"runs/{cell}/budget2/seed1")
    (results / f"logs/cell/{cell}.log").write_text("step 3\nerror: no space left on device\n")
    shutil.rmtree(results / "measures/plain_bn_constructed")
    for file, old, new in (
        ("models/training/evaluate.py", '"""', '"""Really. '),
        ("workflow/config/quick.yaml", "lrs: [0.1, 0.3]", "lrs: [0.1, 0.3, 1.0]"),
    ):
        path = finished / file
        path.write_text(path.read_text().replace(old, new, 1))
    before = sorted(results.glob("*/*/*/*/*/*"))
    done = snakemake(finished, *QUICK, "--config", "partial=true")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "rule cell" not in done.stderr
    assert "rule measure" not in done.stderr
    assert sorted(results.glob("*/*/*/*/*/*")) == before
    missing = pd.read_csv(results / "tables/missing.csv")
    assert missing["kind"].value_counts().to_dict() == {
        "outdated run": 12, "outdated measurement": 5, "run": 1, "measurement": 1
    }  # fmt: skip
    why = missing.groupby("kind")["reason"].unique().map(list)
    assert why["run"] == ["error: no space left on device"]
    assert why["outdated run"] == ["differs in specification and code"]
    assert missing["runs"][0] == 1
    claims = Results(results).claims
    assert claims["identity_necessary"]["not_tested"].startswith("1 of the seeds")
    assert claims["plain_bn_degrades"]["n"] == 2
    page = (results / "report/index.html").read_text()
    assert "What is missing" in page
    assert "no space left on device" in page
    assert "Some results are out of date" in page
    code = read_json(results / "provenance.json")["code"]
    edited = "models/training/evaluate.py"
    assert code[edited] == sha256((finished / edited).read_bytes()).hexdigest()


def test_names_and_reasons_of_a_study_are_printed_as_text(study: Path) -> None:
    """No markup from a job's log or a machine's name reaches the page."""
    rewrite(study / "provenance.json", lambda record: record["host"].update(processor=HOSTILE))
    rewrite(study / "config.json", lambda config: config.update(study="cifar10"))
    missing = study / "tables/missing.csv"
    row = {"kind": "measurement", "variant": "plain", "depth": None, "runs": None}
    pd.DataFrame([{**row, "reason": HOSTILE}]).to_csv(missing, index=False)
    text = text_of(study)
    assert "<script>" not in text
    assert "alert(1)" not in text
    assert text.count(literal(HOSTILE)) == 2
    document(text)


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
    drawn = list((quick_project / "results/quick/figures").glob("*.svg"))
    assert sum(name.endswith(".svg") for name in names) == len(drawn)
    assert "<em>interventions</em> of the paper" in text
    assert "dataset mnist1d" in text
    assert '"labels": {"format": "PDF"}' in text
