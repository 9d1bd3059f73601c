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
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import copy_project, in_process, snakemake
from PIL import Image
from test_data import cifar_archive, idx, photos
from test_import_checkpoint import published, saved

from models import import_checkpoint, tensors
from models.data import prepare, readers
from models.files import read_yaml
from models.training.cell import read_spec
from models.typed import typed
from models.variant import Cell
from workflow.config import DEFAULT, Study
from workflow.plan import Plan

LEAVES = {"path": "photos", "size": 16, "channels": 3, "test_share": 0.25}


# Each kind of bad input is made in the working directory; the returned function reads it. ---------


def spec(text: str) -> Callable:
    return lambda: read_spec(text)


def checkpoint(content: object) -> Callable:
    if isinstance(content, bytes):
        Path("resnet.th").write_bytes(content)
    else:
        torch.save(content, "resnet.th")
    return lambda: in_process(import_checkpoint, "resnet.th", "--out", "out.pt")


def prepared(content: object) -> Callable:
    if isinstance(content, bytes):
        Path("digits.pt").write_bytes(content)
    else:
        tensors.write(Path("digits.pt"), content)
    return lambda: prepare.load("digits", Path())


def dataset(arguments: tuple[str, ...]) -> Callable:
    return lambda: in_process(prepare, "--out", "out", "--dataset", *arguments)


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


def all_but_one(folder: Path) -> None:
    for file in sorted((folder / "red").iterdir())[1:]:
        file.unlink()


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


class Hostile:
    """A pickle that would make a file when it is read."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("hacked"),))


MIXED = saved(published(3), "") | {"linear.bias": torch.zeros(9)}
FLAT = {"conv1.weight": torch.zeros(2), "linear.bias": torch.zeros(2)}
WITHOUT = f"and has none under {', '.join(import_checkpoint.WRAPPED)}{import_checkpoint.HOW}"
BAD = [
    # The specification of a cell
    (spec, "{}", "--spec: dataset is missing: name of the data set"),
    (spec, "{,", "--spec: is not JSON: "),
    # Checkpoints
    (checkpoint, Hostile(), "error: resnet.th: not a checkpoint: Weights only load failed."),
    (checkpoint, b"", f"error: resnet.th: not a checkpoint: EOFError{import_checkpoint.HOW}"),
    (checkpoint, {"epoch": 3}, f"error: resnet.th: is no state dict, {WITHOUT}"),
    (checkpoint, {"fc.weight": torch.zeros(2)}, "error: state dict: has no 'layers.stem.conv.wei"),
    (checkpoint, FLAT, "error: state dict: its stem or its head has too few axes"),
    (checkpoint, MIXED, "error: state dict: Error(s) in loading state_"),
    (prepared, Hostile(), "digits.pt: holds more than tensors; nothing in it was run"),
    (prepared, b"PK", "digits.pt: damaged, its checksum is wrong; delete it and it is made again"),
    # Data
    (dataset, ("fashon_mnist",), "error: dataset: 'fashon_mnist' is not known; did you mean fashi"),
    (images, [1], "error: image_folder: [1] is not a mapping"),
    (folder, one_class, "error: photos: has 1 class folders"),
    (folder, all_but_one, "error: photos: cannot be divided: "),
    (folder, class_missing_in_test, "error: photos: the class 'blue' is in one of train and test"),
    (folder, other_names, "error: photos: has folders training and val; expected train and test"),
    (folder, invisible, "error: photos/red/0.png: cannot be read: shows nothing once its transpa"),
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


DROPPED = ...
WRONG = [
    DROPPED, None, True, 0, 1, -1, 2.0, 10**30, 1e-300, math.nan, math.inf, [], [None], [1, 1],
    ["end", "end"], {}, {"a\nb": 1}, "", "1", "1.0", "True", "PLAIN", "end\n", "a\u2028b", "~",
    "-a", "a b", "a.b", "../up", "it's", "$(touch hacked)", "{variant} <study>", "caf\u00e9", "7a",
    "# x", "\x1b[31ma\x00", "x" * 65, "A", "|", "\U0001f600",
]  # fmt: skip
NAMES = ("study", "dataset", "device", "variants", "interventions")


def places(node: dict | list, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of everything within nested dictionaries and lists."""
    for key, item in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_wrong_setting_is_refused_by_name_or_means_nothing_to_a_shell(
    wrong: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put the wrong value in the place of each setting of a study of own images."""
    monkeypatch.chdir(tmp_path)
    photos(Path("photos"))
    settings = {**read_yaml(DEFAULT), "dataset": "leaves", "image_folder": LEAVES}
    for *folders, key in places(settings):
        changed = copy.deepcopy(settings)
        node = functools.reduce(operator.getitem, folders, changed)
        node[key] = wrong
        if wrong is DROPPED:
            del node[key]
        try:
            study = typed(Study, changed)
            plan, message = Plan(study), ""
        except ValueError as error:
            message = str(error)
        place = (*folders, key)[0]
        if isinstance(wrong, str) and place in NAMES:
            assert message.startswith(place)
        if message:
            assert message.removeprefix("'").startswith(tuple(settings))
            assert len(message.splitlines()) == 1
            continue
        name, depth = plan.cells()[-1]
        cell = typed(Cell, json.loads(plan.cell(name, depth).model_dump_json()))
        assert (cell.variant, cell.depth, cell.seeds) == (name, depth, study.seeds)
        folder = plan.run(name, depth, study.budgets[0], study.seeds[0])
        pattern = r"results/[a-z]\w*/runs/[a-z]\w*/depth\d+/budget\d+/seed\d+"
        assert re.fullmatch(pattern, folder, re.ASCII)
        assert re.fullmatch(r"[a-z]\w*", cell.dataset, re.ASCII)


def test_snakemake_tells_a_mistake_in_one_line_and_reads_yaml_of_today(tmp_path: Path) -> None:
    """Snakemake itself reads YAML 1.1, in which `no` is false."""
    project = copy_project(tmp_path)
    path = project / "study.yaml"
    path.write_text("study: no\nstudy: b\n")
    done = snakemake(project, "--dry-run", "--quiet", "all", "--configfile", "study.yaml")
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.startswith(f'error: {path}:2: found duplicate key "study"')
    assert done.returncode == 1
    assert not (project / "results").exists()
    path.write_text("study: no\nwidth: 016\n")
    done = snakemake(project, "tables", "--dry-run", "--configfile", "study.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "results/no/tables/runs.csv" in done.stdout
