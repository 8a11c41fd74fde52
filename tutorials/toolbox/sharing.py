# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""For 04 and 04b: ways to decide which dimensions a pair shares, and how evidence turns them."""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor
from torch.distributions import Categorical

from pyro_hypergeo import (
    FisherHypergeometric,
    FisherHypergeometricStraightThrough,
    counts_to_mask,
)
from pyro_hypergeo.ops import (
    log_binomial_coefficient,
    log_elementary_symmetrics,
    log_subset_evidence,
    subset_posterior,
)
from toolbox.pairs import Posteriors


def uniform_prior(d: int) -> Tensor:
    """The log-probability of each number of shared dimensions, 0, ..., d."""
    return torch.full((d + 1,), -math.log(d + 1))


def label_mask(q: Posteriors) -> Tensor:
    """LabelVAE knows that one dimension is private. It takes the one with the largest KL."""
    distance = q.kl_between()
    return (distance < distance.amax(-1, keepdim=True)).float()


def ada_mask(q: Posteriors) -> Tensor:
    """AdaVAE: a dimension is shared if its KL is closer to the smallest than to the largest KL."""
    distance = q.kl_between()
    threshold = (distance.amin(-1, keepdim=True) + distance.amax(-1, keepdim=True)) / 2
    return (distance < threshold).float()


def nearest_first(q: Posteriors, k: Tensor) -> Tensor:
    """The k dimensions with the smallest KL are shared. ``k`` may carry a gradient."""
    rank = q.kl_between().argsort(-1).argsort(-1)
    return counts_to_mask(k, rank.shape[-1]).gather(-1, rank)


def count_law(
    model, q: Posteriors, estimator: str
) -> tuple[FisherHypergeometricStraightThrough, FisherHypergeometricStraightThrough]:
    """q(k, d - k | pair) and its prior: d places are drawn from d shared and d private ones."""
    distance = q.kl_between().detach().sort(-1).values.log1p()
    log_weight = model.count_encoder(distance)
    log_weights = torch.cat([log_weight, torch.zeros_like(log_weight)], -1)
    d = model.latent
    laws = [
        FisherHypergeometricStraightThrough(
            d, [d, d], log_weights=w, estimator=estimator, validate_args=False
        )
        for w in (log_weights, torch.zeros(2))
    ]
    return laws[0], laws[1]


def draw_subset(log_factors: Tensor, log_size_probs: Tensor) -> Tensor:
    """Draw which dimensions are shared: first their number k, then a k-subset by Fisher's law."""
    k = Categorical(logits=log_size_probs.expand(*log_factors.shape[:-1], -1)).sample().float()
    ones = torch.ones(log_factors.shape[-1])
    return FisherHypergeometric(k, ones, log_weights=log_factors, validate_args=False).sample()


def subset_mask(q: Posteriors) -> Tensor:
    """The law of subsets: a dimension is shared if its inclusion probability is above 1/2."""
    factors = q.log_bayes_factors()
    posterior = subset_posterior(factors, uniform_prior(factors.shape[-1]))
    return (posterior.inclusion_probs > 0.5).float()


def evidence(factors: Tensor) -> Tensor:
    """The mean log-evidence of sharing over the pairs: (..., pairs, d) to (...)."""
    return log_subset_evidence(factors, uniform_prior(factors.shape[-1])).mean(-1)


