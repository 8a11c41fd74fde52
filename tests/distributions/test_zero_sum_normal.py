# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The zero-sum normal law against scipy's degenerate normal law."""

from __future__ import annotations

import copy
import io
import math
import pickle
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from torch import Size, Tensor
from torch.distributions import biject_to, kl_divergence, transform_to

from pyro_hypergeo import ZeroSumNormal
from pyro_hypergeo.distributions import ZeroSumTransform, zero_sum
from pyro_hypergeo.ops.zero_sum import zero_sum_coordinates, zero_sum_vector

SIZES = [1, 2, 3, 7]
SCALES = [torch.tensor(x, dtype=torch.float64) for x in (0.7, [0.3, 2.0], [[1.0], [0.1], [5.0]])]

sizes = pytest.mark.parametrize("size", SIZES)
scales = pytest.mark.parametrize("scale", SCALES, ids=lambda scale: str(tuple(scale.shape)))


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


# The map from coordinates.


@sizes
def test_coordinates_are_orthonormal(size: int) -> None:
    basis = zero_sum_vector(torch.eye(size - 1))
    assert basis.shape == (size - 1, size)
    close(basis @ basis.mT, torch.eye(size - 1))
    close(basis.sum(-1), torch.zeros(size - 1))
    close(basis.mT @ basis, torch.eye(size) - 1 / size)


@sizes
@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_coordinates_come_back(size: int, batch: tuple[int, ...]) -> None:
    z = torch.randn(*batch, size - 1)
    x = zero_sum_vector(z)
    assert x.shape == (*batch, size)
    close(zero_sum_coordinates(x), z)
    torch.autograd.gradcheck(zero_sum_vector, z.requires_grad_())


def test_transform() -> None:
    transform, z = ZeroSumTransform(cache_size=1), torch.randn(3, 4)
    x = transform(z)
    assert transform.inv(x) is z
    assert transform.domain.event_dim == transform.codomain.event_dim == 1
    assert transform.codomain.check(x).all()
    close(transform.log_abs_det_jacobian(z, x), torch.zeros(3))
    assert transform.forward_shape(Size([3, 4])) == x.shape
    assert transform.inverse_shape(x.shape) == z.shape
    assert transform == ZeroSumTransform() and hash(transform) == hash(ZeroSumTransform())
    for shape in [(), (0,)]:
        with pytest.raises(ValueError, match="`shape`.*last dimension"):
            transform.inverse_shape(shape)
    with pytest.raises(ValueError, match=r"`shape`.*\(\)"):
        transform.forward_shape(())
    for registry in (biject_to, transform_to):
        assert registry(zero_sum) == transform


def test_transformed_normal_is_the_law() -> None:
    base = dist.Normal(torch.zeros(2, 4), 1.5).to_event(1)
    law = dist.TransformedDistribution(base, [ZeroSumTransform()])
    x = law.sample((3,))
    assert (law.batch_shape, law.event_shape) == ((2,), (5,))
    close(law.log_prob(x), ZeroSumNormal(1.5, 5).log_prob(x))


# The support.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [1, 2, 10, 1000, 20_000])
def test_support_holds_draws_at_any_rounding(dtype: torch.dtype, size: int) -> None:
    rows = torch.randn(3, size - 1, dtype=dtype) * torch.tensor([[1e-6], [1.0], [1e6]], dtype=dtype)
    even = torch.full((1, size - 1), 1.1, dtype=dtype)
    for z in (rows, even, rows + 5):
        assert zero_sum.check(zero_sum_vector(z)).all()


def test_support_rejects() -> None:
    wrong = [[1.0, -1 + 1e-12], [1.0, 1.0], [math.inf, -math.inf], [math.nan, 0.0], [math.inf, 0]]
    for row in wrong:
        assert not zero_sum.check(torch.tensor(row)), row
        with pytest.raises(ValueError, match="within the support"):
            ZeroSumNormal(1.0, 2).log_prob(torch.tensor(row))
    assert zero_sum.check(torch.tensor([[0.0, 0.0], [1e-300, -1e-300]])).all()
    assert zero_sum.event_dim == 1 and not zero_sum.is_discrete
    with pytest.raises(ValueError, match=r"shape \(3, 0\)"):
        zero_sum.check(torch.zeros(3, 0))


