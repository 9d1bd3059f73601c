"""The comparison of two studies' verdicts."""

from pathlib import Path

import pytest
from conftest import in_process
from tiny import rewrite, write_study

from report import compare


@pytest.fixture
def studies(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal studies."""
    return write_study(tmp_path / "old"), write_study(tmp_path / "new")


def test_each_claim_has_a_sign_for_each_budget_of_both_studies(studies: tuple[Path, Path]) -> None:
    """In one study, a verdict differs, and it has a claim that the other lacks."""
    sign = '<span class="verdict supported" title="supported, 16">+</span>'
    assert compare.compare(*studies).count(sign) == 4

    def change(content: dict) -> None:
        first, second, *_ = content["claims"]
        first["judged"][1]["verdict"] = "contradicted"
        second.update(id="other", statement="1 < 2")

    rewrite(studies[1] / "claims.json", change)
    page = compare.compare(*studies)
    assert page.count(sign) == 3
    assert page.count('<span class="verdict contradicted" title="contradicted, 16">−</span>') == 1
    assert page.count("–</span>") == 2
    assert "1 &lt; 2" in page


def test_the_command_asks_for_finished_studies(
    studies: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "comparison.html"
    in_process(compare, *studies, "--out", out)
    assert capsys.readouterr() == (f"{out}\n", "")
    assert out.read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(SystemExit, match="1"):
        in_process(compare, studies[0], tmp_path)
    missing = f"error: {tmp_path}/config.json: cannot be read: No such file or directory\n"
    assert capsys.readouterr().err == missing
