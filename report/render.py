"""Renders the paper: sections and results to one HTML page and one PDF.

    sections/*.md --Jinja--> Markdown --pandoc, checks, numbering, citations--> document tree
        --pandoc--> HTML --> formulas as MathML, figures and fonts inside --> index.html
        --pandoc--> Typst -------------------------------------------------> report.pdf

Run as ``python -m report.render --results results/default``. Every mistake in the sections stops
the render with a line that says what, where and, for a misspelt name, the nearest one that exists.
"""

from __future__ import annotations

import argparse
import base64
import functools
import html
import json
import math
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import math_core
import pypandoc
import typst
from fontTools.ttLib import TTFont

from models.files import replacing
from models.records import nearest

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "templates"
FONTS = HERE / "fonts"
FIGURES = HERE.parent / "analysis/figures"
BIBLIOGRAPHY = HERE / "references.bib"
READER = "markdown-implicit_figures-markdown_in_html_blocks-implicit_header_references"
WEB_FACES = [  # family, style, weight, file
    ("STIX Two Text", "normal", 400, "STIXTwoText-Regular.woff2"),
    ("STIX Two Text", "italic", 400, "STIXTwoText-Italic.woff2"),
    ("STIX Two Text", "normal", 700, "STIXTwoText-Bold.woff2"),
    ("STIX Two Text", "italic", 700, "STIXTwoText-BoldItalic.woff2"),
    ("STIX Two Math", "normal", 400, "STIXTwoMath-Regular.woff2"),
]


class RenderError(Exception):
    """A mistake in the paper or its inputs, told in one line (or one line each)."""


# Inputs ------------------------------------------------------------------------------------------


def read_json(path: Path, *keys: str) -> Any:
    """The content of a JSON file; raises RenderError when it is missing, malformed or without one
    of its keys."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise RenderError(f"{'missing file' if missing else error.strerror}: {path}") from None
    except ValueError as error:  # bytes that are not UTF-8 too
        raise RenderError(f"malformed JSON in {path}: {error}") from None
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise RenderError(f"{path}: {key} is missing")
    return content


def place_of(source: dict[str, Any]) -> str:
    """The file and the rows that a value comes from."""
    rows = [
        f"{column} = {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for column, value in source.get("filter", {}).items()
    ]
    return "; ".join([source["file"], *rows])


def what_of(source: dict[str, Any]) -> str:
    """The column that a value comes from, and what was done with it."""
    return " of ".join(source[part] for part in ("statistic", "column") if source.get(part))


def describe(source: dict[str, Any]) -> str:
    """Where a value comes from, for the reader who points at it."""
    what = what_of(source)
    return place_of(source) + (f": {what}" if what else "")


@functools.cache
def characters() -> frozenset[str]:
    """Those that the paper's fonts have."""
    return frozenset(map(chr, TTFont(FONTS / "STIXTwoText-Regular.ttf").getBestCmap()))


def literal(text: str) -> str:
    """Text that Markdown and HTML print as it stands: each special character an entity. One that
    the fonts do not have, which may be in the log of a job, is printed as its code."""
    shown = "".join(
        c if c in characters() or c in "\t\r\n" else c.encode("unicode_escape").decode()
        for c in text
    )
    escaped = re.sub(r"[^\w\s]", lambda match: f"&#{ord(match[0])};", shown)
    # A narrow no-break space between thousands is kept.
    return re.sub(r"[ \t\r\n]+", " ", escaped.replace("_", "&#95;"))


