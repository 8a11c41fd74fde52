# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The potential energy that the engine `nuts` uses, against the density of the model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pyro_hypergeo import Table, ZeroSumNormal, datasets, read_table
from pyro_hypergeo.cli import nuts
from pyro_hypergeo.cli.model import laplace, urns_of
from pyro_hypergeo.cli.nuts import sample_posterior
from pyro_hypergeo.cli.potential import Potential

SCALE = 0.8


def table_of(sizes: list[list[int]], counts: list[list[int]]) -> Table:
    groups = [f"g{i}" for i in range(len(sizes[0]))]
    return Table("t", groups, torch.tensor(sizes).double(), torch.tensor(counts).double())


# Two strata are equal, and two differ in their counts only. In one, everything was drawn.
REPEATED = table_of(
    [[6, 5, 4], [6, 5, 4], [6, 5, 4], [3, 0, 9], [2, 1, 1]],
    [[4, 2, 1], [4, 2, 1], [2, 3, 2], [1, 0, 4], [2, 1, 1]],
)


@pytest.mark.parametrize("law", ["fisher", "wallenius"])
@pytest.mark.parametrize("table", [REPEATED, read_table(datasets.path("titanic.csv"))])
def test_against_the_density_of_the_model(law: str, table: Table) -> None:
    groups = len(table.groups)
    mode, factor = laplace(table, SCALE, law)
    potential = Potential(table, SCALE, law, mode, factor)

    def energy(white: Tensor) -> Tensor:
        theta = potential.log_weights(white)
        prior = ZeroSumNormal(SCALE, groups, validate_args=False).log_prob(theta)
        return -prior - urns_of(table, theta, law).log_prob(table.counts).sum()

    points = torch.randn(3, groups - 1, dtype=torch.float64)
    start = torch.zeros(groups - 1, dtype=torch.float64)
    constant = potential({"white": start}) - energy(start)
    for white in points:
        white.requires_grad_()
        got, wanted = potential({"white": white}), energy(white)
        torch.testing.assert_close(got - wanted, constant, rtol=0, atol=1e-8)
        (slope,), (expected,) = (torch.autograd.grad(value, white) for value in (got, wanted))
        torch.testing.assert_close(slope, expected, rtol=1e-7, atol=1e-7)
    # In its units, the mode is at 0, and the posterior is close to a standard normal law.
    _, at_mode = potential.energy_and_gradient(start)
    assert at_mode.abs().max() < 1e-4
    hessian = torch.autograd.functional.hessian(energy, start)
    torch.testing.assert_close(hessian, torch.eye(groups - 1).double(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("law", "strata"), [("fisher", 3), ("wallenius", 4)])
def test_equal_strata_are_evaluated_once(law: str, strata: int) -> None:
    potential = Potential(REPEATED, SCALE, law, *laplace(REPEATED, SCALE, law))
    assert len(potential._sizes) == strata


@pytest.mark.slow
def test_a_draw_needs_about_three_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Counted(Potential):
        def energy_and_gradient(self, white: Tensor) -> tuple[Tensor, Tensor]:
            calls.append(1)
            return super().energy_and_gradient(white)

    monkeypatch.setattr(nuts, "Potential", Counted)
    table = read_table(datasets.path("titanic.csv"))
    posterior = sample_posterior(table, 3.0, reference=3, samples=200, chains=1, seed=0)
    assert len(calls) < 4.5 * (200 + posterior.warmup)
    assert posterior.effective_samples > 120
