# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The checks of Pyro's own tests for a distribution, and all numbers against brute force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pyro.distributions.torch_distribution import ExpandedDistribution, TorchDistributionMixin
from scipy import stats
from torch import Size, Tensor
from torch.distributions import kl_divergence

import pyro_hypergeo.distributions.counts_of_urn as counts_module
import pyro_hypergeo.ops.fisher.law as law_module
import pyro_hypergeo.ops.urn as urn_module
from pyro_hypergeo import (
    FisherHypergeometric,
    MultivariateHypergeometric,
    WalleniusHypergeometric,
)
from tests.distributions.fixture import ALL, EXAMPLES, Example, shapes_of

CLASSES = [FisherHypergeometric, MultivariateHypergeometric]
EVERY_CLASS = [*CLASSES, WalleniusHypergeometric]
SAME_URN = [example for example in ALL if example.same_urn]
BATCHED = [example for example in ALL if example.batch_shape]
TWO_GROUPS = [example for example in EXAMPLES if example.groups == 2]

every = pytest.mark.parametrize("example", EXAMPLES, ids=repr)
every_law = pytest.mark.parametrize("example", ALL, ids=repr)
every_same_urn = pytest.mark.parametrize("example", SAME_URN, ids=repr)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


# Support.


@pytest.mark.parametrize("cls", EVERY_CLASS)
def test_support_of_class(cls: type[FisherHypergeometric]) -> None:
    assert cls.support.event_dim == 1
    assert cls.support.is_discrete
    assert cls.has_enumerate_support
    assert not cls.has_rsample


@every_law
def test_support_of_instance(example: Example) -> None:
    d = example.dist()
    assert d.support.event_dim == d.event_dim == 1
    assert d.support.is_discrete
    for sample_shape in [(), (4,), (4, 1)]:
        data = example.data().expand(*sample_shape, *example.batch_shape, example.groups)
        inside = d.support.check(data)
        assert inside.shape == (*sample_shape, *example.batch_shape)
        assert inside.dtype == torch.bool
        assert inside.all()


@every_law
def test_support_rejects(example: Example) -> None:
    d, data = example.dist(), example.data()
    wrong = [data + 0.5, data * torch.nan, data + torch.inf]
    one = torch.nn.functional.one_hot(torch.tensor(0), example.groups)
    wrong += [data + one, data - one, data - 100 * one, data + 100 * one]
    if example.groups > 1:
        # The sum is right, but one count is below zero, above its size, or not an integer.
        swap = one - one.roll(1)
        wrong += [data + 100 * swap, data - 100 * swap, data + 0.5 * swap]
    for value in wrong:
        inside = d.support.check(value)
        assert inside.shape == example.batch_shape
        assert not inside.any(), value
        with pytest.raises(ValueError, match="within the support"):
            d.log_prob(value)


def test_support_broadcasts_with_the_batch() -> None:
    d = FisherHypergeometric(torch.tensor([2, 3]), [4, 3], weights=[1.0, 2.0])
    inside = d.support.check(torch.tensor([[[1, 1]], [[2, 1]], [[5, -2]]]))
    assert inside.tolist() == [[True, False], [False, True], [False, False]]


# Shapes.


@every_law
def test_infer_shapes(example: Example) -> None:
    d = example.dist()
    shapes = shapes_of(example.params)
    batch_shape, event_shape = example.cls.infer_shapes(**shapes)
    assert batch_shape == d.batch_shape == example.batch_shape
    assert event_shape == d.event_shape == (example.groups,)
    assert isinstance(batch_shape, Size) and isinstance(event_shape, Size)


@every_law
@pytest.mark.parametrize("sample_shape", [(), (2,), (4, 1)])
def test_sample_and_log_prob_shapes(example: Example, sample_shape: tuple[int, ...]) -> None:
    d = example.dist()
    x = d.sample(Size(sample_shape))
    assert x.shape == d.shape(sample_shape) == (*sample_shape, *example.batch_shape, example.groups)
    assert x.dtype == torch.get_default_dtype()
    assert not x.requires_grad
    assert d.support.check(x).all()
    assert d.log_prob(x).shape == (*sample_shape, *example.batch_shape)
    assert (d.log_prob(x) > -torch.inf).all()
    assert d(sample_shape=Size(sample_shape)).shape == x.shape