class Values:
    """The values that the text may print, by key."""

    def __init__(self, entries: list[dict[str, Any]], gaps: list[dict[str, str]]) -> None:
        self.entries = {entry["key"]: entry for entry in entries}
        self.gaps = gaps
        self.printed: dict[str, None] = {}  # keys, in the order of their first appearance

    def entry(self, key: str) -> dict[str, Any]:
        """The entry of a key; raises RenderError when it is unknown or not a usable value."""
        if key not in self.entries:
            for gap in self.gaps:
                if key.startswith(gap["prefix"]):
                    source = {"file": "missing", "statistic": gap["reason"]}
                    self.entries[key] = {"key": key, "value": "–", "text": "–", "source": source}
                    return self.entries[key]
            raise RenderError(f"no value has the key {key!r}{nearest(key, self.entries)}")
        entry = self.entries[key]
        value = entry["value"]
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            raise RenderError(f"the value {key!r} is {value}: it cannot be printed")
        return entry

    def raw(self, key: str) -> Any:
        """The value itself, for conditions and loops."""
        return self.entry(key)["value"]

    def span(self, key: str) -> str:
        """The value as printed, in the span that the check of numbers accepts."""
        entry = self.entry(key)
        self.printed[key] = None
        return f'<span class="value" data-key="{key}">{literal(entry["text"])}</span>'

    def title(self, key: str) -> str:
        """Where a value is from, as an attribute of its span."""
        return html.escape(describe(self.entry(key)["source"]))

    def numbers(self) -> dict[str, list[tuple[str, str]]]:
        """The numbers printed so far, but for single runs, whose table names them: by file and
        rows, the column of each and its key."""
        places: dict[str, list[tuple[str, str]]] = {}
        for key in self.printed:
            value, source = self.entries[key]["value"], self.entries[key]["source"]
            if key.startswith(("run.", "label.")) or (
                isinstance(value, str) and not re.match(r"\d", value)
            ):
                continue
            entry = (self.constant(what_of(source)), key)
            places.setdefault(self.constant(place_of(source)), []).append(entry)
        return places

    @staticmethod
    def constant(text: str) -> str:
        """Text whose digits are names and not results."""
        return f'<span class="constant">{literal(text)}</span>'


def read_values(results: Path) -> Values:
    content = read_json(results / "values.json", "values", "gaps")
    return Values(content["values"], content["gaps"])


# Sections to Markdown ----------------------------------------------------------------------------


def table(
    label: str,
    caption: str,
    caller: Callable[[], str],
    long: bool = False,
    widths: str = "",
    small: bool = False,
    ledger: bool = False,
) -> str:
    """The block of ``<% call table(label, caption) %>``: rows in HTML, the caption in Markdown.
    A long table may break between pages; a ledger has nothing but values and plain text in its
    rows, which are then not read as Markdown. For the PDF alone: `widths` of the columns, in
    proportion ("3 1 1"), and small type."""
    kind = (
        (" .long" if long else "")
        + (" .ledger" if ledger else "")
        + (" .small" if small else "")
        + (f' widths="{widths}"' if widths else "")
    )
    return f"\n\n::: {{#tbl:{label}{kind}}}\n{caption}\n\n<table>\n{caller()}\n</table>\n:::\n\n"


