# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""For 04_weak_supervision: pairs of images that share some of their factors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.linear_model import LinearRegression
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence

from pyro_hypergeo import (
    FisherHypergeometric,
    FisherHypergeometricStraightThrough,
    counts_to_mask,
)
from pyro_hypergeo.ops import log_elementary_symmetrics

LEVELS = torch.tensor([8, 8, 5, 5, 5, 5])  # of the six factors
_KINDS = "height", "width", "height", "width", "grey", "grey"


def draw_cells(levels: Tensor) -> Tensor:
    """Images (..., 256) of six patches of 5 x 5 pixels. Each patch shows one factor."""
    image = torch.zeros(*levels.shape[:-1], 16, 16)
    for j, kind in enumerate(_KINDS):
        share = ((levels[..., j] + 1.0) / LEVELS[j]).unsqueeze(-1)
        bar = (5 * share - torch.arange(5.0)).clamp(0, 1)
        if kind == "height":
            patch = bar.unsqueeze(-1).expand(*bar.shape, 5)
        elif kind == "width":
            patch = bar.unsqueeze(-2).expand(*bar.shape, 5)
        else:
            patch = share.unsqueeze(-1)
        row, column = 6 * (j // 3), 5 * (j % 3)
        image[..., row : row + 5, column : column + 5] = patch
    return image.flatten(-2)


@dataclass
class Pairs:
    """Pairs of images, the levels of their factors, and which factors they share."""

    first: Tensor  # (..., 256)
    second: Tensor  # (..., 256)
    levels: Tensor  # (..., 2, 6)
    shared: Tensor  # (..., 6)

    @property
    def count(self) -> Tensor:
        return self.shared.sum(-1).float()


def draw_pairs(*shape: int) -> Pairs:
    """Random pairs. 0 to 5 factors are shared, with equal probability. All other factors differ."""
    count = torch.randint(0, 6, shape)
    shared = torch.rand(*shape, 6).argsort(-1).argsort(-1) < count.unsqueeze(-1)
    one = (torch.rand(*shape, 6) * LEVELS).long()
    other = (one + 1 + (torch.rand(*shape, 6) * (LEVELS - 1)).long()) % LEVELS
    other = torch.where(shared, one, other)
    return Pairs(draw_cells(one), draw_cells(other), torch.stack([one, other], -2), shared)


class ManyLinear(nn.Module):
    """A linear layer for several networks that are trained at the same time."""

    def __init__(self, runs: int, inputs: int, outputs: int):
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(runs, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(runs, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


def many_mlp(runs: int, *widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
        layers += [ManyLinear(runs, inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class PairVAE(nn.Module):
    """``runs`` autoencoders of single images, each with an encoder of the shared count."""

    def __init__(self, runs: int, latent: int):
        super().__init__()
        self.runs, self.latent = runs, latent
        self.encoder = many_mlp(runs, 256, 256, 128, 2 * latent)
        self.decoder = many_mlp(runs, latent, 128, 256, 256)
        self.count_encoder = many_mlp(runs, latent, 64, 1)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances. No variance is above 1, the variance of the prior."""
        mean, raw = self.encoder(images).chunk(2, -1)
        return mean, -nn.functional.softplus(raw)


@dataclass
class Posteriors:
    """The posteriors of both images of a pair: a mean and a log-variance for each dimension."""

    means: tuple[Tensor, Tensor]
    log_variances: tuple[Tensor, Tensor]

    def kl(self) -> Tensor:
        """KL divergence from the prior: the sum over both images."""
        return sum(map(_kl_to_prior, self.means, self.log_variances))

    def kl_between(self) -> Tensor:
        """AdaVAE's distance between the two images: twice KL(first, second)."""
        (m1, m2), (l1, l2) = self.means, self.log_variances
        return (l1 - l2).exp() + (m1 - m2).square() * (-l2).exp() - 1 + l2 - l1

    def average(self) -> tuple[Tensor, Tensor]:
        """AdaVAE's shared posterior: mean of the means, mean of the variances."""
        variance = sum(v.exp() for v in self.log_variances) / 2
        return sum(self.means) / 2, variance.log()

    def product(self) -> tuple[Tensor, Tensor]:
        """The exact shared posterior: the product of both posteriors, divided by the prior."""
        precisions = [(-v).exp() for v in self.log_variances]
        precision = sum(precisions) - 1
        mean = sum(a * m for a, m in zip(precisions, self.means, strict=True)) / precision
        return mean, -precision.log()

    def log_bayes_factors(self) -> Tensor:
        """The log of the integral of q1 q2 / prior: the evidence that a dimension is shared."""
        mean, log_variance = self.product()
        result = (log_variance + mean.square() * (-log_variance).exp()) / 2
        for m, v in zip(self.means, self.log_variances, strict=True):
            result = result - (v + m.square() * (-v).exp()) / 2
        return result


def _kl_to_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


def posterior_of_count(log_factors: Tensor, log_prior: Tensor) -> Tensor:
    """log p(k | pair) for k shared of d dimensions: p(k) e_k(Bayes factors) / C(d, k)."""
    d = log_factors.shape[-1]
    k = torch.arange(d + 1.0)
    log_ways = torch.lgamma(torch.tensor(d + 1.0)) - torch.lgamma(k + 1) - torch.lgamma(d - k + 1)
    return (log_elementary_symmetrics(log_factors) + log_prior - log_ways).log_softmax(-1)


def draw_subset(log_factors: Tensor, log_prior: Tensor, use_evidence: bool = True) -> Tensor:
    """Draw which dimensions are shared: first their number k, then a k-subset by Fisher's law."""
    log_probs = posterior_of_count(log_factors, log_prior) if use_evidence else log_prior
    k = Categorical(logits=log_probs).sample(log_factors.shape[:-1] if not use_evidence else ())
    return k_subset(k.float(), log_factors).sample()


def k_subset(k: Tensor, log_factors: Tensor) -> FisherHypergeometric:
    ones = torch.ones(log_factors.shape[-1])
    return FisherHypergeometric(k, ones, log_weights=log_factors, validate_args=False)


def probability_shared(log_factors: Tensor, log_prior: Tensor) -> Tensor:
    """The probability that each dimension is shared: an exact sum over all subsets."""
    k = torch.arange(log_factors.shape[-1] + 1.0)
    inclusion = k_subset(k, log_factors.unsqueeze(-2)).mean
    weights = posterior_of_count(log_factors, log_prior).exp()
    return (weights.unsqueeze(-1) * inclusion).sum(-2)


def joint_loss(
    model: PairVAE,
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
    loss = torch.lerp(q.kl(), copies * _kl_to_prior(*common), mask).sum(-1)
    for z, image in zip(latents[1:], (pairs.first, pairs.second), strict=True):
        error = model.decoder(torch.lerp(z, latents[0], mask)) - image
        loss = loss + error.square().sum(-1) / (2 * noise)
    return loss


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
    model: PairVAE, q: Posteriors, estimator: str
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


def enumerated_loss(
    model: PairVAE, pairs: Pairs, q: Posteriors, noise: float, log_prior: Tensor
) -> Tensor:
    """About -log p(k, pair) for all k, of shape (runs, d + 1, batch)."""
    k = torch.arange(model.latent + 1.0)

    def stack(x: Tensor) -> Tensor:
        return x.unsqueeze(-3).expand(*x.shape[:-2], len(k), *x.shape[-2:]).flatten(-3, -2)

    stacked = Posteriors(*(tuple(map(stack, x)) for x in (q.means, q.log_variances)))
    images = Pairs(stack(pairs.first), stack(pairs.second), pairs.levels, pairs.shared)
    counts = k.repeat_interleave(pairs.first.shape[-2]).expand(model.runs, -1)
    mask = nearest_first(stacked, counts)
    loss = joint_loss(model, images, stacked, mask, noise, stacked.product())
    return loss.unflatten(-1, (len(k), -1)) - log_prior.unsqueeze(-1)


@dataclass
class WeakRun:
    """Trained networks, and the method by which they decide which dimensions are shared."""

    model: PairVAE
    method: str
    log_prior: Tensor
    noise: float
    history: list[tuple[int, float, float]]  # step, squared error of an image, mean shared count

    def shared(self, pairs: Pairs, q: Posteriors) -> Tensor:
        """The method's own decision for each dimension, 0 or 1."""
        if self.method == "label":
            return label_mask(q)
        if self.method == "ada":
            return ada_mask(q)
        if self.method == "subset":
            return (probability_shared(q.log_bayes_factors(), self.log_prior) > 0.5).float()
        if self.method == "enumerate":
            loss = enumerated_loss(self.model, pairs, q, self.noise, self.log_prior)
            return nearest_first(q, loss.argmin(-2).float())
        return nearest_first(q, count_law(self.model, q, "mean")[0].mode[..., 0])


def train_pairs(
    method: str,
    runs: int = 3,
    latent: int = 8,
    steps: int = 2000,
    batch: int = 64,
    noise: tuple[float, float] = (0.5, 0.03),
    warmup: float = 0.8,
    estimator: str = "affine",
    copies: float = 1.0,
    lr: float = 2e-3,
) -> WeakRun:
    """Train by one of ``"label"``, ``"ada"``, ``"count"``, ``"enumerate"``, ``"subset"``.

    The variance of the pixels falls from the first to the second value of ``noise``. ``warmup`` is
    a share of the steps. In this first part, the last three methods ignore the images when they
    draw the number of shared dimensions: they draw it from its prior.
    """
    model = PairVAE(runs, latent)
    optimizer = torch.optim.Adam(model.parameters(), lr, fused=True)
    log_prior = torch.full((latent + 1,), -torch.tensor(latent + 1.0).log())
    history = []
    for step in range(steps):
        part = step / steps
        variance = noise[0] * (noise[1] / noise[0]) ** min(1.0, part / 0.7)
        for group in optimizer.param_groups:
            group["lr"] = lr * (1.0 if part < 0.7 else 0.3 if part < 0.9 else 0.1)
        pairs = draw_pairs(runs, batch)
        q = encode_pairs(model, pairs)
        loss, mask = _loss_of(
            method, model, pairs, q, variance, log_prior, part < warmup, estimator, copies
        )
        optimizer.zero_grad()
        loss.sum().backward()  # each run has its own parameters
        optimizer.step()
        if step % 50 == 0:
            history.append((step, loss.mean().item(), mask.sum(-1).mean().item()))
    return WeakRun(model.requires_grad_(False), method, log_prior, variance, history)


def encode_pairs(model: PairVAE, pairs: Pairs) -> Posteriors:
    means, log_variances = model.encode(torch.cat([pairs.first, pairs.second], -2))
    return Posteriors(means.chunk(2, -2), log_variances.chunk(2, -2))


def _loss_of(
    method: str,
    model: PairVAE,
    pairs: Pairs,
    q: Posteriors,
    noise: float,
    log_prior: Tensor,
    warming_up: bool,
    estimator: str,
    copies: float,
) -> tuple[Tensor, Tensor]:
    """The mean loss of each run, and the mask of shared dimensions."""
    batch = pairs.first.shape[:-1]
    penalty = torch.zeros(batch)
    common = q.product()
    if method in ("label", "ada"):
        mask = (label_mask if method == "label" else ada_mask)(q).detach()
        common, copies = q.average(), 2.0
    elif method == "subset":
        mask = draw_subset(q.log_bayes_factors().detach(), log_prior, not warming_up)
    elif method == "enumerate":
        losses = enumerated_loss(model, pairs, q, noise, log_prior)
        best = nearest_first(q, losses.argmin(-2).float())
        loss = losses.mean(-2) if warming_up else -torch.logsumexp(-losses, -2)
        return loss.mean(-1), best
    else:
        law, prior = count_law(model, q, estimator)
        if warming_up:
            k = Categorical(logits=log_prior).sample(batch).float()
        else:
            k = law.rsample()[..., 0]
            penalty = kl_divergence(law, prior)
        mask = nearest_first(q, k)
    loss = joint_loss(model, pairs, q, mask, noise, common, copies) + penalty
    return loss.mean(-1), mask


@torch.no_grad()
def evaluate_pairs(run: WeakRun, size: int = 4000, seed: int = 1) -> dict[str, Tensor]:
    """Test on new pairs: errors of the count, and how well the latents predict the factors.

    A dimension is not in use if its KL is below 0.1 on average. Such a dimension carries no factor.
    """
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    pairs = draw_pairs(run.model.runs, size)
    q = encode_pairs(run.model, pairs)
    in_use = q.kl().mean(-2, keepdim=True) > 0.2  # the sum over two images
    mask = torch.cat([run.shared(p, e) for p, e in _pieces(pairs, q)], -2)
    mask = torch.where(in_use, mask, 1.0)
    torch.set_rng_state(state)
    count = 6 - (1 - mask).sum(-1)
    scores = _factor_scores(pairs, q, mask)
    return {
        "MSE": (count - pairs.count).square().mean(-1),
        "exact": (count == pairs.count).float().mean(-1),
        "in use": in_use.sum((-1, -2)).float(),
        "count": count,
        "truth": pairs.count,
        "shared R2": scores[0],
        "private R2": scores[1],
    }


def _pieces(pairs: Pairs, q: Posteriors, size: int = 500):
    """Parts of a set of pairs: enumeration needs many copies, so the set must be small."""
    fields = pairs.first, pairs.second, pairs.levels, pairs.shared, *q.means, *q.log_variances
    for i in range(0, pairs.first.shape[1], size):
        a, b, levels, shared, m1, m2, l1, l2 = (x[:, i : i + size] for x in fields)
        yield Pairs(a, b, levels, shared), Posteriors((m1, m2), (l1, l2))


def _factor_scores(pairs: Pairs, q: Posteriors, mask: Tensor) -> tuple[Tensor, Tensor]:
    """R2 of linear regressions: shared factors on shared latents, and private on private."""
    kinds = (
        (torch.cat([mask * q.product()[0], mask], -1), pairs.shared),
        (torch.cat([(1 - mask) * q.means[0], 1 - mask], -1), ~pairs.shared),
    )
    results = []
    for features, rows in kinds:
        scores = torch.zeros(len(features), 6)
        for run in range(len(features)):
            for j in range(6):
                chosen = rows[run, :, j]
                x = features[run, chosen].numpy()
                y = pairs.levels[run, chosen, 0, j].numpy()
                half = len(x) // 2
                fit = LinearRegression().fit(x[:half], y[:half])
                scores[run, j] = fit.score(x[half:], y[half:])
        results.append(scores.mean(-1))
    return results[0], results[1]