@every
def test_shapes_of_moments(example: Example) -> None:
    d = example.dist()
    event, batch = (*example.batch_shape, example.groups), example.batch_shape
    for name in ("mean", "variance", "mode", "stddev", "weights", "log_weights"):
        assert getattr(d, name).shape == event, name
    assert d.covariance_matrix.shape == (*event, example.groups)
    assert d.entropy().shape == d.log_partition.shape == batch


@every_law
def test_wrong_event_dim_raises(example: Example) -> None:
    d = example.dist()
    for groups in {example.groups + 1, example.groups + 2}:
        with pytest.raises((ValueError, RuntimeError)):
            d.log_prob(torch.zeros(*example.batch_shape, groups))
    with pytest.raises((ValueError, RuntimeError)):
        d.log_prob(torch.tensor(0.0))


@pytest.mark.parametrize("example", BATCHED, ids=repr)
def test_data_that_do_not_broadcast_raise(example: Example) -> None:
    if example.batch_shape[-1] == 1:
        return  # everything broadcasts with a size of 1
    data = torch.zeros(example.batch_shape[-1] + 1, example.groups)
    with pytest.raises((ValueError, RuntimeError)):
        example.dist().log_prob(data)


# Values.


@every_law
def test_log_prob_is_that_of_brute_force(example: Example) -> None:
    d = example.dist(validate_args=False)
    for index, law in example.laws.items():
        log_prob = d.log_prob(law.counts.reshape(-1, *(1,) * len(index), example.groups))
        close(log_prob[(slice(None), *index)], law.probs.log())


@pytest.mark.parametrize("example", TWO_GROUPS, ids=repr)
def test_log_prob_is_scipys_for_two_groups(example: Example) -> None:
    d = example.dist(validate_args=False)
    sizes, totals, weights = example.arrays()
    for index, law in example.laws.items():
        (m0, m1), (w0, w1) = sizes[index], weights[index]
        if 0 < totals[index] < m0 + m1:
            x = law.counts[:, 0].numpy()
            truth = stats.nchypergeom_fisher(m0 + m1, m0, totals[index], w0 / w1).logpmf(x)
            value = law.counts.reshape(-1, *(1,) * len(index), 2)
            close(d.log_prob(value)[(slice(None), *index)], torch.as_tensor(truth), 1e-10)


@pytest.mark.parametrize(
    "example", [e for e in EXAMPLES if e.cls is MultivariateHypergeometric], ids=repr
)
def test_log_prob_is_scipys_for_equal_weights(example: Example) -> None:
    d = example.dist()
    sizes, totals, _ = example.arrays()
    biased = FisherHypergeometric(**example.params, weights=[3.0] * example.groups)
    data = example.data(1)
    log_prob = d.log_prob(data)
    close(biased.log_prob(data), log_prob)
    for index in example.indices:
        m, n, x = sizes[index].astype(int), int(totals[index]), data[index].numpy().astype(int)
        truth = stats.multivariate_hypergeom(m, n).logpmf(x)
        close(log_prob[index], torch.as_tensor(truth, dtype=torch.float64))


@pytest.mark.parametrize("example", BATCHED, ids=repr)
def test_batched_log_prob_is_that_of_each_element(example: Example) -> None:
    d, data = example.dist(), example.data(1)
    sizes, totals, weights = example.arrays()
    for index in example.indices:
        one = example.family.unequal(
            int(totals[index]), sizes[index].tolist(), weights=weights[index].tolist()
        )
        close(d.log_prob(data)[index], one.log_prob(data[index]), 1e-13)


@every
@pytest.mark.parametrize("quantity", ["mean", "covariance", "entropy", "log_partition"])
def test_moments_are_those_of_brute_force(example: Example, quantity: str) -> None:
    d, truth = example.dist(), example.stack(quantity)
    if quantity == "covariance":
        close(d.covariance_matrix, truth)
        close(d.variance, truth.diagonal(dim1=-2, dim2=-1))
    else:
        value = d.entropy() if quantity == "entropy" else getattr(d, quantity)
        close(value, truth)


