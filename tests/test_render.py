"""The renderer, on a tiny paper: known answers in both documents, and every mistake refused."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from fontTools.ttLib import TTFont
from pypdf import PdfReader

from report import render
from report.render import RenderError

PAPER = """\
::: title
A study of << v("data.name") >>
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
We trained << v("seeds") >> networks, as @sec:results tells.
:::

<% include "results.md" %>

# References {.unnumbered}

::: {#refs}
:::

# Runs {#sec:runs .appendix}

## Details {#sec:details}

The end.
"""

RESULTS = """\
# Results {#sec:results}

The error of @eq:error was << v("error.mean") >>% in @fig:error, in @tbl:errors and in @sec:details,
and [ResNet-56]{.constant} is a name [@he2016deep, with proofs].[^note]
The claim is << claim("deeper").verdict >>, the study << config.study >>.
<% if value("error.mean") > 50 %>The error is large.<% endif %>

[^note]: A footnote by @ioffe2015batch.

$$
E = \\frac{1}{n}\\sum_i e_i
$$ {#eq:error}

::: {#fig:error}
**Errors.** Mean over << v("seeds") >> seeds of $x^2$.

::: alt
A line that rises to << v("error.mean") >>.
:::
:::

<% call table("errors", "Errors of " ~ v("seeds") ~ " seeds.", long=true) %>
<thead>
<tr><th rowspan="2">Network</th><th colspan="2">Error</th></tr>
<tr><th align="right">mean</th><th align="right">$\\sigma^2$</th></tr>
</thead>
<tbody>
<% for _ in range(90) %>
<tr><td>plain</td><td align="right"><< v("error.mean") >></td><td>none</td></tr>
<% endfor %>
</tbody>
<% endcall %>

Hostile words: << v("hostile") >>.
"""

DATA = b"depth,error\n20,0.1\n"
SCRIPT = "print('<b>drawn</b>')\n"
HOSTILE = (
    """<script>alert(1)</script> #eval("1") $x$ 'q' *a* [x](y) `c` @he2016deep """
    """\\n << v >> &amp; _u_ ~~s~~ ^t^ ... --- {#id} // /* <b> \\[z\\]"""
)


def value(key: str, number: float | str | None, text: str) -> dict[str, object]:
    source = {
        "file": "tables/runs.csv",
        "filter": {"variant": "plain_bn", "depth": 56},
        "column": "train_error",
        "statistic": "mean over seeds",
    }
    return {"key": key, "value": number, "text": text, "unit": "%", "source": source}


VALUES = [
    value("data.name", "MNIST-1D", "MNIST-1D"),
    value("seeds", 5, "5"),
    value("error.mean", 51.3, "51.3"),
    value("hostile", HOSTILE, HOSTILE),
]


GAPS = [
    {"prefix": "error.lost.", "reason": "a run is missing: <out of memory>"},
    {"prefix": "measured.flow.", "reason": "the study does not measure it"},
]


def write_paper(folder: Path) -> Path:
    """Writes the good paper: folder/sections and folder/study."""
    sections, study = folder / "sections", folder / "study"
    (study / "figures").mkdir(parents=True)
    sections.mkdir()
    (sections / "paper.md").write_text(PAPER, encoding="utf-8")
    (sections / "results.md").write_text(RESULTS, encoding="utf-8")
    claims = [{"id": "deeper", "verdict": "supported"}]
    for name, content in {
        "values": {"values": VALUES, "gaps": GAPS},
        "claims": {"claims": claims},
        "config": {"study": "tiny"},
    }.items():
        (study / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    with plt.rc_context({"svg.fonttype": "path", "svg.hashsalt": "", "text.color": "#262626"}):
        figure, axes = plt.subplots(figsize=(3, 2))
        axes.plot([1, 2], [1, 2])
        axes.set_title("ink")
        figure.savefig(study / "figures" / "error.svg", metadata={"Date": None})
        plt.close(figure)
    (study / "figures/error.csv.gz").write_bytes(gzip.compress(DATA, mtime=0))
    (folder / "scripts").mkdir()
    (folder / "scripts/error.py").write_text(SCRIPT, encoding="utf-8")
    return folder


def render_paper(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "FIGURES", folder / "scripts")
        render.render(folder / "study", folder / "sections")
    return folder / "study" / "report"


class Text(HTMLParser):
    """The visible text of a page, and the attributes of its elements by tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.attributes: dict[str, list[dict[str, str | None]]] = {}
        self.hidden = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.setdefault(tag, []).append(dict(attrs))
        self.hidden += tag in ("style", "annotation", "script")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("style", "annotation", "script")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the good paper, rendered."""
    folder = write_paper(tmp_path_factory.mktemp("paper"))
    render_paper(folder)
    return folder


@pytest.fixture(scope="module")
def page(good: Path) -> Text:
    return Text((good / "study/report/index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def reader(good: Path) -> PdfReader:
    return PdfReader(good / "study/report/report.pdf")


@pytest.fixture(scope="module")
def pdf_words(reader: PdfReader) -> str:
    return " ".join(" ".join(sheet.extract_text() for sheet in reader.pages).split())


SENTENCES = [
    "We trained 5 networks, as Section 1 tells.",
    "The error of Equation (1) was 51.3% in Figure 1, in Table 1 and in Appendix A.1,",
    "and ResNet-56 is a name (He et al. 2016, with proofs).",
    "The claim is supported, the study tiny. The error is large.",
    "Figure 1. Errors. Mean over 5 seeds of",
    "Table 1. Errors of 5 seeds.",
    "A Runs",
    "A.1 Details",
    "Deep Residual Learning for Image Recognition",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_both_documents_say(sentence: str, page: Text, pdf_words: str) -> None:
    # The page has a space of CSS, not of text, after the number of a section.
    squeezed = re.sub(r"\s", "", sentence)
    assert squeezed in re.sub(r"\s", "", page.text)
    assert squeezed in re.sub(r"\s", "", pdf_words)


def test_hostile_values_are_literal(page: Text, pdf_words: str) -> None:
    assert f"Hostile words: {HOSTILE}." in page.words
    squeezed = re.sub(r"\s", "", HOSTILE)
    assert squeezed in re.sub(r"\s", "", pdf_words)
    assert len(page.attributes["script"]) == 1  # the page's own


def test_hostile_values_are_literal_in_cells_captions_and_titles(tmp_path: Path) -> None:
    folder = write_paper(tmp_path)
    edit(folder / "sections/results.md", "<td>none</td>", '<td><< v("hostile") >></td>')
    edit(folder / "sections/results.md", "**Errors.**", '**Errors.** << v("hostile") >>')
    edit(folder / "sections/paper.md", "A study of", 'A study << v("hostile") >> of')
    edit(folder / "sections/results.md", "range(90)", "range(1)")
    report = render_paper(folder)
    page = Text((report / "index.html").read_text(encoding="utf-8"))
    assert page.words.count(HOSTILE) == 5  # twice in the title: the tab and the heading
    words = "".join(sheet.extract_text() for sheet in PdfReader(report / "report.pdf").pages)
    assert re.sub(r"\s", "", words).count(re.sub(r"\s", "", HOSTILE)) == 4


def test_a_value_tells_its_source(page: Text) -> None:
    spans = [span for span in page.attributes["span"] if span.get("class") == "value"]
    error = next(span for span in spans if span["data-key"] == "error.mean")
    assert error["title"] == (
        "tables/runs.csv; variant = plain_bn; depth = 56: mean over seeds of train_error"
    )
    # In the text, the title, the abstract, the caption of the figure, that of the table, the cells.
    assert [span["data-key"] for span in spans].count("error.mean") == 1 + 90
    assert [span["data-key"] for span in spans].count("seeds") == 3


def test_a_constant_leaves_no_trace(good: Path) -> None:
    assert 'class="constant"' not in (good / "study/report/index.html").read_text(encoding="utf-8")


def test_the_figure_is_inline_and_follows_the_theme(good: Path, page: Text) -> None:
    (svg,) = page.attributes["svg"]
    assert svg["role"] == "img"
    assert svg["aria-label"] == "A line that rises to 51.3."
    text = (good / "study/report/index.html").read_text(encoding="utf-8")
    drawing = text[text.index("<svg") : text.index("</svg>")]
    assert "currentColor" in drawing
    assert "#262626" not in drawing
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    targets = set(re.findall(r"""(?:href="|url\()#([^")]+)""", text))
    assert any(target.startswith("error-") for target in targets)
    assert targets <= set(ids)


def test_a_figure_takes_the_colours_and_the_names_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text(
        '<?xml version="1.0"?><svg width="9pt" height="5pt" viewBox="0 0 204 102">'
        "<style>*{stroke-linecap: butt}</style>"
        '<path id="p" fill="#262626"/><use href="#p" clip-path="url(#c)" stroke="#ffffff"/></svg>',
        encoding="utf-8",
    )
    assert render.inline_figure(tmp_path / "a.svg", 'a "b"') == (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'viewBox="0 0 204 102" role="img" aria-label="a &quot;b&quot;" '
        'fill="currentColor" style="max-width: 21.5rem; stroke-linecap: butt">'
        '<path id="a-p" fill="currentColor"/>'
        '<use href="#a-p" clip-path="url(#a-c)" stroke="var(--paper)"/></svg>'
    )


def test_formulas_are_mathml(page: Text) -> None:
    kinds = [formula.get("display") for formula in page.attributes["math"]]
    assert kinds.count("block") == 1
    assert len(kinds) == 3
    assert "\\(" not in page.text


def test_the_page_asks_for_nothing(page: Text) -> None:
    for tag, elements in page.attributes.items():
        for attributes in elements:
            assert tag not in ("link", "img", "iframe", "object")
            assert not (attributes.get("src") or "").startswith("http")


def test_behind_a_figure_are_its_data_script_and_command(page: Text) -> None:
    (link,) = [link for link in page.attributes["a"] if "download" in link]
    assert link["download"] == "error.csv.gz"
    encoded = link["href"].removeprefix("data:application/gzip;base64,")
    assert gzip.decompress(base64.b64decode(encoded)) == DATA
    assert SCRIPT.strip() in page.words
    assert "snakemake --cores 1 --force results/tiny/figures/error.svg" in page.words


def test_a_gap_is_marked_with_its_reason_and_a_misspelt_key_is_none(tmp_path: Path) -> None:
    folder = write_paper(tmp_path)
    lost = 'It was << v("error.lost.mean") >>%, see @fig:flow.'
    figure = "::: {#fig:flow}\n**Flow.**\n\n::: alt\nLines.\n:::\n:::"
    edit(folder / "sections/results.md", "Hostile words:", f"{lost}\n\n{figure}\n\nHostile words:")
    report = render_paper(folder)
    page = Text((report / "index.html").read_text(encoding="utf-8"))
    (span,) = [s for s in page.attributes["span"] if s.get("data-key") == "error.lost.mean"]
    assert "a run is missing: <out of memory>" in span["title"]
    words = " ".join(sheet.extract_text() for sheet in PdfReader(report / "report.pdf").pages)
    for text in (page.words, " ".join(words.split())):
        assert "It was –%, see Figure 2." in text
        assert "Not shown: the study does not measure it." in text
    edit(folder / "sections/results.md", "error.lost.mean", "error.lots.mean")
    with pytest.raises(RenderError, match=r"no value has the key 'error\.lots\.mean'"):
        render_paper(folder)


def test_the_table_of_numbers_lists_what_was_printed_by_place(tmp_path: Path) -> None:
    folder = write_paper(tmp_path)
    rows = (
        '<% call table("values", "All.") %><% for place, all in printed().items() %><tr>'
        "<td><< place >></td><td><% for what, key in all %><< what >>: << v(key) >>; <% endfor %>"
        "</td></tr><% endfor %><% endcall %>"
    )
    edit(folder / "sections/paper.md", "The end.", rows)
    page = Text((render_paper(folder) / "index.html").read_text(encoding="utf-8"))
    place = "tables/runs.csv; variant = plain_bn; depth = 56"
    what = "mean over seeds of train_error"
    assert f"{place} {what}: 5; {what}: 51.3;" in page.words  # once each, in the order of the text


def test_the_long_table_breaks_and_repeats_its_header(reader: PdfReader) -> None:
    sheets = [sheet.extract_text() for sheet in reader.pages]
    with_rows = [text for text in sheets if text.count("51.3") > 10]
    assert len(with_rows) >= 2
    assert all("Network" in text for text in with_rows)
    assert sum(text.count("plain 51.3") for text in sheets) == 90


def test_a_ledger_is_the_table_that_pandoc_makes_of_its_rows(tmp_path: Path) -> None:
    cells = (
        '<< v("hostile") >>',
        '<< v("error.mean") >>, <span class="constant">7</span>; two',
    )
    rows = "".join(f'<tr><td>{x}</td>\n<td align="right">{x}</td></tr>\n' for x in cells)
    head = '<thead><tr><th>A</th><th align="right">B</th></tr></thead>'
    made = []
    for kind in ("small=true", "ledger=true"):
        folder = write_paper(tmp_path / kind)
        edit(
            folder / "sections/paper.md",
            "The end.",
            f'<% call table("two", "Two.", {kind}) %>{head}<tbody>{rows}</tbody><% endcall %>',
        )
        report = render_paper(folder)
        page = Text((report / "index.html").read_text(encoding="utf-8"))
        sheets = PdfReader(report / "report.pdf").pages
        table = page.attributes["table"][-1]
        assert table.pop("class") == kind.split("=")[0]
        words = re.sub(r"\s", "", "".join(sheet.extract_text() for sheet in sheets))
        made.append((page.words, page.attributes["td"], page.attributes["span"], table, words))
    assert made[0] == made[1]


def test_cells_of_a_ledger_keep_their_side_in_the_pdf() -> None:
    rows = '<tr><td>a</td>\n<td align="right"><span class="value">&#8722;1</span> "b"</td></tr>'
    assert render.typst_rows(rows).splitlines() == [
        'table.cell(align: left + horizon)[#"a"],',
        'table.cell(align: right + horizon)[#"−1 \\"b\\""],',
    ]


def test_the_pdf_knows_what_it_is(reader: PdfReader) -> None:
    assert reader.metadata is not None
    assert reader.metadata.title == "A study of MNIST-1D"
    assert reader.metadata.author == "Ada Researcher, Bo Colleague"
    assert reader.metadata["/Keywords"] == "depth, shortcuts"
    titles = [item["/Title"] for item in reader.outline if isinstance(item, dict)]
    assert [" ".join(title.split()) for title in titles] == ["1 Results", "References", "A Runs"]


def test_every_character_of_the_page_is_in_the_fonts(page: Text) -> None:
    covered: set[str] = set()
    for _, _, _, name in render.WEB_FACES:
        covered |= set(map(chr, TTFont(render.FONTS / name).getBestCmap()))
    text_style = "\ufe0e"  # says that the arrow of a footnote is no emoji; it has no shape
    assert set(page.words) - covered == {text_style}


def test_the_same_bytes_again(good: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(good, copy, ignore=shutil.ignore_patterns("report"))
    again = render_paper(copy)
    for name in ("index.html", "report.pdf"):
        assert (again / name).read_bytes() == (good / "study/report" / name).read_bytes()


def test_the_style_sheet_holds_its_fonts_and_no_address() -> None:
    style = render.style()
    assert style.count("@font-face") == len(render.WEB_FACES)
    assert not re.search(r"url\((?!data:)|@import|https?:", style)


# Mistakes ----------------------------------------------------------------------------------------


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def replacing(name: str, old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: edit(folder / name, old, new)


def in_results(old: str, new: str) -> Callable[[Path], object]:
    return replacing("sections/results.md", old, new)


def in_ledger(cell: str) -> Callable[[Path], object]:
    return in_results(
        '", long=true) %>\n<thead>',
        f'", ledger=true) %><tbody><tr><td>{cell}</td></tr></tbody><% endcall %>\n'
        '<% call table("others", "Others.", long=true) %>\n<thead>',
    )


def removing(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


END = "Hostile words:"
MISTAKES = {
    "unknown value": (
        in_results('v("error.mean")', 'v("error.maen")'),
        "results.md:3: no value has the key 'error.maen'; did you mean error.mean?",
    ),
    "unknown claim": (
        in_results('claim("deeper")', 'claim("deper")'),
        "results.md:5: no claim has the id 'deper'; did you mean deeper?",
    ),
    "undefined name": (
        in_results("config.study", "confg.study"),
        "results.md:5: 'confg' is undefined; did you mean config?",
    ),
    "undefined field": (
        in_results("config.study", "config.stud"),
        "results.md:5: 'dict object' has no attribute 'stud'",
    ),
    "template syntax": (
        in_results("<% if value", "<% iff value"),
        "results.md:6: Encountered unknown tag 'iff'.",
    ),
    "missing section": (
        replacing("sections/paper.md", '"results.md"', '"resluts.md"'),
        "resluts.md; did you mean results.md?",
    ),
    "printed None": (in_results(END, "<< none >>"), "results.md:34: a template prints None"),
    "NaN value": (
        replacing("study/values.json", '"value": 51.3', '"value": NaN'),
        "the value 'error.mean' is nan: it cannot be printed",
    ),
    "missing value": (
        replacing("study/values.json", '"value": 51.3', '"value": null'),
        "the value 'error.mean' is None: it cannot be printed",
    ),
    "missing values file": (removing("study/values.json"), "missing file: "),
    "malformed claims file": (
        replacing("study/claims.json", "{", "["),
        "malformed JSON in ",
    ),
    "digit in a paragraph": (
        in_results(END, "There were 7 runs."),
        'unbound digit in "7", near "There were 7 runs. ',
    ),
    "digit in a heading": (
        in_results("# Results", "# Results of 7"),
        '(section "Results of 7")',
    ),
    "digit in a caption": (
        in_results("**Errors.**", "**Errors of 7.**"),
        'unbound digit in "7.", near "Errors of 7."',
    ),
    "digit in an alternative text": (
        in_results("A line that", "A line 7 that"),
        'near "A line 7 that rises to',
    ),
    "digit in a table cell": (in_results("<td>none</td>", "<td>7</td>"), 'unbound digit in "7"'),
    "digit in a table caption": (
        in_results('"Errors of "', '"Errors 7 of "'),
        'unbound digit in "7", near "Errors 7 of 5 seeds."',
    ),
    "digit in the title": (
        replacing("sections/paper.md", "A study", "A 7th study"),
        'unbound digit in "7th"',
    ),
    "digit in the abstract": (
        replacing("sections/paper.md", "We trained", "We trained 7 and"),
        'unbound digit in "7"',
    ),
    "digit in an author": (
        replacing("sections/paper.md", "Institute of Tests", "Institute 7"),
        'unbound digit in "7"',
    ),
    "digit in a footnote": (
        in_results("A footnote", "Footnote 7"),
        'unbound digit in "7", near "Footnote 7 by',
    ),
    "digit in a link": (in_results(END, "[page 7](x)"), 'unbound digit in "7"'),
    "digit after a citation key": (in_results("with proofs", "p. 7"), 'unbound digit in "p. 7"'),
    "digit printed by a template": (in_results(END, "<< 3 + 4 >>"), 'unbound digit in "7"'),
    "superscript digit": (in_results(END, "R² is"), 'unbound digit in "R²"'),
    "value in a formula": (
        in_results(END, '$n = << v("seeds") >>$'),
        "a value cannot stand inside a formula or code",
    ),
    "value in code": (
        in_results(END, '`<< v("seeds") >>`'),
        "a value cannot stand inside a formula or code",
    ),
    "missing figure": (
        lambda folder: (folder / "study/figures/error.svg").rename(
            folder / "study/figures/errors.svg"
        ),
        "missing figure: figures/error.svg; did you mean errors?",
    ),
    "footnote without text": (in_results("[^note]: A", "A"), "a footnote mark without its text"),
    "figure without alternative text": (
        in_results("::: alt\nA line that rises to", "::: other\nA line that rises to"),
        "fig:error has no alternative text",
    ),
    "figure without caption": (
        in_results('**Errors.** Mean over << v("seeds") >> seeds of $x^2$.', ""),
        "fig:error has no caption",
    ),
    "fence without a blank line": (
        in_results("$x^2$.\n\n:::", "$x^2$.\n:::"),
        'leave a blank line before and after each one (section "Results")',
    ),
    "image outside a figure": (in_results(END, "![A picture](x.svg)"), "an image outside"),
    "table outside a div": (in_results(END, "a | b\n--|--\nc | d\n\n"), "a table outside"),
    "raw HTML": (in_results(END, "<b>bold</b>"), "HTML and other raw markup is only for tables"),
    "table too long for a page": (
        in_results(", long=true", ""),
        "tbl:errors has too many rows for one page: mark it long",
    ),
    "missing citation": (
        in_results("@he2016deep", "@he2016dep"),
        "no entry of references.bib has the key he2016dep; did you mean he2016deep?",
    ),
    "undefined reference": (
        in_results("@fig:error", "@fig:eror"),
        'nothing has the label fig:eror (section "1 Results"); did you mean fig:error?',
    ),
    "duplicate label": (
        in_results(END, "$$ a $$ {#eq:error}\n\n"),
        "the label eq:error is defined twice",
    ),
    "label of nothing": (in_results(END, "$a$ {#eq:other}"), "a label that belongs to nothing"),
    "tag in a formula": (
        in_results("e_i\n", "e_i \\tag{x}\n"),
        "\\tag in a formula",
    ),
    "unknown TeX": (in_results("\\frac", "\\farc"), 'Unknown command "\\farc"'),
    "unbalanced TeX": (in_results("{n}", "{n"), "bad TeX in the formula"),
    "unknown glyph": (in_results(END, "\u4e2d"), "PDF: "),
    "no abstract": (
        replacing("sections/paper.md", "::: abstract", "::: summary"),
        'the paper has no "::: abstract"',
    ),
    "digit in a ledger": (in_ledger("a 7"), "unbound digit in a row of tbl:errors: 7"),
    "superscript in a ledger": (in_ledger("a²"), "unbound digit in a row of tbl:errors: a²"),
    "fraction in a ledger": (in_ledger("a &frac12;"), "unbound digit in a row of tbl:errors: ½"),
    "digit in another span of a ledger": (
        in_ledger("<span>7</span>"),
        "HTML in a cell of tbl:errors: <span>7</span>",
    ),
    "script in a ledger": (
        in_ledger("<script>f()</script>"),
        "HTML in a cell of tbl:errors: <script>f()</script>",
    ),
    "section after the appendix": (
        replacing("sections/paper.md", "The end.", "# More"),
        "a numbered section after the first appendix",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_stops_the_render(name: str, tmp_path: Path) -> None:
    spoil, message = MISTAKES[name]
    folder = write_paper(tmp_path)
    spoil(folder)
    with pytest.raises(RenderError) as caught:
        render_paper(folder)
    assert any(message in line for line in str(caught.value).splitlines())
    assert not (folder / "study/report").exists()


def test_all_unbound_digits_are_listed_at_once(tmp_path: Path) -> None:
    folder = write_paper(tmp_path)
    edit(folder / "sections/results.md", END, "First 7, then\n\n8 and")
    with pytest.raises(RenderError) as caught:
        render_paper(folder)
    assert [line[:21] for line in str(caught.value).splitlines()] == [
        'unbound digit in "7,"',
        'unbound digit in "8",',
    ]


def test_the_command_tells_a_mistake_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_paper(tmp_path)
    edit(folder / "sections/results.md", END, "7")
    arguments = ["--results", str(folder / "study"), "--sections", str(folder / "sections")]
    monkeypatch.setattr("sys.argv", ["render", *arguments])
    assert render.main() == 1
    error = capsys.readouterr().err
    assert error.startswith('error: unbound digit in "7"')
    assert len(error.splitlines()) == 1
