# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Third cumulants against enumeration, and against the slope of the covariance."""

import pytest
import torch

from pyro_hypergeo.ops import enumerate_counts, log_prob
from pyro_hypergeo.ops.fisher.state import saddle_point, solve_fisher
from pyro_hypergeo.ops.saddlepoint.third_cumulants import third_cumulant_product

URNS = [([3, 4, 2], 4), ([1] * 6, 2), ([5, 3, 1], 8), ([30, 4, 2], 20), ([7, 9], 6)]


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
@pytest.mark.parametrize(("sizes", "total"), URNS)
def test_against_enumeration(sizes: list[int], total: int, scale: float) -> None:
    theta = scale * torch.randn(len(sizes), dtype=torch.float64)
    sizes_, total_ = torch.tensor(sizes).double(), torch.tensor(float(total))
    x = enumerate_counts(sizes, total).double()
    p = log_prob(x, theta, sizes_, total_).exp()
    away = x - p @ x
    exact = torch.einsum("x,xi,xj,xk->ijk", p, away, away, away)
    v, w = torch.randn(2, len(sizes), 3, dtype=torch.float64)
    groups, b = saddle_point(solve_fisher(theta, sizes_, total_))
    found = third_cumulant_product(groups, b, v, w)
    expected = torch.einsum("ijk,js,ks->is", exact, v, w)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_is_the_slope_of_the_covariance_in_large_urns() -> None:
    theta = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    sizes, total = torch.tensor([300.0, 10_000.0, 20.0, 1e6, 5e5]), torch.tensor(4e5)
    v, w = torch.randn(2, 3, 5, 2, dtype=torch.float64)
    groups, b = saddle_point(solve_fisher(theta, sizes, total))
    found = third_cumulant_product(groups, b, v, w)
    product = (b.covariance_product(v) * w).sum((0, 1))
    for s in range(2):
        (slope,) = torch.autograd.grad(product[s], theta, retain_graph=True)
        torch.testing.assert_close(found[..., s], slope, rtol=1e-8, atol=1e-6)
