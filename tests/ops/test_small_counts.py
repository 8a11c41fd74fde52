# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Binomial probabilities of small counts against long arithmetic."""

import mpmath
import pytest
import torch

from pyro_hypergeo.ops.binomial import log_small_binomial_pmf, stirling_gaps
from pyro_hypergeo.ops.fisher import sampling_rejection
from pyro_hypergeo.ops.fisher.state import solve_fisher


@pytest.mark.parametrize("log_odds", [-800.0, -30.0, -1.3, 0.0, 0.4, 25.0, 750.0])
@pytest.mark.parametrize("n", [1, 7, 250, 1000])
def test_all_counts(n: int, log_odds: float) -> None:
    k = torch.arange(n + 1, dtype=torch.float64)
    size, odds = torch.full_like(k, n), torch.full_like(k, log_odds)
    gaps = stirling_gaps(torch.stack([size, k, n - k]), n)
    assert gaps is not None
    found = log_small_binomial_pmf(k, n - k, size, odds, gaps)
    with mpmath.workdps(40):
        exact = [
            mpmath.log(mpmath.binomial(n, j))
            + j * log_odds
            - n * mpmath.log1p(mpmath.exp(log_odds))
            for j in range(n + 1)
        ]
    wrong = (found - torch.tensor([float(x) for x in exact], dtype=torch.float64)).abs()
    assert (wrong <= 3e-13 * found.abs().clamp(min=1)).all()


def test_what_the_table_does_not_hold() -> None:
    assert stirling_gaps(torch.tensor([3.0, 2.5]), 3.0) is None
    assert stirling_gaps(torch.tensor([3.0, 1001.0]), 1001.0) is None


def test_the_table_serves_autograd_after_inference_mode() -> None:
    with torch.inference_mode():
        inside = stirling_gaps(torch.tensor([3.0, 4.0], dtype=torch.float64), 4.0)
    outside = stirling_gaps(torch.tensor([3.0, 4.0], dtype=torch.float64), 4.0)
    assert inside is not None
    assert outside is not None
    assert not outside.is_inference()
    assert inside.tolist() == outside.tolist()


def test_log_gammas_give_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sizes = torch.tensor([200.0, 1000.0, 3.0, 50.0, 7.0])
    known = solve_fisher(torch.randn(64, 5), sizes, torch.tensor(400.0))
    torch.manual_seed(1)
    draws = sampling_rejection.sample_by_rejection(known, torch.Size([500]))
    monkeypatch.setattr(sampling_rejection, "_SMALL", 0)
    torch.manual_seed(1)
    again = sampling_rejection.sample_by_rejection(known, torch.Size([500]))
    assert torch.equal(draws, again)
