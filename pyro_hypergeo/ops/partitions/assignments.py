# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Sums over all labellings with known counts."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fisher.moments import log_partition, mean
from ..tracing import static_shape
from .bags import Bags, bags_of, pair_of, problem_of
from .label_problem import chunks_of, uncompiled
from .label_tables import log_label_sum, marginals_of

#: A table of more numbers than this is refused if the caller does not allow it.
MAX_STATES = 10**7


def log_assignments(
    log_scores: Tensor,
    sizes: Tensor,
    *,
    present: Tensor | None = None,
    max_states: int = MAX_STATES,
) -> Tensor:
    r"""Logarithm of the sum over all labellings whose label counts are known.

    Each of :math:`N` elements has a label :math:`z_e` among :math:`K` groups. Group :math:`k` has
    :math:`n_k` elements:

    .. math::

        \log \sum_{z : \, n(z) = n} \exp \sum_e s_{e, z_e},
        \qquad n_k(z) = \#\{e : z_e = k\}

    If the scores are log-probabilities of labels, this is the log-probability that independent
    labels have these counts. If all sizes are 1, it is the logarithm of a permanent.

    The gradient in the scores is the probability of each label given the counts:
    :func:`assignment_marginals`. For one or two groups the function is
    :func:`log_elementary_symmetric`; it costs O(N), and may be differentiated twice. For more
    groups it needs a table of :math:`S = \prod_k (n_k + 1)` numbers, where the product leaves out
    the largest group. Then it costs O(N K S) time. The backward pass keeps O(N S) numbers, or
    O(:math:`\sqrt N` S) where these are many. It may be differentiated once.

    Groups of size 0 cost nothing. Neither do elements that can have only one label. The relative
    error of all probabilities is that of rounding, for scores of any range.

    :param Tensor log_scores: :math:`s`, shape ``(..., N, K)``; ``-inf`` rules a label out.
    :param Tensor sizes: :math:`n`, shape ``(..., K)``. The bags of a batch may have different
        counts.
    :param Tensor present: which elements there are, booleans of shape ``(..., N)``; all if not
        given. So bags with different numbers of elements fit into one tensor. The scores of
        absent elements are not read.
    :param int max_states: the largest S to accept.
    :return: shape ``(...)``, in the dtype of the scores; ``-inf`` if no labelling is possible. Then
        the gradient is 0.
    :raises ValueError: if the shapes do not fit, or if a table needs more than ``max_states``
        numbers.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_assignments
    >>> scores = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]).log()
    >>> log_assignments(log_scores=scores, sizes=torch.tensor([1, 1, 1])).exp()  # a permanent
    tensor(450.)
    >>> log_assignments(log_scores=scores, sizes=torch.tensor([0, 3, 0])).exp()  # 2 * 5 * 8
    tensor(80.)
    """
    bags = bags_of(log_scores, sizes, present)
    if bags.two_groups:
        pair = pair_of(bags)
        value = pair.base + log_partition(pair.log_odds, pair.free, pair.total)
        result = torch.where(pair.possible, value, -torch.inf)
    else:
        result = uncompiled(_log_sum, bags, max_states)
    return bags.unflattened(result).to(log_scores.dtype)


def assignment_marginals(
    log_scores: Tensor,
    sizes: Tensor,
    *,
    present: Tensor | None = None,
    max_states: int = MAX_STATES,
) -> Tensor:
    r"""Probability of each label of each element, given the counts.

    .. math::

        p(z_e = k \mid n) \quad \text{under} \quad
        p(z \mid n) \propto \exp \sum_e s_{e, z_e} \ \text{ for } \ n(z) = n

    This is the gradient of :func:`log_assignments`, at the same cost. It is differentiable for one
    or two groups only.

    :param Tensor log_scores: :math:`s`, shape ``(..., N, K)``; ``-inf`` rules a label out.
    :param Tensor sizes: :math:`n`, shape ``(..., K)``.
    :param Tensor present: which elements there are, as in :func:`log_assignments`.
    :param int max_states: as in :func:`log_assignments`.
    :return: shape ``(..., N, K)``, in the dtype of the scores. Each row sums to 1, and each column
        to its size. Rows of absent elements are 0. All is 0 if no labelling is possible.
    :raises ValueError: as :func:`log_assignments`.

    >>> import torch
    >>> from pyro_hypergeo.ops import assignment_marginals
    >>> scores = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]).log()
    >>> assignment_marginals(log_scores=scores, sizes=torch.tensor([1, 1, 1]))
    tensor([[0.2067, 0.3467, 0.4467],
            [0.3733, 0.3333, 0.2933],
            [0.4200, 0.3200, 0.2600]])
    """
    bags = bags_of(log_scores, sizes, present)
    if bags.two_groups:
        pair = pair_of(bags)
        first = mean(pair.log_odds, pair.free, pair.total) + pair.certain
        labels = torch.stack([first, pair.there - first][: static_shape(bags.scores)[-1]], -1)
        result = torch.where(pair.possible[..., None, None], labels, 0.0)
    else:
        result = uncompiled(_marginals, bags, max_states)
    return bags.unflattened(result).to(log_scores.dtype)


def _log_sum(bags: Bags, max_states: int) -> Tensor:
    with torch.no_grad():
        problem, limits = problem_of(bags)
        chunks = chunks_of(limits, max_states)
    return chunks.guard(log_label_sum(bags.scores, problem, chunks), limits)


def _marginals(bags: Bags, max_states: int) -> Tensor:
    with torch.no_grad():
        problem, limits = problem_of(bags)
        chunks = chunks_of(limits, max_states)
    return chunks.guard(marginals_of(bags.scores, problem, chunks), limits)
