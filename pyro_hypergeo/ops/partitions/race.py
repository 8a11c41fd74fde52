# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Partitions by races: group after group picks, element by element, from those that are left."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from ..log_convolution import log_sum_exp
from ..tracing import may_branch
from ..wallenius.density import wallenius_log_prob
from .labels import drawn_partition, fits_scores, is_partition, partition_to_labels


def wallenius_partition_log_prob(partition: Tensor, log_scores: Tensor, sizes: Tensor) -> Tensor:
    r"""Log-probability of a partition whose groups pick one after the other.

    Group 1 picks :math:`n_1` elements, one by one. Each time, the probability of an element is its
    score for this group, divided by the sum of the scores of those that are left. Then group 2
    picks from the rest, and so on. The set that a group picks has Wallenius' law, with one element
    in each group of the urn. Let :math:`R_k` be the elements that are left before group :math:`k`
    picks the set :math:`S_k`, and :math:`w_{ek}` the exponential of a log-score:

    .. math::

        \log p(Y) = \sum_{k=1}^{K-1} \log \int_0^\infty D_k e^{-D_k u}
            \prod_{e \in S_k} \bigl(1 - e^{-w_{ek} u}\bigr) du,
        \qquad D_k = \sum_{e \in R_k \setminus S_k} w_{ek} .

    All stages are one batched call of :func:`wallenius_log_prob`. The elements that are not picked
    count as one, with their sum of scores. So each element is at the nodes of one integral only.
    Where Python must not look at values, each element is at those of all stages. Differentiable in
    the log-scores. Cost: O(N) for each node, and O(N K) without nodes.

    :param Tensor partition: one-hot rows, shape ``(..., N, K)``.
    :param Tensor log_scores: shape ``(..., N, K)``, or ``(..., N, 1)`` if all groups share the
        scores. ``-inf`` is a score of 0: the element is never in this group.
    :param Tensor sizes: :math:`n`, shape ``(..., K)``, with the sum :math:`N`.
    :return: the broadcast batch shape, in the dtype of the log-scores; ``-inf`` for a matrix that
        is no partition of these sizes.

    **References:**

    [1] Plackett, R. L. (1975) "The analysis of permutations", Applied Statistics 24(2).

    [2] Wallenius, K. T. (1963) "Biased sampling: the noncentral hypergeometric probability
        distribution".

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_partition_log_prob
    >>> wallenius_partition_log_prob(
    ...     partition=torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
    ...     log_scores=torch.tensor([[3.0], [1.0]]).log(),
    ...     sizes=torch.tensor([1, 1]),
    ... ).exp()
    tensor(0.7500)
    """
    possible = is_partition(partition, sizes) & fits_scores(partition, log_scores)
    # Whatever the matrix is, the stages see a partition of some sizes. So no gradient is NaN.
    labels = partition_to_labels(partition.detach())
    groups = int(partition.shape[-1])
    stage = torch.arange(groups - 1, device=labels.device).unsqueeze(-1)
    scores = log_scores.double().mT
    scores = scores[..., : groups - 1, :] if int(scores.shape[-2]) > 1 else scores
    stages = _packed_stages if may_branch(labels) else _stages
    picked, theta, present = stages(labels.unsqueeze(-2), stage, scores)
    result = wallenius_log_prob(picked, theta, present, picked.sum(-1)).sum(-1)
    return torch.where(possible, result, -torch.inf).to(log_scores.dtype)


