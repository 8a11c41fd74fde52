# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Gradients through counts without bias."""

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
    r"""Estimates :math:`E[f(x)]` from pairs of draws, with an **unbiased** gradient of low noise.

    With independent draws :math:`x, x'` of mean :math:`\mu`, :math:`d = x - \mu`, the score
    :math:`s = \nabla_\theta \log p(x)` and :math:`g = \nabla f(x)`, the gradient in the
    log-weights is

    .. math::

        \tfrac12 R \, (s - s') + \tfrac12 \frac{\partial \mu}{\partial \theta}^{\!\top} (g + g')
        + \tfrac14 \bigl( s d^\top - s' d'^\top \bigr) (g - g'), \qquad
        R = f(x) - f(x') - \tfrac12 (g + g') \cdot (x - x') .

    The slopes :math:`g` explain a linear part of :math:`f`. The gradient of that part is known
    exactly: the second and the third term. The score function estimates the rest: the first term.
    There is no noise for linear :math:`f`, and little for smooth ones. Straight-through draws have
    less noise still, and a bias. Parameters of :math:`f` have the usual gradient, averaged over
    both draws. Under Fisher's law :math:`s = d`. Cost: two evaluations of f and its gradient, and
    those of ``mean`` and, but for exponential families, of ``log_prob``.

    :param callable f: maps counts of shape ``(2,) + sample_shape + batch_shape + (G,)`` to values
        of shape ``(2,) + sample_shape + batch_shape``; differentiable in the counts, each value
        depending on its own counts only.
    :param urn: the distribution of the counts, of any law.
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
        away = counts - urn.mean
        gap, slope = counts[0] - counts[1], slopes.mean(0)
        rest = values[0] - values[1] - (slope * gap).sum(-1)
        bend = (away * (slopes[0] - slopes[1])).sum(-1)
        # How much the score of each of the two draws counts.
        share = torch.stack([0.5 * rest + 0.25 * bend[0], -0.5 * rest - 0.25 * bend[1]])
    score = urn.law.score_carrier(urn.state, counts.detach())
    # Its gradient is the estimate, and its value is ignored.
    movement = (share * score).sum(0) + (slope * urn.law.mean(urn.state)).sum(-1)
    return values.mean(0) + urn.to_dtype(movement - movement.detach())
