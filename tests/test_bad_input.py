"""Bad input: each gets one line that says what, where and what was expected, and leaves no file.
Names and texts with a meaning to a shell, a page or a typesetter stay names and texts."""

import argparse
import copy
import gzip
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, copy_project, snakemake
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pypdf import PdfReader
from test_data import cifar_archive, idx, photos
from test_import_checkpoint import published, saved
from test_render import VALUES, Text, edit, render_paper, value, write_paper

from analysis import missing
from analysis.horse_race import read_predictions
from models import checkpoint as tensors
from models import data, import_checkpoint, sources
from models.strict_yaml import read_yaml
from models.train import specification, total_steps
from models.variant import from_dict, read_run, to_json
from report import compare, render
from report.claims import read_claims
from workflow.study import (
    cells,
    check,
    checkpoints,
    image_folders,
    measures,
    read_variants,
    run_spec,
)

DEFAULT = read_yaml(ROOT / "workflow/config/default.yaml")
VARIANTS = read_variants()
SPEC = json.loads(run_spec(DEFAULT, VARIANTS["plain_bn"], "plain_bn", 20, 5, ["init", "end"]))
SPEC["train"]["lr"] = 0.1
LEAVES = {"path": "photos", "size": 16, "channels": 3, "test_share": 0.25}


def changed(data: dict, changes: dict[str, object]) -> dict:
    """A copy in which each dotted path has another value, or none if that is an ellipsis."""
    data = copy.deepcopy(data)
    for path, new in changes.items():
        *folders, key = path.split(".")
        node = data
        for folder in folders:
            node = node[folder]
        if new is ...:
            del node[key]
        else:
            node[key] = new
    return data


# How each kind of bad input is made, in the working directory, and then read. --------------------


def config(changes: dict[str, object]) -> Callable:
    return lambda: check(changed(DEFAULT, changes), VARIANTS)


def yaml(content: str | bytes | None) -> Callable:
    path = Path("study.yaml")
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return lambda: read_yaml(path)


def variant(entry: str) -> Callable:
    text = (ROOT / "workflow/config/variants.yaml").read_text()
    Path("variants.yaml").write_text(f"{text}{entry}\n")
    return lambda: read_variants(Path("variants.yaml"))


def claims(old_and_new: tuple[str, str]) -> Callable:
    path = Path("claims.yaml")
    path.write_text((ROOT / "report/claims.yaml").read_text())
    edit(path, *old_and_new)
    return lambda: read_claims(path)


def predictions(text: str) -> Callable:
    Path("claims.yaml").write_text(f"predictions: {text}\n")
    return lambda: read_predictions(Path("claims.yaml"))


def spec(changes: dict[str, object] | bytes) -> Callable:
    path = Path("run.json")
    if isinstance(changes, bytes):
        path.write_bytes(changes)
    else:
        path.write_text(json.dumps(changed(SPEC, changes)))
    return lambda: read_run(path)


def main(module: object, *arguments: str) -> Callable:
    def call() -> None:
        sys.argv = ["command", *arguments]
        if code := module.main():
            sys.exit(code)

    return call


def instructed(text: str) -> Callable:
    """The specification that a training or a tuning is given."""
    Path("list.json").write_text("[]")
    Path("half.json").write_text('{"train":')
    return lambda: specification(argparse.Namespace(spec=text, start=None))


def training(changes: dict[str, object]) -> Callable:
    run = from_dict(changed(SPEC, changes))
    pictures = data.Dataset(torch.zeros(12, 1, 8, 8), torch.zeros(12), None, None, 2)
    return lambda: total_steps(run, pictures)


def checkpoint(content: object) -> Callable:
    if isinstance(content, bytes):
        Path("resnet.th").write_bytes(content)
    elif content is not None:
        torch.save(content, "resnet.th")
    return main(import_checkpoint, "resnet.th", "--out", "out.pt")


def prepared(content: object) -> Callable:
    if isinstance(content, bytes):
        Path("digits.pt").write_bytes(content)
    else:
        tensors.write(Path("digits.pt"), content)
    return lambda: data.load("digits", Path())


def dataset(arguments: tuple[str, ...]) -> Callable:
    return main(data, "--out", "out", "--dataset", *arguments)


def images(spoil: Callable[[Path], object]) -> Callable:
    photos(Path("photos"))
    spoil(Path("photos"))
    return dataset(("leaves", "--image-folder", json.dumps(LEAVES)))


def gzipped(content: bytes) -> Callable:
    Path("labels.gz").write_bytes(content)
    return lambda: sources.read_idx(Path("labels.gz"))


def cifar10(parts: dict[str, bytes | None] | None) -> Callable:
    cifar_archive(Path("cifar.tar.gz"), **parts or {})
    if parts is None:
        halving("cifar.tar.gz")(Path())
    return lambda: sources.read_cifar10(Path("cifar.tar.gz"))


def paper(spoil: Callable[[Path], object]) -> Callable:
    write_paper(Path())
    shutil.copy(Path("scripts/error.py"), "error.py")
    spoil(Path())
    return main(render, "--results", "study", "--sections", "sections")


# Ways to spoil a folder of pictures, or a paper --------------------------------------------------


