# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Pearson's statistic of counts with exact means and covariances."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..ops.law import Law
from .maximum import blocks

# The errors of covariances and means: relative to the variances, and to the sizes.
_COVARIANCE_ERROR, _MEAN_ERROR = 1e-12, 1e-10
_SMALL_ROOT = 1e-4


def pearson(law: Law, theta: Tensor, sizes: Tensor, counts: Tensor) -> Tensor:
    r"""Pearson's statistic :math:`\sum_s r_s^\top \Sigma_s^+ r_s`, summed over strata in blocks.

    Cost: O(strata G^3), and the memory of a block of strata.

    >>> import torch
    >>> from pyro_hypergeo.infer.pearson import pearson
    >>> from pyro_hypergeo.ops import FISHER
    >>> sizes, counts = torch.tensor([[6.0, 4.0]]), torch.tensor([[3.0, 0.0]])
    >>> pearson(FISHER, torch.zeros(2), sizes, counts)  # (3 - 1.8)^2 / 0.56
    tensor(2.5714, dtype=torch.float64)

    :param Tensor theta: log-weights, shape ``(..., G)``; a batch of them is allowed.
    :param Tensor sizes: shape ``(strata, G)``.
    :param Tensor counts: shape ``(..., strata, G)``. It may have more leading dimensions than
        ``theta``, if all tables in them have the same totals.
    :return: shape ``(...)``.
    """
    batch, groups = theta.shape[:-1], sizes.shape[-1]
    statistic = torch.zeros(batch, dtype=torch.float64)
    # Counts that differ only in more leading dimensions are from the same urns.
    totals = counts.sum(-1)
    while totals.dim() > theta.dim():
        totals = totals[0]
    for part in blocks(len(sizes), batch.numel() * groups * groups):
        theta_of = theta.unsqueeze(-2).expand(*batch, *sizes[part].shape)
        state = law.solve(theta_of, sizes[part], totals[..., part])
        rest = (counts[..., part, :] - law.mean(state)).unsqueeze(-1)
        statistic = statistic + (whitening(law, state) @ rest).square().sum((-3, -2, -1))
    return statistic


def whitening(law: Law, state: Any) -> Tensor:
    r"""Matrices :math:`W` with :math:`W^\top W = \Sigma^+` on residuals, shape ``(..., G, G)``.

    The draw may be nearly certain. Then some variances are smaller than their rounding errors. We
    use the size of these errors instead. So a residual of rounding errors adds nothing, and a count
    that is nearly impossible adds very much.

    >>> import torch
    >>> from pyro_hypergeo.infer.pearson import whitening
    >>> from pyro_hypergeo.ops import FISHER
    >>> sizes = torch.tensor([5.0, 3.0, 4.0])
    >>> state = FISHER.solve(torch.tensor([0.0, -30.0, -60.0]), sizes, torch.tensor(9.0))
    >>> rest = torch.tensor([5.0, 3.0, 1.0]) - FISHER.mean(state)
    >>> (whitening(FISHER, state) @ rest).norm() < 1e-3
    tensor(True)

    :param law: a law.
    :param state: a result of its method ``solve``.
    """
    covariance, urn = law.covariance(state), state.urn
    inside = urn.interior.unsqueeze(-1)
    sizes = torch.where(inside, urn.sizes, 0.0)
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    deviation = torch.maximum(variance.clamp(min=0).sqrt(), _MEAN_ERROR * sizes)
    scale = torch.where(deviation > 0, 1 / deviation.where(deviation > 0, 1), 0.0)
    correlation = scale.unsqueeze(-1) * covariance * scale.unsqueeze(-2)
    # Counts have a fixed sum. So one direction has no variance, and no residual either. We give it
    # the variance 1. The same for groups that are not there.
    sum_of = torch.nn.functional.normalize(deviation, dim=-1)
    correlation = correlation + sum_of.unsqueeze(-1) * sum_of.unsqueeze(-2)
    correlation = correlation + torch.diag_embed((deviation == 0).double())
    # If no variance is small, a triangular root is as good, and ten times as fast.
    root, failed = torch.linalg.cholesky_ex(correlation)
    if not failed.any() and root.diagonal(dim1=-2, dim2=-1).min() > _SMALL_ROOT:
        return torch.linalg.solve_triangular(root, torch.diag_embed(scale), upper=False)
    values, vectors = torch.linalg.eigh(correlation)
    roots = values.clamp(min=_COVARIANCE_ERROR).rsqrt()
    return roots.unsqueeze(-1) * vectors.mT * scale.unsqueeze(-2)
