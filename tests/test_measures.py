"""Each measure against a known answer and against a slow twin by plain autograd."""

import copy
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.join import join
from analysis.measure import measure, take
from analysis.measures import (
    activity,
    forward_propagation,
    gradient_correlation,
    gradient_flow,
    hessian,
    ics,
    isometry,
    landscape,
    lesion,
    ntk,
    path_gradient,
    smoothness,
)
from analysis.run import Finished, Subject, blocks, evenly, per_example, read, weighted
from models.data import Dataset
from models.initialise import initialise
from models.network import Network, Scale
from models.resume import Resume
from models.train import batches, lr_factor, perform
from models.variant import Run, TrainSpec, Variant

PLAIN = Variant(shortcut="none", norm="none")
PLAIN_BN = Variant(shortcut="none")
RESIDUAL = Variant(norm="none")
RESIDUAL_BN = Variant()
SPEC = TrainSpec(
    epochs=2, batch_size=16, lr=0.1, schedule="cosine", warmup_steps=2, momentum=0.9,
    weight_decay=1e-2, gradient="raw", gradient_clip=1.0, augmentation="none",
    precision="float32", record_every=4, evaluation_batch_size=64,
)  # fmt: skip
SETTINGS = {
    "activity": {},
    "forward_propagation": {},
    "gradient_correlation": {"points": 40, "pairs_of": 6},
    "gradient_flow": {},
    "hessian": {"vectors": 2, "steps": 4, "probes": 2},
    "ics": {"layers": 3},
    "identity_distance": {},
    "isometry": {"outputs": 40},
    "landscape": {"line": 3, "plane": 3, "plane_at": ["init"], "path": 3},
    "lesion": {"several": [2], "draws": 2},
    "ntk": {},
    "path_gradient": {"lengths": 3, "draws": 2},
    "smoothness": {"etas": [0.1, 1.0]},
}


def images(n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 1, 20, generator=generator)


def make_data() -> Dataset:
    targets = torch.arange(64) % 4
    return Dataset(images(64), targets, images(16, 1), targets[:16], 4)


def make_run(variant: Variant, depth: int = 8, width: int = 4, seed: int = 0) -> Run:
    kept = ("init", "step1", "step2", "step3", "end")
    return Run("made", "it", variant, depth, width, seed, SPEC, kept)


def make_subject(variant: Variant, depth: int = 8, width: int = 4, examples: int = 16) -> Subject:
    """A network at its start, in eval mode, with its first batch."""
    data, run = make_data(), make_run(variant, depth, width)
    network = Network(variant, depth, width, (1, 1, 20), 4)
    initialise(network, variant, 0)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    return Finished(run, data, {"init": state}).subject("init", None).sample(examples)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Finished]:
    """Two seeds of a residual network with BatchNorm, really trained."""
    data, runs = make_data(), []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("run")
        resume = Resume(folder / "resume.pt", "it", math.inf)
        perform(make_run(RESIDUAL_BN, seed=seed), data, folder, None, resume, 1)
        runs.append(read(folder, data))
    return runs


def linear_map(matrix: Tensor) -> nn.Conv2d:
    """A matrix over the channels of images of one pixel."""
    layer = nn.Conv2d(matrix.shape[1], matrix.shape[0], 1, bias=False)
    layer.weight.data = matrix[:, :, None, None].clone()
    return layer


