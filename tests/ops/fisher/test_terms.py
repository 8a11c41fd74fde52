# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Terms and suffixes of the chain of groups."""

import math

import hypothesis
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from pyro_hypergeo.ops import log_suffix_partitions, mean
from pyro_hypergeo.ops.log_convolution import log_convolve
from tests import oracle
from tests.ops.fixture import PLAIN, WIDE, Urn, urns


def exact_entry(urn, group, total):
    log_weights, sizes = urn.log_weights[group:], urn.sizes[group:]
    try:
        return float(oracle.log_partition(log_weights, sizes, total))
    except ValueError:
        return -math.inf


def assert_exact(ours, urn, group, total):
    exact = exact_entry(urn, group, total)
    assert ours[group, total].item() == pytest.approx(exact, rel=1e-12, abs=1e-12)


@pytest.mark.slow
@hypothesis.given(urns(max_groups=4, max_size=8))
def test_any_urn(urn):
    log_weights, sizes, _ = urn.tensors
    last = sum(urn.sizes) + 1
    ours = log_suffix_partitions(log_weights, sizes, last)
    assert ours.shape == (len(urn.sizes) + 1, last + 1)
    for group in range(len(urn.sizes)):
        for total in range(last + 1):
            assert_exact(ours, urn, group, total)
    assert ours[-1].tolist() == [0.0] + [-math.inf] * last


@pytest.mark.parametrize(
    "urn",
    [
        Urn([0.4, -1.5, 2.0], [120, 60, 90], 0),
        Urn([math.log(1e12), 0.0, -math.log(1e12)], [100, 100, 80], 0),
        Urn([6.0, -6.0, 0.0], [5, 200, 60], 0),
        Urn([0.02 * i for i in range(40)], [3] * 40, 0),
    ],
)
def test_far_tails(urn):
    log_weights, sizes, _ = urn.tensors
    last = sum(urn.sizes)
    ours = log_suffix_partitions(log_weights, sizes, last)
    for group in (0, 1, len(urn.sizes) - 1):
        held = sum(urn.sizes[group:])
        for total in (0, 1, held // 3, held - 7, held - 1, held):
            assert_exact(ours, urn, group, total)


def test_a_short_table_is_the_start_of_a_long_one():
    log_weights, sizes, _ = PLAIN.tensors
    table = log_suffix_partitions(log_weights, sizes, 16)
    for total_max in (0, 1, 3, 8):
        short = log_suffix_partitions(log_weights, sizes, total_max)
        torch.testing.assert_close(short, table[:, : total_max + 1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("urn", [PLAIN, WIDE])
def test_gradient_is_the_mean_of_the_last_groups(urn):
    log_weights, sizes, _ = urn.tensors
    log_weights.requires_grad_()
    table = log_suffix_partitions(log_weights, sizes, urn.total)
    for group in range(len(urn.sizes)):
        for total in range(min(urn.total, sum(urn.sizes[group:])) + 1):
            (found,) = torch.autograd.grad(table[group, total], log_weights, retain_graph=True)
            expected = torch.zeros(len(urn.sizes))
            suffix = log_weights[group:].detach(), sizes[group:], torch.tensor(float(total))
            expected[group:] = mean(*suffix)
            torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_second_gradients():
    log_weights, sizes, _ = Urn([0.5, -1.0, 2.0], [3, 4, 2], 4).tensors
    log_weights.requires_grad_()

    def possible(theta):
        table = log_suffix_partitions(theta, sizes, 6)
        return table[table > -math.inf]

    assert gradcheck(possible, log_weights)
    assert gradgradcheck(possible, log_weights)


@pytest.mark.parametrize(("short", "long", "length"), [(3, 5, 7), (3, 5, 4), (5, 3, 7), (4, 2, 2)])
def test_convolution_and_its_gradients(short, long, length):
    a, b = (torch.randn(2, n, requires_grad=True) for n in (short, long))
    ours = log_convolve(a, b, length)
    expected = torch.zeros(2, short + long - 1)
    for k in range(short):
        expected[:, k : k + long] += a[:, k, None].detach().exp() * b.detach().exp()
    torch.testing.assert_close(ours.exp(), expected[:, :length], rtol=1e-13, atol=0)
    assert gradcheck(lambda a, b: log_convolve(a, b, length), (a, b))
    assert gradgradcheck(lambda a, b: log_convolve(a, b, length), (a, b))


def test_impossible_entries_give_no_nan_gradients():
    log_weights = torch.tensor([0.5, -math.inf, 1.0, 2.0], requires_grad=True)
    sizes = torch.tensor([3.0, 4.0, 5.0, 0.0])
    table = log_suffix_partitions(log_weights, sizes, 12)
    assert (table[0, 9:] == -math.inf).all()
    (found,) = torch.autograd.grad(table.exp().sum(), log_weights, retain_graph=True)
    assert found.isfinite().all() and found[0] > 1 and found[2] > 1
    assert found[1] == 0 and found[3] == 0
    (found,) = torch.autograd.grad(table[0].logsumexp(-1), log_weights)
    held = torch.where(log_weights > -math.inf, sizes, 0.0)
    expected = held * torch.sigmoid(log_weights.detach())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_broadcasting_and_dtypes():
    log_weights, sizes, _ = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights]).unsqueeze(1)
    several = torch.stack([sizes, sizes.flip(-1), sizes + 1])
    table = log_suffix_partitions(many, several, 9)
    assert table.shape == (2, 3, 5, 10)
    one = log_suffix_partitions(-log_weights, sizes + 1, 9)
    torch.testing.assert_close(table[1, 2], one, rtol=1e-14, atol=1e-14)
    single = log_suffix_partitions(many.float(), several, 9)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), table, rtol=1e-5, atol=1e-5)
    mapped = torch.func.vmap(lambda t: log_suffix_partitions(t, several, 9))(many)
    torch.testing.assert_close(mapped, table, rtol=1e-14, atol=1e-14)


def test_a_negative_total_is_refused():
    with pytest.raises(ValueError, match="`total_max` not to be negative, but got -1"):
        log_suffix_partitions(torch.zeros(2), torch.ones(2), -1)
