"""Test that bad input gets one line that says what is wrong and where, and that it leaves no file.

Names and texts that mean something to a shell, a path or Snakemake stay names and texts. Mistakes
in settings are in test_config.py, in variants and runs in test_variant.py, in YAML and JSON in
test_files.py, in claims in test_claims.py and in the text of the paper in test_render.py.
"""

import copy
import functools
import gzip
import json
import math
import operator
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import copy_project, snakemake
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_data import cifar_archive, idx, photos
from test_import_checkpoint import published, saved
from test_variant import RUN, replaced

from models import import_checkpoint, tensors
from models.data import prepare, readers
from models.data.prepare import Dataset
from models.files import read_yaml
from models.training.cell import read_spec
from models.training.lanes import Stack
from models.typed import typed
from models.variant import Cell
from workflow.config import DEFAULT, Study
from workflow.plan import Plan

SETTINGS = read_yaml(DEFAULT)
PLAN = Plan(typed(Study, SETTINGS))
LEAVES = {"path": "photos", "size": 16, "channels": 3, "test_share": 0.25}


# Each kind of bad input is made in the working directory; the returned function reads it. ---------


def main(module: object, *arguments: str) -> Callable:
    def call() -> None:
        sys.argv = ["command", *arguments]
        module.main()

    return call


def spec(text: str) -> Callable:
    return lambda: read_spec(text)


def training(changes: dict[str, object]) -> Callable:
    run = replaced(RUN, train=replaced(RUN.train, **changes))
    pictures = Dataset(torch.zeros(12, 1, 8, 8), torch.zeros(12), None, None, 2)
    return lambda: Stack([run], pictures)


def checkpoint(content: object) -> Callable:
    if isinstance(content, bytes):
        Path("resnet.th").write_bytes(content)
    else:
        torch.save(content, "resnet.th")
    return main(import_checkpoint, "resnet.th", "--out", "out.pt")


def prepared(content: object) -> Callable:
    if isinstance(content, bytes):
        Path("digits.pt").write_bytes(content)
    else:
        tensors.write(Path("digits.pt"), content)
    return lambda: prepare.load("digits", Path())


def dataset(arguments: tuple[str, ...]) -> Callable:
    return main(prepare, "--out", "out", "--dataset", *arguments)


def images(options: object) -> Callable:
    return dataset(("leaves", "--image-folder", json.dumps(options)))


def folder(spoil: Callable[[Path], object]) -> Callable:
    photos(Path("photos"))
    spoil(Path("photos"))
    return images(LEAVES)


def gzipped(content: bytes) -> Callable:
    Path("labels.gz").write_bytes(content)
    return lambda: readers.read_idx(Path("labels.gz"))


def cifar10(parts: dict[str, bytes | None] | None) -> Callable:
    cifar_archive(Path("cifar.tar.gz"), **parts or {})
    if parts is None:
        halving("cifar.tar.gz")(Path())
    return lambda: readers.read_cifar10(Path("cifar.tar.gz"))