def loss_of(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(network(x), y)


# The subject -------------------------------------------------------------------------------------


def test_evenly_spaced_images_come_from_all_of_the_set() -> None:
    assert evenly(torch.arange(10), 4).tolist() == [0, 2, 5, 7]
    assert evenly(torch.arange(3), 9).tolist() == [0, 1, 2]


def test_statistics_of_batch_norm_at_the_start_are_those_of_the_training_set(
    trained: list[Finished],
) -> None:
    network = trained[0].network("init")
    convolution, norm = network.layers["stem"].conv, network.layers["stem"].norm
    with torch.no_grad():
        seen = convolution(trained[0].data.train_inputs)
    assert torch.allclose(norm.running_mean, seen.mean((0, 2, 3)), atol=1e-5)
    assert not network.training


def test_the_batch_and_the_weights_after_it_are_those_of_the_step(trained: list[Finished]) -> None:
    """One step of gradient descent by hand, from the first weights, on the subject's batch."""
    run = trained[0].run
    subject = trained[0].subject("init")
    network = subject.network.train()
    x, y = subject.batch
    gradients = torch.autograd.grad(loss_of(network, x, y), list(network.parameters()))
    lr = run.train.lr * lr_factor(0, 8, run.train)
    for (name, weight), g in zip(network.named_parameters(), gradients, strict=True):
        by_hand = weight - lr * (g + run.train.weight_decay * weight)
        assert torch.allclose(by_hand, subject.after[name], atol=1e-6), name


def test_a_later_batch_is_the_one_that_training_takes_next(trained: list[Finished]) -> None:
    data = trained[0].data
    third = list(batches(trained[0].run, len(data.train_targets), torch.device("cpu")))[2]
    x, y = trained[0].subject("step2").batch
    assert torch.equal(x, data.train_inputs[third])
    assert torch.equal(y, data.train_targets[third])
    assert trained[0].subject("end").batch is None


def test_gradients_of_examples_are_those_of_each_alone() -> None:
    subject = make_subject(RESIDUAL_BN, examples=5)
    network = subject.network
    together = per_example(network, subject.inputs, subject.targets, F.cross_entropy)
    for i in range(5):
        loss = loss_of(network, subject.inputs[i : i + 1], subject.targets[i : i + 1])
        alone = torch.autograd.grad(loss, list(network.parameters()))
        assert torch.allclose(together[i], torch.cat([g.flatten() for g in alone]), atol=1e-5)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("variant", [RESIDUAL_BN, Variant(norm="noisy_batch")])
def test_a_measurement_leaves_everything_as_it_was(name: str, variant: Variant) -> None:
    subject = make_subject(variant)
    network = subject.network
    other = {key: value + 0.1 for key, value in network.state_dict().items()}
    subject = replace(subject, after=other, other=other)
    network.layers["head"].train()  # a mode that is not the same everywhere
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    shape = repr(network)
    random = torch.get_rng_state()
    rows, scalars = take(name, subject, SETTINGS[name])
    assert rows
    assert scalars
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert modes == [module.training for module in network.modules()]
    assert repr(network) == shape
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize("name", ["gradient_flow", "hessian"])
def test_noise_in_the_network_is_that_of_its_seed(name: str) -> None:
    """PyTorch begins each process with other random numbers."""
    subject = make_subject(Variant(norm="noisy_batch"))
    found = []
    for process in (1, 2):
        torch.manual_seed(process)
        found.append(take(name, subject, SETTINGS[name]))
    assert found[0] == found[1]
    other = replace(subject, run=replace(subject.run, seed=7))
    assert take(name, other, SETTINGS[name]) != found[0]


def test_tables_say_which_network_a_row_is_about(trained: list[Finished]) -> None:
    settings = {
        "ntk": {"at": ["init", "end"], "examples": 4},
        "landscape": {"at": ["end"], "examples": 8, **SETTINGS["landscape"]},
    }
    tables = measure(trained, settings)
    who = {(row["seed"], row["checkpoint"]) for row in tables["ntk"]}
    assert who == {(0, "init"), (0, "end"), (1, "init"), (1, "end")}
    assert {row["quantity"] for row in tables["quantities"]} == {
        "ntk.log_condition", "ntk.log_trace", "landscape.nonconvexity", "landscape.log_rise",
    }  # fmt: skip
    # The plane is drawn at the start only, if it is asked for there; the way between seeds is not.
    assert {row["kind"] for row in tables["landscape"]} == {"line", "path"}


def test_tables_are_joined_under_one_header(tmp_path: Path) -> None:
    parts = [tmp_path / name for name in "abc"]
    for part, text in zip(parts, ("x,y\n1,2\n", "", "x,y\n3,4\n"), strict=True):
        part.write_text(text)
    assert join(parts) == "x,y\n1,2\n3,4\n"
    parts[1].write_text("x,z\n5,6\n")
    with pytest.raises(ValueError, match="columns differ"):
        join(parts)


# gradient_flow -----------------------------------------------------------------------------------


def test_gradient_flow_is_the_gradient_of_a_backward_pass_in_train_mode() -> None:
    subject = make_subject(PLAIN_BN)
    rows = take("gradient_flow", subject, {})[0]
    network = subject.network.train()
    loss_of(network, subject.inputs, subject.targets).backward()
    layers = list(weighted(network).values())
    assert len(rows) == len(layers) == 8
    for row, layer in zip(rows, layers, strict=True):
        norm = layer.weight.grad.norm()
        assert row["gradient_norm"] == pytest.approx(norm.item(), rel=1e-4)
        relative = (norm / layer.weight.norm()).item()
        assert row["relative_gradient"] == pytest.approx(relative, rel=1e-4)


def test_rate_is_the_factor_of_a_layer() -> None:
    rows = [{"layer": i, "relative_gradient": 8 * 0.5**i} for i in range(1, 9)]
    found = gradient_flow.scalars(rows)
    assert found["rate"] == pytest.approx(2)
    assert found["log_first"] == pytest.approx(math.log10(2))  # of layer two
    assert found["log_first_to_last"] == pytest.approx(5 * math.log10(2))


def test_gradients_of_a_wide_plain_network_with_batch_norm_explode_as_theory_says() -> None:
    """Yang et al. 2019: pi / (pi - 1) = 1.467 a layer for the square of the norm."""
    subject = make_subject(PLAIN_BN, depth=32, width=48, examples=64)
    rows = take("gradient_flow", subject, {})[0]
    first, last = rows[2], rows[9]  # of the first stage, where shapes are the same
    assert first["name"].startswith("layers.stage1")
    assert last["name"].startswith("layers.stage1")
    rate = (first["gradient_norm"] / last["gradient_norm"]) ** (2 / 7)
    assert rate == pytest.approx(math.pi / (math.pi - 1), rel=0.1)


# gradient_correlation ----------------------------------------------------------------------------


def test_autocorrelation_of_noise_is_zero_and_of_a_smooth_function_one() -> None:
    noise = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    found = gradient_correlation.autocorrelation(noise)
    assert found[0] == pytest.approx(1)
    assert found[1:100].abs().max() < 0.08
    smooth = gradient_correlation.autocorrelation(torch.sin(torch.linspace(0, 6.28, 4000)))
    assert smooth[1:40].min() > 0.99


def test_autocorrelation_is_its_double_sum() -> None:
    g = torch.tensor([1.0, 4.0, -2.0, 0.5, 3.0])
    mean = g.mean()
    variance = ((g - mean) ** 2).mean()
    found = gradient_correlation.autocorrelation(g)
    for k in range(5):
        total = sum((g[i] - mean) * (g[i + k] - mean) for i in range(5 - k))
        assert found[k] == pytest.approx((total / ((5 - k) * variance)).item(), rel=1e-5)


def test_mean_pairwise_cosine_is_that_of_all_pairs() -> None:
    vectors = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    pairs = [F.cosine_similarity(vectors[i], vectors[j], 0) for i, j in combinations(range(6), 2)]
    found = gradient_correlation.mean_pairwise_cosine(vectors)
    assert found == pytest.approx((sum(pairs) / len(pairs)).item(), abs=1e-6)


def test_gradients_of_a_linear_network_agree_everywhere() -> None:
    subject = make_subject(RESIDUAL)
    for block in blocks(subject.network).values():
        block.branch.act1, block.after.act = nn.Identity(), nn.Identity()
    subject.network.layers["stem"].act = nn.Identity()
    rows = take("gradient_correlation", subject, SETTINGS["gradient_correlation"])[0]
    near = [row["correlation"] for row in rows if row["kind"] == "neighbour"]
    assert near == pytest.approx([1, 1, 1, 1], abs=1e-5)


def test_correlations_are_those_of_gradients_taken_one_by_one() -> None:
    """On the line by the derivative in t alone; at noisy copies by the gradient at each."""
    subject = make_subject(PLAIN_BN, examples=6)
    rows, found = take("gradient_correlation", subject, {"points": 41, "pairs_of": 4})
    generator = subject.generator()
    u = torch.randn(1, 1, 20, generator=generator)
    head = subject.network.layers["head"][-1]
    readout = torch.randn(head.in_features, generator=generator)
    noise = torch.randn(6, 1, 1, 20, generator=generator)
    seen: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    def slope(x: Tensor, where: Tensor) -> Tensor:
        subject.network(x)
        return torch.autograd.grad(seen.pop() @ readout, where)[0]

    slopes = []
    for i in range(41):
        t = torch.tensor(-2 + 4 * i / 40, requires_grad=True)
        slopes.append(slope((subject.inputs[0] + t * u)[None], t).item())
    mean = sum(slopes) / 41
    variance = sum((g - mean) ** 2 for g in slopes) / 41
    lag_one = sum((slopes[i] - mean) * (slopes[i + 1] - mean) for i in range(40)) / 40 / variance
    assert found["grid"] == pytest.approx(lag_one, rel=1e-3)

    near = {row["coordinate"]: row["correlation"] for row in rows if row["kind"] == "neighbour"}
    for distance, correlation in near.items():
        cosines = []
        for x, n in zip(subject.inputs, noise, strict=True):
            there = x + distance * n * x.norm() / n.norm()
            here, there = x[None].clone().requires_grad_(), there[None].requires_grad_()
            pair = [slope(each, each).flatten() for each in (here, there)]
            cosines.append(F.cosine_similarity(*pair, dim=0).item())
        assert correlation == pytest.approx(sum(cosines) / 6, abs=1e-4)
    assert found["neighbour"] == near[0.01]
    handle.remove()


def test_input_gradient_along_the_line_is_a_difference_quotient() -> None:
    subject = make_subject(RESIDUAL_BN)
    features = gradient_correlation.body(subject.network.double())

    def f(x: Tensor) -> Tensor:
        return features(x).sum(1)

    x, step = subject.inputs[:1].double(), 1e-6
    direction = torch.randn(x.shape, generator=subject.generator()).double()
    slope = (gradient_correlation.input_gradient(f, x) * direction).sum()
    with torch.no_grad():
        quotient = (f(x + step * direction) - f(x - step * direction)) / (2 * step)
    assert slope.item() == pytest.approx(quotient.item(), rel=1e-5)


# ntk ---------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """A linear classifier in the shape of a network."""

    def __init__(self, inputs: int, classes: int):
        super().__init__()
        self.layers = nn.ModuleDict({"head": nn.Sequential(nn.Flatten())})
        self.layers["head"].append(nn.Linear(inputs, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers["head"](x)


def test_kernel_of_a_linear_model_is_the_inner_product_plus_one() -> None:
    x = images(6)
    flat = x.flatten(1)
    expected = (flat @ flat.T + 1).double()  # one for the bias
    assert torch.allclose(ntk.tangent_kernel(Linear(20, 3), x), expected, atol=1e-5)


def lone_logits(network: nn.Module, image: Tensor) -> list[Tensor]:
    """Each logit of an image, with a graph of its own."""
    return [network(image[None])[0, c] for c in range(4)]


def test_kernel_is_that_of_the_jacobian() -> None:
    subject = make_subject(RESIDUAL_BN, examples=4)
    network = subject.network
    jacobian = [
        torch.cat([g.flatten() for g in torch.autograd.grad(logit, list(network.parameters()))])
        for image in subject.inputs
        for logit in lone_logits(network, image)
    ]
    whole = torch.stack(jacobian).view(4, 4, -1)
    expected = torch.einsum("icp,jcp->ij", whole, whole) / 4
    kernel = ntk.tangent_kernel(network, subject.inputs)
    assert torch.allclose(kernel.float(), expected, rtol=1e-3)
    rows, found = take("ntk", subject, {})
    values = torch.linalg.eigvalsh(expected.double())
    assert [row["eigenvalue"] for row in rows] == pytest.approx(values.flip(0).tolist(), rel=1e-3)
    assert 10 ** found["log_trace"] == pytest.approx(expected.trace().item() / 4, rel=1e-3)
    condition = (values[-1] / values[0]).item()
    assert 10 ** found["log_condition"] == pytest.approx(condition, rel=1e-2)


# forward_propagation -----------------------------------------------------------------------------


def test_cosines_are_those_of_all_pairs() -> None:
    h = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    pairs = [F.cosine_similarity(h[i], h[j], 0).item() for i, j in combinations(range(7), 2)]
    mean, std = forward_propagation.pairwise_cosines(h)
    assert mean == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    spread = math.sqrt(sum((c - mean) ** 2 for c in pairs) / len(pairs))
    assert std == pytest.approx(spread, abs=1e-6)


def test_effective_rank_of_equal_directions_is_their_number() -> None:
    orthogonal = torch.linalg.qr(torch.randn(8, 5, generator=torch.Generator().manual_seed(0)))[0]
    assert forward_propagation.effective_rank(3 * orthogonal) == pytest.approx(5, abs=1e-4)
    assert forward_propagation.effective_rank(torch.ones(8, 5)) == pytest.approx(1, abs=1e-4)
    # Singular values 2 and 1: p = 4/5, 1/5.
    entropy = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    rank = forward_propagation.effective_rank(torch.diag(torch.tensor([2.0, 1.0])))
    assert rank == pytest.approx(math.exp(entropy), abs=1e-5)


def test_variance_ratio_is_that_of_branch_and_shortcut() -> None:
    subject = make_subject(RESIDUAL_BN)
    rows, found = take("forward_propagation", subject, {})
    network = subject.network
    ratios = [row["variance_ratio"] for row in rows[1:]]
    mean_ratio = sum(ratios) / len(ratios)
    assert found["branch_share"] == pytest.approx(mean_ratio / (1 + mean_ratio))
    with torch.no_grad():
        h = network.layers["stem"](subject.inputs)
        for row, block in zip(rows[1:], blocks(network).values(), strict=True):
            ratio = block.branch(h).var() / block.shortcut(h).var()
            assert row["variance_ratio"] == pytest.approx(ratio.item(), rel=1e-4)
            h = block(h)
    mean, _ = forward_propagation.pairwise_cosines(h.flatten(1))
    assert rows[-1]["cosine_mean"] == pytest.approx(mean, abs=1e-5)
    plain = take("forward_propagation", make_subject(PLAIN_BN), {})
    assert all(row["variance_ratio"] is None for row in plain[0])
    assert plain[1]["branch_share"] == 1


def test_branches_of_skipinit_have_no_variance() -> None:
    closed = make_subject(Variant(norm="none", branch_scale="skipinit"))
    assert take("forward_propagation", closed, {})[1]["branch_share"] == 0


# identity_distance -------------------------------------------------------------------------------


def test_identity_blocks_are_at_no_distance() -> None:
    subject = make_subject(Variant(shortcut="none", norm="none", init="dirac"), depth=14)
    rows = take("identity_distance", subject, {})[0]
    same = [row["identity_distance"] for row in rows if row["name"][-1] == "2"]
    assert same == [0, 0, 0]
    assert all(row["identity_distance"] > 0.1 for row in rows if row["name"] == "stage2_block1")


def test_distance_is_that_of_output_and_input() -> None:
    subject = make_subject(RESIDUAL_BN, depth=14)
    rows = take("identity_distance", subject, {})[0]
    network = subject.network
    with torch.no_grad():
        first = network.layers["stem"](subject.inputs)
        second = network.layers["stage1_block1"](first)
        third = network.layers["stage1_block2"](second)
        branch = network.layers["stage1_block2"].branch(second)
    distance = ((third - second).norm() / second.norm()).item()
    assert rows[1]["identity_distance"] == pytest.approx(distance, rel=1e-5)
    assert rows[1]["residual_ratio"] == pytest.approx((branch.norm() / second.norm()).item())
    closed = make_subject(Variant(norm="none", branch_scale="skipinit"))
    assert all(row["residual_ratio"] == 0 for row in take("identity_distance", closed, {})[0])


def test_refinement_is_the_cosine_with_the_way_down() -> None:
    subject = make_subject(RESIDUAL_BN, depth=14)
    rows, scalars = take("identity_distance", subject, {})
    layers = list(subject.network.eval().layers.values())
    at = list(subject.network.layers).index("stage2_block2")
    cosines = []
    for x, y in zip(subject.inputs, subject.targets, strict=True):  # one image at a time
        h = torch.nn.Sequential(*layers[:at])(x[None]).detach().requires_grad_()
        torch.nn.functional.cross_entropy(torch.nn.Sequential(*layers[at:])(h), y[None]).backward()
        branch = layers[at].branch(h).flatten()
        cosines.append((-(branch @ h.grad.flatten()) / (branch.norm() * h.grad.norm())).item())
    here = [row["refinement"] for row in rows if row["name"] == "stage2_block2"]
    assert here == [pytest.approx(sum(cosines) / len(cosines), rel=1e-4)]
    assert [row["refinement"] is None for row in rows] == [False, False, True, False, True, False]
    kept = [row["refinement"] for row in rows if row["refinement"] is not None]
    assert scalars["refinement"] == pytest.approx(sum(kept) / 4)
    crelu = make_subject(Variant(shortcut="none", activation="crelu"))  # branches twice as wide
    assert math.isnan(take("identity_distance", crelu, {})[1]["refinement"])


# isometry ----------------------------------------------------------------------------------------


def isometry_of(matrices: list[Tensor]) -> dict[str, float]:
    """Scalars of a chain of linear maps of one-pixel images, the first of them the stem."""
    network = nn.Module()
    layers = {f"l{i}": linear_map(matrix) for i, matrix in enumerate(matrices)}
    network.layers = nn.ModuleDict({"stem": nn.Identity(), **layers, "head": nn.Identity()})
    inputs = torch.randn(2, matrices[0].shape[1], 1, 1)
    subject = replace(make_subject(PLAIN), network=network, inputs=inputs)
    return isometry.scalars(list(isometry.measure(subject, outputs=99)))


def test_an_orthogonal_map_is_an_isometry() -> None:
    q = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))[0]
    found = isometry_of([q, q.T, q])
    assert found["log_condition"] == pytest.approx(0, abs=1e-5)
    assert found["dispersion"] == pytest.approx(0, abs=1e-5)
    assert found["log_mean_square"] == pytest.approx(0, abs=1e-5)
    assert found["nonzero"] == 1


def test_singular_values_of_a_product_are_known() -> None:
    found = isometry_of([torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.0])), 2 * torch.eye(4)])
    squares = torch.tensor([64.0, 16.0, 4.0, 0.0])
    assert found["log_condition"] == pytest.approx(math.log10(8 / 2), abs=1e-5)
    assert found["nonzero"] == 0.75
    assert found["log_mean_square"] == pytest.approx(math.log10(squares.mean()), abs=1e-5)
    dispersion = squares.var(correction=0) / squares.mean() ** 2
    assert found["dispersion"] == pytest.approx(dispersion.item(), rel=1e-5)


