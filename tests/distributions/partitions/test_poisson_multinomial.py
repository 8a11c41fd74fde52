# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The Poisson multinomial distribution: against lists of labels, and in Pyro."""

from __future__ import annotations

import copy
import itertools
import math
import pickle

import pyro
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.testing import assert_close

from pyro_hypergeo import PoissonMultinomial


def law_of_counts(scores: Tensor) -> tuple[Tensor, Tensor]:
    """All counts and their probabilities, from all labels of all elements."""
    elements, groups = scores.shape
    labels = torch.tensor(list(itertools.product(range(groups), repeat=elements)))
    probs = scores.softmax(-1)[torch.arange(elements), labels].prod(-1)
    hot = torch.nn.functional.one_hot(labels, groups).sum(-2)
    counts, which = hot.unique(dim=0, return_inverse=True)
    return counts.double(), torch.zeros(len(counts)).index_add(0, which, probs)


@pytest.mark.parametrize("elements, groups", [(1, 3), (4, 1), (4, 2), (5, 3), (4, 4)])
def test_law_and_moments(elements: int, groups: int) -> None:
    scores = torch.randn(elements, groups) + 50.0
    if groups > 1:
        scores[0, 0] = -math.inf
    counts, probs = law_of_counts(scores)
    law = PoissonMultinomial(scores)
    possible = probs > 0
    assert_close(law.log_prob(counts[possible]).exp(), probs[possible], rtol=1e-11, atol=1e-13)
    mean = probs @ counts
    covariance = (counts - mean).mT @ ((counts - mean) * probs.unsqueeze(-1))
    assert_close(law.mean, mean)
    assert_close(law.covariance_matrix, covariance, rtol=0, atol=1e-12)
    assert_close(law.variance, covariance.diagonal(), rtol=0, atol=1e-12)
    assert law.total_count == elements
    assert law.support.check(counts[possible]).all()


def test_draws_have_the_law() -> None:
    scores = torch.randn(4, 3)
    counts, probs = law_of_counts(scores)
    draws = PoissonMultinomial(scores).sample((20_000,))
    observed = (draws.unsqueeze(1) == counts).all(-1).sum(0).double()
    assert observed.sum() == 20_000
    assert scipy.stats.chisquare(observed, 20_000 * probs).pvalue > 1e-3


def test_labels_given_counts() -> None:
    scores = torch.randn(2, 5, 3)
    counts = torch.tensor([[2.0, 2.0, 1.0], [0.0, 1.0, 4.0]])
    law = PoissonMultinomial(scores)
    leaf = scores.clone().requires_grad_()
    # By Bayes' rule: the derivative of the log-probability is the posterior minus the prior.
    (shift,) = torch.autograd.grad(PoissonMultinomial(leaf).log_prob(counts).sum(), leaf)
    posterior = law.posterior_labels(counts)
    assert_close(posterior - scores.softmax(-1), shift, rtol=0, atol=1e-12)
    labels = law.sample_labels(counts, (4000,))
    assert labels.shape == (4000, 2, 5)
    hot = (labels.unsqueeze(-1) == torch.arange(3)).double()
    assert (hot.sum(-2) == counts).all()
    assert_close(hot.mean(0), posterior, rtol=0, atol=0.03)
    assert law.posterior_labels(counts.expand(4, 2, 3)).shape == (4, 2, 5, 3)


def test_gradcheck() -> None:
    scores = torch.randn(5, 3, requires_grad=True)
    counts = torch.tensor([2.0, 2.0, 1.0])
    assert torch.autograd.gradcheck(lambda s: PoissonMultinomial(s).log_prob(counts), scores)


def test_bags_with_different_numbers_of_elements() -> None:
    scores = torch.randn(2, 5, 3)
    present = torch.tensor([[True] * 5, [True, False, True, True, False]])
    scores[~present] = math.nan
    scores.requires_grad_()
    law = PoissonMultinomial(scores, present)
    short = PoissonMultinomial(scores[1, present[1]].detach())
    counts = torch.tensor([[2.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    assert law.total_count.tolist() == [5, 3]
    assert law.max_counts.tolist() == [[5, 5, 5], [3, 3, 3]]
    for name in ("mean", "variance", "covariance_matrix"):
        assert_close(getattr(law, name)[1], getattr(short, name))
    assert_close(law.log_prob(counts)[1], short.log_prob(counts[1]))
    posterior = law.posterior_labels(counts)
    assert_close(posterior[1, present[1]], short.posterior_labels(counts[1]))
    assert (posterior[1, ~present[1]] == 0).all()
    assert ((law.sample_labels(counts) == -1) == ~present).all()
    assert (law.sample((7,)).sum(-1) == law.total_count).all()
    law.log_prob(counts).sum().backward()
    assert (scores.grad[~present] == 0).all() and scores.grad.isfinite().all()


def test_shapes_expand_and_pickle() -> None:
    scores = torch.randn(2, 5, 3, requires_grad=True)
    present = torch.ones(4, 1, 5).bool()
    law = PoissonMultinomial(scores, present)
    assert (law.batch_shape, law.event_shape) == ((4, 2), (3,))
    assert PoissonMultinomial.infer_shapes((2, 5, 3), (4, 1, 5)) == ((4, 2), (3,))
    assert PoissonMultinomial.infer_shapes((2, 5, 3)) == ((2,), (3,))
    law = PoissonMultinomial(scores)
    counts = torch.tensor([1.0, 2.0, 2.0])
    value = law.log_prob(counts)
    larger = law.expand((6, 2))
    assert larger.log_probs.data_ptr() == law.log_probs.data_ptr()
    assert_close(larger.log_prob(counts), value.expand(6, 2))
    assert larger.sample((3,)).shape == (3, 6, 2, 3)
    assert law.to_event(1).log_prob(counts).shape == ()
    for copied in (pickle.loads(pickle.dumps(law)), copy.deepcopy(law)):
        assert_close(copied.log_prob(counts), value)
    assert scores.requires_grad and scores.grad is None
    narrow = PoissonMultinomial(scores.detach().float())
    assert narrow.log_prob(counts).dtype == narrow.mean.dtype == narrow.sample().dtype
    assert narrow.mean.dtype == torch.float32
    assert PoissonMultinomial([[0.0, 1.0], [2.0, 0.5]]).log_prob([1, 1]).shape == ()


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"`log_scores` of shape \(..., N, K\).*\(3,\)"):
        PoissonMultinomial(torch.zeros(3))
    with pytest.raises(ValueError, match=r"`log_scores` .* ruled out, but found nan at .*\(1, 2\)"):
        PoissonMultinomial(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, math.nan]]))
    with pytest.raises(ValueError, match=r"above -inf for a label of each element.*\(1,\)"):
        PoissonMultinomial(torch.tensor([[0.0, 0.0], [-math.inf, -math.inf]]))
    with pytest.raises(ValueError, match=r"`present` .* \(4,\) and \(5, 3\)"):
        PoissonMultinomial(torch.zeros(5, 3), torch.ones(4).bool())


