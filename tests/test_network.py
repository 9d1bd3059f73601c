"""The networks against He et al. 2016 and against their own definition."""

import math
from itertools import pairwise

import pytest
import torch

from models.data import Dataset
from models.evaluate import precise_batch_norm
from models.initialise import NOISE, grow, initialise
from models.network import Block, Network, Noise
from models.tailored import TailoredReLU, correlation_map, tailored_slope
from models.train import build
from models.variant import Run, TrainSpec, Variant
from workflow.study import read_variants

PLAIN = Variant(shortcut="none", norm="none")
PLAIN_BN = Variant(shortcut="none")
RESIDUAL = Variant(norm="none")
RESIDUAL_BN = Variant()
ALL = [
    Variant(**{key: entry[key] for key in entry if key not in ("gradient", "times", "start")})
    for entry in read_variants().values()
]


def built(variant: Variant, depth: int = 14, width: int = 4, seed: int = 0) -> Network:
    network = Network(variant, depth, width, (1, 1, 40), 10)
    initialise(network, variant, seed)
    return network


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


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
    initialise(network, variant, 0)
    features: dict[str, torch.Tensor] = {}
    logits = network(images(5, *shape), features)
    assert list(features)[:2] == ["stem", "stage1_block1"]
    channels = 32 if variant.activation == "crelu" else 16
    assert features[f"stage3_block{4 // variant.span}"].shape == (5, channels, *final)
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
    block = zero_branch(Block(variant, 8, 4, 4, (True, True), halve=False))
    x = torch.rand(2, 4, 6, 6)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("variant", [PLAIN, PLAIN_BN])
def test_plain_block_with_zero_branch_is_zero(variant: Variant) -> None:
    block = zero_branch(Block(variant, 8, 4, 4, (True, True), halve=False))
    assert torch.equal(block(torch.rand(2, 4, 6, 6)), torch.zeros(2, 4, 6, 6))


def test_option_a_subsamples_and_pads_channels_evenly() -> None:
    block = zero_branch(Block(RESIDUAL, 8, 2, 4, (False, True), halve=True))
    x = torch.rand(1, 2, 1, 6)
    out = block(x)
    assert torch.equal(out[:, 1:3], x[..., ::2])
    assert torch.equal(out[:, [0, 3]], torch.zeros(1, 2, 1, 3))


def kernels(network: Network) -> list[torch.Tensor]:
    return [parameter for parameter in network.parameters() if parameter.ndim > 1]


def test_initial_weights_depend_on_seed_and_shape_alone() -> None:
    he = [
        kernels(built(variant, seed=3))
        for variant in ALL
        if variant.init == "he" and variant.activation == "relu" and variant.branch_scale != "fixup"
    ]
    assert len(he) > 10
    for other in he[1:]:
        assert all(map(torch.equal, he[0], other))
    assert not any(map(torch.equal, he[0], kernels(built(PLAIN, seed=4))))


def test_he_normal_has_the_stated_variance() -> None:
    network = Network(PLAIN, 8, 64, (3, 8, 8), 10)
    initialise(network, PLAIN, 0)
    weight = network.layers["stage3_block1"].branch.conv2.weight  # fan-in 256 * 9
    assert weight.var().item() == pytest.approx(2 / (256 * 9), rel=0.01)
    head = network.layers["head"][-1].weight
    assert head.var().item() == pytest.approx(1 / 256, rel=0.1)


def features_of(network: Network, x: torch.Tensor) -> dict[str, torch.Tensor]:
    features: dict[str, torch.Tensor] = {}
    network(x, features)
    return features


