"""Measure the spectrum of the Hessian H of the loss by stochastic Lanczos quadrature.

`steps` steps of Lanczos on H, from a normalised random vector v of entries +-1 (Hutchinson), give a
tridiagonal matrix. Its eigenvalues t_i, and the squared first components w_i of its eigenvectors,
are a quadrature of the spectral density seen from v (Ghorbani et al. 2019; Golub and Welsch 1969).
The largest and smallest t_i over all vectors, top and bottom, converge to those of H. The trace is
the sum of the t_i on the span of Lanczos' vectors; on the rest it is estimated by the mean of u'Hu
over `probes` vectors u of entries +-1, orthogonal to the span (Meyer et al. 2021, "Hutch++").
Mean loss of the sample in train mode, over all parameters, with exact Hessian-vector products.
There are no rows where a product is not finite.
Rows: vector, node (0 is the smallest), eigenvalue t_i, weight w_i, trace (from the vector).
Quantities: log10 of top; |bottom| / top, as Li et al. 2018 map it; the mean trace over vectors; and
the mean weight of the t_i with |t_i| < 1e-2 of the largest |t|.
"""

import math
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.run import Rows, Subject, flat

SETTINGS = {
    "examples": ("count", 2, "training images, evenly spaced over the set"),
    "vectors": ("count", 1, "random vectors from which Lanczos starts"),
    "steps": ("count", 2, "steps of Lanczos"),
    "probes": ("count", 1, "random vectors for the part of the trace that Lanczos does not see"),
}
QUANTITIES = {
    "log_top": "largest eigenvalue of the Hessian",
    "negative": "most negative over most positive curvature",
    "trace": "trace of the Hessian",
    "near_zero": "share of the Hessian's spectrum near zero",
}

Product = Callable[[Tensor], Tensor]  # v -> H v


def measure(subject: Subject, vectors: int, steps: int, probes: int) -> Rows:
    network = subject.network.train()
    product = hessian_product(network, subject.inputs, subject.targets)
    size = sum(parameter.numel() for parameter in network.parameters())
    generator = subject.generator()

    def signs() -> Tensor:
        return (torch.randint(0, 2, (size,), generator=generator) * 2.0 - 1).to(subject.inputs)

    for vector in range(vectors):
        nodes, weights, basis = quadrature(product, signs(), min(steps, size))
        rest = [outside(basis, signs()) for _ in range(probes)]
        trace = sum(nodes) + statistics.mean(torch.dot(u, product(u)).item() for u in rest)
        for node, (t, w) in enumerate(zip(nodes, weights, strict=True)):
            yield {"vector": vector, "node": node, "eigenvalue": t, "weight": w, "trace": trace}


def hessian_product(network: nn.Module, x: Tensor, y: Tensor) -> Product:
    """Return the function v -> H v of flat vectors. The graph of the gradient is built once."""
    parameters = list(network.parameters())
    loss = F.cross_entropy(network(x), y)
    g = flat(torch.autograd.grad(loss, parameters, create_graph=True))
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}

    def product(v: Tensor) -> Tensor:
        return flat(torch.autograd.grad(g, parameters, v, **options)).detach()

    return product


def quadrature(product: Product, v: Tensor, steps: int) -> tuple[list[float], list[float], Tensor]:
    """Return nodes, weights and basis (steps, size) of Lanczos; no nodes if H v is not finite."""
    basis = [v / v.norm()]
    alphas, betas = [], []
    for step in range(steps):
        w = product(basis[-1])
        alphas.append(torch.dot(w, basis[-1]).item())
        if not math.isfinite(alphas[-1]):
            return [], [], torch.stack(basis)
        w = outside(torch.stack(basis), w)
        beta = w.norm().item()
        # If w vanishes, an invariant space is found: v shows no more of the spectrum.
        if step + 1 == steps or beta <= 1e-6 * max(map(abs, alphas)):
            break
        betas.append(beta)
        basis.append(w / beta)
    diagonal, off = (torch.tensor(values, dtype=torch.double) for values in (alphas, betas))
    matrix = torch.diag(diagonal) + torch.diag(off, 1) + torch.diag(off, -1)
    nodes, directions = torch.linalg.eigh(matrix)
    return nodes.tolist(), directions[0].square().tolist(), torch.stack(basis)


def outside(basis: Tensor, v: Tensor) -> Tensor:
    """Return the part of `v` that is orthogonal to the orthonormal rows of `basis`."""
    for _ in range(2):  # once is not enough in single precision
        v = v - basis.T @ (basis @ v)
    return v


def quantities(rows: list[dict]) -> dict[str, float]:
    values = [row["eigenvalue"] for row in rows]
    top, bottom = max(values), min(values)
    if top <= 0:
        return dict.fromkeys(QUANTITIES, math.nan)
    near = [row["weight"] for row in rows if abs(row["eigenvalue"]) < 1e-2 * max(top, -bottom)]
    traces = {row["vector"]: row["trace"] for row in rows}
    return {
        "log_top": math.log10(top),
        "negative": max(-bottom, 0.0) / top,
        "trace": statistics.mean(traces.values()),
        "near_zero": sum(near) / len(traces),
    }
