"""The page of the quick study, as a browser meets it."""

import csv
import shutil
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
WIDTH = "document.scrollingElement.scrollWidth"


@pytest.fixture(scope="module")
def browser():
    """Start Chromium without a window."""
    if CHROMIUM is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def visit(browser, quick_study: Path):
    """Return the function that opens the page in a tab of a given width."""
    address = (quick_study / "report/index.html").as_uri()

    def open_page(width: int = 1400, **options):
        tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
        tab.problems, tab.requests = [], []
        tab.on("console", lambda message: tab.problems.append(message.text))
        tab.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.on("request", lambda request: tab.requests.append(request.url))
        tab.goto(address)
        return tab

    yield open_page
    for context in browser.contexts:
        context.close()


def test_the_page_loads_quietly_and_alone_with_its_fonts_and_its_links_arrive(visit) -> None:
    tab = visit()
    tab.evaluate("document.fonts.ready")
    assert tab.problems == []
    assert [address for address in tab.requests if not address.startswith("data:")] == [tab.url]
    loaded = "[...document.fonts].filter(f => f.status == 'loaded').map(f => f.family)"
    families = {family.strip("\"'") for family in tab.evaluate(loaded)}
    assert families == {"STIX Two Text", "STIX Two Math"}
    lost = """[...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute('href'))
        .filter(href => !document.getElementById(decodeURIComponent(href.slice(1))))"""
    assert tab.evaluate(lost) == []


def test_nothing_overflows_sideways(visit) -> None:
    tab = visit()
    for width in (320, 400, 800, 1400):
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate(WIDTH) <= width


def test_the_dark_scheme_swaps_ink_and_paper(visit) -> None:
    colours = """[getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.body).color,
        getComputedStyle(document.querySelector('figure svg')).fill]"""
    assert visit().evaluate(colours) == ["rgb(255, 255, 255)", "rgb(27, 27, 31)", "rgb(27, 27, 31)"]
    dark = visit(color_scheme="dark").evaluate(colours)
    assert dark == ["rgb(21, 22, 25)", "rgb(228, 228, 231)", "rgb(228, 228, 231)"]


@pytest.mark.parametrize(
    ("scheme", "options"), [("light", None), ("dark", {"runOnly": ["color-contrast"]})]
)
def test_axe_finds_nothing_serious(visit, scheme: str, options: dict | None) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(visit(color_scheme=scheme), options=options).response["violations"]
    assert [each for each in found if each["impact"] in ("serious", "critical")] == []


def test_the_contents_follow_the_reader(visit) -> None:
    tab = visit()
    marked = tab.locator("nav a[aria-current]")
    assert marked.count() == 1
    for section in ("sec-identity", "sec-rivals"):
        tab.evaluate(f"document.getElementById('{section}').scrollIntoView()")
        tab.locator(f"nav a[aria-current][href='#{section}']").wait_for(timeout=3000)
        assert marked.count() == 1
        entry, nav = marked.bounding_box(), tab.locator("nav").bounding_box()
        assert nav["y"] <= entry["y"] <= nav["y"] + nav["height"]


# What is pointed at, and what its card then says.
CARDS = [
    ("main a.verdict", "Predicted"),
    ("main p a.reference[href='#fig-interventions']", "Training error at depth"),
    ("main p a.reference[href='#sec-errata']", "Errata to the diary"),
    ("main p a[href='#ref-he2016deep']", "Deep Residual Learning"),
    ("main p .value[data-key^='mean(\"train_error\"']", "mean over seeds of train_error"),
]


def test_a_card_shows_what_is_pointed_at(visit) -> None:
    tab = visit()
    card = tab.locator("#card")
    assert card.is_hidden()
    for selector, says in CARDS:
        element = tab.locator(selector).first
        element.hover()
        tab.locator("#card", has_text=says).wait_for(timeout=2000)
        assert element.get_attribute("aria-describedby") == "card"
        box = card.bounding_box()
        assert 0 <= box["x"] <= 1400 - box["width"]
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
    assert "Predicted" in card.inner_text()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Escape")
    assert card.is_hidden()
    tab.locator("main p .value").first.click()
    assert card.is_visible()
    assert tab.evaluate(WIDTH) <= 400
    tab.locator("h1").click()
    assert card.is_hidden()


def test_an_appendix_is_folded_until_a_link_leads_into_it(visit) -> None:
    tab = visit()
    row = tab.locator("#claim-plain_bn_degrades")
    assert row.is_hidden()
    tab.locator("main p a.verdict[href='#claim-plain_bn_degrades']").first.click()
    row.wait_for(state="visible", timeout=2000)
    assert row.bounding_box()["y"] < 900


def test_a_long_table_is_sorted_searched_and_saved(visit) -> None:
    tab = visit()
    tab.evaluate("location.hash = '#tbl-networks'")
    table = tab.locator("#tbl-networks")

    def column(place: int) -> list[str]:
        return table.locator(f"tbody tr:visible td:nth-child({place})").all_inner_texts()

    names = column(1)
    assert len(names) >= 6
    errors = table.locator("th", has_text="14")
    for order, reverse in (("ascending", False), ("descending", True)):
        errors.locator("button").click()
        assert errors.get_attribute("aria-sort") == order
        means = [float(cell.split()[0]) for cell in column(3)]
        assert means == sorted(means, reverse=reverse)
    assert sorted(column(1)) == sorted(names)
    tools = tab.locator("#tbl-networks-box").locator("xpath=preceding-sibling::*[1]")
    tools.locator("input").fill("Orthogonal")
    assert column(1) == ["residual + BN, orthogonal shortcut"]
    with tab.expect_download() as download:
        tools.locator("a").click()
    rows = list(csv.reader(Path(download.value.path()).read_text().splitlines()))
    assert rows[0][:3] == ["Network", "depth\xa08", "depth\xa014"]
    assert [row[0] for row in rows[1:]] == names


def test_the_page_reads_without_javascript_and_on_paper(visit) -> None:
    tab = visit(java_script_enabled=False)
    assert tab.locator("main p").first.is_visible()
    assert tab.locator("math").first.is_visible()
    value = tab.locator("[data-key='count(\"claims\", registered=true)']").first
    assert "claims.json" in value.get_attribute("title")
    assert tab.locator("#card").count() == 0
    tab.emulate_media(media="print")
    for selector in ("nav", ".behind", ".skip"):
        assert tab.locator(selector).first.is_hidden()
