"""Compare each measure with a known answer and with a slow twin by plain autograd."""

import copy
import importlib
import inspect
import math
import statistics
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from test_network import PLAIN, PLAIN_BN, RESIDUAL_BN, gaussian, option_a
from test_variant import RUN, replaced
from torch import Tensor, nn

from analysis.measure import measure_runs, measure_subject
from analysis.measures import activity, hessian, isometry, smoothness
from analysis.measures import forward_propagation as propagation
from analysis.measures import identity_learning as learning
from analysis.measures import path_gradient as paths
from analysis.run import Subject, TrainedRun, blocks, evenly, flat, spaced, weighted
from analysis.run import read as read_trained
from models.data.prepare import Dataset
from models.files import read_constant
from models.initialise import initialise
from models.network import Network
from models.training.cell import train_stack, write_run
from models.training.loop import batches
from models.training.optimiser import lr_factor
from models.training.state import Resume
from models.variant import Factors, Run

DIRAC = Factors(shortcut="none", norm="none", init="dirac")
CLOSED = Factors(norm="none", branch_scale="skipinit")  # branches begin with a factor of zero
MEASURES = sorted(path.stem for path in (ROOT / "analysis/measures").glob("[a-z]*.py"))
SETTINGS = {name: {} for name in MEASURES} | {
    "gradient_correlation": {"points": 40, "pairs_of": 6},
    "hessian": {"vectors": 2, "steps": 4, "probes": 2},
    "ics": {"layers": 3},
    "identity_learning": {"lengths": [2, 1], "steps": 3, "rates": [0.01, 0.1]},
    "isometry": {"outputs": 40},
    "path_gradient": {"lengths": 3, "draws": 2},
    "smoothness": {"etas": [0.1, 1.0]},
}


def make_data() -> Dataset:
    inputs, targets = gaussian(64, 1, 1, 20), torch.arange(64) % 4
    return Dataset(inputs, targets, inputs[:16], targets[:16], 4)


def make_run(factors: Factors, depth: int = 8, width: int = 4, seed: int = 0) -> Run:
    checkpoints = ["init", "step1", "step2", "step3", "step12", "end"]
    sizes = {"depth": depth, "width": width, "seed": seed}
    return replaced(RUN, factors=factors, checkpoints=checkpoints, **sizes)


def make_subject(factors: Factors, depth: int = 8, width: int = 4, examples: int = 16) -> Subject:
    """Return a network at its start, in eval mode, with its first batch."""
    data, run = make_data(), make_run(factors, depth, width)
    network = Network(factors, depth, width, (1, 1, 20), 4)
    initialise(network, factors, 0)
    return TrainedRun(run, data, {"init": network.state_dict()}).subject("init").sample(examples)


def measured(name: str, factors: Factors, settings: dict | None = None, **sizes: int) -> tuple:
    """Return a subject, and the rows and quantities of a measure of it."""
    subject = make_subject(factors, **sizes)
    return subject, *measure_subject(name, subject, settings or {})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[TrainedRun]:
    """Return two seeds of a residual network with BatchNorm, really trained."""
    data, runs = make_data(), [make_run(RESIDUAL_BN, seed=seed) for seed in (0, 1)]
    folders = [tmp_path_factory.mktemp("run") for _ in runs]
    resume = Resume(folders[0] / "resume.pt", "cpu", math.inf)
    resume.begin(runs)
    results = train_stack(runs, data, [], resume, None)
    for folder, run, result in zip(folders, runs, results, strict=True):
        write_run(folder, run, result, {})
    return [read_trained(folder, data) for folder in folders]


def loss_of(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(network(x), y)


def gradients_of(network: nn.Module, x: Tensor, y: Tensor, **options: bool) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss_of(network, x, y), list(network.parameters()), **options)


def test_images_and_numbers_are_spaced_evenly() -> None:
    assert evenly(torch.arange(10), 4).tolist() == [0, 2, 5, 7]
    assert evenly(torch.arange(3), 9).tolist() == [0, 1, 2]
    assert spaced(1, 10, 4) == [1, 4, 7, 10]
    assert spaced(1, 3, 9) == [1, 2, 3]