def test_jacobian_is_that_of_autograd_and_a_slice_of_it() -> None:
    subject = make_subject(RESIDUAL_BN)
    network = copy.deepcopy(subject.network).double()
    stem, *body, _ = network.layers.values()
    body = nn.Sequential(*body)
    point = stem(subject.inputs[:1].double()).detach()[0]
    whole = torch.autograd.functional.jacobian(lambda h: body(h[None]).flatten(), point)
    whole = whole.flatten(1)
    found = isometry.sliced_jacobian(body, point, 999, subject.generator())
    assert torch.allclose(found, whole, atol=1e-10)
    part = isometry.sliced_jacobian(body, point, 7, subject.generator())
    assert part.shape == (7, whole.shape[1])
    # Rows of part lie in the row space of the whole, and stretch no direction more.
    rest = part - part @ torch.linalg.pinv(whole) @ whole
    assert rest.norm() < 1e-8 * part.norm()
    assert torch.linalg.svdvals(part)[0] <= torch.linalg.svdvals(whole)[0] + 1e-9


# ics ---------------------------------------------------------------------------------------------


def test_shift_is_that_of_two_sets_of_weights(trained: list[Finished]) -> None:
    """Layer by layer, both networks built anew."""
    subject = trained[0].subject("step1")
    rows = take("ics", subject, {"layers": 99})[0]
    assert [row["layer"] for row in rows] == list(range(2, 9))
    x, y = subject.batch
    names = [name for name, _ in subject.network.named_parameters()]
    weights = [f"{name}.weight" for name in weighted(subject.network)]
    for row in rows:
        target = weights[row["layer"] - 1]

        def gradient_at(state: dict, target: str = target) -> Tensor:
            network = copy.deepcopy(subject.network)
            network.load_state_dict(state)
            return torch.autograd.grad(
                loss_of(network.train(), x, y), network.get_parameter(target)
            )[0]

        before = subject.network.state_dict()
        mixed = dict(before)
        for name in names[: names.index(target)]:
            mixed[name] = subject.after[name]
        g, moved = gradient_at(before), gradient_at(mixed)
        assert row["norm"] == pytest.approx((g - moved).norm().item(), rel=1e-3)
        assert row["relative"] == pytest.approx(((g - moved).norm() / g.norm()).item(), rel=1e-3)
        cosine = F.cosine_similarity(g.flatten(), moved.flatten(), 0).item()
        assert row["cosine"] == pytest.approx(cosine, abs=1e-4)


