# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Fisher's law of two groups: each count from its neighbour, and tails from a count outwards."""

import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from pyro_hypergeo import FisherHypergeometric, Hypergeometric, MultivariateHypergeometric
from pyro_hypergeo.ops import log_prob
from pyro_hypergeo.ops.fisher.marginals import log_marginal_given, marginal_table_given
from pyro_hypergeo.ops.fisher.state import solve_fisher


def pairs(total: Tensor, k: Tensor, group: int) -> Tensor:
    rest = total.unsqueeze(-1) - k
    return torch.stack([k, rest] if group == 0 else [rest, k], -1)


@pytest.mark.parametrize("group", [0, 1])
@pytest.mark.parametrize("spread", [0.5, 5.0, 100.0])
@pytest.mark.parametrize("largest", [10.0, 1e3, 1e5])
def test_is_the_law_of_both_counts(group: int, spread: float, largest: float) -> None:
    torch.manual_seed(0)
    sizes = torch.rand(50, 2).mul(math.log(largest)).exp().floor()
    sizes[0, 0] = 0
    everything = sizes.sum(-1)
    total = (torch.rand(50) * everything).floor()
    total[:6], total[6:12], total[12:16] = 1.0, everything[6:12] - 1, everything[12:16]
    theta = spread * torch.randn(50, 2)
    state = solve_fisher(theta, sizes, total)
    first, logs = marginal_table_given(state, group, int(sizes[:, group].max()))
    seen = torch.unique(torch.cat([torch.arange(40), torch.arange(0, logs.shape[-1], 97)]))
    seen = seen[seen < logs.shape[-1]]
    k = first.unsqueeze(-1) + seen
    urn = (x.unsqueeze(-2) for x in (theta, sizes))
    expected = log_prob(pairs(total, k, group), *urn, total.unsqueeze(-1))
    torch.testing.assert_close(logs[:, seen], expected, rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(logs.exp().sum(-1), torch.ones(50), rtol=0, atol=1e-11)


def exact_tail(own: int, other: int, total: int, odds: Fraction, above: int) -> float:
    """The logarithm of the probability of more than `above` of the first group."""
    low, high = max(0, total - other), min(own, total)
    term, terms = Fraction(1), []
    for k in range(low, high + 1):
        terms.append(term)
        term *= Fraction((own - k) * (total - k), (k + 1) * (other - total + k + 1)) * odds
    share = sum(terms[above + 1 - low :], Fraction(0)) / sum(terms, Fraction(0))
    if 2 * share > 1:
        return math.log1p(-float(1 - share))
    return math.log(share.numerator) - math.log(share.denominator)


@pytest.mark.parametrize(
    ("own", "other", "total", "odds"),
    [(60, 90, 70, Fraction(5, 2)), (400, 30, 200, Fraction(1, 8)), (12, 700, 40, Fraction(1))],
)
def test_tails_are_exact(own: int, other: int, total: int, odds: Fraction) -> None:
    weights = torch.tensor([float(odds), 1.0])
    marginal = FisherHypergeometric(total, [own, other], weights=weights).marginal(0)
    for k in range(max(0, total - other), min(own, total)):
        exact = exact_tail(own, other, total, odds, k)
        assert marginal.logsf(k).item() == pytest.approx(exact, rel=1e-12, abs=1e-15)
        assert marginal.logsf(torch.tensor([k])).item() == pytest.approx(
            exact, rel=1e-12, abs=1e-15
        )


@pytest.mark.parametrize(
    ("own", "other", "total"),
    [(60, 90, 70), (400, 30, 200), (12, 700, 40), (500, 500, 3), (3, 2, 4), (900, 1000, 1899)],
)
def test_tails_of_the_central_law_from_the_count_outwards(own: int, other: int, total: int) -> None:
    law = Hypergeometric(total, own, own + other)
    for k in range(max(0, total - other), min(own, total)):
        exact = exact_tail(own, other, total, Fraction(1), k)
        assert law.logsf(k).item() == pytest.approx(exact, rel=1e-12, abs=1e-15)
        below = exact_tail(other, own, total, Fraction(1), total - k - 1)
        assert law.logcdf(k).item() == pytest.approx(below, rel=1e-12, abs=1e-15)


def test_central_tails_of_batches_are_those_of_the_table() -> None:
    torch.manual_seed(0)
    everything = torch.randint(0, 5000, (200,))
    marked, total = ((torch.rand(200) * (everything + 1)).floor() for _ in range(2))
    law = Hypergeometric(total, marked, everything)
    seen = (law.mean + 3 * torch.randn(200) * law.variance.sqrt()).floor()
    marginal = MultivariateHypergeometric(
        total, torch.stack([marked, everything - marked], -1)
    ).marginal(0)
    for k in (seen, seen - 40, seen + 40, torch.tensor(-3.0), torch.tensor(1e5)):
        torch.testing.assert_close(law.logsf(k), marginal.logsf(k), rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(law.logcdf(k), marginal.logcdf(k), rtol=1e-11, atol=1e-13)
    many = torch.arange(300.0).unsqueeze(-1)
    torch.testing.assert_close(law.logsf(many), marginal.logsf(many), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("numbers", [(10_000, 5 * 10**6, 10**7), (10**5, 10**5, 2 * 10**5)])
def test_central_tails_of_large_urns_are_those_of_the_table(numbers: tuple[int, int, int]) -> None:
    law = Hypergeometric(*numbers)
    k = law.mean + law.variance.sqrt() * torch.linspace(-12, 12, 25)
    table = law.logsf(k.repeat(100))[:25]
    alone = torch.stack([law.logsf(x) for x in k])
    torch.testing.assert_close(alone, table, rtol=1e-12, atol=0)


def test_derivatives() -> None:
    sizes, total = torch.tensor([[6.0, 5.0], [2.0, 9.0]]), torch.tensor([4.0, 10.0])
    theta = torch.tensor([[0.3, -0.5], [1.0, 0.2]], requires_grad=True)

    def law(theta: Tensor) -> Tensor:
        logs = log_marginal_given(solve_fisher(theta, sizes, total), 0, 6)
        return torch.where(logs > -math.inf, logs, 0.0)

    assert gradcheck(law, theta)
    assert gradgradcheck(law, theta)
    along = torch.tensor([[1.0, -0.5], [0.2, 0.7]])
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(law(forward_ad.make_dual(theta.detach(), along))).tangent
    _, expected = torch.autograd.functional.jvp(law, theta.detach(), along)
    torch.testing.assert_close(tangent, expected)


@pytest.mark.parametrize("groups", [2, 3])
def test_a_batch_of_urns_is_a_loop(groups: int) -> None:
    sizes = torch.tensor([[400.0, 300.0, 50.0], [3.0, 5.0, 2.0], [0.0, 7.0, 1.0], [1.0, 90.0, 9.0]])
    sizes, total = sizes[:, :groups], torch.tensor([350.0, 4.0, 3.0, 91.0])
    theta = torch.tensor([[1.5, 0.0, -1.0]])[:, :groups]
    for group in range(groups):
        most = int(sizes[:, group].max())
        batch = log_marginal_given(solve_fisher(theta, sizes, total), group, most)
        for row in range(4):
            alone = solve_fisher(theta[0], sizes[row], total[row])
            alone = log_marginal_given(alone, group, most)
            torch.testing.assert_close(batch[row], alone, rtol=1e-12, atol=1e-11)
        cut = log_marginal_given(solve_fisher(theta, sizes, total), group, 20)
        torch.testing.assert_close(cut, batch[:, :21], rtol=1e-12, atol=1e-11)


def test_impossible_and_certain_draws() -> None:
    sizes, total = torch.tensor([3.0, 5.0]), torch.tensor([9.0, 8.0, 0.0])
    theta = torch.tensor([1.0, 0.0], requires_grad=True)
    for group in (0, 1):
        found = log_marginal_given(solve_fisher(theta, sizes, total), group, 5)
        expected = torch.full((3, 6), -math.inf)
        expected[1, int(sizes[group])] = expected[2, 0] = 0
        assert torch.equal(found, expected)
        (gradient,) = torch.autograd.grad(found[expected == 0].sum(), theta)
        assert (gradient == 0).all()
