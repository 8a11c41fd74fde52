# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The gradient of `expectation`: no bias, and less noise than the score function."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Size, Tensor

from pyro_hypergeo import FisherHypergeometric, WalleniusHypergeometric, expectation
from tests.gradients import URNS, Urn, functions, truth

FEW = Urn([3, 4, 2], 4, [1.0, 2.0, 0.5])


class AllPairs:
    """An urn whose only "sample" is the list of all pairs of count vectors."""

    def sample(self, sample_shape: Any = None) -> Tensor:
        counts = self.enumerate_support()[:, 0]  # type: ignore[attr-defined]
        n = len(counts)
        pairs = counts.expand(n, n, -1)
        return torch.stack([pairs.transpose(0, 1), pairs]).flatten(1, 2)


@pytest.mark.parametrize("law", [FisherHypergeometric, WalleniusHypergeometric])
@pytest.mark.parametrize("name", functions(FEW))
def test_gradient_is_unbiased(name: str, law: Any) -> None:
    f = functions(FEW)[name]
    exact = truth(FEW, f, law)
    n = len(exact.counts)
    theta = torch.tensor(FEW.weights).log().expand(n * n, -1).clone().requires_grad_()
    urn = type("Pairs", (AllPairs, law), {})(FEW.total_count, FEW.group_sizes, log_weights=theta)
    estimates = expectation(f, urn)
    probs = (exact.probs.unsqueeze(-1) * exact.probs).flatten()
    torch.testing.assert_close(probs @ estimates, exact.probs @ f(exact.counts))
    (gradients,) = torch.autograd.grad(estimates.sum(), theta)
    torch.testing.assert_close(probs @ gradients, exact.gradient, rtol=1e-9, atol=1e-11)


def test_noise_is_less_than_that_of_two_score_function_draws() -> None:
    urn = URNS[2]
    for name, f in functions(urn).items():
        theta = torch.tensor(urn.weights).log().expand(4000, -1).clone().requires_grad_()
        law = FisherHypergeometric(urn.total_count, urn.group_sizes, log_weights=theta)
        (ours,) = torch.autograd.grad(expectation(f, law).sum(), theta)
        x, y = law.sample(Size((2,)))
        score = 0.5 * (f(x) - f(y)).unsqueeze(-1) * (x - y)
        assert ours.var(0).sum() < 0.5 * score.var(0).sum(), name


def test_parameters_of_the_function_and_shapes() -> None:
    theta = torch.zeros(2, 3, requires_grad=True)
    scale = torch.tensor(2.0, requires_grad=True)
    urn = FisherHypergeometric(torch.tensor([4, 5]), [5, 3, 2], log_weights=theta)
    result = expectation(lambda x: scale * x[..., 0], urn, (7,))
    assert result.shape == (7, 2)
    result.mean().backward()
    assert scale.grad == pytest.approx(float(result.detach().mean()) / 2)
    # For a linear function the gradient is the covariance, without noise.
    torch.testing.assert_close(theta.grad, scale.detach() / 2 * urn.covariance_matrix[:, 0])


def test_zero_weights_and_constant_functions() -> None:
    theta = torch.tensor([0.0, 1.0, -torch.inf], requires_grad=True)
    urn = FisherHypergeometric(4, [5, 3, 2], log_weights=theta)
    expectation(lambda x: x.square().sum(-1), urn).backward()
    assert theta.grad is not None
    assert theta.grad.isfinite().all()
    assert theta.grad[2] == 0
    assert expectation(lambda x: torch.ones(x.shape[:-1]), urn) == 1


def test_wrong_shape_of_the_function() -> None:
    urn = FisherHypergeometric(4, [5, 3, 2], weights=[1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"values of shape \(2,\), but got shape \(\)"):
        expectation(lambda x: x.sum(), urn)
