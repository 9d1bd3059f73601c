"""Data sets as whole tensors: images (B, C, H, W), standardised by the training set.

    python -m models.data.prepare --dataset mnist1d --out results/data

A signal is an image of height one, so that one network serves 1-D and 2-D data alike.
"""

import argparse
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models import tensors
from models.data.readers import SOURCES, Arrays, ImageFolder, image_folder
from models.files import nearest, read_json, replacing
from models.typed import typed

FOLDER = Path("results/data")


@dataclass(frozen=True)
class Dataset:
    """Training and test set as whole tensors."""

    train_inputs: Tensor  # (N, C, H, W), float32, channels last in memory
    train_targets: Tensor  # (N,), int64
    test_inputs: Tensor
    test_targets: Tensor
    classes: int

    def to(self, device: str) -> "Dataset":
        *parts, classes = vars(self).values()
        return Dataset(*(part.to(device) for part in parts), classes)


def load(name: str, folder: Path = FOLDER, digest: str = "") -> Dataset:
    """Return the data set `name`; prepare it in `folder` if it is not there yet.

    `digest` is the SHA-256 of the data that a run was trained on: no others are returned.
    """
    path = folder / f"{name}.pt"
    if not path.exists():
        prepare(name, folder)
    manifest = path.with_suffix(".json")
    if digest and (found := read_json(manifest)["sha256"]) != digest:
        raise ValueError(f"{manifest}: sha256 is {found}, and the run was trained on {digest}")
    # The file is mapped, so that all jobs of a machine share its pages.
    return Dataset(**tensors.read(path, mmap=True))


def prepare(name: str, folder: Path, images: ImageFolder | None = None) -> None:
    """Write `<name>.pt`, the tensors, and `<name>.json`, the manifest that describes them."""
    source = None if images else SOURCES.get(name)
    if not images and not source:
        raise ValueError(f"dataset: {name!r} is not known{nearest(name, SOURCES)}")
    arrays = image_folder(images) if images else source.read()
    digest = content_hash(arrays)
    if source and source.sha256 not in (None, digest):
        wrong = f"has content hash {digest}, expected {source.sha256}"
        raise ValueError(f"dataset: {name} {wrong}: its source, or a package, has changed")
    mean, std = moments(arrays.x)
    contents = {
        "train_inputs": standardised(arrays.x, mean, std),
        "train_targets": torch.from_numpy(arrays.y.astype(np.int64)),
        "test_inputs": standardised(arrays.x_test, mean, std),
        "test_targets": torch.from_numpy(arrays.y_test.astype(np.int64)),
        "classes": int(arrays.y.max()) + 1,
    }
    manifest = {
        # workflow/config.py adds a digest to the name of somebody's own images.
        "name": source.title if source else re.sub(r"_[0-9a-f]{8}$", "", name),
        "train_examples": len(arrays.y),
        "test_examples": len(arrays.y_test),
        "shape": list(contents["train_inputs"].shape[1:]),
        "classes": contents["classes"],
        "mean": mean.ravel().tolist(),
        "std": std.ravel().tolist(),
        "sha256": digest,
        "image_folder": images.model_dump() if images else None,
    }
    with replacing(folder / f"{name}.json") as path:
        path.write_text(json.dumps(manifest, indent=2) + "\n")
    tensors.write(folder / f"{name}.pt", contents)


def content_hash(arrays: Arrays) -> str:
    """Return a SHA-256 of arrays, in the order of their names."""
    digest = hashlib.sha256()
    for key, array in sorted(arrays._asdict().items()):
        digest.update(key.encode())
        if array.dtype != np.uint8:  # the last bits of generated data differ between processors
            array = np.round(array * 1e4).astype("<i8")
        digest.update(array.tobytes())
    return digest.hexdigest()


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel of (N, C, H, W), both as (C, 1, 1)."""
    # Double precision of one channel at a time needs little memory.
    found = [(x.mean(dtype=np.float64), x.std(dtype=np.float64)) for x in images.swapaxes(0, 1)]
    mean, std = np.array(found).T[..., None, None]
    if 0 in std:
        raise ValueError(f"dataset: channel {std.argmin()} is the same throughout the training set")
    return mean, std


def standardised(images: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Tensor:
    """Return images (N, C, H, W) minus `mean`, over `std`, as float32 with channels last."""
    tensor = torch.from_numpy(((images - mean) / std).astype(np.float32))
    return tensor.contiguous(memory_format=torch.channels_last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--image-folder", type=json.loads, help="JSON of an ImageFolder")
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    try:
        images = arguments.image_folder
        if images is not None:
            images = typed(ImageFolder, images, "image_folder")
        prepare(arguments.dataset, arguments.out, images)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {' '.join(str(error).split())}\n")


if __name__ == "__main__":
    main()
