"""The spectrum of the Hessian of the loss, by stochastic Lanczos quadrature.

For random vectors v of entries +-1 (Hutchinson), normalised, `steps` steps of Lanczos on H give a
tridiagonal T whose eigenvalues t_i and squared first components w_i of its eigenvectors are a
quadrature of the spectral density seen from v (Ghorbani et al. 2019; Golub and Welsch 1969).

    top, bottom  extreme t_i over all vectors: they converge to the extreme eigenvalues
    trace        P mean of v'Hv over the vectors, P the number of parameters (Hutchinson)
    near_zero    mean weight of the t_i with |t_i| < 1e-2 of the largest |t|
    negative     |bottom| / top, as Li et al. 2018 map it

Mean loss of the sample in train mode, over all parameters; exact Hessian-vector products. Lanczos
orthogonalises against all earlier vectors, twice. Rows: vector, node (from the smallest),
eigenvalue t_i, weight w_i. Nothing where a product is not finite.
"""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.run import Subject, flat

NEAR = 1e-2


def measure(subject: Subject, vectors: int, steps: int) -> Iterator[dict]:
    network = subject.network.train()
    product = hessian_product(network, subject.inputs, subject.targets)
    size = sum(parameter.numel() for parameter in network.parameters())
    generator = subject.generator()
    for vector in range(vectors):
        v = torch.randint(0, 2, (size,), generator=generator) * 2.0 - 1
        nodes, weights = quadrature(product, v.to(subject.inputs.device), min(steps, size))
        for node, (eigenvalue, weight) in enumerate(zip(nodes, weights, strict=True)):
            yield {
                "vector": vector,
                "node": node,
                "eigenvalue": eigenvalue,
                "weight": weight,
                "parameters": size,
            }


def hessian_product(network: nn.Module, x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    """v -> H v, both flat. The graph of the gradient is built once."""
    parameters = list(network.parameters())
    loss = F.cross_entropy(network(x), y)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    g = flat(list(gradients))

    def product(v: Tensor) -> Tensor:
        parts = torch.autograd.grad(
            g, parameters, v, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return flat(list(parts)).detach()

    return product


def quadrature(
    product: Callable[[Tensor], Tensor], v: Tensor, steps: int
) -> tuple[list[float], list[float]]:
    """Nodes and weights after `steps` of Lanczos from `v`; none if a product is not finite."""
    basis = [v / v.norm()]
    alphas, betas = [], []
    for step in range(steps):
        w = product(basis[-1])
        alphas.append(torch.dot(w, basis[-1]).item())
        if not math.isfinite(alphas[-1]):
            return [], []
        span = torch.stack(basis)
        for _ in range(2):  # once is not enough in single precision
            w = w - span.T @ (span @ w)
        beta = w.norm().item()
        # An invariant space is found: the rest of the spectrum cannot be seen from v.
        if step + 1 == steps or beta <= 1e-6 * max(map(abs, alphas)):
            break
        betas.append(beta)
        basis.append(w / beta)
    size = len(alphas)
    matrix = torch.diag(torch.tensor(alphas, dtype=torch.double))
    off = torch.tensor(betas[: size - 1], dtype=torch.double)
    matrix += torch.diag(off, 1) + torch.diag(off, -1)
    nodes, directions = torch.linalg.eigh(matrix)
    return nodes.tolist(), directions[0].square().tolist()


def scalars(rows: list[dict]) -> dict[str, float]:
    names = ("log_top", "negative", "trace", "near_zero")
    values = [row["eigenvalue"] for row in rows]
    if not values or max(values) <= 0:
        return dict.fromkeys(names, math.nan)
    vectors = 1 + max(row["vector"] for row in rows)
    top, bottom = max(values), min(values)
    largest = max(top, -bottom)
    mean = sum(row["weight"] * row["eigenvalue"] for row in rows) / vectors
    return {
        "log_top": math.log10(top),
        "negative": max(-bottom, 0.0) / top,
        "trace": rows[0]["parameters"] * mean,
        "near_zero": sum(row["weight"] for row in rows if abs(row["eigenvalue"]) < NEAR * largest)
        / vectors,
    }
