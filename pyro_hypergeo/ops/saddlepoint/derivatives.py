# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Averages over the nodes, from which the mean and the covariance of the counts follow."""

from __future__ import annotations

import torch
from torch import Tensor

from .lattice import LatticeNodes, Tilted


class Derivatives:
    """Averages of b_i(t) = d/dtheta_i m_i log(q_i + p_i e^{it}) over the nodes.

    The integrand of Pr[S = n] gives the weights. ``real`` and ``imag``, (..., G, J), are the parts
    of b_i(t) / (m_i p_i q_i). So there is no division by a probability that may be 0.
    """

    def __init__(self, groups: Tilted, nodes: LatticeNodes) -> None:
        norm = (1 + nodes.real.sum(-1)).unsqueeze(-1)
        self.weight_real, self.weight_imag = nodes.real / norm, nodes.imag / norm
        skew = (groups.p - groups.q).unsqueeze(-1)
        self.real = 2 * skew * nodes.at.haversine.unsqueeze(-2) / nodes.decay
        self.imag = nodes.at.sine.unsqueeze(-2) / nodes.decay
        self.first = self.average(self.real, self.imag)
        self.square = self.average(
            self.real.square() - self.imag.square(), 2 * self.real * self.imag
        )
        # A part of the second derivative that only the diagonal has.
        self.own = 1 - (groups.p - groups.q) * self.first - groups.p * groups.q * self.square
        self.variance = groups.variance

    def average(self, real: Tensor, imag: Tensor) -> Tensor:
        """Re E[real + i imag] over the nodes: from (..., G, J) to (..., G)."""
        w_real, w_imag = self.weight_real.unsqueeze(-2), self.weight_imag.unsqueeze(-2)
        return (real * w_real - imag * w_imag).sum(-1)

    def covary(self, coefficients: Tensor) -> Tensor:
        """Re E[b_i B] - Re E[b_i] Re E[B] with B = sum_k c_k b_k, for S vectors c: (..., G, S)."""
        w_real, w_imag = self.weight_real.unsqueeze(-1), self.weight_imag.unsqueeze(-1)
        real, imag = (torch.matmul(b.mT, coefficients) for b in (self.real, self.imag))
        real, imag = w_real * real - w_imag * imag, w_real * imag + w_imag * real
        joint = torch.matmul(self.real, real) - torch.matmul(self.imag, imag)
        return joint - self.first.unsqueeze(-1) * real.sum(-2, keepdim=True)

    def covariance_product(self, vectors: Tensor) -> Tensor:
        """The covariance of the counts times S vectors (..., G, S), without the matrix: O(G)."""
        scale = self.variance.unsqueeze(-1)
        return scale * (self.covary(scale * vectors) + self.own.unsqueeze(-1) * vectors)
