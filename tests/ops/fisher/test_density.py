# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""`log_prob` under Fisher's law: PyTorch's transforms and derivatives."""

import hypothesis
import pytest
import torch
from torch.func import grad, hessian, vmap

from pyro_hypergeo.ops import covariance, log_prob, mean
from tests.ops.fixture import PLAIN, RECORDS, WIDE, name_of, urns

COUNTS = torch.tensor([1.0, 2.0, 3.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_reference(record):
    ours = log_prob(record.counts, record.log_weights, record.sizes, record.total).item()
    assert abs(ours - record.log_prob) <= record.log_prob_tolerance


@hypothesis.given(urns(max_groups=4, max_size=6))
def test_every_count_of_any_urn(urn):
    counts, probs = urn.pmf()
    ours = log_prob(counts, *urn.tensors)
    normal = probs > 1e-290
    torch.testing.assert_close(ours[normal], probs[normal].log(), rtol=1e-11, atol=1e-11)
    assert (ours[~normal] < -600).all()
    assert ours.exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("urn", "counts"), [(PLAIN, COUNTS), (WIDE, torch.tensor([1.0, 2.0, 8.0]).double())]
)
def test_gradient_is_what_was_drawn_less_the_mean(urn, counts):
    log_weights, sizes, total = urn.tensors
    log_weights.requires_grad_()
    value = log_prob(counts, log_weights, sizes, total)
    (gradient,) = torch.autograd.grad(value, log_weights)
    torch.testing.assert_close(gradient, counts - mean(*urn.tensors), rtol=1e-12, atol=1e-13)


def test_gradient_and_hessian_under_vmap():
    log_weights, sizes, total = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights, log_weights.flip(-1).roll(-1)])

    def value(theta):
        return log_prob(COUNTS, theta, sizes, total)

    torch.testing.assert_close(vmap(grad(value))(many), COUNTS - mean(many, sizes, total))
    expected = -covariance(log_weights, sizes, total)
    torch.testing.assert_close(hessian(value)(log_weights), expected)
    torch.testing.assert_close(vmap(hessian(value))(many), -covariance(many, sizes, total))


@pytest.mark.slow
# torch.compile instantiates torch.autograd.Function, which torch deprecates.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compile():
    log_weights, sizes, total = PLAIN.tensors
    compiled = torch.compile(log_prob, fullgraph=True, backend="eager")
    log_weights.requires_grad_()
    value = compiled(COUNTS, log_weights, sizes, total)
    torch.testing.assert_close(value, log_prob(COUNTS, *PLAIN.tensors))
    (gradient,) = torch.autograd.grad(value, log_weights)
    torch.testing.assert_close(gradient, COUNTS - mean(*PLAIN.tensors))