def test_wrong_counts() -> None:
    law = PoissonMultinomial(torch.zeros(2, 5, 3))
    with pytest.raises(ValueError, match=r"sum to the number of elements, 5, but found \[2.0, 2.0"):
        law.log_prob(torch.tensor([2.0, 2.0, 2.0]))
    with pytest.raises(ValueError, match="integers between 0 and"):
        law.posterior_labels(torch.tensor([[5.0, 0.0, 0.0], [2.5, 2.5, 0.0]]))
    with pytest.raises(ValueError, match="event shape"):
        law.log_prob(torch.tensor([2.0, 3.0]))
    free = PoissonMultinomial(torch.zeros(2, 5, 3), validate_args=False)
    assert (free.log_prob(torch.tensor([2.0, 2.0, 2.0])) == -math.inf).all()


def test_a_classifier_learns_from_counts_only() -> None:
    bags, elements, groups = 60, 8, 3
    centres = 3 * torch.tensor([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]])
    labels = torch.randint(0, groups, (bags, elements))
    images = centres[labels] + torch.randn(bags, elements, 2)
    counts = torch.nn.functional.one_hot(labels, groups).sum(-2).double()

    def model(images: Tensor, counts: Tensor | None = None) -> Tensor:
        weight = pyro.param("weight", torch.zeros(2, groups))
        bias = pyro.param("bias", torch.zeros(groups))
        with pyro.plate("bags", len(images), subsample_size=20) as index:
            law = PoissonMultinomial(images[index] @ weight + bias)
            obs = None if counts is None else counts[index]
            return pyro.sample("counts", law, obs=obs)

    optimiser = pyro.optim.Adam({"lr": 0.1})
    svi = pyro.infer.SVI(model, lambda *_: None, optimiser, pyro.infer.Trace_ELBO())
    for _ in range(60):
        svi.step(images, counts)
    scores = images @ pyro.param("weight") + pyro.param("bias")
    alone = (scores.argmax(-1) == labels).double().mean()
    with_counts = PoissonMultinomial(scores).posterior_labels(counts).argmax(-1)
    assert alone > 0.95
    assert (with_counts == labels).double().mean() >= alone
    assert model(images).shape == (20, groups)


def test_inside_a_pyro_model_with_latent_scores() -> None:
    counts = torch.tensor([3.0, 1.0, 1.0])

    def model() -> None:
        scores = pyro.sample("scores", dist.Normal(torch.zeros(5, 3), 1.0).to_event(2))
        pyro.sample("counts", PoissonMultinomial(scores), obs=counts)

    guide = pyro.infer.autoguide.AutoDelta(model)
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), pyro.infer.Trace_ELBO())
    for _ in range(20):
        svi.step()
    assert_close(PoissonMultinomial(guide()["scores"]).mean.argmax(), torch.tensor(0))


def test_jit_trace_elbo_takes_the_same_steps() -> None:
    images = torch.randn(4, 5, 2)
    counts = PoissonMultinomial(torch.randn(4, 5, 3)).sample()

    def model(images: Tensor) -> None:
        weight = pyro.param("weight", torch.ones(2, 3).tril())
        with pyro.plate("bags", 4):
            pyro.sample("counts", PoissonMultinomial(images @ weight), obs=counts)

    losses = []
    for elbo in (pyro.infer.Trace_ELBO(), pyro.infer.JitTrace_ELBO()):
        pyro.clear_param_store()
        svi = pyro.infer.SVI(model, lambda *_: None, pyro.optim.Adam({"lr": 0.1}), elbo)
        losses.append([svi.step(images) for _ in range(4)])
    assert_close(torch.tensor(losses[1]), torch.tensor(losses[0]))
    assert losses[0][3] < losses[0][0]
