# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Copies, dtypes, bad arguments, gradients and PyTorch's transforms."""

from __future__ import annotations

import copy
import io
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor

from pyro_hypergeo import (
    FisherHypergeometric,
    MultivariateHypergeometric,
    WalleniusHypergeometric,
    fit_weights,
)

SIZES, TOTAL = [5, 3, 2], 4
DATA = torch.tensor([[2.0, 1.0, 1.0], [4.0, 0.0, 0.0]], dtype=torch.float64)
LOG_WEIGHTS = torch.tensor([0.3, -0.5, 1.1], dtype=torch.float64)
INF, NAN = math.inf, math.nan


def fisher(log_weights: Tensor = LOG_WEIGHTS, **kwargs: Any) -> FisherHypergeometric:
    return FisherHypergeometric(TOTAL, SIZES, log_weights=log_weights, **kwargs)


def leaf(*values: Any) -> Tensor:
    return torch.tensor(values, requires_grad=True)


# Copies.


def by_pickle(d: Any) -> Any:
    return pickle.loads(pickle.dumps(d))


def by_torch_save(d: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(d, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


copies = pytest.mark.parametrize("duplicate", [by_pickle, by_torch_save, copy.deepcopy, copy.copy])


def fill_caches(d: FisherHypergeometric) -> None:
    _ = d.mean, d.variance, d.weights, d.log_weights, d.entropy(), d.mode, d.sample()


@copies
@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: fisher(),
        lambda: FisherHypergeometric(TOTAL, SIZES, weights=[1.0, 0.0, 2.0]),
        lambda: fisher(validate_args=False).expand([4]),
        lambda: FisherHypergeometric(TOTAL, SIZES, weights=leaf(1.0, 2.0, 0.5)),
        lambda: fisher(leaf(0.1, 0.2, 0.3)),
        lambda: MultivariateHypergeometric(TOTAL, SIZES),
        lambda: MultivariateHypergeometric(torch.tensor([1, 2]), SIZES).expand([3, 2]),
    ],
)
def test_copies(
    make: Callable[[], FisherHypergeometric], filled: bool, duplicate: Callable[[Any], Any]
) -> None:
    d = make()
    if filled:
        fill_caches(d)
    new = duplicate(d)
    assert type(new) is type(d)
    assert new.batch_shape == d.batch_shape
    assert new._validate_args == d._validate_args
    x = d.sample()
    assert (new.log_prob(x) == d.log_prob(x)).all()
    assert (new.mean == d.mean).all()
    assert (new.weights == d.weights).all()
    assert (new.log_weights == d.log_weights).all()
    assert new.expand((2, *new.batch_shape)).sample().shape == (2, *d.batch_shape, 3)
    assert new.parameter.requires_grad == d.parameter.requires_grad


@pytest.mark.parametrize("duplicate", [by_pickle, by_torch_save, copy.deepcopy])
def test_copies_have_weights_of_their_own(duplicate: Callable[[Any], Any]) -> None:
    weights = leaf(1.0, 2.0, 0.5)
    d = FisherHypergeometric(TOTAL, SIZES, weights=weights)
    fill_caches(d)
    new = duplicate(d)
    assert new.weights.is_leaf and new.weights.requires_grad
    new.log_prob(DATA).sum().backward()
    assert weights.grad is None
    d.log_prob(DATA).sum().backward()
    assert (weights.grad == new.weights.grad).all()


# Dtypes.


