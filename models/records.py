"""Plain data, as JSON and YAML hold it, to dataclasses; a mistake gets one line."""

import difflib
import reprlib
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import dacite

T = TypeVar("T")


def build(kind: type[T], data: object, hooks: dict | None = None) -> T:
    """A dataclass, and those within it, from nested dictionaries and lists. `hooks` make a value of
    a type from what is plain.

    Raises:
        ValueError: a key is missing, unknown or of the wrong type; the message names it.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{reprlib.repr(data)} has no keys; expected {', '.join(names(kind))}")
    try:
        return dacite.from_dict(kind, data, dacite.Config(strict=True, type_hooks=hooks or {}))
    except dacite.UnexpectedDataError as error:
        name = min(map(str, error.keys))
        raise ValueError(f"{name!r} is not known{nearest(name, names(kind))}") from None
    except dacite.MissingValueError as error:
        raise ValueError(f"{error.field_path} is missing") from None
    except dacite.WrongTypeError as error:
        wanted, value = error.field_type, reprlib.repr(error.value)
        if get_origin(wanted) is Literal:
            levels = ", ".join(map(repr, get_args(wanted)))
            raise ValueError(f"{error.field_path}: {value} is not one of {levels}") from None
        wanted = getattr(wanted, "__name__", str(wanted))
        raise ValueError(f"{error.field_path}: {value} is not of type {wanted}") from None


def names(kind: Any) -> Iterator[str]:
    """The keys of a dataclass and of those within it."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        yield field.name
        for part in (hints[field.name], *get_args(hints[field.name])):
            if is_dataclass(part) and part is not kind:
                yield from names(part)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, if any is near."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else ""
