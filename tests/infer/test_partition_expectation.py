# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The gradient of `partition_expectation` has no bias, whatever the function and the law."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Size, Tensor

from pyro_hypergeo import (
    FisherHypergeometric,
    FisherPartition,
    PlackettLuce,
    WalleniusPartition,
    partition_expectation,
)

Law = Callable[[Tensor, Tensor], Any]


class AllTuples:
    """A law whose only "sample" is the list of all tuples of events."""

    def __init__(self, law: Any, events: Tensor) -> None:
        self.law, self.events, self.batch_shape = law, events, law.batch_shape

    def sample(self, sample_shape: Size) -> Tensor:
        draws, number = sample_shape
        indices = list(itertools.product(range(len(self.events)), repeat=draws))
        assert len(indices) == number
        self.indices = torch.tensor(indices).T
        return self.events[self.indices]

    def log_prob(self, value: Tensor) -> Tensor:
        assert torch.equal(value, self.events[self.indices])
        return self.law.log_prob(self.events)[self.indices]


def partitions(elements: int, groups: int) -> Tensor:
    labels = list(itertools.product(range(groups), repeat=elements))
    return torch.nn.functional.one_hot(torch.tensor(labels), groups).double()


def orders(elements: int) -> Tensor:
    return torch.tensor(list(itertools.permutations(range(elements))))


def sizes(weights: Tensor, elements: int) -> FisherHypergeometric:
    return FisherHypergeometric(elements, [elements] * len(weights), log_weights=weights)


LAWS: dict[str, tuple[Law, Tensor]] = {
    "Fisher, 3 groups": (
        lambda weights, scores: FisherPartition(sizes(weights, 4), scores[:4]),
        partitions(4, 3),
    ),
    "Fisher, known sizes": (
        lambda weights, scores: FisherPartition([2, 2, 1], scores + weights),
        partitions(5, 3)[(partitions(5, 3).sum(-2) == torch.tensor([2.0, 2, 1])).all(-1)],
    ),
    "Wallenius": (
        lambda weights, scores: WalleniusPartition(sizes(weights, 4), scores[:4]),
        partitions(4, 3),
    ),
    "DRPM": (
        lambda weights, scores: WalleniusPartition(sizes(weights[:2], 5), scores[:, 0]),
        partitions(5, 2),
    ),
    "orders": (lambda weights, scores: PlackettLuce(weights[0] * scores[:4, 0]), orders(4)),
    "counts": (
        lambda weights, scores: FisherHypergeometric(3, [3, 2, 2], log_weights=weights),
        FisherHypergeometric(3, [3, 2, 2], weights=[1.0, 1, 1]).enumerate_support(),
    ),
}


def parameters() -> tuple[Tensor, Tensor]:
    return torch.randn(3, requires_grad=True), torch.randn(5, 3, requires_grad=True)


@pytest.mark.parametrize("name", LAWS)
def test_gradient_is_unbiased(name: str) -> None:
    make, events = LAWS[name]
    weights, scores = parameters()
    law = make(weights, scores)
    event_dim = len(law.event_shape)
    table = torch.randn(law.event_shape)

    def f(y: Tensor) -> Tensor:  # it has steps, and no derivative
        linear = (table * y.double()).flatten(-event_dim).sum(-1)
        return (3 * linear).floor() + (linear > 0)

    log_probs = law.log_prob(events)
    truth = (log_probs.exp() * f(events)).sum()
    pairs = len(events) ** 2
    estimates = partition_expectation(f, AllTuples(law, events), sample_shape=(pairs,))
    probs = log_probs.detach().exp()
    assert probs.sum() == pytest.approx(1)
    average = (probs.unsqueeze(-1) * probs).flatten() @ estimates
    torch.testing.assert_close(average, truth)
    found = torch.autograd.grad(average, (weights, scores), allow_unused=True, retain_graph=True)
    wanted = torch.autograd.grad(truth, (weights, scores), allow_unused=True)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)


