# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Partitions by brute force: all of them, and their probabilities from the stories of the laws."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

Labels = tuple[int, ...]
LogProb = Callable[[Tensor, Tensor, Tensor], Tensor]


@functools.cache
def every_partition(elements: int, groups: int) -> Tensor:
    """All K^N one-hot matrices; the labels of matrix i are the digits of i in base K."""
    labels = torch.tensor(list(itertools.product(range(groups), repeat=elements)))
    return torch.nn.functional.one_hot(labels, groups).to(torch.get_default_dtype())


def partitions_of(sizes: list[int]) -> Tensor:
    """All one-hot matrices whose columns sum to the sizes, in the order of their labels."""
    matrices = every_partition(sum(sizes), len(sizes))
    return matrices[(matrices.sum(-2) == torch.tensor(sizes)).all(-1)]


def number(partition: Tensor) -> Tensor:
    """The place of each matrix in :func:`every_partition`."""
    elements, groups = partition.shape[-2:]
    digits = groups ** torch.arange(elements - 1, -1, -1)
    return (partition.argmax(-1) * digits).sum(-1)


def plackett_luce(order: Labels, weights: list[Fraction]) -> Fraction:
    """The probability of an order of all elements."""
    result = Fraction(1)
    for i, e in enumerate(order):
        result *= weights[e] / sum((weights[j] for j in order[i:]), Fraction(0))
    return result


@functools.cache
def orders(weights: tuple[Fraction, ...]) -> dict[Labels, Fraction]:
    """The probabilities of all orders."""
    every = itertools.permutations(range(len(weights)))
    return {order: plackett_luce(order, list(weights)) for order in every}


def race_of_all(sizes: list[int], weights: list[Fraction]) -> dict[Labels, Fraction]:
    """Partitions with shared scores: the sum over all N! orders of Plackett and Luce."""
    slots = [k for k, size in enumerate(sizes) for _ in range(size)]
    result: dict[Labels, Fraction] = {}
    for order, p in orders(tuple(weights)).items():
        labels = tuple(slots[order.index(e)] for e in range(len(weights)))
        result[labels] = result.get(labels, Fraction(0)) + p
    return result


def draft(sizes: list[int], weights: list[list[Fraction]]) -> dict[Labels, Fraction]:
    """Partitions whose groups pick one after the other, element by element, by recursion."""
    turns = [k for k, size in enumerate(sizes) for _ in range(size)]
    law: dict[Labels, Fraction] = {(-1,) * len(weights): Fraction(1)}
    for k in turns:
        later: dict[Labels, Fraction] = {}
        for labels, p in law.items():
            left = [e for e, z in enumerate(labels) if z < 0]
            # The last group takes what is left.
            w = {e: weights[e][k] if k < len(sizes) - 1 else Fraction(1) for e in left}
            total = sum(w.values(), Fraction(0))
            for e in left:
                new = (*labels[:e], k, *labels[e + 1 :])
                later[new] = later.get(new, Fraction(0)) + p * w[e] / total
        law = later
    return law


def tilt(scores: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Shifts of the columns with which independent labels have these sizes on average."""
    full = np.array(sizes) > 0
    s = scores[:, full]

    def gap(b: np.ndarray) -> np.ndarray:
        u = s + np.append(b, 0.0)
        p = np.exp(u - u.max(-1, keepdims=True))
        return ((p / p.sum(-1, keepdims=True)).sum(0) - np.array(sizes)[full])[:-1]

    result = np.full(len(sizes), -np.inf)
    if full.sum() > 1:
        b = optimize.root(gap, np.zeros(full.sum() - 1), tol=1e-14).x
        result[full] = np.append(b, 0.0)
    else:
        result[full] = 0.0
    return result


def chain(sizes: list[int], scores: np.ndarray) -> dict[Labels, float]:
    """Partitions by subsets of those left, with tilted scores, the smallest group first."""
    u = scores + tilt(scores, sizes)
    order = sorted(range(len(sizes)), key=lambda k: sizes[k])
    law: dict[Labels, float] = {(-1,) * len(scores): 1.0}
    for i, k in enumerate(order):
        later: dict[Labels, float] = {}
        for labels, p in law.items():
            left = [e for e, z in enumerate(labels) if z < 0]
            rest = [np.exp(u[e, order[i + 1 :]]).sum() or 1.0 for e in left]
            odds = {e: np.exp(u[e, k]) / r for e, r in zip(left, rest, strict=True)}
            subsets = list(itertools.combinations(left, sizes[k]))
            products = [math.prod(odds[e] for e in subset) for subset in subsets]
            total = sum(products) if sizes[k] else 1.0
            for subset, product in zip(subsets, products, strict=True):
                new = tuple(k if e in subset else z for e, z in enumerate(labels))
                later[new] = p * product / total
        law = later
    return law


def as_tensor(law: dict[Labels, Fraction] | dict[Labels, float], groups: int) -> Tensor:
    """The probabilities in the order of :func:`every_partition`."""
    elements = len(next(iter(law)))
    labels = itertools.product(range(groups), repeat=elements)
    return torch.tensor([float(law.get(z, 0)) for z in labels], dtype=torch.float64)


def order_free(scores: Tensor, partitions: Tensor) -> Tensor:
    """Log-probabilities of these partitions, proportional to exp of the sum of scores."""
    return (partitions * scores).sum((-1, -2)).log_softmax(0)


def same_in_a_batch(draws: Tensor, log_prob: LogProb, scores: Tensor, sizes: Tensor) -> None:
    """Draws for scores (4, 1, 6, ...) and sizes (3, 3) are partitions, and as probable as alone."""
    assert draws.shape == (5, 4, 3, 6, 3)
    assert (draws.sum(-2) == sizes).all() and (draws.sum(-1) == 1).all()
    found = log_prob(draws, scores, sizes)
    assert found.shape == (5, 4, 3)
    for i, j in [(0, 0), (3, 1), (2, 2)]:
        one = log_prob(draws[:, i, j], scores[i, 0], sizes[j])
        torch.testing.assert_close(found[:, i, j], one, rtol=0, atol=1e-12)
