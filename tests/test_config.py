"""Test the settings of a study: what they accept, and the line that each mistake gets."""

import os
import re
from pathlib import Path

import pytest
from conftest import ROOT, command

from models.files import read_constant, read_yaml
from models.variant import read_variants
from workflow.config import (
    DEFAULT,
    MEASURES,
    from_command_line,
    images,
    load_study,
    merged,
    state_of_images,
)

STUDIES = ("quick", "full", "fashion_mnist", "cifar10")
OWN = {"dataset": "leaves", "image_folder": {"path": "photos", "size": 16}}

# Changes of the default study, and the beginning of the message that refuses them.
BAD = [
    # Keys
    ({"sedes": [1, 2]}, "'sedes' is not known; did you mean seeds?"),
    ({"a\nb": 1}, r"'a\nb' is not known; expected one of study, "),
    ({7: 1}, "7: 7: keys should be strings"),
    ({"measures": {"ntk": {"example": 8}}}, "'measures.ntk.example' is not known; did you mean ex"),
    # Types
    ({"training": {"weight_decay": "1e-4"}}, "training.weight_decay: '1e-4' is not a valid number"),
    ({"measures": {"ntk": None}}, "measures.ntk: None is not a mapping"),
    (merged(OWN, {"image_folder": {"channels": 2}}), "image_folder.channels: 2 is not 1 or 3"),
    # Ranges and levels
    ({"device": "gpu"}, "device: 'gpu' is not known; did you mean cpu?"),
    ({"seeds": [1]}, "seeds: [1]: list should have at least 2 items"),
    ({"tuning": {"lrs": [1, 1.0]}}, "tuning.lrs: 1.0 is given twice"),
    ({"tuning": {"lrs": [0.1, -0.1]}}, "tuning.lrs.1: -0.1 is not greater than 0"),
    # Each kind of setting of a measure
    ({"measures": {"ntk": {"examples": 1}}}, "measures.ntk.examples: 1 is not greater than or eq"),
    ({"measures": {"smoothness": {"etas": [0]}}}, "measures.smoothness.etas.0: 0 is not greater"),
    ({"measures": {"smoothness": {"etas": []}}}, "measures.smoothness.etas: []: "),
    ({"measures": {"ics": {"at": {"variants": ["end\n"]}}}}, "measures.ics.at.variants.0: 'end"),
    ({"measures": {"ics": {"at": {"variants": ["step0"]}}}}, "measures.ics.at.variants.0: 'step0"),
    ({"measures": {"ics": {"at": {"variants": []}}}}, "measures.ics.at.variants: []: list should"),
    (
        {"measures": {"identity_learning": {"lengths": [0]}}},
        "measures.identity_learning.lengths.0",
    ),
    # What does not go together
    ({"study": "data"}, "study: results/data is where data sets go; take another name"),
    ({"dataset": "mnist"}, "dataset: 'mnist' is not known; did you mean mnist1d?"),
    ({**OWN, "dataset": "digits"}, "image_folder: digits has its own images; rename yours"),
    ({"variants": ["plain_nb"]}, "variants: 'plain_nb' is not known; did you mean plain_bn?"),
    ({"variants": ["plain"]}, "variants: plain_bn is missing; the claims compare it"),
    ({"interventions": ["plain"]}, "interventions: 'plain' is among variants too"),
    ({"compare_depths": {"deep": 44}}, "compare_depths.deep: 44 is not among ["),
    ({"compare_depths": {"deep": 14}}, "compare_depths: shallow 20 is not below 14"),
    ({"seeds": [5, 6], "tuning": {"seeds": [4, 5]}}, "tuning.seeds: 5 is among seeds [5, 6]; take"),
    ({"training": {"batch_size": 4001}}, "training.batch_size: 4001 is more than the 4000 train"),
    ({"budgets": [2, 0]}, "budgets.1: 0 is not greater than or equal to 1"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message for _, message in BAD])
def test_a_mistake_gets_one_line(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match="config") as error:
        load_study(overrides=changes)
    assert str(error.value).startswith(f"config: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", STUDIES)
def test_each_study_is_accepted(name: str) -> None:
    path = ROOT / f"workflow/config/{name}.yaml"
    study, changes = load_study([path]), read_yaml(path)
    assert study.study == name
    assert study.model_dump(exclude_none=True) == merged(read_yaml(DEFAULT), changes)


def test_files_and_overrides_merge_mappings_and_replace_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("seeds: [1, 2]\ntuning: {lrs: [0.5]}\nmeasures: {ntk: {examples: 8}}\n")
    study = load_study([path], {"tuning": {"seeds": [3]}})
    assert (study.seeds, study.tuning.lrs, study.tuning.seeds) == ([1, 2], [0.5], [3])
    assert study.measures.ntk.examples == 8
    assert study.measures.ntk.at == load_study().measures.ntk.at


