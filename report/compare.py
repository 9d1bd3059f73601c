"""What differs between two studies, or two runs of one, as a page.

    python -m report.compare results/a results/b --out comparison.html

Numbers that changed stand in their sentences, old and new; then come verdicts that flipped, figures
before and after, and the differences of configuration, code, packages and machine.
"""

import argparse
import base64
import difflib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from bs4 import BeautifulSoup, NavigableString, Tag

from models.files import replacing
from report.render import TEMPLATES, RenderError, read_json, style

BLOCKS = "main :is(p, figcaption, caption, h2, h3, h4):not(.behind *)"
END_OF_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z“])")
MARK = "\ue000{}\ue001"  # private characters: a value's place in the text


@dataclass
class Sentence:
    """A sentence of a report: its words, with the key of a value where the value stands."""

    section: str
    parts: list[str | tuple[str, str]] = field(default_factory=list)  # words, or (key, printed)

    @property
    def shape(self) -> str:
        return "".join(part if isinstance(part, str) else f"<{part[0]}>" for part in self.parts)


@dataclass
class Change:
    """Sentences that differ: `old` or `new` may be missing; numbers alone differ if both are."""

    section: str
    old: Sentence | None
    new: Sentence | None


def sentences(page: str) -> Iterator[Sentence]:
    """The sentences of a report's page, but for those of its tables."""
    soup = BeautifulSoup(page, "html.parser")
    section = ""
    for block in soup.select(BLOCKS):
        values: list[tuple[str, str]] = []
        text = " ".join("".join(words(block, values)).split())
        if block.name in ("h2", "h3", "h4"):
            section = text
            continue
        for sentence in END_OF_SENTENCE.split(text):
            pieces = re.split(MARK.format(r"(\d+)"), sentence)
            parts = [values[int(piece)] if i % 2 else piece for i, piece in enumerate(pieces)]
            yield Sentence(section, [part for part in parts if part])


def words(node: Tag, values: list[tuple[str, str]]) -> Iterator[str]:
    """The text of a node; a value leaves a mark, and goes to `values`."""
    for child in node.children:
        if isinstance(child, NavigableString):
            yield str(child)
        elif "value" in child.get("class", []):
            values.append((child["data-key"], child.get_text()))
            yield MARK.format(len(values) - 1)
        elif child.name == "math":
            yield child.find("annotation").get_text()
        else:
            yield from words(child, values)


def changed_sentences(old: list[Sentence], new: list[Sentence]) -> Iterator[Change]:
    """Sentences whose numbers differ, and those that only one of the two has."""
    matcher = difflib.SequenceMatcher(
        None, [s.shape for s in old], [s.shape for s in new], autojunk=False
    )
    for what, a, b, c, d in matcher.get_opcodes():
        if what == "equal":
            for before, after in zip(old[a:b], new[c:d], strict=True):
                if before.parts != after.parts:
                    yield Change(after.section, before, after)
        else:
            yield from (Change(sentence.section, sentence, None) for sentence in old[a:b])
            yield from (Change(sentence.section, None, sentence) for sentence in new[c:d])


def flat(node: Any, path: str = "") -> dict[str, str]:
    """The leaves of nested JSON by their dotted paths."""
    if isinstance(node, dict):
        items = [flat(item, f"{path}.{key}" if path else key) for key, item in node.items()]
        return {key: value for item in items for key, value in item.items()}
    return {path: str(node)}


def differences(old: dict[str, str], new: dict[str, str]) -> list[tuple[str, str, str]]:
    """(name, old, new) wherever they differ; a dash where one has none."""
    return [
        (name, old.get(name, "–"), new.get(name, "–"))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def verdicts(results: Path) -> dict[str, dict]:
    return {claim["id"]: claim for claim in read_json(results / "claims.json")["claims"]}


def picture(path: Path) -> str:
    """A figure as the address of an image, or nothing if there is none."""
    if not path.is_file():
        return ""
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def compare(old: Path, new: Path) -> str:
    """The page.

    Raises:
        RenderError: one of the folders does not hold a finished report.
    """
    reports = []
    for folder in (old, new):
        page = folder / "report/index.html"
        if not page.is_file():
            raise RenderError(f"no report in {folder}: {page} is missing")
        reports.append(list(sentences(page.read_text(encoding="utf-8"))))
    claims = verdicts(old), verdicts(new)
    records = [read_json(folder / "provenance.json") for folder in (old, new)]
    values = [{value["key"]: value["text"] for value in read_json(folder / "values.json")["values"]}
              for folder in (old, new)]  # fmt: skip
    names = sorted({path.name for folder in (old, new) for path in folder.glob("figures/*.svg")})
    figures = [(name, picture(old / "figures" / name), picture(new / "figures" / name))
               for name in names]  # fmt: skip
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined,
        autoescape=True, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("compare.html").render(
        style=style(),
        zip=zip,
        old=old,
        new=new,
        sentences=list(changed_sentences(*reports)),
        verdicts=[
            (after, claims[0][name]["verdict"] if name in claims[0] else "–")
            for name, after in claims[1].items()
            if name not in claims[0] or claims[0][name]["verdict"] != after["verdict"]
        ],
        dropped=[claim for name, claim in claims[0].items() if name not in claims[1]],
        figures=[figure for figure in figures if figure[1] != figure[2]],
        values=differences(*values),
        tables={
            "Configuration": differences(*[flat(record["config"]) for record in records]),
            "Code": differences(*[
                {name: hashed[:12] for name, hashed in record["code"].items()} for record in records
            ]),
            "Packages": differences(*[record["packages"] for record in records]),
            "Machine": differences(*[flat(record["host"]) for record in records]),
        },
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the reports of two results folders.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--out", type=Path, default=Path("comparison.html"))
    arguments = parser.parse_args()
    try:
        page = compare(arguments.old, arguments.new)
    except RenderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with replacing(arguments.out) as path:
        path.write_text(page, encoding="utf-8")
    print(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
