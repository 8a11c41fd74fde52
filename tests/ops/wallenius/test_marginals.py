# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Marginals and entropy under Wallenius' law."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from pyro_hypergeo import WalleniusHypergeometric, ops
from pyro_hypergeo.ops.urn import make_urn
from pyro_hypergeo.ops.wallenius import one_count
from pyro_hypergeo.ops.wallenius.count_nodes import log_prob_of_counts, log_prob_of_list
from pyro_hypergeo.ops.wallenius.marginals import wallenius_log_marginal_given
from pyro_hypergeo.ops.wallenius.one_count import counts_of
from tests import wallenius_oracle


def enumerated(urn: WalleniusHypergeometric, group: int) -> Tensor:
    support = urn.enumerate_support()
    log_probs = urn.log_prob(support)
    return torch.stack(
        [
            log_probs[support[:, group] == k].logsumexp(0)
            for k in range(int(urn.group_sizes[group]) + 1)
        ]
    )


URNS = [
    ([10, 10, 10], 10, [1.0, 2.0, 4.0]),
    ([5, 3, 2], 6, [1.0, 2.0, 400.0]),
    ([5, 6, 7, 4], 9, [0.5, 1.0, 2.0, 3.0]),
    ([40, 60], 50, [1e-3, 10.0]),
    ([3, 3, 2], 7, [1.0, 1e-6, 1e4]),
    ([3, 1], 2, [1.0, 0.0]),
    ([3, 0, 4], 3, [1.0, 2.0, 3.0]),
    ([3, 2, 4], 0, [1.0, 2.0, 3.0]),
    ([3, 2, 4], 9, [1.0, 2.0, 3.0]),
    ([3, 2, 4], 7, [1.0, 0.0, 3.0]),
    ([6], 4, [2.0]),
    ([3, 2], 5, [1.0, 4.0]),
    ([3, 2], 0, [1.0, 4.0]),
    ([3, 1], 3, [1.0, 0.0]),
]


@pytest.mark.parametrize(("sizes", "total", "weights"), URNS)
def test_against_enumeration(sizes: list[int], total: int, weights: list[float]) -> None:
    urn = WalleniusHypergeometric(total, sizes, weights)
    for group in range(len(sizes)):
        found = wallenius_log_marginal_given(urn.state.urn, group, sizes[group])
        torch.testing.assert_close(found, enumerated(urn, group), rtol=1e-10, atol=1e-10)
        args = urn.theta, urn.group_sizes, urn.total_count
        assert (ops.wallenius_log_marginal(*args, group) == found).all()
        assert (ops.wallenius_log_marginal(*args, group - len(sizes)) == found).all()
        every = ops.wallenius_log_marginals(*args)
        assert every.shape == (len(sizes), max(sizes) + 1)
        assert (every[group, : sizes[group] + 1] == found).all()
        assert (every[group, sizes[group] + 1 :] == -torch.inf).all()
        torch.testing.assert_close(urn.marginals().probs, every.exp())


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(0, 5), min_size=3, max_size=3),
    log_weights=st.lists(st.floats(-50, 50), min_size=3, max_size=3),
    share=st.floats(0, 1),
)
@example(sizes=[0, 2, 1], log_weights=[0.0, -16.0, 0.0], share=0.25)
@example(sizes=[1, 2, 9], log_weights=[19.4, 56.8, 39.5], share=0.25)
@settings(max_examples=25)
def test_any_urn(sizes: list[int], log_weights: list[float], share: float) -> None:
    total = round(share * sum(sizes))
    urn = WalleniusHypergeometric(total, sizes, log_weights=log_weights)
    group = total % 3
    found = wallenius_log_marginal_given(urn.state.urn, group, sizes[group])
    torch.testing.assert_close(found, enumerated(urn, group), rtol=1e-9, atol=1e-9)


def test_batch_and_large_urns() -> None:
    totals = torch.tensor([3, 6, 0, 10])
    urn = WalleniusHypergeometric(totals, [5, 3, 2], [1.0, 2.0, 4.0])
    marginal = urn.marginal(-1)
    assert marginal.batch_shape == (4,)
    torch.testing.assert_close(marginal.mean, urn.mean[:, -1])
    torch.testing.assert_close(marginal.variance, urn.variance[:, -1])
    large = WalleniusHypergeometric(500, [100] * 10, torch.arange(1.0, 11.0))
    marginal = large.marginal(2)
    raw = wallenius_log_marginal_given(large.state.urn, 2, 100)
    assert raw.exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert marginal.mean.item() == pytest.approx(large.mean[2].item(), rel=1e-11)


def test_gradients() -> None:
    sizes, total = torch.tensor([4.0, 3.0, 2.0]), torch.tensor(5.0)

    def marginal(theta: Tensor) -> Tensor:
        return wallenius_log_marginal_given(make_urn(theta, sizes, total), 0, 4)

    assert gradcheck(marginal, torch.tensor([0.3, -0.5, 1.0], requires_grad=True))