# The law.


@sizes
@scales
def test_against_the_degenerate_normal_law(scale: Tensor, size: int) -> None:
    law = ZeroSumNormal(scale, size)
    x = law.sample((4,))
    assert x.shape == (4, *scale.shape, size)
    assert law.log_prob(x).shape == (4, *scale.shape)
    projection = np.eye(size) - 1 / size
    for index in np.ndindex(*scale.shape):
        covariance = scale[index].item() ** 2 * projection
        close(law.covariance_matrix[index], torch.as_tensor(covariance))
        close(law.variance[index], torch.as_tensor(covariance.diagonal().copy()))
        if size > 1:  # scipy knows no point mass
            truth = stats.multivariate_normal(np.zeros(size), covariance, allow_singular=True)
            got = law.log_prob(x)[(slice(None), *index)]
            close(got, torch.as_tensor(truth.logpdf(x[(slice(None), *index)].numpy())), 1e-10)
            close(law.entropy()[index], torch.tensor(float(truth.entropy())), 1e-10)
    assert law.mean.shape == law.mode.shape == law.variance.shape == (*scale.shape, size)
    assert not law.mean.any() and not law.mode.any()
    close(law.stddev, law.variance.sqrt())


def test_one_entry_is_the_point_0() -> None:
    law = ZeroSumNormal(torch.tensor([0.5, 2.0]), 1)
    assert torch.equal(law.sample(), torch.zeros(2, 1))
    for value in (law.log_prob(torch.zeros(2, 1)), law.entropy(), kl_divergence(law, law)):
        close(value, torch.zeros(2))


def test_draws_are_normal_in_every_direction() -> None:
    law = ZeroSumNormal(2.0, 4)
    x = law.sample((20_000,))
    close(x.sum(-1), torch.zeros(20_000))
    assert (x.mT.cov() - law.covariance_matrix).abs().max() < 0.1
    for direction in ([1.0, -1.0, 0.0, 0.0], [0.0, 1.0, 1.0, -2.0], [0.0, 0.0, 0.0, 1.0]):
        a = torch.tensor(direction)
        sd = (a @ law.covariance_matrix @ a).sqrt()
        assert stats.kstest((x @ a / sd).numpy(), "norm").pvalue > 0.001


def test_rsample_passes_the_gradient() -> None:
    scale = torch.tensor([0.5, 2.0], requires_grad=True)
    law = ZeroSumNormal(scale, 3)
    assert law.has_rsample
    x = law.rsample((5,))
    (gradient,) = torch.autograd.grad(x.square().sum(), scale)
    close(gradient, 2 * x.square().sum((0, 2)) / scale)
    assert not law.sample().requires_grad
    value = law.sample()
    torch.autograd.gradcheck(lambda s: ZeroSumNormal(s, 3).log_prob(value), scale)
    torch.autograd.gradgradcheck(lambda s: ZeroSumNormal(s, 3).log_prob(value), scale)


def test_kl_divergence() -> None:
    p, q = ZeroSumNormal(torch.tensor([0.5, 2.0, 1.0]), 4), ZeroSumNormal(1.0, 4)
    # The same in coordinates, where both are ordinary normal laws.
    one, other = (dist.Normal(d.scale.unsqueeze(-1).expand(*d.batch_shape, 3), 1) for d in (p, q))
    one, other = (dist.Normal(torch.zeros(n.loc.shape), n.loc).to_event(1) for n in (one, other))
    close(kl_divergence(p, q), kl_divergence(one, other.expand([3])))
    with pytest.raises(ValueError, match="equal `size`.*4 and 5"):
        kl_divergence(p, ZeroSumNormal(1.0, 5))


# Arguments.


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3", None])
def test_wrong_size(size: Any) -> None:
    with pytest.raises(ValueError, match="`size`.*at least 1, but got "):
        ZeroSumNormal(1.0, size, validate_args=False)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_wrong_scale(value: float) -> None:
    scale = torch.tensor([[1.0, 2.0], [3.0, value]])
    with pytest.raises(ValueError, match=r"`scale` of shape \(2, 2\).*positive.*at index \(1, 1\)"):
        ZeroSumNormal(scale, 3)
    assert ZeroSumNormal(scale, 3, validate_args=False).batch_shape == (2, 2)


