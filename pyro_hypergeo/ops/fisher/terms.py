# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The factors of Fisher's law, one for each count, and sums of products over the last groups."""

from __future__ import annotations

import torch
from torch import Tensor

from ..binomial import log_binomial_coefficient, log_tilted_pmf
from ..log_convolution import log_suffixes
from ..urn import Bounds
from .state import FisherState


def log_suffix_partitions(log_weights: Tensor, group_sizes: Tensor, total_max: int) -> Tensor:
    r"""Log-partition functions of the last groups, for every first group and every total.

    .. math::

        S_{i, r} = \log \, [z^r] \prod_{j \ge i} (1 + e^{\theta_j} z)^{m_j},
        \qquad i = 0, \dots, G, \quad r = 0, \dots, \text{total\_max}

    Each group needs one convolution of positive terms in log space. So every entry has full
    relative accuracy, far into the tails. Differentiable twice in the log-weights, without NaN at
    weights of 0. Cost: O(G t min(t, max m)) time with t = total_max. Memory: O(G t), plus that of
    one convolution.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param int total_max: the largest total.
    :return: shape ``(..., G + 1, total_max + 1)``, in the dtype of the log-weights; ``-inf`` where
        the groups hold too few elements. Row 0 is for all groups, row G for no group.
    :raises ValueError: if ``total_max`` is negative.

    **References:**

    [1] Chen, X.-H., Dempster, A. P. and Liu, J. S. (1994) "Weighted finite population sampling to
        maximize entropy", Biometrika 81(3): such recursions, for groups of one element.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_suffix_partitions
    >>> log_suffix_partitions(
    ...     log_weights=torch.zeros(2), group_sizes=torch.tensor([2.0, 1.0]), total_max=3
    ... ).exp()
    tensor([[1., 3., 3., 1.],
            [1., 1., 0., 0.],
            [1., 0., 0., 0.]])
    """
    if total_max < 0:
        raise ValueError(f"Expected `total_max` not to be negative, but got {total_max}.")
    shape = torch.broadcast_shapes(log_weights.shape, group_sizes.shape)
    theta = log_weights.double().expand(shape)
    present = theta != -torch.inf
    sizes = torch.where(present, group_sizes.detach().double().expand(shape), 0.0)
    theta = torch.where(present, theta, 0.0).unsqueeze(-1)
    sizes = sizes.unsqueeze(-1)
    bounds = Bounds(group_sizes, torch.zeros(()))
    k = _counts(min(bounds.size, total_max), sizes)
    log_terms = log_binomial_coefficient(sizes, torch.minimum(k, sizes)) + k * theta
    log_terms = torch.where(k <= sizes, log_terms, -torch.inf)
    return bounds.guard(log_suffixes(log_terms, total_max)).to(log_weights.dtype)


def log_tilted_terms(state: FisherState, max_size: int) -> Tensor:
    """Log-factors of the law for each group and count, shape (..., G, max_size + 1).

    These are the log-probabilities of tilted binomials. The product of the factors is the law, up
    to a constant that is the same for all count vectors. Factors of probable counts are not large.
    At an edge the only possible count has the factor 1.
    """
    urn = state.urn
    u = (urn.log_weights + state.tilt.unsqueeze(-1)).unsqueeze(-1)
    sizes, edge = urn.sizes.unsqueeze(-1), urn.edge.unsqueeze(-1)
    k = _counts(max_size, sizes)
    inside = torch.where(k <= sizes, log_tilted_pmf(k, sizes, u), -torch.inf)
    certain = torch.where((k == edge) & urn.feasible[..., None, None], 0.0, -torch.inf)
    return torch.where(urn.interior[..., None, None], inside, certain)


def _counts(largest_count: int, like: Tensor) -> Tensor:
    return torch.arange(largest_count + 1, dtype=like.dtype, device=like.device)
