"""A study of a few made-up runs, small enough for every answer to be computed by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from report.claims import judge_all, read_claims
from report.results import Results

HOSTILE = (
    """<script>alert(1)</script> #eval("1") $x$ 'q' *a* [x](y) `c` @he2016deep """
    """\\n << v >> &amp; _u_ ~~s~~ ^t^ ... --- {#id} // /* <b> \\[z\\]"""
)
CONFIG = {
    "study": "tiny",
    "dataset": "signals",
    "image_folder": None,
    "variants": ["plain_bn", "residual_bn"],
    "interventions": ["plain_bn_twice"],
    "depths": [8, 14, 20],
    "compare_depths": {"shallow": 8, "deep": 20},
    "budgets": [16, 2],
    "seeds": [0, 1, 2],
    "training": {"momentum": 0.9, "weight_decay": 0.0001},
    "tuning": {"seeds": [100], "lrs": [0.03, 0.1], "halving": False},
    "measures": {"seeds": 2, "gradient_flow": {"examples": 256}},
    "partial": True,
}
MANIFEST = {"name": HOSTILE, "train_examples": 4000, "classes": 10, "shape": [1, 1, 40]}
PROVENANCE = {
    "project": {"version": "0.1.0"},
    "config": CONFIG,
    "host": {"cores": 2, "processor": "Some CPU"},
    "machines": {"number": 1, "same": True},
    "packages": {"torch": "2.13.0+cpu"},
    "code": {"models/network.py": "0" * 64},
    "rules": {
        "cell": {"jobs": 33, "seconds": 37.5, "cpu_seconds": 20.0, "peak_memory_mb": 240.7},
        "measure": {"jobs": 0, "seconds": None, "cpu_seconds": None, "peak_memory_mb": None},
    },
    "runs": {"a": {"cpu_seconds": 30.0}, "b": {"cpu_seconds": 15.0}},
}
ERRORS = {  # variant, depth, budget: the training errors of the three seeds
    ("plain_bn", 8, 2): [0.86, 0.88, 0.9],
    ("plain_bn", 8, 16): [0.1, 0.2, 0.3],
    ("plain_bn", 20, 2): [0.9, 0.9, 0.9],
    ("plain_bn", 20, 16): [0.7, 0.8, 0.9],
    ("plain_bn_twice", 20, 2): [0.5, 0.6, 0.4],
    ("plain_bn_twice", 20, 16): [0.4, 0.6, 0.5],
    ("residual_bn", 20, 2): [0.1, 0.2, 0.1],
    ("residual_bn", 20, 16): [0.9, 0.9, 0.9],
}
LOSSES = {("plain_bn", 20, 16): [1.0, 2.0, 2.3], ("residual_bn", 20, 16): [2.5, None, 2.5]}
RUNS = [
    {
        "variant": network[0], "depth": network[1], "budget": network[2], "seed": seed,
        "lr": 0.03 if network[1] == 8 else 0.1, "parameters": 12345,
        "steps": 3 if loss is None else 5 * network[2],
        "status": "diverged" if loss is None else "finished",
        "train_loss": loss, "train_error": errors[seed], "test_error": errors[seed] + 0.05,
    }
    for network, errors in ERRORS.items()
    for seed, loss in enumerate(LOSSES.get(network, [0.5] * 3))
]  # fmt: skip
QUANTITY = {"variant": "plain_bn", "depth": 20, "budget": 16, "checkpoint": "init"}
TABLES = {
    "runs": RUNS,
    "quantities": [
        {**QUANTITY, "seed": 0, "quantity": "gradient_flow.rate", "value": 1.2},
        {**QUANTITY, "seed": 1, "quantity": "gradient_flow.rate", "value": 1.4},
        {**QUANTITY, "seed": 0, "quantity": "gradient_flow.log_first", "value": None},
        {**QUANTITY, "seed": 1, "quantity": "gradient_flow.log_first", "value": 1.0},
    ],
    "tuning": [  # budget 4 is a quarter of the longest
        {"variant": "plain_bn", "depth": depth, "budget": budget, "lr": lr,
         "train_loss": loss, "train_error": error}
        for depth, budget, lr, loss, error in [
            (8, 16, 0.01, None, 0.9), (8, 16, 0.03, 1.0, 0.5), (8, 16, 0.1, 0.5, 0.6),
            (20, 16, 0.03, 1.0, 0.3), (20, 16, 0.1, 1.2, 0.36),
            (20, 4, 0.03, 1.4, 0.4), (20, 4, 0.1, 1.3, 0.4), (20, 4, 0.3, 1.9, 0.4),
        ]
    ],
    "steps_to_fit": [
        {"variant": "plain_bn", "depth": depth, "threshold": 0.1, "steps": steps, "reached": fits}
        for depth, steps, fits in [
            (8, 40, True), (8, 60.4, True), (8, 80, False), (20, 80, False), (20, 70, True),
        ]
    ],
    "missing": [
        {"kind": "run", "variant": "residual_bn", "depth": 14, "runs": 6, "reason": "NA"},
        {"kind": "measurement", "variant": "residual_bn", "reason": "out of <memory>"},
    ],
    "rank_correlation": [
        {"quantity": name, "sign": sign, "target": "gap", "method": "overall",
         "tau": tau, "low": low, "high": high}
        for name, sign, tau, low, high in [
            ("gradient_flow.log_first", -1, -0.5, -0.8, -0.2),
            ("gradient_flow.rate", 1, -0.456, -0.8, -0.2),
            ("hessian.near_zero", 1, None, None, None),
        ]
    ],
}  # fmt: skip
HALF = [("plain_bn_twice", "deep", 1), ("plain_bn", "deep", -0.5), ("plain_bn", "shallow", -0.5)]
CONTRASTS = {  # claim: prediction, smallest effect, terms
    "deeper": ("above", 1, [("plain_bn", "deep", 1), ("plain_bn", "shallow", -1)]),
    "slow": ("below", 0, HALF),
    "narrow": ("below", 0, [("plain_bn_width4", "deep", 1)]),
    "better": ("below", 1, [("plain_bn_twice", "deep", 1), ("residual_bn", "deep", -1)]),
}


