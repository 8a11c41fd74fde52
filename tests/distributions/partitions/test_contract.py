# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""What Pyro asks of every distribution, for the distributions of partitions."""

from __future__ import annotations

import copy
import io
import itertools
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from torch import Size, Tensor

from pyro_hypergeo import (
    FisherHypergeometric,
    FisherPartition,
    MultivariateHypergeometric,
    PlackettLuce,
    WalleniusHypergeometric,
    WalleniusPartition,
)
from tests import partition_oracle as oracle

LAWS = [FisherPartition, WalleniusPartition]
every_law = pytest.mark.parametrize("cls", LAWS)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def scores(*batch: int, elements: int = 6, columns: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(*batch, elements, columns, generator=generator, dtype=torch.float64)


def sizes_law(total: int = 6, **options: Any) -> FisherHypergeometric:
    return FisherHypergeometric(total, [total] * 3, weights=[1.0, 2.0, 0.5], **options)


@every_law
def test_probabilities_of_all_partitions_sum_to_one(cls: Any) -> None:
    every = oracle.every_partition(6, 3)
    laws = [
        sizes_law(),
        FisherHypergeometric(6, [2, 6, 4], weights=[1.0, 2.0, 0.0]),
        WalleniusHypergeometric(6, [3, 4, 5], weights=[1.0, 2.0, 0.5]),
        MultivariateHypergeometric(6, [3, 4, 5]),
        dist.Multinomial(6, probs=torch.tensor([0.2, 0.3, 0.5])),
        dist.DirichletMultinomial(torch.tensor([0.5, 1.0, 2.0]), 6),
    ]
    for law in laws:
        partition = cls(law, scores(), validate_args=False)
        log_probs = partition.log_prob(every)
        close(log_probs.exp().sum(), torch.tensor(1.0))
        counts = every.sum(-2)
        for n in (torch.tensor([2.0, 2.0, 2.0]), torch.tensor([1.0, 3.0, 2.0])):
            of_n = log_probs[(counts == n).all(-1)]
            close(of_n.logsumexp(0).exp(), law.log_prob(n).exp())


@every_law
def test_draws_with_sizes_of_a_law(cls: Any) -> None:
    every, law = oracle.every_partition(6, 3), cls(sizes_law(), scores())
    draws = law.sample((50_000,))
    found = oracle.number(draws).bincount(minlength=729)
    expected = 50_000 * law.log_prob(every).exp()
    rare = expected < 5
    found = torch.cat([found[~rare], found[rare].sum(0, keepdim=True)])
    expected = torch.cat([expected[~rare], expected[rare].sum(0, keepdim=True)])
    assert stats.chisquare(found.numpy(), expected.numpy()).pvalue > 1e-3


@every_law
@pytest.mark.parametrize("batch", [(), (2,), (4, 1)])
def test_shapes(cls: Any, batch: tuple[int, ...]) -> None:
    for sizes in ([1, 2, 3], torch.tensor([1, 2, 3]), [1.0, 2.0, 3.0], sizes_law()):
        law = cls(sizes, scores(*batch))
        assert law.batch_shape == batch and law.event_shape == (6, 3)
        assert law.has_rsample is False and law.has_enumerate_support is False
        draw = law.sample()
        assert draw.shape == (*batch, 6, 3) and draw.dtype == torch.float64
        many = law.sample((5, 2))
        assert many.shape == (5, 2, *batch, 6, 3)
        assert law.support.check(many).all() and law.support.event_dim == 2
        assert law.log_prob(many).shape == (5, 2, *batch)
        close(law.log_prob(many)[3, 1], law.log_prob(many[3, 1]))
        assert law.labels(many).shape == (5, 2, *batch, 6)
        shapes = cls.infer_shapes(sizes=(3,), log_scores=(*batch, 6, 3))
        assert shapes == (law.batch_shape, law.event_shape)
        assert repr(law).startswith(f"{cls.__name__}(sizes")


@every_law
def test_batches_of_sizes(cls: Any) -> None:
    sizes = torch.tensor([[1, 2, 3], [6, 0, 0]])
    law = cls(sizes, scores(4, 1))
    assert law.batch_shape == (4, 2)
    draws = law.sample((3,))
    assert (draws.sum(-2) == sizes).all()
    close(law.log_prob(draws)[:, 1, 0], cls([1, 2, 3], scores(4, 1)[1, 0]).log_prob(draws[:, 1, 0]))
    weights = torch.tensor([[1.0, 2.0, 3.0], [3.0, 1.0, 1.0]])
    law = cls(FisherHypergeometric(6, [6, 6, 6], weights=weights), scores())
    assert law.batch_shape == (2,)
    assert law.sample((3,)).shape == (3, 2, 6, 3)
    law = cls(sizes_law(), scores(5))
    # The sizes of each entry of the batch are drawn on their own.
    assert len(law.sample((50,)).sum(-2).unique(dim=1)[0]) > 1


@every_law
def test_expand(cls: Any) -> None:
    for sizes in ([1, 2, 3], sizes_law()):
        law = cls(sizes, scores())
        for expanded in (law.expand((4, 2)), law.expand([2]).expand(Size([4, 2]))):
            assert type(expanded) is cls and expanded.batch_shape == (4, 2)
            draws = expanded.sample((3,))
            assert draws.shape == (3, 4, 2, 6, 3)
            assert len(expanded.sample().flatten(0, 1).unique(dim=0)) > 1
            close(expanded.log_prob(draws), law.log_prob(draws))
            close(expanded.mean_field, law.mean_field.expand(4, 2, 6, 3))
            assert expanded._validate_args is True
        assert law.batch_shape == ()
        assert cls(sizes, scores(), validate_args=False).expand([2])._validate_args is False
        assert law.expand_by([3]).batch_shape == (3,)
        assert law.to_event(0) is law
        assert law.expand([3]).to_event(1).log_prob(law.sample((3,))).shape == ()


@every_law
def test_given_sizes(cls: Any) -> None:
    law = cls(sizes_law(), scores())
    given = law.given([1, 2, 3])
    assert type(given) is cls and given.has_given_sizes and not law.has_given_sizes
    assert (given.sizes == torch.tensor([1, 2, 3])).all()
    every = oracle.partitions_of([1, 2, 3])
    expected = law.log_prob(every) - law.sizes.log_prob(torch.tensor([1.0, 2.0, 3.0]))
    close(given.log_prob(every), expected)
    assert law.given(torch.tensor([[1, 2, 3], [6, 0, 0]])).batch_shape == (2,)


@every_law
def test_copies_and_pickles(cls: Any) -> None:
    for sizes in ([1, 2, 3], sizes_law()):
        law = cls(sizes, scores().requires_grad_())
        value = law.sample()
        expected = law.log_prob(value)
        file = io.BytesIO()
        torch.save(law, file)
        file.seek(0)
        for other in (copy.deepcopy(law), torch.load(file, weights_only=False)):
            close(other.log_prob(value), expected)
            assert other.sample((2,)).shape == (2, 6, 3)


@every_law
def test_log_prob_is_differentiable_in_scores_and_in_weights_of_the_sizes(cls: Any) -> None:
    log_weights = torch.randn(3, requires_grad=True)
    s = scores().requires_grad_()
    law = cls(FisherHypergeometric(6, [6, 6, 6], log_weights=log_weights), s)
    value = law.sample((4,))
    assert not value.requires_grad
    by_weights, by_scores = torch.autograd.grad(law.log_prob(value).sum(), (log_weights, s))
    centred = value.sum(-2) - law.sizes.mean
    close(by_weights, centred.sum(0).detach())
    for one in value:
        given = cls(one.sum(-2), s)
        # Twice: nothing that belongs to a graph may be kept.
        for _ in range(2):
            by_scores = by_scores - torch.autograd.grad(given.log_prob(one), s)[0] / 2
    close(by_scores, torch.zeros(6, 3))


def test_exact_means() -> None:
    every, shared = oracle.partitions_of([1, 2, 3]), scores(columns=1)

    def listed(law: Any, matrices: Tensor = every) -> Tensor:
        return torch.einsum("i,iek->ek", law.log_prob(matrices).exp(), matrices)

    for law in (WalleniusPartition([1, 2, 3], shared), WalleniusPartition([1, 2, 3], shared[:, 0])):
        close(law.mean, listed(law))
        close(law.variance, law.mean * (1 - law.mean))
    two = oracle.partitions_of([4, 2])
    for cls in LAWS:
        law = cls([4, 2], scores(columns=2))
        close(law.mean, listed(law, two))
        equal = cls([1, 2, 3], torch.zeros(6, 3))
        close(equal.mean, listed(equal))
        random = cls(sizes_law(), torch.zeros(6, 3))
        close(random.mean, listed(random, oracle.every_partition(6, 3)))
        for other in (cls([1, 2, 3], scores()), cls(sizes_law(), scores())):
            with pytest.raises(NotImplementedError, match="`mean_field` is an approximation"):
                _ = other.mean
        leaf = torch.zeros(6, 3, requires_grad=True)
        with pytest.raises(NotImplementedError):
            _ = cls([1, 2, 3], leaf).mean  # its gradient is not known


@every_law
def test_mean_field_has_the_sizes(cls: Any) -> None:
    for sizes, expected in (([1, 2, 3], [1.0, 2.0, 3.0]), (sizes_law(), sizes_law().mean)):
        field = cls(sizes, scores()).mean_field
        close(field.sum(-2), torch.as_tensor(expected, dtype=torch.float64), 1e-10)
        close(field.sum(-1), torch.ones(6), 1e-10)


@every_law
def test_most_probable(cls: Any) -> None:
    every, s = oracle.partitions_of([1, 2, 3]), scores(4)
    law = cls([1, 2, 3], s)
    for i, best in enumerate(law.most_probable):
        assert (best == every[oracle.order_free(s[i], every).argmax()]).all()
    with pytest.raises(NotImplementedError, match="given"):
        _ = cls(sizes_law(), s).most_probable
    forbidden = cls(
        [1, 2, 3], s[0].masked_fill(torch.ones(6, 3) > 0, -torch.inf), validate_args=False
    )
    with pytest.raises(ValueError, match=r"`sizes` \[1, 2, 3\] is possible"):
        _ = forbidden.most_probable


@every_law
def test_dtypes_and_one_group(cls: Any) -> None:
    law = cls([1, 2], scores(elements=3, columns=2).float())
    assert law.sample().dtype == law.log_prob(law.sample()).dtype == torch.float32
    assert law.mean.dtype == law.most_probable.dtype == law.mean_field.dtype == torch.float32
    one = cls([3], scores(elements=3, columns=1))
    assert (one.sample((2,)) == 1).all() and one.log_prob(one.sample((2,))).tolist() == [0, 0]
    assert (one.mean_field == 1).all()
    assert cls([1, 2], [[0, 1], [1, 0], [0, 0]]).log_scores.dtype == torch.float64


def test_orders() -> None:
    s = torch.randn(2, 5)
    law = PlackettLuce(s)
    assert law.batch_shape == (2,) and law.event_shape == (5,)
    draws = law.sample((4, 3))
    assert draws.shape == (4, 3, 2, 5) and law.support.check(draws).all()
    assert law.log_prob(draws).shape == (4, 3, 2)
    orders = torch.tensor(list(itertools.permutations(range(5)))).unsqueeze(1)
    close(law.log_prob(orders).logsumexp(0), torch.zeros(2))
    best = law.log_prob(orders).argmax(0)
    assert (law.mode == orders[best, 0]).all()
    expanded = law.expand([3, 2])
    assert expanded.sample().shape == (3, 2, 5)
    close(expanded.log_prob(draws[:3, :1].expand(3, 3, 2, 5)[:, 0]), law.log_prob(draws[:3, 0]))
    assert PlackettLuce.infer_shapes(log_scores=(2, 5)) == ((2,), (5,))
    assert (copy.deepcopy(law).log_scores == s).all()
    first = WalleniusPartition([2, 3], s[0])
    chosen = torch.zeros(120, 5).scatter(-1, orders[:, 0, :2], 1.0)
    probs = law.log_prob(orders)[:, 0].exp()
    close(first.mean[:, 0], probs @ chosen)
