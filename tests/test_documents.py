"""The two documents of the quick study, as a reader and a browser meet them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from pypdf import PdfReader
from pypdf.generic import Destination

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def squeeze(text: str) -> str:
    """Text without white space and hyphens, which line breaks add and remove."""
    return re.sub(r"[\s\u00ad\u2010-]", "", text)


class Page(HTMLParser):
    """What the tests ask of index.html: its values, its section titles and its abstract."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.values: list[tuple[str, str]] = []
        self.abstract: list[tuple[str, str]] = []  # the words before a value, and the value
        self.titles: list[str] = []
        self.before = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "br", "hr", "img", "wbr"):
            self.open.append((tag, dict(attrs)))
        if tag == "h2":
            self.titles.append("")
        if dict(attrs).get("class") == "value":
            self.values.append((dict(attrs)["data-key"] or "", ""))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        attributes = [attributes for _, attributes in self.open]
        value = any(attribute.get("class") == "value" for attribute in attributes)
        if value:
            key, text = self.values[-1]
            self.values[-1] = (key, text + data)
        if any(tag == "h2" for tag, _ in self.open):
            self.titles[-1] += data
        if any(attribute.get("class") == "abstract" for attribute in attributes):
            if value:
                self.abstract.append((" ".join(self.before.split()[-3:]), data))
            self.before += data


