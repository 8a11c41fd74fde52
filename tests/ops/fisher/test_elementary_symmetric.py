# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Elementary symmetric polynomials against rational arithmetic."""

import itertools
import math
from fractions import Fraction

import hypothesis
import hypothesis.strategies as st
import mpmath
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from pyro_hypergeo.ops import log_elementary_symmetric, log_elementary_symmetrics


def polynomial(values):
    """Coefficients of prod_i (1 + v_i z) in rational numbers."""
    coefficients = [Fraction(1)]
    for value in map(Fraction, values):
        longer = zip([*coefficients, 0], [0, *coefficients], strict=True)
        coefficients = [same + value * lower for same, lower in longer]
    return coefficients


def log_of(fraction):
    with mpmath.workdps(40):
        value = mpmath.mpf(fraction.numerator) / fraction.denominator
        return float(mpmath.log(value)) if value else -math.inf


def test_sums_of_products():
    values = [0.5, 2.0, 0.0, 3.0, 1.25]
    logs = torch.tensor(values).log()
    every = log_elementary_symmetrics(logs)
    for k in range(6):
        subsets = itertools.combinations(values, k)
        expected = sum(math.prod(subset) for subset in subsets)
        assert every[k].exp().item() == pytest.approx(expected, rel=1e-13)
        one = log_elementary_symmetric(logs, k)
        assert one.exp().item() == pytest.approx(expected, rel=1e-13)
    assert log_elementary_symmetric(logs, 6) == -math.inf


@pytest.mark.slow
@hypothesis.given(
    st.lists(st.one_of(st.floats(1e-6, 1e6), st.just(0.0)), min_size=1, max_size=30),
    st.integers(0, 35),
)
def test_rational_arithmetic(values, max_order):
    logs = torch.tensor(values).log()
    every = log_elementary_symmetrics(logs, max_order)
    assert every.shape == (max_order + 1,)
    exact = [log_of(e) for e in polynomial(values)]
    for k in range(max_order + 1):
        expected = exact[k] if k < len(exact) else -math.inf
        assert every[k].item() == pytest.approx(expected, rel=1e-12, abs=1e-12)
        one = log_elementary_symmetric(logs, k).item()
        assert one == pytest.approx(expected, rel=1e-11, abs=1e-11)


@pytest.mark.slow
def test_many_values():
    logs = torch.randn(3, 301)
    exact = [log_of(e) for e in polynomial(logs[1].exp().tolist())]
    every = log_elementary_symmetrics(logs)
    torch.testing.assert_close(every[1], torch.tensor(exact), rtol=1e-12, atol=1e-12)
    orders = torch.tensor([0, 100, 301])
    some = log_elementary_symmetric(logs, orders)
    torch.testing.assert_close(some, every[torch.arange(3), orders], rtol=1e-11, atol=1e-11)


def test_gradients_are_inclusion_probabilities():
    logs = torch.tensor([0.3, -1.0, -math.inf, 2.0, 0.0], requires_grad=True)
    weights = logs.detach().exp()
    every = log_elementary_symmetrics(logs)
    for k in range(5):
        subsets = list(itertools.combinations(range(5), k))
        products = torch.stack([weights[list(subset)].prod() for subset in subsets])
        member = torch.tensor([[float(i in subset) for i in range(5)] for subset in subsets])
        expected = products / products.sum() @ member
        for value in (every[k], log_elementary_symmetric(logs, k)):
            (found,) = torch.autograd.grad(value, logs, retain_graph=True)
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    finite = torch.randn(5, requires_grad=True)
    assert gradcheck(log_elementary_symmetrics, finite)
    assert gradgradcheck(log_elementary_symmetrics, finite)


def test_shapes_dtypes_and_errors():
    assert log_elementary_symmetrics(torch.zeros(2, 0)).tolist() == [[0.0], [0.0]]
    logs = torch.randn(2, 1, 3, dtype=torch.float32)
    assert log_elementary_symmetrics(logs, 5).shape == (2, 1, 6)
    assert log_elementary_symmetrics(logs).dtype == torch.float32
    assert log_elementary_symmetric(logs, 2).dtype == torch.float32
    with pytest.raises(ValueError, match="`max_order` not to be negative, but got -2"):
        log_elementary_symmetrics(logs, -2)
