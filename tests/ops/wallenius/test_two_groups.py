# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Wallenius' law of two groups at all counts: neighbours share their nodes."""

import math

import pytest
import torch
from scipy.stats import nchypergeom_wallenius
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from pyro_hypergeo import WalleniusHypergeometric
from pyro_hypergeo.ops.count_table import count_range
from pyro_hypergeo.ops.urn import Urn, make_urn
from pyro_hypergeo.ops.wallenius.density import wallenius_log_prob_given
from pyro_hypergeo.ops.wallenius.marginals import wallenius_log_marginal_given
from pyro_hypergeo.ops.wallenius.two_groups import log_law_of_two
from tests import wallenius_oracle


def one_by_one(urn: Urn, k: Tensor) -> Tensor:
    """The same log-probabilities, each with nodes of its own."""
    pairs = torch.stack([k, urn.total.unsqueeze(-1) - k], -1)
    return wallenius_log_prob_given(Urn(*(x.unsqueeze(1) for x in urn)), pairs)


def whole_law(urn: Urn) -> tuple[Tensor, Tensor]:
    low, high = count_range(urn, 0)
    width = int((high - low).max()) + 1
    k = low.unsqueeze(-1) + torch.arange(float(width))
    return k, log_law_of_two(urn, low, high, width)


@pytest.mark.parametrize("spread", [0.5, 3.0, 8.0, 30.0])
@pytest.mark.parametrize("largest", [10.0, 100.0, 3000.0])
def test_random_urns_of_all_sizes(spread: float, largest: float) -> None:
    torch.manual_seed(0)
    sizes = torch.rand(30, 2).mul(math.log(largest)).exp().floor()
    everything = sizes.sum(-1)
    total = (torch.rand(30) * everything).floor()
    total[:6], total[6:12], total[12:16] = 1.0, everything[6:12] - 1, 3.0
    urn = make_urn(spread * torch.randn(30, 2), sizes, total)
    urn = urn.flat(urn.interior.nonzero().squeeze(-1))
    k, found = whole_law(urn)
    seen = torch.unique(torch.cat([torch.arange(40), torch.arange(0, k.shape[-1], 29)]))
    seen = seen[seen < k.shape[-1]]
    expected = one_by_one(urn, k[:, seen])
    assert (expected == -math.inf).equal(found[:, seen] == -math.inf)
    torch.testing.assert_close(found[:, seen], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(len(found)), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("sizes", "total", "odds"), [([9, 12], 11, 2.5), ([7, 30], 30, 0.125)])
def test_exact_law(sizes: list[int], total: int, odds: float) -> None:
    law = wallenius_oracle.pmf([odds, 1.0], sizes, total)
    marginal = WalleniusHypergeometric(total, sizes, [odds, 1.0]).marginal(0)
    for k in range(sizes[0] + 1):
        above = sum(p for x, p in law.items() if x[0] > k)
        assert marginal.sf(k).item() == pytest.approx(float(above), rel=1e-12)
        below = sum(p for x, p in law.items() if x[0] <= k)
        assert marginal.cdf(k).item() == pytest.approx(float(below), rel=1e-12)


def test_upper_tails_of_many_categories() -> None:
    torch.manual_seed(1)
    own = torch.randint(10, 501, (40,)).double()
    sizes = torch.stack([own, 20_000 - own], -1)
    odds = torch.randn(40).mul(0.5).exp()
    urns = WalleniusHypergeometric(3000, sizes, torch.stack([odds, torch.ones(40)], -1))
    seen = (urns.mean[:, 0] + 2 * urns.variance[:, 0].sqrt()).ceil()
    tails = urns.marginal(0).sf(seen - 1)
    # SciPy sums terms of about seven digits.
    known = nchypergeom_wallenius.sf(seen - 1, 20_000, own, 3000, odds)
    torch.testing.assert_close(tails, torch.from_numpy(known), rtol=1e-5, atol=0)
    for row in (0, 17, 39):
        k = torch.arange(float(seen[row]), float(own[row]) + 1).unsqueeze(0)
        alone = urns.state.urn.flat(torch.tensor([row]))
        expected = one_by_one(alone, k).logsumexp(-1).exp()
        torch.testing.assert_close(tails[row], expected[0], rtol=1e-12, atol=0)


def test_derivatives() -> None:
    sizes, total = torch.tensor([[6.0, 5.0], [2.0, 9.0]]), torch.tensor([4.0, 10.0])
    theta = torch.tensor([[0.3, -0.5], [1.0, 0.2]], requires_grad=True)

    def law(theta: Tensor) -> Tensor:
        logs = whole_law(make_urn(theta, sizes, total))[1]
        return torch.where(logs > -math.inf, logs, 0.0)

    assert gradcheck(law, theta)
    assert gradgradcheck(law, theta)
    along = torch.tensor([[1.0, -0.5], [0.2, 0.7]])
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(law(forward_ad.make_dual(theta.detach(), along))).tangent
    _, expected = torch.autograd.functional.jvp(law, theta.detach(), along)
    torch.testing.assert_close(tangent, expected)


def test_gradients_are_those_of_single_counts() -> None:
    sizes, total = torch.tensor([[300.0, 500.0]]), torch.tensor([200.0])
    theta = torch.tensor([[0.7, 0.0]], requires_grad=True)
    urn = make_urn(theta, sizes, total)
    k, found = whole_law(urn)
    for column in (0, 90, 200):
        (ours,) = torch.autograd.grad(found[0, column], theta, retain_graph=True)
        alone = one_by_one(urn, k[:, column : column + 1])[0, 0]
        (expected,) = torch.autograd.grad(alone, theta, retain_graph=True)
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_a_batch_is_a_loop_over_its_urns() -> None:
    sizes = torch.tensor([[400.0, 300.0], [3.0, 5.0], [0.0, 7.0], [1.0, 90.0], [30.0, 2.0]])
    total, theta = torch.tensor([350.0, 4.0, 3.0, 91.0, 31.0]), torch.tensor([[1.5, 0.0]])
    for group in (0, 1):
        most = int(sizes[:, group].max())
        batch = wallenius_log_marginal_given(make_urn(theta, sizes, total), group, most)
        for row in range(5):
            urn = make_urn(theta[0], sizes[row], total[row])
            alone = wallenius_log_marginal_given(urn, group, most)
            torch.testing.assert_close(batch[row], alone, rtol=1e-12, atol=1e-12)
        cut = wallenius_log_marginal_given(make_urn(theta, sizes, total), group, 20)
        torch.testing.assert_close(cut, batch[:, :21], rtol=1e-12, atol=1e-12)
