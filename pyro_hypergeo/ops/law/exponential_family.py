# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The laws of the form p(x) ~ prod_i c_i(x_i) w_i^x_i, and what follows for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..mean_inversion import Moments
from ..urn import Bounds, Urn
from .law import Law
from .likelihood import LogLikelihood


class ExponentialFamily(Law):
    r"""A law of the form :math:`p(x) = e^{-A(\theta)} \prod_i c_i(x_i) e^{\theta_i x_i}`.

    It has two more functions than a :class:`Law`: its log-partition function :math:`A` and its
    terms. Then the covariance is the slope of the mean. The log-likelihood, its derivatives and the
    divergence follow in closed form. And :func:`~pyro_hypergeo.infer.markov_counts` can sum over
    latent counts.
    """

    def log_partition(self, state: Any) -> Tensor:
        r""":math:`A(\theta)`, shape ``(...)``; ``-inf`` where no draw is possible."""
        raise NotImplementedError

    def log_terms(self, state: Any, max_size: int) -> Tensor:
        r""":math:`\log c_i(k) + k \theta_i` for k = 0, ..., max_size: ``(..., G, max_size + 1)``.

        ``-inf`` where k is larger than the group. A law may add :math:`k s`, with the same tilt
        :math:`s` for all groups, and a constant for each group. Neither changes the law.
        """
        raise NotImplementedError

    def covariance(self, state: Any) -> Tensor:
        """The slope of the mean: one derivative for each group."""
        urn: Urn = state.urn
        differentiable = urn.log_weights.requires_grad
        with torch.enable_grad():
            theta = urn.log_weights
            theta = theta if differentiable else theta.detach().requires_grad_()
            mean = self.mean(self.solve(theta, urn.sizes, urn.total))
            rows = [
                torch.autograd.grad(m.sum(), theta, retain_graph=True, create_graph=differentiable)
                for m in mean.unbind(-1)
            ]
        slope = torch.stack([row for (row,) in rows], -2)
        return torch.where(urn.interior[..., None, None], slope, 0.0)

    def summed_covariance(self, state: Any) -> Tensor:
        """The sum of the covariances of a batch (S, G), shape ``(G, G)``."""
        return self.covariance(state).sum(0)

    def kl(self, p: Any, q: Any, gap: Tensor, bounds: Bounds, max_enumeration: int) -> Tensor:
        """The divergence (theta_p - theta_q) . mean_p - A_p + A_q, shape ``(...)``."""
        mean = self.mean(p)
        # A group that is never drawn adds nothing. One that only q cannot draw makes the
        # divergence infinite.
        gap = torch.where(mean > 0, gap, 0.0)
        result = (gap * mean).sum(-1) - self.log_partition(p) + self.log_partition(q)
        return torch.where(q.urn.feasible, result, torch.inf)

    def moments(self, log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Moments:
        """The mean and its slope, which is the covariance."""
        state = self.solve(log_weights, group_sizes, total_count)
        return Moments(self.mean(state), self.covariance(state), state.urn.interior)

    def log_likelihood(self, theta: Tensor, group_sizes: Tensor, counts: Tensor) -> LogLikelihood:
        """The gradient is the counts minus their means."""
        state = self.solve(theta.expand(group_sizes.shape), group_sizes, counts.sum(-1))
        value, gradient = self.log_prob(state, counts).sum(), (counts - self.mean(state)).sum(0)
        return LogLikelihood(value, gradient, self.summed_covariance(state))

    def score_carrier(self, state: Any, counts: Tensor) -> Tensor:
        """The gradient of ``log_prob`` is the counts minus their means."""
        away = (counts - self.mean(state)).detach()
        return (away * state.urn.log_weights).sum(-1)
