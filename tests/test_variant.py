"""What a network and a run are: every level builds, JSON keeps a run, and mistakes get one line."""

import json
import re
from functools import cache
from pathlib import Path

import pytest
import torch

from models.initialise import initialise
from models.network import Network
from models.typed import Typed, typed
from models.variant import Factors, Run, Training, read_run, read_variants, to_json

DESCENT = {"momentum": 0.9, "weight_decay": 1e-4, "clipped": False, "gradient_clip": 1}
COUNTS = {"warmup_steps": 4, "evaluation_batch_size": 64}
CHOICES = {"schedule": "cosine", "augmentation": "none", "precision": "float32"}
SETTINGS = Training(batch_size=16, **DESCENT, **COUNTS, **CHOICES)
SIZES = {"depth": 8, "width": 4, "seed": 0, "budget": 3, "epochs": 3, "lr": 0.05}
KEPT = ["init", "end"]
NAMES = {"dataset": "mnist1d", "variant": "residual_bn"}
RUN = Run(**NAMES, factors=Factors(), **SIZES, train=SETTINGS, checkpoints=KEPT)


def replaced(value: Typed, **changes: object) -> Typed:
    """Return a copy of a typed value with some of its fields changed."""
    return typed(type(value), {**dict(value), **changes})


@cache
def outcome(factors: Factors) -> list[torch.Tensor]:
    """Return the initial state and the logits of a network with the given factors."""
    network = Network(factors, 8, 4, (1, 1, 40), 3)
    initialise(network, factors, 0)
    torch.manual_seed(0)  # of noise in the network
    return [*network.state_dict().values(), network(torch.linspace(-1, 1, 160).view(4, 1, 1, 40))]


@pytest.mark.parametrize(("factor", "default"), list(Factors()))
def test_every_level_that_is_studied_changes_the_network(factor: str, default: object) -> None:
    studied, changed = {variant.factors for variant in read_variants().values()}, set()
    for factors in studied:
        try:
            usual = replaced(factors, **{factor: default})
        except ValueError:  # the default level contradicts another factor
            continue
        if usual != factors:
            ours, theirs = outcome(factors), outcome(usual)
            assert len(ours) != len(theirs) or not all(map(torch.equal, ours, theirs)), factors
            changed.add(getattr(factors, factor))
    assert changed == {getattr(factors, factor) for factors in studied} - {default}


GOOD = json.loads(to_json(RUN))
PLAIN_DIRAC = {"shortcut": "none", "init": "dirac"}
NOISY_DIRAC = {**PLAIN_DIRAC, "norm": "noisy_batch"}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"depht": 8}, "run.json: 'depht' is not known; did you mean depth?"),
        ({"seed": 2**32}, "run.json: seed: 4294967296 is not less than 4294967296"),
        ({"depth": 9}, "run.json: depth: 9 is not 6n + 2; the nearest are 8 and 14"),
        ({"depth": 2}, "run.json: depth: 2 is not 6n + 2; the nearest are 8 and 14"),
        ({"checkpoints": ["step0"]}, "checkpoints.0: 'step0' is not init, end, or step1, step2, …"),
        ({"factors": {"shortcut": "identitty"}}, "; did you mean identity?"),
        ({"factors": {"activation": "crelu"}}, "activation: crelu doubles the channels"),
        ({"factors": {"shortcut": "none", "init": "looks_linear"}}, "activation must be crelu"),
        ({"factors": NOISY_DIRAC}, "dirac needs plain blocks, ReLU last"),
        ({"factors": {**PLAIN_DIRAC, "slope": 0.1}}, "dirac needs plain blocks, ReLU last"),
        ({"factors": {**PLAIN_DIRAC, "gain": 2}}, "norm none or batch, gain 1"),
        ({"factors": {"slope": 0.1, "activation": "tanh"}}, "so activation must be relu"),
        ({"factors": {"slope": 1.1}}, "factors.slope: 1.1 is not less than or equal to 1"),
        ({"factors": {"gain": 0}}, "factors.gain: 0 is not greater than 0"),
        ({"lr": None}, "run.json: lr: None is not"),
        ({"start": {**GOOD, "depth": 14}}, "start.depth: 14 is more than depth: 8"),
        ({"start": {**GOOD, "width": 8}}, "one of its own factors and width"),
        ({"start": GOOD}, "only plain networks with ReLU grow, and only once"),
    ],
)
def test_mistakes_in_a_run_get_one_line(edit: dict, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**GOOD, **edit}))
    with pytest.raises(ValueError, match=rf"^.*{re.escape(message)}.*\Z"):
        read_run(path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("Other: {label: other}", "variants.yaml: 'Other' is not a name of at most 64 lower-case"),
        ("other: {}", "variants.yaml: other: label is missing"),
        ("other: {label: o, factors: {norm: batched}}", "other: factors.norm: 'batched' is not"),
        ("other: {label: o, tiems: {width: 2}}", "other: 'tiems' is not known; did you mean times"),
        ("other: {label: o, times: {width: 0}}", "other: times.width: 0 is not"),
        ("other: {label: o, training: {optimiser: adam}}", "'adam' is not known; did you mean ada"),
        ("other: {label: o, training: {warmup_steps: -1}}", "training.warmup_steps: -1 is not"),
        ("other: {label: o, frozen: true}", "other: start is missing: growth and frozen are of a"),
        ("other: {label: o, baseline: plane}", "'plane' is not known; did you mean plain?"),
        ("other: {label: o, baseline: child}", "other.baseline: child has a baseline itself"),
        ("other: {label: o, start: plain}", "other.start: plain has other factors"),
        ("plain: {label: again}", "variants.yaml:3: found duplicate key"),
    ],
)
def test_mistakes_in_variants_yaml_get_one_line(entry: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "variants.yaml"
    known = "plain: {label: p, factors: {shortcut: none}}\nchild: {label: c, baseline: plain}\n"
    (tmp_path / "known.yaml").write_text(known)
    assert list(read_variants(tmp_path / "known.yaml")) == ["plain", "child"]
    path.write_text(known + entry + "\n")
    with pytest.raises(ValueError, match=rf"^.*{re.escape(message)}.*\Z"):
        read_variants(path)


def test_total_steps_leaves_out_what_does_not_fill_a_batch() -> None:
    assert SETTINGS.total_steps(3, 100) == 3 * 6