def test_a_subject_has_the_statistics_the_batch_and_the_next_weights_of_training(
    trained: list[TrainedRun],
) -> None:
    """Take one step of gradient descent by hand, from the first weights, on the batch."""
    subject, data = trained[0].subject("init"), trained[0].data
    network, settings = subject.network, subject.run.train
    assert not network.training
    with torch.no_grad():
        seen = network.layers["stem"].conv(data.train_inputs).mean((0, 2, 3))
    assert torch.allclose(network.layers["stem"].norm.running_mean, seen, atol=1e-5)
    gradients = gradients_of(network.train(), *subject.batch)
    lr = subject.run.lr * lr_factor(0, 12, settings)
    for (name, weight), g in zip(network.named_parameters(), gradients, strict=True):
        by_hand = weight - lr * (g + settings.weight_decay * weight)
        assert torch.allclose(by_hand, subject.after[name], atol=1e-6), name
    third = list(batches(subject.run, 64, torch.device("cpu")))[2]
    x, y = trained[0].subject("step2").batch
    assert torch.equal(x, data.train_inputs[third])
    assert torch.equal(y, data.train_targets[third])
    assert trained[0].subject("step12").batch is None  # the run has twelve steps
    assert trained[0].subject("end").batch is None


@pytest.mark.parametrize("name", SETTINGS)
def test_a_measure_keeps_its_contract(name: str) -> None:
    """The constants name its settings and quantities, and its subject stays as it was."""
    module = importlib.import_module(f"analysis.measures.{name}")
    settings = read_constant(Path(module.__file__), "SETTINGS")
    arguments = set(inspect.signature(module.measure).parameters) - {"subject"}
    assert settings.keys() - {"examples"} == arguments == SETTINGS[name].keys()
    subject = make_subject(Factors(norm="noisy_batch"))
    network = subject.network
    other = {key: value + 0.1 for key, value in network.state_dict().items()}
    subject = replace(subject, after=other)
    if "examples" not in settings:  # then it looks at no sample
        subject = replace(subject, inputs=None, targets=None)
    network.layers["head"].train()  # a mode that is not the same everywhere
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    rows, quantities = measure_subject(name, subject, SETTINGS[name])
    assert rows
    assert quantities.keys() == module.QUANTITIES.keys()
    assert all(isinstance(value, int | float) for value in quantities.values())
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert modes == [module.training for module in network.modules()]
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("factors", [PLAIN, RESIDUAL_BN], ids=["plain", "residual_bn"])
def test_what_is_not_a_finite_number_is_an_empty_cell(name: str, factors: Factors) -> None:
    """Blow up and switch off the weights: all of them, those of the blocks, and the head's."""
    run, data = make_run(factors), make_data()
    start = make_subject(factors).network.state_dict()
    settings = {name: {"at": ["init"], "examples": 8, **SETTINGS[name]}}
    if name in ("ics", "smoothness"):  # they look at a batch of the training
        del settings[name]["examples"]
    for part in ("", "layers.head", "layers.stage"):
        for size in (0.0, 1e5, 1e20, math.nan):
            weights = {
                key: value * size if key.startswith(part) and value.is_floating_point() else value
                for key, value in start.items()
            }
            trained = TrainedRun(run, data, {"init": weights, "step1": weights})
            tables = measure_runs([trained], settings)
            numbers = [x for rows in tables.values() for row in rows for x in row.values()]
            assert all(math.isfinite(x) for x in numbers if isinstance(x, float))


def test_an_infinite_loss_has_no_rise() -> None:
    rows = [{"loss": math.inf, "gradient_norm": 0.0}, {"loss": 1e30, "beta": 0.0}]
    assert all(math.isnan(x) for x in smoothness.quantities(rows).values())
    rows = [{"loss": 2.0, "gradient_norm": 10.0}, {"loss": 20.0, "beta": 0.0}]  # no curvature
    found = smoothness.quantities(rows)
    assert math.isnan(found.pop("log_beta"))
    assert found == {"log_loss_rise": 1.0, "log_gradient_norm": 1.0}


@pytest.mark.parametrize("name", ["gradient_flow", "hessian"])
def test_noise_in_the_network_is_that_of_its_seed(name: str) -> None:
    """PyTorch starts each process with other random numbers, which must not matter."""
    subject = make_subject(Factors(norm="noisy_batch"))
    other = replace(subject, run=subject.run.model_copy(update={"seed": 7}))
    found = []
    for process, each in enumerate((subject, subject, other)):
        torch.manual_seed(process)
        found.append(measure_subject(name, each, SETTINGS[name]))
    assert found[0] == found[1] != found[2]
    # A measure draws from another seed than the noise of the network.
    assert torch.initial_seed() != other.generator().initial_seed()