def _stages(labels: Tensor, stage: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Counts, log-weights and sizes of the urns of all stages, each (..., K - 1, N)."""
    return (labels == stage).double(), scores, (labels >= stage).double()


def _packed_stages(labels: Tensor, stage: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same with the picked elements, and one element for all that is left: (..., K - 1, W)."""
    later = labels > stage
    rest = log_sum_exp(torch.where(later, scores, -torch.inf)).unsqueeze(-1)
    picked = labels == stage
    number = picked.sum(-1, keepdim=True)
    width = int(number.max()) if number.numel() else 0
    # A stable sort of booleans brings the picked elements to the front.
    place = torch.argsort(picked.to(torch.uint8), -1, descending=True)[..., :width]
    shape = torch.broadcast_shapes(scores.shape[:-1], place.shape[:-1])
    theta = scores.expand(*shape, -1).gather(-1, place.expand(*shape, -1))
    inside = torch.arange(width, device=place.device) < number
    some = later.any(-1, keepdim=True)
    x = torch.cat([inside, torch.zeros_like(some)], -1).double()
    present = torch.cat([inside, some], -1).double()
    return x, torch.cat([theta, rest.expand(*shape, 1)], -1), present


def wallenius_partition_sample(
    log_scores: Tensor,
    sizes: Tensor,
    sample_shape: Size = Size(),  # noqa: B008
) -> Tensor:
    r"""Exact draws of partitions whose groups pick one after the other.

    Every element has an exponential clock for each group, with its score as the rate. A group
    takes those of the elements left whose clocks ring first. If the groups share the scores, one
    clock an element is enough: the first :math:`n_1` in the order of rings are group 1, the next
    :math:`n_2` are group 2, and so on. That order has the law of Plackett and Luce.

    Cost of a draw: one sort, O(N log N), if the scores are shared; otherwise K - 1 sorts. Not
    differentiable. No loop depends on data.

    :param Tensor log_scores: shape ``(..., N, K)``, or ``(..., N, 1)`` if all groups share the
        scores; ``-inf`` is a score of 0.
    :param Tensor sizes: :math:`n`, shape ``(..., K)``, with the sum :math:`N`.
    :param torch.Size sample_shape: shape of the draws for each entry of the batch.
    :return: shape ``sample_shape + (..., N, K)``, in the dtype of the log-scores; NaN where a group
        finds too few elements of positive score, or the sizes have another sum.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_partition_sample
    >>> wallenius_partition_sample(torch.zeros(5, 1), torch.tensor([2, 3])).sum(0)
    tensor([2., 3.])
    """
    with torch.no_grad():
        elements, groups = int(log_scores.shape[-2]), int(sizes.shape[-1])
        batch = torch.broadcast_shapes(log_scores.shape[:-2], sizes.shape[:-1])
        scores = log_scores.detach().double().mT
        scores = scores[..., : max(groups - 1, 1), :]
        # Zeros of both: so the clocks have all dimensions of vmap.
        zeros = torch.zeros_like(scores) + torch.zeros_like(sizes[..., :1, None])
        zeros = zeros.expand(Size(sample_shape) + batch + scores.shape[-2:])
        keys = torch.log(torch.empty_like(zeros).exponential_()) - scores
        ends = sizes.cumsum(-1)
        place = torch.arange(elements, device=sizes.device)
        if int(scores.shape[-2]) == 1:
            slots = (place.unsqueeze(-1) >= ends.unsqueeze(-2)).sum(-1)
            order = keys.squeeze(-2).argsort(-1)
            labels = torch.zeros_like(order).scatter(-1, order, slots.expand(order.shape))
        else:
            labels = _pick(keys, place < sizes.unsqueeze(-1))
        return drawn_partition(labels, log_scores.detach(), sizes).to(log_scores.dtype)


def _pick(keys: Tensor, first: Tensor) -> Tensor:
    """Labels, (..., N): each stage takes the elements left with the smallest keys.

    :param Tensor keys: one for each stage and element, (..., K - 1, N).
    :param Tensor first: how many are taken, as a mask of ranks, (..., K, N).
    """
    stages = int(keys.shape[-2])
    labels = torch.full_like(keys[..., 0, :], stages, dtype=torch.long)
    for k in range(stages):
        free = labels == stages
        order = torch.where(free, keys[..., k, :], torch.inf).argsort(-1)
        wanted = first[..., k, :].expand(order.shape)
        chosen = torch.zeros_like(free).scatter(-1, order, wanted)
        labels = torch.where(chosen, k, labels)
    return labels
