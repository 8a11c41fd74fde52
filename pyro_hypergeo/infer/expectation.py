# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor

from ..distributions import FisherHypergeometric


def expectation(
    f: Callable[[Tensor], Tensor],
    fisher: FisherHypergeometric,
    sample_shape: Any = Size(),  # noqa: B008
) -> Tensor:
    r"""Estimates :math:`E[f(x)]` from pairs of draws, with an **unbiased** gradient of low noise.

    With independent draws :math:`x, x'` of mean :math:`\mu` and covariance :math:`\Sigma`, and
    :math:`d = x - \mu`, the gradient in the log-weights is

    .. math::

        \tfrac12 R \, (x - x') + \tfrac12 \Sigma (g + g')
        + \tfrac14 \bigl( d d^\top - d' d'^\top \bigr) (g - g'), \qquad
        R = f(x) - f(x') - \tfrac12 (g + g') \cdot (x - x') ,

    with :math:`g = \nabla f(x)`. The first term is the score-function estimator of two draws for
    what the slopes do not explain, the others are the exact expectation of what they do. It has no
    noise for linear :math:`f`, and little for smooth ones; straight-through draws have less noise
    still, and a bias. Parameters of :math:`f` have the usual gradient, averaged over both draws.
    Cost: two evaluations of f and its gradient, and O(G).

    :param callable f: maps counts of shape ``(2,) + sample_shape + batch_shape + (G,)`` to values
        of shape ``(2,) + sample_shape + batch_shape``; differentiable in the counts, each value
        depending on its own counts only.
    :param FisherHypergeometric fisher: the law of the counts.
    :param sample_shape: pairs of draws for each batch entry.
    :return: estimates of the expectation, of shape ``sample_shape + batch_shape``.
    :raises ValueError: if ``f`` returns another shape.

    **References:**

    [1] Gu, S., Levine, S., Sutskever, I. and Mnih, A. (2016) "MuProp: unbiased backpropagation for
        stochastic neural networks", ICLR: the idea, with one draw and the slope at the mean.

    Example::

        >>> import torch
        >>> from pyro_hypergeo import FisherHypergeometric, expectation
        >>> log_weights = torch.zeros(3, requires_grad=True)
        >>> urn = FisherHypergeometric(4, [5, 3, 2], log_weights=log_weights)
        >>> loss = expectation(lambda x: (x[..., 0] * x[..., 1]).sqrt(), urn, (100,)).mean()
        >>> loss.backward()
    """
    sample_shape = Size(sample_shape)
    with torch.enable_grad():
        counts = fisher.sample(Size((2,)) + sample_shape).requires_grad_()
        values = f(counts)
    expected = Size((2,)) + sample_shape + fisher.batch_shape
    if values.shape != expected:
        raise ValueError(
            f"Expected `f` to map counts of shape {tuple(counts.shape)} to values of shape "
            f"{tuple(expected)}, but got shape {tuple(values.shape)}."
        )
    if values.requires_grad:
        (slopes,) = torch.autograd.grad(
            values.sum(), counts, retain_graph=True, materialize_grads=True
        )
    else:
        slopes = torch.zeros_like(counts)
    with torch.no_grad():
        away = counts - fisher.mean
        gap, slope = counts[0] - counts[1], slopes.mean(0)
        rest = values[0] - values[1] - (slope * gap).sum(-1)
        bend = away * (away * (slopes[0] - slopes[1])).sum(-1, keepdim=True)
        direct = 0.5 * rest.unsqueeze(-1) * gap + 0.25 * (bend[0] - bend[1])
    theta = fisher._theta
    theta = torch.where(theta == -torch.inf, 0.0, theta)  # such a group never moves
    # A value of no account, whose gradient is the estimate.
    movement = (direct * theta + slope * fisher._known.mean).sum(-1)
    return values.mean(0) + fisher._out(movement - movement.detach())