def test_tables_say_which_network_a_row_is_about(trained: list[TrainedRun]) -> None:
    settings = {
        "ntk": {"at": ["init", "end", "step99"], "examples": 4},
        # The run has twelve steps, and takes no other after the last of them.
        "smoothness": {"at": ["step12"], "etas": [0.1]},
        "ics": {"at": ["step12"], "layers": 2},
        "hessian": {"at": ["end"], "examples": 8, **SETTINGS["hessian"]},
    }
    tables = measure_runs(trained, settings)
    columns = ["dataset", "variant", "depth", "budget", "seed", "checkpoint"]
    assert list(tables["ntk"][0])[:6] == columns
    who = {(row["seed"], row["checkpoint"]) for row in tables["ntk"]}
    assert who == {(0, "init"), (0, "end"), (1, "init"), (1, "end")}
    assert {row["checkpoint"] for row in tables["hessian"]} == {"end"}
    assert tables["smoothness"] == tables["ics"] == []
    measured = {row["quantity"].split(".")[0] for row in tables["quantities"]}
    assert measured == {"ntk", "hessian"}


def test_gradient_flow_is_the_gradient_of_a_backward_pass_in_train_mode() -> None:
    subject, rows, found = measured("gradient_flow", PLAIN_BN)
    network = subject.network.train()
    loss_of(network, subject.inputs, subject.targets).backward()
    weights = [layer.weight for layer in weighted(network).values()]
    assert len(weights) == 8
    norms = [weight.grad.norm().item() for weight in weights]
    relative = [(weight.grad.norm() / weight.norm()).item() for weight in weights]
    assert [row["gradient_norm"] for row in rows] == pytest.approx(norms, rel=1e-4)
    assert [row["relative_gradient"] for row in rows] == pytest.approx(relative, rel=1e-4)
    growth = relative[1] / relative[6]  # of layers two to seven, without the stem and the head
    logs = {"log_first": math.log10(relative[1]), "log_first_to_last": math.log10(growth)}
    assert found == pytest.approx({**logs, "rate": growth ** (1 / 5)}, rel=1e-3)


def test_gradients_of_a_wide_plain_network_with_batch_norm_explode_as_theory_says() -> None:
    """Yang et al. 2019: the square of the norm grows by pi / (pi - 1) = 1.467 in each layer."""
    _, rows, _ = measured("gradient_flow", PLAIN_BN, depth=32, width=48, examples=64)
    first, last = rows[2], rows[9]  # of the first stage, where shapes are the same
    assert {each["name"][:13] for each in (first, last)} == {"layers.stage1"}
    rate = (first["gradient_norm"] / last["gradient_norm"]) ** (2 / 7)
    assert rate == pytest.approx(math.pi / (math.pi - 1), rel=0.1)


def cosines_of(vectors: Iterable[Tensor]) -> list[float]:
    """Return the cosines of all pairs of different rows."""
    return [F.cosine_similarity(a, b, 0).item() for a, b in combinations(vectors, 2)]


def test_correlations_are_those_of_gradients_taken_one_by_one() -> None:
    """Differentiate in t alone on the line, and at each noisy copy on its own."""
    settings = {"points": 41, "pairs_of": 4}
    subject, rows, found = measured("gradient_correlation", PLAIN_BN, settings, examples=6)
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

    steps = [torch.tensor(-2 + 4 * i / 40, requires_grad=True) for i in range(41)]
    slopes = [slope((subject.inputs[0] + t * u)[None], t).item() for t in steps]
    mean, variance = statistics.mean(slopes), statistics.pvariance(slopes)
    for k in (0, 1, 20, 32):
        products = [(slopes[i] - mean) * (slopes[i + k] - mean) for i in range(41 - k)]
        correlation = sum(products) / len(products) / variance
        assert rows[k]["correlation"] == pytest.approx(correlation, rel=1e-3)
    assert found["grid"] == rows[1]["correlation"]
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
    images, targets = subject.inputs[:4], subject.targets[:4]
    alone = zip(images.split(1), targets.split(1), strict=True)
    gradients = [flat(gradients_of(subject.network, *each)) for each in alone]
    assert found["weights"] == pytest.approx(statistics.mean(cosines_of(gradients)), abs=1e-4)


