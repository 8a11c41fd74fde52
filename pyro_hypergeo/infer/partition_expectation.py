# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Unbiased gradients through partitions, and through every other draw that has a probability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor


def partition_expectation(
    f: Callable[[Tensor], Tensor],
    law: Any,
    draws: int = 2,
    sample_shape: Any = Size(),  # noqa: B008
) -> Tensor:
    r"""Estimate :math:`E[f(Y)]` from exact draws, with an **unbiased** gradient.

    Let :math:`Y_1, \dots, Y_M` be independent draws. The gradient in the parameters
    :math:`\theta` of the distribution is

    .. math::

        \frac1M \sum_{i=1}^M \Bigl( f(Y_i) - \frac1{M - 1} \sum_{j \ne i} f(Y_j) \Bigr)
        \nabla_\theta \log p(Y_i) .

    The mean of :math:`f` over the other draws is the baseline of each draw. It takes away most of
    the noise of the score function, and it brings no bias, since the draws are independent. A
    constant :math:`f` has no noise at all. Parameters of :math:`f` have the usual gradient,
    averaged over the draws.

    :math:`f` need not be differentiable in the partition: a count of errors or a program that is
    run will do. If it is differentiable, its slopes are not used. Use this function for partitions
    by default. For counts, :func:`expectation` uses the slopes and has less noise.

    Cost: M evaluations of f, and M draws with their ``log_prob`` and its gradient. More draws have
    less noise: its variance falls faster than 1 / M.

    :param callable f: maps draws of shape ``(draws,) + sample_shape + batch_shape + event_shape``
        to values of shape ``(draws,) + sample_shape + batch_shape``. Each value depends only on its
        own draw.
    :param law: a distribution with ``sample`` and a differentiable ``log_prob``, such as
        :class:`~pyro_hypergeo.FisherPartition`, :class:`~pyro_hypergeo.WalleniusPartition`,
        :class:`~pyro_hypergeo.PlackettLuce` or a distribution of counts.
    :type law: torch.distributions.Distribution
    :param int draws: number of draws that share baselines, :math:`M`; at least 2.
    :param sample_shape: number of estimates for each batch entry, as a shape.
    :type sample_shape: torch.Size or tuple of int
    :return: estimates of the expectation, of shape ``sample_shape + batch_shape``.
    :raises ValueError: if ``draws`` is less than 2, or if ``f`` returns another shape.

    **References:**

    [1] Kool, W., van Hoof, H. and Welling, M. (2019) "Buy 4 REINFORCE samples, get a baseline for
        free!", ICLR workshop "Deep RL meets structured prediction".

    [2] Mnih, A. and Rezende, D. J. (2016) "Variational inference for Monte Carlo objectives", ICML.

    Example::

        >>> import torch
        >>> from pyro_hypergeo import FisherPartition, partition_expectation
        >>> log_scores = torch.zeros(6, 3, requires_grad=True)
        >>> law = FisherPartition([3, 2, 1], log_scores)
        >>> together = lambda y: (y[..., 0, :] * y[..., 1, :]).sum(-1)  # are 0 and 1 in one group?
        >>> loss = partition_expectation(together, law, draws=4, sample_shape=(100,)).mean()
        >>> loss.backward()
        >>> log_scores.grad.isfinite().all()
        tensor(True)
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 2:
        raise ValueError(
            "Expected `draws` to be a whole number of at least 2, since the other draws are the "
            f"baseline of each, but got {draws}."
        )
    shape = Size((draws,)) + Size(sample_shape)
    with torch.no_grad():
        drawn = law.sample(shape)
    values = f(drawn)
    expected = shape + law.batch_shape
    if values.shape != expected:
        raise ValueError(
            f"Expected `f` to map draws of shape {tuple(drawn.shape)} to values of shape "
            f"{tuple(expected)}, but got shape {tuple(values.shape)}."
        )
    if not values.is_floating_point():
        values = values.to(torch.get_default_dtype())
    log_probs = law.log_prob(drawn)
    # The factor of the score of each draw: its value less the mean of the others, over M.
    known = values.detach()
    factor = (known - known.mean(0)) / (draws - 1)
    # Only its gradient is used: the estimate. Its value is ignored.
    movement = (factor * log_probs).sum(0)
    return values.mean(0) + (movement - movement.detach()).to(values.dtype)