def printable(value: Any) -> Any:
    """The net under everything a template prints; raises RenderError on None and NaN."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise RenderError(f"a template prints {value}")
    return value


class KeepLineEnds(jinja2.ext.Extension):
    """Lets Jinja drop the line break after a tag only where the tag is alone on its line.

    ``trim_blocks`` alone would also glue the next line to a sentence that ends in a tag, and an
    included section to the next one.
    """

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        lone_tag = r"(?!\s*<%-?\s*include)\s*<%((?!%>).)*%>\s*"
        lines = [
            line if re.fullmatch(lone_tag, line) else re.sub(r"(?<![-+])%>(\s*)$", r"+%>\1", line)
            for line in source.split("\n")
        ]
        return "\n".join(lines)


def environment(results: Path, sections: Path, values: Values) -> jinja2.Environment:
    """Jinja as the sections use it; raises RenderError when an input of the study is missing."""
    claims = read_json(results / "claims.json", "claims")["claims"]
    by_id = {claim["id"]: claim for claim in claims}

    def claim(identifier: str) -> dict[str, Any]:
        if identifier not in by_id:
            raise RenderError(f"no claim has the id {identifier!r}{nearest(identifier, by_id)}")
        return by_id[identifier]

    result = jinja2.Environment(
        loader=jinja2.FileSystemLoader(sections),
        undefined=jinja2.StrictUndefined,
        finalize=printable,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        extensions=[KeepLineEnds],
    )
    result.filters["literal"] = literal
    result.globals.update(
        v=values.span,
        value=values.raw,
        printed=values.numbers,
        claim=claim,
        claims=claims,
        config=read_json(results / "config.json"),
        table=table,
    )
    return result


def place(error: Exception, sections: Path) -> str:
    """The file and line of the sections where a template failed."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"{error.name}:{error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    lines = [
        f"{Path(frame.filename).name}:{frame.lineno}: "
        for frame in frames
        if Path(frame.filename).is_relative_to(sections)
    ]
    return lines[-1] if lines else ""


def markdown(results: Path, sections: Path) -> str:
    """The text with all values filled in, and the figures marked that the study is not to have;
    raises RenderError naming the file and the line."""
    values = read_values(results)
    templates = environment(results, sections, values)
    try:
        text = templates.get_template("paper.md").render()
    except jinja2.TemplateNotFound as error:
        known = templates.list_templates()
        message = f"missing section file: {sections / str(error.name)}"
        raise RenderError(
            place(error, sections) + message + nearest(str(error.name), known)
        ) from None
    except jinja2.UndefinedError as error:
        name = re.match(r"'(\w+)' is undefined", str(error))
        hint = nearest(name[1], templates.globals) if name else ""
        raise RenderError(f"{place(error, sections)}{error.message}{hint}") from None
    except (RenderError, jinja2.TemplateError, TypeError) as error:
        raise RenderError(f"{place(error, sections)}{error}") from None
    except Exception as error:  # of any type: a template may compute
        what = f"{type(error).__name__}: {error}"
        raise RenderError(f"{place(error, sections)}{what}") from None
    for gap in values.gaps:
        if gap["prefix"].startswith("measured."):
            name = gap["prefix"].split(".")[1]
            reason = literal(gap["reason"]).strip()
            text = text.replace(f"{{#fig:{name}}}", f'{{#fig:{name} gap="{reason}"}}')
    return text


# Ledgers -----------------------------------------------------------------------------------------

# Tables of thousands of cells with nothing but values in them. Pandoc would take seconds over their
# rows, which pass it by and come into both documents as they are.

LEDGER = re.compile(r"(::: \{#tbl:(\w+)[^}\n]* \.ledger.*?<tbody>)(.*?)(</tbody>)", re.S)
BOUND = re.compile(r'<span class="(?:value|constant)"[^>]*>.*?</span>')
DIGIT = re.compile(r"\S*[0-9²³¹¼-¾⁰-₉⅐-↋①-⒛]\S*")  # those of templates/numbers.lua


def set_aside(text: str) -> tuple[str, dict[str, str]]:
    """The text with a mark for the rows of each ledger, and the rows by label; raises RenderError
    on a digit that is not bound, and on other HTML than cells."""
    ledgers = {}

    def keep(match: re.Match[str]) -> str:
        opening, label, rows, closing = match.groups()
        between = re.sub(r"</?t[rd]\b[^>]*>", " ", BOUND.sub(" ", rows))
        if "<" in between:
            raise RenderError(
                f"HTML in a cell of tbl:{label}: {between[between.index('<') :][:60]}"
            )
        if loose := DIGIT.search(html.unescape(between)):
            raise RenderError(f"unbound digit in a row of tbl:{label}: {loose[0]}")
        ledgers[label] = re.sub(r'<span class="constant">(.*?)</span>', r"\1", rows)
        return f"{opening}<tr><td>rows-of-{label}</td></tr>{closing}"

    return LEDGER.sub(keep, text), ledgers


def html_rows(rows: str) -> str:
    """As pandoc would have written them for the page."""
    return re.sub(r'<td align="(\w+)">', r'<td style="text-align: \1;">', rows)


def typst_rows(rows: str) -> str:
    """As templates/typst.lua would have written them for the PDF."""
    cells = []
    for align, cell in re.findall(r'<td(?: align="(\w+)")?>(.*?)</td>', rows, re.S):
        words = re.sub(r"[ \t\r\n]+", " ", html.unescape(re.sub(r"<[^>]*>", "", cell))).strip()
        string = json.dumps(words, ensure_ascii=False)
        cells.append(f"table.cell(align: {align or 'left'} + horizon)[#{string}],")
    return "\n".join(cells)


# Pandoc ------------------------------------------------------------------------------------------


def explain(stderr: str) -> str:
    """What pandoc complained about, in the words of the author."""
    mistakes = []
    for line in stderr.splitlines():
        if line.startswith("mistake: "):
            message, *rest = line.removeprefix("mistake: ").split("\t")
            mistakes.append(message + (nearest(rest[0], rest[1].split()) if rest else ""))
        elif missing := re.search(r"citation (\S+) not found", line):
            keys = re.findall(r"^@\w+\{(.+),$", BIBLIOGRAPHY.read_text(encoding="utf-8"), re.M)
            hint = nearest(missing[1], keys)
            mistakes.append(f"no entry of references.bib has the key {missing[1]}{hint}")
    return "\n".join(mistakes) or "pandoc: " + " ".join(stderr.split())


def pandoc(text: str, *options: str) -> str:
    """Runs pandoc with bounded memory and time; raises RenderError on any error or warning."""
    limits = ["+RTS", "-M2G", "-RTS", "--fail-if-warnings"]
    done = subprocess.run(
        [pypandoc.get_pandoc_path(), *limits, *options],
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env={"LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "PATH": ""},
    )
    if done.returncode:
        raise RenderError(explain(done.stderr))
    return done.stdout


def document(text: str) -> str:
    """The checked and numbered document as pandoc's JSON; raises RenderError on mistakes."""
    filters = ["structure.lua", "numbers.lua", "references.lua"]
    return pandoc(
        text,
        *(f"--from={READER}", "--to=json"),
        *(f"--lua-filter={TEMPLATES / name}" for name in filters),
        *("--citeproc", f"--bibliography={BIBLIOGRAPHY}"),
        # American only in the bibliography, whose quotation marks then are those of the text.
        *("--metadata=link-citations", "--metadata=link-bibliography", "--metadata=lang:en-US"),
        f"--lua-filter={TEMPLATES / 'frontmatter.lua'}",
    )


# HTML --------------------------------------------------------------------------------------------


def style() -> str:
    """The style sheet with the fonts inside."""
    faces = []
    for family, slant, weight, name in WEB_FACES:
        data = base64.b64encode((FONTS / name).read_bytes()).decode("ascii")
        faces.append(
            f"@font-face {{ font-family: '{family}'; font-style: {slant}; font-weight: {weight}; "
            f"src: url(data:font/woff2;base64,{data}) format('woff2'); }}"
        )
    return "\n".join([*faces, (TEMPLATES / "style.css").read_text(encoding="utf-8")])


def inline_figure(path: Path, alt: str) -> str:
    """A figure for the page, its ink and paper those of the page; raises RenderError if missing."""
    if not path.is_file():
        known = [other.stem for other in path.parent.glob("*.svg")]
        raise RenderError(f"missing figure: figures/{path.name}{nearest(path.stem, known)}")
    svg = path.read_text(encoding="utf-8")
    if "<svg" not in svg or "viewBox" not in svg:
        raise RenderError(f"figures/{path.name} is not a drawing")
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    # Two figures on one page must not share names.
    svg = re.sub(r'\bid="', f'id="{path.stem}-', svg)
    svg = re.sub(r'href="#', f'href="#{path.stem}-', svg)
    svg = re.sub(r"url\(#", f"url(#{path.stem}-", svg)
    for colour in ("#262626", "#000000"):
        svg = svg.replace(colour, "currentColor")
    svg = svg.replace("#ffffff", "var(--paper)")
    # A style element would reach the whole page; its one rule is inherited from the root instead.
    joins = re.search(r"<style[^>]*>\*\{(.*?)\}</style>", svg)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.S)
    _, _, width, height = re.search(r'viewBox="([^"]+)"', svg)[1].split()
    # The text block of the PDF is 408 pt wide and that of the page 43 rem: keep their proportion.
    rules = f"max-width: {float(width) * 43 / 408:.1f}rem; {joins[1] if joins else ''}"
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(alt)}" '
        f'fill="currentColor" style="{rules}">'
    )
    return re.sub(r"<svg[^>]*>", lambda _: root, svg, count=1)


