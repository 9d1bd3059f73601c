"""Make the web page of the paper: one file with its formulas, figures, fonts and data inside."""

import base64
import html
import re
from pathlib import Path

import math_core

from models.files import nearest
from report.printing import FONTS
from report.publish import SUMS

TEMPLATES = Path(__file__).resolve().parent / "templates"
SCRIPTS = Path(__file__).resolve().parent.parent / "analysis/figures"
# What pandoc writes for formulas and figures.
FORMULA = re.compile(r'(<span class="math \w+">)\\([(\[])(.*?)\\[)\]](?=</span>)', re.S)
IMAGE = re.compile(r'<img src="([^"]+)" alt="([^"]*)" />')
FIGURE = re.compile(r'<figure id="fig:(\w+)">.*?</figure>', re.S)
HEAD = re.compile(r"<th\b([^>]*)>")  # the cells of a table's head
LABEL = re.compile(r'( (?:id|href)="#?(?:toc-)?(?:sec|fig|tbl|eq)):')


def base64_of(path: Path) -> str:
    """Return the content of a file for an address that begins with "data:"."""
    return base64.b64encode(path.read_bytes()).decode("ascii")


def style() -> str:
    """Return the style sheet with the fonts inside."""
    return re.sub(
        r"url\((\w+-\w+\.woff2)\)",
        lambda font: f"url(data:font/woff2;base64,{base64_of(FONTS / font[1])}) format('woff2')",
        (TEMPLATES / "style.css").read_text(encoding="utf-8"),
    )


def inline_figure(path: Path, alt: str) -> str:
    """Return a figure as part of the page, in the page's ink and on its paper."""
    if not path.is_file():
        drawn = [other.stem for other in path.parent.glob("*.svg")]
        raise ValueError(f"missing figure: figures/{path.name}{nearest(path.stem, drawn)}")
    svg = path.read_text(encoding="utf-8")
    width, height = re.search(r'<svg[^>]* viewBox="\S+ \S+ (\S+) (\S+)"', svg).groups()
    # A style element would reach the whole page; its one rule is inherited from the root instead.
    joins = re.search(r"<style[^>]*>\*\{(.*?)\}</style>", svg)
    head = r"^.*?<svg[^>]*>|<metadata>.*?</metadata>|<style.*?</style>"
    svg = re.sub(head, "", svg, flags=re.S).strip()
    # Two figures on one page must not share names.
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{path.stem}-", svg)
    svg = re.sub("#262626|#000000", "currentColor", svg).replace("#ffffff", "var(--paper)")
    # The text block of the PDF is 408 pt wide and that of the page 43 rem: keep their proportion.
    rules = f"max-width: {float(width) * 43 / 408:.1f}rem; {joins[1] if joins else ''}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{alt}" '
        f'fill="currentColor" style="{rules}">{svg}'
    )


def behind(name: str, results: Path) -> str:
    """Return what is folded below a figure: a link with its data, its script and a command."""
    data = base64_of(results / f"figures/{name}.csv.gz")
    script = (SCRIPTS / f"{name}.py").read_text(encoding="utf-8")
    folder = f"results/{results.name}"
    command = f"snakemake --configfile {folder}/config.json --cores 1 --force "
    command += f"{folder}/figures/{name}.svg"
    if (results / SUMS).exists():  # see report/paper.py
        command = f"make paper FROM=report/evidence/{results.name}"
    return (
        '<details class="behind"><summary>Data and script</summary><p>'
        f'<a href="data:application/gzip;base64,{data}" download="{name}.csv.gz">'
        f"{name}.csv.gz</a> holds what is drawn. <code>analysis/figures/{name}.py</code> drew it; "
        f"<code>{html.escape(command)}</code> draws it again.</p>"
        f'<pre tabindex="0" aria-label="Script of the figure"><code>{html.escape(script)}</code>'
        "</pre></details>"
    )


def mathml(formula: re.Match[str]) -> str:
    """Return pandoc's span of a formula with MathML inside."""
    span, bracket, tex = formula.groups()
    tex = html.unescape(tex).strip()
    converter = math_core.LatexToMathML(annotation=True, fancy_error=False)
    try:
        return span + converter.convert_with_local_state(tex, displaystyle=bracket == "[")
    except math_core.LatexError as error:
        raise ValueError(f"bad TeX in the formula {tex}: {error}") from None


def complete(page: str, results: Path) -> str:
    """Return pandoc's HTML with its formulas, figures, style sheet and script inside."""
    page = FORMULA.sub(mathml, page)
    page = IMAGE.sub(lambda image: inline_figure(results / image[1], image[2]), page)
    page = FIGURE.sub(lambda figure: figure[0] + behind(figure[1], results), page)
    page = HEAD.sub(
        lambda cell: f'<th scope="col{"group" if "colspan" in cell[1] else ""}"{cell[1]}>', page
    )
    page = LABEL.sub(r"\1-", page)  # HTML allows a colon in an id, and CSS wants it escaped
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    # The tags are part of the marks, since the text may hold the words.
    for tag, content in ("style", style()), ("script", script):
        page = page.replace(f"<{tag}>\n/* {tag} */", f"<{tag}>\n{content}", 1)
    return page
