"""Data sets as whole tensors: images (B, C, H, W), standardised by the training set.

    python -m models.data --dataset mnist1d --out results/data

A signal is an image of height one, so that one network serves 1-D and 2-D data alike.
"""

import argparse
import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.files import replacing

FOLDER = Path("results/data")

# SHA-256 of MNIST-1D's signals, rounded to 1e-4 (the last bits differ between processors),
# and labels, as its canonical arguments generate them.
MNIST1D_SHA256 = "2a8cd1d142372eb2c273431368fa34c5933b1a1ab756d3521ac40f0b033f5e95"


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
            **{k: v.to(device) if isinstance(v, Tensor) else v for k, v in parts.items()}
        )


def load(name: str, folder: Path = FOLDER) -> Dataset:
    """The data set `name`, prepared in `folder` if it is not there yet.

    Raises:
        ValueError: there is no such data set, or its content is not what it should be.
    """
    path = folder / f"{name}.pt"
    if not path.exists():
        prepare(name, folder)
    tensors = torch.load(path, weights_only=True)
    for part in ("train_inputs", "test_inputs"):
        tensors[part] = tensors[part].contiguous(memory_format=torch.channels_last)
    return Dataset(**tensors)


def prepare(name: str, folder: Path) -> None:
    """Write `<name>.pt`, the tensors, and `<name>.json`, what they are.

    Raises:
        ValueError: there is no such data set, or its content is not what it should be.
    """
    if name != "mnist1d":
        raise ValueError(f"dataset: '{name}' is not known; expected mnist1d")
    arrays = generate_mnist1d()
    digest = content_hash(arrays)
    if digest != MNIST1D_SHA256:
        raise ValueError(
            f"dataset: mnist1d has content hash {digest}, expected {MNIST1D_SHA256}: "
            "install the pinned version of the package mnist1d"
        )
    x, y = arrays["x"], arrays["y"]
    mean, std = float(x.mean()), float(x.std())
    tensors = {
        "train_inputs": as_images(x, mean, std),
        "train_targets": torch.from_numpy(y),
        "test_inputs": as_images(arrays["x_test"], mean, std),
        "test_targets": torch.from_numpy(arrays["y_test"]),
        "classes": int(y.max()) + 1,
    }
    manifest = {
        "name": "MNIST-1D",
        "train_examples": len(y),
        "test_examples": len(arrays["y_test"]),
        "shape": list(tensors["train_inputs"].shape[1:]),
        "classes": tensors["classes"],
        "mean": mean,
        "std": std,
        "sha256": digest,
    }
    with replacing(folder / f"{name}.json") as path:
        path.write_text(json.dumps(manifest, indent=2) + "\n")
    with replacing(folder / f"{name}.pt") as path:
        torch.save(tensors, path)


def generate_mnist1d() -> dict[str, np.ndarray]:
    """MNIST-1D (Greydanus and Kobak 2024) from its package's canonical arguments: 4000 training
    signals `x` (4000, 40) with labels `y`, and 1000 test signals `x_test` with `y_test`."""
    # The package draws in its import, which costs seconds: only the preparation pays them.
    from mnist1d.data import get_dataset_args, make_dataset

    arrays = make_dataset(get_dataset_args())
    return {key: arrays[key] for key in ("x", "y", "x_test", "y_test")}


def content_hash(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of the arrays, in order of their names, rounded to 1e-4."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(key.encode())
        digest.update(np.round(arrays[key] * 1e4).astype("<i8").tobytes())
    return digest.hexdigest()


def as_images(signals: np.ndarray, mean: float, std: float) -> Tensor:
    """Signals (B, W) as standardised images (B, 1, 1, W)."""
    return torch.from_numpy(((signals - mean) / std).astype(np.float32))[:, None, None, :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    try:
        prepare(arguments.dataset, arguments.out)
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
