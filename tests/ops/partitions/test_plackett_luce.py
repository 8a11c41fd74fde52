# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Orders of Plackett and Luce in exact arithmetic."""

from __future__ import annotations

import itertools
from fractions import Fraction

import torch
from scipy import stats
from torch.autograd import gradcheck, gradgradcheck

from pyro_hypergeo.ops import plackett_luce_log_prob, plackett_luce_sample
from tests import partition_oracle as oracle

WEIGHTS = [Fraction(x) for x in ("1", "2", "1/2", "5", "1/3")]
SCORES = torch.tensor([float(w) for w in WEIGHTS], dtype=torch.float64).log()
ORDERS = torch.tensor(list(itertools.permutations(range(5))))


def test_every_order() -> None:
    truth = [float(oracle.plackett_luce(tuple(order), WEIGHTS)) for order in ORDERS.tolist()]
    for shift in (0.0, 500.0, -800.0):
        found = plackett_luce_log_prob(ORDERS, SCORES + shift).exp()
        torch.testing.assert_close(found, torch.tensor(truth), rtol=1e-12, atol=0)


def test_draws_have_the_law() -> None:
    draws = plackett_luce_sample(SCORES, torch.Size([200_000]))
    assert draws.dtype == torch.long
    digits = 5 ** torch.arange(5)
    found = (draws * digits).sum(-1).bincount(minlength=5**5)[(ORDERS * digits).sum(-1)]
    expected = 200_000 * plackett_luce_log_prob(ORDERS, SCORES).exp()
    assert found.sum() == 200_000
    assert stats.chisquare(found.numpy(), expected.numpy()).pvalue > 1e-3


def test_elements_of_score_zero_come_last_in_a_uniform_order() -> None:
    scores = torch.tensor([0.0, -torch.inf, 1.0, -torch.inf], requires_grad=True)
    orders = torch.tensor(list(itertools.permutations(range(4))))
    log_probs = plackett_luce_log_prob(orders, scores)
    possible = log_probs > -torch.inf
    assert orders[possible].tolist() == [[0, 2, 1, 3], [0, 2, 3, 1], [2, 0, 1, 3], [2, 0, 3, 1]]
    p = 1 / (1 + torch.e)
    expected = torch.tensor([p / 2, p / 2, (1 - p) / 2, (1 - p) / 2])
    torch.testing.assert_close(log_probs[possible].exp(), expected)
    (gradient,) = torch.autograd.grad(log_probs[possible][0], scores)
    torch.testing.assert_close(gradient, torch.tensor([1 - p, 0.0, p - 1, 0.0]))
    draws = plackett_luce_sample(scores, torch.Size([4000]))
    assert ((draws[:, 2:] == 1) | (draws[:, 2:] == 3)).all()
    assert abs(float((draws[:, 2] == 1).double().mean()) - 0.5) < 0.04
    none = plackett_luce_log_prob(orders, torch.full((4,), -torch.inf))
    torch.testing.assert_close(none.exp(), torch.full((24,), 1 / 24))


def test_gradients() -> None:
    scores = torch.randn(2, 5, requires_grad=True)
    orders = ORDERS[[0, 50, 119]].unsqueeze(1)
    assert plackett_luce_log_prob(orders, scores).shape == (3, 2)
    assert gradcheck(lambda s: plackett_luce_log_prob(orders, s), (scores,))
    assert gradgradcheck(lambda s: plackett_luce_log_prob(orders, s), (scores,))


def test_what_is_no_permutation_is_impossible() -> None:
    values = torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 2.0], [0.5, 1.0, 2.0], [1.0, 2.0, 3.0]])
    found = plackett_luce_log_prob(values, torch.zeros(3))
    assert (found > -torch.inf).tolist() == [True, False, False, False]


def test_dtype_and_transforms() -> None:
    scores = torch.randn(3, 5)
    mapped = torch.vmap(lambda s: plackett_luce_log_prob(ORDERS, s))(scores)
    torch.testing.assert_close(mapped, plackett_luce_log_prob(ORDERS.unsqueeze(1), scores).mT)
    assert plackett_luce_log_prob(ORDERS, SCORES.float()).dtype == torch.float32