@pytest.mark.parametrize("sizes, total", [([1, 1], 1), ([3], 2), ([2, 4], 3), ([5, 2, 3, 8], 9)])
def test_entropy_where_the_tilted_groups_are_fair_coins(sizes: list[int], total: int) -> None:
    log_weights = torch.zeros(len(sizes), requires_grad=True)
    d = FisherHypergeometric(total, sizes, log_weights=log_weights)
    support = d.enumerate_support()
    log_prob = d.log_prob(support)
    truth = -(log_prob.exp() * log_prob).sum()
    close(d.entropy(), truth)
    found, wanted = (
        torch.autograd.grad(x, log_weights, retain_graph=True)[0] for x in (d.entropy(), truth)
    )
    close(found, wanted, 1e-11)


@every_law
def test_mode_is_most_probable(example: Example) -> None:
    d = example.dist()
    assert d.support.check(d.mode).all()
    most = torch.stack([law.probs.max() for law in example.laws.values()])
    close(d.log_prob(d.mode), most.reshape(example.batch_shape).log())


@every
def test_marginals_are_those_of_brute_force(example: Example) -> None:
    d = example.dist()
    sizes, _, _ = example.arrays()
    for group in range(example.groups):
        largest = int(sizes[..., group].max())
        marginal = d.marginal(group)
        assert marginal.batch_shape == d.batch_shape
        assert marginal.probs.shape == (*d.batch_shape, largest + 1)
        for index, law in example.laws.items():
            close(marginal.probs[index], law.marginal(group, largest))
        last = d.marginal(group - example.groups)
        assert (last.logits == marginal.logits).all()


@pytest.mark.parametrize("group", [3, -4, 100])
@pytest.mark.parametrize("cls", CLASSES)
def test_marginal_of_no_group_raises(cls: type[FisherHypergeometric], group: int) -> None:
    d = FisherHypergeometric(4, [5, 3, 2], weights=[1.0, 2.0, 4.0])
    with pytest.raises(ValueError, match=rf"`group` between -3 and 2 .* got {group}"):
        d.marginal(group)


@pytest.mark.parametrize(
    "example", [e for e in ALL if any(len(law.probs) > 1 for law in e.laws.values())], ids=repr
)
def test_samples_follow_the_law(example: Example) -> None:
    samples = example.dist().sample(Size((4000,)))
    for index, law in example.laws.items():
        drawn = samples[(slice(None), *index)]
        observed = (drawn.unsqueeze(1) == law.counts).all(-1).sum(0)
        assert observed.sum() == 4000  # nothing outside of the list
        assert (observed[law.probs == 0] == 0).all()
        # Rare count vectors are pooled.
        expected = 4000 * law.probs
        often = expected > 5
        observed = torch.cat([observed[often], observed[~often].sum(0, keepdim=True)])
        expected = torch.cat([expected[often], expected[~often].sum(0, keepdim=True)])
        if expected[-1] < 1e-9:
            observed, expected = observed[:-1], expected[:-1]
        if len(expected) > 1:
            # One comparison for each entry of the batch: together they fail by chance once in 1000.
            least = 1e-3 / len(example.laws)
            assert stats.chisquare(observed.numpy(), expected.numpy()).pvalue > least


# Enumeration.


@every_same_urn
def test_enumerate_support(example: Example) -> None:
    d = example.dist()
    law = example.laws[example.indices[0]]
    size, batch = len(law.counts), example.batch_shape
    assert d.support_size == size
    support = d.enumerate_support()
    assert support.shape == (size, *batch, example.groups)
    assert support.dtype == d.mean.dtype
    assert (support == law.counts.reshape(-1, *(1,) * len(batch), example.groups)).all()
    short = d.enumerate_support(expand=False)
    assert short.shape == (size, *(1,) * len(batch), example.groups)
    assert (short == support).all()
    assert (d.enumerate_support(expand=True) == support).all()
    close(d.log_prob(support).logsumexp(0), torch.zeros(batch))


@pytest.mark.parametrize("example", [e for e in ALL if not e.same_urn], ids=repr)
def test_urns_that_differ_cannot_be_enumerated(example: Example) -> None:
    d = example.dist()
    for ask in (d.enumerate_support, lambda: d.enumerate_support(expand=False)):
        with pytest.raises(NotImplementedError, match="not supported by `enumerate_support`"):
            ask()
    with pytest.raises(NotImplementedError):
        _ = d.support_size


