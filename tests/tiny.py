"""A study of a few made-up runs, small enough for every answer to be computed by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from report.claims import adjust, judge, read_claims
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
    "interventions": ["plain_bn_budget4"],
    "depths": [8, 14, 20],
    "compare_depths": {"shallow": 8, "deep": 20},
    "seeds": [0, 1, 2],
    "training": {"momentum": 0.9, "weight_decay": 0.0001},
    "tuning": {"seed": 100, "lrs": [0.03, 0.1]},
    "measures": {"seeds": 2, "gradient_flow": {"examples": 256}},
    "partial": True,
}
MANIFEST = {"name": HOSTILE, "train_examples": 4000, "classes": 10, "shape": [1, 1, 40]}
PROVENANCE = {
    "config": CONFIG,
    "host": {"cores": 2, "processor": "Some CPU"},
    "packages": {"torch": "2.13.0+cpu"},
    "code": {"models/network.py": "0" * 64},
    "rules": {"train": {"jobs": 33, "seconds": 37.5, "cpu_seconds": 20.0, "peak_memory_mb": 240.7}},
    "runs": {"a": {"cpu_seconds": 30.0}, "b": {"cpu_seconds": 15.0}},
}
ERRORS = {  # variant, depth: the training errors of the three seeds
    ("plain_bn", 8): [0.1, 0.2, 0.3],
    ("plain_bn", 20): [0.7, 0.8, 0.9],
    ("plain_bn_budget4", 20): [0.4, 0.6, 0.5],
    ("residual_bn", 20): [0.9, 0.9, 0.9],
}
LOSSES = {("plain_bn", 20): [1.0, 2.0, 2.3], ("residual_bn", 20): [2.5, None, 2.5]}
RUNS = [
    {
        "variant": variant,
        "depth": depth,
        "seed": seed,
        "lr": 0.03 if depth == 8 else 0.1,
        "steps": 80 if loss is not None else 3,
        "parameters": 12345,
        "status": "finished" if loss is not None else "diverged",
        "train_loss": loss,
        "train_error": error,
        "test_error": error + 0.05,
    }
    for (variant, depth), errors in ERRORS.items()
    for seed, (error, loss) in enumerate(
        zip(errors, LOSSES.get((variant, depth), [0.5] * 3), strict=True)
    )
]
QUANTITY = {"variant": "plain_bn", "depth": 20, "checkpoint": "init"}
TABLES = {
    "runs": RUNS,
    "quantities": [
        {**QUANTITY, "seed": 0, "quantity": "gradient_flow.rate", "value": 1.2},
        {**QUANTITY, "seed": 1, "quantity": "gradient_flow.rate", "value": 1.4},
        {**QUANTITY, "seed": 0, "quantity": "gradient_flow.log_first", "value": None},
        {**QUANTITY, "seed": 1, "quantity": "gradient_flow.log_first", "value": 1.0},
    ],
    "missing": [
        {"kind": "run", "variant": "residual_bn", "depth": 14, "seed": 2, "reason": "NA"},
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
HALF = [("plain_bn_budget4", "deep", 1), ("plain_bn", "deep", -0.5), ("plain_bn", "shallow", -0.5)]
CONTRASTS = {  # claim: prediction, smallest effect, terms
    "deeper": ("above", 1, [("plain_bn", "deep", 1), ("plain_bn", "shallow", -1)]),
    "slow": ("below", 0, HALF),
    "narrow": ("below", 0, [("plain_bn_width4", "deep", 1)]),
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


def write_study(folder: Path) -> Path:
    """Write results/tiny, results/data and claims.yaml; return the folder of the results."""
    results = folder / "results/tiny"
    (results / "tables").mkdir(parents=True)
    (folder / "results/data").mkdir()
    for path, content in {
        folder / "claims.yaml": {"claims": [claim(name) for name in CONTRASTS]},
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
    judged = adjust([judge(each, Results(results)) for each in read_claims(claims)])
    (results / "claims.json").write_text(json.dumps({"claims": judged}), encoding="utf-8")


def rewrite(path: Path, change: Callable[[dict], object]) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
