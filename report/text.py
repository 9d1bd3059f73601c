"""Fill the sections of the paper: Jinja and a study's results to one text in Markdown."""

import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext

from models.files import nearest, read_constant
from report.claims import read_claims
from report.page import SCRIPTS
from report.printing import Value, literal
from report.publish import published
from report.results import Results
from report.values import Values


def table(
    label: str, caption: str, caller: Callable[[], str], long: bool = False, widths: str = ""
) -> str:
    """Return the block of `<% call table(label, caption) %>`: a caption, and rows in HTML.

    A long table may break between pages. `widths` are the proportions of the PDF's columns: "3 1".
    """
    marks = (" .long" if long else "") + (f' widths="{widths}"' if widths else "")
    rows = f"<table>\n{caller()}\n</table>"
    return f"\n\n::: {{#tbl:{label}{marks}}}\n{caption}\n\n{rows}\n:::\n\n"


def printable(x: Any) -> Any:
    """Return what a template prints, or raise ValueError if it is None or NaN."""
    if x is None or x != x:  # NaN alone differs from itself
        raise ValueError(f"a template prints {x}")
    return x


class KeepLineEnds(jinja2.ext.Extension):
    """Keeps the line break after a tag that ends a sentence, which `trim_blocks` would drop."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        lone_tag = r"(?!\s*<%-?\s*include)[ \t]*<%((?!%>).)*%>[ \t]*$"
        return re.sub(rf"(?m)^(?!{lone_tag})(.*)(?<![-+])%>([ \t]*)$", r"\2+%>\3", source)


def environment(results: Results, sections: Path, asked: dict[str, Value]) -> jinja2.Environment:
    """Return Jinja as the sections use it; the values that they ask for are kept in `asked`."""
    claims = read_claims(sections.parent / "claims.yaml")
    sentences = {claim.id: claim.sentences for claim in claims}
    values = Values(results, sentences, asked, published(results.config["study"]))
    # Of blocks, values and comments. The usual braces occur in TeX and in the labels of pandoc.
    delimiters = "<%", "%>", "<<", ">>", "<#", "#>"
    result = jinja2.Environment(
        *delimiters,
        loader=jinja2.FileSystemLoader(sections),
        undefined=jinja2.StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=[KeepLineEnds],
    )
    result.filters["literal"] = literal
    queries = {name: getattr(values, name) for name in dir(values) if not name.startswith("_")}
    result.globals |= queries | results.depths  # shallow and deep
    result.globals |= {
        "claims": list(results.claims.values()),
        "config": results.config,
        "has_record": lambda key: key in results.record,  # which another machine may lack
        "is_at_edge": results.is_at_edge,
        "studies": {results.config["study"]: values, **values.published},
        "table": table,
        "variants": results.variants,
    }
    return result


def explain(error: Exception, templates: jinja2.Environment, sections: Path) -> str:
    """Return in one line where a template failed, and why."""
    message = str(error)
    if isinstance(error, jinja2.TemplateNotFound):
        known = nearest(str(error.name), templates.list_templates())
        message = f"missing section file: {sections / str(error.name)}{known}"
    elif name := re.match(r"'(\w+)' is undefined", message):
        message += nearest(name[1], templates.globals)
    elif not isinstance(error, (ValueError, TypeError, jinja2.TemplateError)):
        message = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    here = [frame for frame in frames if Path(frame.filename).is_relative_to(sections)]
    place = "".join(f"{Path(frame.filename).name}:{frame.lineno}: " for frame in here[-1:])
    return place + message


def markdown(results: Results, sections: Path, asked: dict[str, Value]) -> str:
    """Return the text with all queries answered, and with the figures marked that are left out."""
    templates = environment(results, sections, asked)
    try:
        text = templates.get_template("paper.md").render()
    except Exception as error:  # of any type, since a template may compute
        raise ValueError(explain(error, templates, sections)) from None
    absent = {name.split(".")[0] for name in results.labels} - results.config["measures"].keys()
    for script in SCRIPTS.glob("[a-z]*.py"):
        if lacking := sorted(absent.intersection(read_constant(script, "TABLES"))):
            gap = f'gap="the study does not measure {", ".join(lacking)}"'
            text = text.replace(f"{{#fig:{script.stem}}}", f"{{#fig:{script.stem} {gap}}}")
    return text