@pytest.mark.parametrize("cls", EVERY_CLASS)
def test_large_support_is_refused_with_its_size(cls: type[FisherHypergeometric]) -> None:
    weights = {} if cls is MultivariateHypergeometric else {"weights": [1.0] * 10}
    d = cls(50, [50] * 10, **weights)
    assert d.support_size == 12565671261  # 50 + 9 choose 9
    with pytest.raises(ValueError, match="12565671261 count vectors.*max_enumeration = 100000"):
        d.enumerate_support()
    small = cls(2, [2, 2, 2], **({"weights": [1.0] * 3} if weights else {}))
    small.max_enumeration = 5
    for it in (small, small.expand([2])):
        with pytest.raises(ValueError, match="6 count vectors, more than max_enumeration = 5"):
            it.enumerate_support()
    small.max_enumeration = 6
    assert len(small.enumerate_support()) == 6


# Expansion, by the class and by Pyro's default.


def default_expand(d: FisherHypergeometric, shape: Any) -> ExpandedDistribution:
    return TorchDistributionMixin.expand(d, shape)


def own_expand(d: FisherHypergeometric, shape: Any) -> FisherHypergeometric:
    return d.expand(shape)


expansions = pytest.mark.parametrize("expand", [own_expand, default_expand])
Expand = Callable[[FisherHypergeometric, Any], Any]


def check_expanded(d: Any, example: Example, batch_shape: tuple[int, ...]) -> None:
    assert d.batch_shape == batch_shape
    assert d.event_shape == (example.groups,)
    original = example.dist()
    x = d.sample()
    assert x.shape == (*batch_shape, example.groups)
    assert d.sample(Size((5,))).shape == (5, *batch_shape, example.groups)
    close(d.log_prob(x), original.log_prob(x).expand(batch_shape))
    close(d.mean, original.mean.expand(*batch_shape, example.groups))
    close(d.variance, original.variance.expand(*batch_shape, example.groups))


@every_law
@pytest.mark.parametrize("sample_shape", [(), (2,), (2, 1, 3)])
def test_expand_by(example: Example, sample_shape: tuple[int, ...]) -> None:
    d = example.dist().expand_by(sample_shape)
    assert type(d) is example.cls
    check_expanded(d, example, (*sample_shape, *example.batch_shape))


@every_law
@expansions
@pytest.mark.parametrize("container", [Size, tuple, list])
def test_expand_to_new_dimensions(example: Example, expand: Expand, container: Any) -> None:
    shape = (3, 2, *example.batch_shape)
    check_expanded(expand(example.dist(), container(shape)), example, shape)


@expansions
@every_law
def test_expand_singletons(example: Example, expand: Expand) -> None:
    shape = (3, 1, *example.batch_shape)
    d = expand(expand(example.dist(), shape), (3, 4, *example.batch_shape))
    check_expanded(d, example, (3, 4, *example.batch_shape))


@expansions
@every_law
def test_expand_twice(example: Example, expand: Expand) -> None:
    batch = example.batch_shape
    d = example.dist()
    once = expand(d, (2, *batch))
    check_expanded(expand(once, (4, 2, *batch)), example, (4, 2, *batch))
    assert d.batch_shape == batch
    assert once.batch_shape == (2, *batch)


@expansions
@pytest.mark.parametrize("example", BATCHED, ids=repr)
def test_expand_to_bad_shape_raises(example: Example, expand: Expand) -> None:
    last = example.batch_shape[-1]
    if last == 1:
        return
    for shape in [(*example.batch_shape[:-1], last + 1), ()]:
        with pytest.raises((ValueError, RuntimeError)):
            expand(example.dist(), shape)


