"""A published architecture, written out here separately, against our network with its weights."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from test_data import cifar_archive
from torch import nn

from models.import_checkpoint import network_of, read_checkpoint


class Basic(nn.Module):
    """Two 3x3 convolutions; option A: every second pixel, zero channels on both sides."""

    def __init__(self, planes_in: int, planes: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(planes_in, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.planes, self.changes = planes, stride > 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.changes:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.planes // 4, self.planes // 4))
        return F.relu(out + x)


class Published(nn.Module):
    def __init__(self, blocks: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*[Basic(16, 16, 1) for _ in range(blocks)])
        self.layer2 = nn.Sequential(
            Basic(16, 32, 2), *[Basic(32, 32, 1) for _ in range(blocks - 1)]
        )
        self.layer3 = nn.Sequential(
            Basic(32, 64, 2), *[Basic(64, 64, 1) for _ in range(blocks - 1)]
        )
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.avg_pool2d(x, x.size()[3]).flatten(1))


def published(blocks: int) -> Published:
    """With weights, scales, shifts and statistics that are all its own."""
    torch.manual_seed(blocks)
    network = Published(blocks)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight, module.running_var):
                nn.init.uniform_(value, 0.5, 1.5)
            for value in (module.bias, module.running_mean):
                nn.init.normal_(value, std=0.3)
    return network.eval()


def saved(network: Published, prefix: str) -> dict[str, torch.Tensor]:
    """The published files wrap the network for several GPUs, and count no batches."""
    return {
        prefix + name: value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize(("blocks", "depth"), [(3, 20), (9, 56)])
def test_logits_equal_those_of_the_published_network(
    blocks: int, depth: int, tmp_path: Path
) -> None:
    theirs = published(blocks)
    torch.save({"state_dict": saved(theirs, "module."), "best_prec1": 91.7}, tmp_path / "resnet.th")
    ours = network_of(read_checkpoint(tmp_path / "resnet.th"))
    assert sum(name.endswith("_block1") for name in ours.layers) == 3
    assert len(ours.layers) == 3 * blocks + 2 == (depth - 2) // 2 + 2
    x = torch.randn(6, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.1


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parent.parent
    return subprocess.run(
        [sys.executable, "-m", "models.import_checkpoint", *arguments, "--out", "out.pt"],
        cwd=folder, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(root)},
    )  # fmt: skip


def test_command_line_writes_a_checkpoint_and_tells_the_test_error(tmp_path: Path) -> None:
    theirs = published(3)
    torch.save(saved(theirs, ""), tmp_path / "resnet.th")
    records = torch.from_numpy(cifar_archive(tmp_path / "cifar.tar.gz"))[5]
    done = command(tmp_path, "resnet.th", "--cifar10", "cifar.tar.gz")
    assert done.returncode == 0, done.stderr
    pixels = records[:, 1:].reshape(-1, 3, 32, 32) / 255
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        wrong = (theirs((pixels - mean) / std).argmax(1) != records[:, 0]).float().mean()
    assert done.stdout == f"test error {100 * wrong:.2f} %\n"
    end = torch.load(tmp_path / "out.pt", weights_only=True)["end"]
    assert torch.equal(end["layers.stage3_block3.branch.conv2.weight"],
                       theirs.layer3[2].conv2.weight)  # fmt: skip