def test_kernel_is_that_of_the_jacobian() -> None:
    subject, rows, found = measured("ntk", RESIDUAL_BN, examples=4)
    weights, logits = list(subject.network.parameters()), subject.network(subject.inputs).flatten()
    jacobian = [flat(torch.autograd.grad(f, weights, retain_graph=True)) for f in logits]
    whole = torch.stack(jacobian).view(4, 4, -1)
    expected = torch.einsum("icp,jcp->ij", whole, whole) / 4
    values = torch.linalg.eigvalsh(expected.double())
    assert [row["eigenvalue"] for row in rows] == pytest.approx(values.flip(0).tolist(), rel=1e-3)
    assert 10 ** found["log_trace"] == pytest.approx(expected.trace().item() / 4, rel=1e-3)
    condition = (values[-1] / values[0]).item()
    assert 10 ** found["log_condition"] == pytest.approx(condition, rel=1e-2)


def test_cosines_are_those_of_all_pairs_and_the_effective_rank_is_known() -> None:
    pairs = cosines_of(gaussian(7, 5))
    expected = statistics.mean(pairs), statistics.pstdev(pairs)
    assert propagation.pairwise_cosines(gaussian(7, 5)) == pytest.approx(expected, abs=1e-6)
    orthogonal = torch.linalg.qr(gaussian(8, 5))[0]
    assert propagation.effective_rank(3 * orthogonal) == pytest.approx(5, abs=1e-4)
    # Singular values 2 and 1: p = 4/5, 1/5.
    entropy = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    rank = propagation.effective_rank(torch.diag(torch.tensor([2.0, 1.0])))
    assert rank == pytest.approx(math.exp(entropy), abs=1e-5)


def test_variance_ratio_is_that_of_branch_and_shortcut() -> None:
    subject, rows, found = measured("forward_propagation", RESIDUAL_BN)
    ratio = statistics.mean(row["variance_ratio"] for row in rows[1:])
    assert found["branch_share"] == pytest.approx(ratio / (1 + ratio))
    with torch.no_grad():
        h = subject.network.layers["stem"](subject.inputs)
        for row, block in zip(rows[1:], blocks(subject.network).values(), strict=True):
            ratio = block.branch(h).var() / block.shortcut(h).var()
            assert row["variance_ratio"] == pytest.approx(ratio.item(), rel=1e-4)
            h = block(h)
    mean, _ = propagation.pairwise_cosines(h.flatten(1))
    assert rows[-1]["cosine_mean"] == pytest.approx(mean, abs=1e-5)
    _, rows, found = measured("forward_propagation", PLAIN_BN)
    assert {row["variance_ratio"] for row in rows} == {None}
    assert found["branch_share"] == 1


def test_distance_and_refinement_are_those_of_a_block_and_its_input() -> None:
    subject, rows, found = measured("identity_distance", RESIDUAL_BN, depth=14)
    layers = list(subject.network.layers.values())
    refinements = []
    for at, row in enumerate(rows, start=1):
        with torch.no_grad():
            h = nn.Sequential(*layers[:at])(subject.inputs)
            branch = layers[at].branch(h)
            same = h if branch.shape == h.shape else option_a(h)
            distance, ratio = (layers[at](h) - same).norm() / h.norm(), branch.norm() / h.norm()
        assert row["identity_distance"] == pytest.approx(distance.item(), rel=1e-5)
        assert row["residual_ratio"] == pytest.approx(ratio.item(), rel=1e-5)
        if same is not h:
            assert row["refinement"] is None
            continue
        cosines = []
        for x, y in zip(subject.inputs, subject.targets, strict=True):  # one image at a time
            h = nn.Sequential(*layers[:at])(x[None]).detach().requires_grad_()
            F.cross_entropy(nn.Sequential(*layers[at:])(h), y[None]).backward()
            branch = layers[at].branch(h)
            cosines.append(F.cosine_similarity(branch.flatten(), -h.grad.flatten(), 0).item())
        refinements.append(statistics.mean(cosines))
        assert row["refinement"] == pytest.approx(refinements[-1], rel=1e-3)
    assert found["refinement"] == pytest.approx(statistics.mean(refinements), rel=1e-3)
    assert measured("identity_distance", CLOSED)[2]["log_residual_ratio"] == -4  # and not of zero
    crelu = Factors(shortcut="none", activation="crelu")  # branches are twice as wide as inputs
    assert math.isnan(measured("identity_distance", crelu)[2]["refinement"])