def halving(name: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return spoil


def emptying(name: str, keep: int = 0) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        for file in sorted((folder / name).iterdir())[keep:]:
            file.unlink()

    return spoil


def one_class(folder: Path) -> None:
    (folder / "red").rename(folder / ".hidden")
    (folder / "loose.png").touch()


def deep_pixels(folder: Path) -> None:
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(folder / "red/0.png")


def class_missing_in_test(folder: Path) -> None:
    photos(folder, "train/{name}")
    photos(folder, "test/{name}")
    (folder / "test/red").rename(folder / "test/blue")


def other_names(folder: Path) -> None:
    photos(folder, "Training/{name}")
    photos(folder, "val/{name}")


def invisible(folder: Path) -> None:
    drawing = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    drawing.paste((255, 255, 255, 255), (4, 4, 8, 8))
    drawing.save(folder / "red/0.png")


def link_in_a_circle(folder: Path) -> None:
    for name in ("red", "green"):
        (folder / name / "9").symlink_to("..")


class Hostile:
    """A pickle that would make a file when it is read."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("hacked"),))


MIXED = saved(published(3), "") | {"linear.bias": torch.zeros(9)}
FLAT = {"conv1.weight": torch.zeros(2), "linear.bias": torch.zeros(2)}
WITHOUT = f"and has none under {', '.join(import_checkpoint.WRAPPED)}{import_checkpoint.HOW}"
BAD = [
    # The specification of a run
    (spec, "{}", "--spec: dataset is missing: name of the data set"),
    (spec, "{,", "--spec: is not JSON: "),
    (training, {"batch_size": 13}, "batch_size: 13 is more than the 12 training"),
    # Checkpoints
    (checkpoint, Hostile(), "error: resnet.th: not a checkpoint: Weights only load failed."),
    (checkpoint, b"", f"error: resnet.th: not a checkpoint: EOFError{import_checkpoint.HOW}"),
    (checkpoint, {"epoch": 3}, f"error: resnet.th: is no state dict, {WITHOUT}"),
    (checkpoint, {"state_dict": [1]}, "error: resnet.th: is no state dict, and has none under"),
    (checkpoint, {"fc.weight": torch.zeros(2)}, "error: state dict: has no 'layers.stem.conv.wei"),
    (checkpoint, FLAT, "error: state dict: its stem or its head has too few axes"),
    (checkpoint, MIXED, "error: state dict: Error(s) in loading state_"),
    (prepared, Hostile(), "digits.pt: holds more than tensors; nothing in it was run"),
    (prepared, b"PK", "digits.pt: damaged, its checksum is wrong; delete it and it is made again"),
    # Data
    (dataset, ("fashon_mnist",), "error: dataset: 'fashon_mnist' is not known; did you mean fashi"),
    (images, [1], "error: image_folder: [1] is not a mapping"),
    (images, {"path": "gone", "size": 8}, "error: image_folder.path: 'gone' is not a folder"),
    (folder, one_class, "error: photos: has 1 class folders"),
    (folder, emptying("red"), "error: photos/red: the class has no images"),
    (folder, emptying("red", keep=1), "error: photos: cannot be divided: "),
    (folder, class_missing_in_test, "error: photos: the class 'blue' is in one of train and test"),
    (folder, other_names, "error: photos: has folders training and val; expected train and test"),
    (folder, invisible, "error: photos/red/0.png: cannot be read: shows nothing once its transpa"),
    (folder, link_in_a_circle, "error: photos/green/9: not an image file; photos/red/9: not an i"),
    (folder, halving("red/1.jpg"), "error: photos/red/1.jpg: cannot be read: "),
    (folder, lambda folder: (folder / "red/a\nb").touch(), "error: photos/red/a b: not an image"),
    (folder, lambda folder: os.mkfifo(folder / "red/pipe"), "error: photos/red/pipe: not an image"),
    (folder, deep_pixels, "error: photos/red/0.png: cannot be read: has I;16 pixels, not of 8"),
    (gzipped, idx(np.zeros((9, 9), np.uint8))[:-12], "labels.gz: not a whole gzip file"),
    (gzipped, b"<html>not found</html>", "labels.gz: not a whole gzip file"),
    (gzipped, gzip.compress(b""), "labels.gz: not a whole gzip file of IDX format"),
    (gzipped, gzip.compress(b"\0\0\x08\1\0\0\0\3ab"), "labels.gz: not a whole gzip file of IDX f"),
    (cifar10, {"data_batch_3": bytes(3072)}, "cifar.tar.gz: data_batch_3.bin has 3072 bytes, not"),
    (cifar10, {"test_batch": bytes([10]) + bytes(3072)}, "cifar.tar.gz: test_batch.bin has a labe"),
    (cifar10, {"test_batch": None}, "cifar.tar.gz: not a whole CIFAR-10 archive: "),
    (cifar10, None, "cifar.tar.gz: not a whole CIFAR-10 archive: "),
]


@pytest.mark.parametrize(
    ("kind", "content", "line"), BAD, ids=[f"{kind.__name__}: {line}" for kind, _, line in BAD]
)
def test_bad_input_gets_one_line_and_leaves_no_file(
    kind: Callable, content: object, line: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    read = kind(content)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((ValueError, SystemExit)) as refused:
        read()
    message = str(refused.value)
    if isinstance(refused.value, SystemExit):
        assert refused.value.code == 1
        message = capsys.readouterr().err.removesuffix("\n")
    message = message.replace(f"{tmp_path}/", "")
    assert message.startswith(line)
    assert len(message.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


WORDS = st.text(max_size=5)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=4,
)
SIMILAR = [
    None, True, 0, 1, -1, 2.0, 10**30, 1e-300, math.nan, math.inf, "", "1", "1.0", "True", "end\n",
    "PLAIN", "../up", [], [None], [1, 1], ["end", "end"], {}, {"plain": 1},
]  # fmt: skip


def places(node: object, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of everything within nested dictionaries and lists."""
    for key, item in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


@st.composite
def mutated(draw: st.DrawFn, good: dict) -> dict:
    """Return data with a mistake or two."""
    bad = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 2))):
        *folders, key = draw(st.sampled_from(list(places(bad))))
        node = functools.reduce(operator.getitem, folders, bad)
        what = draw(st.sampled_from(["drop", "replace", "swap"]))
        if what == "drop":
            del node[key]
        elif what == "replace":
            node[key] = draw(PLAIN | st.sampled_from(SIMILAR))
        else:
            other = draw(st.sampled_from(list(places(bad))))
            node[key] = copy.deepcopy(functools.reduce(operator.getitem, other, bad))
    return bad