def test_no_step_is_no_shift() -> None:
    subject = make_subject(RESIDUAL_BN)
    still = replace(subject, after=subject.network.state_dict())
    found = take("ics", still, {"layers": 4})[1]
    assert found == {"relative": 0, "cosine": pytest.approx(1, abs=1e-6)}
    assert take("ics", subject, {"layers": 4}) == ([], {})


def test_layers_are_spaced_evenly() -> None:
    assert ics.spaced(1, 10, 4) == [1, 4, 7, 10]
    assert ics.spaced(1, 3, 9) == [1, 2, 3]


# smoothness --------------------------------------------------------------------------------------


def test_smoothness_is_the_change_of_the_gradient_along_itself() -> None:
    subject = make_subject(RESIDUAL_BN)
    rows, found = take("smoothness", subject, {"etas": [0.1, 0.5]})
    x, y = subject.batch
    network = subject.network.train()
    parameters = list(network.parameters())
    loss = loss_of(network, x, y)
    g = torch.autograd.grad(loss, parameters)
    assert rows[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    moved = copy.deepcopy(network)
    with torch.no_grad():
        for weight, slope in zip(moved.parameters(), g, strict=True):
            weight -= 0.5 * slope
    there = loss_of(moved, x, y)
    h = torch.autograd.grad(there, list(moved.parameters()))
    difference = math.sqrt(sum((a - b).square().sum() for a, b in zip(g, h, strict=True)))
    size = math.sqrt(sum(a.square().sum() for a in g))
    assert rows[2]["loss"] == pytest.approx(there.item(), rel=1e-4)
    assert rows[2]["difference"] == pytest.approx(difference, rel=1e-3)
    assert rows[2]["beta"] == pytest.approx(difference / (0.5 * size), rel=1e-3)
    assert 10 ** found["log_beta"] == pytest.approx(max(rows[1]["beta"], rows[2]["beta"]))


# landscape ---------------------------------------------------------------------------------------


def test_filters_of_a_direction_have_the_norms_of_the_weights() -> None:
    subject = make_subject(RESIDUAL_BN)
    network, generator = subject.network, subject.generator()
    directions = landscape.directions(network, generator)
    for weight, d in zip(network.parameters(), directions, strict=True):
        if weight.ndim < 2:
            assert not d.any()
        else:
            norms = [filter.norm() for filter in weight]
            assert torch.allclose(torch.stack([f.norm() for f in d]), torch.stack(norms))
            assert not torch.allclose(d, weight)


def test_slices_go_through_the_network_and_paths_between_two(trained: list[Finished]) -> None:
    subject = trained[0].subject("end", trained[1]).sample(32)
    settings = {"line": 5, "plane": 3, "plane_at": ["end"], "path": 3}
    rows = take("landscape", subject, settings)[0]
    other = trained[1].subject("end").sample(32)

    def loss(of: Subject) -> float:
        network = copy.deepcopy(of.network).train()  # no noise: train mode is BatchNorm's alone
        return loss_of(network, of.inputs, of.targets).item()

    own = pytest.approx(loss(subject), rel=1e-4)
    middles = [row for row in rows if row["x"] == 0 and row["y"] in (0, None)]
    assert len(middles) == 4
    assert all(row["loss"] == own for row in middles)
    path = [row["loss"] for row in rows if row["kind"] == "path"]
    assert [path[0], path[2]] == [own, pytest.approx(loss(other), rel=1e-4)]
    half = copy.deepcopy(subject.network).train()
    with torch.no_grad():
        for name, weight in half.named_parameters():
            weight.copy_((weight + trained[1].weights["end"][name]) / 2)
    assert path[1] == pytest.approx(loss_of(half, subject.inputs, subject.targets).item(), rel=1e-4)
    # The edges of the plane are the ends of the lines.
    ends = {
        row["direction"]: row["loss"] for row in rows if row["kind"] == "line" and row["x"] == 1
    }
    plane = {(row["x"], row["y"]): row["loss"] for row in rows if row["kind"] == "plane"}
    assert (plane[1, 0], plane[0, 1]) == pytest.approx((ends[1], ends[2]), rel=1e-4)
    # One corner by hand.
    moved, draws = copy.deepcopy(subject.network).train(), subject.generator()
    both = [landscape.directions(moved, draws) for _ in range(2)]
    with torch.no_grad():
        for weight, first, second in zip(moved.parameters(), *both, strict=True):
            weight.add_(first - second)
    by_hand = loss_of(moved, subject.inputs, subject.targets).item()
    assert plane[1, -1] == pytest.approx(by_hand, rel=1e-4)


def test_bending_downward_is_what_is_not_convex() -> None:
    def bent(losses: list[float]) -> float:
        rows = [{"direction": d, "loss": loss} for loss in losses for d in (1, 2)]
        return landscape.scalars(rows)["nonconvexity"]

    assert bent([4.0, 1, 0, 1, 4]) == 0
    assert bent([-4.0, -1, 0, -1, -4]) == 1
    # Second differences 2 and -1.
    assert bent([0.0, 0, 2, 3]) == pytest.approx(1 / 3)


# hessian -----------------------------------------------------------------------------------------


def test_lanczos_finds_the_spectrum_of_a_quadratic() -> None:
    values = torch.tensor([-3.0, -1.0, 0.0, 0.5, 2.0, 7.0])
    q = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))[0]
    matrix = q @ torch.diag(values) @ q.T
    v = torch.tensor([1.0, -1, 1, 1, -1, 1])
    nodes, weights, _ = hessian.quadrature(lambda u: matrix @ u, v, 6)
    assert nodes == pytest.approx(values.tolist(), abs=1e-4)
    assert weights == pytest.approx(((q.T @ v) ** 2 / 6).tolist(), abs=1e-4)
    # Fewer steps: the extremes are inside, the first moments are exact.
    nodes, weights, _ = hessian.quadrature(lambda u: matrix @ u, v, 3)
    assert -3.001 <= min(nodes) <= max(nodes) <= 7.001
    assert sum(weights) == pytest.approx(1)
    for power in (1, 2):
        moment = (v @ torch.linalg.matrix_power(matrix, power) @ v / 6).item()
        found = sum(w * t**power for w, t in zip(weights, nodes, strict=True))
        assert found == pytest.approx(moment, rel=1e-4)


