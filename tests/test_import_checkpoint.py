"""A published architecture, written out here, is compared with our network with its weights."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import in_process
from test_data import cifar_archive
from torch import nn

from models import import_checkpoint
from models.import_checkpoint import network_of, read_checkpoint


class Basic(nn.Module):
    """Two 3x3 convolutions with option A: every second pixel, and zero channels on both sides."""

    def __init__(self, planes_in: int, planes: int):
        super().__init__()
        self.planes, self.changes = planes, planes_in != planes
        self.conv1 = nn.Conv2d(planes_in, planes, 3, 2 if self.changes else 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.changes:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.planes // 4, self.planes // 4))
        return F.relu(out + x)


class Published(nn.Module):
    """The published network: three stages of `blocks` blocks."""

    def __init__(self, blocks: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*[Basic(16, 16) for _ in range(blocks)])
        self.layer2 = nn.Sequential(Basic(16, 32), *[Basic(32, 32) for _ in range(blocks - 1)])
        self.layer3 = nn.Sequential(Basic(32, 64), *[Basic(64, 64) for _ in range(blocks - 1)])
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.avg_pool2d(x, x.size()[3]).flatten(1))


def published(blocks: int) -> Published:
    """Return a network with random weights, scales, shifts and statistics, in eval mode."""
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
    """Return a state dict as published: names have a prefix, and batches are not counted."""
    named = network.state_dict().items()
    return {prefix + name: x for name, x in named if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("blocks", [3, 9])
def test_logits_and_test_error_equal_those_of_the_published_network(
    blocks: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = published(blocks)
    given, archive, out = (tmp_path / name for name in ("resnet.th", "cifar.tar.gz", "out.pt"))
    x = torch.randn(6, 3, 32, 32)
    for key, prefix in {"state_dict": "module.", "model": "_orig_mod.", "net": "net."}.items():
        torch.save({key: saved(theirs, prefix), "best_prec1": 91.7}, given)
        ours = network_of(read_checkpoint(given))
        assert len(ours.layers) == 3 * blocks + 2
        with torch.no_grad():
            expected = theirs(x)
            torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-4)
        assert expected.std() > 0.1

    torch.save({"model_state_dict": saved(theirs, "model._orig_mod.module.")}, given)
    records = torch.from_numpy(cifar_archive(archive))[5]
    in_process(import_checkpoint, given, "--cifar10", archive, "--out", out)
    pixels = records[:, 1:].reshape(-1, 3, 32, 32) / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    with torch.no_grad():
        wrong = (theirs((pixels - mean) / std).argmax(1) != records[:, 0]).float().mean()
    assert capsys.readouterr().out == f"test error {100 * wrong:.2f} %\n"
    weight = torch.load(out, weights_only=True)["end"]["layers.stage3_block3.branch.conv2.weight"]
    assert torch.equal(weight, theirs.layer3[2].conv2.weight)
