"""Render the paper of a study to one HTML page and one PDF, and list the values that it prints.

    python -m report.render --results results/default

    sections/*.md --Jinja--> Markdown --pandoc, checks, numbering, citations--> document tree
        --pandoc--> HTML --> formulas as MathML, figures and fonts inside --> report/index.html
        --pandoc--> Typst -------------------------------------------------> report/report.pdf
                                                   the values that were printed --> values.json

A mistake in the sections stops the command with a line that says what is wrong, and where.
"""

import argparse
import html
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pypandoc
import typst

from models.files import nearest, replacing
from report.page import TEMPLATES, complete
from report.printing import FONTS, Value
from report.results import Results
from report.text import markdown

SECTIONS = Path(__file__).resolve().parent / "sections"
READER = "markdown-implicit_figures-markdown_in_html_blocks-implicit_header_references"


def explain(stderr: str) -> str:
    """Return what pandoc complained about, one line for each mistake of the author."""
    mistakes = []
    for line in stderr.splitlines():
        if line.startswith("mistake: "):  # from templates/mistakes.lua
            message, *rest = line.removeprefix("mistake: ").split("\t")
            mistakes.append(message + (nearest(rest[0], rest[1].split()) if rest else ""))
        elif missing := re.search(r"citation (\S+) not found", line):
            references = (TEMPLATES.parent / "references.bib").read_text(encoding="utf-8")
            hint = nearest(missing[1], re.findall(r"^@\w+\{(.+),$", references, re.M))
            mistakes.append(f"no entry of references.bib has the key {missing[1]}{hint}")
    return "\n".join(mistakes) or "pandoc: " + " ".join(stderr.split())


def pandoc(text: str, options: str, *paths: str) -> str:
    """Run pandoc with bounded memory and time; raise ValueError on any error or warning."""
    options = f"+RTS -M2G -RTS --fail-if-warnings {options}"
    done = subprocess.run(
        [pypandoc.get_pandoc_path(), *options.split(), *paths],
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        cwd=TEMPLATES,
        env={"LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "PATH": ""},
    )
    if done.returncode:
        raise ValueError(explain(done.stderr))
    return done.stdout


def document(text: str) -> str:
    """Return the checked and numbered document as pandoc's JSON."""
    return pandoc(
        text,
        f"--from={READER} --to=json --lua-filter=structure.lua --lua-filter=numbers.lua"
        " --lua-filter=references.lua --citeproc --bibliography=../references.bib"
        " --metadata=link-citations --metadata=link-bibliography"
        # American only in the bibliography, whose quotation marks then are those of the text.
        " --metadata=lang:en-US --lua-filter=frontmatter.lua",
    )


def page(tree: str, results: Path) -> bytes:
    """Return the web page of a document."""
    options = "--section-divs --shift-heading-level-by=1 --toc --toc-depth=3 --lua-filter=html.lua"
    options += " --mathjax --wrap=none --template=page.html"
    return complete(pandoc(tree, f"--from=json --to=html5 {options}"), results).encode()


def pdf(tree: str, results: Path) -> bytes:
    """Return the tagged PDF of a document; raise ValueError on any error or warning of Typst."""
    options = "--wrap=none --template=paper.typ --lua-filter=typst.lua"
    source = pandoc(tree, f"--from=json --to=typst-citations-smart {options}")
    try:
        result, warnings = typst.compile_with_warnings(
            source.encode(),
            root=str(results),
            font_paths=[str(FONTS)],
            ignore_system_fonts=True,
            pdf_standards=["ua-1"],  # it also makes a missing glyph an error
        )
    except typst.TypstError as error:
        raise ValueError("PDF: " + " ".join(error.diagnostic.split())) from None
    if warnings:
        raise ValueError("PDF: " + "; ".join(warning.message for warning in warnings))
    return result


def render(results: Path, sections: Path = SECTIONS) -> None:
    """Write index.html, report.pdf and values.json of a study."""
    results, sections = results.resolve(), sections.resolve()
    asked: dict[str, Value] = {}
    text = markdown(Results(results), sections, asked)
    tree = document(text)
    with ThreadPoolExecutor() as pool:
        web, paper = pool.submit(page, tree, results), pool.submit(pdf, tree, results)
    # A condition asks for values that the text does not print.
    keys = dict.fromkeys(map(html.unescape, re.findall(r'class="value" data-key="([^"]+)"', text)))
    values = {"values": [{"key": key, **asdict(asked[key])} for key in keys]}
    for name, content in {
        "report/index.html": web.result(),
        "report/report.pdf": paper.result(),
        "values.json": (json.dumps(values, indent=1, allow_nan=False) + "\n").encode(),
    }.items():
        with replacing(results / name) as path:
            path.write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the paper of a study to HTML and PDF.")
    parser.add_argument("--results", type=Path, required=True, help="folder of the study's results")
    parser.add_argument("--sections", type=Path, default=SECTIONS, help="folder of the text")
    arguments = parser.parse_args()
    try:
        render(arguments.results, arguments.sections)
    except ValueError as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))


if __name__ == "__main__":
    main()
