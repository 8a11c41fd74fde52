# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The potential energy of the posterior: what Hamiltonian Monte Carlo needs."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from ..distributions.laws import LAWS
from ..ops.law import ExponentialFamily
from ..ops.zero_sum import zero_sum_vector
from .table import Table


class Potential:
    """Minus the log-density of the posterior up to a constant, in units of a Laplace approximation.

    In these units the posterior is close to a standard normal law, for every table. Equal strata
    are evaluated once. So are strata that differ in their counts only, if the law allows it.
    """

    def __init__(
        self, table: Table, prior_scale: float, law: str, mode: Tensor, factor: Tensor
    ) -> None:
        self._law, self._precision = LAWS[law].law, prior_scale**-2
        self._center, self._map = zero_sum_vector(mode), zero_sum_vector(factor.mT).mT
        self._drawn, groups = table.counts.sum(0), len(table.groups)
        totals = isinstance(self._law, ExponentialFamily)
        key = table.counts.sum(-1, keepdim=True) if totals else table.counts
        rows, times = torch.cat([table.sizes, key], -1).unique(dim=0, return_counts=True)
        self._sizes, self._counts = rows.split([groups, key.shape[-1]], -1)
        self._total, self._times = self._counts.sum(-1), times.to(rows.dtype)

    def __call__(self, parameters: dict[str, Tensor]) -> Tensor:
        """The energy, differentiable once, at ``parameters["white"]``."""
        return energy_at(parameters["white"], self)

    def log_weights(self, white: Tensor) -> Tensor:
        """Log-weights (..., G) from parameters (..., G - 1)."""
        return self._center + white @ self._map.mT

    def energy_and_gradient(self, white: Tensor) -> tuple[Tensor, Tensor]:
        """The energy at one point (G - 1,), and its gradient."""
        theta = self.log_weights(white)
        value, slope = self._likelihood(theta)
        # The coordinates of the log-weights are orthonormal. So the prior is a function of their
        # squares.
        energy = 0.5 * self._precision * theta.dot(theta) - value
        return energy, (self._precision * theta - slope) @ self._map

    def _likelihood(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The log-likelihood up to a constant, and its gradient in the log-weights."""
        theta = theta.detach()
        if isinstance(self._law, ExponentialFamily):
            with torch.no_grad():
                state = self._solve(theta)
                value = self._drawn @ theta - self._times @ self._law.log_partition(state)
                return value, self._drawn - self._times @ self._law.mean(state)
        with torch.enable_grad():
            theta.requires_grad_()
            value = self._times @ self._law.log_prob(self._solve(theta), self._counts)
            return value.detach(), torch.autograd.grad(value, theta)[0]

    def _solve(self, theta: Tensor) -> Any:
        return self._law.solve(theta.expand(self._sizes.shape), self._sizes, self._total)


class EnergyWithGradient(Protocol):
    """What has an energy, and computes its gradient along with it."""

    def energy_and_gradient(self, white: Tensor) -> tuple[Tensor, Tensor]:
        """The energy at one point, and its gradient."""
        ...


def energy_at(white: Tensor, potential: EnergyWithGradient) -> Tensor:
    """The energy, differentiable once, at one point."""
    return _Energy.apply(white, potential)


class _Energy(torch.autograd.Function):
    """The energy of a potential; its gradient is computed along with it."""

    @staticmethod
    def forward(ctx: Any, white: Tensor, potential: EnergyWithGradient) -> Tensor:
        energy, gradient = potential.energy_and_gradient(white)
        ctx.save_for_backward(gradient)
        return energy

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None
