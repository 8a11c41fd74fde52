# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The engine `laplace` against quadrature and the other engines."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from pyro_hypergeo import FisherHypergeometric, Table, datasets, read_table
from pyro_hypergeo.cli import main
from pyro_hypergeo.cli.laplace import laplace_posterior
from pyro_hypergeo.cli.svi import infer_posterior


def test_two_groups_against_quadrature() -> None:
    records = [
        {"group": "A", "size": 400, "drawn": 150},
        {"group": "B", "size": 300, "drawn": 60},
    ]
    posterior = laplace_posterior(Table.from_records(records), 3.0)
    # The log-weights are (t, -t), and their coordinate is sqrt(2) t.
    t = torch.linspace(-1, 2, 30_001)
    theta = torch.stack([t, -t], -1)
    urn = FisherHypergeometric(210, [400, 300], log_weights=theta)
    prior = torch.distributions.Normal(0.0, 3.0).log_prob(math.sqrt(2) * t)
    joint = urn.log_prob(torch.tensor([150.0, 60.0])) + prior
    step = math.sqrt(2) * (t[1] - t[0])
    evidence = joint.logsumexp(0) + step.log()
    weight = torch.softmax(joint, 0)
    mean = weight @ t
    sd = (weight @ (t - mean).square()).sqrt()
    median, deviation = posterior.relative_to(1)
    assert median[0].item() == pytest.approx(2 * mean.item(), abs=0.05 * sd.item())
    assert deviation[0].item() == pytest.approx(2 * sd.item(), rel=0.02)
    assert posterior.elbo == pytest.approx(evidence.item(), abs=0.01)
    assert (posterior.location.sum().abs() < 1e-12).all()


@pytest.mark.slow
@pytest.mark.parametrize("law", ["fisher", "wallenius"])
def test_as_the_variational_engine_on_the_titanic(law: str) -> None:
    table = read_table(datasets.path("titanic.csv"))
    ours = laplace_posterior(table, 3.0, law)
    other = infer_posterior(table, 3.0, reference=3, max_steps=2000, seed=0, law=law)
    (median, sd), (other_median, other_sd) = ours.relative_to(3), other.relative_to(3)
    assert ((median - other_median).abs() <= 0.06 * sd).all()
    assert ((sd - other_sd).abs() <= 0.06 * sd).all()
    # The bound is below the evidence, and close to it.
    assert -0.05 < ours.elbo - other.elbo < 0.3


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    assert main(["--engine", "laplace", "--json", str(path)]) == 0
    assert "Laplace approximation: the normal distribution" in capsys.readouterr().out
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["engine"] == "laplace"
    assert found["posterior"]["log_weights"]["1st"]["median"] == pytest.approx(0.88, abs=0.01)
