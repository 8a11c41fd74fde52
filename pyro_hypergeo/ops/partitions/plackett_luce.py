# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The law of Plackett and Luce: orders of all elements, by a race."""

from __future__ import annotations

import torch
from torch import Size, Tensor


def plackett_luce_log_prob(order: Tensor, log_scores: Tensor) -> Tensor:
    r"""Log-probability of an order of all elements.

    The first element is chosen with a probability proportional to its score, then the second from
    the rest, and so on. With the log-scores :math:`s` and the order :math:`\pi`:

    .. math::

        \log p(\pi) = \sum_{i=1}^{N} \Bigl( s_{\pi_i} - \log \sum_{j \ge i} e^{s_{\pi_j}} \Bigr)

    Elements of score 0 come last, in an order of equal probabilities. Differentiable in the
    log-scores. Cost: O(N).

    :param Tensor order: a permutation of 0, ..., N - 1, the first chosen element first; shape
        ``(..., N)``.
    :param Tensor log_scores: :math:`s`, shape ``(..., N)``; ``-inf`` is a score of 0.
    :return: the broadcast batch shape, in the dtype of the log-scores; ``-inf`` where an element of
        score 0 is before another one, or where the order is no permutation.

    **References:**

    [1] Luce, R. D. (1959) "Individual Choice Behavior".

    [2] Plackett, R. L. (1975) "The analysis of permutations", Applied Statistics 24(2).

    >>> import torch
    >>> from pyro_hypergeo.ops import plackett_luce_log_prob
    >>> scores = torch.tensor([1.0, 2.0, 1.0])
    >>> plackett_luce_log_prob(torch.tensor([1, 0, 2]), scores.log()).exp()  # 2/4 times 1/2
    tensor(0.2500)
    """
    permuted = is_permutation(order)
    shape = torch.broadcast_shapes(order.shape, log_scores.shape)
    index = torch.where(permuted.unsqueeze(-1), order, 0).long()
    scores = log_scores.double().expand(shape).gather(-1, index.expand(shape))
    present = scores > -torch.inf
    # The elements of score 0 must come last. Their part is the probability of one of their orders.
    sorted_well = ~(present[..., 1:] & ~present[..., :-1]).any(-1)
    absent = (~present).sum(-1).to(scores)
    top = scores.detach().amax(-1, keepdim=True)
    lowest = torch.finfo(torch.float64).min / 4
    scores = torch.where(present, scores - torch.where(top > -torch.inf, top, 0.0), lowest)
    left = scores.flip(-1).logcumsumexp(-1).flip(-1)
    terms = torch.where(present, scores - left, 0.0)
    result = terms.sum(-1) - torch.lgamma(absent + 1)
    possible = permuted & sorted_well & torch.ones_like(absent, dtype=torch.bool)
    result = torch.where(possible, result, -torch.inf)
    return result.to(log_scores.dtype)


def plackett_luce_sample(
    log_scores: Tensor,
    sample_shape: Size = Size(),  # noqa: B008
) -> Tensor:
    r"""Exact draws of orders: every element has an exponential clock, and the rings are sorted.

    Cost of a draw: one sort, O(N log N). Not differentiable.

    :param Tensor log_scores: :math:`s`, shape ``(..., N)``; ``-inf`` is a score of 0.
    :param torch.Size sample_shape: shape of the draws for each entry of the batch.
    :return: permutations of 0, ..., N - 1, the first ring first, of shape
        ``sample_shape + (..., N)``, dtype ``torch.long``.

    >>> import torch
    >>> from pyro_hypergeo.ops import plackett_luce_sample
    >>> plackett_luce_sample(torch.zeros(4)).sort().values
    tensor([0, 1, 2, 3])
    """
    scores = log_scores.detach().double()
    shape = Size(sample_shape) + scores.shape
    log_clock = torch.log(torch.empty_like(scores.expand(shape)).exponential_())
    # Clocks that never ring come last. Among them, those of equal rates give a uniform order.
    never = scores == -torch.inf
    order = torch.where(never, log_clock, log_clock - scores).argsort(-1)
    last = never.expand(order.shape).gather(-1, order).to(torch.uint8)
    return order.gather(-1, last.argsort(stable=True, dim=-1))


def is_permutation(order: Tensor) -> Tensor:
    """Whether the last dimension holds each of 0, ..., N - 1 once, (...)."""
    place = torch.arange(order.shape[-1], device=order.device)
    return (order.sort(-1).values == place).all(-1)