def rotation_of_evidence(q: Posteriors, angles: int = 19, sweeps: int = 4) -> Tensor:
    """The rotation of the latents that maximises the evidence of sharing, (runs, d, d).

    Jacobi sweeps, as in independent component analysis: each pair of dimensions is turned by the
    best of some angles within 45 degrees. The pairs of images need no label.
    """
    runs, _, d = q.means[0].shape
    rotation = torch.eye(d).expand(runs, d, d)
    turns = torch.linspace(-math.pi / 4, math.pi / 4, angles)
    for _ in range(sweeps):
        turned = False
        for i, j in torch.combinations(torch.arange(d)).tolist():
            tries = torch.eye(d).repeat(angles, 1, 1, 1)  # (angles, 1, d, d)
            tries[:, 0, i, i] = tries[:, 0, j, j] = turns.cos()
            tries[:, 0, i, j], tries[:, 0, j, i] = -turns.sin(), turns.sin()
            factors = q.rotate(tries).log_bayes_factors()
            others = [k for k in range(d) if k not in (i, j)]
            best = _evidence_of_two(factors[..., [i, j]], factors[0][..., others]).argmax(0)
            chosen = tries[best, 0]
            turned |= bool((best != angles // 2).any())
            q, rotation = q.rotate(chosen), chosen @ rotation
        if not turned:
            break
    return rotation


def _evidence_of_two(two: Tensor, others: Tensor) -> Tensor:
    """:func:`evidence` for many pairs of dimensions (..., 2) and the same others (..., d - 2)."""
    d = others.shape[-1] + 2
    k = torch.arange(d + 1.0)
    log_prior = uniform_prior(d) - log_binomial_coefficient(torch.tensor(float(d)), k)
    sums = log_elementary_symmetrics(others)
    none, one, both = (torch.logsumexp(log_prior[i : i + d - 1] + sums, -1) for i in range(3))
    parts = [none.expand(two.shape[:-1]), one + two.logsumexp(-1), both + two.sum(-1)]
    return torch.stack(parts).logsumexp(0).mean(-1)


def groups_of_evidence(factors: Tensor) -> list[list[int]]:
    """Groups of dimensions that are shared or private together, from log-factors (pairs, d).

    The log-Bayes factor of a group is the sum over its dimensions. As long as the evidence grows,
    the two groups are merged for which it grows most. Their number needs not be known.
    """
    groups = [[j] for j in range(factors.shape[-1])]
    best = evidence(factors)
    while len(groups) > 1:
        merged = [
            [*(g for g in groups if g not in (a, b)), a + b] for a, b in combinations(groups, 2)
        ]
        scores = torch.stack([evidence(sum_over(factors, g)) for g in merged])
        if scores.max() <= best:
            break
        best, groups = scores.max(), merged[int(scores.argmax())]
    return groups


def sum_over(factors: Tensor, groups: list[list[int]]) -> Tensor:
    """The log-Bayes factor of each group, (..., groups)."""
    return torch.stack([factors[..., g].sum(-1) for g in groups], -1)


def shared_groups(q: Posteriors, groups: list[list[int]]) -> Tensor:
    """The probability of each group to be shared, by the law of subsets, (..., groups)."""
    factors = sum_over(q.log_bayes_factors(), groups)
    return subset_posterior(factors, uniform_prior(len(groups))).inclusion_probs


def spread_over(shared: Tensor, groups: list[list[int]]) -> Tensor:
    """From a decision for each group to one for each dimension."""
    mask = torch.zeros(*shared.shape[:-1], sum(map(len, groups)))
    for value, group in zip(shared.unbind(-1), groups, strict=True):
        mask[..., group] = value.unsqueeze(-1)
    return mask


def calibrate(q: Posteriors, steps: int = 30) -> Tensor:
    """The variance of each dimension, (runs, 1, d), that explains how shared latents differ.

    If a latent is shared, the encoder should say the same of both images. How far it does not is
    learned by EM, weighted by the probability of being shared. No label is needed.
    """
    difference = (q.means[0] - q.means[1]).square() / 2
    variance = torch.full_like(difference[..., :1, :], 0.1)
    for _ in range(steps):
        factors = q.with_variance(variance).log_bayes_factors()
        shared = subset_posterior(factors, uniform_prior(factors.shape[-1])).inclusion_probs
        total = (shared * difference).sum(-2, keepdim=True) + 1e-3
        variance = (total / (shared.sum(-2, keepdim=True) + 1)).clamp(1e-4, 0.9)
    return variance


def calibrated_rotation(q: Posteriors, rounds: int = 3, **options: int) -> tuple[Tensor, Tensor]:
    """The rotation of evidence and the calibrated variances after it, found in turns."""
    rotation = torch.eye(q.means[0].shape[-1])
    for _ in range(rounds):
        turned = q.rotate(rotation)
        turned = turned.with_variance(calibrate(turned))
        rotation = rotation_of_evidence(turned, **options) @ rotation
    return rotation, calibrate(q.rotate(rotation))
