# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The log-probability of counts under Fisher's law."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..autograd import apply
from ..binomial import log_binomial_pmf, log_small_binomial_pmf, stirling_gaps
from ..tracing import may_branch
from .state import FisherState, solve_fisher


def log_prob(
    value: Tensor,
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
) -> Tensor:
    r"""Log-probability of counts under Fisher's law.

    .. math::

        \log p(x) = \sum_i \Bigl( \log \tbinom{m_i}{x_i} + x_i \theta_i \Bigr) - A(\theta)

    It is computed from tilted binomials in deviance form. So nothing cancels, even in large urns.
    The formula also holds for real counts between the bounds. Differentiable in the counts and in
    the log-weights. Cost: O(G).

    :param Tensor value: counts :math:`x`, shape ``(..., G)``.
    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: the broadcast batch shape, in the dtype of the log-weights; ``-inf`` outside of the
        support.

    **References:**

    [1] Loader, C. (2000) "Fast and accurate computation of binomial probabilities".

    >>> import torch
    >>> from pyro_hypergeo.ops import log_prob
    >>> log_prob(
    ...     value=torch.tensor([1.0, 0.0]),
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([2.0, 1.0]),
    ...     total_count=torch.tensor(1.0),
    ... ).exp()
    tensor(0.6667)
    """
    state = solve_fisher(log_weights, group_sizes, total_count)
    return log_prob_given(state, value).to(log_weights.dtype)


def log_prob_given(state: FisherState, value: Tensor) -> Tensor:
    """The log-probability of counts (..., G) under a state, in float64."""
    urn, x = state.urn, value.double()
    left = urn.sizes - x
    if may_branch(x) and urn.ordinary:
        counts = torch.stack(torch.broadcast_tensors(urn.sizes, x, left)).detach()
        low, high = (bound.item() for bound in counts.aminmax())
        away = (x.detach().sum(-1) - urn.total).abs().amax().item()
        if low >= 0 and away < 0.5:
            return _log_prob(state, x, left, stirling_gaps(counts, high) if away == 0 else None)
    on_lattice = ((x >= 0) & (left >= 0)).all(-1) & ((x.sum(-1) - urn.total).abs() < 0.5)
    at_edge = ((x - urn.edge).abs() < 0.5).all(-1) & urn.feasible
    # Not torch.minimum: where a whole group is drawn, it would pass on half of the gradient.
    within = x.clamp(min=0).clamp(max=urn.sizes)
    result = torch.where(on_lattice, _log_prob(state, within, urn.sizes - within), -torch.inf)
    return torch.where(urn.interior, result, torch.where(at_edge, 0.0, -torch.inf))


def _log_prob(state: FisherState, x: Tensor, left: Tensor, gaps: Tensor | None = None) -> Tensor:
    urn = state.urn
    parts = torch.broadcast_tensors(
        x, urn.log_weights, left, urn.sizes, state.mean, state.tilt.unsqueeze(-1)
    )
    return apply(
        _LogProb,
        *parts,
        state.log_center.detach(),
        urn.total,
        gaps,
        forward_mode=_LogProbForwardMode,
    )


class _LogProb(torch.autograd.Function):
    """sum_i log C(m_i, x_i) + x_i theta_i - A(theta), without cancellation.

    The value comes from tilted binomials and the probability of their sum. The derivatives are
    those of the plain formula.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        theta: Tensor,
        left: Tensor,
        sizes: Tensor,
        mean: Tensor,
        tilt: Tensor,
        log_center: Tensor,
        total: Tensor,
        gaps: Tensor | None,
    ) -> Tensor:
        u = theta + tilt
        if gaps is not None:  # then the sum of the counts is the total
            return log_small_binomial_pmf(x, left, sizes, u, gaps).sum(-1) - log_center
        tilted = log_binomial_pmf(x, sizes, u)
        return tilted.sum(-1) - log_center - tilt[..., 0] * (x.sum(-1) - total)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x, theta, left, _, mean, *_ = inputs
        ctx.save_for_backward(x, theta, left, mean)
        ctx.save_for_forward(x, theta, left, mean)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, theta, left, mean = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        grad_x = grad * _slope(x, theta, left) if ctx.needs_input_grad[0] else None
        return (grad_x, grad * (x - mean), *(None,) * 7)


class _LogProbForwardMode(_LogProb):
    # A class of its own: torch.compile rejects a function with this method.
    @staticmethod
    def jvp(ctx: Any, along_x: Tensor | None, along_theta: Tensor | None, *_: Any) -> Tensor:
        x, theta, left, mean = ctx.saved_tensors
        result = torch.zeros_like(x)
        if along_x is not None:
            result = result + along_x * _slope(x, theta, left)
        if along_theta is not None:
            result = result + along_theta * (x - mean)
        return result.sum(-1)


def _slope(x: Tensor, theta: Tensor, left: Tensor) -> Tensor:
    """The derivative of the log-probability in each count, (..., G)."""
    return theta + torch.digamma(left + 1) - torch.digamma(x + 1)
