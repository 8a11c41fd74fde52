# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Unbiased gradients through counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor

from ..distributions.urn_law import UrnLaw


def expectation(
    f: Callable[[Tensor], Tensor],
    urn: UrnLaw,
    sample_shape: Any = Size(),  # noqa: B008
) -> Tensor:
    r"""Estimate :math:`E[f(x)]` from pairs of draws, with an **unbiased** gradient of low noise.

    Let :math:`x` and :math:`x'` be independent draws with mean :math:`\mu`. Write
    :math:`d = x - \mu`, :math:`s = \nabla_\theta \log p(x)` for the score, and
    :math:`g = \nabla f(x)`; the same with a prime for :math:`x'`. The gradient in the log-weights
    is

    .. math::

        \tfrac12 R \, (s - s') + \tfrac12 \frac{\partial \mu}{\partial \theta}^{\!\top} (g + g')
        + \tfrac14 \bigl( s d^\top - s' d'^\top \bigr) (g - g'), \qquad
        R = f(x) - f(x') - \tfrac12 (g + g') \cdot (x - x') .

    The slopes :math:`g` explain a linear part of :math:`f`. The gradient of that part is known
    exactly: the second and the third term. The score function estimates the rest: the first term.
    There is no noise if :math:`f` is linear, and little noise if it is smooth. Straight-through
    draws have even less noise, but they have a bias. Parameters of :math:`f` have the usual
    gradient, averaged over both draws. Under Fisher's law :math:`s = d`.

    Cost of each pair: two evaluations of f and of its gradient, and two draws. Besides, the mean
    and its gradient are computed once: O(G) for each batch entry under Fisher's and Wallenius' law.
    For a law that is not an exponential family, such as Wallenius', ``log_prob`` of both draws and
    its gradient are computed too.

    :param callable f: maps counts of shape ``(2,) + sample_shape + batch_shape + (G,)`` to values
        of shape ``(2,) + sample_shape + batch_shape``. It is differentiable in the counts. Each
        value depends only on its own counts.
    :param UrnLaw urn: the distribution of the counts, with any law.
    :param sample_shape: number of pairs of draws for each batch entry, as a shape.
    :type sample_shape: torch.Size or tuple of int
    :return: estimates of the expectation, of shape ``sample_shape + batch_shape``.
    :raises ValueError: if ``f`` returns another shape.

    **References:**

    [1] Gu, S., Levine, S., Sutskever, I. and Mnih, A. (2016) "MuProp: unbiased backpropagation for
        stochastic neural networks", ICLR. It has the same idea, with one draw and with the slope at
        the mean.

    Example::

        >>> import torch
        >>> from pyro_hypergeo import FisherHypergeometric, expectation
        >>> log_weights = torch.zeros(3, requires_grad=True)
        >>> urn = FisherHypergeometric(4, [5, 3, 2], log_weights=log_weights)
        >>> loss = expectation(lambda x: (1 + x[..., 0] * x[..., 1]).log(), urn, (100,)).mean()
        >>> loss.backward()
        >>> log_weights.grad.isfinite().all()
        tensor(True)
    """
    sample_shape = Size(sample_shape)
    with torch.enable_grad():
        counts = urn.sample(Size((2,)) + sample_shape).requires_grad_()
        values = f(counts)
    expected = Size((2,)) + sample_shape + urn.batch_shape
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
        # The names of the formula: d, (g + g') / 2, R and d . (g - g').
        deviation, slope = counts - urn.mean, slopes.mean(0)
        remainder = values[0] - values[1] - (slope * (counts[0] - counts[1])).sum(-1)
        curvature = (deviation * (slopes[0] - slopes[1])).sum(-1)
        # The factor of the score of each draw.
        factor = torch.stack(
            [0.5 * remainder + 0.25 * curvature[0], -0.5 * remainder - 0.25 * curvature[1]]
        )
    score = urn.law.score_carrier(urn.state, counts.detach())
    # Only its gradient is used: the estimate. Its value is ignored.
    movement = (factor * score).sum(0) + (slope * urn.law.mean(urn.state)).sum(-1)
    return values.mean(0) + urn.to_dtype(movement - movement.detach())