def test_isometry_is_that_of_the_jacobian_by_autograd_and_a_slice_of_it() -> None:
    subject, rows, found = measured("isometry", RESIDUAL_BN, {"outputs": 999}, examples=2)
    stem, *body, _ = subject.network.double().layers.values()
    body = nn.Sequential(*body)
    jacobian = torch.autograd.functional.jacobian
    for point, row in zip(stem(subject.inputs.double()).detach(), rows[10::11], strict=True):
        whole = jacobian(lambda h: body(h[None]).flatten(), point).flatten(1)
        values = torch.linalg.svdvals(whole)
        alive, squares = values[values > 1e-14 * values[0]], values.square()
        assert len(alive) < len(values)  # the last ReLU's zeros are left out
        assert row["log_singular_value"] == pytest.approx(values[0].log10())  # the last quantile
        assert row["log_condition"] == pytest.approx((alive[0] / alive[-1]).log10())
        dispersion = squares.var(correction=0) / squares.mean().square()
        assert row["dispersion"] == pytest.approx(dispersion)
        assert row["log_mean_square"] == pytest.approx(squares.mean().log10())
        assert row["nonzero"] == len(alive) / len(values)
    assert found == pytest.approx({name: (rows[0][name] + rows[11][name]) / 2 for name in found})
    part = isometry.sliced_jacobian(body, point, 7, subject.generator())
    assert part.shape == (7, whole.shape[1])
    # Rows of part lie in the row space of the whole, and stretch no direction more.
    rest = part - part @ torch.linalg.pinv(whole) @ whole
    assert rest.norm() < 1e-8 * part.norm()
    assert torch.linalg.svdvals(part)[0] <= values[0] + 1e-9


def test_shift_is_that_of_two_sets_of_weights(trained: list[TrainedRun]) -> None:
    subject = trained[0].subject("step1")
    rows, found = measure_subject("ics", subject, {"layers": 99})
    assert [row["layer"] for row in rows] == list(range(2, 9))
    names = [name for name, _ in subject.network.named_parameters()]
    weights = [f"{name}.weight" for name in weighted(subject.network)]
    for row in rows:
        at = names.index(weights[row["layer"] - 1])
        network = copy.deepcopy(subject.network).train()
        g = gradients_of(network, *subject.batch)[at]
        network.load_state_dict({name: subject.after[name] for name in names[:at]}, strict=False)
        moved = gradients_of(network, *subject.batch)[at]
        assert row["norm"] == pytest.approx((g - moved).norm().item(), rel=1e-3)
        assert row["relative"] == pytest.approx(((g - moved).norm() / g.norm()).item(), rel=1e-3)
        cosine = F.cosine_similarity(g.flatten(), moved.flatten(), 0).item()
        assert row["cosine"] == pytest.approx(cosine, abs=1e-4)
    assert found["relative"] == pytest.approx(statistics.mean(row["relative"] for row in rows))
    assert measure_subject("ics", make_subject(RESIDUAL_BN), {"layers": 4}) == ([], {})


def test_blocks_that_are_the_identity_have_nothing_to_learn() -> None:
    subject = make_subject(DIRAC)
    h = subject.network.layers["stem"](subject.inputs).detach()
    for k in (1, 3):
        stack = learning.fresh_blocks(subject, k)
        assert len(stack.layers) == k
        assert learning.relative_error(stack, h) == 0
        with torch.no_grad():
            stack.layers["stage1_block1"].branch.conv2.weight.mul_(0.75)
        assert learning.relative_error(stack, h) == pytest.approx(0.25, rel=1e-5)


def test_linear_blocks_learn_the_identity_and_the_best_rate_counts() -> None:
    settings = {"lengths": [3, 1], "steps": 200, "rates": [1e-6, 0.03]}
    linear = replaced(PLAIN, slope=1)
    subject, rows, found = measured("identity_learning", linear, settings)
    assert [(row["blocks"], row["rate"]) for row in rows] == [(3, 0.03), (1, 0.03)]
    many, one = (row["relative_error"] for row in rows)
    assert max(one, many) < 0.05
    h = subject.network.layers["stem"](subject.inputs).detach()
    assert learning.relative_error(learning.fresh_blocks(subject, 1), h) > 0.5
    logs = {"log_error_one": math.log10(one), "log_error_many": math.log10(many)}
    assert found == pytest.approx(logs)
    for weight in subject.network.layers["stem"].parameters():
        torch.nn.init.zeros_(weight)  # without features there is nothing to learn
    assert measure_subject("identity_learning", subject, settings) == ([], {})