def stage_is_identity(features: dict[str, torch.Tensor], stage: int, **tolerance: float) -> None:
    """All blocks of a stage but a first one that changes shape give what the stage is given."""
    blocks = [value for name, value in features.items() if name.startswith(f"stage{stage}")]
    if stage == 1:
        blocks.insert(0, features["stem"])
    for block in blocks[1:]:
        torch.testing.assert_close(block, blocks[0], **tolerance)
    assert blocks[0].std() > 0.1


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_plain_dirac_network_passes_on_what_its_stem_outputs(stage: int) -> None:
    variant = Variant(shortcut="none", norm="none", init="dirac")
    network = built(variant, depth=20)
    stage_is_identity(features_of(network, images(6, 1, 1, 40)), stage, rtol=0, atol=0)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_so_does_one_with_batch_norm_that_undoes_itself(stage: int) -> None:
    variant = Variant(shortcut="none", init="dirac")
    x = images(64, 1, 1, 40)
    # Half of the set is looked at; in eval mode that is enough for all of it.
    spec = TrainSpec(1, 8, 0.1, "cosine", 0, 0.9, 0.0, "raw", 1.0, "none", "float32", 9, 32)
    run = Run("signals", "plain_bn_dirac", variant, 20, 4, 0, spec, ())
    network = build(run, Dataset(x, torch.zeros(64).long(), x, torch.zeros(64).long(), 10)).eval()
    stage_is_identity(features_of(network, x), stage, rtol=1e-4, atol=1e-4)
    # The first block of a stage changes shape, then its second half is the identity too.
    features = features_of(network, x)
    before = "stem" if stage == 1 else f"stage{stage - 1}_block3"
    branch = network.layers[f"stage{stage}_block1"].branch
    half = branch.act1(branch.norm1(branch.conv1(features[before]))).clone()
    torch.testing.assert_close(branch.norm2(branch.conv2(half)), half, rtol=1e-4, atol=1e-4)
    # In train mode nearly so: the statistics are then those of the batch.
    stage_is_identity(features_of(network.train(), x), stage, rtol=0.2, atol=0.2)


def test_dirac_noise_has_the_stated_size() -> None:
    noisy = Variant(shortcut="none", norm="none", init="dirac_noise")
    exact = Variant(shortcut="none", norm="none", init="dirac")
    name = "stage3_block2"
    weight = built(noisy, width=32).layers[name].branch.conv1.weight
    noise = weight - built(exact, width=32).layers[name].branch.conv1.weight
    assert noise.std().item() == pytest.approx(NOISE * math.sqrt(2 / (128 * 3)), rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=1e-4)