def writing(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def removing(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


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


def without_classes(folder: Path) -> None:
    for name in ("red", "green"):
        shutil.rmtree(folder / name)
    Image.new("RGB", (20, 20)).save(folder / "loose.png")


def class_missing_in_test(folder: Path) -> None:
    photos(folder, "train/{name}")
    photos(folder, "test/{name}")
    (folder / "test/red").rename(folder / "test/blue")


def in_results(old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: edit(folder / "sections/results.md", old, new)


class Hostile:
    """A pickle that would make a file when it is read."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("hacked"),))


def lacking(layer: str) -> dict[str, torch.Tensor]:
    content = saved(published(3), "")
    del content[layer]
    return content


def unreadable(folder: Path) -> None:
    """An image that nobody can open, not even the superuser: a link to itself."""
    path = folder / "red/0.png"
    path.unlink()
    path.symlink_to(path.name)


BAD = [
    # The configuration: names of keys
    (config, {"epoch": 3}, "config: 'epoch' is not known; expected one of study, "),
    (config, {"sedes": [1, 2]}, "config: 'sedes' is not known; did you mean seeds?"),
    (config, {"a\nb": 1}, r"config: 'a\nb' is not known; expected one of study, "),
    (config, {"training.epoch": 3}, "config: training.'epoch' is not known; did you mean epochs?"),
    (config, {"measures.netk": {}}, "config: measures.'netk' is not known; did you mean ntk?"),
    (
        config,
        {"measures.ntk.example": 8},
        "config: measures.ntk.'example' is not known; did you mean examples?",
    ),
    (config, {"training.epochs": ...}, "config: training.epochs is missing: passes over the train"),
    (config, {"partial": ...}, "config: partial is missing: whether to report what is finished"),
    # ... types
    (config, {"training.epochs": "ten"}, "config: training.epochs: 'ten' is not of type 'integer'"),
    (config, {"training.epochs": True}, "config: training.epochs: True is not of type 'integer'"),
    (config, {"training.epochs": 2.0}, "config: training.epochs: 2.0 is not of type 'integer'"),
    (config, {"training": None}, "config: training: None is not of type 'object'"),
    (config, {"training": [1]}, "config: training: [1] is not of type 'object'"),
    (config, {"seeds": 5}, "config: seeds: 5 is not of type 'array'"),
    (config, {"seeds": [1.0, 2]}, "config: seeds.0: 1.0 is not of type 'integer'"),
    (config, {"partial": "yes"}, "config: partial: 'yes' is not of type 'boolean'"),
    (config, {"training.weight_decay": "1e-4"}, "config: training.weight_decay: '1e-4' is not of"),
    (config, {"tuning.lrs": [math.nan]}, "config: tuning.lrs.0: nan is not of type 'number'"),
    (config, {"tuning.lrs": [math.inf]}, "config: tuning.lrs.0: inf is not of type 'number'"),
    (config, {"variants": [True]}, "config: variants.0: True is not of type 'string'"),
    # ... values
    (config, {"training.momentum": 1}, "config: training.momentum: 1 is greater than or equal to"),
    (config, {"training.warmup_steps": -1}, "config: training.warmup_steps: -1 is less than the"),
    (config, {"training.schedule": "linear"}, "config: training.schedule: 'linear' is not one of"),
    (config, {"training.precision": "float16"}, "config: training.precision: 'float16' is not one"),
    (config, {"device": "gpu"}, "config: device: 'gpu' is not one of ['auto', 'cpu', 'cuda']"),
    (config, {"depths": [8, 21]}, "config: depths: 21 is not 6n + 2"),
    (config, {"depths": [8, 2, 56, 20]}, "config: depths: 2 is not 6n + 2"),
    (config, {"depths": []}, "config: depths: [] "),
    (config, {"variants": []}, "config: variants: [] "),
    (config, {"tuning.lrs": []}, "config: tuning.lrs: [] "),
    (config, {"seeds": [1]}, "config: seeds: [1] is too short"),
    (config, {"seeds": [1, 1]}, "config: seeds: [1, 1] has non-unique elements"),
    (config, {"seeds": [1, 2**32]}, "config: seeds.1: 4294967296 is greater than the maximum"),
    (config, {"tuning.lrs": [0.1, 0.1]}, "config: tuning.lrs: [0.1, 0.1] has non-unique elements"),
    (config, {"tuning.lrs": [1, 1.0]}, "config: tuning.lrs: [1, 1.0] has non-unique elements"),
    (config, {"tuning.lrs": [0.1, -0.1]}, "config: tuning.lrs.1: -0.1 is less than or equal to"),
    (config, {"measures.ntk.examples": 0}, "config: measures.ntk.examples: 0 is less than the min"),
    (config, {"measures.seeds": 0}, "config: measures.seeds: 0 is less than the minimum of 1"),
    (config, {"measures.seeds": [0, 1]}, "config: measures.seeds: [0, 1] is not of type 'integer'"),
    (config, {"measures.ics.at.variants": ["begin"]}, "config: measures.ics.at.variants.0: 'begin"),
    (config, {"measures.ics.at.variants": ["end\n"]}, r"config: measures.ics.at.variants.0: 'end"),
    # ... names
    (config, {"study": False}, "config: study: False is not of type 'string'"),
    (config, {"study": "data"}, "config: study: results/data is where data sets go; name it other"),
    (config, {"study": "a" * 65}, f"config: study: '{'a' * 65}' does not match"),
    (config, {"dataset": "mnist"}, "config: dataset: 'mnist' is not known; did you mean mnist1d?"),
    (config, {"variants": ["plain_nb"]}, "config: variants: 'plain_nb' is not known; did you mean"),
    (config, {"variants": ["plain", "plain"]}, "config: variants: ['plain', 'plain'] has non-uniq"),
    (config, {"variants": ["plain"]}, "config: variants: plain_bn is missing; the claims compare"),
    (config, {"interventions": ["preact"]}, "config: interventions: 'preact' is not known; did yo"),
    (config, {"interventions": ["plain"]}, "config: interventions: 'plain' is among variants too"),
    # ... what does not go together
    (config, {"compare_depths.deep": 44}, "config: compare_depths.deep: 44 is not among depths"),
    (config, {"compare_depths.deep": 8}, "config: compare_depths: shallow (20) must be less than"),
    (config, {"tuning.seed": 5}, "config: tuning.seed: 5 is among seeds [5, 6, 7, 8, 9]; a learni"),
    (
        config,
        {"training.batch_size": 4001},
        "config: training.batch_size: 4001 is more than mnist1d has, 4000 training examples",
    ),
    (
        config,
        {"dataset": "digits", "training.batch_size": 1438},
        "config: training.batch_size: 1438 is more than digits has, 1437 training examples",
    ),
    (
        config,
        {"training.warmup_steps": 124},
        "config: training.warmup_steps: 124 leaves none of the 124 steps",
    ),
    (config, {"image_folder": {"path": "a", "size": 9}}, "config: image_folder: dataset 'mnist1d'"),
    (config, {"image_folder": {"path": "a"}}, "config: image_folder.size is missing: pixels of a"),
    (
        config,
        {"image_folder": {"path": "a", "size": 9, "chanels": 1}},
        "config: image_folder.'chanels' is not known; did you mean channels?",
    ),
    (config, {"image_folder": {"path": "", "size": 9}}, "config: image_folder.path: '' does not"),
    (config, {"image_folder": {"path": "a\nb", "size": 9}}, r"config: image_folder.path: 'a\nb' d"),
    (
        config,
        {"image_folder": {"path": "a", "size": 9, "channels": 1.0}},
        "config: image_folder.channels: 1.0 is not of type 'integer'",
    ),
    # YAML
    (yaml, "study: a\nstudy: b\n", "study.yaml:2: the key 'study' is given twice"),
    (yaml, "a: {b: 1, b: 2}", "study.yaml:1: the key 'b' is given twice"),
    (yaml, '{"a": 1,\n"a": 2}', "study.yaml:2: the key 'a' is given twice"),
    (yaml, "study: no", "study.yaml:1: YAML reads no as false: put it in quotes if it is a name"),
    (yaml, "dataset: on", "study.yaml:1: YAML reads on as true: put it in quotes if it is a name"),
    (yaml, "variants:\n- Yes", "study.yaml:2: YAML reads Yes as true: put it in quotes if it is"),
    (yaml, "off: 1", "study.yaml:1: YAML reads off as false: put it in quotes if it is a name"),
    (yaml, "true: 1", "study.yaml:1: the key True is not text: put it in quotes"),
    (yaml, "a: 1\n7: 2", "study.yaml:2: the key 7 is not text: put it in quotes"),
    (yaml, "? [a]\n: 2", "study.yaml:1: the key ['a'] is not text: put it in quotes"),
    (yaml, "lr: .inf", "study.yaml:1: .inf is not a finite number"),
    (yaml, "lr: .nan", "study.yaml:1: .nan is not a finite number"),
    (yaml, "a: 1\nb: [1", "study.yaml:2: while parsing a flow sequence expected ',' or ']'"),
    (yaml, "a: 1\nb: c: d", "study.yaml:2: mapping values are not allowed here"),
    (yaml, "a:\n\tb: 1", r"study.yaml:2: while scanning for the next token found character '\t'"),
    (yaml, "a: *b", "study.yaml:1: found undefined alias 'b'"),
    (yaml, "a: !!python/object/apply:os.mkdir [hacked]", "study.yaml:1: could not determine a con"),
    (yaml, "a: 1\n---\na: 2", "study.yaml:2: expected a single document in the stream but found"),
    (yaml, "- a\n- b", "study.yaml: holds a list; expected keys with values"),
    (yaml, "plain", "study.yaml: holds a str; expected keys with values"),
    (yaml, "", "study.yaml: is empty; expected keys with values"),
    (yaml, "# nothing\n", "study.yaml: is empty; expected keys with values"),
    (yaml, b"\x89PNG\r\n\x1a\n\x00", "study.yaml: cannot be read: 'utf-8' codec can't decode byte"),
    (yaml, "a: \0", "study.yaml: cannot be read: unacceptable character #x0000"),
    (yaml, "[" * 3000, "study.yaml: cannot be read: maximum recursion depth exceeded"),
    (yaml, None, "study.yaml: cannot be read: No such file or directory"),
    # Variants
    (variant, "twin: {shortcutt: none}", "variants.yaml: twin.'shortcutt' is not known; did you m"),
    (variant, "twin: {shortcut: nothing}", "variants.yaml: twin.shortcut: 'nothing' is not one of"),
    (variant, "twin: {span: 3}", "variants.yaml: twin.span: 3 is not one of [1, 2]"),
    (variant, "twin: {span: 1.0}", "variants.yaml: twin.span: 1.0 is not of type 'integer'"),
    (variant, "twin: {times: {depth: 2}}", "variants.yaml: twin.times.'depth' is not known; did y"),
    (variant, "twin: {times: {width: 1}}", "variants.yaml: twin.times.width: 1 is less than the m"),
    (variant, "twin: {start: plain_nb}", "variants.yaml: twin.start: 'plain_nb' is not known; did"),
    (variant, "twin: {start: plain_bn}", "variants.yaml: twin.start: plain_bn has other factors"),
    (variant, "twin: none", "variants.yaml: twin: 'none' is not of type 'object'"),
    (variant, "twin: {activation: crelu}", "variants.yaml: twin: factors.activation: crelu double"),
    (variant, "twin: {shortcut: none, init: looks_linear}", "variants.yaml: twin: factors.init: l"),
    (variant, "../up: {}", "variants.yaml: '../up' does not match '^[a-z][a-z0-9_]{0,63}$'"),
    (variant, '"a\\n": {}', r"variants.yaml: 'a\n' does not match '^[a-z][a-z0-9_]{0,63}$'"),
    (variant, "plain: {}", "variants.yaml:54: the key 'plain' is given twice"),
    (variant, "no: {shortcut: none}", "variants.yaml:54: YAML reads no as false: put it in quotes"),
    # Claims and predictions
    (
        claims,
        ("prediction: above", "predicton: above"),
        "claims.yaml: claim 'plain_bn_degrades': 'predicton' is not known; did you mean predictio",
    ),
    (
        claims,
        ("prediction: above", "prediction: up"),
        "claims.yaml: claim 'plain_bn_degrades': prediction: 'up' is not one of 'above', 'below'",
    ),
    (
        claims,
        ("depth: deep", "depth: deeper"),
        "claims.yaml: claim 'plain_bn_degrades': contrast.depth: 'deeper' is not one of 'shallow'",
    ),
    (
        claims,
        ("weight: 1", "weight: one"),
        "claims.yaml: claim 'plain_bn_degrades': contrast.weight: 'one' is not of type float",
    ),
    (claims, ("id: plain_degrades", "id: plain_bn_degrades"), "claims.yaml: claim 'plain_bn_degra"),
    (claims, ("id: plain_degrades", 'id: "a\\"b"'), "claims.yaml: claim 'a\"b': an id has letters"),
    (
        claims,
        ("variant: plain_crelu", "variant: plain_crelo"),
        "claims.yaml: claim 'shattered_control': variant 'plain_crelo' is not known; did you mean "
        "plain_crelu?",
    ),
    (
        claims,
        ("metric: lesion.error", "metric: lesion.eror"),
        "claims.yaml: claim 'identity_representable': metric 'lesion.eror' is not known; did you ",
    ),
    (
        claims,
        ("checkpoint: init", "checkpoint: int"),
        "claims.yaml: claim 'vanishing': checkpoint 'int' is not known; did you mean init?",
    ),
    (
        claims,
        ("    section: degradation\n", "    section: degradation\n    section: again\n"),
        "claims.yaml:39: the key 'section' is given twice",
    ),
    (claims, ("smallest_effect: 1", "smallest_effect: .nan"), "claims.yaml:46: .nan is not a fini"),
    (predictions, "{a: 1}", "claims.yaml: predictions: {'a': 1} is not a list"),
    (predictions, "[1]", "claims.yaml: predictions: 1 has no keys; expected quantity, sign, theor"),
    (
        predictions,
        "[{quantity: ics.cosine, sign: 2, theory: t, source: s}]",
        "claims.yaml: predictions: sign: 2 is not one of -1, 1",
    ),
    (
        predictions,
        "[{quantity: ics.cosin, sign: 1, theory: t, source: s}]",
        "claims.yaml: predictions: quantity 'ics.cosin' is not known; did you mean ics.cosine?",
    ),
    # The specification of a run
    (spec, b"", "run.json: Expecting value: line 1 column 1 (char 0)"),
    (spec, b"\xff", "run.json: 'utf-8' codec can't decode byte 0xff"),
    (spec, b"[1, 2]", "run.json: [1, 2] has no keys; expected dataset, variant, factors, "),
    (spec, {"depht": 8}, "run.json: 'depht' is not known; did you mean depth?"),
    (spec, {"depth": ...}, "run.json: depth is missing"),
    (spec, {"depth": 2}, "run.json: depth: 2 is not a number from 8 up to inf"),
    (spec, {"width": "wide"}, "run.json: width: 'wide' is not of type int"),
    (spec, {"width": True}, "run.json: width: True is not a number from 1 up to inf"),
    (spec, {"seed": -1}, "run.json: seed: -1 is not a number from 0 up to 4294967296"),
    (spec, {"factors.shortcut": "identitty"}, "run.json: factors.shortcut: 'identitty' is not one"),
    (spec, {"factors.activation": "crelu", "factors.shortcut": "identity"}, "run.json: factors.ac"),
    (spec, {"train.lr": None}, "run.json: train.lr: None is not of type float"),
    (spec, {"train.lr": math.nan}, "run.json: train.lr: nan is not a number from 0 up to inf"),
    (spec, {"train.batch_size": 0}, "run.json: train.batch_size: 0 is not a number from 1 up to"),
    (spec, {"train.epochs": 1.5}, "run.json: train.epochs: 1.5 is not of type int"),
    (spec, {"train": []}, "run.json: train: [] is not of type TrainSpec"),
    (spec, {"checkpoints": "end"}, "run.json: checkpoints: 'end' is not a list of moments"),
    (spec, {"checkpoints": ["end\n"]}, r"run.json: checkpoints: 'end\n' is not init, end, or step"),
    (spec, {"start": {}}, "run.json: start.dataset is missing"),
    # Checkpoints
    (checkpoint, Hostile(), "error: resnet.th: not a checkpoint: Weights only load failed."),
    (checkpoint, {"state_dict": Hostile()}, "error: resnet.th: not a checkpoint: Weights only loa"),
    (checkpoint, None, "error: resnet.th: not a checkpoint: [Errno 2] No such file or directory"),
    (checkpoint, b"", "error: resnet.th: not a checkpoint: EOFError"),
    (checkpoint, b"\x80\x02}q", "error: resnet.th: not a checkpoint: "),
    (checkpoint, {"epoch": 3}, "error: resnet.th: has no state dict, neither itself nor under"),
    (checkpoint, {"state_dict": [1]}, "error: resnet.th: has no state dict, neither itself nor"),
    (checkpoint, {1: torch.zeros(2)}, "error: resnet.th: has no state dict, neither itself nor"),
    (checkpoint, {"fc.weight": torch.zeros(2)}, "error: state dict: has no 'layers.stem.conv.wei"),
    (
        checkpoint,
        {"conv1.weight": torch.zeros(2), "linear.bias": torch.zeros(2)},
        "error: state dict: its stem or its head is of no such shape",
    ),
    (checkpoint, lacking("layer2.1.conv2.weight"), "error: state dict: Error(s) in loading state_"),
    (prepared, Hostile(), "digits.pt: holds more than tensors; nothing in it was run"),
    (prepared, b"PK", "digits.pt: damaged, its checksum is wrong; delete it and it is made again"),
    # Data
    (dataset, ("fashon_mnist",), "error: dataset: 'fashon_mnist' is not known; did you mean fashi"),
    (dataset, ("x",), "error: dataset: 'x' is not known; expected mnist1d, digits, "),
    (dataset, ("leaves", "--image-folder", "{"), "error: image_folder: Expecting property name"),
    (dataset, ("leaves", "--image-folder", "[1]"), "error: image_folder: [1] has no keys; expecte"),
    (
        dataset,
        ("leaves", "--image-folder", '{"pth": "a", "size": 8}'),
        "error: image_folder: 'pth' is not known; did you mean path?",
    ),
    (
        dataset,
        ("leaves", "--image-folder", '{"path": "a", "size": "8"}'),
        "error: image_folder: size: '8' is not of type int",
    ),
    (
        dataset,
        ("leaves", "--image-folder", '{"path": "a", "size": 8, "channels": 2}'),
        "error: image_folder: channels: 2 is not one of 1, 3",
    ),
    (
        dataset,
        ("leaves", "--image-folder", '{"path": "photos", "size": 8}'),
        "error: image_folder: photos is not a folder",
    ),
    (images, without_classes, "error: photos: has 0 class folders, two are needed at least"),
    (
        images,
        lambda folder: (folder / "red").rename(folder / ".hidden"),
        "error: photos: has 1 class folders, two are needed at least",
    ),
    (images, emptying("red"), "error: photos/red: the class has no images"),
    (images, emptying("red", keep=1), "error: photos: cannot be divided: "),
    (images, class_missing_in_test, "error: photos/test/blue: there is no such class in train"),
    (images, writing("red/3.png", b"\x89PNG\r\n\x1a\n" + bytes(40)), "error: photos/red/3.png: "),
    (images, halving("red/1.jpg"), "error: photos/red/1.jpg: cannot be read: "),
    (images, writing("red/a.txt", b"buy milk"), "error: photos/red/a.txt: not an image"),
    (images, writing("red/a\nb.txt", b"buy milk"), "error: photos/red/a b.txt: not an image"),
    (images, lambda folder: (folder / "red/deep").mkdir(), "error: photos/red/deep: not an image"),
    (images, lambda folder: os.mkfifo(folder / "red/pipe"), "error: photos/red/pipe: not an image"),
    (
        images,
        lambda folder: (folder / "red/gone.png").symlink_to("nowhere"),
        "error: photos/red/gone.png: not an image",
    ),
    (
        images,
        lambda folder: Image.fromarray(np.zeros((9, 9), np.uint16)).save(folder / "red/0.png"),
        "error: photos/red/0.png: cannot be read: has I;16 pixels, not of 8",
    ),
    (images, unreadable, "error: photos/red/0.png: not an image file"),
    (gzipped, idx(np.zeros((9, 9), np.uint8))[:-12], "labels.gz: not a whole gzip file"),
    (gzipped, b"<html>not found</html>", "labels.gz: not a whole gzip file"),
    (gzipped, gzip.compress(b""), "labels.gz: begins with , not with 00 00 08 0n"),
    (
        gzipped,
        gzip.compress(b"\0\0\x0d\1\0\0\0\1\0\0\0\0"),
        "labels.gz: begins with 00 00 0d 01, not with 00 00 08",
    ),
    (gzipped, gzip.compress(b"\0\0\x08\3\0\0"), "labels.gz: ends inside its header, which says 3"),
    (gzipped, gzip.compress(b"\0\0\x08\2\0\0\0\3\0\0\0\2abcde"), "labels.gz: has 5 bytes after it"),
    (cifar10, {"data_batch_3": bytes(3072)}, "cifar.tar.gz: data_batch_3.bin has 3072 bytes, not"),
    (cifar10, {"data_batch_5": b""}, "cifar.tar.gz: data_batch_5.bin has 0 bytes"),
    (cifar10, {"test_batch": bytes([10]) + bytes(3072)}, "cifar.tar.gz: test_batch.bin has a labe"),
    (cifar10, {"test_batch": None}, "cifar.tar.gz: not a whole CIFAR-10 archive: "),
    (cifar10, None, "cifar.tar.gz: not a whole CIFAR-10 archive: "),
    # ... that are too few for a batch
    (instructed, "{}", "--spec: train is missing"),
    (instructed, '{"train": 3}', "--spec: train is missing"),
    (instructed, "{,", "--spec: not JSON: Expecting property name"),
    (instructed, "list.json", "list.json: an object is expected, in braces"),
    (instructed, "half.json", "half.json: not JSON: Expecting"),
    (training, {"train.batch_size": 13}, "train.batch_size: 13 is more than the 12 training"),
    (training, {"train.batch_size": 6, "train.warmup_steps": 4}, "train.warmup_steps: 4 leaves no"),
    # The paper; tests/test_render.py has the mistakes of an author
    (paper, writing("study/values.json", b""), "error: malformed JSON in "),
    (paper, writing("study/values.json", b"\xff{}"), "error: malformed JSON in "),
    (paper, writing("study/values.json", b'{"values": []}'), "error: study/values.json: gaps is m"),
    (paper, writing("study/claims.json", b"[]"), "error: study/claims.json: claims is missing"),
    (paper, removing("study/config.json"), "error: missing file: "),
    (paper, writing("sections/results.md", b"\xff"), "error: paper.md:19: UnicodeDecodeError: "),
    (paper, in_results("Hostile", "<< 1 / 0 >>"), "error: results.md:34: ZeroDivisionError: divis"),
    (paper, in_results("Hostile", "<< 7 | nofilter >>"), "error: results.md:34: No filter named '"),
    (
        paper,
        lambda folder: edit(folder / "study/values.json", '"value": 51.3', '"value": Infinity'),
        "error: results.md:3: the value 'error.mean' is inf: it cannot be printed",
    ),
    (paper, writing("study/figures/error.svg", b"no drawing"), "error: figures/error.svg is not a"),
    (paper, removing("study/figures/error.csv.gz"), "error: missing file: "),
]  # fmt: skip


def names(cases: list) -> Iterator[str]:
    for case in cases:
        kind, _, line = getattr(case, "values", case)
        yield f"{kind.__name__}: {line}"


@pytest.mark.parametrize(("kind", "content", "line"), BAD, ids=names(BAD))
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
    said = str(refused.value)
    if isinstance(refused.value, SystemExit):
        assert refused.value.code == 1
        said = capsys.readouterr().err.removesuffix("\n")
    said = said.replace(f"{tmp_path}/", "")
    assert said.startswith(line)
    assert len(said.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_there_are_many_bad_inputs_of_every_kind() -> None:
    kinds = [getattr(case, "values", case)[0] for case in BAD]
    assert len(kinds) >= 60
    assert (
        min(kinds.count(kind) for kind in (config, variant, claims, paper, spec, checkpoint)) >= 10
    )


# Any mutation ------------------------------------------------------------------------------------

WORDS = st.text(max_size=5)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=4,
)


def places(node: object, path: tuple = ()) -> Iterator[tuple]:
    """The path of everything within nested dictionaries and lists."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


def at(node: object, path: tuple) -> object:
    for key in path:
        node = node[key]
    return node


def resembling(x: object) -> list[object]:
    """What looks like `x`, or is equal to it, and is of another type."""
    match x:
        case bool():
            return [None, int(x), str(x)]
        case int():
            return [None, float(x), bool(x), str(x), math.nan]
        case float():
            return [None, bool(x), str(x), math.nan, math.inf, -math.inf]
        case str():
            return [None, f"{x}\n", [x], True]
        case list():
            return [None, {}, dict.fromkeys(map(str, x)), str(x)]
        case dict():
            return [None, [], list(x), str(x)]
        case _:
            return ["null", False]


def twisted(x: object) -> list[object]:
    """What `x` is easily mistaken for."""
    match x:
        case int() | float():
            return [*resembling(x), -x, 0, x + 1, 10**30 * x, x * 1e-300]
        case str():
            return [*resembling(x), "", x.upper(), f"../{x}"]
        case list():
            return [*resembling(x), [], x + x, x[:1], x[::-1]]
        case _:
            return [*resembling(x), {}]


@st.composite
def mutated(draw: st.DrawFn, good: dict) -> dict:
    """Data with a mistake or two."""
    bad = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 2))):
        *folders, key = draw(st.sampled_from(list(places(bad))))
        node = at(bad, tuple(folders))
        what = draw(st.sampled_from(["drop", "add", "replace", "twist", "swap"]))
        if what == "drop":
            del node[key]
        elif what == "add" and isinstance(node, dict):
            node[draw(WORDS | st.sampled_from(["sed", "epochs", "at"]))] = draw(PLAIN)
        elif what == "replace":
            node[key] = draw(PLAIN)
        elif what == "twist":
            node[key] = draw(st.sampled_from(twisted(node[key])))
        else:
            node[key] = copy.deepcopy(at(bad, draw(st.sampled_from(list(places(bad))))))
    return bad


