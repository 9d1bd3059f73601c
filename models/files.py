"""The ground floor: files that are whole or absent, and plain data read from them strictly."""

import ast
import difflib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block succeeds; make its folder.

    A reader, or a run that is killed in the middle, never sees half a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.touch(exist_ok=False)  # its mode is that of every new file of the user
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno:  # a full disk does not say which file it was
            error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Remove the temporary files that killed writers of `path` left. Nobody may be writing it."""
    for temporary in path.parent.glob(f".{path.name}.????????"):
        temporary.unlink()


def read_yaml(path: Path) -> dict:
    """Return the mapping in a YAML 1.2 file, where `no` and `on` are text; refuse repeated keys."""
    from ruamel.yaml import YAML, YAMLError  # training reads no YAML and does without the import
    from ruamel.yaml.error import MarkedYAMLError

    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{path}{line}: {error.problem}") from None
    except (OSError, ValueError, RecursionError, YAMLError) as error:  # it is not UTF-8, say
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read: {reason}") from None
    return mapping(path, content)


def read_json(path: Path) -> dict:
    """Return the mapping in a JSON file; a ValueError says what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # bytes that are not UTF-8 too
        raise ValueError(f"{path}: is not JSON: {error}") from None
    return mapping(path, content)


def mapping(path: Path, content: object) -> dict:
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ValueError(f"{path}: {found}; expected keys with values")
    return content


def read_constant(path: Path, name: str) -> object:
    """Return the literal assigned to `name` in a Python file, without the seconds of an import."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [name]:
            return ast.literal_eval(node.value)
    raise ValueError(f"{path}: {name} is missing")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known name, or all of them."""
    known = [str(each) for each in known]
    if matches := difflib.get_close_matches(name, known, n=1, cutoff=0.5):
        return f"; did you mean {matches[0]}?"
    return f"; expected one of {', '.join(known)}" if 0 < len(known) <= 40 else ""
