"""The comparison of two studies' verdicts."""

from pathlib import Path

import pytest
from conftest import command
from tiny import rewrite, write_study

from report.compare import compare


@pytest.fixture
def studies(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal studies."""
    return write_study(tmp_path / "old"), write_study(tmp_path / "new")


def test_each_claim_has_a_sign_for_each_budget_of_both_studies(studies: tuple[Path, Path]) -> None:
    old, new = studies
    sign = '<span class="verdict supported" title="supported, 16">+</span>'
    assert compare(old, new).count(sign) == 4
    rewrite(
        new / "claims.json", lambda x: x["claims"][0]["judged"][1].update(verdict="contradicted")
    )
    page = compare(old, new)
    assert page.count(sign) == 3
    assert page.count('<span class="verdict contradicted" title="contradicted, 16">−</span>') == 1


def test_a_claim_that_one_study_lacks_has_a_dash_there(studies: tuple[Path, Path]) -> None:
    old, new = studies
    rewrite(new / "claims.json", lambda x: x["claims"][0].update(id="other", statement="1 < 2"))
    page = compare(old, new)
    assert page.count("–</span>") == 2
    assert "1 &lt; 2" in page


def test_the_command_asks_for_finished_studies(studies: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "comparison.html"
    done = command("report.compare", *studies, "--out", out)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")
    assert out.read_text().startswith("<!DOCTYPE html>")
    done = command("report.compare", studies[0], tmp_path)
    missing = f"error: {tmp_path}/config.json: cannot be read: No such file or directory\n"
    assert (done.returncode, done.stderr) == (1, missing)