def refusal(read: Callable) -> str:
    """What is said against it, if anything is."""
    try:
        read()
    except ValueError as error:
        return str(error)
    return ""


def begins_with_a_key(message: str, *data: dict) -> bool:
    """Whether it is one line, and that about a key of the data."""
    keys = {repr(str(path[-1])) for node in data for path in places(node)}
    begins = tuple(name for key in keys for name in (key, key[1:-1]) if name)
    return message.startswith(begins) and len(message.splitlines()) == 1


def test_nothing_is_taken_for_what_it_resembles() -> None:
    for place in places(DEFAULT):
        for other in resembling(at(DEFAULT, place)):
            bad = copy.deepcopy(DEFAULT)
            at(bad, place[:-1])[place[-1]] = other
            said = refusal(lambda bad=bad: check(bad, VARIANTS))
            assert begins_with_a_key(said.removeprefix("config: "), DEFAULT), (place, other)


stable = settings(max_examples=300, derandomize=True, deadline=None, database=None)


@stable
@given(mutated(DEFAULT))
def test_a_mutated_configuration_is_refused_by_name_or_works(bad: dict) -> None:
    if said := refusal(lambda: check(bad, VARIANTS)):
        assert begins_with_a_key(said.removeprefix("config: "), DEFAULT, bad)
        return
    assert json.loads(json.dumps(bad, allow_nan=False)) == bad
    for name, depth in cells(bad):
        measures(bad, name)
        seed, rate = bad["seeds"][0], bad["tuning"]["lrs"][0]
        kept = checkpoints(bad, name, depth, seed)
        written = json.loads(run_spec(bad, VARIANTS[name], name, depth, seed, kept))
        written["train"]["lr"] = rate
        run = from_dict(written)
        assert (run.variant, run.depth, run.seed, run.train.lr) == (name, depth, seed, rate)
        assert re.fullmatch(r"[a-z0-9_]+/depth\d+/seed\d+", f"{name}/depth{depth}/seed{seed}")


