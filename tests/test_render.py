"""The renderer, on a tiny paper: known answers in both documents, and every mistake refused."""

import base64
import gzip
import json
import re
import shutil
from html import unescape
from pathlib import Path

import pytest
from conftest import in_process
from fontTools.ttLib import TTFont
from pypdf import PdfReader
from tiny import HOSTILE, write_study

from report import page as report_page
from report import render
from report.printing import FONTS

PAPER = """\
::: title
A study of << setting("dataset") >> << data("name") >>
:::

::: authors
- Ada Researcher, Institute of Tests
- Bo Colleague
:::

::: keywords
- depth
- shortcuts
:::

::: abstract
We trained << setting("seeds.n") >> networks, as @sec:results tells.
:::

<% include "results.md" %>

# References {.unnumbered}

::: {#refs}
:::

# Runs {#sec:runs .appendix}

## Details {#sec:details}

The end.
"""

ERROR = '<< mean("train_error", "plain_bn", 8) >>'
LOST = 'quantity("gradient_flow.rate", "residual_bn", 20)'
GAP = "::: {#fig:training}\n**Flow.** << data('name') >>\n\n::: alt\nLines.\n:::\n:::"
RESULTS = f"""\
# Results {{#sec:results}}

The error of @eq:error was {ERROR}% in @fig:error, in @tbl:errors and in @sec:details,
and [ResNet-56]{{.constant}} is a name [@he2016deep, with proofs].[^note]
The claim is << claim("deeper").verdict >>, the study << config.study >>.
<% if mean("train_error", "plain_bn", 8).value > 10 %>The error is large.<% endif %>

[^note]: A footnote by @ioffe2015batch.

$$
E = \\frac{{1}}{{n}}\\sum_i e_i
$$ {{#eq:error}}

::: {{#fig:error}}
**Errors.** Mean over << setting("seeds.n") >> seeds of $x^2$.

::: alt
A line that rises to {ERROR}.
:::
:::

<% call table("errors", "Errors of " ~ setting("seeds.n") ~ " seeds.", long=true) %>
<thead>
<tr><th rowspan="2">Network</th><th colspan="2">Error</th></tr>
<tr><th align="right">mean</th><th align="right">$\\sigma^2$</th></tr>
</thead>
<tbody>
<% for _ in range(90) %>
<tr><td>plain</td><td align="right">{ERROR}</td><td>none</td></tr>
<% endfor %>
<tr><td>hostile</td><td><< data("name") >></td><td>none</td></tr>
</tbody>
<% endcall %>

Hostile words: << data("name") >>.
The rate is << {LOST} >>%.

{GAP}
"""

END = "Hostile words:"
VALUE = '<< setting("seeds.n") >>'
FIGURE = """\
<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" width="204pt" height="102pt" viewBox="0 0 204 102">
<style>*{stroke-linecap: butt}</style><clipPath id="c"><path d="M0 0H9V9Z"/></clipPath>
<path id="p" fill="#262626" d="M1 1L9 9Z"/><g clip-path="url(#c)" stroke="#ffffff"/></svg>
"""
DATA = b"depth,error\n20,0.1\n"
SCRIPT = "print('<b>drawn</b>')\n"


def edit(folder: Path, name: str, old: str, new: str) -> None:
    (path,) = folder.rglob(f"{name}.*")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def write_paper(folder: Path) -> Path:
    """Write the good paper: folder/sections and folder/results/tiny."""
    results = write_study(folder)
    for path, text in {
        folder / "sections/paper.md": PAPER,
        folder / "sections/results.md": RESULTS,
        folder / "scripts/error.py": SCRIPT,
        results / "figures/error.svg": FIGURE,
    }.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (results / "figures/error.csv.gz").write_bytes(gzip.compress(DATA, mtime=0))
    return folder


def squeeze(text: str) -> str:
    """The text without white space, which the line breaks of a PDF add and remove."""
    return re.sub(r"\s", "", text)