def test_dtype_follows_the_scale() -> None:
    for dtype in (torch.float32, torch.float64):
        law = ZeroSumNormal(torch.tensor(2.0, dtype=dtype), 3)
        parts = [law.sample(), law.mean, law.variance, law.covariance_matrix, law.entropy()]
        assert {part.dtype for part in [*parts, law.log_prob(law.sample())]} == {dtype}
    assert ZeroSumNormal(2, 3).scale.dtype == torch.get_default_dtype()
    assert ZeroSumNormal(torch.tensor(2), 3).scale.dtype == torch.get_default_dtype()


@scales
def test_shapes_expand_and_copies(scale: Tensor) -> None:
    law = ZeroSumNormal(scale, 3)
    assert ZeroSumNormal.infer_shapes(scale=scale.shape, size=3) == (scale.shape, (3,))
    assert law.size == 3
    large = law.expand((2, 3, 2))
    assert type(large) is ZeroSumNormal
    assert large.shape() == large.sample().shape == (2, 3, 2, 3)
    x = large.sample()
    close(large.log_prob(x), law.log_prob(x))
    close(large.entropy(), law.entropy().expand(2, 3, 2))
    assert law.to_event(len(scale.shape)).log_prob(law.sample()).shape == ()
    buffer = io.BytesIO()
    torch.save(law, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    for other in (copy.deepcopy(law), pickle.loads(pickle.dumps(law)), loaded):
        close(other.log_prob(x), law.log_prob(x))


def test_expand_keeps_the_choice_of_validation() -> None:
    wrong = torch.ones(2, 3)
    assert ZeroSumNormal(1.0, 3, validate_args=False).expand((2,)).log_prob(wrong).shape == (2,)
    with pytest.raises(ValueError, match="within the support"):
        ZeroSumNormal(1.0, 3).expand((2,)).log_prob(wrong)
    with pytest.raises(ValueError):
        ZeroSumNormal(1.0, 3).log_prob(torch.zeros(4))


# Transformations of programs.


def facts(scale: Tensor, value: Tensor) -> tuple[Tensor, ...]:
    law = ZeroSumNormal(scale, value.shape[-1], validate_args=False)
    z = zero_sum_coordinates(value)
    return law.log_prob(value), law.entropy(), law.covariance_matrix, zero_sum_vector(z)


def test_jit_trace_and_compile() -> None:
    first = torch.tensor(1.0), torch.tensor([1.0, 0.5, -1.5])
    other = torch.tensor(3.0), torch.tensor([0.2, 0.5, -0.7])
    law = ZeroSumNormal(torch.tensor(1.0), 3)
    traced = torch.jit.trace(
        lambda s, x: ZeroSumNormal(s, law.size, validate_args=False).log_prob(x), first
    )
    close(traced(*other), facts(*other)[0])
    traced = torch.jit.trace(zero_sum_vector, torch.zeros(2))
    close(traced(torch.tensor([0.3, 1.0])), zero_sum_vector(torch.tensor([0.3, 1.0])))
    traced = torch.jit.trace(zero_sum_coordinates, first[1])
    close(traced(other[1]), zero_sum_coordinates(other[1]))
    compiled = torch.compile(facts, backend="eager", fullgraph=True)
    for got, expected in zip(compiled(*other), facts(*other), strict=True):
        close(got, expected)


def test_vmap_and_grad() -> None:
    scale = torch.tensor([0.5, 1.0, 2.0])
    value = ZeroSumNormal(scale, 4).sample()
    got = torch.func.vmap(facts)(scale, value)
    for index in range(3):
        for part, expected in zip(got, facts(scale[index], value[index]), strict=True):
            close(part[index], expected)

    def draw(s: Tensor) -> Tensor:
        return ZeroSumNormal(s, 4, validate_args=False).rsample()

    draws = torch.func.vmap(draw, randomness="different")(scale)
    close(draws.sum(-1), torch.zeros(3))
    assert (draws[0] / 0.5 - draws[1]).abs().max() > 0.01
    gradient = torch.func.vmap(torch.func.grad(lambda s, x: facts(s, x)[0]))(scale, value)
    close(gradient, value.square().sum(-1) / scale**3 - 3 / scale)
