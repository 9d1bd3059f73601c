"""Typed values from plain data. A mistake gets one line: where it is, and what was expected."""

import re
import reprlib
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from models.files import nearest


class Typed(BaseModel):
    """The base of all values that are read from files.

    Unknown keys are refused. 2.0 is no whole number, and "2", NaN and infinity are no numbers.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


T = TypeVar("T", bound=Typed)


def typed(kind: type[T], data: object, where: str = "") -> T:
    """Return a value of `kind` from plain data; the ValueError of a mistake names the key."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        message = explain(kind, error)
    raise ValueError(f"{where}: {message}" if where else message)


def explain(kind: type[Typed], error: ValidationError) -> str:
    # A misspelt key is unknown, and the right one is missing: the first of the two says more.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    *parents, key = first["loc"] or ("",)
    place = ".".join(map(str, first["loc"]))
    value, problem = reprlib.repr(first["input"]), first["type"]
    if problem == "extra_forbidden":
        return f"{place!r} is not known{nearest(str(key), fields_at(kind, parents))}"
    field = fields_at(kind, parents).get(str(key))
    meaning = field.description if field else None
    if problem == "missing":
        return f"{place} is missing" + (f": {meaning}" if meaning else "")
    if problem == "value_error":  # a check of our own, whose message is whole
        message = str(first["ctx"]["error"])
    elif problem == "literal_error" and isinstance(first["input"], str):
        levels = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        message = f"{value} is not known{nearest(first['input'], levels)}"
    else:
        text = first["msg"]
        if text.startswith("Input should be "):
            expected = {"bool_type": "true or false", "model_type": "a mapping with keys"}
            wrong = f" is not {expected.get(problem, text.removeprefix('Input should be '))}"
        else:  # about a length, a pattern or a key
            wrong = f": {text[0].lower()}{text[1:]}"
        message = value + wrong + (f" ({meaning})" if meaning else "")
    return f"{place}: {message}" if place else message


def fields_at(kind: type[Typed], keys: list) -> dict[str, FieldInfo]:
    """Return the fields of the value that the path `keys` leads to."""
    for key in keys:
        if key in kind.model_fields:
            kind = next(kinds_in(kind.model_fields[key].annotation), kind)
    return kind.model_fields


def kinds_in(annotation: Any) -> Iterator[type[Typed]]:
    """Yield the typed values in an annotation such as `dict[str, Variant]` or `Start | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Typed):
        yield annotation
    for part in get_args(annotation):
        yield from kinds_in(part)