class Documents:
    """The two documents of a paper, their visible texts, and the attributes of the page's tags."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.html = (folder / "index.html").read_text(encoding="utf-8")
        visible = re.sub(r"<(style|script|annotation)\b.*?</\1>", "", self.html, flags=re.S)
        self.text = unescape(re.sub("<[^>]*>", "", visible))
        self.pdf = PdfReader(folder / "report.pdf")
        self.sheets = [sheet.extract_text() for sheet in self.pdf.pages]
        self.texts = squeeze(self.text), squeeze("".join(self.sheets))

    def attributes(self, tag: str) -> list[dict[str, str]]:
        found = re.findall(rf"<{tag}\b([^>]*)>", self.html)
        pairs = [re.findall(r'([\w-]+)="([^"]*)"', inside) for inside in found]
        return [{name: unescape(text) for name, text in each} for each in pairs]


def render_paper(folder: Path) -> Documents:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_page, "SCRIPTS", folder / "scripts")
        render.render(folder / "results/tiny", folder / "sections")
    return Documents(folder / "results/tiny/report")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the good paper."""
    return write_paper(tmp_path_factory.mktemp("paper"))


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy of the good paper before it is rendered, to edit."""
    return shutil.copytree(good, tmp_path / "paper", ignore=shutil.ignore_patterns("report"))


@pytest.fixture(scope="module")
def paper(good: Path) -> Documents:
    """The documents of the good paper."""
    return render_paper(good)


SENTENCES = [
    "We trained 3 networks, as Section 1 tells.",
    "The error of Equation (1) was 20% in Figure 1, in Table 1 and in Appendix A.1,",
    "and ResNet-56 is a name (He et al. 2016, with proofs).",
    "The claim is supported, the study tiny. The error is large.",
    "Figure 1. Errors. Mean over 3 seeds of",
    "Table 1. Errors of 3 seeds.",
    "The rate is –%.",
    "Figure 2. Flow.",
    "Not shown: the study does not measure activity, ics, smoothness.",
    "A.1 Details",
    "Deep Residual Learning for Image Recognition",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_both_documents_say_the_same(paper: Documents, sentence: str) -> None:
    assert all(squeeze(sentence) in text for text in paper.texts)


def test_hostile_values_are_literal_everywhere(paper: Documents) -> None:
    """They are in the text, a cell, a caption and the title, which the page also has as tab."""
    assert [text.count(squeeze(HOSTILE)) for text in paper.texts] == [5, 4]
    assert len(paper.attributes("script")) == 1  # the page's own


def test_a_value_tells_its_query_and_its_source(paper: Documents) -> None:
    span = r'<span class="value" data-key="([^"]*)" title="([^"]*)">(.*?)</span>'
    spans = [tuple(map(unescape, found)) for found in re.findall(span, paper.html, re.S)]
    keys = [key for key, *_ in spans]
    query = 'mean("train_error", "plain_bn", 8)'
    rows = "tables/runs.csv; variant = plain_bn; depth = 8; budget = 16"
    source = f"{rows}: mean over seeds of train_error"
    assert spans[keys.index(query)] == (query, source, "20")
    reason = "tables/missing.csv; kind = measurement; variant = residual_bn: out of <memory>"
    assert spans[keys.index(LOST)] == (LOST, reason, "–")
    # In the text and in the cells; an alternative text has no spans.
    assert keys.count(query) == 1 + 90
    assert keys.count('setting("seeds.n")') == 3  # abstract, captions of the figure and the table
    # values.json has what was printed, once each; the condition in the text prints nothing.
    path = paper.folder.parent / "values.json"
    values = json.loads(path.read_text(encoding="utf-8"))["values"]
    title = {'setting("dataset")': "signals"}  # it has no spans either
    texts = {key: text for key, _, text in spans}
    assert {value["key"]: value["text"] for value in values} == texts | title
    (value,) = [value for value in values if value["key"] == query]
    assert (value["value"], value["unit"]) == (pytest.approx(20), "%")
    assert value["source"]["filter"] == {"variant": "plain_bn", "depth": 8, "budget": 16}


def test_the_page_holds_its_figures_and_formulas_and_asks_for_nothing(paper: Documents) -> None:
    (figure,) = re.findall("<svg.*?</svg>", paper.html, re.S)
    assert "".join(figure.splitlines()) == (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'viewBox="0 0 204 102" role="img" aria-label="A line that rises to 20." '
        'fill="currentColor" style="max-width: 21.5rem; stroke-linecap: butt">'
        '<clipPath id="error-c"><path d="M0 0H9V9Z"/></clipPath>'
        '<path id="error-p" fill="currentColor" d="M1 1L9 9Z"/>'
        '<g clip-path="url(#error-c)" stroke="var(--paper)"/></svg>'
    )
    ids = re.findall(r'\bid="([^"]+)"', paper.html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"""(?:href="|url\()#([^")]+)""", paper.html)) <= set(ids)
    formulas = [formula.get("display") for formula in paper.attributes("math")]
    assert (len(formulas), formulas.count("block")) == (3, 1)
    assert "\\(" not in paper.text
    assert 'class="constant"' not in paper.html
    assert not re.search(r"<(link|img|iframe|object)\b|src=\"?http", paper.html)
    assert paper.html.count("@font-face") == paper.html.count("url(data:font/woff2;base64,") == 5
    assert not re.search(r"url\((?!data:|#)|@import", paper.html)
    # Behind the figure are its data, its script and a command.
    (link,) = [link for link in paper.attributes("a") if "download" in link]
    assert link["download"] == "error.csv.gz"
    encoded = link["href"].removeprefix("data:application/gzip;base64,")
    assert gzip.decompress(base64.b64decode(encoded)) == DATA
    assert SCRIPT.strip() in paper.text
    command = "snakemake --configfile results/tiny/config.json --cores 1 --force "
    assert command + "results/tiny/figures/error.svg" in paper.text


def test_the_long_table_breaks_and_repeats_its_header(paper: Documents) -> None:
    with_rows = [text for text in paper.sheets if text.count("20") > 10]
    assert len(with_rows) >= 2
    assert all("Network" in text for text in with_rows)
    assert sum(text.count("plain 20") for text in paper.sheets) == 90


def test_cells_keep_their_side_and_span_in_the_pdf() -> None:
    table = (
        '::: {#tbl:a widths="2 1"}\nA caption.\n\n<table><thead><tr><th colspan="2">B</th></tr>'
        '</thead><tbody><tr><td>c</td><td align="right">d</td></tr></tbody></table>\n:::\n'
    )
    text = PAPER.split("::: abstract")[0].replace('<< setting("dataset") >>', "x")
    tree = render.document(f"{text}::: abstract\nAn abstract.\n:::\n\n{table}")
    code = render.pandoc(tree, "--from=json --to=typst-citations-smart --lua-filter=typst.lua")
    assert "(2fr, 1fr,)" in code
    assert "table.cell(colspan: 2, stroke: (bottom: 0.4pt))[\nB\n]," in code
    assert "table.cell()[\nc\n],\ntable.cell(align: right + horizon)[\nd\n]," in code


def test_the_pdf_is_tagged_and_knows_what_it_is(paper: Documents) -> None:
    root, metadata = paper.pdf.trailer["/Root"].get_object(), paper.pdf.metadata
    assert "/StructTreeRoot" in root
    assert root["/Lang"] == "en-GB"
    assert metadata.title == f"A study of signals {HOSTILE}"
    assert metadata.author == "Ada Researcher, Bo Colleague"
    assert metadata["/Keywords"] == "depth, shortcuts"
    titles = [item["/Title"] for item in paper.pdf.outline if isinstance(item, dict)]
    assert [" ".join(title.split()) for title in titles] == ["1 Results", "References", "A Runs"]
    assert {tuple(map(round, sheet.mediabox[2:])) for sheet in paper.pdf.pages} == {(595, 842)}


def test_every_character_of_the_page_is_in_the_fonts(paper: Documents) -> None:
    covered = {chr(x) for path in FONTS.glob("*.woff2") for x in TTFont(path).getBestCmap()}
    text_style = "\ufe0e"  # says that the arrow of a footnote is no emoji; it has no shape
    assert set(paper.text) - covered == {text_style, "\n"}


def test_the_same_bytes_again(paper: Documents, tmp_path: Path) -> None:
    again = render_paper(write_paper(tmp_path / "elsewhere"))
    for name in ("index.html", "report.pdf"):
        assert (again.folder / name).read_bytes() == (paper.folder / name).read_bytes()


DIGITS = [  # file, what is replaced in it and by what, and a part of the line that comes
    ("results", END, "There were 7 runs.", 'unbound digit in "7", near "There were 7 runs.'),
    ("results", "# Results", "# Results of 1", '(section "Results of 1")'),
    ("results", "**Errors.**", "**Errors of 2.**", 'digit in "2.", near "Errors of 2."'),
    ("results", "A line that", "A line 3 that", 'near "A line 3 that rises to'),
    ("results", '"Errors of "', '"Errors 5 of "', 'near "Errors 5 of 3 seeds."'),
    ("paper", "A study", "A 6th study", 'unbound digit in "6th"'),
    ("results", "A footnote", "Footnote 10", 'near "Footnote 10 by'),
    ("results", "The claim", "[page 11](x)", 'unbound digit in "11"'),
    ("results", "with proofs", "p. 12", 'unbound digit in "p. 12"'),
    ("results", "is a name", "R² is", 'unbound digit in "R²"'),
    ("results", "<td>plain</td>", "<td>&frac12; <span>14</span></td>", 'unbound digit in "½"'),
    ("results", "range(90)", "range(1)", 'unbound digit in "14"'),
]


def test_all_unbound_digits_are_listed_at_once(folder: Path) -> None:
    for name, old, new, _ in DIGITS:
        edit(folder, name, old, new)
    with pytest.raises(ValueError, match="unbound digit") as caught:
        render_paper(folder)
    lines = str(caught.value).splitlines()
    for *_, message in DIGITS:
        assert any(message in line for line in lines), message
    assert len(lines) == len(DIGITS)


MISTAKES = [  # as above
    ("results", "setting(", "settin(", "'settin' is undefined; did you mean setting?"),
    ("results", '"train_error"', '"train_eror"', "results.md:3: no column of runs has the name"),
    ("results", "<% if mean", "<% iff mean", "results.md:6: Encountered unknown tag 'iff'."),
    ("paper", '"results.md"', '"resluts.md"', "resluts.md; did you mean results.md?"),
    ("results", END, "<< none >>", "results.md:35: a template prints None"),
    ("results", END, f"$n = {VALUE}$", "a value cannot stand inside a formula or code"),
    ("results", "fig:training", "fig:eror", "missing figure: figures/eror.svg; did you mean error"),
    ("results", "[^note]: A", "A", "a footnote mark without its text"),
    ("results", "::: alt", "::: other", "fig:error has no alternative text"),
    ("results", f"**Errors.** Mean over {VALUE} seeds of $x^2$.", "", "fig:error has no caption"),
    ("results", "$x^2$.\n\n:::", "$x^2$.\n:::", "leave a blank line before and after each one"),
    ("results", END, "![A picture](x.svg)", "an image outside"),
    ("results", END, "a | b\n--|--\nc | d\n\n", "a table outside"),
    ("results", END, "<b>bold</b>", "HTML and other raw markup is only for tables"),
    ("results", ", long=true", "", "tbl:errors has too many rows for one page: mark it long"),
    ("results", "@he2016deep", "@he2016dep", "the key he2016dep; did you mean he2016deep?"),
    ("results", "@fig:error", "@fig:eror", '(section "1 Results"); did you mean fig:error?'),
    ("results", END, "$$ a $$ {#eq:error}\n\n", "the label eq:error is defined twice"),
    ("results", END, "$a$ {#eq:other}", "a label that belongs to nothing"),
    ("results", "e_i\n", "e_i \\tag{x}\n", "\\tag in a formula"),
    ("results", "\\frac", "\\farc", 'Unknown command "\\farc"'),
    ("results", END, "\u4e2d", "PDF: "),
    ("paper", "::: abstract", "::: summary", 'the paper has no "::: abstract"'),
    ("paper", "The end.", "# More", "a numbered section after the first appendix"),
]


@pytest.mark.parametrize(("name", "old", "new", "message"), MISTAKES, ids=[m[3] for m in MISTAKES])
def test_a_mistake_stops_the_render(
    name: str, old: str, new: str, message: str, folder: Path
) -> None:
    edit(folder, name, old, new)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below)
        render_paper(folder)
    assert any(message in line for line in str(caught.value).splitlines())
    assert not (folder / "results/tiny/report").exists()


def test_the_command_tells_a_mistake_without_a_traceback(folder: Path) -> None:
    edit(folder, "results", END, "7")
    folders = "--results", folder / "results/tiny", "--sections", folder / "sections"
    with pytest.raises(SystemExit, match=r'\Aerror: unbound digit in "7".*\Z'):
        in_process(render, *folders)
