"""Plain data read strictly, and typed values: each trap of YAML, JSON and typing gets its line."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import Field

from models.files import nearest, read_constant, read_json, read_yaml, replacing
from models.typed import Typed, typed


def test_yaml_is_read_as_it_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("{no: on, width: 016, time: 1:30, rate: 1e-4, seeds: [010, 011], none: }")
    assert read_yaml(path) == {
        "no": "on", "width": 16, "time": "1:30", "rate": 1e-4, "seeds": [10, 11], "none": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_yaml, b"a: 1\nb: 2\na: 3\n", r":3: found duplicate key \"a\""),
        (read_yaml, b"a: [1\n", r":2: expected"),
        (read_yaml, b"a: *b\n", r":1: found undefined alias 'b'"),
        (read_yaml, b"a: !!python/object:os.system {}\n", r":1: could not determine a constructor"),
        (read_yaml, b"", r": is empty; expected keys with values"),
        (read_yaml, b"- 1\n", r": holds a list; expected keys with values"),
        (read_yaml, b"\xff\xfe\x00", r": cannot be read: "),
        (read_json, b"{", ": is not JSON: "),
        (read_json, b"[]", ": holds a list; "),
        (read_json, None, ": cannot be read: No such file"),
    ],
)
def test_a_mistake_in_a_file_gets_a_line_that_names_file_and_place(
    tmp_path: Path, read: Callable[[Path], dict], content: bytes | None, message: str
) -> None:
    path = tmp_path / "a"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path}{message}.*\Z"):
        read(path)


@pytest.mark.parametrize("umask", [0o027, 0o002])
def test_a_file_has_the_mode_of_the_users_files(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError  # as a share of Windows does

    monkeypatch.setattr(os, "chmod", refuse)
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "a") as path:
            path.write_text("whole")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask


def test_an_error_without_a_number_keeps_its_words(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"^no route to the host$"), replacing(tmp_path / "a"):
        raise OSError("no route to the host")  # as requests does


def test_a_constant_is_read_without_running_its_module(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('raise SystemExit\nTABLE = "runs"\nWHO = {"a": (1, "b")}\n')
    assert read_constant(path, "TABLE") == "runs"
    assert read_constant(path, "WHO") == {"a": (1, "b")}
    with pytest.raises(ValueError, match=r"module\.py: TABEL is missing"):
        read_constant(path, "TABEL")


def test_the_nearest_name_is_the_one_that_was_meant() -> None:
    assert nearest("residul_bn", ["plain_bn", "residual_bn"]) == "; did you mean residual_bn?"
    assert nearest("xyz", ["plain", "residual"]) == "; expected one of plain, residual"
    assert nearest("xyz", []) == ""


class Inner(Typed):
    share: float = Field(gt=0, lt=1, description="a share")
    count: int


class Outer(Typed):
    name: str = ""
    ready: bool = False
    inner: Inner | None = None
    many: dict[str, Inner] | None = None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"nam": "x"}, "'nam' is not known; did you mean name?"),
        ({"name": 1}, "name: 1 is not a valid string"),
        ({"ready": "no"}, "ready: 'no' is not true or false"),
        ({"inner": {}}, "inner.share is missing: a share"),
        ({"inner": {"share": 0.5}}, "inner.count is missing"),
        ({"inner": {"shar": 0.5}}, "'inner.shar' is not known; did you mean share?"),
        ({"inner": {"share": 1}}, "inner.share: 1 is not less than 1 (a share)"),
        ({"inner": {"share": math.nan}}, "inner.share: nan is not a finite number (a share)"),
        ({"inner": {"share": 0.5, "count": 2.0}}, "inner.count: 2.0 is not a valid integer"),
        ({"many": {"a": {"shar": 2}}}, "'many.a.shar' is not known; did you mean share?"),
    ],
)
def test_a_mistake_in_a_typed_value_gets_one_line(data: dict, message: str) -> None:
    with pytest.raises(ValueError, match="study") as error:
        typed(Outer, data, "study")
    assert str(error.value) == f"study: {message}"
