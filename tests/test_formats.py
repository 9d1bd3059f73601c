"""Write the quick study's paper for LaTeX and Word, and read both again."""

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pypandoc
import pytest

from report.formats import write_formats


@pytest.fixture(scope="module")
def results(quick_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = shutil.copytree(quick_study.parent, tmp_path_factory.mktemp("formats") / "results")
    write_formats(copied / "quick")
    return copied / "quick"


@pytest.mark.parametrize("name", ["tex/paper.tex", "paper.docx"])
def test_every_number_of_the_paper_is_there(name: str, results: Path) -> None:
    wide = ["--wrap=none", "--columns=500"]  # narrow cells of a table would break numbers
    plain = pypandoc.convert_file(results / f"report/{name}", "plain", extra_args=wide)
    words = re.sub(r"\s", "", plain)
    values = json.loads((results / "values.json").read_text())["values"]
    numbers = {value["text"] for value in values if not isinstance(value["value"], str)}
    assert len(numbers) > 50
    assert [text for text in numbers if re.sub(r"\s", "", text) not in words] == []


def test_figures_keep_their_alternative_text(results: Path) -> None:
    tex = (results / "report/tex/paper.tex").read_text(encoding="utf-8")
    with zipfile.ZipFile(results / "report/paper.docx") as archive:
        word = archive.read("word/document.xml").decode()
        pictures = [name for name in archive.namelist() if name.startswith("word/media/")]
    page = (results / "report/index.html").read_text(encoding="utf-8")
    alternatives = set(re.findall(r'aria-label="([^"]+)" fill="currentColor"', page))
    assert len(alternatives) > 3
    for text in alternatives:
        assert f"alt={{{text}}}" in tex
        assert f'descr="{text}"' in word
    drawn = re.findall(r"\{(figures/\w+\.pdf)\}", tex)
    assert len(drawn) == len(pictures) == len(alternatives)
    assert all((results / "report/tex" / path).read_bytes().startswith(b"%PDF") for path in drawn)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="TeX Live is not installed")
def test_latex_compiles(results: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(results / "report/tex", tmp_path / "tex")
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):  # the second one knows the labels
        done = subprocess.run(latex, cwd=folder, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-2000:]
    assert "undefined" not in done.stdout
    assert (folder / "paper.pdf").stat().st_size > 100_000