@every
def test_expand_keeps_all_else(example: Example) -> None:
    shape = (2, *example.batch_shape)
    d = example.dist()
    new = d.expand(shape)
    assert type(new) is example.cls
    assert new.has_enumerate_support and not new.has_rsample
    for name in ("total_count", "group_sizes", "weights", "log_weights"):
        close(getattr(new, name), getattr(d, name).expand(getattr(new, name).shape))
        assert getattr(new, name).shape[0] == 2
    for name in ("mode", "covariance_matrix", "log_partition"):
        value = getattr(d, name)
        close(getattr(new, name), value.expand(2, *value.shape))
    close(new.entropy(), d.entropy().expand(shape))
    close(new.marginal(0).probs, d.marginal(0).probs.expand(2, *d.marginal(0).probs.shape))
    if example.same_urn:
        support = new.enumerate_support()
        assert support.shape[1:] == (*shape, example.groups)
        assert new.enumerate_support(expand=False).shape[1:-1] == (1,) * len(shape)
    assert example.dist(validate_args=False).expand(shape)._validate_args is False
    assert example.dist(validate_args=True).expand(shape)._validate_args is True


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.name == "lists"], ids=repr)
def test_expand_carries_what_is_known(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    d = example.dist()
    fresh = example.dist().expand([7])
    value, log_weights = d.log_prob(example.data()), d.log_weights
    calls = []

    def refuse(*args: Any) -> None:
        calls.append(args)
        raise AssertionError("computed again")

    for module, name in [
        (law_module, "solve_fisher"),
        (law_module, "solve_central"),
        (urn_module, "largest"),
        (counts_module, "log_of_weights"),
    ]:
        monkeypatch.setattr(module, name, refuse)
    for new in (d.expand([7]), d.expand([1]).expand([7])):
        assert (new.log_prob(example.data()) == value).all()
        assert (new.log_weights == log_weights).all()
        assert new.mean.shape == (7, 3)
        assert new.sample().shape == (7, 3)
    assert not calls
    with pytest.raises(AssertionError, match="computed again"):
        fresh.log_prob(example.data())


# The weights from the mean.


@pytest.mark.parametrize(
    "mean, sizes",
    [
        ([1.0, 1.0, 2.0], [5, 3, 3]),
        ([0.1, 3.9], [4, 4]),
        ([0.0, 1.5, 1.5], [4, 4, 2]),
        ([0.0, 0.0], [4, 4]),
        ([4.0, 2.0], [4, 2]),
        ([4.0, 0.0], [4, 2]),
        ([[0.5, 1.5], [1.999, 0.001]], [3, 2]),
        ([[0.5, 1.5], [2.0, 1.0]], [3, 2]),
    ],
)
@pytest.mark.parametrize("cls", CLASSES)
def test_from_mean_has_that_mean(
    cls: type[FisherHypergeometric], mean: list[Any], sizes: list[int]
) -> None:
    wanted = torch.tensor(mean)
    for given in (mean, wanted):
        for total in (None, wanted.sum(-1).round()):
            d = cls.from_mean(given, sizes, total)
            assert type(d) is FisherHypergeometric
            assert d.mean.shape == wanted.shape
            close(d.mean, wanted, 1e-10)
            assert ((d.weights > 0) == (wanted > 0))[wanted.sum(-1) > 0].all()
            assert not d.log_weights.isnan().any()


def test_from_mean_finds_the_weights() -> None:
    log_weights = torch.tensor([0.5, -1.0, 0.2, 0.3])
    d = FisherHypergeometric(20, [10, 20, 30, 5], log_weights=log_weights)
    found = FisherHypergeometric.from_mean(d.mean, d.group_sizes, 20)
    close(found.log_weights, log_weights - log_weights.mean(), 1e-10)


@pytest.mark.parametrize(
    "mean, sizes, total, message",
    [
        ([1.0, 1.5], [4, 4], None, r"`mean` of shape \(2,\) .*\[1\.0, 1\.5\]"),
        ([1.0, 1.0], [4, 4], 3, r"of sum 3, but found \[1\.0, 1\.0\]"),
        ([-1.0, 3.0], [4, 4], None, r"`mean` .*found -1 at index \(0,\)"),
        ([4.0, 1.0], [4, 4], None, r"`mean` .*found 4 at index \(0,\)"),
        ([5.0, 1.0], [4, 4], None, r"`mean` .*found 5 at index \(0,\)"),
        ([float("nan"), 1.0], [4, 4], None, r"`mean` .*nan"),
        ([[1.0, 1.0], [0.5, 2.5]], [4, 2], None, r"`mean` .*found 2\.5 at index \(1, 1\)"),
    ],
)
def test_from_mean_refuses(
    mean: list[Any], sizes: list[int], total: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        FisherHypergeometric.from_mean(mean, sizes, total)


def test_from_mean_has_the_gradient_of_finite_differences() -> None:
    mean = torch.tensor([1.2, 0.7, 2.1], requires_grad=True)
    sizes = [4, 3, 5]
    coefficients = torch.tensor([0.3, -1.0, 0.8])

    def loss(m: Tensor) -> Tensor:
        return (FisherHypergeometric.from_mean(m, sizes).log_weights * coefficients).sum()

    (gradient,) = torch.autograd.grad(loss(mean), mean)
    step = 1e-5
    for direction in torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [0.5, 0.5, -1.0]]):
        there, back = (loss(mean.detach() + s * direction) for s in (step, -step))
        close(gradient @ direction, (there - back) / (2 * step), 1e-8)


