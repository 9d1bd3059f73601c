"""Read a published CIFAR-10 ResNet into our network, as a check from outside.

    python -m models.import_checkpoint resnet20.th --out resnet20.pt [--cifar10 ARCHIVE]

The file is a checkpoint of akamaster/pytorch_resnet_cifar10, or a state dict with its names. It
becomes a checkpoint of ours, with the moment "end". Given CIFAR-10's binary archive, the test
error is printed, on images standardised as those networks were trained.
"""

import argparse
import re
from pathlib import Path

import torch
from torch import Tensor

from models import checkpoint
from models.evaluate import evaluate
from models.network import Network
from models.sources import read_cifar10
from models.variant import Variant

# Their channels, of pixels from 0 to 1: ImageNet's.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

NAMES = (
    (r"^module\.", ""),
    (r"^conv1\.", "layers.stem.conv."),
    (r"^bn1\.", "layers.stem.norm."),
    (r"^layer(\d)\.(\d+)\.conv(\d)\.", r"layers.stage\1_block\2.branch.conv\3."),
    (r"^layer(\d)\.(\d+)\.bn(\d)\.", r"layers.stage\1_block\2.branch.norm\3."),
    (r"^linear\.", "layers.head.linear."),
)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, which may hold nothing but tensors, numbers and names.

    Raises:
        ValueError: it is no such file.
    """
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # of any type: damaged bytes lead torch anywhere
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{path}: not a checkpoint: {reason}") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    if not (isinstance(state, dict) and state and all(isinstance(name, str) for name in state)
            and all(isinstance(value, Tensor) for value in state.values())):  # fmt: skip
        raise ValueError(f"{path}: has no state dict, neither itself nor under 'state_dict'")
    return state


def network_of(state: dict[str, Tensor]) -> Network:
    """Our residual network with BatchNorm, in eval mode, with the weights of theirs.

    Depth, width and classes are read from the shapes.

    Raises:
        ValueError: the names or shapes are not those of such a network.
    """
    ours = {}
    for name, value in state.items():
        renamed = name
        for pattern, replacement in NAMES:
            renamed = re.sub(pattern, replacement, renamed)
        # They count a stage's blocks from 0.
        renamed = re.sub(r"_block(\d+)", lambda match: f"_block{int(match[1]) + 1}", renamed)
        ours[renamed] = value
    try:
        width, channels = ours["layers.stem.conv.weight"].shape[:2]
        classes = len(ours["layers.head.linear.bias"])
    except KeyError as error:
        raise ValueError(f"state dict: has no {error.args[0]!r}, by our names") from None
    except (TypeError, ValueError):  # of a tensor with fewer axes
        raise ValueError("state dict: its stem or its head is of no such shape") from None
    blocks = {name.split(".")[1] for name in ours if "_block" in name}
    network = Network(Variant(), 2 * len(blocks) + 2, width, (channels, 32, 32), classes)
    # BatchNorm counts its batches since PyTorch 0.4.1; nothing here reads the count.
    counts = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
    try:
        network.load_state_dict({**counts, **ours})
    except RuntimeError as error:
        raise ValueError(f"state dict: {' '.join(str(error).split())}") from None
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path, help="cifar-10-binary.tar.gz")
    arguments = parser.parse_args()
    try:
        network = network_of(read_checkpoint(arguments.checkpoint))
        checkpoint.write(arguments.out, {"end": network.state_dict()})
        if arguments.cifar10:
            arrays = read_cifar10(arguments.cifar10)
            mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
            images = (torch.from_numpy(arrays["x_test"]) / 255 - mean) / std
            labels = torch.from_numpy(arrays["y_test"]).long()
            print(f"test error {100 * evaluate(network, images, labels, 500)[1]:.2f} %")
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