@stable
@given(mutated(SPEC))
def test_a_mutated_specification_is_refused_by_name_or_round_trips(bad: dict) -> None:
    if said := refusal(lambda: from_dict(bad)):
        assert begins_with_a_key(said, json.loads(to_json(from_dict(SPEC))), bad)
        return
    run = from_dict(bad)
    assert from_dict(json.loads(to_json(run))) == run


# Text with a meaning to somebody ------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>", "</title></td></table><img src=x onerror=alert(1)>", "it's",
    'say "so"', "$(touch hacked)", "`touch hacked`", "; touch hacked", "& touch hacked", "../up",
    '#eval("1")', "#let x = 1", "two  words", "caf\u00e9", "\u65e5\u672c", "line\nbreak", "a\n",
    "/* style */", "/* script */", "//cell", "\x1b[31mred\x00", "{variant} <study>",
    "<< v >> <% x %>", "$x^2$ \\[y\\]", "[x]{.constant} ::: {#fig:a}", "[^note] @he2016deep {#id}",
    "*a* _b_ ~~c~~", "&lt;b&gt; &amp;", "\\", "$", "|", "- x", "# x", "7.",
    "\u202egnol", "\U0001f600", "x" * 300,
]  # fmt: skip


@pytest.mark.parametrize("text", [*HOSTILE, "", "a b", "A", "7a", "-a", "a.b", "~"])
def test_no_name_of_a_configuration_means_anything_to_a_shell_or_a_path(text: str) -> None:
    for path in ("study", "dataset", "variants", "interventions", "device"):
        given = [text] if path in ("variants", "interventions") else text
        with pytest.raises(ValueError, match=f"config: {path}") as refused:
            check(changed(DEFAULT, {path: given}), VARIANTS)
        assert len(str(refused.value).splitlines()) == 1
    own = {"dataset": text, "image_folder": {"path": "photos", "size": 16}}
    with pytest.raises(ValueError, match="config: dataset: "):
        check(changed(DEFAULT, own), VARIANTS)


