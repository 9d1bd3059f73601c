"""Show what differs between two results folders: numbers of the text, verdicts, settings, code.

python -m report.compare results/a results/b --out comparison.html
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import jinja2

from models.files import read_json, replacing
from report.page import TEMPLATES, style
from report.printing import DASH
from report.results import flat


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return (name, old, new) where two mappings differ; a dash where one has nothing."""
    return [
        (name, str(old.get(name, DASH)), str(new.get(name, DASH)))
        for name in old | new
        if old.get(name) != new.get(name)
    ]


def read(results: Path) -> dict[str, dict[str, Any]]:
    """Return what is compared of a results folder: each part by the names of its entries."""
    values = read_json(results / "values.json")["values"]
    claims = read_json(results / "claims.json")["claims"]
    record = read_json(results / "provenance.json")
    return {
        "Numbers of the text": {value["key"]: value["text"] for value in values},
        "Verdicts": {
            f"{claim['id']}, budget {each['budget']}": each["verdict"]
            for claim in claims
            for each in claim["judged"]
        },
        "Settings": flat(record["config"]),
        "Code": {name: digest[:12] for name, digest in record["code"].items()},
        "Packages": record["packages"],
        "Machine": flat(record["host"]),
    }


def compare(old: Path, new: Path) -> str:
    """Return the page with a table of differences for each part of the results."""
    before, after = read(old), read(new)
    tables = {name: differences(before[name], after[name]) for name in before}
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    page = templates.get_template("compare.html")
    return page.render(style=style(), old=old, new=new, tables=tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--out", type=Path, default=Path("comparison.html"))
    arguments = parser.parse_args()
    try:
        page = compare(arguments.old, arguments.new)
    except ValueError as error:
        sys.exit(f"error: {error}")
    with replacing(arguments.out) as path:
        path.write_text(page, encoding="utf-8")
    print(arguments.out)


if __name__ == "__main__":
    main()
