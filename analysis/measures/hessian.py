"""The spectrum of the Hessian of the loss, by stochastic Lanczos quadrature.

For random vectors v of entries +-1 (Hutchinson), normalised, `steps` steps of Lanczos on H give a
tridiagonal T whose eigenvalues t_i and squared first components w_i of its eigenvectors are a
quadrature of the spectral density seen from v (Ghorbani et al. 2019; Golub and Welsch 1969).

    top, bottom  extreme t_i over all vectors: they converge to the extreme eigenvalues
    trace        that of H on the span of Lanczos' vectors, which is the sum of the t_i, and on the
                 rest the mean of u'Hu over `probes` vectors u of entries +-1, made orthogonal to
                 the span (Meyer et al. 2021, "Hutch++"); mean over the vectors v
    near_zero    mean weight of the t_i with |t_i| < 1e-2 of the largest |t|
    negative     |bottom| / top, as Li et al. 2018 map it

Mean loss of the sample in train mode, over all parameters; exact Hessian-vector products. Lanczos
orthogonalises against all earlier vectors, twice. Rows: vector, node (from the smallest),
eigenvalue t_i, weight w_i, trace (seen from this vector). Nothing where a product is not finite.
"""

import math
import statistics
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.run import Subject, flat

NEAR = 1e-2


def measure(subject: Subject, vectors: int, steps: int, probes: int) -> Iterator[dict]:
    network = subject.network.train()
    product = hessian_product(network, subject.inputs, subject.targets)
    size = sum(parameter.numel() for parameter in network.parameters())
    generator, device = subject.generator(), subject.inputs.device
    for vector in range(vectors):
        v = signs(size, generator).to(device)
        nodes, weights, basis = quadrature(product, v, min(steps, size))
        draws = [signs(size, generator).to(device) for _ in range(probes)]
        trace = sum(nodes) + statistics.mean(unseen(product, basis, u) for u in draws)
        for node, (eigenvalue, weight) in enumerate(zip(nodes, weights, strict=True)):
            yield {
                "vector": vector,
                "node": node,
                "eigenvalue": eigenvalue,
                "weight": weight,
                "trace": trace,
            }


def signs(size: int, generator: torch.Generator) -> Tensor:
    """A random vector of entries +-1."""
    return torch.randint(0, 2, (size,), generator=generator) * 2.0 - 1


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
) -> tuple[list[float], list[float], Tensor]:
    """Nodes, weights and basis (steps, size) after `steps` of Lanczos from `v`; no nodes if a
    product is not finite."""
    basis = [v / v.norm()]
    alphas, betas = [], []
    for step in range(steps):
        w = product(basis[-1])
        alphas.append(torch.dot(w, basis[-1]).item())
        if not math.isfinite(alphas[-1]):
            return [], [], torch.stack(basis)
        w = outside(torch.stack(basis), w)
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
    return nodes.tolist(), directions[0].square().tolist(), torch.stack(basis)


def outside(basis: Tensor, v: Tensor) -> Tensor:
    """The part of `v` that is orthogonal to the rows of `basis`."""
    for _ in range(2):  # once is not enough in single precision
        v = v - basis.T @ (basis @ v)
    return v


def unseen(product: Callable[[Tensor], Tensor], basis: Tensor, u: Tensor) -> float:
    """An estimate, from a random vector, of the trace outside the span of the basis."""
    rest = outside(basis, u)
    return torch.dot(rest, product(rest)).item()


def scalars(rows: list[dict]) -> dict[str, float]:
    names = ("log_top", "negative", "trace", "near_zero")
    values = [row["eigenvalue"] for row in rows]
    if not values or max(values) <= 0:
        return dict.fromkeys(names, math.nan)
    vectors = 1 + max(row["vector"] for row in rows)
    top, bottom = max(values), min(values)
    largest = max(top, -bottom)
    return {
        "log_top": math.log10(top),
        "negative": max(-bottom, 0.0) / top,
        "trace": statistics.mean({row["vector"]: row["trace"] for row in rows}.values()),
        "near_zero": sum(row["weight"] for row in rows if abs(row["eigenvalue"]) < NEAR * largest)
        / vectors,
    }