def test_smoothness_is_the_change_of_the_gradient_along_itself() -> None:
    subject, rows, found = measured("smoothness", RESIDUAL_BN, {"etas": [0.1, 0.5]})
    network, batch = subject.network.train(), subject.batch
    loss, g = loss_of(network, *batch), gradients_of(network, *batch)
    assert rows[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    with torch.no_grad():
        for weight, slope in zip(network.parameters(), g, strict=True):
            weight -= 0.5 * slope
    there, h = loss_of(network, *batch), gradients_of(network, *batch)
    difference, size = (flat(g) - flat(h)).norm().item(), flat(g).norm().item()
    assert rows[2]["loss"] == pytest.approx(there.item(), rel=1e-4)
    assert rows[2]["difference"] == pytest.approx(difference, rel=1e-3)
    assert rows[2]["beta"] == pytest.approx(difference / (0.5 * size), rel=1e-3)
    assert 10 ** found["log_beta"] == pytest.approx(max(rows[1]["beta"], rows[2]["beta"]))


def test_lanczos_finds_the_spectrum_of_a_quadratic() -> None:
    values = torch.tensor([-3.0, -1.0, 0.0, 0.5, 2.0, 7.0])
    q = torch.linalg.qr(gaussian(6, 6))[0]
    matrix = q @ torch.diag(values) @ q.T
    v = torch.tensor([1.0, -1, 1, 1, -1, 1])
    for steps in (3, 6):  # with fewer, the extremes are inside and the first moments exact
        nodes, weights, _ = hessian.quadrature(lambda u: matrix @ u, v, steps)
        assert -3.001 <= min(nodes) <= max(nodes) <= 7.001
        for power in (0, 1, 2):
            moment = (v @ torch.linalg.matrix_power(matrix, power) @ v / 6).item()
            found = sum(w * t**power for w, t in zip(weights, nodes, strict=True))
            assert found == pytest.approx(moment, rel=1e-4)
    assert nodes == pytest.approx(values.tolist(), abs=1e-4)
    assert weights == pytest.approx(((q.T @ v) ** 2 / 6).tolist(), abs=1e-4)


def test_eigenvalues_trace_and_density_are_those_of_the_full_hessian() -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 2, (1, 3), bias=False), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten()
    network = nn.Sequential(*layers, nn.Linear(6, 3)).train()
    x, y = gaussian(24, 1, 1, 5), torch.arange(24) % 3
    gradient = flat(gradients_of(network, x, y, create_graph=True))
    weights, size = list(network.parameters()), len(gradient)
    lines = [torch.autograd.grad(entry, weights, retain_graph=True) for entry in gradient]
    matrix = torch.stack([flat(line) for line in lines])
    subject = replace(make_subject(PLAIN), network=network, inputs=x, targets=y)
    settings = {"vectors": 10, "steps": size, "probes": 1}
    found = measure_subject("hessian", subject, settings)[1]
    values = torch.linalg.eigvalsh(matrix)
    assert 10 ** found["log_top"] == pytest.approx(values[-1].item(), rel=1e-3)
    assert found["negative"] == pytest.approx((-values[0] / values[-1]).item(), abs=1e-3)
    assert found["trace"] == pytest.approx(matrix.trace().item(), rel=1e-3)
    near = (values.abs() < 1e-2 * values.abs().max()).float().mean().item()
    assert found["near_zero"] == pytest.approx(near, abs=0.1)
    # Where Lanczos with three steps does not look, the trace is estimated.
    generator = subject.generator()
    v, *draws = [torch.randint(0, 2, (size,), generator=generator) * 2.0 - 1 for _ in range(5)]
    q = torch.linalg.qr(torch.stack([v, matrix @ v, matrix @ matrix @ v]).T)[0]
    seen = (q.T @ matrix @ q).trace().item()
    rest = [u - q @ (q.T @ u) for u in draws]
    unseen = statistics.mean((u @ matrix @ u).item() for u in rest)
    found = measure_subject("hessian", subject, {"vectors": 1, "steps": 3, "probes": 4})[1]["trace"]
    assert found == pytest.approx(seen + unseen, rel=1e-3)
    assert abs(unseen) > 0.1 * abs(seen)


