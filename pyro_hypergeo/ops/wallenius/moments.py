# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Mean, variances and covariances of Wallenius' law, by integrals over the time of ring n + 1."""

from __future__ import annotations

import torch
from torch import Tensor

from ..urn import Urn, make_urn
from .mixture import Mixture, snapshots


def wallenius_mean(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Mean counts under Wallenius' law.

    Let :math:`u` be the time at which element :math:`n + 1` rings. Given :math:`u`, the counts
    follow Fisher's law with odds :math:`e^{w_i u} - 1`, tilted by :math:`D(x)`:

    .. math::

        \mu_i = \int \Pr[S_u = n] \, E[x_i D(x) \mid S_u = n] \, du, \qquad
        D(x) = \sum_i w_i (m_i - x_i) ,

    where :math:`S_u` is the number of elements that have rung by :math:`u`. The moments at each
    node are exact.

    On the CPU, the number of nodes follows from the urn: 16 if the density of :math:`\log u` is
    near to a normal one, and otherwise some tens of equal steps. They are checked: the density must
    have the integral 1. If it has not, there are more. Wherever Python must not look at values,
    there are 128. The error was below 1e-11 :math:`n` in 5000 random urns of up to 10^6 elements,
    with weights over 17 orders of magnitude. Differentiable in the log-weights. Cost: O(G) for each
    node of :math:`u` and each of up to 21 phases of a characteristic function.

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

    The integral is that of :func:`wallenius_mean`, with the same nodes. Differentiable in the
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

    Differentiable in the log-weights. Cost: O(G^2) for each node, as for the covariances.

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


def wallenius_mean_given(urn: Urn, at: Mixture) -> Tensor:
    """The mean, (..., G), in float64."""
    weight = at.weight.unsqueeze(-2)
    result = (weight @ (at.groups.sizes * at.groups.p + at.shift)).squeeze(-2)
    return torch.where(urn.interior.unsqueeze(-1), result, urn.edge)


def wallenius_covariance_given(urn: Urn, at: Mixture) -> Tensor:
    """The covariance matrix, (..., G, G), in float64."""
    # Let X = x - a be the counts, centred at the tilted means a. At each node t, the groups are
    # independent binomials, with complex means F = v B, variances and third cumulants. E[X_i X_j D]
    # needs their joint moments up to the third. With rates r and Phi the weight of the node, they
    # are Re sum (M_i Phi F_j + Phi F_i M_j), where
    # M_i = F_i (D(a + F) / 2 - r_i (q_i - p_i) + r_i F_i / m_i) - r_i v_i.
    groups, shift = at.groups, at.shift
    sizes = groups.sizes.clamp(min=1).mT.unsqueeze(-1)  # (..., G, 1, 1)
    variance, rates, skew = (
        x.mT.unsqueeze(-1) for x in (groups.variance, at.rates, groups.q - groups.p)
    )
    inverse = at.inverse.movedim(-2, -3)  # (..., G, U, J)
    real = inverse * at.versine.unsqueeze(-3) * (-skew * variance)
    imag = inverse * at.sine.unsqueeze(-3) * variance
    half = 0.5 * at.hazard.real
    bend = rates / sizes
    turn_real = torch.addcmul(half.unsqueeze(-3) - rates * skew, bend, real)
    turn_imag = torch.addcmul((0.5 * at.hazard.imag).unsqueeze(-3), bend, imag)
    left_real = torch.addcmul(-rates * variance, turn_real, real)
    left_real = torch.addcmul(left_real, turn_imag, imag, value=-1)
    left_imag = torch.addcmul(turn_real * imag, turn_imag, real)

    weight = at.weight
    scale = (weight / at.norm).unsqueeze(-1)
    phi_real, phi_imag = ((scale * x).unsqueeze(-3) for x in at.phi)
    right_real = torch.addcmul(phi_real * real, phi_imag, imag, value=-1)
    right_imag = torch.addcmul(phi_real * imag, phi_imag, real)
    # One sum over the nodes u and t together.
    left_real, left_imag, right_real, right_imag = (
        x.flatten(-2) for x in (left_real, left_imag, right_real, right_imag)
    )
    half = left_real @ right_real.mT - left_imag @ right_imag.mT
    away = groups.sizes * groups.p
    row = weight.unsqueeze(-2)
    away = away - row @ (away + shift)
    half = half + (weight.unsqueeze(-1) * (shift + 0.5 * away)).mT @ away
    result = half + half.mT
    # The counts sum to a constant. So a variance is minus the sum of the others' covariances: that
    # is shorter than its own formula, and not negative where the draw is nearly certain.
    same = torch.eye(result.shape[-1], dtype=torch.bool, device=result.device)
    result = result.masked_fill(same, 0.0)
    result = result - torch.diag_embed(result.sum(-1).clamp(max=0))
    return torch.where(urn.interior[..., None, None], result, 0.0)