@pytest.mark.parametrize("name", ["{variant}", "<study>", "a\nb", "\x1b[31m", "a\udc80b"])
def test_a_folder_that_snakemake_would_misread_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name / "deep").mkdir(parents=True)
    with pytest.raises(ValueError, match="config: image_folder: ") as refused:
        image_folders(tmp_path)
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(ValueError, match=r"config: image_folder\.path: '.*gone' is not a folder"):
        image_folders(tmp_path / "gone")


def test_a_path_with_a_meaning_to_a_shell_is_a_path(tmp_path: Path) -> None:
    """From the configuration to the pictures, in a project whose own path is of that kind."""
    project = tmp_path / "my 'project' caf\u00e9"
    project.mkdir()
    copy_project(project)
    name = "my 'photos' \"caf\u00e9 \u65e5\u672c\" $(touch hacked) `touch hacked`; touch it & #x"
    photos(project / name)
    (project / name / "red").rename(project / name / "r 'e' $(touch hacked) \u00e9")
    study = {"study": "leaves", "dataset": "leaves", "image_folder": {**LEAVES, "path": name}}
    (project / "leaves.yaml").write_text(json.dumps(study))  # which is YAML too
    made = ("results/data/leaves.pt", "results/leaves/config.json")
    done = snakemake(project, *made, "--configfile", "leaves.yaml", "--cores", "1")
    assert done.returncode == 0, done.stderr
    assert data.load("leaves", project / "results/data").train_inputs.shape == (12, 3, 16, 16)
    for file, key in (("data/leaves.json", "image_folder"), ("leaves/config.json", "image_folder")):
        assert json.loads((project / "results" / file).read_text())[key]["path"] == name
    assert not list(tmp_path.rglob("hacked"))


