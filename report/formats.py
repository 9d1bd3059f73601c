"""Write the paper of a study for other tools: LaTeX with its figures as PDF, and Word.

    python -m report.formats results/<study>

The folder results/<study>/report/tex/ receives paper.tex and figures/, which `pdflatex paper.tex`
compiles; beside the folder comes paper.docx. Text and numbers are those of the PDF.
"""

import tempfile
from pathlib import Path

import typst

from models.files import replacing
from report.printing import FONTS
from report.render import SECTIONS, document, pandoc
from report.results import Results, command
from report.text import markdown

COMMON = "--from=json --standalone --wrap=none --lua-filter=formats.lua"
LATEX = f"{COMMON} --to=latex --include-in-header=formats.tex --variable=geometry:margin=1in"
WORD = f"{COMMON} --to=docx"


def picture(svg: Path, kind: str) -> bytes:
    """Return a figure as a PDF, or as a PNG of 300 pixels an inch."""
    source = f'#set page(width: auto, height: auto, margin: 0pt)\n#image("{svg.name}")'
    fonts = {"font_paths": [str(FONTS)], "ignore_system_fonts": True}
    return typst.compile(source.encode(), root=str(svg.parent), format=kind, ppi=300, **fonts)


def write_formats(results: Path) -> str:
    """Write paper.tex with its figures, and paper.docx; return their paths, a line each."""
    results = results.resolve()
    tree = document(markdown(Results(results), SECTIONS, {}))
    report, figures = results / "report", sorted(results.glob("figures/*.svg"))
    papers = [report / "tex/paper.tex", report / "paper.docx"]
    for svg in figures:
        with replacing(report / f"tex/figures/{svg.stem}.pdf") as path:
            path.write_bytes(picture(svg, "pdf"))
    with replacing(papers[0]) as path:
        path.write_text(pandoc(tree, LATEX), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "figures").mkdir()
        for svg in figures:
            (Path(folder) / f"figures/{svg.stem}.png").write_bytes(picture(svg, "png"))
        with replacing(papers[1]) as path:
            pandoc(tree, WORD, f"--output={path}", f"--resource-path={folder}")
    return "\n".join(map(str, papers))


if __name__ == "__main__":
    command(__doc__, write_formats)
