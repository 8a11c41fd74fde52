# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Averages over the nodes, from which the mean and the covariance of the counts follow."""

from __future__ import annotations

import torch
from torch import Tensor

from .lattice import LatticeNodes, Tilted


class Averages:
    """Averages of b_i(t) = d/dtheta_i m_i log(q_i + p_i e^{it}) over the nodes.

    The integrand of Pr[S = n] gives the weights. All b_i are divided by m_i p_i q_i here. So there
    is no division by a probability that may be 0. Then b_i = (2 (p_i - q_i) h + i sin t) / d_i, with
    h = sin(t / 2)^2 and the decay d_i. So each average is a product of one table, 1 / d_i or its
    square, and of a few columns that do not depend on the group.
    """

    def __init__(self, groups: Tilted, nodes: LatticeNodes) -> None:
        norm = nodes.norm.unsqueeze(-1)
        self.weight_real, self.weight_imag = nodes.real / norm, nodes.imag / norm
        self.haversine, self.sine = nodes.at.haversine, nodes.at.sine
        self.inverse = 1 / nodes.decay
        self.variance = groups.variance
        self.skew = 2 * (groups.p - groups.q)
        real, imag = self.haversine * self.weight_real, self.sine * self.weight_imag
        by_real, by_imag = sums_over_nodes(self.inverse, real, imag)
        #: Re E[b_i], (..., G).
        self.first = self.skew * by_real - by_imag


class Derivatives(Averages):
    """The averages of b_i, those of b_i^2, and all that follows from them."""

    def __init__(self, groups: Tilted, nodes: LatticeNodes) -> None:
        super().__init__(groups, nodes)
        h, sine, real = self.haversine, self.sine, self.weight_real
        columns = h.square() * real, sine.square() * real, h * sine * self.weight_imag
        a, b, c = sums_over_nodes(self.inverse.square(), *columns)
        #: Re E[b_i^2], (..., G).
        self.square = self.skew * (self.skew * a - 2 * c) - b
        #: A part of the second derivative that only the diagonal has, (..., G).
        self.own = 1 - 0.5 * self.skew * self.first - groups.p * groups.q * self.square

    @property
    def real(self) -> Tensor:
        """Real parts of all b_i, (..., G, J)."""
        return (self.skew.unsqueeze(-1) * self.inverse) * self.haversine.unsqueeze(-2)

    @property
    def imag(self) -> Tensor:
        """Imaginary parts of all b_i, (..., G, J)."""
        return self.inverse * self.sine.unsqueeze(-2)

    def covary(self, coefficients: Tensor) -> Tensor:
        """Re E[b_i B] - Re E[b_i] Re E[B] with B = sum_k c_k b_k, for S vectors c: (..., G, S)."""
        skew, h, sine = self.skew.unsqueeze(-1), self.haversine.unsqueeze(-1), self.sine.unsqueeze(-1)
        w_real, w_imag = self.weight_real.unsqueeze(-1), self.weight_imag.unsqueeze(-1)
        both = torch.cat([skew * coefficients, coefficients], -1)
        real, imag = torch.matmul(self.inverse.mT, both).chunk(2, -1)
        real, imag = h * real, sine * imag
        real, imag = (
            torch.addcmul(w_real * real, w_imag, imag, value=-1),
            torch.addcmul(w_real * imag, w_imag, real),
        )
        both = torch.cat([h * real, sine * imag], -1)
        by_real, by_imag = torch.matmul(self.inverse, both).chunk(2, -1)
        joint = torch.addcmul(skew * by_real - by_imag, self.first.unsqueeze(-1), real.sum(-2, keepdim=True), value=-1)
        return joint

    def covariance_product(self, vectors: Tensor) -> Tensor:
        """The covariance of the counts times S vectors (..., G, S), without the matrix: O(G)."""
        scale = self.variance.unsqueeze(-1)
        return scale * torch.addcmul(self.covary(scale * vectors), self.own.unsqueeze(-1), vectors)


def sums_over_nodes(table: Tensor, *columns: Tensor) -> tuple[Tensor, ...]:
    """Sums over the nodes of a table (..., G, J) times columns (..., J), each (..., G)."""
    return torch.matmul(table, torch.stack(columns, -1)).unbind(-1)
