# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Partitions that move as their mean field: exact values, and gradients that can be used."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import pyro
import pytest
import torch
from pyro.infer import SVI, JitTrace_ELBO, Trace_ELBO, TraceEnum_ELBO
from scipy import stats
from torch import Size, Tensor

from pyro_hypergeo import (
    FisherHypergeometric,
    FisherHypergeometricStraightThrough,
    FisherPartition,
    FisherPartitionStraightThrough,
    RelaxedFisherHypergeometric,
    WalleniusPartition,
    ops,
)

ELEMENTS, GROUPS = 5, 3


def leaf(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype).requires_grad_()


def counts(weights: Tensor, law: Any = FisherHypergeometricStraightThrough) -> Any:
    return law(ELEMENTS, [4, 4, 3], log_weights=weights)


def listed() -> Tensor:
    labels = torch.tensor(list(itertools.product(range(GROUPS), repeat=ELEMENTS)))
    one_hot = torch.nn.functional.one_hot(labels, GROUPS).double()
    return one_hot[(one_hot.sum(-2) <= torch.tensor([4, 4, 3])).all(-1)]


def test_class() -> None:
    assert issubclass(FisherPartitionStraightThrough, FisherPartition)
    assert FisherPartitionStraightThrough.has_rsample
    assert not FisherPartitionStraightThrough.has_enumerate_support