class Small(nn.Module):
    """About thirty parameters, smooth, with BatchNorm: its Hessian can be written out."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(1, 2, (1, 3), bias=False), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(),
            nn.Linear(6, 3),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def full_hessian(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    parameters = dict(network.named_parameters())
    shapes = [(name, p.shape, p.numel()) for name, p in parameters.items()]

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([n for _, _, n in shapes])
        state = {
            name: part.view(shape) for (name, shape, _), part in zip(shapes, parts, strict=True)
        }
        return F.cross_entropy(torch.func.functional_call(network, state, (x,)), y)

    flat = torch.cat([p.detach().flatten() for p in parameters.values()])
    return torch.autograd.functional.hessian(loss, flat)


def test_eigenvalues_trace_and_density_are_those_of_the_full_hessian() -> None:
    network, x = Small().train(), images(24)[..., :5]
    y = torch.arange(24) % 3
    matrix = full_hessian(network, x, y)
    size = len(matrix)
    v = torch.randn(size, generator=torch.Generator().manual_seed(1))
    product = hessian.hessian_product(network, x, y)
    assert torch.allclose(product(v), matrix @ v, atol=1e-5)
    subject = replace(make_subject(PLAIN), network=network, inputs=x, targets=y)
    rows = list(hessian.measure(subject, vectors=60, steps=size, probes=1))
    found = hessian.scalars(rows)
    values = torch.linalg.eigvalsh(matrix)
    assert 10 ** found["log_top"] == pytest.approx(values[-1].item(), rel=1e-3)
    assert found["negative"] == pytest.approx((-values[0] / values[-1]).item(), abs=1e-3)
    assert found["trace"] == pytest.approx(matrix.trace().item(), rel=1e-3)
    near = (values.abs() < 1e-2 * values.abs().max()).float().mean().item()
    assert found["near_zero"] == pytest.approx(near, abs=0.1)


def test_the_trace_is_estimated_only_where_lanczos_did_not_look() -> None:
    subject = make_subject(PLAIN)
    network, x, y = subject.network.train(), subject.inputs, subject.targets
    size = sum(parameter.numel() for parameter in network.parameters())
    product = hessian.hessian_product(network, x, y)
    generator = subject.generator()
    v, *draws = [torch.randint(0, 2, (size,), generator=generator) * 2.0 - 1 for _ in range(5)]
    krylov = [v]
    for _ in range(2):
        krylov.append(product(krylov[-1] / krylov[-1].norm()))
    q = torch.linalg.qr(torch.stack(krylov).T)[0]
    seen = sum((column @ product(column)).item() for column in q.T)
    rest = [u - q @ (q.T @ u) for u in draws]
    unseen = sum((u @ product(u)).item() for u in rest) / 4
    found = take("hessian", subject, {"vectors": 1, "steps": 3, "probes": 4})[1]["trace"]
    assert found == pytest.approx(seen + unseen, rel=1e-2)
    assert abs(unseen) > 0.1 * abs(seen)


def test_the_hessian_is_that_of_train_mode() -> None:
    subject = make_subject(RESIDUAL_BN)
    rows = take("hessian", subject, {"vectors": 1, "steps": 1, "probes": 1})[0]
    size = sum(parameter.numel() for parameter in subject.network.parameters())
    v = torch.randint(0, 2, (size,), generator=subject.generator()) * 2.0 - 1
    network = subject.network.train()
    product = hessian.hessian_product(network, subject.inputs, subject.targets)
    assert rows[0]["eigenvalue"] == pytest.approx((v @ product(v) / len(v)).item(), rel=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_pyhessian_agrees() -> None:
    """A second opinion on the largest eigenvalue and the trace, on a network without BatchNorm."""
    library = pytest.importorskip("pyhessian")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(20, 6), nn.Tanh(), nn.Linear(6, 4))
    x, y = images(32), torch.arange(32) % 4
    theirs = library.hessian(network, nn.CrossEntropyLoss(), data=(x, y), cuda=False)
    subject = replace(make_subject(PLAIN), network=network, inputs=x, targets=y)
    ours = hessian.scalars(list(hessian.measure(subject, vectors=50, steps=30, probes=1)))
    top = theirs.eigenvalues(maxIter=500, tol=1e-6)[0][0]
    assert 10 ** ours["log_top"] == pytest.approx(top, rel=1e-2)
    trace = theirs.trace(maxIter=500, tol=1e-5)
    assert ours["trace"] == pytest.approx(sum(trace) / len(trace), rel=0.1)


# activity ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_co_activation_of_gaussians_has_a_closed_form(rho: float) -> None:
    generator = torch.Generator().manual_seed(0)
    units = 200_000
    shared = torch.randn(1, units, generator=generator)
    own = torch.randn(2, units, generator=generator)
    z = math.sqrt(rho) * shared + math.sqrt(1 - rho) * own
    expected = 0.25 + math.asin(rho) / (2 * math.pi)
    assert activity.activity(z)["co_active"] == pytest.approx(expected, abs=0.005)


def test_units_are_counted_by_how_often_they_are_on() -> None:
    z = torch.tensor([[1.0, -1, 1, -1], [1, -1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])
    found = activity.activity(z)
    assert found["always_on"] == found["always_off"] == 0.25
    # Pairs of images, ordered, that both turn a unit on: 12, 0, 2, 0 of 12.
    assert found["co_active"] == pytest.approx((12 + 2) / 48)
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert found["entropy"] == pytest.approx((1 + quarter) / 4)


def test_edges_of_the_linear_range_are_a_tenth_off() -> None:
    z = activity.TANH_EDGE
    assert math.tanh(z) == pytest.approx(0.9 * z, rel=1e-6)
    z = activity.SIGMOID_EDGE
    assert 1 / (1 + math.exp(-z)) - 0.5 == pytest.approx(0.9 * z / 4, rel=1e-6)
    inputs = torch.tensor([[0.0, activity.TANH_EDGE + 0.01], [0.1, 9.0]])
    found = activity.activity(inputs)
    assert (found["linear_tanh"], found["linear_sigmoid"]) == (0.5, 0.75)


def test_activity_is_seen_before_the_rectifier() -> None:
    subject = make_subject(PLAIN_BN)
    rows = take("activity", subject, {})[0]
    assert len(rows) == 7  # the stem's and two a block
    stem = subject.network.layers["stem"]
    with torch.no_grad():
        z = stem[:-1](subject.inputs).flatten(1)
    for name in ("co_active", "linear_tanh"):  # to the second, half of all outputs look linear
        assert rows[0][name] == pytest.approx(activity.activity(z)[name])


# lesion ------------------------------------------------------------------------------------------


def test_deleting_or_swapping_identities_changes_nothing() -> None:
    dirac = Variant(shortcut="none", norm="none", init="dirac")
    rows = take("lesion", make_subject(dirac, depth=20), {"several": [2], "draws": 3})[0]
    whole = rows[0]["loss"]
    keep = [row["loss"] for row in rows if row["kind"] == "one" and row["block"] % 3 != 1]
    assert keep == [whole] * 6
    assert [row["loss"] for row in rows if row["kind"] == "permute"] == [whole] * 3
    closed = make_subject(Variant(norm="none", branch_scale="skipinit"))
    rows, scalars = take("lesion", closed, {"several": [], "draws": 0})
    with torch.no_grad():
        wrong = closed.network.eval()(closed.inputs).argmax(1) != closed.targets
    assert scalars == {"one": 0, "error": pytest.approx(wrong.float().mean().item())}


@pytest.mark.parametrize("variant", [RESIDUAL_BN, PLAIN_BN])
def test_a_deleted_block_is_passed_by(variant: Variant) -> None:
    subject = make_subject(variant, depth=14)
    rows = take("lesion", subject, {"several": [], "draws": 0})[0]
    network = subject.network
    for row, gone in zip(rows[1:], blocks(network), strict=True):
        x = subject.inputs
        with torch.no_grad():
            for name, layer in network.layers.items():
                if name != gone:
                    x = layer(x)
                elif row["block"] in (3, 5):  # the first blocks of stages halve and double
                    x = F.pad(x[:, :, :, ::2], (0, 0, 0, 0, x.shape[1] // 2, x.shape[1] // 2))
        assert row["loss"] == pytest.approx(F.cross_entropy(x, subject.targets).item(), rel=1e-5)


def test_the_cost_of_a_block_is_a_rise_of_the_loss() -> None:
    rows = [{"kind": "whole", "loss": 1.0, "error": 0.2}]
    rows += [{"kind": "one", "loss": loss, "error": 0.5} for loss in (3.0, 17.0)]
    rows += [{"kind": "several", "loss": 99.0, "error": 0.9}]
    assert lesion.scalars(rows) == {"one": pytest.approx(1.0), "error": 0.2}  # log10(1 + 9)


def test_swaps_stay_within_a_stage() -> None:
    whole = blocks(make_subject(RESIDUAL_BN, depth=20).network)
    stages = [[f"stage{s}_block{i}" for i in (2, 3)] for s in (1, 2, 3)]
    order = lesion.swapped(whole, stages, 1, torch.Generator().manual_seed(0))
    moved = [name for name in whole if order[name] is not whole[name]]
    assert moved in stages
    assert order[moved[0]] is whole[moved[1]]


# path_gradient -----------------------------------------------------------------------------------


def test_paths_add_up_to_the_gradient() -> None:
    """Over all subsets of blocks, the gradients of paths sum to the whole gradient."""
    subject = make_subject(RESIDUAL_BN, examples=1)
    stem, *others = subject.network.layers.values()
    rest, chain = nn.Sequential(*others), list(blocks(subject.network).values())
    start = stem(subject.inputs).detach()
    total = torch.zeros_like(start)
    for k in range(4):
        for through in combinations(range(3), k):
            total += path_vector(rest, chain, set(through), start, subject.targets)
            norm = path_gradient.path_norm(rest, chain, set(through), start, subject.targets)
            vector = path_vector(rest, chain, set(through), start, subject.targets)
            assert norm == pytest.approx(vector.norm().item(), rel=1e-5)
    point = start.clone().requires_grad_()
    whole = torch.autograd.grad(F.cross_entropy(rest(point), subject.targets), point)[0]
    assert torch.allclose(total, whole, atol=1e-6)


def path_vector(
    rest: nn.Module, chain: list, through: set[int], start: Tensor, y: Tensor
) -> Tensor:
    """The gradient over one path, by a forward pass in which the other ways are constants."""
    start = start.clone().requires_grad_()
    x = start
    for i, block in enumerate(chain):
        open_, closed = block.branch, block.shortcut
        if i not in through:
            open_, closed = closed, open_
        x = block.after(open_(x) + closed(x).detach())
    logits = rest[-1](x)
    return torch.autograd.grad(F.cross_entropy(logits, y), start)[0]


def test_a_plain_network_has_one_path() -> None:
    subject = make_subject(PLAIN_BN, examples=4)
    rows, found = take("path_gradient", subject, {"lengths": 9, "draws": 2})
    assert len(rows) == 1
    assert (rows[0]["length"], rows[0]["share"], found["mean_length"]) == (3, 1, 1)
    stem, *others = subject.network.layers.values()
    point = stem(subject.inputs).detach().requires_grad_()
    loss = F.cross_entropy(nn.Sequential(*others)(point), subject.targets, reduction="sum")
    norms = torch.autograd.grad(loss, point)[0].flatten(1).norm(dim=1)
    assert rows[0]["gradient_norm"] == pytest.approx(norms.mean().item(), rel=1e-5)


def test_shares_are_weighted_by_the_number_of_paths() -> None:
    rows, found = take("path_gradient", make_subject(RESIDUAL_BN), {"lengths": 9, "draws": 1})
    assert [row["length"] for row in rows] == [0, 1, 2, 3]
    weights = [math.comb(3, row["length"]) * row["gradient_norm"] for row in rows]
    assert [row["share"] for row in rows] == pytest.approx([w / sum(weights) for w in weights])
    mean = sum(row["share"] * row["length"] for row in rows) / 3
    assert found["mean_length"] == pytest.approx(mean)


def test_closed_branches_leave_the_shortest_path() -> None:
    closed = make_subject(Variant(norm="none", branch_scale="skipinit"))
    assert any(isinstance(module, Scale) for module in closed.network.modules())
    found = take("path_gradient", closed, {"lengths": 9, "draws": 1})[1]
    assert found["mean_length"] == 0
    assert math.isnan(found["log_longest"])
    assert not smoothness.scalars([])