# Log-weights hundreds apart: the times of the rings lie hundreds apart too.
SHARP = [
    ([700.1, 1.4, -699.2], [2, 2, 3], 6),
    ([-699.0, 459.4, -459.7], [3, 1, 2], 4),
    ([460.4, 230.4, -699.8], [3, 2, 2], 1),
    ([700.3, 701.3, -700.8], [1, 3, 2], 3),
    ([-458.7, 229.7, -701.3], [2, 3, 2], 3),
    ([-699.8, 701.7, -458.6], [2, 1, 3], 2),
]


@pytest.mark.parametrize(("log_weights", "sizes", "total"), SHARP)
def test_marginals_of_sharp_weights(log_weights: list[float], sizes: list[int], total: int) -> None:
    law = wallenius_oracle.pmf([math.exp(theta) for theta in log_weights], sizes, total)
    urn = (torch.tensor(log_weights), torch.tensor(sizes).double(), torch.tensor(total).double())
    for group, size in enumerate(sizes):
        exact = [sum(p for x, p in law.items() if x[group] == k) for k in range(size + 1)]
        logs = [math.log(p.numerator) - math.log(p.denominator) if p else -math.inf for p in exact]
        found = ops.wallenius_log_marginal(*urn, group)
        torch.testing.assert_close(found, torch.tensor(logs), rtol=1e-10, atol=1e-10)


def test_marginal_of_a_large_group_beside_sharp_weights_can_be_made() -> None:
    for total in (69, 30, 1):
        urn = WalleniusHypergeometric(total, [20, 20, 30], log_weights=[700.1, 1.4, -699.2])
        for group in range(3):
            torch.testing.assert_close(urn.marginal(group).mean, urn.mean[group])


# Mild weights have few nodes, of equal steps. Sharp ones have the rule that suits all.
LISTS = [
    ([10, 20, 30], 25, [0.5, 0.0, -1.0]),
    ([3, 3, 2], 4, [2.4, 0.0, -2.4]),
    ([200, 300, 20_000], 3000, [1.0, 0.5, 0.0]),
    ([6, 7, 1, 6], 16, [-2.2, 1.6, -1.7, -0.6]),
    ([5, 60, 40], 30, [6.0, 0.0, -6.0]),
    ([40, 60, 10], 109, [1.0, 0.0, 2.0]),
    ([40, 60, 10], 1, [1.0, 0.0, 2.0]),
]


@pytest.mark.parametrize(("sizes", "total", "log_weights"), LISTS)
def test_few_nodes_give_the_same_marginal(
    sizes: list[int], total: int, log_weights: list[float]
) -> None:
    urn = make_urn(torch.tensor(log_weights), torch.tensor(sizes), torch.tensor(total))
    for group, size in enumerate(sizes):
        low, high = max(0, total - sum(sizes) + size), min(size, total)
        k = torch.arange(low, high + 1.0)[:: max(1, (high - low) // 20)]
        counts = counts_of(urn, group, k)
        found, expected = log_prob_of_list(counts), log_prob_of_counts(counts)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_count_needs_few_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def counting(theta: Tensor, sizes: Tensor, total: Tensor, times: Tensor) -> object:
        seen.append(times.numel())
        return original(theta, sizes, total, times)

    original = one_count.snapshots_at
    monkeypatch.setattr(one_count, "snapshots_at", counting)
    urn = WalleniusHypergeometric(500, [100] * 10, torch.arange(1.0, 11.0))
    urn.marginal(2)
    assert sum(seen) < 70 * 101
    seen.clear()
    # A batch costs the possible counts of its urns, 3 + 2 + 101, not the widest range for each.
    totals = torch.tensor([2.0, 1.0, 500.0])
    WalleniusHypergeometric(totals, [100] * 10, torch.arange(1.0, 11.0)).marginal(2)
    assert sum(seen) < 110 * 5 + 70 * 101


def test_a_batch_is_a_loop_over_its_urns() -> None:
    sizes = torch.tensor([[40, 30, 50], [3, 5, 2], [0, 7, 1], [1, 90, 9], [2, 0, 0], [2, 4, 6]])
    total, theta = torch.tensor([35, 4, 3, 91, 1, 12]), torch.tensor([1.5, 0.0, -9.0])
    for group in range(3):
        most = int(sizes[:, group].max())
        batch = wallenius_log_marginal_given(make_urn(theta, sizes, total), group, most)
        for row in range(len(total)):
            urn = make_urn(theta, sizes[row], total[row])
            alone = wallenius_log_marginal_given(urn, group, most)
            torch.testing.assert_close(batch[row], alone, rtol=1e-12, atol=1e-12)