def test_draws_are_those_of_the_exact_law() -> None:
    weights, scores = leaf(GROUPS), leaf(ELEMENTS, GROUPS)
    law = FisherPartitionStraightThrough(counts(weights), scores)
    drawn, support = law.rsample((20_000,)).detach(), listed()
    exact = FisherPartition(counts(weights.detach(), FisherHypergeometric), scores.detach())
    probs = exact.log_prob(support).exp()
    assert probs.sum() == pytest.approx(1)
    place = torch.tensor(GROUPS) ** torch.arange(ELEMENTS)
    codes = (support.argmax(-1) * place).sum(-1)
    order = codes.argsort()
    found = torch.searchsorted(codes[order], (drawn.argmax(-1) * place).sum(-1))
    observed, expected = found.bincount(minlength=len(codes)), 20_000 * probs[order]
    rare = expected < 5
    observed = torch.cat([observed[~rare], observed[rare].sum(0, keepdim=True)])
    expected = torch.cat([expected[~rare], expected[rare].sum(0, keepdim=True)])
    assert stats.chisquare(observed.numpy(), expected.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sample_shape", [(), (4,), (4, 1)])
def test_values_are_exact_in_every_dtype(dtype: torch.dtype, sample_shape: Any) -> None:
    scores, weights = leaf(2, ELEMENTS, GROUPS, dtype=dtype), leaf(GROUPS, dtype=dtype)
    for sizes in ([3, 1, 1], [5, 0, 0], counts(weights)):
        law = FisherPartitionStraightThrough(sizes, scores)
        y = law.rsample(Size(sample_shape))
        assert y.shape == (*sample_shape, 2, ELEMENTS, GROUPS)
        assert y.dtype == dtype and y.requires_grad
        assert ((y == 0) | (y == 1)).all() and law.support.check(y).all()
        assert not law.sample(Size(sample_shape)).requires_grad
        (gradient,) = torch.autograd.grad((y * torch.randn(y.shape)).sum(), scores)
        assert gradient.isfinite().all()


def test_given_sizes_move_as_the_mean_field() -> None:
    scores, slopes = leaf(2, ELEMENTS, GROUPS), torch.randn(7, 2, ELEMENTS, GROUPS)
    sizes = torch.tensor([[3, 2, 0], [1, 2, 2]])
    y = FisherPartitionStraightThrough(sizes, scores).rsample((7,))
    (found,) = torch.autograd.grad((y * slopes).sum(), scores)
    field = ops.mean_field(scores, sizes.double())
    (wanted,) = torch.autograd.grad((field * slopes).sum(), scores)
    torch.testing.assert_close(found, wanted)


def test_drawn_sizes_move_the_columns() -> None:
    weights, scores = leaf(GROUPS), leaf(ELEMENTS, GROUPS)
    law = FisherPartitionStraightThrough(counts(weights), scores)
    y = law.rsample((50,))
    n = y.detach().sum(-2)
    # A function of the sizes alone has the gradient of the counts, whatever the scores.
    by_weight, by_score = torch.autograd.grad(
        (y.sum(-2) * torch.arange(3.0)).sum(), (weights, scores), retain_graph=True
    )
    moved = ops.affine_gradient(n, weights, torch.tensor([4.0, 4, 3]), torch.tensor(5.0))
    (wanted,) = torch.autograd.grad((moved * torch.arange(3.0)).sum(), weights)
    torch.testing.assert_close(by_weight, wanted)
    assert by_score.abs().max() < 1e-10
    # Who is in which group moves with the weights too.
    assert torch.autograd.grad(y[:, 0, 0].sum(), weights)[0].abs().max() > 0.01


def test_sizes_whose_draws_carry_no_gradient() -> None:
    weights, scores = leaf(GROUPS), leaf(ELEMENTS, GROUPS)
    law = FisherPartitionStraightThrough(counts(weights, FisherHypergeometric), scores)
    found = torch.autograd.grad(law.rsample().square().sum(), (weights, scores), allow_unused=True)
    assert found[0] is None and found[1] is not None


def test_soft_counts_are_refused() -> None:
    soft = RelaxedFisherHypergeometric(0.5, ELEMENTS, [4, 4, 3], log_weights=leaf(GROUPS))
    with pytest.raises(ValueError, match="draws of RelaxedFisherHypergeometric are real numbers"):
        FisherPartitionStraightThrough(soft, leaf(ELEMENTS, GROUPS))


def test_without_a_gradient_nothing_moves() -> None:
    law = FisherPartitionStraightThrough([3, 1, 1], torch.randn(ELEMENTS, GROUPS))
    assert not law.rsample().requires_grad


def test_expand_plates_and_copies() -> None:
    weights, scores = leaf(GROUPS), leaf(ELEMENTS, GROUPS)
    law = FisherPartitionStraightThrough(counts(weights), scores)
    new = law.expand([4, 2])
    assert type(new) is FisherPartitionStraightThrough
    y = new.rsample((3,))
    assert y.shape == (3, 4, 2, ELEMENTS, GROUPS)
    (gradient,) = torch.autograd.grad((y * torch.randn(y.shape)).sum(), scores)
    assert gradient.abs().max() > 0
    assert new.to_event(1).rsample().shape == (4, 2, ELEMENTS, GROUPS)
    assert type(law.given([3, 1, 1])) is FisherPartitionStraightThrough
    for copied in (copy.deepcopy(law), pickle.loads(pickle.dumps(law))):
        assert copied.rsample().requires_grad
    with pyro.plate("bags", 6):
        assert pyro.sample("y", law).shape == (6, ELEMENTS, GROUPS)


WEIGHTS = torch.tensor([0.5, 0.0, -0.5])
FIT = 2 * torch.eye(GROUPS)[torch.tensor([0, 0, 1, 1, 2])]


def prior(*_: Tensor) -> Tensor:
    return pyro.sample("y", FisherPartition(counts(WEIGHTS, FisherHypergeometric), 0.5 * FIT))


def model(*_: Tensor) -> None:
    pyro.factor("fit", (prior() * FIT).sum((-1, -2)))


def guide(weights: Tensor, scores: Tensor) -> None:
    pyro.sample("y", FisherPartitionStraightThrough(counts(weights), scores))


def test_elbo_has_the_gradient_of_the_divergence_too() -> None:
    """The log-probabilities move with the draw. With few elements, only the direction is right."""
    weights, scores = leaf(GROUPS), leaf(ELEMENTS, GROUPS)
    y = listed()
    q = FisherPartition(counts(weights, FisherHypergeometric), scores)
    p = FisherPartition(counts(WEIGHTS, FisherHypergeometric), 0.5 * FIT)
    log_q = q.log_prob(y)
    loss = (log_q.exp() * (log_q - p.log_prob(y))).sum()
    wanted = torch.autograd.grad(loss, (weights, scores))
    elbo = Trace_ELBO(num_particles=2000, vectorize_particles=True, max_plate_nesting=0)
    surrogate = elbo.differentiable_loss(prior, guide, weights, scores)
    assert float(surrogate.detach()) == pytest.approx(float(loss.detach()), abs=0.1)
    for ours, exact in zip(torch.autograd.grad(surrogate, (weights, scores)), wanted, strict=True):
        assert torch.cosine_similarity(ours.flatten(), exact.flatten(), 0) > 0.8
        assert 0.5 < ours.norm() / exact.norm() < 2


@pytest.mark.slow
def test_traced_elbo() -> None:
    weights, scores = leaf(GROUPS), leaf(ELEMENTS, GROUPS)
    elbo = JitTrace_ELBO(ignore_jit_warnings=True)
    for _ in range(2):
        loss = elbo.differentiable_loss(model, guide, weights, scores)
        for gradient in torch.autograd.grad(loss, (weights, scores)):
            assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_training_finds_the_scores() -> None:
    def learned() -> None:
        guide(
            pyro.param("weights", torch.zeros(GROUPS)),
            pyro.param("scores", torch.zeros(ELEMENTS, GROUPS)),
        )

    svi = SVI(model, learned, pyro.optim.Adam({"lr": 0.3}), Trace_ELBO())
    for _ in range(40):
        svi.step()
    assert pyro.param("scores").argmax(-1).tolist() == FIT.argmax(-1).tolist()


def test_does_not_enumerate() -> None:
    def enumerated() -> None:
        law = FisherPartitionStraightThrough(counts(leaf(GROUPS)), leaf(ELEMENTS, GROUPS))
        pyro.sample("y", law, infer={"enumerate": "parallel"})

    with pytest.raises(NotImplementedError):
        TraceEnum_ELBO(max_plate_nesting=0).loss(model, enumerated)


def test_log_prob_without_a_derivative_says_so() -> None:
    scores = leaf(ELEMENTS, GROUPS)
    y = FisherPartitionStraightThrough([2, 2, 1], scores).rsample()
    with pytest.raises(NotImplementedError, match="no derivative in the partition"):
        WalleniusPartition([2, 2, 1], scores).log_prob(y)
    equal = WalleniusPartition([2, 2, 1], torch.zeros(ELEMENTS))
    (gradient,) = torch.autograd.grad(equal.log_prob(y), scores)
    assert (gradient == 0).all()
