"""Publish the quick study, and read it again."""

import gzip
import json
import re
import shutil
from pathlib import Path

import pytest
from tiny import rewrite

from report.paper import PUBLISHED, paper
from report.publish import EVIDENCE, SUMS, publish, read
from report.results import Results


@pytest.fixture(scope="module")
def published(quick_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(quick_study, tmp_path_factory.mktemp("published"))


@pytest.fixture
def evidence(published: Path, tmp_path: Path) -> Path:
    """Return a copy of the published study, to edit."""
    return shutil.copytree(published, tmp_path / published.name)


def test_what_is_published_answers_like_the_study_itself(
    quick_study: Path, evidence: Path, tmp_path: Path
) -> None:
    ours, theirs = Results(quick_study), read(evidence)
    assert evidence == tmp_path / "quick"
    assert theirs.claims == ours.claims
    assert theirs.manifest == ours.manifest
    for table in ("runs", "quantities", "steps_to_fit"):
        assert theirs.table(table).equals(ours.table(table))
    record = json.loads((evidence / "provenance.json").read_text())
    assert list(record["trained_on"].values()) == [len(json.loads(
        (quick_study / "provenance.json").read_text())["runs"])]  # fmt: skip
    assert "runs" not in record
    assert "name" not in record["host"]


def test_the_same_results_publish_the_same_bytes(quick_study: Path, evidence: Path) -> None:
    (evidence / "tables/old.csv.gz").write_bytes(b"of an earlier version")
    before = {path: path.read_bytes() for path in evidence.rglob("*") if path.is_file()}
    del before[evidence / "tables/old.csv.gz"]
    publish(quick_study, evidence.parent)
    after = {path: path.read_bytes() for path in evidence.rglob("*") if path.is_file()}
    assert before == after


def words(page: Path) -> str:
    """Return the text of a page, without the commands that draw its figures again."""
    text = re.sub(r"<code>(snakemake|make paper) .*?</code>", "", page.read_text(encoding="utf-8"))
    return re.sub(r"<[^>]*>", " ", text)


def test_the_published_paper_is_that_of_the_published_results(tmp_path: Path) -> None:
    paper(EVIDENCE / "full", tmp_path)
    assert words(tmp_path / "paper.html") == words(PUBLISHED / "paper.html")
    assert (tmp_path / "values.json").read_bytes() == (PUBLISHED / "values.json").read_bytes()


def sums_again(folder: Path) -> None:
    """Write the sums of a folder as it is, as somebody who edits evidence by hand might do."""
    import hashlib

    names = [line.split("  ")[1] for line in (folder / SUMS).read_text().splitlines()]
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / SUMS).write_text("".join(lines))


def without_a_column(folder: Path) -> None:
    path = folder / "tables/runs.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode().replace("train_error", "error", 1)
    path.write_bytes(gzip.compress(text.encode()))
    sums_again(folder)


def another_layout(folder: Path) -> None:
    rewrite(folder / "provenance.json", lambda record: record.update(layout=0))
    sums_again(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "claims.json").write_text("{}"), "claims.json: is missing, or"),
        (lambda folder: (folder / "data.json").unlink(), "data.json: is missing, or not what"),
        (without_a_column, "quick/runs has the name 'train_error'; did you mean"),
        (another_layout, "quick: has layout 0, expected 1; publish it again"),
    ],
)
def test_damaged_evidence_is_refused_in_one_line(spoil, message: str, evidence: Path) -> None:
    spoil(evidence)
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        read(evidence)
    assert len(str(refused.value).splitlines()) == 1


def test_an_unfinished_study_is_not_published(quick_study: Path, tmp_path: Path) -> None:
    results = shutil.copytree(quick_study, tmp_path / "results/quick")
    with (results / "tables/missing.csv").open("a") as table:
        table.write("run,plain,8,1,killed\n")
    with pytest.raises(ValueError, match="the study is not finished; see tables/missing"):
        publish(results, tmp_path / "evidence")