@pytest.mark.parametrize("name", ["weights", "log_weights"])
def test_float32_in_float32_out(name: str) -> None:
    d = FisherHypergeometric(TOTAL, SIZES, **{name: torch.tensor([0.5, 1.5, 3.0]).float()})
    x = d.sample((100,))
    results = [
        x,
        d.log_prob(x),
        d.mean,
        d.variance,
        d.covariance_matrix,
        d.mode,
        d.entropy(),
        d.log_partition,
        d.enumerate_support(),
        d.weights,
        d.log_weights,
        d.marginal(0).probs,
        torch.distributions.kl_divergence(d, d),
    ]
    assert {result.dtype for result in results} == {torch.float32}
    assert (x == x.round()).all()
    assert (x.sum(-1) == TOTAL).all()
    exact = FisherHypergeometric(TOTAL, SIZES, **{name: torch.tensor([0.5, 1.5, 3.0])})
    torch.testing.assert_close(d.mean, exact.mean.float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(d.log_prob(x), exact.log_prob(x).float(), rtol=1e-6, atol=1e-6)


def test_dtype_of_the_central_law() -> None:
    assert MultivariateHypergeometric(TOTAL, SIZES).sample().dtype == torch.float64
    assert MultivariateHypergeometric(TOTAL, torch.tensor(SIZES)).mean.dtype == torch.float64
    single = MultivariateHypergeometric(TOTAL, torch.tensor(SIZES).float())
    assert single.sample().dtype == single.mean.dtype == single.entropy().dtype == torch.float32
    torch.set_default_dtype(torch.float32)
    assert MultivariateHypergeometric(TOTAL, SIZES).sample().dtype == torch.float32


def test_lists_have_the_default_dtype() -> None:
    torch.set_default_dtype(torch.float32)
    for weights in ([1, 2, 3], [1.0, 2.0, 3.0], torch.tensor([1, 2, 3])):
        assert FisherHypergeometric(TOTAL, SIZES, weights=weights).sample().dtype == torch.float32


def test_int64_sizes_are_kept_exact() -> None:
    sizes = torch.tensor([2**31 + 1, 2**31 - 1, 3])
    total = torch.tensor(2**31 + 3)
    d = FisherHypergeometric(total, sizes, weights=torch.tensor([1.0, 1.0, 0.0]))
    assert d.group_sizes.dtype == d.total_count.dtype == torch.int64
    assert (d.group_sizes == sizes).all() and d.total_count == total
    x = d.sample((20,))
    assert (x.sum(-1) == total).all()
    assert d.support.check(x).all()
    assert d.log_prob(x).isfinite().all()
    share = (2**31 + 3) / 2**32
    expected = torch.tensor([(2**31 + 1) * share, (2**31 - 1) * share, 0.0])
    torch.testing.assert_close(d.mean, expected, rtol=1e-14, atol=0)
    whole = FisherHypergeometric(2**32, sizes, weights=[1.0, 2.0, 0.0])
    assert (whole.sample() == torch.tensor([2**31 + 1, 2**31 - 1, 0])).all()
    below = whole.sample() - torch.tensor([1, 0, 0])
    assert not whole.support.check(below)


@pytest.mark.parametrize("cls", [FisherHypergeometric, WalleniusHypergeometric])
def test_numpy_arrays_are_copied(cls: Any) -> None:
    sizes, weights = np.array([5, 3, 2]), np.array([1.0, 2.0, 0.5])
    weights.setflags(write=False)  # as the arrays of a data frame; torch would warn
    d = cls(np.int64(4), sizes, weights)
    sizes[0] = 7
    expected = cls(4, [5, 3, 2], [1.0, 2.0, 0.5])
    assert (d.mean == expected.mean).all() and d.group_sizes.tolist() == [5, 3, 2]
    fit = fit_weights(np.array([5, 3, 2]), np.array([2, 1, 1]))
    assert (fit.log_weights == fit_weights([5, 3, 2], [2, 1, 1]).log_weights).all()


# Bad arguments.


def bad(
    match: list[str],
    total_count: Any = TOTAL,
    group_sizes: Any = SIZES,
    cls: type[FisherHypergeometric] = FisherHypergeometric,
    **weights: Any,
) -> Any:
    """A case. Its error message must have each of these parts."""
    params = {"total_count": total_count, "group_sizes": group_sizes}
    if cls is FisherHypergeometric and not weights:
        weights = {"weights": [1.0, 2.0, 3.0]}
    return pytest.param(cls, {**params, **weights}, match, id=match[0] + "-" + match[-1])


CENTRAL = MultivariateHypergeometric
VALUES = [
    bad(["`weights`", "(3,)", "nan", "(0,)"], weights=[NAN, 1.0, 1.0]),
    bad(["`weights`", "(3,)", "inf", "(1,)"], weights=[1.0, INF, 1.0]),
    bad(["`weights`", "(3,)", "-0.5", "(2,)"], weights=[1.0, 1.0, -0.5]),
    bad(["`weights`", "(3,)", "not all 0", "[0.0, 0.0, 0.0]"], weights=[0.0, 0.0, 0.0]),
    bad(
        ["`weights`", "(2, 3)", "not all 0", "[0.0, 0.0, 0.0] at index (1,)"],
        weights=[[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]],
    ),
    bad(["`log_weights`", "(3,)", "nan", "(0,)"], log_weights=[NAN, 1.0, 1.0]),
    bad(["`log_weights`", "(3,)", "inf", "(1,)"], log_weights=[1.0, INF, 1.0]),
    bad(["`log_weights`", "(3,)", "not all -inf"], log_weights=[-INF, -INF, -INF]),
    bad(["`total_count`", "()", "not negative", "-1"], total_count=-1),
    bad(["`total_count`", "()", "integers", "1.5"], total_count=1.5),
    bad(["`total_count`", "()", "nan"], total_count=NAN),
    bad(["`total_count`", "()", "inf"], total_count=INF),
    bad(["`total_count`", "()", "11", "10", "[5, 3, 2]"], total_count=11),
    bad(["`total_count`", "(2,)", "12", "10"], total_count=torch.tensor([3, 12])),
    bad(["`total_count`", "8", "7", "weight is not 0"], total_count=8, weights=[1.0, 0.0, 2.0]),
    bad(
        ["`total_count`", "8", "7", "weight is not 0"], total_count=8, log_weights=[1.0, -INF, 2.0]
    ),
    bad(["`group_sizes`", "(3,)", "-5", "(0,)"], group_sizes=[-5, 3, 2]),
    bad(["`group_sizes`", "(3,)", "2.5", "(2,)"], group_sizes=[5.0, 3.0, 2.5]),
    bad(["`group_sizes`", "(3,)", "nan"], group_sizes=[5.0, NAN, 2.0]),
    bad(["`group_sizes`", "(3,)", "inf"], group_sizes=[5.0, INF, 2.0]),
    bad(
        ["`group_sizes`", "(3,)", "16777216", "torch.float32", "16777217"],
        group_sizes=[2**24 + 1, 3, 2],
        weights=torch.ones(3, dtype=torch.float32),
    ),
    bad(
        ["`total_count`", "()", "16777216", "torch.float32", "20000000"],
        total_count=20_000_000,
        group_sizes=[2**24, 2**24, 2],
        weights=torch.ones(3, dtype=torch.float32),
    ),
    bad(["`total_count`", "()", "-1"], total_count=-1, cls=CENTRAL),
    bad(["`total_count`", "11", "10", "[5, 3, 2]"], total_count=11, cls=CENTRAL),
    bad(["`group_sizes`", "(3,)", "-5"], group_sizes=[-5, 3, 2], cls=CENTRAL),
    bad(["`group_sizes`", "(3,)", "2.5"], group_sizes=[5.0, 3.0, 2.5], cls=CENTRAL),
]
SHAPES = [
    bad(["`weights`", "`log_weights`", "both"], weights=[1.0] * 3, log_weights=[0.0] * 3),
    bad(["`weights`", "`log_weights`", "neither"], weights=None),
    bad(["`weights`", "scalar", "2.0"], weights=2.0),
    bad(["`log_weights`", "scalar", "0.5"], log_weights=0.5),
    bad(["`group_sizes`", "scalar", "5"], group_sizes=5),
    bad(["`weights`", "(2,)", "(3,)"], weights=[1.0, 2.0]),
    bad(["`log_weights`", "(2,)", "(3,)"], log_weights=[1.0, 2.0]),
    bad(["`total_count`", "(2,)", "(4, 3)"], total_count=[1, 2], weights=torch.ones(4, 3)),
    bad(["`group_sizes`", "(2, 3)", "(4, 3)"], group_sizes=[SIZES] * 2, weights=torch.ones(4, 3)),
    bad(["`group_sizes`", "scalar", "5"], group_sizes=5, cls=CENTRAL),
    bad(["`group_sizes`", "(2, 3)", "(4,)"], [1] * 4, [SIZES] * 2, cls=CENTRAL),
]


@pytest.mark.parametrize("cls, params, parts", VALUES + SHAPES)
def test_bad_arguments_are_named_and_shown(
    cls: type[FisherHypergeometric], params: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(ValueError) as error:
        cls(**params)
    for part in parts:
        assert part in str(error.value), str(error.value)
    # The message must not mention arguments that the caller did not write.
    if cls is CENTRAL:
        assert "weight" not in str(error.value), str(error.value)


@pytest.mark.parametrize("cls, params, parts", SHAPES)
def test_shapes_are_checked_without_validation(
    cls: type[FisherHypergeometric], params: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(ValueError):
        cls(**params, validate_args=False)


@pytest.mark.parametrize("cls, params, parts", VALUES)
def test_values_are_not_checked_without_validation(
    cls: type[FisherHypergeometric], params: dict[str, Any], parts: list[str]
) -> None:
    cls(**params, validate_args=False)


@pytest.mark.parametrize("cls", [FisherHypergeometric, MultivariateHypergeometric])
def test_groups_are_needed(cls: type[FisherHypergeometric]) -> None:
    weights = {} if cls is CENTRAL else {"weights": []}
    with pytest.raises(ValueError, match="`group_sizes`|`weights`"):
        cls(0, [], **weights)


def test_outside_of_the_support_without_validation() -> None:
    outside = torch.tensor(
        [[5.0, 0.0, 0.0], [2.0, 1.0, 0.0], [1.0, 0.0, 3.0], [5.0, 1.0, -2.0], [0.0, 4.0, 0.0]]
    )
    for d in (fisher(validate_args=False), CENTRAL(TOTAL, SIZES, validate_args=False)):
        assert (d.log_prob(outside) == -INF).all()
        assert d.log_prob(DATA).isfinite().all()
    weights = leaf(1.0, 0.0, 2.0)
    d = FisherHypergeometric(TOTAL, SIZES, weights=weights, validate_args=False)
    log_prob = d.log_prob(DATA)
    assert log_prob[0] == -INF and log_prob[1].isfinite()
    (gradient,) = torch.autograd.grad(log_prob[1], weights)
    assert gradient.isfinite().all()


# Gradients.


def test_parameters_of_the_caller_are_untouched() -> None:
    weights, sizes, total = torch.ones(3), torch.tensor([5.0, 3.0, 2.0]), torch.tensor(4.0)
    kept = weights.clone(), sizes.clone(), total.clone()
    d = FisherHypergeometric(total, sizes, weights=weights)
    fill_caches(d)
    d.log_prob(DATA)
    for tensor, value in zip((weights, sizes, total), kept, strict=True):
        assert not tensor.requires_grad and tensor.grad_fn is None
        assert (tensor == value).all()


QUANTITIES: dict[str, Callable[[FisherHypergeometric], Tensor]] = {
    "log_prob": lambda d: d.log_prob(DATA),
    "log_partition": lambda d: d.log_partition,
    "mean": lambda d: d.mean,
    "variance": lambda d: d.variance,
    "covariance_matrix": lambda d: d.covariance_matrix,
    "entropy": lambda d: d.entropy(),
    "marginal": lambda d: d.marginal(1).probs[..., :-1],
    "kl": lambda d: torch.distributions.kl_divergence(d, CENTRAL(TOTAL, SIZES)),
}
quantities = pytest.mark.parametrize("quantity", QUANTITIES)


@quantities
@pytest.mark.parametrize("name", ["weights", "log_weights"])
def test_gradients_are_those_of_finite_differences(name: str, quantity: str) -> None:
    def function(x: Tensor) -> Tensor:
        return QUANTITIES[quantity](FisherHypergeometric(TOTAL, SIZES, **{name: x}))

    x = leaf(0.7, 1.3, 2.1)
    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


@quantities
def test_gradient_of_a_weight_of_zero_is_never_nan(quantity: str) -> None:
    data = torch.tensor([[3.0, 0.0, 1.0]])
    for name, zero in (("weights", 0.0), ("log_weights", -INF)):
        x = leaf(1.0, zero, 2.0)
        d = FisherHypergeometric(TOTAL, SIZES, **{name: x})
        result = d.log_prob(data) if quantity == "log_prob" else QUANTITIES[quantity](d)
        (gradient,) = torch.autograd.grad(result[result.isfinite()].sum(), x)
        assert gradient[1] == 0
        assert gradient.isfinite().all()


@quantities
@pytest.mark.parametrize("total", [0, 10])
def test_gradient_at_the_edges_is_never_nan(total: int, quantity: str) -> None:
    if quantity == "kl":
        return
    x = leaf(1.0, 0.5, 2.0)
    d = FisherHypergeometric(total, SIZES, weights=x)
    value = torch.zeros(3) if total == 0 else torch.tensor([5.0, 3.0, 2.0])
    result = d.log_prob(value) if quantity == "log_prob" else QUANTITIES[quantity](d)
    if result.requires_grad:
        (gradient,) = torch.autograd.grad(result[result.isfinite()].sum(), x)
        assert gradient.isfinite().all()
        assert quantity == "log_partition" or (gradient == 0).all()


@pytest.mark.parametrize("name", ["weights", "log_weights"])
def test_backward_through_each_new_instance(name: str) -> None:
    x = leaf(0.7, 1.3, 2.1)
    for count in (1, 2, 3):
        d = FisherHypergeometric(TOTAL, SIZES, **{name: x})
        (d.log_prob(DATA).sum() + d.mean.square().sum() + d.entropy()).backward()
        if count == 1:
            first = x.grad.clone()
        torch.testing.assert_close(x.grad, count * first, rtol=1e-14, atol=1e-14)


def test_gradient_after_a_sample_without() -> None:
    for make in (fisher, lambda x: FisherHypergeometric(TOTAL, SIZES, weights=x)):
        x = leaf(0.7, 1.3, 2.1)
        d = make(x)
        with torch.no_grad():
            value = d.sample()
            assert not d.log_prob(value).requires_grad
            _ = d.mean, d.weights, d.log_weights
        assert not d.sample().requires_grad
        for result in (d.log_prob(value), d.mean, d.weights.sum() + d.log_weights.sum()):
            assert result.requires_grad
        (gradient,) = torch.autograd.grad(d.log_prob(value), x)
        (wanted,) = torch.autograd.grad(make(x).log_prob(value), x)
        assert (gradient == wanted).all()


def test_gradient_after_a_sample_in_inference_mode() -> None:
    x = leaf(0.7, 1.3, 2.1)
    with torch.inference_mode():
        value = fisher(x).sample()
    assert fisher(x).log_prob(value.clone()).requires_grad


def test_gradient_in_the_value() -> None:
    value = torch.tensor([1.7, 1.2, 1.1], requires_grad=True)
    d = fisher(validate_args=False)
    assert torch.autograd.gradcheck(lambda x: d.log_prob(x * 4 / x.sum()), value)


# torch.func, torch.compile, torch.jit.

BATCH = torch.tensor([[0.3, -0.5, 1.1], [0.0, 2.0, -1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)


@quantities
def test_vmap(quantity: str) -> None:
    def function(x: Tensor) -> Tensor:
        return QUANTITIES[quantity](fisher(x, validate_args=False))

    expected = torch.stack([function(x) for x in BATCH])
    torch.testing.assert_close(torch.func.vmap(function)(BATCH), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("randomness", ["different", "same"])
def test_vmap_of_sample(randomness: str) -> None:
    def draw(x: Tensor) -> Tensor:
        return fisher(x, validate_args=False).sample((500,))

    x = torch.func.vmap(draw, randomness=randomness)(LOG_WEIGHTS.expand(6, 3))
    assert x.shape == (6, 500, 3)
    assert fisher().support.check(x).all()
    assert (x[0] == x[1]).all() == (randomness == "same")
    error = (fisher().variance / 500).sqrt()
    assert ((x.mean(1) - fisher().mean).abs() < 5 * error).all()


def test_func_grad_and_hessian() -> None:
    def log_prob(x: Tensor) -> Tensor:
        return fisher(x, validate_args=False).log_prob(DATA[0])

    def log_partition(x: Tensor) -> Tensor:
        return fisher(x, validate_args=False).log_partition

    d = fisher()
    torch.testing.assert_close(torch.func.grad(log_prob)(LOG_WEIGHTS), DATA[0] - d.mean)
    torch.testing.assert_close(torch.func.grad(log_partition)(LOG_WEIGHTS), d.mean)
    for hessian in (
        torch.func.hessian(log_partition),
        torch.func.jacrev(torch.func.grad(log_partition)),
        lambda x: -torch.func.hessian(log_prob)(x),
    ):
        torch.testing.assert_close(hessian(LOG_WEIGHTS), d.covariance_matrix)
    gradients = torch.func.vmap(torch.func.grad(log_prob))(BATCH)
    torch.testing.assert_close(gradients, DATA[0] - fisher(BATCH).mean)
    _, along = torch.func.jvp(log_prob, (LOG_WEIGHTS,), (torch.ones(3),))
    torch.testing.assert_close(along, torch.tensor(0.0), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_compiled_log_prob(compiled: Any) -> None:
    def log_prob(x: Tensor, value: Tensor) -> Tensor:
        return fisher(x, validate_args=False).log_prob(value)

    x, same = leaf(0.3, -0.5, 1.1), leaf(0.3, -0.5, 1.1)
    result, expected = compiled(log_prob)(x, DATA), log_prob(same, DATA)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    result.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(x.grad, same.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_compiled_sample(compiled: Any) -> None:
    def draw(x: Tensor) -> Tensor:
        return fisher(x, validate_args=False).sample((2000,))

    x = compiled(draw)(LOG_WEIGHTS)
    assert x.shape == (2000, 3)
    assert fisher().support.check(x).all()
    error = (fisher().variance / 2000).sqrt()
    assert ((x.mean(0) - fisher().mean).abs() < 5 * error).all()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", ["weights", "log_weights"])
@pytest.mark.parametrize("cls", [FisherHypergeometric, WalleniusHypergeometric])
def test_traced_log_prob(cls: Any, name: str) -> None:
    def log_prob(x: Tensor, value: Tensor) -> Tensor:
        law = cls(TOTAL, SIZES, **{name: x}, validate_args=False)
        return law.log_prob(value)

    traced = torch.jit.trace(log_prob, (torch.ones(3), DATA))
    # The trace holds for other weights and values.
    for x in (torch.tensor([0.3, 2.0, 1.1]), torch.tensor([5.0, 0.1, 0.2])):
        result = traced(x, DATA.flip(0))
        torch.testing.assert_close(result, log_prob(x, DATA.flip(0)), rtol=1e-13, atol=1e-13)


traced_laws = pytest.mark.parametrize("cls", [FisherHypergeometric, WalleniusHypergeometric])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@traced_laws
@pytest.mark.parametrize(
    "quantity", ["mean", "variance", "covariance_matrix", "entropy", "marginal"]
)
def test_traced_quantities_and_their_gradients(cls: Any, quantity: str) -> None:
    def function(x: Tensor) -> Tensor:
        return QUANTITIES[quantity](cls(TOTAL, SIZES, log_weights=x, validate_args=False))

    # Torch takes minutes for the derivative of Wallenius' marginals: see the reference.
    differentiable = cls is FisherHypergeometric or quantity != "marginal"
    x = torch.tensor([0.3, 2.0, 1.1], requires_grad=differentiable)
    start = torch.ones(3, requires_grad=differentiable)
    traced = torch.jit.trace(function, start, check_trace=False)
    for _ in range(3):  # torch changes the trace in its first calls
        result, expected = traced(x), function(x)
        torch.testing.assert_close(result, expected, rtol=1e-13, atol=1e-13)
        if differentiable:
            direction = torch.linspace(1.0, 2.0, result.numel()).reshape(result.shape)
            found, wanted = (torch.autograd.grad(y, x, direction)[0] for y in (result, expected))
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_traced_sum_over_a_list_holds_for_no_other_urn() -> None:
    def entropy(total: Tensor, sizes: Tensor) -> Tensor:
        law = WalleniusHypergeometric(total, sizes, log_weights=LOG_WEIGHTS, validate_args=False)
        return law.entropy()

    given = torch.tensor(TOTAL), torch.tensor(SIZES)
    traced = torch.jit.trace(entropy, given, check_trace=False)
    torch.testing.assert_close(traced(*given), entropy(*given), rtol=1e-13, atol=0)
    assert traced(given[0] - 1, given[1]).isnan()
    assert traced(given[0], given[1] + torch.tensor([0, 0, 1])).isnan()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_mode_by_exchanges_is_not_traced() -> None:
    def mode(x: Tensor) -> Tensor:
        return WalleniusHypergeometric(TOTAL, SIZES, log_weights=x, validate_args=False).mode

    with pytest.raises(NotImplementedError, match="torch.jit.trace"):
        torch.jit.trace(mode, LOG_WEIGHTS, check_trace=False)


@pytest.mark.parametrize("quantity", ["mode", "entropy"])
def test_vmap_of_a_loop_and_of_a_list(quantity: str) -> None:
    def function(x: Tensor) -> Tensor:
        law = WalleniusHypergeometric(TOTAL, SIZES, log_weights=x, validate_args=False)
        return law.mode if quantity == "mode" else law.entropy()

    # The exchanges of one entry must not end those of the others.
    batch = torch.cat([BATCH, 12 * BATCH])
    expected = torch.stack([function(x) for x in batch])
    torch.testing.assert_close(torch.func.vmap(function)(batch), expected, rtol=1e-12, atol=1e-12)


# Devices.


def test_device_is_that_of_any_tensor_given() -> None:
    meta = torch.device("meta")
    total, sizes = torch.tensor(TOTAL, device=meta), torch.tensor(SIZES, device=meta)
    weights = torch.ones(3, device=meta)
    for d in (
        FisherHypergeometric(total, SIZES, weights=[1, 2, 3], validate_args=False),
        FisherHypergeometric(TOTAL, sizes, weights=[1, 2, 3], validate_args=False),
        FisherHypergeometric(TOTAL, SIZES, weights=weights, validate_args=False),
        FisherHypergeometric(TOTAL, SIZES, log_weights=weights, validate_args=False),
        CENTRAL(total, SIZES, validate_args=False),
        CENTRAL(TOTAL, sizes, validate_args=False),
    ):
        assert d.group_sizes.device == d.total_count.device == d.weights.device == meta
        assert d.mean.device == d.log_partition.device == meta


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("cls", [FisherHypergeometric, MultivariateHypergeometric])
def test_cuda(cls: type[FisherHypergeometric]) -> None:
    weights = {} if cls is CENTRAL else {"log_weights": LOG_WEIGHTS}
    host = cls(TOTAL, SIZES, **weights)
    d = cls(torch.tensor(TOTAL).cuda(), torch.tensor(SIZES).cuda(), **weights)
    x = d.sample((2000,))
    results = [x, d.log_prob(x), d.mean, d.variance, d.covariance_matrix, d.entropy(), d.mode]
    results += [d.enumerate_support(), d.log_partition, d.marginal(0).probs, d.support.check(x)]
    assert {result.device.type for result in results} == {"cuda"}
    assert d.support.check(x).all()
    torch.testing.assert_close(d.log_prob(x).cpu(), host.log_prob(x.cpu()))
    torch.testing.assert_close(d.mean.cpu(), host.mean)
    torch.testing.assert_close(d.entropy().cpu(), host.entropy())
    error = (host.variance / 2000).sqrt()
    assert ((x.mean(0).cpu() - host.mean).abs() < 5 * error).all()


def test_messages_have_no_tensor_reprs() -> None:
    with pytest.raises(ValueError) as error:
        FisherHypergeometric(torch.tensor(11), SIZES, weights=[1.0, 2.0, 3.0])
    assert not re.search(r"tensor\(", str(error.value))


@pytest.mark.parametrize("shape", [(), (3,), (5000,)])
def test_unchecked_nan_weights_give_nan_draws(shape):
    urn = FisherHypergeometric(3, [5, 5], weights=[math.nan, 1.0], validate_args=False)
    assert urn.sample(shape).isnan().all()


# Observations.


def test_wrong_total_says_both_sums() -> None:
    d = FisherHypergeometric(5, [5, 3, 2], weights=[1.0, 2.0, 4.0])
    for wrong in ([1, 2, 1], torch.tensor([1.0, 2.0, 1.0])):
        with pytest.raises(ValueError, match=r"found \[1.*\]: sum 4, total 5"):
            d.log_prob(wrong)
    many = torch.tensor([[1.0, 2.0, 2.0], [0.0, 4.0, 1.0]])
    with pytest.raises(
        ValueError, match=r"sizes` \[5, 3, 2\] .* \[0.0, 4.0, 1.0\] at index \(1,\)"
    ):
        d.log_prob(many)


def test_list_of_counts_is_a_value() -> None:
    d = FisherHypergeometric(4, [5, 3, 2], weights=[1.0, 2.0, 4.0])
    assert d.log_prob([2, 1, 1]) == d.log_prob(torch.tensor([2.0, 1.0, 1.0]))


@pytest.mark.parametrize("law", [FisherHypergeometric, WalleniusHypergeometric])
def test_observation_under_an_enumerated_total(law: Any) -> None:
    totals = torch.arange(11).reshape(-1, 1)
    d = law(totals, [5, 3, 2], weights=[1.0, 2.0, 4.0])
    x = torch.tensor([[2.0, 1.0, 1.0], [3.0, 3.0, 2.0]])
    logs = d.log_prob(x)
    assert logs.shape == (11, 2)
    for column, total in enumerate((4, 8)):
        alone = law(total, [5, 3, 2], weights=[1.0, 2.0, 4.0]).log_prob(x[column])
        assert logs[total, column].item() == pytest.approx(alone.item(), rel=1e-12)
        rest = torch.arange(11) != total
        assert (logs[rest, column] == -math.inf).all()
    # No total allows this one.
    with pytest.raises(ValueError, match="within the support"):
        d.log_prob(torch.tensor([6.0, 0.0, 0.0]))


def test_observation_of_a_plate_is_checked_against_its_own_urn() -> None:
    d = FisherHypergeometric(torch.tensor([4, 5]), [5, 3, 2], weights=[1.0, 2.0, 4.0])
    x = torch.tensor([[2.0, 1.0, 1.0], [2.0, 1.0, 1.0]])
    with pytest.raises(ValueError, match=r"at index \(1,\): sum 4, total 5"):
        d.log_prob(x)


def test_large_sizes_in_a_list_work_in_float64() -> None:
    torch.set_default_dtype(torch.float32)
    size = 2**24 + 1
    for sizes in ([size, 3], [float(size), 3.0]):
        for d in (
            FisherHypergeometric(2, sizes, weights=[1.0, 0.1]),
            FisherHypergeometric(2, sizes, log_weights=[0, -1]),
            MultivariateHypergeometric(2, sizes),
        ):
            assert d.mean.dtype == torch.float64
            assert d.group_sizes.double()[0] == size
    few = FisherHypergeometric(2, [size, 3], weights=[1.0, 0.1])
    assert few.weights[1].item() == 0.1  # not rounded to float32
    share = 0.1 * 3 / size
    assert few.mean[1].item() == pytest.approx(2 * share, rel=1e-6)
    assert FisherHypergeometric(2, [4, 3], weights=[1.0, 0.1]).mean.dtype == torch.float32
    # A tensor has a dtype that somebody chose. The message says which one holds the sizes.
    with pytest.raises(ValueError, match="at most 16777216: .* integers, torch.float64 does"):
        FisherHypergeometric(2, [size, 3], weights=torch.tensor([1.0, 0.1]))


def test_sizes_that_no_dtype_holds_are_refused() -> None:
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        with pytest.raises(ValueError, match="`group_sizes` .* at most 9007199254740992"):
            FisherHypergeometric(2, [2**53 + 1, 3], weights=[1.0, 0.1])


# The constraint of log-weights.


@pytest.mark.parametrize(
    "registry", [torch.distributions.transform_to, torch.distributions.biject_to]
)
@pytest.mark.parametrize("cls", [FisherHypergeometric, WalleniusHypergeometric])
def test_log_weights_are_their_own_coordinates(cls: Any, registry: Any) -> None:
    constraint = cls.arg_constraints["log_weights"]
    free = torch.tensor([[-750.0, 0.0, 3.0], [1e-3, 800.0, -2.0]])
    transform = registry(constraint)
    assert (transform(free) == free).all() and (transform.inv(free) == free).all()
    assert (transform.log_abs_det_jacobian(free, free) == 0).all()
    assert constraint.event_dim == 1
    vectors = torch.tensor([[0.0, -INF, 2.0], [0.0, INF, 2.0], [0.0, NAN, 2.0]])
    assert constraint.check(vectors).tolist() == [True, False, False]


def test_log_weights_as_a_constrained_parameter() -> None:
    constraint = FisherHypergeometric.arg_constraints["log_weights"]

    def model() -> None:
        theta = pyro.param("theta", torch.zeros(3), constraint=constraint)
        pyro.sample("x", fisher(theta), obs=DATA[0])

    svi = SVI(model, lambda: None, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
    losses = [svi.step() for _ in range(20)]
    assert losses[-1] < losses[0]
    assert pyro.param("theta").isfinite().all()
