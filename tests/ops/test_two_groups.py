# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Marginals of two groups where Python must not look at values: in traces and in torch.func."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pyro_hypergeo import Hypergeometric, ops

Marginal = Callable[..., Tensor]
both = pytest.mark.parametrize("marginal", [ops.log_marginal, ops.wallenius_log_marginal])
SIZES = torch.tensor([[6.0, 4.0], [2.0, 5.0], [0.0, 5.0], [6.0, 3.0], [1.0, 1.0]])
TOTAL = torch.tensor([7.0, 3.0, 4.0, 9.0, 0.0])
THETA = torch.tensor([[0.5, -1.0], [2.0, 0.0], [1.0, 0.3], [0.0, 0.1], [0.4, 0.2]])


@both
@pytest.mark.parametrize("group", [0, 1])
def test_a_map_over_urns_is_their_batch(marginal: Marginal, group: int) -> None:
    def one(theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        return marginal(theta, sizes, total, group, max_size=6)

    found = torch.func.vmap(one)(THETA, SIZES, TOTAL)
    torch.testing.assert_close(found, one(THETA, SIZES, TOTAL), rtol=1e-11, atol=1e-11)

    def seen(theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        logs = one(theta, sizes, total)
        return torch.where(logs > -torch.inf, logs, 0.0).square().sum()

    slopes = torch.func.vmap(torch.func.grad(seen))(THETA, SIZES, TOTAL)
    theta = THETA.clone().requires_grad_()
    (expected,) = torch.autograd.grad(seen(theta, SIZES, TOTAL), theta)
    torch.testing.assert_close(slopes, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@both
def test_a_trace_serves_smaller_urns(marginal: Marginal) -> None:
    def one(theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        return marginal(theta, sizes, total, 0)

    traced = torch.jit.trace(one, (THETA[0], SIZES[0], TOTAL[0]), check_trace=False)
    for urn in zip(THETA, SIZES, TOTAL, strict=True):
        expected = marginal(*urn, 0, max_size=6)
        torch.testing.assert_close(traced(*urn), expected, rtol=1e-11, atol=1e-11)
    assert traced(THETA[0], torch.tensor([7.0, 4.0]), TOTAL[0]).isnan().all()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_trace_of_a_central_tail_serves_smaller_urns() -> None:
    def tail(numbers: Tensor) -> Tensor:
        return Hypergeometric(*numbers, validate_args=False).logsf(torch.tensor(2.0))

    traced = torch.jit.trace(tail, torch.tensor([7.0, 6.0, 10.0]), check_trace=False)
    for numbers in ([7.0, 6.0, 10.0], [5.0, 3.0, 30.0], [4.0, 6.0, 6.0], [0.0, 2.0, 9.0]):
        urn = torch.tensor(numbers)
        torch.testing.assert_close(traced(urn), tail(urn), rtol=1e-12, atol=1e-12)
    assert traced(torch.tensor([9.0, 9.0, 12.0])).isnan()


@both
@pytest.mark.parametrize("groups", [2, 3])
def test_all_is_in_float64_whatever_the_default(marginal: Marginal, groups: int) -> None:
    sizes = torch.tensor([5.0, 7.0, 3.0])[:groups]
    urn = torch.tensor([0.3, 0.1, -0.7])[:groups], sizes, torch.tensor(6.0)
    expected = marginal(*urn, 0)
    torch.set_default_dtype(torch.float32)
    assert torch.equal(marginal(*urn, 0), expected)


@both
@pytest.mark.parametrize("groups", [2, 3])
def test_a_batch_without_urns(marginal: Marginal, groups: int) -> None:
    urn = torch.zeros(0, groups), torch.ones(0, groups), torch.ones(0)
    assert marginal(*urn, 0, max_size=4).shape == (0, 5)
