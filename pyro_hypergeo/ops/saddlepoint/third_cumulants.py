# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The third cumulants of the counts times two vectors, without a tensor of size G x G x G."""

from __future__ import annotations

import torch
from torch import Tensor

from .derivatives import Derivatives, sums_over_nodes, times
from .lattice import Tilted


def third_cumulant_product(groups: Tilted, b: Derivatives, v: Tensor, w: Tensor) -> Tensor:
    r"""The derivative of the covariance times v in the direction w, (..., G, S); O(G).

    .. math:: \sum_{jk} \kappa_{ijk} v_j w_k

    Each of the S pairs of vectors (..., G, S) has its own result. It is symmetric in v and w.
    """
    # Let f_i(t) be the logarithm of the characteristic function of group i, and E the average over
    # the nodes. The third derivative of log E exp(sum_i f_i) has three kinds of terms: the mean of
    # the third derivative of f_i on the diagonal, the covariance of a second and a first derivative
    # where two indices are equal, and the third cumulant of the first derivatives. With c = m p q
    # and e = (q - p) b - p q b^2, the first derivative is m p + c b, and the second is c (1 + e).
    c, first = groups.variance.unsqueeze(-1), b.first.unsqueeze(-1)
    gap, pq = -0.5 * b.skew.unsqueeze(-1), groups.pq.unsqueeze(-1)
    squares = _Squares(b)
    pairs = c * v * w

    # V = sum_k c_k v_k b_k and W, both minus their means. Then they are not 0 at the node t = 0.
    real, imag = b.at_nodes(c * torch.cat([v, w], -1))
    mean = b.weighted(real, imag)[0].sum(-2, keepdim=True)
    real = real - mean
    weighted = b.weighted(real, imag)
    with_v, with_w = (gap * b.against(*weighted) - pq * squares.against(*weighted)).chunk(2, -1)

    # V W plus the sum of c_k v_k w_k e_k: both covary with all first derivatives.
    (v_real, w_real), (v_imag, w_imag) = real.chunk(2, -1), imag.chunk(2, -1)
    real, imag = times(v_real, v_imag, w_real, w_imag)
    own, own_square = b.at_nodes(pairs * gap), squares.at_nodes(pairs * pq)
    weighted = b.weighted(real + own[0] - own_square[0], imag + own[1] - own_square[1])
    at_zero = (1 - b.weight_real.sum(-1))[..., None, None]
    v_mean, w_mean = mean.chunk(2, -1)
    mean = torch.addcmul(weighted[0].sum(-2, keepdim=True), at_zero * v_mean, w_mean)
    shared = torch.addcmul(b.against(*weighted), first, mean, value=-1)
    return pairs * _third_derivative(groups, b) + c * (w * with_v + v * with_w + shared)


class _Squares:
    """The squares of b_i(t) in the place of b_i(t)."""

    def __init__(self, b: Derivatives) -> None:
        self.table, self.skew = b.inverse.square(), b.skew.unsqueeze(-1)
        h, sine = b.haversine.unsqueeze(-1), b.sine.unsqueeze(-1)
        self.columns = h.square(), sine.square(), h * sine

    def at_nodes(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part of the sum of c_k b_k^2, (..., J, S)."""
        once = self.skew * coefficients
        three = torch.cat([self.skew * once, coefficients, once], -1)
        x, y, z = torch.matmul(self.table.mT, three).chunk(3, -1)
        h, sine, both = self.columns
        return h * x - sine * y, 2 * both * z

    def against(self, real: Tensor, imag: Tensor) -> Tensor:
        """Re E[b_i^2 F], (..., G, S), for functions F of the nodes that are weighted already."""
        h, sine, both = self.columns
        columns = torch.cat([h * real, sine * real, both * imag], -1)
        x, y, z = torch.matmul(self.table, columns).chunk(3, -1)
        return self.skew * (self.skew * x - 2 * z) - y


def _third_derivative(groups: Tilted, b: Derivatives) -> Tensor:
    """The mean of the third derivative of f_i, divided by c_i; (..., G, 1)."""
    h, sine = b.haversine.square(), b.sine.square()
    real, imag = b.haversine * b.weight_real, b.sine * b.weight_imag
    cubes = b.inverse.square() * b.inverse
    x, y, z, end = sums_over_nodes(cubes, h * real, sine * real, h * imag, sine * imag)
    skew, pq = b.skew, groups.pq
    mean_of_cube = skew * (skew * (skew * x - 3 * z) - 3 * y) + end
    below = b.first - 0.5 * skew * b.square - pq * mean_of_cube
    return (-0.5 * skew * b.own - 2 * pq * below).unsqueeze(-1)
