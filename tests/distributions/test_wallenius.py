# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Tests of Wallenius' class beside Pyro's contract: moments, copies, errors, transforms."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO, config_enumerate
from torch import Tensor

from pyro_hypergeo import (
    FisherHypergeometric,
    MultivariateHypergeometric,
    WalleniusHypergeometric,
)
from tests.distributions.fixture import WALLENIUS, Example

SIZES, TOTAL = [5, 3, 2], 4
DATA = torch.tensor([[2.0, 1.0, 1.0], [4.0, 0.0, 0.0]], dtype=torch.float64)
LOG_WEIGHTS = torch.tensor([0.3, -0.5, 1.1], dtype=torch.float64)
INF, NAN = math.inf, math.nan

every = pytest.mark.parametrize("example", WALLENIUS, ids=repr)


def wallenius(log_weights: Tensor = LOG_WEIGHTS, **kwargs: Any) -> WalleniusHypergeometric:
    return WalleniusHypergeometric(TOTAL, SIZES, log_weights=log_weights, **kwargs)


def leaf(*values: Any) -> Tensor:
    return torch.tensor(values, requires_grad=True)


def test_it_is_a_law_of_its_own() -> None:
    assert not issubclass(WalleniusHypergeometric, FisherHypergeometric)
    fisher = FisherHypergeometric(TOTAL, SIZES, weights=[1.0] * 3)
    for pair in ((wallenius(), fisher), (fisher, wallenius())):
        with pytest.raises(NotImplementedError, match="between .* law and .* law"):
            torch.distributions.kl_divergence(*pair)


