"""Each query of the text against an answer that is computed by hand from tests/tiny.py."""

import re
from html import unescape
from pathlib import Path

import pytest
from jinja2 import Environment
from tiny import HOSTILE, write_study

from report.claims import read_claims
from report.printing import Value, listed, literal, number, significant
from report.results import Results
from report.text import environment
from report.values import Values

# Three differences with mean -30 and standard deviation 10 points: t(0.975, 2) = 4.30265.
HALF_WIDTH = 4.30265 * 10 / 3**0.5
ASKED: dict[str, Value] = {}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(write_study(tmp_path_factory.mktemp("values")))


@pytest.fixture(scope="module")
def text(results: Results) -> Environment:
    return environment(results, results.folder.parent.parent / "sections", ASKED)


def ask(text: Environment, query: str, asked: dict[str, Value] = ASKED) -> str:
    """Return what a query prints, and keep only its values in `asked`."""
    asked.clear()
    return text.from_string(f"<< {query} >>").render()


def words(markdown: str) -> str:
    """The Markdown without its spans and links."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)\{[^}]*\}|<[^>]*>", r"\1", markdown)
    return unescape(plain).replace("\xa0", " ")


ANSWERS = {  # query: its value and its text, or the text that is both
    'mean("test_error", "plain_bn", 20)': (85, "85"),
    'mean("train_loss", "plain_bn", 20)': (5.3 / 3, "1.767"),
    'half("train_error", "plain_bn", 20)': (HALF_WIDTH, "25"),
    'mean("train_error", "plain_bn", 20, budget=2)': (90, "90.0"),
    "steps(2)": (10, "10"),
    'steps_to_fit("plain_bn", 8)': (60.4, "60"),  # two of three seeds are no bound
    'steps_to_fit("plain_bn", 20)': (75, ">\u202f75"),
    'at_chance("all")': (3, "3"),  # above log 10 - 0.01 = 2.2926: 2.3, 2.5, 2.5
    "count_at_edge()": (1, "1"),  # 0.1 for plain_bn, 20
    "count_close_rates(5)": (1, "1"),  # the leads are 50 - 60 and 36 - 30 points
    "count_close_rates(7)": (2, "2"),
    'quantity("gradient_flow.rate", "plain_bn", 20)': (1.3, "1.30"),
    'count_correlations("gap", "overall", "predicted")': (1, "1"),
    'count_correlations("gap", "overall", "opposite")': (1, "1"),
    'of_claim("deeper", "smallest_effect")': (1, "1"),
    'of_claim("better", "effect", budget=2)': (110 / 3, "37"),
    'count("runs", status="diverged")': (1, "1"),
    'count("runs", budget="all")': (24, "24"),
    'count("runs", budget=2, depth=8)': (3, "3"),
    'count("claims", verdict="not tested", budget=2)': (3, "3"),
    'distinct("runs", "variant", "depth", "budget", budget="all")': (8, "8"),
    'cell("runs", "lr", variant="plain_bn", depth=8)': (0.03, "0.03"),
    'cell("runs", "parameters", variant="plain_bn")': (12345, "12\u202f345"),
    'cell("rank_correlation", "tau", quantity="gradient_flow.rate")': (-0.456, "−0.46"),
    'cell("missing", "reason", kind="run")': "NA",
    'cell("missing", "runs", kind="run")': (6, "6"),
    'cell("missing", "reason", depth=none)': "out of <memory>",
    'setting("seeds.n")': (3, "3"),
    'setting("tuning.lrs")': "0.03 and 0.1",
    'record("packages.torch")': "2.13.0+cpu",
    'record("cpu_minutes")': (0.75, "0.8"),
    'data("length")': (40, "40"),
    'data("name")': HOSTILE,
    'label("plain_bn")': "plain + BN",
    'label("ntk.log_trace")': "mean diagonal of the tangent kernel",
}


@pytest.mark.parametrize("query", ANSWERS)
def test_a_query_has_the_answer_of_a_hand(text: Environment, query: str) -> None:
    is_text = isinstance(ANSWERS[query], str)
    value, shown = (ANSWERS[query],) * 2 if is_text else ANSWERS[query]
    pattern = r'<span class="value" data-key="([^"]*)" title="([^"]*)">(.*)</span>'
    key, title, printed = map(unescape, re.fullmatch(pattern, ask(text, query)).groups())
    (answer,) = ASKED.values()
    assert answer.value == (value if is_text else pytest.approx(value, abs=1e-4))
    assert answer.text == shown
    assert key == query.replace("none", "null")
    assert title == str(answer.source)
    assert printed == " ".join(shown.split(" "))


NO_RUN = "the study has no run of plain_bn_width4 at depth 20"
COMPOSED = {
    'verdict("better", budget=2)': "contradicted",
    # 50 - 80/2 - 20/2 is 0, and the seeds differ as in the change.
    'finding("slow")': "Perhaps (0.0 points, −25 to 25; inconclusive).",
    'says("narrow")': f"This was not tested: {NO_RUN}.",
    # 50 - 90 at the longest budget, and 50 - 40 / 3 at the other.
    'finding("better")': (
        "Yes, it is better (−40 points, −65 to −15; supported; "
        "prediction contradicted after 2 epochs)."
    ),
}


@pytest.mark.parametrize("query", COMPOSED)
def test_words_around_values(text: Environment, query: str) -> None:
    assert words(ask(text, query)) == COMPOSED[query]


def test_other_verdicts(
    text: Environment, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(results.claims["deeper"], "verdict", "contradicted")
    assert words(ask(text, 'says("deeper")')) == "No, by 60.0 points, 60.0 to 60.0."
    monkeypatch.setitem(results.claims["better"], "ci_high", 0.6)  # not 1, the smallest effect
    assert words(ask(text, 'effect("better")')) == "−40 points, −65 to 0.6"
    monkeypatch.setitem(results.claims["better"], "verdict", "not tested")
    assert text.globals["tested"](["better", "deeper"]) == ["deeper"]
    assert words(ask(text, 'found(["better", "deeper"])')).startswith("No, by 60.0")


def test_a_rate_is_at_an_edge_of_all_that_were_tried(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With halving, all rates had a quarter of the budget, and only the best two the whole."""
    assert [results.is_at_edge("plain_bn", depth) for depth in (8, 20)] == [False, True]
    monkeypatch.setitem(results.config["tuning"], "halving", True)
    assert not results.is_at_edge("plain_bn", 20)