def test_the_last_line_of_a_log_arrives_in_the_table(tmp_path: Path) -> None:
    texts = [*[text for text in HOSTILE if "\n" not in text], "NA", "nan", "None", "a,b", '"', "'"]
    table, logs = tmp_path / "missing.csv", tmp_path / "logs/measure"
    logs.mkdir(parents=True)
    for i, text in enumerate(texts):
        (logs / f"plain{i}.log").write_text(f"first\n{text}\n \n")
    folders = [f"measures/plain{i}" for i in range(len(texts))]
    with pytest.MonkeyPatch.context() as patch:
        arguments = ["--measures", *folders, "--logs", str(logs.parent), "--out", str(table)]
        patch.setattr(sys, "argv", ["missing", *arguments])
        missing.main()
    assert missing.read_missing(table)["reason"].tolist() == [text.strip() for text in texts]
    (logs / "plain0.log").write_text("x" * 10_000)
    assert missing.reason(logs / "plain0.log") == "x" * 300 + " \u2026"


def squeezed(text: str) -> str:
    """Without white space and hyphens, which line breaks add, and with the codes of characters that
    the paper's fonts do not have."""
    shown = re.sub(r"[\s\u00ad\u2010-]", "", text)
    return "".join(c if c in render.characters() else ascii(c)[1:-1] for c in shown)