def test_units_are_counted_by_how_often_they_are_on() -> None:
    z = torch.tensor([[1.0, -1, 1, -1], [1, -1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])
    found = activity.activity(z)
    assert found["always_on"] == found["always_off"] == 0.25
    # Of 12 ordered pairs of images, 12, 0, 2 and 0 turn a unit on in both images.
    assert found["co_active"] == pytest.approx((12 + 2) / 48)
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert found["entropy"] == pytest.approx((1 + quarter) / 4)


def test_edges_of_the_linear_range_are_a_tenth_off() -> None:
    tanh, sigmoid = activity.TANH_EDGE, activity.SIGMOID_EDGE
    assert math.tanh(tanh) == pytest.approx(0.9 * tanh, rel=1e-6)
    assert 1 / (1 + math.exp(-sigmoid)) - 0.5 == pytest.approx(0.9 * sigmoid / 4, rel=1e-6)
    found = activity.activity(torch.tensor([[0.0, tanh + 0.01], [0.1, 9.0]]))
    assert (found["linear_tanh"], found["linear_sigmoid"]) == (0.5, 0.75)


def test_activity_is_seen_before_the_rectifier() -> None:
    subject, rows, _ = measured("activity", PLAIN_BN)
    assert len(rows) == 7  # the stem's and two a block
    with torch.no_grad():
        z = subject.network.layers["stem"][:-1](subject.inputs).flatten(1)
    for name in ("co_active", "linear_tanh"):  # to the second, half of all outputs look linear
        assert rows[0][name] == pytest.approx(activity.activity(z)[name])


def test_paths_add_up_to_the_gradient() -> None:
    """The gradients of the paths through all subsets of blocks sum to the whole gradient."""
    subject = make_subject(RESIDUAL_BN, examples=1)
    stem, *others = subject.network.layers.values()
    rest, chain = nn.Sequential(*others), list(blocks(subject.network).values())
    start = stem(subject.inputs).detach()
    total = torch.zeros_like(start)
    for k in range(4):
        for through in combinations(range(3), k):
            norm = paths.path_norm(rest, chain, set(through), start, subject.targets)
            first = start.clone().requires_grad_()
            x = first
            for i, block in enumerate(chain):  # all other paths are constants
                branch, shortcut = block.branch(x), block.shortcut(x)
                on, off = (branch, shortcut) if i in through else (shortcut, branch)
                x = block.after(on + off.detach())
            loss = F.cross_entropy(rest[-1](x), subject.targets)
            vector = torch.autograd.grad(loss, first)[0]
            total += vector
            assert norm == pytest.approx(vector.norm().item(), rel=1e-5)
    point = start.clone().requires_grad_()
    whole = torch.autograd.grad(loss_of(rest, point, subject.targets), point)[0]
    assert torch.allclose(total, whole, atol=1e-6)


def test_a_plain_network_has_one_path() -> None:
    settings = {"lengths": 9, "draws": 2}
    subject, rows, found = measured("path_gradient", PLAIN_BN, settings, examples=4)
    assert len(rows) == 1
    assert (rows[0]["length"], rows[0]["share"], found["mean_length"]) == (3, 1, 1)
    stem, *rest = subject.network.layers.values()
    point = stem(subject.inputs).detach().requires_grad_()
    loss = 4 * loss_of(nn.Sequential(*rest), point, subject.targets)
    norms = torch.autograd.grad(loss, point)[0].flatten(1).norm(dim=1)
    assert rows[0]["gradient_norm"] == pytest.approx(norms.mean().item(), rel=1e-5)


def test_shares_are_weighted_by_the_number_of_paths() -> None:
    _, rows, found = measured("path_gradient", RESIDUAL_BN, {"lengths": 9, "draws": 1})
    assert [row["length"] for row in rows] == [0, 1, 2, 3]
    weights = [math.comb(3, row["length"]) * row["gradient_norm"] for row in rows]
    assert [row["share"] for row in rows] == pytest.approx([w / sum(weights) for w in weights])
    assert found["mean_length"] == sum(row["share"] * row["length"] / 3 for row in rows)
    # Closed branches leave the shortest path.
    _, _, found = measured("path_gradient", CLOSED, {"lengths": 9, "draws": 1})
    assert found["mean_length"] == 0
    assert math.isnan(found["log_longest"])
