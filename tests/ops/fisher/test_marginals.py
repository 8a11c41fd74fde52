# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Marginals and entropy under Fisher's law, far into the tails."""

import math

import hypothesis
import mpmath
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from pyro_hypergeo.ops import covariance, entropy, log_marginal, log_marginals, mean
from pyro_hypergeo.ops.fisher.bulk_marginals import marginal_windows
from pyro_hypergeo.ops.fisher.state import solve_fisher
from tests import oracle
from tests.ops.fixture import PLAIN, WIDE, Urn, urns


def exact_log_marginals(urn):
    """Shape (G, max m + 1), padded with -inf."""
    rows = []
    for table in oracle.marginals(*urn):
        logs = [float(mpmath.log(p)) if p > 0 else -math.inf for p in table]
        rows.append(logs + [-math.inf] * (max(urn.sizes) + 1 - len(logs)))
    return torch.tensor(rows, dtype=torch.float64)


def assert_close_in_log_space(ours, exact):
    assert ours.shape == exact.shape
    assert ((ours == -math.inf) == (exact == -math.inf)).all()
    assert not ours.isnan().any()
    seen = exact > -500
    torch.testing.assert_close(ours[seen], exact[seen], rtol=0, atol=1e-10)
    beyond = (exact <= -500) & (exact > -math.inf)
    torch.testing.assert_close(ours[beyond], exact[beyond], rtol=1e-9, atol=0)


@hypothesis.given(urns(max_size=10))
def test_any_urn(urn):
    exact = exact_log_marginals(urn)
    assert_close_in_log_space(log_marginals(*urn.tensors), exact)
    for group, size in enumerate(urn.sizes):
        one = log_marginal(*urn.tensors, group)
        assert_close_in_log_space(one, exact[group, : size + 1])


@pytest.mark.parametrize(
    "urn",
    [
        Urn([0.4, -1.5, 2.0], [120, 60, 90], 130),
        Urn([math.log(1e12), 0.0], [100, 100], 100),
        Urn([-0.5, 0.0, 0.7, 3.0], [250, 3, 40, 1], 33),
        Urn([6.0, -6.0, 0.0], [5, 200, 60], 150),
        Urn([0.02 * i for i in range(40)], [3] * 40, 60),
    ],
)
def test_far_tails(urn):
    exact = exact_log_marginals(urn)
    assert_close_in_log_space(log_marginals(*urn.tensors), exact)
    for group in (0, len(urn.sizes) - 1):
        one = log_marginal(*urn.tensors, group, max_size=max(urn.sizes))
        assert_close_in_log_space(one, exact[group])


@pytest.mark.parametrize(
    "urn",
    [
        Urn([20.0, 91.5, -243.5], [9, 1, 20], 10),
        Urn([-193.0, -55.5, 200.7, -109.3], [2, 9, 5, 20], 4),
        Urn([-104.8, 21.7, 32.4], [3, 20, 9], 13),
    ],
)
def test_nearly_certain_counts(urn):
    """From tilt to tilt the others' mean jumps by one element: only the nearest tilt will do."""
    assert_close_in_log_space(log_marginals(*urn.tensors), exact_log_marginals(urn))


def test_two_large_groups():
    # One count settles the other, so that the marginal is the law itself.
    urn = Urn([0.3, 0.0], [3000, 5000], 2000)
    ours = log_marginals(*urn.tensors)
    log_p0, _, _ = oracle.log_partition_contour(*urn)
    for k in range(0, 2001, 50):
        with mpmath.workdps(50):
            x = [k, 2000 - k]
            exact = float(oracle.log_unnormalised(x, urn.log_weights, urn.sizes) - log_p0)
        for one in (ours[0, k].item(), ours[1, 2000 - k].item()):
            assert one == pytest.approx(exact, abs=1e-10 if exact > -500 else 1e-10 * -exact)


@pytest.mark.parametrize("urn", [PLAIN, WIDE])
def test_gradients(urn):
    log_weights, sizes, total = urn.tensors
    log_weights.requires_grad_()
    counts, probs = urn.pmf()
    table = log_marginals(log_weights, sizes, total)
    overall = probs @ counts
    for group, size in enumerate(urn.sizes):
        one = log_marginal(log_weights, sizes, total, group)
        for k in range(size + 1):
            here = counts[:, group] == k
            if not here.any():
                continue
            # d log p_i(k) / d theta = E[x | x_i = k] - E[x]
            expected = probs[here] @ counts[here] / probs[here].sum() - overall
            for value in (table[group, k], one[k]):
                (gradient,) = torch.autograd.grad(value, log_weights, retain_graph=True)
                torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)


def test_second_gradients():
    log_weights, sizes, total = Urn([0.5, -1.0, 2.0], [3, 4, 2], 4).tensors
    log_weights.requires_grad_()

    def possible(theta):
        table = log_marginals(theta, sizes, total)
        return table[table > -math.inf]

    assert gradcheck(possible, log_weights)
    assert gradgradcheck(possible, log_weights)
    assert gradgradcheck(lambda theta: log_marginal(theta, sizes, total, 0), log_weights)


def test_impossible_counts_give_no_nan_gradients():
    log_weights = torch.tensor([0.5, -math.inf, 1.0, 2.0], requires_grad=True)
    sizes, total = torch.tensor([3.0, 4.0, 5.0, 0.0]), torch.tensor(7.0)
    table = log_marginals(log_weights, sizes, total)
    (gradient,) = torch.autograd.grad(table.exp().mul(torch.arange(6.0)).sum(), log_weights)
    assert gradient.isfinite().all()
    assert gradient[1] == 0
    expected = covariance(log_weights, sizes, total).sum(0)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("total", "counts"), [(0, [0, 0, 0]), (9, [3, 2, 4])])