def elements(page: Text) -> dict[str, int]:
    """How many there are of each that could run something, or leave the page."""
    tags = ("script", "img", "iframe", "object", "embed", "link", "form", "base")
    acts = [name for all in page.attributes.values() for a in all for name in a if name[:2] == "on"]
    return {tag: len(page.attributes.get(tag, [])) for tag in tags} | {"on": len(acts)}


def test_hostile_text_is_printed_as_it_is_in_both_documents(tmp_path: Path) -> None:
    """In a paragraph, a cell, the place of a figure and the source of a value."""
    calm = write_paper(tmp_path / "calm")
    folder = write_paper(tmp_path / "hostile")
    texts = dict(enumerate(HOSTILE))
    values = [value(f"text.{i}", text, text) for i, text in texts.items()]
    for entry, text in zip(values, HOSTILE, strict=True):
        entry["source"] = {"file": "tables/missing.csv", "filter": {"reason": text}}
    gaps = [{"prefix": f"measured.none{i}.", "reason": text} for i, text in texts.items()]
    content = {"values": [*VALUES, *values], "gaps": gaps}
    (folder / "study/values.json").write_text(json.dumps(content))
    says = "\n\n".join(f'Says << v("text.{i}") >> thrice.' for i in texts)
    rows = "\n".join(f'<tr><td>Cell << v("text.{i}") >> ends.</td></tr>' for i in texts)
    head = "<thead><tr><th>All</th></tr></thead>"
    table = f'<% call table("all", "All.", long=true) %>{head}<tbody>{rows}</tbody><% endcall %>'
    figure = "::: {{#fig:none{}}}\n**None.**\n\n::: alt\nLines.\n:::\n:::"
    figures = "\n\n".join(figure.format(i) for i in texts)
    edit(folder / "sections/results.md", "Hostile", f"{says}\n\n{table}\n\n{figures}\n\nHostile")
    report = render_paper(folder)
    page, before = (
        Text((path / "index.html").read_text(encoding="utf-8"))
        for path in (report, render_paper(calm))
    )
    sheets = PdfReader(report / "report.pdf").pages
    pdf = squeezed("".join(sheet.extract_text() for sheet in sheets))
    for text in HOSTILE:
        for sentence in (f"Says {text} thrice.", f"Cell {text} ends.", f"Not shown: {text}."):
            assert squeezed(sentence) in squeezed(page.text), sentence
            assert squeezed(sentence) in pdf, sentence
    titles = [span["title"] for span in page.attributes["span"] if "title" in span]
    assert {f"tables/missing.csv; reason = {text}" for text in HOSTILE} <= set(titles)
    assert elements(page) == elements(before)
    style, script = page.attributes["style"], page.attributes["script"]
    assert (len(style), len(script)) == (1, 1)