def test_more_draws_are_unbiased_too_and_have_less_noise() -> None:
    scores = torch.randn(3, 2, requires_grad=True)
    law, events = FisherPartition([2, 1], scores), partitions(3, 2)
    events = events[events.sum(-2)[:, 0] == 2]

    def f(y: Tensor) -> Tensor:
        return (y[..., 0, :] * y[..., 1, :]).sum(-1) * (1 + y[..., 2, 0])

    probs = law.log_prob(events).exp()
    (wanted,) = torch.autograd.grad((probs * f(events)).sum(), scores)
    noise = []
    for draws in (2, 3):
        weight = torch.ones(())
        for _ in range(draws):
            weight = weight.unsqueeze(-1) * probs.detach()
        all_tuples = AllTuples(law, events)
        estimates = partition_expectation(f, all_tuples, draws, (len(events) ** draws,))
        gradients = torch.stack(
            [torch.autograd.grad(x, scores, retain_graph=True)[0] for x in estimates]
        )
        torch.testing.assert_close(torch.einsum("s,sek->ek", weight.flatten(), gradients), wanted)
        squares = (gradients - wanted).square().sum((-1, -2))
        noise.append(float(weight.flatten() @ squares))
    assert noise[1] < 0.7 * noise[0]


def test_constant_function_has_no_noise() -> None:
    weights, scores = parameters()
    law = FisherPartition(sizes(weights, 5), scores)
    result = partition_expectation(lambda y: torch.full(y.shape[:-2], 7.0), law, 3, (10,))
    assert (result == 7).all()
    for gradient in torch.autograd.grad(result.sum(), (weights, scores)):
        assert (gradient == 0).all()


def test_parameters_of_the_function_and_shapes() -> None:
    weights, scores = torch.zeros(2, 3, requires_grad=True), torch.zeros(6, 3, requires_grad=True)
    counts = FisherHypergeometric(6, [4, 4, 4], log_weights=weights)
    scale = torch.tensor(2.0, requires_grad=True)
    law = FisherPartition(counts, scores)
    result = partition_expectation(lambda y: scale * y[..., 0, 0], law, 4, (7,))
    assert result.shape == (7, 2)
    result.mean().backward()
    assert scale.grad == pytest.approx(float(result.detach().mean()) / 2)
    assert weights.grad is not None and scores.grad is not None
    assert weights.grad.abs().max() > 0 and scores.grad.abs().max() > 0


def test_functions_of_integers_and_dtypes() -> None:
    scores = torch.zeros(4, 2, dtype=torch.float32, requires_grad=True)
    law = FisherPartition([2, 2], scores)
    result = partition_expectation(lambda y: law.labels(y)[..., 0], law, sample_shape=(5,))
    assert result.dtype == torch.get_default_dtype()
    result.sum().backward()
    single = partition_expectation(lambda y: y[..., 0, 0], law)
    assert single.dtype == torch.float32 and single.requires_grad


def test_law_without_a_gradient() -> None:
    law = FisherPartition([2, 2], torch.zeros(4, 2))
    assert not partition_expectation(lambda y: y[..., 0, 0], law).requires_grad


@pytest.mark.parametrize("draws", [1, 0, -2, 2.0, True])
def test_too_few_draws(draws: Any) -> None:
    law = FisherPartition([2, 2], torch.zeros(4, 2))
    with pytest.raises(ValueError, match=f"`draws` to be a whole number .* but got {draws}"):
        partition_expectation(lambda y: y[..., 0, 0], law, draws)


def test_wrong_shape_of_the_function() -> None:
    law = FisherPartition([2, 2], torch.zeros(3, 4, 2))
    message = r"shape \(2, 5, 3, 4, 2\) to values of shape \(2, 5, 3\), but got shape \(2, 5\)"
    with pytest.raises(ValueError, match=message):
        partition_expectation(lambda y: y.sum((-1, -2, -3)), law, sample_shape=(5,))
