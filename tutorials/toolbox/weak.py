# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""For 04 and 04b: how autoencoders are trained on pairs, and how their decisions are scored."""

from __future__ import annotations

import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression
from torch import Tensor, nn
from torch.distributions import kl_divergence

from pyro_hypergeo.ops import subset_posterior
from toolbox import sharing
from toolbox.pairs import Pairs, Posteriors, Source, encode, kl_to_prior


def joint_loss(
    model,
    pairs: Pairs,
    q: Posteriors,
    mask: Tensor,
    noise: float,
    common: tuple[Tensor, Tensor],
    copies: float = 1.0,
) -> Tensor:
    """Negative ELBO of each pair, given which dimensions are shared (``mask``, 1 if shared).

    The KL of a shared latent is counted ``copies`` times: once, or twice as AdaVAE does.
    """
    latents = []
    for mean, log_variance in (common, *zip(q.means, q.log_variances, strict=True)):
        latents.append(mean + (log_variance / 2).exp() * torch.randn_like(mean))
    loss = torch.lerp(q.kl(), copies * kl_to_prior(*common), mask).sum(-1)
    for z, image in zip(latents[1:], (pairs.first, pairs.second), strict=True):
        error = model.decoder(torch.lerp(z, latents[0], mask)) - image
        loss = loss + error.square().sum(-1) / (2 * noise)
    return loss


def pair_loss(
    method: str, model, pairs: Pairs, noise: float, warming_up: bool, estimator: str
) -> Tensor:
    """The loss of each run, (runs,), by a method that decides which dimensions are shared."""
    q = encode(model, pairs)
    batch = pairs.first.shape[:-1]
    log_prior = sharing.uniform_prior(model.latent)
    penalty, common, copies = torch.zeros(()), q.product(), 1.0
    if method == "none":
        mask = torch.zeros(*batch, model.latent)
    elif method in ("label", "ada"):
        mask = (sharing.label_mask if method == "label" else sharing.ada_mask)(q).detach()
        common, copies = q.average(), 2.0
    elif method == "subset":
        factors = q.log_bayes_factors().detach()
        sizes = log_prior if warming_up else subset_posterior(factors, log_prior).log_size_probs
        mask = sharing.draw_subset(factors, sizes)
    elif warming_up:
        mask = sharing.nearest_first(q, torch.randint(0, model.latent + 1, batch).float())
    else:
        law, prior = sharing.count_law(model, q, estimator)
        mask = sharing.nearest_first(q, law.rsample()[..., 0])
        penalty = kl_divergence(law, prior)
    return (joint_loss(model, pairs, q, mask, noise, common, copies) + penalty).mean(-1)


def train_pairs(
    source: Source,
    model,
    method: str,
    steps: int = 2000,
    batch: int = 64,
    noise: tuple[float, float] = (0.5, 0.03),
    warmup: float = 0.8,
    estimator: str = "affine",
    lr: float = 2e-3,
) -> None:
    """Train by one of ``"none"``, ``"label"``, ``"ada"``, ``"count"``, ``"subset"``.

    The variance of the pixels falls from the first to the second value of ``noise``. ``warmup`` is
    a share of the steps. In this first part, the last two methods ignore the images when they draw
    the number of shared dimensions: they draw it from its prior.
    """
    optimizer = torch.optim.Adam(model.requires_grad_(True).parameters(), lr, fused=True)
    for step in range(steps):
        part = step / steps
        variance = noise[0] * (noise[1] / noise[0]) ** min(1.0, part / 0.7)
        for group in optimizer.param_groups:
            group["lr"] = lr * (1.0 if part < 0.7 else 0.3 if part < 0.9 else 0.1)
        pairs = source.pairs(model.runs, batch)
        loss = pair_loss(method, model, pairs, variance, part < warmup, estimator)
        optimizer.zero_grad()
        loss.sum().backward()  # each run has its own parameters
        optimizer.step()
    model.requires_grad_(False)


def own_mask(method: str, model, q: Posteriors) -> Tensor:
    """The method's own decision for each dimension, 0 or 1."""
    if method in ("none", "subset"):
        return sharing.subset_mask(q)
    if method == "count":
        return sharing.nearest_first(q, sharing.count_law(model, q, "mean")[0].mode[..., 0])
    return (sharing.label_mask if method == "label" else sharing.ada_mask)(q)


def said(q: Posteriors, mask: Tensor) -> Tensor:
    """How many dimensions are said to be shared. Those that are not in use do not count."""
    return (mask * q.in_use()).sum(-1)


def squared_error(pairs: Pairs, count: Tensor) -> Tensor:
    """The mean squared error of the number of shared factors, for each run."""
    return (count - pairs.count).square().mean(-1)


def factor_scores(pairs: Pairs, q: Posteriors, mask: Tensor) -> tuple[Tensor, Tensor]:
    """R2 of linear regressions: shared factors on shared latents, and private on private."""
    mask = torch.where(q.in_use() > 0, mask, 1.0)
    kinds = (
        (torch.cat([mask * q.product()[0], mask], -1), pairs.shared),
        (torch.cat([(1 - mask) * q.means[0], 1 - mask], -1), ~pairs.shared),
    )
    factors = pairs.shared.shape[-1]
    results = []
    for features, rows in kinds:
        scores = torch.zeros(len(features), factors)
        for run in range(len(features)):
            for j in range(factors):
                chosen = rows[run, :, j]
                x = features[run, chosen].numpy()
                y = pairs.levels[run, chosen, 0, j].numpy()
                half = len(x) // 2
                fit = LinearRegression().fit(x[:half], y[:half])
                scores[run, j] = fit.score(x[half:], y[half:])
        results.append(scores.mean(-1))
    return results[0], results[1]


def level_is_read(features: Tensor, levels: Tensor, rows: Tensor) -> Tensor:
    """Whether a linear classifier reads the level of a factor, for the second half of the rows.

    It learns from those pairs of the first half that ``rows`` names.
    """
    half = len(features) // 2
    known = rows[:half]
    classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1e-3)
    classifier.fit(features[:half][known].numpy(), levels[:half][known].numpy())
    return torch.from_numpy(classifier.predict(features[half:].numpy())) == levels[half:]


def explained(means: Tensor, levels: Tensor) -> Tensor:
    """The share of the variance of each dimension (pairs, d) that the levels of a factor explain.

    It may be any function of the level. So a circle counts as much as a line.
    """
    one_hot = nn.functional.one_hot(levels).double()
    centre = means.double() - means.double().mean(0)
    by_level = (one_hot.T @ centre) / one_hot.sum(0).clamp(min=1).unsqueeze(-1)
    return (one_hot @ by_level).square().mean(0) / centre.square().mean(0)