# Divergence.


def enumerated_kl(p: FisherHypergeometric, q: FisherHypergeometric) -> Tensor:
    support = p.enumerate_support()
    log_p, log_q = (d.expand(p.batch_shape).log_prob(support) for d in (p, q))
    return torch.where(log_p > -torch.inf, log_p.exp() * (log_p - log_q), 0.0).sum(0)


KL_WEIGHTS = [[1.0, 2.0, 4.0], [3.0, 0.1, 1.0], [1.0, 1.0, 1.0], [2.0, 0.0, 1.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize("total", [0, 2, 10])
@pytest.mark.parametrize("of_q", KL_WEIGHTS)
@pytest.mark.parametrize("of_p", KL_WEIGHTS)
def test_kl_is_the_enumerated_one(of_p: list[float], of_q: list[float], total: int) -> None:
    if total > 2 and 0 in of_p + of_q:
        return  # no such draw
    p = FisherHypergeometric(total, [5, 3, 2], weights=of_p)
    q = FisherHypergeometric(total, [5, 3, 2], weights=of_q)
    result = kl_divergence(p, q)
    assert result.shape == ()
    close(result, enumerated_kl(p, q))


def test_kl_with_the_central_law() -> None:
    p = FisherHypergeometric(4, [5, 3, 2], weights=[1.0, 2.0, 4.0])
    q = MultivariateHypergeometric(4, [5, 3, 2])
    close(kl_divergence(p, q), enumerated_kl(p, q))
    close(kl_divergence(q, p), enumerated_kl(q, p))
    close(kl_divergence(q, q), torch.tensor(0.0))


def test_kl_has_the_batch_shape_and_a_gradient() -> None:
    log_p = torch.randn(3, 1, 3, requires_grad=True)
    log_q = torch.randn(2, 3, requires_grad=True)
    p = FisherHypergeometric(4, [5, 3, 2], log_weights=log_p)
    q = FisherHypergeometric(4, [5, 3, 2], log_weights=log_q)
    result = kl_divergence(p, q)
    assert result.shape == (3, 2)
    truth = enumerated_kl(p.expand([3, 2]), q)
    close(result, truth)
    found = torch.autograd.grad(result.sum(), (log_p, log_q), retain_graph=True)
    for a, b in zip(found, torch.autograd.grad(truth.sum(), (log_p, log_q)), strict=True):
        close(a, b, 1e-11)


@pytest.mark.parametrize(
    "total, sizes, name",
    [
        (3, [5, 3, 2], "total_count"),
        (4, [5, 2, 3], "group_sizes"),
        (4, [5, 5], "group_sizes"),
        (torch.tensor([4, 3]), [5, 3, 2], "total_count"),
    ],
)
def test_kl_between_different_urns_raises(total: Any, sizes: list[int], name: str) -> None:
    p = FisherHypergeometric(4, [5, 3, 2], weights=[1.0, 2.0, 4.0])
    q = MultivariateHypergeometric(total, sizes)
    for pair in ((p, q), (q, p)):
        with pytest.raises(ValueError, match=f"equal `{name}`"):
            kl_divergence(*pair)


def test_kl_between_one_group_and_two_of_its_size_raises() -> None:
    p, q = MultivariateHypergeometric(4, [5]), MultivariateHypergeometric(4, [5, 5])
    for pair in ((p, q), (q, p)):
        with pytest.raises(ValueError, match="equal `group_sizes`"):
            kl_divergence(*pair)


def test_kl_to_a_law_that_can_draw_nothing_is_infinite() -> None:
    p = FisherHypergeometric(4, [5, 3, 2], weights=[1.0, 2.0, 4.0])
    q = FisherHypergeometric(4, [5, 3, 2], weights=[0.0, 0.0, 1.0], validate_args=False)
    assert kl_divergence(p, q) == torch.inf