def test_a_verdict_links_to_its_row_in_text_and_in_signs(text: Environment) -> None:
    assert ask(text, 'verdict("narrow")') == "[not tested](#claim-narrow){.verdict .not-tested}"
    assert ask(text, 'signs("better")') == (
        '<a href="#claim-better" class="verdict contradicted" title="contradicted">−</a>&nbsp;'
        '<a href="#claim-better" class="verdict supported" title="supported">+</a>'
    )


def test_a_published_study_speaks_by_its_name_and_is_compared(tmp_path: Path) -> None:
    """In the other study, one verdict differs, and a claim is tested that is not tested here."""
    ours, theirs = (Results(write_study(tmp_path / name)) for name in ("ours", "theirs"))
    theirs.claims["better"]["verdict"] = "contradicted"
    theirs.claims["narrow"] |= theirs.claims["deeper"] | {"id": "narrow"}
    asked: dict[str, Value] = {}
    claims = read_claims(tmp_path / "ours/claims.yaml")
    sentences = {claim.id: claim.sentences for claim in claims}
    values = Values(ours, sentences, asked, {"long": theirs})
    text = environment(ours, tmp_path / "ours/sections", asked)
    text.globals |= {name: getattr(values, name) for name in ("finding", "agreement")}
    assert values.tested(["narrow", "slow"]) == ["narrow", "slow"]
    assert words(ask(text, 'finding("narrow")', asked)) == (
        "Yes, it is narrow (study *[long]{.constant}*: 60.0 points, 60.0 to 60.0; supported)."
    )
    source = asked['long: of_claim("narrow", "effect")'].source
    assert source.file == "report/evidence/long/claims.json"
    same = values.agreement("long")
    assert (same["both"].value, same["alike"].value, same["differ"]) == (2, 1, ["better"])
    with pytest.raises(ValueError, match="no published study has the name 'lnog'; did you mean lo"):
        values.agreement("lnog")


