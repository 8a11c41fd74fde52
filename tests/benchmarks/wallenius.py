# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from typing import Any

import torch
from scipy.stats import hypergeom, nchypergeom_fisher, nchypergeom_wallenius

from pyro_hypergeo import FisherHypergeometric, WalleniusHypergeometric, ops
from tests.benchmarks.tables import Row
from tests.benchmarks.timing import interleaved
from tests.gradients import (
    URNS,
    Error,
    Function,
    Urn,
    describe,
    error,
    functions,
    measure,
    score_function,
    truth,
)

_DRAWS = 5_000


def _urn(law: Any, batch: int, groups: int, size: int) -> tuple[Any, torch.Tensor]:
    sizes = torch.full((batch, groups), float(size))
    total = (sizes.sum(-1) / 3).floor()
    theta = torch.linspace(-1, 1, groups).expand(batch, groups)
    return law(total, sizes, log_weights=theta), theta


def _log_prob(law: Any, batch: int, groups: int, size: int) -> Callable[[], None]:
    urn, theta = _urn(law, batch, groups, size)
    counts = urn.mode

    def step() -> None:
        log_weights = theta.clone().requires_grad_()
        fresh = law(urn.total_count, urn.group_sizes, log_weights=log_weights)
        fresh.log_prob(counts).sum().backward()

    return step


def _scipy(batch: int, size: int) -> Callable[[], None]:
    k, odds = torch.arange(batch) % (size // 2), torch.linspace(0.5, 4, batch).numpy()

    def step() -> None:
        nchypergeom_wallenius.pmf(k.numpy(), 2 * size, size, size, odds)

    return step


def _values(batch: int, size: int) -> Callable[[], None]:
    k, odds = torch.arange(batch) % (size // 2), torch.linspace(0.5, 4, batch)
    counts = torch.stack([k, size - k], -1).double()
    weights = torch.stack([odds, torch.ones_like(odds)], -1)

    def step() -> None:
        WalleniusHypergeometric(size, [size, size], weights).log_prob(counts)

    return step


def _mean(law: Any, batch: int, groups: int) -> Callable[[], None]:
    urn, theta = _urn(law, batch, groups, 50)

    def step() -> None:
        law(urn.total_count, urn.group_sizes, log_weights=theta).mean.sum()

    return step


def _sample(law: Any, groups: int, size: int) -> Callable[[], None]:
    urn, _ = _urn(law, 1, groups, size)
    return lambda: urn.sample((1000,))


def _relaxed_top(urn: Urn, f: Function, temperature: float) -> Error:
    """Straight-through by n soft choices in turn from the logarithms of the clocks."""
    exact = truth(urn, f, WalleniusHypergeometric)
    theta = torch.tensor(urn.weights).log().expand(_DRAWS, -1).clone().requires_grad_()
    sizes = torch.tensor(urn.group_sizes)
    group = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    keys = theta[:, group] - torch.empty(_DRAWS, len(group)).exponential_().log()
    left, soft = keys, torch.zeros_like(keys)
    for _ in range(urn.total_count):
        chosen = torch.softmax(left / temperature, -1)
        soft = soft + chosen
        left = left + torch.log1p(-chosen.clamp(max=1 - 1e-12))
    hard = torch.zeros_like(keys).scatter(1, keys.topk(urn.total_count).indices, 1.0)
    of_group = torch.nn.functional.one_hot(group).double()
    counts, soft = hard @ of_group, soft @ of_group
    (gradients,) = torch.autograd.grad(f(counts + (soft - soft.detach())).sum(), theta)
    even = exact._replace(probs=torch.full((_DRAWS,), 1 / _DRAWS))
    return measure(even, gradients.unsqueeze(0))


def wallenius_gradients(seconds: float) -> list[Row]:
    """Bias / noise of the gradient of one draw of Wallenius' law, over the norm of the true one.

    top-n: a relaxed choice of the first n clocks, at a temperature.
    """
    rows = []
    for urn in URNS[:1]:
        for name, f in functions(urn).items():
            errors = {
                "score function": score_function(urn, f, WalleniusHypergeometric),
                "mean": error(urn, f, ops.wallenius_mean_gradient, law=WalleniusHypergeometric),
                "affine": error(urn, f, ops.wallenius_affine_gradient, law=WalleniusHypergeometric),
                "top-n, 1": _relaxed_top(urn, f, 1.0),
                "top-n, 0.3": _relaxed_top(urn, f, 0.3),
            }
            rows.append({**describe(urn), "function": name, **errors})
    return rows


def _categories() -> list[Callable[[], None]]:
    """All upper tails of 2000 categories of 20,000 genes, 3000 of which are drawn."""
    size = torch.randint(10, 501, (2000,))
    counts = (size * 0.15).round()
    sizes = torch.stack([size, 20_000 - size], -1)
    weights = torch.stack([1 + torch.rand(2000), torch.ones(2000)], -1)
    drawn, marked, odds = counts.numpy(), size.numpy(), weights[:, 0].numpy()

    def ours() -> None:
        WalleniusHypergeometric(3000, sizes, weights).marginal(0).sf(counts - 1)

    def fishers() -> None:
        FisherHypergeometric(3000, sizes, weights).marginal(0).sf(counts - 1)

    def theirs() -> None:
        hypergeom.sf(drawn - 1, 20_000, marked, 3000)

    def theirs_fisher() -> None:
        nchypergeom_fisher.sf(drawn - 1, 20_000, marked, 3000, odds)

    return [ours, theirs, fishers, theirs_fisher]


def wallenius(seconds: float) -> list[Row]:
    """Wallenius' law over Fisher's, and over scipy's implementation."""
    both = (WalleniusHypergeometric, FisherHypergeometric)
    than = "Fisher's law"
    ours, central, fishers, noncentral = _categories()
    pairs: list[tuple[str, str, list[Callable[[], None]]]] = [
        ("log_prob forward + backward, 64 x 10", than, [_log_prob(x, 64, 10, 50) for x in both]),
        ("mean, 64 x 10", than, [_mean(x, 64, 10) for x in both]),
        ("mean, 512 x 10", than, [_mean(x, 512, 10) for x in both]),
        ("1000 draws, 3 x 10", than, [_sample(x, 3, 10) for x in both]),
        ("1000 draws, 10 x 100,000", than, [_sample(x, 10, 100_000) for x in both]),
        ("500 values, two groups of 200", "scipy", [_values(500, 200), _scipy(500, 200)]),
        ("upper tails of 2000 categories", "scipy's hypergeom", [ours, central]),
        ("the same under Fisher's law", "scipy's nchypergeom_fisher", [fishers, noncentral]),
    ]
    rows = []
    for name, other, steps in pairs:
        time, its = interleaved(steps, seconds)
        rows.append(
            {
                "Wallenius' law": name,
                "ms": time,
                "compared with": other,
                "its ms": its,
                "ratio": time / its,
            }
        )
    return rows
