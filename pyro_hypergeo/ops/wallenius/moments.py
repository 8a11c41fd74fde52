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
    # the third. With F = v b, rates r and node weights c, they are Re sum (M_i c F_j + c F_i M_j),
    # where M_i = F_i (D(a + F) / 2 - r_i (q_i - p_i) + r_i F_i / m_i) - r_i v_i. We use real
    # arithmetic: the gradients of complex products may fail in a trace.
    groups, b = at.groups, at.derivatives
    size, variance, rates, skew = (
        x.mT.unsqueeze(-1)
        for x in (groups.sizes.clamp(min=1), groups.variance, at.rates, groups.q - groups.p)
    )
    real, imag = (variance * x.movedim(-3, -2).contiguous() for x in (b.real, b.imag))
    by_rate = (at.rates * groups.variance).unsqueeze(-2)
    gone = (at.rates * groups.sizes * groups.q).sum(-1)[..., None, :, None]
    half_real = 0.5 * (gone - (by_rate @ b.real).movedim(-2, -3))
    half_imag = -0.5 * (by_rate @ b.imag).movedim(-2, -3)
    bend = rates / size
    turn_real = torch.addcmul(half_real - rates * skew, bend, real)
    turn_imag = torch.addcmul(half_imag, bend, imag)
    left_real = torch.addcmul(-rates * variance, turn_real, real)
    left_real = torch.addcmul(left_real, turn_imag, imag, value=-1)
    left_imag = torch.addcmul(turn_real * imag, turn_imag, real)

    rest = (at.rates * at.rest).sum(-1)
    weight = _weights(at)
    scale = (weight / rest)[..., None, :, None]
    w_real, w_imag = (scale * x.unsqueeze(-3) for x in (b.weight_real, b.weight_imag))
    right_real = torch.addcmul(w_real * real, w_imag, imag, value=-1)
    right_imag = torch.addcmul(w_real * imag, w_imag, real)
    # One sum over the nodes u and t together.
    left_real, left_imag, right_real, right_imag = (
        x.flatten(-2) for x in (left_real, left_imag, right_real, right_imag)
    )
    half = left_real @ right_real.mT - left_imag @ right_imag.mT
    mean = wallenius_mean_given(urn, at).unsqueeze(-2)
    away = groups.sizes * groups.p - mean
    shift = weight.unsqueeze(-1) * _tilted_shift(at)
    moved = shift.mT @ away
    result = half + half.mT + moved + moved.mT + (weight.unsqueeze(-1) * away).mT @ away
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
