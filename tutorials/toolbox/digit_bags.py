# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""For 05_clustering: bags of digits from a finite stock. Their labels are hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from pyro_hypergeo import FisherHypergeometric
from pyro_hypergeo.ops import log_elementary_symmetrics


@dataclass
class Bags:
    """Bags of images of two digits; the arrays are padded to the largest bag."""

    sizes: Tensor  # (bags, 2): how many images of each digit were in stock
    total: Tensor  # (bags,): how many of them were drawn
    counts: Tensor  # (bags, 2): how many of each digit were drawn, hidden
    labels: Tensor  # (bags, places): 1 for the first digit, 0 for the second, hidden
    images: Tensor  # (bags, places, pixels)
    present: Tensor  # (bags, places): whether there is an image


def draw_bags(
    pools: tuple[Tensor, Tensor], bags: int, weights: Tensor, noise: float, largest: int = 25
) -> Bags:
    """Stocks of 4 to ``largest`` images of each digit. Fisher's law draws 60 % of each stock."""
    sizes = torch.randint(4, largest + 1, (bags, 2)).double()
    total = (0.6 * sizes.sum(-1)).round()
    counts = FisherHypergeometric(total, sizes, weights).sample()
    places = torch.arange(int(total.max()))
    labels = places < counts[:, :1]
    first, second = (pool[torch.randint(len(pool), labels.shape)] for pool in pools)
    images = torch.where(labels.unsqueeze(-1), first, second)
    images = images + noise * torch.randn_like(images)
    present = places < total.unsqueeze(-1)
    return Bags(sizes, total, counts, labels.double(), images, present)


def log_density(images: Tensor, pool: Tensor, noise: float) -> Tensor:
    """Log-density of a random image of the pool plus normal noise, up to a constant."""
    squares = torch.cdist(images.flatten(0, -2), pool).square().reshape(*images.shape[:-1], -1)
    return torch.logsumexp(-squares / (2 * noise**2), -1) - torch.tensor(len(pool)).log()


def label_tables(log_ratios: Tensor, total: Tensor) -> Tensor:
    """log L(k). L(k) is a mean over all ways to choose k of n images.

    Each way contributes the product of the likelihood ratios of its k images.
    """
    log_sums = log_elementary_symmetrics(log_ratios)  # a place without an image: -inf
    k = torch.arange(log_sums.shape[-1], dtype=log_sums.dtype)
    rest = (total.unsqueeze(-1) - k).clamp(min=0)
    log_ways = torch.lgamma(total + 1).unsqueeze(-1) - torch.lgamma(k + 1) - torch.lgamma(rest + 1)
    return torch.where(k <= total.unsqueeze(-1), log_sums - log_ways, -torch.inf)


def independent_labels(log_ratios: Tensor, present: Tensor, logit: Tensor) -> Tensor:
    """Log-evidence of each bag under independent labels with this logit."""
    ratios = torch.where(present, log_ratios, 0.0)
    terms = softplus(ratios + logit.unsqueeze(-1)) + logsigmoid(-logit).unsqueeze(-1)
    return torch.where(present, terms, 0.0).sum(-1)


def maximize(log_likelihood: Callable[[Tensor], Tensor], steps: int = 50) -> tuple[float, float]:
    """The number that maximizes the log-likelihood, by Newton's method, and its standard error."""
    value = torch.zeros((), dtype=torch.float64)
    for _ in range(steps):
        value = value.requires_grad_()
        (slope,) = torch.autograd.grad(log_likelihood(value), value, create_graph=True)
        (bend,) = torch.autograd.grad(slope, value)
        step = (slope / bend.abs()).detach().clamp(-1.0, 1.0)
        value = value.detach() + step
        if step.abs() < 1e-6:
            break
    return value.item(), bend.abs().rsqrt().item()


def profile_interval(
    log_likelihood: Callable[[Tensor], Tensor], best: float, error: float, z: float = 1.645
) -> tuple[float, float]:
    """The numbers at which the log-likelihood is z^2 / 2 below its maximum, on either side."""
    with torch.no_grad():
        top = log_likelihood(torch.tensor(best, dtype=torch.float64))
        ends = []
        for side in (-1, 1):
            width = error
            for _ in range(8):  # the root of the drop is nearly a straight line
                drop = top - log_likelihood(torch.tensor(best + side * z * width).double())
                width = float(width * z / (2 * drop.clamp(min=1e-9)).sqrt())
            ends.append(best + side * z * width)
    return ends[0], ends[1]