def behind(name: str, results: Path, study: str) -> str:
    """What is behind a figure, all of it in the page: data, script and the command to remake it."""
    table = results / f"figures/{name}.csv.gz"
    if not table.is_file():
        raise RenderError(f"missing file: {table}")
    data = base64.b64encode(table.read_bytes()).decode("ascii")
    script = (FIGURES / f"{name}.py").read_text(encoding="utf-8")
    target = f"results/{study}/figures/{name}.svg"
    return (
        '<details class="behind"><summary>Data and script</summary>'
        f'<p><a href="data:application/gzip;base64,{data}" download="{name}.csv.gz">'
        f"{name}.csv.gz</a> holds what is drawn. Drawn by <code>analysis/figures/{name}.py</code>; "
        f"drawn again by <code>snakemake --cores 1 --force {html.escape(target)}</code>.</p>"
        f'<pre tabindex="0" aria-label="Script of the figure"><code>{html.escape(script)}</code>'
        "</pre></details>"
    )


def mathml(tex: str, display: bool) -> str:
    """A formula as MathML; raises RenderError when it is not valid TeX."""
    converter = math_core.LatexToMathML(annotation=True, fancy_error=False)
    try:
        return converter.convert_with_local_state(tex, displaystyle=display)
    except math_core.LatexError as error:
        raise RenderError(f"bad TeX in the formula {tex}: {error}") from None


