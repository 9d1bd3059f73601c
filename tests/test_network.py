"""The networks against He et al. 2016 and against their own definition."""

import pytest
import torch

from models.initialise import he_normal
from models.network import Block, Network
from models.variant import Variant

PLAIN = Variant(shortcut="none", norm="none")
PLAIN_BN = Variant(shortcut="none", norm="batch")
RESIDUAL = Variant(shortcut="identity", norm="none")
RESIDUAL_BN = Variant(shortcut="identity", norm="batch")
ALL = [PLAIN, PLAIN_BN, RESIDUAL, RESIDUAL_BN]


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("depth", "count"),
    [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)],
)
def test_parameter_counts_of_he_et_al(depth: int, count: int) -> None:
    for variant in (PLAIN_BN, RESIDUAL_BN):
        assert parameters(Network(variant, depth, 16, (3, 32, 32), 10)) == count


@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize(("shape", "final"), [((3, 32, 32), (8, 8)), ((1, 1, 40), (1, 10))])
def test_shapes_and_gradients(
    variant: Variant, shape: tuple[int, int, int], final: tuple[int, int]
) -> None:
    network = Network(variant, 14, 4, shape, 7)
    he_normal(network, 0)
    features: dict[str, torch.Tensor] = {}
    logits = network(torch.randn(5, *shape, generator=torch.Generator().manual_seed(0)), features)
    assert list(features)[:2] == ["stem", "stage1_block1"]
    assert features["stage3_block2"].shape == (5, 16, *final)
    assert logits.shape == (5, 7)
    assert torch.equal(features["head"], logits)
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("depth", [2, 7, 19, 57])
def test_depth_must_be_6n_plus_2(depth: int) -> None:
    with pytest.raises(ValueError, match=f"{depth} is not 6n \\+ 2; the nearest are"):
        Network(PLAIN, depth, 4, (1, 1, 40), 10)


def zero_branch(block: Block) -> Block:
    for parameter in block.branch.parameters():
        torch.nn.init.zeros_(parameter)
    return block


@pytest.mark.parametrize("variant", [RESIDUAL, RESIDUAL_BN])
def test_residual_block_with_zero_branch_is_the_identity_on_non_negative_inputs(
    variant: Variant,
) -> None:
    block = zero_branch(Block(variant, 4, 4, (True, True), halve=False))
    x = torch.rand(2, 4, 6, 6)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("variant", [PLAIN, PLAIN_BN])
def test_plain_block_with_zero_branch_is_zero(variant: Variant) -> None:
    block = zero_branch(Block(variant, 4, 4, (True, True), halve=False))
    assert torch.equal(block(torch.rand(2, 4, 6, 6)), torch.zeros(2, 4, 6, 6))


def test_option_a_subsamples_and_pads_channels_evenly() -> None:
    block = zero_branch(Block(RESIDUAL, 2, 4, (False, True), halve=True))
    x = torch.rand(1, 2, 1, 6)
    out = block(x)
    assert torch.equal(out[:, 1:3], x[..., ::2])
    assert torch.equal(out[:, [0, 3]], torch.zeros(1, 2, 1, 3))


def test_initial_weights_depend_on_seed_and_shape_alone() -> None:
    networks = [Network(variant, 14, 4, (1, 1, 40), 10) for variant in ALL]
    for network in networks:
        he_normal(network, 3)
    first = networks[0].layers["stage2_block1"].branch[3].weight
    for network in networks[1:]:
        assert torch.equal(network.layers["stage2_block1"].branch[3].weight, first)
    he_normal(networks[1], 4)
    assert not torch.equal(networks[1].layers["stage2_block1"].branch[3].weight, first)


def test_he_normal_has_the_stated_variance() -> None:
    network = Network(PLAIN, 8, 64, (3, 8, 8), 10)
    he_normal(network, 0)
    weight = network.layers["stage3_block1"].branch[3].weight  # fan-in 256 * 9
    assert weight.var().item() == pytest.approx(2 / (256 * 9), rel=0.01)
    head = network.layers["head"][2].weight
    assert head.var().item() == pytest.approx(1 / 256, rel=0.1)
