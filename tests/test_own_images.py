"""A folder of somebody's own images becomes a paper, with the augmentation of He et al. 2016."""

import json
from pathlib import Path

import pandas as pd
from conftest import QUICK, copy_project, snakemake
from test_data import photos

# Names that mean something to a shell, to YAML and to Snakemake
PROJECT, RED = "my 'project' caf\u00e9", "r 'e' $(touch hacked) \u00e9"
PHOTOS = "my 'photos' \"caf\u00e9 \u65e5\u672c\" $(touch hacked) `touch hacked`; touch it & #x"
STUDY = {  # on top of the quick study
    "study": "leaves",
    "dataset": "leaves",
    "image_folder": {"path": PHOTOS, "size": 8, "test_share": 0.25},
    "interventions": [],
    "width": 2,
    "training": {
        "batch_size": 4, "schedule": "staircase", "warmup_steps": 2,
        "augmentation": "crop_and_flip", "precision": "bfloat16",
    },
    "tuning": {"lrs": [0.1]},
    "measures": {"seeds": 1},
}  # fmt: skip


def test_a_folder_of_images_becomes_a_paper(tmp_path: Path) -> None:
    (tmp_path / PROJECT).mkdir()
    folder = copy_project(tmp_path / PROJECT)
    photos(folder / PHOTOS)
    (folder / PHOTOS / "red").rename(tmp_path / "elsewhere")
    (folder / PHOTOS / RED).symlink_to(tmp_path / "elsewhere")
    (folder / "leaves.yaml").write_text(json.dumps(STUDY))  # which is YAML too
    done = snakemake(folder, *QUICK, "leaves.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(tmp_path.rglob("hacked"))
    results = folder / "results/leaves"
    runs = pd.read_csv(results / "tables/runs.csv")
    assert len(runs) == 4 * 2 * 2 * 2
    assert {name.split("_")[0] for name in runs["dataset"]} == {"leaves"}
    assert set(runs["lr"]) == {0.1}
    assert set(runs["steps"]) == {3, 6}  # 12 training images, 1 and 2 epochs
    assert pd.read_csv(results / "tables/tuning.csv").empty
    (manifest,) = folder.glob("results/data/leaves_*.json")
    assert json.loads(manifest.read_text())["image_folder"]["path"] == PHOTOS
    values = {v["key"]: v for v in json.loads((results / "values.json").read_text())["values"]}
    assert values['data("name")']["text"] == "leaves"
    assert values['data("train_examples")']["value"] == 12
    assert not (results / "figures/lr_sensitivity.svg").exists()
    page = (results / "report/index.html").read_text()
    assert "was not tuned" in page
    assert "Interventions" not in page
    assert (results / "report/report.pdf").stat().st_size > 50_000

    # A new picture behind the link makes the data and all that depends on them out of date.
    (tmp_path / "elsewhere/new.png").write_bytes((tmp_path / "elsewhere/0.png").read_bytes())
    dry = snakemake(folder, *QUICK, "leaves.yaml", "--dry-run")
    assert "prepare_data" in dry.stdout
