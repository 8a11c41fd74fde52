# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""For 04 and 04b: pairs of images that share factors, and what an encoder says about a pair.

All tensors have the dimension of the run in front: several networks are trained side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Pairs:
    """Pairs of images, the levels of their factors, and which factors they share."""

    first: Tensor  # (..., pixels)
    second: Tensor  # (..., pixels)
    levels: Tensor  # (..., 2, factors)
    shared: Tensor  # (..., factors)

    @property
    def count(self) -> Tensor:
        return self.shared.sum(-1).float()


@dataclass
class Source:
    """Where images come from: their factors, the levels of each, and how they are drawn."""

    names: tuple[str, ...]
    levels: Tensor
    draw: Callable[[Tensor], Tensor]

    def pairs(self, *shape: int) -> Pairs:
        """Random pairs. All counts of shared factors are alike, but one factor or more differs."""
        factors = len(self.names)
        count = torch.randint(0, factors, shape)
        shared = torch.rand(*shape, factors).argsort(-1).argsort(-1) < count.unsqueeze(-1)
        one = (torch.rand(*shape, factors) * self.levels).long()
        step = 1 + (torch.rand(*shape, factors) * (self.levels - 1)).long()
        other = torch.where(shared, one, (one + step) % self.levels)
        return Pairs(self.draw(one), self.draw(other), torch.stack([one, other], -2), shared)

    def new_pairs(self, *shape: int, seed: int) -> Pairs:
        """The same pairs at each call, and the state of the generator is as before."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.pairs(*shape)


@dataclass
class Posteriors:
    """The posteriors of both images of a pair: a mean and a log-variance for each dimension."""

    means: tuple[Tensor, Tensor]  # (..., d) each
    log_variances: tuple[Tensor, Tensor]

    def kl(self) -> Tensor:
        """KL divergence from the prior: the sum over both images."""
        return sum(map(kl_to_prior, self.means, self.log_variances))

    def in_use(self) -> Tensor:
        """Which dimensions say anything: an average KL above 0.1 for an image. 0 or 1."""
        return (self.kl().mean(-2, keepdim=True) > 0.2).float()

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

    def rotate(self, rotation: Tensor) -> Posteriors:
        """The posteriors of the rotated latents. Their covariances are left out.

        The rotation has the shape (runs, d, d), or (angles, 1, d, d) for several at once.
        """
        spread = rotation.square().mT
        return Posteriors(
            tuple(m @ rotation.mT for m in self.means),
            tuple((v.exp() @ spread).log() for v in self.log_variances),
        )

    def with_variance(self, variance: Tensor) -> Posteriors:
        """The same means, and one variance for all images, (..., 1, d)."""
        log_variance = variance.log().expand_as(self.means[0])
        return Posteriors(self.means, (log_variance, log_variance))


def kl_to_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


def encode(model, pairs: Pairs) -> Posteriors:
    """What the encoder says about both images of each pair, each image by itself."""
    means, log_variances = model.encode(torch.cat([pairs.first, pairs.second], -2))
    return Posteriors(means.chunk(2, -2), log_variances.chunk(2, -2))
