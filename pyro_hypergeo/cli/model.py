# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import torch
from torch import Tensor

from ..distributions import FisherHypergeometric, ZeroSumNormal
from ..ops.zero_sum import zero_sum_vector
from .table import Table

_MAX_NEWTON_STEPS = 100


def weigh(table: Table, prior_scale: float) -> None:
    """The Pyro model: zero-sum normal log-weights, and a biased urn for every stratum."""
    prior = ZeroSumNormal(table.sizes.new_full((), prior_scale), len(table.groups))
    log_weights = pyro.sample("log_weights", prior)
    with pyro.plate("strata", len(table.sizes)):
        urns = FisherHypergeometric(table.counts.sum(-1), table.sizes, log_weights=log_weights)
        pyro.sample("drawn", urns, obs=table.counts)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread."""
    # Threads save little on tensors this small, and where other programs run they wait for each
    # other, ten times longer than the work takes.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def laplace(table: Table, prior_scale: float) -> tuple[Tensor, Tensor]:
    """Mode of the posterior, and factor of its Laplace approximation's covariance matrix.

    Both in the coordinates of :func:`~pyro_hypergeo.ops.zero_sum.zero_sum_vector`.
    """
    # The columns are the vectors whose coordinates are one 1 and zeros.
    basis = zero_sum_vector(torch.eye(len(table.groups) - 1, dtype=table.sizes.dtype)).mT

    # The log-density is strictly concave, so damped Newton steps reach the only mode.
    def log_density(z: Tensor) -> tuple[Tensor, FisherHypergeometric]:
        total = table.counts.sum(-1)
        urns = FisherHypergeometric(total, table.sizes, log_weights=basis @ z)
        return urns.log_prob(table.counts).sum() - 0.5 * (z / prior_scale).square().sum(), urns

    z = basis.new_zeros(basis.shape[-1])
    value, urns = log_density(z)
    for _ in range(_MAX_NEWTON_STEPS):
        gradient = (table.counts - urns.mean).sum(0) @ basis - z / prior_scale**2
        step = torch.cholesky_solve(gradient.unsqueeze(-1), _root(urns, prior_scale, basis))
        step = step.squeeze(-1)
        if gradient @ step < 1e-12:
            break
        length = 1.0
        while length > 1e-6:
            new_value, new_urns = log_density(z + length * step)
            if new_value >= value:
                break
            length /= 2
        else:
            break
        z, value, urns = z + length * step, new_value, new_urns
    root = _root(urns, prior_scale, basis)
    return z, torch.linalg.cholesky(torch.cholesky_inverse(root))


def _root(urns: FisherHypergeometric, prior_scale: float, basis: Tensor) -> Tensor:
    information = basis.mT @ urns.covariance_matrix.sum(0) @ basis
    prior = torch.eye(len(information), dtype=basis.dtype) / prior_scale**2
    return torch.linalg.cholesky(information + prior)
