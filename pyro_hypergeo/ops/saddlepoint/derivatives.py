# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Averages over the nodes, from which the mean and the covariance of the counts follow."""

from __future__ import annotations

import torch
from torch import Tensor

from .lattice import LatticeNodes, Tilted


class Derivatives:
    """Averages of b_i(t) = d/dtheta_i m_i log(q_i + p_i e^{it}) over the nodes, and what follows.

    The integrand of Pr[S = n] gives the weights. All b_i are divided by m_i p_i q_i here. So there
    is no division by a probability that may be 0. With h = sin(t / 2)^2 and the decay d_i, b_i is
    (2 (p_i - q_i) h + i sin t) / d_i. So each average is a product of one table, 1 / d_i or its
    square, and of a few columns that do not depend on the group.
    """

    def __init__(self, groups: Tilted, nodes: LatticeNodes) -> None:
        norm = nodes.norm.unsqueeze(-1)
        self.weight_real, self.weight_imag = nodes.real / norm, nodes.imag / norm
        self.haversine, self.sine = nodes.at.haversine, nodes.at.sine
        self.inverse = 1 / nodes.decay
        self.variance, self.pq = groups.variance, groups.pq
        self.skew = 2 * (groups.p - groups.q)
        real, imag = self.haversine * self.weight_real, self.sine * self.weight_imag
        by_real, by_imag = sums_over_nodes(self.inverse, real, imag)
        #: Re E[b_i], (..., G).
        self.first = self.skew * by_real - by_imag
        self._square: Tensor | None = None
        self._own: Tensor | None = None

    # The mean needs no squares. So they are computed when they are first asked for. Not by a
    # `cached_property`: torch.compile does not take its lock.

    @property
    def square(self) -> Tensor:
        """Re E[b_i^2], (..., G)."""
        if self._square is None:
            h, sine, real = self.haversine, self.sine, self.weight_real
            columns = h.square() * real, sine.square() * real, h * sine * self.weight_imag
            a, b, c = sums_over_nodes(self.inverse.square(), *columns)
            self._square = self.skew * (self.skew * a - 2 * c) - b
        return self._square

    @property
    def own(self) -> Tensor:
        """A part of the second derivative that only the diagonal has, (..., G)."""
        if self._own is None:
            self._own = 1 - 0.5 * self.skew * self.first - self.pq * self.square
        return self._own

    @property
    def real(self) -> Tensor:
        """Real parts of all b_i, (..., G, J)."""
        return (self.skew.unsqueeze(-1) * self.inverse) * self.haversine.unsqueeze(-2)

    @property
    def imag(self) -> Tensor:
        """Imaginary parts of all b_i, (..., G, J)."""
        return self.inverse * self.sine.unsqueeze(-2)

    def at_nodes(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part of sum_k c_k b_k, (..., J, S), for S vectors c (..., G, S)."""
        both = torch.cat([self.skew.unsqueeze(-1) * coefficients, coefficients], -1)
        real, imag = torch.matmul(self.inverse.mT, both).chunk(2, -1)
        return self.haversine.unsqueeze(-1) * real, self.sine.unsqueeze(-1) * imag

    def weighted(self, real: Tensor, imag: Tensor) -> tuple[Tensor, Tensor]:
        """Functions of the nodes (..., J, S) times the weights; then sums are averages."""
        return times(self.weight_real.unsqueeze(-1), self.weight_imag.unsqueeze(-1), real, imag)

    def against(self, real: Tensor, imag: Tensor) -> Tensor:
        """Re E[b_i F], (..., G, S), for functions F of the nodes that are weighted already."""
        h, sine = self.haversine.unsqueeze(-1), self.sine.unsqueeze(-1)
        both = torch.matmul(self.inverse, torch.cat([h * real, sine * imag], -1))
        by_real, by_imag = both.chunk(2, -1)
        return self.skew.unsqueeze(-1) * by_real - by_imag

    def covary(self, coefficients: Tensor) -> Tensor:
        """Re E[b_i B] - Re E[b_i] Re E[B] with B = sum_k c_k b_k, for S vectors c: (..., G, S)."""
        real, imag = self.weighted(*self.at_nodes(coefficients))
        mean = real.sum(-2, keepdim=True)
        return torch.addcmul(self.against(real, imag), self.first.unsqueeze(-1), mean, value=-1)

    def covariance_product(self, vectors: Tensor) -> Tensor:
        """The covariance of the counts times S vectors (..., G, S), without the matrix: O(G)."""
        scale = self.variance.unsqueeze(-1)
        return scale * torch.addcmul(self.covary(scale * vectors), self.own.unsqueeze(-1), vectors)


def sums_over_nodes(table: Tensor, *columns: Tensor) -> tuple[Tensor, ...]:
    """Sums over the nodes of a table (..., G, J) times columns (..., J), each (..., G)."""
    # Rows on the left are two to three times faster than columns on the right.
    return torch.matmul(torch.stack(columns, -2), table.mT).unbind(-2)


def times(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of (a + ib)(c + id)."""
    return torch.addcmul(a * c, b, d, value=-1), torch.addcmul(a * d, b, c)
