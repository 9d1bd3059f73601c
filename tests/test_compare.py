"""The comparison of two results folders."""

import json
from pathlib import Path

import pytest
from conftest import command
from tiny import rewrite, write_study

from report.compare import compare


@pytest.fixture
def studies(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal studies."""
    folders = write_study(tmp_path / "old"), write_study(tmp_path / "new")
    for folder in folders:
        values = [{"key": f'mean("error", "{name}")', "text": "51.3"} for name in ("a", "b")]
        (folder / "values.json").write_text(json.dumps({"values": values}))
    return folders


def test_every_difference_is_listed_with_a_dash_for_nothing(studies: tuple[Path, Path]) -> None:
    old, new = studies
    page = compare(old, new)
    assert page.count("There is no difference.") == page.count("<h2") == 6
    assert "<td>" not in page
    rewrite(new / "values.json", lambda x: x["values"][1].update(text="<b>52.0</b>"))
    rewrite(new / "claims.json", lambda x: x["claims"][0]["judged"][1].update(verdict="open"))
    rewrite(new / "provenance.json", lambda x: x["config"]["training"].update(momentum=0.8))
    rewrite(new / "provenance.json", lambda x: x["code"].update({"models/network.py": "1" * 64}))
    rewrite(new / "provenance.json", lambda x: x["packages"].update(numpy="2.0"))
    rewrite(new / "provenance.json", lambda x: x["host"].pop("cores"))
    page = compare(old, new)
    for name, before, after in [
        ("mean(&#34;error&#34;, &#34;b&#34;)", "51.3", "&lt;b&gt;52.0&lt;/b&gt;"),
        ("deeper, budget 16", "supported", "open"),
        ("training.momentum", "0.9", "0.8"),
        ("models/network.py", "0" * 12, "1" * 12),
        ("numpy", "–", "2.0"),
        ("cores", "2", "–"),
    ]:
        row = f"<td>{name}</td><td><del>{before}</del></td><td><ins>{after}</ins></td>"
        assert page.count(row) == 1
    assert page.count("<tr><td>") == 6


def test_the_command_asks_for_finished_reports(studies: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "comparison.html"
    done = command("report.compare", *studies, "--out", out)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")
    assert out.read_text().startswith("<!DOCTYPE html>")
    done = command("report.compare", studies[0], tmp_path)
    missing = f"error: {tmp_path}/values.json: cannot be read: No such file or directory\n"
    assert (done.returncode, done.stderr) == (1, missing)