def test_a_network_grown_from_a_trained_one_computes_the_same() -> None:
    """The seed network has BatchNorm statistics, scales and shifts of its own."""
    small, large = built(PLAIN_BN, depth=8), built(PLAIN_BN, depth=26, seed=1)
    x = images(50, 1, 1, 40)
    for module in small.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    precise_batch_norm(small, x, 50)
    grow(large, small.state_dict(), x)
    torch.testing.assert_close(large.eval()(x), small.eval()(x), rtol=1e-4, atol=1e-4)
    assert parameters(large) > 3 * parameters(small)
    # On images it has not seen the inserted layers are the identity too: features stay positive.
    y = torch.randn(9, 1, 1, 40, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(large(y), small(y), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shortcut", "preserves"),
    [("orthogonal", True), ("permutation", True), ("gaussian", False), ("scaled", False)],
)
def test_orthogonal_shortcuts_preserve_norms(shortcut: str, preserves: bool) -> None:
    network = built(Variant(shortcut=shortcut), width=16)
    x = images(5, 16, 1, 40)
    h = network.layers["stage1_block1"].shortcut(x)
    error = (h.norm(dim=1) / x.norm(dim=1) - 1).abs().max().item()
    assert (error < 1e-5) == preserves
    # Where it changes shape it keeps the norm of the positions that it keeps.
    wide = network.layers["stage2_block1"].shortcut(x)
    error = (wide.norm(dim=1) / x[..., ::2].norm(dim=1) - 1).abs().max().item()
    assert (error < 1e-5) == preserves
    assert not network.layers["stage1_block1"].shortcut.matrix.requires_grad


def test_fixed_shortcuts_are_what_they_are_called() -> None:
    def matrices(shortcut: str) -> list[torch.Tensor]:
        network = built(Variant(shortcut=shortcut), width=64)
        return [m.matrix for m in network.modules() if hasattr(m, "matrix")]

    for matrix in matrices("permutation"):
        assert torch.equal(matrix.abs().sum(0), torch.ones(len(matrix)))
        assert torch.equal(matrix.abs().sum(1), torch.ones(len(matrix)))
        assert set(matrix.unique().tolist()) == {-1, 0, 1}
    for matrix in matrices("gaussian"):
        assert matrix.var().item() == pytest.approx(1 / len(matrix), rel=0.1)
    for matrix in matrices("scaled"):
        assert torch.equal(matrix, torch.eye(len(matrix)) / 2)
    first, second, *_ = matrices("orthogonal")
    assert not torch.equal(first, second)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_looks_linear_networks_are_linear_at_initialisation(norm: str) -> None:
    network = built(
        Variant(shortcut="none", norm=norm, activation="crelu", init="looks_linear"), depth=20
    ).eval()  # BatchNorm's running statistics start at mean zero, variance one
    x, y = images(2, 8, 1, 1, 40).double()
    network.double()
    torch.testing.assert_close(network(2 * x - 3 * y), 2 * network(x) - 3 * network(y))
    control = built(Variant(shortcut="none", norm=norm, activation="crelu"), depth=20).double()
    control.eval()
    linear = 2 * control(x) - 3 * control(y)
    assert (control(2 * x - 3 * y) - linear).abs().max() > 0.1 * linear.abs().max()
    assert parameters(control) == parameters(network)


@pytest.mark.parametrize("scale", ["skipinit", "fixup"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_small_branches_leave_the_path_of_shortcuts(scale: str, norm: str) -> None:
    """SkipInit, ReZero and Fixup: at initialisation a block is its shortcut, rectified."""
    network = built(Variant(norm=norm, branch_scale=scale), depth=20)
    features = features_of(network.eval(), images(5, 1, 1, 40))
    names = list(features)[1:-1]
    for before, name in pairwise(["stem", *names]):
        expected = network.layers[name].shortcut(features[before])
        assert torch.equal(features[name], expected), name


def test_fixup_scales_match_its_formula() -> None:
    """Section 3: the first convolution of a branch of two is L^(-1/2) times He et al.'s."""
    network, usual = built(Variant(norm="none", branch_scale="fixup"), 20), built(RESIDUAL, 20)
    for i in (1, 2, 3):
        ours = network.layers[f"stage2_block{i}"].branch
        theirs = usual.layers[f"stage2_block{i}"].branch
        torch.testing.assert_close(ours.conv1.weight, theirs.conv1.weight * 9**-0.5)
        assert not ours.conv2.weight.any()
        assert ours.scale.factor.item() == 1
        assert [name for name, _ in ours.named_children()] == [
            "shift1", "conv1", "bias1", "act1", "shift2", "conv2", "scale"
        ]  # fmt: skip
    assert not network.layers["head"][-1].weight.any()


def test_noise_has_the_stated_moments() -> None:
    """Over many steps: x' = s x + m with m of mean 0, variance n^2/3 + r^2/3, and s of mean
    (1 + n_s)/2, variance (n_s - 1)^2/12 + r^2; the step's part is shared by all examples."""
    torch.manual_seed(0)
    noise = Noise()
    zeros, ones = torch.zeros(40, 50, 1, 2), torch.ones(40, 50, 1, 2)
    shifts = torch.stack([noise(zeros) for _ in range(100)])  # step, example, channel, 1, 2
    assert shifts.mean().item() == pytest.approx(0, abs=0.02)
    assert shifts.var().item() == pytest.approx((0.5**2 + 0.1**2) / 3, rel=0.05)
    assert shifts.mean(1).var().item() == pytest.approx(0.5**2 / 3, rel=0.05)
    assert shifts.var(1).mean().item() == pytest.approx(0.1**2 / 3, rel=0.05)
    assert torch.equal(shifts[..., 0], shifts[..., 1])
    both = torch.stack([noise(1000 * ones) for _ in range(100)]) / 1000
    assert both.mean().item() == pytest.approx(1.125, abs=0.01)
    assert both.var().item() == pytest.approx(0.25**2 / 12 + 0.1**2, rel=0.05)
    assert torch.equal(noise.eval()(ones), ones)


def test_delta_orthogonal_keeps_what_its_activation_needs() -> None:
    for activation, gain in (("tanh", 1), ("relu", 2), ("tailored_relu", 1)):
        variant = Variant(
            shortcut="none", norm="none", activation=activation, init="delta_orthogonal"
        )
        branch = built(variant, 20, 8).layers["stage2_block2"].branch
        weight = branch.conv1.weight
        assert not weight[..., 0].any()
        assert not weight[..., 2].any()
        torch.testing.assert_close(
            weight[..., 0, 1] @ weight[..., 0, 1].T, gain * torch.eye(16), rtol=1e-5, atol=1e-5
        )
        # Where it strides the whole kernel is orthogonal.
        wide = built(variant, 20, 8).layers["stage2_block1"].branch.conv1.weight.flatten(1)
        torch.testing.assert_close(wide @ wide.T, gain * torch.eye(16), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "variant", [variant for variant in ALL if "orth" in variant.init or "look" in variant.init]
)
def test_orthogonal_networks_see_every_position(variant: Variant) -> None:
    x = images(64, 1, 1, 40).requires_grad_()
    built(variant, depth=20).eval()(x).square().sum().backward()
    assert (x.grad.abs().sum(0) > 0).all()


# Bisected once, apart from this code, with the map as the authors' code has it.
@pytest.mark.parametrize(("layers", "slope"), [(19, 0.16444), (55, 0.45186), (109, 0.58555)])
def test_tailored_slopes(layers: int, slope: float) -> None:
    assert tailored_slope(layers) == pytest.approx(slope, abs=1e-5)


def test_correlation_map_is_that_of_a_wide_random_layer() -> None:
    """Monte Carlo: the mean product of two activations of correlated standard normals."""
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, 1_000_000, generator=generator)
    for cosine, slope in ((0.0, 0.3), (0.6, 0.0), (-0.5, 0.7)):
        w = cosine * u + math.sqrt(1 - cosine**2) * v
        a, b = (torch.nn.functional.leaky_relu(z, slope) for z in (u, w))
        product = (a * b).mean().item() * 2 / (1 + slope**2)
        assert product == pytest.approx(correlation_map(cosine, slope), abs=0.01)


def test_tailored_relu_keeps_the_second_moment() -> None:
    x = images(1_000_000)
    assert TailoredReLU(55)(x).square().mean().item() == pytest.approx(1, rel=0.01)
    assert TailoredReLU(2).slope == 0  # two layers reach no correlation that high


def test_parameter_counts_are_equal_where_a_comparison_needs_it() -> None:
    def count(**factors: object) -> int:
        return parameters(built(Variant(**factors), 20, 8))

    plain, plain_bn = count(shortcut="none", norm="none"), count(shortcut="none")
    for init in ("dirac", "dirac_noise", "delta_orthogonal"):
        assert count(shortcut="none", norm="none", init=init) == plain
    for activation in ("tanh", "tailored_relu"):
        assert count(shortcut="none", norm="none", activation=activation) == plain
    for shortcut in ("identity", "orthogonal", "permutation", "gaussian", "scaled"):
        assert count(shortcut=shortcut) == plain_bn
    for other in ({"span": 1}, {"norm": "noisy_batch"}, {"norm_position": "after"}):
        assert count(**other) == plain_bn
    # One norm moves from behind the last convolution to before the first: no count changes.
    assert count(block="pre_activation") == plain_bn
    blocks = 9
    assert count(norm="none", branch_scale="skipinit") == plain + blocks
    assert count(branch_scale="skipinit") == plain_bn + blocks


def test_pre_activation_carries_its_input_through() -> None:
    """He et al. 2016 (ECCV), equation 4: features are the stem's plus every branch's output."""
    variant = Variant(block="pre_activation")
    network = built(variant, 8).eval()
    x = images(4, 1, 1, 40)
    features = features_of(network, x)
    stem = features["stem"]
    assert (stem < 0).any()
    block = network.layers["stage1_block1"]
    assert torch.equal(features["stage1_block1"], stem + block.branch(stem))
    kinds = [name for name, _ in block.branch.named_children()]
    assert kinds == ["norm1", "act1", "conv1", "norm2", "act2", "conv2"]
    # Its input is read twice, so nothing may be done in place.
    torch.testing.assert_close(network.layers["stem"](x), stem, rtol=0, atol=0)


def test_norm_after_the_activation() -> None:
    block = built(Variant(shortcut="none", norm_position="after"), 8).layers["stage1_block1"]
    kinds = [*dict(block.branch.named_children()), *dict(block.after.named_children())]
    assert kinds == ["conv1", "act1", "norm1", "conv2", "act", "norm"]
    out = block(images(64, 4, 1, 40))
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-5)


def test_no_affine_has_no_scale_and_shift() -> None:
    network = built(Variant(shortcut="none", norm="batch_no_affine"))
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.weight is None and norm.bias is None for norm in norms)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"activation": "crelu"}, "crelu doubles the channels"),
        ({"shortcut": "none", "init": "looks_linear"}, "activation must be crelu"),
        (
            {"shortcut": "none", "init": "dirac", "norm": "noisy_batch"},
            "makes an identity only of plain blocks",
        ),
    ],
)
def test_factors_that_do_not_go_together_are_refused(factors: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Variant(**factors)