GONE_RUN = "tables/missing.csv; kind = run; variant = residual_bn"
DASHES = {  # query: the beginning of its source
    'mean("train_error", "residual_bn", 14)': f"{GONE_RUN}; depth = 14; runs = 6: NA",
    'steps_to_fit("residual_bn", 14)': GONE_RUN,
    'cell("runs", "lr", variant="residual_bn", depth=14)': GONE_RUN,
    'quantity("gradient_flow.rate", "residual_bn", 20)': (
        "tables/missing.csv; kind = measurement; variant = residual_bn: out of <memory>"
    ),
    'quantity("hessian.near_zero", "plain_bn", 20)': "config.json: the study does not measure it",
    'quantity("gradient_flow.log_first", "plain_bn", 20)': "tables/quantities.csv; quantity",
    'mean("train_loss", "residual_bn", 20)': "tables/runs.csv; variant = residual_bn; depth = 20",
    'of_claim("narrow", "effect")': f"claims.json; id = narrow; budget = 16: {NO_RUN}",
    'record("rules.measure.seconds")': "provenance.json: rules.measure.seconds",
}


@pytest.mark.parametrize("query", DASHES)
def test_a_gap_is_a_dash_with_its_reason(text: Environment, query: str) -> None:
    assert words(ask(text, query)) == "–"
    (answer,) = ASKED.values()
    assert str(answer.source).startswith(DASHES[query])


WRONG = {  # query: its one line
    'mean("train_error", "plain_bm", 8)': "no variant has the name 'plain_bm'; did you mean plain",
    # A mistake is none the less one where the study has a gap.
    'mean("train_eror", "residual_bn", 14)': "no column of runs has the name 'train_eror'; did you",
    'record("rules.measure.secnds")': "no record has the name 'rules.measure.secnds'; did you mean",
    'mean("train_error", "residual", 8)': "the study has no run of residual at depth 8",
    'count("rnus")': "no table has the name 'rnus'; did you mean runs?",
    'count("runs", statu="x")': "no column of runs has the name 'statu'; did you mean status?",
    'cell("runs", "lr", variant="plain_bn")': "table runs: lr has 2 values where",
    'quantity("gradient_flow.rat", "plain_bn", 20)': "did you mean gradient_flow.rate?",
    'quantity("gradient_flow.rate", "plain_bn", 20, "ned")': "did you mean end?",
    'effect("deper")': "no claim has the name 'deper'; did you mean deeper?",
    'verdict("deeper", budget=3)': "no budget of the claims has the name '3'; expected one of 2",
    'setting("seds")': "no setting with a value has the name 'seds'; did you mean seeds?",
    'setting("image_folder")': "no setting with a value has the name 'image_folder'",
}


@pytest.mark.parametrize("query", WRONG)
def test_a_wrong_query_is_one_line_with_the_nearest_name(text: Environment, query: str) -> None:
    with pytest.raises(ValueError, match=re.escape(WRONG[query])) as caught:
        ask(text, query)
    assert "\n" not in str(caught.value)
    assert ASKED == {}


def test_a_sentence_that_cannot_be_printed_names_its_claim(tmp_path: Path) -> None:
    study = Results(write_study(tmp_path))
    path = tmp_path / "claims.yaml"
    path.write_text(path.read_text().replace("Yes, it is deeper.", "Yes, << nothing >>."))
    text = environment(study, tmp_path / "sections", {})
    with pytest.raises(ValueError, match=r"claims\.yaml: claim 'deeper': supported: 'nothing' is"):
        ask(text, 'says("deeper")')


def test_numbers_and_text_as_printed() -> None:
    assert number(-1.26, "z.1f") == "−1.3"
    assert number(-0.04, "z.1f") == "0.0"
    assert number(-12345, ",d") == "−12\u202f345"
    lists = [8, 20, 56], [0.1], [], 0.00010
    assert [*map(listed, lists)] == ["8, 20 and 56", "0.1", "none", "0.0001"]
    for x, text in {0: "0", -123.4: "−123", 0.0123: "0.0123", 1.24e-9: "1.2 × 10⁻⁹"}.items():
        assert significant(x) == text
    # No markup, and only characters that the fonts have.
    assert literal("a_b *c*\n d") == "a&#95;b &#42;c&#42; d"
    assert unescape(literal("\u4e2d 1\u202f000")) == "\\u4e2d 1\u202f000"