def test_kl_is_the_enumerated_one() -> None:
    log_p, log_q = torch.randn(3, 1, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    p, q = (WalleniusHypergeometric(TOTAL, SIZES, log_weights=theta) for theta in (log_p, log_q))
    found = torch.distributions.kl_divergence(p, q)
    assert found.shape == (3, 2)
    support = p.enumerate_support(expand=False)
    of_p, of_q = p.log_prob(support), q.log_prob(support)
    truth = (of_p.exp() * (of_p - of_q)).sum(0)
    torch.testing.assert_close(found, truth, rtol=1e-12, atol=1e-14)
    slopes = torch.autograd.grad(found.sum(), (log_p, log_q), retain_graph=True)
    for a, b in zip(slopes, torch.autograd.grad(truth.sum(), (log_p, log_q)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_kl_where_one_law_cannot_draw_what_the_other_can() -> None:
    p, q = (WalleniusHypergeometric(2, [2, 3, 4], w) for w in ([1.0, 2.0, 0.5], [1.0, 0.0, 0.5]))
    assert torch.distributions.kl_divergence(p, q) == torch.inf
    assert torch.distributions.kl_divergence(q, p).isfinite()
    q.max_enumeration = p.max_enumeration = 5
    with pytest.raises(NotImplementedError, match="of Wallenius' law .* 6 count vectors"):
        torch.distributions.kl_divergence(p, q)


def test_entropy_of_two_groups_needs_no_list() -> None:
    sizes, totals = [[300_000, 200_000], [4, 3]], torch.tensor([250_000, 3])
    urns = WalleniusHypergeometric(totals, sizes, weights=[1.0, 3.0])
    small = WalleniusHypergeometric(3, [4, 3], weights=[1.0, 3.0])
    support = small.enumerate_support()
    log_probs = small.log_prob(support)
    entropy = urns.entropy()
    torch.testing.assert_close(entropy[1], -(log_probs.exp() * log_probs).sum(), rtol=1e-12, atol=0)
    # A large urn's count is nearly normal.
    normal = 0.5 * torch.log(2 * math.pi * math.e * urns.variance[0, 0])
    torch.testing.assert_close(entropy[0], normal, rtol=1e-6, atol=0)


# Moments.


@every
def test_moments_are_those_of_brute_force(example: Example) -> None:
    d = example.dist()
    event, batch = (*example.batch_shape, example.groups), example.batch_shape
    assert d.mean.shape == d.variance.shape == d.mode.shape == event
    assert d.covariance_matrix.shape == (*event, example.groups)
    covariance = example.stack("covariance")
    torch.testing.assert_close(d.mean, example.stack("mean"), rtol=0, atol=1e-11)
    torch.testing.assert_close(d.covariance_matrix, covariance, rtol=0, atol=1e-11)
    torch.testing.assert_close(
        d.variance, covariance.diagonal(dim1=-2, dim2=-1), rtol=0, atol=1e-11
    )
    if example.same_urn:
        assert d.entropy().shape == batch
        torch.testing.assert_close(d.entropy(), example.stack("entropy"), rtol=0, atol=1e-12)


def test_entropy_is_refused_where_the_support_cannot_be_listed() -> None:
    large = WalleniusHypergeometric(50, [50] * 10, weights=[1.0] * 10)
    with pytest.raises(NotImplementedError, match="cannot be listed.*12565671261 count vectors"):
        large.entropy()
    uneven = WalleniusHypergeometric(torch.tensor([3, 4]), SIZES, weights=[1.0, 2.0, 3.0])
    with pytest.raises(NotImplementedError, match="cannot be listed"):
        uneven.entropy()


def test_equal_weights_are_the_central_law() -> None:
    d, central = wallenius(torch.zeros(3)), MultivariateHypergeometric(TOTAL, SIZES)
    torch.testing.assert_close(d.log_prob(DATA), central.log_prob(DATA))
    torch.testing.assert_close(d.mean, central.mean)
    torch.testing.assert_close(d.covariance_matrix, central.covariance_matrix)
    torch.testing.assert_close(d.entropy(), central.entropy())


# Copies and dtypes.


@pytest.mark.parametrize(
    "duplicate", [lambda d: pickle.loads(pickle.dumps(d)), copy.deepcopy, copy.copy]
)
@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: wallenius(),
        lambda: WalleniusHypergeometric(TOTAL, SIZES, weights=[1.0, 0.0, 2.0]),
        lambda: wallenius(validate_args=False).expand([4]),
        lambda: wallenius(leaf(0.1, 0.2, 0.3)),
    ],
)
def test_copies(
    make: Callable[[], WalleniusHypergeometric], filled: bool, duplicate: Callable[[Any], Any]
) -> None:
    d = make()
    if filled:
        _ = d.mean, d.variance, d.weights, d.log_weights, d.mode, d.sample()
    new = duplicate(d)
    assert type(new) is type(d)
    assert new.batch_shape == d.batch_shape
    assert new._validate_args == d._validate_args
    x = d.sample()
    assert (new.log_prob(x) == d.log_prob(x)).all()
    assert (new.mean == d.mean).all()
    assert new.expand((2, *new.batch_shape)).sample().shape == (2, *d.batch_shape, 3)
    assert new.parameter.requires_grad == d.parameter.requires_grad


def test_expand_carries_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    d = wallenius()
    mean, covariance = d.mean, d.covariance_matrix

    def refuse(*args: Any) -> None:
        raise AssertionError("computed again")

    import pyro_hypergeo.ops.wallenius.state as module

    monkeypatch.setattr(module, "snapshots", refuse)
    new = d.expand([2, 4])
    assert (new.mean == mean).all() and new.mean.shape == (2, 4, 3)
    assert (new.covariance_matrix == covariance).all()
    assert new.covariance_matrix.shape == (2, 4, 3, 3)
    with pytest.raises(AssertionError, match="computed again"):
        _ = wallenius().mean


@pytest.mark.parametrize("name", ["weights", "log_weights"])
def test_float32_in_float32_out(name: str) -> None:
    d = WalleniusHypergeometric(TOTAL, SIZES, **{name: torch.tensor([0.5, 1.5, 3.0]).float()})
    x = d.sample((100,))
    results = [
        *(x, d.log_prob(x), d.mean, d.variance, d.covariance_matrix, d.mode, d.entropy()),
        *(d.enumerate_support(), d.weights, d.log_weights),
    ]
    assert {result.dtype for result in results} == {torch.float32}
    assert (x == x.round()).all() and (x.sum(-1) == TOTAL).all()
    exact = WalleniusHypergeometric(TOTAL, SIZES, **{name: torch.tensor([0.5, 1.5, 3.0])})
    torch.testing.assert_close(d.mean, exact.mean.float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(d.log_prob(x), exact.log_prob(x).float(), rtol=1e-6, atol=1e-6)


# Bad arguments.


@pytest.mark.parametrize(
    "params, parts",
    [
        ({"weights": [NAN, 1.0, 1.0]}, ["`weights`", "(3,)", "nan", "(0,)"]),
        ({"weights": [1.0, INF, 1.0]}, ["`weights`", "(3,)", "inf", "(1,)"]),
        ({"weights": [1.0, 1.0, -0.5]}, ["`weights`", "(3,)", "-0.5", "(2,)"]),
        ({"weights": [0.0, 0.0, 0.0]}, ["`weights`", "not all 0"]),
        ({"log_weights": [-INF] * 3}, ["`log_weights`", "(3,)", "not all -inf"]),
        ({"total_count": -1}, ["`total_count`", "not negative", "-1"]),
        ({"total_count": 1.5}, ["`total_count`", "integers", "1.5"]),
        ({"total_count": 11}, ["`total_count`", "11", "10", "[5, 3, 2]"]),
        ({"total_count": 8, "weights": [1.0, 0.0, 2.0]}, ["8", "7", "weight is not 0"]),
        ({"group_sizes": [-5, 3, 2]}, ["`group_sizes`", "(3,)", "-5", "(0,)"]),
        ({"group_sizes": 5}, ["`group_sizes`", "scalar", "5"]),
        ({"weights": [1.0, 2.0]}, ["`weights`", "(2,)", "(3,)"]),
        ({"weights": [1.0] * 3, "log_weights": [0.0] * 3}, ["`log_weights`", "both"]),
        ({"weights": None}, ["`weights`", "`log_weights`", "neither"]),
    ],
)
def test_bad_arguments_are_named_and_shown(params: dict[str, Any], parts: list[str]) -> None:
    given = {"total_count": TOTAL, "group_sizes": SIZES}
    if "log_weights" not in params:
        given["weights"] = [1.0, 2.0, 3.0]
    with pytest.raises(ValueError) as error:
        WalleniusHypergeometric(**{**given, **params})
    for part in parts:
        assert part in str(error.value), str(error.value)


def test_outside_of_the_support_without_validation() -> None:
    outside = torch.tensor(
        [[5.0, 0.0, 0.0], [2.0, 1.0, 0.0], [1.0, 0.0, 3.0], [5.0, 1.0, -2.0], [0.0, 4.0, 0.0]]
    )
    d = wallenius(validate_args=False)
    assert (d.log_prob(outside) == -INF).all()
    assert d.log_prob(DATA).isfinite().all()
    assert (d.log_prob(torch.full((3,), NAN)) == -INF).all()


# Gradients and transforms.

QUANTITIES: dict[str, Callable[[WalleniusHypergeometric], Tensor]] = {
    "log_prob": lambda d: d.log_prob(DATA),
    "mean": lambda d: d.mean,
    "variance": lambda d: d.variance,
    "covariance_matrix": lambda d: d.covariance_matrix,
    "entropy": lambda d: d.entropy(),
}
quantities = pytest.mark.parametrize("quantity", QUANTITIES)


@quantities
@pytest.mark.parametrize("name", ["weights", "log_weights"])
def test_gradients_are_those_of_finite_differences(name: str, quantity: str) -> None:
    def function(x: Tensor) -> Tensor:
        return QUANTITIES[quantity](WalleniusHypergeometric(TOTAL, SIZES, **{name: x}))

    assert torch.autograd.gradcheck(function, leaf(0.7, 1.3, 2.1))


@quantities
@pytest.mark.parametrize("total", [0, 4, 7])
def test_gradient_at_the_edges_is_never_nan(quantity: str, total: int) -> None:
    value = {0: [0.0, 0.0, 0.0], 4: [3.0, 0.0, 1.0], 7: [5.0, 0.0, 2.0]}[total]
    for name, zero in (("weights", 0.0), ("log_weights", -INF)):
        x = leaf(1.0, zero, 2.0)
        d = WalleniusHypergeometric(total, SIZES, **{name: x})
        given = quantity == "log_prob"
        result = d.log_prob(torch.tensor(value)) if given else QUANTITIES[quantity](d)
        if result.requires_grad:
            (gradient,) = torch.autograd.grad(result.sum(), x)
            assert gradient[1] == 0
            assert gradient.isfinite().all()


def test_vmap() -> None:
    batch = torch.stack([LOG_WEIGHTS, -LOG_WEIGHTS, 0 * LOG_WEIGHTS])

    def log_prob(x: Tensor) -> Tensor:
        return wallenius(x, validate_args=False).log_prob(DATA)

    expected = torch.stack([log_prob(x) for x in batch])
    torch.testing.assert_close(torch.func.vmap(log_prob)(batch), expected)
    mean = torch.func.vmap(lambda x: wallenius(x, validate_args=False).mean)(batch)
    torch.testing.assert_close(mean, wallenius(batch).mean)


@pytest.mark.slow
# torch.compile instantiates torch.autograd.Function, which torch deprecates.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiled_log_prob() -> None:
    def log_prob(x: Tensor, value: Tensor) -> Tensor:
        return wallenius(x, validate_args=False).log_prob(value)

    x, same = leaf(0.3, -0.5, 1.1), leaf(0.3, -0.5, 1.1)
    compiled = torch.compile(log_prob, fullgraph=True, backend="eager")
    result, expected = compiled(x, DATA), log_prob(same, DATA)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    result.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(x.grad, same.grad, rtol=1e-12, atol=1e-12)


def test_device_is_that_of_any_tensor_given() -> None:
    meta = torch.device("meta")
    sizes = torch.tensor(SIZES, device=meta)
    d = WalleniusHypergeometric(TOTAL, sizes, weights=[1, 2, 3], validate_args=False)
    assert d.group_sizes.device == d.total_count.device == d.weights.device == meta
    assert d.log_prob(torch.zeros(3, device=meta)).device == d.mean.device == meta


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda() -> None:
    host = wallenius()
    d = WalleniusHypergeometric(torch.tensor(TOTAL).cuda(), SIZES, log_weights=LOG_WEIGHTS.cuda())
    x = d.sample((2000,))
    results = [x, d.log_prob(x), d.mean, d.variance, d.entropy(), d.mode]
    assert {result.device.type for result in results} == {"cuda"}
    torch.testing.assert_close(d.log_prob(x).cpu(), host.log_prob(x.cpu()))
    torch.testing.assert_close(d.mean.cpu(), host.mean)


def test_unchecked_nan_weights_give_nan_draws() -> None:
    for sizes in ([5, 5], [500, 500]):
        d = WalleniusHypergeometric(3, sizes, weights=[NAN, 1.0], validate_args=False)
        for shape in [(), (3,)]:
            assert d.sample(shape).isnan().all()


# In Pyro.


def test_enumeration_in_pyro_finds_the_posterior() -> None:
    prior = wallenius()
    data = torch.tensor([1.0, 1.2, 1.8])

    @config_enumerate
    def model() -> None:
        x = pyro.sample("x", prior)
        pyro.sample("y", dist.Normal(x, 0.5).to_event(1), obs=data)

    loss = TraceEnum_ELBO(max_plate_nesting=0).loss(model, lambda: None)
    support = prior.enumerate_support()
    likelihood = dist.Normal(support, 0.5).to_event(1).log_prob(data)
    evidence = (prior.log_prob(support) + likelihood).logsumexp(0)
    assert -loss == pytest.approx(evidence.item(), rel=1e-12)


def test_weights_are_learned_from_counts_under_a_plate() -> None:
    truth = torch.tensor([1.0, 4.0, 0.5])
    counts = WalleniusHypergeometric(40, [50, 30, 40], weights=truth).sample((300,))

    def model() -> None:
        log_weights = pyro.param("log_weights", torch.zeros(3))
        with pyro.plate("draws", len(counts)):
            race = WalleniusHypergeometric(40, [50, 30, 40], log_weights=log_weights)
            pyro.sample("x", race, obs=counts)

    svi = SVI(model, lambda: None, pyro.optim.Adam({"lr": 0.1}), pyro.infer.Trace_ELBO())
    for _ in range(60):
        svi.step()
    learned = torch.softmax(pyro.param("log_weights").detach(), -1)
    torch.testing.assert_close(learned, truth / truth.sum(), rtol=0.05, atol=0)