@pytest.fixture(scope="module")
def page(quick_study: Path) -> Page:
    return Page((quick_study / "report/index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def reader(quick_study: Path) -> PdfReader:
    return PdfReader(quick_study / "report/report.pdf")


def test_every_value_on_the_page_is_in_values_json(page: Page, quick_study: Path) -> None:
    entries = json.loads((quick_study / "values.json").read_text(encoding="utf-8"))["values"]
    texts = {entry["key"]: entry["text"] for entry in entries}
    assert len(page.values) >= 10
    assert [(key, texts.get(key)) for key, _ in page.values] == page.values


# The PDF -----------------------------------------------------------------------------------------


def test_the_pdf_has_the_length_of_a_paper(reader: PdfReader) -> None:
    assert len(reader.pages) >= 4
    assert {tuple(map(round, sheet.mediabox[2:])) for sheet in reader.pages} == {(595, 842)}


def test_the_abstract_prints_the_same_values_in_both(page: Page, reader: PdfReader) -> None:
    first = squeeze(reader.pages[0].extract_text())
    assert page.abstract
    for before, value in page.abstract:
        assert squeeze(before + value) in first


def test_the_bookmarks_are_the_sections(page: Page, reader: PdfReader) -> None:
    bookmarks = [item.title for item in reader.outline if isinstance(item, Destination)]
    sections = [title for title in page.titles if title != "Abstract"]
    assert len(sections) >= 4
    assert list(map(squeeze, bookmarks)) == list(map(squeeze, sections))


def test_the_pdf_is_tagged_and_says_its_title_and_language(reader: PdfReader) -> None:
    root = reader.trailer["/Root"].get_object()
    assert root["/MarkInfo"]["/Marked"] == True  # noqa: E712 (pypdf's own boolean)
    assert "/StructTreeRoot" in root
    assert root["/Lang"] == "en-GB"
    assert reader.metadata is not None
    assert reader.metadata.title
    assert reader.metadata.author


def fonts(reader: PdfReader) -> Iterator[dict]:
    """The descriptors of all fonts in the PDF."""
    for sheet in reader.pages:
        for font in sheet["/Resources"].get("/Font", {}).values():
            for descendant in font.get_object()["/DescendantFonts"]:
                yield descendant.get_object()["/FontDescriptor"].get_object()


def test_every_font_is_embedded(reader: PdfReader) -> None:
    descriptors = list(fonts(reader))
    names = {str(descriptor["/FontName"]).split("+")[-1] for descriptor in descriptors}
    assert any(name.startswith("STIXTwoText") for name in names)
    for descriptor in descriptors:
        assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(descriptor)


# The page in a browser ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture
def visit(browser, quick_study: Path):
    """Opens the page: visit(width=..., color_scheme=...) -> the page of the browser."""
    address = (quick_study / "report/index.html").as_uri()
    opened = []

    def open_page(width: int = 1400, color_scheme: str = "light", javascript: bool = True):
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=color_scheme,
            java_script_enabled=javascript,
        )
        opened.append(context)
        tab = context.new_page()
        tab.problems = []
        tab.requests = []
        tab.on("console", lambda message: tab.problems.append(message.text))
        tab.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.on("request", lambda request: tab.requests.append(request.url))
        tab.goto(address)
        return tab

    yield open_page
    for context in opened:
        context.close()


def test_the_page_loads_quietly_and_alone(visit) -> None:
    tab = visit()
    tab.evaluate("document.fonts.ready")
    assert tab.problems == []
    beyond = [address for address in tab.requests if not address.startswith("data:")]
    assert beyond == [tab.url]


def test_text_and_formulas_use_the_embedded_fonts(visit) -> None:
    loaded = "[...document.fonts].filter(f => f.status == 'loaded').map(f => f.family)"
    tab = visit()
    tab.evaluate("document.fonts.ready")
    families = {family.strip("\"'") for family in tab.evaluate(loaded)}
    assert families == {"STIX Two Text", "STIX Two Math"}


@pytest.mark.parametrize("width", [320, 400, 800, 1400])
def test_nothing_overflows_sideways(visit, width: int) -> None:
    assert visit(width).evaluate("document.scrollingElement.scrollWidth") <= width


def test_every_figure_has_a_name_and_a_caption(visit) -> None:
    tab = visit()
    figures = tab.locator("figure")
    assert figures.count() >= 1
    assert tab.locator("figure > svg[role=img][aria-label]").count() == figures.count()
    assert tab.locator("figure > figcaption").count() == figures.count()
    assert tab.locator("img").count() == 0
    assert "" not in [
        drawing.get_attribute("aria-label").strip() for drawing in tab.locator("svg").all()
    ]


def test_every_link_inside_the_page_arrives(visit) -> None:
    lost = """[...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute('href'))
        .filter(href => !document.getElementById(decodeURIComponent(href.slice(1))))"""
    assert visit().evaluate(lost) == []


def test_the_dark_scheme_swaps_ink_and_paper(visit) -> None:
    colours = """[getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.body).color,
        getComputedStyle(document.querySelector('figure svg')).fill]"""
    assert visit().evaluate(colours) == ["rgb(255, 255, 255)", "rgb(27, 27, 31)", "rgb(27, 27, 31)"]
    dark = visit(color_scheme="dark").evaluate(colours)
    assert dark == ["rgb(21, 22, 25)", "rgb(228, 228, 231)", "rgb(228, 228, 231)"]


def test_the_page_reads_without_javascript(visit) -> None:
    tab = visit(javascript=False)
    assert tab.locator("main p").first.is_visible()
    assert tab.locator("math").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(visit(color_scheme=scheme)).response["violations"]
    serious = {
        violation["id"]: [node["html"][:200] for node in violation["nodes"][:3]]
        for violation in found
        if violation["impact"] in ("serious", "critical")
    }
    assert serious == {}


def marked(tab) -> list[str]:
    return tab.locator("nav a[aria-current]").evaluate_all("all => all.map(a => a.hash)")


def test_the_contents_follow_the_reader(visit) -> None:
    tab = visit()
    assert len(marked(tab)) == 1
    for section in ("sec:identity", "sec:errata"):
        tab.evaluate(f"document.getElementById('{section}').scrollIntoView()")
        tab.wait_for_function(
            f"document.querySelector('nav a[aria-current]')?.hash === '#{section}'", timeout=3000
        )
        assert marked(tab) == [f"#{section}"]
        entry, nav = tab.locator("nav a[aria-current]").bounding_box(), tab.locator("nav")
        box = nav.bounding_box()
        assert box["y"] <= entry["y"] <= box["y"] + box["height"]


# What is pointed at, and what its card then says.
CARDS = [
    ("main a.verdict", "Predicted"),
    ("main p a.reference[href='#fig:forest']", "What helps deep networks to fit"),
    ("main p a.reference[href='#sec:errata']", "Errata to the diary"),
    ("main p a[href='#ref-he2016deep']", "Deep Residual Learning"),
    ("main p .value[data-key^='train_error.plain_bn']", "mean over seeds of train_error"),
]


@pytest.mark.parametrize(("selector", "says"), CARDS)
def test_a_card_shows_what_is_pointed_at(visit, selector: str, says: str) -> None:
    tab = visit()
    element, card = tab.locator(selector).first, tab.locator("#card")
    assert card.is_hidden()
    element.hover()
    card.wait_for(state="visible", timeout=2000)
    assert says in card.inner_text()
    assert element.get_attribute("aria-describedby") == "card"
    box = card.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1400
    tab.keyboard.press("Escape")
    assert card.is_hidden()
    assert element.get_attribute("aria-describedby") is None


def test_cards_come_by_keyboard_and_by_tap(visit) -> None:
    tab = visit(width=400)
    card = tab.locator("#card")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    for _ in range(400):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.classList.contains('verdict')"):
            break
    assert card.is_visible()
    assert "Verdict" in card.inner_text()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Escape")
    assert card.is_hidden()
    tab.locator("main p .value").first.click()
    assert card.is_visible()
    assert tab.evaluate("document.scrollingElement.scrollWidth") <= 400
    tab.locator("h1").click()
    assert card.is_hidden()


def test_the_data_behind_a_figure_are_one_click_away(visit, quick_study: Path) -> None:
    tab = visit()
    assert tab.locator("figure .behind").count() == tab.locator("figure").count()
    figure = tab.locator("figure[id='fig:forest']")
    figure.locator("summary").click()
    with tab.expect_download() as waiting:
        figure.locator("a[download]").click()
    data = pd.read_csv(waiting.value.path(), compression="gzip")
    runs = pd.read_csv(quick_study / "tables/runs.csv")
    drawn = runs[runs["depth"].isin([8, 14])].reset_index(drop=True)
    pd.testing.assert_frame_equal(data, drawn)


def test_without_javascript_numbers_still_tell_their_source(visit) -> None:
    tab = visit(javascript=False)
    assert "tables/runs.csv" in tab.locator("[data-key='runs.n']").first.get_attribute("title")
    assert tab.locator("#card").count() == 0
    assert tab.locator("figure .behind a[download]").first.get_attribute("href").startswith("data:")


def test_print_leaves_out_what_paper_cannot_do(visit) -> None:
    tab = visit()
    tab.emulate_media(media="print")
    for selector in ("nav", ".behind", ".skip"):
        assert tab.locator(selector).first.is_hidden()