@pytest.mark.parametrize(
    ("entry", "setting"),
    [
        ("seeds=[010, 2]", [10, 2]),
        ("budgets=[1,4]", [1, 4]),
        ("partial=true", True),
        ("partial=True", True),  # as Python and Snakemake write it
        ("width=016", 16),
        ("training={weight_decay: 1e-4}", {"weight_decay": 1e-4}),
        ("training={'momentum': 0.5}", {"momentum": 0.5}),
        ("study=no", "no"),
        ("width=1:30", "config: width: '1:30' is not a valid integer"),
        ("seeds=[1,", "config: seeds: '[1,': expected the node content"),
    ],
)
def test_the_command_line_and_a_file_are_read_alike(
    entry: str, setting: object, tmp_path: Path
) -> None:
    """A number with a zero in front is decimal, and sixty is no base."""
    key, _, text = entry.partition("=")
    if str(setting).startswith("config: "):
        with pytest.raises(ValueError, match=re.escape(setting)):
            load_study(overrides=from_command_line([entry]))
        return
    path = tmp_path / "study.yaml"
    path.write_text(f"{key}: {text}\n")
    expected = merged(load_study().model_dump(), {key: setting})
    for study in (load_study([path]), load_study(overrides=from_command_line([entry]))):
        assert study.model_dump() == expected


def test_a_json_file_may_hold_tabs(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text('{\n\t"seeds": [1,\n\t\t2],\t"width": 3\n}\n')
    study = load_study([path])
    assert (study.seeds, study.width) == ([1, 2], 3)


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("red", "green"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.png").touch()
    study = load_study(overrides=merged(OWN, {"image_folder": {"path": "~/photos"}}))
    assert study.image_folder.path == str(tmp_path / "photos")
    assert images(study)[0] == 2


def test_a_change_of_the_users_images_is_noticed(tmp_path: Path) -> None:
    """Change a picture under its own name, and one behind a link; odd names are no trouble."""
    store, linked = tmp_path / "store", tmp_path / "photos/{variant} <b> a\nb \udc80"
    for folder in (store, linked.with_name("other")):
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(b"one")
    linked.symlink_to(store)
    (store / "all").symlink_to(linked.parent)  # walks without an end
    study = load_study(overrides=merged(OWN, {"image_folder": {"path": str(linked.parent)}}))
    states = [state_of_images(study)]
    for change in (
        lambda: (store / "2.png").write_bytes(b"two"),
        lambda: (store / "1.png").write_bytes(b"another"),
        lambda: os.utime(store / "1.png", (0, 0)),
        lambda: (store / "2.png").unlink(),
    ):
        assert state_of_images(study) == states[-1]
        change()
        states.append(state_of_images(study))
    assert len(set(states)) == 5
    (store / "Thumbs.db").touch()
    assert state_of_images(study) == states[-1]
    assert images(study)[0] == 3
    (linked.with_name("other") / "1.png").unlink()
    with pytest.raises(ValueError, match=r"config: .*/photos/other: the class has no images"):
        state_of_images(study)
    study = load_study(overrides=merged(OWN, {"image_folder": {"path": str(tmp_path / "gone")}}))
    with pytest.raises(ValueError, match=r"config: image_folder\.path: '.*gone' is not a folder"):
        state_of_images(study)


def test_own_images_at_two_sizes_are_two_data_sets() -> None:
    sizes = [{"image_folder": {"size": size}} for size in (16, 32)]
    small, large = (load_study(overrides=merged(OWN, size)) for size in sizes)
    assert small.dataset != large.dataset
    assert small.dataset.startswith("leaves_")
    again = load_study(overrides=small.model_dump(exclude_none=True))  # as config.json has it
    assert again.dataset == small.dataset
    long = load_study(overrides=merged(OWN, {"dataset": "a" * 64}))
    assert load_study(overrides=long.model_dump(exclude_none=True)).dataset == long.dataset


def test_the_full_study_measures_and_trains_all_that_there_is() -> None:
    study = load_study([ROOT / "workflow/config/full.yaml"])
    assert {*study.variants, *study.interventions} == read_variants().keys()
    assert all(getattr(study.measures, name) for name in MEASURES)


def test_every_key_is_explained() -> None:
    printed = command("workflow.config").stdout.splitlines()
    keys, meanings = printed[::2], printed[1::2]
    assert "budgets = [2, 16]" in keys
    assert meanings[keys.index("training.momentum = 0.9")].endswith("(number from 0 below 1)")
    assert meanings[keys.index('device = "auto"')].endswith("(auto | cpu | cuda)")
    settings = {line.split(" = ")[0] for line in keys}
    for name in MEASURES:
        for key in read_constant(ROOT / f"analysis/measures/{name}.py", "SETTINGS"):
            assert f"measures.{name}.{key}" in settings
    assert all(line.startswith("    ") and "None" not in line for line in meanings)
