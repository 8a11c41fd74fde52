# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The log-likelihood of strata under Fisher's law, and its derivatives in coefficients."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..binomial import log_binomial_pmf
from ..law import DesignTerms
from ..saddlepoint.derivatives import Derivatives
from ..saddlepoint.lattice import (
    CharacteristicSums,
    LatticeNodes,
    Tilted,
    characteristic_sums,
    enough_nodes,
    integrand,
    log_lattice_prob,
    place_nodes,
    tilted_groups,
)
from ..saddlepoint.tilt import find_tilt, refine_tilt
from ..urn import make_urn

# Numbers in one table over rows and nodes: 8 MB.
_CELLS = 1_000_000


def fisher_design_terms(
    theta: Tensor, group_sizes: Tensor, counts: Tensor, design: Tensor
) -> DesignTerms:
    r"""The log-likelihood of strata, its scores and its information in closed form.

    .. math::

        u = \sum_i X_i (x_i - \mu_i), \qquad
        I = \sum_i v_i o_i \tilde X_i \tilde X_i^\top + E[V V^\top] - E[V] E[V]^\top, \qquad
        V(t) = \sum_i v_i b_i(t) \tilde X_i ,

    for each stratum. Here :math:`v_i` are the tilted variances, :math:`\tilde X` is the design
    minus its mean, :math:`b_i` and :math:`o_i` are those of
    :class:`~pyro_hypergeo.ops.saddlepoint.derivatives.Derivatives`, and :math:`E` is the average
    over the nodes. No matrix of groups is formed. Rows are taken in parts, so that tables over rows
    and nodes stay small. Cost: O(S G (p^2 + 21 p)). It has no gradient.

    :param Tensor theta: log-weights, shape ``(S, G)``.
    :param Tensor group_sizes: shape ``(S, G)``.
    :param Tensor counts: shape ``(S, G)``.
    :param Tensor design: shape ``(S, G, p)``.
    """
    with torch.no_grad():
        total = counts.sum(-1)
        urn = make_urn(theta, group_sizes, total)
        tilt = refine_tilt(urn.log_weights, urn.sizes, urn.total, find_tilt(urn))
        groups = tilted_groups(urn.log_weights, urn.sizes, tilt)
        groups = groups._replace(variance=groups.variance * urn.interior.unsqueeze(-1))
        spread, elements = (urn.sizes * groups.pq).sum(-1), urn.sizes.sum(-1)
        most = math.ceil(0.5 * elements.max().item())
        at = place_nodes(spread, min(enough_nodes(spread), most), elements)
        parts = [
            (rows, Tilted(*(x[:, rows] for x in groups)))
            for rows in _parts(theta.shape[0], theta.shape[1], at.half.shape[-1])
        ]
        sums, decay = characteristic_sums(parts[0][1], at)
        for _, some in parts[1:]:
            more, decay = characteristic_sums(some, at)
            sums = CharacteristicSums(*map(torch.add, sums, more))
        real, imag, norm = integrand(at, sums, urn.total)

        weights = groups.variance
        centre = torch.einsum("sg,sgp->sp", weights, design)
        centre = centre / weights.sum(-1, keepdim=True).clamp(min=1e-300)
        scores, tilted = torch.zeros_like(centre), torch.zeros_like(spread)
        single = urn.sizes.max().item() <= 1
        information = design.new_zeros(design.shape[-1:] * 2)
        along = torch.zeros((), dtype=torch.complex128, device=theta.device)
        for rows, some in parts:
            if len(parts) > 1:
                decay = characteristic_sums(some, at)[1]
            b = Derivatives(some, LatticeNodes(at, decay, real, imag, norm))
            mean = torch.addcmul(some.sizes * some.p, some.variance, b.first)
            x = design[:, rows] - centre.unsqueeze(1)
            away = torch.where(urn.interior.unsqueeze(-1), counts[:, rows] - mean, 0.0)
            tilted = tilted + _log_pmf(counts[:, rows], some, single).sum(-1)
            scores += torch.einsum("sg,sgp->sp", away, x)
            scaled = some.variance.unsqueeze(-1) * x
            information += torch.einsum("sgp,sgq->pq", scaled * b.own.unsqueeze(-1), x)
            along = along + torch.complex(*b.at_nodes(scaled))
        information += _covariances(b, along.real, along.imag)
        log_center = log_lattice_prob(LatticeNodes(at, decay, real, imag, norm))
        values = torch.where(urn.interior, tilted - log_center, 0.0)
        return DesignTerms(values, scores, information)


def _log_pmf(counts: Tensor, groups: Tilted, single: bool) -> Tensor:
    """The log-probabilities of the counts in tilted binomials; quick for single elements."""
    if not single:
        return log_binomial_pmf(counts.clamp(max=groups.sizes), groups.sizes, groups.u)
    log_p, log_q = (logsigmoid(u) for u in (groups.u, -groups.u))
    return torch.addcmul(counts * log_p, groups.sizes - counts, log_q)


def _parts(strata: int, rows: int, nodes: int) -> Iterator[slice]:
    length = max(1, _CELLS // (strata * nodes))
    for start in range(0, rows, length):
        yield slice(start, min(start + length, rows))


def _covariances(b: Derivatives, real: Tensor, imag: Tensor) -> Tensor:
    """The sum over strata of Re E[V V'] - E[V] E[V]', from V at the nodes, (S, J, p)."""
    w_real, w_imag = b.weighted(real, imag)
    mean = w_real.sum(-2)
    result = torch.einsum("sjp,sjq->pq", w_real, real) - torch.einsum("sjp,sjq->pq", w_imag, imag)
    return result - mean.mT @ mean
