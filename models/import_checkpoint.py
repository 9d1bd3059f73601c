"""Read a published CIFAR-10 ResNet into our network, as a check from outside.

    python -m models.import_checkpoint resnet20.th --out resnet20.pt [--cifar10 ARCHIVE]

The file is a checkpoint of akamaster/pytorch_resnet_cifar10, or a state dict with its names. It
becomes the weights of a run at its end. Given CIFAR-10's binary archive, the command prints the
test error, on images standardised as those networks were trained.
"""

import argparse
import re
from pathlib import Path

import torch
from torch import Tensor

from models import tensors
from models.data.readers import read_cifar10
from models.network import Network
from models.training.evaluate import evaluate
from models.variant import Factors

# Mean and standard deviation of ImageNet's channels, for pixels from 0 to 1: the published networks
# were trained with them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Keys under which training scripts save a state dict
WRAPPED = ("state_dict", "model_state_dict", "model", "net")
HOW = "; expected a file from torch.save(network.state_dict(), path)"
NAMES = (
    (r"^((module|_orig_mod|model|net)\.)+", ""),  # of DataParallel, torch.compile and Lightning
    (r"^conv1\.", "layers.stem.conv."),
    (r"^bn1\.", "layers.stem.norm."),
    (r"^layer(\d)\.(\d+)\.conv(\d)\.", r"layers.stage\1_block\2.branch.conv\3."),
    (r"^layer(\d)\.(\d+)\.bn(\d)\.", r"layers.stage\1_block\2.branch.norm\3."),
    (r"^linear\.", "layers.head.linear."),
)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file, which may hold nothing but tensors, numbers and names."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # damaged bytes can make torch raise any type of error
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{path}: not a checkpoint: {reason}{HOW}") from None
    state = content if isinstance(content, dict) else {}
    for key in WRAPPED:
        if isinstance(state.get(key), dict):
            state = state[key]
    if {(type(name), isinstance(value, Tensor)) for name, value in state.items()} != {(str, True)}:
        keys = ", ".join(WRAPPED)
        raise ValueError(f"{path}: is no state dict, and has none under {keys}{HOW}")
    return state


def network_of(state: dict[str, Tensor]) -> Network:
    """Return our residual network with BatchNorm, in eval mode, with the published weights."""
    ours = {}
    for name, value in state.items():
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        # The published files count the blocks of a stage from 0.
        ours[re.sub(r"_block(\d+)", lambda match: f"_block{int(match[1]) + 1}", name)] = value
    try:
        width, channels = ours["layers.stem.conv.weight"].shape[:2]
        classes = len(ours["layers.head.linear.bias"])
    except KeyError as error:
        raise ValueError(f"state dict: has no {error.args[0]!r}, by our names") from None
    except (TypeError, ValueError):  # a tensor has too few axes
        raise ValueError("state dict: its stem or its head has too few axes") from None
    blocks = {name.split(".")[1] for name in ours if "_block" in name}
    network = Network(Factors(), 2 * len(blocks) + 2, width, (channels, 32, 32), classes)
    try:
        network.load_state_dict(ours)
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
        tensors.write(arguments.out, {"end": network.state_dict()})
        if arguments.cifar10:
            arrays = read_cifar10(arguments.cifar10)
            mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
            images = (torch.tensor(arrays.x_test) / 255 - mean) / std
            labels = torch.tensor(arrays.y_test).long()
            print(f"test error {100 * evaluate(network, images, labels, 500)[0][1]:.2f} %")
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
