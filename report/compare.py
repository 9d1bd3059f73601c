"""Show two studies' verdicts on every claim side by side, and at every budget.

python -m report.compare results/a report/evidence/b --out comparison.html
"""

import argparse
from pathlib import Path

import jinja2

from models.files import replacing
from report.page import TEMPLATES, style
from report.printing import DASH
from report.results import Results
from report.values import SIGNS


def strip(results: Results, name: str) -> list[tuple[str, str]]:
    """Return a sign and what it means for each budget of a claim; a dash if there is no claim."""
    judged = results.claims[name]["judged"] if name in results.claims else []
    found = [(SIGNS[each["verdict"]], f"{each['verdict']}, {each['budget']}") for each in judged]
    return found or [(DASH, "no such claim")]


def compare(old: Path, new: Path) -> str:
    """Return the page with a row for each claim of either study."""
    studies = [Results(old), Results(new)]
    claims = studies[1].claims | studies[0].claims
    rows = [
        (name, claim["statement"], [strip(results, name) for results in studies])
        for name, claim in claims.items()
    ]
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    page = templates.get_template("compare.html")
    return page.render(style=style(), studies=[str(old), str(new)], rows=rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--out", type=Path, default=Path("comparison.html"))
    arguments = parser.parse_args()
    try:
        page = compare(arguments.old, arguments.new)
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
    with replacing(arguments.out) as path:
        path.write_text(page, encoding="utf-8")
    print(arguments.out)


if __name__ == "__main__":
    main()
