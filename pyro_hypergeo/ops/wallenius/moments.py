# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Mean, variances and covariances of Wallenius' law, by integrals over the time of ring n + 1."""

from __future__ import annotations

import torch
from torch import Tensor

from ..urn import Urn, make_urn
from .snapshots import Snapshots, snapshots


def wallenius_mean(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Mean counts under Wallenius' law.

    Let :math:`u` be the time at which element :math:`n + 1` rings. Given :math:`u`, the counts
    follow Fisher's law with odds :math:`e^{w_i u} - 1`, tilted by :math:`D(x)`:

    .. math::

        \mu_i = \int \Pr[S_u = n] \, E[x_i D(x) \mid S_u = n] \, du, \qquad
        D(x) = \sum_i w_i (m_i - x_i) ,

    where :math:`S_u` is the number of elements that have rung by :math:`u`. The integral has 128
    Gauss-Legendre nodes. The moments at each node are exact. Compared with 400 nodes, the error was
    below 1e-11 :math:`n` in 420 random urns of up to 10^6 elements, with weights over 17 orders of
    magnitude. Differentiable in the log-weights. Cost: O(G) for each node.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: shape ``(..., G)``, in the dtype of the log-weights.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_mean
    >>> wallenius_mean(
    ...     log_weights=torch.tensor([3.0, 1.0]).log(),
    ...     group_sizes=torch.tensor([1.0, 1.0]),
    ...     total_count=torch.tensor(1.0),
    ... )
    tensor([0.7500, 0.2500])
    """
    urn = make_urn(log_weights, group_sizes, total_count)
    return wallenius_mean_given(urn, snapshots(urn)).to(log_weights.dtype)


def wallenius_covariance(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Covariances of the counts under Wallenius' law.

    .. math::

        \Sigma_{ij} = \int \Pr[S_u = n] \,
            E[(x_i - \mu_i)(x_j - \mu_j) D(x) \mid S_u = n] \, du

    The integral is that of :func:`wallenius_mean`, with the same 128 nodes. Differentiable in the
    log-weights. Cost: O(G^2) for each node.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: shape ``(..., G, G)``, in the dtype of the log-weights.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_covariance
    >>> wallenius_covariance(
    ...     log_weights=torch.tensor([3.0, 1.0]).log(),
    ...     group_sizes=torch.tensor([1.0, 1.0]),
    ...     total_count=torch.tensor(1.0),
    ... )
    tensor([[ 0.1875, -0.1875],
            [-0.1875,  0.1875]])
    """
    urn = make_urn(log_weights, group_sizes, total_count)
    return wallenius_covariance_given(urn, snapshots(urn)).to(log_weights.dtype)


def wallenius_variance(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Variances of the counts under Wallenius' law: the diagonal of :func:`wallenius_covariance`.

    Differentiable in the log-weights. Cost: O(G^2) for each of 128 nodes, as for the covariances.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: shape ``(..., G)``, in the dtype of the log-weights.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_variance
    >>> wallenius_variance(
    ...     log_weights=torch.tensor([3.0, 1.0]).log(),
    ...     group_sizes=torch.tensor([1.0, 1.0]),
    ...     total_count=torch.tensor(1.0),
    ... )
    tensor([0.1875, 0.1875])
    """
    covariance = wallenius_covariance(log_weights, group_sizes, total_count)
    return covariance.diagonal(dim1=-2, dim2=-1)


def wallenius_mean_given(urn: Urn, at: Snapshots) -> Tensor:
    """The mean, (..., G), in float64."""
    weight = _weights(at).unsqueeze(-1)
    result = (weight * (at.groups.sizes * at.groups.p + _tilted_shift(at))).sum(-2)
    return torch.where(urn.interior.unsqueeze(-1), result, urn.edge)


def wallenius_covariance_given(urn: Urn, at: Snapshots) -> Tensor:
    """The covariance matrix, (..., G, G), in float64."""
    # Let X = x - a be the counts, centred at the tilted means a. An average over the lattice nodes
    # t has complex weights. At each t the groups are independent binomials, with complex means
    # b(t), variances v(t) and third cumulants k(t). E[X_i X_j D] needs their joint moments up to
    # the third.
    groups, b = at.groups, at.derivatives
    p, q, variance = groups.p.unsqueeze(-1), groups.q.unsqueeze(-1), groups.variance.unsqueeze(-1)
    skew, pq = q - p, p * q
    slope = torch.complex(b.real, b.imag)  # (..., U, G, T)
    lattice = torch.complex(b.weight_real, b.weight_imag).unsqueeze(-2)  # (..., U, 1, T)
    rates = at.rates.unsqueeze(-1)
    first = variance * slope
    second = variance * (1 + slope * (skew - pq * slope))
    by_rate = (rates * first).sum(-2, keepdim=True)
    gone = (rates.squeeze(-1) * groups.sizes * groups.q).sum(-1)[..., None, None]

    rest = (at.rates * at.rest).sum(-1)
    weight = _weights(at)
    scaled = lattice * (weight / rest)[..., None, None]
    # One sum over the nodes u and t together.
    pairs = _gram((gone - by_rate) * scaled * first - scaled * rates * second, first)
    crossed = _gram(scaled * first, rates * second)
    mean = wallenius_mean_given(urn, at).unsqueeze(-2)
    away = groups.sizes * groups.p - mean
    shift = weight.unsqueeze(-1) * _tilted_shift(at)
    moved = shift.mT @ away
    result = pairs - crossed + moved + moved.mT + (weight.unsqueeze(-1) * away).mT @ away
    # The counts sum to a constant. So a variance is minus the sum of the others' covariances: that
    # is shorter than its own formula, and not negative where the draw is nearly certain.
    same = torch.eye(result.shape[-1], dtype=torch.bool, device=result.device)
    result = result.masked_fill(same, 0.0)
    result = result - torch.diag_embed(result.sum(-1).clamp(max=0))
    return torch.where(urn.interior[..., None, None], result, 0.0)


def _weights(at: Snapshots) -> Tensor:
    """The weights of the nodes in the mixture, (..., U). They are scaled to sum to 1 exactly.

    Without the scaling, the sum would be 1 up to rounding.
    """
    return torch.softmax(at.log_mass + torch.log((at.rates * at.rest).sum(-1)), -1)


def _tilted_shift(at: Snapshots) -> Tensor:
    """E[X D] / E[D], (..., U, G), with X the counts minus the tilted means."""
    groups, b, rates = at.groups, at.derivatives, at.rates.unsqueeze(-1)
    first = groups.variance * b.first
    rest = (at.rates * at.rest).sum(-1, keepdim=True)
    return first - b.covariance_product(rates).squeeze(-1) / rest


def _gram(a: Tensor, b: Tensor) -> Tensor:
    """Re sum_{u, t} a_i b_j, (..., G, G), of two tables (..., U, G, T)."""
    a, b = (x.movedim(-3, -2).flatten(-2) for x in (a, b))
    return (a @ b.mT).real