def claim(name: str) -> dict:
    """Return a claim as claims.yaml has it."""
    prediction, size, terms = CONTRASTS[name]
    return {
        "id": name,
        "section": "degradation",
        "statement": f"The claim {name}.",
        "theory": "none",
        "metric": "train_error",
        "contrast": [{"variant": v, "depth": d, "weight": w} for v, d, w in terms],
        "prediction": prediction,
        "smallest_effect": size,
        "reason": "none",
        "sentences": {
            "supported": f"Yes, it is {name}.",
            "contradicted": f'No, by << effect("{name}") >>.',
            "inconclusive": "Perhaps.",
        },
    }


OTHER = claim("slow") | {"smallest_effect": 2}  # what was registered of it asked something else


def write_study(folder: Path) -> Path:
    """Write results/tiny, results/data and claims.yaml; return the folder of the results."""
    results = folder / "results/tiny"
    (results / "tables").mkdir(parents=True)
    (folder / "results/data").mkdir()
    for path, content in {
        folder / "claims.yaml": {"claims": [claim(name) for name in CONTRASTS]},
        results / "registered_claims.yaml": {"claims": [claim("deeper"), OTHER]},
        folder / "results/data/signals.json": MANIFEST,
        results / "config.json": CONFIG,
        results / "provenance.json": PROVENANCE,
    }.items():
        path.write_text(json.dumps(content), encoding="utf-8")
    for name, rows in TABLES.items():
        pd.DataFrame(rows).to_csv(results / f"tables/{name}.csv", index=False)
    judge_again(results, folder / "claims.yaml")
    return results


def judge_again(results: Path, claims: Path) -> None:
    """Write claims.json of a study."""
    judged = judge_all(read_claims(claims), Results(results), {"deeper"})
    (results / "claims.json").write_text(json.dumps({"claims": judged}), encoding="utf-8")


def rewrite(path: Path, change: Callable[[dict], object]) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