def test_hostile_text_is_printed_as_it_is_where_studies_are_compared(tmp_path: Path) -> None:
    studies = []
    for name, texts in (("old", ["calm"] * len(HOSTILE)), ('<b>new</b> & "co"', HOSTILE)):
        study = write_paper(tmp_path / name) / "study"
        named = {f"{text}{i}": text for i, text in enumerate(texts)}
        claims = [{"id": f"c{i}", "statement": text, "verdict": f"{name} {text}"}
                  for i, text in enumerate(texts)]  # fmt: skip
        edit(study / "claims.json", '[{"id"', f'{json.dumps(claims)[:-1]}, {{"id"')
        edit(study / "claims.json", '"deeper"', '"deeper", "statement": "deeper"')
        render_paper(study.parent)
        record = {"config": named, "code": named, "packages": named, "host": named}
        (study / "provenance.json").write_text(json.dumps(record))
        studies.append(study)
    text = compare.compare(*studies)
    page = Text(text)
    for text in HOSTILE:
        assert squeezed(text) in squeezed(page.text)
    assert '<b>new</b> & "co"' in page.text
    assert sum(elements(page).values()) == 0


# Through Snakemake --------------------------------------------------------------------------------


def refused(project: Path, *arguments: str) -> str:
    done = snakemake(project, "--dry-run", *arguments)
    assert done.returncode == 1
    assert not (project / "results").exists()
    return done.stdout + done.stderr  # a dry run complains on the former


def test_snakemake_prints_one_line_and_nothing_else(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    for quiet in ((), ("--quiet", "all")):
        said = refused(project, "--config", "widht=3", *quiet).splitlines()[-1]
        assert said == "error: config: 'widht' is not known; did you mean width?"
    for content, line in [
        ("study: a\nstudy: b\n", f"error: {project}/study.yaml:2: the key 'study' is given twice"),
        ("study: off\n", f"error: {project}/study.yaml:1: YAML reads off as false: "),
    ]:
        (project / "study.yaml").write_text(content)
        (said,) = refused(project, "--configfile", "study.yaml").splitlines()
        assert said.startswith(line)
    # Its cost is forecast in every paper.
    edit(project / "workflow/config/cifar10.yaml", "\ndepths:", "\ndetphs:")
    assert refused(project).splitlines()[-1] == (
        "error: workflow/config/cifar10.yaml: config: 'detphs' is not known; did you mean depths?"
    )
    edit(project / "workflow/config/default.yaml", "device: auto", "device: auto: cpu")
    default = (project / "workflow/config/default.yaml").read_text().splitlines()
    number = next(i for i, line in enumerate(default, 1) if line.startswith("device"))
    assert refused(project) == (
        f"error: workflow/config/default.yaml:{number}: mapping values are not allowed here\n"
    )


@pytest.mark.parametrize("content", [None, b"", b"- a\n", b"a: [1", b"\x89PNG\r\n"])
def test_what_snakemake_itself_cannot_read_as_a_configuration_starts_nothing(
    content: bytes | None, tmp_path: Path
) -> None:
    """It reads the file before the workflow is there to say more."""
    project = copy_project(tmp_path)
    if content is not None:
        (project / "study.yaml").write_bytes(content)
    assert "rror" in refused(project, "--configfile", "study.yaml")
