"""Data sets as whole tensors: images (B, C, H, W), standardised by the training set.

    python -m models.data --dataset mnist1d --out results/data

A signal is an image of height one, so that one network serves 1-D and 2-D data alike. Where the
data come from is in models/sources.py.
"""

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from models import checkpoint
from models.files import replacing
from models.records import build, nearest

FOLDER = Path("results/data")

# SHA-256 of each set's content (`content_hash`). CIFAR-10's archive has a checksum of its own.
SHA256 = {
    "mnist1d": "2a8cd1d142372eb2c273431368fa34c5933b1a1ab756d3521ac40f0b033f5e95",
    "digits": "07fd43da157ebb5cd8d5df3707de1e50a7e95fdf15e0e65baa4e4015a32ef92a",
    "fashion_mnist": "4f5ba232c00001e84dfb76f6ab806260538430908c895d6242cbea9d090c68a7",
}


@dataclass(frozen=True)
class ImageFolder:
    """Somebody's own images: a folder of class folders, or train/ and test/ of such."""

    path: str
    size: int  # pixels: the shorter side is resized to it, the longer one cropped to its centre
    channels: Literal[1, 3] = 3  # grey or RGB
    test_share: float = 0.2  # of each class, where the folder has no train/ and test/


@dataclass(frozen=True)
class Dataset:
    train_inputs: Tensor  # (N, C, H, W), float32, channels last in memory
    train_targets: Tensor  # (N,), int64
    test_inputs: Tensor
    test_targets: Tensor
    classes: int

    def to(self, device: str) -> "Dataset":
        """The same on `device`."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Dataset(
            **{
                name: part.to(device) if isinstance(part, Tensor) else part
                for name, part in parts.items()
            }
        )


def load(name: str, folder: Path = FOLDER) -> Dataset:
    """The data set `name`, prepared in `folder` if it is not there yet.

    Raises:
        ValueError: there is no such data set, or its content is not what it should be.
        OSError: it cannot be read, or downloaded.
    """
    path = folder / f"{name}.pt"
    if not path.exists():
        prepare(name, folder)
    # Mapped, not read: the jobs of one machine share the pages.
    return Dataset(**checkpoint.read(path, mmap=True))


def prepare(name: str, folder: Path, images: ImageFolder | None = None) -> None:
    """Write `<name>.pt`, the tensors, and `<name>.json`, what they are.

    Raises:
        ValueError: there is no such data set, or its content is not what it should be.
        OSError: it cannot be read, or downloaded.
    """
    from models import sources  # reading needs packages that training does not

    if images is not None:
        title, arrays = name, sources.image_folder(Path(images.path), images)
    elif name in sources.SOURCES:
        title, read = sources.SOURCES[name]
        arrays = read()
    else:
        hint = nearest(name, sources.SOURCES) or f"; expected {', '.join(sources.SOURCES)}"
        raise ValueError(f"dataset: '{name}' is not known{hint}")
    digest = content_hash(arrays)
    if digest != SHA256.get(name, digest):
        raise ValueError(
            f"dataset: {name} has content hash {digest}, expected {SHA256[name]}: its source has "
            "changed, or the package that makes it is not the pinned one"
        )
    mean, std = moments(arrays["x"])
    tensors = {
        "train_inputs": standardised(arrays["x"], mean, std),
        "train_targets": torch.from_numpy(arrays["y"].astype(np.int64)),
        "test_inputs": standardised(arrays["x_test"], mean, std),
        "test_targets": torch.from_numpy(arrays["y_test"].astype(np.int64)),
        "classes": int(arrays["y"].max()) + 1,
    }
    manifest = {
        "name": title,
        "train_examples": len(arrays["y"]),
        "test_examples": len(arrays["y_test"]),
        "shape": list(tensors["train_inputs"].shape[1:]),
        "classes": tensors["classes"],
        "mean": mean.ravel().tolist(),
        "std": std.ravel().tolist(),
        "sha256": digest,
        "image_folder": asdict(images) if images else None,
    }
    with replacing(folder / f"{name}.json") as path:
        path.write_text(json.dumps(manifest, indent=2) + "\n")
    checkpoint.write(folder / f"{name}.pt", tensors)


def content_hash(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of the arrays, in order of their names; bytes as they are, other numbers rounded
    to 1e-4, for the last bits of generated data differ between processors."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        array = arrays[key]
        digest.update(key.encode())
        if array.dtype != np.uint8:
            array = np.round(array * 1e4).astype("<i8")
        digest.update(array.tobytes())
    return digest.hexdigest()


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel of (N, C, H, W), as (C, 1, 1)."""
    channels = range(images.shape[1])  # one at a time, for double precision in little memory
    mean = [images[:, c].mean(dtype=np.float64) for c in channels]
    std = [images[:, c].std(dtype=np.float64) for c in channels]
    for c in channels:
        if std[c] == 0:
            raise ValueError(f"dataset: channel {c} is the same everywhere in the training set")
    return np.array(mean)[:, None, None], np.array(std)[:, None, None]


def standardised(images: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(((images - mean) / std).astype(np.float32))
    return tensor.contiguous(memory_format=torch.channels_last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--image-folder", help="JSON: path, size, channels, test_share")
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    try:
        images = None
        if arguments.image_folder:
            try:
                images = build(ImageFolder, json.loads(arguments.image_folder))
            except ValueError as error:
                raise ValueError(f"image_folder: {error}") from None
        prepare(arguments.dataset, arguments.out, images)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {' '.join(str(error).split())}\n")


if __name__ == "__main__":
    main()