def page(tree: str, ledgers: dict[str, str], results: Path) -> str:
    """The self-contained HTML page of a document."""
    text = pandoc(
        tree,
        *("--from=json", "--to=html5", "--mathjax", "--section-divs", "--shift-heading-level-by=1"),
        *("--wrap=none", "--toc", "--toc-depth=3", f"--template={TEMPLATES / 'page.html'}"),
        f"--lua-filter={TEMPLATES / 'html.lua'}",
    )
    text = re.sub(
        r"<tr>\s*<td>rows-of-(\w+)</td>.*?</tr>",
        lambda match: html_rows(ledgers[match[1]]),
        text,
        flags=re.S,
    )
    text = re.sub(
        r'(<span class="math \w+">)\\([(\[])(.*?)\\[)\]]</span>',
        lambda match: (
            match[1] + mathml(html.unescape(match[3]).strip(), match[2] == "[") + "</span>"
        ),
        text,
        flags=re.S,
    )
    text = re.sub(
        r'<img src="([^"]+)" alt="([^"]*)" />',
        lambda match: inline_figure(results / match[1], html.unescape(match[2])),
        text,
    )
    values = read_values(results)
    text = re.sub(
        r'(<span class="value" data-key="([^"]+)")',
        lambda match: f'{match[1]} title="{values.title(html.unescape(match[2]))}"',
        text,
    )
    study = read_json(results / "config.json", "study")["study"]
    text = re.sub(
        r'(<figure id="fig:(\w+)">.*?)</figure>',
        lambda match: f"{match[1]}{behind(match[2], results, study)}</figure>",
        text,
        flags=re.S,
    )
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    # With their tags, for the text may have the words.
    for tag, content in ("style", style()), ("script", script):
        text = text.replace(f"<{tag}>\n/* {tag} */", f"<{tag}>\n{content}", 1)
    return text


# PDF ---------------------------------------------------------------------------------------------


def pdf(tree: str, ledgers: dict[str, str], results: Path) -> bytes:
    """The tagged PDF of a document; raises RenderError on any error or warning of Typst."""
    source = pandoc(
        tree,
        *("--from=json", "--to=typst-citations-smart", f"--template={TEMPLATES / 'paper.typ'}"),
        f"--lua-filter={TEMPLATES / 'typst.lua'}",
    )
    source = re.sub(
        r"table\.cell\([^)]*\)\[rows-of-(\w+)\],(\s*table\.cell\([^)]*\)\[\],)*",
        lambda match: typst_rows(ledgers[match[1]]),
        source,
    )
    try:
        result, warnings = typst.compile_with_warnings(
            source.encode(),
            root=str(results),
            font_paths=[str(FONTS)],
            ignore_system_fonts=True,
            pdf_standards=["ua-1"],  # it also makes a missing glyph an error
        )
    except typst.TypstError as error:
        raise RenderError("PDF: " + " ".join(error.diagnostic.split())) from None
    if warnings:
        raise RenderError("PDF: " + "; ".join(warning.message for warning in warnings))
    return result


# Both --------------------------------------------------------------------------------------------


def render(results: Path, sections: Path) -> None:
    """Writes report/index.html and report/report.pdf of a study, or raises RenderError."""
    results, sections = results.resolve(), sections.resolve()
    text, ledgers = set_aside(markdown(results, sections))
    tree = document(text)
    with ThreadPoolExecutor() as pool:
        web = pool.submit(page, tree, ledgers, results)
        paper = pool.submit(pdf, tree, ledgers, results)
    outputs = {"index.html": web.result().encode(), "report.pdf": paper.result()}
    for name, content in outputs.items():
        with replacing(results / "report" / name) as path:
            path.write_bytes(content)


def main() -> int:
    parser = argparse.ArgumentParser(description="Render the paper of a study to HTML and PDF.")
    parser.add_argument("--results", type=Path, required=True, help="folder of the study's results")
    parser.add_argument(
        "--sections", type=Path, default=HERE / "sections", help="folder of the text"
    )
    arguments = parser.parse_args()
    try:
        render(arguments.results, arguments.sections)
    except RenderError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