def test_certain_draws(total, counts):
    urn = Urn([0.5, -1.0, 2.0], [3, 2, 4], total)
    table = log_marginals(*urn.tensors)
    expected = torch.nn.functional.one_hot(torch.tensor(counts), 5).double().log()
    assert torch.equal(table, expected)
    for group, size in enumerate(urn.sizes):
        assert torch.equal(log_marginal(*urn.tensors, group), expected[group, : size + 1])
    assert entropy(*urn.tensors) == 0


def test_one_group_and_impossible_totals():
    log_weights, sizes = torch.tensor([0.5]), torch.tensor([3.0])
    table = log_marginals(log_weights, sizes, torch.tensor(2.0))
    expected = torch.tensor([[-math.inf, -math.inf, 0.0, -math.inf]])
    torch.testing.assert_close(table, expected, rtol=0, atol=1e-12)
    for total in (-1.0, 4.0):
        assert (log_marginals(log_weights, sizes, torch.tensor(total)) == -math.inf).all()
        assert (log_marginal(log_weights, sizes, torch.tensor(total), 0) == -math.inf).all()


def test_broadcasting_and_dtypes():
    log_weights, sizes, _ = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights]).unsqueeze(1)
    totals = torch.arange(17.0)
    table = log_marginals(many, sizes, totals, max_size=9)
    assert table.shape == (2, 17, 4, 10)
    torch.testing.assert_close(table.exp().sum(-1), torch.ones(2, 17, 4), rtol=0, atol=1e-12)
    torch.testing.assert_close(table.exp() @ torch.arange(10.0), mean(many, sizes, totals))
    torch.testing.assert_close(
        table[1, 5, :, :8], log_marginals(-log_weights, sizes, totals[5]), rtol=0, atol=1e-12
    )
    one = log_marginal(many, sizes, totals, 2)
    torch.testing.assert_close(one, table[..., 2, :6], rtol=0, atol=1e-12)
    assert log_marginals(log_weights.float(), sizes, totals).dtype == torch.float32
    assert log_marginal(log_weights.float(), sizes, totals, 1).dtype == torch.float32
    assert entropy(log_weights.float(), sizes, totals).dtype == torch.float32
    assert not log_marginals(log_weights, sizes, totals).requires_grad


@hypothesis.given(urns(max_groups=4, max_size=7))
def test_entropy_of_any_urn(urn):
    _, probs = urn.pmf()
    expected = -torch.xlogy(probs, probs).sum()
    torch.testing.assert_close(entropy(*urn.tensors), expected, rtol=1e-10, atol=1e-12)


def test_entropy_of_larger_urns():
    urn = Urn([0.4, -1.5, 2.0, 0.0], [120, 60, 90, 33], 130)
    exact = float(oracle.entropy(*urn))
    assert entropy(*urn.tensors).item() == pytest.approx(exact, rel=1e-11)
    # A sum over one count of two.
    urn = Urn([0.3, 0.0], [30_000, 50_000], 20_000)
    marginal = log_marginal(*urn.tensors, 0)
    expected = -(marginal.exp() * marginal.clamp(min=-1e300)).sum()
    torch.testing.assert_close(entropy(*urn.tensors), expected, rtol=1e-10, atol=0)


def test_entropy_gradient():
    log_weights, sizes, total = PLAIN.tensors
    log_weights.requires_grad_()
    assert gradcheck(lambda theta: entropy(theta, sizes, total), log_weights)
    # dH = -sum_x dp(x) log p(x)
    counts, probs = PLAIN.pmf()
    expected = -(probs * probs.log()) @ (counts - probs @ counts)
    (gradient,) = torch.autograd.grad(entropy(log_weights, sizes, total), log_weights)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("urn", [PLAIN, WIDE, Urn([0.4, -1.5, 2.0], [1200, 600, 900], 1300)])
def test_windows_hold_all_of_the_mass(urn):
    windows = marginal_windows(solve_fisher(*urn.tensors), urn.bounds)
    ones = torch.ones(len(urn.sizes))
    torch.testing.assert_close(windows.probs.sum(-1), ones, rtol=0, atol=1e-13)
    exact = log_marginals(*urn.tensors).exp()
    index = windows.counts.long()
    inside = torch.where(windows.counts <= urn.tensors[1].unsqueeze(-1), index, 0)
    expected = exact.gather(-1, inside).where(inside == index, 0.0)
    torch.testing.assert_close(windows.probs, expected, rtol=0, atol=1e-13)


# The largest size becomes a constant of the trace, and torch warns of this.
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_transforms_and_trace():
    log_weights, sizes, total = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights, log_weights.flip(-1)])
    for function in (log_marginals, lambda *urn: log_marginal(*urn, 1), entropy):
        expected = function(many, sizes, total)
        mapped = torch.func.vmap(lambda t, f=function: f(t, sizes, total))(many)
        torch.testing.assert_close(mapped, expected, rtol=1e-12, atol=1e-12)
        traced = torch.jit.trace(function, (many + 1, sizes, total - 1))
        torch.testing.assert_close(traced(many, sizes, total), expected, rtol=1e-12, atol=1e-12)
    jacobian = torch.func.jacrev(lambda t: entropy(t, sizes, total))(log_weights)
    log_weights.requires_grad_()
    (gradient,) = torch.autograd.grad(entropy(log_weights, sizes, total), log_weights)
    torch.testing.assert_close(jacobian, gradient)