def is_about_a_key(message: str, *data: dict) -> bool:
    """Return whether a message is one line that begins with a key of the data."""
    keys = {str(path[0]) for node in data for path in places(node)}
    begins = (*filter(None, keys), *(repr(key)[:-1] for key in keys))
    return message.startswith(begins) and len(message.splitlines()) == 1


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(mutated(SETTINGS))
def test_mutated_settings_are_refused_by_name_or_work(bad: dict) -> None:
    try:
        study, message = typed(Study, bad), ""
    except ValueError as error:
        message = str(error)
    if message:
        assert is_about_a_key(message, SETTINGS, bad), message
        return
    plan = Plan(study)
    for name, depth in plan.cells():
        cell = typed(Cell, json.loads(plan.cell(name, depth).model_dump_json()))
        assert (cell.variant, cell.depth, cell.seeds) == (name, depth, study.seeds)
        folder = plan.run(name, depth, study.budgets[0], study.seeds[0])
        assert re.fullmatch(r"results/\w+/runs/\w+/depth\d+/budget\d+/seed\d+", folder)


HOSTILE = ["$(touch hacked)", "it's", "../up", "caf\u00e9", "a\n", "\x1b[31ma\x00", "x" * 65]
HOSTILE += ["{variant} <study>", "", "a b", "A", "7a", "-a", "a.b", "~", "|", "# x", "\U0001f600"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_of_a_study_means_anything_to_a_shell_or_a_path(text: str) -> None:
    own = {"dataset": text, "image_folder": {"path": "photos", "size": 16}}
    lists = [{"variants": [text]}, {"interventions": [text]}]
    for changes in ({"study": text}, {"dataset": text}, {"device": text}, own, *lists):
        with pytest.raises(ValueError, match=f"^{next(iter(changes))}.*: ") as refused:
            typed(Study, {**SETTINGS, **changes})
        assert len(str(refused.value).splitlines()) == 1


def test_a_path_that_means_something_to_a_shell_is_a_path(tmp_path: Path) -> None:
    """Follow it from the settings to the pictures, in a project whose own path is of that kind."""
    project = tmp_path / "my 'project' caf\u00e9"
    project.mkdir()
    copy_project(project)
    name = "my 'photos' \"caf\u00e9 \u65e5\u672c\" $(touch hacked) `touch hacked`; touch it & #x"
    photos(project / name)
    (project / name / "red").rename(project / name / "r 'e' $(touch hacked) \u00e9")
    study = {"study": "leaves", "dataset": "leaves", "image_folder": {**LEAVES, "path": name}}
    (project / "leaves.yaml").write_text(json.dumps(study))  # which is YAML too
    done = snakemake(project, "prepare_data", "--configfile", "leaves.yaml", "--cores", "1")
    assert done.returncode == 0, done.stderr
    (path,) = project.glob("results/data/leaves_*.json")
    data = prepare.load(path.stem, project / "results/data")
    assert data.train_inputs.shape == (12, 3, 16, 16)
    manifest = json.loads(path.read_text())
    assert manifest["image_folder"]["path"] == name
    assert not list(tmp_path.rglob("hacked"))


def test_snakemake_tells_a_mistake_in_one_line_and_reads_yaml_of_today(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (project / "study.yaml").write_text("study: no\nstudy: b\n")
    for arguments, message in [
        (("--config", "widht=3", "--quiet", "all"), "config: 'widht' is not known; did you mean w"),
        (("--configfile", "study.yaml"), f'{project}/study.yaml:2: found duplicate key "study"'),
    ]:
        done = snakemake(project, "--dry-run", *arguments)
        (line,) = (done.stdout + done.stderr).splitlines()
        assert line.startswith(f"error: {message}")
        assert done.returncode == 1
        assert not (project / "results").exists()
    # Snakemake itself reads YAML 1.1, in which `no` is false.
    (project / "study.yaml").write_text("study: no\nwidth: 016\n")
    done = snakemake(project, "--dry-run", "tables", "--configfile", "study.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "results/no/tables/runs.csv" in done.stdout
