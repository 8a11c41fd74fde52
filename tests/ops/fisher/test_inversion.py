# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Log-weights from means under Fisher's law."""

import json
import math
from pathlib import Path

import hypothesis
import pytest
import torch
from torch.autograd import gradcheck

from pyro_hypergeo.ops import covariance, log_weights_from_mean, mean
from tests.ops.fixture import PLAIN, RECORDS, Urn, name_of, urns

TITANIC = Path(__file__).parents[2] / "data" / "titanic.json"


def centred(log_weights, present):
    return log_weights - log_weights[present].mean()


def identified(record):
    """Whether the means determine the log-weights: no mean is too close to a bound."""
    room = torch.minimum(record.mean, record.sizes - record.mean)
    return 1 < len(record.mean) <= 100 and bool((room[record.sizes > 0] > 1e-3).all())


@pytest.mark.parametrize("record", [r for r in RECORDS if identified(r)], ids=name_of)
def test_reference(record):
    found = log_weights_from_mean(record.mean, record.sizes, record.total)
    torch.testing.assert_close(
        mean(found, record.sizes, record.total), record.mean, rtol=1e-10, atol=0
    )
    present = record.sizes > 0
    expected = centred(record.log_weights, present)
    torch.testing.assert_close(found[present], expected[present], rtol=1e-9, atol=1e-9)
    assert (found[~present] == -math.inf).all()


@pytest.mark.slow
@hypothesis.settings(max_examples=25)
@hypothesis.given(urns())
def test_any_urn(urn):
    log_weights, sizes, total = urn.tensors
    target = mean(log_weights, sizes, total)
    found = log_weights_from_mean(target, sizes, total)
    if urn.total == 0:
        assert (found == 0).all()
        return
    assert ((found == -math.inf) == (target == 0)).all()
    torch.testing.assert_close(mean(found, sizes, total), target, rtol=1e-8, atol=1e-12)
    assert found[target > 0].mean().abs() < 1e-9


def test_people_of_the_titanic():
    record = json.loads(TITANIC.read_text())
    sizes = torch.tensor(record["by_class"]["m"]).double()
    counts = torch.tensor(record["by_class"]["x"]).double()
    found = log_weights_from_mean(counts, sizes, counts.sum())
    expected = torch.tensor(record["mle"]["class_one_urn (ref 3rd)"]["beta"]).double()
    torch.testing.assert_close(found - found[2], expected, rtol=1e-11, atol=1e-12)


def test_gradient_is_the_inverse_of_the_covariance():
    log_weights, sizes, total = Urn([0.5, -1.0, 2.0], [4, 7, 5], 6).tensors
    target = mean(log_weights, sizes, total)
    jacobian = torch.autograd.functional.jacobian(
        lambda mu: log_weights_from_mean(mu, sizes, total), target
    )
    # Along changes of the mean that keep the total.
    along = torch.tensor([[1.0, -1.0, 0.0], [0.5, 0.5, -1.0]]).mT
    back = covariance(log_weights, sizes, total) @ jacobian @ along
    torch.testing.assert_close(back, along, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(jacobian.sum(0), torch.zeros(3), rtol=0, atol=1e-9)

    def of_two(free):
        return log_weights_from_mean(torch.cat([free, total - free.sum(-1, True)]), sizes, total)

    assert gradcheck(of_two, target[:2].clone().requires_grad_())


def test_zero_means_have_zero_gradient():
    target = torch.tensor([1.5, 0.0, 2.5], requires_grad=True)
    sizes = torch.tensor([4.0, 3.0, 5.0])
    found = log_weights_from_mean(target, sizes, torch.tensor(4.0))
    assert found[1] == -math.inf
    without = log_weights_from_mean(target.detach()[[0, 2]], sizes[[0, 2]], torch.tensor(4.0))
    torch.testing.assert_close(found[[0, 2]], without)
    (gradient,) = torch.autograd.grad(found[0], target)
    assert gradient.isfinite().all()
    assert gradient[1] == 0


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9])
def test_means_near_the_bounds(gap):
    target, sizes = torch.tensor([gap, 5 - gap, 3.0]), torch.tensor([4.0, 5.0, 6.0])
    found = log_weights_from_mean(target, sizes, torch.tensor(8.0))
    error = (mean(found, sizes, torch.tensor(8.0)) - target).abs()
    assert (error < 1e-6 * gap + 1e-14).all()


def test_everything_drawn():
    sizes = torch.tensor([3.0, 2.0, 0.0])
    found = log_weights_from_mean(sizes, sizes, torch.tensor(5.0))
    assert found.tolist() == [0, 0, -math.inf]


def test_a_million_elements():
    urn = Urn([0.1, 3.0, -2.0, 0.4], [10**6, 2 * 10**5, 5 * 10**5, 1000], 700_000)
    log_weights, sizes, total = urn.tensors
    found = log_weights_from_mean(mean(log_weights, sizes, total), sizes, total)
    torch.testing.assert_close(found, log_weights - log_weights.mean(), rtol=1e-10, atol=1e-10)


def test_batches_dtypes_and_flags():
    log_weights, sizes, total = PLAIN.tensors
    many = torch.stack([log_weights, -log_weights, 0 * log_weights])
    target = mean(many, sizes, total)
    found = log_weights_from_mean(target, sizes, total)
    for row, one in zip(target, found, strict=True):
        torch.testing.assert_close(log_weights_from_mean(row, sizes, total), one)
    assert not found.requires_grad
    assert not target.requires_grad
    low = log_weights_from_mean(target.float(), sizes, total)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low[:, :3].double(), found[:, :3], rtol=1e-4, atol=1e-4)
    mapped = torch.func.vmap(lambda mu: log_weights_from_mean(mu, sizes, total))(target)
    torch.testing.assert_close(mapped, found)
